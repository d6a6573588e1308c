//! What can go wrong with a database, and what kind of trouble it is.

use crate::odbc::{self, Diagnostic};

/// What kind of trouble a diagnostic record tells of; policy (retry, wait, abort) is the engine's and not decided here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The connection was lost, or cannot be made now.
    ConnectionLost,
    /// Wrong user, password or database.
    AccessDenied,
    /// The user may not do this.
    PermissionDenied,
    /// Deadlock or serialization: the server has taken the transaction back, and the same again may work.
    Conflict,
    /// Another session has held a lock for longer than this one was to wait.
    LockTimeout,
    /// Starting, stopping, waking up, or too busy for now: the same later may work.
    NotReady,
    /// A value that the column does not take.
    Data,
    /// A key, foreign key, NOT NULL or CHECK constraint; or a trigger that refuses a row.
    Constraint,
    /// A table, column or other object that is not there.
    NotFound,
    /// An object that something else still needs, such as a view.
    InUse,
    /// SQL that the product does not understand.
    Syntax,
    /// Disk, memory or connections have run out.
    Resources,
    /// Stopped, or out of time.
    Cancelled,
    /// Anything else.
    Other,
}

impl Class {
    /// By the standard's classes of SQLSTATE; products add to it with their native codes.
    pub fn of_sqlstate(sqlstate: &str) -> Class {
        match sqlstate {
            "40001" | "40P01" => return Class::Conflict,
            "55P03" => return Class::LockTimeout,
            "42501" => return Class::PermissionDenied,
            "42S02" | "42S22" | "42P01" | "42703" | "3F000" => return Class::NotFound,
            "2BP01" => return Class::InUse,
            "57014" | "HY008" | "HYT00" => return Class::Cancelled,
            "57P01" | "57P02" => return Class::ConnectionLost,
            "57P03" | "53300" => return Class::NotReady,
            // What procedures and triggers raise, in the standard and in PostgreSQL.
            "45000" | "P0001" => return Class::Constraint,
            // A row that is too long for an index.
            "54000" => return Class::Data,
            _ => {}
        }
        match sqlstate.get(..2) {
            Some("08") => Class::ConnectionLost,
            Some("28") => Class::AccessDenied,
            Some("22") => Class::Data,
            Some("23") => Class::Constraint,
            Some("40") => Class::Conflict,
            Some("42") => Class::Syntax,
            Some("53") => Class::Resources,
            _ => Class::Other,
        }
    }

    /// Its stable name in error codes.
    pub fn code(self) -> &'static str {
        match self {
            Class::ConnectionLost => "database.connection_lost",
            Class::AccessDenied => "database.access_denied",
            Class::PermissionDenied => "database.permission_denied",
            Class::Conflict => "database.conflict",
            Class::LockTimeout => "database.lock_timeout",
            Class::NotReady => "database.not_ready",
            Class::Data => "database.data",
            Class::Constraint => "database.constraint",
            Class::NotFound => "database.not_found",
            Class::InUse => "database.in_use",
            Class::Syntax => "database.syntax",
            Class::Resources => "database.resources",
            Class::Cancelled => "database.cancelled",
            Class::Other => "database.other",
        }
    }
}

/// A database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The driver or the server said no.
    #[error(transparent)]
    Odbc(#[from] odbc::Error),
    /// A product's own client library, or the server through it, said no.
    #[error("{function}: {diagnostic}")]
    Client {
        /// The library's function, such as `PQexec`.
        function: &'static str,
        /// What it said; `HY000` where the library knows no SQLSTATE.
        diagnostic: Diagnostic,
    },
    /// The server, or the lane in, said no to one row of a load; perhaps of an earlier batch than the one at hand.
    #[error("{error}")]
    Row {
        /// The row's number in the order of writing, from 1.
        row: u64,
        /// The column's name, if one is at fault.
        column: Option<String>,
        /// Why.
        error: Box<Error>,
    },
    /// A value that cannot be read exactly.
    #[error("column `{column}`, row {row}: {reason}")]
    Unreadable {
        /// The column's name.
        column: String,
        /// The row's number in the order of reading, from 1.
        row: u64,
        /// Why; never the value.
        reason: String,
    },
    /// A value that may mean something else to the target if it passes unparsed: its table is copied value by value.
    #[error("column `{column}`, row {row}: the value cannot pass unparsed")]
    InDoubt {
        /// The column's name.
        column: String,
        /// The row's number in the order of reading, from 1.
        row: u64,
    },
    /// A row that is longer than the server takes.
    #[error("the row has {bytes} bytes, and the server's `{name}` is {limit}")]
    RowTooLong {
        /// Bytes of the row's values.
        bytes: usize,
        /// What the server calls its limit.
        name: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
    /// A value or a row that the budget has no room for.
    #[error("{bytes} bytes do not fit into the memory that the copy may use here, {limit_bytes} bytes")]
    OverMemoryLimit {
        /// The column's name, if one value alone is too long.
        column: Option<String>,
        /// The row's number in the order of reading, from 1, if it is known.
        row: Option<u64>,
        /// Bytes that it takes.
        bytes: usize,
        /// Bytes that there are for it.
        limit_bytes: usize,
    },
    /// The product, or this table of it, is not supported in this way.
    #[error("{0}")]
    Unsupported(String),
}

impl Error {
    /// The driver's error, if it is one.
    pub fn odbc(&self) -> Option<&odbc::Error> {
        match self {
            Error::Odbc(error) => Some(error),
            _ => None,
        }
    }

    /// What the driver, the client library or the server said, if one of them spoke.
    pub fn diagnostic(&self) -> Option<&Diagnostic> {
        match self {
            Error::Odbc(error) => error.diagnostic(),
            Error::Client { diagnostic, .. } => Some(diagnostic),
            Error::Row { error, .. } => error.diagnostic(),
            _ => None,
        }
    }

    /// The work was told to stop.
    pub fn cancelled() -> Error {
        Error::Odbc(odbc::Error::Cancelled)
    }
}

/// A batch that could not be loaded.
#[derive(Debug)]
pub struct WriteError {
    /// Why.
    pub error: Error,
    /// The row within the batch, from 0, if it is known.
    pub row: Option<usize>,
}

impl From<Error> for WriteError {
    fn from(error: Error) -> Self {
        WriteError { error, row: None }
    }
}

impl From<odbc::Error> for WriteError {
    fn from(error: odbc::Error) -> Self {
        WriteError {
            error: Error::Odbc(error),
            row: None,
        }
    }
}
