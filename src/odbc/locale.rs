//! LC_CTYPE is a UTF-8 locale before a driver is loaded, also under `LC_ALL=C`.
//!
//! psqlodbcw converts through the C library's multibyte functions ("invalid string conversion" under the C locale) and
//! MariaDB's driver takes the locale's charset for narrow text. Both look at the locale at each call, so it is set for
//! good and not put back. Only LC_CTYPE is touched: numbers, dates and messages stay as the script has them. Python in
//! UTF-8 mode, which dray switches on, does not ask LC_CTYPE again after its start.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString};

/// Tried in this order: glibc 2.35's own, its older spelling on Debian and Red Hat, then what else is common.
const CANDIDATES: [&str; 4] = ["C.UTF-8", "C.utf8", "en_US.UTF-8", "en_GB.UTF-8"];

/// Makes LC_CTYPE a UTF-8 locale if it is not one yet.
///
/// Without any such locale on the node it says so in the log and goes on: drivers that are spoken to in UTF-16 and do
/// not convert themselves still work, the others refuse.
pub(super) fn ensure_utf8() {
    if is_utf8() {
        return;
    }
    for name in CANDIDATES {
        let Ok(name) = CString::new(name) else { continue };
        // SAFETY: the pointer is a terminated string. Another thread that converts text at this moment may see either
        // locale, which it could under any call of setlocale in the process.
        if !unsafe { libc::setlocale(libc::LC_CTYPE, name.as_ptr()) }.is_null() && is_utf8() {
            tracing::debug!(event = "odbc.locale", locale = ?name, "LC_CTYPE set to a UTF-8 locale for ODBC drivers");
            return;
        }
    }
    tracing::warn!(
        event = "odbc.no_utf8_locale",
        "the node has no UTF-8 locale; ODBC drivers may refuse text"
    );
}

fn is_utf8() -> bool {
    // SAFETY: nl_langinfo gives a static, terminated string.
    let codeset = unsafe { CStr::from_ptr(libc::nl_langinfo(libc::CODESET)) };
    codeset.to_bytes().eq_ignore_ascii_case(b"UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_c_locale_becomes_a_utf8_one() {
        // SAFETY: a terminated string; tests of this crate do not depend on LC_CTYPE otherwise.
        unsafe { libc::setlocale(libc::LC_CTYPE, c"C".as_ptr()) };
        ensure_utf8();
        assert!(is_utf8());
    }
}
