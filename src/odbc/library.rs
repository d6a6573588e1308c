//! A driver's shared library: whether it loads, and in which form it wants to be spoken to.

#![allow(unsafe_code)]

use std::{
    ffi::{CStr, CString},
    os::unix::ffi::OsStrExt,
    path::Path,
};

use super::{Encoding, Error};

/// Loads the driver's file, for good, and sees which entry points it has.
///
/// The driver manager opens the same file again and gets the same library. Never closed: several drivers start threads
/// or register exit handlers that outlive their last connection.
///
/// # Errors
/// [`Error::DriverUnloadable`] with the dynamic linker's words; they name a library that the driver needs and the node
/// does not have.
pub(super) fn load(path: &Path) -> Result<Encoding, Error> {
    let unloadable = |reason: String| Error::DriverUnloadable {
        path: path.to_owned(),
        reason,
    };
    let file = CString::new(path.as_os_str().as_bytes()).map_err(|_| unloadable("its name holds a NUL".to_owned()))?;
    // SAFETY: a terminated path. The library's constructors run, as they will when the driver manager loads it.
    let library = unsafe { libc::dlopen(file.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if library.is_null() {
        // SAFETY: dlopen has just failed on this thread, so dlerror gives a terminated string of this thread's own.
        let reason = unsafe { CStr::from_ptr(libc::dlerror()) };
        return Err(unloadable(reason.to_string_lossy().into_owned()));
    }
    let Some(own) = exporter(library, c"SQLAllocHandle").or_else(|| exporter(library, c"SQLAllocEnv")) else {
        return Err(unloadable(
            "it is not an ODBC driver: it does not export `SQLAllocHandle`".to_owned(),
        ));
    };
    // The symbol must be the driver's own: dlsym also looks into the libraries that the driver needs, and a driver that
    // links a driver manager would seem wide by it.
    Ok(match exporter(library, c"SQLDriverConnectW") {
        Some(base) if base == own => Encoding::Wide,
        _ => Encoding::Narrow,
    })
}

/// Where the library that defines `symbol`, seen from `library`, is loaded.
fn exporter(library: *mut libc::c_void, symbol: &CStr) -> Option<usize> {
    // SAFETY: an open library and a terminated name.
    let address = unsafe { libc::dlsym(library, symbol.as_ptr()) };
    if address.is_null() {
        return None;
    }
    let mut info = libc::Dl_info {
        dli_fname: std::ptr::null(),
        dli_fbase: std::ptr::null_mut(),
        dli_sname: std::ptr::null(),
        dli_saddr: std::ptr::null_mut(),
    };
    // SAFETY: a valid address and a structure of our own.
    let found = unsafe { libc::dladdr(address, &mut info) } != 0;
    found.then_some(info.dli_fbase as usize)
}
