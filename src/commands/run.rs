//! `dray run`: the supervisor's story, from the command line to the exit code.
//!
//! Everything that can be decided is decided before anything is done: [`plan`] reads and writes nothing but log lines,
//! and a dry run prints its result. Whatever happens after the task folder is known ends in [`settle`], which settles
//! outputs.json and says in one last line what failed.

use std::cell::Cell;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::dry_run;
use super::options::{LogOptions, Options, RunArguments};
use super::packages::{self, Dependencies};
use super::preemption::watch_for_preemption;
use super::secrets::share;
use super::worker::Release;
use crate::activity::{ActivityError, BatchIdentity, Handover, KeyVaultSecret, as_arguments};
use crate::connections::Connections;
use crate::dependencies::{self, PACKED_FOLDER, Packages, Wait};
use crate::failure::{ExitCode, Failing, Failure};
use crate::fingerprint::Fingerprint;
use crate::interpreter::{self, Found, Interpreter, LaidOut, Loading, Payload};
use crate::outputs::{self, ErrorReport, Events, Settlement, Status, Summary};
use crate::project::{EntryArgument, Entrypoint, Limits, Project, link_task_files};
use crate::telemetry;
use crate::worker::{
    self, Keeper, Limit, Observed, OomKills, Pumps, RunFolder, RunSpec, StopSignal, Stops, WorkerEnd, WorkerError,
    explain, memory_limit, watch,
};

/// A project up to this size is unpacked before threads for it, and one that waits for signals, would have started; what
/// a signal asks for then waits that long.
const UNPACKED_AT_ONCE_BYTES: u64 = 1024 * 1024;

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
    /// `--scrub` could not remove a file.
    #[error("cannot remove what `--scrub` is to remove")]
    Scrub(#[source] std::io::Error),
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
    #[error("stopped by {} while {during}{}", stop.signal, reason.as_ref().map_or(String::new(), |reason| format!(": {reason}")))]
    Stopped {
        /// The signal.
        stop: StopSignal,
        /// What was going on.
        during: String,
        /// Why, where it was sent from within.
        reason: Option<String>,
    },
    /// The time limit was reached before the script was started.
    #[error("stopped while {during}: the time limit of {} was reached", humantime::format_duration(*limit))]
    Late {
        /// The limit.
        limit: Duration,
        /// What was going on.
        during: String,
    },
}

impl Failing for RunFailure {
    fn exit_code(&self) -> ExitCode {
        match self {
            RunFailure::EntryNotUtf8(_) | RunFailure::ModuleMissing => ExitCode::Usage,
            RunFailure::Late { .. } => ExitCode::TimeLimit,
            _ => ExitCode::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            RunFailure::TaskFolder { .. } => "run.task_folder",
            RunFailure::RunFolder { .. } => "run.folder",
            RunFailure::Scrub(_) => "run.scrub",
            RunFailure::Signals(_) => "run.signals",
            RunFailure::EntryNotUtf8(_) | RunFailure::ModuleMissing => "usage.entrypoint",
            RunFailure::Stopped { reason: Some(_), .. } => "run.preempted",
            RunFailure::Stopped { reason: None, .. } => "run.stopped",
            RunFailure::Late { .. } => "run.time_limit",
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
    /// How large a zip may be.
    pub limits: Limits,
    /// What to run.
    pub entrypoint: Entrypoint,
    /// What is done about the packages that it needs.
    pub dependencies: Dependencies,
    /// `sys.argv[1:]`.
    pub arguments: Vec<OsString>,
    /// What the search for an interpreter starts from; the project's tree is added once it is there.
    pub interpreter: interpreter::Request,
    /// What the run is known by when it is run again, if somebody says so.
    pub run_id: Option<String>,
    /// Time limit of the run.
    pub timeout: Option<Duration>,
    /// Time that the script has after it was told to stop.
    pub grace: Duration,
    /// Whether outputs.json goes without the `dray` object.
    pub no_summary: bool,
    /// Whether the script's stdout and stderr stay as they are.
    pub no_mask: bool,
    /// Whether ADF's files are removed once read.
    pub scrub: bool,
    /// Whether the announcement that a spot node is taken away is let pass.
    pub ignore_preemption: bool,
    /// How many of `arguments` the worker makes itself, since some of them lie in a Key Vault (words stand for those here),
    /// or all of them are not to be written down.
    pub fetched_arguments: usize,
    /// How the run logs.
    pub(super) log: LogOptions,
}

impl Plan {
    /// Whether Python can be started before the project is in place, because nothing of its start depends on that: no
    /// packages of the project, among which a `sitecustomize` may be, and no relative folder in what Python reads of the
    /// environment as it starts.
    fn may_begin_early(&self) -> bool {
        let is_absolute = |name: &str| {
            let value = std::env::var_os(name).unwrap_or_default();
            value.is_empty() || std::env::split_paths(&value).all(|folder| folder.is_absolute())
        };
        matches!(self.project, Project::Zip(_))
            && matches!(self.dependencies, Dependencies::Unknown | Dependencies::Check(_))
            && ["PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE"]
                .into_iter()
                .all(is_absolute)
    }
}

/// What the run has come to so far: the material of outputs.json, whatever ends the run.
#[derive(Default)]
pub(super) struct Progress {
    entrypoint: Option<String>,
    python: Option<String>,
    durations_ms: Vec<(&'static str, u64)>,
    peak_memory_bytes: Option<u64>,
    working_folder: Option<PathBuf>,
    outputs_before: Option<Fingerprint>,
    events: Events,
    no_summary: bool,
}

impl Progress {
    fn took(&mut self, phase: &'static str, since: Instant) {
        self.durations_ms
            .push((phase, u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)));
    }
}

/// Runs the project, or prints the plan, and gives the exit code.
pub fn run(arguments: &RunArguments, rest: &[OsString]) -> u8 {
    let started = Instant::now();
    let environment = |name: &str| std::env::var_os(name);
    let options = Options::new(&environment, None);
    let task_folder = match task_folder(&options, arguments.workdir.as_ref()) {
        Ok(folder) => folder,
        Err(failure) => return say_last_line(&Failure::from(failure)),
    };
    let dry_run = options.switch("dry-run", arguments.dry_run);
    if matches!(dry_run, Ok(true)) {
        return match plan(arguments, Entry::Given(rest), &task_folder).and_then(|plan| dry_run::print(&plan)) {
            Ok(()) => 0,
            Err(failure) => say_last_line(&failure),
        };
    }
    complete(arguments, &task_folder, started, &|| {
        let plan = plan(arguments, Entry::Given(rest), &task_folder)?;
        // Now the log is set up that tells of a value that is neither true nor false.
        options.switch("dry-run", arguments.dry_run)?;
        Ok(plan)
    })
}

/// Carries out what `decide` plans, settles outputs.json whatever came of it, and gives the exit code.
pub(super) fn complete(
    arguments: &RunArguments,
    task_folder: &Path,
    started: Instant,
    decide: &dyn Fn() -> Result<Plan, Failure>,
) -> u8 {
    let environment = |name: &str| std::env::var_os(name);
    let no_summary = Options::new(&environment, None).switch("no-summary", arguments.no_summary);
    let mut progress = Progress {
        no_summary: no_summary.unwrap_or(false),
        ..Progress::default()
    };
    let end = attempt(arguments, decide, task_folder, started, &mut progress);
    progress.took("total", started);
    settle(end, task_folder, &progress)
}

/// Ends a run whose command line makes no sense: a Batch task gets its outputs.json all the same.
pub fn refuse(sentence: String) -> u8 {
    let failure = Failure {
        exit_code: ExitCode::Usage,
        code: "usage.command_line",
        hint: None,
        error: anyhow::Error::msg(sentence),
    };
    let task_folder = std::env::var_os("AZ_BATCH_TASK_WORKING_DIR").map(PathBuf::from);
    match task_folder.filter(|folder| folder.is_dir()) {
        Some(folder) => settle(Err(failure), &folder, &Progress::default()),
        None => say_last_line(&failure),
    }
}

/// Decides, then acts. An error is the supervisor's own; what the script did is a [`WorkerEnd`].
fn attempt(
    arguments: &RunArguments,
    decide: &dyn Fn() -> Result<Plan, Failure>,
    task_folder: &Path,
    started: Instant,
    progress: &mut Progress,
) -> Result<WorkerEnd, Failure> {
    worker::switch_off_core_dumps();
    let stops = Stops::collect().map_err(RunFailure::Signals)?;
    let keeper = Keeper::start(&stops, super::worker::take).map_err(WorkerError::Start)?;
    outputs::remove_stale(task_folder)?;
    let plan = decide();
    progress.no_summary = match &plan {
        Ok(plan) => plan.no_summary,
        Err(_) => without_plan("no-summary", arguments.no_summary, arguments),
    };
    scrub(plan.as_ref().ok(), arguments, task_folder)?;
    let plan = plan?;
    progress.entrypoint = Some(plan.entrypoint.to_string());

    let run_folder = RunFolder::create(task_folder).map_err(|source| RunFailure::RunFolder {
        path: task_folder.to_owned(),
        source,
    })?;
    let end = act(&plan, keeper, &run_folder, &stops, started, progress);
    run_folder.clear();
    end
}

pub(super) fn task_folder(options: &Options, workdir: Option<&OsString>) -> Result<PathBuf, RunFailure> {
    let given = options.task_folder(workdir).unwrap_or_else(|| PathBuf::from("."));
    let failed = |source| RunFailure::TaskFolder {
        path: given.clone(),
        source,
    };
    // Absolute, since the script's working directory is another; and there, since everything is written below it.
    let folder = fs_err::canonicalize(&given).map_err(failed)?;
    if !folder.is_dir() {
        return Err(failed(std::io::ErrorKind::NotADirectory.into()));
    }
    Ok(folder)
}

/// What is to be run.
pub(super) enum Entry<'a> {
    /// What follows PROJECT on the command line.
    Given(&'a [OsString]),
    /// A module of dray's own, which needs no packages but may find drivers among packed ones.
    BuiltIn {
        /// The command's name.
        command: &'a str,
        /// The module's.
        module: &'a str,
    },
}

/// Reads what there is and decides. Writes nothing but log lines.
pub(super) fn plan(arguments: &RunArguments, entry: Entry<'_>, task_folder: &Path) -> Result<Plan, Failure> {
    let environment = |name: &str| std::env::var_os(name);
    // Errors wait until the log is set up: its settings may stand in the project, and the secrets to mask in the handover.
    let handover = Handover::load(task_folder);
    let project = Project::open(&arguments.project);
    let manifest = project.as_ref().ok().map(Project::manifest).and_then(Result::ok);
    let log = Options::new(&environment, manifest.as_ref()).log(arguments);
    let mut secrets = handover.as_ref().map(Handover::secrets).unwrap_or_default();
    let in_project = manifest.as_ref().map(|manifest| manifest.connections.as_slice());
    let in_environment: Vec<_> = std::env::vars_os().collect();
    secrets.extend(Connections::secrets(&in_environment, in_project.unwrap_or_default()));
    secrets.extend(std::env::var("AZURE_CLIENT_SECRET").ok());
    start_log(log.as_ref().ok(), secrets)?;

    let (log, handover, project) = (log?, handover?, project?);
    let manifest = project.manifest()?;
    let options = Options::new(&environment, Some(&manifest));
    let (entrypoint, script_arguments) = match entry {
        Entry::Given(rest) => {
            let (entry, script_arguments) = entry_of(rest)?;
            (
                Entrypoint::choose(entry.as_ref(), &manifest, &project)?,
                script_arguments,
            )
        }
        Entry::BuiltIn { command, module } => {
            let (command, module) = (command.to_owned(), module.to_owned());
            (Entrypoint::BuiltIn { command, module }, &[][..])
        }
    };
    let is_built_in = matches!(entrypoint, Entrypoint::BuiltIn { .. });
    let mut all_arguments = Vec::new();
    let has_to_fetch = Cell::new(false);
    if !is_built_in && options.switch("args-from-activity", arguments.args_from_activity)? {
        let describe = |reference: &KeyVaultSecret| -> Result<String, ActivityError> {
            has_to_fetch.set(true);
            Ok(reference.to_string())
        };
        all_arguments.extend(as_arguments(&handover.extended_properties(), &describe)?);
    }
    let scrub = options.switch("scrub", arguments.scrub)?;
    // What the worker is told stands in a file: none of what is to be no longer on the disk.
    let fetched_arguments = if has_to_fetch.get() || scrub {
        all_arguments.len()
    } else {
        0
    };
    all_arguments.extend_from_slice(script_arguments);
    let dependencies = match Dependencies::decide(&project, &manifest, &options, arguments)? {
        packed @ Dependencies::Packed { .. } => packed,
        _ if is_built_in => Dependencies::Unknown,
        other => other,
    };
    let (flag, environment_python) = options.python(arguments.python.as_ref());
    let interpreter = interpreter::Request {
        flag,
        environment: environment_python,
        requires_python: manifest.requires_python.clone(),
        packed_for: dependencies.python_version(),
        ..interpreter::Request::from_environment()?
    };
    Ok(Plan {
        task_folder: task_folder.to_owned(),
        run_id: options.run_id(arguments.run_id.as_ref())?,
        timeout: options.timeout(arguments.timeout.as_ref())?,
        grace: options.grace(arguments.grace.as_ref())?,
        no_summary: options.switch("no-summary", arguments.no_summary)?,
        no_mask: options.switch("no-mask", arguments.no_mask)?,
        scrub,
        ignore_preemption: options.switch("ignore-preemption", arguments.ignore_preemption)?,
        fetched_arguments,
        limits: options.limits(arguments)?,
        arguments: all_arguments,
        handover,
        project,
        entrypoint,
        dependencies,
        interpreter,
        log,
    })
}

/// Removes ADF's files as soon as they are read, also where the run is refused after that.
fn scrub(plan: Option<&Plan>, arguments: &RunArguments, task_folder: &Path) -> Result<(), RunFailure> {
    match plan.map_or_else(|| without_plan("scrub", arguments.scrub, arguments), |plan| plan.scrub) {
        true => Handover::remove_files(task_folder).map_err(RunFailure::Scrub),
        false => Ok(()),
    }
}

/// A switch where the run was refused: what the project says counts if so much of it can be read. A value that is neither
/// true nor false is a complaint of the plan's.
fn without_plan(name: &'static str, flag: bool, arguments: &RunArguments) -> bool {
    let environment = |name: &str| std::env::var_os(name);
    let project = Project::open(&arguments.project).ok();
    let manifest = project.and_then(|project| project.manifest().ok());
    let switch = Options::new(&environment, manifest.as_ref()).switch(name, flag);
    switch.unwrap_or(flag)
}

/// A wrong option must not leave its own complaint unwritten, so the default stands in for one.
fn start_log(log: Option<&LogOptions>, secrets: Vec<String>) -> Result<(), Failure> {
    let default = LogOptions::default();
    let log = log.unwrap_or(&default);
    telemetry::init(telemetry::Settings {
        format: log.format.parse().unwrap_or_default(),
        level: log.level.parse().unwrap_or_default(),
        batch: BatchIdentity::from_env(|name| std::env::var_os(name)),
        secrets,
    })?;
    Ok(())
}

/// ENTRY and ARGS of what follows PROJECT. An argument that begins with `-` (but `-m`) cannot be ENTRY, which is then
/// left out.
fn entry_of(rest: &[OsString]) -> Result<(Option<EntryArgument>, &[OsString]), RunFailure> {
    let name = |entry: &OsString| match entry.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(RunFailure::EntryNotUtf8(entry.to_string_lossy().into_owned())),
    };
    match rest {
        [dash_m, rest @ ..] if dash_m == "-m" => match rest {
            [module, rest @ ..] => Ok((Some(EntryArgument::Module(name(module)?)), rest)),
            [] => Err(RunFailure::ModuleMissing),
        },
        [first, ..] if first.as_bytes().starts_with(b"-") => Ok((None, rest)),
        [first, rest @ ..] => Ok((Some(EntryArgument::Name(name(first)?)), rest)),
        [] => Ok((None, rest)),
    }
}

/// Carries the plan out: the tree, the interpreter, the payload, the worker, and what it came to.
pub(super) fn act(
    plan: &Plan,
    mut keeper: Keeper,
    run_folder: &RunFolder,
    stops: &Stops,
    started: Instant,
    progress: &mut Progress,
) -> Result<WorkerEnd, Failure> {
    let not_written = |source| RunFailure::RunFolder {
        path: run_folder.path().to_owned(),
        source,
    };
    let cache = interpreter::cache_folder(|name| std::env::var_os(name));
    let redirection = share(plan, run_folder).map_err(not_written)?;
    let spec = |interpreter: &Interpreter, working_folder: &Path, packages: Option<PathBuf>, early: bool| RunSpec {
        task_folder: plan.task_folder.clone(),
        working_folder: working_folder.to_owned(),
        payload: run_folder.payload(),
        packages,
        interpreter: interpreter.clone(),
        entrypoint: plan.entrypoint.clone(),
        arguments: plan.arguments[plan.fetched_arguments..].to_vec(),
        arguments_from_activity: plan.fetched_arguments > 0,
        redirection,
        run_id: plan.run_id.clone(),
        early,
        log_level: plan.log.level.clone(),
        log_format: plan.log.format.clone(),
    };
    let foreseen = interpreter::foresee(&plan.interpreter, cache.as_deref());
    if let Some(Loading::Library { library, .. }) = foreseen.as_ref().map(|foreseen| &foreseen.interpreter.loading) {
        keeper.foresee(library);
    }
    let begun_early = foreseen.as_ref().filter(|_| plan.may_begin_early());
    if let Some(foreseen) = begun_early {
        let spec = spec(&foreseen.interpreter, &run_folder.project(), None, true);
        run_folder.write_spec(&spec).map_err(not_written)?;
        keeper.order(run_folder.path());
    }
    tracing::info!(event = "run.started", version = env!("CARGO_PKG_VERSION"), entrypoint = %plan.entrypoint, "run started");

    if !plan.ignore_preemption {
        watch_for_preemption(stops);
    }
    let deadline = plan.timeout.map(|limit| started + limit);
    let phase = Instant::now();
    let (working_folder, packed) = lay_out_project(plan, run_folder, stops, deadline)?;
    progress.took("unpack", phase);
    progress.working_folder = Some(working_folder.clone());
    // A folder that is run in place may hold the outputs.json of a run before.
    progress.outputs_before = matches!(plan.project, Project::Folder(_))
        .then(|| outputs::fingerprint_in(&working_folder))
        .flatten();

    let phase = Instant::now();
    telemetry::set_phase("interpreter");
    let request = interpreter::Request {
        project: Some(working_folder.clone()),
        ..plan.interpreter.clone()
    };
    let is_over = || stops.has_come() || deadline.is_some_and(|deadline| Instant::now() >= deadline);
    let found = interpreter::find_unless(&is_over, &request, cache.as_deref(), foreseen.as_ref());
    if found.is_err() {
        refuse_if_stopped(stops, "a Python was looked for")?;
        refuse_if_late(plan, deadline, "a Python was looked for")?;
    }
    let Found { interpreter, .. } = found?;
    progress.python = Some(interpreter.version.to_string());
    let laid_out = LaidOut::new(&Payload::locate()?, run_folder.payload(), cache.as_deref())?;
    progress.took("interpreter", phase);

    let phase = Instant::now();
    let packages = packages::provide(
        &plan.dependencies,
        packed,
        &interpreter,
        &plan.entrypoint,
        &working_folder,
        stops,
        deadline,
    )?;
    progress.took("dependencies", phase);

    let release = match begun_early {
        Some(foreseen) if foreseen.interpreter == interpreter => Some(Release::Go),
        Some(_) => Some(Release::StartAgain),
        None => None,
    };
    if release != Some(Release::Go) {
        let packages = packages.as_ref().map(|packages| packages.folder.clone());
        let spec = spec(&interpreter, &working_folder, packages, false);
        run_folder.write_spec(&spec).map_err(not_written)?;
    }
    refuse_if_stopped(stops, "the run was prepared")?;

    let phase = Instant::now();
    telemetry::set_phase("running");
    if let Some(release) = release {
        keeper.release(&release.code());
    }
    if release != Some(Release::Go) {
        keeper.order(run_folder.path());
    }
    let pumps = match keeper.printed() {
        Some(pipes) if !redirection.is_none() => Some(Pumps::start(pipes, redirection).map_err(WorkerError::Start)?),
        _ => None,
    };
    // Only now: the worker, which has Python to start first, need not wait for what takes so many files to read.
    let oom_kills_before = OomKills::now();
    let limit = Limit {
        deadline,
        grace: plan.grace,
    };
    packages::prune(packages.as_ref());
    let ended = watch(&mut keeper, &limit, stops);
    if let Some(pumps) = pumps {
        pumps.finish(ended.as_ref().is_ok_and(|ended| ended.stop.is_some()), stops);
    }
    let ended = ended?;
    laid_out.give_back();
    progress.took("script", phase);
    progress.peak_memory_bytes = (ended.peak_memory_bytes > 0).then_some(ended.peak_memory_bytes);
    telemetry::set_phase("settling");
    progress.events = Events::read(&run_folder.events())?;
    // Reading what the kernel counts takes longer than the rest of a good end.
    let by_signal = !matches!(ended.status, worker::Status::Exited(_));
    Ok(explain(
        &ended,
        &Observed {
            entrypoint: &plan.entrypoint.to_string(),
            events: &progress.events,
            fault: run_folder.fault(),
            oom_killed: by_signal && OomKills::now().since(oom_kills_before),
            memory_limit: by_signal.then(memory_limit).flatten(),
            time_limit: plan.timeout,
            grace: plan.grace,
            stop_reason: stops.reason(),
        },
    ))
}

/// The script's working directory, and the packages in the project: a zip is unpacked, a folder is taken as it is.
fn lay_out_project(
    plan: &Plan,
    run_folder: &RunFolder,
    stops: &Stops,
    deadline: Option<Instant>,
) -> Result<(PathBuf, Option<Packages>), Failure> {
    let archive = match &plan.project {
        Project::Folder(folder) => {
            let root = fs_err::canonicalize(folder.root()).map_err(|source| RunFailure::TaskFolder {
                path: folder.root().to_owned(),
                source,
            })?;
            let packages = matches!(plan.dependencies, Dependencies::Packed { .. }).then(|| Packages {
                folder: root.join(PACKED_FOLDER),
                entry: None,
            });
            return Ok((root, packages));
        }
        Project::Zip(archive) => archive,
    };
    telemetry::set_phase("unpacking");
    let tree = run_folder.project();
    let store = plan.dependencies.store_of_packed();
    let lay_out = |threads, cancel: &AtomicBool| {
        dependencies::lay_out(
            archive,
            &tree,
            plan.dependencies.python_version(),
            &plan.limits,
            threads,
            Wait { cancel, deadline },
            store.as_ref(),
        )
    };
    let unpacked = if archive.unpacked_bytes() < UNPACKED_AT_ONCE_BYTES {
        lay_out(1, &AtomicBool::new(false))
    } else {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        stops
            .cancelling(deadline, |cancel| lay_out(threads, cancel))
            .map_err(|error| RunFailure::Signals(nix::Error::from_raw(error.raw_os_error().unwrap_or(0))))?
    };
    refuse_if_stopped(stops, "the project was unpacked")?;
    if unpacked.is_err() {
        refuse_if_late(plan, deadline, "the project was unpacked")?;
    }
    let packages = unpacked?;
    let linked = link_task_files(&tree, &plan.task_folder)?;
    tracing::debug!(
        event = "project.linked",
        files = linked.join(", "),
        "linked the task's files into the project"
    );
    Ok((tree, packages))
}

pub(super) fn refuse_if_stopped(stops: &Stops, during: &str) -> Result<(), RunFailure> {
    match stops.next() {
        Some(stop) => Err(RunFailure::Stopped {
            stop,
            during: during.to_owned(),
            reason: stops.reason().map(str::to_owned),
        }),
        None => Ok(()),
    }
}

fn refuse_if_late(plan: &Plan, deadline: Option<Instant>, during: &str) -> Result<(), RunFailure> {
    match (plan.timeout, deadline) {
        (Some(limit), Some(deadline)) if Instant::now() >= deadline => Err(RunFailure::Late {
            limit,
            during: during.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Writes outputs.json, says what failed, and gives the exit code.
fn settle(end: Result<WorkerEnd, Failure>, task_folder: &Path, progress: &Progress) -> u8 {
    let (exit_code, error) = match end {
        Ok(end) => (end.exit_code, end.error),
        Err(failure) => (
            exit_code_of(&failure),
            Some(ErrorReport::from_failure(&failure, &telemetry::phase())),
        ),
    };
    // An exception of the script's is in the log already, from the worker.
    if let Some(error) = error.as_ref().filter(|error| error.type_name.is_none()) {
        tracing::error!(
            event = error.code.as_str(),
            hint = error.hint.as_deref(),
            traceback = error.traceback.as_deref(),
            "{}",
            error.message
        );
    }
    let summary = Summary {
        status: if exit_code == 0 {
            Status::Succeeded
        } else {
            Status::Failed
        },
        exit_code: i32::from(exit_code),
        entrypoint: progress.entrypoint.clone(),
        python: progress.python.clone(),
        durations_ms: progress.durations_ms.clone(),
        peak_memory_bytes: progress.peak_memory_bytes,
        error: error.clone(),
        copies: progress.events.copies.clone(),
    };
    let settled = outputs::settle(&Settlement {
        task_folder,
        // Before the project was laid out there is no other folder that a script could have written to.
        working_folder: progress.working_folder.as_deref().unwrap_or(task_folder),
        before: progress.outputs_before,
        values: &progress.events.outputs,
        summary: (!progress.no_summary).then_some(&summary),
        redactor: telemetry::redactor(),
    });
    let mut exit_code = exit_code;
    let mut sentence = error.map(|error| sentence(&error, progress.entrypoint.as_deref()));
    if let Err(refused) = settled {
        let failure = Failure::from(refused);
        tracing::error!(event = failure.code, "{}", failure.sentence());
        if exit_code == 0 {
            exit_code = failure.exit_code.number();
            sentence = Some(with_hint(failure.sentence(), failure.hint.as_deref()));
        }
    }
    tracing::info!(
        event = "run.ended",
        exit_code,
        peak_memory_bytes = progress.peak_memory_bytes,
        "run ended"
    );
    if let Some(sentence) = sentence {
        write_last_line(&sentence);
    }
    exit_code
}

/// A signal that came before the script was started ends the run as it would have ended the script.
fn exit_code_of(failure: &Failure) -> u8 {
    match failure.error.downcast_ref::<RunFailure>() {
        Some(RunFailure::Stopped { stop, .. }) => u8::try_from(128 + stop.signal as i32).unwrap_or(u8::MAX),
        _ => failure.exit_code.number(),
    }
}

/// What failed and where. Python's exceptions need the entrypoint and the place; dray's own errors say it all.
fn sentence(error: &ErrorReport, entrypoint: Option<&str>) -> String {
    let message = error.message.lines().next().unwrap_or_default();
    let mut text = match (&error.type_name, entrypoint) {
        (Some(kind), Some(entrypoint)) if message.is_empty() => format!("{entrypoint} failed: {kind}"),
        (Some(kind), Some(entrypoint)) => format!("{entrypoint} failed: {kind}: {message}"),
        _ => error.message.replace('\n', "; "),
    };
    if let Some(location) = &error.location {
        text = format!("{text} ({location})");
    }
    with_hint(text, error.hint.as_deref())
}

fn with_hint(sentence: String, hint: Option<&str>) -> String {
    match hint {
        Some(hint) => format!("{sentence}; hint: {hint}"),
        None => sentence,
    }
}

/// Says what failed in a worker that has no outputs.json to settle, and gives the exit code.
pub(super) fn say_end(end: &WorkerEnd, entrypoint: &str) -> u8 {
    if let Some(error) = &end.error {
        write_last_line(&sentence(error, Some(entrypoint)));
    }
    end.exit_code
}

/// Says what failed, as every command does at its end, and gives the exit code.
pub(super) fn say_last_line(failure: &Failure) -> u8 {
    write_last_line(&with_hint(failure.sentence(), failure.hint.as_deref()));
    failure.exit_code.number()
}

/// The last line of stderr, in one write, for the person who opens stderr.txt and looks at its end.
fn write_last_line(sentence: &str) {
    let line = format!(
        "error: {}\n",
        telemetry::redactor().redact(sentence).replace('\n', "; ")
    );
    // Nobody is left to be told.
    let _ = std::io::stderr().write_all(line.as_bytes());
}
