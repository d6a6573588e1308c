//! A script's own statements on a connection: parameters in, rows out, every value exact.

use std::collections::HashMap;

use super::{
    Batch, Column, Connection, Error, Form, LogicalType, Transfer, Value, decimal,
    generic::{CellPlan, bind_parameters, cell_kind, native_bound, parameter_kind, read_cell},
    temporal::{Date, OffsetTimestamp, Time, Timestamp},
};
use crate::odbc::{Cell, CellSpec, Cursor, ParameterArray, ParameterKind, ResultColumn, Session, Statement};

/// Bytes of one block's buffers.
const BLOCK_BYTES: usize = 1 << 20;

/// The parameters of one execution, in order.
#[derive(Clone, Debug)]
pub struct Parameters {
    types: Vec<LogicalType>,
    values: Batch,
}

impl Default for Parameters {
    fn default() -> Self {
        Parameters {
            types: Vec::new(),
            values: Batch::new([]),
        }
    }
}

impl Parameters {
    /// Appends a parameter; its layout is that of the type.
    pub fn push(&mut self, logical: LogicalType, value: Value<'_>) {
        let mut column = super::batch::ColumnData::new(logical.layout());
        column.push(value);
        self.types.push(logical);
        self.values.columns.push(column);
    }
}

/// A value of a result, on its own.
#[derive(Clone, Debug, PartialEq)]
pub enum Owned {
    /// NULL.
    Null,
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A whole number beyond 64 bits with a sign.
    BigInteger(String),
    /// Decimal digits.
    Decimal(String),
    /// A floating-point number.
    Float(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A date.
    Date(Date),
    /// A time of day or span.
    Time(Time),
    /// Date and time without a zone.
    Timestamp(Timestamp),
    /// Date and time with an offset.
    Instant(OffsetTimestamp),
    /// A UUID.
    Uuid(String),
}

impl Owned {
    fn of(value: Value<'_>, logical: LogicalType) -> Owned {
        match (value, logical) {
            (Value::Null, _) => Owned::Null,
            (Value::I64(value), LogicalType::Boolean) => Owned::Boolean(value != 0),
            (Value::I64(value), _) => Owned::Integer(value),
            (Value::F64(value), _) => Owned::Float(value),
            (Value::Decimal(text), LogicalType::Integer { .. }) => Owned::BigInteger(text.to_owned()),
            (Value::Decimal(text), _) => Owned::Decimal(text.to_owned()),
            (Value::Text(text), LogicalType::Uuid) => Owned::Uuid(text.to_owned()),
            (Value::Text(text), _) => Owned::Text(text.to_owned()),
            (Value::Bytes(bytes), _) => Owned::Bytes(bytes.to_vec()),
            (Value::Date(value), _) => Owned::Date(value),
            (Value::Time(value), _) => Owned::Time(value),
            (Value::Timestamp(value), _) => Owned::Timestamp(value),
            (Value::Instant(value), _) => Owned::Instant(value),
        }
    }
}

/// The whole result of a query.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// The columns' names.
    pub names: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<Owned>>,
}

/// Runs a query and returns all its rows.
///
/// # Errors
/// Those of the driver; [`Error::Unreadable`] for a value that cannot be had exactly; [`Error::Unsupported`] if the
/// statement gives no rows, or for a parameter that the driver would change.
pub fn query(connection: &Connection, sql: &str, parameters: &Parameters) -> Result<Rows, Error> {
    let (session, dialect) = (&connection.session, connection.dialect);
    let mut statement = session.statement()?;
    statement.prepare(sql)?;
    let described = match statement.result_columns() {
        // Before it runs, where the driver knows by now: it may change something too.
        Ok(columns) if !columns.is_empty() => {
            refuse_one_name_for_several(&columns)?;
            dialect.script_query(sql, columns.len()).map(|sql| (sql, columns))
        }
        _ => None,
    };
    let mut rewritten = None;
    if let Some((sql, columns)) = described {
        let mut other = session.statement()?;
        // What cannot be rewritten, such as an INSERT behind a WITH, runs as it is.
        if other.prepare(&sql).is_ok() {
            statement = other;
            rewritten = Some(columns);
        }
    }
    run(connection, &mut statement, parameters)?;
    let transfer = if rewritten.is_some() {
        Transfer::Dynamic
    } else {
        Transfer::Native
    };
    let columns = match rewritten {
        Some(columns) => columns,
        None => statement.result_columns()?,
    };
    if columns.is_empty() {
        return Err(Error::Unsupported(
            "the statement gives no rows; `execute` is for such".to_owned(),
        ));
    }
    refuse_one_name_for_several(&columns)?;
    let columns: Vec<Column> = columns
        .into_iter()
        .map(|column| dialect.result_column(column))
        .collect();
    read(session, statement, &columns, transfer)
}

/// A row is handed out by its columns' names, so that of two with one name one would be lost.
fn refuse_one_name_for_several(columns: &[ResultColumn]) -> Result<(), Error> {
    let mut seen = HashMap::new();
    for (index, column) in columns.iter().enumerate() {
        let Some(first) = seen.insert(column.name.as_str(), index) else {
            continue;
        };
        let (first, second) = (first + 1, index + 1);
        let what = match column.name.as_str() {
            "" => format!("columns {first} and {second} of the result have no name"),
            name => format!("columns {first} and {second} of the result are both named `{name}`"),
        };
        return Err(Error::Unsupported(format!("{what}; give one of them an alias (AS)")));
    }
    Ok(())
}

/// Runs a statement and returns the number of rows that it changed, -1 if the driver does not know.
///
/// # Errors
/// Those of the driver; [`Error::Unsupported`] for a parameter that the driver would change.
pub fn execute(connection: &Connection, sql: &str, parameters: &Parameters) -> Result<i64, Error> {
    let mut statement = connection.session.statement()?;
    if parameters.types.is_empty() {
        statement.execute_direct(sql)?;
    } else {
        statement.prepare(sql)?;
        run(connection, &mut statement, parameters)?;
    }
    let count = statement.row_count()?;
    // A batch of statements is done when its last result was asked for.
    while !statement.has_result()? && statement.next_result()? {}
    Ok(count)
}

/// Runs the prepared statement with the parameters.
fn run(connection: &Connection, statement: &mut Statement, parameters: &Parameters) -> Result<(), Error> {
    let given = parameters.types.len();
    // Drivers answer a parameter too many with silence, and one too few with words of their own, or with a crash.
    if let Some(wanted) = statement.parameter_count()
        && wanted != given
    {
        return Err(Error::Unsupported(format!(
            "the statement takes {wanted} parameters, {given} were given"
        )));
    }
    let forms: Vec<Form> = parameters
        .types
        .iter()
        .map(|logical| connection.dialect.parameter_form(*logical))
        .collect();
    for (position, column) in parameters.values.columns.iter().enumerate() {
        if let (Value::Text(text), false) = (column.value(0), connection.dialect.nul_in_parameters())
            && text.contains('\0')
        {
            let number = position + 1;
            let message = format!("parameter {number} holds U+0000, where the driver would end the text");
            return Err(Error::Unsupported(message));
        }
    }
    let kinds: Vec<ParameterKind> = forms.iter().copied().map(parameter_kind).collect();
    let mut array = ParameterArray::new(connection.session.cell_encoding(), &kinds);
    if !forms.is_empty() {
        bind_parameters(&mut array, &forms, &parameters.values, 0).map_err(|failed| failed.error)?;
    }
    array.execute(statement).map_err(|failed| failed.error.into())
}

fn read(session: &Session, statement: Statement, columns: &[Column], transfer: Transfer) -> Result<Rows, Error> {
    let encoding = session.cell_encoding();
    let plans: Vec<CellPlan> = columns
        .iter()
        .map(|column| CellPlan {
            logical: column.logical,
            transfer,
            encoding,
        })
        .collect();
    let specs: Vec<CellSpec> = plans
        .iter()
        .map(|plan| {
            let bound = if transfer == Transfer::Dynamic {
                None
            } else {
                native_bound(plan.logical)
            };
            CellSpec {
                kind: cell_kind(plan.logical, transfer),
                bound,
            }
        })
        .collect();
    let mut cursor = Cursor::open(statement, &specs, session.get_data_rules(), BLOCK_BYTES)?;
    let mut result = Rows {
        names: columns.iter().map(|column| column.name.clone()).collect(),
        rows: Vec::new(),
    };
    let mut scratch = String::new();
    loop {
        let fetched = cursor.fetch()?;
        if fetched == 0 {
            return Ok(result);
        }
        for row in 0..fetched {
            let mut values = Vec::with_capacity(plans.len());
            for (position, plan) in plans.iter().enumerate() {
                let value = owned(cursor.cell(position, row), plan, &mut scratch).map_err(|reason| {
                    let (column, row) = (columns[position].name.clone(), result.rows.len() as u64 + 1);
                    Error::Unreadable { column, row, reason }
                })?;
                values.push(value);
            }
            result.rows.push(values);
        }
    }
}

/// A cell's value by its column's type; where each value has a class of its own and it is another, by that.
fn owned(cell: Cell<'_>, plan: &CellPlan, scratch: &mut String) -> Result<Owned, String> {
    let mut value = Owned::Null;
    let read = read_cell(cell, plan, scratch, &mut |found| value = Owned::of(found, plan.logical));
    if read.is_ok() || plan.transfer != Transfer::Dynamic {
        return read.map(|()| value);
    }
    const BY_CLASS: [LogicalType; 4] = [
        LogicalType::Integer { bits: 64, signed: true },
        LogicalType::Float { bits: 64 },
        LogicalType::TEXT,
        LogicalType::BYTES,
    ];
    for logical in BY_CLASS {
        let plan = CellPlan { logical, ..*plan };
        if read_cell(cell, &plan, scratch, &mut |found| value = Owned::of(found, logical)).is_ok() {
            return Ok(value);
        }
    }
    read.map(|()| value)
}

/// The type and value of a whole number of any size, as a parameter.
pub fn integer_parameter(parameters: &mut Parameters, digits: &str) -> Result<(), Error> {
    match digits.parse::<i64>() {
        Ok(value) => parameters.push(LogicalType::Integer { bits: 64, signed: true }, Value::I64(value)),
        Err(_) => match decimal::Digits::parse(digits) {
            Some(_) => parameters.push(LogicalType::DECIMAL, Value::Decimal(digits)),
            None => return Err(Error::Unsupported("a parameter is no whole number".to_owned())),
        },
    }
    Ok(())
}
