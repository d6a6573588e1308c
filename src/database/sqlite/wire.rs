//! Rows from one SQLite file to another: each value with its class, whatever its column's type, in `Batch::wire`. Pure.

use super::libsqlite3::{Class, Rows};
use crate::database::{WireFormat, generic::Classed};

/// Values one after the other: a byte for the class, then eight bytes of a number, or four bytes of a length and so many
/// bytes of text or of a blob; both in the machine's order.
pub(super) const FORMAT: WireFormat = WireFormat {
    name: "values of SQLite",
    own: true,
};

const NULL: u8 = 0;
const INTEGER: u8 = 1;
const REAL: u8 = 2;
const TEXT: u8 = 3;
const BLOB: u8 = 4;

/// The current row's value of a column; `None` for NULL.
pub(super) fn value(rows: &Rows, column: usize) -> Option<Classed<'_>> {
    Some(match rows.class(column) {
        Class::Null => return None,
        Class::Integer => Classed::Integer(rows.integer(column)),
        Class::Real => Classed::Real(rows.real(column)),
        Class::Text => Classed::Text(rows.bytes(column)),
        Class::Blob => Classed::Blob(rows.bytes(column)),
    })
}

/// Appends a value; `None` is NULL.
pub(super) fn push(value: Option<Classed<'_>>, out: &mut Vec<u8>) {
    let packed = |class: u8, bytes: &[u8], out: &mut Vec<u8>| {
        out.push(class);
        // No value of SQLite is longer than 2^31 - 1 bytes.
        out.extend_from_slice(&(bytes.len() as u32).to_ne_bytes());
        out.extend_from_slice(bytes);
    };
    match value {
        None => out.push(NULL),
        Some(Classed::Integer(value)) => {
            out.push(INTEGER);
            out.extend_from_slice(&value.to_ne_bytes());
        }
        Some(Classed::Real(value)) => {
            out.push(REAL);
            out.extend_from_slice(&value.to_ne_bytes());
        }
        Some(Classed::Text(text)) => packed(TEXT, text, out),
        Some(Classed::Blob(bytes)) => packed(BLOB, bytes, out),
    }
}

/// Reads values in the order in which they were appended.
pub(super) struct Values<'a> {
    rest: &'a [u8],
}

impl<'a> Values<'a> {
    /// The values of these bytes.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Values { rest: bytes }
    }

    /// The next value, `Some(None)` for NULL; `None` at the end.
    pub(super) fn next_value(&mut self) -> Option<Option<Classed<'a>>> {
        let (class, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(match *class {
            NULL => None,
            INTEGER => Some(Classed::Integer(i64::from_ne_bytes(self.eight()?))),
            REAL => Some(Classed::Real(f64::from_ne_bytes(self.eight()?))),
            TEXT => Some(Classed::Text(self.packed()?)),
            _ => Some(Classed::Blob(self.packed()?)),
        })
    }

    fn eight(&mut self) -> Option<[u8; 8]> {
        let (eight, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*eight)
    }

    fn packed(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.rest.split_first_chunk()?;
        let (bytes, rest) = rest.split_at_checked(u32::from_ne_bytes(*length) as usize)?;
        self.rest = rest;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_comes_back_as_it_was() {
        let values = [
            Some(Classed::Integer(i64::MIN)),
            None,
            Some(Classed::Real(-0.0)),
            Some(Classed::Text(b"a\0\xff")),
            Some(Classed::Blob(b"")),
            Some(Classed::Text(b"")),
        ];
        let mut bytes = Vec::new();
        values.iter().for_each(|value| push(*value, &mut bytes));
        let mut read = Values::new(&bytes);
        for value in values {
            assert_eq!(read.next_value(), Some(value));
        }
        assert_eq!(read.next_value(), None);
    }
}
