//! Rows into SQL Server by the bulk copy functions of Microsoft's driver, on the ODBC session's own connection and in its
//! transaction: with autocommit off the driver has begun one, and `bcp_done` ends the rows and not the transaction.

use super::{
    super::{
        Batch, Column, Connection, Error, Relation, Resources, WireFormat, WriteError, WriteLane, Writer, generic,
    },
    bcp::{Binding, BulkCopy, Library, Options},
    bcp_cells::Cells,
    bcp_rows::{Load, Target},
    bcp_target::{Facts, Pages},
    bcp_types::{self, Bound, Form},
    catalog, types,
};
use crate::odbc::Interrupt;

/// The bulk lane in.
pub(in crate::database) struct BcpWrite;

impl WriteLane for BcpWrite {
    fn name(&self) -> &'static str {
        "bcp"
    }

    fn offer(&self, connection: &Connection, target: Option<&Relation>, columns: &[Column]) -> Result<String, String> {
        // As they stand in a table that is made; that of one that is there may have another order.
        match target {
            Some(_) => columns.iter().try_for_each(|column| Bound::of(column).map(drop))?,
            None => bcp_types::keeps_apart(columns.iter())?,
        }
        Library::find(&connection.driver, &connection.session)?;
        let words = |error: Error| connection.without_values(error).to_string();
        // In another database a table that is made may have another code page, which is looked at when it is there.
        let catalog = target.and_then(|target| target.catalog.as_deref());
        Pages::ask(&connection.session, catalog, columns)
            .map_err(words)?
            .all_known(columns)?;
        if let Some(target) = target
            && let Some(facts) = Facts::ask(&connection.session, target).map_err(words)?
        {
            facts.takes(columns)?;
        }
        Ok("bulk copy through the functions that the ODBC driver has for it".to_owned())
    }

    fn leaves_unchecked(&self) -> bool {
        true
    }

    fn takes_parts(&self, _connection: &Connection) -> Result<(), String> {
        Err(
            "a bulk copy does not say which row the server refuses, and has to end before its rows are taken back"
                .to_owned(),
        )
    }

    fn open(&self, connection: Connection, resources: &Resources) -> Result<Box<dyn Writer>, Error> {
        Ok(Box::new(BcpWriter {
            load: None,
            connection,
            last_statement: String::new(),
            memory_bytes: resources.memory_bytes,
            unchecked: false,
        }))
    }
}

struct BcpWriter {
    load: Option<Load>,
    connection: Connection,
    last_statement: String,
    memory_bytes: usize,
    /// Whether CHECK and FOREIGN KEY constraints are not looked at.
    unchecked: bool,
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

    fn leave_unchecked(&mut self) {
        self.unchecked = true;
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
        let facts = Facts::ask(session, target)?;
        let facts = facts.ok_or_else(|| Error::Unsupported(format!("the server knows no columns of {table}")))?;
        facts.takes(columns).map_err(Error::Unsupported)?;
        let pages = Pages::ask(session, target.catalog.as_deref(), columns)?;
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
                cells: Cells {
                    form: bound.form,
                    page,
                    filled: matches!(types::base(&column.declared), "char" | "nchar" | "binary"),
                },
                lies: bound.place,
            });
            bindings.push(Binding { ordinal, bound });
        }
        let create = catalog::at(target, format!("CREATE TABLE {} ", catalog::local(target)));
        let created = self.last_statement.starts_with(create.trim_end_matches("')"));
        let options = Options {
            keep_identity: facts.has_identity_among(columns),
            keep_nulls: facts.has_defaults_among(columns),
            hints: facts.hints(created, self.unchecked),
        };
        let left_out = bindings.len() > targets.len();
        let mut copy = BulkCopy::begin(&library, session, &table, bindings, &options)?;
        if left_out {
            copy.set_null(targets.len());
        }
        self.load = Some(Load::start(copy, targets, session.interrupt())?);
        Ok(())
    }

    fn write(&mut self, batch: &Batch) -> Result<(), WriteError> {
        match &mut self.load {
            Some(load) => load.write(batch),
            None => Err(Error::Unsupported("a batch came before its table was named".to_owned()).into()),
        }
    }

    fn finish(&mut self) -> Result<(), WriteError> {
        match &mut self.load {
            Some(load) => load.finish()?,
            None => return Ok(()),
        }
        self.load = None;
        Ok(())
    }

    fn read_back(
        &mut self,
        table: &Relation,
        columns: &[Column],
        batch_bytes: usize,
        take: &mut dyn FnMut(&Batch),
    ) -> Result<(), Error> {
        generic::read_back(&self.connection, table, columns, (self.memory_bytes, batch_bytes), take)
    }

    fn commit(&mut self) -> Result<(), Error> {
        Ok(self.connection.session.commit()?)
    }

    fn shield(&mut self) {
        self.connection.session.set_interrupt(&Interrupt::new());
    }

    fn rollback(&mut self) -> Result<(), Error> {
        self.shield();
        // The connection takes nothing else before the bulk copy has ended. One that is abandoned has the connection to
        // itself, and closes it when the driver lets go of it: the server rolls back then.
        match self.load.take().is_none_or(Load::end) {
            true => Ok(self.connection.session.rollback()?),
            false => Ok(()),
        }
    }

    fn into_connection(self: Box<Self>) -> Option<Connection> {
        let BcpWriter { load, connection, .. } = *self;
        if !load.is_none_or(Load::end) {
            return None;
        }
        connection.session.set_autocommit(true).ok()?;
        Some(connection)
    }
}
