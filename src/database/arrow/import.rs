//! Record batches of Arrow's as rows: a reader for what another library in this process holds.
//!
//! Takes some rows of a record batch at a time, however many it has. Values that Arrow's type allows and dray's do not (no
//! UTF-8, a time beyond a day, a day after the year 9999) are refused with their row.

use super::{
    abi::{ArrowArray, ArrowSchema, Incoming},
    types::{Places, Type, Unit},
};
use crate::database::{
    Batch, Column, ColumnData, Error, LogicalType, Reader, Value,
    temporal::{Date, OffsetTimestamp, Time, Timestamp},
};

/// Rows that another library hands over.
pub struct Rows {
    incoming: Incoming,
    fields: Vec<Field>,
    columns: Vec<Column>,
    /// The record batch at hand, and how many of its rows are read.
    current: Option<(ArrowArray, usize)>,
    rows_read: u64,
}

/// How a column's values are found.
struct Field {
    kind: Type,
    /// What its numbers stand for.
    dictionary: Option<Box<Field>>,
    is_uuid: bool,
}

impl Rows {
    /// Looks at the type of what comes.
    ///
    /// # Errors
    /// It is no table, or has columns that no database has the like of, all of them named.
    pub fn new(incoming: Incoming) -> Result<Rows, String> {
        let schema = incoming.schema();
        if schema.format() != "+s" {
            return Err("the data are one column without a name, and no table".to_owned());
        }
        let (mut fields, mut columns, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for child in schema.children() {
            match Field::of(child) {
                Ok(field) => {
                    columns.push(field.column(child));
                    fields.push(field);
                }
                Err(words) => refused.push(format!("column `{}` is {words}", child.name())),
            }
        }
        match (refused.is_empty(), fields.is_empty()) {
            (false, _) => Err(format!("{}, which no column of a database is", refused.join("; "))),
            (true, true) => Err("the data have no columns".to_owned()),
            (true, false) => Ok(Rows {
                incoming,
                fields,
                columns,
                current: None,
                rows_read: 0,
            }),
        }
    }

    /// The columns.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Gives columns that hold nothing but NULLs the type of another column, by their names.
    pub fn retype_nulls<'a>(&mut self, like: impl Fn(&str) -> Option<&'a Column>) {
        for (field, column) in self.fields.iter().zip(&mut self.columns) {
            if field.kind == Type::Null
                && let Some(like) = like(&column.name)
            {
                column.logical = like.logical;
                column.declared.clone_from(&like.declared);
            }
        }
    }

    fn unreadable(&self, column: usize, row: usize, reason: &str) -> Error {
        Error::Unreadable {
            column: self.columns[column].name.clone(),
            row: self.rows_read + 1 + row as u64,
            reason: reason.to_owned(),
        }
    }
}

impl Field {
    fn of(schema: &ArrowSchema) -> Result<Field, String> {
        let kind = Type::parse(schema.format())?;
        let dictionary = match schema.dictionary() {
            None => None,
            Some(values) => Some(Box::new(Field::of(values)?)),
        };
        let extension = schema.metadata("ARROW:extension:name");
        Ok(Field {
            is_uuid: kind == Type::FixedBytes(16) && extension.as_deref() == Some("arrow.uuid"),
            kind,
            dictionary,
        })
    }

    /// The field whose values these are.
    fn values(&self) -> &Field {
        self.dictionary.as_deref().map_or(self, Field::values)
    }

    fn column(&self, schema: &ArrowSchema) -> Column {
        let Field { kind, is_uuid, .. } = self.values();
        Column {
            name: schema.name().to_owned(),
            logical: if *is_uuid { LogicalType::Uuid } else { kind.logical() },
            declared: kind.name(),
            nullable: schema.is_nullable() || *kind == Type::Null,
            key_position: None,
            generated: false,
            from_catalog: false,
        }
    }
}

impl Reader for Rows {
    fn read(&mut self, batch: &mut Batch, limit_bytes: usize) -> Result<bool, Error> {
        batch.clear();
        batch.first_row = self.rows_read + 1;
        let (array, start) = loop {
            match self.current.take() {
                Some((array, start)) if start < array.rows() => break (array, start),
                _ => {}
            }
            let next = self.incoming.next_batch();
            match next.map_err(|error| Error::Unsupported(format!("the data's own library says: {error}")))? {
                Some(array) if array.children().len() != self.fields.len() => {
                    return Err(Error::Unsupported(BROKEN.to_owned()));
                }
                Some(array) => self.current = Some((array, 0)),
                None => return Ok(false),
            }
        };
        if has_null_rows(&array) {
            return Err(Error::Unsupported(
                "the data have rows that are NULL as a whole".to_owned(),
            ));
        }
        let columns: Vec<Cells<'_>> = array
            .children()
            .zip(&self.fields)
            .map(|(child, field)| Cells::of(child, field, array.offset()))
            .collect();
        let mut bytes = 0;
        let mut end = start;
        while end < array.rows() && (end == start || bytes < limit_bytes) {
            bytes += columns.iter().map(|cells| cells.bytes(end)).sum::<usize>();
            end += 1;
        }
        let mut scratch = String::new();
        for (place, (cells, out)) in columns.iter().zip(&mut batch.columns).enumerate() {
            for row in start..end {
                cells
                    .push(row, out, &mut scratch)
                    .map_err(|reason| self.unreadable(place, row - start, reason))?;
            }
        }
        drop(columns);
        self.rows_read += (end - start) as u64;
        self.current = Some((array, end));
        Ok(true)
    }
}

const BROKEN: &str = "the data's parts do not fit together";

fn has_null_rows(array: &ArrowArray) -> bool {
    let rows = array.offset()..array.offset() + array.rows();
    array
        .validity()
        .is_some_and(|bits| rows.into_iter().any(|row| !bit(bits, row)))
}

/// One column of a record batch.
struct Cells<'a> {
    validity: Option<&'a [u8]>,
    /// The place of the batch's first row.
    offset: usize,
    kind: &'a Type,
    is_uuid: bool,
    values: Values<'a>,
}

enum Values<'a> {
    Nulls,
    /// So many bytes each, or bits.
    Fixed(&'a [u8], usize),
    /// Their ends in numbers of so many bytes, and all of them.
    Ends(&'a [u8], usize, &'a [u8]),
    Views(&'a [u8], Vec<&'a [u8]>),
    /// Numbers of so many bytes, and what they stand for.
    Dictionary(&'a [u8], usize, Box<Cells<'a>>),
    /// A buffer is missing.
    Broken,
}

impl<'a> Cells<'a> {
    fn of(array: &'a ArrowArray, field: &'a Field, offset: usize) -> Self {
        let fixed = |bytes: usize| array.fixed(1, bytes * 8).map(|values| (values, bytes));
        let width = match field.kind {
            Type::Integer { bits, .. } | Type::Float { bits } => Some(usize::from(bits) / 8),
            Type::Decimal { bits, .. } => Some(usize::from(bits) / 8),
            Type::FixedBytes(bytes) => Some(bytes),
            Type::Date { in_millis: false } => Some(4),
            Type::Time(unit) if unit.digits() < 6 => Some(4),
            Type::Date { .. } | Type::Time(_) | Type::Timestamp(_) | Type::Instant(_) => Some(8),
            Type::Null | Type::Boolean | Type::Text(_) | Type::Bytes(_) => None,
        };
        let found = match (&field.kind, width, &field.dictionary) {
            (_, Some(width), Some(dictionary)) => {
                fixed(width).zip(array.dictionary()).map(|((numbers, width), values)| {
                    Values::Dictionary(numbers, width, Box::new(Cells::of(values, dictionary, 0)))
                })
            }
            (_, Some(width), None) => fixed(width).map(|(values, width)| Values::Fixed(values, width)),
            (Type::Text(Places::Views) | Type::Bytes(Places::Views), ..) => array
                .fixed(1, 128)
                .map(|views| Values::Views(views, array.view_buffers())),
            (Type::Text(Places::Ends(width)) | Type::Bytes(Places::Ends(width)), ..) => array
                .varying(*width)
                .map(|(ends, bytes)| Values::Ends(ends, *width, bytes)),
            (Type::Boolean, ..) => array.fixed(1, 1).map(|bits| Values::Fixed(bits, 0)),
            _ => Some(Values::Nulls),
        };
        Cells {
            validity: match field.kind {
                Type::Null => None,
                _ => array.validity(),
            },
            offset: array.offset() + offset,
            kind: &field.kind,
            is_uuid: field.is_uuid,
            values: found.unwrap_or(Values::Broken),
        }
    }

    fn is_null(&self, row: usize) -> bool {
        matches!(self.values, Values::Nulls) || self.validity.is_some_and(|bits| !bit(bits, self.offset + row))
    }

    /// About how many bytes a value takes.
    fn bytes(&self, row: usize) -> usize {
        match &self.values {
            Values::Ends(..) | Values::Views(..) => self.cell(row).map_or(8, <[u8]>::len),
            Values::Dictionary(_, _, values) if !self.is_null(row) => {
                self.index(row).map_or(8, |index| values.bytes(index))
            }
            Values::Fixed(_, width) => (*width).max(8),
            _ => 8,
        }
    }

    /// The bytes of a value.
    fn cell(&self, row: usize) -> Option<&'a [u8]> {
        let place = self.offset + row;
        match &self.values {
            Values::Fixed(values, width) => values.get(place * width..(place + 1) * width),
            Values::Ends(ends, width, bytes) => {
                let end = |place: usize| usize::try_from(number(ends.get(place * width..(place + 1) * width)?)).ok();
                bytes.get(end(place)?..end(place + 1)?)
            }
            Values::Views(views, buffers) => {
                let view = views.get(place * 16..(place + 1) * 16)?;
                let part = |at: usize| usize::try_from(number(&view[at..at + 4])).ok();
                match part(0)? {
                    length @ ..=12 => Some(&view[4..4 + length]),
                    length => {
                        let start = part(12)?;
                        buffers.get(part(8)?)?.get(start..start.checked_add(length)?)
                    }
                }
            }
            Values::Nulls | Values::Dictionary(..) | Values::Broken => None,
        }
    }

    /// Which value of the dictionary a row's number stands for.
    fn index(&self, row: usize) -> Option<usize> {
        let Values::Dictionary(numbers, width, _) = &self.values else {
            return None;
        };
        let place = self.offset + row;
        let bytes = numbers.get(place * width..(place + 1) * width)?;
        usize::try_from(match self.kind {
            Type::Integer { signed: false, .. } => unsigned(bytes) as i64,
            _ => number(bytes),
        })
        .ok()
    }

    /// Appends a row's value.
    fn push(&self, row: usize, out: &mut ColumnData, scratch: &mut String) -> Result<(), &'static str> {
        if self.is_null(row) {
            out.push(Value::Null);
            return Ok(());
        }
        if let Values::Dictionary(_, _, values) = &self.values {
            return values.push(self.index(row).ok_or(BROKEN)?, out, scratch);
        }
        if *self.kind == Type::Boolean
            && let Values::Fixed(bits, _) = self.values
        {
            out.push(Value::I64(i64::from(bit(bits, self.offset + row))));
            return Ok(());
        }
        let bytes = self.cell(row).ok_or(BROKEN)?;
        scratch.clear();
        out.push(value(self.kind, self.is_uuid, bytes, scratch)?);
        Ok(())
    }
}

/// A value in its batch's form; `scratch` is empty, and has room for what has to be spelled.
fn value<'a>(kind: &Type, is_uuid: bool, bytes: &'a [u8], scratch: &'a mut String) -> Result<Value<'a>, &'static str> {
    use std::fmt::Write;
    Ok(match kind {
        Type::Integer {
            bits: 64,
            signed: false,
        } => {
            let _ = write!(scratch, "{}", unsigned(bytes));
            Value::Decimal(scratch)
        }
        Type::Integer { signed: false, .. } => Value::I64(unsigned(bytes) as i64),
        Type::Integer { .. } => Value::I64(number(bytes)),
        Type::Float { .. } => Value::F64(match bytes {
            [a, b] => half(u16::from_ne_bytes([*a, *b])),
            [a, b, c, d] => f64::from(f32::from_ne_bytes([*a, *b, *c, *d])),
            _ => f64::from_bits(unsigned(bytes)),
        }),
        Type::Decimal { scale, .. } => {
            spell(bytes, *scale, scratch);
            Value::Decimal(scratch)
        }
        Type::Text(_) => Value::Text(std::str::from_utf8(bytes).map_err(|_| "the text is not in UTF-8")?),
        Type::FixedBytes(_) if is_uuid => {
            let uuid = uuid::Uuid::from_slice(bytes).map_err(|_| BROKEN)?;
            let _ = write!(scratch, "{uuid}");
            Value::Text(scratch)
        }
        Type::Bytes(_) | Type::FixedBytes(_) => Value::Bytes(bytes),
        Type::Date { in_millis: false } => Value::Date(day(number(bytes))?),
        Type::Date { in_millis: true } => {
            let millis = number(bytes);
            match millis % 86_400_000 {
                0 => Value::Date(day(millis / 86_400_000)?),
                _ => return Err("the date has a time of day"),
            }
        }
        Type::Time(unit) => {
            let units = number(bytes);
            let (0, time) = days_and_time(units, *unit) else {
                return Err("the value is no time of day");
            };
            Value::Time(time)
        }
        Type::Timestamp(unit) => Value::Timestamp(timestamp(number(bytes), *unit)?),
        Type::Instant(unit) => Value::Instant(OffsetTimestamp {
            local: timestamp(number(bytes), *unit)?,
            offset_minutes: 0,
        }),
        Type::Null | Type::Boolean => return Err(BROKEN),
    })
}

const NO_YEAR: &str = "the value is after the year 9999, or so long ago that its year has no number";

fn day(days: i64) -> Result<Date, &'static str> {
    Date::from_days(days).ok_or(NO_YEAR)
}

fn timestamp(units: i64, unit: Unit) -> Result<Timestamp, &'static str> {
    let (days, time) = days_and_time(units, unit);
    Ok(Timestamp { date: day(days)?, time })
}

fn days_and_time(units: i64, unit: Unit) -> (i64, Time) {
    let of_second = 10_i64.pow(u32::from(unit.digits()));
    let (seconds, fraction) = (units.div_euclid(of_second), units.rem_euclid(of_second));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let time = Time {
        negative: false,
        hour: (second / 3_600) as u16,
        minute: (second / 60 % 60) as u16,
        second: (second % 60) as u16,
        nanosecond: (fraction * (1_000_000_000 / of_second)) as u32,
    };
    (days, time)
}

/// A whole number of one to eight bytes with a sign.
fn number(bytes: &[u8]) -> i64 {
    let unused = 64 - 8 * bytes.len().min(8) as u32;
    match unused {
        64 => 0,
        unused => ((unsigned(bytes) << unused) as i64) >> unused,
    }
}

/// The same without a sign.
fn unsigned(bytes: &[u8]) -> u64 {
    let mut whole = [0; 8];
    let length = bytes.len().min(8);
    whole[..length].copy_from_slice(&bytes[..length]);
    u64::from_le_bytes(whole)
}

fn bit(bits: &[u8], place: usize) -> bool {
    bits.get(place / 8).is_some_and(|byte| byte >> (place % 8) & 1 == 1)
}

/// A float of 16 bits.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    sign * match exponent {
        0x1f if fraction == 0.0 => f64::INFINITY,
        0x1f => f64::NAN,
        0 => fraction * 2_f64.powi(-24),
        _ => (1.0 + fraction / 1024.0) * 2_f64.powi(exponent - 15),
    }
}

/// The digits of a whole number of 4 to 32 bytes, with a point before the last `scale`.
fn spell(bytes: &[u8], scale: i16, out: &mut String) {
    let negative = bytes.last().is_some_and(|byte| byte >> 7 == 1);
    let mut parts: Vec<u64> = bytes
        .chunks(8)
        .map(|chunk| {
            if bytes.len() < 8 {
                number(chunk) as u64
            } else {
                unsigned(chunk)
            }
        })
        .collect();
    if negative {
        let mut carry = true;
        for part in &mut parts {
            (*part, carry) = (!*part).overflowing_add(u64::from(carry));
        }
    }
    // Nineteen digits at a time, the last first.
    const PIECE: u64 = 10_u64.pow(19);
    let mut pieces = Vec::new();
    while parts.iter().any(|part| *part != 0) {
        let mut rest = 0_u128;
        for part in parts.iter_mut().rev() {
            let dividend = rest << 64 | u128::from(*part);
            *part = (dividend / u128::from(PIECE)) as u64;
            rest = dividend % u128::from(PIECE);
        }
        pieces.push(rest as u64);
    }
    let mut digits = pieces.pop().unwrap_or(0).to_string();
    for piece in pieces.iter().rev() {
        digits.push_str(&format!("{piece:019}"));
    }
    if negative {
        out.push('-');
    }
    match usize::try_from(scale) {
        Ok(0) => out.push_str(&digits),
        Ok(scale) => {
            let digits = format!("{digits:0>width$}", width = scale + 1);
            let (whole, fraction) = digits.split_at(digits.len() - scale);
            out.push_str(whole);
            out.push('.');
            out.push_str(fraction);
        }
        Err(_) => {
            out.push_str(&digits);
            out.extend(std::iter::repeat_n('0', usize::from(scale.unsigned_abs())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(bytes: &[u8], scale: i16) -> String {
        let mut out = String::new();
        spell(bytes, scale, &mut out);
        out
    }

    #[test]
    fn decimals_of_every_width_are_spelled_in_full() {
        assert_eq!(spelled(&(-1_i32).to_le_bytes(), 2), "-0.01");
        assert_eq!(spelled(&i32::MIN.to_le_bytes(), 0), "-2147483648");
        assert_eq!(spelled(&i64::MIN.to_le_bytes(), 1), "-922337203685477580.8");
        assert_eq!(
            spelled(&(10_i128.pow(38) - 1).to_le_bytes(), 38),
            format!("0.{}", "9".repeat(38))
        );
        assert_eq!(
            spelled(&(-(10_i128.pow(20))).to_le_bytes(), -2),
            "-10000000000000000000000"
        );
        assert_eq!(spelled(&[0xff; 32], 0), "-1");
        assert_eq!(spelled(&[0; 32], 3), "0.000");
    }

    #[test]
    fn times_before_1970_are_those_of_their_day() {
        let spelled = |units, unit| timestamp(units, unit).unwrap().to_string();
        assert_eq!(spelled(-1, Unit::Nano), "1969-12-31 23:59:59.999999999");
        assert_eq!(spelled(i64::MIN, Unit::Nano), "1677-09-21 00:12:43.145224192");
        assert_eq!(spelled(253_402_300_799, Unit::Second), "9999-12-31 23:59:59");
        assert_eq!(timestamp(253_402_300_800, Unit::Second), Err(NO_YEAR));
        assert_eq!(timestamp(i64::MIN, Unit::Second), Err(NO_YEAR));
    }

    #[test]
    fn floats_of_16_bits_are_what_they_are_in_64() {
        assert_eq!(half(0x3c00), 1.0);
        assert_eq!(half(0xc000), -2.0);
        assert_eq!(half(0x7bff), 65_504.0);
        assert_eq!(half(0x0001), 2_f64.powi(-24));
        assert_eq!(half(0xfc00), f64::NEG_INFINITY);
        assert!(half(0x7e00).is_nan() && half(0x8000).is_sign_negative());
    }

    #[test]
    fn numbers_have_a_sign_where_their_type_does() {
        assert_eq!([number(&[0xff]), number(&[0xff, 0x7f])], [-1, 32_767]);
        assert_eq!(unsigned(&[0xff]), 255);
        assert_eq!(number(&i64::MIN.to_le_bytes()), i64::MIN);
    }
}
