//! One folder a product: its dialect and its lanes. Here is what they have in common: the traits, the words for columns
//! and values, and how a connection finds its product.
//!
//! Adding a database is a folder and one line in [`DIALECTS`]. What the engine (`copy/`) must know of a product is a
//! method of [`Dialect`] or a lane that it offers; the engine never asks for a product by name. This module knows
//! `odbc/` below it and nothing of plans, pipelines or reports above it. The batch lies here, and not in `copy/`,
//! because the lanes fill and empty it, and arrows point one way.

pub mod arrow;
pub mod batch;
mod client_library;
pub mod column;
pub mod decimal;
mod dependants;
mod error;
mod expression;
mod features;
mod generic;
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

use std::{
    any::Any,
    ops::RangeInclusive,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use odbc_sys::InfoType;

pub use self::{
    batch::{Batch, ColumnData, Layout, Value, WireRows},
    column::{Column, Counter, Kind, LogicalType, Padding, Relation, Table},
    dependants::{Dependants, Given, KeyTo, Thing},
    error::{Class, Error, WriteError},
    features::{Features, ForeignKey},
    merge::{MergeSteps, Merging},
    ranges::{Condition, Ranges},
    shaping::{Carried, Made, NewKey, Shape, Shaping},
};
use crate::odbc::{
    self, ConnectOptions, ConnectionString, Diagnostic, DriverSearch, Interrupt, Quirks, ResultColumn, Session,
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

/// A database product: what is particular to its SQL, its types and its errors.
pub trait Dialect: Send + Sync {
    /// The product's name, in lower case.
    fn name(&self) -> &'static str;

    /// A query for the server's version, a text in its first cell, where the driver's `SQL_DBMS_VER` is not to be trusted.
    fn version_query(&self) -> Option<&'static str> {
        None
    }

    /// Whether this is the product, by what its driver answers to `SQL_DBMS_NAME`.
    fn is_product(&self, dbms_name: &str) -> bool;

    /// Whether a driver of this file name leads to the product: known before connecting, and what tells the dialects of
    /// one product apart that has several.
    fn is_driver(&self, file_name: &str) -> bool;

    /// Attributes for the connection string where it does not have them itself.
    fn connection_options(&self, _purpose: Purpose) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// Attributes of the connection handle, by their number, that are set before connecting. Drivers that do not know one
    /// go on without.
    fn connection_attributes(&self, _purpose: Purpose) -> &'static [(i32, usize)] {
        &[]
    }

    /// An attribute that is a structure, by its number, made of a part of the connection string that the driver does not
    /// know; the part is taken out.
    ///
    /// # Errors
    /// [`odbc::Error::ConnectionString`] for what the driver cannot take.
    fn connection_structure(&self, _string: &mut ConnectionString) -> Result<Option<(i32, Vec<u8>)>, Error> {
        Ok(None)
    }

    /// What helps against a connection that was refused with this.
    fn connect_hint(&self, _diagnostic: &Diagnostic) -> Option<&'static str> {
        None
    }

    /// What the product's driver does wrong without saying so.
    fn quirks(&self) -> Quirks {
        Quirks::default()
    }

    /// Looks whether the driver did what its attributes ask for, where one is known not to.
    ///
    /// # Errors
    /// What it did not do.
    fn check_session(&self, _session: &Session, _settings: &ConnectionString) -> Result<(), Error> {
        Ok(())
    }

    /// Statements that set up a writing session further when the source is read from the same storage.
    fn setup_beside_source(&self, _own: &ConnectionString, _source: &ConnectionString) -> &'static [&'static str] {
        &[]
    }

    /// Whether the driver reads in a stream only where each statement is its own transaction.
    fn reads_in_autocommit(&self) -> bool {
        false
    }

    /// Whether the driver keeps a whole result in memory, whatever it is asked for.
    fn buffers_results(&self, _session: &Session) -> bool {
        false
    }

    /// Statements that set up a new session.
    fn session_setup(&self, _purpose: Purpose) -> &'static [&'static str] {
        &[]
    }

    /// An identifier in quotes.
    fn quote(&self, identifier: &str) -> String {
        format!("\"{}\"", identifier.replace('"', "\"\""))
    }

    /// A relation's name in quotes.
    fn quote_relation(&self, relation: &Relation) -> String {
        relation.joined(|part| self.quote(part))
    }

    /// Each of these tables by the one name that it has for this connection: without a catalog in the connection's own
    /// database, else with the catalog's name as it is stored, and the schema. Asked where one of them says where it is, by
    /// few queries for all; or why it is out of the connection's reach.
    fn reach(&self, _session: &Session, relations: &[Relation]) -> Result<Vec<Result<Relation, String>>, Error> {
        let reach = |relation: &Relation| match relation.is_elsewhere() {
            true => Err(format!(
                "table name `{relation}` has {} parts, `schema.table` or `table` is allowed in this product (`{}`): the \
                 connection says which database, and a `query` may read from others of its server",
                relation.parts().count(),
                self.name()
            )),
            false => Ok(relation.clone()),
        };
        Ok(relations.iter().map(reach).collect())
    }

    /// The schema that a name without one belongs to; `None` if the product has no such notion.
    fn default_schema(&self, session: &Session) -> Result<Option<String>, Error>;

    /// All tables and views that a user may mean, with their schemas, without the product's own; of another database that is
    /// in [`Self::reach`], if a catalog is named.
    fn relations(&self, session: &Session, catalog: Option<&str>) -> Result<Vec<Relation>, Error>;

    /// What a table or view looks like; `None` if there is none of this name.
    fn table(&self, session: &Session, relation: &Relation) -> Result<Option<Table>, Error>;

    /// What [`Self::table`] says of each of these, by few queries for all; `None` for products that are asked as fast one
    /// by one.
    fn tables(&self, _session: &Session, _relations: &[Relation]) -> Result<Option<Vec<Option<Table>>>, Error> {
        Ok(None)
    }

    /// About how many bytes each of these tables holds, by few queries for all and from what the product knows without
    /// looking at rows; `None` where it does not know.
    fn estimated_bytes(&self, _session: &Session, relations: &[Relation]) -> Result<Vec<Option<u64>>, Error> {
        Ok(vec![None; relations.len()])
    }

    /// The SELECT of this list from a source.
    fn select(&self, list: &str, source: &Source) -> String {
        generic::select(self, list, source)
    }

    /// What the result of a query looks like, without running it to its end.
    fn query_columns(&self, session: &Session, sql: &str) -> Result<Vec<Column>, Error> {
        let mut statement = session.statement()?;
        statement.execute_direct(&format!("SELECT * FROM ({sql}\n) AS dray_query WHERE 1 = 0"))?;
        Ok(statement
            .result_columns()?
            .into_iter()
            .map(|column| self.result_column(column))
            .collect())
    }

    /// A result's column in common words, from what the driver says of it.
    fn result_column(&self, column: ResultColumn) -> Column {
        generic::result_column(column)
    }

    /// A column as it is read when the destination is the same product, so that nothing needs to be understood.
    fn verbatim(&self, column: &Column) -> Column {
        column.clone()
    }

    /// Why a column's values have no exact form that they could be read in, if they have none. Asked of what
    /// [`Self::verbatim`] made of the column, where that is asked.
    fn unreadable(&self, _column: &Column) -> Option<String> {
        None
    }

    /// Whether a column takes the values of the same type of this product alone: it would change the text of another's.
    fn takes_own_alone(&self, _column: &Column) -> bool {
        false
    }

    /// How a column is read over ODBC.
    fn read_as(&self, column: &Column) -> ReadAs;

    /// How a column is written over ODBC.
    fn write_as(&self, column: &Column) -> WriteAs;

    /// What a lane that does not spell values itself has to look at in each value of a column, because the product would
    /// keep another one without a word: by the place of the column among these. The table is there.
    fn value_checks(
        &self,
        _session: &Session,
        _target: &Relation,
        _columns: &[Column],
    ) -> Result<Vec<(usize, ValueCheck)>, Error> {
        Ok(Vec::new())
    }

    /// The product's type for a source's column, in its own words and in common ones.
    ///
    /// # Errors
    /// Why the product has none.
    fn declare(&self, column: &Column) -> Result<(String, LogicalType), String>;

    /// The form of a script's parameter of this type.
    fn parameter_form(&self, logical: LogicalType) -> Form {
        generic::standard_form(logical)
    }

    /// Whether the driver takes text parameters with U+0000 in them as they are.
    fn nul_in_parameters(&self) -> bool {
        true
    }

    /// A script's query as it is sent, if its values can only be told apart by rewriting it: with
    /// [`Transfer::Dynamic`] for each of its `columns`.
    fn script_query(&self, _sql: &str, _columns: usize) -> Option<String> {
        None
    }

    /// A column of each type that users meet, as the catalog would tell it, for the page of types.
    #[cfg(test)]
    fn listed_types(&self) -> Vec<Column> {
        Vec::new()
    }

    /// What no column of the product holds.
    fn limits(&self) -> Limits;

    /// Most sessions that can load tables of one database at the same time; `None` without a bound.
    fn writers_max(&self) -> Option<usize> {
        None
    }

    /// How sessions of this user can commit without waiting for the disk, if they can; a lane does so that is opened with
    /// [`Connection::relaxed`].
    fn relaxed_commits(&self, _session: &Session) -> Result<Option<RelaxedCommits>, Error> {
        Ok(None)
    }

    /// The foreign keys of these tables, with their schemas, and perhaps of others; empty for products that are loaded by one
    /// session at a time.
    fn foreign_keys(&self, _session: &Session, _tables: &[Relation]) -> Result<Vec<KeyThere>, Error> {
        Ok(Vec::new())
    }

    /// What depends on each of these tables, by few queries for all of them; nothing for products that are not asked.
    fn dependants(&self, _session: &Session, relations: &[Relation]) -> Result<Vec<Dependants>, Error> {
        Ok(vec![Dependants::default(); relations.len()])
    }

    /// What each of these tables has beside columns, types, NOT NULL and primary key, by few queries for all of them.
    fn features(&self, _session: &Session, relations: &[Relation]) -> Result<Vec<Features>, Error> {
        Ok(vec![Features::default(); relations.len()])
    }

    /// How a new table gets what its source has of this; `None` for products in which dray makes the columns alone.
    fn shaping(&self) -> Option<&dyn Shaping> {
        None
    }

    /// The names in these schemas that a new index cannot have, each with its schema and the table that goes with it, if
    /// one does; empty where a table has its names for itself.
    fn taken_names(&self, _session: &Session, _schemas: &[String]) -> Result<Vec<(Relation, Option<String>)>, Error> {
        Ok(Vec::new())
    }

    /// Those among these names for foreign keys, with the schemas of their tables, that something else has; none where keys
    /// take names from each other alone.
    fn taken_key_names(&self, _session: &Session, _names: &[Relation]) -> Result<Vec<Relation>, Error> {
        Ok(Vec::new())
    }

    /// What a new table gets of this, in the product's own words.
    fn carry(&self, features: &Features, made: &Made<'_>) -> Carried {
        shaping::carry(features, made, self)
    }

    /// The statement that makes a table another one, by what stands behind its name.
    fn alter_table(&self, table: &Relation, change: &str) -> String {
        format!("ALTER TABLE {} {change}", self.quote_relation(table))
    }

    /// The statement that takes a foreign key away, if it is still there.
    fn drop_foreign_key(&self, table: &Relation, name: &str) -> String {
        self.alter_table(table, &format!("DROP CONSTRAINT IF EXISTS {}", self.quote(name)))
    }

    /// What stands around the removal of rows that others refer to, whose tables are loaded after this one. A product that
    /// has statements for no keys as well does not look at any.
    fn around_removal(&self, _keys: &[KeyThere]) -> Option<[Vec<String>; 2]> {
        None
    }

    /// How rows enter this table, if it is there, without a look at its CHECK and FOREIGN KEY constraints; or why they cannot.
    fn unchecked(&self, _session: &Session, _relation: &Relation) -> Result<Result<Unchecked, String>, Error> {
        Ok(Err(format!(
            "dray knows no way to it in this product (`{}`)",
            self.name()
        )))
    }

    /// The statements that make a foreign key again as it was, by whoever has its rows in order.
    fn make_foreign_key(&self, key: &KeyThere) -> Option<Vec<String>> {
        let name = self.quote(&key.name);
        let definition = key.definition.as_deref()?;
        Some(vec![self.alter_table(
            &key.referring,
            &format!("ADD CONSTRAINT {name} {definition}"),
        )])
    }

    /// The statements that put a foreign key back which has made way. Where the product can, without a look at its rows, which
    /// [`Self::validate_foreign_key`] has later: so that it is there, whatever becomes of that.
    fn put_foreign_key_back(&self, key: &KeyThere) -> Option<Vec<String>> {
        self.make_foreign_key(key)
    }

    /// The statements that look at the rows of a foreign key that is [`KeyThere::unseen`], and note that it is no more.
    fn validate_foreign_key(&self, _table: &Relation, _name: &str) -> Vec<String> {
        Vec::new()
    }

    /// The most bytes that the server takes in one execution, and what it calls this limit; `None` without one.
    fn execution_bytes_max(&self, _session: &Session) -> Result<Option<(usize, &'static str)>, Error> {
        Ok(None)
    }

    /// Statements of a writing session before and after the rows of these columns, in the load's transaction. The table
    /// is there.
    fn around_rows(&self, _target: &Relation, _columns: &[Column]) -> Option<[String; 2]> {
        None
    }

    /// The SQL for the number of rows, of any size.
    fn count_of_rows(&self) -> &'static str {
        "COUNT(*)"
    }

    /// Whether the driver tells how many rows of a parameter array the server has taken.
    fn counts_array_rows(&self) -> bool {
        false
    }

    /// What stands between an INSERT's column list and its VALUES.
    fn insert_option(&self) -> &'static str {
        ""
    }

    /// Most rows of a parameter array that the product's driver handles.
    fn parameter_rows_max(&self) -> usize {
        2_000
    }

    /// Whether the driver says which row of a parameter array has failed.
    fn names_failed_row(&self) -> bool {
        true
    }

    /// The CREATE TABLE statement for columns whose `declared` types are this product's.
    fn create_table(&self, relation: &Relation, columns: &[Column], shape: &Shape) -> String {
        generic::create_table(
            self.quote_relation(relation),
            columns,
            |name| self.quote(name),
            "",
            shape,
        )
    }

    /// The statements that give a table these columns, which all allow NULL; `None` where dray knows no way. Where the
    /// product commits as it changes a table, it is one statement: all of them come, or none.
    fn add_columns(&self, _relation: &Relation, _columns: &[Column]) -> Option<Vec<String>> {
        None
    }

    /// The statement that has a counter go on behind the values of its column, never back; `None` if it may not be set, or
    /// does so by itself.
    fn move_counter(&self, _relation: &Relation, _counter: &Counter) -> Option<String> {
        None
    }

    /// The columns of a table that forbid NULL and that nobody fills where a row has none: no default, no counter, no
    /// trigger. Empty for products that are not asked.
    fn required_columns(&self, _session: &Session, _relation: &Relation) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    /// Where the table is loaded that is to take the place of `target`, which is there: `free`, a name that nobody has, or
    /// a better place that the product has for it; `target` itself if only that can be had.
    fn staging(&self, _session: &Session, _target: &Relation, free: &Relation) -> Result<Relation, Error> {
        Ok(free.clone())
    }

    /// What to do around a load.
    ///
    /// `exists` says whether the target is there; `create` makes a CREATE TABLE statement for a name; `staging` is what
    /// [`Self::staging`] gave for a table that is replaced, `target` then with its schema.
    fn load_steps(
        &self,
        mode: Mode,
        exists: bool,
        target: &Relation,
        staging: &Relation,
        create: &dyn Fn(&Relation) -> String,
    ) -> LoadSteps;

    /// The SQL by which values of a key's column are compared as dray orders them: numbers by size, days and points in time
    /// by time, text by the bytes of its UTF-8. `sql` is the column's name in quotes, or a literal. `None` where the
    /// product has another order.
    fn ordered(&self, sql: &str, column: &Column) -> Option<String> {
        match column.logical {
            LogicalType::Integer { .. } | LogicalType::Decimal { .. } => Some(sql.to_owned()),
            _ => None,
        }
    }

    /// Whether a column holds no more than its declared type says: no longer text, no greater number.
    fn keeps_widths(&self) -> bool {
        true
    }

    /// The query for the first rows of `list` from what `rest`, from its FROM on, gives in its order.
    fn first_rows(&self, list: &str, rest: &str, rows: usize) -> String {
        format!("SELECT {list} {rest} LIMIT {rows}")
    }

    /// The query for the one row of `list` that has so many others before it, of what `rest`, from its FROM on, gives in its
    /// order.
    fn row_behind(&self, list: &str, rest: &str, rows: u64) -> String {
        format!("SELECT {list} {rest} LIMIT 1 OFFSET {rows}")
    }

    /// A text as it stands in SQL.
    fn literal(&self, text: &str) -> String {
        format!("'{}'", text.replace('\'', "''"))
    }

    /// How a session of the target locks a table against other runs of dray, by a name that stands for it in its database,
    /// which is another one than the connection's if a catalog is named; `None` where the product has no such lock, or locks
    /// enough by itself.
    fn table_lock(&self, _name: LockName, _catalog: Option<&str>) -> Option<TableLock> {
        None
    }

    /// How the later part of a transaction is taken back alone; `None` where dray knows no way.
    fn savepoint(&self) -> Option<Savepoint> {
        None
    }

    /// About so many ranges of a table, of as many rows each, so that each row is in exactly one of them, also of rows that
    /// come or go meanwhile; or else why there are none. `columns` are the table's.
    fn ranges(
        &self,
        _session: &Session,
        _relation: &Relation,
        _columns: &[Column],
        _estimated_rows: Option<u64>,
        _wanted: usize,
    ) -> Result<Result<Ranges, String>, Error> {
        Ok(Err("dray knows no ranges of this product's tables".to_owned()))
    }

    /// How rows meet those of an existing table by their key; `None` where dray knows no way.
    fn merge_steps(&self, _merging: &Merging<'_>) -> Option<MergeSteps> {
        None
    }

    /// The SQL for the greatest value of a column (in quotes) as a text that the product reads as the same value; `None`
    /// where dray knows none.
    fn greatest(&self, _column: &str) -> Option<String> {
        None
    }

    /// The SQL for a point in time so many seconds before another, which is a literal for a column of this type; asked
    /// only where there is [`Self::greatest`].
    fn earlier(&self, literal: &str, _logical: LogicalType, _seconds: u64) -> String {
        literal.to_owned()
    }

    /// For a column of 8 bytes whose values the server hands out as rows are changed, whatever the order in which they are
    /// committed: the greatest one below all that transactions have which are still open, as the number that the bytes are,
    /// the highest first. In SQL they stand as `0x` and 16 hexadecimal digits. `None` for any other column.
    ///
    /// # Errors
    /// The inner one says why the product cannot tell for this source.
    fn committed_row_version(
        &self,
        _session: &Session,
        _source: &Source,
        _column: &Column,
    ) -> Result<Option<Result<u64, String>>, Error> {
        Ok(None)
    }

    /// The statement that makes the journal's table unless it is there, see `copy/journal.rs`; `None` for products in which
    /// none is kept.
    fn create_journal(&self, _journal: &Relation) -> Option<String> {
        None
    }

    /// Whether the journal's table is made in the transaction of the first table, and not before it: where only one session
    /// writes at a time, making it would wait for whoever writes.
    fn creates_journal_late(&self) -> bool {
        false
    }

    /// Tables in these schemas that loads made and could not remove, because they were killed, or may still need.
    fn leftovers(&self, _session: &Session, _schemas: &[String]) -> Result<Vec<Relation>, Error> {
        Ok(Vec::new())
    }

    /// What kind of error a diagnostic record tells of.
    fn classify(&self, diagnostic: &Diagnostic) -> Class {
        Class::of_sqlstate(&diagnostic.sqlstate)
    }

    /// A server's message without the cell values that it may repeat.
    fn without_values(&self, message: &str) -> String {
        message.to_owned()
    }

    /// Ways to read, the best first; the generic ODBC lane is the last.
    fn read_lanes(&self) -> &'static [&'static dyn ReadLane] {
        &[&generic::OdbcRead]
    }

    /// Ways to write, the best first; the generic ODBC lane is the last.
    fn write_lanes(&self) -> &'static [&'static dyn WriteLane] {
        &[&generic::OdbcWrite]
    }
}

/// Looks at a value in the layout of its column; the reason if the column would keep another one, never the value.
pub type ValueCheck = Box<dyn Fn(Value<'_>) -> Result<(), String> + Send>;

/// A form in which a product sends rows and takes them back, so that they pass from its reader to its writer unparsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireFormat {
    /// In words, for the plan.
    pub name: &'static str,
    /// Whether it is one product's own, for columns whose types are equal. In any other a value that its reader lets pass
    /// means the same to whoever takes it, if the column there holds it.
    pub own: bool,
}

/// What one side of a table's copy may use.
#[derive(Clone)]
pub struct Resources {
    /// Bytes that the lane and its client library may hold beside the batches that it is handed.
    pub memory_bytes: usize,
    /// Most sessions that a lane in may load on, where it gains from several.
    pub sessions: usize,
    /// Stops the lane; a session that the lane was opened with has it already.
    pub interrupt: Interrupt,
}

/// A way for rows to leave a database.
pub trait ReadLane: Sync {
    /// The lane's name, such as `odbc`.
    fn name(&self) -> &'static str;

    /// Whether it can read this, with the reason either way; `is_plain` is what was known of the table, [`Table::is_plain`].
    fn offer(
        &self,
        connection: &Connection,
        source: &Source,
        columns: &[Column],
        is_plain: bool,
    ) -> Result<String, String>;

    /// The forms in which it can hand these columns over unparsed, the best first.
    fn wire_formats(&self, _connection: &Connection, _columns: &[Column]) -> Vec<WireFormat> {
        Vec::new()
    }

    /// How several connections like this one see a table in one and the same state, in words for a plan; or why they cannot.
    /// Asked after [`Self::offer`].
    fn shared_state(&self, _connection: &Connection, _source: &Source) -> Result<&'static str, String> {
        Err(format!("lane `{}` reads on one connection", self.name()))
    }

    /// Makes these connections see this table in one state, from now until each was read from by [`Self::open`], by whose
    /// resources they are stopped. Asked only where there is a [`Self::shared_state`].
    ///
    /// # Errors
    /// The inner one says why it was not possible this time, and the connections are as before; the outer one is a connection
    /// that was lost, or work that was told to stop.
    fn share_state(
        &self,
        _connections: &[Connection],
        _relation: &Relation,
        _resources: &Resources,
    ) -> Result<Result<(), String>, Error> {
        Ok(Ok(()))
    }

    /// Starts reading; with `wire`, one of [`Self::wire_formats`], rows come in that form.
    fn open(
        &self,
        connection: Connection,
        source: &Source,
        columns: &[Column],
        wire: Option<WireFormat>,
        resources: &Resources,
    ) -> Result<Box<dyn Reader>, Error>;
}

/// A way for rows to enter a database.
pub trait WriteLane: Sync {
    /// The lane's name, such as `odbc`.
    fn name(&self) -> &'static str;

    /// Whether it can write this, with the reason either way; `target` is the table that is there and takes the rows, `None`
    /// if one is made for them.
    fn offer(&self, connection: &Connection, target: Option<&Relation>, columns: &[Column]) -> Result<String, String>;

    /// The forms in which it can take these columns unparsed.
    fn wire_formats(&self, _connection: &Connection, _columns: &[Column]) -> Vec<WireFormat> {
        Vec::new()
    }

    /// Whether its writer leaves constraints unchecked by itself, see [`Writer::leave_unchecked`].
    fn leaves_unchecked(&self) -> bool {
        false
    }

    /// Whether its writer loads in parts, see [`Writer::begin_part`]; with the reason if not.
    fn takes_parts(&self, _connection: &Connection) -> Result<(), String> {
        Err("it cannot take back a part of a load".to_owned())
    }

    /// Takes over the session that everything of the load will run on, or opens its own in its place.
    fn open(&self, connection: Connection, resources: &Resources) -> Result<Box<dyn Writer>, Error>;
}

/// Rows that are being read.
pub trait Reader: Send {
    /// Empties the batch and fills it with the next rows, up to about `limit_bytes`; false, and no rows, at the end.
    fn read(&mut self, batch: &mut Batch, limit_bytes: usize) -> Result<bool, Error>;

    /// After the end: the connection, without an open transaction, for another table to be read on it; `None` if it is
    /// not to be used again.
    fn into_connection(self: Box<Self>) -> Option<Connection> {
        None
    }
}

/// The destination's session and its transaction: create, empty, load, check and swap of a table all run on it.
pub trait Writer: Send {
    /// Starts a transaction.
    fn begin(&mut self) -> Result<(), Error>;

    /// Runs a statement and returns the number of rows that it changed, -1 if unknown.
    fn execute(&mut self, sql: &str) -> Result<i64, Error>;

    /// Runs a query and returns its rows as text.
    fn query(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Error>;

    /// Before [`Self::load_into`], for lanes with [`WriteLane::leaves_unchecked`]: has the server not look at CHECK and FOREIGN
    /// KEY constraints as it takes the rows. Others are told by the statements of [`Dialect::unchecked`].
    fn leave_unchecked(&mut self) {}

    /// Says where the next batches go; the table is there. With `wire`, one of [`WriteLane::wire_formats`], their
    /// rows are in that form.
    fn load_into(&mut self, target: &Relation, columns: &[Column], wire: Option<WireFormat>) -> Result<(), Error>;

    /// Loads a batch, in the layouts of the columns that were given to [`Self::load_into`].
    fn write(&mut self, batch: &Batch) -> Result<(), WriteError>;

    /// Ends the load: every row is at the server.
    fn finish(&mut self) -> Result<(), WriteError>;

    /// After [`Self::load_into`], for lanes with [`WriteLane::takes_parts`]: begins a part of the load that can be taken back
    /// alone. Then one batch is written, whose first row is called 1, and the part is ended or taken back.
    fn begin_part(&mut self) -> Result<(), Error> {
        Err(Error::Unsupported("the lane does not load in parts".to_owned()))
    }

    /// Ends the part: its rows are at the server, which has looked at all that it looks at before a commit. An error that
    /// names a row ([`Error::Row`]) counts from the part's first.
    fn end_part(&mut self) -> Result<(), WriteError> {
        Ok(())
    }

    /// Takes the part back, after writing or ending it has failed.
    fn undo_part(&mut self) -> Result<(), Error> {
        Err(Error::Unsupported("the lane does not load in parts".to_owned()))
    }

    /// After [`Self::finish`]: how many rows the server says that it has taken in all; `None` if it does not say.
    fn rows_taken(&self) -> Option<u64> {
        None
    }

    /// After [`Self::finish`]: on how many sessions the rows were loaded.
    fn sessions(&self) -> usize {
        1
    }

    /// Reads these columns of a table as the transaction sees it, on the transaction's own session, and hands the rows over
    /// in batches of about `batch_bytes`. Not while rows are being loaded.
    fn read_back(
        &mut self,
        table: &Relation,
        columns: &[Column],
        batch_bytes: usize,
        take: &mut dyn FnMut(&Batch),
    ) -> Result<(), Error>;

    /// Makes the transaction permanent.
    fn commit(&mut self) -> Result<(), Error>;

    /// From now on statements run even though the work was told to stop.
    fn shield(&mut self);

    /// Undoes the transaction, also after the work was told to stop, and shields what follows.
    fn rollback(&mut self) -> Result<(), Error>;

    /// After a commit: the connection, as [`Connection::open`] made it, for another table to be loaded on it; `None` if
    /// it is not to be used again.
    fn into_connection(self: Box<Self>) -> Option<Connection> {
        None
    }
}

/// What a lane leaves with a connection for the next table: its own connection beside the ODBC session.
#[derive(Default)]
pub struct Kept(Mutex<Option<Box<dyn Any + Send>>>);

impl Kept {
    /// Leaves it, in the place of what was there.
    pub fn put(&self, thing: impl Any + Send) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(thing));
    }

    /// Takes it out, if there is one of this type.
    pub fn take<T: Any>(&self) -> Option<T> {
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match place.take()?.downcast::<T>() {
            Ok(thing) => Some(*thing),
            Err(other) => {
                *place = Some(other);
                None
            }
        }
    }
}

/// An open connection and the product behind it.
pub struct Connection {
    /// The session.
    pub session: Session,
    /// What is particular to the product.
    pub dialect: &'static dyn Dialect,
    /// The connection string as it was given.
    pub string: ConnectionString,
    /// Its attributes with those of its data source, for lanes that connect by other means.
    pub settings: ConnectionString,
    /// The driver's file.
    pub driver: PathBuf,
    /// What a lane has left here. Lanes that leave nothing do not look.
    pub kept: Kept,
    /// What a reader has found out about how it reads, for the reason of its lane: whoever has the connection back takes it.
    pub afterword: Option<String>,
    /// Whether whoever loads tables sees to it that they are safe before telling that they are there.
    pub relaxed: Option<RelaxedCommits>,
}

impl Connection {
    /// Connects and finds out which product it is.
    ///
    /// # Errors
    /// Those of [`Session::connect`], and of the statements that set up the session.
    pub fn open(
        search: &DriverSearch,
        string: &ConnectionString,
        purpose: Purpose,
        autocommit: bool,
        interrupt: &Interrupt,
    ) -> Result<Connection, Error> {
        let mut resolved = string.clone();
        let driver = search.resolve(&mut resolved)?;
        let settings = resolved.clone();
        let file = driver.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        // The product is known for sure only after connecting, its driver's options are needed before.
        let expected = DIALECTS.iter().find(|dialect| dialect.is_driver(&file)).copied();
        let mut options = ConnectOptions {
            autocommit: true,
            ..ConnectOptions::default()
        };
        if let Some(dialect) = expected {
            for (key, value) in dialect.connection_options(purpose) {
                resolved.set_default(key, value);
            }
            options.attributes = dialect.connection_attributes(purpose);
            options.structure = dialect.connection_structure(&mut resolved)?;
        }
        let session = Session::connect(search, &resolved, &options, interrupt).map_err(|mut error| {
            if let odbc::Error::Connect { diagnostics, hint } = &mut error {
                let hints = |diagnostic: &Diagnostic| expected.and_then(|dialect| dialect.connect_hint(diagnostic));
                *hint = diagnostics.iter().find_map(hints);
            }
            error
        })?;
        let dbms_name = session.info_text(InfoType::DbmsName)?;
        let is_product = |dialect: &&dyn Dialect| dialect.is_product(&dbms_name);
        let dialect = expected.filter(is_product);
        let dialect = dialect.or_else(|| DIALECTS.iter().copied().find(is_product));
        let dialect = dialect.unwrap_or(&generic::Generic);
        session.set_quirks(dialect.quirks());
        dialect.check_session(&session, &settings)?;
        for sql in dialect.session_setup(purpose) {
            session.execute(sql)?;
        }
        session.set_autocommit(autocommit || (purpose == Purpose::Read && dialect.reads_in_autocommit()))?;
        tracing::debug!(
            event = "database.connected",
            product = dialect.name(),
            dbms_name,
            ?purpose,
            "connected"
        );
        Ok(Connection {
            session,
            dialect,
            string: string.clone(),
            settings,
            driver,
            kept: Kept::default(),
            afterword: None,
            relaxed: None,
        })
    }

    /// Connects once more, for reading, to where this connection leads; what is done there is no part of its transaction.
    ///
    /// # Errors
    /// Those of [`Connection::open`].
    pub(crate) fn another(&self, interrupt: &Interrupt) -> Result<Connection, Error> {
        // The driver's file stands in the settings.
        Connection::open(
            &DriverSearch::default(),
            &self.settings,
            Purpose::Read,
            false,
            interrupt,
        )
    }

    /// What kind of trouble a failure of [`Connection::open`] is, as far as the driver's file tells which product it is.
    pub fn classify_opening(search: &DriverSearch, string: &ConnectionString, error: &Error) -> Class {
        let Some(diagnostic) = error.diagnostic() else {
            return Class::Other;
        };
        let file = search.resolve(&mut string.clone()).ok();
        let file = file.as_ref().and_then(|path| path.file_name()).unwrap_or_default();
        let file = file.to_string_lossy().to_lowercase();
        let dialect = DIALECTS.iter().find(|dialect| dialect.is_driver(&file));
        dialect.map_or_else(
            || Class::of_sqlstate(&diagnostic.sqlstate),
            |dialect| dialect.classify(diagnostic),
        )
    }

    /// An error that means that something is not possible, in words for a plan; or else the error, if it means that the
    /// connection is lost or that the work was told to stop.
    pub(crate) fn as_reason(&self, what: &str, error: Error) -> Result<String, Error> {
        match self.classify(&error) {
            _ if matches!(error, Error::Odbc(odbc::Error::Cancelled)) => Err(error),
            Class::ConnectionLost | Class::Cancelled => Err(error),
            _ => Ok(format!("{what}: {}", self.without_values(error))),
        }
    }

    /// What kind of trouble an error of this connection is.
    pub fn classify(&self, error: &Error) -> Class {
        error
            .diagnostic()
            .map_or(Class::Other, |diagnostic| self.dialect.classify(diagnostic))
    }

    /// The error without the cell values that its server's messages may repeat.
    pub fn without_values(&self, error: Error) -> Error {
        match error {
            Error::Odbc(odbc::Error::Call {
                function,
                mut diagnostics,
            }) => {
                for diagnostic in &mut diagnostics {
                    diagnostic.message = self.dialect.without_values(&diagnostic.message);
                }
                Error::Odbc(odbc::Error::Call { function, diagnostics })
            }
            Error::Client {
                function,
                mut diagnostic,
            } => {
                diagnostic.message = self.dialect.without_values(&diagnostic.message);
                Error::Client { function, diagnostic }
            }
            Error::Row { row, column, error } => Error::Row {
                row,
                column,
                error: Box::new(self.without_values(*error)),
            },
            other => other,
        }
    }
}
