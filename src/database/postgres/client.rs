//! A connection of the bulk lanes: statements and COPY over libpq, none of which outlasts an interrupt.
//!
//! libpq is used without waiting inside it: this module waits for the socket itself, and looks at the interrupt meanwhile.
//! Knows no tables and no codecs.

use std::{
    ffi::{CStr, CString},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::ioctl_fionread,
};

use super::{
    super::Error,
    libpq::{Answer, CancelHandle, Connecting, CopyRow, Field, Libpq, Link, Put, RowBytes, Status},
    settings::Settings,
};
use crate::odbc::{Diagnostic, Interrupt, OnRaise};

/// How long a connection may take to be made; as the ODBC session's.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the server may take to undo, once the work was told to stop; it undoes a lost connection's work by itself.
const UNDO_TIMEOUT: Duration = Duration::from_millis(1_300);

/// The longest wait between two looks at the interrupt.
const SLICE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

/// The SQLSTATE of a statement that was cancelled.
const CANCELLED: &str = "57014";

/// Reads without a whole row before the row's length is watched.
const READS_BEFORE_WATCHING: u32 = 32;

/// What the server said no to a row of a COPY with.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The error.
    pub(super) error: Error,
    /// Where it happened, in the server's language: `COPY t, line 12, column c: "…"`; holds cell values.
    pub(super) context: Option<String>,
    /// The column that a constraint is about.
    pub(super) column: Option<String>,
}

impl Refusal {
    fn is_cancelled(&self) -> bool {
        self.error
            .diagnostic()
            .is_some_and(|diagnostic| diagnostic.sqlstate == CANCELLED)
    }
}

impl From<Error> for Box<Refusal> {
    fn from(error: Error) -> Self {
        Box::new(Refusal {
            error,
            context: None,
            column: None,
        })
    }
}

/// A connection to a server, for one thread at a time.
pub(super) struct Client {
    // Before the link: no cancel may begin once it goes.
    on_raise: Option<OnRaise>,
    link: Link,
    interrupt: Interrupt,
    cancel: Option<Arc<CancelHandle>>,
    copying: bool,
}

impl Client {
    /// Connects, and runs the statements of the settings.
    ///
    /// # Errors
    /// [`Error::Client`], [`Error::cancelled`].
    pub(super) fn connect(libpq: &Libpq, settings: &Settings, interrupt: &Interrupt) -> Result<Client, Error> {
        const FUNCTION: &str = "PQconnectPoll";
        let link = libpq
            .start(&settings.parameters)
            .ok_or_else(|| Error::Unsupported("libpq has no memory for a connection".to_owned()))?;
        let mut client = Client {
            on_raise: None,
            link,
            interrupt: interrupt.clone(),
            cancel: None,
            copying: false,
        };
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        let mut events = PollFlags::OUT;
        loop {
            client.wait(events, Some(deadline), FUNCTION)?;
            events = match client.link.poll_connecting() {
                Connecting::Reading => PollFlags::IN,
                Connecting::Writing => PollFlags::OUT,
                Connecting::Done => break,
                Connecting::Failed => return Err(client.broken(FUNCTION)),
            };
        }
        if !client.link.set_nonblocking() {
            return Err(client.broken("PQsetnonblocking"));
        }
        client.cancel = client.link.cancel_handle();
        client.stop_with(interrupt);
        for sql in &settings.statements {
            match client.run(sql) {
                Err(error) if client.link.is_broken() || client.interrupt.is_raised() => return Err(error),
                // As the driver does.
                Err(_) => tracing::debug!(event = "postgres.setting_failed", "a statement of ConnSettings failed"),
                Ok(_) => {}
            }
        }
        Ok(client)
    }

    /// From now on this interrupt alone stops the connection's work, and cancels it at the server.
    pub(super) fn stop_with(&mut self, interrupt: &Interrupt) {
        self.on_raise = None;
        self.interrupt = interrupt.clone();
        let Some(cancel) = self.cancel.clone() else { return };
        let under_way = Arc::new(AtomicBool::new(false));
        // Cancelling connects to the server, so it has a thread of its own; raised again, it waits for the one before.
        self.on_raise = Some(interrupt.on_raise(move || {
            if under_way.swap(true, Ordering::AcqRel) {
                return;
            }
            let (cancel, done) = (cancel.clone(), under_way.clone());
            let thread = thread::Builder::new().name("dray-cancel".to_owned()).spawn(move || {
                cancel.cancel();
                done.store(false, Ordering::Release);
            });
            if thread.is_err() {
                under_way.store(false, Ordering::Release);
            }
        }));
    }

    /// From now on nothing stops the connection's work.
    pub(super) fn shield(&mut self) {
        self.on_raise = None;
        self.interrupt = Interrupt::new();
    }

    /// A setting that the server reports by itself, such as `server_encoding`.
    pub(super) fn parameter(&self, name: &CStr) -> Option<String> {
        self.link.parameter(name)
    }

    /// Runs SQL text, perhaps of several statements, and gives the last one's answer.
    pub(super) fn run(&mut self, sql: &str) -> Result<Answer, Error> {
        self.send(sql)?;
        self.answer("PQsendQuery", None).map_err(|refusal| refusal.error)
    }

    /// The types of a query's columns, by their oids in pg_type; the query is not run.
    pub(super) fn describe(&mut self, sql: &str) -> Result<Vec<u32>, Error> {
        let sql = c_string(sql)?;
        if !self.link.send_prepare(&sql) {
            return Err(self.broken("PQsendPrepare"));
        }
        self.answer("PQsendPrepare", None).map_err(|refusal| refusal.error)?;
        if !self.link.send_describe() {
            return Err(self.broken("PQsendDescribePrepared"));
        }
        let answer = self.answer("PQsendDescribePrepared", None);
        Ok(answer.map_err(|refusal| refusal.error)?.column_types())
    }

    /// Starts a COPY, after which rows are read or written.
    pub(super) fn start_copy(&mut self, sql: &str) -> Result<(), Error> {
        const FUNCTION: &str = "PQsendQuery";
        self.send(sql)?;
        self.wait_for_result(None, FUNCTION)?;
        let Some(answer) = self.link.result() else {
            return Err(self.broken(FUNCTION));
        };
        match answer.status() {
            Status::CopyIn | Status::CopyOut => {
                self.copying = true;
                Ok(())
            }
            _ => {
                let refusal = self.refusal(FUNCTION, &answer);
                self.drain(None)?;
                Err(refusal.error)
            }
        }
    }

    /// The next row of a COPY TO STDOUT; `None` at the end.
    ///
    /// # Errors
    /// [`Error::OverMemoryLimit`] without row or column, if much more than `limit_bytes` have come and no whole row: libpq
    /// keeps all of it.
    pub(super) fn next_row(&mut self, limit_bytes: usize) -> Result<Option<RowBytes>, Error> {
        let (mut reads, mut arrived_bytes) = (0, 0);
        loop {
            match self.link.copy_row() {
                CopyRow::Row(row) => return Ok(Some(row)),
                CopyRow::Wait => {}
                CopyRow::End => {
                    self.copying = false;
                    self.answer("PQgetCopyData", None).map_err(|refusal| refusal.error)?;
                    return Ok(None);
                }
                CopyRow::Failed => return Err(self.broken("PQgetCopyData")),
            }
            // Waits only when the first try has brought nothing: with TLS, bytes may lie ready that the socket does not
            // show any more.
            if reads % 2 == 1 {
                self.wait(PollFlags::IN, None, "PQgetCopyData")?;
            }
            reads += 1;
            let before = self.readable_bytes(reads);
            if !self.link.consume() {
                return Err(self.broken("PQconsumeInput"));
            }
            arrived_bytes += before.saturating_sub(self.readable_bytes(reads));
            if arrived_bytes > limit_bytes {
                return Err(Error::OverMemoryLimit {
                    column: None,
                    row: None,
                    bytes: arrived_bytes,
                    limit_bytes,
                });
            }
        }
    }

    /// Bytes that the socket has, asked only where a row is long in coming.
    fn readable_bytes(&self, reads: u32) -> usize {
        let socket = self.link.socket().filter(|_| reads > READS_BEFORE_WATCHING);
        let bytes = socket.and_then(|socket| ioctl_fionread(socket).ok());
        usize::try_from(bytes.unwrap_or_default()).unwrap_or(usize::MAX)
    }

    /// Sends data of a COPY FROM STDIN; rows may begin and end anywhere in it.
    pub(super) fn put(&mut self, data: &[u8]) -> Result<(), Box<Refusal>> {
        /// Of which libpq makes one message each.
        const MESSAGE_BYTES: usize = 64 << 10;
        for part in data.chunks(MESSAGE_BYTES) {
            loop {
                if self.interrupt.is_raised() {
                    return Err(Error::cancelled().into());
                }
                match self.link.put_copy_data(part) {
                    Put::Taken => break,
                    Put::Full => self.flush_copy()?,
                    Put::Failed => return Err(self.copy_failed("PQputCopyData")),
                }
            }
            self.flush_copy()?;
        }
        Ok(())
    }

    /// Ends a COPY FROM STDIN and gives its answer: every row is in the table.
    pub(super) fn finish_copy(&mut self) -> Result<Answer, Box<Refusal>> {
        loop {
            match self.link.put_copy_end(None) {
                Put::Taken => break,
                Put::Full => self.flush_copy()?,
                Put::Failed => return Err(self.copy_failed("PQputCopyEnd")),
            }
        }
        self.copying = false;
        self.answer("PQputCopyEnd", None)
    }

    /// Commits the transaction. Once the server has been asked, nothing stops it: who has given up waiting would not know
    /// whether the rows are there. Shields what follows.
    pub(super) fn commit(&mut self) -> Result<(), Error> {
        if self.interrupt.is_raised() {
            return Err(Error::cancelled());
        }
        self.shield();
        let answer = self.run("COMMIT").map_err(|error| match error {
            Error::Client {
                function,
                mut diagnostic,
            } if self.link.is_broken() => {
                let message = &mut diagnostic.message;
                *message =
                    format!("whether the rows are in the table is not known, the connection was lost: {message}");
                Error::Client { function, diagnostic }
            }
            error => error,
        })?;
        match answer.tag().as_str() {
            "COMMIT" => Ok(()),
            // What the server answers when the transaction had failed before.
            _ => Err(Error::Unsupported(
                "the server has rolled the transaction back".to_owned(),
            )),
        }
    }

    /// Rolls the transaction back, also after the work was told to stop, and shields what follows. A server that does not
    /// answer in time is left: it rolls back by itself.
    pub(super) fn rollback(&mut self) -> Result<(), Error> {
        let stopped = self.interrupt.is_raised();
        let deadline = stopped.then(|| Instant::now() + UNDO_TIMEOUT);
        // Kept until the COPY has ended: what runs at the server is cancelled meanwhile.
        let on_raise = self.on_raise.take();
        self.shield();
        if self.copying {
            self.copying = false;
            self.refuse_copy(deadline)?;
        }
        self.drain(deadline)?;
        drop(on_raise);
        loop {
            self.send_until("ROLLBACK", deadline)?;
            match self.answer("PQsendQuery", deadline) {
                Ok(_) => return Ok(()),
                // A cancel that was still on its way has met this statement in place of the one before.
                Err(refusal) if refusal.is_cancelled() => {}
                Err(refusal) => return Err(refusal.error),
            }
        }
    }

    /// Ends a COPY FROM STDIN whose rows are not wanted, if one is under way, and reads what answers are left.
    pub(super) fn give_copy_up(&mut self) -> Result<(), Error> {
        if self.copying {
            self.copying = false;
            self.refuse_copy(None)?;
        }
        self.drain(None)
    }

    /// Logs what the server has remarked; without its words where they may hold a row's values.
    fn log_notices(&self, with_words: bool) {
        for notice in self.link.take_notices() {
            let words = if with_words { notice.message.as_str() } else { "" };
            tracing::debug!(
                event = "postgres.notice",
                severity = notice.severity,
                sqlstate = notice.sqlstate,
                words,
                "the server remarked something"
            );
        }
    }

    fn send(&mut self, sql: &str) -> Result<(), Error> {
        self.send_until(sql, None)
    }

    fn send_until(&mut self, sql: &str, deadline: Option<Instant>) -> Result<(), Error> {
        const FUNCTION: &str = "PQsendQuery";
        if self.interrupt.is_raised() {
            return Err(Error::cancelled());
        }
        let sql = c_string(sql)?;
        if !self.link.send_query(&sql) {
            return Err(self.broken(FUNCTION));
        }
        self.flush(deadline, FUNCTION)
    }

    /// Sends all that is queued, taking in what comes meanwhile so that neither side waits for the other.
    fn flush(&mut self, deadline: Option<Instant>, function: &'static str) -> Result<(), Error> {
        loop {
            match self.link.flush() {
                Put::Taken => return Ok(()),
                Put::Failed => return Err(self.broken(function)),
                Put::Full => {
                    if self
                        .wait(PollFlags::IN | PollFlags::OUT, deadline, function)?
                        .contains(PollFlags::IN)
                        && !self.link.consume()
                    {
                        return Err(self.broken("PQconsumeInput"));
                    }
                }
            }
        }
    }

    /// As [`Self::flush`], during a COPY FROM STDIN, in which the server speaks only if something is wrong.
    fn flush_copy(&mut self) -> Result<(), Box<Refusal>> {
        const FUNCTION: &str = "PQputCopyData";
        loop {
            let left = match self.link.flush() {
                Put::Taken => false,
                Put::Full => true,
                Put::Failed => return Err(self.copy_failed(FUNCTION)),
            };
            let spoke = if left {
                self.wait(PollFlags::IN | PollFlags::OUT, None, FUNCTION)?
                    .contains(PollFlags::IN)
            } else {
                self.is_readable()
            };
            if spoke {
                self.listen_during_copy()?;
            }
            if !left {
                return Ok(());
            }
        }
    }

    /// libpq keeps an error of the server to itself until the COPY has ended, so rows would be sent for nothing. A server
    /// that says something else than a notice is taken to have failed: the COPY is ended and its answer looked at.
    fn listen_during_copy(&mut self) -> Result<(), Box<Refusal>> {
        /// The first whose changed settings are only reported between statements.
        const QUIET_VERSION: i32 = 140_000;
        let seen = self.link.notices_seen();
        let consumed = self.link.consume();
        // Notices are taken in here.
        self.link.is_busy();
        self.log_notices(false);
        if consumed && (self.link.notices_seen() > seen || self.link.server_version() < QUIET_VERSION) {
            return Ok(());
        }
        Err(self.copy_failed("PQputCopyData"))
    }

    /// Why a COPY FROM STDIN does not go on: what the server said, else what libpq says of the connection.
    fn copy_failed(&mut self, function: &'static str) -> Box<Refusal> {
        self.copying = false;
        if self.interrupt.is_raised() {
            return Error::cancelled().into();
        }
        let ended = self.link.put_copy_end(Some(c"dray: the server did not go on"));
        if ended == Put::Failed && !self.link.is_broken() {
            return self.broken(function).into();
        }
        // A lost connection may have left the server's last words.
        self.link.consume();
        match self.answer(function, None) {
            Err(refusal) => refusal,
            Ok(_) => self.broken(function).into(),
        }
    }

    /// The last of the answers to what was sent; the first error, if there is one.
    fn answer(&mut self, function: &'static str, deadline: Option<Instant>) -> Result<Answer, Box<Refusal>> {
        let mut last = None;
        let mut failed = None;
        // An unfinished flush may be what the server waits for.
        if !self.link.is_broken() {
            self.flush(deadline, function)?;
        }
        loop {
            self.wait_for_result(deadline, function)?;
            let Some(answer) = self.link.result() else { break };
            match answer.status() {
                Status::Failed => {
                    failed.get_or_insert_with(|| self.refusal(function, &answer));
                }
                // Of a connection that was lost during a COPY libpq says for ever that it still is in one.
                Status::CopyIn | Status::CopyOut => break,
                Status::Done | Status::Rows => last = Some(answer),
            }
        }
        // What a trigger says of a row is not repeated.
        self.log_notices(function == "PQsendQuery");
        match (failed, last) {
            (Some(refusal), _) => Err(refusal),
            (None, Some(answer)) => Ok(answer),
            (None, None) => Err(self.broken(function).into()),
        }
    }

    /// Ends a COPY FROM STDIN as failed.
    fn refuse_copy(&mut self, deadline: Option<Instant>) -> Result<(), Error> {
        const FUNCTION: &str = "PQputCopyEnd";
        loop {
            match self.link.put_copy_end(Some(c"dray: the load is rolled back")) {
                Put::Full => self.flush(deadline, FUNCTION)?,
                Put::Failed if self.link.is_broken() => return Err(self.broken(FUNCTION)),
                // Refused where the COPY has failed already, or is one in the other direction.
                Put::Taken | Put::Failed => return Ok(()),
            }
        }
    }

    /// Reads and drops what answers are left.
    fn drain(&mut self, deadline: Option<Instant>) -> Result<(), Error> {
        const FUNCTION: &str = "PQgetResult";
        self.flush(deadline, FUNCTION)?;
        loop {
            self.wait_for_result(deadline, FUNCTION)?;
            match self.link.result() {
                None => return Ok(()),
                // Told to stop between a COPY and its answer. Of a lost connection libpq says so for ever.
                Some(answer) if answer.status() == Status::CopyIn => {
                    if self.link.is_broken() {
                        return Err(self.broken(FUNCTION));
                    }
                    self.refuse_copy(deadline)?;
                    self.flush(deadline, FUNCTION)?;
                }
                // Rows of a COPY TO that nobody wants any more.
                Some(answer) if answer.status() == Status::CopyOut => {
                    if self.link.is_broken() {
                        return Err(self.broken(FUNCTION));
                    }
                    loop {
                        match self.link.copy_row() {
                            CopyRow::Row(_) => {}
                            CopyRow::Wait => {
                                self.wait(PollFlags::IN, deadline, FUNCTION)?;
                                self.link.consume();
                            }
                            CopyRow::End | CopyRow::Failed => break,
                        }
                    }
                }
                Some(_) => {}
            }
        }
    }

    fn wait_for_result(&mut self, deadline: Option<Instant>, function: &'static str) -> Result<(), Error> {
        // The last words of a lost connection are still to be had.
        while self.link.is_busy() && !self.link.is_broken() {
            self.wait(PollFlags::IN, deadline, function)?;
            self.link.consume();
        }
        Ok(())
    }

    /// Waits until the socket is ready for one of `events`, and says for which.
    fn wait(&self, events: PollFlags, deadline: Option<Instant>, function: &'static str) -> Result<PollFlags, Error> {
        loop {
            if self.interrupt.is_raised() {
                return Err(Error::cancelled());
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(client_error(function, "08001", "the server does not answer".to_owned()));
            }
            let Some(ready) = self.poll(events, &SLICE) else {
                return Err(self.broken(function));
            };
            if !ready.is_empty() {
                return Ok(ready);
            }
        }
    }

    fn is_readable(&self) -> bool {
        let ready = self.poll(PollFlags::IN, &Timespec::default());
        ready.is_some_and(|ready| !ready.is_empty())
    }

    /// What the socket is ready for; an error or a hang-up counts as readable. `None` without a socket.
    fn poll(&self, events: PollFlags, timeout: &Timespec) -> Option<PollFlags> {
        let socket = self.link.socket()?;
        let mut descriptors = [PollFd::from_borrowed_fd(socket.as_fd(), events)];
        match poll(&mut descriptors, Some(timeout)) {
            Ok(0) | Err(_) => Some(PollFlags::empty()),
            Ok(_) => {
                let ready = descriptors[0].revents();
                let over = ready.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL);
                Some(if over { ready | PollFlags::IN } else { ready })
            }
        }
    }

    fn refusal(&self, function: &'static str, answer: &Answer) -> Box<Refusal> {
        let sqlstate = answer.field(Field::Sqlstate);
        if sqlstate.as_deref() == Some(CANCELLED) && self.interrupt.is_raised() {
            return Error::cancelled().into();
        }
        let message = answer.field(Field::Message).unwrap_or_else(|| answer.message());
        let lost = if self.link.is_broken() { "08006" } else { "HY000" };
        Box::new(Refusal {
            error: client_error(function, sqlstate.as_deref().unwrap_or(lost), message),
            context: answer.field(Field::Context),
            column: answer.field(Field::Column),
        })
    }

    /// What libpq says of the connection.
    fn broken(&self, function: &'static str) -> Error {
        if self.interrupt.is_raised() {
            return Error::cancelled();
        }
        let sqlstate = if self.link.is_broken() { "08006" } else { "HY000" };
        client_error(function, sqlstate, self.link.error_message())
    }
}

fn client_error(function: &'static str, sqlstate: &str, message: String) -> Error {
    Error::Client {
        function,
        diagnostic: Diagnostic {
            sqlstate: sqlstate.to_owned(),
            native: 0,
            message,
        },
    }
}

fn c_string(sql: &str) -> Result<CString, Error> {
    CString::new(sql).map_err(|_| Error::Unsupported("the SQL holds a zero byte, which libpq does not take".to_owned()))
}
