//! Rows out of any database: a SELECT and a block cursor.

use super::super::{
    Batch, Column, Connection, Error, Layout, LogicalType, ReadLane, Reader, Relation, Resources, Source, Transfer,
    Value, WireFormat,
    decimal::{self, Digits},
    temporal::{Date, OffsetTimestamp, Time, Timestamp},
};
use crate::odbc::{self, Cell, CellKind, CellSpec, Cursor, Encoding};

/// The generic lane out.
pub(crate) struct OdbcRead;

/// Most bytes of one block's buffers; more of them gain no speed.
const BLOCK_BYTES_MAX: usize = 4 << 20;

impl ReadLane for OdbcRead {
    fn name(&self) -> &'static str {
        "odbc"
    }

    fn offer(
        &self,
        connection: &Connection,
        _source: &Source,
        _columns: &[Column],
        _is_plain: bool,
    ) -> Result<String, String> {
        let reason = "block cursor of the ODBC driver".to_owned();
        Ok(match connection.dialect.buffers_results(&connection.session) {
            true => reason + ", which keeps the whole result in memory: there is no bound for it",
            false => reason,
        })
    }

    fn open(
        &self,
        connection: Connection,
        source: &Source,
        columns: &[Column],
        _wire: Option<WireFormat>,
        resources: &Resources,
    ) -> Result<Box<dyn Reader>, Error> {
        let rows = Rows::start(&connection, source, columns, resources.memory_bytes)?;
        Ok(Box::new(OdbcReader { rows, connection }))
    }
}

/// See [`super::super::Writer::read_back`], for a session that ODBC has.
pub(in crate::database) fn read_back(
    connection: &Connection,
    table: &Relation,
    columns: &[Column],
    (memory_bytes, batch_bytes): (usize, usize),
    take: &mut dyn FnMut(&Batch),
) -> Result<(), Error> {
    let source = Source::Table {
        relation: table.clone(),
        condition: None,
    };
    let mut rows = Rows::start(connection, &source, columns, memory_bytes)?;
    let mut batch = Batch::of(columns);
    while rows.read(&mut batch, batch_bytes)? {
        take(&batch);
        batch.recycle(batch_bytes);
    }
    Ok(())
}

struct ColumnPlan {
    /// Its place in the batch; in the result it may have another one.
    position: usize,
    name: String,
    cell: CellPlan,
}

struct OdbcReader {
    // Before the connection, whose statement it holds.
    rows: Rows,
    connection: Connection,
}

impl Reader for OdbcReader {
    fn read(&mut self, batch: &mut Batch, limit_bytes: usize) -> Result<bool, Error> {
        batch.clear();
        self.rows.read(batch, limit_bytes)
    }

    fn into_connection(self: Box<Self>) -> Option<Connection> {
        let OdbcReader { rows, connection } = *self;
        drop(rows);
        connection.session.rollback().ok()?;
        Some(connection)
    }
}

/// The rows of a SELECT, on their way from a block cursor into batches.
pub(in crate::database) struct Rows {
    cursor: Cursor,
    plans: Vec<ColumnPlan>,
    scratch: String,
    /// Rows of the current block that no batch has taken yet.
    pending: std::ops::Range<usize>,
    rows_read: u64,
}

impl Rows {
    /// Begins to read these columns.
    pub(in crate::database) fn start(
        connection: &Connection,
        source: &Source,
        columns: &[Column],
        memory_bytes: usize,
    ) -> Result<Rows, Error> {
        let (session, dialect) = (&connection.session, connection.dialect);
        let encoding = session.cell_encoding();
        let rules = session.get_data_rules();
        let mut read: Vec<(usize, CellSpec, String, Transfer)> = columns
            .iter()
            .enumerate()
            .map(|(position, column)| {
                let read_as = dialect.read_as(column);
                let spec = CellSpec {
                    kind: cell_kind(column.logical, read_as.transfer),
                    bound: read_as.bound,
                };
                (position, spec, read_as.expression, read_as.transfer)
            })
            .collect();
        if !rules.bound_columns {
            // Only what is behind the last bound column can be read in pieces: long columns come last.
            read.sort_by_key(|(_, spec, _, _)| spec.is_unbounded());
        }
        let mut expressions = Vec::new();
        let mut plans = Vec::new();
        let mut specs = Vec::new();
        for (position, spec, expression, transfer) in read {
            let column = &columns[position];
            specs.push(spec);
            expressions.push(expression);
            let cell = CellPlan {
                logical: column.logical,
                transfer,
                encoding,
            };
            plans.push(ColumnPlan {
                position,
                name: column.name.clone(),
                cell,
            });
        }
        let list = expressions.join(", ");
        let sql = dialect.select(&list, source);
        let mut statement = session.statement()?;
        statement.execute_direct(&sql)?;
        // The driver holds a block as well, perhaps in a form twice as long, while long cells are read again.
        let block_bytes = BLOCK_BYTES_MAX.min(memory_bytes / 16);
        let mut cursor = Cursor::open(statement, &specs, rules, block_bytes)?;
        // A cell lies in the driver and in the cursor, in UTF-16 perhaps, where its text is twice as long.
        cursor.limit_cells(memory_bytes / 2);
        Ok(Rows {
            cursor,
            plans,
            scratch: String::new(),
            pending: 0..0,
            rows_read: 0,
        })
    }

    /// Fills an empty batch with the next rows, up to about `limit_bytes`; false, and no rows, at the end.
    pub(in crate::database) fn read(&mut self, batch: &mut Batch, limit_bytes: usize) -> Result<bool, Error> {
        batch.first_row = self.rows_read + 1;
        let mut bytes = 0;
        while bytes < limit_bytes {
            if self.pending.is_empty() {
                self.pending = 0..self.cursor.fetch().map_err(|error| self.located(error))?;
                if self.pending.is_empty() {
                    break;
                }
            }
            let row = self.pending.start;
            self.rows_read += 1;
            for (number, plan) in self.plans.iter().enumerate() {
                let cell = self.cursor.cell(number, row);
                if let Cell::Raw(raw) = cell {
                    bytes += raw.len();
                }
                let data = &mut batch.columns[plan.position];
                read_cell(cell, &plan.cell, &mut self.scratch, &mut |value| data.push(value)).map_err(|reason| {
                    Error::Unreadable {
                        column: plan.name.clone(),
                        row: self.rows_read,
                        reason,
                    }
                })?;
            }
            bytes += 8 * self.plans.len();
            self.pending.start += 1;
            if self.pending.is_empty() {
                // They are in the batch now, and not to be held here as well while it is written.
                self.cursor.forget_long_cells();
                self.scratch.clear();
                self.scratch.shrink_to(SCRATCH_BYTES_MAX);
            }
        }
        Ok(batch.rows() > 0)
    }

    /// The error with the column's name and the row's number, where it is about a cell.
    fn located(&self, error: odbc::Error) -> Error {
        match error {
            odbc::Error::CellTooLong {
                column,
                row,
                bytes,
                limit_bytes,
            } => Error::OverMemoryLimit {
                column: self.plans.get(column - 1).map(|plan| plan.name.clone()),
                row: Some(self.rows_read + row as u64 + 1),
                bytes,
                limit_bytes,
            },
            other => other.into(),
        }
    }
}

/// Memory for decoded cells that is kept from one to the next.
const SCRATCH_BYTES_MAX: usize = 1 << 20;

/// How the cells of a column become values.
#[derive(Clone, Copy)]
pub(in crate::database) struct CellPlan {
    /// The column's type.
    pub logical: LogicalType,
    /// How its cells come.
    pub transfer: Transfer,
    /// The encoding of its text cells.
    pub encoding: Encoding,
}

/// Hands over the value of a cell, in the layout of its column's type.
///
/// # Errors
/// Why the cell has no such value; never the value.
pub(in crate::database) fn read_cell(
    cell: Cell<'_>,
    plan: &CellPlan,
    scratch: &mut String,
    push: &mut dyn FnMut(Value<'_>),
) -> Result<(), String> {
    let value = match cell {
        Cell::Null => Value::Null,
        Cell::I64(value) => Value::I64(value),
        Cell::F64(value) => Value::F64(value),
        Cell::Date(value) => Date::new(value.year, value.month, value.day)
            .map(Value::Date)
            .ok_or("the date is not in the calendar of years 1 to 9999")?,
        Cell::Timestamp(value) => native_timestamp(value)
            .map(Value::Timestamp)
            .ok_or("the timestamp is not in the calendar of years 1 to 9999")?,
        Cell::Raw(raw) if plan.transfer != Transfer::Dynamic && plan.logical.layout() == Layout::Bytes => {
            Value::Bytes(raw)
        }
        Cell::Raw(raw) => {
            scratch.clear();
            scratch.shrink_to(SCRATCH_BYTES_MAX);
            let text = plan
                .encoding
                .decode(raw, scratch)
                .map_err(|encoding| format!("the text is not valid {encoding}"))?;
            match plan.transfer {
                Transfer::Dynamic => return dynamic_value(text, plan.logical, push),
                // Microsoft's driver leaves out a zero before the point.
                _ if plan.logical.layout() == Layout::Decimal && (text.starts_with('.') || text.starts_with("-.")) => {
                    push(text_value(&text.replacen('.', "0.", 1), plan.logical)?);
                    return Ok(());
                }
                _ => text_value(text, plan.logical)?,
            }
        }
    };
    push(value);
    Ok(())
}

/// The C type in which the cells of a column are asked for.
pub(in crate::database) fn cell_kind(logical: LogicalType, transfer: Transfer) -> CellKind {
    match (transfer, logical.layout()) {
        (Transfer::Text | Transfer::Dynamic, _) => CellKind::Text,
        (Transfer::Native, Layout::I64) => CellKind::I64,
        (Transfer::Native, Layout::F64) => CellKind::F64,
        (Transfer::Native, Layout::Bytes) => CellKind::Bytes,
        (Transfer::Native, Layout::Date) => CellKind::Date,
        (Transfer::Native, Layout::Timestamp) => CellKind::Timestamp,
        (Transfer::Native, Layout::Text | Layout::Decimal | Layout::Time | Layout::Instant) => CellKind::Text,
    }
}

fn native_timestamp(value: odbc_sys::Timestamp) -> Option<Timestamp> {
    let time = Time {
        negative: false,
        hour: value.hour,
        minute: value.minute,
        second: value.second,
        nanosecond: value.fraction,
    };
    let valid = time.hour < 24 && time.minute < 60 && time.second < 60 && time.nanosecond < 1_000_000_000;
    valid.then_some(Timestamp {
        date: Date::new(value.year, value.month, value.day)?,
        time,
    })
}

/// A value of the column's layout from its text form.
fn text_value(text: &str, logical: LogicalType) -> Result<Value<'_>, &'static str> {
    match logical.layout() {
        Layout::Text => Ok(Value::Text(text)),
        Layout::I64 => match text {
            "t" | "true" => Ok(Value::I64(1)),
            "f" | "false" => Ok(Value::I64(0)),
            _ => text
                .parse()
                .map(Value::I64)
                .map_err(|_| "the value is no 64-bit whole number"),
        },
        Layout::F64 => parse_float(text)
            .map(Value::F64)
            .ok_or("the value is no floating-point number"),
        Layout::Decimal if matches!(text, "NaN" | "Infinity" | "-Infinity") => Ok(Value::Decimal(text)),
        Layout::Decimal => match Digits::parse(text) {
            Some(_) => Ok(Value::Decimal(text)),
            None => Err("the value is no decimal number"),
        },
        Layout::Date => Date::parse(text)
            .map(Value::Date)
            .ok_or("the value is no date up to the year 9999 (or one with a zero in it)"),
        Layout::Time => Time::parse(text)
            .map(Value::Time)
            .ok_or("the value is no time such as `12:34:56`"),
        Layout::Timestamp => Timestamp::parse(text)
            .map(Value::Timestamp)
            .ok_or("the value is no timestamp up to the year 9999 (or one with a zero in its date)"),
        Layout::Instant => OffsetTimestamp::parse(text)
            .map(Value::Instant)
            // A session's time zone is UTC, and psqlodbc leaves the offset out.
            .or_else(|| {
                Some(Value::Instant(OffsetTimestamp {
                    local: Timestamp::parse(text)?,
                    offset_minutes: 0,
                }))
            })
            .ok_or("the value is no timestamp up to the year 9999"),
        Layout::Bytes => Err("bytes do not come as text"),
    }
}

/// Rust reads what databases write: `NaN`, `Infinity`, `-Inf`, `1e-300`; correctly rounded.
fn parse_float(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// Hands over the value of the column's layout from its dynamic form, see [`Transfer::Dynamic`].
fn dynamic_value(text: &str, logical: LogicalType, push: &mut dyn FnMut(Value<'_>)) -> Result<(), String> {
    let Some(class) = text.chars().next() else {
        return Err("the database sent a value without its class".to_owned());
    };
    let body = &text[class.len_utf8()..];
    let malformed = "the database sent a malformed number";
    let bytes = match class {
        'b' | 'x' => unhex(body).ok_or("the database sent bytes that are not hexadecimal")?,
        _ => Vec::new(),
    };
    let value = match class {
        'i' => Classed::Integer(body.parse().map_err(|_| malformed)?),
        'r' => Classed::Real(parse_float(body).ok_or(malformed)?),
        'x' => Classed::Text(&bytes),
        'b' => Classed::Blob(&bytes),
        _ => Classed::Text(body.as_bytes()),
    };
    classed_value(value, logical, push)
}

/// A value of a product where each value has a class of its own, whatever its column's type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::database) enum Classed<'a> {
    /// A whole number.
    Integer(i64),
    /// A floating-point number.
    Real(f64),
    /// Text; not always valid UTF-8.
    Text(&'a [u8]),
    /// Bytes.
    Blob(&'a [u8]),
}

/// Hands over a value in the layout of its column's type, if it is exactly that.
///
/// # Errors
/// Why it is not; never the value.
pub(in crate::database) fn classed_value(
    value: Classed<'_>,
    logical: LogicalType,
    push: &mut dyn FnMut(Value<'_>),
) -> Result<(), String> {
    let is = |what: &str| {
        let class = match value {
            Classed::Integer(_) => "an integer",
            Classed::Real(_) => "a real number",
            Classed::Text(_) => "text",
            Classed::Blob(_) => "a blob",
        };
        format!("the value is {class}, and the column's type asks for {what}")
    };
    match (value, logical.layout()) {
        (Classed::Text(text), Layout::Text) => push(Value::Text(valid(text)?)),
        (Classed::Blob(bytes), Layout::Bytes) => push(Value::Bytes(bytes)),
        (Classed::Integer(value), Layout::I64) => {
            if logical == LogicalType::Boolean && !matches!(value, 0 | 1) {
                return Err("the value is an integer other than 0 and 1, and the column's type is boolean".to_owned());
            }
            push(Value::I64(value));
        }
        (Classed::Integer(value), Layout::Decimal) => push(Value::Decimal(&value.to_string())),
        (Classed::Integer(value), Layout::F64) => {
            if value.unsigned_abs() > 1 << 53 {
                return Err(
                    "the value is an integer of more than 53 bits, and the column's type is floating".to_owned(),
                );
            }
            push(Value::F64(value as f64));
        }
        (Classed::Real(value), Layout::F64) => push(Value::F64(value)),
        (Classed::Real(value), Layout::Decimal) => {
            let digits = decimal::from_f64(value);
            push(Value::Decimal(
                &digits.ok_or("the value is infinite, and the column's type is decimal")?,
            ));
        }
        (Classed::Text(text), Layout::Decimal | Layout::Date | Layout::Time | Layout::Timestamp | Layout::Instant) => {
            push(text_value(valid(text)?, logical)?)
        }
        (_, Layout::Text) => return Err(is("text")),
        (_, Layout::Bytes) => return Err(is("a blob")),
        (_, Layout::I64) => return Err(is("an integer")),
        (_, Layout::F64) => return Err(is("a real number")),
        (_, Layout::Decimal) => return Err(is("a number")),
        (_, Layout::Date | Layout::Time | Layout::Timestamp | Layout::Instant) => {
            return Err(is("a date or time as text"));
        }
    }
    Ok(())
}

fn valid(text: &[u8]) -> Result<&str, &'static str> {
    std::str::from_utf8(text).map_err(|_| "the text is not valid UTF-8")
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    let mut bytes = Vec::with_capacity(text.len().div_ceil(2));
    for pair in text.as_bytes().chunks(2) {
        bytes.push(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::batch::ColumnData;

    fn dynamic(text: &str, logical: LogicalType) -> Result<ColumnData, String> {
        let mut data = ColumnData::new(logical.layout());
        dynamic_value(text, logical, &mut |value| data.push(value))?;
        Ok(data)
    }

    const INTEGER: LogicalType = LogicalType::Integer { bits: 64, signed: true };
    const FLOAT: LogicalType = LogicalType::Float { bits: 64 };

    #[test]
    fn a_value_of_its_columns_class_is_taken_exactly() {
        assert_eq!(
            dynamic("i-9223372036854775808", INTEGER).unwrap().value(0),
            Value::I64(i64::MIN)
        );
        assert_eq!(
            dynamic("r5.0000000000000000999e-324", FLOAT).unwrap().value(0),
            Value::F64(5e-324)
        );
        assert_eq!(
            dynamic("r1.1000000000000000888", LogicalType::DECIMAL)
                .unwrap()
                .value(0),
            Value::Decimal("1.1")
        );
        assert_eq!(
            dynamic("x6100C3A9", LogicalType::TEXT).unwrap().value(0),
            Value::Text("a\0é")
        );
        assert_eq!(
            dynamic("b00ff", LogicalType::BYTES).unwrap().value(0),
            Value::Bytes(&[0, 255])
        );
        assert_eq!(dynamic("t", LogicalType::TEXT).unwrap().value(0), Value::Text(""));
    }

    #[test]
    fn a_value_of_another_class_is_refused_and_not_shown() {
        for (text, logical) in [
            ("tgeheim", INTEGER),
            ("r1.5", INTEGER),
            ("i2", LogicalType::Boolean),
            ("i1700000000", LogicalType::Date),
            ("bFF", LogicalType::TEXT),
            ("i9007199254740993", FLOAT),
            ("tgeheim", LogicalType::Date),
        ] {
            let reason = dynamic(text, logical).unwrap_err();
            assert!(!reason.contains("geheim"), "{reason}");
        }
    }

    #[test]
    fn a_decimal_gets_the_zero_before_its_point_that_a_driver_left_out() {
        let plan = CellPlan {
            logical: LogicalType::decimal(5, 2),
            transfer: Transfer::Native,
            encoding: Encoding::Narrow,
        };
        for (text, expected) in [(".50", "0.50"), ("-.05", "-0.05"), ("10.50", "10.50")] {
            let mut data = ColumnData::new(Layout::Decimal);
            let cell = Cell::Raw(text.as_bytes());
            read_cell(cell, &plan, &mut String::new(), &mut |value| data.push(value)).unwrap();
            assert_eq!(data.value(0), Value::Decimal(expected));
        }
    }

    #[test]
    fn text_that_is_none_is_said_to_be_so_once_and_by_its_encoding() {
        let plan = CellPlan {
            logical: LogicalType::TEXT,
            transfer: Transfer::Native,
            encoding: Encoding::Wide,
        };
        let unpaired = 0xD83D_u16.to_ne_bytes();
        let read = read_cell(Cell::Raw(&unpaired), &plan, &mut String::new(), &mut |_| {});
        assert_eq!(read, Err("the text is not valid UTF-16".to_owned()));
    }

    #[test]
    fn a_zero_date_is_handed_over_as_what_it_is_and_never_null() {
        let value = text_value("0000-00-00", LogicalType::Date);
        assert_eq!(value, Ok(Value::Date(Date::ZERO)));
        assert!(text_value("2024-02-00", LogicalType::Date).is_err());
        assert_eq!(text_value("NaN", LogicalType::DECIMAL), Ok(Value::Decimal("NaN")));
    }
}
