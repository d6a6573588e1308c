//! A connection of the client library: opened, asked, told to load, stopped from another thread.
//!
//! Knows the library and no table: what is sent and what comes back is for the lanes. A connection is used by one thread
//! at a time and may be handed to another. The one thing that other threads do is to stop it: `KILL QUERY` on a second
//! connection, and after a second the end of the socket, so that a call never outlives an interrupt for long.

#![allow(unsafe_code)]

use std::{
    ffi::{CStr, CString, c_char, c_int, c_uint, c_ulong, c_void},
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
    ptr, slice,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use super::{
    libmariadb::{Library, Mysql, MysqlRes, mariadb_option, option},
    settings::{OptionValue, Settings},
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

/// How long the rest of a row that the library did not take has to arrive.
const REST_PATIENCE_MS: c_int = 1_000;

/// How long the server has to answer a `KILL QUERY`, before the socket is ended.
const KILL_PATIENCE: Duration = Duration::from_millis(1_000);

/// The file name of a `LOAD DATA LOCAL INFILE` that [`Client::load`] feeds; no such file is ever opened.
pub(super) const INFILE_NAME: &str = "dray";

/// A connection.
pub(super) struct Client {
    library: Library,
    handle: Mysql,
    infile: Box<Infile>,
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

/// What a LOAD DATA is fed with.
struct Infile {
    data: *const u8,
    length: usize,
    interrupt: Interrupt,
}

/// What other threads need to stop a call.
struct Stop {
    library: Library,
    settings: Settings,
    state: Mutex<StopState>,
}

#[derive(Default)]
struct StopState {
    /// The connection's socket, by a descriptor of our own: the library's may be another file's by now.
    socket: Option<OwnedFd>,
    connection_id: u64,
    in_call: bool,
    told_at: Option<Instant>,
    killer: Option<thread::JoinHandle<()>>,
}

impl Stop {
    fn state(&self) -> MutexGuard<'_, StopState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the server end the statement that runs; called again and again, it ends the socket once the server was given
    /// its time. Does not block.
    fn tell(self: &Arc<Self>) {
        let mut state = self.state();
        if !state.in_call {
            return;
        }
        match state.told_at {
            None => {
                state.told_at = Some(Instant::now());
                let stop = Arc::clone(self);
                let id = state.connection_id;
                let killer = thread::Builder::new().name("dray-kill".to_owned());
                state.killer = killer.spawn(move || stop.kill_query(id)).ok();
            }
            Some(at) if at.elapsed() >= KILL_PATIENCE => end_socket(&state),
            Some(_) => {}
        }
    }

    /// On a connection of its own: the running statement's is busy. What goes wrong here has [`end_socket`] after it.
    fn kill_query(&self, connection_id: u64) {
        let mut settings = self.settings.clone();
        let quick = [option::CONNECT_TIMEOUT, option::READ_TIMEOUT, option::WRITE_TIMEOUT];
        settings
            .options
            .retain(|(number, _)| !quick.contains(number) && *number != option::INIT_COMMAND);
        settings
            .options
            .extend(quick.map(|number| (number, OptionValue::Number(1))));
        let Ok(handle) = open(self.library, &settings) else {
            return;
        };
        let sql = format!("KILL QUERY {connection_id}");
        // SAFETY: a connection that nobody else has; the text is as long as its length says.
        unsafe {
            (self.library.real_query)(handle.0, sql.as_ptr().cast(), sql.len() as c_ulong);
            (self.library.close)(handle.0);
        }
    }
}

/// Ends the connection for both sides; whoever waits for it gets an error at once.
fn end_socket(state: &StopState) {
    if let Some(socket) = &state.socket {
        // SAFETY: an open descriptor.
        unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_RDWR) };
    }
}

/// Whether the server still sends, so that it was the library that ended the connection.
fn is_still_sending(state: &StopState) -> bool {
    let Some(socket) = &state.socket else {
        return false;
    };
    let mut waiting = libc::pollfd {
        fd: socket.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let mut byte = 0_u8;
    // SAFETY: an open descriptor, one element, and room for one byte, which is left where it is.
    unsafe {
        libc::poll(&raw mut waiting, 1, REST_PATIENCE_MS) == 1
            && libc::recv(
                socket.as_raw_fd(),
                (&raw mut byte).cast(),
                1,
                libc::MSG_PEEK | libc::MSG_DONTWAIT,
            ) == 1
    }
}

struct Handle(Mysql);

// SAFETY: see `Client`.
unsafe impl Send for Handle {}

/// Connects; blocks until the server answers or the settings' timeout is over.
fn open(library: Library, settings: &Settings) -> Result<Handle, Error> {
    // SAFETY: null has the library allocate the connection.
    let handle = unsafe { (library.init)(ptr::null_mut()) };
    if handle.is_null() {
        return Err(Error::Unsupported(
            "the client library has no memory for a connection".to_owned(),
        ));
    }
    for (number, value) in &settings.options {
        let flag;
        let value: *const c_void = match value {
            OptionValue::Text(text) => text.as_ptr().cast(),
            OptionValue::Number(number) => ptr::from_ref(number).cast(),
            OptionValue::Long(number) => ptr::from_ref(number).cast(),
            OptionValue::Flag(on) => {
                flag = c_char::from(*on);
                ptr::from_ref(&flag).cast()
            }
            OptionValue::Nothing => ptr::null(),
        };
        // SAFETY: the option's value has the type that `Settings` keeps for it; the library copies it.
        unsafe { (library.options)(handle, *number, value) };
    }
    let text = |text: &Option<CString>| text.as_ref().map_or(ptr::null(), |text| text.as_ptr());
    // SAFETY: terminated texts or null, as the function allows.
    let connected = unsafe {
        (library.real_connect)(
            handle,
            text(&settings.host),
            text(&settings.user),
            text(&settings.password),
            text(&settings.database),
            settings.port,
            text(&settings.socket),
            0,
        )
    };
    if connected.is_null() {
        let error = error_of(library, handle, "mysql_real_connect");
        // SAFETY: the connection is not used after this.
        unsafe { (library.close)(handle) };
        return Err(error);
    }
    Ok(Handle(handle))
}

/// What the library says of the connection's last call.
fn error_of(library: Library, handle: Mysql, function: &'static str) -> Error {
    // SAFETY: the connection is open, and the texts are terminated and copied before the next call.
    let (native, sqlstate, message) = unsafe {
        let text = |text: *const c_char| match text.is_null() {
            true => String::new(),
            false => CStr::from_ptr(text).to_string_lossy().into_owned(),
        };
        (
            (library.errno)(handle),
            text((library.sqlstate)(handle)),
            text((library.error)(handle)),
        )
    };
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    Error::Client {
        function,
        diagnostic: Diagnostic {
            sqlstate,
            native: native as i32,
            message: message.trim_end_matches('.').to_owned(),
        },
    }
}

fn native_of(error: &Error) -> i32 {
    error.diagnostic().map_or(0, |diagnostic| diagnostic.native)
}

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
                let opened = open(library, &of_thread);
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
        let state = StopState {
            // SAFETY: an open connection; its descriptor is open for as long as this takes.
            socket: library
                .get_socket
                .and_then(|get_socket| unsafe { BorrowedFd::borrow_raw(get_socket(handle)).try_clone_to_owned().ok() }),
            // SAFETY: as above.
            connection_id: unsafe { (library.thread_id)(handle) },
            ..StopState::default()
        };
        let stop = Arc::new(Stop {
            library,
            settings,
            state: Mutex::new(state),
        });
        let mut infile = Box::new(Infile {
            data: ptr::null(),
            length: 0,
            interrupt: interrupt.clone(),
        });
        // SAFETY: the functions have the types that the library calls them with, and the infile lives in a box that
        // lives as long as the connection.
        unsafe {
            (library.set_local_infile_handler)(
                handle,
                infile_init,
                infile_read,
                infile_end,
                infile_error,
                ptr::from_mut(&mut *infile).cast(),
            );
        }
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

    /// Runs a `LOAD DATA LOCAL INFILE` of [`INFILE_NAME`], whose file is `data`; returns the number of loaded rows.
    pub(super) fn load(&mut self, sql: &str, data: &[u8]) -> Result<u64, Error> {
        self.infile.data = data.as_ptr();
        self.infile.length = data.len();
        let result = self.execute(sql);
        self.infile.length = 0;
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
        // SAFETY: a result that was not null.
        let columns = unsafe { (self.library.num_fields)(result) } as usize;
        Ok(Rows {
            client: self,
            result,
            columns,
            at_end: false,
        })
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

    /// Whether the connection is gone, and with it the transaction.
    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// From now on statements run even though the work was told to stop.
    pub(super) fn shield(&mut self) {
        self.on_raise = None;
        self.interrupt = Interrupt::new();
        self.infile.interrupt = self.interrupt.clone();
        // A kill that is under way must not hit what comes next.
        let killer = {
            let mut state = self.stop.state();
            state.told_at = None;
            state.killer.take()
        };
        if let Some(killer) = killer {
            let _ = killer.join();
        }
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

    fn enter(&mut self) -> Result<(), Error> {
        self.stop.state().in_call = true;
        // Looked at after it can be stopped: one or the other always happens.
        if self.interrupt.is_raised() {
            self.leave();
            return Err(Error::cancelled());
        }
        Ok(())
    }

    fn leave(&mut self) {
        self.stop.state().in_call = false;
    }

    fn failure(&mut self, function: &'static str) -> Error {
        let error = error_of(self.library, self.handle, function);
        let native = native_of(&error);
        // A longer row than it may read, libmariadb 3.3 calls a lost connection.
        if native == CR_SERVER_LOST && self.limits_rows && is_still_sending(&self.stop.state()) {
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

/// The rows of a query, read as they come.
pub(super) struct Rows {
    client: Client,
    result: MysqlRes,
    columns: usize,
    at_end: bool,
}

// SAFETY: see `Client`, which the result belongs to.
unsafe impl Send for Rows {}

impl Rows {
    /// Hands over rows until `take` says that it has enough (false) or there are no more; false from this function then.
    pub(super) fn read(&mut self, mut take: impl FnMut(&Row<'_>) -> Result<bool, Error>) -> Result<bool, Error> {
        if self.at_end {
            return Ok(false);
        }
        self.client.enter()?;
        let result = loop {
            // SAFETY: the result is open; the row is used before the next is fetched.
            match unsafe { Row::next(self.client.library, self.result, self.columns) } {
                Some(row) => match take(&row) {
                    Ok(true) => {}
                    Ok(false) => break Ok(true),
                    Err(error) => break Err(error),
                },
                // SAFETY: an open connection.
                None if unsafe { (self.client.library.errno)(self.client.handle) } == 0 => {
                    self.at_end = true;
                    break Ok(false);
                }
                None => break Err(self.client.failure("mysql_fetch_row")),
            }
        };
        self.client.leave();
        result
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        // Freeing a result reads all the rows that are left; without a socket there are none.
        if !self.at_end {
            end_socket(&self.client.stop.state());
        }
        // SAFETY: the result is open and not used again.
        unsafe { (self.client.library.free_result)(self.result) };
    }
}

/// One row of a result.
pub(super) struct Row<'a> {
    cells: &'a [*const u8],
    lengths: &'a [c_ulong],
}

impl<'a> Row<'a> {
    /// The next row.
    ///
    /// # Safety
    /// The result is open and has so many columns; the row is not used after the next one was asked for.
    unsafe fn next(library: Library, result: MysqlRes, columns: usize) -> Option<Row<'a>> {
        // SAFETY: as asked for above. Both arrays have an element for each column.
        unsafe {
            let cells = (library.fetch_row)(result);
            if cells.is_null() {
                return None;
            }
            Some(Row {
                cells: slice::from_raw_parts(cells, columns),
                lengths: slice::from_raw_parts((library.fetch_lengths)(result), columns),
            })
        }
    }

    /// The cell of a column, from 0; `None` for NULL.
    #[inline]
    pub(super) fn cell(&self, column: usize) -> Option<&'a [u8]> {
        let cell = self.cells[column];
        // SAFETY: the library says how long the cell is.
        (!cell.is_null()).then(|| unsafe { slice::from_raw_parts(cell, self.lengths[column] as usize) })
    }
}

/// `CR_UNKNOWN_ERROR`; what the infile's functions report, and the library hands on.
const INFILE_STOPPED: i32 = 2000;

unsafe extern "C" fn infile_init(infile: *mut *mut c_void, _name: *const c_char, own: *mut c_void) -> c_int {
    // SAFETY: the library gives a place for a pointer.
    unsafe { *infile = own };
    0
}

unsafe extern "C" fn infile_read(infile: *mut c_void, buffer: *mut c_char, length: c_uint) -> c_int {
    // SAFETY: the pointer that `infile_init` gave, to the infile of the connection whose call this is; its data outlive
    // the call.
    let infile = unsafe { &mut *infile.cast::<Infile>() };
    if infile.interrupt.is_raised() {
        return -1;
    }
    let bytes = infile.length.min(length as usize);
    // SAFETY: so many bytes are left, and so many fit.
    unsafe {
        ptr::copy_nonoverlapping(infile.data, buffer.cast(), bytes);
        infile.data = infile.data.add(bytes);
    }
    infile.length -= bytes;
    bytes as c_int
}

unsafe extern "C" fn infile_end(_infile: *mut c_void) {}

unsafe extern "C" fn infile_error(_infile: *mut c_void, message: *mut c_char, length: c_uint) -> c_int {
    const TEXT: &CStr = c"told to stop";
    let bytes = TEXT.to_bytes_with_nul();
    if bytes.len() <= length as usize {
        // SAFETY: the text and its terminator fit.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), message.cast(), bytes.len()) };
    }
    INFILE_STOPPED
}
