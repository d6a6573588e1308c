//! `dray __worker`: the executable started by itself, as keeper and worker.

use std::ffi::CString;
use std::io::{IsTerminal, Write};
use std::os::fd::RawFd;
use std::path::Path;
use std::process::ExitCode as ProcessExitCode;

use crate::activity::BatchIdentity;
use crate::failure::{ExitCode, Failure};
use crate::interpreter::run_python;
use crate::telemetry;
use crate::worker::{RunSpec, keep, read_spec, record_error};

/// The rest of the start is Python: `python/dray/_worker.py`. UTF-8 mode and faulthandler are given as options, so that
/// `multiprocessing` starts its children with them too. The first is replaced by the interpreter's path.
const COMMAND_LINE: [&str; 7] = [
    "python",
    "-X",
    "utf8",
    "-X",
    "faulthandler",
    "-c",
    "from dray._worker import run; run()",
];

/// Becomes the keeper, and the worker below it.
pub fn work(run_folder: &Path, socket: RawFd) -> ProcessExitCode {
    let spec = match read_spec(run_folder) {
        Ok(spec) => spec,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            return ProcessExitCode::from(ExitCode::Internal.number());
        }
    };
    // On a terminal the script may want to read from it (a debugger), which only its foreground group may.
    let own_group = !std::io::stdin().is_terminal();
    let settings = telemetry::Settings {
        format: spec.log_format.parse().unwrap_or_default(),
        level: spec.log_level.parse().unwrap_or_default(),
        batch: BatchIdentity::from_env(|name| std::env::var_os(name)),
        // What is logged here is how Python is loaded, before there is any secret to tell.
        secrets: Vec::new(),
    };
    let _ = telemetry::init(settings);
    keep(socket, own_group, || run_entrypoint(&spec, run_folder))
}

fn run_entrypoint(spec: &RunSpec, run_folder: &Path) -> i32 {
    let command_line: Vec<CString> = COMMAND_LINE
        .iter()
        .filter_map(|part| CString::new(*part).ok())
        .collect();
    match run_python(&spec.interpreter, &spec.native_module, &command_line) {
        Ok(exit_code) => exit_code,
        Err(error) => {
            let failure = Failure::from(error);
            record_error(run_folder, &failure);
            i32::from(failure.exit_code.number())
        }
    }
}
