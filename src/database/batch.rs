//! Rows on their way from one database to another, column by column.
//!
//! Layouts lose nothing: integers and floats as C has them, dates and times as structs with nanoseconds, decimals as
//! their digits, text as UTF-8. Values of varying length lie one after the other, so that one long cell costs its own
//! length and not that times the rows. A batch keeps its memory when it is emptied: the pipeline uses a few in turn.

use super::column::Column;
use super::temporal::{Date, OffsetTimestamp, Time, Timestamp};

/// How the values of a column lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Whole numbers and booleans.
    I64,
    /// Floating-point numbers of either width.
    F64,
    /// Decimal digits with sign and point, without an exponent.
    Decimal,
    /// UTF-8.
    Text,
    /// Bytes.
    Bytes,
    /// Dates.
    Date,
    /// Times of day and spans.
    Time,
    /// Date and time without a zone.
    Timestamp,
    /// Date and time with an offset.
    Instant,
}

/// Values of varying length, one after the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Packed {
    ends: Vec<usize>,
    bytes: Vec<u8>,
}

impl Packed {
    /// How many values there are.
    pub fn rows(&self) -> usize {
        self.ends.len()
    }

    /// Appends a value that `write` puts at the end of the bytes it is given; what is there already stays as it is.
    pub fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    /// Appends a value.
    pub fn push(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        self.ends.push(self.bytes.len());
    }

    /// Where each value ends in the bytes of all of them, and these bytes.
    pub fn parts(&self) -> (&[usize], &[u8]) {
        (&self.ends, &self.bytes)
    }

    /// The value at `row`, from 0; empty where the row is NULL.
    pub fn get(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.bytes[start..self.ends[row]]
    }
}

/// The values of a column; where a row is NULL they hold a zero or nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// See [`Layout::I64`].
    I64(Vec<i64>),
    /// See [`Layout::F64`].
    F64(Vec<f64>),
    /// See [`Layout::Decimal`]; ASCII.
    Decimal(Packed),
    /// See [`Layout::Text`]; always valid UTF-8.
    Text(Packed),
    /// See [`Layout::Bytes`].
    Bytes(Packed),
    /// See [`Layout::Date`].
    Date(Vec<Date>),
    /// See [`Layout::Time`].
    Time(Vec<Time>),
    /// See [`Layout::Timestamp`].
    Timestamp(Vec<Timestamp>),
    /// See [`Layout::Instant`].
    Instant(Vec<OffsetTimestamp>),
}

/// One value, borrowed from a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// NULL.
    Null,
    /// A whole number or boolean.
    I64(i64),
    /// A floating-point number.
    F64(f64),
    /// Decimal digits.
    Decimal(&'a str),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A date.
    Date(Date),
    /// A time of day or span.
    Time(Time),
    /// Date and time without a zone.
    Timestamp(Timestamp),
    /// Date and time with an offset.
    Instant(OffsetTimestamp),
}

/// One column of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnData {
    /// Whether each row is NULL.
    pub nulls: Vec<bool>,
    /// The rows' values.
    pub values: Values,
}

impl ColumnData {
    /// An empty column.
    pub fn new(layout: Layout) -> Self {
        let values = match layout {
            Layout::I64 => Values::I64(Vec::new()),
            Layout::F64 => Values::F64(Vec::new()),
            Layout::Decimal => Values::Decimal(Packed::default()),
            Layout::Text => Values::Text(Packed::default()),
            Layout::Bytes => Values::Bytes(Packed::default()),
            Layout::Date => Values::Date(Vec::new()),
            Layout::Time => Values::Time(Vec::new()),
            Layout::Timestamp => Values::Timestamp(Vec::new()),
            Layout::Instant => Values::Instant(Vec::new()),
        };
        ColumnData {
            nulls: Vec::new(),
            values,
        }
    }

    /// Forgets the rows and keeps the memory.
    pub fn clear(&mut self) {
        self.nulls.clear();
        match &mut self.values {
            Values::I64(values) => values.clear(),
            Values::F64(values) => values.clear(),
            Values::Decimal(packed) | Values::Text(packed) | Values::Bytes(packed) => {
                packed.ends.clear();
                packed.bytes.clear();
            }
            Values::Date(values) => values.clear(),
            Values::Time(values) => values.clear(),
            Values::Timestamp(values) => values.clear(),
            Values::Instant(values) => values.clear(),
        }
    }

    /// Appends a value; NULL fits every layout.
    ///
    /// # Panics
    /// If the value has another layout: which conversion leads where is settled before the first row.
    pub fn push(&mut self, value: Value<'_>) {
        self.nulls.push(value == Value::Null);
        match (&mut self.values, value) {
            (Values::I64(values), Value::I64(value)) => values.push(value),
            (Values::I64(values), Value::Null) => values.push(0),
            (Values::F64(values), Value::F64(value)) => values.push(value),
            (Values::F64(values), Value::Null) => values.push(0.0),
            (Values::Decimal(packed), Value::Decimal(value)) => packed.push(value.as_bytes()),
            (Values::Text(packed), Value::Text(value)) => packed.push(value.as_bytes()),
            (Values::Bytes(packed), Value::Bytes(value)) => packed.push(value),
            (Values::Decimal(packed) | Values::Text(packed) | Values::Bytes(packed), Value::Null) => packed.push(&[]),
            (Values::Date(values), Value::Date(value)) => values.push(value),
            (Values::Date(values), Value::Null) => values.push(Date::default()),
            (Values::Time(values), Value::Time(value)) => values.push(value),
            (Values::Time(values), Value::Null) => values.push(Time::default()),
            (Values::Timestamp(values), Value::Timestamp(value)) => values.push(value),
            (Values::Timestamp(values), Value::Null) => values.push(Timestamp::default()),
            (Values::Instant(values), Value::Instant(value)) => values.push(value),
            (Values::Instant(values), Value::Null) => values.push(OffsetTimestamp::default()),
            (values, value) => unreachable!("a {value:?} cannot go into a column of {:?}", layout_of(values)),
        }
    }

    /// The value at `row`, from 0.
    pub fn value(&self, row: usize) -> Value<'_> {
        if self.nulls[row] {
            return Value::Null;
        }
        match &self.values {
            Values::I64(values) => Value::I64(values[row]),
            Values::F64(values) => Value::F64(values[row]),
            Values::Decimal(packed) => Value::Decimal(utf8(packed.get(row))),
            Values::Text(packed) => Value::Text(utf8(packed.get(row))),
            Values::Bytes(packed) => Value::Bytes(packed.get(row)),
            Values::Date(values) => Value::Date(values[row]),
            Values::Time(values) => Value::Time(values[row]),
            Values::Timestamp(values) => Value::Timestamp(values[row]),
            Values::Instant(values) => Value::Instant(values[row]),
        }
    }

    /// Bytes of the value at `row`, eight for those of a fixed size.
    pub fn value_bytes(&self, row: usize) -> usize {
        match &self.values {
            Values::Decimal(packed) | Values::Text(packed) | Values::Bytes(packed) => packed.get(row).len(),
            _ => 8,
        }
    }

    /// Bytes that the rows take.
    pub fn bytes(&self) -> usize {
        let values = match &self.values {
            Values::I64(values) => values.len() * 8,
            Values::F64(values) => values.len() * 8,
            Values::Decimal(packed) | Values::Text(packed) | Values::Bytes(packed) => packed.bytes.len(),
            Values::Date(values) => values.len() * size_of::<Date>(),
            Values::Time(values) => values.len() * size_of::<Time>(),
            Values::Timestamp(values) => values.len() * size_of::<Timestamp>(),
            Values::Instant(values) => values.len() * size_of::<OffsetTimestamp>(),
        };
        values + self.nulls.len()
    }
}

fn layout_of(values: &Values) -> Layout {
    match values {
        Values::I64(_) => Layout::I64,
        Values::F64(_) => Layout::F64,
        Values::Decimal(_) => Layout::Decimal,
        Values::Text(_) => Layout::Text,
        Values::Bytes(_) => Layout::Bytes,
        Values::Date(_) => Layout::Date,
        Values::Time(_) => Layout::Time,
        Values::Timestamp(_) => Layout::Timestamp,
        Values::Instant(_) => Layout::Instant,
    }
}

/// Text of a batch; it came in as `&str`, so nothing is ever lost here.
fn utf8(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// Rows in the form in which a product sends and takes them; nobody between its two lanes looks inside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WireRows {
    /// Whole rows, one after the other.
    pub bytes: Vec<u8>,
    /// How many there are.
    pub rows: usize,
}

/// Some rows of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The columns, each with the same number of rows; empty columns where the rows are in `wire`.
    pub columns: Vec<ColumnData>,
    /// The rows, where they pass through unparsed ([`super::WireFormat`]).
    pub wire: WireRows,
    /// The first row's number in the table, from 1.
    pub first_row: u64,
}

impl Batch {
    /// A batch without rows.
    pub fn new(layouts: impl IntoIterator<Item = Layout>) -> Self {
        Batch {
            columns: layouts.into_iter().map(ColumnData::new).collect(),
            wire: WireRows::default(),
            first_row: 1,
        }
    }

    /// A batch without rows for values of these columns.
    pub fn of(columns: &[Column]) -> Self {
        Batch::new(columns.iter().map(|column| column.logical.layout()))
    }

    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.wire.rows + self.columns.first().map_or(0, |column| column.nulls.len())
    }

    /// Bytes that its rows take.
    pub fn bytes(&self) -> usize {
        self.wire.bytes.len() + self.columns.iter().map(ColumnData::bytes).sum::<usize>()
    }

    /// Bytes that the values of a row take, eight for those of a fixed size.
    pub fn row_bytes(&self, row: usize) -> usize {
        self.columns.iter().map(|column| column.value_bytes(row)).sum()
    }

    /// Forgets the rows and keeps the memory.
    pub fn clear(&mut self) {
        self.columns.iter_mut().for_each(ColumnData::clear);
        self.wire.bytes.clear();
        self.wire.rows = 0;
    }

    /// Forgets the rows, and gives back the memory of columns that have grown beyond twice `working_bytes`: one long
    /// cell must not cost its length for ever.
    pub fn recycle(&mut self, working_bytes: usize) {
        self.clear();
        let release = |bytes: &mut Vec<u8>| {
            if bytes.capacity() > 2 * working_bytes {
                *bytes = Vec::new();
            }
        };
        for column in &mut self.columns {
            if let Values::Decimal(packed) | Values::Text(packed) | Values::Bytes(packed) = &mut column.values {
                release(&mut packed.bytes);
            }
        }
        release(&mut self.wire.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_empty_are_two_things() {
        let mut column = ColumnData::new(Layout::Text);
        for value in [Value::Text(""), Value::Null, Value::Text("é")] {
            column.push(value);
        }
        assert_eq!(
            [column.value(0), column.value(1), column.value(2)],
            [Value::Text(""), Value::Null, Value::Text("é")]
        );
        column.clear();
        assert_eq!(column.bytes(), 0);
    }

    #[test]
    fn memory_is_kept_unless_a_long_cell_has_blown_it_up() {
        let capacity = |batch: &Batch| match &batch.columns[0].values {
            Values::Text(packed) => packed.bytes.capacity(),
            _ => 0,
        };
        let mut batch = Batch::new([Layout::Text]);
        batch.columns[0].push(Value::Text(&"x".repeat(1_500)));
        batch.recycle(1_000);
        assert!(capacity(&batch) >= 1_500 && batch.rows() == 0);
        batch.columns[0].push(Value::Text(&"x".repeat(3_000)));
        batch.recycle(1_000);
        assert_eq!((capacity(&batch), batch.rows()), (0, 0));
    }
}
