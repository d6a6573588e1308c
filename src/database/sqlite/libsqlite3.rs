//! libsqlite3: a connection to a file, and the two kinds of statements that the direct lanes run on it.
//!
//! Owns what is unsafe about them: handles, the lifetimes of what is bound and read, stopping from another thread. Knows
//! nothing of tables, columns or batches. Sources of what is said of SQLite here: <https://sqlite.org/c3ref/intro.html>.

#![allow(unsafe_code)]

use std::{
    ffi::{CStr, CString, c_char, c_int, c_void},
    marker::PhantomData,
    path::Path,
    ptr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::super::{Error, client_library::ClientLibrary};
use crate::odbc::{Diagnostic, Interrupt, OnRaise};

/// Result codes, <https://sqlite.org/rescode.html>.
mod code {
    use std::ffi::c_int;

    pub const OK: c_int = 0;
    pub const BUSY: c_int = 5;
    pub const INTERRUPT: c_int = 9;
    pub const ROW: c_int = 100;
    pub const DONE: c_int = 101;
    /// Those where it matters which file they are about: PERM, BUSY, LOCKED, READONLY, IOERR, CORRUPT, FULL, CANTOPEN,
    /// NOTADB.
    pub const OF_THE_FILE: [c_int; 9] = [3, 5, 6, 8, 10, 11, 13, 14, 26];
    /// An extended code has its primary code in the lowest byte.
    pub const PRIMARY: c_int = 0xff;
}

/// Flags of `sqlite3_open_v2`.
mod open {
    use std::ffi::c_int;

    pub const READWRITE: c_int = 0x2;
    /// One thread at a time uses the connection, so that none of its calls takes a lock.
    pub const NOMUTEX: c_int = 0x8000;
}

type Callback = unsafe extern "C" fn(*mut c_void, c_int) -> c_int;

macro_rules! functions {
    ($($name:ident: ($($argument:ty),*) -> $result:ty;)*) => {
        /// The functions that are used, all of them in SQLite since 3.5 (2007).
        #[derive(Clone, Copy)]
        struct Functions {
            $($name: unsafe extern "C" fn($($argument),*) -> $result,)*
        }

        impl Functions {
            fn load(library: ClientLibrary) -> Result<Functions, String> {
                Ok(Functions {
                    $($name: {
                        let name = concat!("sqlite3_", stringify!($name), "\0");
                        let symbol = CStr::from_bytes_with_nul(name.as_bytes())
                            .map_or(ptr::null_mut(), |name| library.symbol(name));
                        if symbol.is_null() {
                            return Err(format!("libsqlite3 has no `sqlite3_{}`", stringify!($name)));
                        }
                        // SAFETY: the function of this name has this type since it exists; see sqlite3.h.
                        unsafe {
                            std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($argument),*) -> $result>(symbol)
                        }
                    },)*
                })
            }
        }
    };
}

functions! {
    threadsafe: () -> c_int;
    open_v2: (*const c_char, *mut *mut c_void, c_int, *const c_char) -> c_int;
    close: (*mut c_void) -> c_int;
    errmsg: (*mut c_void) -> *const c_char;
    extended_errcode: (*mut c_void) -> c_int;
    busy_handler: (*mut c_void, Option<Callback>, *mut c_void) -> c_int;
    interrupt: (*mut c_void) -> ();
    get_autocommit: (*mut c_void) -> c_int;
    changes: (*mut c_void) -> c_int;
    total_changes: (*mut c_void) -> c_int;
    prepare_v2: (*mut c_void, *const c_char, c_int, *mut *mut c_void, *mut *const c_char) -> c_int;
    step: (*mut c_void) -> c_int;
    reset: (*mut c_void) -> c_int;
    finalize: (*mut c_void) -> c_int;
    bind_parameter_count: (*mut c_void) -> c_int;
    bind_null: (*mut c_void, c_int) -> c_int;
    bind_int64: (*mut c_void, c_int, i64) -> c_int;
    bind_double: (*mut c_void, c_int, f64) -> c_int;
    bind_text: (*mut c_void, c_int, *const c_char, c_int, *const c_void) -> c_int;
    bind_blob: (*mut c_void, c_int, *const c_void, c_int, *const c_void) -> c_int;
    column_count: (*mut c_void) -> c_int;
    column_type: (*mut c_void, c_int) -> c_int;
    column_int64: (*mut c_void, c_int) -> i64;
    column_double: (*mut c_void, c_int) -> f64;
    column_blob: (*mut c_void, c_int) -> *const c_void;
    column_bytes: (*mut c_void, c_int) -> c_int;
}

/// The library that the ODBC driver uses.
#[derive(Clone, Copy)]
pub(super) struct Library {
    functions: Functions,
}

impl Library {
    /// The copy of libsqlite3 that the driver in this file is linked to. Another one would not do: closing a file drops
    /// all locks that its process has on it, and two copies do not know of each other's (SQLite documentation, "How To
    /// Corrupt An SQLite Database File", section 2.2.1).
    ///
    /// # Errors
    /// In words, why there is none.
    pub(super) fn of_driver(driver: &Path) -> Result<Library, String> {
        let library = ClientLibrary::find(driver, &[], c"sqlite3_prepare_v2").map_err(|_| {
            "the driver shows no libsqlite3 that it is linked to, and a second copy in one process breaks file locks"
                .to_owned()
        })?;
        let functions = Functions::load(library)?;
        // SAFETY: no arguments.
        match unsafe { (functions.threadsafe)() } {
            0 => Err("libsqlite3 was built for programs of one thread".to_owned()),
            _ => Ok(Library { functions }),
        }
    }
}

/// How a connection is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OpenOptions {
    /// The file.
    pub path: String,
    /// How long another connection's lock is waited for.
    pub busy_limit: Duration,
}

/// A connection to a database file. It may be moved between threads, and is used by one at a time.
pub(super) struct Database {
    link: Arc<Link>,
    /// Taken away by [`Database::shield`].
    on_raise: Option<OnRaise>,
}

/// The connection itself, which its statements keep open.
struct Link {
    functions: Functions,
    handle: *mut c_void,
    options: OpenOptions,
    wait: Box<Wait>,
    stop: Arc<Mutex<Stop>>,
}

// SAFETY: a connection without a mutex may be used by any thread as long as it is one at a time (SQLite documentation,
// "Using SQLite In Multi-Threaded Applications"). `Database`, `Rows` and `Insert` are made and moved together inside one
// reader or writer, and give out no reference to be used elsewhere; what `Stop` does is allowed to every thread.
unsafe impl Send for Link {}
// SAFETY: as above; the `Arc` is there for the lifetime and not for sharing between threads.
unsafe impl Sync for Link {}

/// The connection as an interrupt sees it; null once it is closed.
struct Stop(*mut c_void);

// SAFETY: used for `sqlite3_interrupt` alone, which every thread may call as long as the connection is open, and it is
// closed under the lock that guards this.
unsafe impl Send for Stop {}

/// What the busy handler knows.
struct Wait {
    /// Taken away by [`Database::shield`].
    interrupt: Mutex<Option<Interrupt>>,
    limit: Duration,
    since: Mutex<Instant>,
}

impl Wait {
    fn is_stopped(&self) -> bool {
        let interrupt = self.interrupt.lock().unwrap_or_else(PoisonError::into_inner);
        interrupt.as_ref().is_some_and(Interrupt::is_raised)
    }
}

/// Called while another connection holds the lock that is wanted: 0 gives up. SQLite's own timeout would not see that the
/// work is to stop.
unsafe extern "C" fn wait_for_lock(wait: *mut c_void, count: c_int) -> c_int {
    // SAFETY: the `Wait` of a connection that is open, since it calls this.
    let wait = unsafe { &*wait.cast::<Wait>() };
    let mut since = wait.since.lock().unwrap_or_else(PoisonError::into_inner);
    if count == 0 {
        *since = Instant::now();
    }
    if wait.is_stopped() || since.elapsed() >= wait.limit {
        return 0;
    }
    drop(since);
    // A lock is often held for a moment only.
    thread::sleep(Duration::from_millis(if count < 5 { 1 } else { 10 }));
    1
}

impl Drop for Link {
    fn drop(&mut self) {
        let mut stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        stop.0 = ptr::null_mut();
        // Closing may take long, with a write-ahead log to work in, and whoever raises the interrupt must not wait for it.
        drop(stop);
        // SAFETY: an open connection; its statements are finalized, for each holds this link. An open transaction is
        // rolled back.
        unsafe { (self.functions.close)(self.handle) };
    }
}

impl Link {
    fn check(&self, function: &'static str, result: c_int) -> Result<(), Error> {
        match result {
            code::OK => Ok(()),
            _ => Err(self.error(function, result)),
        }
    }

    /// What SQLite says of a call that has just failed.
    fn error(&self, function: &'static str, result: c_int) -> Error {
        let primary = result & code::PRIMARY;
        if self.wait.is_stopped() && matches!(primary, code::BUSY | code::INTERRUPT) {
            return Error::cancelled();
        }
        // SAFETY: an open connection; the message is terminated and lives until the next call.
        let (message, extended) = unsafe {
            let message = CStr::from_ptr((self.functions.errmsg)(self.handle));
            (
                message.to_string_lossy().into_owned(),
                (self.functions.extended_errcode)(self.handle),
            )
        };
        let waited = match primary {
            code::BUSY => format!(
                "; another connection held it for {:.1} s",
                self.options.busy_limit.as_secs_f64()
            ),
            _ => String::new(),
        };
        let file = match code::OF_THE_FILE.contains(&primary) {
            true => format!(", file `{}`", self.options.path),
            false => String::new(),
        };
        Error::Client {
            function,
            diagnostic: Diagnostic {
                sqlstate: "HY000".to_owned(),
                native: if extended & code::PRIMARY == primary {
                    extended
                } else {
                    result
                },
                message: format!("{message}{waited}{file}"),
            },
        }
    }
}

impl Database {
    /// Opens a file that is there, for reading and, where its permissions allow it, for writing. Everything that is done
    /// on it can be stopped by the interrupt.
    ///
    /// # Errors
    /// [`Error::Client`] with SQLite's own words.
    pub(super) fn open(library: Library, options: &OpenOptions, interrupt: &Interrupt) -> Result<Database, Error> {
        let functions = library.functions;
        let path = CString::new(options.path.as_str())
            .map_err(|_| Error::Unsupported("the name of the database's file holds U+0000".to_owned()))?;
        let mut handle = ptr::null_mut();
        // SAFETY: a terminated name and a place for the handle; the default VFS.
        let result =
            unsafe { (functions.open_v2)(path.as_ptr(), &mut handle, open::READWRITE | open::NOMUTEX, ptr::null()) };
        if handle.is_null() {
            return Err(Error::Unsupported(
                "libsqlite3 has no memory for a connection".to_owned(),
            ));
        }
        let wait = Box::new(Wait {
            interrupt: Mutex::new(None),
            limit: options.busy_limit,
            since: Mutex::new(Instant::now()),
        });
        let link = Link {
            functions,
            handle,
            options: options.clone(),
            wait,
            stop: Arc::new(Mutex::new(Stop(handle))),
        };
        // Also a connection that could not be opened has a handle, which says why and is closed.
        link.check("sqlite3_open_v2", result)?;
        let wait = ptr::from_ref::<Wait>(&link.wait).cast_mut().cast();
        // SAFETY: an open connection; what the handler gets lives in a box of the link, which closes the connection first.
        unsafe { (functions.busy_handler)(handle, Some(wait_for_lock), wait) };
        let mut database = Database {
            link: Arc::new(link),
            on_raise: None,
        };
        database.set_interrupt(interrupt);
        Ok(database)
    }

    /// From now on everything is stopped by this interrupt alone.
    pub(super) fn set_interrupt(&mut self, interrupt: &Interrupt) {
        self.shield();
        *self.waits_for() = Some(interrupt.clone());
        let (functions, stop) = (self.link.functions, self.link.stop.clone());
        self.on_raise = Some(interrupt.on_raise(move || {
            let stop = stop.lock().unwrap_or_else(PoisonError::into_inner);
            if !stop.0.is_null() {
                // SAFETY: open, and not closed while the lock is held.
                unsafe { (functions.interrupt)(stop.0) };
            }
        }));
    }

    /// From now on nothing is stopped by an interrupt any more.
    pub(super) fn shield(&mut self) {
        self.on_raise = None;
        *self.waits_for() = None;
    }

    fn waits_for(&self) -> MutexGuard<'_, Option<Interrupt>> {
        self.link.wait.interrupt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a transaction is open. Some errors end one, such as a disk that is full.
    pub(super) fn in_transaction(&self) -> bool {
        // SAFETY: an open connection.
        unsafe { (self.link.functions.get_autocommit)(self.link.handle) == 0 }
    }

    /// Runs a statement, and returns how many rows it and its triggers have changed.
    pub(super) fn execute(&self, sql: &str) -> Result<i64, Error> {
        // SAFETY: an open connection.
        let changes = || unsafe { (self.link.functions.total_changes)(self.link.handle) };
        let before = changes();
        let mut rows = self.select(sql)?;
        while rows.step()? {}
        Ok(i64::from(changes().wrapping_sub(before)))
    }

    /// The rows of a query as text; real numbers with as many digits as it takes to read them back.
    pub(super) fn text_rows(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
        let mut rows = self.select(sql)?;
        let mut all = Vec::new();
        while rows.step()? {
            let cell = |column: usize| match rows.class(column) {
                Class::Null => None,
                Class::Integer => Some(rows.integer(column).to_string()),
                Class::Real => Some(rows.real(column).to_string()),
                Class::Text | Class::Blob => Some(String::from_utf8_lossy(rows.bytes(column)).into_owned()),
            };
            all.push((0..rows.columns()).map(cell).collect());
        }
        Ok(all)
    }

    /// The first cell of a query's result as text.
    pub(super) fn one_text(&self, sql: &str) -> Result<Option<String>, Error> {
        Ok(self.text_rows(sql)?.into_iter().flatten().next().flatten())
    }

    /// Prepares a statement without parameters.
    pub(super) fn select(&self, sql: &str) -> Result<Rows, Error> {
        let prepared = self.prepare(sql)?;
        match prepared.parameters() {
            0 => Ok(Rows { prepared }),
            _ => Err(Error::Unsupported(
                "the statement has parameters, which nothing is given for".to_owned(),
            )),
        }
    }

    /// Prepares a statement with parameters, to be run once a row.
    pub(super) fn insert(&self, sql: &str) -> Result<Insert, Error> {
        let prepared = self.prepare(sql)?;
        Ok(Insert { prepared })
    }

    fn prepare(&self, sql: &str) -> Result<Prepared, Error> {
        let length = c_int::try_from(sql.len())
            .map_err(|_| Error::Unsupported("the statement has more than 2147483647 bytes".to_owned()))?;
        let mut handle = ptr::null_mut();
        // SAFETY: the text is as long as its length says.
        let result = unsafe {
            (self.link.functions.prepare_v2)(
                self.link.handle,
                sql.as_ptr().cast(),
                length,
                &mut handle,
                ptr::null_mut(),
            )
        };
        self.link.check("sqlite3_prepare_v2", result)?;
        if handle.is_null() {
            return Err(Error::Unsupported("the statement is empty".to_owned()));
        }
        Ok(Prepared {
            link: self.link.clone(),
            handle,
        })
    }
}

struct Prepared {
    link: Arc<Link>,
    handle: *mut c_void,
}

// SAFETY: goes where its connection goes, see `Link`.
unsafe impl Send for Prepared {}

impl Drop for Prepared {
    fn drop(&mut self) {
        // SAFETY: a live statement of a connection that is open.
        unsafe { (self.link.functions.finalize)(self.handle) };
    }
}

impl Prepared {
    fn parameters(&self) -> c_int {
        // SAFETY: a live statement.
        unsafe { (self.link.functions.bind_parameter_count)(self.handle) }
    }

    fn step(&mut self) -> Result<bool, Error> {
        // SAFETY: a live statement.
        match unsafe { (self.link.functions.step)(self.handle) } {
            code::ROW => Ok(true),
            code::DONE => Ok(false),
            result => {
                let error = self.link.error("sqlite3_step", result);
                self.reset();
                Err(error)
            }
        }
    }

    fn reset(&mut self) {
        // SAFETY: a live statement. The result is that of the last step, which was looked at.
        unsafe { (self.link.functions.reset)(self.handle) };
    }
}

/// Which of the five classes a value has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// `INTEGER`.
    Integer,
    /// `REAL`.
    Real,
    /// `TEXT`.
    Text,
    /// `BLOB`.
    Blob,
    /// `NULL`.
    Null,
}

/// A statement whose rows are stepped through.
pub(super) struct Rows {
    prepared: Prepared,
}

impl Rows {
    /// Goes to the next row; false at the end.
    pub(super) fn step(&mut self) -> Result<bool, Error> {
        self.prepared.step()
    }

    /// How many columns there are.
    pub(super) fn columns(&self) -> usize {
        // SAFETY: a live statement.
        let columns = unsafe { (self.prepared.link.functions.column_count)(self.prepared.handle) };
        usize::try_from(columns).unwrap_or(0)
    }

    /// The class of the current row's value; columns count from 0. A column that is not there is NULL.
    #[inline]
    pub(super) fn class(&self, column: usize) -> Class {
        // SAFETY: a live statement; SQLite looks whether it has a row and this column.
        match unsafe { (self.prepared.link.functions.column_type)(self.prepared.handle, column as c_int) } {
            1 => Class::Integer,
            2 => Class::Real,
            3 => Class::Text,
            4 => Class::Blob,
            _ => Class::Null,
        }
    }

    /// The value of a column whose class is integer.
    #[inline]
    pub(super) fn integer(&self, column: usize) -> i64 {
        // SAFETY: as above.
        unsafe { (self.prepared.link.functions.column_int64)(self.prepared.handle, column as c_int) }
    }

    /// The value of a column whose class is real.
    #[inline]
    pub(super) fn real(&self, column: usize) -> f64 {
        // SAFETY: as above.
        unsafe { (self.prepared.link.functions.column_double)(self.prepared.handle, column as c_int) }
    }

    /// The bytes of a column whose class is text or blob: those in the file, of text in the database's encoding, whether
    /// it is valid or not.
    #[inline]
    pub(super) fn bytes(&self, column: usize) -> &[u8] {
        let functions = &self.prepared.link.functions;
        // SAFETY: as above. As a blob, and before its length is asked for: text would be copied to put a terminator
        // behind it.
        let (start, length) = unsafe {
            let start = (functions.column_blob)(self.prepared.handle, column as c_int);
            (start, (functions.column_bytes)(self.prepared.handle, column as c_int))
        };
        match usize::try_from(length) {
            // SAFETY: SQLite keeps the bytes as they are until the statement's next step, or another conversion of the
            // same value, which `&self` leaves no way to.
            Ok(length) if length > 0 && !start.is_null() => unsafe { std::slice::from_raw_parts(start.cast(), length) },
            _ => &[],
        }
    }
}

/// A statement that is run once a row with other values for its parameters.
pub(super) struct Insert {
    prepared: Prepared,
}

/// The values of one run, given in the order of the parameters; text and bytes live as long as `'values`.
pub(super) struct Binding<'statement, 'values> {
    prepared: &'statement Prepared,
    given: c_int,
    failed: c_int,
    values: PhantomData<&'values [u8]>,
}

impl Insert {
    /// Runs the statement with the values that `bind` gives: one for each parameter.
    ///
    /// # Errors
    /// Those of `bind`, and SQLite's.
    pub(super) fn run<'values, E: From<Error>>(
        &mut self,
        bind: impl FnOnce(&mut Binding<'_, 'values>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut binding = Binding {
            prepared: &self.prepared,
            given: 0,
            failed: code::OK,
            values: PhantomData,
        };
        bind(&mut binding)?;
        let (given, failed) = (binding.given, binding.failed);
        self.prepared.link.check("sqlite3_bind", failed)?;
        // Each parameter has its value of this run: one of an earlier run may be gone.
        if given != self.prepared.parameters() {
            let message = format!("{given} values came for {} parameters", self.prepared.parameters());
            return Err(Error::Unsupported(message).into());
        }
        while self.prepared.step()? {}
        self.prepared.reset();
        Ok(())
    }

    /// How many rows the last run has changed, without what triggers did.
    pub(super) fn changed_rows(&self) -> u64 {
        let link = &self.prepared.link;
        // SAFETY: an open connection.
        u64::try_from(unsafe { (link.functions.changes)(link.handle) }).unwrap_or(0)
    }
}

/// What is bound stays as it is until the statement has run, so that SQLite need not copy it (`SQLITE_STATIC`).
const STATIC: *const c_void = ptr::null();

impl<'values> Binding<'_, 'values> {
    #[inline]
    fn next(&mut self, bind: impl FnOnce(&Functions, *mut c_void, c_int) -> c_int) {
        self.given += 1;
        let result = bind(&self.prepared.link.functions, self.prepared.handle, self.given);
        if result != code::OK {
            self.failed = result;
        }
    }

    /// NULL.
    #[inline]
    pub(super) fn null(&mut self) {
        // SAFETY: a live statement that is not running; SQLite looks whether it has this parameter. So below.
        self.next(|functions, statement, index| unsafe { (functions.bind_null)(statement, index) });
    }

    /// An integer.
    #[inline]
    pub(super) fn integer(&mut self, value: i64) {
        // SAFETY: as above.
        self.next(|functions, statement, index| unsafe { (functions.bind_int64)(statement, index, value) });
    }

    /// A real number; NaN would be stored as NULL.
    #[inline]
    pub(super) fn real(&mut self, value: f64) {
        // SAFETY: as above.
        self.next(|functions, statement, index| unsafe { (functions.bind_double)(statement, index, value) });
    }

    /// Text in the database's encoding.
    #[inline]
    pub(super) fn text(&mut self, value: &'values [u8]) {
        self.next(|functions, statement, index| match c_int::try_from(value.len()) {
            // SAFETY: as above; the text outlives the run, after which SQLite does not look at it.
            Ok(length) => unsafe { (functions.bind_text)(statement, index, value.as_ptr().cast(), length, STATIC) },
            Err(_) => TOO_BIG,
        });
    }

    /// Bytes.
    #[inline]
    pub(super) fn blob(&mut self, value: &'values [u8]) {
        self.next(|functions, statement, index| match c_int::try_from(value.len()) {
            // SAFETY: as above. The pointer of an empty slice is not null, which would be NULL.
            Ok(length) => unsafe { (functions.bind_blob)(statement, index, value.as_ptr().cast(), length, STATIC) },
            Err(_) => TOO_BIG,
        });
    }
}

/// `SQLITE_TOOBIG`.
const TOO_BIG: c_int = 18;

#[cfg(test)]
#[path = "libsqlite3_tests.rs"]
mod tests;
