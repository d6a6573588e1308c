//! What can go wrong with a project's packages before the script starts.

use std::io;
use std::path::PathBuf;

use crate::failure::{ExitCode, Failing};
use crate::project::ProjectError;

use super::PACKED_MANIFEST;

/// Why a run has not the packages that it needs.
#[derive(Debug, thiserror::Error)]
pub enum DependencyError {
    /// The manifest of packed dependencies is not what `dray pack` writes.
    #[error("`{PACKED_MANIFEST}` in the project cannot be used: {cause}")]
    Manifest {
        /// What is wrong with it.
        cause: String,
    },
    /// Packed dependencies need another node.
    #[error(
        "the project's dependencies were packed for {packed_for}, and this node has glibc {}.{} on {}: {} would not load",
        glibc.0, glibc.1, std::env::consts::ARCH, needing.join(", ")
    )]
    Platform {
        /// Platform tag that they were packed for.
        packed_for: String,
        /// The node's glibc.
        glibc: (u32, u32),
        /// Name and version of each package that needs another.
        needing: Vec<String>,
    },
    /// A line of requirements.txt that is none.
    #[error("`{file}` line {line}: `{text}` is not a requirement: {cause}")]
    Requirement {
        /// Path in the project.
        file: String,
        /// From 1.
        line: usize,
        /// The line.
        text: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The interpreter has not what requirements.txt names.
    #[error("`{}` has not what `{file}` asks for: {}", interpreter.display(), unmet.join("; "))]
    Unmet {
        /// Path of the requirements in the project.
        file: String,
        /// The interpreter.
        interpreter: PathBuf,
        /// Each requirement, with what was found.
        unmet: Vec<String>,
    },
    /// The interpreter did not say what packages it has.
    #[error("`{}` does not say which packages it has: it ended with {status} and wrote: {output}", interpreter.display())]
    Unanswered {
        /// The interpreter.
        interpreter: PathBuf,
        /// Exit status or signal.
        status: String,
        /// The end of what it wrote.
        output: String,
    },
    /// `--install`, and the project names nothing to install.
    #[error(
        "`--install` needs a `requirements.txt`, or `dependencies` of `[project]` in pyproject.toml, in the project"
    )]
    NothingToInstall,
    /// `--install`, and a requirement is a folder, of which it cannot be told whether it has changed.
    #[error("`{file}` names the folder `{folder}`, which `--install` does not install")]
    Folder {
        /// Path of the requirements in the project.
        file: String,
        /// As named.
        folder: String,
    },
    /// `--install`, and there is nothing to install with.
    #[error("cannot install the project's dependencies: `uv` is not on PATH, and `{}` has no pip", interpreter.display())]
    NoInstaller {
        /// The interpreter.
        interpreter: PathBuf,
    },
    /// uv or pip failed.
    #[error("cannot install `{file}` by {installer}: it ended with {status}: {output}")]
    Install {
        /// Path of the requirements in the project.
        file: String,
        /// `uv` or `pip`.
        installer: &'static str,
        /// Exit status or signal.
        status: String,
        /// Its last lines.
        output: String,
    },
    /// Getting them ready was stopped by the time limit, or by a signal, which then says so itself.
    #[error("the time limit was reached before the project's dependencies were in place")]
    Stopped,
    /// There is no folder on the node that is this user's own.
    #[error("`--install` needs a folder to keep packages in: {cause}")]
    NoStore {
        /// Why there is none.
        cause: String,
    },
    /// A program cannot be started, or a file not written.
    #[error("cannot {doing}")]
    Io {
        /// What was being done.
        doing: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The project cannot be read or unpacked.
    #[error(transparent)]
    Project(#[from] ProjectError),
}

impl Failing for DependencyError {
    fn exit_code(&self) -> ExitCode {
        use DependencyError::*;
        match self {
            Manifest { .. } | Requirement { .. } | NothingToInstall | Folder { .. } => ExitCode::Project,
            Platform { .. } | Unmet { .. } | Unanswered { .. } | NoInstaller { .. } | Install { .. } => {
                ExitCode::Interpreter
            }
            Stopped => ExitCode::TimeLimit,
            NoStore { .. } | Io { .. } => ExitCode::Internal,
            Project(error) => error.exit_code(),
        }
    }

    fn code(&self) -> &'static str {
        use DependencyError::*;
        match self {
            Manifest { .. } => "dependencies.manifest_invalid",
            Platform { .. } => "dependencies.other_platform",
            Requirement { .. } => "dependencies.requirement_invalid",
            Unmet { .. } => "dependencies.unmet",
            Unanswered { .. } => "dependencies.no_answer",
            NothingToInstall => "dependencies.nothing_to_install",
            Folder { .. } => "dependencies.folder_named",
            NoInstaller { .. } => "dependencies.no_installer",
            Install { .. } => "dependencies.install_failed",
            Stopped => "run.time_limit",
            NoStore { .. } => "dependencies.no_store",
            Io { .. } => "dependencies.failed",
            Project(error) => error.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        use DependencyError::*;
        let hint = match self {
            Manifest { .. } => "pack the project again with `dray pack`",
            Platform { glibc, .. } => {
                return Some(format!(
                    "pack the project for the node, `dray pack --platform manylinux_{}_{}_{}`, or take a newer image",
                    glibc.0,
                    glibc.1,
                    std::env::consts::ARCH
                ));
            }
            Unmet { .. } => {
                "pack them into the project with `dray pack`, have them installed on the node with `dray run --install`, \
                 or run without them with `--ignore-requirements`"
            }
            Folder { .. } => "build a wheel of it, and name that; or have its modules in the project itself",
            NoInstaller { .. } => {
                "pack them into the project with `dray pack`, or install python3-pip in the pool's start task"
            }
            Install { .. } => {
                "pack them into the project with `dray pack`, where a failure shows before the pipeline runs"
            }
            NoStore { .. } => "set `DRAY_CACHE` to a folder of this user's own",
            Project(error) => return error.hint(),
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
