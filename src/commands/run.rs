//! `dray run`: the supervisor's story, from the command line to the exit code.
//!
//! Everything that can be decided is decided before anything is done: [`plan`] reads and writes nothing but log lines,
//! and a dry run prints its result. Whatever happens after the task folder is known ends in [`finish`], which settles
//! outputs.json and says in one last line what failed.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::dry_run;
use super::options::{LogOptions, Options, RunArguments};
use crate::activity::{BatchIdentity, Handover, as_arguments};
use crate::failure::{ExitCode, Failing, Failure};
use crate::interpreter::{self, Found, Payload};
use crate::outputs::{self, Durations, Events, RunError, Summary};
use crate::project::{EntryArgument, Entrypoint, Limits, Manifest, Project, link_task_files};
use crate::telemetry;
use crate::worker::{
    self, Launch, Observed, OomKills, RunFolder, RunSpec, StopSignal, Stops, WorkerEnd, explain, memory_limit, watch,
};

/// A failure of the supervisor's own work that no other module has a name for.
#[derive(Debug, thiserror::Error)]
pub enum RunFailure {
    /// The folder of `--workdir`, or the one that Batch names, cannot be used.
    #[error("cannot use the task's working directory `{}`", path.display())]
    TaskFolder {
        /// The folder.
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The run folder cannot be made or written.
    #[error("cannot prepare the run in `{}`", path.display())]
    RunFolder {
        /// The task folder, or the run folder in it.
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The kernel gave no descriptor for signals.
    #[error("cannot wait for signals")]
    Signals(#[source] nix::Error),
    /// ENTRY is not UTF-8, which no name in a project is.
    #[error("the entrypoint `{0}` is not UTF-8")]
    EntryNotUtf8(String),
    /// `-m` with nothing behind it.
    #[error("`-m` needs the name of a module")]
    ModuleMissing,
    /// A signal came before the script was started.
    #[error("stopped by {} while {}", .0.signal, .1)]
    Stopped(StopSignal, String),
}

impl Failing for RunFailure {
    fn exit_code(&self) -> ExitCode {
        match self {
            RunFailure::EntryNotUtf8(_) | RunFailure::ModuleMissing => ExitCode::Usage,
            _ => ExitCode::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            RunFailure::TaskFolder { .. } => "run.task_folder",
            RunFailure::RunFolder { .. } => "run.folder",
            RunFailure::Signals(_) => "run.signals",
            RunFailure::EntryNotUtf8(_) | RunFailure::ModuleMissing => "usage.entrypoint",
            RunFailure::Stopped(..) => "run.stopped",
        }
    }
}

/// All that was decided before the run; what a dry run prints.
pub struct Plan {
    /// Where the JSON files are read and outputs.json is written; absolute.
    pub task_folder: PathBuf,
    /// What ADF handed over.
    pub handover: Handover,
    /// The zip or folder.
    pub project: Project,
    /// Its pyproject.toml.
    pub manifest: Manifest,
    /// How large a zip may be.
    pub limits: Limits,
    /// What to run.
    pub entrypoint: Entrypoint,
    /// `sys.argv[1:]`.
    pub arguments: Vec<OsString>,
    /// What the search for an interpreter starts from; the project's tree is added once it is there.
    pub interpreter: interpreter::Request,
    /// Time limit of the run.
    pub timeout: Option<Duration>,
    /// Time that the script has after it was told to stop.
    pub grace: Duration,
    /// Whether outputs.json goes without the `dray` object.
    pub no_summary: bool,
    log: LogOptions,
}

/// Runs, and gives the exit code.
pub fn run(arguments: &RunArguments, rest: &[OsString]) -> u8 {
    let started = Instant::now();
    let task_folder = match task_folder(arguments) {
        Ok(folder) => folder,
        Err(failure) => return last_line(&RunError::from(&failure), failure.exit_code.number()),
    };
    let mut summary = Summary::default();
    let mut durations = Durations::default();
    let planned = plan(arguments, rest, &task_folder);
    if arguments.dry_run || std::env::var_os("DRAY_DRY_RUN").is_some_and(|value| value == "1" || value == "true") {
        return match planned.and_then(|plan| dry_run::print(&plan)) {
            Ok(()) => 0,
            Err(failure) => last_line(&RunError::from(&failure), failure.exit_code.number()),
        };
    }
    let no_summary = planned.as_ref().is_ok_and(|plan| plan.no_summary);
    let mut settled = Settling { task_folder: &task_folder, script_outputs: None, no_summary, events: Events::default() };
    let end = planned.and_then(|plan| {
        summary.entrypoint = Some(plan.entrypoint.to_string());
        execute(&plan, started, &mut summary, &mut durations, &mut settled)
    });
    durations.total_ms = milliseconds(started.elapsed());
    summary.durations = durations;
    finish(end, summary, settled)
}
