//! A product's own client library, found through the ODBC driver that brought it to the node.
//!
//! Knows how to find functions, and nothing of what they do: their types stand in the product's folder.

#![allow(unsafe_code)]

use std::{
    ffi::{CStr, CString, c_int, c_void},
    os::unix::ffi::OsStrExt,
    path::Path,
    ptr,
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

    /// The library of this file, which somebody has loaded already.
    ///
    /// # Errors
    /// In words, that nobody has.
    pub(super) fn loaded(file: &Path) -> Result<ClientLibrary, String> {
        let name = CString::new(file.as_os_str().as_bytes()).unwrap_or_default();
        // SAFETY: a terminated name; with RTLD_NOLOAD nothing is loaded and no constructor runs.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL | libc::RTLD_NOLOAD) };
        match handle.is_null() || name.is_empty() {
            true => Err(format!("`{}` is not loaded", file.display())),
            false => Ok(ClientLibrary { handle }),
        }
    }

    /// The address of a function, null if the library does not have it.
    pub(super) fn symbol(self, name: &CStr) -> *mut c_void {
        if self.handle.is_null() {
            return ptr::null_mut();
        }
        // SAFETY: an open library and a terminated name.
        unsafe { libc::dlsym(self.handle, name.as_ptr()) }
    }
}

/// The libraries of this process, by name, in the order in which they were loaded; the program itself is the first, and
/// has no name.
pub(super) fn loaded_libraries() -> Vec<(String, ClientLibrary)> {
    unsafe extern "C" fn collect(info: *mut libc::dl_phdr_info, _size: usize, names: *mut c_void) -> c_int {
        // SAFETY: what `dl_iterate_phdr` hands over: a library's description, whose name is terminated, and the list.
        let (names, name) = unsafe { (&mut *names.cast::<Vec<CString>>(), CStr::from_ptr((*info).dlpi_name)) };
        names.push(name.to_owned());
        0
    }
    let mut names: Vec<CString> = Vec::new();
    // SAFETY: the function takes the list that it is given.
    unsafe { libc::dl_iterate_phdr(Some(collect), (&raw mut names).cast()) };
    let open = |name: CString| {
        let flags = libc::RTLD_LAZY | libc::RTLD_LOCAL | libc::RTLD_NOLOAD;
        // SAFETY: a terminated name, or null for the program; nothing is loaded.
        let handle = unsafe { libc::dlopen(if name.is_empty() { ptr::null() } else { name.as_ptr() }, flags) };
        (name.to_string_lossy().into_owned(), ClientLibrary { handle })
    };
    // After the walk: it holds the dynamic linker's lock. The kernel's own library cannot be opened, and has no functions.
    names.into_iter().map(open).collect()
}

/// Where the library is loaded that holds an address; 0 if none does.
pub(super) fn holder(address: *const c_void) -> usize {
    let mut info = libc::Dl_info {
        dli_fname: ptr::null(),
        dli_fbase: ptr::null_mut(),
        dli_sname: ptr::null(),
        dli_saddr: ptr::null_mut(),
    };
    // SAFETY: a structure of our own; the address is only looked up.
    match unsafe { libc::dladdr(address, &mut info) } {
        0 => 0,
        _ => info.dli_fbase as usize,
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
