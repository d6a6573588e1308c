//! Rows into PostgreSQL by COPY FROM STDIN, over libpq; its connection carries the load's whole transaction.

use super::{
    super::{
        Batch, Column, Connection, Error, LogicalType, Relation, Resources, Savepoint, Source, WireFormat, WriteError,
        WriteLane, Writer,
    },
    binary::{self, BadCell, Cell},
    client::{Client, Refusal},
    copy::{self, About, Facts, Ready},
    copy_read::Rows,
    settings::Settings,
    text,
};

/// The bulk lane in.
pub(in crate::database) struct CopyWrite;

impl WriteLane for CopyWrite {
    fn name(&self) -> &'static str {
        copy::NAME
    }

    fn offer(&self, connection: &Connection, target: Option<&Relation>, columns: &[Column]) -> Result<String, String> {
        if columns.is_empty() {
            return Err("there is no column to write".to_owned());
        }
        if Settings::is_read_only(&connection.settings) {
            return Err("the driver's attribute `ReadOnly` is set".to_owned());
        }
        let about = target.map_or(About::Known(Facts::default()), About::Relation);
        match copy::prepare(connection, about)?.why_not_loaded() {
            Some(reason) => Err(reason.to_owned()),
            None => Ok("COPY FROM STDIN over libpq, the library that the driver links".to_owned()),
        }
    }

    fn wire_formats(&self, _connection: &Connection, columns: &[Column]) -> Vec<WireFormat> {
        vec![copy::wire_format(columns)]
    }

    fn takes_parts(&self, _connection: &Connection) -> Result<(), String> {
        Ok(())
    }

    fn open(&self, connection: Connection, resources: &Resources) -> Result<Box<dyn Writer>, Error> {
        let Ready { mut client, facts, .. } = copy::taken(&connection)?;
        client.stop_with(&resources.interrupt);
        Ok(Box::new(CopyWriter {
            client,
            connection,
            reusable: true,
            row_bytes_max: resources.memory_bytes / 2,
            load: None,
            // A trigger may put the rows of a table of the old kind of partitions into its children.
            is_counted: facts.kind != Some('r') || !facts.has_children,
            rows_taken: None,
        }))
    }
}

struct CopyWriter {
    client: Client,
    connection: Connection,
    /// Whether the client may serve another table.
    reusable: bool,
    row_bytes_max: usize,
    load: Option<Load>,
    /// Whether the server's count is that of all rows that the table has taken.
    is_counted: bool,
    /// What the server has counted.
    rows_taken: Option<u64>,
}

/// Rows that are being loaded.
struct Load {
    /// The COPY.
    sql: String,
    /// What the tags of those that have ended said.
    rows_taken: Option<u64>,
    /// Whether it is under way; between the parts of a load it is not.
    is_under_way: bool,
    target: Relation,
    names: Vec<String>,
    encoding: Encoding,
    /// What is not sent yet.
    buffer: Vec<u8>,
    rows_written: u64,
}

enum Encoding {
    Unparsed { binary: bool },
    Binary(Vec<Cell>),
    Text(Vec<LogicalType>),
}

/// How much is gathered before it is sent.
const BUFFER_BYTES: usize = 64 << 10;

impl Writer for CopyWriter {
    fn begin(&mut self) -> Result<(), Error> {
        self.client.run("BEGIN").map(drop)
    }

    fn execute(&mut self, sql: &str) -> Result<i64, Error> {
        Ok(self.client.run(sql)?.changed_rows().unwrap_or(-1))
    }

    fn query(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
        Ok(self.client.run(sql)?.rows())
    }

    fn load_into(&mut self, target: &Relation, columns: &[Column], wire: Option<WireFormat>) -> Result<(), Error> {
        let cells: Option<Vec<Cell>> = columns.iter().map(|column| Cell::of_type(column.logical)).collect();
        let encoding = match (wire, cells) {
            (Some(wire), _) => Encoding::Unparsed {
                binary: wire == copy::BINARY,
            },
            (None, Some(cells)) => Encoding::Binary(cells),
            // A type that only the server knows comes as its text, and a COPY has one format for all columns.
            (None, None) => Encoding::Text(columns.iter().map(|column| column.logical).collect()),
        };
        let binary = !matches!(encoding, Encoding::Text(_) | Encoding::Unparsed { binary: false });
        if let Some(sql) = copy::text_setup(columns).filter(|_| wire == Some(copy::TEXT)) {
            self.reusable = false;
            self.client.run(sql)?;
        }
        let relation = self.connection.dialect.quote_relation(target);
        let list = copy::column_list(self.connection.dialect, columns);
        let format = if binary { "binary" } else { "text" };
        let mut load = Load {
            sql: format!("COPY {relation} ({list}) FROM STDIN (FORMAT {format})"),
            rows_taken: Some(0),
            is_under_way: false,
            target: target.clone(),
            names: columns.iter().map(|column| column.name.clone()).collect(),
            encoding,
            buffer: Vec::with_capacity(2 * BUFFER_BYTES),
            rows_written: 0,
        };
        load.start(&mut self.client)?;
        self.load = Some(load);
        Ok(())
    }

    fn write(&mut self, batch: &Batch) -> Result<(), WriteError> {
        let Some(load) = &mut self.load else {
            return Err(Error::Unsupported("a batch came before its table was named".to_owned()).into());
        };
        load.write(batch, &mut self.client)?;
        load.rows_written += batch.rows() as u64;
        Ok(())
    }

    fn finish(&mut self) -> Result<(), WriteError> {
        let Some(mut load) = self.load.take() else {
            return Ok(());
        };
        if load.is_under_way {
            load.end(&mut self.client, 0)?;
        }
        self.rows_taken = load.rows_taken.filter(|_| self.is_counted);
        Ok(())
    }

    fn begin_part(&mut self) -> Result<(), Error> {
        let Some(load) = &mut self.load else { return Ok(()) };
        if load.is_under_way {
            // The one that showed that the table takes these columns. Nothing was sent.
            load.end(&mut self.client, 0).map_err(|failed| failed.error)?;
        }
        self.client.run(Savepoint::STANDARD.set)?;
        load.start(&mut self.client)
    }

    fn end_part(&mut self) -> Result<(), WriteError> {
        let Some(load) = &mut self.load else { return Ok(()) };
        // What an index or a foreign key has against a row is said at the end.
        let rows = usize::try_from(load.rows_written).unwrap_or(usize::MAX);
        load.rows_written = 0;
        load.end(&mut self.client, rows)?;
        if let Some(sql) = Savepoint::STANDARD.release {
            self.client.run(sql)?;
        }
        Ok(())
    }

    fn undo_part(&mut self) -> Result<(), Error> {
        if let Some(load) = &mut self.load {
            load.is_under_way = false;
        }
        self.client.give_copy_up()?;
        let Savepoint { undo, release, .. } = Savepoint::STANDARD;
        let mut statements = [Some(undo), release].into_iter().flatten();
        statements.try_for_each(|sql| self.client.run(sql).map(drop))
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
        let dialect = self.connection.dialect;
        let facts = copy::ask(&mut self.client, &copy::question(dialect, table))?;
        let source = Source::Table {
            relation: table.clone(),
            condition: None,
        };
        let mut rows = Rows::start(
            &mut self.client,
            dialect,
            (&source, columns, None),
            facts,
            self.row_bytes_max,
        )?;
        let mut batch = Batch::of(columns);
        while rows.read(&mut self.client, &mut batch, batch_bytes)? {
            take(&batch);
            batch.recycle(batch_bytes);
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Error> {
        self.client.commit()
    }

    fn shield(&mut self) {
        self.client.shield();
    }

    fn rollback(&mut self) -> Result<(), Error> {
        self.load = None;
        self.client.rollback()
    }

    fn into_connection(self: Box<Self>) -> Option<Connection> {
        if self.reusable {
            copy::leave(&self.connection, self.client);
        }
        Some(self.connection)
    }
}

impl Load {
    fn is_binary(&self) -> bool {
        !matches!(self.encoding, Encoding::Text(_) | Encoding::Unparsed { binary: false })
    }

    /// Begins the COPY.
    fn start(&mut self, client: &mut Client) -> Result<(), Error> {
        client.start_copy(&self.sql)?;
        self.is_under_way = true;
        self.rows_written = 0;
        self.buffer.clear();
        if self.is_binary() {
            self.buffer.extend_from_slice(binary::HEADER);
        }
        Ok(())
    }

    /// Ends the COPY: its rows are at the server. `rows` are those of a part, about which the server may say something now.
    fn end(&mut self, client: &mut Client, rows: usize) -> Result<(), WriteError> {
        self.is_under_way = false;
        if self.is_binary() {
            self.buffer.extend_from_slice(&binary::TRAILER);
        }
        let sent = self.rows_written + rows as u64;
        let finished = client.put(&self.buffer).and_then(|()| client.finish_copy());
        let answer = finished.map_err(|refusal| self.refused(*refusal, rows))?;
        let taken = answer.changed_rows().and_then(|taken| u64::try_from(taken).ok());
        self.rows_taken = self.rows_taken.zip(taken).map(|(before, taken)| before + taken);
        if let Some(loaded) = answer.changed_rows().filter(|loaded| *loaded != sent as i64) {
            tracing::warn!(
                event = "postgres.rows_suppressed",
                table = %self.target,
                sent,
                loaded,
                "a trigger of the table has not let all rows pass"
            );
        }
        Ok(())
    }

    fn write(&mut self, batch: &Batch, client: &mut Client) -> Result<(), WriteError> {
        let rows = batch.rows();
        if let Encoding::Unparsed { .. } = self.encoding {
            let sent = client.put(&self.buffer).and_then(|()| client.put(&batch.wire.bytes));
            self.buffer.clear();
            return sent.map_err(|refusal| self.refused(*refusal, rows));
        }
        for row in 0..rows {
            let written = match &self.encoding {
                Encoding::Binary(cells) => binary::write_row(batch, row, cells, &mut self.buffer),
                Encoding::Text(types) => text::write_row(batch, row, types, &mut self.buffer),
                Encoding::Unparsed { .. } => Ok(()),
            };
            written.map_err(|BadCell { column, reason }| WriteError {
                error: Error::Row {
                    row: self.rows_written + row as u64 + 1,
                    column: self.names.get(column).cloned(),
                    error: Box::new(Error::Unsupported(reason.to_owned())),
                },
                row: Some(row),
            })?;
            if self.buffer.len() >= BUFFER_BYTES {
                let sent = client.put(&self.buffer);
                self.buffer.clear();
                // After a long cell.
                self.buffer.shrink_to(4 * BUFFER_BYTES);
                sent.map_err(|refusal| self.refused(*refusal, rows))?;
            }
        }
        Ok(())
    }

    /// The server's error with the row that it names, which may be one of an earlier batch: the server takes rows in while
    /// others are still on their way. `rows` are those of the batch at hand.
    fn refused(&self, refusal: Refusal, rows: usize) -> WriteError {
        let Refusal { error, context, column } = refusal;
        let place = context.as_deref().and_then(|context| place(context, &self.target.name));
        let Some((row, column_read)) = place else {
            return error.into();
        };
        let within = row
            .checked_sub(self.rows_written + 1)
            .and_then(|row| usize::try_from(row).ok());
        let named = column.or(column_read).filter(|name| self.names.contains(name));
        WriteError {
            error: Error::Row {
                row,
                column: named,
                error: Box::new(error),
            },
            row: within.filter(|row| *row < rows),
        }
    }
}

/// Row and column from a context such as `COPY t, line 12, column c: "…"`; the words around them may be of any language.
fn place(context: &str, table: &str) -> Option<(u64, Option<String>)> {
    let line = context
        .lines()
        .find(|line| line.contains("COPY") && line.contains(table))?;
    let after = line.replacen(table, "", 1);
    let start = after.find(|letter: char| letter.is_ascii_digit())?;
    let number = &after[start..];
    let end = number
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(number.len());
    let column = number[end..].strip_prefix(", column ");
    let column = column.map(|rest| rest.split(": ").next().unwrap_or(rest).to_owned());
    Some((number[..end].parse().ok()?, column))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_context_names_row_and_column_in_any_language() {
        let of = |context: &str| place(context, "t 1");
        assert_eq!(
            of("COPY t 1, line 12, column c: \"99\""),
            Some((12, Some("c".to_owned())))
        );
        assert_eq!(of("COPY t 1, line 12"), Some((12, None)));
        assert_eq!(of("COPY t 1, Zeile 3, Spalte c: »x«"), Some((3, None)));
        assert_eq!(of("t 1のCOPY、行 7、列 c"), Some((7, None)));
        assert_eq!(
            of("SQL function \"f\" statement 1\nCOPY t 1, line 5, column a b"),
            Some((5, Some("a b".to_owned())))
        );
        assert_eq!(of("SQL statement \"SELECT 1 FROM ONLY x\""), None);
    }
}
