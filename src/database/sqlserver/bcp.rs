//! The functions of bulk copy that Microsoft's ODBC driver exports beside those of ODBC, and a safe handle over them.
//!
//! Knows the C library alone: no tables' types, no SQL. Signatures and numbers: `msodbcsql.h` and Microsoft's "SQL Server
//! driver extensions - bulk copy functions".
//!
//! What the driver is given is the driver manager's connection handle. It asks its way back to its own by functions of the
//! driver manager, which it looks up among the loaded libraries (see [`DRIVER_MANAGER`]); if it finds another library's, it
//! crashes. So do a handle of another kind, and a driver of another version or one that was opened twice, elsewhere.
//! [`Library::find`] looks at all that before the first call that could.

#![allow(unsafe_code)]

use std::{
    ffi::{CStr, c_int, c_short, c_void},
    mem::transmute,
    path::Path,
    ptr,
};

use odbc_sys::{HDbc, InfoType};

use super::super::{
    Error,
    client_library::{self, ClientLibrary},
};
use super::bcp_types::{Bound, Place};
use crate::odbc::{Diagnostic, DriverConnection, Session};

/// `SQL_COPT_SS_BCP` and `SQL_BCP_ON`, to be set before connecting.
pub(super) const ATTRIBUTE: (i32, usize) = (1219, 1);

/// `SUCCEED`; `FAIL` is 0.
const SUCCEED: c_short = 1;

/// `DB_IN`: from the client to the server.
const DB_IN: c_int = 1;

/// `SQL_VARLEN_DATA`: the length lies before the value.
const VARLEN_DATA: i32 = -10;

/// `SQL_NULL_DATA`.
const NULL_DATA: i32 = -1;

/// Options of `bcp_control`.
mod option {
    use super::c_int;

    pub(super) const KEEP_NULLS: c_int = 5;
    pub(super) const KEEP_IDENTITY: c_int = 8;
    pub(super) const HINTS_W: c_int = 11;
}

/// What the driver takes the first library for the driver manager by that has all of it, in the order in which libraries
/// were loaded; it begins with the second one after the program (seen in 18.6).
const DRIVER_MANAGER: [&CStr; 5] = [
    c"SQLAllocEnv",
    c"SQLGetEnvAttr",
    c"SQLFreeEnv",
    c"SQLSetConnectAttr",
    c"SQLGetInfo",
];

/// Bytes of the length before a value in the row; the one width that needs no terminator.
const LENGTH_BYTES: usize = 8;

/// Versions of the driver whose functions dray knows.
const VERSIONS: [u32; 2] = [17, 18];

/// The functions by their names in msodbcsql.h.
macro_rules! functions {
    ($($name:ident($($argument:ty),*) -> $result:ty;)*) => {
        #[derive(Clone, Copy)]
        #[allow(non_snake_case, reason = "the names that the library has")]
        struct Functions {
            $($name: unsafe extern "C" fn($($argument),*) -> $result,)*
        }

        impl Functions {
            fn load(library: ClientLibrary) -> Result<Functions, String> {
                $(
                    let name = concat!(stringify!($name), "\0");
                    #[allow(non_snake_case, reason = "as above")]
                    let $name = library.symbol(CStr::from_bytes_with_nul(name.as_bytes()).unwrap_or_default());
                    if $name.is_null() {
                        return Err(format!("the driver has no `{}`", stringify!($name)));
                    }
                )*
                Ok(Functions {
                    $(
                        // SAFETY: the address is that of the function of this name, whose type msodbcsql.h says and the
                        // list below repeats; the driver's versions 17 and 18 have the same.
                        $name: unsafe { transmute::<*mut c_void, unsafe extern "C" fn($($argument),*) -> $result>($name) },
                    )*
                })
            }
        }
    };
}

functions! {
    bcp_initW(HDbc, *const u16, *const u16, *const u16, c_int) -> c_short;
    bcp_bind(HDbc, *const u8, c_int, i32, *const u8, c_int, c_int, c_int) -> c_short;
    bcp_collen(HDbc, i32, c_int) -> c_short;
    bcp_colptr(HDbc, *const u8, c_int) -> c_short;
    bcp_control(HDbc, c_int, *const c_void) -> c_short;
    bcp_sendrow(HDbc) -> c_short;
    bcp_moretext(HDbc, i32, *const u8) -> c_short;
    bcp_done(HDbc) -> i32;
}

/// The functions of the driver that a session is connected through.
pub(super) struct Library(Functions);

impl Library {
    /// The functions of this session's driver, whose file is `driver`.
    ///
    /// # Errors
    /// In words, why they cannot be had, or not be trusted.
    pub(super) fn find(driver: &Path, session: &Session) -> Result<Library, String> {
        let functions = functions_of(driver)?;
        let file = version_of(driver)?;
        let version = session
            .info_text(InfoType::DriverVer)
            .map_err(|error| error.to_string())?;
        if version.split('.').next().and_then(|major| major.parse().ok()) != Some(file) {
            return Err(format!(
                "the driver's file is of version {file}, and the connection's driver says that it is `{version}`"
            ));
        }
        let connection = session.driver_connection();
        if connection.attribute(ATTRIBUTE.0) != Some(ATTRIBUTE.1) {
            return Err("the connection was not made for bulk copy".to_owned());
        }
        if let Some(other) = other_driver_manager() {
            return Err(format!(
                "the driver takes `{other}`, which was loaded before dray, for the driver manager"
            ));
        }
        // A call that comes too early is an error that the driver explains, unless it has not found its own handle behind
        // this one: then it says nothing.
        // SAFETY: an open connection of this driver; nothing is bound that the call could reach.
        let answer = unsafe { (functions.bcp_collen)(connection.as_raw(), 0, 1) };
        let explained = connection.diagnostics().iter().any(|record| record.sqlstate == "HY010");
        if answer == SUCCEED || !explained {
            return Err("the driver does not recognise the driver manager that dray brings along".to_owned());
        }
        Ok(Library(functions))
    }
}

/// The library that the driver takes for the driver manager, if it is another one than that of this session.
fn other_driver_manager() -> Option<String> {
    let own = client_library::holder(odbc_sys::SQLGetInfo as *const c_void);
    let mut libraries = client_library::loaded_libraries().into_iter().skip(2);
    let found = libraries.find(|(_, library)| DRIVER_MANAGER.iter().all(|name| !library.symbol(name).is_null()));
    match found {
        Some((_, library)) if client_library::holder(library.symbol(c"SQLGetInfo")) == own => None,
        Some((name, _)) => Some(name),
        None => Some("no library".to_owned()),
    }
}

/// The functions of a driver's file that is loaded already.
fn functions_of(driver: &Path) -> Result<Functions, String> {
    version_of(driver)?;
    Functions::load(ClientLibrary::loaded(driver)?)
}

/// The driver's version, by its file.
///
/// # Errors
/// If it is none that dray knows.
fn version_of(driver: &Path) -> Result<u32, String> {
    let file = fs_err::canonicalize(driver).unwrap_or_else(|_| driver.to_owned());
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let version = name
        .strip_prefix("libmsodbcsql-")
        .and_then(|rest| rest.split('.').next());
    let version = version.and_then(|version| version.parse().ok());
    version.filter(|version| VERSIONS.contains(version)).ok_or_else(|| {
        format!("the ODBC driver `{name}` is not version 17 or 18 of Microsoft's ODBC driver for SQL Server")
    })
}

/// A column of the table that takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Binding {
    /// Its place among the columns of `SELECT *`, from 1.
    pub ordinal: usize,
    /// As what.
    pub bound: Bound,
}

/// What of a table's own is heeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// Whether the values of an identity column are taken from the rows.
    pub keep_identity: bool,
    /// Whether a NULL stays one where its column has a default; columns that are not bound are NULL then as well.
    pub keep_nulls: bool,
    /// What follows `WITH` in the statement, such as `TABLOCK`.
    pub hints: String,
}

/// A bulk copy into one table that is under way. Dropping it ends it; whether the rows stay is the transaction's business.
pub(super) struct BulkCopy {
    functions: Functions,
    connection: DriverConnection,
    /// The values of one row, each behind its length; what the driver has the addresses of. Never grows.
    row: Vec<u64>,
    /// Where each binding's length lies in the row, in bytes.
    offsets: Vec<Option<usize>>,
    /// The values of one row that lie aside, by the bindings' places; what the driver has the addresses of.
    aside: Vec<Vec<u8>>,
    bindings: Vec<Binding>,
    /// Kept for the driver.
    _hints: Vec<u16>,
    open: bool,
}

// SAFETY: the functions may be called from any thread, by one at a time, as those of the connection; `&mut` sees to that.
unsafe impl Send for BulkCopy {}

impl BulkCopy {
    /// Begins a bulk copy into a table, whose name is in brackets.
    ///
    /// # Errors
    /// What the driver or the server says.
    pub(super) fn begin(
        library: &Library,
        session: &Session,
        table: &str,
        bindings: Vec<Binding>,
        options: &Options,
    ) -> Result<BulkCopy, Error> {
        let mut bytes = 0_usize;
        let offset = |binding: &Binding| match binding.bound.place {
            Place::Row { bytes: most } => {
                let offset = bytes;
                bytes += LENGTH_BYTES + most.next_multiple_of(8);
                Some(offset)
            }
            Place::Aside | Place::Pieces => None,
        };
        let offsets: Vec<Option<usize>> = bindings.iter().map(offset).collect();
        let terminated = |text: &str| -> Vec<u16> { text.encode_utf16().chain([0]).collect() };
        let mut copy = BulkCopy {
            functions: library.0,
            connection: session.driver_connection(),
            row: vec![0; bytes.div_ceil(8)],
            offsets,
            aside: vec![Vec::new(); bindings.len()],
            bindings,
            _hints: terminated(&options.hints),
            open: false,
        };
        let (functions, handle) = (copy.functions, copy.connection.as_raw());
        let name = terminated(table);
        // SAFETY: an open connection and a terminated name; neither a file of data nor one of errors.
        let answer = unsafe { (functions.bcp_initW)(handle, name.as_ptr(), ptr::null(), ptr::null(), DB_IN) };
        copy.check("bcp_init", answer)?;
        copy.open = true;
        let mut controls = Vec::new();
        if options.keep_nulls {
            controls.push((option::KEEP_NULLS, ptr::without_provenance(1)));
        }
        if options.keep_identity {
            controls.push((option::KEEP_IDENTITY, ptr::without_provenance(1)));
        }
        if !options.hints.is_empty() {
            controls.push((option::HINTS_W, copy._hints.as_ptr().cast()));
        }
        for (option, value) in controls {
            // SAFETY: a number in the place of an address, or a terminated text that lives as long as the bulk copy.
            let answer = unsafe { (functions.bcp_control)(handle, option, value) };
            copy.check("bcp_control", answer)?;
        }
        for place in 0..copy.bindings.len() {
            let Binding { ordinal, bound } = copy.bindings[place];
            let (data, length_bytes, length) = match copy.offsets[place] {
                // SAFETY: within the row.
                Some(offset) => (
                    unsafe { copy.row.as_ptr().cast::<u8>().add(offset) },
                    LENGTH_BYTES,
                    VARLEN_DATA,
                ),
                // Read behind an address that each row gives.
                None if bound.place == Place::Aside => (copy.aside[place].as_ptr(), 0, NULL_DATA),
                None => (ptr::null(), 0, 0),
            };
            // SAFETY: the row lives, unmoved, as long as the bulk copy, and has room for the length and the most bytes of
            // the column; a null address is that of a value in pieces; behind that of a value aside nothing is read.
            let answer = unsafe {
                let (ordinal, length_bytes) = (ordinal as c_int, length_bytes as c_int);
                (functions.bcp_bind)(handle, data, length_bytes, length, ptr::null(), 0, bound.token, ordinal)
            };
            copy.check("bcp_bind", answer)?;
        }
        Ok(copy)
    }

    /// NULL for the next row, for a column whose values lie in the row.
    pub(super) fn set_null(&mut self, place: usize) {
        if let Some(offset) = self.offsets[place] {
            self.row[offset / 8] = i64::from(NULL_DATA) as u64;
        }
    }

    /// Where the next row's value goes, for a column whose values lie in the row; empty for others.
    pub(super) fn value(&mut self, place: usize) -> &mut [u8] {
        let (Some(offset), Place::Row { bytes }) = (self.offsets[place], self.bindings[place].bound.place) else {
            return &mut [];
        };
        let start = offset + LENGTH_BYTES;
        // SAFETY: u64s are plain bytes.
        let row = unsafe { std::slice::from_raw_parts_mut(self.row.as_mut_ptr().cast::<u8>(), self.row.len() * 8) };
        &mut row[start..start + bytes]
    }

    /// How many bytes of [`Self::value`] the next row's value has.
    pub(super) fn set_length(&mut self, place: usize, bytes: usize) {
        if let Some(offset) = self.offsets[place] {
            self.row[offset / 8] = bytes as u64;
        }
    }

    /// The next row's value of a column whose values lie aside, to be filled and then given by [`Self::point`].
    pub(super) fn aside(&mut self, place: usize) -> &mut Vec<u8> {
        &mut self.aside[place]
    }

    /// Tells the driver where the next row's value is that lies aside, or that it is NULL.
    pub(super) fn point(&self, place: usize, is_null: bool) -> Result<(), Error> {
        let (handle, ordinal) = (self.connection.as_raw(), self.bindings[place].ordinal as c_int);
        let value = &self.aside[place];
        let length = if is_null { NULL_DATA } else { length_i32(value.len())? };
        // SAFETY: an open bulk copy; the value lies there, unmoved, until the next one is filled in.
        let answer = unsafe { (self.functions.bcp_colptr)(handle, value.as_ptr(), ordinal) };
        self.check("bcp_colptr", answer)?;
        // SAFETY: an open bulk copy; the value has as many bytes.
        let answer = unsafe { (self.functions.bcp_collen)(handle, length, ordinal) };
        self.check("bcp_collen", answer)
    }

    /// Sends the row. What comes in pieces follows.
    pub(super) fn send_row(&mut self) -> Result<(), Error> {
        // SAFETY: an open bulk copy, whose row holds a length, and as many bytes, for each column in it.
        let answer = unsafe { (self.functions.bcp_sendrow)(self.connection.as_raw()) };
        self.check("bcp_sendrow", answer)
    }

    /// Sends a piece of the first value that is not complete; an empty one completes it.
    pub(super) fn send_piece(&mut self, piece: &[u8]) -> Result<(), Error> {
        let length = length_i32(piece.len())?;
        // SAFETY: an open bulk copy; the bytes are as many as is said, and are not kept.
        let answer = unsafe { (self.functions.bcp_moretext)(self.connection.as_raw(), length, piece.as_ptr()) };
        self.check("bcp_moretext", answer)
    }

    /// NULL for the first value in pieces that is not complete.
    pub(super) fn send_null(&mut self) -> Result<(), Error> {
        // SAFETY: as above; NULL has no bytes.
        let answer = unsafe { (self.functions.bcp_moretext)(self.connection.as_raw(), NULL_DATA, ptr::null()) };
        self.check("bcp_moretext", answer)
    }

    /// Ends the bulk copy, and says how many rows the driver has sent, in 32 bits.
    pub(super) fn finish(mut self) -> Result<u32, Error> {
        self.open = false;
        // SAFETY: an open bulk copy, which ends here.
        let rows = unsafe { (self.functions.bcp_done)(self.connection.as_raw()) };
        match rows {
            -1 => Err(self.failure("bcp_done")),
            rows => Ok(rows as u32),
        }
    }

    fn check(&self, function: &'static str, answer: c_short) -> Result<(), Error> {
        match answer {
            SUCCEED => Ok(()),
            _ => Err(self.failure(function)),
        }
    }

    fn failure(&self, function: &'static str) -> Error {
        let unexplained = || Diagnostic {
            sqlstate: "HY000".to_owned(),
            native: 0,
            message: "the driver gave no reason".to_owned(),
        };
        let diagnostic = self
            .connection
            .diagnostics()
            .into_iter()
            .next()
            .unwrap_or_else(unexplained);
        Error::Client { function, diagnostic }
    }
}

impl Drop for BulkCopy {
    fn drop(&mut self) {
        if self.open {
            // SAFETY: an open bulk copy, which ends here.
            unsafe { (self.functions.bcp_done)(self.connection.as_raw()) };
        }
    }
}

fn length_i32(bytes: usize) -> Result<i32, Error> {
    i32::try_from(bytes).map_err(|_| Error::Unsupported(format!("a value has {bytes} bytes, {} are allowed", i32::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_versions_17_and_18_of_microsofts_driver_are_called() {
        assert_eq!(version_of(Path::new("/opt/x/lib64/libmsodbcsql-18.6.so.2.1")), Ok(18));
        assert_eq!(version_of(Path::new("/opt/x/lib64/libmsodbcsql-17.10.so.6.1")), Ok(17));
        for name in [
            "libmsodbcsql-13.1.so.9.2",
            "libmsodbcsql-19.0.so.1.1",
            "libtdsodbc.so",
            "libmsodbcsql.so",
        ] {
            let reason = functions_of(Path::new(name)).err().unwrap();
            assert!(reason.contains(name), "{reason}");
        }
    }

    #[test]
    fn a_driver_that_is_not_loaded_is_not_loaded_for_its_functions() {
        let reason = functions_of(Path::new("/nowhere/libmsodbcsql-18.6.so.2.1"))
            .err()
            .unwrap();
        assert!(reason.contains("is not loaded"), "{reason}");
    }
}
