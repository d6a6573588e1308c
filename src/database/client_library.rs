//! A product's own client library, found through the ODBC driver that brought it to the node.
//!
//! Knows how to find functions, and nothing of what they do: their types stand in the product's folder.

#![allow(unsafe_code)]

use std::{
    ffi::{CStr, CString, c_void},
    os::unix::ffi::OsStrExt,
    path::Path,
};

/// An open library; never closed, as its threads and exit handlers may outlive any user of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientLibrary {
    handle: *mut c_void,
}

// SAFETY: the handle of a library that is never closed; dlsym may be called from any thread.
unsafe impl Send for ClientLibrary {}
// SAFETY: as above.
unsafe impl Sync for ClientLibrary {}

impl ClientLibrary {
    /// The library that defines `function`: the one that the driver's file links, whatever its name, else the first of
    /// `names` that the dynamic linker finds.
    ///
    /// # Errors
    /// In words, that there is none.
    pub(super) fn find(driver: &Path, names: &[&CStr], function: &CStr) -> Result<ClientLibrary, String> {
        // dlsym on a library's handle looks into the libraries that it needs as well (dlsym(3)), so that both lanes of a
        // product share one copy of its client library.
        let of_driver = CString::new(driver.as_os_str().as_bytes()).ok();
        for name in of_driver.as_deref().into_iter().chain(names.iter().copied()) {
            // SAFETY: a terminated name. A library that is not loaded yet runs its constructors, which client libraries
            // are written for.
            let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
            let library = ClientLibrary { handle };
            if !handle.is_null() && !library.symbol(function).is_null() {
                return Ok(library);
            }
        }
        let names: Vec<_> = names
            .iter()
            .map(|name| format!("`{}`", name.to_string_lossy()))
            .collect();
        Err(format!(
            "the driver links no library with `{}`, and {} cannot be loaded",
            function.to_string_lossy(),
            names.join(" or ")
        ))
    }

    /// The address of a function, null if the library does not have it.
    pub(super) fn symbol(self, name: &CStr) -> *mut c_void {
        // SAFETY: an open library and a terminated name.
        unsafe { libc::dlsym(self.handle, name.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_found_in_a_library_that_the_file_links() {
        let own = std::env::current_exe().unwrap();
        // An executable cannot be opened as a library; the second way serves.
        let library = ClientLibrary::find(&own, &[c"libc.so.6"], c"getpid").unwrap();
        assert!(!library.symbol(c"getppid").is_null());
        let reason = ClientLibrary::find(&own, &[c"libc.so.6"], c"PQnothing").unwrap_err();
        assert!(
            reason.contains("`PQnothing`") && reason.contains("`libc.so.6`"),
            "{reason}"
        );
    }
}
