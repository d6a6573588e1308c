//! A project's requirements become wheels for a target: exact versions, nothing but wheels, all that they need.
//!
//! With `uv` on PATH it chooses the versions (it knows markers of another platform, and says well why there is no choice);
//! pip then fetches exactly those, since uv fetches nothing without installing it. Without uv, pip does both. A lock, whose
//! requirements have hashes, is chosen already and only fetched.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use super::{PackError, Target};
use crate::dependencies::{Requirements, asks_for_anything, decoded, has_hashes, without_own_package};
use crate::project::{Manifest, Project};

/// `download.py` found no pip.
const NO_PIP: i32 = 97;

const SCRIPT: &str = include_str!("download.py");

/// Lines of a failed tool that are shown.
const SHOWN_LINES: usize = 12;

/// Requirements to get wheels for.
pub(super) struct Source {
    /// Where they stand, for people.
    pub shown: String,
    /// None: `text` is not what a file on disk has.
    path: Option<PathBuf>,
    text: String,
    /// Whether they also name the package `dray`, which is not got: every run has it.
    pub names_own_package: bool,
}

impl Source {
    /// `named`, else the project's own; None where it has none.
    pub fn of(project: &Project, manifest: &Manifest, named: Option<&Path>) -> Result<Option<Source>, PackError> {
        let (path, shown) = match named {
            Some(named) => (named.to_owned(), named.display().to_string()),
            None => {
                let Some(requirements) = Requirements::of(project, manifest)? else {
                    return Ok(None);
                };
                let shown = requirements.file.to_owned();
                match project {
                    Project::Folder(folder) if requirements.is_file() => (folder.root().join(&shown), shown),
                    _ => return Ok(Some(Source::new(shown, None, requirements.text, Path::new("")))),
                }
            }
        };
        let failed = |source| PackError::Io {
            doing: "read the requirements".to_owned(),
            source,
        };
        let path = fs_err::canonicalize(path).map_err(failed)?;
        let text = decoded(&fs_err::read(&path).map_err(failed)?);
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(Some(Source::new(shown, Some(path), text, &folder)))
    }

    fn new(shown: String, path: Option<PathBuf>, text: String, folder: &Path) -> Source {
        match without_own_package(&text, folder) {
            None => Source {
                shown,
                path,
                text,
                names_own_package: false,
            },
            Some(text) => Source {
                shown,
                path: None,
                text,
                names_own_package: true,
            },
        }
    }

    /// Whether there is anything to get.
    pub fn asks_for_anything(&self) -> bool {
        asks_for_anything(&self.text)
    }
}

/// The wheels, in a folder that is removed with this.
pub(super) struct Wheels {
    /// Sorted by name.
    pub files: Vec<PathBuf>,
    /// `uv` or `pip`.
    pub resolver: &'static str,
    _folder: TempDir,
}

/// Gets the wheels of all requirements, and of what those need, for `target`.
pub(super) fn wheels(source: &Source, project: &Path, target: &Target) -> Result<Wheels, PackError> {
    let io = |doing: &str| {
        let doing = doing.to_owned();
        move |source| PackError::Io { doing, source }
    };
    let work = tempfile::Builder::new()
        .prefix("dray-pack-")
        .tempdir()
        .map_err(io("make a temporary folder"))?;
    let mut requirements = match &source.path {
        Some(path) => path.clone(),
        None => {
            let path = work.path().join("requirements.txt");
            fs_err::write(&path, &source.text).map_err(io("write the requirements"))?;
            path
        }
    };
    let is_lock = has_hashes(&source.text);
    let mut is_chosen = is_lock;
    let mut resolver = "pip";
    if !is_lock && let Some(chosen) = choose_by_uv(&requirements, project, target)? {
        requirements = work.path().join("chosen.txt");
        fs_err::write(&requirements, chosen).map_err(io("write the requirements"))?;
        (is_chosen, resolver) = (true, "uv");
    }
    let folder = work.path().join("wheels");
    fetch(
        &requirements,
        is_chosen,
        project,
        &folder,
        &work.path().join("pip.log"),
        target,
    )?;

    let mut files = Vec::new();
    if folder.is_dir() {
        for entry in fs_err::read_dir(&folder).map_err(io("read the wheels"))? {
            files.push(entry.map_err(io("read the wheels"))?.path());
        }
    }
    files.sort();
    let refused: Vec<String> = files
        .iter()
        .filter(|file| file.extension().is_none_or(|extension| extension != "whl"))
        .map(|file| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            format!("`{name}` is not a wheel, and is not built here")
        })
        .collect();
    if !refused.is_empty() {
        let target = shown(target);
        return Err(PackError::NoWheel { refused, target });
    }
    Ok(Wheels {
        files,
        resolver,
        _folder: work,
    })
}

/// The versions that uv chooses, as requirements; None where there is no uv.
fn choose_by_uv(requirements: &Path, project: &Path, target: &Target) -> Result<Option<Vec<u8>>, PackError> {
    let mut command = Command::new("uv");
    command
        .args([
            "pip",
            "compile",
            "--quiet",
            "--no-header",
            "--no-annotate",
            "--only-binary",
            ":all:",
        ])
        .args(["--emit-index-url", "--emit-find-links", "--no-python-downloads"])
        .arg("--python-version")
        .arg(format!("{}.{}", target.python.0, target.python.1))
        .arg("--python-platform")
        .arg(uv_platform(target))
        .arg(requirements);
    let output = match run(command, project) {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(PackError::Io {
                doing: "start uv".to_owned(),
                source,
            });
        }
    };
    if output.status.success() {
        return Ok(Some(output.stdout));
    }
    Err(PackError::Resolve {
        tool: "uv",
        target: shown(target),
        output: last_lines(&output.stderr),
    })
}

/// The C libraries of glibc 2 that uv 0.13 takes as `--python-platform`; it refuses others.
const KNOWN_TO_UV: [RangeInclusive<u32>; 3] = [17..=17, 28..=28, 31..=40];

/// The highest platform that uv has a name for and that is not above the target. What was built for one in between is then
/// no reason for uv to choose a version, and the best wheel of that version is taken all the same.
fn uv_platform(target: &Target) -> String {
    let (major, minor) = target.glibc;
    let known = KNOWN_TO_UV.iter().flat_map(Clone::clone);
    let known = known.filter(|known| *known <= minor).max().unwrap_or(minor);
    format!("{}-manylinux_{major}_{known}", std::env::consts::ARCH)
}

/// Fetches by the pip of `python3`; where that has none, by one that uv provides.
fn fetch(
    requirements: &Path,
    is_chosen: bool,
    project: &Path,
    folder: &Path,
    log: &Path,
    target: &Target,
) -> Result<(), PackError> {
    let mut by_uv = Command::new("uv");
    by_uv.args(["run", "--quiet", "--no-project", "--with", "pip", "python"]);
    for mut command in [Command::new("python3"), by_uv] {
        command
            .args(["-c", SCRIPT])
            .arg(format!("{}.{}", target.python.0, target.python.1));
        command.args([
            "download",
            "--quiet",
            "--no-input",
            "--disable-pip-version-check",
            "--only-binary",
            ":all:",
        ]);
        command.args(["--implementation", "cp", "--python-version"]);
        command.arg(format!("{}.{}", target.python.0, target.python.1));
        command
            .arg("--abi")
            .arg(format!("cp{}{}", target.python.0, target.python.1));
        for platform in target.platforms() {
            command.arg("--platform").arg(platform);
        }
        if is_chosen {
            command.arg("--no-deps");
        }
        command.arg("--dest").arg(folder).arg("--log").arg(log);
        command.arg("--requirement").arg(requirements);
        let output = match run(command, project) {
            Ok(output) => output,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(source) => {
                return Err(PackError::Io {
                    doing: "start pip".to_owned(),
                    source,
                });
            }
        };
        if output.status.success() {
            return Ok(());
        }
        if output.status.code() == Some(NO_PIP) {
            continue;
        }
        let log = fs_err::read(log).unwrap_or_default();
        return Err(explain(&output, &String::from_utf8_lossy(&log), target));
    }
    Err(PackError::NoInstaller)
}

fn run(mut command: Command, project: &Path) -> std::io::Result<Output> {
    // From the project's folder, which paths in the requirements start from.
    command.current_dir(project).stdin(Stdio::null()).output()
}

/// pip says that it found nothing, and only its log why not.
fn explain(output: &Output, log: &str, target: &Target) -> PackError {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let refused: Vec<String> = stderr
        .lines()
        .filter_map(|line| line.trim().strip_prefix("ERROR: No matching distribution found for "))
        .map(|requirement| refusal(requirement, log, target))
        .collect();
    if refused.is_empty() {
        return PackError::Resolve {
            tool: "pip",
            target: shown(target),
            output: last_lines(&output.stderr),
        };
    }
    PackError::NoWheel {
        refused,
        target: shown(target),
    }
}

fn refusal(requirement: &str, log: &str, target: &Target) -> String {
    let name: String = requirement
        .chars()
        .take_while(|character| character.is_ascii_alphanumeric() || "-_.".contains(*character))
        .collect();
    let like = |text: &str| text.to_lowercase().replace(['_', '.'], "-");
    let is_of_it = |line: &&str| like(line).contains(&format!("/{}-", like(&name)));
    let has_sources = log
        .lines()
        .filter(|line| line.contains("No sources permitted for"))
        .any(|line| is_of_it(&line));
    let mut tags: Vec<&str> = log
        .lines()
        .filter(is_of_it)
        .filter_map(|line| line.split_once("none of the wheel's tags (")?.1.split_once(')'))
        .flat_map(|(tags, _)| tags.split(", "))
        .collect();
    tags.sort_unstable();
    tags.dedup();
    let why = match (tags.as_slice(), has_sources) {
        ([], true) => "it is published as source only".to_owned(),
        ([], false) => "none of its versions is there, or fits".to_owned(),
        (tags, _) => {
            let more = if tags.len() > 6 { ", …" } else { "" };
            format!(
                "its wheels are for {}{more}",
                tags[tags.len().saturating_sub(6)..].join(", ")
            )
        }
    };
    format!("`{requirement}` has no wheel that runs on {}: {why}", shown(target))
}

fn shown(target: &Target) -> String {
    format!(
        "Python {}.{} and {}",
        target.python.0,
        target.python.1,
        target.platform()
    )
}

/// The end of what a tool wrote, on one line.
fn last_lines(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join(" | ")
}
