//! One page about a run, made from the log that it left: what ran when on which worker, how fast, and what went wrong.
//!
//! Owns the reading of the log, the drawings and the page. Knows the names of the log's events and their fields, and
//! nothing of how they came about. The page stands alone: no script, and nothing that a browser would have to fetch.

mod chart;
mod log;
mod page;

use std::path::{Path, PathBuf};

pub use log::Log;

use crate::failure::{ExitCode, Failing};

/// A page could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A log cannot be read.
    #[error("cannot read the log")]
    Read(#[source] std::io::Error),
    /// A log holds nothing to report on.
    #[error("`{}` holds no record of a run: none of its {lines} lines is a JSON object with `time` and `event`", path.display())]
    NoRecords {
        /// The file.
        path: PathBuf,
        /// How many lines it has.
        lines: usize,
    },
    /// The page cannot be written.
    #[error("cannot write the page")]
    Write(#[source] std::io::Error),
}

impl Failing for ReportError {
    fn exit_code(&self) -> ExitCode {
        match self {
            ReportError::Read(_) | ReportError::NoRecords { .. } => ExitCode::Usage,
            ReportError::Write(_) => ExitCode::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            ReportError::Read(_) => "report.unreadable",
            ReportError::NoRecords { .. } => "report.no_records",
            ReportError::Write(_) => "report.unwritable",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            ReportError::NoRecords { .. } => {
                Some("dray logs in JSON where stderr is no terminal, or by `--log-format json`".to_owned())
            }
            _ => None,
        }
    }
}

/// The page about these logs, which may be of several tasks.
///
/// # Errors
/// A log that cannot be read, or has no record.
pub fn page(paths: &[impl AsRef<Path>]) -> Result<String, ReportError> {
    let mut log = Log::default();
    for path in paths {
        log.read(path.as_ref())?;
    }
    log.finish();
    Ok(page::render(&log))
}
