//! Which files might be the Python that is meant, in which order, and why each is considered.
//!
//! Nothing is run here, and no path is made canonical: a virtual environment is recognised by the path that it is
//! started with.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::suitability::{OLDEST_MINOR, Refusal};

/// Searched where the environment has no PATH, as the C library and shells do.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Why a Python is considered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "name", rename_all = "snake_case")]
pub enum Source {
    /// The option `--python`.
    Flag,
    /// The variable `DRAY_PYTHON`.
    Environment,
    /// A virtual environment at the top of the project; the name of its folder.
    Project(String),
    /// The variable `VIRTUAL_ENV`.
    VirtualEnv,
    /// The virtual environment whose `bin/dray` was called.
    OwnEnvironment,
    /// A folder on PATH has a file of this name.
    SearchPath(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Flag => write!(f, "`--python`"),
            Source::Environment => write!(f, "`DRAY_PYTHON`"),
            Source::Project(folder) => write!(f, "virtual environment `{folder}` of the project"),
            Source::VirtualEnv => write!(f, "`VIRTUAL_ENV`"),
            Source::OwnEnvironment => write!(f, "virtual environment that dray is installed in"),
            Source::SearchPath(name) => write!(f, "`{name}` on PATH"),
        }
    }
}

/// A file that may be a Python, or the reason why the place named has none.
pub(super) struct Candidate {
    pub path: PathBuf,
    pub source: Source,
    pub state: Result<(), Refusal>,
}

impl Candidate {
    /// `path` is a file that is to be started.
    fn file(path: PathBuf, source: Source) -> Candidate {
        let state = startable(&path);
        Candidate { path, source, state }
    }

    /// `folder` should be a virtual environment.
    fn environment(folder: &Path, source: Source) -> Candidate {
        match environment_interpreter(folder) {
            Ok(path) => Candidate::file(path, source),
            Err(refusal) => Candidate {
                path: folder.to_owned(),
                source,
                state: Err(refusal),
            },
        }
    }

    /// What a person named: a file, a bare name to look up on PATH, or the folder of an environment or installation. A
    /// bare name that is not on PATH may be such a folder, as in `--python .venv`, and is no file.
    pub fn named(name: &Path, source: Source, search_path: Option<&OsStr>) -> Candidate {
        if name.components().count() == 1 && !name.as_os_str().as_bytes().contains(&b'/') && name != Path::new("..") {
            let found = path_folders(search_path)
                .map(|folder| folder.join(name))
                .find(|path| startable(path).is_ok());
            match found {
                Some(path) => return Candidate::file(path, source),
                None if name.is_dir() => {}
                None => {
                    return Candidate {
                        path: name.to_owned(),
                        source,
                        state: Err(Refusal::NotOnPath),
                    };
                }
            }
        }
        // Absolute, since the worker is started in another folder; symbolic links and `..` stay.
        let path = std::path::absolute(name).unwrap_or_else(|_| name.to_owned());
        if !path.is_dir() {
            return Candidate::file(path, source);
        }
        if path.join("pyvenv.cfg").is_file() {
            return Candidate::environment(&path, source);
        }
        match ["python3", "python"]
            .map(|name| path.join("bin").join(name))
            .into_iter()
            .find(|path| path.is_file())
        {
            Some(file) => Candidate::file(file, source),
            None => Candidate {
                path,
                source,
                state: Err(Refusal::NotAFile),
            },
        }
    }

    /// The folder that VIRTUAL_ENV names.
    pub fn active_environment(folder: &Path) -> Candidate {
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        if !folder.exists() {
            return Candidate {
                path: folder,
                source: Source::VirtualEnv,
                state: Err(Refusal::Missing),
            };
        }
        Candidate::environment(&folder, Source::VirtualEnv)
    }

    /// The folder of the virtual environment that dray is installed in.
    pub fn own_environment(folder: &Path) -> Candidate {
        Candidate::environment(folder, Source::OwnEnvironment)
    }
}

/// The virtual environment in whose `bin` folder the command lies that this process was started by: `.venv/bin/dray`, as
/// pip installs it. A bare name is left alone: what PATH has comes to the same where the environment is first on it, and
/// tools that put commands into environments of their own link to them from a folder on PATH.
pub(super) fn around_command(command: &OsStr) -> Option<PathBuf> {
    if !command.as_bytes().contains(&b'/') {
        return None;
    }
    let command = std::path::absolute(command).ok()?;
    let folder = command.parent().filter(|folder| folder.ends_with("bin"))?.parent()?;
    folder.join("pyvenv.cfg").is_file().then(|| folder.to_owned())
}

/// Virtual environments at the top of the project: `.venv`, `venv`, then every folder with a `pyvenv.cfg`, by name.
pub(super) fn in_project(project: &Path) -> Vec<Candidate> {
    let project = std::path::absolute(project).unwrap_or_else(|_| project.to_owned());
    let mut names: Vec<OsString> = match fs_err::read_dir(&project) {
        Ok(entries) => entries.flatten().map(|entry| entry.file_name()).collect(),
        Err(_) => Vec::new(),
    };
    let rank = |name: &OsString| match name.to_str() {
        Some(".venv") => 0,
        Some("venv") => 1,
        _ => 2,
    };
    names.sort_by(|a, b| (rank(a), a).cmp(&(rank(b), b)));
    names
        .into_iter()
        .filter(|name| project.join(name).join("pyvenv.cfg").is_file())
        .map(|name| {
            Candidate::environment(
                &project.join(&name),
                Source::Project(name.to_string_lossy().into_owned()),
            )
        })
        .collect()
}

/// `python3` and then `python` of every folder on PATH, then `python3.N`, newest first: AlmaLinux 8 has a `python3` that
/// is 3.6, and a `python3.11` beside it. Lazy, since the last step reads whole folders. The same file in the same folder
/// comes once, under whatever name.
pub(super) fn on_path(search_path: Option<&OsStr>) -> impl Iterator<Item = Candidate> + use<> {
    let folders: Vec<PathBuf> = path_folders(search_path).collect();
    let versioned_in = folders.clone();
    let plain = ["python3", "python"]
        .into_iter()
        .flat_map(move |name| folders.clone().into_iter().map(move |folder| (name.to_owned(), folder)));
    let versioned = std::iter::once_with(move || versioned(&versioned_in)).flatten();
    let mut seen = HashSet::new();
    plain.chain(versioned).filter_map(move |(name, folder)| {
        let path = folder.join(&name);
        let new = seen.insert(identity(&path, &folder)?);
        new.then(|| Candidate::file(path, Source::SearchPath(name)))
    })
}

/// Folders on PATH. Empty and relative entries are left out: they mean the current folder, which holds whatever was
/// sent to the node.
fn path_folders(search_path: Option<&OsStr>) -> impl Iterator<Item = PathBuf> + use<> {
    let search_path = search_path
        .filter(|path| !path.is_empty())
        .unwrap_or(OsStr::new(DEFAULT_PATH));
    std::env::split_paths(search_path)
        .filter(|folder| folder.is_absolute())
        .collect::<Vec<_>>()
        .into_iter()
}

fn versioned(folders: &[PathBuf]) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for folder in folders {
        let Ok(entries) = fs_err::read_dir(folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let minor = name
                .to_str()
                .and_then(|name| name.strip_prefix("python3."))
                .and_then(|minor| minor.parse().ok());
            if let Some(minor) = minor.filter(|minor: &u32| *minor >= OLDEST_MINOR) {
                found.push((minor, format!("python3.{minor}"), folder.clone()));
            }
        }
    }
    found.sort_by_key(|(minor, ..)| std::cmp::Reverse(*minor)); // stable: folders stay in the order of PATH
    found.into_iter().map(|(_, name, folder)| (name, folder)).collect()
}

/// What makes two candidates the same: the folder, because it decides about a virtual environment, and the file behind
/// the symbolic links. A launcher script (pyenv's shims are one script under many names) acts on its name, which then
/// belongs to its identity. None: there is no such file.
fn identity(path: &Path, folder: &Path) -> Option<(u64, u64, u64, u64, Option<OsString>)> {
    let folder = folder.metadata().ok()?;
    let file = path.metadata().ok()?;
    let mut start = [0; 4];
    let is_binary = fs_err::File::open(path)
        .and_then(|mut file| file.read_exact(&mut start))
        .is_ok_and(|()| &start == b"\x7fELF");
    let name = if is_binary {
        None
    } else {
        path.file_name().map(OsStr::to_owned)
    };
    Some((folder.dev(), folder.ino(), file.dev(), file.ino(), name))
}

fn startable(path: &Path) -> Result<(), Refusal> {
    let metadata = match path.metadata() {
        Ok(metadata) => metadata,
        Err(_) if path.is_symlink() => {
            let target = std::fs::read_link(path).unwrap_or_default();
            return Err(match environment_of(path) {
                Some(environment) => Refusal::BaseGone {
                    home: environment.home.unwrap_or_else(|| shown(&target)),
                },
                None => Refusal::Missing,
            });
        }
        Err(_) => return Err(Refusal::Missing),
    };
    if !metadata.is_file() {
        return Err(Refusal::NotAFile);
    }
    rustix::fs::access(path, rustix::fs::Access::EXEC_OK).map_err(|_| Refusal::NotExecutable)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// The interpreter of a virtual environment, which need not exist: a dangling link is told apart later.
fn environment_interpreter(folder: &Path) -> Result<PathBuf, Refusal> {
    if !folder.is_dir() {
        return Err(Refusal::NotAFile);
    }
    if !folder.join("pyvenv.cfg").is_file() {
        return Err(Refusal::NotAVirtualEnvironment);
    }
    ["python3", "python"]
        .map(|name| folder.join("bin").join(name))
        .into_iter()
        .find(|path| path.symlink_metadata().is_ok())
        .ok_or_else(|| Refusal::NoInterpreter {
            windows: folder.join("Scripts").is_dir(),
        })
}

/// What `pyvenv.cfg` says of a virtual environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Environment {
    /// The folder with the interpreter that it was made from.
    pub home: Option<String>,
    /// The version that it was made for: `version` (venv), or `version_info` (virtualenv, uv).
    pub made_for: Option<String>,
}

/// Where the `pyvenv.cfg` of an interpreter may be: beside it, or one folder up, as CPython looks (`Modules/getpath.py`).
pub(super) fn environment_files(interpreter: &Path) -> Vec<PathBuf> {
    interpreter
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("pyvenv.cfg"))
        .collect()
}

/// The virtual environment that an interpreter belongs to, if any.
pub(super) fn environment_of(interpreter: &Path) -> Option<Environment> {
    let text = environment_files(interpreter)
        .iter()
        .find_map(|file| fs_err::read(file).ok())?;
    Some(parse_environment(&String::from_utf8_lossy(&text)))
}

/// pyvenv.cfg is not INI: each line is split at its first equals sign, and there are no sections.
fn parse_environment(text: &str) -> Environment {
    let mut environment = Environment::default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        let value = value.trim();
        match key.trim().to_ascii_lowercase().as_str() {
            "home" => environment.home = Some(value.to_owned()),
            "version" | "version_info" => environment.made_for = Some(value.to_owned()),
            _ => {}
        }
    }
    environment
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn program(path: &Path, content: &[u8]) {
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, content).unwrap();
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn environment(folder: &Path, base: &Path) {
        fs_err::create_dir_all(folder.join("bin")).unwrap();
        fs_err::write(folder.join("pyvenv.cfg"), format!("home = {}\n", base.display())).unwrap();
        symlink(base.join("python3"), folder.join("bin/python3")).unwrap();
    }

    fn listed(path: &OsStr) -> Vec<(String, PathBuf)> {
        on_path(Some(path))
            .map(|candidate| (candidate.source.to_string(), candidate.path))
            .collect()
    }

    #[test]
    fn the_same_file_in_one_folder_comes_once_and_a_virtual_environment_of_it_by_itself() {
        let root = tempfile::tempdir().unwrap();
        let (bin, alias, environment_bin) = (
            root.path().join("bin"),
            root.path().join("alias"),
            root.path().join("e/bin"),
        );
        program(&bin.join("python3"), b"\x7fELF");
        symlink("python3", bin.join("python")).unwrap();
        symlink(&bin, &alias).unwrap();
        environment(&root.path().join("e"), &bin);
        let path = std::env::join_paths([&bin, &alias, &bin, &environment_bin]).unwrap();
        assert_eq!(
            listed(&path),
            [
                ("`python3` on PATH".to_owned(), bin.join("python3")),
                ("`python3` on PATH".to_owned(), environment_bin.join("python3"))
            ]
        );
    }

    #[test]
    fn a_launcher_script_is_another_candidate_under_each_name() {
        let root = tempfile::tempdir().unwrap();
        program(&root.path().join("python3"), b"#!/bin/sh\n");
        fs_err::hard_link(root.path().join("python3"), root.path().join("python")).unwrap();
        assert_eq!(listed(root.path().as_os_str()).len(), 2);
    }

    #[test]
    fn versioned_names_come_last_and_newest_first() {
        let root = tempfile::tempdir().unwrap();
        let (first, second) = (root.path().join("first"), root.path().join("second"));
        for name in [
            "python3.9",
            "python3.11",
            "python3.8",
            "python3.13t",
            "python3.11-config",
        ] {
            program(&first.join(name), format!("\x7fELF {name}").as_bytes());
        }
        program(&second.join("python3.12"), b"\x7fELF");
        program(&second.join("python"), b"\x7fELF");
        let names: Vec<String> = listed(&std::env::join_paths([&first, &second]).unwrap())
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        let expected = ["python", "python3.12", "python3.11", "python3.9"].map(|name| format!("`{name}` on PATH"));
        assert_eq!(names, expected);
    }

    #[test]
    fn the_current_folder_is_not_searched() {
        assert_eq!(
            path_folders(Some(OsStr::new(":relative:/usr/bin:"))).collect::<Vec<_>>(),
            [Path::new("/usr/bin")]
        );
        assert_eq!(path_folders(None).count(), 3);
    }

    #[test]
    fn virtual_environments_of_the_project_are_ordered_and_other_folders_left_out() {
        let root = tempfile::tempdir().unwrap();
        for name in ["env-a", "venv", ".venv"] {
            environment(&root.path().join(name), Path::new("/usr/bin"));
        }
        fs_err::create_dir_all(root.path().join("src")).unwrap();
        let names: Vec<String> = in_project(root.path())
            .into_iter()
            .map(|candidate| candidate.source.to_string())
            .collect();
        assert_eq!(
            names,
            [".venv", "venv", "env-a"].map(|name| format!("virtual environment `{name}` of the project"))
        );
    }

    #[test]
    fn a_virtual_environment_whose_base_is_gone_names_it() {
        let root = tempfile::tempdir().unwrap();
        environment(&root.path().join("venv"), &root.path().join("gone"));
        let candidates = in_project(root.path());
        let refusal = candidates[0].state.clone().unwrap_err();
        assert_eq!(
            refusal,
            Refusal::BaseGone {
                home: root.path().join("gone").display().to_string()
            }
        );
    }

    #[test]
    fn a_virtual_environment_made_on_windows_is_named_as_such() {
        let root = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(root.path().join("venv/Scripts")).unwrap();
        fs_err::write(root.path().join("venv/pyvenv.cfg"), "home = C:\\Python311\n").unwrap();
        let refusal = in_project(root.path())[0].state.clone().unwrap_err();
        assert_eq!(refusal, Refusal::NoInterpreter { windows: true });
    }

    #[test]
    fn a_named_folder_stands_for_the_interpreter_in_it() {
        let root = tempfile::tempdir().unwrap();
        program(&root.path().join("bin/python3"), b"\x7fELF");
        let candidate = Candidate::named(root.path(), Source::Flag, None);
        assert_eq!(
            (candidate.path, candidate.state),
            (root.path().join("bin/python3"), Ok(()))
        );
    }

    #[test]
    fn a_bare_name_is_looked_up_on_path() {
        let root = tempfile::tempdir().unwrap();
        program(&root.path().join("python3.11"), b"\x7fELF");
        let candidate = Candidate::named(Path::new("python3.11"), Source::Flag, Some(root.path().as_os_str()));
        assert_eq!(candidate.path, root.path().join("python3.11"));
        let absent = Candidate::named(Path::new("python3.99"), Source::Flag, Some(root.path().as_os_str()));
        assert_eq!(absent.state, Err(Refusal::NotOnPath));
    }

    #[test]
    fn a_file_that_may_not_be_executed_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("python3");
        fs_err::write(&path, "").unwrap();
        assert_eq!(startable(&path), Err(Refusal::NotExecutable));
        assert_eq!(startable(root.path()), Err(Refusal::NotAFile));
        assert_eq!(startable(&root.path().join("absent")), Err(Refusal::Missing));
    }

    #[test]
    fn pyvenv_cfg_is_split_at_the_first_equals_sign() {
        let parsed = parse_environment("home = /opt/a=b/bin\nversion_info=3.11.7.final.0\nprompt = 'x'\nnonsense\n");
        assert_eq!(parsed.home.as_deref(), Some("/opt/a=b/bin"));
        assert_eq!(parsed.made_for.as_deref(), Some("3.11.7.final.0"));
    }
}
