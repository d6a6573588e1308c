//! `dray doctor`: what this node has, from the image to the databases.
//!
//! Nothing is left behind and no outputs.json is touched: a doctor may look at the folder of a task that runs.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;

use super::options::{LogOptions, Options, RunArguments};
use super::packages::Dependencies;
use super::run::{Plan, Progress, RunFailure, act, say_last_line, task_folder};
use crate::activity::Handover;
use crate::connections::Connections;
use crate::diagnosis::{Area, Check, Diagnosis, Status, azure, machine, python, screen};
use crate::failure::Failure;
use crate::interpreter;
use crate::odbc::DriverSearch;
use crate::project::{Entrypoint, Manifest, Project};
use crate::telemetry;
use crate::worker::{Keeper, RunFolder, Stops, WorkerError};

/// What the worker runs.
const MODULE: &str = "dray._doctor";

/// The worker's checks have limits of their own; this one is for what hangs all the same.
const TIME_LIMIT: Duration = Duration::from_secs(90);

/// `dray doctor` as given.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "The exit code is 0 if nothing has failed, else that of a run that would fail so: 111 project, 112 what Data \
                  Factory handed over, 113 Python, 114 a connection, 117 the node or a driver that kills the process, 118 Key Vault or identity."
)]
pub struct DoctorArguments {
    /// A project, whose Python, drivers and connections are looked at too
    pub project: Option<PathBuf>,

    /// Print a JSON document
    #[arg(long)]
    pub json: bool,

    /// The Python interpreter that a run would be given
    #[arg(long, value_name = "PATH")]
    pub python: Option<OsString>,

    /// Where activity.json is read [default: the Batch task's working directory, else .]
    #[arg(long, value_name = "FOLDER")]
    pub workdir: Option<OsString>,
}

/// Examines the node and gives the exit code.
pub fn doctor(arguments: &DoctorArguments) -> u8 {
    match attempt(arguments) {
        Ok(diagnosis) => {
            let text = match arguments.json {
                true => format!("{:#}\n", diagnosis.to_json()),
                false => screen(&diagnosis),
            };
            // A reader that has seen enough (`| head`) is no failure.
            let _ = std::io::stdout().write_all(telemetry::redactor().redact(&text).as_bytes());
            diagnosis.exit_code()
        }
        Err(failure) => say_last_line(&failure),
    }
}

fn attempt(arguments: &DoctorArguments) -> Result<Diagnosis, Failure> {
    // Before any thread, and before anything is read.
    let stops = Stops::collect().map_err(RunFailure::Signals)?;
    let keeper = Keeper::start(&stops, super::worker::take).map_err(WorkerError::Start)?;
    let environment = |name: &str| std::env::var_os(name);
    let task_folder = task_folder(&Options::new(&environment, None), arguments.workdir.as_ref())?;
    let mut checks = Vec::new();

    let handover = Handover::load(&task_folder).map_err(Failure::from);
    let opened = arguments.project.as_deref().map(open).transpose();
    let (project, manifest) = match opened {
        Ok(opened) => opened.unzip(),
        Err(failure) => {
            checks.push(failed_project(&failure));
            (None, None)
        }
    };
    let manifest = manifest.unwrap_or_default();
    let in_environment: Vec<_> = std::env::vars_os().collect();
    let mut secrets = handover.as_ref().map(Handover::secrets).unwrap_or_default();
    secrets.extend(Connections::secrets(&in_environment, &manifest.connections));
    telemetry::init(telemetry::Settings {
        level: "error".parse().unwrap_or_default(),
        secrets,
        ..telemetry::Settings::default()
    })?;
    checks.extend(machine::checks(&task_folder));
    let handover = handover.unwrap_or_else(|failure| {
        checks.push(failed_project(&failure));
        Handover::default()
    });

    let cache = interpreter::cache_folder(environment);
    let options = Options::new(&environment, Some(&manifest));
    let (flag, environment_python) = options.python(arguments.python.as_ref());
    // Drivers may lie among packed packages. Whether a Python has what the project needs is for a run to see.
    let decided = project
        .as_ref()
        .map(|project| Dependencies::decide(project, &manifest, &options, &RunArguments::default()));
    let dependencies = match decided {
        Some(Ok(packed @ Dependencies::Packed { .. })) => packed,
        Some(Err(failure)) => {
            checks.push(failed_project(&failure));
            Dependencies::Unknown
        }
        _ => Dependencies::Unknown,
    };
    let request = interpreter::Request {
        flag,
        environment: environment_python,
        project: match &project {
            Some(Project::Folder(folder)) => Some(folder.root().to_owned()),
            _ => None,
        },
        requires_python: manifest.requires_python.clone(),
        packed_for: dependencies.python_version(),
        ..interpreter::Request::from_environment()?
    };
    let pythons = python::checks(&request, cache.as_deref());
    let is_usable = !pythons.iter().any(|check| check.status == Status::Failed);
    checks.extend(pythons);
    let connections = Connections {
        handover: handover.clone(),
        ..Connections::default()
    };
    checks.push(azure::identity(
        &connections,
        std::env::var("AZURE_CLIENT_ID").ok().as_deref(),
    ));
    match is_usable {
        true => {
            let scratch = Scratch::create()?;
            let project = match project {
                Some(project) => project,
                None => Project::open(&scratch.empty_project()?)?,
            };
            let limits = options.limits(&RunArguments::default())?;
            let plan = Plan {
                task_folder,
                handover,
                project,
                limits,
                entrypoint: Entrypoint::BuiltIn {
                    command: "doctor".to_owned(),
                    module: MODULE.to_owned(),
                },
                dependencies,
                arguments: vec![scratch.report().into_os_string()],
                interpreter: request,
                run_id: None,
                timeout: Some(TIME_LIMIT),
                grace: Duration::from_secs(5),
                no_summary: true,
                no_mask: true,
                scrub: false,
                ignore_preemption: true,
                fetched_arguments: 0,
                log: LogOptions {
                    level: "error".to_owned(),
                    ..LogOptions::default()
                },
            };
            checks.extend(scratch.examine(&plan, keeper, &stops)?);
        }
        false => {
            drop(keeper);
            checks.extend(registered_drivers());
            checks.extend(azure::unasked_vaults(&connections));
        }
    }
    Ok(Diagnosis::new(checks))
}

fn open(path: &Path) -> Result<(Project, Manifest), Failure> {
    let project = Project::open(path)?;
    let manifest = project.manifest()?;
    Ok((project, manifest))
}

fn failed_project(failure: &Failure) -> Check {
    Check::new(Area::Project, "", Status::Failed, failure.sentence())
        .fact("code", failure.code)
        .fact("exit_code", failure.exit_code.number())
}

/// What can be told of drivers without loading them, which takes the engine, and that takes a Python.
fn registered_drivers() -> Vec<Check> {
    let search = DriverSearch::from_environment(Vec::new());
    let checks = search.drivers().into_iter().map(|driver| {
        let (status, text) = match search.locate(&driver.file) {
            Some(path) => (
                Status::Note,
                format!("{} is there, whether it loads is not known", path.display()),
            ),
            None => (
                Status::Warning,
                format!("its file `{}` is not on this node", driver.file),
            ),
        };
        Check::new(Area::Driver, &driver.name, status, text).fact("registered_in", driver.registered_in)
    });
    checks.collect()
}

/// A folder in the system's own for temporary files, gone with the value.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn create() -> Result<Scratch, RunFailure> {
        let path = std::env::temp_dir().join(format!("dray-doctor-{}", uuid::Uuid::new_v4().simple()));
        match std::fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => Ok(Scratch { path }),
            Err(source) => Err(RunFailure::RunFolder { path, source }),
        }
    }

    fn report(&self) -> PathBuf {
        self.path.join("checks.jsonl")
    }

    fn empty_project(&self) -> Result<PathBuf, RunFailure> {
        let path = self.path.join("project");
        match fs_err::create_dir(&path) {
            Ok(()) => Ok(path),
            Err(source) => Err(RunFailure::RunFolder { path, source }),
        }
    }

    /// Has the worker look at drivers, secrets and connections; that it dies of one of them is a check as well.
    fn examine(&self, plan: &Plan, keeper: Keeper, stops: &Stops) -> Result<Vec<Check>, Failure> {
        let run_folder = RunFolder::create(&self.path).map_err(|source| RunFailure::RunFolder {
            path: self.path.clone(),
            source,
        })?;
        let end = act(
            plan,
            keeper,
            &run_folder,
            stops,
            Instant::now(),
            &mut Progress::default(),
        );
        let lines = fs_err::read_to_string(self.report()).unwrap_or_default();
        let mut checks: Vec<Check> = lines
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        let ended_badly = match end {
            Ok(end) if end.exit_code == 0 => None,
            Ok(end) => Some(end.error.map_or_else(
                || format!("it ended with exit code {}", end.exit_code),
                |error| error.message,
            )),
            Err(failure) => Some(failure.sentence()),
        };
        if let Some(why) = ended_badly {
            let text = format!("it did not look at every driver and connection: {why}");
            checks.push(Check::new(Area::Worker, "", Status::Failed, text));
        }
        Ok(checks)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs_err::remove_dir_all(&self.path) {
            tracing::error!(event = "doctor.not_removed", "{error}");
        }
    }
}
