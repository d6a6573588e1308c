//! Opening a connection of the client library, and what the library says of a call that failed.

#![allow(unsafe_code)]

use std::{
    ffi::{CStr, CString, c_char, c_void},
    ptr,
};

use super::{
    libmariadb::{Library, Mysql},
    settings::{OptionValue, Settings},
};
use crate::{database::Error, odbc::Diagnostic};

/// An open connection on its way to its owner.
pub(super) struct Handle(pub Mysql);

// SAFETY: a connection may be used from any thread, one at a time (MariaDB Connector/C, "Thread-safe clients").
unsafe impl Send for Handle {}

/// Connects; blocks until the server answers or the settings' timeout is over.
pub(super) fn open(library: Library, settings: &Settings) -> Result<Handle, Error> {
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
pub(super) fn error_of(library: Library, handle: Mysql, function: &'static str) -> Error {
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
