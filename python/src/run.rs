//! Functions of the worker's side of a run: its start, the log, and what ADF handed over.

use std::path::PathBuf;

use dray::activity::BatchIdentity;
use dray::failure::Failing;
use dray::telemetry::{self, LogLevel};
use dray::worker::read_spec;
use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyOSError, PyValueError};
use pyo3::prelude::*;
use serde_json::{Map, Value};

create_exception!(
    _native,
    HandoverError,
    PyException,
    "What ADF handed over cannot be read, or lacks what was asked for; arguments: stable code, message."
);

/// Starts the log of the run where this module is loaded in the worker, or in a process that the worker forked: there
/// `dray._run` knows a phase.
///
/// Raises OSError if the run folder cannot be read.
pub fn begin_in_worker(py: Python<'_>) -> PyResult<()> {
    let Ok(run) = py.import("sys")?.getattr("modules")?.get_item("dray._run") else {
        return Ok(());
    };
    let phase: Option<String> = run.getattr("phase")?.extract()?;
    let (Some(phase), Some(folder)) = (phase, run.getattr("FOLDER")?.extract::<Option<PathBuf>>()?) else {
        return Ok(());
    };
    let spec = read_spec(&folder).map_err(|error| PyOSError::new_err(error.to_string()))?;
    // The supervisor has read the same files and would have ended the run on an error.
    let mut secrets = crate::secrets::handover(&spec.task_folder)
        .map(|handover| handover.secrets())
        .unwrap_or_default();
    secrets.extend(crate::names::secrets(&spec.working_folder));
    secrets.extend(std::env::var("AZURE_CLIENT_SECRET").ok());
    let settings = telemetry::Settings {
        format: spec.log_format.parse().unwrap_or_default(),
        level: spec.log_level.parse().unwrap_or_default(),
        batch: BatchIdentity::from_env(|name| std::env::var_os(name)),
        secrets,
    };
    // A second start in one process is refused by telemetry, and harmless.
    let _ = telemetry::init(settings);
    telemetry::set_phase(phase);
    Ok(())
}

/// Names the phase that every log record carries from now on.
#[pyfunction]
pub fn set_phase(phase: String) {
    telemetry::set_phase(phase);
}

/// Writes one record to the log of the run; drops it outside a run.
///
/// `level` is a number of Python's `logging`, `fields` a JSON object as text or None.
#[pyfunction]
pub fn log(
    py: Python<'_>,
    level: i64,
    logger: &str,
    message: &str,
    event: &str,
    fields: Option<&str>,
    exception: Option<&str>,
) -> PyResult<()> {
    let mut fields: Map<String, Value> = match fields {
        Some(text) => serde_json::from_str(text).map_err(|error| PyValueError::new_err(error.to_string()))?,
        None => Map::new(),
    };
    if !event.is_empty() {
        fields.entry("event").or_insert_with(|| Value::from(event));
    }
    // Whoever reads stderr may be slow.
    py.detach(|| telemetry::emit(LogLevel::from_python(level), logger, message, fields, exception));
    Ok(())
}

/// Masks every secret that dray knows in `text`.
#[pyfunction]
pub fn redact(text: &str) -> String {
    telemetry::redactor().redact(text).into_owned()
}

/// activity.json, linkedServices.json and datasets.json of `task_folder` as one JSON document, secrets marked
/// (`Handover::to_json_for_python`).
///
/// Raises HandoverError if one of them is malformed.
#[pyfunction]
pub fn handover_json(task_folder: PathBuf) -> PyResult<String> {
    let handover = crate::secrets::handover(&task_folder).map_err(handover_error)?;
    Ok(handover.to_json_for_python().to_string())
}

fn handover_error(error: dray::activity::ActivityError) -> PyErr {
    let code = error.code();
    let message = match error.hint() {
        Some(hint) => format!("{:#}; {hint}", dray::failure::Failure::from(error).error),
        None => format!("{:#}", dray::failure::Failure::from(error).error),
    };
    HandoverError::new_err((code, message))
}
