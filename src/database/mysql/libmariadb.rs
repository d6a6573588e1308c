//! The C functions of libmariadb and libmysqlclient, by name; nothing here knows what they are used for.
//!
//! Only functions whose types are the same in both libraries, and options whose numbers are: the structures behind
//! `MYSQL` and `MYSQL_RES` are never looked into. Source: mysql.h of MariaDB Connector/C 3.3 and of MySQL 8.0.

#![allow(unsafe_code)]

use std::{
    ffi::{CStr, c_char, c_int, c_uint, c_ulong, c_void},
    path::Path,
};

use super::super::client_library::ClientLibrary;

/// `MYSQL`, a connection.
pub(super) type Mysql = *mut c_void;

/// `MYSQL_RES`, a result.
pub(super) type MysqlRes = *mut c_void;

/// What the library calls before, during and after a `LOAD DATA LOCAL INFILE`.
pub(super) type InfileInit = unsafe extern "C" fn(*mut *mut c_void, *const c_char, *mut c_void) -> c_int;
/// Fills a buffer, and returns how many bytes: 0 at the end, below 0 on failure.
pub(super) type InfileRead = unsafe extern "C" fn(*mut c_void, *mut c_char, c_uint) -> c_int;
/// Always called, also after a failure.
pub(super) type InfileEnd = unsafe extern "C" fn(*mut c_void);
/// Puts a message into a buffer and returns an error number.
pub(super) type InfileError = unsafe extern "C" fn(*mut c_void, *mut c_char, c_uint) -> c_int;

/// `enum mysql_option`, as far as both libraries number it alike.
pub(super) mod option {
    use super::c_int;

    pub const CONNECT_TIMEOUT: c_int = 0;
    pub const COMPRESS: c_int = 1;
    pub const INIT_COMMAND: c_int = 3;
    pub const SET_CHARSET_NAME: c_int = 7;
    pub const LOCAL_INFILE: c_int = 8;
    pub const PROTOCOL: c_int = 9;
    pub const READ_TIMEOUT: c_int = 11;
    pub const WRITE_TIMEOUT: c_int = 12;
}

/// Options of libmariadb alone; libmysqlclient has other numbers for some of them.
pub(super) mod mariadb_option {
    use super::c_int;

    pub const SSL_VERIFY_SERVER_CERT: c_int = 21;
    pub const PLUGIN_DIR: c_int = 22;
    pub const SSL_KEY: c_int = 25;
    pub const SSL_CERT: c_int = 26;
    pub const SSL_CA: c_int = 27;
    pub const SSL_CAPATH: c_int = 28;
    pub const SSL_CIPHER: c_int = 29;
    pub const SSL_CRL: c_int = 30;
    pub const SSL_CRLPATH: c_int = 31;
    pub const SERVER_PUBLIC_KEY: c_int = 35;
    pub const SSL_ENFORCE: c_int = 38;
    pub const MAX_ALLOWED_PACKET: c_int = 39;
    pub const TLS_PASSPHRASE: c_int = 7003;
    pub const TLS_VERSION: c_int = 7005;
    pub const TLS_PEER_FP: c_int = 7006;
    pub const TLS_PEER_FP_LIST: c_int = 7007;
}

/// `MYSQL_PROTOCOL_TCP`.
pub(super) const PROTOCOL_TCP: c_uint = 1;

macro_rules! functions {
    ($($field:ident: $name:literal as fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// An open library's functions.
        #[derive(Clone, Copy)]
        pub(super) struct Library {
            /// Whether it is MariaDB's, with its options.
            pub mariadb: bool,
            /// `mysql_get_socket`, which libmysqlclient does not have.
            pub get_socket: Option<unsafe extern "C" fn(Mysql) -> c_int>,
            $(pub $field: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl Library {
            fn of(library: ClientLibrary) -> Result<Library, String> {
                let get_socket = library.symbol(c"mysql_get_socket");
                Ok(Library {
                    // SAFETY: as below; a null address becomes `None`.
                    get_socket: unsafe {
                        std::mem::transmute::<*mut c_void, Option<unsafe extern "C" fn(Mysql) -> c_int>>(get_socket)
                    },
                    mariadb: !library.symbol(c"mariadb_get_infov").is_null(),
                    $($field: {
                        let address = library.symbol($name);
                        if address.is_null() {
                            return Err(format!("the client library has no `{}`", $name.to_string_lossy()));
                        }
                        // SAFETY: the function of this name has this type in both libraries, see the module's source.
                        unsafe {
                            std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($argument),*) $(-> $result)?>(address)
                        }
                    },)*
                })
            }
        }
    };
}

functions! {
    init: c"mysql_init" as fn(Mysql) -> Mysql;
    options: c"mysql_options" as fn(Mysql, c_int, *const c_void) -> c_int;
    real_connect: c"mysql_real_connect" as fn(Mysql, *const c_char, *const c_char, *const c_char, *const c_char, c_uint, *const c_char, c_ulong) -> Mysql;
    close: c"mysql_close" as fn(Mysql);
    real_query: c"mysql_real_query" as fn(Mysql, *const c_char, c_ulong) -> c_int;
    use_result: c"mysql_use_result" as fn(Mysql) -> MysqlRes;
    store_result: c"mysql_store_result" as fn(Mysql) -> MysqlRes;
    free_result: c"mysql_free_result" as fn(MysqlRes);
    fetch_row: c"mysql_fetch_row" as fn(MysqlRes) -> *const *const u8;
    fetch_lengths: c"mysql_fetch_lengths" as fn(MysqlRes) -> *const c_ulong;
    num_fields: c"mysql_num_fields" as fn(MysqlRes) -> c_uint;
    field_count: c"mysql_field_count" as fn(Mysql) -> c_uint;
    affected_rows: c"mysql_affected_rows" as fn(Mysql) -> u64;
    warning_count: c"mysql_warning_count" as fn(Mysql) -> c_uint;
    errno: c"mysql_errno" as fn(Mysql) -> c_uint;
    error: c"mysql_error" as fn(Mysql) -> *const c_char;
    sqlstate: c"mysql_sqlstate" as fn(Mysql) -> *const c_char;
    thread_id: c"mysql_thread_id" as fn(Mysql) -> c_ulong;
    thread_init: c"mysql_thread_init" as fn() -> u8;
    thread_end: c"mysql_thread_end" as fn();
    set_local_infile_handler: c"mysql_set_local_infile_handler" as fn(Mysql, InfileInit, InfileRead, InfileEnd, InfileError, *mut c_void);
}

impl Library {
    /// The library that the driver links.
    ///
    /// # Errors
    /// In words, that there is none, or what it lacks.
    pub(super) fn find(driver: &Path) -> Result<Library, String> {
        const NAMES: [&CStr; 3] = [c"libmariadb.so.3", c"libmysqlclient.so.24", c"libmysqlclient.so.21"];
        Library::of(ClientLibrary::find(driver, &NAMES, c"mysql_real_connect")?)
    }
}
