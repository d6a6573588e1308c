//! The checksum of a table's rows: the same for equal values, whatever product they come from and in whatever order.
//!
//! A row is written down in a form that leaves nothing open but its values: numbers without zeros that say nothing, points
//! in time in UTC, a date as its midnight, text in UTF-8 without the filling of a column of fixed length. Its hash is
//! XXH3 of 128 bits, and the checksum is the sum of all rows' hashes modulo 2^128. It finds mistakes, not forgeries.

use std::fmt;

use twox_hash::XxHash3_128;

use crate::database::{
    Batch, Column, LogicalType, Padding,
    batch::{ColumnData, Values},
    decimal::Digits,
    temporal::{Date, Time, Timestamp},
};

/// What a set of rows sums up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checksum {
    /// How many rows there are.
    pub rows: u64,
    /// The sum of their hashes modulo 2^128.
    pub sum: u128,
}

impl Checksum {
    /// Takes a row in by its hash.
    pub(super) fn add(&mut self, hash: u128) {
        self.rows += 1;
        self.sum = self.sum.wrapping_add(hash);
    }

    /// That of both sets of rows together.
    pub(super) fn and(self, other: Checksum) -> Checksum {
        Checksum {
            rows: self.rows.wrapping_add(other.rows),
            sum: self.sum.wrapping_add(other.sum),
        }
    }
}

impl fmt::Display for Checksum {
    /// The sum in hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.sum)
    }
}

/// Hashes rows of the same columns.
#[derive(Clone, Debug)]
pub(super) struct RowHasher {
    columns: Vec<Spelling>,
    written: Vec<u8>,
}

/// What of a column's text is no part of its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spelling {
    /// Nothing.
    Exact,
    /// Spaces at the end: filling of a column of fixed length.
    Filled,
    /// Large and small letters: a UUID.
    Caseless,
}

/// Bytes of one row that are kept from one to the next.
const WRITTEN_BYTES_MAX: usize = 1 << 20;

/// What stands before a value, and says how it goes on.
mod tag {
    pub const NULL: u8 = 0;
    /// A number of at most 18 digits: all of them as a whole number, and how many are behind the point.
    pub const NUMBER: u8 = 1;
    /// Digits of a longer one, or `NaN` and the like; with their length.
    pub const DIGITS: u8 = 2;
    /// The bits of a floating-point number.
    pub const FLOAT: u8 = 3;
    /// UTF-8, with its length.
    pub const TEXT: u8 = 4;
    /// Bytes, with their length.
    pub const BYTES: u8 = 5;
    /// Day and time of day.
    pub const TIMESTAMP: u8 = 6;
    /// A time of day, or a span.
    pub const TIME: u8 = 7;
    /// Minutes ahead of UTC, for a point in time beyond the calendar there; a timestamp follows.
    pub const OFFSET: u8 = 8;
}

impl RowHasher {
    /// For rows of these columns.
    pub fn of(columns: &[Column]) -> RowHasher {
        let spelling = |column: &Column| match column.logical {
            LogicalType::Text { padding, .. } if padding != Padding::None => Spelling::Filled,
            LogicalType::Uuid => Spelling::Caseless,
            _ => Spelling::Exact,
        };
        RowHasher {
            columns: columns.iter().map(spelling).collect(),
            written: Vec::new(),
        }
    }

    /// Takes all rows of a batch in.
    pub fn add_all(&mut self, batch: &Batch, checksum: &mut Checksum) {
        for row in 0..batch.rows() {
            checksum.add(self.hash(&batch.columns, row));
        }
    }

    /// The hash of a row, counted from 0.
    pub fn hash(&mut self, columns: &[ColumnData], row: usize) -> u128 {
        self.written.clear();
        self.written.shrink_to(WRITTEN_BYTES_MAX);
        for (data, spelling) in columns.iter().zip(&self.columns) {
            write_cell(data, row, *spelling, &mut self.written);
        }
        XxHash3_128::oneshot(&self.written)
    }
}

#[inline]
fn write_cell(data: &ColumnData, row: usize, spelling: Spelling, out: &mut Vec<u8>) {
    if data.nulls[row] {
        out.push(tag::NULL);
        return;
    }
    match &data.values {
        Values::I64(values) => write_integer(values[row], out),
        Values::F64(values) => {
            // Each product has a NaN of its own.
            let value = if values[row].is_nan() { f64::NAN } else { values[row] };
            out.push(tag::FLOAT);
            out.extend_from_slice(&value.to_bits().to_le_bytes());
        }
        Values::Decimal(packed) => write_decimal(packed.get(row), out),
        Values::Text(packed) => {
            let text = packed.get(row);
            match spelling {
                Spelling::Exact => write_bytes(tag::TEXT, text, out),
                Spelling::Filled => {
                    let end = text.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
                    write_bytes(tag::TEXT, &text[..end], out);
                }
                Spelling::Caseless => {
                    write_bytes(tag::TEXT, text, out);
                    let start = out.len() - text.len();
                    out[start..].make_ascii_lowercase();
                }
            }
        }
        Values::Bytes(packed) => write_bytes(tag::BYTES, packed.get(row), out),
        Values::Date(values) => write_timestamp(
            Timestamp {
                date: values[row],
                time: Time::default(),
            },
            out,
        ),
        Values::Time(values) => {
            out.push(tag::TIME);
            out.extend_from_slice(&values[row].nanoseconds().to_le_bytes());
        }
        Values::Timestamp(values) => write_timestamp(values[row], out),
        Values::Instant(values) => match values[row].utc() {
            Some(utc) => write_timestamp(utc, out),
            None => {
                out.push(tag::OFFSET);
                out.extend_from_slice(&values[row].offset_minutes.to_le_bytes());
                write_timestamp(values[row].local, out);
            }
        },
    }
}

fn write_bytes(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// The first whole number of more digits than [`tag::NUMBER`] has.
const TOO_LONG: u64 = 1_000_000_000_000_000_000;

/// The most digits of [`tag::NUMBER`]: as many as every such number of 64 bits may have.
const DIGITS_MAX: usize = 18;

fn write_integer(value: i64, out: &mut Vec<u8>) {
    if value.unsigned_abs() < TOO_LONG {
        write_number(value, 0, out);
    } else {
        write_bytes(tag::DIGITS, value.to_string().as_bytes(), out);
    }
}

fn write_number(digits: i64, behind_point: u8, out: &mut Vec<u8>) {
    out.push(tag::NUMBER);
    out.extend_from_slice(&digits.to_le_bytes());
    out.push(behind_point);
}

#[inline]
fn write_decimal(text: &[u8], out: &mut Vec<u8>) {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.len() <= DIGITS_MAX + 1 {
        let (mut number, mut behind_point, mut count, mut point) = (0_i64, 0_u8, 0, false);
        let plain = digits.iter().all(|byte| match byte {
            b'0'..=b'9' if count < DIGITS_MAX => {
                number = number * 10 + i64::from(byte - b'0');
                behind_point += u8::from(point);
                count += 1;
                true
            }
            b'.' if !point => {
                point = true;
                true
            }
            _ => false,
        });
        if plain && count > 0 {
            while behind_point > 0 && number % 10 == 0 {
                number /= 10;
                behind_point -= 1;
            }
            return write_number(if negative { -number } else { number }, behind_point, out);
        }
    }
    write_long_decimal(text, out);
}

/// One of more digits as they are written; they may be fewer without the zeros that say nothing.
fn write_long_decimal(text: &[u8], out: &mut Vec<u8>) {
    let Some(digits) = std::str::from_utf8(text).ok().and_then(Digits::parse) else {
        // `NaN`, `Infinity`.
        return write_bytes(tag::DIGITS, text, out);
    };
    let Digits {
        negative,
        whole,
        fraction,
    } = digits;
    let sign = if negative { "-" } else { "" };
    if whole.len() + fraction.len() <= DIGITS_MAX
        && let Ok(number) = format!("{sign}0{whole}{fraction}").parse()
    {
        return write_number(number, fraction.len() as u8, out);
    }
    let point = if fraction.is_empty() { "" } else { "." };
    write_bytes(tag::DIGITS, format!("{sign}{whole}{point}{fraction}").as_bytes(), out);
}

fn write_timestamp(timestamp: Timestamp, out: &mut Vec<u8>) {
    let Date { year, month, day } = timestamp.date;
    out.push(tag::TIMESTAMP);
    out.extend_from_slice(&year.to_le_bytes());
    out.extend_from_slice(&[month as u8, day as u8]);
    out.extend_from_slice(&timestamp.time.nanoseconds().to_le_bytes());
}

#[cfg(test)]
#[path = "checksum_tests.rs"]
mod tests;
