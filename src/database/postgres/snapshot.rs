//! Connections of the lane out that see a table in one state: the first exports its snapshot, the others take it over.

use super::{
    super::{Connection, Error, Relation, Resources},
    client::Client,
    copy::{self, About, Ready},
};

const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ";

/// Opens a transaction on each connection, all of one snapshot; see [`super::super::ReadLane::share_state`].
pub(super) fn share(
    connections: &[Connection],
    relation: &Relation,
    resources: &Resources,
) -> Result<Result<(), String>, Error> {
    let mut all: Vec<Ready> = Vec::new();
    for connection in connections {
        match copy::prepare(connection, About::Relation(relation)) {
            _ if resources.interrupt.is_raised() => return Err(Error::cancelled()),
            Err(reason) => return Ok(Err(reason)),
            Ok(_) => all.push(copy::taken(connection)?),
        }
    }
    let name = connections[0].dialect.quote_relation(relation);
    let (first, others) = all.split_at_mut(1);
    let shared = first.iter_mut().try_for_each(|first| {
        let id = export(&mut first.client, &name)?;
        others
            .iter_mut()
            .try_for_each(|other| import(&mut other.client, &id, &name))
    });
    for (connection, mut ready) in connections.iter().zip(all) {
        ready.shares_snapshot = shared.is_ok();
        // What is in no transaction answers with a warning.
        if shared.is_ok() || ready.client.run("ROLLBACK").is_ok() {
            connection.kept.put(ready);
        }
    }
    match shared {
        Ok(()) => Ok(Ok(())),
        Err(error) => connections[0].as_reason("no snapshot to share", error).map(Err),
    }
}

/// The snapshot's name. The lock comes first: a table that is emptied or rewritten between the snapshot and a reader would be
/// read as it is then.
fn export(client: &mut Client, table: &str) -> Result<String, Error> {
    client.run(&format!("{BEGIN}; LOCK TABLE {table} IN ACCESS SHARE MODE"))?;
    let rows = client.run("SELECT pg_catalog.pg_export_snapshot()")?.rows();
    let id = rows.into_iter().flatten().flatten().next();
    id.ok_or_else(|| Error::Unsupported("the server exported no snapshot".to_owned()))
}

/// NOWAIT: behind somebody who waits to lock the table alone this one would wait for him, and he for the first connection,
/// which is to be read at the same time.
fn import(client: &mut Client, id: &str, table: &str) -> Result<(), Error> {
    let sql = format!("{BEGIN}; SET TRANSACTION SNAPSHOT '{id}'; LOCK TABLE {table} IN ACCESS SHARE MODE NOWAIT");
    client.run(&sql).map(drop)
}
