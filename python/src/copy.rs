//! `dray._native.copy`: a request in, table after table, a report out.

use std::path::PathBuf;

use dray::{
    copy::{self, Choice, Choices, Endpoint, Fraction, Lanes, Mode, Request, Selection, TableReport, TableRequest},
    odbc::{DriverSearch, Interrupt},
};
use pyo3::{
    exceptions::{PyRuntimeError, PyValueError},
    prelude::*,
    types::{PyDict, PyList},
};

use crate::{blocking, connection::parse_connection_string, failures};

/// Copies tables.
///
/// `copies` holds dictionaries with `source` (label and connection string), `into`, and either `query` or `tables`,
/// `exclude` and `where`; `target` is a label and a connection string; `mode` is `append`, `truncate` or `replace`;
/// `options` holds `lanes` (`auto` or `odbc`), `parallel` and `memory_limit_bytes` (`None`: the engine's own), and
/// `infinity`, `nan` and `zero_dates` (`refuse` or `null`), and `fraction` (`refuse` or `round`); `on_table` is called after each table with its report as JSON;
/// `folders` may hold packages with a driver. Returns the whole report as JSON, failed tables in it.
///
/// # Errors
/// An exception of `dray._errors` if nothing could be begun; `ValueError` for an option's value that makes no sense; what
/// a signal's handler or `on_table` raised, after the running tables were rolled back.
#[pyfunction]
#[pyo3(name = "copy")]
pub fn copy_tables(
    py: Python<'_>,
    copies: &Bound<'_, PyList>,
    target: (String, String),
    mode: &str,
    options: &Bound<'_, PyDict>,
    on_table: &Bound<'_, PyAny>,
    folders: Vec<PathBuf>,
) -> PyResult<String> {
    let mode = match mode {
        "append" => Mode::Append,
        "truncate" => Mode::Truncate,
        "replace" => Mode::Replace,
        other => {
            let message = format!("mode is `{other}`; `append`, `truncate` and `replace` are allowed");
            return Err(PyValueError::new_err(message));
        }
    };
    let option = |name: &str| -> PyResult<Bound<'_, PyAny>> {
        options
            .get_item(name)?
            .ok_or_else(|| PyValueError::new_err(format!("the options lack `{name}`")))
    };
    let lanes = match option("lanes")?.extract::<String>()?.as_str() {
        "auto" => Lanes::Auto,
        "odbc" => Lanes::Odbc,
        other => {
            let message = format!("lanes is `{other}`; `auto` and `odbc` are allowed");
            return Err(PyValueError::new_err(message));
        }
    };
    let memory_limit_bytes: Option<u64> = option("memory_limit_bytes")?.extract()?;
    let memory_limit_bytes = match memory_limit_bytes {
        None => copy::MEMORY_LIMIT_BYTES,
        Some(bytes) => usize::try_from(bytes)
            .ok()
            .filter(|bytes| *bytes >= copy::MEMORY_LIMIT_BYTES_MIN)
            .ok_or_else(|| {
                let least_mib = copy::MEMORY_LIMIT_BYTES_MIN >> 20;
                PyValueError::new_err(format!(
                    "memory_limit is {bytes} bytes, at least {least_mib} MiB are needed"
                ))
            })?,
    };
    let parallel: Option<usize> = option("parallel")?.extract()?;
    if parallel == Some(0) {
        return Err(PyValueError::new_err(
            "parallel is 0, at least one table is copied at once",
        ));
    }
    let choice = |name: &str| match option(name)?.extract::<String>()?.as_str() {
        "refuse" => Ok(Choice::Refuse),
        "null" => Ok(Choice::Null),
        other => {
            let message = format!("{name} is `{other}`; `refuse` and `null` are allowed");
            Err(PyValueError::new_err(message))
        }
    };
    let choices = Choices {
        infinity: choice("infinity")?,
        nan: choice("nan")?,
        zero_dates: choice("zero_dates")?,
        fraction: match option("fraction")?.extract::<String>()?.as_str() {
            "refuse" => Fraction::Refuse,
            "round" => Fraction::Round,
            other => {
                let message = format!("fraction is `{other}`; `refuse` and `round` are allowed");
                return Err(PyValueError::new_err(message));
            }
        },
    };
    let copies = copies
        .iter()
        .map(|copy| table_request(&copy))
        .collect::<PyResult<Vec<_>>>()?;
    let request = Request {
        copies,
        target: endpoint(py, target)?,
        mode,
        lanes,
        memory_limit_bytes,
        parallel,
        choices,
    };
    let search = DriverSearch::from_environment(folders);
    let interrupt = Interrupt::new();
    let result = blocking::run(
        py,
        &interrupt,
        |note: &dyn Fn(TableReport)| copy::run(&request, &search, &interrupt, &mut |table| note(table.clone())),
        |table: TableReport| on_table.call1((json(&table)?,)).map(drop),
    )?;
    let report = result.map_err(|error| failures::copy(py, &error))?;
    json(&report)
}

fn table_request(copy: &Bound<'_, PyAny>) -> PyResult<TableRequest> {
    let copy = copy.cast::<PyDict>()?;
    let field = |name: &str| -> PyResult<Bound<'_, PyAny>> {
        copy.get_item(name)?
            .ok_or_else(|| PyValueError::new_err(format!("a copy lacks `{name}`")))
    };
    let selection = match field("query")?.extract::<Option<String>>()? {
        Some(query) => Selection::Query(query),
        None => Selection::Tables {
            names: field("tables")?.extract()?,
            exclude: field("exclude")?.extract()?,
            condition: field("where")?.extract()?,
        },
    };
    Ok(TableRequest {
        source: endpoint(copy.py(), field("source")?.extract()?)?,
        selection,
        into: field("into")?.extract()?,
    })
}

fn endpoint(py: Python<'_>, (label, string): (String, String)) -> PyResult<Endpoint> {
    let string = parse_connection_string(py, &string)?;
    let label = if label.is_empty() { string.to_string() } else { label };
    Ok(Endpoint { label, string })
}

fn json(value: &impl serde::Serialize) -> PyResult<String> {
    serde_json::to_string(value).map_err(|error| PyRuntimeError::new_err(error.to_string()))
}
