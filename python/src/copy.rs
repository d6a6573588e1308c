//! `dray._native.copy`: a request in, table after table, a report out; how far it is meanwhile; and what it would do.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use dray::{
    copy::{
        self, Around, Choice, Choices, ColumnSelection, Constraints, Endpoint, Fraction, Lanes, Meeting, Merge,
        MergeKind, Mode, Narrower, OnReject, Progress, Request, Run, RunOrigin, Schema, Selection, Shard, TableError,
        TableOptions, TableReport, TableRequest, Verify,
    },
    odbc::{DriverSearch, Interrupt},
};
use pyo3::{
    exceptions::{PyRuntimeError, PyValueError},
    prelude::*,
    types::{PyDict, PyList},
};

use crate::{bars, blocking, connection::parse_connection_string, failures};

/// A copy that other threads may look at and stop.
#[derive(Clone, Default)]
struct Watched {
    progress: Arc<Progress>,
    interrupt: Interrupt,
}

/// Those that Python holds by their number.
fn all_watched() -> &'static Mutex<HashMap<u64, Watched>> {
    static WATCHED: OnceLock<Mutex<HashMap<u64, Watched>>> = OnceLock::new();
    WATCHED.get_or_init(Mutex::default)
}

fn watched(number: u64) -> PyResult<Watched> {
    let all = all_watched().lock().unwrap_or_else(PoisonError::into_inner);
    let found = all.get(&number).cloned();
    found.ok_or_else(|| PyValueError::new_err("there is no such copy"))
}

/// Makes room for a copy that is to be looked at, and returns its number.
#[pyfunction]
pub fn watch_copy() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut all = all_watched().lock().unwrap_or_else(PoisonError::into_inner);
    all.insert(number, Watched::default());
    number
}

/// How far a copy is, as JSON; see `dray::copy::Snapshot`.
#[pyfunction]
pub fn copy_progress(number: u64) -> PyResult<String> {
    json(&watched(number)?.progress.snapshot())
}

/// Stops a copy: running tables are rolled back, the others are not begun.
#[pyfunction]
pub fn cancel_copy(py: Python<'_>, number: u64) -> PyResult<()> {
    let interrupt = watched(number)?.interrupt;
    // Cancelling speaks to the server on some drivers.
    py.detach(|| interrupt.raise());
    Ok(())
}

/// Forgets a copy; a number that is forgotten already is let pass.
#[pyfunction]
pub fn forget_copy(number: u64) {
    let mut all = all_watched().lock().unwrap_or_else(PoisonError::into_inner);
    all.remove(&number);
}

/// Copies tables.
///
/// `copies` holds dictionaries with `source` (label and connection string), either `query` or `tables` and `exclude`,
/// `options` and `overrides`: a list of a table's name or pattern and the options that it has instead. Such options hold
/// `into`, `where`, `columns`, `exclude_columns`, `rename` (a list of pairs), `mode` (`append`, `truncate`, `replace`, `upsert`,
/// `incremental` or `mirror`), `key` (a list), `watermark`, `overlap` (a whole number), `before` and `after` (lists of
/// statements). `target` is a label and a connection string; `options` of the call holds `before` and `after` of every
/// table, `before_run` and `after_run`, `lanes` (`auto` or `odbc`), `parallel` and `memory_limit_bytes`
/// (`None`: the engine's own), `schema` (`full` or `columns`), `add_columns`, `narrower` (`refuse` or `check`), `constraints` (`check` or `skip`),
/// `verify` (`count`, `checksum` or `none`),
/// `on_reject` (`fail` or `file`), `rejects` (a folder), `max_rejects` (`None`: any number), `shard` (`None`, or a text such as
/// `3/8`), `ranges` (`None`: the engine's own), `infinity`, `nan` and `zero_dates` (`refuse` or `null`), `fraction` (`refuse`
/// or `round`), `run` (`None`, or id, `given`, `property` or `batch`, and the activity's name) and `patience_s` (`None`: the engine's
/// own); `folders` may hold packages with a driver. `watch` is what is called after each table with its report as JSON, one
/// of the numbers of `watch_copy` or `None`, and whether bars are drawn on stderr, which is for processes that never fork.
/// Returns the whole report as JSON, failed tables in it.
///
/// # Errors
/// An exception of `dray._errors` if nothing could be begun; `ValueError` for an option's value that makes no sense; what
/// a signal's handler or the call after a table raised, after the running tables were rolled back.
#[pyfunction]
#[pyo3(name = "copy")]
pub fn copy_tables(
    py: Python<'_>,
    copies: &Bound<'_, PyList>,
    target: (String, String),
    options: &Bound<'_, PyDict>,
    folders: Vec<PathBuf>,
    watch: (Bound<'_, PyAny>, Option<u64>, bool),
) -> PyResult<String> {
    let (on_table, number, bars) = watch;
    let request = request(py, copies, target, options)?;
    let search = DriverSearch::from_environment(folders);
    let Watched { progress, interrupt } = number.map_or_else(|| Ok(Watched::default()), watched)?;
    let result = blocking::run(
        py,
        &interrupt,
        |note: &dyn Fn(TableReport)| {
            let work = || {
                copy::run(&request, &search, &interrupt, &progress, &mut |table| {
                    note(table.clone())
                })
            };
            match bars {
                true => bars::drawn(&progress, work),
                false => work(),
            }
        },
        |table: TableReport| on_table.call1((json(&table)?,)).map(drop),
    )?;
    let report = result.map_err(|error| failures::copy(py, &error))?;
    json(&report)
}

/// What `copy` would do with the same arguments, as JSON; see `dray::copy::DryRun`. Nothing is changed.
///
/// # Errors
/// Those of `copy`.
#[pyfunction]
pub fn plan_copy(
    py: Python<'_>,
    copies: &Bound<'_, PyList>,
    target: (String, String),
    options: &Bound<'_, PyDict>,
    folders: Vec<PathBuf>,
) -> PyResult<String> {
    answer(py, &request(py, copies, target, options)?, folders, copy::dry_run)
}

/// What `ask` finds out about a request without a word in between, as JSON.
///
/// # Errors
/// Those of `copy`.
pub fn answer<T: serde::Serialize + Send>(
    py: Python<'_>,
    request: &Request,
    folders: Vec<PathBuf>,
    ask: fn(&Request, &DriverSearch, &Interrupt) -> Result<T, Box<TableError>>,
) -> PyResult<String> {
    let search = DriverSearch::from_environment(folders);
    let interrupt = Interrupt::new();
    let result = blocking::run(
        py,
        &interrupt,
        |_: &dyn Fn(())| ask(request, &search, &interrupt),
        |()| Ok(()),
    )?;
    json(&result.map_err(|error| failures::copy(py, &error))?)
}

/// A call's arguments as the engine takes them.
pub(crate) fn request(
    py: Python<'_>,
    copies: &Bound<'_, PyList>,
    target: (String, String),
    options: &Bound<'_, PyDict>,
) -> PyResult<Request> {
    let option = |name: &str| option(options, name);
    let lanes = lanes(&option)?;
    let memory_limit_bytes = memory_limit_bytes(&option)?;
    let parallel: Option<usize> = option("parallel")?.extract()?;
    if parallel == Some(0) {
        return Err(PyValueError::new_err(
            "parallel is 0, at least one table is copied at once",
        ));
    }
    let choices = choices(&option)?;
    let verify = [
        ("count", Verify::Count),
        ("checksum", Verify::Checksum),
        ("none", Verify::None),
    ];
    let on_reject = match one_of("on_reject", &option, [("fail", false), ("file", true)])? {
        false => OnReject::Fail,
        true => OnReject::File {
            folder: option("rejects")?.extract()?,
            max: option("max_rejects")?.extract()?,
        },
    };
    let shard: Option<String> = option("shard")?.extract()?;
    let shard = shard.map(|text| {
        text.parse::<Shard>()
            .map_err(|error| PyValueError::new_err(format!("shard: {error}")))
    });
    let ranges: Option<usize> = option("ranges")?.extract()?;
    if ranges == Some(0) {
        return Err(PyValueError::new_err(
            "ranges is 0, a table is copied in one range at least",
        ));
    }
    let patience = patience(&option)?;
    let run = option("run")?
        .extract::<Option<(String, String, String)>>()?
        .map(run_of);
    let copies = copies
        .iter()
        .map(|copy| table_request(&copy))
        .collect::<PyResult<Vec<_>>>()?;
    Ok(Request {
        copies,
        target: endpoint(py, target)?,
        around: around(&option)?,
        around_run: Around {
            before: option("before_run")?.extract()?,
            after: option("after_run")?.extract()?,
        },
        lanes,
        memory_limit_bytes,
        parallel,
        choices,
        schema: one_of(
            "schema",
            &option,
            [("full", Schema::Full), ("columns", Schema::Columns)],
        )?,
        add_columns: option("add_columns")?.extract()?,
        narrower: one_of(
            "narrower",
            &option,
            [("refuse", Narrower::Refuse), ("check", Narrower::Check)],
        )?,
        constraints: one_of(
            "constraints",
            &option,
            [("check", Constraints::Check), ("skip", Constraints::Skip)],
        )?,
        verify: one_of("verify", &option, verify)?,
        on_reject,
        shard: shard.transpose()?,
        ranges,
        run: run.transpose()?,
        patience,
    })
}

/// One of the options, all of which are given.
pub fn option<'py>(options: &Bound<'py, PyDict>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    let found = options.get_item(name)?;
    found.ok_or_else(|| PyValueError::new_err(format!("the options lack `{name}`")))
}

/// Which lanes may be taken.
pub fn lanes<'py>(option: &impl Fn(&str) -> PyResult<Bound<'py, PyAny>>) -> PyResult<Lanes> {
    one_of("lanes", option, [("auto", Lanes::Auto), ("odbc", Lanes::Odbc)])
}

/// The budget in bytes.
pub fn memory_limit_bytes<'py>(option: &impl Fn(&str) -> PyResult<Bound<'py, PyAny>>) -> PyResult<usize> {
    let memory_limit_bytes: Option<u64> = option("memory_limit_bytes")?.extract()?;
    match memory_limit_bytes {
        None => Ok(copy::MEMORY_LIMIT_BYTES),
        Some(bytes) => usize::try_from(bytes)
            .ok()
            .filter(|bytes| *bytes >= copy::MEMORY_LIMIT_BYTES_MIN)
            .ok_or_else(|| {
                let least_mib = copy::MEMORY_LIMIT_BYTES_MIN >> 20;
                PyValueError::new_err(format!(
                    "memory_limit is {bytes} bytes, at least {least_mib} MiB are needed"
                ))
            }),
    }
}

/// What becomes of values that the target does not hold.
pub fn choices<'py>(option: &impl Fn(&str) -> PyResult<Bound<'py, PyAny>>) -> PyResult<Choices> {
    let choice = |name: &str| one_of(name, option, [("refuse", Choice::Refuse), ("null", Choice::Null)]);
    Ok(Choices {
        infinity: choice("infinity")?,
        nan: choice("nan")?,
        zero_dates: choice("zero_dates")?,
        fraction: one_of(
            "fraction",
            option,
            [("refuse", Fraction::Refuse), ("round", Fraction::Round)],
        )?,
    })
}

/// How long a database that is not ready is asked again.
pub fn patience<'py>(option: &impl Fn(&str) -> PyResult<Bound<'py, PyAny>>) -> PyResult<Duration> {
    let patience_s: Option<f64> = option("patience_s")?.extract()?;
    match patience_s {
        None => Ok(copy::PATIENCE),
        Some(seconds) => Duration::try_from_secs_f64(seconds).map_err(|_| {
            PyValueError::new_err(format!(
                "patience is {seconds}; a number of seconds, 0 at least, is allowed"
            ))
        }),
    }
}

/// What an option's word stands for, of those that it may be.
pub fn one_of<'py, T, const WORDS: usize>(
    name: &str,
    option: &impl Fn(&str) -> PyResult<Bound<'py, PyAny>>,
    words: [(&str, T); WORDS],
) -> PyResult<T> {
    let given = option(name)?.extract::<String>()?;
    let allowed = words.each_ref().map(|(word, _)| format!("`{word}`"));
    let found = words.into_iter().find(|(word, _)| *word == given);
    found
        .map(|(_, meaning)| meaning)
        .ok_or_else(|| PyValueError::new_err(format!("{name} is `{given}`; allowed are {}", allowed.join(", "))))
}

/// How an existing table meets the rows.
pub fn meeting<'py>(option: &impl Fn(&str) -> PyResult<Bound<'py, PyAny>>) -> PyResult<Meeting> {
    let mode: String = option("mode")?.extract()?;
    let key: Vec<String> = option("key")?.extract()?;
    let in_place = match (mode.as_str(), merge_kind(&mode, option)?) {
        (_, Some(kind)) => {
            return Ok(Meeting {
                mode: Mode::Append,
                merge: Some(Merge { kind, key }),
            });
        }
        ("append", None) => Mode::Append,
        ("truncate", None) => Mode::Truncate,
        ("replace", None) => Mode::Replace,
        (other, None) => {
            let message = format!(
                "mode is `{other}`; `append`, `truncate`, `replace`, `upsert`, `incremental` and `mirror` are allowed"
            );
            return Err(PyValueError::new_err(message));
        }
    };
    match key.is_empty() {
        true => Ok(Meeting {
            mode: in_place,
            merge: None,
        }),
        false => Err(PyValueError::new_err(
            "`key` goes with `upsert`, `incremental` and `mirror`",
        )),
    }
}

/// What happens to rows that are there, for a mode that looks at keys.
fn merge_kind<'py>(mode: &str, option: &impl Fn(&str) -> PyResult<Bound<'py, PyAny>>) -> PyResult<Option<MergeKind>> {
    let watermark: Option<String> = option("watermark")?.extract()?;
    let overlap: u64 = option("overlap")?.extract()?;
    match (mode, watermark) {
        ("incremental", Some(watermark)) => Ok(Some(MergeKind::Incremental { watermark, overlap })),
        ("incremental", None) => Err(PyValueError::new_err(
            "mode `incremental` needs the name of a column that grows with each change in `watermark`",
        )),
        (_, Some(_)) => Err(PyValueError::new_err("`watermark` goes with mode `incremental`")),
        _ if overlap > 0 => Err(PyValueError::new_err("`overlap` goes with mode `incremental`")),
        ("upsert", None) => Ok(Some(MergeKind::Upsert)),
        ("mirror", None) => Ok(Some(MergeKind::Mirror)),
        _ => Ok(None),
    }
}

/// Statements around a load.
pub fn around<'py>(option: &impl Fn(&str) -> PyResult<Bound<'py, PyAny>>) -> PyResult<Around> {
    Ok(Around {
        before: option("before")?.extract()?,
        after: option("after")?.extract()?,
    })
}

fn run_of((id, origin, activity): (String, String, String)) -> PyResult<Run> {
    let characters = id.chars().count();
    if characters > copy::RUN_ID_CHARACTERS_MAX || id.contains('\0') {
        let most = copy::RUN_ID_CHARACTERS_MAX;
        let message = format!("the run's id has {characters} characters; at most {most} are allowed, and no U+0000");
        return Err(PyValueError::new_err(message));
    }
    let origin = match origin.as_str() {
        "property" => RunOrigin::Property,
        "batch" => RunOrigin::Batch,
        _ => RunOrigin::Given,
    };
    Ok(Run { id, origin, activity })
}

fn table_request(copy: &Bound<'_, PyAny>) -> PyResult<TableRequest> {
    let copy = copy.cast::<PyDict>()?;
    let field = |name: &str| field_of(copy, name);
    let selection = match field("query")?.extract::<Option<String>>()? {
        Some(query) => Selection::Query(query),
        None => Selection::Tables {
            names: field("tables")?.extract()?,
            exclude: field("exclude")?.extract()?,
            overrides: field("overrides")?
                .extract::<Vec<(String, Bound<'_, PyDict>)>>()?
                .iter()
                .map(|(name, options)| Ok((name.clone(), table_options(options)?)))
                .collect::<PyResult<_>>()?,
        },
    };
    Ok(TableRequest {
        source: endpoint(copy.py(), field("source")?.extract()?)?,
        selection,
        options: table_options(field("options")?.cast()?)?,
    })
}

fn table_options(options: &Bound<'_, PyDict>) -> PyResult<TableOptions> {
    let field = |name: &str| field_of(options, name);
    Ok(TableOptions {
        into: field("into")?.extract()?,
        condition: field("where")?.extract()?,
        columns: ColumnSelection {
            only: field("columns")?.extract()?,
            exclude: field("exclude_columns")?.extract()?,
            rename: field("rename")?.extract()?,
        },
        meeting: meeting(&field)?,
        around: around(&field)?,
    })
}

fn field_of<'py>(fields: &Bound<'py, PyDict>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    fields
        .get_item(name)?
        .ok_or_else(|| PyValueError::new_err(format!("a copy lacks `{name}`")))
}

/// A database by its label, which may be empty, and connection string.
pub fn endpoint(py: Python<'_>, (label, string): (String, String)) -> PyResult<Endpoint> {
    let string = parse_connection_string(py, &string)?;
    let label = if label.is_empty() { string.to_string() } else { label };
    Ok(Endpoint { label, string })
}

/// A value of the engine's as JSON.
pub fn json(value: &impl serde::Serialize) -> PyResult<String> {
    serde_json::to_string(value).map_err(|error| PyRuntimeError::new_err(error.to_string()))
}
