//! Rows out of SQL Server: the block cursor of its ODBC driver, under the isolation that the database offers.
//!
//! Under plain READ COMMITTED a long read takes locks, and sees some rows twice and others not at all while others write.
//! A database with versions of its rows gives one state of the table: by itself (READ COMMITTED SNAPSHOT, as Azure SQL
//! has it unless somebody has turned it off), or under SNAPSHOT.

use super::super::{Column, Connection, Error, ReadLane, Reader, Resources, Source, WireFormat, generic};
use super::catalog;

/// The generic lane out, and the isolation that it reads under.
pub(super) struct ByIsolation;

/// How a table is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Isolation {
    /// The database keeps versions of rows for every statement.
    Versions,
    /// It does for transactions that ask for it.
    Snapshot,
    /// It does not.
    Locks,
    /// The table keeps versions itself, and takes part in transactions under no other isolation.
    MemoryOptimized,
}

/// What the database says about itself and a table of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    isolation: Isolation,
    /// Such as `Azure SQL Database`.
    edition: &'static str,
    compatibility_level: String,
}

impl ReadLane for ByIsolation {
    fn name(&self) -> &'static str {
        "odbc"
    }

    fn offer(
        &self,
        connection: &Connection,
        source: &Source,
        columns: &[Column],
        is_plain: bool,
    ) -> Result<String, String> {
        let reason = generic::OdbcRead.offer(connection, source, columns, is_plain)?;
        let place = place(connection, source).map_err(|error| error.to_string())?;
        let isolation = match place.isolation {
            Isolation::Versions => "under READ COMMITTED SNAPSHOT",
            Isolation::Snapshot => "under SNAPSHOT",
            Isolation::Locks => {
                "under READ COMMITTED: the database keeps no versions of rows, so what is written meanwhile may be seen in \
                 part"
            }
            Isolation::MemoryOptimized => "under SNAPSHOT, for the table is memory-optimised",
        };
        let Place {
            edition,
            compatibility_level,
            ..
        } = &place;
        let reason = format!("{reason}, {isolation} ({edition}, compatibility level {compatibility_level})");
        connection.kept.put((source.clone(), place));
        Ok(reason)
    }

    fn open(
        &self,
        connection: Connection,
        source: &Source,
        columns: &[Column],
        wire: Option<WireFormat>,
        resources: &Resources,
    ) -> Result<Box<dyn Reader>, Error> {
        let asked = connection.kept.take::<(Source, Place)>();
        let isolation = match asked.filter(|(asked, _)| asked == source) {
            Some((_, place)) => place.isolation,
            None => place(&connection, source)?.isolation,
        };
        let session = &connection.session;
        let hinted;
        let source = match (isolation, source) {
            (Isolation::Versions | Isolation::Locks, source) => source,
            (Isolation::Snapshot, source) => {
                // The isolation is one of a transaction's beginning.
                session.rollback()?;
                session.execute("SET TRANSACTION ISOLATION LEVEL SNAPSHOT")?;
                source
            }
            (Isolation::MemoryOptimized, Source::Table { relation, condition }) => {
                session.rollback()?;
                session.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")?;
                let table = connection.dialect.quote_relation(relation);
                let condition = condition.as_ref().map(|text| format!(" WHERE {text}"));
                let condition = condition.unwrap_or_default();
                hinted = Source::Query(format!("SELECT * FROM {table} WITH (SNAPSHOT){condition}"));
                &hinted
            }
            (Isolation::MemoryOptimized, source @ Source::Query(_)) => source,
        };
        generic::OdbcRead.open(connection, source, columns, wire, resources)
    }
}

/// Asks the database, once a table.
fn place(connection: &Connection, source: &Source) -> Result<Place, Error> {
    let table = match source {
        Source::Table { relation, .. } => catalog::literal(&connection.dialect.quote_relation(relation)),
        Source::Query(_) => "NULL".to_owned(),
    };
    // Numbers: Microsoft's "SERVERPROPERTY", EngineEdition.
    let sql = format!(
        "SELECT CAST(is_read_committed_snapshot_on AS int), CAST(snapshot_isolation_state AS int), compatibility_level, \
         CAST(SERVERPROPERTY('EngineEdition') AS int), OBJECTPROPERTY(OBJECT_ID({table}), 'TableIsMemoryOptimized') \
         FROM sys.databases WHERE database_id = DB_ID()"
    );
    let rows = connection.session.text_rows(&sql, &[])?;
    let row = rows.into_iter().next().unwrap_or_default();
    let cell = |position: usize| row.get(position).and_then(Option::as_deref).unwrap_or_default();
    Ok(Place {
        isolation: match (cell(4), cell(0), cell(1)) {
            ("1", _, _) => Isolation::MemoryOptimized,
            (_, "1", _) => Isolation::Versions,
            (_, _, "1") => Isolation::Snapshot,
            _ => Isolation::Locks,
        },
        edition: match cell(3) {
            "5" => "Azure SQL Database",
            "6" => "Azure Synapse Analytics, dedicated pool",
            "8" => "Azure SQL Managed Instance",
            "9" => "Azure SQL Edge",
            "11" => "Azure Synapse Analytics, serverless pool",
            "12" => "SQL database in Microsoft Fabric",
            _ => "SQL Server",
        },
        compatibility_level: cell(2).to_owned(),
    })
}
