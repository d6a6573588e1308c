//! Reports of tables that are committed and perhaps not yet on the target's disk, and the session that knows when they are.
//!
//! A commit that waits for the disk takes longer than all else of a small table. So where the product can, and there are
//! several tables, none of them waits: their reports do, for a part of a second, until one statement has made all of them
//! safe. That statement proves it only on a session that was open before they were committed, since a server that has gone
//! down in between ends every session. If it is lost, commits wait for the disk again, and the tables that were committed
//! shortly before are looked at once more. Knows no lane, and of a table no more than its report.

use std::time::{Duration, Instant};

use super::{
    error::{Phase, Place, Side, TableError},
    pool::Pool,
    report::TableReport,
};
use crate::{
    database::{Connection, Error, Purpose, RelaxedCommits},
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
    pool: &'a Pool<'a>,
    held: Vec<Ended>,
    held_since: Instant,
    /// When the witness was found to be lost; commits wait for the disk from then on.
    lost: Option<Instant>,
}

/// Reports that need not wait any more.
#[derive(Default)]
pub(super) struct Settled {
    /// Of tables that are safe, or have failed.
    pub certain: Vec<Ended>,
    /// Of tables that were committed, and of which the server may have lost all.
    pub doubted: Vec<Ended>,
}

impl<'a> Settling<'a> {
    /// Takes over the call's first session to the target if its commits can be relaxed and there are `tables` enough; else
    /// the pool has it.
    ///
    /// # Errors
    /// Those of the question whether they can.
    pub fn new(target: Connection, tables: usize, pool: &'a Pool<'a>) -> Result<Self, Error> {
        let now = Instant::now();
        let mut settling = Settling {
            witness: None,
            pool,
            held: Vec::new(),
            held_since: now,
            lost: None,
        };
        let relaxed = match tables < TABLES_MIN {
            true => None,
            false => target.dialect.relaxed_commits(&target.session)?,
        };
        pool.relax(relaxed);
        match relaxed {
            Some(relaxed) => settling.witness = Some(Witness::new(target, relaxed, now)),
            None => pool.give(Purpose::Write, target),
        }
        Ok(settling)
    }

    /// How long to wait for the next report at most before [`Self::pass`] is to be called.
    pub fn patience(&self) -> Duration {
        match (&self.witness, self.held.is_empty()) {
            (_, false) => SETTLE_AFTER.saturating_sub(self.held_since.elapsed()),
            (Some(witness), true) => KEEP_ALIVE.saturating_sub(witness.asked.elapsed()),
            (None, true) => KEEP_ALIVE,
        }
    }

    /// Takes a report in, and gives those that need not wait.
    pub fn take(&mut self, ended: Ended) -> Settled {
        let began = Instant::now().checked_sub(Duration::from_millis(ended.1.duration_ms));
        let is_told = ended.1.error.is_some() || ended.1.skipped;
        match (&self.witness, self.lost) {
            _ if is_told => Settled::certain(ended),
            (None, Some(lost)) if began.is_none_or(|began| began <= lost) => Settled {
                certain: Vec::new(),
                doubted: vec![ended],
            },
            (None, _) => Settled::certain(ended),
            (Some(_), _) => {
                if self.held.is_empty() {
                    self.held_since = Instant::now();
                }
                self.held.push(ended);
                match self.held_since.elapsed() >= SETTLE_AFTER {
                    true => self.settle(),
                    false => Settled::default(),
                }
            }
        }
    }

    /// Gives the reports that need not wait once nothing has come for [`Self::patience`].
    pub fn pass(&mut self) -> Settled {
        match &self.witness {
            Some(witness) if self.held.is_empty() && witness.asked.elapsed() < KEEP_ALIVE => Settled::default(),
            _ => self.settle(),
        }
    }

    /// Makes all that is committed safe, and gives every report.
    pub fn settle(&mut self) -> Settled {
        let Some(witness) = &mut self.witness else {
            return Settled::default();
        };
        let held = std::mem::take(&mut self.held);
        let Err(error) = witness.settle() else {
            return Settled {
                certain: held,
                doubted: Vec::new(),
            };
        };
        tracing::warn!(event = "copy.not_settled", error = %error, "the session that makes commits safe is lost");
        self.witness = None;
        self.lost = Some(Instant::now());
        self.pool.relax(None);
        Settled {
            certain: Vec::new(),
            doubted: held,
        }
    }
}

impl Settled {
    /// Of one table that need not wait.
    pub fn certain(ended: Ended) -> Settled {
        Settled {
            certain: vec![ended],
            doubted: Vec::new(),
        }
    }
}

impl Witness {
    fn new(connection: Connection, relaxed: RelaxedCommits, now: Instant) -> Self {
        // It has its last word also when the call was told to stop.
        connection.session.set_interrupt(&Interrupt::new());
        Witness {
            connection,
            relaxed,
            asked: now,
        }
    }
}

/// What may be lost has failed, where nothing tells whether it is.
pub(super) fn doubt(table: &mut TableReport) {
    let place = Place {
        phase: Phase::Commit,
        side: Side::Target,
    };
    let message = "committed, but the connection that makes it certain was lost".to_owned();
    let mut error = TableError::refused(place, NOT_SETTLED, message).of(&table.table, &table.target);
    error.hint = Some("the rows are in the target unless its server went down at this moment".to_owned());
    table.rows = 0;
    table.error = Some(error);
}
