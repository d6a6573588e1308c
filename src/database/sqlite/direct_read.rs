//! Rows out of SQLite: its own statement, stepped through, each value by its class straight into the batch.

use super::{
    access::Access,
    libsqlite3::{Class, Database, Rows},
    spelling, wire,
};
use crate::database::{
    Batch, Column, Connection, Error, LogicalType, ReadLane, Reader, Relation, Resources, Source, Value, WireFormat,
    batch::{ColumnData, Values},
    generic::classed_value,
};

/// The direct lane out.
pub(in crate::database) struct DirectRead;

/// A table is read once, from its first page to its last, so that more of them in memory serve nothing.
const CACHE_BYTES: usize = 2 << 20;

/// How often readers try to begin in one state while others write.
const BEGINNINGS_MAX: usize = 5;

/// The result code for SQL that is wrong, or names what is not there.
const SQLITE_ERROR: i32 = 1;

impl ReadLane for DirectRead {
    fn name(&self) -> &'static str {
        "direct"
    }

    fn offer(
        &self,
        connection: &Connection,
        source: &Source,
        columns: &[Column],
        _is_plain: bool,
    ) -> Result<String, String> {
        let access = Access::of(connection)?;
        if let Source::Query(_) = source {
            // It may use a function that the driver alone brings. A file that cannot be read now is no matter of lanes.
            if let Ok(database) = access.open_briefly(CACHE_BYTES)
                && let Err(Error::Client { diagnostic, .. }) = database.select(&select(source, columns))
                && diagnostic.native == SQLITE_ERROR
            {
                return Err(diagnostic.message);
            }
        }
        Ok("libsqlite3, stepped through: a row at a time in memory, and no value spelled as text".to_owned())
    }

    fn shared_state(&self, _connection: &Connection, _source: &Source) -> Result<&'static str, String> {
        Ok("of one state: no write comes between the beginnings of their transactions")
    }

    fn share_state(
        &self,
        connections: &[Connection],
        _relation: &Relation,
        resources: &Resources,
    ) -> Result<Result<(), String>, Error> {
        for connection in connections {
            connection.kept.take::<Kept>();
        }
        match begin_in_one_state(connections, resources) {
            Ok(Some(databases)) => {
                for (connection, database) in connections.iter().zip(databases) {
                    connection.kept.put(Kept(database));
                }
                Ok(Ok(()))
            }
            Ok(None) => Ok(Err("others write to the file all the time".to_owned())),
            Err(_) if resources.interrupt.is_raised() => Err(Error::cancelled()),
            Err(error) => connections[0].as_reason("the file is locked", error).map(Err),
        }
    }

    fn wire_formats(&self, _connection: &Connection, _columns: &[Column]) -> Vec<WireFormat> {
        vec![wire::FORMAT]
    }

    fn open(
        &self,
        connection: Connection,
        source: &Source,
        columns: &[Column],
        wire: Option<WireFormat>,
        resources: &Resources,
    ) -> Result<Box<dyn Reader>, Error> {
        let database = match connection.kept.take::<Kept>() {
            Some(Kept(mut database)) => {
                database.set_interrupt(&resources.interrupt);
                database
            }
            None => {
                let access = Access::of(&connection).map_err(Error::Unsupported)?;
                let database = access.open(&resources.interrupt, CACHE_BYTES.min(resources.memory_bytes / 4))?;
                // Also a query's own functions must not change the file.
                database.text_rows("PRAGMA query_only = ON")?;
                database
            }
        };
        let in_transaction = database.in_transaction();
        let rows = Steps::start(&database, source, columns, wire.is_some(), resources.memory_bytes)?;
        Ok(Box::new(DirectReader {
            rows,
            database,
            connection,
            resources: resources.clone(),
            in_transaction,
        }))
    }
}

/// A connection each, in transactions of one state; `None` if somebody else has written between their beginnings, several times.
/// With a rollback journal nobody can once the first has begun, with a write-ahead log everybody can.
fn begin_in_one_state(connections: &[Connection], resources: &Resources) -> Result<Option<Vec<Database>>, Error> {
    let cache_bytes = CACHE_BYTES.min(resources.memory_bytes / 4);
    // Briefly: who waits to write lets nobody begin to read, and would be waited for by those and wait for these.
    let open = |connection: &Connection| {
        let access = Access::of(connection).map_err(Error::Unsupported)?;
        let mut database = access.open_briefly(cache_bytes)?;
        database.set_interrupt(&resources.interrupt);
        database.text_rows("PRAGMA query_only = ON")?;
        Ok(database)
    };
    let watching = open(&connections[0])?;
    let databases = connections.iter().map(open).collect::<Result<Vec<_>, Error>>()?;
    for _ in 0..BEGINNINGS_MAX {
        // Changes whenever another connection has committed something.
        let version = || watching.one_text("PRAGMA data_version");
        let before = version()?;
        for database in &databases {
            database.execute("BEGIN")?;
            // Until its first read a transaction has no state.
            database.text_rows("SELECT 1 FROM sqlite_master LIMIT 1")?;
        }
        if version()? == before {
            return Ok(Some(databases));
        }
        databases
            .iter()
            .try_for_each(|database| database.execute("ROLLBACK").map(drop))?;
    }
    Ok(None)
}

/// The statement that reads these columns.
fn select(source: &Source, columns: &[Column]) -> String {
    // In backticks: a name in double quotes that there is not would be read as text.
    let quote = |name: &str| format!("`{}`", name.replace('`', "``"));
    let names: Vec<String> = columns.iter().map(|column| quote(&column.name)).collect();
    let names = names.join(", ");
    let from = source.after_from(|relation| {
        let schema = relation.schema.iter().map(|schema| quote(schema) + ".");
        schema.collect::<String>() + &quote(&relation.name)
    });
    format!("SELECT {names} FROM {from}")
}

struct DirectReader {
    rows: Steps,
    database: Database,
    connection: Connection,
    resources: Resources,
    /// Whether a transaction is open that ends with the rows.
    in_transaction: bool,
}

impl Reader for DirectReader {
    fn read(&mut self, batch: &mut Batch, limit_bytes: usize) -> Result<bool, Error> {
        batch.clear();
        if self.resources.interrupt.is_raised() {
            return Err(Error::cancelled());
        }
        self.rows.read(batch, limit_bytes)
    }

    fn into_connection(self: Box<Self>) -> Option<Connection> {
        let DirectReader {
            rows,
            mut database,
            connection,
            in_transaction,
            ..
        } = *self;
        drop(rows);
        database.shield();
        // One of several readers was opened to wait for no lock.
        if !in_transaction {
            connection.kept.put(Kept(database));
        }
        Some(connection)
    }
}

/// A file that is open for reading, left for the next table.
struct Kept(Database);

/// The rows of a statement that is stepped through, on their way into batches.
pub(super) struct Steps {
    rows: Rows,
    columns: Vec<(String, LogicalType)>,
    unparsed: bool,
    row_bytes_max: usize,
    rows_read: u64,
    at_end: bool,
}

impl Steps {
    /// Begins to read these columns.
    pub(super) fn start(
        database: &Database,
        source: &Source,
        columns: &[Column],
        unparsed: bool,
        row_bytes_max: usize,
    ) -> Result<Steps, Error> {
        Ok(Steps {
            rows: database.select(&select(source, columns))?,
            columns: columns
                .iter()
                .map(|column| (column.name.clone(), column.logical))
                .collect(),
            unparsed,
            row_bytes_max,
            rows_read: 0,
            at_end: false,
        })
    }

    /// Fills an empty batch with the next rows, up to about `limit_bytes`; false, and no rows, at the end.
    pub(super) fn read(&mut self, batch: &mut Batch, limit_bytes: usize) -> Result<bool, Error> {
        batch.first_row = self.rows_read + 1;
        let mut bytes = 0;
        while bytes < limit_bytes && !self.at_end {
            // After its end a statement would begin anew.
            self.at_end = !self.rows.step()?;
            if self.at_end {
                break;
            }
            self.rows_read += 1;
            bytes += match self.unparsed {
                true => self.append_unparsed(batch)?,
                false => self.append(batch)?,
            };
        }
        Ok(batch.rows() > 0)
    }

    /// Appends the current row, and returns about how many bytes it takes.
    fn append(&self, batch: &mut Batch) -> Result<usize, Error> {
        let mut bytes = 8 * self.columns.len();
        for (position, (name, logical)) in self.columns.iter().enumerate() {
            let length =
                append_value(&self.rows, position, *logical, &mut batch.columns[position]).map_err(|reason| {
                    Error::Unreadable {
                        column: name.clone(),
                        row: self.rows_read,
                        reason,
                    }
                })?;
            bytes += length;
            if bytes > self.row_bytes_max {
                return Err(self.too_long(name, length, bytes));
            }
        }
        Ok(bytes)
    }

    fn append_unparsed(&self, batch: &mut Batch) -> Result<usize, Error> {
        let before = batch.wire.bytes.len();
        for (position, (name, _)) in self.columns.iter().enumerate() {
            let start = batch.wire.bytes.len();
            wire::push(wire::value(&self.rows, position), &mut batch.wire.bytes);
            let (length, bytes) = (batch.wire.bytes.len() - start, batch.wire.bytes.len() - before);
            if bytes > self.row_bytes_max {
                return Err(self.too_long(name, length, bytes));
            }
        }
        batch.wire.rows += 1;
        Ok(batch.wire.bytes.len() - before)
    }

    /// A value of this length, or the row up to it, is more than the lane may hold.
    fn too_long(&self, column: &str, length: usize, row_bytes: usize) -> Error {
        let alone = length > self.row_bytes_max;
        Error::OverMemoryLimit {
            column: alone.then(|| column.to_owned()),
            row: Some(self.rows_read),
            bytes: if alone { length } else { row_bytes },
            limit_bytes: self.row_bytes_max,
        }
    }
}

/// Appends the current row's value of a column, if it is exactly one of the column's type; returns the bytes of text and
/// blobs.
fn append_value(rows: &Rows, position: usize, logical: LogicalType, data: &mut ColumnData) -> Result<usize, String> {
    let class = rows.class(position);
    let mut length = 0;
    // The classes that the types stand for; what each type takes beside them is `classed_value`'s to say.
    let taken = match (class, &mut data.values) {
        (Class::Integer, Values::I64(values)) if logical != LogicalType::Boolean => {
            values.push(rows.integer(position));
            true
        }
        (Class::Real, Values::F64(values)) => {
            values.push(rows.real(position));
            true
        }
        (Class::Integer, Values::Decimal(packed)) => {
            packed.push_with(|out| spelling::push_integer(rows.integer(position), out));
            true
        }
        (Class::Real, Values::Decimal(packed)) => {
            let scale = match logical {
                LogicalType::Decimal { scale: Some(scale), .. } => scale,
                _ => 2,
            };
            let value = rows.real(position);
            if value.is_finite() {
                packed.push_with(|out| {
                    spelling::push_real(value, scale, out);
                });
            }
            value.is_finite()
        }
        (Class::Text, Values::Text(packed)) => {
            let text = rows.bytes(position);
            length = text.len();
            let valid = std::str::from_utf8(text).is_ok();
            if valid {
                packed.push(text);
            }
            valid
        }
        (Class::Blob, Values::Bytes(packed)) => {
            let bytes = rows.bytes(position);
            length = bytes.len();
            packed.push(bytes);
            true
        }
        (Class::Text, Values::Date(values)) => spelling::date(rows.bytes(position))
            .map(|date| values.push(date))
            .is_some(),
        (Class::Text, Values::Timestamp(values)) => spelling::timestamp(rows.bytes(position))
            .map(|timestamp| values.push(timestamp))
            .is_some(),
        (Class::Text, Values::Time(values)) => spelling::time(rows.bytes(position))
            .map(|time| values.push(time))
            .is_some(),
        (Class::Text, Values::Instant(values)) => spelling::instant(rows.bytes(position))
            .map(|instant| values.push(instant))
            .is_some(),
        _ => false,
    };
    if taken {
        data.nulls.push(false);
        return Ok(length);
    }
    let Some(value) = wire::value(rows, position) else {
        data.push(Value::Null);
        return Ok(0);
    };
    classed_value(value, logical, &mut |value| data.push(value))?;
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Relation;

    #[test]
    fn a_condition_and_a_query_may_end_in_a_comment() {
        let column = Column {
            name: "a`b".to_owned(),
            logical: LogicalType::TEXT,
            declared: String::new(),
            nullable: true,
            key_position: None,
            generated: false,
            from_catalog: true,
        };
        let source = Source::Table {
            relation: Relation::new(Some("main".to_owned()), "t"),
            condition: Some("x = 1 OR y -- why".to_owned()),
        };
        assert_eq!(
            select(&source, std::slice::from_ref(&column)),
            "SELECT `a``b` FROM `main`.`t` WHERE x = 1 OR y -- why"
        );
        let source = Source::Query("SELECT 1 -- one".to_owned());
        assert_eq!(
            select(&source, &[column]),
            "SELECT `a``b` FROM (SELECT 1 -- one\n) AS dray_query"
        );
    }
}
