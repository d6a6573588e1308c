//! Open connections that wait for the next table: connecting takes longer than copying a small one.
//!
//! Knows which connections are alike, and nothing of what is done with them. Only connections without an open
//! transaction come back; a table that failed gives none.

use std::{
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use super::{
    error::{Phase, Place, Side, TableError},
    request::Endpoint,
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
    idle: Mutex<Vec<Idle>>,
    /// How new connections to the target commit, if they need not wait for the disk.
    relaxed: OnceLock<RelaxedCommits>,
}

struct Idle {
    purpose: Purpose,
    string: ConnectionString,
    /// The connection; or why there is none, for whoever asks for it first.
    outcome: Result<Connection, Box<TableError>>,
    since: Instant,
}

impl<'a> Pool<'a> {
    /// Without connections.
    pub fn new(search: &'a DriverSearch) -> Self {
        Pool {
            search,
            idle: Mutex::new(Vec::new()),
            relaxed: OnceLock::new(),
        }
    }

    /// From now on new connections to the target need not wait for the disk when they commit.
    pub fn relax(&self, relaxed: Option<RelaxedCommits>) {
        if let Some(relaxed) = relaxed {
            // Said once a call.
            let _ = self.relaxed.set(relaxed);
        }
    }

    /// A connection that waits, or a new one; `interrupt` stops it from now on.
    pub fn take(
        &self,
        endpoint: &Endpoint,
        purpose: Purpose,
        interrupt: &Interrupt,
    ) -> Result<Connection, Box<TableError>> {
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
        match found {
            Some(Idle { outcome, .. }) => outcome.inspect(|connection| connection.session.set_interrupt(interrupt)),
            None => self.connect(endpoint, purpose, interrupt),
        }
    }

    /// Keeps a connection for the next table.
    pub fn give(&self, purpose: Purpose, connection: Connection) {
        self.keep(purpose, connection.string.clone(), Ok(connection));
    }

    /// Sees to it that there is a connection for the next table; if it cannot be made, that table gets to know why.
    pub fn prepare(&self, endpoint: &Endpoint, purpose: Purpose, interrupt: &Interrupt) {
        let outcome = self.take(endpoint, purpose, interrupt);
        self.keep(purpose, endpoint.string.clone(), outcome);
    }

    fn keep(&self, purpose: Purpose, string: ConnectionString, outcome: Result<Connection, Box<TableError>>) {
        let since = Instant::now();
        let idle = Idle {
            purpose,
            string,
            outcome,
            since,
        };
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(idle);
    }

    /// A new connection.
    pub fn connect(
        &self,
        endpoint: &Endpoint,
        purpose: Purpose,
        interrupt: &Interrupt,
    ) -> Result<Connection, Box<TableError>> {
        let side = match purpose {
            Purpose::Write => Side::Target,
            Purpose::Read | Purpose::Script => Side::Source,
        };
        let place = Place {
            phase: Phase::Connect,
            side,
        };
        let autocommit = purpose == Purpose::Write;
        let opened = Connection::open(self.search, &endpoint.string, purpose, autocommit, interrupt);
        let mut connection = opened.map_err(|error| {
            let mut error = TableError::database(place, error, None);
            error.message = format!("`{}`: {}", endpoint.label, error.message);
            error
        })?;
        if purpose == Purpose::Write {
            connection.relaxed = self.relaxed.get().copied();
        }
        Ok(connection)
    }
}
