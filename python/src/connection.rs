//! `dray._native.connect` and what is done with a connection; Python holds it as a number.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use dray::{
    database::{
        Connection, Error, Purpose,
        script::{self, Parameters},
    },
    odbc::{ConnectionString, DriverSearch, Interrupt},
};
use pyo3::{
    exceptions::PyValueError,
    prelude::*,
    types::{PyDict, PyList, PyTuple},
};

use crate::{blocking, failures, secrets::remember, values};

/// A connection and the process that opened it.
struct Open {
    connection: Arc<Mutex<Connection>>,
    process: u32,
}

/// Open connections by their number; each is used by one thread at a time.
type Connections = Mutex<HashMap<u64, Open>>;

fn connections() -> &'static Connections {
    static CONNECTIONS: OnceLock<Connections> = OnceLock::new();
    CONNECTIONS.get_or_init(Connections::default)
}

fn find(number: u64) -> PyResult<Arc<Mutex<Connection>>> {
    let connections = connections().lock().unwrap_or_else(PoisonError::into_inner);
    match connections.get(&number) {
        None => Err(PyValueError::new_err("the connection is closed")),
        Some(open) if open.process != std::process::id() => Err(PyValueError::new_err(
            "the connection belongs to the process that forked this one; open another",
        )),
        Some(open) => Ok(Arc::clone(&open.connection)),
    }
}

/// Runs `work` on the connection, without the GIL and open to signals.
fn with<T: Send>(
    py: Python<'_>,
    number: u64,
    work: impl FnOnce(&Connection) -> Result<T, Error> + Send,
) -> PyResult<T> {
    let connection = find(number)?;
    let interrupt = Interrupt::new();
    let result = blocking::run(
        py,
        &interrupt,
        |_: &dyn Fn(())| {
            let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            connection.session.set_interrupt(&interrupt);
            work(&connection).map_err(|error| (connection.classify(&error), connection.without_values(error)))
        },
        |()| Ok(()),
    )?;
    result.map_err(|(class, error)| failures::database(py, Some(class), &error))
}

/// Reads a connection string; its secrets are masked from now on, also in a script's line that a traceback shows.
pub fn parse_connection_string(py: Python<'_>, text: &str) -> PyResult<ConnectionString> {
    let string = ConnectionString::parse(text)
        .map_err(|error| failures::database(py, None, &dray::odbc::Error::from(error).into()))?;
    remember(py, string.secrets());
    Ok(string)
}

/// Opens a connection and returns its number.
///
/// `string` is an ODBC connection string; `autocommit` makes each statement its own transaction; `folders` may hold
/// packages with a driver.
#[pyfunction]
pub fn connect(py: Python<'_>, string: &str, autocommit: bool, folders: Vec<PathBuf>) -> PyResult<u64> {
    let string = parse_connection_string(py, string)?;
    let search = DriverSearch::from_environment(folders);
    let interrupt = Interrupt::new();
    let result = blocking::run(
        py,
        &interrupt,
        |_: &dyn Fn(())| Connection::open(&search, &string, Purpose::Script, autocommit, &interrupt),
        |()| Ok(()),
    )?;
    let connection = result.map_err(|error| failures::database(py, None, &error))?;
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let open = Open {
        connection: Arc::new(Mutex::new(connection)),
        process: std::process::id(),
    };
    connections()
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(number, open);
    Ok(number)
}

/// Runs a query and returns its rows as dictionaries.
#[pyfunction]
pub fn query<'py>(
    py: Python<'py>,
    number: u64,
    sql: &str,
    parameters: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyList>> {
    let parameters = collect(parameters)?;
    let result = with(py, number, |connection| script::query(connection, sql, &parameters))?;
    let list = PyList::empty(py);
    for row in result.rows {
        let dictionary = PyDict::new(py);
        for (name, value) in result.names.iter().zip(row) {
            dictionary.set_item(name, values::to_python(py, value)?)?;
        }
        list.append(dictionary)?;
    }
    Ok(list)
}

/// Runs a statement and returns the number of rows that it changed, -1 if unknown.
#[pyfunction]
pub fn execute(py: Python<'_>, number: u64, sql: &str, parameters: &Bound<'_, PyTuple>) -> PyResult<i64> {
    let parameters = collect(parameters)?;
    with(py, number, |connection| script::execute(connection, sql, &parameters))
}

/// Whether each statement is its own transaction from now on.
#[pyfunction]
pub fn set_autocommit(py: Python<'_>, number: u64, on: bool) -> PyResult<()> {
    with(py, number, |connection| Ok(connection.session.set_autocommit(on)?))
}

/// Makes the open transaction permanent.
#[pyfunction]
pub fn commit(py: Python<'_>, number: u64) -> PyResult<()> {
    with(py, number, |connection| Ok(connection.session.commit()?))
}

/// Undoes the open transaction.
#[pyfunction]
pub fn rollback(py: Python<'_>, number: u64) -> PyResult<()> {
    with(py, number, |connection| Ok(connection.session.rollback()?))
}

/// Closes the connection and undoes what is not committed; a number that is closed already is let pass.
#[pyfunction]
pub fn close(py: Python<'_>, number: u64) {
    let open = connections()
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .remove(&number);
    match open {
        // A forked child must not say goodbye to the server on its parent's socket.
        Some(open) if open.process != std::process::id() => std::mem::forget(open),
        open => py.detach(move || drop(open)),
    }
}

fn collect(values: &Bound<'_, PyTuple>) -> PyResult<Parameters> {
    let mut parameters = Parameters::default();
    values
        .iter()
        .try_for_each(|value| values::push_parameter(&value, &mut parameters))?;
    Ok(parameters)
}
