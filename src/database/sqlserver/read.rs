//! Rows out of SQL Server: the block cursor of its ODBC driver, under the isolation that the database offers.
//!
//! Under plain READ COMMITTED a long read takes locks, and sees some rows twice and others not at all while others write.
//! A database with versions of its rows gives one state of the table: by itself (READ COMMITTED SNAPSHOT, as Azure SQL
//! has it unless somebody has turned it off), or under SNAPSHOT. That of the table is asked, which may be another one than the
//! connection's.

use super::super::{
    Batch, Column, Connection, Error, ReadLane, Reader, Relation, Resources, Source, WireFormat,
    generic::{self, Rows},
};
use super::{catalog, snapshot};
use crate::odbc::Session;

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
    /// Another server reads it.
    Linked,
}

/// What a database says about itself, once a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    /// Its name, if it is another one than the connection's own.
    catalog: Option<String>,
    /// That of tables that are not memory-optimised.
    isolation: Isolation,
    /// Whether a transaction may begin under SNAPSHOT.
    allows_snapshot: bool,
    /// Whether it has tables that are.
    has_memory_optimized: bool,
    /// Such as `Azure SQL Database`.
    edition: &'static str,
    compatibility_level: String,
}

/// What is kept with a connection.
#[derive(Default)]
struct Known {
    places: Vec<Place>,
    /// How what was planned last is read.
    planned: Option<(Source, Isolation)>,
    /// Whether a transaction has begun under SNAPSHOT, which sees what those of other connections see.
    in_one_state: bool,
}

/// Why a reader may not go on under SNAPSHOT: what it reads lies partly where that is not allowed, in another database, at
/// another server, or in a memory-optimised table behind a view. Numbers: Microsoft's "Database engine events and errors".
const NOT_UNDER_SNAPSHOT: [i32; 8] = [3952, 3954, 3956, 3957, 3963, 3996, 7420, 41332];

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
        let (known, at, isolation) = known(connection, source).map_err(|error| error.to_string())?;
        let words = match isolation {
            Isolation::Versions => "under READ COMMITTED SNAPSHOT",
            Isolation::Snapshot => "under SNAPSHOT",
            Isolation::Locks => {
                "under READ COMMITTED: the database keeps no versions of rows, so what is written meanwhile may be seen in \
                 part"
            }
            Isolation::MemoryOptimized => "under SNAPSHOT, for the table is memory-optimised",
            Isolation::Linked => {
                "under READ COMMITTED at a linked server, so what is written meanwhile may be seen in part"
            }
        };
        let Place {
            edition,
            compatibility_level,
            ..
        } = &known.places[at];
        let reason = format!("{reason}, {words} ({edition}, compatibility level {compatibility_level})");
        connection.kept.put(known);
        Ok(reason)
    }

    fn shared_state(&self, connection: &Connection, source: &Source) -> Result<&'static str, String> {
        let (known, at, isolation) = known(connection, source).map_err(|error| error.to_string())?;
        let allows_snapshot = known.places[at].allows_snapshot;
        connection.kept.put(known);
        match isolation {
            Isolation::Linked => Err("it is read at a linked server".to_owned()),
            Isolation::MemoryOptimized => Err("it is memory-optimised, and cannot be locked".to_owned()),
            _ if !allows_snapshot => Err(
                "the database does not allow SNAPSHOT isolation (ALLOW_SNAPSHOT_ISOLATION), which alone lets several \
                 connections read one state"
                    .to_owned(),
            ),
            _ => Ok(
                "of one state: their SNAPSHOT transactions begin while the table is locked against writers, for a moment",
            ),
        }
    }

    fn share_state(
        &self,
        connections: &[Connection],
        relation: &Relation,
        resources: &Resources,
    ) -> Result<Result<(), String>, Error> {
        let Some(first) = connections.first() else {
            return Ok(Ok(()));
        };
        let places = first.kept.take::<Known>().unwrap_or_default().places;
        let begun = snapshot::begin(connections, relation, resources);
        for connection in connections {
            connection.kept.put(Known {
                places: places.clone(),
                planned: None,
                in_one_state: begun.is_ok(),
            });
        }
        match begun {
            Ok(()) => Ok(Ok(())),
            Err(error) => {
                let reason = first.as_reason("the table cannot be locked", error)?;
                snapshot::end(connections)?;
                Ok(Err(reason))
            }
        }
    }

    fn open(
        &self,
        connection: Connection,
        source: &Source,
        columns: &[Column],
        wire: Option<WireFormat>,
        resources: &Resources,
    ) -> Result<Box<dyn Reader>, Error> {
        let start = |connection: Connection, in_one_state: bool| -> Result<Box<dyn Reader>, Error> {
            let reader = SnapshotReader::start(connection, source, columns, (resources, in_one_state))?;
            Ok(Box::new(reader))
        };
        let kept = connection.kept.take::<Known>().unwrap_or_default();
        let in_one_state = kept.in_one_state;
        connection.kept.put(Known {
            in_one_state: false,
            ..kept
        });
        if in_one_state {
            return start(connection, true);
        }
        let (known, _, isolation) = known(&connection, source)?;
        connection.kept.put(Known { planned: None, ..known });
        let session = &connection.session;
        let hinted;
        let source = match (isolation, source) {
            (Isolation::Versions | Isolation::Locks | Isolation::Linked, source) => source,
            (Isolation::Snapshot, _) => {
                // The isolation is one of a transaction's beginning.
                session.rollback()?;
                session.execute("SET TRANSACTION ISOLATION LEVEL SNAPSHOT")?;
                return start(connection, false);
            }
            (Isolation::MemoryOptimized, Source::Table { relation, condition }) => {
                read_committed(session)?;
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

/// Ends the transaction, and has the next one begin under READ COMMITTED.
pub(super) fn read_committed(session: &Session) -> Result<(), Error> {
    session.rollback()?;
    Ok(session
        .execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        .map(drop)?)
}

/// Rows that are read under SNAPSHOT, or from their beginning under READ COMMITTED where that turns out not to be allowed:
/// only the server knows what lies behind a view or a query, and says so when it gets there.
struct SnapshotReader {
    // Before the connection, whose statement it holds.
    rows: Option<Rows>,
    connection: Connection,
    source: Source,
    columns: Vec<Column>,
    memory_bytes: usize,
    /// Whether others read the same state.
    in_one_state: bool,
    /// Whether rows have been handed out.
    has_begun: bool,
    /// The error that ended the first attempt.
    refused: Option<i32>,
}

impl SnapshotReader {
    fn start(
        connection: Connection,
        source: &Source,
        columns: &[Column],
        (resources, in_one_state): (&Resources, bool),
    ) -> Result<SnapshotReader, Error> {
        let mut reader = SnapshotReader {
            rows: None,
            connection,
            source: source.clone(),
            columns: columns.to_vec(),
            memory_bytes: resources.memory_bytes,
            in_one_state,
            has_begun: false,
            refused: None,
        };
        match reader.restart() {
            Ok(()) => {}
            Err(error) => reader.go_on_after(error)?,
        }
        Ok(reader)
    }

    fn restart(&mut self) -> Result<(), Error> {
        let rows = Rows::start(&self.connection, &self.source, &self.columns, self.memory_bytes);
        self.rows = Some(rows?);
        Ok(())
    }

    /// Begins again under READ COMMITTED, if the error says that SNAPSHOT is not allowed and nobody has a row yet.
    fn go_on_after(&mut self, error: Error) -> Result<(), Error> {
        let number = error.diagnostic().map(|said| said.native);
        let number = number.filter(|number| NOT_UNDER_SNAPSHOT.contains(number));
        let Some(number) = number.filter(|_| !self.has_begun && !self.in_one_state && self.refused.is_none()) else {
            return Err(error);
        };
        self.rows = None;
        read_committed(&self.connection.session)?;
        self.refused = Some(number);
        self.restart()
    }
}

impl Reader for SnapshotReader {
    fn read(&mut self, batch: &mut Batch, limit_bytes: usize) -> Result<bool, Error> {
        loop {
            batch.clear();
            let Some(rows) = &mut self.rows else { return Ok(false) };
            match rows.read(batch, limit_bytes) {
                Ok(has_rows) => {
                    self.has_begun = true;
                    return Ok(has_rows);
                }
                Err(error) => self.go_on_after(error)?,
            }
        }
    }

    fn into_connection(self: Box<Self>) -> Option<Connection> {
        let SnapshotReader {
            rows,
            mut connection,
            refused,
            ..
        } = *self;
        drop(rows);
        match refused {
            // The next table may be in a database that does not allow SNAPSHOT.
            None => read_committed(&connection.session).ok()?,
            Some(_) => connection.session.rollback().ok()?,
        }
        connection.afterword = refused.map(|number| {
            format!(
                "but then under READ COMMITTED, since a part of it may not be read under SNAPSHOT (error {number}): what is \
                 written meanwhile may be seen in part"
            )
        });
        Some(connection)
    }
}

/// What is known of the databases that were read from, each asked once a connection; which of them this is read from, and how.
fn known(connection: &Connection, source: &Source) -> Result<(Known, usize, Isolation), Error> {
    let mut known = connection.kept.take::<Known>().unwrap_or_default();
    let relation = match source {
        Source::Table { relation, .. } => Some(relation),
        Source::Query(_) => None,
    };
    let linked = relation.is_some_and(|relation| relation.server.is_some());
    let catalog = relation
        .filter(|_| !linked)
        .and_then(|relation| relation.catalog.as_ref());
    let at = match known.places.iter().position(|place| place.catalog.as_ref() == catalog) {
        Some(at) => at,
        None => {
            known.places.push(place(connection, catalog.map(String::as_str))?);
            known.places.len() - 1
        }
    };
    let place = &known.places[at];
    let isolation = match (relation, &known.planned) {
        (_, Some((planned, isolation))) if planned == source => *isolation,
        _ if linked => Isolation::Linked,
        (Some(relation), _) if place.has_memory_optimized => {
            let table = catalog::literal(&catalog::local(relation));
            let sql =
                format!("SELECT CAST(OBJECTPROPERTY(OBJECT_ID({table}), 'TableIsMemoryOptimized') AS nvarchar(11))");
            let sql = catalog::within(catalog.map(String::as_str), sql);
            match generic::one_text(&connection.session, &sql)?.as_deref() {
                Some("1") => Isolation::MemoryOptimized,
                _ => place.isolation,
            }
        }
        _ => place.isolation,
    };
    known.planned = Some((source.clone(), isolation));
    Ok((known, at, isolation))
}

/// Asks the connection's database, or another one.
fn place(connection: &Connection, catalog: Option<&str>) -> Result<Place, Error> {
    // Numbers: Microsoft's "SERVERPROPERTY", EngineEdition. A property that an older server does not know is NULL.
    let sql = "SELECT CAST(is_read_committed_snapshot_on AS int), CAST(snapshot_isolation_state AS int), \
               compatibility_level, CAST(SERVERPROPERTY('EngineEdition') AS int), CASE WHEN EXISTS (SELECT 1 FROM sys.tables \
               WHERE OBJECTPROPERTY(object_id, 'TableIsMemoryOptimized') = 1) THEN 1 ELSE 0 END \
               FROM sys.databases WHERE database_id = DB_ID()";
    let rows = connection
        .session
        .text_rows(&catalog::within(catalog, sql.to_owned()), &[])?;
    let row = rows.into_iter().next().unwrap_or_default();
    let cell = |position: usize| row.get(position).and_then(Option::as_deref).unwrap_or_default();
    Ok(Place {
        catalog: catalog.map(str::to_owned),
        isolation: match (cell(0), cell(1)) {
            ("1", _) => Isolation::Versions,
            (_, "1") => Isolation::Snapshot,
            _ => Isolation::Locks,
        },
        allows_snapshot: cell(1) == "1",
        has_memory_optimized: cell(4) == "1",
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
