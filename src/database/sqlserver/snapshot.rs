//! Connections that see a table in one state: their SNAPSHOT transactions begin while it is locked against writers.
//!
//! What a transaction sees under SNAPSHOT is settled when it reads for the first time, and no other can take it over.

use super::{
    super::{Connection, Error, Relation, Resources},
    read::read_committed,
};

/// How long writers of a table are waited for before it is locked, in milliseconds. Those who come later wait behind, so it
/// is short.
const LOCK_WAIT_MS: u32 = 2_000;

/// Begins a transaction on each connection, all of one state of the table.
pub(super) fn begin(connections: &[Connection], relation: &Relation, resources: &Resources) -> Result<(), Error> {
    let Some(first) = connections.first() else {
        return Ok(());
    };
    let table = first.dialect.quote_relation(relation);
    // The lock is of a session of its own: one that reads would hold it to the end of its rows.
    let locking = first.another(&resources.interrupt)?.session;
    for connection in connections {
        connection.session.rollback()?;
        connection.session.execute("SET TRANSACTION ISOLATION LEVEL SNAPSHOT")?;
    }
    for session in connections
        .iter()
        .map(|connection| &connection.session)
        .chain([&locking])
    {
        // Of readers too: behind somebody who waits to alter the table a reader would wait for him, and he for the lock.
        session.execute(&format!("SET LOCK_TIMEOUT {LOCK_WAIT_MS}"))?;
    }
    // To the end of its transaction, whatever versions the database keeps. Not TOP (0), for which the server does not look at
    // the table.
    locking.text_rows(&format!("SELECT TOP (1) 1 FROM {table} WITH (TABLOCK, HOLDLOCK)"), &[])?;
    for connection in connections {
        connection
            .session
            .text_rows(&format!("SELECT TOP (1) 1 FROM {table}"), &[])?;
    }
    locking.rollback()?;
    for connection in connections {
        connection.session.execute("SET LOCK_TIMEOUT -1")?;
    }
    Ok(())
}

/// Takes back what [`begin`] has done, where it could not be brought to its end.
pub(super) fn end(connections: &[Connection]) -> Result<(), Error> {
    for connection in connections {
        read_committed(&connection.session)?;
        connection.session.execute("SET LOCK_TIMEOUT -1")?;
    }
    Ok(())
}
