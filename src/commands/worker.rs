//! The worker: a fork of the supervisor, or, as `dray __worker`, the executable started anew.

use std::ffi::{CStr, CString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::activity::BatchIdentity;
use crate::failure::{ExitCode, Failure};
use crate::interpreter::{Loading, preload, run_python};
use crate::project::Entrypoint;
use crate::telemetry::{self, LogLevel};
use crate::worker::{Orders, RunSpec, enter, read_spec, record_error, start_again};

/// The rest of the start is Python: `python/dray/_worker.py`. UTF-8 mode and faulthandler are given as options, so that
/// `multiprocessing` starts its children with them too. The first is replaced by the interpreter's path; behind the last
/// stand what [`arguments`] gives and the script's arguments.
const COMMAND_LINE: [&CStr; 7] = [
    c"python",
    c"-X",
    c"utf8",
    c"-X",
    c"faulthandler",
    c"-c",
    c"from dray._worker import run; run()",
];

/// The hidden command that the executable starts itself with.
pub const COMMAND: &CStr = c"__worker";

/// Waits for the supervisor's order, runs the entrypoint, and gives the exit code.
pub fn work(mut orders: Orders) -> u8 {
    let Some(foreseen) = orders.wait() else {
        return 1;
    };
    if !foreseen.as_os_str().is_empty() {
        preload(&foreseen);
    }
    // None: the run was refused, and there is nobody to tell.
    let Some(run_folder) = orders.wait() else {
        return 1;
    };
    begin(&run_folder, &foreseen, orders).unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "error: {error}");
        ExitCode::Internal.number()
    })
}

fn begin(run_folder: &Path, foreseen: &Path, orders: Orders) -> std::io::Result<u8> {
    let spec = read_spec(run_folder)?;
    orders.redirect(spec.redirection)?;
    if let Loading::Library { library, .. } = &spec.interpreter.loading
        && !foreseen.as_os_str().is_empty()
        && library != foreseen
    {
        return Err(start_again(COMMAND, run_folder));
    }
    let settings = telemetry::Settings {
        format: spec.log_format.parse().unwrap_or_default(),
        level: spec.log_level.parse().unwrap_or_default(),
        batch: BatchIdentity::from_env(|name| std::env::var_os(name)),
        // What is logged here is how Python is loaded, before there is any secret to tell.
        secrets: Vec::new(),
    };
    let _ = telemetry::init(settings);
    enter(&spec, run_folder)?;
    // As exit(3) takes it: the low byte counts.
    Ok((run_entrypoint(&spec, run_folder) & 0xff) as u8)
}

fn run_entrypoint(spec: &RunSpec, run_folder: &Path) -> i32 {
    let command_line: Vec<CString> = COMMAND_LINE
        .into_iter()
        .map(CStr::to_owned)
        .chain(arguments(spec))
        // Of what came from a command line, none has a NUL in it; of what came from ADF, it was refused.
        .chain(
            spec.arguments
                .iter()
                .map(|argument| CString::new(argument.as_bytes()).unwrap_or_default()),
        )
        .collect();
    match run_python(&spec.interpreter, &command_line) {
        Ok(exit_code) => exit_code,
        Err(error) => {
            let failure = Failure::from(error);
            record_error(run_folder, &failure);
            i32::from(failure.exit_code.number())
        }
    }
}

/// What `dray._worker` is to run, the level of Python's root logger, and whether the activity's arguments come first:
/// `KIND TARGET FUNCTION LEVEL ACTIVITY`, behind which the script's own arguments follow. They stand here, and not in a
/// file, so that a start needs neither a parser in Python nor the native module.
fn arguments(spec: &RunSpec) -> [CString; 5] {
    let (kind, target, function) = match &spec.entrypoint {
        Entrypoint::File { path } => (c"file", path.as_str(), ""),
        Entrypoint::Module { name } | Entrypoint::BuiltIn { module: name, .. } => (c"module", name.as_str(), ""),
        Entrypoint::Function { module, function } => (c"function", module.as_str(), function.as_str()),
    };
    // `off` has no number of its own in Python; nothing is above CRITICAL.
    let level = telemetry::python_level().map_or(100, LogLevel::to_python);
    // An argument of a command line has no NUL in it.
    let text = |text: &str| CString::new(text).unwrap_or_default();
    let activity = if spec.arguments_from_activity { c"activity" } else { c"" };
    [
        kind.to_owned(),
        text(target),
        text(function),
        text(&level.to_string()),
        activity.to_owned(),
    ]
}
