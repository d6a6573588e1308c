//! libpq's functions, and safe handles over them; nothing here waits for the server.
//!
//! Knows the C library alone: no SQL, no tables, no codecs. Signatures and meanings: PostgreSQL's documentation, chapter
//! "libpq - C Library". Every function used is there since PostgreSQL 9.1.

#![allow(unsafe_code)]

use std::{
    ffi::{CStr, CString, c_char, c_int, c_void},
    mem::transmute,
    os::fd::BorrowedFd,
    path::Path,
    ptr::{self, NonNull},
    slice,
    sync::{Arc, Mutex, PoisonError},
};

use super::super::client_library::ClientLibrary;

/// The names under which the dynamic linker may have libpq.
const NAMES: [&CStr; 2] = [c"libpq.so.5", c"libpq.so"];

/// `PGconn`, `PGresult` and `PGcancel`, of which only addresses are known.
type Handle = *mut c_void;

/// `PQnoticeReceiver`.
type NoticeReceiver = unsafe extern "C" fn(*mut c_void, *const c_void);

/// `PQconninfoOption` of libpq-fe.h.
#[repr(C)]
struct ConnectionOption {
    keyword: *const c_char,
    environment: *const c_char,
    compiled: *const c_char,
    value: *const c_char,
    label: *const c_char,
    display: *const c_char,
    display_size: c_int,
}

/// The functions by their names in libpq-fe.h.
macro_rules! functions {
    ($($name:ident($($argument:ty),*) $(-> $result:ty)?;)*) => {
        #[allow(non_snake_case, reason = "the names that the library has")]
        struct Functions {
            $($name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl Functions {
            fn load(library: ClientLibrary) -> Result<Functions, String> {
                $(
                    let name = concat!(stringify!($name), "\0");
                    #[allow(non_snake_case, reason = "as above")]
                    let $name = library.symbol(CStr::from_bytes_with_nul(name.as_bytes()).unwrap_or_default());
                    if $name.is_null() {
                        return Err(format!("libpq has no `{}`", stringify!($name)));
                    }
                )*
                Ok(Functions {
                    $(
                        // SAFETY: the address is that of the function of this name, whose type libpq-fe.h says and the
                        // list below repeats; libpq's soname is 5 since all of them have these types.
                        $name: unsafe { transmute::<*mut c_void, unsafe extern "C" fn($($argument),*) $(-> $result)?>($name) },
                    )*
                })
            }
        }
    };
}

functions! {
    PQconnectStartParams(*const *const c_char, *const *const c_char, c_int) -> Handle;
    PQconnectPoll(Handle) -> c_int;
    PQconninfoParse(*const c_char, *mut *mut c_char) -> *mut ConnectionOption;
    PQconninfoFree(*mut ConnectionOption);
    PQfinish(Handle);
    PQstatus(Handle) -> c_int;
    PQsocket(Handle) -> c_int;
    PQserverVersion(Handle) -> c_int;
    PQparameterStatus(Handle, *const c_char) -> *const c_char;
    PQerrorMessage(Handle) -> *const c_char;
    PQsetnonblocking(Handle, c_int) -> c_int;
    PQsetNoticeReceiver(Handle, NoticeReceiver, *mut c_void) -> Option<NoticeReceiver>;
    PQsendQuery(Handle, *const c_char) -> c_int;
    PQsendPrepare(Handle, *const c_char, *const c_char, c_int, *const u32) -> c_int;
    PQsendDescribePrepared(Handle, *const c_char) -> c_int;
    PQflush(Handle) -> c_int;
    PQconsumeInput(Handle) -> c_int;
    PQisBusy(Handle) -> c_int;
    PQgetResult(Handle) -> Handle;
    PQgetCopyData(Handle, *mut *mut c_char, c_int) -> c_int;
    PQputCopyData(Handle, *const c_char, c_int) -> c_int;
    PQputCopyEnd(Handle, *const c_char) -> c_int;
    PQfreemem(*mut c_void);
    PQgetCancel(Handle) -> Handle;
    PQcancel(Handle, *mut c_char, c_int) -> c_int;
    PQfreeCancel(Handle);
    PQresultStatus(*const c_void) -> c_int;
    PQresultErrorField(*const c_void, c_int) -> *const c_char;
    PQresultErrorMessage(*const c_void) -> *const c_char;
    PQntuples(*const c_void) -> c_int;
    PQnfields(*const c_void) -> c_int;
    PQftype(*const c_void, c_int) -> u32;
    PQgetisnull(*const c_void, c_int, c_int) -> c_int;
    PQgetlength(*const c_void, c_int, c_int) -> c_int;
    PQgetvalue(*const c_void, c_int, c_int) -> *const c_char;
    PQcmdTuples(*const c_void) -> *const c_char;
    PQcmdStatus(*const c_void) -> *const c_char;
    PQclear(*mut c_void);
}

/// The library that psqlodbc links.
#[derive(Clone)]
pub(super) struct Libpq(Arc<Functions>);

impl Libpq {
    /// Finds the library through the driver's file.
    ///
    /// # Errors
    /// In words, why it cannot be had.
    pub(super) fn find(driver: &Path) -> Result<Libpq, String> {
        let library = ClientLibrary::find(driver, &NAMES, c"PQconnectStartParams")?;
        Functions::load(library).map(|functions| Libpq(Arc::new(functions)))
    }

    /// The parameters that a connection string of libpq's own holds, such as `options='-c work_mem=1MB'`.
    ///
    /// # Errors
    /// If it is malformed; libpq's words would repeat a part of it and are dropped.
    pub(super) fn parse_parameters(&self, text: &CStr) -> Result<Vec<(CString, CString)>, String> {
        let mut message = ptr::null_mut();
        // SAFETY: a terminated text, and a place for a message that is freed below.
        let options = unsafe { (self.0.PQconninfoParse)(text.as_ptr(), &mut message) };
        // SAFETY: null, or memory that PQconninfoParse has allocated.
        unsafe { (self.0.PQfreemem)(message.cast()) };
        if options.is_null() {
            return Err("it is no connection string of libpq's".to_owned());
        }
        let mut found = Vec::new();
        // SAFETY: an array that ends with a null keyword; keywords and values are terminated strings.
        unsafe {
            let mut option = options;
            while !(*option).keyword.is_null() {
                if !(*option).value.is_null() {
                    let keyword = CStr::from_ptr((*option).keyword).to_owned();
                    found.push((keyword, CStr::from_ptr((*option).value).to_owned()));
                }
                option = option.add(1);
            }
            (self.0.PQconninfoFree)(options);
        }
        Ok(found)
    }

    /// Begins to connect; [`Link::poll_connecting`] goes on. `None` if there is no memory for it.
    pub(super) fn start(&self, parameters: &[(CString, CString)]) -> Option<Link> {
        let terminated = |pick: fn(&(CString, CString)) -> *const c_char| -> Vec<*const c_char> {
            parameters.iter().map(pick).chain([ptr::null()]).collect()
        };
        let keywords = terminated(|(keyword, _)| keyword.as_ptr());
        let values = terminated(|(_, value)| value.as_ptr());
        // SAFETY: two arrays of the same length of terminated strings, each with a null at its end.
        let connection = unsafe { (self.0.PQconnectStartParams)(keywords.as_ptr(), values.as_ptr(), 0) };
        let link = Link {
            functions: self.0.clone(),
            connection: NonNull::new(connection)?,
            notices: Box::default(),
        };
        let notices: *const Notices = &raw const *link.notices;
        // SAFETY: the receiver gets the address of a box that the link owns and frees after the connection; it only
        // reads a result that libpq hands it.
        unsafe { (self.0.PQsetNoticeReceiver)(connection, receive_notice, notices.cast_mut().cast()) };
        link.notices.put(|received| received.functions = Some(self.0.clone()));
        Some(link)
    }
}

/// Where a connection attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connecting {
    /// The socket has to become readable.
    Reading,
    /// The socket has to become writable.
    Writing,
    /// Connected.
    Done,
    /// Failed; [`Link::error_message`] says why.
    Failed,
}

/// A notice of the server: severity, SQLSTATE, message.
#[derive(Clone, Debug)]
pub(super) struct Notice {
    /// Such as `NOTICE` or `WARNING`, perhaps in the server's language.
    pub(super) severity: String,
    /// Its SQLSTATE.
    pub(super) sqlstate: String,
    /// Its text, which may repeat cell values.
    pub(super) message: String,
}

/// Most notices that are kept between two looks; a trigger may send one a row.
const NOTICES_MAX: usize = 20;

#[derive(Default)]
struct Notices(Mutex<Received>);

#[derive(Default)]
struct Received {
    functions: Option<Arc<Functions>>,
    count: u64,
    kept: Vec<Notice>,
}

impl Notices {
    fn put<T>(&self, change: impl FnOnce(&mut Received) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

unsafe extern "C" fn receive_notice(notices: *mut c_void, result: *const c_void) {
    // SAFETY: the address that `Libpq::start` has registered, of a box that outlives the connection.
    let notices = unsafe { &*notices.cast::<Notices>().cast_const() };
    notices.put(|received| {
        received.count += 1;
        let Some(functions) = received
            .functions
            .as_ref()
            .filter(|_| received.kept.len() < NOTICES_MAX)
        else {
            return;
        };
        let notice = Notice {
            severity: functions.error_field(result, Field::Severity).unwrap_or_default(),
            sqlstate: functions.error_field(result, Field::Sqlstate).unwrap_or_default(),
            message: functions.error_field(result, Field::Message).unwrap_or_default(),
        };
        received.kept.push(notice);
    });
}

/// A connection; dropping it closes it without waiting for the server.
pub(super) struct Link {
    functions: Arc<Functions>,
    connection: NonNull<c_void>,
    notices: Box<Notices>,
}

// SAFETY: a PGconn may be used from any thread, by one at a time (libpq, "Behavior in Threaded Programs"); a `Link` has one
// owner and its methods that talk to the connection's state take `&mut self` or only read it.
unsafe impl Send for Link {}

impl Drop for Link {
    fn drop(&mut self) {
        // SAFETY: a connection that nobody uses after this. In its non-blocking mode the farewell is sent without waiting.
        unsafe { (self.functions.PQfinish)(self.connection.as_ptr()) };
    }
}

/// What [`Link::copy_row`] found.
pub(super) enum CopyRow {
    /// A whole row.
    Row(RowBytes),
    /// No whole row has arrived.
    Wait,
    /// There are no more; the command's result follows.
    End,
    /// The connection is at fault; see [`Link::error_message`].
    Failed,
}

/// What became of data that was handed to libpq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// Taken.
    Taken,
    /// Not taken: what is queued has to be sent first.
    Full,
    /// The connection is at fault; see [`Link::error_message`].
    Failed,
}

impl Link {
    fn raw(&self) -> Handle {
        self.connection.as_ptr()
    }

    /// Goes on with a connection attempt as far as it gets without waiting.
    pub(super) fn poll_connecting(&mut self) -> Connecting {
        // SAFETY: a live connection that was begun with PQconnectStartParams.
        match unsafe { (self.functions.PQconnectPoll)(self.raw()) } {
            1 => Connecting::Reading,
            2 => Connecting::Writing,
            3 => Connecting::Done,
            _ => Connecting::Failed,
        }
    }

    /// Whether the connection was lost, or never made.
    pub(super) fn is_broken(&self) -> bool {
        const CONNECTION_BAD: c_int = 1;
        // SAFETY: a live connection.
        unsafe { (self.functions.PQstatus)(self.raw()) == CONNECTION_BAD }
    }

    /// The socket, to wait for; it may be another one while connecting.
    pub(super) fn socket(&self) -> Option<BorrowedFd<'_>> {
        // SAFETY: a live connection.
        let descriptor = unsafe { (self.functions.PQsocket)(self.raw()) };
        // SAFETY: the connection's own open descriptor; what is returned borrows from the link, and only `&mut self` calls
        // close it.
        (descriptor >= 0).then(|| unsafe { BorrowedFd::borrow_raw(descriptor) })
    }

    /// What libpq last said of the connection, in one line.
    pub(super) fn error_message(&self) -> String {
        // SAFETY: a live connection; the text is copied before anything else happens to it.
        let text = unsafe { text((self.functions.PQerrorMessage)(self.raw())) };
        one_line(&text.unwrap_or_default())
    }

    /// The server's version, such as 150018 for 15.18.
    pub(super) fn server_version(&self) -> i32 {
        // SAFETY: a live connection.
        unsafe { (self.functions.PQserverVersion)(self.raw()) }
    }

    /// A setting that the server reports by itself, such as `server_encoding`.
    pub(super) fn parameter(&self, name: &CStr) -> Option<String> {
        // SAFETY: a live connection and a terminated name; the text is copied.
        unsafe { text((self.functions.PQparameterStatus)(self.raw(), name.as_ptr())) }
    }

    /// From now on nothing waits for the socket.
    pub(super) fn set_nonblocking(&mut self) -> bool {
        // SAFETY: a live connection.
        unsafe { (self.functions.PQsetnonblocking)(self.raw(), 1) == 0 }
    }

    /// Hands over SQL text, perhaps of several statements; false if libpq does not take it.
    pub(super) fn send_query(&mut self, sql: &CStr) -> bool {
        // SAFETY: a live connection and a terminated text.
        unsafe { (self.functions.PQsendQuery)(self.raw(), sql.as_ptr()) == 1 }
    }

    /// Asks to prepare the nameless statement.
    pub(super) fn send_prepare(&mut self, sql: &CStr) -> bool {
        // SAFETY: a live connection, terminated texts, no parameter types.
        unsafe { (self.functions.PQsendPrepare)(self.raw(), c"".as_ptr(), sql.as_ptr(), 0, ptr::null()) == 1 }
    }

    /// Asks for the columns of the nameless statement.
    pub(super) fn send_describe(&mut self) -> bool {
        // SAFETY: a live connection and a terminated text.
        unsafe { (self.functions.PQsendDescribePrepared)(self.raw(), c"".as_ptr()) == 1 }
    }

    /// Sends what is queued as far as the socket takes it; `Full` if something is left.
    pub(super) fn flush(&mut self) -> Put {
        // SAFETY: a live connection.
        match unsafe { (self.functions.PQflush)(self.raw()) } {
            0 => Put::Taken,
            1 => Put::Full,
            _ => Put::Failed,
        }
    }

    /// Takes over what the socket has; false if the connection is lost.
    pub(super) fn consume(&mut self) -> bool {
        // SAFETY: a live connection.
        unsafe { (self.functions.PQconsumeInput)(self.raw()) == 1 }
    }

    /// Whether [`Self::result`] would have to wait.
    pub(super) fn is_busy(&mut self) -> bool {
        // SAFETY: a live connection.
        unsafe { (self.functions.PQisBusy)(self.raw()) == 1 }
    }

    /// The next result of what was sent, `None` at the end. Only after [`Self::is_busy`] has said no.
    pub(super) fn result(&mut self) -> Option<Answer> {
        // SAFETY: a live connection; the result is owned by what is returned.
        let result = NonNull::new(unsafe { (self.functions.PQgetResult)(self.raw()) })?;
        Some(Answer {
            functions: self.functions.clone(),
            result,
        })
    }

    /// The next row of a COPY TO STDOUT, if a whole one has arrived.
    pub(super) fn copy_row(&mut self) -> CopyRow {
        let mut buffer = ptr::null_mut();
        // SAFETY: a live connection, and a place for the address of a buffer that is owned by what is returned.
        let length = unsafe { (self.functions.PQgetCopyData)(self.raw(), &mut buffer, 1) };
        match (length, NonNull::new(buffer)) {
            (1.., Some(start)) => CopyRow::Row(RowBytes {
                free: self.functions.PQfreemem,
                start: start.cast(),
                length: length as usize,
            }),
            (0, _) => CopyRow::Wait,
            (-1, _) => CopyRow::End,
            _ => CopyRow::Failed,
        }
    }

    /// Queues data of a COPY FROM STDIN; rows may begin and end anywhere in it. At most 1 GiB at once.
    pub(super) fn put_copy_data(&mut self, data: &[u8]) -> Put {
        let Ok(length) = c_int::try_from(data.len()) else {
            return Put::Failed;
        };
        // SAFETY: a live connection, and as many bytes as the length says, which are copied.
        match unsafe { (self.functions.PQputCopyData)(self.raw(), data.as_ptr().cast(), length) } {
            1 => Put::Taken,
            0 => Put::Full,
            _ => Put::Failed,
        }
    }

    /// Queues the end of a COPY FROM STDIN; with a reason, its failure.
    pub(super) fn put_copy_end(&mut self, reason: Option<&CStr>) -> Put {
        let reason = reason.map_or(ptr::null(), CStr::as_ptr);
        // SAFETY: a live connection, and null or a terminated text.
        match unsafe { (self.functions.PQputCopyEnd)(self.raw(), reason) } {
            1 => Put::Taken,
            0 => Put::Full,
            _ => Put::Failed,
        }
    }

    /// What stops the running statement from another thread; `None` if the connection is lost.
    pub(super) fn cancel_handle(&self) -> Option<Arc<CancelHandle>> {
        // SAFETY: a live connection; the handle is owned by what is returned.
        let handle = NonNull::new(unsafe { (self.functions.PQgetCancel)(self.raw()) })?;
        let functions = self.functions.clone();
        Some(Arc::new(CancelHandle { functions, handle }))
    }

    /// How many notices have come in all.
    pub(super) fn notices_seen(&self) -> u64 {
        self.notices.put(|received| received.count)
    }

    /// The notices since the last call, the first twenty of them.
    pub(super) fn take_notices(&self) -> Vec<Notice> {
        self.notices.put(|received| std::mem::take(&mut received.kept))
    }
}

/// One row of a COPY TO STDOUT, in libpq's memory.
pub(super) struct RowBytes {
    free: unsafe extern "C" fn(*mut c_void),
    start: NonNull<u8>,
    length: usize,
}

impl RowBytes {
    /// The bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: libpq's buffer of this length, which this value owns.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl Drop for RowBytes {
    fn drop(&mut self) {
        // SAFETY: a buffer of PQgetCopyData's, freed once.
        unsafe { (self.free)(self.start.as_ptr().cast()) };
    }
}

/// Stops a connection's running statement.
pub(super) struct CancelHandle {
    functions: Arc<Functions>,
    handle: NonNull<c_void>,
}

// SAFETY: PQcancel is safe to call from any thread, also while another uses the connection (libpq, "Canceling Queries in
// Progress"); the handle is only read.
unsafe impl Send for CancelHandle {}
// SAFETY: as above.
unsafe impl Sync for CancelHandle {}

impl CancelHandle {
    /// Asks the server to stop the statement; waits for the network.
    pub(super) fn cancel(&self) {
        let mut message: [c_char; 256] = [0; 256];
        // SAFETY: a live handle, and a buffer as long as its length says. Whether the server got it shows in the statement.
        let _ = unsafe { (self.functions.PQcancel)(self.handle.as_ptr(), message.as_mut_ptr(), 256) };
    }
}

impl Drop for CancelHandle {
    fn drop(&mut self) {
        // SAFETY: a handle of PQgetCancel's, freed once.
        unsafe { (self.functions.PQfreeCancel)(self.handle.as_ptr()) };
    }
}

/// What kind of answer came, from `ExecStatusType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// Done, without rows.
    Done,
    /// Done, with rows.
    Rows,
    /// Rows of a COPY TO follow.
    CopyOut,
    /// Rows of a COPY FROM are expected.
    CopyIn,
    /// The server, or libpq, said no.
    Failed,
}

/// A field of an error, by its letter in postgres_ext.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// ERROR, FATAL, NOTICE and so on.
    Severity = b'S' as isize,
    /// Five letters.
    Sqlstate = b'C' as isize,
    /// The primary message.
    Message = b'M' as isize,
    /// Where it happened, such as the line of a COPY.
    Context = b'W' as isize,
    /// The column that a constraint is about.
    Column = b'c' as isize,
}

impl Functions {
    fn error_field(&self, result: *const c_void, field: Field) -> Option<String> {
        // SAFETY: a live result; the text is copied.
        unsafe { text((self.PQresultErrorField)(result, field as c_int)) }
    }
}

/// What the server answered to one statement.
pub(super) struct Answer {
    functions: Arc<Functions>,
    result: NonNull<c_void>,
}

// SAFETY: a PGresult is read-only after its creation and may be used from any thread.
unsafe impl Send for Answer {}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: a result of PQgetResult's, freed once.
        unsafe { (self.functions.PQclear)(self.result.as_ptr()) };
    }
}

impl Answer {
    fn raw(&self) -> *const c_void {
        self.result.as_ptr()
    }

    /// Which kind it is.
    pub(super) fn status(&self) -> Status {
        // SAFETY: a live result.
        match unsafe { (self.functions.PQresultStatus)(self.raw()) } {
            // PGRES_EMPTY_QUERY, PGRES_COMMAND_OK
            0 | 1 => Status::Done,
            2 => Status::Rows,
            3 => Status::CopyOut,
            4 => Status::CopyIn,
            _ => Status::Failed,
        }
    }

    /// A field of an error; `None` where libpq itself speaks.
    pub(super) fn field(&self, field: Field) -> Option<String> {
        self.functions.error_field(self.raw(), field)
    }

    /// The whole message, in one line.
    pub(super) fn message(&self) -> String {
        // SAFETY: a live result; the text is copied.
        let text = unsafe { text((self.functions.PQresultErrorMessage)(self.raw())) };
        one_line(&text.unwrap_or_default())
    }

    /// The rows as text; only of statements whose result is text.
    pub(super) fn rows(&self) -> Vec<Vec<Option<String>>> {
        // SAFETY: a live result; positions are below the counts that it tells itself, and a value has as many bytes as its
        // length says.
        unsafe {
            let (rows, columns) = (
                (self.functions.PQntuples)(self.raw()),
                (self.functions.PQnfields)(self.raw()),
            );
            let cell = |row, column| {
                if (self.functions.PQgetisnull)(self.raw(), row, column) == 1 {
                    return None;
                }
                let start = (self.functions.PQgetvalue)(self.raw(), row, column);
                let length = (self.functions.PQgetlength)(self.raw(), row, column);
                let bytes = slice::from_raw_parts(start.cast(), usize::try_from(length).unwrap_or_default());
                Some(String::from_utf8_lossy(bytes).into_owned())
            };
            (0..rows)
                .map(|row| (0..columns).map(|column| cell(row, column)).collect())
                .collect()
        }
    }

    /// The columns' types, by their oids in pg_type; a domain's is that of its base type.
    pub(super) fn column_types(&self) -> Vec<u32> {
        // SAFETY: a live result; positions are below the count that it tells itself.
        unsafe {
            let columns = (self.functions.PQnfields)(self.raw());
            (0..columns)
                .map(|column| (self.functions.PQftype)(self.raw(), column))
                .collect()
        }
    }

    /// How many rows the statement has changed, if it says so.
    pub(super) fn changed_rows(&self) -> Option<i64> {
        // SAFETY: a live result; the text is copied.
        unsafe { text((self.functions.PQcmdTuples)(self.raw())) }?.parse().ok()
    }

    /// The command's tag, such as `COMMIT`.
    pub(super) fn tag(&self) -> String {
        // SAFETY: a live result; the text is copied.
        unsafe { text((self.functions.PQcmdStatus)(self.raw())) }.unwrap_or_default()
    }
}

/// A copy of a C string; `None` for null.
///
/// # Safety
/// `start` is null, or a terminated string that lives until this returns.
unsafe fn text(start: *const c_char) -> Option<String> {
    // SAFETY: as the caller says.
    (!start.is_null()).then(|| unsafe { CStr::from_ptr(start) }.to_string_lossy().into_owned())
}

/// libpq ends its messages with a line feed, and puts several into one.
fn one_line(text: &str) -> String {
    text.lines()
        .map(str::trim)
        .collect::<Vec<_>>()
        .join(" ")
        .trim()
        .to_owned()
}
