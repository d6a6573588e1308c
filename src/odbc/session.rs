//! One connection: opened, asked what it can do, its transactions ended.

#![allow(unsafe_code)]

use std::{
    ptr,
    sync::{Arc, Mutex, OnceLock, PoisonError, mpsc},
    thread,
    time::Duration,
};

use odbc_api::handles::{Connection, Environment, SqlResult};
use odbc_sys::{
    AttrOdbcVersion, ConnectionAttribute, DriverConnectOption, HDbc, HStmt, HandleType, IS_INTEGER, IS_POINTER,
    InfoType, Pointer, SQLDriverConnect, SQLDriverConnectW, SQLGetConnectAttr, SQLGetInfo, SQLGetInfoW,
    SQLSetConnectAttr, SqlReturn,
};

use super::{ConnectionString, DriverSearch, Encoding, Error, Interrupt, diagnostics, encoding, library, locale};

/// How a connection is opened. May hold a token, and so has no `Debug`.
#[derive(Clone)]
pub struct ConnectOptions {
    /// Seconds that the driver may take to log in; drivers that do not know the attribute ignore it. 30 by default.
    pub login_timeout_s: u32,
    /// Whether each statement is its own transaction. False by default.
    pub autocommit: bool,
    /// Integer attributes of the connection that are set before connecting, by their number. None by default.
    pub attributes: &'static [(i32, usize)],
    /// An attribute of the connection that is a structure, by its number. None by default.
    pub structure: Option<(i32, Vec<u8>)>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        ConnectOptions {
            login_timeout_s: 30,
            autocommit: false,
            attributes: &[],
            structure: None,
        }
    }
}

/// What a driver does wrong without saying so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quirks {
    /// Its conversion of text to and from UTF-16 is not to be trusted: text cells and parameters go as UTF-8, whatever the
    /// form of its functions. The connection's charset is UTF-8.
    pub narrow_cells: bool,
    /// It claims `SQLGetData` for any row of a block and hands over another row's value.
    pub no_get_data_in_blocks: bool,
    /// It answers "success with info" to an execution that the server refused with an error of SQLSTATE class 01, and
    /// nothing was changed; the records then have the server's number.
    pub errors_as_information: bool,
    /// It runs a parameter array row by row, and answers for the rows behind the first, their errors too, as further
    /// results: whoever does not ask for them does not hear of them.
    pub answers_row_by_row: bool,
}

/// What `SQLGetData` may be asked for beside the columns after the last bound one, from `SQL_GETDATA_EXTENSIONS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GetDataRules {
    /// Columns that are bound, before or after others, in any order.
    pub bound_columns: bool,
    /// Any row of a block of several, after `SQLSetPos`.
    pub blocks: bool,
}

/// A connection to a database, spoken to in its driver's own form.
///
/// May be moved between threads; its calls are made by one thread at a time. Dropping it rolls back what is open.
pub struct Session {
    pub(super) link: Arc<Link>,
}

/// The connection, kept alive by its statements as well. odbc-api owns the handle and does what takes no text; calls
/// with text are made here, since odbc-api chooses the form of the driver's functions when it is compiled.
pub(super) struct Link {
    /// Taken out only to be closed.
    connection: Option<Connection<'static>>,
    handle: HDbc,
    pub(super) encoding: Encoding,
    quirks: OnceLock<Quirks>,
    interrupt: Mutex<Interrupt>,
    connected: bool,
}

// SAFETY: an ODBC connection handle may be used from any thread (ODBC reference, "Multithreading"). `Session` and
// `Statement` give out no way to call the driver from two threads at once but `Interrupt`, which argues for itself.
unsafe impl Send for Link {}
// SAFETY: as above; statements of one session share the link and stay on the session's thread.
unsafe impl Sync for Link {}

impl Drop for Link {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        if self.connected {
            // A driver refuses to disconnect inside a transaction (25000).
            let _ = connection.rollback();
            if !is_done(&connection.disconnect()) {
                // odbc-api panics if a handle cannot be freed, and one that is still connected cannot.
                std::mem::forget(connection);
            }
        }
    }
}

struct SharedEnvironment(Environment);

// SAFETY: environment handles may be shared between threads, the driver manager locks them itself. What makes odbc-api's
// not `Sync`, its diagnostics and the list of drivers kept in it, is not used.
unsafe impl Sync for SharedEnvironment {}

/// The process's one ODBC environment; never freed, as connections may outlive any owner of it.
fn environment() -> Result<&'static Environment, Error> {
    static ENVIRONMENT: OnceLock<Option<SharedEnvironment>> = OnceLock::new();
    let environment = ENVIRONMENT.get_or_init(|| {
        let environment = value_of(Environment::new())?;
        is_done(&environment.declare_version(AttrOdbcVersion::Odbc3_80)).then_some(SharedEnvironment(environment))
    });
    match environment {
        Some(environment) => Ok(&environment.0),
        None => Err(Error::Internal(
            "the ODBC driver manager gives no environment".to_owned(),
        )),
    }
}

fn is_done<T>(result: &SqlResult<T>) -> bool {
    matches!(result, SqlResult::Success(_) | SqlResult::SuccessWithInfo(_))
}

fn value_of<T>(result: SqlResult<T>) -> Option<T> {
    match result {
        SqlResult::Success(value) | SqlResult::SuccessWithInfo(value) => Some(value),
        _ => None,
    }
}

impl Session {
    /// Opens a connection.
    ///
    /// `string` is resolved with `search` first, see [`DriverSearch::resolve`]. Returns within 50 ms after `interrupt`
    /// was raised, also while the driver still waits for the server.
    ///
    /// # Errors
    /// Those of the driver lookup, [`Error::DriverUnloadable`], [`Error::Connect`], [`Error::Cancelled`].
    pub fn connect(
        search: &DriverSearch,
        string: &ConnectionString,
        options: &ConnectOptions,
        interrupt: &Interrupt,
    ) -> Result<Session, Error> {
        locale::ensure_utf8();
        let mut string = string.clone();
        let path = search.resolve(&mut string)?;
        let encoding = library::load_driver(&path)?;
        tracing::debug!(event = "odbc.connecting", driver = %path.display(), ?encoding, "connecting");
        // No driver can be told to give up a login. So it has a thread of its own, which is left behind if the run is
        // told to stop, and then closes what it may have opened.
        let (sender, receiver) = mpsc::sync_channel(1);
        let (options, interrupt_of_session) = (options.clone(), interrupt.clone());
        thread::Builder::new()
            .name("dray-connect".to_owned())
            .spawn(move || {
                let _ = sender.send(Session::open(&string, encoding, &options, interrupt_of_session));
            })
            .map_err(|error| Error::Internal(format!("no thread for the connection: {error}")))?;
        loop {
            match receiver.recv_timeout(Duration::from_millis(50)) {
                Ok(result) => return result,
                Err(mpsc::RecvTimeoutError::Timeout) if interrupt.is_raised() => return Err(Error::Cancelled),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(Error::Internal("the driver ended the thread that connects".to_owned()));
                }
            }
        }
    }

    fn open(
        string: &ConnectionString,
        encoding: Encoding,
        options: &ConnectOptions,
        interrupt: Interrupt,
    ) -> Result<Session, Error> {
        let connection = value_of(environment()?.allocate_connection())
            .ok_or_else(|| Error::Internal("the ODBC driver manager gives no connection handle".to_owned()))?;
        // Not every driver knows it, so the answer does not matter.
        let _ = connection.set_login_timeout_sec(options.login_timeout_s);
        for (attribute, value) in options.attributes {
            // A driver's own number; the type is its integer.
            let attribute = ConnectionAttribute(*attribute);
            // SAFETY: an allocated handle and an integer attribute; the driver manager keeps both for the driver.
            let _ = unsafe { SQLSetConnectAttr(connection.as_sys(), attribute, *value as Pointer, IS_INTEGER) };
        }
        if let Some((attribute, bytes)) = &options.structure {
            let place = bytes.as_ptr().cast_mut().cast();
            // SAFETY: as above; the bytes are only read, and live longer than the call that connects.
            let _ =
                unsafe { SQLSetConnectAttr(connection.as_sys(), ConnectionAttribute(*attribute), place, IS_POINTER) };
        }
        let interrupt = Mutex::new(interrupt);
        let quirks = OnceLock::new();
        let mut link = Link {
            handle: connection.as_sys(),
            connection: Some(connection),
            encoding,
            quirks,
            interrupt,
            connected: false,
        };
        let text = string.reveal();
        let result = match encoding {
            Encoding::Wide => {
                let units = encoding::wide(&text);
                let length = length_i16(units.len() - 1)?;
                // SAFETY: the text is as long as its length says; no completed string is asked for.
                unsafe {
                    SQLDriverConnectW(
                        link.handle,
                        ptr::null_mut(),
                        units.as_ptr(),
                        length,
                        ptr::null_mut(),
                        0,
                        ptr::null_mut(),
                        DriverConnectOption::NoPrompt,
                    )
                }
            }
            Encoding::Narrow => {
                let length = length_i16(text.len())?;
                // SAFETY: as above.
                unsafe {
                    SQLDriverConnect(
                        link.handle,
                        ptr::null_mut(),
                        text.as_ptr(),
                        length,
                        ptr::null_mut(),
                        0,
                        ptr::null_mut(),
                        DriverConnectOption::NoPrompt,
                    )
                }
            }
        };
        if !matches!(result, SqlReturn::SUCCESS | SqlReturn::SUCCESS_WITH_INFO) {
            let mut diagnostics = link.diagnostics();
            // That time is up says less than what it was spent on, and that the packets have another size than asked for is
            // no failure; Microsoft's driver tells what is wrong behind both.
            diagnostics.sort_by_key(|diagnostic| matches!(diagnostic.sqlstate.as_str(), "HYT00" | "IM006"));
            return Err(Error::Connect {
                diagnostics,
                hint: None,
            });
        }
        link.connected = true;
        let session = Session { link: Arc::new(link) };
        session.set_autocommit(options.autocommit)?;
        Ok(session)
    }

    /// Whether each statement is its own transaction from now on.
    pub fn set_autocommit(&self, on: bool) -> Result<(), Error> {
        self.link.run(|connection| connection.set_autocommit(on))
    }

    /// Makes the open transaction permanent.
    pub fn commit(&self) -> Result<(), Error> {
        self.link.run(|connection| connection.commit())
    }

    /// Undoes the open transaction; also after the interrupt was raised.
    pub fn rollback(&self) -> Result<(), Error> {
        self.link.run(|connection| connection.rollback())
    }

    /// The form of the driver's functions: of SQL text, names and diagnostics.
    pub fn encoding(&self) -> Encoding {
        self.link.encoding
    }

    /// The form of text cells and text parameters; that of the functions unless a quirk says otherwise.
    pub fn cell_encoding(&self) -> Encoding {
        self.link.cell_encoding()
    }

    /// Says what the driver does wrong. Once, before the first statement; later calls change nothing.
    pub fn set_quirks(&self, quirks: Quirks) {
        let _ = self.link.quirks.set(quirks);
    }

    /// From now on the session's calls are stopped by this interrupt alone; used to clean up after another was raised.
    pub fn set_interrupt(&self, interrupt: &Interrupt) {
        *self.link.interrupt.lock().unwrap_or_else(PoisonError::into_inner) = interrupt.clone();
    }

    /// What stops the session's calls.
    pub fn interrupt(&self) -> Interrupt {
        self.link.interrupt()
    }

    /// A text that the driver tells of itself or its server, such as `SQL_DBMS_NAME`.
    pub fn info_text(&self, info: InfoType) -> Result<String, Error> {
        let mut length = 0_i16;
        let mut text = String::new();
        match self.link.encoding {
            Encoding::Wide => {
                let mut units = [0_u16; 1024];
                // SAFETY: the buffer is as long as its length, which this function takes in bytes, says.
                let result = unsafe {
                    SQLGetInfoW(
                        self.link.handle,
                        info,
                        units.as_mut_ptr().cast(),
                        (units.len() * 2) as i16,
                        &mut length,
                    )
                };
                self.link.check("SQLGetInfo", result)?;
                let end = units.iter().position(|unit| *unit == 0).unwrap_or(units.len());
                text.push_str(&String::from_utf16_lossy(&units[..end]));
            }
            Encoding::Narrow => {
                let mut bytes = [0_u8; 1024];
                // SAFETY: the buffer is as long as its length says.
                let result = unsafe {
                    SQLGetInfo(
                        self.link.handle,
                        info,
                        bytes.as_mut_ptr().cast(),
                        bytes.len() as i16,
                        &mut length,
                    )
                };
                self.link.check("SQLGetInfo", result)?;
                let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
                text.push_str(&String::from_utf8_lossy(&bytes[..end]));
            }
        }
        Ok(text)
    }

    /// A number that the driver tells of itself; 0 if it does not know the question.
    pub fn info_number(&self, info: InfoType) -> u32 {
        let mut value = 0_u32;
        // SAFETY: numbers of this function take 16 or 32 bits; the rest of a shorter one stays 0.
        let result = unsafe { SQLGetInfo(self.link.handle, info, (&raw mut value).cast(), 4, ptr::null_mut()) };
        if matches!(result, SqlReturn::SUCCESS | SqlReturn::SUCCESS_WITH_INFO) {
            value
        } else {
            0
        }
    }

    /// The connection for functions that its driver has beside those of ODBC.
    pub fn driver_connection(&self) -> DriverConnection {
        DriverConnection {
            link: Arc::clone(&self.link),
        }
    }

    /// Where this driver lets a cell be read with `SQLGetData`.
    pub fn get_data_rules(&self) -> GetDataRules {
        const ANY_COLUMN: u32 = 1;
        const BLOCK: u32 = 4;
        const BOUND: u32 = 8;
        let extensions = self.info_number(InfoType::GetDataExtensions);
        GetDataRules {
            bound_columns: extensions & (ANY_COLUMN | BOUND) == (ANY_COLUMN | BOUND),
            blocks: extensions & BLOCK != 0 && !self.link.quirks().no_get_data_in_blocks,
        }
    }
}

/// A session's connection for functions that its driver has beside those of ODBC; keeps it open while it lives.
pub struct DriverConnection {
    link: Arc<Link>,
}

impl DriverConnection {
    /// The driver manager's handle. Whoever calls a function with it does so where the session's own calls are made.
    pub fn as_raw(&self) -> HDbc {
        self.link.handle
    }

    /// What the driver says about the last call that it was made with.
    pub fn diagnostics(&self) -> Vec<diagnostics::Diagnostic> {
        self.link.diagnostics()
    }

    /// An integer attribute by its number; `None` if the driver does not know it.
    pub fn attribute(&self, number: i32) -> Option<usize> {
        let (mut value, mut length) = (0_usize, 0);
        let attribute = ConnectionAttribute(number);
        // SAFETY: an open connection, and a place for the longest integer.
        let result = unsafe {
            SQLGetConnectAttr(
                self.link.handle,
                attribute,
                (&raw mut value).cast(),
                IS_INTEGER,
                &mut length,
            )
        };
        matches!(result, SqlReturn::SUCCESS | SqlReturn::SUCCESS_WITH_INFO).then_some(value)
    }
}

impl Link {
    /// A new statement's handle, which the caller frees.
    pub(super) fn allocate_statement(&self) -> Result<HStmt, Error> {
        self.run(|connection| connection.allocate_statement().map(|statement| statement.into_sys()))
    }

    /// Makes one call of odbc-api's, and turns its failure into an error with the driver's diagnostics.
    fn run<T>(&self, call: impl FnOnce(&Connection<'static>) -> SqlResult<T>) -> Result<T, Error> {
        let Some(connection) = &self.connection else {
            return Err(Error::Internal("the connection is closed".to_owned()));
        };
        match call(connection) {
            SqlResult::Success(value) | SqlResult::SuccessWithInfo(value) => Ok(value),
            SqlResult::Error { function } => Err(Error::Call {
                function,
                diagnostics: self.diagnostics(),
            }),
            _ => Err(Error::Internal(
                "the driver gave an answer that the call does not have".to_owned(),
            )),
        }
    }

    pub(super) fn interrupt(&self) -> Interrupt {
        self.interrupt.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn quirks(&self) -> Quirks {
        self.quirks.get().copied().unwrap_or_default()
    }

    pub(super) fn cell_encoding(&self) -> Encoding {
        if self.quirks().narrow_cells {
            Encoding::Narrow
        } else {
            self.encoding
        }
    }

    fn diagnostics(&self) -> Vec<diagnostics::Diagnostic> {
        diagnostics::read(self.encoding, HandleType::Dbc, self.handle.as_handle())
    }

    fn check(&self, function: &'static str, result: SqlReturn) -> Result<(), Error> {
        match result {
            SqlReturn::SUCCESS | SqlReturn::SUCCESS_WITH_INFO => Ok(()),
            _ => Err(Error::Call {
                function,
                diagnostics: self.diagnostics(),
            }),
        }
    }
}

fn length_i16(units: usize) -> Result<i16, Error> {
    i16::try_from(units).map_err(|_| Error::ConnectionString(format!("it has {units} characters, 32767 are allowed")))
}
