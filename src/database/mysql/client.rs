//! A connection of the client library: opened, asked, told to load, stopped from another thread.
//!
//! Knows the library and no table: what is sent and what comes back is for the lanes. A connection is used by one thread
//! at a time and may be handed to another; all that other threads do is to stop it, see [`Stop`].

#![allow(unsafe_code)]

use std::{
    ffi::c_ulong,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use super::{
    connect,
    infile::{INFILE_STOPPED, Infile},
    libmariadb::{Library, Mysql, mariadb_option, option},
    rows::{Row, Rows},
    settings::{OptionValue, Settings},
    stop::{EndWatch, Stop},
};
use crate::{
    database::Error,
    odbc::{Diagnostic, Interrupt, OnRaise},
};

const CR_SERVER_LOST: i32 = 2013;

/// `CR_SERVER_GONE_ERROR` as well.
const CONNECTION_LOST: [i32; 2] = [2006, CR_SERVER_LOST];

/// `ER_QUERY_INTERRUPTED`, and the server's word for a killed connection.
const KILLED: [i32; 2] = [1317, 1927];

/// `CR_NET_PACKET_TOO_LARGE`, as [`Client::failure`] reports it whatever the library makes of it.
pub(super) const PACKET_TOO_LARGE: i32 = 2020;

/// A connection.
pub(super) struct Client {
    library: Library,
    handle: Mysql,
    infile: Infile,
    stop: Arc<Stop>,
    interrupt: Interrupt,
    on_raise: Option<OnRaise>,
    /// Whether rows beyond a length are not to be read.
    limits_rows: bool,
    lost: bool,
}

// SAFETY: a connection may be used from any thread, one at a time (MariaDB Connector/C, "Thread-safe clients"); `&mut`
// sees to that. What other threads reach, `Stop`, has a descriptor of its own and not the connection.
unsafe impl Send for Client {}

impl Client {
    /// Connects and runs the statements that set the session up. Returns within 50 ms after `interrupt` was raised.
    ///
    /// With `packet_bytes_max`, longer rows of a result are an error ([`PACKET_TOO_LARGE`]) and not read into memory.
    pub(super) fn connect(
        library: Library,
        settings: &Settings,
        packet_bytes_max: Option<usize>,
        setup: &[&str],
        interrupt: &Interrupt,
    ) -> Result<Client, Error> {
        let mut settings = settings.clone();
        settings.options.push((option::LOCAL_INFILE, OptionValue::Number(1)));
        if let Some(bytes) = packet_bytes_max.filter(|_| library.mariadb) {
            let value = OptionValue::Long(bytes as c_ulong);
            settings.options.push((mariadb_option::MAX_ALLOWED_PACKET, value));
        }
        // Nothing ends a login. So it has a thread of its own, which is left behind if the work is told to stop.
        let (sender, receiver) = mpsc::sync_channel(1);
        let of_thread = settings.clone();
        thread::Builder::new()
            .name("dray-connect".to_owned())
            .spawn(move || {
                let opened = connect::open(library, &of_thread);
                if let Err(mpsc::SendError(Ok(handle))) = sender.send(opened) {
                    // SAFETY: nobody else has this connection.
                    unsafe { (library.close)(handle.0) };
                }
            })
            .map_err(|error| Error::Unsupported(format!("no thread for the connection: {error}")))?;
        let handle = loop {
            match receiver.recv_timeout(Duration::from_millis(50)) {
                Ok(result) => break result?.0,
                Err(mpsc::RecvTimeoutError::Timeout) if interrupt.is_raised() => return Err(Error::cancelled()),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(Error::Unsupported("the client library ended its thread".to_owned()));
                }
            }
        };
        let stop = Stop::of(library, settings, handle);
        let infile = Infile::of(library, handle, interrupt);
        let told = Arc::clone(&stop);
        let mut client = Client {
            library,
            handle,
            infile,
            on_raise: Some(interrupt.on_raise(move || told.tell())),
            stop,
            interrupt: interrupt.clone(),
            limits_rows: packet_bytes_max.is_some(),
            lost: false,
        };
        // An INITSTMT may have said otherwise.
        client.execute("SET NAMES utf8mb4")?;
        for sql in setup {
            client.execute(sql)?;
        }
        Ok(client)
    }

    /// Runs a statement without a result, and returns the number of rows that it changed.
    pub(super) fn execute(&mut self, sql: &str) -> Result<u64, Error> {
        self.run(sql.as_bytes())
    }

    /// As [`Self::execute`], with a text that need not be UTF-8.
    pub(super) fn run(&mut self, sql: &[u8]) -> Result<u64, Error> {
        self.call("mysql_real_query", |library, handle| {
            // SAFETY: the text is as long as its length says. A result, if there is one, is read to its end.
            unsafe {
                if (library.real_query)(handle, sql.as_ptr().cast(), sql.len() as c_ulong) != 0 {
                    return None;
                }
                if (library.field_count)(handle) > 0 {
                    let result = (library.store_result)(handle);
                    (!result.is_null()).then(|| (library.free_result)(result))?;
                }
                Some((library.affected_rows)(handle))
            }
        })
    }

    /// Runs a short query and returns its rows as text.
    pub(super) fn query(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
        self.call("mysql_store_result", |library, handle| {
            // SAFETY: the text is as long as its length says; the rows are read before the result is freed.
            unsafe {
                if (library.real_query)(handle, sql.as_ptr().cast(), sql.len() as c_ulong) != 0 {
                    return None;
                }
                let result = (library.store_result)(handle);
                if result.is_null() {
                    return ((library.field_count)(handle) == 0).then(Vec::new);
                }
                let columns = (library.num_fields)(result) as usize;
                let mut rows = Vec::new();
                while let Some(row) = Row::next(library, result, columns) {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    rows.push((0..columns).map(|column| row.cell(column).map(text)).collect());
                }
                (library.free_result)(result);
                Some(rows)
            }
        })
    }

    /// Runs a `LOAD DATA LOCAL INFILE` of [`super::infile::INFILE_NAME`], whose file is `data`; returns the number of loaded rows.
    pub(super) fn load(&mut self, sql: &str, data: &[u8]) -> Result<u64, Error> {
        self.infile.fill(data);
        let result = self.execute(sql);
        self.infile.clear();
        result
    }

    /// How many warnings and notes the last statement has left.
    pub(super) fn warnings(&self) -> u32 {
        // SAFETY: an open connection.
        unsafe { (self.library.warning_count)(self.handle) }
    }

    /// Starts a query whose rows come one by one.
    pub(super) fn stream(mut self, sql: &str) -> Result<Rows, Error> {
        let result = self.call("mysql_use_result", |library, handle| {
            // SAFETY: the text is as long as its length says.
            unsafe {
                if (library.real_query)(handle, sql.as_ptr().cast(), sql.len() as c_ulong) != 0 {
                    return None;
                }
                let result = (library.use_result)(handle);
                (!result.is_null()).then_some(result)
            }
        })?;
        Ok(Rows::of(self, result))
    }

    /// To be called by a thread before it uses a connection that another one has opened.
    pub(super) fn enter_thread(&self) {
        // SAFETY: may be called any number of times.
        unsafe { (self.library.thread_init)() };
    }

    /// To be called by such a thread before it ends.
    pub(super) fn leave_thread(&self) {
        // SAFETY: follows `enter_thread`; the thread uses no connection after it.
        unsafe { (self.library.thread_end)() };
    }

    /// See [`Stop::watch_for_end`].
    pub(super) fn watch_for_end(&self) -> Option<EndWatch> {
        self.stop.watch_for_end()
    }

    /// Whether the connection is gone, and with it the transaction.
    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// From now on this interrupt stops the connection, and no other.
    pub(super) fn stop_with(&mut self, interrupt: &Interrupt) {
        self.shield();
        let told = Arc::clone(&self.stop);
        self.on_raise = Some(interrupt.on_raise(move || told.tell()));
        self.interrupt = interrupt.clone();
        self.infile.set_interrupt(interrupt);
    }

    /// Whether the connection is still there; asks the server.
    pub(super) fn answers(&mut self) -> bool {
        self.execute("DO 0").is_ok()
    }

    /// From now on statements run even though the work was told to stop.
    pub(super) fn shield(&mut self) {
        self.on_raise = None;
        self.interrupt = Interrupt::new();
        self.infile.set_interrupt(&self.interrupt);
        self.stop.settle();
    }

    /// Whether the last call has failed.
    pub(super) fn has_failed(&self) -> bool {
        // SAFETY: an open connection.
        unsafe { (self.library.errno)(self.handle) != 0 }
    }

    /// The client's library.
    pub(super) fn library(&self) -> Library {
        self.library
    }

    /// Ends the running statement and the connection with it.
    pub(super) fn abandon(&self) {
        self.stop.abandon();
    }

    /// Makes a call that may wait for the server; `None` from it is a failure that the library explains.
    fn call<T>(&mut self, function: &'static str, call: impl FnOnce(Library, Mysql) -> Option<T>) -> Result<T, Error> {
        self.enter()?;
        let result = call(self.library, self.handle);
        // Asked before the call is over, when a kill may still come.
        let result = result.ok_or_else(|| self.failure(function));
        self.leave();
        result
    }

    /// Begins a call that other threads may stop; [`Self::leave`] ends it.
    pub(super) fn enter(&mut self) -> Result<(), Error> {
        self.stop.set_in_call(true);
        // Looked at after it can be stopped: one or the other always happens.
        if self.interrupt.is_raised() {
            self.leave();
            return Err(Error::cancelled());
        }
        Ok(())
    }

    /// See [`Self::enter`].
    pub(super) fn leave(&mut self) {
        self.stop.set_in_call(false);
    }

    /// Why the last call has failed; to be asked before [`Self::leave`].
    pub(super) fn failure(&mut self, function: &'static str) -> Error {
        let error = connect::error_of(self.library, self.handle, function);
        let native = error.diagnostic().map_or(0, |diagnostic| diagnostic.native);
        // A longer row than it may read, libmariadb 3.3 calls a lost connection.
        if native == CR_SERVER_LOST && self.limits_rows && self.stop.is_still_sending() {
            self.lost = true;
            return Error::Client {
                function,
                diagnostic: Diagnostic {
                    sqlstate: "HY000".to_owned(),
                    native: PACKET_TOO_LARGE,
                    message: "a row is longer than the client may read".to_owned(),
                },
            };
        }
        self.lost |= CONNECTION_LOST.contains(&native);
        let stopped = self.lost || KILLED.contains(&native) || native == INFILE_STOPPED;
        match stopped && self.interrupt.is_raised() {
            true => Error::cancelled(),
            false => error,
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.on_raise = None;
        // SAFETY: the connection is open and not used again.
        unsafe { (self.library.close)(self.handle) };
    }
}
