//! A driver's shared library: whether it loads, and in which form it wants to be spoken to.

#![allow(unsafe_code)]

use std::{
    ffi::{CStr, CString},
    os::unix::ffi::OsStrExt,
    path::Path,
};

use super::{Encoding, Error, needs};

/// Loads the driver's file, for good, and sees which entry points it has.
///
/// The driver manager opens the same file again and gets the same library. Never closed: several drivers start threads
/// or register exit handlers that outlive their last connection.
///
/// # Errors
/// [`Error::DriverUnloadable`] with all libraries that the driver needs and the node does not have, else with the dynamic
/// linker's words.
pub fn load_driver(path: &Path) -> Result<Encoding, Error> {
    let unloadable = |reason: String| Error::DriverUnloadable {
        path: path.to_owned(),
        reason,
        lacking: Vec::new(),
    };
    let file = CString::new(path.as_os_str().as_bytes()).map_err(|_| unloadable("its name holds a NUL".to_owned()))?;
    // SAFETY: a terminated path. The library's constructors run, as they will when the driver manager loads it.
    let library = unsafe { libc::dlopen(file.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if library.is_null() {
        let reason = last_error();
        let lacking = needs::lacking(path, missing);
        return Err(match lacking.is_empty() {
            true => unloadable(reason),
            false => Error::DriverUnloadable {
                path: path.to_owned(),
                reason: format!("this node lacks {}", needs::listed(&lacking)),
                lacking,
            },
        });
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

/// What the dynamic linker does not find when it is to load a library by its name: that one, or one that it needs.
fn missing(library: &str) -> Option<String> {
    let name = CString::new(library).ok()?;
    // SAFETY: a terminated name. Its constructors run, and it is kept: closing is what libraries bear badly.
    if !unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_LAZY | libc::RTLD_LOCAL) }.is_null() {
        return None;
    }
    let words = last_error();
    let (missing, _) = words.split_once(": cannot open shared object file")?;
    Some(missing.to_owned())
}

/// The dynamic linker's words about what has just failed on this thread.
fn last_error() -> String {
    // SAFETY: dlerror gives null, or a terminated string of this thread's own.
    let words = unsafe { libc::dlerror() };
    if words.is_null() {
        return String::new();
    }
    // SAFETY: as above; it is copied before anything else of the dynamic linker is called.
    unsafe { CStr::from_ptr(words) }.to_string_lossy().into_owned()
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
