//! The entry that the worker calls after it has loaded libpython and this module (`src/interpreter/load.rs`).
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int};

/// Runs the main function of the `python` command and returns its exit status. `argv` holds `argc` strings that end with
/// NUL, and a null pointer after them, valid for the life of the process.
///
/// # Safety
///
/// Called at most once, on the main thread, with such an `argv`, while CPython is loaded and not initialized.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dray_worker_main(argc: c_int, argv: *mut *mut c_char) -> c_int {
    // SAFETY: the caller's duty is that of Py_BytesMain.
    unsafe { pyo3::ffi::Py_BytesMain(argc, argv) }
}
