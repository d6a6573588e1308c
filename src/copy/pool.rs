//! Open connections that wait for the next table: connecting takes longer than copying a small one.
//!
//! Knows which connections are alike, and nothing of what is done with them. Only connections without an open
//! transaction come back; a table that failed gives none.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    error::{Phase, Place, Side, TableError},
    report::Retry,
    request::Endpoint,
    retry::{self, Attempts, Circumstances, Decision},
};
use crate::{
    database::{Connection, Purpose, RelaxedCommits},
    odbc::{ConnectionString, DriverSearch, Interrupt},
};

/// A connection that nobody has used for so long is closed: servers and the firewalls before them drop idle ones
/// (Azure's load balancer after 4 minutes), and the next table would be the one to find out.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// The idle connections of one call.
pub(super) struct Pool<'a> {
    search: &'a DriverSearch,
    patience: Duration,
    idle: Mutex<Vec<Idle>>,
    /// Most idle connections to sources, of all of them together.
    idle_sources_max: AtomicUsize,
    /// How new connections to the target commit, if they need not wait for the disk.
    relaxed: Mutex<Option<RelaxedCommits>>,
    /// Databases that a connection was made to.
    reached: Mutex<Vec<ConnectionString>>,
    retries: Mutex<Vec<Retry>>,
}

struct Idle {
    purpose: Purpose,
    string: ConnectionString,
    /// The connection; or why there is none, for whoever asks for it first.
    outcome: Result<Connection, Box<TableError>>,
    since: Instant,
}

impl<'a> Pool<'a> {
    /// Without connections. A database that is not ready, or has gone away, is asked again for as long as `patience`.
    pub fn new(search: &'a DriverSearch, patience: Duration) -> Self {
        Pool {
            search,
            patience,
            idle: Mutex::default(),
            idle_sources_max: AtomicUsize::new(usize::MAX),
            relaxed: Mutex::default(),
            reached: Mutex::default(),
            retries: Mutex::default(),
        }
    }

    /// Keeps no more idle connections to sources than this from now on: several databases may be one server's, which takes
    /// so many sessions and no more.
    pub fn keep_at_most(&self, idle_sources_max: usize) {
        self.idle_sources_max.store(idle_sources_max, Ordering::Relaxed);
    }

    /// How new connections to the target are to commit from now on, if they need not wait for the disk; others are not used
    /// again.
    pub fn relax(&self, relaxed: Option<RelaxedCommits>) {
        *self.relaxed.lock().unwrap_or_else(PoisonError::into_inner) = relaxed;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let is_kept = |idle: &mut Idle| match &idle.outcome {
            Ok(connection) => idle.purpose != Purpose::Write || connection.relaxed == relaxed,
            Err(_) => true,
        };
        let gone: Vec<Idle> = idle.extract_if(.., |idle| !is_kept(idle)).collect();
        drop(idle);
        // Closing speaks to the server, which nobody else should wait for.
        drop(gone);
    }

    fn relaxed(&self) -> Option<RelaxedCommits> {
        *self.relaxed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The failures after which a connection was tried to be made again.
    pub fn retries(&self) -> Vec<Retry> {
        self.retries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a connection to a database was made.
    pub fn has_reached(&self, string: &ConnectionString) -> bool {
        let reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        reached.contains(string)
    }

    /// Closes the idle connections to a database: if one was lost, they most likely are too.
    pub fn forget(&self, string: &ConnectionString) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let (gone, kept): (Vec<Idle>, Vec<Idle>) = idle.drain(..).partition(|idle| idle.string == *string);
        *idle = kept;
        drop(idle);
        // Closing speaks to the server, which nobody else should wait for.
        drop(gone);
    }

    /// A connection that waits, or a new one; `interrupt` stops it from now on.
    pub fn take(
        &self,
        endpoint: &Endpoint,
        purpose: Purpose,
        interrupt: &Interrupt,
    ) -> Result<Connection, Box<TableError>> {
        match self.take_idle(endpoint, purpose, interrupt) {
            Some(outcome) => outcome,
            None => self.connect(endpoint, purpose, interrupt),
        }
    }

    fn take_idle(
        &self,
        endpoint: &Endpoint,
        purpose: Purpose,
        interrupt: &Interrupt,
    ) -> Option<Result<Connection, Box<TableError>>> {
        let mut closed = Vec::new();
        let found = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let mut position = 0;
            while position < idle.len() {
                match idle[position].since.elapsed() > IDLE_MAX {
                    true => closed.push(idle.swap_remove(position)),
                    false => position += 1,
                }
            }
            let like = |idle: &Idle| idle.purpose == purpose && idle.string == endpoint.string;
            idle.iter().position(like).map(|position| idle.swap_remove(position))
        };
        // Closing speaks to the server, which nobody else should wait for.
        drop(closed);
        found.map(|Idle { outcome, .. }| outcome.inspect(|connection| connection.session.set_interrupt(interrupt)))
    }

    /// A connection that waits, or a new one that is tried for once: for whoever can do without.
    pub fn take_now(
        &self,
        endpoint: &Endpoint,
        purpose: Purpose,
        interrupt: &Interrupt,
    ) -> Result<Connection, Box<TableError>> {
        match self.take_idle(endpoint, purpose, interrupt) {
            Some(outcome) => outcome,
            None => self.connect_once(endpoint, purpose, interrupt),
        }
    }

    /// Keeps a connection for the next table.
    pub fn give(&self, purpose: Purpose, connection: Connection) {
        if purpose == Purpose::Write && connection.relaxed != self.relaxed() {
            return;
        }
        self.keep(purpose, connection.string.clone(), Ok(connection));
    }

    /// Sees to it that there is a connection for the next table; if it cannot be made, that table gets to know why.
    pub fn prepare(&self, endpoint: &Endpoint, purpose: Purpose, interrupt: &Interrupt) {
        let outcome = self.take(endpoint, purpose, interrupt);
        self.keep(purpose, endpoint.string.clone(), outcome);
    }

    /// Tells the next table that wants such a connection why there is none, instead of having it find out again.
    pub fn refuse(&self, endpoint: &Endpoint, purpose: Purpose, error: Box<TableError>) {
        self.keep(purpose, endpoint.string.clone(), Err(error));
    }

    fn keep(&self, purpose: Purpose, string: ConnectionString, outcome: Result<Connection, Box<TableError>>) {
        let since = Instant::now();
        let idle = Idle {
            purpose,
            string,
            outcome,
            since,
        };
        let mut all = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(idle);
        let to_sources: Vec<usize> = (0..all.len()).filter(|at| all[*at].purpose == Purpose::Read).collect();
        let is_over = to_sources.len() > self.idle_sources_max.load(Ordering::Relaxed);
        let longest = to_sources
            .into_iter()
            .filter(|_| is_over)
            .min_by_key(|at| all[*at].since);
        let closed = longest.map(|at| all.swap_remove(at));
        drop(all);
        // Closing speaks to the server, which nobody else should wait for.
        drop(closed);
    }

    /// A new connection, tried for as long as the policy says.
    fn connect(
        &self,
        endpoint: &Endpoint,
        purpose: Purpose,
        interrupt: &Interrupt,
    ) -> Result<Connection, Box<TableError>> {
        let mut attempts = Attempts::new(self.patience);
        loop {
            let error = match self.connect_once(endpoint, purpose, interrupt) {
                Ok(connection) => {
                    let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
                    if !reached.contains(&endpoint.string) {
                        reached.push(endpoint.string.clone());
                    }
                    return Ok(connection);
                }
                Err(error) => error,
            };
            let circumstances = Circumstances {
                reached_before: self.has_reached(&endpoint.string),
                has_journal: false,
            };
            let Decision::Again(wait) = attempts.decide(&error, circumstances) else {
                return Err(error);
            };
            tracing::warn!(
                event = "copy.connect_again",
                code = error.code,
                wait_ms = wait.as_millis() as u64,
                "connecting again after a failure: {}",
                error.message
            );
            let mut retries = self.retries.lock().unwrap_or_else(PoisonError::into_inner);
            retries.push(Retry::after(&error, wait));
            drop(retries);
            retry::sleep(wait, interrupt).map_err(|stopped| TableError::database(place_of(purpose), stopped, None))?;
        }
    }

    /// A new connection, or the reason why there is none.
    pub fn connect_once(
        &self,
        endpoint: &Endpoint,
        purpose: Purpose,
        interrupt: &Interrupt,
    ) -> Result<Connection, Box<TableError>> {
        let autocommit = purpose == Purpose::Write;
        let opened = Connection::open(self.search, &endpoint.string, purpose, autocommit, interrupt);
        let mut connection = opened.map_err(|error| {
            let class = Connection::classify_opening(self.search, &endpoint.string, &error);
            let mut error = TableError::database(place_of(purpose), error, None);
            error.class = Some(class);
            error.message = format!("`{}`: {}", endpoint.label, error.message);
            error
        })?;
        if purpose == Purpose::Write {
            connection.relaxed = self.relaxed();
        }
        Ok(connection)
    }
}

fn place_of(purpose: Purpose) -> Place {
    let side = match purpose {
        Purpose::Write => Side::Target,
        Purpose::Read | Purpose::Script => Side::Source,
    };
    Place {
        phase: Phase::Connect,
        side,
    }
}
