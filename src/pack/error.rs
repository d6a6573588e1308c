//! What can go wrong with packing.

use std::io;
use std::path::PathBuf;

use crate::failure::{ExitCode, Failing};
use crate::project::ProjectError;

/// Why a project could not be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// A zip, or something else that is no folder.
    #[error("cannot pack `{}`: it is not a folder", path.display())]
    NotAFolder {
        /// DIR as given.
        path: PathBuf,
    },
    /// `--python` or `--platform` makes no sense.
    #[error("{0}")]
    Target(String),
    /// A name that no member of a project can have.
    #[error("`{}` in the project has a name that is not UTF-8", path.display())]
    NotUtf8 {
        /// Path in the project, lossy.
        path: PathBuf,
    },
    /// A pipe, socket or device.
    #[error("`{}` in the project is neither a file nor a symbolic link", path.display())]
    Special {
        /// Path in the project.
        path: PathBuf,
    },
    /// A run would refuse it.
    #[error("symbolic link `{}` leaves the project folder: it points to `{}`", path.display(), target.display())]
    LinkLeaves {
        /// Path in the project.
        path: PathBuf,
        /// Where it points to.
        target: PathBuf,
    },
    /// There is nothing to fetch wheels with.
    #[error("cannot get the project's dependencies: neither `python3 -m pip` nor `uv` can be started")]
    NoInstaller,
    /// A dependency has nothing that runs on the target.
    #[error("{}", refused.join("; "))]
    NoWheel {
        /// A sentence for each.
        refused: Vec<String>,
        /// The target.
        target: String,
    },
    /// uv or pip failed for another reason.
    #[error("{tool} cannot get the project's dependencies for {target}: {output}")]
    Resolve {
        /// `uv` or `pip`.
        tool: &'static str,
        /// The target.
        target: String,
        /// What it said.
        output: String,
    },
    /// A wheel that is not one.
    #[error("wheel `{wheel}` cannot be packed: {cause}")]
    Wheel {
        /// Its file name.
        wheel: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A wheel cannot be read, or the project not opened.
    #[error(transparent)]
    Project(#[from] ProjectError),
    /// The zip cannot be written.
    #[error("cannot write `{}`", output.display())]
    Write {
        /// The zip.
        output: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something else cannot be read, written or started.
    #[error("cannot {doing}")]
    Io {
        /// What was being done.
        doing: String,
        /// Why.
        source: io::Error,
    },
}

impl Failing for PackError {
    fn exit_code(&self) -> ExitCode {
        use PackError::*;
        match self {
            Target(_) => ExitCode::Usage,
            Write { .. } | Io { .. } | NoInstaller => ExitCode::Internal,
            Project(error) => error.exit_code(),
            _ => ExitCode::Project,
        }
    }

    fn code(&self) -> &'static str {
        use PackError::*;
        match self {
            NotAFolder { .. } => "pack.not_a_folder",
            Target(_) => "usage.option",
            NotUtf8 { .. } => "pack.name_not_utf8",
            Special { .. } => "pack.special_file",
            LinkLeaves { .. } => "pack.symlink_leaves_tree",
            NoInstaller => "pack.no_installer",
            NoWheel { .. } => "pack.no_wheel",
            Resolve { .. } => "pack.not_resolved",
            Wheel { .. } => "pack.wheel_invalid",
            Project(error) => error.code(),
            Write { .. } => "pack.write_failed",
            Io { .. } => "pack.failed",
        }
    }

    fn hint(&self) -> Option<String> {
        use PackError::*;
        let hint = match self {
            LinkLeaves { .. } => "copy the file into the project, or leave the link out by `exclude` in [tool.dray]",
            NoInstaller => "install pip for the `python3` on PATH, or uv",
            NoWheel { .. } => {
                "take another version, build a wheel and name its file in the requirements, or change `--python` or \
                 `--platform`"
            }
            Project(error) => return error.hint(),
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
