//! Cells as the server writes them in a result's rows, into the columns of a batch.
//!
//! The rows of a plain query come as text (MariaDB, "Text Resultset Row"). Nothing here allocates for a cell: digits are
//! read where they lie, and what has a varying length is copied once.

use crate::database::{
    Column, ColumnData, LogicalType,
    batch::Values,
    temporal::{Date, OffsetTimestamp, Time, Timestamp},
};

/// What stands in the SELECT list for a column, so that its text says everything.
pub(super) fn expression(quoted: &str, column: &Column) -> String {
    match column.logical {
        // BIT comes as bytes.
        LogicalType::Boolean => format!("({quoted} + 0)"),
        LogicalType::Integer { .. } if column.declared.starts_with("bit") => format!("({quoted} + 0)"),
        // As text, FLOAT has six digits, and both have no more than a declared scale says. Multiplied, since adding 0
        // makes 0 of -0.
        LogicalType::Float { bits: 32 } => format!("({quoted} * 1e0)"),
        LogicalType::Float { .. } if column.declared.contains(['(', 'z']) => format!("({quoted} * 1e0)"),
        _ => quoted.to_owned(),
    }
}

/// Appends a cell, `None` for NULL, in the column's layout.
///
/// # Errors
/// Why it has no such value; never the value.
#[inline]
pub(super) fn push(cell: Option<&[u8]>, data: &mut ColumnData) -> Result<(), &'static str> {
    let Some(text) = cell else {
        data.nulls.push(true);
        match &mut data.values {
            Values::I64(values) => values.push(0),
            Values::F64(values) => values.push(0.0),
            Values::Decimal(packed) | Values::Text(packed) | Values::Bytes(packed) => packed.push(&[]),
            Values::Date(values) => values.push(Date::default()),
            Values::Time(values) => values.push(Time::default()),
            Values::Timestamp(values) => values.push(Timestamp::default()),
            Values::Instant(values) => values.push(OffsetTimestamp::default()),
        }
        return Ok(());
    };
    match &mut data.values {
        Values::I64(values) => values.push(integer(text).ok_or("the value is no 64-bit whole number")?),
        Values::F64(values) => {
            let value = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
            values.push(value.ok_or("the value is no floating-point number")?);
        }
        Values::Decimal(packed) => {
            let (sign, digits) = decimal(text).ok_or("the value is no decimal number")?;
            packed.push_with(|bytes| {
                bytes.extend_from_slice(sign);
                bytes.extend_from_slice(digits);
            });
        }
        Values::Text(packed) => {
            if !text.is_ascii() && std::str::from_utf8(text).is_err() {
                return Err("the text is not valid UTF-8");
            }
            packed.push(text);
        }
        Values::Bytes(packed) => packed.push(text),
        Values::Date(values) => {
            values.push(date(text).ok_or("the value is no date of the years 1 to 9999 (such as a zero day)")?);
        }
        Values::Time(values) => values.push(time(text).ok_or("the value is no time such as `12:34:56`")?),
        Values::Timestamp(values) => values.push(timestamp(text).ok_or(NO_TIMESTAMP)?),
        Values::Instant(values) => values.push(OffsetTimestamp {
            // The session's time zone is UTC.
            local: timestamp(text).ok_or(NO_TIMESTAMP)?,
            offset_minutes: 0,
        }),
    }
    data.nulls.push(false);
    Ok(())
}

const NO_TIMESTAMP: &str = "the value is no timestamp of the years 1 to 9999 (such as a zero day)";

/// Digits with an optional sign; leading zeros are those of a ZEROFILL column.
#[inline]
fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || digits.len() > 20 {
        return None;
    }
    // Eighteen digits cannot overflow; those beyond are checked.
    let mut value: i64 = 0;
    let (safe, rest) = digits.split_at(digits.len().min(18));
    for digit in safe {
        value = value * 10 - digit_of(*digit)?;
    }
    for digit in rest {
        value = value.checked_mul(10)?.checked_sub(digit_of(*digit)?)?;
    }
    // Counted downwards: the lowest number has no positive counterpart.
    if negative { Some(value) } else { value.checked_neg() }
}

#[inline]
fn digit_of(byte: u8) -> Option<i64> {
    let digit = byte.wrapping_sub(b'0');
    (digit < 10).then_some(i64::from(digit))
}

/// The sign and the digits of a decimal number, without the leading zeros of a ZEROFILL column.
#[inline]
fn decimal(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (sign, digits) = match text {
        [b'-', rest @ ..] => (&text[..1], rest),
        rest => (&text[..0], rest),
    };
    let mut points = 0;
    for byte in digits {
        if !byte.is_ascii_digit() {
            if *byte != b'.' {
                return None;
            }
            points += 1;
        }
    }
    if points > 1 || digits.len() == points {
        return None;
    }
    let zeros = digits.iter().take_while(|byte| **byte == b'0').count();
    let whole = digits.iter().take_while(|byte| **byte != b'.').count();
    Some((sign, &digits[zeros.min(whole.saturating_sub(1))..]))
}

#[inline]
fn two(text: &[u8], at: usize) -> Option<u16> {
    let (tens, ones) = (text[at].wrapping_sub(b'0'), text[at + 1].wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| u16::from(tens) * 10 + u16::from(ones))
}

/// `2026-11-22`, or `0000-00-00`, which is [`Date::ZERO`].
#[inline]
fn date(text: &[u8]) -> Option<Date> {
    if text.len() != 10 || text[4] != b'-' || text[7] != b'-' {
        return None;
    }
    let year = two(text, 0)? * 100 + two(text, 2)?;
    let (month, day) = (two(text, 5)?, two(text, 8)?);
    match (year, month, day) {
        (0, 0, 0) => Some(Date::ZERO),
        _ => Date::new(year as i16, month, day),
    }
}

/// `12:34:56`, with more digits of hours, a sign, or up to six digits of the second's fraction.
#[inline]
fn time(text: &[u8]) -> Option<Time> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let colon = match text {
        [_, _, b':', ..] => 2,
        [_, _, _, b':', ..] => 3,
        _ => return None,
    };
    let hour = integer(&text[..colon]).filter(|hour| *hour >= 0)? as u16;
    let rest = &text[colon..];
    if rest.len() < 6 || rest[3] != b':' {
        return None;
    }
    let (minute, second) = (two(rest, 1)?, two(rest, 4)?);
    let nanosecond = match &rest[6..] {
        [] => 0,
        [b'.', digits @ ..] if (1..=9).contains(&digits.len()) => {
            let mut value: u32 = 0;
            for digit in digits {
                value = value * 10 + digit_of(*digit)? as u32;
            }
            value * 10_u32.pow(9 - digits.len() as u32)
        }
        _ => return None,
    };
    (minute < 60 && second < 60).then_some(Time {
        negative,
        hour,
        minute,
        second,
        nanosecond,
    })
}

/// A date, a space and a time of day.
#[inline]
fn timestamp(text: &[u8]) -> Option<Timestamp> {
    if text.len() < 19 || text[10] != b' ' {
        return None;
    }
    let (date, time) = (date(&text[..10])?, time(&text[11..])?);
    let valid = time.is_of_day() && (date != Date::ZERO || time == Time::default());
    valid.then_some(Timestamp { date, time })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{Layout, Value};

    /// The value of a cell with this text; `None` if it is refused.
    fn read(layout: Layout, text: &str) -> Option<String> {
        let mut data = ColumnData::new(layout);
        push(Some(text.as_bytes()), &mut data).ok()?;
        assert_eq!(data.nulls, [false]);
        Some(match data.value(0) {
            Value::I64(value) => value.to_string(),
            Value::F64(value) => format!("{value:?}"),
            Value::Decimal(text) | Value::Text(text) => text.to_owned(),
            Value::Date(value) => value.to_string(),
            Value::Time(value) => value.to_string(),
            Value::Timestamp(value) => value.to_string(),
            Value::Instant(value) => value.to_string(),
            other => format!("{other:?}"),
        })
    }

    #[test]
    fn whole_numbers_are_read_up_to_their_limits_and_not_beyond() {
        for text in [
            "0",
            "-1",
            "9223372036854775807",
            "-9223372036854775808",
            "999999999999999999",
        ] {
            assert_eq!(read(Layout::I64, text).as_deref(), Some(text));
        }
        assert_eq!(read(Layout::I64, "0000000042").as_deref(), Some("42"));
        for text in [
            "",
            "-",
            "9223372036854775808",
            "-9223372036854775809",
            "1.0",
            "1e3",
            " 1",
            "99999999999999999999",
        ] {
            assert_eq!(read(Layout::I64, text), None, "{text}");
        }
    }

    #[test]
    fn decimals_keep_their_digits_and_lose_the_zeros_of_zerofill() {
        for text in [
            "0",
            "-0.50",
            "12345678901234567890.123456789",
            "18446744073709551615",
            "0.0",
        ] {
            assert_eq!(read(Layout::Decimal, text).as_deref(), Some(text));
        }
        assert_eq!(read(Layout::Decimal, "0000012.50").as_deref(), Some("12.50"));
        for text in ["", "-", ".", "1.2.3", "1e5", "nan"] {
            assert_eq!(read(Layout::Decimal, text), None, "{text}");
        }
    }

    #[test]
    fn dates_and_times_are_read_as_the_server_writes_them() {
        for (layout, text) in [
            (Layout::Date, "2024-02-29"),
            (Layout::Date, "0001-01-01"),
            (Layout::Date, "0000-00-00"),
            (Layout::Time, "-838:59:59.999999"),
            (Layout::Time, "00:00:00"),
            (Layout::Timestamp, "9999-12-31 23:59:59.999999"),
        ] {
            assert_eq!(read(layout, text).as_deref(), Some(text));
        }
        assert_eq!(
            read(Layout::Timestamp, "2024-02-29 12:00:00.100000").as_deref(),
            Some("2024-02-29 12:00:00.1")
        );
        assert_eq!(
            read(Layout::Instant, "2024-02-29 12:00:00").as_deref(),
            Some("2024-02-29 12:00:00+00:00")
        );
        for (layout, text) in [
            (Layout::Date, "2023-02-29"),
            (Layout::Date, "2024-00-15"),
            (Layout::Date, "2024-01-00"),
            (Layout::Date, "20240101"),
            (Layout::Timestamp, "0000-00-00 00:00:01"),
            (Layout::Timestamp, "2024-01-01"),
            (Layout::Timestamp, "2024-01-01 24:00:00"),
            (Layout::Time, "12:34"),
            (Layout::Time, "12:60:00"),
            (Layout::Time, "12:34:56."),
        ] {
            assert_eq!(read(layout, text), None, "{text}");
        }
    }

    #[test]
    fn text_that_is_not_utf_8_is_refused() {
        let mut data = ColumnData::new(Layout::Text);
        assert!(push(Some(&[b'a', 0xff]), &mut data).is_err());
    }

    #[test]
    fn null_is_null_in_every_layout() {
        for layout in [
            Layout::I64,
            Layout::F64,
            Layout::Decimal,
            Layout::Text,
            Layout::Bytes,
            Layout::Instant,
        ] {
            let mut data = ColumnData::new(layout);
            push(None, &mut data).unwrap();
            assert_eq!(data.value(0), Value::Null);
        }
    }
}
