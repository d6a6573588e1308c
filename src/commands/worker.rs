//! The worker: a fork of the keeper or the interpreter in its place, or, as `dray __worker`, the executable started anew.

use std::ffi::{CStr, CString};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{SigSet, Signal};

use crate::activity::BatchIdentity;
use crate::failure::{ExitCode, Failure};
use crate::interpreter::{InterpreterError, Loading, command_of, not_started, preload, run_python};
use crate::project::Entrypoint;
use crate::telemetry::{self, LevelSpec, LogLevel};
use crate::worker::{
    Assignment, Orders, Program, RunSpec, Streams, read_spec, record_error, set_environment, start_again,
};

/// The rest of the start is Python: `python/dray/_worker.py`. UTF-8 mode is given as an option, so that `multiprocessing`
/// starts its children with it too. Behind the last stand the code, what [`arguments`] gives, the descriptors of [`Start`],
/// and the script's arguments.
const OPTIONS: [&CStr; 3] = [c"-X", c"utf8", c"-c"];

/// What Python runs before `run()`: the module from its file, since neither its package nor the search for that is needed
/// before the script asks for them, and both take longer than the module. (`_load` is importlib's own, and private; without
/// it the second line imports the module all the same.)
const LOAD_CODE: &str = "\
getattr(__import__('_frozen_importlib'), '_load', id)(__import__('_frozen_importlib_external').spec_from_file_location(
    'dray._worker', __import__('os').environ['DRAY_RUN'] + '/payload/dray/_worker.py'))
from dray._worker import run";

/// As [`LOAD_CODE`], in a Python that is started before there is something to run: that comes as a [`Release`] through
/// ORDERS, which stands for a descriptor ([`Orders::hand_down`]). If none comes, nothing is run.
///
/// It is short, because Python compiles it in each run before anything else: 0.1 ms for what it takes to wait in place.
const EARLY_CODE: &str = "exec(__import__('os').read(ORDERS, RELEASE_BYTES) or 'run = int')";

/// What is behind [`Release::StartAgain`]. The last of the worker's own arguments are the descriptors of the orders, and of
/// this executable.
const AGAIN_CODE: &str = "\
import os, sys
orders, dray = sys.argv[6].split()
os.set_inheritable(int(dray), False)
os.execve(int(dray), ['dray', '__worker', orders], os.environ)";

/// The length of a release in bytes. It is filled up, for what follows it in the pipe is not for Python.
const RELEASE_BYTES: usize = 512;

/// What a worker is told that has begun early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// All is in place.
    Go,
    /// It was begun with what turned out to be wrong; `run.json` says now what is right.
    StartAgain,
}

impl Release {
    /// As Python reads it.
    pub fn code(self) -> Vec<u8> {
        let code = match self {
            Release::Go => LOAD_CODE,
            Release::StartAgain => AGAIN_CODE,
        };
        format!("{code:RELEASE_BYTES$}").into_bytes()
    }
}

/// The hidden command that the executable starts itself with.
pub const COMMAND: &CStr = c"__worker";

/// Waits for the supervisor's order, and says what it comes to. None: the run was refused, and there is nobody to tell.
pub fn take(mut orders: Orders) -> Option<Assignment> {
    let foreseen = orders.wait()?;
    if foreseen.as_os_str().is_empty() {
        let run_folder = orders.wait()?;
        return Some(assign(&run_folder, None, orders));
    }
    Some(Assignment::Work(Box::new(move || {
        preload(&foreseen);
        let run_folder = orders.wait();
        run_folder.map_or(1, |run_folder| assign(&run_folder, Some(&foreseen), orders).carry_out())
    })))
}

/// What stands in `run.json` of `run_folder`; for a process that has loaded the libpython that was `foreseen`, if one was.
fn assign(run_folder: &Path, foreseen: Option<&Path>, orders: Orders) -> Assignment {
    let complain = |error| {
        let _ = writeln!(io::stderr(), "error: {error}");
        ExitCode::Internal.number()
    };
    let assign = || -> io::Result<Assignment> {
        let mut orders = orders;
        let spec = read_spec(run_folder)?;
        let streams = orders.streams(spec.redirection);
        let run_folder = run_folder.to_owned();
        let Loading::Library { library, required } = spec.interpreter.loading.clone() else {
            return host(spec, run_folder, streams, orders);
        };
        if foreseen.is_some_and(|foreseen| foreseen != library) {
            streams.map_or(Ok(()), |streams| streams.take_place())?;
            return Err(start_again(COMMAND, &run_folder));
        }
        let load = move || load(&spec, &run_folder, &library, required, streams, orders);
        Ok(Assignment::Work(Box::new(move || load().unwrap_or_else(complain))))
    };
    assign().unwrap_or_else(|error| Assignment::Work(Box::new(move || complain(error))))
}

/// Python in the interpreter's own process, started straight away.
fn host(spec: RunSpec, run_folder: PathBuf, streams: Option<Streams>, orders: Orders) -> io::Result<Assignment> {
    set_environment(&spec, &run_folder);
    let start = Start::new(&spec, orders)?;
    let (executable, arguments) = command_of(&spec.interpreter, command_line(&spec, start.code, start.inherited));
    let program = Program {
        executable,
        arguments,
        folder: start.folder,
        streams,
        blocked: start.blocked,
        descriptors: start.descriptors,
    };
    let fail = move |error| fail(&run_folder, not_started(&spec.interpreter, error));
    Ok(Assignment::Program(Box::new(program), Box::new(fail)))
}

/// Python in this process, and the exit code that it ends with.
fn load(
    spec: &RunSpec,
    run_folder: &Path,
    library: &Path,
    required: bool,
    streams: Option<Streams>,
    orders: Orders,
) -> io::Result<u8> {
    if let Some(streams) = streams {
        streams.take_place()?;
    }
    let settings = telemetry::Settings {
        format: spec.log_format.parse().unwrap_or_default(),
        level: spec.log_level.parse().unwrap_or_default(),
        batch: BatchIdentity::from_env(|name| std::env::var_os(name)),
        // What is logged here is how Python is loaded, before there is any secret to tell.
        secrets: Vec::new(),
    };
    let _ = telemetry::init(settings);
    set_environment(spec, run_folder);
    let start = Start::new(spec, orders)?;
    if let Some(folder) = start.folder {
        nix::unistd::chdir(folder.as_c_str())?;
    }
    start.blocked.thread_block()?;
    for descriptor in start.descriptors {
        // Python closes it.
        let _ = descriptor.into_raw_fd();
    }
    Ok(
        match run_python(
            &spec.interpreter,
            library,
            required,
            command_line(spec, start.code, start.inherited),
        ) {
            // As exit(3) takes it: the low byte counts.
            Ok(exit_code) => (exit_code & 0xff) as u8,
            Err(error) => fail(run_folder, error),
        },
    )
}

/// Tells the supervisor, and gives the exit code.
fn fail(run_folder: &Path, error: InterpreterError) -> u8 {
    let failure = Failure::from(error);
    record_error(run_folder, &failure);
    failure.exit_code.number()
}

/// What Python begins with, and in which state of its process.
struct Start {
    code: CString,
    /// The numbers of `descriptors`, as the worker's arguments have them.
    inherited: CString,
    /// The working directory, where that is there already.
    folder: Option<CString>,
    blocked: SigSet,
    /// The orders, and this executable.
    descriptors: Vec<OwnedFd>,
}

impl Start {
    fn new(spec: &RunSpec, orders: Orders) -> io::Result<Start> {
        if !spec.early {
            // The script is to find nothing open.
            drop(orders);
            return Ok(Start {
                code: code(LOAD_CODE)?,
                inherited: CString::default(),
                folder: Some(CString::new(spec.working_folder.as_os_str().as_bytes())?),
                blocked: SigSet::empty(),
                descriptors: Vec::new(),
            });
        }
        let orders = orders.hand_down()?;
        // Open from here on: the file may be replaced or removed meanwhile.
        let executable = OwnedFd::from(fs_err::File::open("/proc/self/exe")?.into_file());
        fcntl(executable.as_fd(), FcntlArg::F_SETFD(FdFlag::empty()))?;
        // A Ctrl-C is for the script alone, whose start unblocks it (`dray._worker`): before, the supervisor says what it stopped.
        let mut blocked = SigSet::empty();
        blocked.add(Signal::SIGINT);
        let (orders_number, executable_number) = (orders.as_raw_fd(), executable.as_raw_fd());
        let early = EARLY_CODE.replace("ORDERS, RELEASE_BYTES", &format!("{orders_number}, {RELEASE_BYTES}"));
        Ok(Start {
            code: code(&early)?,
            inherited: CString::new(format!("{orders_number} {executable_number}"))?,
            folder: None,
            blocked,
            descriptors: vec![orders, executable],
        })
    }
}

/// The whole of what Python runs.
fn code(first: &str) -> io::Result<CString> {
    Ok(CString::new(format!("{first}\nrun()"))?)
}

/// Python's, behind the interpreter's path.
fn command_line(spec: &RunSpec, code: CString, inherited: CString) -> Vec<CString> {
    OPTIONS
        .into_iter()
        .map(CStr::to_owned)
        .chain([code])
        .chain(arguments(spec))
        .chain([inherited])
        // Of what came from a command line, none has a NUL in it; of what came from ADF, it was refused.
        .chain(
            spec.arguments
                .iter()
                .map(|argument| CString::new(argument.as_bytes()).unwrap_or_default()),
        )
        .collect()
}

/// What `dray._worker` is to run, the level of Python's root logger, and whether the activity's arguments come first:
/// `KIND TARGET FUNCTION LEVEL ACTIVITY`. They stand here, and not in a file, so that a start needs neither a parser in
/// Python nor the native module.
fn arguments(spec: &RunSpec) -> [CString; 5] {
    let (kind, target, function) = match &spec.entrypoint {
        Entrypoint::File { path } => (c"file", path.as_str(), ""),
        Entrypoint::Module { name } | Entrypoint::BuiltIn { module: name, .. } => (c"module", name.as_str(), ""),
        Entrypoint::Function { module, function } => (c"function", module.as_str(), function.as_str()),
    };
    let level: LevelSpec = spec.log_level.parse().unwrap_or_default();
    // `off` has no number of its own in Python; nothing is above CRITICAL.
    let level = level.base().map_or(100, LogLevel::to_python);
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
