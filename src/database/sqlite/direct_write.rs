//! Rows into SQLite: one prepared INSERT, each value bound in the class that its column keeps, in one transaction.
//!
//! A column's affinity may change a value on its way in. So the class is chosen here and not left to SQLite, and a value
//! that would be changed is refused with its row.

use super::{
    access::Access,
    direct_read::Steps,
    libsqlite3::{Binding, Database, Insert},
    spelling::{Number, Spelled},
    target::Target,
    wire,
};
use crate::database::{
    Batch, Column, Connection, Error, Relation, Resources, Savepoint, Source, WireFormat, WriteError, WriteLane,
    Writer,
    batch::{ColumnData, Values},
    generic::{self, Classed},
};

/// The direct lane in.
pub(in crate::database) struct DirectWrite;

/// For the pages of a table's indexes, which are written all over; the rows themselves go to the end of the file.
const CACHE_BYTES_MAX: usize = 16 << 20;

/// Rows between two looks at the interrupt; one that is waiting for a lock looks itself.
const ROWS_BETWEEN_LOOKS: usize = 256;

impl WriteLane for DirectWrite {
    fn name(&self) -> &'static str {
        "direct"
    }

    fn offer(
        &self,
        connection: &Connection,
        _target: Option<&Relation>,
        _columns: &[Column],
    ) -> Result<String, String> {
        Access::of(connection)?;
        Ok("libsqlite3, a prepared statement in one transaction, and no value spelled as text".to_owned())
    }

    fn wire_formats(&self, _connection: &Connection, _columns: &[Column]) -> Vec<WireFormat> {
        vec![wire::FORMAT]
    }

    fn takes_parts(&self, connection: &Connection) -> Result<(), String> {
        let setting = |sql: &str| generic::one_text(&connection.session, sql).map_err(|error| error.to_string());
        match is_set_aside(setting("PRAGMA cache_spill")?, || setting("PRAGMA journal_mode"))? {
            true => Err("rows of the same file wait in a table without constraints until all are read".to_owned()),
            false => Ok(()),
        }
    }

    fn open(&self, connection: Connection, resources: &Resources) -> Result<Box<dyn Writer>, Error> {
        // Where source and target are one file, `setup_beside_source` has said so to the driver's session.
        let beside_source = generic::one_text(&connection.session, "PRAGMA cache_spill")?;
        let database = match connection.kept.take::<Kept>() {
            Some(Kept(mut database)) => {
                database.set_interrupt(&resources.interrupt);
                database
            }
            None => {
                let access = Access::of(&connection).map_err(Error::Unsupported)?;
                let database = access.open(&resources.interrupt, CACHE_BYTES_MAX.min(resources.memory_bytes / 4))?;
                // The driver's default is NORMAL, under which a power failure may undo, or on some file systems break,
                // what was reported as done.
                database.text_rows("PRAGMA synchronous = FULL")?;
                database
            }
        };
        let set_aside = is_set_aside(beside_source, || database.one_text("PRAGMA journal_mode"))?;
        Ok(Box::new(DirectWriter {
            load: None,
            database,
            connection,
            set_aside,
            resources: resources.clone(),
            rows_taken: Some(0),
            rows_before_part: None,
        }))
    }
}

/// See [`DirectWriter::set_aside`].
fn is_set_aside<E>(
    cache_spill: Option<String>,
    journal_mode: impl FnOnce() -> Result<Option<String>, E>,
) -> Result<bool, E> {
    Ok(cache_spill.as_deref() == Some("0") && journal_mode()?.as_deref() != Some("wal"))
}

struct DirectWriter {
    // Before the connection, whose statement it holds.
    load: Option<Load>,
    database: Database,
    connection: Connection,
    /// Whether rows wait in a temporary table until the reader of the same file is done: with a rollback journal, a page
    /// that is written to the file before the commit locks the file against its readers, and a cache that holds all of
    /// them back grows with the table.
    set_aside: bool,
    resources: Resources,
    /// `None` for a view, whose triggers insert what they like.
    rows_taken: Option<u64>,
    rows_before_part: Option<u64>,
}

struct Load {
    insert: Insert,
    columns: Vec<Target>,
    unparsed: bool,
    /// The INSERT for the rows that were set aside.
    from_aside: Option<String>,
    spelled: Vec<Spelled>,
}

/// Where rows are set aside; a name that a user's table hardly has, and it is called by its schema anyway.
const ASIDE: &str = "temp.dray_rows_set_aside";

impl Writer for DirectWriter {
    fn begin(&mut self) -> Result<(), Error> {
        if self.set_aside {
            // Before the transaction. The bound is of this file alone: what is set aside may go to its own file.
            self.database.execute("PRAGMA main.cache_spill = 2147483647")?;
        }
        // The lock is taken, or waited for, now and not in the middle.
        self.database.execute("BEGIN IMMEDIATE").map(drop)
    }

    fn execute(&mut self, sql: &str) -> Result<i64, Error> {
        self.database.execute(sql)
    }

    fn query(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
        self.database.text_rows(sql)
    }

    fn load_into(&mut self, target: &Relation, columns: &[Column], wire: Option<WireFormat>) -> Result<(), Error> {
        let relation = in_schema(target);
        if self.is_view(&relation)? {
            self.rows_taken = None;
        }
        let is_strict = self.is_strict(&relation, columns)?;
        let targets: Vec<Target> = columns.iter().map(|column| Target::of(column, is_strict)).collect();
        if wire.is_none() {
            let mut both = targets.iter().zip(columns);
            both.try_for_each(|(target, column)| {
                target.takes(column.logical).map_err(|reason| refused(target, &reason))
            })?;
        }
        let names: Vec<String> = columns
            .iter()
            .map(|column| self.connection.dialect.quote(&column.name))
            .collect();
        let values = vec!["?"; columns.len()].join(", ");
        // OR ABORT: a constraint of the table may be declared to drop or replace rows instead of failing.
        let sql = format!(
            "INSERT OR ABORT INTO {} ({}) VALUES ({values})",
            self.connection.dialect.quote_relation(&relation),
            names.join(", ")
        );
        let (insert, from_aside) = match self.set_aside {
            false => (self.database.insert(&sql)?, None),
            true => {
                let untyped: Vec<String> = (1..=columns.len()).map(|number| format!("c{number}")).collect();
                self.database
                    .execute(&format!("CREATE TEMP TABLE {ASIDE} ({})", untyped.join(", ")))?;
                let aside = self
                    .database
                    .insert(&format!("INSERT INTO {ASIDE} VALUES ({values})"))?;
                (aside, Some(sql))
            }
        };
        self.load = Some(Load {
            insert,
            spelled: vec![Spelled::default(); targets.len()],
            columns: targets,
            unparsed: wire.is_some(),
            from_aside,
        });
        Ok(())
    }

    fn write(&mut self, batch: &Batch) -> Result<(), WriteError> {
        let Some(load) = &mut self.load else {
            return Err(Error::Unsupported("a batch came before its table was named".to_owned()).into());
        };
        let mut unparsed = wire::Values::new(&batch.wire.bytes);
        for row in 0..batch.rows() {
            if row % ROWS_BETWEEN_LOOKS == 0 && self.resources.interrupt.is_raised() {
                return Err(Error::cancelled().into());
            }
            let written = match load.unparsed {
                true => load.write_unparsed(&mut unparsed),
                false => load.write_row(batch, row),
            };
            written.map_err(|error| WriteError { error, row: Some(row) })?;
            if load.from_aside.is_none() {
                self.rows_taken = self.rows_taken.map(|rows| rows + load.insert.changed_rows());
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), WriteError> {
        let Some(mut load) = self.load.take() else {
            return Ok(());
        };
        if let Some(sql) = &load.from_aside {
            load.insert = self.database.insert(sql)?;
            // The reader of the same file is gone: its pages may go to the file from now on.
            self.database.execute("PRAGMA main.cache_spill = 1")?;
            let mut rows = self.database.select(&format!("SELECT * FROM {ASIDE} ORDER BY rowid"))?;
            let mut number = 0_u64;
            while rows.step()? {
                number += 1;
                let written: Result<(), Error> = load.insert.run(|binding| {
                    (0..rows.columns()).for_each(|column| bind(binding, wire::value(&rows, column)));
                    Ok(())
                });
                written.map_err(|error| in_row(error, number))?;
                self.rows_taken = self.rows_taken.map(|rows| rows + load.insert.changed_rows());
            }
        }
        Ok(())
    }

    fn begin_part(&mut self) -> Result<(), Error> {
        self.rows_before_part = self.rows_taken;
        self.database.execute(Savepoint::STANDARD.set).map(drop)
    }

    fn end_part(&mut self) -> Result<(), WriteError> {
        let released = Savepoint::STANDARD.release.map(|sql| self.database.execute(sql));
        Ok(released.transpose().map(drop)?)
    }

    fn undo_part(&mut self) -> Result<(), Error> {
        self.rows_taken = self.rows_before_part;
        let Savepoint { undo, release, .. } = Savepoint::STANDARD;
        let mut statements = [Some(undo), release].into_iter().flatten();
        statements.try_for_each(|sql| self.database.execute(sql).map(drop))
    }

    fn rows_taken(&self) -> Option<u64> {
        self.rows_taken
    }

    fn read_back(
        &mut self,
        table: &Relation,
        columns: &[Column],
        batch_bytes: usize,
        take: &mut dyn FnMut(&Batch),
    ) -> Result<(), Error> {
        let source = Source::Table {
            relation: in_schema(table),
            condition: None,
        };
        let mut rows = Steps::start(&self.database, &source, columns, false, self.resources.memory_bytes)?;
        let mut batch = Batch::of(columns);
        while rows.read(&mut batch, batch_bytes)? {
            take(&batch);
            batch.recycle(batch_bytes);
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Error> {
        self.database.execute("COMMIT").map(drop)
    }

    fn shield(&mut self) {
        self.database.shield();
    }

    fn rollback(&mut self) -> Result<(), Error> {
        self.load = None;
        self.shield();
        // A full disk, and being stopped, end the transaction themselves.
        match self.database.in_transaction() {
            true => self.database.execute("ROLLBACK").map(drop),
            false => Ok(()),
        }
    }

    fn into_connection(self: Box<Self>) -> Option<Connection> {
        let DirectWriter {
            load,
            mut database,
            connection,
            set_aside,
            ..
        } = *self;
        drop(load);
        database.shield();
        // One that had rows set aside goes with its temporary table.
        if !set_aside {
            connection.kept.put(Kept(database));
        }
        Some(connection)
    }
}

/// A file that is open for writing, left for the next table.
struct Kept(Database);

impl DirectWriter {
    fn is_view(&self, relation: &Relation) -> Result<bool, Error> {
        let schema = relation.schema.as_deref().unwrap_or("main");
        let list = match schema {
            "temp" => "sqlite_temp_master".to_owned(),
            schema => format!("{}.sqlite_master", self.connection.dialect.quote(schema)),
        };
        let name = self.connection.dialect.literal(&relation.name);
        let sql = format!("SELECT 1 FROM {list} WHERE type = 'view' AND name = {name}");
        Ok(self.database.one_text(&sql)?.is_some())
    }

    /// Whether the table is STRICT, where a column of type ANY keeps every value; asked only if it has one.
    fn is_strict(&self, relation: &Relation, columns: &[Column]) -> Result<bool, Error> {
        if !columns.iter().any(|column| column.declared.eq_ignore_ascii_case("ANY")) {
            return Ok(false);
        }
        let literal = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let name = literal(&relation.name);
        let schema = literal(relation.schema.as_deref().unwrap_or("main"));
        // There since SQLite 3.37, as STRICT is.
        let sql = format!("SELECT strict FROM pragma_table_list WHERE name = {name} AND schema = {schema}");
        Ok(self.database.one_text(&sql).ok().flatten().as_deref() == Some("1"))
    }
}

impl Load {
    /// Inserts the next row of values that come with their classes.
    fn write_unparsed(&mut self, values: &mut wire::Values<'_>) -> Result<(), Error> {
        let columns = &self.columns;
        self.insert.run(|binding| {
            for column in columns {
                let value = values.next_value();
                let value = value.ok_or_else(|| refused(column, "the batch ends within a row"))?;
                let kept = value.map_or_else(|| column.keeps_null(), |value| column.keeps(value));
                kept.map_err(|reason| refused(column, &reason))?;
                bind(binding, value);
            }
            Ok(())
        })
    }

    /// Inserts a row of a batch.
    fn write_row(&mut self, batch: &Batch, row: usize) -> Result<(), Error> {
        // Spelled first: what is bound has to stay where it is.
        for ((column, data), spelled) in self.columns.iter().zip(&batch.columns).zip(&mut self.spelled) {
            if !data.nulls[row] && !spell(data, row, spelled) {
                return Err(refused(
                    column,
                    "the value is outside the years 0 to 9999, or no time at all",
                ));
            }
        }
        let (columns, spelled) = (&self.columns, &self.spelled);
        self.insert.run(|binding| {
            for ((column, data), spelled) in columns.iter().zip(&batch.columns).zip(spelled) {
                bind_cell(binding, column, data, row, spelled).map_err(|reason| refused(column, &reason))?;
            }
            Ok(())
        })
    }
}

/// Binds the value of a batch's column at `row`; dates and times as they were spelled.
///
/// # Errors
/// Why the column would not keep it.
#[inline]
fn bind_cell<'values>(
    binding: &mut Binding<'_, 'values>,
    column: &Target,
    data: &'values ColumnData,
    row: usize,
    spelled: &'values Spelled,
) -> Result<(), String> {
    if data.nulls[row] {
        column.keeps_null()?;
        binding.null();
        return Ok(());
    }
    match &data.values {
        Values::I64(values) => binding.integer(values[row]),
        Values::F64(values) => {
            column.keeps(Classed::Real(values[row]))?;
            binding.real(values[row]);
        }
        Values::Decimal(packed) if column.is_numeric() => {
            let digits = std::str::from_utf8(packed.get(row)).unwrap_or_default();
            match column.number(digits)? {
                Number::Integer(value) => binding.integer(value),
                Number::Real(value) => binding.real(value),
            }
        }
        Values::Decimal(packed) => binding.text(packed.get(row)),
        Values::Text(packed) => {
            let text = packed.get(row);
            column.keeps(Classed::Text(text))?;
            binding.text(text);
        }
        Values::Bytes(packed) => binding.blob(packed.get(row)),
        Values::Date(_) | Values::Time(_) | Values::Timestamp(_) | Values::Instant(_) => {
            binding.text(spelled.bytes());
        }
    }
    Ok(())
}

/// The table with the schema that it has if it says none.
fn in_schema(table: &Relation) -> Relation {
    Relation::new(
        Some(table.schema.as_deref().unwrap_or("main").to_owned()),
        table.name.clone(),
    )
}

fn refused(column: &Target, reason: &str) -> Error {
    Error::Unsupported(format!("column `{}`: {reason}", column.name()))
}

/// Spells a date or time; true for what is none.
fn spell(data: &ColumnData, row: usize, spelled: &mut Spelled) -> bool {
    match &data.values {
        Values::Date(values) => spelled.date(values[row]),
        Values::Time(values) => spelled.time(values[row]),
        Values::Timestamp(values) => spelled.timestamp(values[row]),
        Values::Instant(values) => spelled.instant(values[row]),
        _ => true,
    }
}

/// Binds a value in its class.
fn bind<'values>(binding: &mut Binding<'_, 'values>, value: Option<Classed<'values>>) {
    match value {
        None => binding.null(),
        Some(Classed::Integer(value)) => binding.integer(value),
        Some(Classed::Real(value)) => binding.real(value),
        Some(Classed::Text(text)) => binding.text(text),
        Some(Classed::Blob(bytes)) => binding.blob(bytes),
    }
}

/// SQLite's error with the row it is about, in the order of reading.
fn in_row(error: Error, number: u64) -> Error {
    match error {
        Error::Client {
            function,
            mut diagnostic,
        } => {
            diagnostic.message.push_str(&format!(", row {number}"));
            Error::Client { function, diagnostic }
        }
        other => other,
    }
}
