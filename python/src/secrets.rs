//! Secrets as the script sees them: fetched from a Key Vault, and told to the run so that they are masked.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use dray::activity::{ActivityError, Handover, KeyVaultSecret, as_arguments};
use dray::connections::Connections;
use dray::sharing::Sharing;
use dray::telemetry;
use pyo3::prelude::*;

use crate::{blocking, failures};

/// What this process shares with the others of its run.
fn sharing() -> Sharing {
    let run_folder = std::env::var_os("DRAY_RUN").filter(|folder| !folder.is_empty());
    Sharing::of(run_folder.as_deref().map(Path::new))
}

/// What ADF handed over: from the supervisor where `--scrub` took the files away, else from `task_folder`.
pub fn handover(task_folder: &Path) -> Result<Handover, ActivityError> {
    match sharing().files() {
        Some(files) => Handover::from_files(&files),
        None => Handover::load(task_folder),
    }
}

/// Masks these from now on: in what this process logs, in what the run prints, and in outputs.json.
pub fn remember<'s>(py: Python<'_>, secrets: impl IntoIterator<Item = &'s str>) {
    let secrets: Vec<String> = secrets.into_iter().map(str::to_owned).collect();
    if telemetry::redactor().add_all(secrets.iter().map(String::as_str)) {
        py.detach(|| sharing().tell(&secrets));
    }
}

/// Makes `secret` known, so that it is masked in all that dray writes, and, where that is masked, in what is printed.
#[pyfunction]
pub fn add_secret(py: Python<'_>, secret: &str) {
    remember(py, [secret]);
}

/// The secret `secret_name` of the Key Vault of linked service `store`, in version `secret_version` or the newest.
///
/// Raises an exception of `dray._errors` if it cannot be had.
#[pyfunction]
pub fn fetch_secret(
    py: Python<'_>,
    task_folder: PathBuf,
    store: Option<String>,
    secret_name: Option<String>,
    secret_version: Option<String>,
) -> PyResult<String> {
    let reference = KeyVaultSecret {
        store,
        secret_name,
        secret_version,
    };
    let fetched = blocking::abandonable(py, move || {
        Connections::with(handover(&task_folder)?, None)?.secret(&reference)
    })?;
    fetched.map_err(|error| failures::connection(py, &error))
}

/// The extended properties as `--name value`, with what lies in a Key Vault fetched from there.
///
/// Raises an exception of `dray._errors` if one of them has no value, or makes no argument.
#[pyfunction]
pub fn activity_arguments(py: Python<'_>, task_folder: PathBuf) -> PyResult<Vec<OsString>> {
    let arguments = blocking::abandonable(py, move || {
        let connections = Connections::with(handover(&task_folder)?, None)?;
        let fetch = |reference: &KeyVaultSecret| connections.secret(reference);
        as_arguments(&connections.handover.extended_properties(), &fetch)
    })?;
    arguments.map_err(|error| failures::connection(py, &error))
}
