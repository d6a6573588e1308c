//! What can go wrong between "which Python" and "it runs".

use std::io;
use std::path::PathBuf;

use super::suitability::OLDEST_MINOR;
use super::{PassedOver, Refusal, Source};
use crate::failure::{ExitCode, Failing};

/// Why no Python could be found or started.
#[derive(Debug, thiserror::Error)]
pub enum InterpreterError {
    /// The project's `requires-python` is no version specifier.
    #[error("`requires-python` of the project is `{text}`, which is not a version specifier: {cause}")]
    RequiresPython {
        /// The value.
        text: String,
        /// Where it stops to be one.
        cause: String,
    },
    /// `DRAY_LOADING` has a value that is not known.
    #[error("`DRAY_LOADING` is `{found}`, allowed are `auto`, `library` and `hosted`")]
    LoadingChoice {
        /// The value.
        found: String,
    },
    /// The interpreter that the user named does not do; no other is tried.
    #[error("`{}`, named by {origin}, cannot run this project: {refusal}", candidate.display())]
    Named {
        /// Who named it.
        origin: Source,
        /// The path, as far as it could be made out.
        candidate: PathBuf,
        /// Why not.
        refusal: Box<Refusal>,
    },
    /// No candidate does.
    #[error("no usable Python found for this project{}", listed(.passed_over))]
    NoneFound {
        /// All that was looked at.
        passed_over: Vec<PassedOver>,
    },
    /// A libpython cannot be loaded into the worker.
    #[error("cannot load libpython `{}`: {cause}", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// The dynamic loader's words.
        cause: String,
    },
    /// A libpython of another build than the interpreter.
    #[error(
        "`{}` is Python {found}, but the interpreter `{}` is Python {needed}: not of one build",
        library.display(),
        executable.display()
    )]
    OtherBuild {
        /// The library.
        library: PathBuf,
        /// Its `Py_GetVersion()`.
        found: String,
        /// The interpreter.
        executable: PathBuf,
        /// Its `sys.version`.
        needed: String,
    },
    /// The worker could not become the interpreter.
    #[error("cannot start the interpreter `{}`", executable.display())]
    Start {
        /// The interpreter.
        executable: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

fn listed(passed_over: &[PassedOver]) -> String {
    if passed_over.is_empty() {
        return ": no folder on PATH has a `python3` or a `python`".to_owned();
    }
    let tried: Vec<String> = passed_over.iter().map(PassedOver::to_string).collect();
    format!(": {}", tried.join("; "))
}

impl Failing for InterpreterError {
    fn exit_code(&self) -> ExitCode {
        match self {
            InterpreterError::RequiresPython { .. } => ExitCode::Project,
            InterpreterError::LoadingChoice { .. } => ExitCode::Usage,
            _ => ExitCode::Interpreter,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            InterpreterError::RequiresPython { .. } => "interpreter.requires_python_invalid",
            InterpreterError::LoadingChoice { .. } => "interpreter.loading_unknown",
            InterpreterError::Named { .. } => "interpreter.named_unfit",
            InterpreterError::NoneFound { .. } => "interpreter.none_found",
            InterpreterError::Load { .. } => "interpreter.load_failed",
            InterpreterError::OtherBuild { .. } => "interpreter.other_build",
            InterpreterError::Start { .. } => "interpreter.start_failed",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            InterpreterError::RequiresPython { .. } => {
                Some("write it as in `>=3.9,<4`; `^3.9` is understood by Poetry alone".to_owned())
            }
            InterpreterError::Named {
                origin: Source::VirtualEnv,
                ..
            } => Some(
                "make the virtual environment anew, unset VIRTUAL_ENV, or name another Python with `--python`"
                    .to_owned(),
            ),
            InterpreterError::Named { refusal, .. } if packed_for(refusal).is_some() => packed_for(refusal),
            InterpreterError::NoneFound { passed_over }
                if passed_over.iter().any(|other| packed_for(&other.reason).is_some()) =>
            {
                passed_over.iter().find_map(|other| packed_for(&other.reason))
            }
            InterpreterError::Named { .. } | InterpreterError::NoneFound { .. } => Some(format!(
                "name a CPython 3.{OLDEST_MINOR} or newer with `--python` or `DRAY_PYTHON`"
            )),
            InterpreterError::Load { .. } | InterpreterError::OtherBuild { .. } => {
                Some("leave out `DRAY_LOADING=library`: the interpreter then runs the project itself".to_owned())
            }
            _ => None,
        }
    }
}

/// What helps where a Python would do but for the dependencies in the project.
fn packed_for(refusal: &Refusal) -> Option<String> {
    let Refusal::PackedFor { found, packed_for } = refusal else {
        return None;
    };
    Some(format!(
        "pack the project for the node's Python, `dray pack --python {}.{}`, or let the node have Python {}.{}",
        found.major, found.minor, packed_for.0, packed_for.1
    ))
}

/// Why the payload cannot be had or laid out.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// It is neither in the executable nor beside it.
    #[error("this executable carries no Python package `dray`, and none is beside it")]
    NotFound,
    /// A part of it is not there.
    #[error("the Python package `dray` in `{}` lacks {lacking}", folder.display())]
    Incomplete {
        /// Where the package was found.
        folder: PathBuf,
        /// What is not there.
        lacking: String,
    },
    /// The executable itself cannot be read as an archive.
    #[error("cannot read the Python package `dray` that is appended to this executable")]
    Archive(#[from] zip::result::ZipError),
    /// A file of it cannot be read or written.
    #[error("cannot lay out the Python package `dray`")]
    Io(#[from] io::Error),
}

impl Failing for PayloadError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Internal
    }

    fn code(&self) -> &'static str {
        match self {
            PayloadError::NotFound => "payload.not_found",
            PayloadError::Incomplete { .. } => "payload.incomplete",
            PayloadError::Archive(_) => "payload.unreadable",
            PayloadError::Io(_) => "payload.not_laid_out",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            PayloadError::NotFound | PayloadError::Incomplete { .. } => Some(
                "in a source tree, `cargo build --workspace` builds the native module beside the executable".to_owned(),
            ),
            _ => None,
        }
    }
}
