//! `dray._native.verify_tables`: a request in, what both databases have of its tables out.

use std::path::PathBuf;

use dray::{
    copy,
    odbc::{DriverSearch, Interrupt},
};
use pyo3::{
    prelude::*,
    types::{PyDict, PyList},
};

use crate::{
    blocking,
    copy::{json, request},
    failures,
};

/// Compares the tables that [`crate::copy::copy_tables`] would copy, given the same arguments; as JSON, see `dray::copy::Comparison`. Nothing is changed.
///
/// # Errors
/// Those of `copy`, if nothing could be begun; what a signal's handler raised.
#[pyfunction]
pub fn verify_tables(
    py: Python<'_>,
    copies: &Bound<'_, PyList>,
    target: (String, String),
    options: &Bound<'_, PyDict>,
    folders: Vec<PathBuf>,
) -> PyResult<String> {
    let request = request(py, copies, target, options)?;
    let search = DriverSearch::from_environment(folders);
    let interrupt = Interrupt::new();
    let result = blocking::run(
        py,
        &interrupt,
        |_: &dyn Fn(())| copy::compare(&request, &search, &interrupt),
        |()| Ok(()),
    )?;
    json(&result.map_err(|error| failures::copy(py, &error))?)
}
