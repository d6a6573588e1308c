//! The worker: a fork of the supervisor, or, as `dray __worker`, the executable started anew.

use std::ffi::{CStr, CString};
use std::io::Write;
use std::os::fd::{AsFd, IntoRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{SigSet, Signal};

use crate::activity::BatchIdentity;
use crate::failure::{ExitCode, Failure};
use crate::interpreter::{Loading, preload, run_python};
use crate::project::Entrypoint;
use crate::telemetry::{self, LogLevel};
use crate::worker::{Orders, RunSpec, read_spec, record_error, set_environment, start_again};

/// The rest of the start is Python: `python/dray/_worker.py`. UTF-8 mode and faulthandler are given as options, so that
/// `multiprocessing` starts its children with them too. The first is replaced by the interpreter's path; behind the last
/// stand the code, what [`arguments`] gives and the script's arguments.
const OPTIONS: [&CStr; 6] = [c"python", c"-X", c"utf8", c"-X", c"faulthandler", c"-c"];

/// What Python runs: the module from its file, since neither its package nor the search for that is needed before the
/// script asks for them, and both take longer than the module. (`_load` is importlib's own, and private; without it the
/// second line imports the module all the same.)
const CODE: &str = "\
getattr(__import__('_frozen_importlib'), '_load', id)(__import__('_frozen_importlib_external').spec_from_file_location(
    'dray._worker', __import__('os').environ['DRAY_RUN'] + '/payload/dray/_worker.py'))
from dray._worker import run; run()";

/// What comes first in a Python that is started before there is something to run. ORDERS stands for the descriptor that
/// the release comes through ([`Orders::hand_down`]), DRAY for that of this executable, which is started anew if it is not
/// `go`. Python may have looked for the payload's folder before that was there, and would never look again. Nothing of this
/// stays in `__main__`.
const EARLY_CODE: &str = "\
(lambda os, cache, orders, dray: (
    (lambda word: word == b'go\\0' or (word == b'no\\0' and (
        os.set_inheritable(dray, False), os.execve(dray, ['dray', '__worker', str(orders)], os.environ)
    )) or os._exit(1))(os.read(orders, 3)),
    os.close(orders), os.close(dray),
    os.chdir(os.environ['DRAY_RUN'] + '/project'), cache.pop(os.environ['DRAY_RUN'] + '/payload', None),
))(__import__('os'), __import__('sys').path_importer_cache, ORDERS, DRAY)
";

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
    let early = match spec.early {
        true => early_code(orders.hand_down()?)?,
        false => {
            // The script is to find nothing open.
            drop(orders);
            std::env::set_current_dir(&spec.working_folder)?;
            String::new()
        }
    };
    let code = CString::new(early + CODE)?;
    // As exit(3) takes it: the low byte counts.
    Ok((run_entrypoint(&spec, run_folder, code) & 0xff) as u8)
}

/// [`EARLY_CODE`] for the orders that come through this descriptor.
fn early_code(orders: RawFd) -> std::io::Result<String> {
    // Open from here on: the file may be replaced or removed meanwhile.
    let executable = fs_err::File::open("/proc/self/exe")?.into_file();
    fcntl(executable.as_fd(), FcntlArg::F_SETFD(FdFlag::empty()))?;
    // A Ctrl-C is for the script alone, whose start unblocks it (`dray._worker`): before, the supervisor says what it stopped.
    let mut ctrl_c = SigSet::empty();
    ctrl_c.add(Signal::SIGINT);
    ctrl_c.thread_block()?;
    let values = format!("{orders}, {}", executable.into_raw_fd());
    Ok(EARLY_CODE.replace("ORDERS, DRAY", &values))
}

fn run_entrypoint(spec: &RunSpec, run_folder: &Path, code: CString) -> i32 {
    let argv: Vec<CString> = OPTIONS
        .into_iter()
        .map(CStr::to_owned)
        .chain([code])
        .chain(arguments(spec))
        // Of what came from a command line, none has a NUL in it; of what came from ADF, it was refused.
        .chain(
            spec.arguments
                .iter()
                .map(|argument| CString::new(argument.as_bytes()).unwrap_or_default()),
        )
        .collect();
    match run_python(&spec.interpreter, &argv) {
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
