//! Whether a Python does for this project: a pure judgement of its facts, and the words for a refusal.

use pep440_rs::VersionSpecifiers;

use super::facts::{Build, Facts, Version};
use super::{Loading, LoadingChoice};

/// The oldest minor version of CPython 3 that the native module runs on; it is built for the stable ABI of that version
/// (`abi3-py39` in `python/Cargo.toml`).
pub(super) const OLDEST_MINOR: u32 = 9;

/// Why a candidate does not do: what was found, and what would do. Continues a sentence whose subject is the candidate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing has that path.
    #[error("there is no such file")]
    Missing,
    /// A bare name was given, and no folder of PATH has it.
    #[error("no folder on PATH has a file of that name")]
    NotOnPath,
    /// A folder, or something else that cannot be run.
    #[error("it is not a file")]
    NotAFile,
    /// A folder that should be a virtual environment.
    #[error("it has no `pyvenv.cfg`, so it is not a virtual environment")]
    NotAVirtualEnvironment,
    /// A folder with a pyvenv.cfg, but nothing to start in it.
    #[error("it is a broken virtual environment: it has no `bin/python3` and no `bin/python`{}", made_on_windows(*.windows))]
    NoInterpreter {
        /// It has a `Scripts` folder.
        windows: bool,
    },
    /// The Python that a virtual environment was made from is gone.
    #[error("it is a broken virtual environment: the Python that it was made from, in `{home}`, is gone")]
    BaseGone {
        /// `home` in pyvenv.cfg, or the target of the symbolic link.
        home: String,
    },
    /// The Python that a virtual environment was made from has become another minor version.
    #[error(
        "it is a broken virtual environment: made for Python {made_for}, but its interpreter is now Python {found}"
    )]
    BaseChanged {
        /// The version in pyvenv.cfg.
        made_for: String,
        /// What the interpreter says.
        found: Version,
    },
    /// The permissions do not let this user run it.
    #[error("this user may not execute it")]
    NotExecutable,
    /// The system refused to start it.
    #[error("it cannot be started: {cause}")]
    NotStarted {
        /// The system's words.
        cause: String,
    },
    /// It ran, and gave none of the answers that a Python gives.
    #[error("it did not answer as a Python would: it ended with {status}{}", said(.output))]
    NoAnswer {
        /// Exit status or signal.
        status: String,
        /// The end of what it wrote.
        output: String,
    },
    /// It ran for too long.
    #[error("it gave no answer within {limit_s} s{}", said(.output))]
    TimedOut {
        /// The limit, in seconds.
        limit_s: u64,
        /// The end of what it wrote until then.
        output: String,
    },
    /// PyPy, GraalPy and others.
    #[error("it is `{found}` (Python {version}), and only CPython does")]
    Implementation {
        /// `sys.implementation.name`.
        found: String,
        /// The version of the language that it implements.
        version: Version,
    },
    /// Older than the native module supports.
    #[error("it is Python {found}, and 3.{OLDEST_MINOR} or newer is needed")]
    TooOld {
        /// Its version.
        found: Version,
    },
    /// Built without the global interpreter lock.
    #[error("it is a free-threaded build of Python {found}, and only a build with the global interpreter lock does")]
    FreeThreaded {
        /// Its version.
        found: Version,
    },
    /// 32-bit beside 64-bit.
    #[error("it is a {found}-bit build, and a {needed}-bit one is needed")]
    PointerSize {
        /// Its pointer size, in bits.
        found: u32,
        /// That of dray, in bits.
        needed: u32,
    },
    /// Another processor, or another C library.
    #[error("it was built for {found}, and one for {needed} is needed")]
    Platform {
        /// Its platform and C library.
        found: String,
        /// Those of dray.
        needed: String,
    },
    /// Outside the project's `requires-python`.
    #[error("it is Python {found}, and the project requires `{required}`")]
    RequiresPython {
        /// Its version.
        found: Version,
        /// The project's `requires-python`.
        required: String,
    },
    /// The project's packed dependencies are for another minor version.
    #[error(
        "it is Python {found}, and the project's dependencies were packed for Python {}.{}",
        packed_for.0,
        packed_for.1
    )]
    PackedFor {
        /// Its version.
        found: Version,
        /// Major and minor version that they were packed for.
        packed_for: (u32, u32),
    },
    /// `DRAY_LOADING=library` was set.
    #[error("it has no shared libpython of its own build, which `DRAY_LOADING=library` asks for")]
    NoLibrary,
    /// It does not say where it is, so it cannot be started again.
    #[error("it does not know its own path (`sys.executable` is empty)")]
    NoExecutable,
}

impl Refusal {
    /// Whether the candidate is broken, not merely of the wrong kind.
    pub fn is_broken(&self) -> bool {
        !matches!(
            self,
            Refusal::Implementation { .. }
                | Refusal::TooOld { .. }
                | Refusal::FreeThreaded { .. }
                | Refusal::PointerSize { .. }
                | Refusal::Platform { .. }
                | Refusal::RequiresPython { .. }
                | Refusal::PackedFor { .. }
                | Refusal::NoLibrary
        )
    }
}

fn made_on_windows(windows: bool) -> &'static str {
    if windows { " (made on Windows)" } else { "" }
}

fn said(output: &str) -> String {
    if output.is_empty() {
        " and wrote nothing".to_owned()
    } else {
        format!(" and wrote: {output}")
    }
}

/// Judges a Python by its facts.
///
/// `made_for` is the version that the pyvenv.cfg of its virtual environment names. Returns the details of its build and
/// how to load it, or the first reason why it does not do.
pub(super) fn judge<'a>(
    facts: &'a Facts,
    made_for: Option<&str>,
    requires_python: Option<&VersionSpecifiers>,
    choice: LoadingChoice,
) -> Result<(&'a Build, Loading), Refusal> {
    let version = &facts.version;
    if facts.implementation != "cpython" {
        return Err(Refusal::Implementation {
            found: facts.implementation.clone(),
            version: version.clone(),
        });
    }
    if (version.major, version.minor) < (3, OLDEST_MINOR) {
        return Err(Refusal::TooOld { found: version.clone() });
    }
    let Some(build) = &facts.build else {
        return Err(Refusal::NoAnswer {
            status: "an answer that lacks its build".to_owned(),
            output: String::new(),
        });
    };
    if build.pointer_bits != usize::BITS {
        return Err(Refusal::PointerSize {
            found: build.pointer_bits,
            needed: usize::BITS,
        });
    }
    check_platform(build)?;
    if build.free_threaded {
        return Err(Refusal::FreeThreaded { found: version.clone() });
    }
    if let Some(made_for) = made_for
        && minor_of(made_for).is_some_and(|minor| minor != (version.major, version.minor))
    {
        return Err(Refusal::BaseChanged {
            made_for: made_for.to_owned(),
            found: version.clone(),
        });
    }
    // As pip does (`pip._internal.utils.packaging.check_requires_python`), the version is compared without its
    // pre-release part: a project that requires `>=3.14` runs under 3.14.0rc1.
    if let Some(required) = requires_python {
        let release = [version.major, version.minor, version.micro].map(u64::from);
        if !required.contains(&pep440_rs::Version::new(release)) {
            return Err(Refusal::RequiresPython {
                found: version.clone(),
                required: required.to_string(),
            });
        }
    }
    if facts.executable.as_os_str().is_empty() {
        return Err(Refusal::NoExecutable);
    }
    let loading = match (choice, &build.library) {
        (LoadingChoice::Hosted, _) => Loading::Hosted { required: true },
        (LoadingChoice::Library, None) => return Err(Refusal::NoLibrary),
        (LoadingChoice::Auto, Some(library)) if build.linked => Loading::Library {
            library: library.clone(),
            required: false,
        },
        (LoadingChoice::Auto, _) => Loading::Hosted { required: false },
        (LoadingChoice::Library, Some(library)) => Loading::Library {
            library: library.clone(),
            required: true,
        },
    };
    Ok((build, loading))
}

fn check_platform(build: &Build) -> Result<(), Refusal> {
    let c_library = if cfg!(target_env = "musl") { "musl" } else { "gnu" };
    let platform = format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH);
    if build.platform == platform && build.c_library == c_library {
        return Ok(());
    }
    Err(Refusal::Platform {
        found: format!("{}-{}", build.platform, build.c_library),
        needed: format!("{platform}-{c_library}"),
    })
}

/// Major and minor version of text such as `3.11.7` or `3.11.7.final.0`.
fn minor_of(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use std::str::FromStr;

    fn facts(change: impl FnOnce(&mut Facts, &mut Build)) -> Facts {
        let mut build = Build {
            pointer_bits: usize::BITS,
            free_threaded: false,
            platform: format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH),
            c_library: "gnu".to_owned(),
            prefix: PathBuf::from("/usr"),
            base_prefix: PathBuf::from("/usr"),
            base_executable: PathBuf::from("/usr/bin/python3"),
            library: Some(PathBuf::from("/usr/lib/libpython3.11.so.1.0")),
            linked: true,
            looked_at: Vec::new(),
        };
        let mut facts = Facts {
            implementation: "cpython".to_owned(),
            version: version(3, 11, 2, "final", 0),
            version_text: "3.11.2 (main)".to_owned(),
            executable: PathBuf::from("/usr/bin/python3"),
            build: None,
        };
        change(&mut facts, &mut build);
        facts.build = Some(build);
        facts
    }

    fn version(major: u32, minor: u32, micro: u32, level: &str, serial: u32) -> Version {
        Version {
            major,
            minor,
            micro,
            level: level.to_owned(),
            serial,
        }
    }

    fn refusal(facts: &Facts, requires: Option<&str>) -> String {
        let requires = requires.map(|text| VersionSpecifiers::from_str(text).unwrap());
        match judge(facts, None, requires.as_ref(), LoadingChoice::Auto) {
            Ok(_) => "none".to_owned(),
            Err(refusal) => refusal.to_string(),
        }
    }

    #[test]
    fn an_alternative_implementation_is_refused() {
        let pypy = facts(|facts, _| facts.implementation = "pypy".to_owned());
        assert_eq!(
            refusal(&pypy, None),
            "it is `pypy` (Python 3.11.2), and only CPython does"
        );
    }

    #[test]
    fn a_python_before_3_9_is_refused() {
        let old = facts(|facts, _| facts.version = version(3, 8, 18, "final", 0));
        assert_eq!(refusal(&old, None), "it is Python 3.8.18, and 3.9 or newer is needed");
        let oldest = facts(|facts, _| facts.version = version(3, 9, 0, "final", 0));
        assert_eq!(refusal(&oldest, None), "none");
    }

    #[test]
    fn a_free_threaded_build_is_refused() {
        let free = facts(|_, build| build.free_threaded = true);
        assert!(refusal(&free, None).starts_with("it is a free-threaded build of Python 3.11.2"));
    }

    #[test]
    fn another_pointer_size_is_refused() {
        let narrow = facts(|_, build| build.pointer_bits = 32);
        assert_eq!(
            refusal(&narrow, None),
            "it is a 32-bit build, and a 64-bit one is needed"
        );
    }

    #[test]
    fn another_processor_or_c_library_is_refused() {
        let arm = facts(|_, build| build.platform = "linux-aarch64".to_owned());
        assert!(refusal(&arm, None).starts_with("it was built for linux-aarch64-gnu, and one for linux-"));
        let alpine = facts(|_, build| build.c_library = "musl".to_owned());
        assert!(refusal(&alpine, None).contains("-musl, and one for"));
    }

    #[test]
    fn a_python_outside_requires_python_is_refused() {
        let found = facts(|_, _| ());
        assert_eq!(
            refusal(&found, Some(">=3.12,<4")),
            "it is Python 3.11.2, and the project requires `>=3.12, <4`"
        );
        assert_eq!(refusal(&found, Some(">=3.9,!=3.10.*")), "none");
    }

    #[test]
    fn a_pre_release_counts_as_the_release_that_it_becomes() {
        let candidate = facts(|facts, _| facts.version = version(3, 14, 0, "candidate", 2));
        assert_eq!(refusal(&candidate, Some(">=3.14")), "none");
        assert_eq!(
            refusal(&candidate, Some("<3.14")),
            "it is Python 3.14.0rc2, and the project requires `<3.14`"
        );
    }

    #[test]
    fn a_virtual_environment_made_for_another_minor_version_is_broken() {
        let found = facts(|_, _| ());
        let refusal = judge(&found, Some("3.10.6"), None, LoadingChoice::Auto).unwrap_err();
        assert!(refusal.is_broken());
        assert!(
            refusal
                .to_string()
                .contains("made for Python 3.10.6, but its interpreter is now Python 3.11.2")
        );
        assert!(judge(&found, Some("3.11.0.final.0"), None, LoadingChoice::Auto).is_ok());
    }

    #[test]
    fn an_interpreter_hosts_that_does_not_run_on_the_library_beside_it() {
        let beside = facts(|_, build| build.linked = false);
        let loading = |choice| judge(&beside, None, None, choice).unwrap().1;
        assert_eq!(loading(LoadingChoice::Auto), Loading::Hosted { required: false });
        let library = PathBuf::from("/usr/lib/libpython3.11.so.1.0");
        let required = true;
        assert_eq!(loading(LoadingChoice::Library), Loading::Library { library, required });
    }

    #[test]
    fn without_a_library_the_interpreter_hosts_unless_a_library_is_asked_for() {
        let bare = facts(|_, build| build.library = None);
        let (_, loading) = judge(&bare, None, None, LoadingChoice::Auto).unwrap();
        assert_eq!(loading, Loading::Hosted { required: false });
        assert_eq!(
            judge(&bare, None, None, LoadingChoice::Library).unwrap_err(),
            Refusal::NoLibrary
        );
    }
}
