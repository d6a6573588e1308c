//! `dray._native.examine`: the worker's part of `dray doctor`.

use std::path::PathBuf;

use dray::{connections::Connections, diagnosis::engine};
use pyo3::{exceptions::PyOSError, prelude::*};

use crate::{failures, names};

/// Looks at every driver and connection and writes a line of JSON for each to `report`.
///
/// `task_folder` holds what ADF handed over, `folders` may hold packages with a driver.
///
/// Raises `dray.ActivityError` for malformed files, OSError if the report cannot be written.
#[pyfunction]
pub fn examine(py: Python<'_>, task_folder: PathBuf, folders: Vec<PathBuf>, report: PathBuf) -> PyResult<()> {
    let connections = Connections::load(&task_folder, names::project_folder().as_deref())
        .map_err(|error| failures::connection(py, &error))?;
    py.detach(|| engine::examine(&connections, folders, &report))
        .map_err(|error| PyOSError::new_err(error.to_string()))
}
