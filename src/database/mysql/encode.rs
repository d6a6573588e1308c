//! Rows of a batch in a text that the server reads: the file of a `LOAD DATA`, or the rows of an INSERT.
//!
//! Every byte of a value arrives as it is. Nothing is allocated for a cell.

use std::io::Write as _;

use crate::database::{
    Batch, Column, ColumnData,
    batch::Values,
    temporal::{Date, Time, Timestamp},
};

/// Which text it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Fields with tabs between them, rows with line feeds behind them, NULL as `\N`, escaped by backslashes.
    File,
    /// `('a','b',NULL)` and a comma behind each row.
    Values,
}

/// What is particular about one column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FieldRules {
    /// Whether it is a YEAR: `0` as text would become 2000.
    year: bool,
    /// The members of an ENUM or SET: a text that is none, but a number, would be taken for a position.
    members: Option<Vec<String>>,
    /// Whether a number must stand without quotes, since quoted it would be taken for bytes (BIT).
    bit: bool,
    /// Whether the server stores 0 for -0.0, also from its binary protocol: MariaDB does, MySQL does not.
    loses_negative_zero: bool,
    /// Whether text is said to be bytes, so that its encoding is not looked at.
    binary: bool,
}

impl FieldRules {
    /// The rules for a target's column, in MariaDB or in MySQL.
    pub(super) fn of(column: &Column, mariadb: bool) -> FieldRules {
        let declared = column.declared.to_ascii_lowercase();
        FieldRules {
            year: declared.starts_with("year"),
            members: (declared.starts_with("enum(") || declared.starts_with("set(")).then(|| members(&column.declared)),
            bit: declared.starts_with("bit"),
            loses_negative_zero: mariadb,
            binary: column.logical.layout() == crate::database::Layout::Bytes,
        }
    }

    /// Whether a text or number goes into the column as it is written: it is none of YEAR, BIT, ENUM and SET.
    pub(super) fn takes_lines(column: &Column) -> bool {
        let rules = FieldRules::of(column, true);
        !rules.year && !rules.bit && !rules.binary && rules.members.is_none()
    }
}

/// The members of `enum('a','b''c')`.
fn members(declared: &str) -> Vec<String> {
    let mut members = Vec::new();
    let mut rest = declared;
    while let Some(start) = rest.find('\'') {
        let mut member = String::new();
        rest = &rest[start + 1..];
        while let Some(end) = rest.find('\'') {
            member.push_str(&rest[..end]);
            rest = &rest[end + 1..];
            match rest.strip_prefix('\'') {
                Some(after) => {
                    member.push('\'');
                    rest = after;
                }
                None => break,
            }
        }
        members.push(member);
    }
    members
}

/// Appends row `row` of the batch.
///
/// # Errors
/// The position of a column and why its value would become another one; what was appended is to be forgotten.
pub(super) fn row(
    form: Form,
    batch: &Batch,
    row: usize,
    rules: &[FieldRules],
    out: &mut Vec<u8>,
) -> Result<(), (usize, String)> {
    for (position, (data, rules)) in batch.columns.iter().zip(rules).enumerate() {
        match (form, position) {
            (Form::File, 0) => {}
            (Form::File, _) => out.push(b'\t'),
            (Form::Values, 0) => out.push(b'('),
            (Form::Values, _) => out.push(b','),
        }
        match form {
            _ if !data.nulls[row] => field(form, data, row, rules, out).map_err(|reason| (position, reason))?,
            Form::File => out.extend_from_slice(b"\\N"),
            Form::Values => out.extend_from_slice(b"NULL"),
        }
    }
    match form {
        Form::File => out.push(b'\n'),
        Form::Values => out.extend_from_slice(b"),"),
    }
    Ok(())
}

#[inline]
fn field(form: Form, data: &ColumnData, row: usize, rules: &FieldRules, out: &mut Vec<u8>) -> Result<(), String> {
    // In quotes: a number in an INSERT would be rounded on its way through a type of the server's choice.
    let quoted = form == Form::Values && !rules.bit && !matches!(data.values, Values::I64(_) if !rules.year);
    if quoted {
        out.extend_from_slice(if rules.binary { b"_binary'" } else { b"'" });
    }
    match &data.values {
        Values::I64(values) if rules.year => year(values[row], out)?,
        Values::I64(values) => integer(values[row], out),
        // The shortest digits that are read back as the same number, with an exponent where they would be hundreds.
        Values::F64(values) => {
            if rules.loses_negative_zero && values[row] == 0.0 && values[row].is_sign_negative() {
                return Err("the value is -0.0, of which the target keeps 0".to_owned());
            }
            let _ = write!(out, "{:?}", values[row]);
        }
        Values::Decimal(packed) => out.extend_from_slice(packed.get(row)),
        Values::Text(packed) => {
            let text = packed.get(row);
            if let Some(members) = &rules.members {
                member(text, members)?;
            }
            escaped(form, text, out);
        }
        Values::Bytes(packed) => escaped(form, packed.get(row), out),
        Values::Date(values) => date(values[row], out),
        Values::Time(values) => time(values[row], out),
        Values::Timestamp(values) => timestamp(values[row], out),
        Values::Instant(values) => {
            let instant = values[row];
            let utc = match instant.offset_minutes {
                0 => Some(instant.local),
                _ => instant.utc(),
            };
            timestamp(utc.ok_or("the value is outside the years 1 to 9999 in UTC")?, out);
        }
    }
    if quoted {
        out.push(b'\'');
    }
    Ok(())
}

/// The server reads two digits as a year around 2000.
fn year(value: i64, out: &mut Vec<u8>) -> Result<(), String> {
    match value {
        0 => out.extend_from_slice(b"0000"),
        1901..=2155 => integer(value, out),
        _ => return Err("the value is no year of 1901 to 2155, nor 0, which the target column holds".to_owned()),
    }
    Ok(())
}

/// Whether the server takes this text for a member and not for a member's number.
fn member(text: &[u8], members: &[String]) -> Result<(), String> {
    let digits = text.trim_ascii_start();
    let digits = digits
        .strip_prefix(b"-")
        .or(digits.strip_prefix(b"+"))
        .unwrap_or(digits);
    let is_number = !digits.is_empty() && digits.trim_ascii_end().iter().all(u8::is_ascii_digit);
    match is_number && !members.iter().any(|member| member.as_bytes() == text) {
        true => Err("the text is a number and no member of the target's ENUM or SET, \
                     which would take the member at that position"
            .to_owned()),
        false => Ok(()),
    }
}

/// Bytes that stand behind a backslash, as the letter that stands for them.
#[inline]
fn escaped(form: Form, bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    loop {
        let found = match form {
            Form::File => memchr::memchr3(b'\\', b'\t', b'\n', rest),
            Form::Values => memchr::memchr3(b'\\', b'\'', 0, rest),
        };
        let Some(at) = found else { break };
        out.extend_from_slice(&rest[..at]);
        out.push(b'\\');
        out.push(match rest[at] {
            b'\t' => b't',
            b'\n' => b'n',
            0 => b'0',
            other => other,
        });
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// The digits of 00 to 99.
static PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + number as u8 / 10, b'0' + number as u8 % 10];
        number += 1;
    }
    pairs
};

#[inline]
fn pair(number: impl Into<usize>) -> [u8; 2] {
    // Two digits are all that a month, a minute and the like can have.
    PAIRS[number.into() % 100]
}

#[inline]
fn integer(value: i64, out: &mut Vec<u8>) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    while rest >= 10 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[(rest % 100) as usize]);
        rest /= 100;
    }
    // What is left is one digit, or none after an even number of them.
    if rest > 0 || at == digits.len() {
        at -= 1;
        digits[at] = b'0' + rest as u8;
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

#[inline]
fn date(value: Date, out: &mut Vec<u8>) {
    // Years are 0 to 9999: what lies outside, the conversion has refused.
    let year = value.year.unsigned_abs();
    let ([a, b], [c, d]) = (pair(year / 100), pair(year % 100));
    let ([e, f], [g, h]) = (pair(value.month), pair(value.day));
    out.extend_from_slice(&[a, b, c, d, b'-', e, f, b'-', g, h]);
}

#[inline]
fn time(value: Time, out: &mut Vec<u8>) {
    if value.negative {
        out.push(b'-');
    }
    if value.hour >= 100 {
        integer(i64::from(value.hour / 100), out);
    }
    let ([a, b], [c, d], [e, f]) = (pair(value.hour % 100), pair(value.minute), pair(value.second));
    out.extend_from_slice(&[a, b, b':', c, d, b':', e, f]);
    if value.nanosecond != 0 {
        let start = out.len();
        let _ = write!(out, ".{:09}", value.nanosecond);
        let end = start + 1 + usize::from(value.fraction_digits());
        out.truncate(end);
    }
}

#[inline]
fn timestamp(value: Timestamp, out: &mut Vec<u8>) {
    date(value.date, out);
    out.push(b' ');
    time(value.time, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{Layout, LogicalType, Value, temporal::OffsetTimestamp};

    fn column(declared: &str, logical: LogicalType) -> Column {
        Column {
            name: "c".to_owned(),
            logical,
            declared: declared.to_owned(),
            nullable: true,
            key_position: None,
            generated: false,
            from_catalog: true,
        }
    }

    fn encoded(form: Form, layout: Layout, rules: &FieldRules, value: Value<'_>) -> Result<String, String> {
        let mut batch = Batch::new([layout]);
        batch.columns[0].push(value);
        let mut out = Vec::new();
        row(form, &batch, 0, std::slice::from_ref(rules), &mut out).map_err(|(_, reason)| reason)?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn file(layout: Layout, value: Value<'_>) -> String {
        encoded(Form::File, layout, &FieldRules::default(), value).unwrap()
    }

    #[test]
    fn whole_numbers_have_all_their_digits() {
        for value in [
            0,
            1,
            9,
            10,
            99,
            100,
            101,
            12_345,
            i64::MAX,
            i64::MIN,
            -1,
            -10,
            1_000_000,
        ] {
            assert_eq!(file(Layout::I64, Value::I64(value)), format!("{value}\n"));
        }
    }

    #[test]
    fn null_is_not_the_text_that_stands_for_it() {
        assert_eq!(file(Layout::Text, Value::Null), "\\N\n");
        assert_eq!(file(Layout::Text, Value::Text("\\N")), "\\\\N\n");
        assert_eq!(file(Layout::Text, Value::Text("")), "\n");
        let values = |value| encoded(Form::Values, Layout::Text, &FieldRules::default(), value).unwrap();
        assert_eq!(values(Value::Null), "(NULL),");
        assert_eq!(values(Value::Text("NULL")), "('NULL'),");
        assert_eq!(values(Value::Text("it's \\ \0")), "('it\\'s \\\\ \\0'),");
    }

    #[test]
    fn what_separates_fields_and_rows_is_escaped_within_them() {
        assert_eq!(
            file(Layout::Text, Value::Text("a\tb\nc\\\\d\r")),
            "a\\tb\\nc\\\\\\\\d\r\n"
        );
    }

    #[test]
    fn dates_and_times_are_written_as_iso_8601() {
        let timestamp = |text: &str| Timestamp::parse(text).unwrap();
        for text in [
            "0001-01-01 00:00:00",
            "9999-12-31 23:59:59.999999",
            "2024-02-29 01:02:03.5",
        ] {
            assert_eq!(
                file(Layout::Timestamp, Value::Timestamp(timestamp(text))),
                format!("{text}\n")
            );
        }
        for text in ["-838:59:59.000001", "00:00:00", "100:00:00"] {
            assert_eq!(
                file(Layout::Time, Value::Time(Time::parse(text).unwrap())),
                format!("{text}\n")
            );
        }
        assert_eq!(file(Layout::Date, Value::Date(Date::ZERO)), "0000-00-00\n");
        let instant = OffsetTimestamp::parse("2024-03-01 00:30:00.25+02").unwrap();
        assert_eq!(
            file(Layout::Instant, Value::Instant(instant)),
            "2024-02-29 22:30:00.25\n"
        );
    }

    #[test]
    fn floats_are_written_so_that_they_are_read_back_unchanged() {
        for value in [0.1, -0.0, 5e-324, f64::MAX, 1e16, 1.0 / 3.0] {
            let text = file(Layout::F64, Value::F64(value));
            assert_eq!(text.trim_end().parse::<f64>().unwrap().to_bits(), value.to_bits());
        }
    }

    #[test]
    fn a_negative_zero_is_refused_where_the_server_would_drop_its_sign() {
        let rules = FieldRules::of(&column("double", LogicalType::Float { bits: 64 }), true);
        assert!(encoded(Form::File, Layout::F64, &rules, Value::F64(-0.0)).is_err());
        assert_eq!(
            encoded(Form::File, Layout::F64, &rules, Value::F64(0.0)).unwrap(),
            "0.0\n"
        );
    }

    #[test]
    fn a_number_that_the_server_would_read_otherwise_is_refused() {
        let year = FieldRules::of(
            &column(
                "year(4)",
                LogicalType::Integer {
                    bits: 16,
                    signed: false,
                },
            ),
            true,
        );
        let write = |rules: &FieldRules, value| encoded(Form::File, Layout::I64, rules, value);
        assert_eq!(write(&year, Value::I64(0)).unwrap(), "0000\n");
        assert_eq!(write(&year, Value::I64(2024)).unwrap(), "2024\n");
        assert!(write(&year, Value::I64(24)).is_err());
        let size = FieldRules::of(&column("enum('small','it''s','7')", LogicalType::TEXT), true);
        assert_eq!(size.members.as_deref().unwrap(), ["small", "it's", "7"]);
        let write = |text| encoded(Form::File, Layout::Text, &size, Value::Text(text));
        assert!(write("small").is_ok() && write("7").is_ok() && write("it's").is_ok());
        for text in ["1", " 1", "+2", "07"] {
            assert!(write(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bits_and_bytes_are_told_apart_in_an_insert() {
        let values = |rules: &FieldRules, layout, value| encoded(Form::Values, layout, rules, value).unwrap();
        let bits = FieldRules::of(
            &column(
                "bit(64)",
                LogicalType::Integer {
                    bits: 64,
                    signed: false,
                },
            ),
            true,
        );
        assert_eq!(values(&bits, Layout::Decimal, Value::Decimal("5")), "(5),");
        let bytes = FieldRules::of(&column("longblob", LogicalType::BYTES), true);
        assert_eq!(values(&bytes, Layout::Bytes, Value::Bytes(b"a'")), "(_binary'a\\''),");
    }
}
