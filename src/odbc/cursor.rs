//! A result read in blocks of rows, column by column, into buffers of C types; a cut value is never taken.
//!
//! Drivers make up sizes where a type has none (psqlodbc: 255 for `varchar`, 8190 for `text`), and cut what is longer
//! with a mere warning. So each length that the driver reports is held against the buffer, and a cell that did not fit
//! is read again, whole, with `SQLGetData`; the buffer grows for the next block. Where a driver does not allow that on
//! bound columns or in blocks, the plan is another: see [`Cursor::open`].

#![allow(unsafe_code)]

use std::{collections::HashMap, ptr};

use odbc_sys::{
    CDataType, Date, FreeStmtOption, Len, Lock, NO_TOTAL, NULL_DATA, Operation, Pointer, SQLBindCol, SQLFetch,
    SQLFreeStmt, SQLGetData, SQLSetPos, SQLSetStmtAttr, SqlReturn, StatementAttribute, Timestamp,
};

use super::{Encoding, Error, GetDataRules, Statement};

/// In which C type a column is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellKind {
    /// `SQL_C_SBIGINT`.
    I64,
    /// `SQL_C_DOUBLE`.
    F64,
    /// `SQL_C_WCHAR` or `SQL_C_CHAR`, after the connection's encoding.
    Text,
    /// `SQL_C_BINARY`.
    Bytes,
    /// `SQL_C_TYPE_DATE`.
    Date,
    /// `SQL_C_TYPE_TIMESTAMP`.
    Timestamp,
}

/// How a column is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellSpec {
    /// The C type.
    pub kind: CellKind,
    /// For text its most characters, for bytes its most bytes; `None` if there is no bound, or none to rely on.
    pub bound: Option<usize>,
}

impl CellSpec {
    /// Whether its cells may be longer than any buffer that is made for them beforehand.
    pub fn is_unbounded(&self) -> bool {
        matches!(self.kind, CellKind::Text | CellKind::Bytes) && self.bound.is_none_or(|bound| bound > BOUND_MAX)
    }
}

/// One cell of the current block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    /// NULL.
    Null,
    /// An integer.
    I64(i64),
    /// A floating-point number.
    F64(f64),
    /// Text in the connection's encoding, or bytes.
    Raw(&'a [u8]),
    /// A date.
    Date(Date),
    /// A timestamp; its fraction is in nanoseconds.
    Timestamp(Timestamp),
}

/// Characters or bytes that a column without a bound gets at first.
const UNBOUND_START: usize = 256;

/// A bound is believed up to here; what is longer is read again.
const BOUND_MAX: usize = 8_192;

/// No more rows than this in a block: some drivers count them in 16 bits.
const BLOCK_ROWS_MAX: usize = 4_096;

/// The rows of the first block where a column has no bound: its cells may be of any length, and nothing is known of them
/// yet. A driver holds a block whole (psqlodbc), whatever the length of its cells.
const UNBOUND_START_ROWS: usize = 4;

/// The most rows of a later block where a column has no bound: cells that were short so far may become long.
const UNBOUND_ROWS_MAX: usize = 256;

/// A buffer is not widened to more than this for a cell: one long value must not shorten all blocks after it.
const STRIDE_MAX: usize = 64 * 1024;

/// How `SQLGetData` hands over a value whose length is not known: in pieces of this many bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// An open result.
pub struct Cursor {
    // Declared before the buffers: the statement, which knows their addresses, is freed first.
    statement: Statement,
    columns: Vec<Column>,
    block_rows: usize,
    /// Whether a block can only have one row, for otherwise long cells could not be read again.
    single: bool,
    budget_bytes: usize,
    /// Most rows of a block.
    rows_max: usize,
    /// Most bytes of a cell, see [`Cursor::limit_cells`].
    cell_bytes_max: usize,
    /// Bytes of the longest row of the driver's block.
    longest_row_bytes: usize,
    fetched: Box<usize>,
    status: Vec<u16>,
    /// Rows of the driver's block, the first of them that was handed out last, and the first that was not handed out yet:
    /// a block with many long cells is handed out in several parts, each within the budget.
    filled: usize,
    first: usize,
    next: usize,
    /// Cells that did not fit their buffer, by column and row of the driver's block.
    long: HashMap<(usize, usize), Vec<u8>>,
    long_bytes: usize,
}

struct Column {
    kind: CellKind,
    /// Bytes of one row's buffer, with the terminator of text.
    stride: usize,
    /// Whether it is bound; otherwise it is read with SQLGetData, row by row, into `long`.
    bound: bool,
    /// `u64` for the alignment of every C type.
    data: Vec<u64>,
    indicators: Vec<Len>,
    /// The longest value seen, in bytes.
    seen_bytes: usize,
}

impl Column {
    fn is_variable(&self) -> bool {
        matches!(self.kind, CellKind::Text | CellKind::Bytes)
    }

    fn bytes(&self, row: usize, length: usize) -> &[u8] {
        let start = row * self.stride;
        // SAFETY: u64s are plain bytes, and the slice is checked against their length.
        let all = unsafe { std::slice::from_raw_parts(self.data.as_ptr().cast::<u8>(), self.data.len() * 8) };
        &all[start..start + length]
    }

    /// Reads a C value of the given row.
    fn value<T: Copy>(&self, row: usize) -> T {
        let bytes = self.bytes(row, size_of::<T>());
        // SAFETY: the driver wrote a T here, all of whose bit patterns are valid (integers, floats, structs of them).
        unsafe { ptr::read_unaligned(bytes.as_ptr().cast()) }
    }
}

impl Cursor {
    /// Binds the result of an executed statement.
    ///
    /// `budget_bytes` bounds the buffers of one block; a block has at least one row.
    ///
    /// After what the driver allows: with `SQLGetData` on bound columns and in blocks, everything is bound and long
    /// cells are read again in place. Without blocks (sqliteodbc), the same with one row at a time as soon as a column
    /// has no bound. Without bound columns (FreeTDS, Microsoft's), the columns from the first without a bound on are
    /// not bound, and read in ascending order, one row at a time.
    pub fn open(
        statement: Statement,
        specs: &[CellSpec],
        rules: GetDataRules,
        budget_bytes: usize,
    ) -> Result<Cursor, Error> {
        let encoding = statement.link.cell_encoding();
        let unbounded = specs.iter().position(CellSpec::is_unbounded);
        let first_unbound = match unbounded {
            Some(position) if !rules.bound_columns => position,
            _ => specs.len(),
        };
        let single = unbounded.is_some() && !(rules.bound_columns && rules.blocks);
        let columns: Vec<Column> = specs
            .iter()
            .enumerate()
            .map(|(position, spec)| Column {
                kind: spec.kind,
                stride: stride(spec, encoding),
                bound: position < first_unbound,
                data: Vec::new(),
                indicators: Vec::new(),
                seen_bytes: 0,
            })
            .collect();
        let (start_rows, rows_max) = match (single, unbounded) {
            (true, _) => (1, 1),
            (false, Some(_)) => (UNBOUND_START_ROWS, UNBOUND_ROWS_MAX),
            (false, None) => (BLOCK_ROWS_MAX, BLOCK_ROWS_MAX),
        };
        let block_rows = start_rows.min(rows_within(budget_bytes, &columns));
        let mut fetched = Box::new(0_usize);
        let mut status = vec![0_u16; BLOCK_ROWS_MAX];
        let attributes = [
            (StatementAttribute::RowsFetchedPtr, (&raw mut *fetched).cast()),
            (StatementAttribute::RowStatusPtr, status.as_mut_ptr().cast()),
        ];
        for (attribute, value) in attributes {
            // SAFETY: the pointers are to heap memory that the cursor owns until after the statement is freed.
            let result = unsafe { SQLSetStmtAttr(statement.handle(), attribute, value, 0) };
            statement.check("SQLSetStmtAttr", result)?;
        }
        let mut cursor = Cursor {
            statement,
            columns,
            block_rows,
            single,
            budget_bytes,
            rows_max,
            cell_bytes_max: usize::MAX,
            longest_row_bytes: 0,
            fetched,
            status,
            filled: 0,
            first: 0,
            next: 0,
            long: HashMap::new(),
            long_bytes: 0,
        };
        cursor.bind()?;
        Ok(cursor)
    }

    /// From now on a cell of more bytes, in the connection's encoding, is an error instead of memory. Without this there is
    /// no limit.
    pub fn limit_cells(&mut self, bytes: usize) {
        self.cell_bytes_max = bytes;
    }

    /// Gives the driver the addresses of all buffers, after they were made as long as their strides and the block say.
    fn bind(&mut self) -> Result<(), Error> {
        let encoding = self.statement.link.cell_encoding();
        let rows = self.block_rows as Pointer;
        // SAFETY: an integer attribute of a live statement.
        let result = unsafe { SQLSetStmtAttr(self.statement.handle(), StatementAttribute::RowArraySize, rows, 0) };
        self.statement.check("SQLSetStmtAttr", result)?;
        for (position, column) in self.columns.iter_mut().enumerate() {
            if !column.bound {
                continue;
            }
            column.data.clear();
            column.data.resize((column.stride * self.block_rows).div_ceil(8), 0);
            column.indicators.clear();
            column.indicators.resize(self.block_rows, 0);
            // SAFETY: both arrays have a place for each row of a block and are not moved or resized while bound.
            let result = unsafe {
                SQLBindCol(
                    self.statement.handle(),
                    (position + 1) as u16,
                    c_type(column.kind, encoding),
                    column.data.as_mut_ptr().cast(),
                    column.stride as Len,
                    column.indicators.as_mut_ptr(),
                )
            };
            self.statement.check("SQLBindCol", result)?;
        }
        Ok(())
    }

    /// Reads the next block, or the next part of one with many long cells, and returns its rows; 0 at the end of the
    /// result.
    ///
    /// # Errors
    /// [`Error::Call`] for a failed call or row; [`Error::Truncated`] if a value cannot be had whole;
    /// [`Error::CellTooLong`].
    pub fn fetch(&mut self) -> Result<usize, Error> {
        self.forget_long_cells();
        self.first = self.next;
        if self.next < self.filled {
            self.read_long_cells()?;
            return Ok(self.next - self.first);
        }
        self.adapt()?;
        self.longest_row_bytes = 0;
        self.status.fill(0);
        (self.filled, self.first, self.next) = (0, 0, 0);
        *self.fetched = 0;
        // SAFETY: the bound buffers are as the driver was told.
        let result = self.statement.watch(|handle| unsafe { SQLFetch(handle) })?;
        let warnings = match result {
            SqlReturn::NO_DATA => return Ok(0),
            SqlReturn::SUCCESS => Vec::new(),
            SqlReturn::SUCCESS_WITH_INFO => self.statement.diagnostics(),
            result => {
                self.statement.check("SQLFetch", result)?;
                Vec::new()
            }
        };
        const ROW_ERROR: u16 = 5;
        let lossy = |state: &str| matches!(state, "01S07" | "22002" | "22003" | "22007" | "22018");
        if self.status[..(*self.fetched).min(self.block_rows)].contains(&ROW_ERROR)
            || warnings.iter().any(|warning| lossy(&warning.sqlstate))
        {
            return Err(Error::Call {
                function: "SQLFetch",
                diagnostics: warnings,
            });
        }
        self.filled = (*self.fetched).min(self.block_rows);
        let reread = self.read_long_cells()?;
        if reread == 0 && self.next == self.filled && warnings.iter().any(|warning| warning.sqlstate == "01004") {
            let reason = "it warns of a cut value (01004) and reports no length beyond the buffer".to_owned();
            return Err(Error::Truncated { column: 0, reason });
        }
        Ok(self.next)
    }

    /// Reads every cell that did not fit, and every column that is not bound, from the row `first` on until the budget is
    /// used up; `next` is then the first row that is left. Returns how many cells did not fit.
    fn read_long_cells(&mut self) -> Result<usize, Error> {
        let unit = self.statement.link.cell_encoding().unit_bytes();
        let mut cut = 0;
        for row in self.first..self.filled {
            if row > self.first && self.long_bytes > self.budget_bytes {
                break;
            }
            self.next = row + 1;
            let mut row_bytes = 0;
            let mut positioned = self.block_rows == 1;
            for position in 0..self.columns.len() {
                let column = &mut self.columns[position];
                if column.bound {
                    let length = column.indicators[row];
                    let terminator = if column.kind == CellKind::Text { unit } else { 0 };
                    let fits = length >= 0 && length as usize + terminator <= column.stride;
                    if !column.is_variable() || length == NULL_DATA || fits {
                        column.seen_bytes = column.seen_bytes.max(length.max(0) as usize);
                        row_bytes += length.max(0) as usize;
                        continue;
                    }
                    cut += 1;
                }
                let announced = if column.bound { column.indicators[row] } else { NO_TOTAL };
                if !positioned {
                    self.set_position(row, position)?;
                    positioned = true;
                }
                let value = self.get_data(position, row, announced)?;
                let column = &mut self.columns[position];
                match value {
                    // MariaDB's driver was seen to hand over another row's value.
                    Some(bytes) if announced >= 0 && announced as usize != bytes.len() => {
                        let reason = format!("{announced} bytes were announced, {} came", bytes.len());
                        return Err(Error::Truncated {
                            column: position + 1,
                            reason,
                        });
                    }
                    Some(bytes) => {
                        column.seen_bytes = column.seen_bytes.max(bytes.len());
                        self.long_bytes += bytes.len();
                        row_bytes += bytes.len();
                        self.long.insert((position, row), bytes);
                    }
                    None if column.bound => {
                        let reason = "read again, it is NULL".to_owned();
                        return Err(Error::Truncated {
                            column: position + 1,
                            reason,
                        });
                    }
                    None => {}
                }
            }
            self.longest_row_bytes = self.longest_row_bytes.max(row_bytes);
        }
        Ok(cut)
    }

    /// Makes a row of the block the current one, for SQLGetData.
    fn set_position(&mut self, row: usize, position: usize) -> Result<(), Error> {
        let number = (row + 1) as u64;
        // SAFETY: a live statement with a block of rows.
        let result = unsafe { SQLSetPos(self.statement.handle(), number, Operation::POSITION, Lock::NO_CHANGE) };
        self.statement.check("SQLSetPos", result).map_err(|error| match error {
            Error::Call { .. } => Error::Truncated {
                column: position + 1,
                reason: error.to_string(),
            },
            other => other,
        })
    }

    /// The whole value of a column of the current row: in one piece if its length was announced, else in several.
    fn get_data(&mut self, position: usize, row: usize, announced: Len) -> Result<Option<Vec<u8>>, Error> {
        let encoding = self.statement.link.cell_encoding();
        let kind = self.columns[position].kind;
        let terminator = if kind == CellKind::Text {
            encoding.unit_bytes()
        } else {
            0
        };
        let (first, cell_bytes_max) = (self.first, self.cell_bytes_max);
        let within = |bytes: usize| match bytes > cell_bytes_max {
            true => Err(Error::CellTooLong {
                column: position + 1,
                row: row - first,
                bytes,
                limit_bytes: cell_bytes_max,
            }),
            false => Ok(()),
        };
        within(usize::try_from(announced).unwrap_or(0))?;
        let piece_bytes = usize::try_from(announced).map_or(PIECE_BYTES, |length| length + terminator);
        let mut whole: Vec<u8> = Vec::new();
        loop {
            let start = whole.len();
            whole.resize(start + piece_bytes, 0);
            let mut indicator: Len = 0;
            // SAFETY: the piece is as long as its length says.
            let result = self.statement.watch(|handle| unsafe {
                SQLGetData(
                    handle,
                    (position + 1) as u16,
                    c_type(kind, encoding),
                    whole.as_mut_ptr().add(start).cast(),
                    piece_bytes as Len,
                    &mut indicator,
                )
            })?;
            match result {
                SqlReturn::NO_DATA => {
                    whole.truncate(start);
                    whole.shrink_to_fit();
                    return Ok(Some(whole));
                }
                SqlReturn::SUCCESS | SqlReturn::SUCCESS_WITH_INFO => {}
                result => {
                    self.statement.check("SQLGetData", result)?;
                }
            }
            if indicator == NULL_DATA {
                return Ok(None);
            }
            // What is left before this call, or more than fits if the driver does not count.
            let full = piece_bytes - terminator;
            let more = indicator == NO_TOTAL || indicator as usize > full;
            within(start + usize::try_from(indicator).unwrap_or(full))?;
            whole.truncate(start + if more { full } else { indicator as usize });
            if !more {
                whole.shrink_to_fit();
                return Ok(Some(whole));
            }
        }
    }

    /// Fits the next block to what was seen so far: buffers as wide as the longest values, up to a bound, and as many rows
    /// as the budget then holds.
    fn adapt(&mut self) -> Result<(), Error> {
        let unit = self.statement.link.cell_encoding().unit_bytes();
        let mut changed = false;
        for column in &mut self.columns {
            let wanted = (column.seen_bytes + unit).next_power_of_two();
            if column.bound && column.is_variable() && wanted > column.stride && wanted <= STRIDE_MAX {
                column.stride = wanted;
                changed = true;
            }
        }
        // What the driver holds of a block is as long as its cells are, wherever they end up here.
        let rows = rows_within(self.budget_bytes, &self.columns)
            .min(self.rows_max)
            .min((self.budget_bytes / self.longest_row_bytes.max(1)).max(1));
        // Not by a few rows each time: a bound buffer has to be made anew.
        if !self.single && self.filled > 0 && (changed || rows >= self.block_rows * 2 || rows < self.block_rows) {
            // Slowly upwards: short cells so far say little of the next ones.
            self.block_rows = rows.min(self.block_rows * 2);
            changed = true;
        }
        if changed { self.bind() } else { Ok(()) }
    }

    /// Gives back the memory of cells that were read again; to be called once [`Cursor::cell`] is not asked for the rows of
    /// the last [`Cursor::fetch`] any more.
    pub fn forget_long_cells(&mut self) {
        self.long.clear();
        self.long_bytes = 0;
    }

    /// A cell of what [`Cursor::fetch`] read last; both positions count from 0.
    pub fn cell(&self, position: usize, row: usize) -> Cell<'_> {
        let column = &self.columns[position];
        let row = self.first + row;
        if let Some(bytes) = self.long.get(&(position, row)) {
            return match column.kind {
                CellKind::Text | CellKind::Bytes => Cell::Raw(bytes),
                kind => fixed_cell(kind, bytes),
            };
        }
        if !column.bound || column.indicators[row] == NULL_DATA {
            return Cell::Null;
        }
        match column.kind {
            CellKind::I64 => Cell::I64(column.value(row)),
            CellKind::F64 => Cell::F64(column.value(row)),
            CellKind::Date => Cell::Date(column.value(row)),
            CellKind::Timestamp => Cell::Timestamp(column.value(row)),
            CellKind::Text | CellKind::Bytes => Cell::Raw(column.bytes(row, column.indicators[row].max(0) as usize)),
        }
    }

    /// Appends the text of a cell to `out`; false for NULL.
    ///
    /// # Errors
    /// [`Error::InvalidText`] if the column is not valid text.
    pub fn text(&self, position: usize, row: usize, out: &mut String) -> Result<bool, Error> {
        match self.cell(position, row) {
            Cell::Raw(bytes) => {
                self.statement
                    .link
                    .cell_encoding()
                    .decode_into(bytes, out, position + 1)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Ends the result; the statement can be used again.
    pub fn close(mut self) -> Statement {
        self.statement.close_result();
        // SAFETY: a live statement; after this the driver knows none of the buffers, which go with the rest of `self`.
        unsafe {
            let _ = SQLFreeStmt(self.statement.handle(), FreeStmtOption::Unbind);
            for attribute in [StatementAttribute::RowsFetchedPtr, StatementAttribute::RowStatusPtr] {
                let _ = SQLSetStmtAttr(self.statement.handle(), attribute, ptr::null_mut(), 0);
            }
            let _ = SQLSetStmtAttr(
                self.statement.handle(),
                StatementAttribute::RowArraySize,
                1 as Pointer,
                0,
            );
        }
        self.statement
    }
}

/// How many rows the buffers of one block may have.
fn rows_within(budget_bytes: usize, columns: &[Column]) -> usize {
    let row_bytes: usize = columns.iter().map(|column| column.stride + size_of::<Len>()).sum();
    (budget_bytes / row_bytes.max(1)).clamp(1, BLOCK_ROWS_MAX)
}

/// A cell of a fixed size that was read with SQLGetData.
fn fixed_cell(kind: CellKind, bytes: &[u8]) -> Cell<'_> {
    /// A C value at the start of the bytes, padded with zeros: drivers report the length of fixed types as they like.
    fn value<T: Copy>(bytes: &[u8]) -> T {
        let mut buffer = [0_u64; 4];
        let length = bytes.len().min(size_of::<T>());
        // SAFETY: 32 bytes hold every C type of this module; T is made of integers or floats.
        unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr(), buffer.as_mut_ptr().cast::<u8>(), length);
            ptr::read(buffer.as_ptr().cast())
        }
    }
    match kind {
        CellKind::I64 => Cell::I64(value(bytes)),
        CellKind::F64 => Cell::F64(value(bytes)),
        CellKind::Date => Cell::Date(value(bytes)),
        CellKind::Timestamp => Cell::Timestamp(value(bytes)),
        CellKind::Text | CellKind::Bytes => Cell::Raw(bytes),
    }
}

/// Bytes of a cell's buffer. A character takes up to two units of UTF-16, or four bytes of UTF-8.
fn stride(spec: &CellSpec, encoding: Encoding) -> usize {
    let bound = match spec.bound {
        Some(bound) if bound <= BOUND_MAX => bound,
        _ => UNBOUND_START,
    };
    match spec.kind {
        CellKind::I64 | CellKind::F64 => 8,
        CellKind::Date => size_of::<Date>(),
        CellKind::Timestamp => size_of::<Timestamp>(),
        CellKind::Text => (bound * 4).max(4) + encoding.unit_bytes(),
        CellKind::Bytes => bound.max(1),
    }
}

fn c_type(kind: CellKind, encoding: Encoding) -> CDataType {
    match (kind, encoding) {
        (CellKind::I64, _) => CDataType::SBigInt,
        (CellKind::F64, _) => CDataType::Double,
        (CellKind::Date, _) => CDataType::TypeDate,
        (CellKind::Timestamp, _) => CDataType::TypeTimestamp,
        (CellKind::Bytes, _) => CDataType::Binary,
        (CellKind::Text, Encoding::Wide) => CDataType::WChar,
        (CellKind::Text, Encoding::Narrow) => CDataType::Char,
    }
}
