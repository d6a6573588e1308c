//! Reports of tables that are committed and perhaps not yet on the target's disk, and the session that knows when they are.
//!
//! A commit that waits for the disk takes longer than all else of a small table. So where the product can, and there are
//! several tables, none of them waits: their reports do, for a part of a second, until one statement has made all of them
//! safe. That statement proves it only on a session that was open before they were committed, since a server that has gone
//! down in between ends every session. Knows no lane, and of a table no more than its report.

use std::time::{Duration, Instant};

use super::{
    error::{Phase, Place, Side, TableError},
    report::TableReport,
};
use crate::{
    database::{Connection, Error, RelaxedCommits},
    odbc::Interrupt,
};

/// The fewest tables for which a session more than they need is worth its making.
const TABLES_MIN: usize = 4;

/// How long a report waits for others.
const SETTLE_AFTER: Duration = Duration::from_millis(200);

/// How often an idle witness is asked, so that neither a server nor a firewall takes it for dead: Azure's load balancer
/// drops what was silent for 4 minutes.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// The code of a table that the server may have lost after its commit.
const NOT_SETTLED: &str = "copy.not_settled";

/// A table's place in the order of the call, and what came of it.
pub(super) type Ended = (usize, TableReport);

/// A session that was there before the commits, and how it makes them safe.
struct Witness {
    connection: Connection,
    relaxed: RelaxedCommits,
    since: Instant,
    asked: Instant,
}

impl Witness {
    fn settle(&mut self) -> Result<(), Error> {
        self.asked = Instant::now();
        let answer = self.connection.session.text_rows(self.relaxed.settle, &[]);
        answer.map(drop).map_err(Error::from)
    }
}

/// The reports that wait.
pub(super) struct Settling<'a> {
    witness: Option<Witness>,
    /// Whether commits are relaxed, and reports wait.
    waits: bool,
    held: Vec<Ended>,
    held_since: Instant,
    reconnect: &'a dyn Fn() -> Result<Connection, Box<TableError>>,
}

impl<'a> Settling<'a> {
    /// Takes over the call's first session to the target if its commits can be relaxed and there are `tables` enough; else
    /// gives it back. `reconnect` makes another one.
    ///
    /// # Errors
    /// Those of the question whether they can.
    pub fn new(
        target: Connection,
        tables: usize,
        reconnect: &'a dyn Fn() -> Result<Connection, Box<TableError>>,
    ) -> Result<(Self, Option<Connection>), Error> {
        let now = Instant::now();
        let mut settling = Settling {
            witness: None,
            waits: false,
            held: Vec::new(),
            held_since: now,
            reconnect,
        };
        let relaxed = match tables < TABLES_MIN {
            true => None,
            false => target.dialect.relaxed_commits(&target.session)?,
        };
        let Some(relaxed) = relaxed else {
            return Ok((settling, Some(target)));
        };
        settling.waits = true;
        settling.witness = Some(Witness::new(target, relaxed, now));
        Ok((settling, None))
    }

    /// How sessions that load tables are to commit, if they need not wait.
    pub fn relaxed(&self) -> Option<RelaxedCommits> {
        self.witness.as_ref().map(|witness| witness.relaxed)
    }

    /// How long to wait for the next report at most before [`Self::pass`] is to be called.
    pub fn patience(&self) -> Duration {
        match (&self.witness, self.held.is_empty()) {
            (_, false) => SETTLE_AFTER.saturating_sub(self.held_since.elapsed()),
            (Some(witness), true) => KEEP_ALIVE.saturating_sub(witness.asked.elapsed()),
            (None, true) => KEEP_ALIVE,
        }
    }

    /// Takes a report in, and gives those that are certain.
    pub fn take(&mut self, ended: Ended) -> Vec<Ended> {
        if !self.waits || ended.1.error.is_some() {
            return vec![ended];
        }
        if self.held.is_empty() {
            self.held_since = Instant::now();
        }
        self.held.push(ended);
        match self.held_since.elapsed() >= SETTLE_AFTER {
            true => self.settle(),
            false => Vec::new(),
        }
    }

    /// Gives the reports that are certain once nothing has come for [`Self::patience`].
    pub fn pass(&mut self) -> Vec<Ended> {
        match &self.witness {
            None if !self.waits => Vec::new(),
            Some(witness) if self.held.is_empty() && witness.asked.elapsed() < KEEP_ALIVE => Vec::new(),
            _ => self.settle(),
        }
    }

    /// Makes all that is committed safe, and gives every report; tables of which it is not known have failed.
    pub fn settle(&mut self) -> Vec<Ended> {
        if !self.waits {
            return Vec::new();
        }
        let settled = match &mut self.witness {
            Some(witness) => witness.settle().map_err(|error| error.to_string()),
            None => Err("no session that was there before".to_owned()),
        };
        let since = self.witness.as_ref().map(|witness| witness.since);
        if let Err(reason) = &settled {
            tracing::warn!(
                event = "copy.not_settled",
                error = reason,
                "the session that makes commits safe is lost"
            );
            let relaxed = self.relaxed();
            self.witness = None;
            if let (Some(relaxed), Ok(connection)) = (relaxed, (self.reconnect)()) {
                self.witness = Some(Witness::new(connection, relaxed, Instant::now()));
            }
        }
        let mut held = std::mem::take(&mut self.held);
        for (_, table) in &mut held {
            let began = Instant::now().checked_sub(Duration::from_millis(table.duration_ms));
            let is_proven = settled.is_ok() && began.zip(since).is_some_and(|(began, since)| began >= since);
            if !is_proven {
                doubt(table, settled.as_ref().err());
            }
        }
        held
    }
}

impl Witness {
    fn new(connection: Connection, relaxed: RelaxedCommits, now: Instant) -> Self {
        // It has its last word also when the call was told to stop.
        connection.session.set_interrupt(&Interrupt::new());
        Witness {
            connection,
            relaxed,
            since: now,
            asked: now,
        }
    }
}

/// What may be lost has failed.
fn doubt(table: &mut TableReport, reason: Option<&String>) {
    let place = Place {
        phase: Phase::Commit,
        side: Side::Target,
    };
    let because = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    let message = format!("committed, but the connection that makes it certain was lost{because}");
    let mut error = TableError::refused(place, NOT_SETTLED, message).of(&table.table, &table.target);
    error.hint = Some("the rows are in the target unless its server went down at this moment".to_owned());
    table.rows = 0;
    table.error = Some(error);
}
