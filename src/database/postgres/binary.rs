//! The cells of binary COPY, from and to the columns of a batch.
//!
//! The form: PostgreSQL's documentation, COPY, "Binary Format", and each type's send and receive functions. Knows rows and
//! cells, and nothing of connections.

use super::{calendar, numeric};
use crate::database::{
    Layout, LogicalType, Padding, Value,
    batch::{Batch, ColumnData, Values},
};

/// What a binary COPY begins with: signature, no flags, no extension.
pub(super) const HEADER: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// What it ends with, in place of a row's number of cells.
pub(super) const TRAILER: [u8; 2] = [0xff, 0xff];

/// The binary form of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// bool.
    Bool,
    /// int2.
    I16,
    /// int4.
    I32,
    /// int8.
    I64,
    /// oid.
    U32,
    /// float4.
    F32,
    /// float8.
    F64,
    /// numeric.
    Numeric,
    /// text, varchar, bpchar, name, json: UTF-8.
    Text,
    /// jsonb: a version, then UTF-8.
    Jsonb,
    /// bytea.
    Bytes,
    /// date.
    Date,
    /// time.
    Time,
    /// timestamp.
    Timestamp,
    /// timestamptz.
    Instant,
    /// uuid.
    Uuid,
}

/// The version that jsonb's binary form begins with.
const JSONB_VERSION: u8 = 1;

impl Cell {
    /// The form for a column of this type in a table; `None` for types that only the server knows.
    pub(super) fn of_type(logical: LogicalType) -> Option<Cell> {
        Some(match logical {
            LogicalType::Boolean => Cell::Bool,
            LogicalType::Integer { bits: 16, signed: true } => Cell::I16,
            LogicalType::Integer { bits: 32, signed: true } => Cell::I32,
            LogicalType::Integer { bits: 64, signed: true } => Cell::I64,
            LogicalType::Integer {
                bits: 32,
                signed: false,
            } => Cell::U32,
            LogicalType::Decimal { .. } => Cell::Numeric,
            LogicalType::Float { bits: 32 } => Cell::F32,
            LogicalType::Float { .. } => Cell::F64,
            LogicalType::Text { padding, .. } if padding != Padding::Stripped => Cell::Text,
            LogicalType::Bytes { .. } => Cell::Bytes,
            LogicalType::Date => Cell::Date,
            LogicalType::Time { span: false, .. } => Cell::Time,
            LogicalType::Timestamp { .. } => Cell::Timestamp,
            LogicalType::Instant { epoch_32: false, .. } => Cell::Instant,
            LogicalType::Uuid => Cell::Uuid,
            LogicalType::Json { normalized: false } => Cell::Text,
            LogicalType::Json { normalized: true } => Cell::Jsonb,
            // No type of PostgreSQL.
            LogicalType::Integer { .. }
            | LogicalType::Text { .. }
            | LogicalType::Time { .. }
            | LogicalType::Instant { .. }
            | LogicalType::Opaque => return None,
        })
    }

    /// The form of a type by its oid in pg_type.dat, the same in every version; `None` for those that are not read here.
    pub(super) fn of_oid(oid: u32) -> Option<Cell> {
        Some(match oid {
            16 => Cell::Bool,
            21 => Cell::I16,
            23 => Cell::I32,
            20 => Cell::I64,
            26 => Cell::U32,
            700 => Cell::F32,
            701 => Cell::F64,
            1700 => Cell::Numeric,
            // text, name, json, bpchar, varchar
            25 | 19 | 114 | 1042 | 1043 => Cell::Text,
            3802 => Cell::Jsonb,
            17 => Cell::Bytes,
            1082 => Cell::Date,
            1083 => Cell::Time,
            1114 => Cell::Timestamp,
            1184 => Cell::Instant,
            2950 => Cell::Uuid,
            _ => return None,
        })
    }

    /// The layout that its values have in a batch.
    pub(super) fn layout(self) -> Layout {
        match self {
            Cell::Bool | Cell::I16 | Cell::I32 | Cell::I64 | Cell::U32 => Layout::I64,
            Cell::F32 | Cell::F64 => Layout::F64,
            Cell::Numeric => Layout::Decimal,
            Cell::Text | Cell::Jsonb | Cell::Uuid => Layout::Text,
            Cell::Bytes => Layout::Bytes,
            Cell::Date => Layout::Date,
            Cell::Time => Layout::Time,
            Cell::Timestamp => Layout::Timestamp,
            Cell::Instant => Layout::Instant,
        }
    }
}

/// Why a cell was not read or written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadCell {
    /// The column's position, from 0.
    pub(super) column: usize,
    /// Why; never the value.
    pub(super) reason: &'static str,
}

const MALFORMED: &str = "the server sent a cell that does not have its type's form";

/// Appends a row's cells to the columns, which have the layouts of `cells`.
///
/// # Errors
/// The first cell that cannot be read; the columns are of no use then.
pub(super) fn read_row(row: &[u8], cells: &[Cell], columns: &mut [ColumnData]) -> Result<(), BadCell> {
    let bad = |column: usize, reason: &'static str| BadCell { column, reason };
    let count = row.split_first_chunk::<2>();
    let Some((_, mut rest)) = count.filter(|(count, _)| usize::from(u16::from_be_bytes(**count)) == cells.len()) else {
        return Err(bad(0, "the server sent a row of another number of columns"));
    };
    for (position, (cell, data)) in cells.iter().zip(columns).enumerate() {
        let Some((length, after)) = rest.split_first_chunk::<4>() else {
            return Err(bad(position, MALFORMED));
        };
        let length = i32::from_be_bytes(*length);
        if length == -1 {
            data.push(Value::Null);
            rest = after;
            continue;
        }
        let bytes = usize::try_from(length)
            .ok()
            .and_then(|length| after.split_at_checked(length));
        let Some((bytes, after)) = bytes else {
            return Err(bad(position, MALFORMED));
        };
        read_cell(*cell, bytes, &mut data.values).map_err(|reason| bad(position, reason))?;
        data.nulls.push(false);
        rest = after;
    }
    match rest {
        [] => Ok(()),
        _ => Err(bad(cells.len().saturating_sub(1), MALFORMED)),
    }
}

/// How many bytes the longest cell of a row has, and its position.
pub(super) fn longest_cell(row: &[u8]) -> Option<(usize, usize)> {
    let (_, mut rest) = row.split_first_chunk::<2>()?;
    let mut longest = None;
    let mut position = 0;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        longest = longest.max(Some((length, position)));
        rest = after.get(length..)?;
        position += 1;
    }
    longest
}

fn read_cell(cell: Cell, bytes: &[u8], values: &mut Values) -> Result<(), &'static str> {
    match (cell, values) {
        (Cell::Bool, Values::I64(values)) => match bytes {
            [value @ (0 | 1)] => values.push(i64::from(*value)),
            _ => return Err(MALFORMED),
        },
        (Cell::I16, Values::I64(values)) => values.push(i64::from(i16::from_be_bytes(fixed(bytes)?))),
        (Cell::I32, Values::I64(values)) => values.push(i64::from(i32::from_be_bytes(fixed(bytes)?))),
        (Cell::I64, Values::I64(values)) => values.push(i64::from_be_bytes(fixed(bytes)?)),
        (Cell::U32, Values::I64(values)) => values.push(i64::from(u32::from_be_bytes(fixed(bytes)?))),
        (Cell::F32, Values::F64(values)) => values.push(f64::from(f32::from_be_bytes(fixed(bytes)?))),
        (Cell::F64, Values::F64(values)) => values.push(f64::from_be_bytes(fixed(bytes)?)),
        (Cell::Numeric, Values::Decimal(values)) => {
            let mut read = false;
            values.push_with(|out| read = numeric::to_text(bytes, out));
            if !read {
                return Err(MALFORMED);
            }
        }
        (Cell::Text, Values::Text(values)) => values.push(utf8(bytes)?),
        (Cell::Jsonb, Values::Text(values)) => match bytes {
            [JSONB_VERSION, text @ ..] => values.push(utf8(text)?),
            _ => return Err("the server sent jsonb of a version that is not known"),
        },
        (Cell::Bytes, Values::Bytes(values)) => values.push(bytes),
        (Cell::Date, Values::Date(values)) => values.push(calendar::date_from_days(i32::from_be_bytes(fixed(bytes)?))?),
        (Cell::Time, Values::Time(values)) => {
            values.push(calendar::time_from_microseconds(i64::from_be_bytes(fixed(bytes)?))?);
        }
        (Cell::Timestamp, Values::Timestamp(values)) => {
            values.push(calendar::timestamp_from_microseconds(i64::from_be_bytes(fixed(
                bytes,
            )?))?);
        }
        (Cell::Instant, Values::Instant(values)) => {
            let local = calendar::timestamp_from_microseconds(i64::from_be_bytes(fixed(bytes)?))?;
            values.push(crate::database::temporal::OffsetTimestamp {
                local,
                offset_minutes: 0,
            });
        }
        (Cell::Uuid, Values::Text(values)) => {
            let bytes: [u8; 16] = fixed(bytes)?;
            values.push_with(|out| write_uuid(&bytes, out));
        }
        _ => return Err("the column's layout is not that of its cells"),
    }
    Ok(())
}

fn fixed<const BYTES: usize>(bytes: &[u8]) -> Result<[u8; BYTES], &'static str> {
    bytes.try_into().map_err(|_| MALFORMED)
}

fn utf8(bytes: &[u8]) -> Result<&[u8], &'static str> {
    match std::str::from_utf8(bytes) {
        Ok(_) => Ok(bytes),
        // A database whose encoding is SQL_ASCII sends what it has, whatever the client's encoding.
        Err(_) => Err("the text is not valid UTF-8"),
    }
}

fn write_uuid(bytes: &[u8; 16], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (position, byte) in bytes.iter().enumerate() {
        if matches!(position, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

/// Appends a row of the batch, whose columns have the layouts of `cells`.
///
/// # Errors
/// The first cell that cannot be written; what was appended is of no use then.
pub(super) fn write_row(batch: &Batch, row: usize, cells: &[Cell], out: &mut Vec<u8>) -> Result<(), BadCell> {
    out.extend_from_slice(&(cells.len() as u16).to_be_bytes());
    for (position, (cell, data)) in cells.iter().zip(&batch.columns).enumerate() {
        if data.nulls[row] {
            out.extend_from_slice(&(-1_i32).to_be_bytes());
            continue;
        }
        write_cell(*cell, &data.values, row, out).map_err(|reason| BadCell {
            column: position,
            reason,
        })?;
    }
    Ok(())
}

fn write_cell(cell: Cell, values: &Values, row: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
    const RANGE: &str = "the value is outside the range of the column's type";
    match (cell, values) {
        (Cell::Bool, Values::I64(values)) => match values[row] {
            value @ (0 | 1) => append(out, [value as u8]),
            _ => return Err(RANGE),
        },
        (Cell::I16, Values::I64(values)) => append(out, i16::try_from(values[row]).map_err(|_| RANGE)?.to_be_bytes()),
        (Cell::I32, Values::I64(values)) => append(out, i32::try_from(values[row]).map_err(|_| RANGE)?.to_be_bytes()),
        (Cell::I64, Values::I64(values)) => append(out, values[row].to_be_bytes()),
        (Cell::U32, Values::I64(values)) => append(out, u32::try_from(values[row]).map_err(|_| RANGE)?.to_be_bytes()),
        (Cell::F32, Values::F64(values)) => {
            let narrow = values[row] as f32;
            if f64::from(narrow) != values[row] && !narrow.is_nan() {
                return Err("the value needs 64 bits, and the column's floating-point numbers have 32");
            }
            append(out, narrow.to_be_bytes());
        }
        (Cell::F64, Values::F64(values)) => append(out, values[row].to_be_bytes()),
        (Cell::Numeric, Values::Decimal(values)) => {
            let start = out.len();
            out.extend_from_slice(&[0; 4]);
            if !numeric::from_text(values.get(row), out) {
                return Err("the value is no decimal number of at most 16383 digits after the point");
            }
            let length = (out.len() - start - 4) as u32;
            out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        }
        (Cell::Text, Values::Text(values)) | (Cell::Bytes, Values::Bytes(values)) => {
            append_long(out, None, values.get(row))?;
        }
        (Cell::Jsonb, Values::Text(values)) => append_long(out, Some(JSONB_VERSION), values.get(row))?,
        (Cell::Date, Values::Date(values)) => append(out, calendar::days_from_date(values[row]).to_be_bytes()),
        (Cell::Time, Values::Time(values)) => {
            append(out, calendar::microseconds_from_time(values[row])?.to_be_bytes());
        }
        (Cell::Timestamp, Values::Timestamp(values)) => {
            append(out, calendar::microseconds_from_timestamp(values[row])?.to_be_bytes());
        }
        (Cell::Instant, Values::Instant(values)) => {
            append(out, calendar::microseconds_from_instant(values[row])?.to_be_bytes());
        }
        (Cell::Uuid, Values::Text(values)) => {
            let text = std::str::from_utf8(values.get(row)).unwrap_or_default();
            let uuid = uuid::Uuid::parse_str(text).map_err(|_| "the text is no UUID")?;
            append(out, *uuid.as_bytes());
        }
        _ => return Err("the column's layout is not that of its cells"),
    }
    Ok(())
}

/// Appends a cell of a few bytes with its length, at once.
#[inline]
fn append<const BYTES: usize>(out: &mut Vec<u8>, bytes: [u8; BYTES]) {
    let mut cell = [0_u8; 20];
    cell[..4].copy_from_slice(&(BYTES as u32).to_be_bytes());
    cell[4..4 + BYTES].copy_from_slice(&bytes);
    out.extend_from_slice(&cell[..4 + BYTES]);
}

fn append_long(out: &mut Vec<u8>, version: Option<u8>, bytes: &[u8]) -> Result<(), &'static str> {
    let length = bytes.len() + usize::from(version.is_some());
    let length = i32::try_from(length).map_err(|_| "the value is longer than 2 GiB, which the server does not take")?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend(version);
    out.extend_from_slice(bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::temporal::{Date, OffsetTimestamp, Time, Timestamp};

    /// A row of these values, there and back.
    fn there_and_back(cells: &[(Cell, Value<'_>)]) {
        let forms: Vec<Cell> = cells.iter().map(|(cell, _)| *cell).collect();
        let mut batch = Batch::new(forms.iter().map(|cell| cell.layout()));
        for ((_, value), data) in cells.iter().zip(&mut batch.columns) {
            data.push(*value);
        }
        let mut row = Vec::new();
        write_row(&batch, 0, &forms, &mut row).unwrap();
        let mut read = Batch::new(forms.iter().map(|cell| cell.layout()));
        read_row(&row, &forms, &mut read.columns).unwrap();
        for ((cell, value), data) in cells.iter().zip(&read.columns) {
            assert_eq!(data.value(0), *value, "{cell:?}");
        }
    }

    #[test]
    fn every_cell_is_the_same_there_and_back() {
        let instant = OffsetTimestamp {
            local: Timestamp::parse("2024-02-29 23:59:59.999999").unwrap(),
            offset_minutes: 0,
        };
        there_and_back(&[
            (Cell::Bool, Value::I64(1)),
            (Cell::I16, Value::I64(i16::MIN.into())),
            (Cell::I32, Value::I64(i32::MIN.into())),
            (Cell::I64, Value::I64(i64::MIN)),
            (Cell::U32, Value::I64(u32::MAX.into())),
            (Cell::F32, Value::F64(f64::from(0.1_f32))),
            (Cell::F64, Value::F64(5e-324)),
            (Cell::Numeric, Value::Decimal("-12345678901234567890.000100")),
            (Cell::Text, Value::Text("é\u{1F600} \\ \n")),
            (Cell::Text, Value::Text("")),
            (Cell::Text, Value::Null),
            (Cell::Jsonb, Value::Text("{\"a\": 1}")),
            (Cell::Bytes, Value::Bytes(&[0, 255, 10])),
            (Cell::Date, Value::Date(Date::parse("0001-01-01").unwrap())),
            (Cell::Time, Value::Time(Time::parse("23:59:59.000001").unwrap())),
            (
                Cell::Timestamp,
                Value::Timestamp(Timestamp::parse("9999-12-31 23:59:59.999999").unwrap()),
            ),
            (Cell::Instant, Value::Instant(instant)),
            (Cell::Uuid, Value::Text("12345678-1234-5678-9abc-def012345678")),
        ]);
    }

    #[test]
    fn a_row_is_laid_out_as_the_server_does_it() {
        let mut batch = Batch::new([Layout::I64, Layout::Text]);
        batch.columns[0].push(Value::I64(258));
        batch.columns[1].push(Value::Null);
        let mut row = Vec::new();
        write_row(&batch, 0, &[Cell::I32, Cell::Text], &mut row).unwrap();
        assert_eq!(row, [0, 2, 0, 0, 0, 4, 0, 0, 1, 2, 255, 255, 255, 255]);
        assert_eq!(longest_cell(&row), Some((4, 0)));
    }

    #[test]
    fn a_row_that_is_not_what_was_asked_for_is_refused() {
        let mut columns = [ColumnData::new(Layout::I64)];
        for row in [
            &[][..],
            &[0, 2, 0, 0, 0, 4, 0, 0, 0, 1],
            &[0, 1, 0, 0, 0, 4, 0, 0, 1],
            &[0, 1, 0, 0, 0, 2, 0, 0],
            &[0, 1, 0, 0, 0, 4, 0, 0, 0, 1, 0],
            &[0, 1, 255, 255, 255, 254],
        ] {
            assert!(read_row(row, &[Cell::I32], &mut columns).is_err(), "{row:?}");
        }
    }

    #[test]
    fn a_value_that_the_type_does_not_hold_is_refused() {
        let write = |cell: Cell, value: Value<'_>| {
            let mut batch = Batch::new([cell.layout()]);
            batch.columns[0].push(value);
            write_row(&batch, 0, &[cell], &mut Vec::new())
        };
        for (cell, value) in [
            (Cell::Bool, Value::I64(2)),
            (Cell::I16, Value::I64(32_768)),
            (Cell::I32, Value::I64(1 << 31)),
            (Cell::U32, Value::I64(-1)),
            (Cell::F32, Value::F64(0.1)),
            (Cell::Numeric, Value::Decimal("1e5")),
            (Cell::Uuid, Value::Text("geheim")),
        ] {
            assert_eq!(write(cell, value).unwrap_err().column, 0, "{cell:?}");
        }
        assert_eq!(write(Cell::F32, Value::F64(f64::NAN)), Ok(()));
        assert_eq!(write(Cell::F32, Value::F64(f64::NEG_INFINITY)), Ok(()));
    }
}
