//! The rows of COPY's text format, from the columns of a batch: for types whose binary form only the server knows.
//!
//! The form: PostgreSQL's documentation, COPY, "Text Format"; the spelling of values is what each type's input function reads
//! whatever the session's settings.

use std::io::Write;

use crate::database::{
    LogicalType,
    batch::{Batch, Values},
    temporal::{Date, OffsetTimestamp, Time, Timestamp},
};

use super::{binary::BadCell, calendar};

/// Appends a row of the batch as a line.
///
/// # Errors
/// The first cell that cannot be written; what was appended is of no use then.
pub(super) fn write_row(batch: &Batch, row: usize, types: &[LogicalType], out: &mut Vec<u8>) -> Result<(), BadCell> {
    for (position, (logical, data)) in types.iter().zip(&batch.columns).enumerate() {
        if position > 0 {
            out.push(b'\t');
        }
        if data.nulls[row] {
            out.extend_from_slice(b"\\N");
            continue;
        }
        write_cell(*logical, &data.values, row, out).map_err(|reason| BadCell {
            column: position,
            reason,
        })?;
    }
    out.push(b'\n');
    Ok(())
}

fn write_cell(logical: LogicalType, values: &Values, row: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
    let written = match values {
        Values::I64(values) if logical == LogicalType::Boolean => {
            out.push(if values[row] == 0 { b'f' } else { b't' });
            Ok(())
        }
        Values::I64(values) => write!(out, "{}", values[row]),
        Values::F64(values) => write_float(logical, values[row], out),
        Values::Decimal(values) => {
            out.extend_from_slice(values.get(row));
            Ok(())
        }
        Values::Text(values) => {
            escape(values.get(row), out);
            Ok(())
        }
        Values::Bytes(values) => {
            out.extend_from_slice(b"\\\\x");
            values.get(row).iter().try_for_each(|byte| write!(out, "{byte:02x}"))
        }
        Values::Date(values) => write_date(values[row], out).and_then(|()| write_era(values[row], out)),
        Values::Time(values) => {
            calendar::microseconds_from_time(values[row])?;
            write_time(values[row], out)
        }
        Values::Timestamp(values) => {
            calendar::microseconds_from_timestamp(values[row])?;
            write_timestamp(values[row], "", out)
        }
        Values::Instant(values) => {
            let OffsetTimestamp { local, offset_minutes } = values[row];
            calendar::microseconds_from_timestamp(local)?;
            let sign = if offset_minutes < 0 { '-' } else { '+' };
            let minutes = offset_minutes.unsigned_abs();
            write_timestamp(local, &format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60), out)
        }
    };
    written.map_err(|_| "the value cannot be spelled")
}

/// Signs that the text format gives a meaning to.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(position) = rest
        .iter()
        .position(|byte| matches!(byte, b'\\' | b'\n' | b'\r' | b'\t'))
    {
        out.extend_from_slice(&rest[..position]);
        out.extend_from_slice(match rest[position] {
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            _ => b"\\\\",
        });
        rest = &rest[position + 1..];
    }
    out.extend_from_slice(rest);
}

fn write_float(logical: LogicalType, value: f64, out: &mut Vec<u8>) -> std::io::Result<()> {
    match value {
        value if value.is_nan() => out.write_all(b"NaN"),
        f64::INFINITY => out.write_all(b"Infinity"),
        f64::NEG_INFINITY => out.write_all(b"-Infinity"),
        // The shortest digits that are read back as the same number of the column's width.
        value if logical == (LogicalType::Float { bits: 32 }) => write!(out, "{:?}", value as f32),
        value => write!(out, "{value:?}"),
    }
}

fn write_date(date: Date, out: &mut Vec<u8>) -> std::io::Result<()> {
    match date {
        Date::INFINITY => out.write_all(b"infinity"),
        Date::NEGATIVE_INFINITY => out.write_all(b"-infinity"),
        Date { year, month, day } => {
            let year = if year <= 0 { 1 - year } else { year };
            write!(out, "{year:04}-{month:02}-{day:02}")
        }
    }
}

fn write_era(date: Date, out: &mut Vec<u8>) -> std::io::Result<()> {
    match date.year <= 0 && !date.is_infinite() {
        true => out.write_all(b" BC"),
        false => Ok(()),
    }
}

fn write_time(time: Time, out: &mut Vec<u8>) -> std::io::Result<()> {
    let Time {
        hour, minute, second, ..
    } = time;
    write!(out, "{hour:02}:{minute:02}:{second:02}.{:06}", time.nanosecond / 1_000)
}

fn write_timestamp(timestamp: Timestamp, zone: &str, out: &mut Vec<u8>) -> std::io::Result<()> {
    write_date(timestamp.date, out)?;
    if timestamp.date.is_infinite() {
        return Ok(());
    }
    out.push(b' ');
    write_time(timestamp.time, out)?;
    out.extend_from_slice(zone.as_bytes());
    write_era(timestamp.date, out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Value;

    fn line(cells: &[(LogicalType, Value<'_>)]) -> String {
        let types: Vec<LogicalType> = cells.iter().map(|(logical, _)| *logical).collect();
        let mut batch = Batch::new(types.iter().map(|logical| logical.layout()));
        for ((_, value), data) in cells.iter().zip(&mut batch.columns) {
            data.push(*value);
        }
        let mut out = Vec::new();
        write_row(&batch, 0, &types, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn signs_with_a_meaning_are_escaped_and_null_is_not_empty() {
        let cells = [
            (LogicalType::TEXT, Value::Text("a\tb\nc\rd\\e\\N")),
            (LogicalType::TEXT, Value::Text("")),
            (LogicalType::Opaque, Value::Null),
            (LogicalType::BYTES, Value::Bytes(&[0, 0xab])),
        ];
        assert_eq!(line(&cells), "a\\tb\\nc\\rd\\\\e\\\\N\t\t\\N\t\\\\x00ab\n");
    }

    #[test]
    fn values_are_spelled_so_that_no_setting_changes_them() {
        const SINGLE: LogicalType = LogicalType::Float { bits: 32 };
        const DOUBLE: LogicalType = LogicalType::Float { bits: 64 };
        const INSTANT: LogicalType = LogicalType::Instant {
            digits: 6,
            epoch_32: false,
        };
        let instant = OffsetTimestamp::parse("2024-07-01 12:00:00.5-03:30").unwrap();
        let bc = Timestamp {
            date: Date {
                year: -43,
                month: 3,
                day: 15,
            },
            time: Time::default(),
        };
        let infinite = Timestamp {
            date: Date::INFINITY,
            time: Time::default(),
        };
        for (logical, value, spelled) in [
            (LogicalType::Boolean, Value::I64(1), "t"),
            (
                LogicalType::Integer { bits: 64, signed: true },
                Value::I64(i64::MIN),
                "-9223372036854775808",
            ),
            (SINGLE, Value::F64(f64::from(0.1_f32)), "0.1"),
            (DOUBLE, Value::F64(5e-324), "5e-324"),
            (DOUBLE, Value::F64(f64::NEG_INFINITY), "-Infinity"),
            (DOUBLE, Value::F64(-0.0), "-0.0"),
            (LogicalType::DECIMAL, Value::Decimal("-1.50"), "-1.50"),
            (LogicalType::Date, Value::Date(bc.date), "0044-03-15 BC"),
            (LogicalType::Date, Value::Date(Date::NEGATIVE_INFINITY), "-infinity"),
            (
                LogicalType::Timestamp { digits: 6 },
                Value::Timestamp(bc),
                "0044-03-15 00:00:00.000000 BC",
            ),
            (
                LogicalType::Timestamp { digits: 6 },
                Value::Timestamp(infinite),
                "infinity",
            ),
            (INSTANT, Value::Instant(instant), "2024-07-01 12:00:00.500000-03:30"),
        ] {
            assert_eq!(line(&[(logical, value)]), format!("{spelled}\n"));
        }
    }

    #[test]
    fn a_fraction_that_the_server_would_round_is_refused() {
        let mut batch = Batch::new([LogicalType::Time { digits: 9, span: false }.layout()]);
        batch.columns[0].push(Value::Time(Time::parse("12:00:00.1234567").unwrap()));
        let types = [LogicalType::Time { digits: 6, span: false }];
        assert!(write_row(&batch, 0, &types, &mut Vec::new()).is_err());
    }
}
