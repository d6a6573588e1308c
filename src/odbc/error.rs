//! What can go wrong below SQL: a driver that is not there, a call that the driver refused.

use std::path::PathBuf;

use super::{Diagnostic, Lacking};
use crate::connection_string::Malformed;
use crate::failure::{ExitCode, Failing};

/// An ODBC driver or call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No driver has the name that was asked for.
    #[error("no ODBC driver `{asked}` is registered on this node{}", listed(.found))]
    DriverNotFound {
        /// The name or file name in the connection string.
        asked: String,
        /// Names of the drivers that are there, the nearest name first.
        found: Vec<String>,
    },
    /// A registered driver's file is not on the disk.
    #[error("ODBC driver `{name}` is registered in `{registered_in}`, but its file `{file}` is not on this node")]
    DriverFileMissing {
        /// The driver's name.
        name: String,
        /// The file as registered.
        file: String,
        /// The odbcinst.ini that registers it.
        registered_in: String,
    },
    /// The driver's file is there, but the dynamic linker refuses it.
    #[error("ODBC driver `{}` cannot be loaded: {reason}", .path.display())]
    DriverUnloadable {
        /// The driver's file.
        path: PathBuf,
        /// What it lacks, with the packages; else the dynamic linker's words.
        reason: String,
        /// The libraries that it needs and the node lacks.
        lacking: Vec<Lacking>,
    },
    /// `DSN=` names no section of odbc.ini.
    #[error("no data source `{asked}` in odbc.ini{}", listed(.found))]
    DataSourceNotFound {
        /// The data source's name.
        asked: String,
        /// The data sources that are there, the nearest name first.
        found: Vec<String>,
    },
    /// The connection string cannot be read.
    #[error("malformed connection string: {0}")]
    ConnectionString(String),
    /// The connection was refused, or could not be made.
    #[error("cannot connect: {}", first(.diagnostics))]
    Connect {
        /// What the driver said, most important first.
        diagnostics: Vec<Diagnostic>,
        /// What helps, where whoever connects knows it.
        hint: Option<&'static str>,
    },
    /// A call on an open connection failed.
    #[error("{function}: {}", first(.diagnostics))]
    Call {
        /// The ODBC function, such as `SQLExecDirect`.
        function: &'static str,
        /// What the driver said, most important first.
        diagnostics: Vec<Diagnostic>,
    },
    /// The driver reported a cut value and did not say which one, or could not hand it over whole.
    #[error("column {column} has a value longer than its buffer that the driver does not hand over whole: {reason}")]
    Truncated {
        /// Column of the result, counted from 1; 0 if the driver does not say.
        column: usize,
        /// What was tried.
        reason: String,
    },
    /// A cell is longer than the cursor was told to hold.
    #[error("column {column} has a value of {bytes} bytes, {limit_bytes} are allowed")]
    CellTooLong {
        /// Column of the result, counted from 1.
        column: usize,
        /// Row of what would have been handed out next, counted from 0.
        row: usize,
        /// Bytes of the value, or as many of them as are known.
        bytes: usize,
        /// Most bytes that are allowed.
        limit_bytes: usize,
    },
    /// Text from the driver is not valid in the encoding that it was asked for.
    #[error("column {column} has text that is not valid {encoding}")]
    InvalidText {
        /// Column of the result, counted from 1; 0 for a name or a message.
        column: usize,
        /// `UTF-8` or `UTF-16`.
        encoding: &'static str,
    },
    /// The run was told to stop.
    #[error("cancelled")]
    Cancelled,
    /// Something that only a fault of dray or of the node explains.
    #[error("{0}")]
    Internal(String),
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "; none is".to_owned(),
        names => format!(
            "; there are {}",
            names
                .iter()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", ")
        ),
    }
}

fn first(diagnostics: &[Diagnostic]) -> String {
    match diagnostics.first() {
        Some(diagnostic) => diagnostic.to_string(),
        None => "the driver gave no reason".to_owned(),
    }
}

impl From<Malformed> for Error {
    fn from(Malformed(problem): Malformed) -> Error {
        Error::ConnectionString(problem)
    }
}

impl Error {
    /// The first diagnostic record, if a driver spoke.
    pub fn diagnostic(&self) -> Option<&Diagnostic> {
        match self {
            Error::Connect { diagnostics, .. } | Error::Call { diagnostics, .. } => diagnostics.first(),
            _ => None,
        }
    }

    /// The five letters of the first record's SQLSTATE.
    pub fn sqlstate(&self) -> Option<&str> {
        self.diagnostic().map(|diagnostic| diagnostic.sqlstate.as_str())
    }
}

impl Failing for Error {
    fn exit_code(&self) -> ExitCode {
        match self {
            Error::Internal(_) => ExitCode::Internal,
            _ => ExitCode::Connection,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Error::DriverNotFound { .. } => "odbc.driver_not_found",
            Error::DriverFileMissing { .. } => "odbc.driver_file_missing",
            Error::DriverUnloadable { .. } => "odbc.driver_unloadable",
            Error::DataSourceNotFound { .. } => "odbc.data_source_not_found",
            Error::ConnectionString(_) => "odbc.connection_string",
            Error::Connect { .. } => "odbc.connect_failed",
            Error::Call { .. } => "odbc.call_failed",
            Error::Truncated { .. } => "odbc.value_truncated",
            Error::CellTooLong { .. } => "odbc.cell_too_long",
            Error::InvalidText { .. } => "odbc.invalid_text",
            Error::Cancelled => "odbc.cancelled",
            Error::Internal(_) => "odbc.internal",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Error::DriverNotFound { .. } | Error::DriverFileMissing { .. } => Some(
                "install the driver's package in the pool's start task, or name its file in `DRAY_ODBC_DRIVERS`"
                    .to_owned(),
            ),
            Error::DriverUnloadable { lacking, .. } if !lacking.is_empty() => {
                Some("install the packages in the pool's start task".to_owned())
            }
            Error::Connect { hint, .. } => hint.map(str::to_owned),
            _ => None,
        }
    }
}
