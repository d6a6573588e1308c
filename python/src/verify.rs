//! `dray._native.verify_tables`: a request in, what both databases have of its tables out.

use std::path::PathBuf;

use dray::copy;
use pyo3::{
    prelude::*,
    types::{PyDict, PyList},
};

use crate::copy::{answer, request};

/// Compares the tables that [`crate::copy::copy_tables`] would copy, given the same arguments; as JSON, see
/// `dray::copy::Comparison`. Nothing is changed.
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
    answer(py, &request(py, copies, target, options)?, folders, copy::compare)
}
