//! The worker: a fork of the supervisor, or, as `dray __worker`, the executable started anew.

use std::ffi::{CStr, CString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::activity::BatchIdentity;
use crate::failure::{ExitCode, Failure};
use crate::interpreter::{Early, Gate, Loading, preload, run_python};
use crate::project::Entrypoint;
use crate::telemetry::{self, LogLevel};
use crate::worker::{Orders, Release, RunSpec, read_spec, record_error, set_environment, start_again};

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

/// The same for a Python that is started before there is something to run. It may have looked for the payload's folder
/// before that was there, and would never look again.
const EARLY_CODE: &CStr = c"__import__('sys').path_importer_cache.pop(__import__('_dray_start').wait(), None); \
    from dray._worker import run; run()";

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

fn begin(run_folder: &Path, foreseen: &Path, mut orders: Orders) -> std::io::Result<u8> {
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
    set_environment(&spec, run_folder);
    let gate = match spec.early {
        true => Some(gate(&spec, run_folder, orders)),
        false => {
            // The script is to find nothing open.
            drop(orders);
            std::env::set_current_dir(&spec.working_folder)?;
            None
        }
    };
    // As exit(3) takes it: the low byte counts.
    Ok((run_entrypoint(&spec, run_folder, gate) & 0xff) as u8)
}

/// What Python waits for that was started early.
fn gate(spec: &RunSpec, run_folder: &Path, mut orders: Orders) -> Gate {
    let (working_folder, payload) = (spec.working_folder.clone(), spec.payload.clone());
    let run_folder = run_folder.to_owned();
    Box::new(move || {
        let entered = match orders.wait_for_release() {
            Some(Release::Go) => std::env::set_current_dir(&working_folder),
            Some(Release::StartAgain) => Err(start_again(COMMAND, &run_folder)),
            // The run was refused, and there is nobody to tell.
            None => std::process::exit(1),
        };
        if let Err(error) = entered {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            std::process::exit(ExitCode::Internal.number().into());
        }
        // As the environment had it, which has no NUL in it.
        CString::new(payload.as_os_str().as_bytes()).unwrap_or_default()
    })
}

fn run_entrypoint(spec: &RunSpec, run_folder: &Path, gate: Option<Gate>) -> i32 {
    let [options @ .., code] = COMMAND_LINE;
    let behind: Vec<CString> = arguments(spec)
        .into_iter()
        // Of what came from a command line, none has a NUL in it; of what came from ADF, it was refused.
        .chain(
            spec.arguments
                .iter()
                .map(|argument| CString::new(argument.as_bytes()).unwrap_or_default()),
        )
        .collect();
    let command_line = |code: &CStr| -> Vec<CString> {
        let before = options.into_iter().chain([code]).map(CStr::to_owned);
        before.chain(behind.iter().cloned()).collect()
    };
    let early = gate.map(|gate| Early {
        argv: command_line(EARLY_CODE),
        gate,
    });
    match run_python(&spec.interpreter, &command_line(code), early) {
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
