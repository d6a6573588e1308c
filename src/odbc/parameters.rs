//! Parameters of a prepared statement: one row or many, column by column.

#![allow(unsafe_code)]

use std::ptr;

use odbc_sys::{
    CDataType, Date, FreeStmtOption, InfoType, Len, NULL_DATA, ParamType, Pointer, SQLBindParameter, SQLFreeStmt,
    SQLGetStmtAttr, SQLSetStmtAttr, SqlDataType, SqlReturn, StatementAttribute, Timestamp,
};

use super::{Encoding, Error, Session, Statement};

/// In which C and SQL type a parameter is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterKind {
    /// `SQL_C_BIT` as `SQL_BIT`.
    Bit,
    /// Text in the connection's encoding as `SQL_DECIMAL`, its precision and scale taken from the digits.
    Decimal,
    /// `SQL_C_SBIGINT` as `SQL_BIGINT`.
    I64,
    /// `SQL_C_DOUBLE` as `SQL_DOUBLE`.
    F64,
    /// Text in the connection's encoding.
    Text,
    /// `SQL_C_BINARY` as `SQL_VARBINARY`, or `SQL_LONGVARBINARY` beyond 8000 bytes.
    Bytes,
    /// `SQL_C_TYPE_DATE`.
    Date,
    /// `SQL_C_TYPE_TIMESTAMP` with this many digits of a second.
    Timestamp(u8),
}

/// Values for the parameters of one statement, as many rows as were pushed to each column.
pub struct ParameterArray {
    encoding: Encoding,
    columns: Vec<Column>,
}

struct Column {
    kind: ParameterKind,
    /// Values one after the other; `ends` says where each one stops.
    values: Vec<u8>,
    ends: Vec<usize>,
    indicators: Vec<Len>,
    longest: usize,
    /// Most digits after a decimal's point.
    scale: i16,
}

/// A column's values as a driver is given them.
struct LaidOut {
    /// `u64` for the alignment of every C type; `None` for those of the column itself.
    data: Option<Vec<u64>>,
    /// Bytes from one value to the next.
    stride: usize,
}

/// Memory of a column's values that is kept from one execution to the next.
const KEPT_BYTES: usize = 4 << 20;

/// From here on a single value is not copied to be bound.
const LONG_BYTES: usize = 64 * 1024;

/// An execution that failed.
#[derive(Debug)]
pub struct ExecuteError {
    /// What the driver said.
    pub error: Error,
    /// The row of the array, from 0, if the driver says which.
    pub row: Option<usize>,
}

impl From<Error> for ExecuteError {
    fn from(error: Error) -> Self {
        ExecuteError { error, row: None }
    }
}

impl ParameterArray {
    /// An empty array with a column for each parameter.
    pub fn new(encoding: Encoding, kinds: &[ParameterKind]) -> Self {
        let column = |kind: &ParameterKind| Column {
            kind: *kind,
            values: Vec::new(),
            ends: Vec::new(),
            indicators: Vec::new(),
            longest: 0,
            scale: 0,
        };
        ParameterArray {
            encoding,
            columns: kinds.iter().map(column).collect(),
        }
    }

    /// Forgets the rows and keeps the memory, but for that of long values.
    pub fn clear(&mut self) {
        for column in &mut self.columns {
            column.values.clear();
            column.values.shrink_to(KEPT_BYTES);
            column.ends.clear();
            column.indicators.clear();
            column.longest = 0;
            column.scale = 0;
        }
    }

    /// NULL for the next row of a column; columns count from 0.
    pub fn push_null(&mut self, column: usize) {
        let column = &mut self.columns[column];
        column.ends.push(column.values.len());
        column.indicators.push(NULL_DATA);
    }

    /// The next integer of a column.
    pub fn push_i64(&mut self, column: usize, value: i64) {
        self.columns[column].push(&value.to_ne_bytes());
    }

    /// The next bit of a column.
    pub fn push_bit(&mut self, column: usize, value: bool) {
        self.columns[column].push(&[u8::from(value)]);
    }

    /// The next floating-point number of a column.
    pub fn push_f64(&mut self, column: usize, value: f64) {
        self.columns[column].push(&value.to_ne_bytes());
    }

    /// The next text of a column.
    pub fn push_text(&mut self, column: usize, value: &str) {
        let encoding = self.encoding;
        let fraction = value.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        self.columns[column].scale = self.columns[column].scale.max(fraction.min(38) as i16);
        self.columns[column].push_with(|values| encoding.encode_into(value, values));
    }

    /// The next bytes of a column.
    pub fn push_bytes(&mut self, column: usize, value: &[u8]) {
        self.columns[column].push(value);
    }

    /// The next date of a column.
    pub fn push_date(&mut self, column: usize, value: Date) {
        // SAFETY: a C struct of six bytes without padding.
        let bytes = unsafe { std::slice::from_raw_parts((&raw const value).cast::<u8>(), size_of::<Date>()) };
        self.columns[column].push(bytes);
    }

    /// The next timestamp of a column; its fraction is in nanoseconds.
    pub fn push_timestamp(&mut self, column: usize, value: Timestamp) {
        // SAFETY: a C struct of sixteen bytes without padding.
        let bytes = unsafe { std::slice::from_raw_parts((&raw const value).cast::<u8>(), size_of::<Timestamp>()) };
        self.columns[column].push(bytes);
    }

    /// Rows that were pushed to the first column.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, |column| column.indicators.len())
    }

    /// Bytes of the values themselves.
    pub fn bytes(&self) -> usize {
        self.columns.iter().map(|column| column.values.len()).sum()
    }

    /// Bytes that the rows and one more take when they are laid out for the driver: the longest value of a column times the
    /// rows. The next row's values have so many bytes of UTF-8 each; in UTF-16 up to twice that.
    pub fn laid_out_bytes_with(&self, value_bytes: impl Fn(usize) -> usize) -> usize {
        let bytes = |(position, column): (usize, &Column)| {
            let text = matches!(column.kind, ParameterKind::Text | ParameterKind::Decimal);
            let units = if text { self.encoding.unit_bytes() } else { 1 };
            let longest = column.longest.max(value_bytes(position) * units).max(8);
            longest * (column.indicators.len() + 1)
        };
        self.columns.iter().enumerate().map(bytes).sum()
    }

    /// Runs the prepared statement once for each row.
    ///
    /// # Errors
    /// If any row fails. Which rows before it were done is for the transaction to settle.
    pub fn execute(&mut self, statement: &mut Statement) -> Result<(), ExecuteError> {
        let rows = if self.columns.is_empty() { 1 } else { self.rows() };
        if rows == 0 {
            return Ok(());
        }
        let mut laid_out: Vec<LaidOut> = self.columns.iter_mut().map(Column::lay_out).collect();
        let mut processed = Box::new(0_usize);
        let mut status = std::mem::take(&mut statement.row_status);
        status.fill(0);
        status.resize(rows.max(status.len()), 0);
        let result = self.bind_and_run(statement, rows, &mut laid_out, &mut processed, &mut status);
        // Before the buffers go: the driver must not keep their addresses.
        self.unbind(statement);
        statement.row_status = status;
        result
    }

    fn bind_and_run(
        &self,
        statement: &mut Statement,
        rows: usize,
        laid_out: &mut [LaidOut],
        processed: &mut usize,
        status: &mut [u16],
    ) -> Result<(), ExecuteError> {
        let attributes: [(StatementAttribute, Pointer); 4] = [
            (StatementAttribute::ParamBindType, ptr::null_mut()),
            (StatementAttribute::ParamsetSize, rows as Pointer),
            (StatementAttribute::ParamsProcessedPtr, ptr::from_mut(processed).cast()),
            (StatementAttribute::ParamStatusPtr, status.as_mut_ptr().cast()),
        ];
        // A single row needs none of them, and not every driver knows them.
        for (attribute, value) in attributes.into_iter().filter(|_| rows > 1) {
            // SAFETY: column-wise binding; the pointers live until `unbind`.
            let result = unsafe { SQLSetStmtAttr(statement.handle(), attribute, value, 0) };
            statement.check("SQLSetStmtAttr", result)?;
        }
        for (position, (column, laid_out)) in self.columns.iter().zip(laid_out).enumerate() {
            let data = match &mut laid_out.data {
                Some(data) => data.as_mut_ptr().cast(),
                // Only read: it is an input parameter.
                None => column.values.as_ptr().cast_mut().cast(),
            };
            let (c_type, sql_type, size, digits) = column.types(self.encoding);
            // SAFETY: data and indicators have a place for each row and live, unmoved, until `unbind`. Indicators of
            // input parameters are only read.
            let result = unsafe {
                SQLBindParameter(
                    statement.handle(),
                    (position + 1) as u16,
                    ParamType::Input,
                    c_type,
                    sql_type,
                    size,
                    digits,
                    data,
                    laid_out.stride as Len,
                    column.indicators.as_ptr().cast_mut(),
                )
            };
            statement.check("SQLBindParameter", result)?;
        }
        let result = statement.execute_prepared()?;
        let went_on = matches!(
            result,
            SqlReturn::SUCCESS | SqlReturn::SUCCESS_WITH_INFO | SqlReturn::NO_DATA
        );
        const PARAM_ERROR: u16 = 5;
        let mut late_error = None;
        if rows > 1 && went_on && statement.link.quirks().answers_row_by_row {
            // The records of the execution itself are gone with the first of these calls.
            while late_error.is_none() && !status[..rows].contains(&PARAM_ERROR) {
                match statement.next_result() {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => late_error = Some(error),
                }
            }
        }
        // psqlodbc answers "success with info" when rows in the middle failed, so the rows themselves are looked at.
        let failed = status[..rows].iter().position(|status| *status == PARAM_ERROR);
        if failed.is_some() || late_error.is_some() {
            let error = late_error.unwrap_or_else(|| Error::Call {
                function: "SQLExecute",
                diagnostics: statement.diagnostics(),
            });
            return Err(ExecuteError { error, row: failed });
        }
        let row = (rows == 1).then_some(0);
        statement
            .check_executed("SQLExecute", result)
            .map_err(|error| ExecuteError { error, row })?;
        // MariaDB's driver counts a bulk execution as one parameter set or as all of them.
        if rows > 1 && !matches!(*processed, 0 | 1) && *processed != rows {
            let error = Error::Internal(format!(
                "the driver took {processed} of {rows} rows of a parameter array"
            ));
            return Err(error.into());
        }
        Ok(())
    }

    fn unbind(&self, statement: &mut Statement) {
        // SAFETY: a live statement; integers and null pointers.
        unsafe {
            let _ = SQLFreeStmt(statement.handle(), FreeStmtOption::ResetParams);
            for attribute in [
                StatementAttribute::ParamsProcessedPtr,
                StatementAttribute::ParamStatusPtr,
            ] {
                let _ = SQLSetStmtAttr(statement.handle(), attribute, ptr::null_mut(), 0);
            }
            let _ = SQLSetStmtAttr(statement.handle(), StatementAttribute::ParamsetSize, 1 as Pointer, 0);
        }
    }
}

impl Statement {
    /// Whether the statement can be run for several rows at once: the driver takes the number and keeps it.
    pub fn takes_parameter_arrays(&mut self) -> bool {
        const ROWS: usize = 2;
        let size = StatementAttribute::ParamsetSize;
        let mut kept = 0_usize;
        // SAFETY: a live statement; an integer attribute, and a place of its size.
        let (set, got) = unsafe {
            (
                SQLSetStmtAttr(self.handle(), size, ROWS as Pointer, 0),
                SQLGetStmtAttr(self.handle(), size, (&raw mut kept).cast(), 0, ptr::null_mut()),
            )
        };
        // SAFETY: as above.
        let _ = unsafe { SQLSetStmtAttr(self.handle(), size, 1 as Pointer, 0) };
        set == SqlReturn::SUCCESS && got == SqlReturn::SUCCESS && kept == ROWS
    }
}

impl Session {
    /// Whether the driver claims to run a statement for several rows at once. One that does not know the question knows no
    /// arrays.
    pub fn takes_parameter_arrays(&self) -> bool {
        self.info_number(InfoType::ParamArrayRowCounts) != 0
    }
}

impl Column {
    fn push(&mut self, value: &[u8]) {
        self.push_with(|values| values.extend_from_slice(value));
    }

    fn push_with(&mut self, append: impl FnOnce(&mut Vec<u8>)) {
        let start = self.values.len();
        append(&mut self.values);
        let length = self.values.len() - start;
        self.ends.push(self.values.len());
        self.indicators.push(length as Len);
        self.longest = self.longest.max(length);
    }

    /// The values at equal distances, as column-wise binding wants them.
    fn lay_out(&mut self) -> LaidOut {
        // A place for a terminator: MariaDB's driver was seen to read text to its end whatever its length.
        const TERMINATOR: usize = 2;
        let stride = match self.kind {
            ParameterKind::Bit => 1,
            ParameterKind::I64 | ParameterKind::F64 => 8,
            ParameterKind::Date => size_of::<Date>(),
            ParameterKind::Timestamp(_) => size_of::<Timestamp>(),
            ParameterKind::Text | ParameterKind::Decimal | ParameterKind::Bytes => {
                (self.longest + TERMINATOR).next_multiple_of(2)
            }
        };
        if self.indicators.len() == 1 && self.longest >= LONG_BYTES {
            // One long value lies where it should already.
            self.values.extend_from_slice(&[0; TERMINATOR]);
            return LaidOut { data: None, stride };
        }
        let mut data = vec![0_u64; (stride * self.indicators.len()).div_ceil(8).max(1)];
        // SAFETY: u64s are plain bytes.
        let bytes = unsafe { std::slice::from_raw_parts_mut(data.as_mut_ptr().cast::<u8>(), data.len() * 8) };
        let mut start = 0;
        for (row, end) in self.ends.iter().enumerate() {
            let value = &self.values[start..*end];
            bytes[row * stride..row * stride + value.len()].copy_from_slice(value);
            start = *end;
        }
        LaidOut {
            data: Some(data),
            stride,
        }
    }

    /// C type, SQL type, column size (characters, bytes or digits) and decimal digits.
    fn types(&self, encoding: Encoding) -> (CDataType, SqlDataType, usize, i16) {
        match self.kind {
            ParameterKind::Bit => (CDataType::Bit, SqlDataType::EXT_BIT, 1, 0),
            ParameterKind::Decimal => {
                // Every digit may stand on either side of the point.
                let digits = (self.longest / encoding.unit_bytes()).clamp(1, 38);
                let c_type = if encoding == Encoding::Wide {
                    CDataType::WChar
                } else {
                    CDataType::Char
                };
                (c_type, SqlDataType::DECIMAL, digits, self.scale)
            }
            ParameterKind::I64 => (CDataType::SBigInt, SqlDataType::EXT_BIG_INT, 19, 0),
            ParameterKind::F64 => (CDataType::Double, SqlDataType::DOUBLE, 15, 0),
            ParameterKind::Date => (CDataType::TypeDate, SqlDataType::DATE, 10, 0),
            ParameterKind::Timestamp(digits) => {
                let size = if digits == 0 { 19 } else { 20 + usize::from(digits) };
                (CDataType::TypeTimestamp, SqlDataType::TIMESTAMP, size, digits.into())
            }
            ParameterKind::Bytes => {
                let long = self.longest > 8_000;
                let sql_type = if long {
                    SqlDataType::EXT_LONG_VAR_BINARY
                } else {
                    SqlDataType::EXT_VAR_BINARY
                };
                (CDataType::Binary, sql_type, self.longest.max(1), 0)
            }
            ParameterKind::Text => {
                let size = (self.longest / encoding.unit_bytes()).max(1);
                // 4000 characters are the most of SQL Server's nvarchar(n); other products do not mind.
                match (encoding, size > 4_000) {
                    (Encoding::Wide, false) => (CDataType::WChar, SqlDataType::EXT_W_VARCHAR, size, 0),
                    (Encoding::Wide, true) => (CDataType::WChar, SqlDataType::EXT_W_LONG_VARCHAR, size, 0),
                    (Encoding::Narrow, false) => (CDataType::Char, SqlDataType::VARCHAR, size, 0),
                    (Encoding::Narrow, true) => (CDataType::Char, SqlDataType::EXT_LONG_VARCHAR, size, 0),
                }
            }
        }
    }
}
