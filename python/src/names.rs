//! `dray._native.connection_string`: names of connections and URLs as connection strings, and datasets as tables.

use std::path::{Path, PathBuf};

use dray::{
    activity::secrets_of_text,
    connections::{ConnectionError, Connections, Resolved, is_connection_text},
    odbc::DriverSearch,
    project::Project,
    worker::read_spec,
};
use pyo3::prelude::*;

use crate::secrets::{handover, remember};
use crate::{blocking, failures};

/// The ODBC connection string for `name_or_text`, secrets and all: the name of a linked service, a dataset, an environment
/// variable, an entry of `[tool.dray.connections]` or a data source; a URL; or a connection string, given back as it is.
///
/// `task_folder` holds what ADF handed over, `folders` may hold packages with a driver. With `only_linked_service` it is the
/// linked service of that name, whatever else has it. The secrets are masked from now on.
///
/// Raises an exception of `dray._errors` if there is no such connection, or it cannot be made one here.
#[pyfunction]
pub fn connection_string(
    py: Python<'_>,
    task_folder: PathBuf,
    name_or_text: &str,
    folders: Vec<PathBuf>,
    only_linked_service: bool,
) -> PyResult<String> {
    let is_text = !only_linked_service && is_connection_text(name_or_text);
    if is_text {
        // Before anything can go wrong: a traceback shows the script's line.
        remember(py, secrets_of_text(name_or_text).iter().map(String::as_str));
    }
    let name_or_text = name_or_text.to_owned();
    let resolve = move || -> Result<Resolved, ConnectionError> {
        let search = DriverSearch::from_environment(folders);
        // A text needs no file, and so must not fail for one.
        let connections = match is_text {
            true => Connections::of_node(),
            false => Connections::with(handover(&task_folder)?, project_folder().as_deref())?,
        };
        match only_linked_service {
            true => connections.linked_service(&name_or_text, &search),
            false => connections.resolve(&name_or_text, &search),
        }
    };
    // A linked service may have its password in a Key Vault.
    let resolved = blocking::abandonable(py, resolve)?.map_err(|error| failures::connection(py, &error))?;
    remember(py, resolved.secrets.iter().map(String::as_str));
    Ok(resolved.string.reveal())
}

/// The table of a dataset, `schema.table` or `table`.
///
/// Raises `dray.ActivityError` if there is none of that name, or it names no table.
#[pyfunction]
pub fn dataset_table(py: Python<'_>, task_folder: PathBuf, name: &str) -> PyResult<String> {
    let connections = handover(&task_folder)
        .map_err(ConnectionError::from)
        .and_then(|read| Connections::with(read, None));
    let table = connections.and_then(|connections| connections.table_of_dataset(name));
    table.map_err(|error| failures::connection(py, &error))
}

/// The secrets of the connections in the environment and in the pyproject.toml of `project`.
pub fn secrets(project: &Path) -> Vec<String> {
    // Whoever asks for a connection is told what is wrong with the file.
    let manifest = Project::open(project)
        .and_then(|project| project.manifest())
        .unwrap_or_default();
    let environment: Vec<_> = std::env::vars_os().collect();
    Connections::secrets(&environment, &manifest.connections)
}

/// Where the project's pyproject.toml is: in a run its root, else the nearest folder upwards that has one.
pub fn project_folder() -> Option<PathBuf> {
    let run_folder = std::env::var_os("DRAY_RUN").filter(|folder| !folder.is_empty());
    if let Some(spec) = run_folder.and_then(|folder| read_spec(Path::new(&folder)).ok()) {
        return Some(spec.working_folder);
    }
    let here = std::env::current_dir().ok()?;
    let found = here.ancestors().find(|folder| folder.join("pyproject.toml").is_file());
    found.map(Path::to_owned)
}
