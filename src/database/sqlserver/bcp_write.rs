//! Rows into SQL Server by the bulk copy functions of Microsoft's driver, on the ODBC session's own connection and in its
//! transaction: with autocommit off the driver has begun one, and `bcp_done` ends the rows and not the transaction.

use super::{
    super::{
        Batch, Column, Connection, Error, Relation, Resources, WireFormat, WriteError, WriteLane, Writer, batch::Values,
    },
    bcp::{Binding, BulkCopy, Library, Options},
    bcp_cells::Cells,
    bcp_target::{Facts, Pages},
    bcp_types::{self, Bound, Form, Place},
};
use crate::odbc::Interrupt;

/// The bulk lane in.
pub(in crate::database) struct BcpWrite;

impl WriteLane for BcpWrite {
    fn name(&self) -> &'static str {
        "bcp"
    }

    fn offer(&self, connection: &Connection, target: &Relation, columns: &[Column]) -> Result<String, String> {
        for column in columns {
            Bound::of(column)?;
        }
        Library::find(&connection.driver, &connection.session)?;
        let words = |error: Error| connection.without_values(error).to_string();
        Pages::ask(&connection.session, columns)
            .map_err(words)?
            .all_known(columns)?;
        let table = connection.dialect.quote_relation(target);
        if let Some(facts) = Facts::ask(&connection.session, &table).map_err(words)? {
            facts.takes(columns)?;
        }
        Ok("bulk copy through the functions that the ODBC driver has for it".to_owned())
    }

    fn open(&self, connection: Connection, _resources: &Resources) -> Result<Box<dyn Writer>, Error> {
        Ok(Box::new(BcpWriter {
            load: None,
            connection,
            last_statement: String::new(),
        }))
    }
}

struct BcpWriter {
    // Before the connection, whose handle it holds.
    load: Option<Load>,
    connection: Connection,
    last_statement: String,
}

/// A bulk copy that is under way.
struct Load {
    copy: BulkCopy,
    /// Of the columns of the batches, in the order of the table.
    columns: Vec<Target>,
    interrupt: Interrupt,
    rows_written: u64,
    scratch: Vec<u8>,
}

/// Where the values of a batch's column go.
struct Target {
    name: String,
    /// The column's place in a batch.
    source: usize,
    /// The column's place among the bindings.
    place: usize,
    cells: Cells,
    lies: Place,
}

impl Writer for BcpWriter {
    fn begin(&mut self) -> Result<(), Error> {
        Ok(self.connection.session.set_autocommit(false)?)
    }

    fn execute(&mut self, sql: &str) -> Result<i64, Error> {
        sql.clone_into(&mut self.last_statement);
        Ok(self.connection.session.execute(sql)?)
    }

    fn query(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
        Ok(self.connection.session.text_rows(sql, &[])?)
    }

    fn load_into(&mut self, target: &Relation, columns: &[Column], _wire: Option<WireFormat>) -> Result<(), Error> {
        let Connection {
            session,
            driver,
            dialect,
            ..
        } = &self.connection;
        let table = dialect.quote_relation(target);
        let library = Library::find(driver, session).map_err(Error::Unsupported)?;
        let facts = Facts::ask(session, &table)?;
        let facts = facts.ok_or_else(|| Error::Unsupported(format!("the server knows no columns of {table}")))?;
        facts.takes(columns).map_err(Error::Unsupported)?;
        let pages = Pages::ask(session, columns)?;
        pages.all_known(columns).map_err(Error::Unsupported)?;
        let mut bindings = Vec::new();
        let mut targets = Vec::new();
        for (position, name) in facts.names().enumerate() {
            let ordinal = position + 1;
            let Some(source) = columns.iter().position(|column| column.name == name) else {
                // The driver wants the last column to be bound, and leaves it out if nobody can write it.
                if ordinal == facts.names().count() {
                    bindings.push(Binding {
                        ordinal,
                        bound: bcp_types::LEFT_OUT,
                    });
                }
                continue;
            };
            let column = &columns[source];
            let bound = Bound::of(column).map_err(Error::Unsupported)?;
            let page = (bound.form == Form::CodePage)
                .then(|| pages.of(column).cloned())
                .flatten();
            targets.push(Target {
                name: column.name.clone(),
                source,
                place: bindings.len(),
                cells: Cells { form: bound.form, page },
                lies: bound.place,
            });
            bindings.push(Binding { ordinal, bound });
        }
        let created = self.last_statement.starts_with(&format!("CREATE TABLE {table} "));
        let options = Options {
            keep_identity: facts.has_identity_among(columns),
            hints: facts.hints(created),
        };
        let left_out = bindings.len() > targets.len();
        let mut copy = BulkCopy::begin(&library, session, &table, bindings, &options)?;
        if left_out {
            copy.set_null(targets.len());
        }
        self.load = Some(Load {
            copy,
            columns: targets,
            interrupt: session.interrupt(),
            rows_written: 0,
            scratch: Vec::new(),
        });
        Ok(())
    }

    fn write(&mut self, batch: &Batch) -> Result<(), WriteError> {
        let Some(load) = &mut self.load else {
            return Err(Error::Unsupported("a batch came before its table was named".to_owned()).into());
        };
        for row in 0..batch.rows() {
            if load.interrupt.is_raised() {
                return Err(Error::cancelled().into());
            }
            load.write_row(batch, row)
                .map_err(|failure| load.placed(failure, row))?;
        }
        load.rows_written += batch.rows() as u64;
        Ok(())
    }

    fn finish(&mut self) -> Result<(), WriteError> {
        let Some(load) = self.load.take() else { return Ok(()) };
        let rows = load.copy.finish()?;
        // An index with IGNORE_DUP_KEY drops rows, and says so in a message alone.
        if rows != load.rows_written as u32 {
            let text = format!(
                "the server took {rows} of {} rows, and named no error",
                load.rows_written
            );
            return Err(Error::Unsupported(text).into());
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Error> {
        Ok(self.connection.session.commit()?)
    }

    fn shield(&mut self) {
        self.connection.session.set_interrupt(&Interrupt::new());
    }

    fn rollback(&mut self) -> Result<(), Error> {
        // The connection takes nothing else before the bulk copy has ended.
        self.load = None;
        self.shield();
        Ok(self.connection.session.rollback()?)
    }

    fn into_connection(self: Box<Self>) -> Option<Connection> {
        let BcpWriter { load, connection, .. } = *self;
        drop(load);
        connection.session.set_autocommit(true).ok()?;
        Some(connection)
    }
}

/// Why a row was not sent.
enum Failure {
    /// A value of the column at this place was refused here.
    Value(usize, String),
    /// The driver or the server said no.
    Driver(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Driver(error)
    }
}

impl Load {
    fn write_row(&mut self, batch: &Batch, row: usize) -> Result<(), Failure> {
        let Load {
            copy, columns, scratch, ..
        } = self;
        let mut in_pieces = false;
        for (number, target) in columns.iter().enumerate() {
            let column = &batch.columns[target.source];
            match target.lies {
                Place::Row { .. } if column.nulls[row] => copy.set_null(target.place),
                Place::Row { .. } => {
                    let written = target.cells.write(&column.values, row, copy.value(target.place));
                    copy.set_length(target.place, written.map_err(|reason| Failure::Value(number, reason))?);
                }
                Place::Pieces { length_first } => {
                    in_pieces = true;
                    if length_first {
                        let bytes = (!column.nulls[row]).then(|| target.cells.bytes(&column.values, row));
                        copy.announce(target.place, bytes)?;
                    }
                }
            }
        }
        copy.send_row()?;
        if !in_pieces {
            return Ok(());
        }
        for (number, target) in columns.iter().enumerate() {
            let Place::Pieces { length_first } = target.lies else {
                continue;
            };
            let column = &batch.columns[target.source];
            match (column.nulls[row], length_first) {
                // The driver knows already.
                (true, true) => {}
                (true, false) => copy.send_null()?,
                (false, _) => {
                    let sent = target
                        .cells
                        .pieces(&column.values, row, scratch, |piece| copy.send_piece(piece));
                    sent.map_err(|reason| Failure::Value(number, reason))??;
                    if !length_first || is_empty(&column.values, row) {
                        copy.send_piece(&[])?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The error with the row that it is about, where that is known: the server takes rows in while others are still on
    /// their way.
    fn placed(&self, failure: Failure, row: usize) -> WriteError {
        let number = self.rows_written + row as u64 + 1;
        match failure {
            Failure::Value(column, reason) => WriteError {
                error: Error::Row {
                    row: number,
                    column: self.columns.get(column).map(|target| target.name.clone()),
                    error: Box::new(Error::Unsupported(reason)),
                },
                row: Some(row),
            },
            // The driver's own errors have no number of the server's, and are about the row that it was given.
            Failure::Driver(Error::Client { function, diagnostic })
                if diagnostic.native == 0 && diagnostic.sqlstate.starts_with("22") =>
            {
                WriteError {
                    error: Error::Row {
                        row: number,
                        column: None,
                        error: Box::new(Error::Client { function, diagnostic }),
                    },
                    row: Some(row),
                }
            }
            Failure::Driver(error) => error.into(),
        }
    }
}

fn is_empty(values: &Values, row: usize) -> bool {
    match values {
        Values::Text(values) | Values::Bytes(values) => values.get(row).is_empty(),
        _ => true,
    }
}
