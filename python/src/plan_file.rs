//! `dray._native.read_plan`: the plan of a `dray copy`, for its worker.

use std::path::PathBuf;

use dray::{
    failure::{Failing, Failure},
    plan_file::PlanSource,
};
use pyo3::{exceptions::PyValueError, prelude::*};

use crate::{run::HandoverError, secrets::handover};

/// The plan as JSON: `{"copies": [fields of dray.Copy], "options": {arguments of dray.copy_tables}}`.
///
/// `task_folder` holds what ADF handed over; `source` is a `PlanSource` as JSON.
///
/// Raises `HandoverError` for a plan that makes no sense, which the supervisor would have refused.
#[pyfunction]
pub fn read_plan(task_folder: PathBuf, source: &str) -> PyResult<String> {
    let source: PlanSource = serde_json::from_str(source).map_err(|error| PyValueError::new_err(error.to_string()))?;
    let handover = handover(&task_folder).map_err(refused)?;
    let properties = handover.extended_properties();
    let plan = source.read(&properties).map_err(refused)?;
    Ok(plan.to_json().to_string())
}

fn refused(error: impl Failing) -> PyErr {
    let failure = Failure::from(error);
    HandoverError::new_err((failure.code, failure.sentence()))
}
