//! One folder a product: its dialect and its lanes. Beside them is what they have in common: the traits (`dialect`,
//! `lanes`), the connection that finds its product, and the words for columns and values.
//!
//! Adding a database is a folder and one line in `DIALECTS`. What the engine (`copy/`) must know of a product is a
//! method of [`Dialect`] or a lane that it offers; the engine never asks for a product by name. This module knows
//! `odbc/` below it and nothing of plans, pipelines or reports above it. The batch lies here, and not in `copy/`,
//! because the lanes fill and empty it, and arrows point one way.

pub mod arrow;
pub mod batch;
mod client_library;
pub mod column;
mod connection;
pub mod decimal;
mod dependants;
mod dialect;
mod error;
mod expression;
mod features;
mod generic;
mod lanes;
mod lines;
mod merge;
mod mysql;
mod postgres;
mod ranges;
pub mod script;
mod shaping;
mod sqlite;
mod sqlserver;
pub mod temporal;
mod tokens;

use std::ops::RangeInclusive;

pub use self::{
    batch::{Batch, ColumnData, Layout, Value, WireRows},
    column::{Column, Counter, Kind, LogicalType, Padding, Relation, Table},
    connection::{Connection, Kept},
    dependants::{Dependants, Given, KeyTo, Thing},
    dialect::{Dialect, ValueCheck},
    error::{Class, Error, WriteError},
    features::{Features, ForeignKey},
    lanes::{ReadLane, Reader, Resources, WireFormat, WriteLane, Writer},
    merge::{MergeSteps, Merging},
    ranges::{Condition, Ranges},
    shaping::{Carried, Made, NewKey, Shape, Shaping},
};
/// Every product, the most particular first; the last one takes what no other does.
static DIALECTS: [&dyn Dialect; 7] = [
    &postgres::Postgres,
    &mysql::MARIADB,
    &mysql::MYSQL,
    &sqlite::Sqlite,
    &sqlserver::MICROSOFT,
    &sqlserver::FREETDS,
    &generic::Generic,
];

/// The dialect of this name, for tests of what is decided without a connection.
#[cfg(test)]
pub(crate) fn dialect(name: &str) -> &'static dyn Dialect {
    *DIALECTS
        .iter()
        .find(|dialect| dialect.name() == name)
        .expect("a dialect of this name")
}

/// What a connection is for; drivers and servers are set up after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A script's own statements. The session's time zone is UTC, so that a timestamp with a zone is never ambiguous.
    Script,
    /// Reading tables in a stream.
    Read,
    /// Loading tables.
    Write,
}

/// How an existing table meets the rows that are loaded into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The rows are added.
    Append,
    /// The table is emptied first and keeps its shape.
    Truncate,
    /// The table is made anew from the source's columns.
    Replace,
}

/// What is done around a load, in order; plain values that a dry run can print.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadSteps {
    /// Statements before the rows, in the load's transaction.
    pub before: Vec<String>,
    /// The table that the rows go into, if it is not the target itself.
    pub staging: Option<Relation>,
    /// Statements after the rows, before the commit.
    pub after: Vec<String>,
    /// Statements after the commit; for products whose DDL ends the transaction.
    pub after_commit: Vec<String>,
    /// Statements after all is done, which change nothing about its success.
    pub cleanup: Vec<String>,
    /// Statements that take back what a rollback does not.
    pub undo: Vec<String>,
}

impl LoadSteps {
    /// The table that the rows go into and that takes the target's name only after the commit.
    pub fn renamed(&self) -> Option<&Relation> {
        self.staging.as_ref().filter(|_| !self.after_commit.is_empty())
    }
}

/// How a product commits without waiting until the rows are on its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelaxedCommits {
    /// The statement after which a session's commits return at once. Others see the rows; a server that goes down within
    /// the next second may lose them, whole transactions each.
    pub setup: &'static str,
    /// The statement after which, on a session without the setup, all that was committed before it is safe.
    pub settle: &'static str,
}

/// How rows enter a table that is there without a look at its CHECK and FOREIGN KEY constraints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unchecked {
    /// Statements before and after them, in the load's transaction.
    pub around: [Vec<String>; 2],
    /// What is not looked at, and what follows, for people.
    pub words: String,
}

/// A foreign key that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyThere {
    /// Its name.
    pub name: String,
    /// The table that it belongs to, with its schema.
    pub referring: Relation,
    /// The table that it refers to, with its schema.
    pub referred: Relation,
    /// What stands behind its name, if the catalog says it in one.
    pub definition: Option<String>,
    /// The rows that it is known to hold for.
    pub holds: Holds,
    /// Whether dray has put it back without a look at its rows, and nobody has looked at them since.
    pub unseen: bool,
}

/// The rows that a foreign key is known to hold for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// All that there are.
    All,
    /// Those that are written from now on.
    New,
    /// None: it is there and not enforced.
    None,
}

/// What stands for a table of a database wherever it is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockName(pub u64);

/// A lock that dies with its session, in the product's own SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableLock {
    /// A query that takes it without waiting and answers 1, or else anything else.
    pub take: String,
    /// A query that says in a few words who has it.
    pub holder: String,
    /// The statement that gives it back; `None` if the end of the transaction does.
    pub release: Option<String>,
}

/// How the later part of a transaction is taken back alone, in the product's own SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Savepoint {
    /// Begins the part.
    pub set: &'static str,
    /// Ends it; its changes belong to the transaction. `None` where the next one's beginning does.
    pub release: Option<&'static str>,
    /// Takes it back.
    pub undo: &'static str,
}

impl Savepoint {
    /// As the SQL standard has it.
    pub(crate) const STANDARD: Savepoint = Savepoint {
        set: "SAVEPOINT dray_part",
        release: Some("RELEASE SAVEPOINT dray_part"),
        undo: "ROLLBACK TO SAVEPOINT dray_part",
    };
}

/// How the cells of a column travel through ODBC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// In the C type of the column's layout (times and decimals: as text).
    Native,
    /// As text, whatever the layout, in the form that `temporal` and `decimal` read.
    Text,
    /// As text whose first letter says which class the value has: `i` an integer, `r` a real number, `t` text, `b` and
    /// `x` hexadecimal bytes, of a blob and of text. For products where each value has a type of its own.
    Dynamic,
}

/// How a column is read over ODBC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadAs {
    /// What stands in the SELECT list.
    pub expression: String,
    /// How its cells come.
    pub transfer: Transfer,
    /// Most characters or bytes of a cell, if there is a bound to rely on.
    pub bound: Option<usize>,
}

/// The form in which a value is handed over as a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A bit: true or false.
    Bit,
    /// A 64-bit integer.
    I64,
    /// A 64-bit float.
    F64,
    /// Decimal digits, as SQL_DECIMAL.
    Decimal,
    /// Text; instants with their offset.
    Text,
    /// Text; instants as UTC without an offset, for a session whose time zone is UTC.
    TextUtc,
    /// Bytes; text as its UTF-8.
    Bytes,
    /// A date.
    Date,
    /// A timestamp with this many digits of a second.
    Timestamp(u8),
}

/// How a column is written over ODBC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteAs {
    /// What stands in the VALUES list; holds one `?`.
    pub expression: String,
    /// How values are bound to it.
    pub form: Form,
}

/// What a product cannot hold in any column of a type that seems to fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Whether text may hold U+0000.
    pub nul_in_text: bool,
    /// Whether floats may be NaN.
    pub nan: bool,
    /// Whether floats may be infinite.
    pub infinity: bool,
    /// Years of dates and timestamps.
    pub years: RangeInclusive<i16>,
    /// Whether an instant goes into a timestamp without a zone, as UTC, for want of a type that holds all of them.
    pub instants_as_utc: bool,
    /// Whether dates and timestamps may be [`temporal::Date::INFINITY`] and its negative.
    pub infinite_dates: bool,
    /// Whether dates and timestamps may be [`temporal::Date::ZERO`].
    pub zero_dates: bool,
    /// Whether decimals may be `NaN`.
    pub decimal_nan: bool,
    /// Whether decimals without a declared precision may be `Infinity` and `-Infinity`.
    pub decimal_infinity: bool,
    /// Whether every value that is stored keeps within the precision, length and digits that its column declares.
    pub keeps_declared_sizes: bool,
}

/// What a reader reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A table or view, perhaps with a condition in the product's own SQL.
    Table {
        /// Its name.
        relation: Relation,
        /// The text after WHERE.
        condition: Option<String>,
    },
    /// A SELECT in the product's own SQL.
    Query(String),
}

impl Source {
    /// What stands after FROM, with the name of a table as `quoted` has it.
    ///
    /// May end in a comment of the user's own condition: whoever goes on after it begins a new line.
    pub(crate) fn after_from(&self, quoted: impl Fn(&Relation) -> String) -> String {
        match self {
            Source::Table { relation, condition } => {
                let condition = condition.as_ref().map(|text| format!(" WHERE {text}"));
                quoted(relation) + &condition.unwrap_or_default()
            }
            Source::Query(sql) => format!("({sql}\n) AS dray_query"),
        }
    }
}
