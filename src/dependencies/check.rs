//! Whether an interpreter has what a project's requirements.txt names, asked before the script starts.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::requirement::{MarkerEnvironment, Requirement, normalised};
use super::{DependencyError, Requirements};
use crate::interpreter::Interpreter;

const SCRIPT: &str = include_str!("installed.py");

const TAG: &[u8] = b"@dray-installed@";

/// How much of what a Python wrote is shown where it did not answer.
const SHOWN_BYTES: usize = 400;

/// A distribution as the interpreter finds it.
struct Installed {
    version: Option<String>,
    metadata: PathBuf,
}

/// Refuses an interpreter that lacks a distribution of `requirements`, or has it in another version; all are named
/// together. Extras are followed; what a distribution itself needs is not.
///
/// `working_folder` is the script's; `script_folder` is where its file lies, if it is another.
///
/// # Errors
/// [`DependencyError::Unmet`], [`DependencyError::Requirement`], [`DependencyError::Unanswered`].
pub fn check(
    requirements: &Requirements,
    interpreter: &Interpreter,
    working_folder: &Path,
    script_folder: &Path,
) -> Result<(), DependencyError> {
    let environment = MarkerEnvironment::of(interpreter);
    let none = BTreeSet::new();
    let mut ahead: Vec<Requirement> = requirements.parse()?;
    ahead.retain(|requirement| requirement.holds(&environment, &none));
    if ahead.is_empty() {
        return Ok(());
    }
    let installed = installed(interpreter, working_folder, script_folder)?;
    let mut unmet = BTreeSet::new();
    let mut seen = BTreeSet::new();
    while let Some(requirement) = ahead.pop() {
        let name = normalised(&requirement.name);
        let Some(distribution) = installed.get(&name) else {
            // A package that was copied into the project without its metadata.
            if !is_module(working_folder, &name) && !is_module(script_folder, &name) {
                unmet.insert(format!("`{}` is missing", shown(&requirement)));
            }
            continue;
        };
        if let Some(version) = distribution
            .version
            .as_deref()
            .filter(|version| !requirement.admits(version))
        {
            unmet.insert(format!("`{}`: {version} is there", shown(&requirement)));
        }
        if !requirement.extras.is_empty() && seen.insert((name, requirement.extras.clone())) {
            ahead.extend(
                needed(&distribution.metadata)
                    .into_iter()
                    .filter(|needed| needed.holds(&environment, &requirement.extras))
                    // What holds without the extra is the distribution's own business.
                    .filter(|needed| !needed.holds(&environment, &none)),
            );
        }
    }
    if unmet.is_empty() {
        return Ok(());
    }
    Err(DependencyError::Unmet {
        file: requirements.file.to_owned(),
        interpreter: interpreter.executable.clone(),
        unmet: unmet.into_iter().collect(),
    })
}

fn shown(requirement: &Requirement) -> String {
    let versions = requirement
        .versions
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    format!("{}{}", requirement.name, versions.replace(", ", ","))
}

/// Every distribution by its normalised name; the first on the path counts.
fn installed(
    interpreter: &Interpreter,
    working_folder: &Path,
    script_folder: &Path,
) -> Result<BTreeMap<String, Installed>, DependencyError> {
    let mut command = Command::new(&interpreter.executable);
    command.args(["-B", "-c", SCRIPT]);
    if script_folder != working_folder {
        command.arg(script_folder);
    }
    let answer = command
        .current_dir(working_folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| DependencyError::Io {
            doing: format!("start `{}`", interpreter.executable.display()),
            source,
        })?;
    if !answer.status.success() {
        return Err(DependencyError::Unanswered {
            interpreter: interpreter.executable.clone(),
            status: answer.status.to_string(),
            output: end_of(&answer.stderr),
        });
    }
    let mut installed = BTreeMap::new();
    for line in answer
        .stdout
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.strip_prefix(TAG))
    {
        let mut fields = line.splitn(2, |byte| *byte == b'\t');
        let (Some(path), Some(stem)) = (fields.next(), fields.next()) else {
            continue;
        };
        let metadata = PathBuf::from(OsStr::from_bytes(path));
        let (name, version) = name_and_version(&String::from_utf8_lossy(stem), &metadata);
        installed
            .entry(normalised(&name))
            .or_insert(Installed { version, metadata });
    }
    Ok(installed)
}

/// By the name of the metadata's folder: `name-version`, `name-version-py3.11`; a name alone (`setup.py develop`) has the
/// version in the file.
fn name_and_version(stem: &str, metadata: &Path) -> (String, Option<String>) {
    let mut parts = stem.split('-');
    let name = parts.next().unwrap_or(stem).to_owned();
    let version = match parts.next() {
        Some(version) => Some(version.replace('_', "-")),
        None => header(metadata, "Version").into_iter().next(),
    };
    (name, version)
}

/// What a distribution says that it needs.
fn needed(metadata: &Path) -> Vec<Requirement> {
    header(metadata, "Requires-Dist")
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect()
}

/// All values of a field in the head of METADATA or PKG-INFO ("Core metadata specifications").
fn header(metadata: &Path, name: &str) -> Vec<String> {
    let text = ["METADATA", "PKG-INFO"]
        .iter()
        .find_map(|file| fs_err::read(metadata.join(file)).ok())
        // Old distributions are described by a file, without a folder.
        .or_else(|| fs_err::read(metadata).ok())
        .unwrap_or_default();
    String::from_utf8_lossy(&text)
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(|value| value.trim().to_owned())
        .collect()
}

fn is_module(folder: &Path, name: &str) -> bool {
    let module = name.replace('-', "_");
    folder.join(&module).is_dir() || folder.join(format!("{module}.py")).is_file()
}

/// The end of what a program wrote, on one line.
pub(super) fn end_of(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(8 * SHOWN_BYTES)..]).into_owned();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let joined = lines.join(" | ");
    let skipped = joined.chars().count().saturating_sub(SHOWN_BYTES);
    joined.chars().skip(skipped).collect()
}
