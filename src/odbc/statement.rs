//! One statement: SQL text sent, prepared or not, and what its result looks like.

#![allow(unsafe_code)]

use std::sync::Arc;

use odbc_sys::{
    Desc, FreeStmtOption, HStmt, HandleType, Len, Nullability, Pointer, SQLColAttribute, SQLColAttributeW, SQLColumns,
    SQLColumnsW, SQLDescribeCol, SQLDescribeColW, SQLExecDirect, SQLExecDirectW, SQLExecute, SQLFreeHandle,
    SQLFreeStmt, SQLMoreResults, SQLNumParams, SQLNumResultCols, SQLPrepare, SQLPrepareW, SQLPrimaryKeys,
    SQLPrimaryKeysW, SQLRowCount, SQLSetStmtAttr, SQLTables, SQLTablesW, SqlDataType, SqlReturn, StatementAttribute,
};

use super::{
    CellKind, CellSpec, Cursor, Diagnostic, Encoding, Error, ParameterArray, ParameterKind, Session, diagnostics,
    encoding, session::Link,
};

/// A column of a result, as the driver describes it. Sizes are hints: drivers make them up where there is no bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultColumn {
    /// Its name or alias.
    pub name: String,
    /// The ODBC code of its type, such as `SQL_VARCHAR`.
    pub sql_type: SqlDataType,
    /// The product's own name of its type, in lower case; empty if the driver does not know.
    pub type_name: String,
    /// Characters, bytes or digits, after the type; 0 if unknown.
    pub size: usize,
    /// Digits after the point, of seconds too.
    pub decimal_digits: i16,
    /// False only if the driver rules out NULL.
    pub nullable: bool,
    /// Whether an integer has no sign.
    pub unsigned: bool,
}

/// A statement of a session; keeps the connection open while it lives.
pub struct Statement {
    handle: HStmt,
    pub(super) link: Arc<Link>,
    /// What became of each row of a parameter array; never shorter than it was for an earlier one: Microsoft's driver 18.6
    /// also writes to the place of the last row of the array before, in the new array's memory (seen with 62 rows, then 2:
    /// the 62nd place was written to, whatever lay there).
    pub(super) row_status: Vec<u16>,
}

// SAFETY: the handle may be used from any thread, by one at a time, which `&mut self` sees to. Buffers that are bound to
// it belong to `Cursor` and `ParameterArray`, which move with it.
unsafe impl Send for Statement {}

impl Drop for Statement {
    fn drop(&mut self) {
        // SAFETY: a live handle whose last owner this is; the link is freed after it.
        let _ = unsafe { SQLFreeHandle(HandleType::Stmt, self.handle.as_handle()) };
    }
}

impl Session {
    /// A new statement.
    pub fn statement(&self) -> Result<Statement, Error> {
        let statement = Statement {
            handle: self.link.allocate_statement()?,
            link: Arc::clone(&self.link),
            row_status: Vec::new(),
        };
        // The standard's default, but sqliteodbc has another one, under which it keeps the whole result in memory.
        const FORWARD_ONLY: Pointer = std::ptr::null_mut();
        // SAFETY: an integer attribute, 0. A driver without other cursors may not know it.
        let _ = unsafe { SQLSetStmtAttr(statement.handle, StatementAttribute::CursorType, FORWARD_ONLY, 0) };
        Ok(statement)
    }

    /// Runs one statement without a result and returns the number of rows that it changed, -1 if unknown.
    pub fn execute(&self, sql: &str) -> Result<i64, Error> {
        let mut statement = self.statement()?;
        statement.execute_direct(sql)?;
        statement.row_count()
    }

    /// Runs a query with text parameters and returns all its cells as text: for catalogs, whose answers are small.
    pub fn text_rows(&self, sql: &str, parameters: &[&str]) -> Result<Vec<Vec<Option<String>>>, Error> {
        let mut statement = self.statement()?;
        if parameters.is_empty() {
            statement.execute_direct(sql)?;
        } else {
            statement.prepare(sql)?;
            let kinds = vec![ParameterKind::Text; parameters.len()];
            let mut array = ParameterArray::new(self.cell_encoding(), &kinds);
            parameters
                .iter()
                .enumerate()
                .for_each(|(column, text)| array.push_text(column, text));
            array.execute(&mut statement).map_err(|failed| failed.error)?;
        }
        statement.into_text_rows(self)
    }
}

impl Statement {
    /// The handle, for calls of this module's siblings.
    pub(super) fn handle(&self) -> HStmt {
        self.handle
    }

    /// Sends SQL text to be run once.
    pub fn execute_direct(&mut self, sql: &str) -> Result<(), Error> {
        let result = match self.link.encoding {
            Encoding::Wide => {
                let units = encoding::wide(sql);
                let length = length_i32(units.len() - 1)?;
                // SAFETY: a live statement, and text as long as its length says.
                self.watch(|handle| unsafe { SQLExecDirectW(handle, units.as_ptr(), length) })?
            }
            Encoding::Narrow => {
                let length = length_i32(sql.len())?;
                // SAFETY: as above.
                self.watch(|handle| unsafe { SQLExecDirect(handle, sql.as_ptr(), length) })?
            }
        };
        self.check_executed("SQLExecDirect", result)
    }

    /// Sends SQL text to be run with parameters, perhaps several times.
    pub fn prepare(&mut self, sql: &str) -> Result<(), Error> {
        let result = match self.link.encoding {
            Encoding::Wide => {
                let units = encoding::wide(sql);
                let length = length_i32(units.len() - 1)?;
                // SAFETY: a live statement, and text as long as its length says.
                self.watch(|handle| unsafe { SQLPrepareW(handle, units.as_ptr(), length) })?
            }
            Encoding::Narrow => {
                let length = length_i32(sql.len())?;
                // SAFETY: as above.
                self.watch(|handle| unsafe { SQLPrepare(handle, sql.as_ptr(), length) })?
            }
        };
        self.check("SQLPrepare", result)
    }

    /// How many parameters the prepared text has; `None` if the driver does not know.
    pub fn parameter_count(&self) -> Option<usize> {
        let mut count = 0_i16;
        // SAFETY: a live statement.
        let result = unsafe { SQLNumParams(self.handle, &mut count) };
        matches!(result, SqlReturn::SUCCESS | SqlReturn::SUCCESS_WITH_INFO)
            .then(|| usize::try_from(count).ok())
            .flatten()
    }

    /// Runs the prepared text with what is bound.
    pub(super) fn execute_prepared(&mut self) -> Result<SqlReturn, Error> {
        // SAFETY: a live statement; what is bound to it lives in the caller.
        self.watch(|handle| unsafe { SQLExecute(handle) })
    }

    /// Rows changed by the last INSERT, UPDATE or DELETE; -1 if the driver does not know.
    pub fn row_count(&mut self) -> Result<i64, Error> {
        let mut count: Len = -1;
        // SAFETY: a live statement.
        let result = unsafe { SQLRowCount(self.handle, &mut count) };
        self.check("SQLRowCount", result)?;
        Ok(count as i64)
    }

    /// Whether the last statement gave rows.
    pub fn has_result(&mut self) -> Result<bool, Error> {
        Ok(self.result_column_count()? > 0)
    }

    /// Goes on to the next result of a batch of statements. False if there is none.
    pub fn next_result(&mut self) -> Result<bool, Error> {
        // SAFETY: a live statement without bound columns.
        match self.watch(|handle| unsafe { SQLMoreResults(handle) })? {
            SqlReturn::NO_DATA => Ok(false),
            result => self.check("SQLMoreResults", result).map(|()| true),
        }
    }

    fn result_column_count(&mut self) -> Result<u16, Error> {
        let mut count = 0_i16;
        // SAFETY: a live statement.
        let result = unsafe { SQLNumResultCols(self.handle, &mut count) };
        self.check("SQLNumResultCols", result)?;
        Ok(count.max(0) as u16)
    }

    /// What the columns of the result look like.
    pub fn result_columns(&mut self) -> Result<Vec<ResultColumn>, Error> {
        (1..=self.result_column_count()?)
            .map(|number| self.result_column(number))
            .collect()
    }

    fn result_column(&mut self, number: u16) -> Result<ResultColumn, Error> {
        let mut length = 0_i16;
        let mut sql_type = SqlDataType::UNKNOWN_TYPE;
        let mut size = 0_usize;
        let mut decimal_digits = 0_i16;
        let mut nullable = Nullability::UNKNOWN;
        let mut name = String::new();
        match self.link.encoding {
            Encoding::Wide => {
                let mut units = [0_u16; 1024];
                // SAFETY: a live statement; the buffer is as long as its length, in units, says.
                let result = unsafe {
                    SQLDescribeColW(
                        self.handle,
                        number,
                        units.as_mut_ptr(),
                        units.len() as i16,
                        &mut length,
                        &mut sql_type,
                        &mut size,
                        &mut decimal_digits,
                        &mut nullable,
                    )
                };
                self.check("SQLDescribeCol", result)?;
                let end = units.iter().position(|unit| *unit == 0).unwrap_or(units.len());
                name = String::from_utf16(&units[..end]).map_err(|_| Error::InvalidText {
                    column: number.into(),
                    encoding: "UTF-16",
                })?;
            }
            Encoding::Narrow => {
                let mut bytes = [0_u8; 1024];
                // SAFETY: as above, in bytes.
                let result = unsafe {
                    SQLDescribeCol(
                        self.handle,
                        number,
                        bytes.as_mut_ptr(),
                        bytes.len() as i16,
                        &mut length,
                        &mut sql_type,
                        &mut size,
                        &mut decimal_digits,
                        &mut nullable,
                    )
                };
                self.check("SQLDescribeCol", result)?;
                let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
                Encoding::Narrow.decode_into(&bytes[..end], &mut name, number.into())?;
            }
        }
        let mut unsigned: Len = 0;
        // SAFETY: a numeric field of a live statement. Drivers that do not know it leave 0: signed.
        let _ = unsafe {
            SQLColAttribute(
                self.handle,
                number,
                Desc::Unsigned,
                std::ptr::null_mut(),
                0,
                std::ptr::null_mut(),
                &mut unsigned,
            )
        };
        Ok(ResultColumn {
            name,
            sql_type,
            type_name: self.type_name(number).to_lowercase(),
            size,
            decimal_digits,
            nullable: nullable != Nullability::NO_NULLS,
            unsigned: unsigned != 0,
        })
    }

    /// The product's name of a column's type; empty where the driver has none.
    fn type_name(&mut self, number: u16) -> String {
        let mut length = 0_i16;
        match self.link.encoding {
            Encoding::Wide => {
                let mut units = [0_u16; 256];
                // SAFETY: the buffer is as long as its length, which this function takes in bytes, says.
                let _ = unsafe {
                    SQLColAttributeW(
                        self.handle,
                        number,
                        Desc::TypeName,
                        units.as_mut_ptr().cast(),
                        512,
                        &mut length,
                        std::ptr::null_mut(),
                    )
                };
                let end = units.iter().position(|unit| *unit == 0).unwrap_or(units.len());
                String::from_utf16_lossy(&units[..end])
            }
            Encoding::Narrow => {
                let mut bytes = [0_u8; 256];
                // SAFETY: the buffer is as long as its length says.
                let _ = unsafe {
                    SQLColAttribute(
                        self.handle,
                        number,
                        Desc::TypeName,
                        bytes.as_mut_ptr().cast(),
                        256,
                        &mut length,
                        std::ptr::null_mut(),
                    )
                };
                let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
                String::from_utf8_lossy(&bytes[..end]).into_owned()
            }
        }
    }

    /// Asks the driver's catalog for tables and views; the result has the columns of `SQLTables`.
    pub fn tables(&mut self) -> Result<(), Error> {
        let result = match self.link.encoding {
            // SAFETY: no names are given; a live statement.
            Encoding::Wide => self.watch(|handle| unsafe {
                let none = std::ptr::null();
                SQLTablesW(handle, none, 0, none, 0, none, 0, none, 0)
            })?,
            // SAFETY: as above.
            Encoding::Narrow => self.watch(|handle| unsafe {
                let none = std::ptr::null();
                SQLTables(handle, none, 0, none, 0, none, 0, none, 0)
            })?,
        };
        self.check("SQLTables", result)
    }

    /// Asks the driver's catalog for the columns of a table; names may be patterns, so the caller filters the answer.
    pub fn columns(&mut self, schema: Option<&str>, table: &str) -> Result<(), Error> {
        let result = match self.link.encoding {
            Encoding::Wide => {
                let (schema, table) = (schema.map(encoding::wide), encoding::wide(table));
                // SAFETY: names as long as their lengths say, or none; a live statement.
                self.watch(|handle| unsafe {
                    let (name, length) = wide_name(schema.as_deref());
                    let none = std::ptr::null();
                    SQLColumnsW(
                        handle,
                        none,
                        0,
                        name,
                        length,
                        table.as_ptr(),
                        (table.len() - 1) as i16,
                        none,
                        0,
                    )
                })?
            }
            // SAFETY: as above.
            Encoding::Narrow => self.watch(|handle| unsafe {
                let (name, length) = narrow_name(schema);
                let none = std::ptr::null();
                SQLColumns(
                    handle,
                    none,
                    0,
                    name,
                    length,
                    table.as_ptr(),
                    table.len() as i16,
                    none,
                    0,
                )
            })?,
        };
        self.check("SQLColumns", result)
    }

    /// Asks the driver's catalog for the primary key of a table.
    pub fn primary_keys(&mut self, schema: Option<&str>, table: &str) -> Result<(), Error> {
        let result = match self.link.encoding {
            Encoding::Wide => {
                let (schema, table) = (schema.map(encoding::wide), encoding::wide(table));
                // SAFETY: names as long as their lengths say, or none; a live statement.
                self.watch(|handle| unsafe {
                    let (name, length) = wide_name(schema.as_deref());
                    SQLPrimaryKeysW(
                        handle,
                        std::ptr::null(),
                        0,
                        name,
                        length,
                        table.as_ptr(),
                        (table.len() - 1) as i16,
                    )
                })?
            }
            // SAFETY: as above.
            Encoding::Narrow => self.watch(|handle| unsafe {
                let (name, length) = narrow_name(schema);
                SQLPrimaryKeys(
                    handle,
                    std::ptr::null(),
                    0,
                    name,
                    length,
                    table.as_ptr(),
                    table.len() as i16,
                )
            })?,
        };
        self.check("SQLPrimaryKeys", result)
    }

    /// All rows of the open result as text.
    pub fn into_text_rows(mut self, session: &Session) -> Result<Vec<Vec<Option<String>>>, Error> {
        let columns = usize::from(self.result_column_count()?);
        if columns == 0 {
            return Ok(Vec::new());
        }
        let specs = vec![
            CellSpec {
                kind: CellKind::Text,
                bound: None
            };
            columns
        ];
        let mut cursor = Cursor::open(self, &specs, session.get_data_rules(), 1 << 20)?;
        let mut rows = Vec::new();
        loop {
            let fetched = cursor.fetch()?;
            if fetched == 0 {
                return Ok(rows);
            }
            for row in 0..fetched {
                let cells = (0..columns).map(|column| {
                    let mut text = String::new();
                    cursor
                        .text(column, row, &mut text)
                        .map(|present| present.then_some(text))
                });
                rows.push(cells.collect::<Result<Vec<_>, _>>()?);
            }
        }
    }

    /// Closes the result, if one is open.
    pub fn close_result(&mut self) {
        // SAFETY: a live statement; closing without an open cursor does nothing.
        let _ = unsafe { SQLFreeStmt(self.handle, FreeStmtOption::Close) };
    }

    /// Makes a call that other threads can cancel.
    pub(super) fn watch<T>(&mut self, call: impl FnOnce(HStmt) -> T) -> Result<T, Error> {
        let handle = self.handle;
        self.link.interrupt().watch(handle, || call(handle))
    }

    pub(super) fn diagnostics(&self) -> Vec<Diagnostic> {
        diagnostics::read(self.link.encoding, HandleType::Stmt, self.handle.as_handle())
    }

    /// An error for anything but success.
    pub(super) fn check(&self, function: &'static str, result: SqlReturn) -> Result<(), Error> {
        match result {
            SqlReturn::SUCCESS | SqlReturn::SUCCESS_WITH_INFO => Ok(()),
            _ if self.link.interrupt().is_raised() => Err(Error::Cancelled),
            _ => Err(Error::Call {
                function,
                diagnostics: self.diagnostics(),
            }),
        }
    }

    /// As `check`; `SQL_NO_DATA` is how ODBC 3 says that an UPDATE or DELETE met no row, and FreeTDS that DDL is done.
    pub(super) fn check_executed(&self, function: &'static str, result: SqlReturn) -> Result<(), Error> {
        match result {
            SqlReturn::NO_DATA => Ok(()),
            SqlReturn::SUCCESS_WITH_INFO if self.link.quirks().errors_as_information => {
                let diagnostics = self.diagnostics();
                match diagnostics.iter().any(|diagnostic| diagnostic.native != 0) {
                    true => Err(Error::Call { function, diagnostics }),
                    false => Ok(()),
                }
            }
            result => self.check(function, result),
        }
    }
}

fn wide_name(name: Option<&[u16]>) -> (*const u16, i16) {
    name.map_or((std::ptr::null(), 0), |name| (name.as_ptr(), (name.len() - 1) as i16))
}

fn narrow_name(name: Option<&str>) -> (*const u8, i16) {
    name.map_or((std::ptr::null(), 0), |name| (name.as_ptr(), name.len() as i16))
}

fn length_i32(units: usize) -> Result<i32, Error> {
    i32::try_from(units).map_err(|_| Error::Internal(format!("a statement of {units} characters is too long for ODBC")))
}
