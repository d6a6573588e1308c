//! Rows as lines of text: the form in which one product's bulk export and another's bulk load understand each other, so
//! that rows pass unparsed.
//!
//! Fields have tabs between them and a line feed behind the last; NULL is `\N`; in a text, backslash, tab, line feed,
//! carriage return and backspace are `\\`, `\t`, `\n`, `\r` and `\b`, and every other byte stands for itself. Numbers are
//! digits with sign and point, dates `2024-02-29`, timestamps `2024-02-29 01:02:03.5`, of the years 1 to 9999.
//!
//! That is what PostgreSQL's COPY writes in its text format and what MariaDB's and MySQL's LOAD DATA reads, but for the few
//! values that [`Lines::append`] finds: they are in doubt, and their table is copied value by value instead. Knows no
//! product: which of its columns go this way is the lane's to say.

use super::{Column, LogicalType, WireFormat};

/// The form.
pub(super) const FORMAT: WireFormat = WireFormat {
    name: "lines of text",
    own: false,
};

/// What is looked at in a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// Nothing.
    None,
    /// That it is a finite number.
    Number,
    /// That it is a date of the years 1 to 9999.
    Date,
    /// The same of a timestamp.
    Timestamp,
}

/// Rows of some columns in this form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lines {
    /// Of the fields up to the last that is looked at.
    looks: Vec<Look>,
}

/// The position of a column, from 0, whose value may mean something else to the other product; that of the last one looked
/// at where the line as a whole is in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InDoubt(pub(super) usize);

impl Lines {
    /// The form of these columns; `None` if one has a type whose text differs between products.
    pub(super) fn of(columns: &[Column]) -> Option<Lines> {
        let look = |column: &Column| match column.logical {
            LogicalType::Integer { .. } | LogicalType::Text { .. } => Some(Look::None),
            LogicalType::Decimal { .. } => Some(Look::Number),
            LogicalType::Date => Some(Look::Date),
            LogicalType::Timestamp { .. } => Some(Look::Timestamp),
            _ => None,
        };
        let mut looks: Vec<Look> = columns.iter().map(look).collect::<Option<_>>()?;
        let looked_at = looks.iter().rposition(|look| *look != Look::None);
        looks.truncate(looked_at.map_or(0, |last| last + 1));
        Some(Lines { looks })
    }

    /// Appends a line of PostgreSQL's COPY, its line feed included.
    ///
    /// # Errors
    /// If a value is in doubt: NaN and infinities, years outside 1 to 9999, text that is not UTF-8. Nothing was appended.
    pub(super) fn append(&self, line: &[u8], out: &mut Vec<u8>) -> Result<(), InDoubt> {
        if std::str::from_utf8(line).is_err() {
            return Err(InDoubt(self.looks.len().saturating_sub(1)));
        }
        let mut start = 0;
        for (position, look) in self.looks.iter().enumerate() {
            let rest = &line[start..];
            let end = memchr::memchr2(b'\t', b'\n', rest).ok_or(InDoubt(position))?;
            if !look.is_met(&rest[..end]) {
                return Err(InDoubt(position));
            }
            start += end + 1;
        }
        match memchr::memchr(b'\\', line) {
            None => out.extend_from_slice(line),
            Some(first) => append_respelled(line, first, out),
        }
        Ok(())
    }
}

impl Look {
    #[inline]
    fn is_met(self, field: &[u8]) -> bool {
        if self == Look::None || field == b"\\N" {
            return true;
        }
        let ends_in_digit = field.last().is_some_and(u8::is_ascii_digit);
        match self {
            Look::None => true,
            // NaN, Infinity and -Infinity end in letters.
            Look::Number => ends_in_digit,
            // `infinity`, `0044-03-15 BC` and `10000-01-01` have other lengths.
            Look::Date => field.len() == 10 && field[4] == b'-' && ends_in_digit,
            Look::Timestamp => {
                (19..=26).contains(&field.len()) && field[4] == b'-' && field[10] == b' ' && ends_in_digit
            }
        }
    }
}

/// COPY has two letters more than the form: `\f` and `\v` stand for the form feed and the vertical tab, which LOAD DATA would
/// read as `f` and `v`. `first` is where the first backslash is.
fn append_respelled(line: &[u8], first: usize, out: &mut Vec<u8>) {
    let mut kept = 0;
    let mut at = first;
    while let Some(letter) = line.get(at + 1) {
        let meant = match letter {
            b'f' => Some(b'\x0c'),
            b'v' => Some(b'\x0b'),
            _ => None,
        };
        if let Some(byte) = meant {
            out.extend_from_slice(&line[kept..at]);
            out.push(byte);
            kept = at + 2;
        }
        match memchr::memchr(b'\\', &line[at + 2..]) {
            Some(next) => at += 2 + next,
            None => break,
        }
    }
    out.extend_from_slice(&line[kept..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(types: &[LogicalType]) -> Option<Lines> {
        let column = |logical: &LogicalType| Column {
            name: "c".to_owned(),
            logical: *logical,
            declared: String::new(),
            nullable: true,
            key_position: None,
            generated: false,
            from_catalog: true,
        };
        Lines::of(&types.iter().map(column).collect::<Vec<_>>())
    }

    fn appended(types: &[LogicalType], line: &str) -> Result<String, InDoubt> {
        let mut out = b"before\n".to_vec();
        lines(types).unwrap().append(line.as_bytes(), &mut out)?;
        Ok(String::from_utf8(out.split_off(7)).unwrap())
    }

    const INTEGER: LogicalType = LogicalType::Integer { bits: 32, signed: true };
    const DECIMAL: LogicalType = LogicalType::Decimal {
        precision: Some(15),
        scale: Some(2),
        kept_digits: None,
    };
    const TIMESTAMP: LogicalType = LogicalType::Timestamp { digits: 6 };

    #[test]
    fn plain_values_pass_as_they_are() {
        let types = [INTEGER, DECIMAL, LogicalType::Date, TIMESTAMP, LogicalType::TEXT];
        for line in [
            "1\t-0.50\t0001-01-01\t9999-12-31 23:59:59.999999\tNaN\n",
            "\\N\t\\N\t\\N\t\\N\t\\N\n",
            "-5\t7\t2024-02-29\t2024-02-29 00:00:00\ta\\\\b\\tc\\nd\\re\\bf\n",
            "0\t1\t2024-02-29\t2024-02-29 00:00:00\t\n",
        ] {
            assert_eq!(appended(&types, line).as_deref(), Ok(line));
        }
    }

    #[test]
    fn letters_that_only_one_side_knows_become_the_bytes_they_stand_for() {
        for (line, meant) in [
            ("a\\fb\\vc\n", "a\x0cb\x0bc\n"),
            ("\\\\f\\\\\\v\n", "\\\\f\\\\\x0b\n"),
            ("\\f\n", "\x0c\n"),
            ("\\N\n", "\\N\n"),
        ] {
            assert_eq!(appended(&[LogicalType::TEXT], line).as_deref(), Ok(meant));
        }
    }

    #[test]
    fn what_the_other_side_may_read_otherwise_is_in_doubt() {
        for (logical, values) in [
            (DECIMAL, &["NaN", "Infinity", "-Infinity", ""][..]),
            (
                LogicalType::Date,
                &["infinity", "-infinity", "0044-03-15 BC", "10000-01-01"],
            ),
            (
                TIMESTAMP,
                &[
                    "infinity",
                    "-infinity",
                    "0044-03-15 00:00:00 BC",
                    "10000-01-01 00:00:00",
                    "10000-01-01 00:00:00.5",
                    "0044-03-15 00:00:00.123456 BC",
                ],
            ),
        ] {
            for value in values {
                let line = format!("x\t{value}\n");
                assert_eq!(
                    appended(&[LogicalType::TEXT, logical], &line),
                    Err(InDoubt(1)),
                    "{value}"
                );
            }
        }
        let mut out = Vec::new();
        let form = lines(&[LogicalType::TEXT]).unwrap();
        assert!(form.append(b"\xe9\n", &mut out).is_err() && out.is_empty());
    }

    #[test]
    fn types_that_products_spell_differently_have_no_lines() {
        for logical in [
            LogicalType::Boolean,
            LogicalType::Float { bits: 64 },
            LogicalType::BYTES,
            LogicalType::Uuid,
        ] {
            assert_eq!(lines(&[INTEGER, logical]), None);
        }
    }
}
