//! `dray copy`: a plan, or flags, become tables in another database, in a run like that of a script.
//!
//! The engine is in the native module, so the worker copies: `python/dray/_copy_command.py` is its entrypoint, and the
//! current folder takes the place of the project, with its connections and drivers. Here the plan is read for the first
//! time, so that one that makes no sense is refused before anything is started. The worker is told where the plan is, and
//! not what is in it: what it is told stands in a file, and passwords may stand in a plan.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode as ProcessExitCode;
use std::time::Instant;

use clap::Args;
use serde_json::json;

use super::options::{Options, RunArguments};
use super::run::{self, Entry, Plan, Progress, RunFailure, act, complete, say_end, say_last_line, task_folder};
use crate::activity::secrets_of_text;
use crate::failure::Failure;
use crate::plan_file::{self, Flags, PlanSource};
use crate::telemetry;
use crate::worker::{Keeper, RunFolder, Stops, WorkerError};

/// What the worker runs.
const MODULE: &str = "dray._copy_command";

/// `dray copy` as given.
#[derive(Args, Clone, Debug)]
#[command(
    override_usage = "dray copy [OPTIONS] [PLAN]\n       dray copy [OPTIONS] --source NAME --table NAME --target NAME",
    after_help = "PLAN has the words of dray.copy_tables: target = \"Warehouse\", mode = \"replace\", and for each dray.Copy a \
                  table [[copy]] with source = \"SalesDb\", tables = [\"dbo.*\"]. Left out, it is the extended property \
                  `copy` of the activity. A flag wins over the plan.\nThe exit code is 0 if every table was copied, 1 if one \
                  was not, else that of a run that fails so: 110 plan or flags, 112 activity, 113 Python, 114 a connection."
)]
pub struct CopyArguments {
    /// What to copy, in TOML or JSON
    pub plan: Option<PathBuf>,

    /// Print what would be done, and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Print the report, or with --dry-run what would be done, as JSON
    #[arg(long)]
    pub json: bool,

    /// Print the JSON Schema of a plan, for editors
    #[arg(long, exclusive = true)]
    pub json_schema: bool,

    /// Stop after this time, such as 90s or 2h30m
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<OsString>,

    /// Time to roll back once told to stop [default: 30s]
    #[arg(long, value_name = "TIME")]
    pub grace: Option<OsString>,

    /// The Python interpreter to use
    #[arg(long, value_name = "PATH")]
    pub python: Option<OsString>,

    /// Where activity.json is read and outputs.json written [default: the Batch task's working directory, else .]
    #[arg(long, value_name = "FOLDER")]
    pub workdir: Option<OsString>,

    /// debug, info, warning or error [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<OsString>,

    /// auto, json or text; auto is text on a terminal [default: auto]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<OsString>,

    /// Leave the `dray` object out of outputs.json
    #[arg(long)]
    pub no_summary: bool,

    /// Remove activity.json and its two sisters once they are read
    #[arg(long)]
    pub scrub: bool,

    /// Go on when this spot node is announced to be taken away
    #[arg(long)]
    pub ignore_preemption: bool,

    #[command(flatten)]
    pub flags: Flags,
}

impl CopyArguments {
    /// As the run of the current folder takes them.
    fn of_run(&self) -> RunArguments {
        RunArguments {
            project: PathBuf::from("."),
            timeout: self.timeout.clone(),
            grace: self.grace.clone(),
            python: self.python.clone(),
            workdir: self.workdir.clone(),
            log_level: self.log_level.clone(),
            log_format: self.log_format.clone(),
            no_summary: self.no_summary,
            scrub: self.scrub,
            ignore_preemption: self.ignore_preemption,
            ignore_requirements: true,
            ..RunArguments::default()
        }
    }

    /// With the file's absolute path: the worker's folder may be another.
    fn plan_source(&self) -> PlanSource {
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        PlanSource {
            file: self.plan.as_ref().map(absolute),
            flags: self.flags.clone(),
        }
    }
}

/// Copies, or says what would be done, and gives the exit code.
pub fn copy(arguments: &CopyArguments) -> ProcessExitCode {
    if arguments.json_schema {
        return super::print_whole(format!("{:#}\n", plan_file::schema()).as_bytes());
    }
    let started = Instant::now();
    let environment = |name: &str| std::env::var_os(name);
    let of_run = arguments.of_run();
    let task_folder = match task_folder(&Options::new(&environment, None), of_run.workdir.as_ref()) {
        Ok(folder) => folder,
        Err(failure) => return ProcessExitCode::from(say_last_line(&Failure::from(failure))),
    };
    let decide = || plan(arguments, &of_run, &task_folder);
    ProcessExitCode::from(match arguments.dry_run {
        false => complete(&of_run, &task_folder, started, &decide),
        true => dry_run(&decide, &task_folder, started).unwrap_or_else(|failure| say_last_line(&failure)),
    })
}

/// The plan of the run; the copy's own is checked on the way, and its secrets are masked from now on.
fn plan(arguments: &CopyArguments, of_run: &RunArguments, task_folder: &Path) -> Result<Plan, Failure> {
    let entry = Entry::BuiltIn {
        command: "copy",
        module: MODULE,
    };
    let mut plan = run::plan(of_run, entry, task_folder)?;
    let source = arguments.plan_source();
    let properties = plan.handover.extended_properties();
    let copy_plan = source.read(&properties)?;
    let secrets: Vec<String> = copy_plan.connection_texts().flat_map(secrets_of_text).collect();
    telemetry::redactor().add_all(secrets.iter().map(String::as_str));
    let order = json!({
        "source": source,
        "dry_run": arguments.dry_run,
        "json": arguments.json,
        "bars": std::io::stderr().is_terminal(),
    });
    plan.arguments = vec![order.to_string().into()];
    Ok(plan)
}

/// Has the worker print what would be done; no outputs.json is touched.
fn dry_run(decide: &dyn Fn() -> Result<Plan, Failure>, task_folder: &Path, started: Instant) -> Result<u8, Failure> {
    let stops = Stops::collect().map_err(RunFailure::Signals)?;
    let keeper = Keeper::start(&stops, super::worker::work).map_err(WorkerError::Start)?;
    let plan = decide()?;
    let run_folder = RunFolder::create(task_folder).map_err(|source| RunFailure::RunFolder {
        path: task_folder.to_owned(),
        source,
    })?;
    let end = act(&plan, keeper, &run_folder, &stops, started, &mut Progress::default());
    run_folder.clear();
    Ok(say_end(&end?, &plan.entrypoint.to_string()))
}
