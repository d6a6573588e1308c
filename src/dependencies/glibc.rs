//! The version of the C library that this process runs on.
#![allow(unsafe_code)]

use std::ffi::CStr;

/// Major and minor version of glibc, such as (2, 39).
pub fn glibc_version() -> (u32, u32) {
    // SAFETY: it takes nothing, and returns a static string that ends with NUL (gnu/libc-version.h).
    let text = unsafe { CStr::from_ptr(libc::gnu_get_libc_version()) }.to_string_lossy();
    let mut parts = text.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}
