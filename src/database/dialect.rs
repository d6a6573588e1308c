//! What the engine must know of a product, beside its lanes.

use super::{
    Carried, Class, Column, Counter, Dependants, Error, Features, Form, KeyThere, Limits, LoadSteps, LockName,
    LogicalType, Made, MergeSteps, Merging, Mode, Purpose, Ranges, ReadAs, ReadLane, Relation, RelaxedCommits,
    Savepoint, Shape, Shaping, Source, Table, TableLock, Unchecked, Value, WriteAs, WriteLane, generic, shaping,
};
use crate::odbc::{ConnectionString, Diagnostic, Quirks, ResultColumn, Session};

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
    /// [`crate::odbc::Error::ConnectionString`] for what the driver cannot take.
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
    /// [`super::Transfer::Dynamic`] for each of its `columns`.
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
    /// [`super::Connection::relaxed`].
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
