//! Diagnostic records: SQLSTATE, native code and message, whole and in order.

#![allow(unsafe_code)]

use std::fmt;

use odbc_sys::{Handle, HandleType, SQLGetDiagRec, SQLGetDiagRecW, SqlReturn};

use super::Encoding;

/// One record of what a driver says about the last call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Five letters, as in the ODBC reference, appendix A.
    pub sqlstate: String,
    /// The product's own number.
    pub native: i32,
    /// The message, without the bracketed prefixes `[vendor][component]`.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} (SQLSTATE {}, native {})",
            self.message, self.sqlstate, self.native
        )
    }
}

/// A driver may hold thousands of records after an array operation; the first ones say it all.
const RECORDS_MAX: i16 = 16;

/// Longest message that is read; psqlodbc repeats whole statements in its messages.
const MESSAGE_UNITS_MAX: usize = 32_000;

/// Reads the records of `handle`, at most sixteen.
pub(super) fn read(encoding: Encoding, kind: HandleType, handle: Handle) -> Vec<Diagnostic> {
    (1..=RECORDS_MAX)
        .map_while(|number| read_one(encoding, kind, handle, number))
        .collect()
}

fn read_one(encoding: Encoding, kind: HandleType, handle: Handle, number: i16) -> Option<Diagnostic> {
    let mut native = 0;
    let mut capacity = 1024_usize;
    loop {
        let mut length = 0_i16;
        let (result, sqlstate, message) = match encoding {
            Encoding::Wide => {
                let mut state = [0_u16; 6];
                let mut text = vec![0_u16; capacity];
                // SAFETY: the handle is live, and both buffers are as long as their lengths say; the state buffer has
                // the five units and the terminator that ODBC asks for.
                let result = unsafe {
                    SQLGetDiagRecW(
                        kind,
                        handle,
                        number,
                        state.as_mut_ptr(),
                        &mut native,
                        text.as_mut_ptr(),
                        capacity as i16,
                        &mut length,
                    )
                };
                // Up to the terminator: drivers report the length in bytes, in units, or not at all.
                let end = text.iter().position(|unit| *unit == 0).unwrap_or(text.len());
                (
                    result,
                    String::from_utf16_lossy(&state[..5]),
                    String::from_utf16_lossy(&text[..end]),
                )
            }
            Encoding::Narrow => {
                let mut state = [0_u8; 6];
                let mut text = vec![0_u8; capacity];
                // SAFETY: as above.
                let result = unsafe {
                    SQLGetDiagRec(
                        kind,
                        handle,
                        number,
                        state.as_mut_ptr(),
                        &mut native,
                        text.as_mut_ptr(),
                        capacity as i16,
                        &mut length,
                    )
                };
                let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
                (
                    result,
                    String::from_utf8_lossy(&state[..5]).into_owned(),
                    String::from_utf8_lossy(&text[..end]).into_owned(),
                )
            }
        };
        match result {
            SqlReturn::SUCCESS_WITH_INFO if capacity < MESSAGE_UNITS_MAX => {
                capacity = MESSAGE_UNITS_MAX.min((length.max(0) as usize + 1).max(capacity * 4));
            }
            SqlReturn::SUCCESS | SqlReturn::SUCCESS_WITH_INFO => {
                return Some(Diagnostic {
                    sqlstate,
                    native,
                    message: without_prefixes(&message),
                });
            }
            _ => return None,
        }
    }
}

/// Cuts `[unixODBC][Driver][Server]` off the front and joins lines: an error is one line of the log.
fn without_prefixes(message: &str) -> String {
    let mut rest = message.trim();
    while let Some(inner) = rest.strip_prefix('[') {
        match inner.split_once(']') {
            Some((_, after)) => rest = after.trim_start(),
            None => break,
        }
    }
    rest.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .trim_end_matches('.')
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vendors_prefixes_and_line_breaks_are_cut_from_a_message() {
        assert_eq!(
            without_prefixes("[unixODBC][Driver Manager] Data source name not found,\n and no default."),
            "Data source name not found, and no default"
        );
        assert_eq!(without_prefixes("[open bracket"), "[open bracket");
    }
}
