//! Keys of rows, in an order that is the same for both sides: numbers by size, days and points in time by time, text by the
//! bytes of its UTF-8. Whoever lets a database compare asks its dialect whether it has this order
//! ([`crate::database::Dialect::ordered`]).

use std::cmp::Ordering;

use crate::database::{
    Column, ColumnData, Dialect, LogicalType, Padding, Value,
    decimal::Digits,
    temporal::{Date, OffsetTimestamp, Time, Timestamp},
};

/// The values of a key's columns.
pub(super) type Key = Vec<Part>;

/// One value of a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Null,
    Whole(i64),
    Decimal(Decimal),
    /// The bits in an order that is that of the numbers.
    Float(i64),
    Text(Box<str>),
    Bytes(Box<[u8]>),
    Date(Date),
    /// With the nanoseconds of the day.
    Timestamp(Date, i64),
    /// In UTC.
    Instant(Date, i64),
    Time(i64),
}

/// A decimal number without zeros that say nothing; or another word such as `NaN`, after all numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    text: Box<str>,
}

impl Part {
    /// The value of a row in this column.
    pub fn of(data: &ColumnData, row: usize, column: &Column) -> Part {
        match data.value(row) {
            Value::Null => Part::Null,
            Value::I64(value) => Part::Whole(value),
            Value::F64(value) => Part::Float(in_order(value.to_bits().cast_signed())),
            Value::Decimal(text) => Part::Decimal(Decimal::of(text)),
            Value::Text(text) => Part::Text(match column.logical {
                LogicalType::Uuid => text.to_ascii_lowercase().into(),
                LogicalType::Text { padding, .. } if padding != Padding::None => text.trim_end_matches(' ').into(),
                _ => text.into(),
            }),
            Value::Bytes(bytes) => Part::Bytes(bytes.into()),
            Value::Date(date) => Part::Date(date),
            Value::Time(time) => Part::Time(time.nanoseconds()),
            Value::Timestamp(timestamp) => Part::Timestamp(timestamp.date, timestamp.time.nanoseconds()),
            Value::Instant(instant) => {
                let utc = instant.utc().unwrap_or(instant.local);
                Part::Instant(utc.date, utc.time.nanoseconds())
            }
        }
    }

    /// The value as people, and databases in their literals, write it.
    pub fn spelled(&self) -> String {
        match self {
            Part::Null => "NULL".to_owned(),
            Part::Whole(value) => value.to_string(),
            Part::Decimal(decimal) => decimal.text.to_string(),
            Part::Float(bits) => f64::from_bits(in_order(*bits).cast_unsigned()).to_string(),
            Part::Text(text) => text.to_string(),
            Part::Bytes(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            Part::Date(date) => date.to_string(),
            Part::Time(nanoseconds) => Time::of_nanoseconds(*nanoseconds).to_string(),
            Part::Timestamp(date, nanoseconds) => timestamp(*date, *nanoseconds).to_string(),
            Part::Instant(date, nanoseconds) => OffsetTimestamp {
                local: timestamp(*date, *nanoseconds),
                offset_minutes: 0,
            }
            .to_string(),
        }
    }

    /// The value as it stands in SQL, where it can be compared.
    fn literal(&self, dialect: &dyn Dialect) -> Option<String> {
        match self {
            Part::Whole(_) => Some(self.spelled()),
            Part::Decimal(decimal) => Digits::parse(&decimal.text).map(|_| self.spelled()),
            Part::Text(_) | Part::Date(_) | Part::Timestamp(..) | Part::Instant(..) => {
                Some(dialect.literal(&self.spelled()))
            }
            Part::Null | Part::Float(_) | Part::Bytes(_) | Part::Time(_) => None,
        }
    }
}

/// Keys after one and up to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Range {
    /// Not in it; `None`: from the first key on.
    pub after: Option<Key>,
    /// In it; `None`: to the last key.
    pub up_to: Option<Key>,
}

impl Range {
    pub fn holds(&self, key: &Key) -> bool {
        self.after.as_ref().is_none_or(|after| after < key) && self.up_to.as_ref().is_none_or(|last| key <= last)
    }

    /// The parts of it that begin and end at these keys, which are sorted and inside of it.
    pub fn split(&self, boundaries: &[Key]) -> Vec<Range> {
        let mut after = self.after.clone();
        let mut ranges = Vec::new();
        for boundary in boundaries {
            let up_to = Some(boundary.clone());
            ranges.push(Range {
                after: std::mem::replace(&mut after, up_to.clone()),
                up_to,
            });
        }
        ranges.push(Range {
            after,
            up_to: self.up_to.clone(),
        });
        ranges
    }

    /// The range as a condition on these columns of the key; `None` where the product has another order, or nothing is to
    /// be left out.
    pub fn condition(&self, dialect: &dyn Dialect, columns: &[&Column]) -> Option<String> {
        let compared = |key: &Key, sign: &str, or_equal: &str| compared(dialect, columns, key, (sign, or_equal));
        let after = self.after.as_ref().map(|key| compared(key, ">", ""));
        let up_to = self.up_to.as_ref().map(|key| compared(key, "<", "="));
        match (after, up_to) {
            (None, None) => None,
            (Some(one), None) | (None, Some(one)) => one,
            (Some(after), Some(up_to)) => Some(format!("{} AND {}", after?, up_to?)),
        }
    }
}

/// Whether the key's columns are beyond a key, or, with `=`, the same. The first column stands once more by itself, for
/// products that look for it in an index.
fn compared(dialect: &dyn Dialect, columns: &[&Column], key: &Key, (sign, or_equal): (&str, &str)) -> Option<String> {
    let mut condition = String::new();
    for (position, (column, part)) in columns.iter().zip(key).enumerate().rev() {
        let name = dialect.ordered(&dialect.quote(&column.name), column)?;
        let value = dialect.ordered(&part.literal(dialect)?, column)?;
        let is_last = position + 1 == columns.len();
        condition = match is_last {
            true => format!("{name} {sign}{or_equal} {value}"),
            false => format!("({name} {sign} {value} OR ({name} = {value} AND {condition}))"),
        };
        if position == 0 && !is_last {
            condition = format!("({name} {sign}= {value} AND {condition})");
        }
    }
    Some(condition)
}

/// Whether the database can be asked for ranges of such a key.
pub(super) fn is_ordered(dialect: &dyn Dialect, columns: &[&Column]) -> bool {
    !columns.is_empty() && columns.iter().all(|column| dialect.ordered("", column).is_some())
}

/// Negative numbers have their bits turned round; done twice, it is undone.
fn in_order(bits: i64) -> i64 {
    bits ^ ((bits >> 63).cast_unsigned() >> 1).cast_signed()
}

fn timestamp(date: Date, nanoseconds: i64) -> Timestamp {
    Timestamp {
        date,
        time: Time::of_nanoseconds(nanoseconds),
    }
}

impl Decimal {
    fn of(text: &str) -> Decimal {
        let Some(digits) = Digits::parse(text) else {
            return Decimal { text: text.into() };
        };
        let Digits {
            negative,
            whole,
            fraction,
        } = digits;
        let is_zero = whole.is_empty() && fraction.is_empty();
        let sign = if negative && !is_zero { "-" } else { "" };
        let whole = if whole.is_empty() { "0" } else { whole };
        let point = if fraction.is_empty() { "" } else { "." };
        Decimal {
            text: format!("{sign}{whole}{point}{fraction}").into(),
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let (own, others) = match (Digits::parse(&self.text), Digits::parse(&other.text)) {
            (Some(own), Some(others)) => (own, others),
            (own, others) => {
                return own
                    .is_none()
                    .cmp(&others.is_none())
                    .then_with(|| self.text.cmp(&other.text));
            }
        };
        // Without leading zeros the longer whole part is the greater one.
        let size = |digits: &Digits<'_>| (digits.whole.len(), digits.whole.to_owned(), digits.fraction.to_owned());
        match (own.negative, others.negative) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => size(&own).cmp(&size(&others)),
            (true, true) => size(&others).cmp(&size(&own)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{Layout, dialect};

    fn part(value: Value<'_>, layout: Layout, logical: LogicalType) -> Part {
        let mut data = ColumnData::new(layout);
        data.push(value);
        Part::of(&data, 0, &column("c", logical))
    }

    fn column(name: &str, logical: LogicalType) -> Column {
        Column {
            name: name.to_owned(),
            logical,
            declared: String::new(),
            nullable: false,
            key_position: None,
            generated: false,
            from_catalog: true,
        }
    }

    #[test]
    fn decimals_and_floats_are_ordered_by_size() {
        let decimals = [
            "-100.5", "-100", "-2.25", "-2.2", "0", "0.05", "0.5", "2", "10", "10.01", "NaN",
        ];
        let parts = decimals.map(|text| part(Value::Decimal(text), Layout::Decimal, LogicalType::DECIMAL));
        assert!(parts.is_sorted(), "{parts:?}");
        assert_eq!(
            part(Value::Decimal("-0.00"), Layout::Decimal, LogicalType::DECIMAL).spelled(),
            "0"
        );
        let float = LogicalType::Float { bits: 64 };
        let floats = [f64::NEG_INFINITY, -1.5, -0.0, 0.0, 1e-300, 2.0, f64::INFINITY];
        let parts = floats.map(|value| part(Value::F64(value), Layout::F64, float));
        assert!(parts.is_sorted(), "{parts:?}");
        assert_eq!(parts[1].spelled(), "-1.5");
    }

    #[test]
    fn a_range_holds_its_last_key_and_not_the_one_before_it() {
        let whole = |value| vec![Part::Whole(value)];
        let ranges = Range::default().split(&[whole(10), whole(20)]);
        assert_eq!(ranges.len(), 3);
        for (key, holder) in [(-5, 0), (10, 0), (11, 1), (20, 1), (21, 2)] {
            let holders: Vec<usize> = (0..3).filter(|index| ranges[*index].holds(&whole(key))).collect();
            assert_eq!(holders, [holder], "{key}");
        }
    }

    #[test]
    fn a_range_is_a_condition_in_the_products_order() {
        let id = column("id", LogicalType::Integer { bits: 32, signed: true });
        let name = column("na\"me", LogicalType::TEXT);
        let key = |number, text: &str| vec![Part::Whole(number), Part::Text(text.into())];
        let range = Range {
            after: Some(key(1, "a'b")),
            up_to: Some(key(2, "c")),
        };
        assert_eq!(
            range.condition(dialect("postgres"), &[&id, &name]).unwrap(),
            "(\"id\" >= 1 AND (\"id\" > 1 OR (\"id\" = 1 AND CAST(\"na\"\"me\" AS text) COLLATE \"C\" > \
             CAST('a''b' AS text) COLLATE \"C\"))) AND \
             (\"id\" <= 2 AND (\"id\" < 2 OR (\"id\" = 2 AND CAST(\"na\"\"me\" AS text) COLLATE \"C\" <= \
             CAST('c' AS text) COLLATE \"C\")))"
        );
        assert_eq!(Range::default().condition(dialect("postgres"), &[&id]), None);
        let bytes = column("raw", LogicalType::BYTES);
        assert!(!is_ordered(dialect("postgres"), &[&bytes]) && is_ordered(dialect("sqlite"), &[&id, &name]));
    }
}
