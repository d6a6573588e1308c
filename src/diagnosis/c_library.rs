//! The version of the C library that this process runs with.
#![allow(unsafe_code)]

use std::ffi::CStr;

/// Such as `2.36`.
pub fn glibc_version() -> String {
    // SAFETY: it takes nothing, and gives a terminated string that lives for ever.
    unsafe { CStr::from_ptr(libc::gnu_get_libc_version()) }
        .to_string_lossy()
        .into_owned()
}
