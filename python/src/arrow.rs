//! `dray._native`'s part of `dray.read` and `dray.write`: Arrow's C structures in and out of the capsules that Python's
//! libraries pass them in.
//!
//! The one place beside `database/arrow/abi` with unsafe code for it: a capsule's name is all that says what is in it.

#![allow(unsafe_code)]

use std::{
    collections::HashMap,
    ffi::CStr,
    path::PathBuf,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use dray::{
    copy::{self, HandedOut, MergeKind, ReadRequest, WriteRequest},
    database::{
        Relation, Source,
        arrow::{Arrow, Decimals, Incoming, Rows, Times},
    },
    odbc::{DriverSearch, Interrupt},
};
use pyo3::{
    exceptions::{PyTypeError, PyValueError},
    prelude::*,
    types::{PyCapsule, PyDict},
};

use crate::{
    blocking,
    copy::{around, choices, endpoint, json, lanes, meeting, memory_limit_bytes, one_of, option, patience},
    failures,
};

const SCHEMA: &CStr = c"arrow_schema";
const ARRAY: &CStr = c"arrow_array";
const STREAM: &CStr = c"arrow_array_stream";

/// Rows that Python holds by their number.
fn all_rows() -> &'static Mutex<HashMap<u64, HandedOut>> {
    static ROWS: OnceLock<Mutex<HashMap<u64, HandedOut>>> = OnceLock::new();
    ROWS.get_or_init(Mutex::default)
}

fn rows(number: u64) -> PyResult<HandedOut> {
    let all = all_rows().lock().unwrap_or_else(PoisonError::into_inner);
    let found = all.get(&number).cloned();
    found.ok_or_else(|| PyValueError::new_err("there are no such rows"))
}

/// Connects and finds out what a table or query looks like; returns the number of its rows.
///
/// `source` is a label and a connection string; `what` is a table's name, or a query if `is_query`; `options` holds
/// `decimals` (precision and scale, or `text`), `timestamps` (`declared`, `us` or `ns`), `lanes`, `memory_limit_bytes`, `infinity`, `nan`,
/// `zero_dates`, `fraction` and `patience_s` as for `copy`; `folders` may hold packages with a driver.
///
/// # Errors
/// An exception of `dray._errors`; `ValueError` for an option's value that makes no sense.
#[pyfunction]
pub fn open_rows(
    py: Python<'_>,
    source: (String, String),
    what: (String, bool),
    options: &Bound<'_, PyDict>,
    folders: Vec<PathBuf>,
) -> PyResult<u64> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let option = |name: &str| option(options, name);
    let what = match what {
        (sql, true) => Source::Query(sql.trim().trim_end_matches(';').trim_end().to_owned()),
        (name, false) => Source::Table {
            relation: Relation::parse(&name).map_err(PyValueError::new_err)?,
            condition: None,
        },
    };
    let times = [("declared", Times::Declared), ("us", Times::Micro), ("ns", Times::Nano)];
    let request = ReadRequest {
        source: endpoint(py, source)?,
        what,
        types: Arrow {
            decimals: decimals(&option)?,
            times: one_of("timestamps", &option, times)?,
        },
        lanes: lanes(&option)?,
        memory_limit_bytes: memory_limit_bytes(&option)?,
        choices: choices(&option)?,
        patience: patience(&option)?,
    };
    let search = DriverSearch::from_environment(folders);
    let interrupt = Interrupt::new();
    let result = blocking::run(
        py,
        &interrupt,
        |_: &dyn Fn(())| copy::hand_out(request, &search, &interrupt),
        |()| Ok(()),
    )?;
    let opened = result.map_err(|error| failures::read(py, &error))?;
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut all = all_rows().lock().unwrap_or_else(PoisonError::into_inner);
    all.insert(number, opened);
    Ok(number)
}

/// What becomes of decimals without a size.
fn decimals<'py>(option: &impl Fn(&str) -> PyResult<Bound<'py, PyAny>>) -> PyResult<Decimals> {
    if option("decimals")?.extract::<String>().is_ok() {
        return one_of("decimals", option, [("text", Decimals::Text)]);
    }
    let size = option("decimals")?.extract::<(u16, u16)>();
    match size {
        Ok((precision @ 1..=76, scale)) if scale <= precision => Ok(Decimals::Sized(precision, scale)),
        _ => Err(PyValueError::new_err(
            "decimals is a precision of 1 to 76 digits and a scale of no more, such as (38, 9), or `text`",
        )),
    }
}

/// A capsule with the type of the rows.
#[pyfunction]
pub fn rows_schema(py: Python<'_>, number: u64) -> PyResult<Bound<'_, PyCapsule>> {
    PyCapsule::new_with_value(py, rows(number)?.schema(), SCHEMA)
}

/// A capsule with the rows as a stream.
///
/// # Errors
/// `CopyError` if they are read already.
#[pyfunction]
pub fn rows_stream(py: Python<'_>, number: u64) -> PyResult<Bound<'_, PyCapsule>> {
    let rows = rows(number)?;
    // Another thread may be waiting for a batch of the same rows.
    let stream = py.detach(|| rows.stream());
    let stream = stream.map_err(|error| failures::read(py, &error))?;
    PyCapsule::new_with_value(py, stream, STREAM)
}

/// The exception for what ended the reading before its end, or `None`.
#[pyfunction]
pub fn rows_error(py: Python<'_>, number: u64) -> PyResult<Option<Py<PyAny>>> {
    let error = rows(number)?.error();
    Ok(error.map(|error| failures::read(py, &error).into_value(py).into_any()))
}

/// The lane that the rows are read by, and why.
#[pyfunction]
pub fn rows_lane(number: u64) -> PyResult<(&'static str, String)> {
    let rows = rows(number)?;
    let (name, reason) = rows.lane();
    Ok((name, reason.to_owned()))
}

/// Stops reading, and closes the connection.
#[pyfunction]
pub fn close_rows(py: Python<'_>, number: u64) -> PyResult<()> {
    let rows = rows(number)?;
    py.detach(|| rows.close());
    Ok(())
}

/// Forgets the number; a stream of the rows goes on.
#[pyfunction]
pub fn forget_rows(py: Python<'_>, number: u64) {
    let forgotten = all_rows()
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .remove(&number);
    py.detach(|| drop(forgotten));
}

/// Stops all reading in this process.
#[pyfunction]
pub fn close_all_rows(py: Python<'_>) {
    py.detach(copy::close_all_handed_out);
}

/// Loads rows into a table, and returns its report as JSON, also if it failed.
///
/// `data` is the capsule of a stream, or those of a type and an array; `target` is a label and a connection string; `options`
/// are those of `copy`, as far as they are about one table.
///
/// # Errors
/// `TypeError` for data that are no table or have columns that no database has; an exception of `dray._errors` if the
/// connection could not be made; what a signal's handler raised, after the rows were taken back.
#[pyfunction]
pub fn write_rows(
    py: Python<'_>,
    data: (Bound<'_, PyCapsule>, Option<Bound<'_, PyCapsule>>),
    target: (String, String),
    table: String,
    options: &Bound<'_, PyDict>,
    folders: Vec<PathBuf>,
) -> PyResult<String> {
    let option = |name: &str| option(options, name);
    let meeting = meeting(&option)?;
    if let Some(MergeKind::Incremental { .. }) = meeting.merge.as_ref().map(|merge| &merge.kind) {
        return Err(PyValueError::new_err(
            "mode `incremental` is for tables that are copied",
        ));
    }
    let request = WriteRequest {
        target: endpoint(py, target)?,
        table,
        meeting,
        around: around(&option)?,
        lanes: lanes(&option)?,
        memory_limit_bytes: memory_limit_bytes(&option)?,
        choices: choices(&option)?,
        patience: patience(&option)?,
    };
    let incoming = match data {
        (stream, None) => {
            let pointer = stream.pointer_checked(Some(STREAM))?;
            // SAFETY: a capsule of this name holds such a stream, and whoever is handed it may take it over.
            unsafe { Incoming::take_stream(pointer.as_ptr()) }
        }
        (schema, Some(array)) => {
            let (schema, array) = (
                schema.pointer_checked(Some(SCHEMA))?,
                array.pointer_checked(Some(ARRAY))?,
            );
            // SAFETY: as above, of such a type and an array of it.
            unsafe { Incoming::take_array(schema.as_ptr(), array.as_ptr()) }
        }
    };
    let rows = incoming.and_then(Rows::new).map_err(PyTypeError::new_err)?;
    let search = DriverSearch::from_environment(folders);
    let interrupt = Interrupt::new();
    let result = blocking::run(
        py,
        &interrupt,
        |_: &dyn Fn(())| copy::take_in(&request, rows, &search, &interrupt),
        |()| Ok(()),
    )?;
    json(&result.map_err(|error| failures::copy(py, &error))?)
}
