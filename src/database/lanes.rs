//! The ways for rows to leave and enter a database: what a lane is, and the readers and writers that it gives.

use super::{Batch, Column, Connection, Error, Relation, Source, WriteError};
use crate::odbc::Interrupt;

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

    /// Whether it can read this, with the reason either way; `is_plain` is what was known of the table, [`super::Table::is_plain`].
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
    /// KEY constraints as it takes the rows. Others are told by the statements of [`super::Dialect::unchecked`].
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
