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
use crate::{
    database::{
        Batch, Column, Connection, Dialect, Error, Layout, Purpose, ReadLane, Reader, Resources, Source, WireFormat,
    },
    odbc::Interrupt,
};

/// The lane.
pub(super) struct Stream;

/// What of the lane's memory one row may take: the library holds it, and each batch a copy.
const ROW_SHARE: usize = 3;

/// So that a server does not give a reader up that waits for a slow writer; a year, the most that it takes.
const PATIENT: &str = "SET SESSION net_write_timeout = 31536000, wait_timeout = 31536000";

impl ReadLane for Stream {
    fn name(&self) -> &'static str {
        "stream"
    }

    fn offer(&self, connection: &Connection, _source: &Source, _columns: &[Column]) -> Result<String, String> {
        let library = Library::find(&connection.driver)?;
        Settings::of(&connection.settings, library.mariadb)?;
        Ok("row by row through the client library that the ODBC driver links".to_owned())
    }

    fn open(
        &self,
        connection: Connection,
        source: &Source,
        columns: &[Column],
        _wire: Option<WireFormat>,
        resources: &Resources,
    ) -> Result<Box<dyn Reader>, Error> {
        let library = Library::find(&connection.driver).map_err(Error::Unsupported)?;
        let settings = Settings::of(&connection.settings, library.mariadb).map_err(Error::Unsupported)?;
        let dialect = connection.dialect;
        let row_bytes_max = resources.memory_bytes / ROW_SHARE;
        let connect = |interrupt: &Interrupt| {
            let setup: Vec<&str> = dialect
                .session_setup(Purpose::Read)
                .iter()
                .copied()
                .chain([PATIENT])
                .collect();
            Client::connect(library, &settings, Some(row_bytes_max), &setup, interrupt)
        };
        let from = source.after_from(|relation| dialect.quote_relation(relation));
        let list: Vec<String> = columns
            .iter()
            .map(|column| cell::expression(&dialect.quote(&column.name), column))
            .collect();
        let client = match connection.kept.take::<Left>() {
            Some(left) if left.row_bytes_max == row_bytes_max => left.answering(&resources.interrupt),
            _ => None,
        };
        let client = client.map_or_else(|| connect(&resources.interrupt), Ok)?;
        let rows = client.stream(&format!("SELECT {} FROM {from}", list.join(", ")))?;
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
            longest_cells: Box::new(move || {
                let rows = Client::connect(library, &settings, None, &[PATIENT], &interrupt)?.query(&lengths)?;
                let bytes = |cell: Option<String>| cell.and_then(|text| text.parse().ok()).unwrap_or(0);
                let bytes = rows.into_iter().flatten().map(bytes);
                Ok(long.iter().cloned().map(Some).chain([None]).zip(bytes).collect())
            }),
        }))
    }
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

/// What a reader leaves for the next table's.
struct Left {
    client: Client,
    row_bytes_max: usize,
}

impl Left {
    /// The connection, if it is still there.
    fn answering(mut self, interrupt: &Interrupt) -> Option<Client> {
        self.client.stop_with(interrupt);
        self.client.answers().then_some(self.client)
    }
}

struct StreamReader {
    rows: Rows,
    connection: Connection,
    names: Vec<String>,
    rows_read: u64,
    row_bytes_max: usize,
    /// Asks, on another connection, for the bytes of each long column's longest cell and, last, of the longest row.
    longest_cells: Box<LongestCells>,
}

impl Reader for StreamReader {
    fn read(&mut self, batch: &mut Batch, limit_bytes: usize) -> Result<bool, Error> {
        batch.clear();
        batch.first_row = self.rows_read + 1;
        let (names, rows_read) = (&self.names, &mut self.rows_read);
        let columns = &mut batch.columns;
        let mut bytes = 0;
        let result = self.rows.read(|row| {
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
        });
        match result {
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
            self.connection.kept.put(Left {
                client,
                row_bytes_max: self.row_bytes_max,
            });
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
