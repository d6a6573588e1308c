//! Rows into any database: one prepared INSERT and column-wise parameter arrays.

use super::super::{
    Batch, Column, Connection, Error, Form, Relation, Resources, Value, WireFormat, WriteError, WriteLane, Writer,
};
use super::reader::read_back;
use crate::database::ValueCheck;
use crate::odbc::{self, ExecuteError, Interrupt, ParameterArray, ParameterKind, Session, Statement};

/// The generic lane in.
pub(crate) struct OdbcWrite;

/// Most bytes of one parameter array; more of them gain no speed. MariaDB's driver makes a copy of the same size.
const ARRAY_BYTES_MAX: usize = 4 << 20;

impl WriteLane for OdbcWrite {
    fn name(&self) -> &'static str {
        "odbc"
    }

    fn offer(
        &self,
        connection: &Connection,
        _target: Option<&Relation>,
        _columns: &[Column],
    ) -> Result<String, String> {
        let arrays = connection.session.takes_parameter_arrays() && connection.dialect.parameter_rows_max() > 1;
        Ok(match arrays {
            true => "parameter arrays of the ODBC driver",
            false => "the ODBC driver, row by row, for it has no parameter arrays to rely on",
        }
        .to_owned())
    }

    fn takes_parts(&self, connection: &Connection) -> Result<(), String> {
        let known = connection.dialect.savepoint().map(drop);
        known.ok_or_else(|| "dray knows no savepoints of this product".to_owned())
    }

    fn open(&self, connection: Connection, resources: &Resources) -> Result<Box<dyn Writer>, Error> {
        Ok(Box::new(OdbcWriter {
            load: None,
            rows_taken: connection.dialect.counts_array_rows().then_some(0),
            connection,
            memory_bytes: resources.memory_bytes,
        }))
    }
}

struct OdbcWriter {
    // Before the connection, whose statement it holds.
    load: Option<Load>,
    connection: Connection,
    memory_bytes: usize,
    /// `None` where the driver does not say.
    rows_taken: Option<u64>,
}

struct Load {
    statement: Statement,
    forms: Vec<Form>,
    array: ParameterArray,
    rows_max: usize,
    array_bytes_max: usize,
    row_bytes_max: usize,
    names_failed_row: bool,
    bytes_max: Option<(usize, &'static str)>,
    /// Columns by position whose values are looked at, with their names.
    checks: Vec<(usize, String, ValueCheck)>,
    /// What the session is told once all rows are there.
    after_rows: Option<String>,
    /// As the driver counts them; `None` once it has not.
    rows_taken: Option<u64>,
    rows_before_part: Option<u64>,
}

impl Writer for OdbcWriter {
    fn begin(&mut self) -> Result<(), Error> {
        // ODBC has no call for it: the next statement starts one.
        Ok(self.connection.session.set_autocommit(false)?)
    }

    fn execute(&mut self, sql: &str) -> Result<i64, Error> {
        Ok(self.connection.session.execute(sql)?)
    }

    fn query(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
        Ok(self.connection.session.text_rows(sql, &[])?)
    }

    fn load_into(&mut self, target: &Relation, columns: &[Column], _wire: Option<WireFormat>) -> Result<(), Error> {
        let parts: Vec<_> = columns
            .iter()
            .map(|column| self.connection.dialect.write_as(column))
            .collect();
        let names: Vec<String> = columns
            .iter()
            .map(|column| self.connection.dialect.quote(&column.name))
            .collect();
        let values: Vec<&str> = parts.iter().map(|part| part.expression.as_str()).collect();
        let sql = format!(
            "INSERT INTO {} ({}){} VALUES ({})",
            self.connection.dialect.quote_relation(target),
            names.join(", "),
            self.connection.dialect.insert_option(),
            values.join(", ")
        );
        let checks = (self.connection.dialect).value_checks(&self.connection.session, target, columns)?;
        let around_rows = self.connection.dialect.around_rows(target, columns);
        if let Some([before_rows, _]) = &around_rows {
            self.connection.session.execute(before_rows)?;
        }
        let mut statement = self.connection.session.statement()?;
        statement.prepare(&sql)?;
        let forms: Vec<Form> = parts.iter().map(|part| part.form).collect();
        let kinds: Vec<ParameterKind> = forms.iter().copied().map(parameter_kind).collect();
        let bytes_max = self.connection.dialect.execution_bytes_max(&self.connection.session)?;
        let bytes_max = bytes_max.map(|(bytes, name)| (bytes.saturating_sub(HEADER_BYTES), name));
        let array = ParameterArray::new(self.connection.session.cell_encoding(), &kinds);
        let rows_max = match self.connection.session.takes_parameter_arrays() && statement.takes_parameter_arrays() {
            true => self.connection.dialect.parameter_rows_max(),
            false => 1,
        };
        let named = |(position, check): (usize, ValueCheck)| (position, columns[position].name.clone(), check);
        self.load = Some(Load {
            checks: checks.into_iter().map(named).collect(),
            after_rows: around_rows.map(|[_, after_rows]| after_rows),
            rows_taken: self.rows_taken,
            rows_before_part: None,
            statement,
            forms,
            array,
            rows_max,
            array_bytes_max: ARRAY_BYTES_MAX.min(self.memory_bytes / 16),
            // It lies in the array, in UTF-16 perhaps, and in the driver that sends it.
            row_bytes_max: self.memory_bytes / 4,
            names_failed_row: self.connection.dialect.names_failed_row(),
            bytes_max,
        });
        Ok(())
    }

    fn write(&mut self, batch: &Batch) -> Result<(), WriteError> {
        let Some(load) = &mut self.load else {
            return Err(Error::Unsupported("a batch came before its table was named".to_owned()).into());
        };
        let mut first = 0;
        for row in 0..batch.rows() {
            let bytes = batch.row_bytes(row);
            for (position, name, check) in &load.checks {
                check(batch.columns[*position].value(row))
                    .map_err(|reason| failed(row, &format!("column `{name}`: {reason}")))?;
            }
            if let Some((limit, name)) = load.bytes_max {
                if bytes > limit {
                    let limit = limit + HEADER_BYTES;
                    let error = Error::RowTooLong { bytes, name, limit };
                    return Err(WriteError { error, row: Some(row) });
                }
                if load.array.bytes() + bytes > limit {
                    load.run(&self.connection.session, batch, first)?;
                    first = row;
                }
            }
            if bytes > load.row_bytes_max {
                let error = Error::OverMemoryLimit {
                    column: None,
                    row: None,
                    bytes,
                    limit_bytes: load.row_bytes_max,
                };
                return Err(WriteError { error, row: Some(row) });
            }
            // In the array every row is as long as the longest: a long one goes alone.
            let with_row = load
                .array
                .laid_out_bytes_with(|column| batch.columns[column].value_bytes(row));
            if load.array.rows() > 0 && with_row > load.array_bytes_max {
                load.run(&self.connection.session, batch, first)?;
                first = row;
            }
            bind_parameters(&mut load.array, &load.forms, batch, row)?;
            if load.array.rows() >= load.rows_max {
                load.run(&self.connection.session, batch, first)?;
                first = row + 1;
            }
        }
        load.run(&self.connection.session, batch, first)
    }

    fn finish(&mut self) -> Result<(), WriteError> {
        let Some(load) = self.load.take() else { return Ok(()) };
        let after_rows = load.after_rows.clone();
        self.rows_taken = load.rows_taken;
        // The statement first: a driver takes no other one before its results are gone.
        drop(load);
        if let Some(sql) = after_rows {
            self.connection.session.execute(&sql)?;
        }
        Ok(())
    }

    fn begin_part(&mut self) -> Result<(), Error> {
        if let Some(load) = &mut self.load {
            load.rows_before_part = load.rows_taken;
        }
        match self.connection.dialect.savepoint() {
            Some(savepoint) => Ok(self.connection.session.execute(savepoint.set).map(drop)?),
            None => Err(Error::Unsupported("the product has no savepoints".to_owned())),
        }
    }

    fn end_part(&mut self) -> Result<(), WriteError> {
        let release = self
            .connection
            .dialect
            .savepoint()
            .and_then(|savepoint| savepoint.release);
        release.map_or(Ok(()), |sql| Ok(self.connection.session.execute(sql).map(drop)?))
    }

    fn undo_part(&mut self) -> Result<(), Error> {
        if let Some(load) = &mut self.load {
            load.array.clear();
            load.rows_taken = load.rows_before_part;
        }
        let savepoint = self.connection.dialect.savepoint();
        let statements = savepoint.map(|savepoint| [Some(savepoint.undo), savepoint.release]);
        for sql in statements.into_iter().flatten().flatten() {
            self.connection.session.execute(sql)?;
        }
        Ok(())
    }

    fn rows_taken(&self) -> Option<u64> {
        self.rows_taken
    }

    fn read_back(
        &mut self,
        table: &Relation,
        columns: &[Column],
        batch_bytes: usize,
        take: &mut dyn FnMut(&Batch),
    ) -> Result<(), Error> {
        read_back(&self.connection, table, columns, (self.memory_bytes, batch_bytes), take)
    }

    fn commit(&mut self) -> Result<(), Error> {
        Ok(self.connection.session.commit()?)
    }

    fn shield(&mut self) {
        self.connection.session.set_interrupt(&Interrupt::new());
    }

    fn rollback(&mut self) -> Result<(), Error> {
        // The statement goes first: a driver may hold a transaction open for it.
        self.load = None;
        self.shield();
        Ok(self.connection.session.rollback()?)
    }

    fn into_connection(self: Box<Self>) -> Option<Connection> {
        let OdbcWriter { load, connection, .. } = *self;
        drop(load);
        connection.session.set_autocommit(true).ok()?;
        Some(connection)
    }
}

/// What a server's limit on an execution may count beside the values.
const HEADER_BYTES: usize = 64 * 1024;

/// Where the array that is about to run began.
const SAVEPOINT: &str = "dray_array";

impl Load {
    /// Runs the array, whose first row is row `first` of the batch, and empties it.
    fn run(&mut self, session: &Session, batch: &Batch, first: usize) -> Result<(), WriteError> {
        let rows = self.array.rows();
        let search = rows > 1 && !self.names_failed_row;
        if search {
            session.execute(&format!("SAVEPOINT {SAVEPOINT}"))?;
        }
        if rows == 0 {
            return Ok(());
        }
        let result = self.array.execute(&mut self.statement);
        self.array.clear();
        if result.is_ok()
            && let Some(before) = self.rows_taken
        {
            let taken = u64::try_from(self.statement.row_count()?).ok();
            self.rows_taken = taken.map(|taken| before + taken);
        }
        let failed = match result {
            // Such a driver may also call an array a success that the server refused as a whole (MariaDB
            // Connector/ODBC 3.1.15, error 1265), and only the count of its rows tells.
            Ok(()) if search => match self.statement.row_count()? {
                -1 => return Ok(()),
                count if usize::try_from(count) == Ok(rows) => return Ok(()),
                count => {
                    let text = format!("the server took {count} of {rows} rows, and the driver named no error");
                    ExecuteError::from(odbc::Error::Internal(text))
                }
            },
            Ok(()) => return Ok(()),
            Err(failed) => failed,
        };
        if search
            && failed.row.is_none()
            && let Some(found) = self.find_failed_row(session, batch, first..first + rows)
        {
            return Err(found);
        }
        Err(WriteError {
            error: failed.error.into(),
            row: failed.row.map(|row| first + row),
        })
    }

    /// Runs the rows of a failed array one by one, to say which of them it was. The transaction is lost in any case.
    fn find_failed_row(
        &mut self,
        session: &Session,
        batch: &Batch,
        rows: std::ops::Range<usize>,
    ) -> Option<WriteError> {
        session.execute(&format!("ROLLBACK TO SAVEPOINT {SAVEPOINT}")).ok()?;
        for row in rows {
            self.array.clear();
            bind_parameters(&mut self.array, &self.forms, batch, row).ok()?;
            if let Err(failed) = self.array.execute(&mut self.statement) {
                return Some(WriteError {
                    error: failed.error.into(),
                    row: Some(row),
                });
            }
        }
        None
    }
}

/// The parameter's type for a form.
pub(in crate::database) fn parameter_kind(form: Form) -> ParameterKind {
    match form {
        Form::Bit => ParameterKind::Bit,
        Form::Decimal => ParameterKind::Decimal,
        Form::I64 => ParameterKind::I64,
        Form::F64 => ParameterKind::F64,
        Form::Text | Form::TextUtc => ParameterKind::Text,
        Form::Bytes => ParameterKind::Bytes,
        Form::Date => ParameterKind::Date,
        Form::Timestamp(digits) => ParameterKind::Timestamp(digits),
    }
}

/// Appends a row of the batch to the array, each value in its column's form.
///
/// # Errors
/// If a value cannot take the form, which a dialect's `write_as` must not ask for.
pub(in crate::database) fn bind_parameters(
    array: &mut ParameterArray,
    forms: &[Form],
    batch: &Batch,
    row: usize,
) -> Result<(), WriteError> {
    for (position, (form, column)) in forms.iter().zip(&batch.columns).enumerate() {
        match (form, column.value(row)) {
            (_, Value::Null) => array.push_null(position),
            (Form::I64, Value::I64(value)) => array.push_i64(position, value),
            (Form::Bit, Value::I64(value)) => array.push_bit(position, value != 0),
            (Form::Decimal, Value::Decimal(digits)) => array.push_text(position, digits),
            (Form::F64, Value::F64(value)) => array.push_f64(position, value),
            (Form::Bytes, Value::Bytes(value)) => array.push_bytes(position, value),
            (Form::Bytes, Value::Text(value)) => array.push_bytes(position, value.as_bytes()),
            (Form::Date, Value::Date(value)) => {
                let (year, month, day) = (value.year, value.month, value.day);
                array.push_date(position, odbc_sys::Date { year, month, day });
            }
            (Form::Timestamp(_), Value::Timestamp(value)) => {
                let (date, time) = (value.date, value.time);
                array.push_timestamp(
                    position,
                    odbc_sys::Timestamp {
                        year: date.year,
                        month: date.month,
                        day: date.day,
                        hour: time.hour,
                        minute: time.minute,
                        second: time.second,
                        fraction: time.nanosecond,
                    },
                );
            }
            (Form::TextUtc, Value::Instant(value)) => match value.utc() {
                Some(utc) => array.push_text(position, &utc.to_string()),
                None => return Err(failed(row, "the instant is outside the years 1 to 9999 in UTC")),
            },
            (Form::Text | Form::TextUtc, value) => match value {
                Value::Text(text) | Value::Decimal(text) => array.push_text(position, text),
                Value::I64(value) => array.push_text(position, &value.to_string()),
                Value::F64(value) => array.push_text(position, &float_text(value)),
                Value::Date(value) => array.push_text(position, &value.to_string()),
                Value::Time(value) => array.push_text(position, &value.to_string()),
                Value::Timestamp(value) => array.push_text(position, &value.to_string()),
                Value::Instant(value) => array.push_text(position, &value.to_string()),
                Value::Null | Value::Bytes(_) => return Err(failed(row, "bytes are not written as text")),
            },
            (form, _) => return Err(failed(row, &format!("the value does not take the form {form:?}"))),
        }
    }
    Ok(())
}

fn failed(row: usize, reason: &str) -> WriteError {
    WriteError {
        error: Error::Unsupported(reason.to_owned()),
        row: Some(row),
    }
}

/// The shortest digits that are read back as the same float, in a form that databases read.
fn float_text(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 {
            "Infinity".to_owned()
        } else {
            "-Infinity".to_owned()
        }
    } else {
        // With an exponent where plain digits would be hundreds of zeros.
        format!("{value:?}")
    }
}
