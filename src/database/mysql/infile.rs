//! The file of a `LOAD DATA LOCAL INFILE`, which is memory: what the client library calls to read it.
//!
//! The library may only be led here; a server that asks for another file gets these bytes, or none.

#![allow(unsafe_code)]

use std::{
    ffi::{CStr, c_char, c_int, c_uint, c_void},
    ptr,
};

use super::libmariadb::{Library, Mysql};
use crate::odbc::Interrupt;

/// The file name of a `LOAD DATA LOCAL INFILE` that [`super::client::Client::load`] feeds; no such file is ever opened.
pub(super) const INFILE_NAME: &str = "dray";

/// The file of one connection.
pub(super) struct Infile {
    /// Made by a box, and known to the library as well, which uses it during the connection's calls alone.
    contents: *mut Contents,
}

struct Contents {
    data: *const u8,
    length: usize,
    /// Ends the file early.
    interrupt: Interrupt,
}

impl Infile {
    /// An empty file that the connection knows of; to be dropped after the connection is closed.
    pub(super) fn of(library: Library, handle: Mysql, interrupt: &Interrupt) -> Infile {
        let contents = Box::into_raw(Box::new(Contents {
            data: ptr::null(),
            length: 0,
            interrupt: interrupt.clone(),
        }));
        // SAFETY: an open connection, and functions of the types that the library calls them with.
        unsafe {
            (library.set_local_infile_handler)(
                handle,
                infile_init,
                infile_read,
                infile_end,
                infile_error,
                contents.cast(),
            );
        }
        Infile { contents }
    }

    /// Gives the file its bytes, which have to stay where they are until [`Self::clear`].
    pub(super) fn fill(&mut self, data: &[u8]) {
        // SAFETY: the box is there until the drop, and no call of the connection is under way.
        unsafe {
            (*self.contents).data = data.as_ptr();
            (*self.contents).length = data.len();
        }
    }

    /// Takes the bytes away.
    pub(super) fn clear(&mut self) {
        self.fill(&[]);
    }

    /// Has another interrupt end the file.
    pub(super) fn set_interrupt(&mut self, interrupt: &Interrupt) {
        // SAFETY: as in `fill`.
        unsafe { (*self.contents).interrupt = interrupt.clone() };
    }
}

impl Drop for Infile {
    fn drop(&mut self) {
        // SAFETY: it came from a box, and the connection that knew it is closed.
        drop(unsafe { Box::from_raw(self.contents) });
    }
}

/// `CR_UNKNOWN_ERROR`; what the infile's functions report, and the library hands on.
pub(super) const INFILE_STOPPED: i32 = 2000;

unsafe extern "C" fn infile_init(infile: *mut *mut c_void, _name: *const c_char, own: *mut c_void) -> c_int {
    // SAFETY: the library gives a place for a pointer.
    unsafe { *infile = own };
    0
}

unsafe extern "C" fn infile_read(infile: *mut c_void, buffer: *mut c_char, length: c_uint) -> c_int {
    // SAFETY: the pointer that `infile_init` gave, to the infile of the connection whose call this is; its data outlive
    // the call.
    let infile = unsafe { &mut *infile.cast::<Contents>() };
    if infile.interrupt.is_raised() {
        return -1;
    }
    let bytes = infile.length.min(length as usize);
    // SAFETY: so many bytes are left, and so many fit.
    unsafe {
        ptr::copy_nonoverlapping(infile.data, buffer.cast(), bytes);
        infile.data = infile.data.add(bytes);
    }
    infile.length -= bytes;
    bytes as c_int
}

unsafe extern "C" fn infile_end(_infile: *mut c_void) {}

unsafe extern "C" fn infile_error(_infile: *mut c_void, message: *mut c_char, length: c_uint) -> c_int {
    const TEXT: &CStr = c"told to stop";
    let bytes = TEXT.to_bytes_with_nul();
    if bytes.len() <= length as usize {
        // SAFETY: the text and its terminator fit.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), message.cast(), bytes.len()) };
    }
    INFILE_STOPPED
}
