//! Why a table was not copied, in fields that a program can look at and a sentence for people.

use std::fmt;

use serde::Serialize;

use crate::{
    database::{self, Class, Dialect},
    failure::Failing,
    odbc::{self, Diagnostic},
};

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Connecting.
    Connect,
    /// Finding out what to do.
    Plan,
    /// Making or emptying the target.
    Prepare,
    /// Reading rows.
    Read,
    /// Checking values against the target's columns.
    Convert,
    /// Loading rows.
    Write,
    /// Making the rows permanent.
    Commit,
}

impl Phase {
    /// As reports call it.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Connect => "connect",
            Phase::Plan => "plan",
            Phase::Prepare => "prepare",
            Phase::Read => "read",
            Phase::Convert => "convert",
            Phase::Write => "write",
            Phase::Commit => "commit",
        }
    }
}

/// Which of the two databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Where the rows come from.
    Source,
    /// Where the rows go; called target in the interface.
    Target,
}

/// One table's copy failed. Never holds a secret, nor a cell value but those in `key`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableError {
    /// The source table, or `query`.
    pub table: String,
    /// The table in the target.
    pub target: String,
    /// What was being done.
    pub phase: Phase,
    /// Where.
    pub side: Side,
    /// The column, if one is at fault.
    pub column: Option<String>,
    /// The row in the order of reading, from 1, if one is at fault.
    pub row: Option<u64>,
    /// The row's key, such as `l_orderkey=7, l_linenumber=2`, if one is at fault and the table has a primary key. Only
    /// its whole numbers, decimals, dates, timestamps and UUIDs: what is text may be somebody's name.
    pub key: Option<String>,
    /// SQLSTATE, if a driver spoke.
    pub sqlstate: Option<String>,
    /// The product's own error number, if a driver spoke.
    pub native: Option<i32>,
    /// Stable name.
    pub code: String,
    /// What happened.
    pub message: String,
    /// What may help.
    pub hint: Option<String>,
    /// What kind of trouble it is, if a driver or server spoke.
    #[serde(skip)]
    pub(super) class: Option<Class>,
    /// Whether it is not known if the rows are in the target for good: only the journal can tell.
    #[serde(skip)]
    pub(super) end_unknown: bool,
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::Source => "source",
            Side::Target => "target",
        };
        write!(f, "cannot copy `{}` to `{}`: {side}", self.table, self.target)?;
        if let Some(column) = &self.column {
            write!(f, ", column `{column}`")?;
        }
        if let Some(row) = self.row {
            write!(f, ", row {row}")?;
        }
        if let Some(key) = &self.key {
            write!(f, " ({key})")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for TableError {}

/// The code of a value or row that the budget has no room for.
pub(super) const OVER_MEMORY_LIMIT: &str = "copy.over_memory_limit";

/// The code of a value that cannot pass unparsed; the copy is made again, value by value, and nobody sees it.
pub(super) const IN_DOUBT: &str = "copy.in_doubt";

/// Where in a copy something failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub phase: Phase,
    pub side: Side,
}

impl TableError {
    /// An error of our own making: a plan that is not possible, a value that does not fit.
    pub(super) fn refused(place: Place, code: &str, message: String) -> Box<TableError> {
        Box::new(TableError {
            table: String::new(),
            target: String::new(),
            phase: place.phase,
            side: place.side,
            column: None,
            row: None,
            key: None,
            sqlstate: None,
            native: None,
            code: code.to_owned(),
            message,
            hint: None,
            class: None,
            end_unknown: false,
        })
    }

    /// An error that came from a database or its driver.
    pub(super) fn database(place: Place, error: database::Error, dialect: Option<&dyn Dialect>) -> Box<TableError> {
        let mut failed = TableError::refused(place, "copy.unsupported", error.to_string());
        match error {
            database::Error::Odbc(odbc::Error::Cancelled) => {
                failed.code = "copy.cancelled".to_owned();
                failed.message = "cancelled; what was loaded is rolled back".to_owned();
            }
            database::Error::Odbc(error) => {
                failed.code = error.code().to_owned();
                failed.hint = error.hint();
                if let Some(diagnostic) = error.diagnostic() {
                    failed.diagnosed(diagnostic, dialect);
                }
            }
            database::Error::Client { diagnostic, .. } => failed.diagnosed(&diagnostic, dialect),
            database::Error::Row { row, column, error } => {
                failed = TableError::database(place, *error, dialect);
                failed.row = Some(row);
                failed.column = column;
            }
            database::Error::Unreadable { column, row, reason } => {
                failed.code = "copy.value_unreadable".to_owned();
                failed.message = reason;
                failed.column = Some(column);
                failed.row = Some(row);
            }
            database::Error::InDoubt { column, row } => {
                failed.code = IN_DOUBT.to_owned();
                failed.column = Some(column);
                failed.row = Some(row);
            }
            database::Error::RowTooLong { name, .. } => {
                failed.code = "copy.row_too_long".to_owned();
                failed.hint = Some(format!("raise `{name}` at the server"));
            }
            database::Error::OverMemoryLimit { column, row, .. } => {
                failed.code = OVER_MEMORY_LIMIT.to_owned();
                failed.hint = Some("raise `memory_limit`".to_owned());
                failed.column = column;
                failed.row = row;
            }
            database::Error::Unsupported(_) => {}
        }
        failed
    }

    /// Takes over what a driver, a client library or a server said.
    fn diagnosed(&mut self, diagnostic: &Diagnostic, dialect: Option<&dyn Dialect>) {
        self.sqlstate = Some(diagnostic.sqlstate.clone());
        self.native = Some(diagnostic.native);
        let Some(dialect) = dialect else { return };
        self.message = dialect.without_values(&diagnostic.message);
        self.message.push_str(&format!(
            " (SQLSTATE {}, native {})",
            diagnostic.sqlstate, diagnostic.native
        ));
        let class = dialect.classify(diagnostic);
        self.class = Some(class);
        if self.phase != Phase::Connect {
            self.code = class.code().to_owned();
        }
    }

    /// The error with the names of its tables.
    pub(super) fn of(mut self: Box<Self>, table: &str, target: &str) -> Box<TableError> {
        self.table = table.to_owned();
        self.target = target.to_owned();
        self
    }

    /// Whether the driver or the connection is at fault, and no table's content.
    pub fn is_connection(&self) -> bool {
        self.phase == Phase::Connect
    }
}
