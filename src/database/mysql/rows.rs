//! The rows of a query, one by one as the server sends them.

#![allow(unsafe_code)]

use std::{ffi::c_ulong, mem::ManuallyDrop, ptr, slice};

use super::{
    client::Client,
    libmariadb::{Library, MysqlRes},
};
use crate::database::Error;

/// The rows of a query, read as they come.
pub(super) struct Rows {
    client: Client,
    result: MysqlRes,
    columns: usize,
    at_end: bool,
}

// SAFETY: see `Client`, which the result belongs to.
unsafe impl Send for Rows {}

impl Rows {
    /// The rows of a result that the client has begun.
    pub(super) fn of(client: Client, result: MysqlRes) -> Rows {
        // SAFETY: an open result.
        let columns = unsafe { (client.library().num_fields)(result) } as usize;
        Rows {
            client,
            result,
            columns,
            at_end: false,
        }
    }

    /// Hands over rows until `take` says that it has enough (false) or there are no more; false from this function then.
    pub(super) fn read(&mut self, mut take: impl FnMut(&Row<'_>) -> Result<bool, Error>) -> Result<bool, Error> {
        if self.at_end {
            return Ok(false);
        }
        self.client.enter()?;
        let result = loop {
            // SAFETY: the result is open; the row is used before the next is fetched.
            match unsafe { Row::next(self.client.library(), self.result, self.columns) } {
                Some(row) => match take(&row) {
                    Ok(true) => {}
                    Ok(false) => break Ok(true),
                    Err(error) => break Err(error),
                },
                None if !self.client.has_failed() => {
                    self.at_end = true;
                    break Ok(false);
                }
                None => break Err(self.client.failure("mysql_fetch_row")),
            }
        };
        self.client.leave();
        result
    }

    /// After the end, the connection; before it there is no way to have it back but to read all that is left.
    pub(super) fn into_client(self) -> Option<Client> {
        if !self.at_end {
            return None;
        }
        let rows = ManuallyDrop::new(self);
        // SAFETY: the result is open and not used again; the client is taken out once, since the drop does not run.
        unsafe {
            (rows.client.library().free_result)(rows.result);
            Some(ptr::read(&rows.client))
        }
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        // Freeing a result reads all the rows that are left; without a socket there are none.
        if !self.at_end {
            self.client.abandon();
        }
        // SAFETY: the result is open and not used again.
        unsafe { (self.client.library().free_result)(self.result) };
    }
}

/// One row of a result.
pub(super) struct Row<'a> {
    cells: &'a [*const u8],
    lengths: &'a [c_ulong],
}

impl<'a> Row<'a> {
    /// The next row.
    ///
    /// # Safety
    /// The result is open and has so many columns; the row is not used after the next one was asked for.
    pub(super) unsafe fn next(library: Library, result: MysqlRes, columns: usize) -> Option<Row<'a>> {
        // SAFETY: as asked for above. Both arrays have an element for each column.
        unsafe {
            let cells = (library.fetch_row)(result);
            if cells.is_null() {
                return None;
            }
            Some(Row {
                cells: slice::from_raw_parts(cells, columns),
                lengths: slice::from_raw_parts((library.fetch_lengths)(result), columns),
            })
        }
    }

    /// The cell of a column, from 0; `None` for NULL.
    #[inline]
    pub(super) fn cell(&self, column: usize) -> Option<&'a [u8]> {
        let cell = self.cells[column];
        // SAFETY: the library says how long the cell is.
        (!cell.is_null()).then(|| unsafe { slice::from_raw_parts(cell, self.lengths[column] as usize) })
    }
}
