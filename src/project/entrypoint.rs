//! Which entrypoint is meant. Decides on plain values; starts nothing and imports nothing.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::ProjectError;
use super::manifest::Manifest;
use super::nearest::nearest_paths;
use super::{EntryKind, Project};

/// So many paths of a folder project are compared with a mistyped name.
const MAX_COMPARED_PATHS: usize = 10_000;
/// So many candidates are listed.
const MAX_CANDIDATES: usize = 10;

/// ENTRY of the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryArgument {
    /// A file or a function: `main.py`, `pkg.mod:function`.
    Name(String),
    /// What follows `-m`.
    Module(String),
}

/// What the worker is to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Entrypoint {
    /// As `python path` would.
    File {
        /// Path in the project, as it was given; `sys.argv[0]` shows it so.
        path: String,
    },
    /// As `python -m name` would. Whether there is such a module only the interpreter knows: it may be installed.
    Module {
        /// Dotted name of a module or package.
        name: String,
    },
    /// A function, called with the activity's parameters.
    Function {
        /// Dotted name of the module.
        module: String,
        /// Name within the module; dotted for a method of a class.
        function: String,
    },
    /// A module of dray's own, for a command that needs the engine.
    BuiltIn {
        /// The command's name, such as `copy`.
        command: String,
        /// Dotted name of the module.
        module: String,
    },
}

impl fmt::Display for Entrypoint {
    /// Writes it as the command line takes it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entrypoint::File { path } => formatter.write_str(path),
            Entrypoint::Module { name } => write!(formatter, "-m {name}"),
            Entrypoint::Function { module, function } => write!(formatter, "{module}:{function}"),
            Entrypoint::BuiltIn { command, .. } => write!(formatter, "dray {command}"),
        }
    }
}

impl Entrypoint {
    /// The entrypoint that `argument` names; without one, the manifest's `entry`, `__main__.py`, `main.py`, in this
    /// order.
    ///
    /// # Errors
    /// A named file that is not in the project ([`ProjectError::EntrypointMissing`], with the nearest names); a name
    /// that cannot be one; nothing named and nothing found, with all that could be started.
    pub fn choose(
        argument: Option<&EntryArgument>,
        manifest: &Manifest,
        project: &Project,
    ) -> Result<Entrypoint, ProjectError> {
        if let Some(argument) = argument {
            return interpret(argument, "the argument ENTRY", project);
        }
        if let Some(entry) = &manifest.entry {
            let argument = match entry.strip_prefix("-m") {
                Some(module) if module.starts_with(' ') => EntryArgument::Module(module.trim().to_owned()),
                _ => EntryArgument::Name(entry.clone()),
            };
            return interpret(&argument, "`entry` of `[tool.dray]` in pyproject.toml", project);
        }
        for path in ["__main__.py", "main.py"] {
            if project.contains(path) {
                return Ok(Entrypoint::File { path: path.to_owned() });
            }
        }
        Err(ProjectError::EntrypointNotChosen {
            candidates: candidates(project),
        })
    }
}

fn interpret(argument: &EntryArgument, origin: &'static str, project: &Project) -> Result<Entrypoint, ProjectError> {
    let invalid = |entry: &str, why: String| {
        Err(ProjectError::EntrypointInvalid {
            entry: entry.to_owned(),
            origin,
            why,
        })
    };
    match argument {
        EntryArgument::Module(name) => {
            if let Some(stem) = name.strip_suffix(".py").filter(|_| project.contains(name)) {
                return invalid(
                    name,
                    format!("`-m` takes a module's name: `-m {}`", stem.replace('/', ".")),
                );
            }
            if name.split('.').any(str::is_empty) || name.contains('/') {
                return invalid(name, "`-m` takes a module's dotted name, such as `pkg.mod`".to_owned());
            }
            Ok(Entrypoint::Module { name: name.clone() })
        }
        EntryArgument::Name(entry) => match project.kind_at(entry) {
            Some(EntryKind::File) => Ok(Entrypoint::File { path: entry.clone() }),
            Some(EntryKind::Folder) => {
                let folder = entry.trim_end_matches('/');
                let why = match project.contains(&format!("{folder}/__main__.py")) {
                    true => format!(
                        "it is a folder; name `{folder}/__main__.py`, or `-m {}`",
                        folder.replace('/', ".")
                    ),
                    false => "it is a folder without `__main__.py`".to_owned(),
                };
                invalid(entry, why)
            }
            None => function(entry).map_or_else(|| missing(entry, origin, project), Ok),
        },
    }
}

/// `pkg.mod:function`, if `entry` has that form.
fn function(entry: &str) -> Option<Entrypoint> {
    let (module, function) = entry.split_once(':')?;
    (is_dotted_name(module) && is_dotted_name(function)).then(|| Entrypoint::Function {
        module: module.to_owned(),
        function: function.to_owned(),
    })
}

fn is_dotted_name(name: &str) -> bool {
    name.split('.').all(|part| {
        let mut characters = part.chars();
        characters
            .next()
            .is_some_and(|first| first.is_alphabetic() || first == '_')
            && characters.all(|c| c.is_alphanumeric() || c == '_')
    })
}

fn missing(entry: &str, origin: &'static str, project: &Project) -> Result<Entrypoint, ProjectError> {
    if entry.starts_with('/') || entry.split('/').any(|part| part == "..") {
        let why = "it is not a path within the project".to_owned();
        return Err(ProjectError::EntrypointInvalid {
            entry: entry.to_owned(),
            origin,
            why,
        });
    }
    let paths: Vec<String> = project
        .paths(MAX_COMPARED_PATHS)
        .into_iter()
        .filter(|path| path.ends_with(".py"))
        .collect();
    Err(ProjectError::EntrypointMissing {
        entry: entry.to_owned(),
        origin,
        nearest: nearest_paths(entry.trim_start_matches("./"), &paths),
        candidates: candidates(project),
    })
}

/// What could be started, as the command line takes it: Python files at the top level, packages there that have a
/// `__main__.py`, and what lies one folder down under a name that is looked for (zips that wrap all in one folder).
fn candidates(project: &Project) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for path in project.paths(MAX_COMPARED_PATHS) {
        match path.rsplit_once('/') {
            None if path.ends_with(".py") => found.push(path),
            Some((folder, "__main__.py")) if !folder.contains('/') => {
                let name = if is_dotted_name(folder) && !folder.contains('.') {
                    format!("-m {folder}")
                } else {
                    path
                };
                found.push(name);
            }
            Some((folder, "main.py")) if !folder.contains('/') => found.push(path),
            _ => {}
        }
    }
    found.sort();
    found.truncate(MAX_CANDIDATES);
    found
}
