//! The lane out: a query whose rows come one by one, through the library that the ODBC driver links.
//!
//! MariaDB Connector/ODBC 3.1 keeps the whole result in memory; the library under it does not. Memory is bounded by the
//! longest row, which is read whole.

use super::{
    cell,
    client::{Client, PACKET_TOO_LARGE},
    libmariadb::Library,
    rows::Rows,
    settings::Settings,
};
use crate::database::{
    Batch, Column, Connection, Dialect, Error, Layout, Purpose, ReadLane, Reader, Relation, Resources, Source,
    WireFormat,
};

/// The lane.
pub(super) struct Stream;

/// What of the lane's memory one row may take: the library holds it, and each batch a copy.
const ROW_SHARE: usize = 3;

/// So that a server does not give a reader up that waits for a slow writer; a year, the most that it takes.
const PATIENT: &str = "SET SESSION net_write_timeout = 31536000, wait_timeout = 31536000";

/// How long writers of a table are waited for before it is locked, in seconds. Those who come later wait behind, so it is
/// short.
const LOCK_WAIT_S: u32 = 2;

impl ReadLane for Stream {
    fn name(&self) -> &'static str {
        "stream"
    }

    fn offer(
        &self,
        connection: &Connection,
        _source: &Source,
        _columns: &[Column],
        _is_plain: bool,
    ) -> Result<String, String> {
        let library = Library::find(&connection.driver)?;
        Settings::of(&connection.settings, library.mariadb)?;
        Ok("row by row through the client library that the ODBC driver links".to_owned())
    }

    fn shared_state(&self, _connection: &Connection, _source: &Source) -> Result<&'static str, String> {
        Ok("of one state: their transactions begin while the table is locked against writers, for a moment")
    }

    fn share_state(
        &self,
        connections: &[Connection],
        relation: &Relation,
        resources: &Resources,
    ) -> Result<Result<(), String>, Error> {
        let mut all = Vec::new();
        for connection in connections {
            let (library, settings) = ways(connection)?;
            all.push(Left::of(connection, library, &settings, resources)?);
        }
        let shared = begin_in_one_state(&connections[0], relation, &mut all);
        if shared.is_ok() {
            for (connection, mut left) in connections.iter().zip(all) {
                left.in_transaction = true;
                connection.kept.put(left);
            }
        }
        match shared {
            Ok(()) => Ok(Ok(())),
            Err(error) => connections[0].as_reason("the table cannot be locked", error).map(Err),
        }
    }

    fn open(
        &self,
        connection: Connection,
        source: &Source,
        columns: &[Column],
        _wire: Option<WireFormat>,
        resources: &Resources,
    ) -> Result<Box<dyn Reader>, Error> {
        let (library, settings) = ways(&connection)?;
        let dialect = connection.dialect;
        let row_bytes_max = row_bytes_max(resources);
        let from = source.after_from(|relation| dialect.quote_relation(relation));
        let Left {
            client, in_transaction, ..
        } = Left::of(&connection, library, &settings, resources)?;
        let rows = client.stream(&select(dialect, columns, &from))?;
        let long: Vec<&Column> = columns
            .iter()
            .filter(|column| matches!(column.logical.layout(), Layout::Text | Layout::Bytes))
            .collect();
        let lengths = longest_cells(dialect, &long, &from);
        let long: Vec<String> = long.iter().map(|column| column.name.clone()).collect();
        let interrupt = resources.interrupt.clone();
        Ok(Box::new(StreamReader {
            rows,
            connection,
            names: columns.iter().map(|column| column.name.clone()).collect(),
            rows_read: 0,
            row_bytes_max,
            in_transaction,
            longest_cells: Box::new(move || {
                let rows = Client::connect(library, &settings, None, &[PATIENT], &interrupt)?.query(&lengths)?;
                let bytes = |cell: Option<String>| cell.and_then(|text| text.parse().ok()).unwrap_or(0);
                let bytes = rows.into_iter().flatten().map(bytes);
                Ok(long.iter().cloned().map(Some).chain([None]).zip(bytes).collect())
            }),
        }))
    }
}

/// Fills an empty batch with the next rows, up to about `limit_bytes`.
pub(super) fn fill(
    rows: &mut Rows,
    names: &[String],
    rows_read: &mut u64,
    batch: &mut Batch,
    limit_bytes: usize,
) -> Result<bool, Error> {
    batch.first_row = *rows_read + 1;
    let columns = &mut batch.columns;
    let mut bytes = 0;
    rows.read(|row| {
        *rows_read += 1;
        for (position, data) in columns.iter_mut().enumerate() {
            let text = row.cell(position);
            bytes += 8 + text.map_or(0, <[u8]>::len);
            cell::push(text, data).map_err(|reason| Error::Unreadable {
                column: names[position].clone(),
                row: *rows_read,
                reason: reason.to_owned(),
            })?;
        }
        Ok(bytes < limit_bytes)
    })
}

/// The query for these columns of what stands after FROM.
pub(super) fn select(dialect: &dyn Dialect, columns: &[Column], from: &str) -> String {
    let list: Vec<String> = columns
        .iter()
        .map(|column| cell::expression(&dialect.quote(&column.name), column))
        .collect();
    format!("SELECT {} FROM {from}", list.join(", "))
}

/// The query for the longest cell of each of these columns, and then for the longest row.
fn longest_cells(dialect: &dyn Dialect, columns: &[&Column], from: &str) -> String {
    let lengths: Vec<String> = columns
        .iter()
        .map(|column| format!("COALESCE(OCTET_LENGTH({}), 0)", dialect.quote(&column.name)))
        .collect();
    let longest: Vec<String> = lengths.iter().map(|length| format!("MAX({length})")).collect();
    let row = format!("MAX(0 + {})", lengths.join(" + "));
    format!("SELECT {}, {row} FROM {from}", longest.join(", "))
}

type LongestCells = dyn Fn() -> Result<Vec<(Option<String>, usize)>, Error> + Send;

/// The library, and how it connects where the session did.
fn ways(connection: &Connection) -> Result<(Library, Settings), Error> {
    let library = Library::find(&connection.driver).map_err(Error::Unsupported)?;
    let settings = Settings::of(&connection.settings, library.mariadb).map_err(Error::Unsupported)?;
    Ok((library, settings))
}

fn row_bytes_max(resources: &Resources) -> usize {
    resources.memory_bytes / ROW_SHARE
}

/// Begins the readers' transactions while no writer of the table is within one, and none can begin: neither product exports a
/// snapshot. The lock is of the ODBC session, since a transaction that begins gives back those of its own.
fn begin_in_one_state(first: &Connection, relation: &Relation, readers: &mut [Left]) -> Result<(), Error> {
    let session = &first.session;
    let table = first.dialect.quote_relation(relation);
    for reader in &mut *readers {
        reader
            .client
            .execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")?;
    }
    session.execute(&format!("SET SESSION lock_wait_timeout = {LOCK_WAIT_S}"))?;
    let locked = session.execute(&format!("LOCK TABLES {table} READ"));
    let begun = locked.map_err(Error::from).and_then(|_| {
        let begun = readers.iter_mut().try_for_each(|reader| {
            let begun = reader.client.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT");
            begun.map(drop)
        });
        session.execute("UNLOCK TABLES")?;
        begun
    });
    session.execute("SET SESSION lock_wait_timeout = DEFAULT")?;
    begun
}

/// What a reader leaves for the next table's.
struct Left {
    client: Client,
    row_bytes_max: usize,
    /// Whether it has begun a transaction whose state others have as well.
    in_transaction: bool,
}

impl Left {
    /// What was left with the connection, if it does, or else a new one.
    fn of(
        connection: &Connection,
        library: Library,
        settings: &Settings,
        resources: &Resources,
    ) -> Result<Left, Error> {
        let row_bytes_max = row_bytes_max(resources);
        let left = connection.kept.take::<Left>();
        if let Some(mut left) = left.filter(|left| left.row_bytes_max == row_bytes_max) {
            left.client.stop_with(&resources.interrupt);
            if left.in_transaction || left.client.answers() {
                return Ok(left);
            }
        }
        let setup = connection.dialect.session_setup(Purpose::Read);
        let setup: Vec<&str> = setup.iter().copied().chain([PATIENT]).collect();
        let interrupt = &resources.interrupt;
        Ok(Left {
            client: Client::connect(library, settings, Some(row_bytes_max), &setup, interrupt)?,
            row_bytes_max,
            in_transaction: false,
        })
    }
}

struct StreamReader {
    rows: Rows,
    connection: Connection,
    names: Vec<String>,
    rows_read: u64,
    row_bytes_max: usize,
    /// Whether a transaction is open that ends with the rows.
    in_transaction: bool,
    /// Asks, on another connection, for the bytes of each long column's longest cell and, last, of the longest row.
    longest_cells: Box<LongestCells>,
}

impl Reader for StreamReader {
    fn read(&mut self, batch: &mut Batch, limit_bytes: usize) -> Result<bool, Error> {
        batch.clear();
        match fill(&mut self.rows, &self.names, &mut self.rows_read, batch, limit_bytes) {
            Ok(_) => Ok(batch.rows() > 0),
            Err(error) if error.diagnostic().is_some_and(|said| said.native == PACKET_TOO_LARGE) => {
                Err(self.too_long())
            }
            Err(error) => Err(error),
        }
    }

    fn into_connection(self: Box<Self>) -> Option<Connection> {
        if let Some(mut client) = self.rows.into_client() {
            client.shield();
            if !self.in_transaction || client.execute("COMMIT").is_ok() {
                self.connection.kept.put(Left {
                    client,
                    row_bytes_max: self.row_bytes_max,
                    in_transaction: false,
                });
            }
        }
        Some(self.connection)
    }
}

impl StreamReader {
    /// The error for a row that the library refused to read for its length, which only the server can tell.
    fn too_long(&self) -> Error {
        let lengths = (self.longest_cells)().unwrap_or_default();
        let over = lengths.into_iter().find(|(_, bytes)| *bytes > self.row_bytes_max);
        let (column, bytes) = over.unwrap_or((None, self.row_bytes_max + 1));
        Error::OverMemoryLimit {
            column,
            row: Some(self.rows_read + 1),
            bytes,
            limit_bytes: self.row_bytes_max,
        }
    }
}
