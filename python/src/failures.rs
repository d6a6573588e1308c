//! Errors of the engine as exceptions of the Python package.

use dray::{
    connections::ConnectionError,
    copy::{CannotRead, TableError},
    database::{self, Class},
    failure::{ExitCode, Failing},
    odbc,
};
use pyo3::{
    prelude::*,
    types::{PyDict, PyType},
};

/// What every exception of `dray._errors` carries beside its message.
#[derive(Default)]
struct Fields {
    code: String,
    sqlstate: Option<String>,
    native: Option<i32>,
    hint: Option<String>,
}

/// An exception of class `class` in `dray._errors`; if that cannot be made, the error that kept it from it.
fn exception(py: Python<'_>, class: &str, message: &str, fields: Fields) -> PyErr {
    let make = || -> PyResult<PyErr> {
        let class = py.import("dray._errors")?.getattr(class)?.cast_into::<PyType>()?;
        let keywords = PyDict::new(py);
        keywords.set_item("code", fields.code)?;
        keywords.set_item("sqlstate", fields.sqlstate)?;
        keywords.set_item("native", fields.native)?;
        keywords.set_item("hint", fields.hint)?;
        Ok(PyErr::from_value(class.call((message,), Some(&keywords))?))
    };
    make().unwrap_or_else(|error| error)
}

/// A driver's or server's error on a connection of the script's own; `class` is `None` while connecting.
pub fn database(py: Python<'_>, class: Option<Class>, error: &database::Error) -> PyErr {
    of_odbc(py, class, error.odbc(), &error.to_string())
}

fn of_odbc(py: Python<'_>, class: Option<Class>, odbc: Option<&odbc::Error>, message: &str) -> PyErr {
    let diagnostic = odbc.and_then(odbc::Error::diagnostic);
    let exception_class = match odbc {
        Some(odbc::Error::DriverNotFound { .. } | odbc::Error::DriverFileMissing { .. }) => "DriverNotFoundError",
        Some(odbc::Error::DriverUnloadable { .. }) => "DriverNotFoundError",
        _ if class.is_none() => "ConnectError",
        _ => "DatabaseError",
    };
    let code = match (class, diagnostic) {
        (Some(class), Some(_)) => class.code(),
        _ => odbc.map_or("database.unsupported", Failing::code),
    };
    let fields = Fields {
        code: code.to_owned(),
        sqlstate: diagnostic.map(|diagnostic| diagnostic.sqlstate.clone()),
        native: diagnostic.map(|diagnostic| diagnostic.native),
        hint: odbc.and_then(Failing::hint),
    };
    match odbc {
        Some(odbc::Error::Connect { .. }) => exception(py, exception_class, &with_hint(message, &fields), fields),
        _ => exception(py, exception_class, message, fields),
    }
}

/// A message and the hint behind it.
fn with_hint(message: &str, fields: &Fields) -> String {
    match &fields.hint {
        Some(hint) => format!("{message}; hint: {hint}"),
        None => message.to_owned(),
    }
}

/// A name that does not become a connection string.
pub fn connection(py: Python<'_>, error: &ConnectionError) -> PyErr {
    if let ConnectionError::Odbc(error) = error {
        return of_odbc(py, None, Some(error), &error.to_string());
    }
    let message = match error.hint() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    };
    let is_of_a_secret = matches!(
        error,
        ConnectionError::Azure(_)
            | ConnectionError::VaultNotReferenced { .. }
            | ConnectionError::NoVault { .. }
            | ConnectionError::ReferenceIncomplete { .. }
    );
    let class = if is_of_a_secret {
        "UnresolvedSecretError"
    } else {
        "ActivityError"
    };
    if !is_of_a_secret && error.exit_code() != ExitCode::Activity {
        let fields = Fields {
            code: error.code().to_owned(),
            hint: error.hint(),
            ..Fields::default()
        };
        return exception(py, "ConnectError", &message, fields);
    }
    let make = || -> PyResult<PyErr> {
        let raised = py.import("dray._errors")?.getattr(class)?.call1((message,))?;
        raised.setattr("code", error.code())?;
        raised.setattr("exit_code", error.exit_code().number())?;
        Ok(PyErr::from_value(raised))
    };
    make().unwrap_or_else(|error| error)
}

/// A copy that could not begin.
pub fn copy(py: Python<'_>, error: &TableError) -> PyErr {
    let class = match error.code.as_str() {
        "odbc.driver_not_found" | "odbc.driver_file_missing" | "odbc.driver_unloadable" => "DriverNotFoundError",
        _ if error.is_connection() => "ConnectError",
        _ => "CopyError",
    };
    let fields = Fields {
        code: error.code.clone(),
        sqlstate: error.sqlstate.clone(),
        native: error.native,
        hint: error.hint.clone(),
    };
    match error.is_connection() {
        true => exception(py, class, &with_hint(&error.message, &fields), fields),
        false => exception(py, class, &error.message, fields),
    }
}

/// Rows that could not be read, or not to the end.
pub fn read(py: Python<'_>, error: &TableError) -> PyErr {
    if error.is_connection() || error.code.starts_with("odbc.driver") {
        return copy(py, error);
    }
    let fields = Fields {
        code: error.code.clone(),
        sqlstate: error.sqlstate.clone(),
        native: error.native,
        hint: error.hint.clone(),
    };
    let raised = exception(py, "CopyError", &CannotRead(error).to_string(), fields);
    let of_table = || -> PyResult<()> {
        let value = raised.value(py);
        value.setattr("table", &error.table)?;
        value.setattr("column", &error.column)?;
        value.setattr("row", error.row)?;
        value.setattr("key", &error.key)?;
        value.setattr("phase", error.phase.name())?;
        value.setattr("side", "source")
    };
    match of_table() {
        Ok(()) => raised,
        Err(other) => other,
    }
}
