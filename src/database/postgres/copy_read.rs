//! Rows out of PostgreSQL by COPY TO STDOUT, over libpq.

use super::{
    super::{
        Batch, Column, Connection, Dialect, Error, LogicalType, ReadLane, Reader, Relation, Resources, Source,
        WireFormat,
        lines::{self, InDoubt, Lines},
    },
    binary::{self, BadCell, Cell},
    client::Client,
    copy::{self, About, Facts, Ready},
    snapshot,
};
use crate::odbc::Interrupt;

/// The bulk lane out.
pub(in crate::database) struct CopyRead;

impl ReadLane for CopyRead {
    fn name(&self) -> &'static str {
        copy::NAME
    }

    fn offer(
        &self,
        connection: &Connection,
        source: &Source,
        columns: &[Column],
        is_plain: bool,
    ) -> Result<String, String> {
        if columns.is_empty() {
            return Err("there is no column to read".to_owned());
        }
        let about = match source {
            Source::Table { .. } if is_plain => About::Known(Facts::PLAIN),
            Source::Table { relation, .. } => About::Relation(relation),
            Source::Query(_) => About::Known(Facts::default()),
        };
        copy::prepare(connection, about)?;
        Ok("COPY TO STDOUT over libpq, the library that the driver links".to_owned())
    }

    fn shared_state(&self, _connection: &Connection, _source: &Source) -> Result<&'static str, String> {
        Ok("of one exported snapshot")
    }

    fn share_state(
        &self,
        connections: &[Connection],
        relation: &Relation,
        resources: &Resources,
    ) -> Result<Result<(), String>, Error> {
        snapshot::share(connections, relation, resources)
    }

    fn wire_formats(&self, _connection: &Connection, columns: &[Column]) -> Vec<WireFormat> {
        let lines = Lines::of(columns).map(|_| lines::FORMAT);
        [Some(copy::wire_format(columns)), lines]
            .into_iter()
            .flatten()
            .collect()
    }

    fn open(
        &self,
        connection: Connection,
        source: &Source,
        columns: &[Column],
        wire: Option<WireFormat>,
        resources: &Resources,
    ) -> Result<Box<dyn Reader>, Error> {
        let Ready {
            mut client,
            facts,
            shares_snapshot,
        } = copy::taken(&connection)?;
        let dialect = connection.dialect;
        // The session's transaction would hold the locks of the plan's queries.
        connection.session.rollback()?;
        client.stop_with(&resources.interrupt);
        // A query may call functions that change the session.
        let mut reusable = matches!(source, Source::Table { .. });
        if let Some(sql) = copy::text_setup(columns).filter(|_| wire == Some(copy::TEXT)) {
            reusable = false;
            client.run(sql)?;
        }
        let rows = Rows::start(
            &mut client,
            dialect,
            (source, columns, wire),
            facts,
            resources.memory_bytes / 2,
        )?;
        Ok(Box::new(CopyReader {
            client,
            connection,
            reusable,
            shares_snapshot,
            rows,
            interrupt: resources.interrupt.clone(),
        }))
    }
}

/// The SELECT that gives these expressions of the source.
fn select(dialect: &dyn Dialect, source: &Source, list: &str) -> String {
    let from = source.after_from(|relation| dialect.quote_relation(relation));
    format!("SELECT {list} FROM {from}")
}

/// The binary form of each column; `None` for those that are read as the server's text.
fn cells(
    client: &mut Client,
    dialect: &dyn Dialect,
    source: &Source,
    columns: &[Column],
) -> Result<Vec<Option<Cell>>, Error> {
    let Source::Query(_) = source else {
        // The catalog said so.
        return Ok(columns.iter().map(|column| Cell::of_type(column.logical)).collect());
    };
    // A query's types are the driver's words so far, and a cast to what it says might lose something.
    let types = client.describe(&select(dialect, source, &copy::column_list(dialect, columns)))?;
    let cell = |(column, oid): (&Column, &u32)| match Cell::of_oid(*oid) {
        Some(cell) if cell.layout() == column.logical.layout() => Ok(Some(cell)),
        _ if column.logical.layout() == LogicalType::TEXT.layout() => Ok(None),
        _ => Err(Error::Unsupported(format!(
            "column `{}` of the query has a type (oid {oid}) that the driver reports as `{}`; cast it in the query",
            column.name, column.declared
        ))),
    };
    columns.iter().zip(&types).map(cell).collect()
}

struct CopyReader {
    client: Client,
    connection: Connection,
    /// Whether the client may serve another table.
    reusable: bool,
    /// Whether a transaction is open that ends with the rows.
    shares_snapshot: bool,
    rows: Rows,
    interrupt: Interrupt,
}

impl Reader for CopyReader {
    fn read(&mut self, batch: &mut Batch, limit_bytes: usize) -> Result<bool, Error> {
        batch.clear();
        if self.interrupt.is_raised() {
            return Err(Error::cancelled());
        }
        self.rows.read(&mut self.client, batch, limit_bytes)
    }

    fn into_connection(mut self: Box<Self>) -> Option<Connection> {
        if self.reusable && self.rows.ended && (!self.shares_snapshot || self.client.run("COMMIT").is_ok()) {
            copy::leave(&self.connection, self.client);
        }
        Some(self.connection)
    }
}

/// The rows of a COPY TO STDOUT that a client has begun.
pub(super) struct Rows {
    names: Vec<String>,
    cells: Vec<Cell>,
    /// The form in which rows are handed over, if it is not the server's own.
    lines: Option<Lines>,
    unparsed: bool,
    binary: bool,
    /// Whether the stream's header is still to come.
    header: bool,
    /// libpq holds a row twice: in its buffer, and as it hands it over.
    row_bytes_max: usize,
    rows_read: u64,
    ended: bool,
}

impl Rows {
    /// Begins it; with `wire`, rows come in that form.
    pub(super) fn start(
        client: &mut Client,
        dialect: &dyn Dialect,
        (source, columns, wire): (&Source, &[Column], Option<WireFormat>),
        facts: Facts,
        row_bytes_max: usize,
    ) -> Result<Rows, Error> {
        let cells = match wire {
            Some(_) => Vec::new(),
            None => cells(client, dialect, source, columns)?,
        };
        let native = |position: usize| wire.is_some() || cells[position].is_some();
        let list: Vec<String> = (columns.iter().enumerate())
            .map(|(position, column)| {
                let name = dialect.quote(&column.name);
                if native(position) {
                    name
                } else {
                    format!("CAST({name} AS text)")
                }
            })
            .collect();
        let what = match source {
            Source::Table {
                relation,
                condition: None,
            } if facts.is_plain_table()
                && (0..columns.len()).all(native)
                && !columns.iter().any(|column| column.generated) =>
            {
                format!("{} ({})", dialect.quote_relation(relation), list.join(", "))
            }
            _ => format!("({}\n)", select(dialect, source, &list.join(", "))),
        };
        let lines = (wire == Some(lines::FORMAT)).then(|| Lines::of(columns)).flatten();
        let as_text = wire == Some(copy::TEXT) || lines.is_some();
        let format = if as_text { "text" } else { "binary" };
        client.start_copy(&format!("COPY {what} TO STDOUT (FORMAT {format})"))?;
        Ok(Rows {
            names: columns.iter().map(|column| column.name.clone()).collect(),
            cells: cells.into_iter().map(|cell| cell.unwrap_or(Cell::Text)).collect(),
            lines,
            unparsed: wire.is_some(),
            header: format == "binary",
            binary: format == "binary",
            row_bytes_max,
            rows_read: 0,
            ended: false,
        })
    }

    /// Fills an empty batch with the next rows, up to about `limit_bytes`; false, and no rows, at the end.
    pub(super) fn read(&mut self, client: &mut Client, batch: &mut Batch, limit_bytes: usize) -> Result<bool, Error> {
        batch.first_row = self.rows_read + 1;
        let mut bytes = 0;
        while bytes < limit_bytes && !self.ended {
            let row = client.next_row(self.row_bytes_max);
            let Some(row) = row.map_err(|error| self.over_limit(error, None))? else {
                self.ended = true;
                break;
            };
            let mut row = row.bytes();
            if self.header {
                row = without_header(row)?;
                self.header = false;
            }
            if self.binary && (row.is_empty() || row == binary::TRAILER) {
                continue;
            }
            self.rows_read += 1;
            bytes += row.len();
            if row.len() > self.row_bytes_max {
                let error = Error::OverMemoryLimit {
                    column: None,
                    row: None,
                    bytes: row.len(),
                    limit_bytes: self.row_bytes_max,
                };
                let column = binary::longest_cell(row).filter(|_| self.binary);
                return Err(self.over_limit(error, column.map(|(_, position)| position)));
            }
            if let Some(lines) = &self.lines {
                lines
                    .append(row, &mut batch.wire.bytes)
                    .map_err(|InDoubt(column)| Error::InDoubt {
                        column: self.names.get(column).cloned().unwrap_or_default(),
                        row: self.rows_read,
                    })?;
                batch.wire.rows += 1;
            } else if self.unparsed {
                batch.wire.bytes.extend_from_slice(row);
                batch.wire.rows += 1;
            } else {
                binary::read_row(row, &self.cells, &mut batch.columns).map_err(|bad| self.unreadable(bad))?;
            }
        }
        Ok(batch.rows() > 0)
    }

    fn unreadable(&self, BadCell { column, reason }: BadCell) -> Error {
        Error::Unreadable {
            column: self.names.get(column).cloned().unwrap_or_default(),
            row: self.rows_read,
            reason: reason.to_owned(),
        }
    }

    /// The error with the names of what is too long.
    fn over_limit(&self, error: Error, position: Option<usize>) -> Error {
        match error {
            Error::OverMemoryLimit { bytes, limit_bytes, .. } => Error::OverMemoryLimit {
                column: position.and_then(|position| self.names.get(position).cloned()),
                row: Some(self.rows_read + u64::from(position.is_none())),
                bytes,
                limit_bytes,
            },
            other => other,
        }
    }
}

/// What follows the header of a binary COPY, which comes with the first row.
fn without_header(bytes: &[u8]) -> Result<&[u8], Error> {
    // Signature and flags; the last four bytes say how long an extension is, which no server has so far.
    let rest = bytes.strip_prefix(binary::HEADER);
    rest.ok_or_else(|| Error::Unsupported("the server sent no header of a binary COPY".to_owned()))
}
