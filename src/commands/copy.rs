//! `dray copy`: a plan, or flags, become tables in another database, in a run like that of a script.
//!
//! The engine is in the native module, so the worker copies: `python/dray/_copy_command.py` is its entrypoint, and the
//! current folder takes the place of the project, with its connections and drivers. Here the plan is read for the first
//! time, so that one that makes no sense is refused before anything is started. The worker is told where the plan is, and
//! not what is in it: what it is told stands in a file, and passwords may stand in a plan.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode as ProcessExitCode;
use std::time::Instant;

use clap::Args;
use serde_json::json;

use super::options::Options;
use super::plan::PlanArguments;
use super::run::{Entry, Plan, Progress, RunFailure, act, complete, say_end, say_last_line, task_folder};
use crate::failure::Failure;
use crate::plan_file;
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
    /// Print what would be done, and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Print the report, or with --dry-run what would be done, as JSON
    #[arg(long)]
    pub json: bool,

    /// Print the JSON Schema of a plan, for editors
    #[arg(long, exclusive = true)]
    pub json_schema: bool,

    #[command(flatten)]
    pub of_plan: PlanArguments,
}

/// Copies, or says what would be done, and gives the exit code.
pub fn copy(arguments: &CopyArguments) -> ProcessExitCode {
    if arguments.json_schema {
        return super::print_whole(format!("{:#}\n", plan_file::schema()).as_bytes());
    }
    let started = Instant::now();
    let environment = |name: &str| std::env::var_os(name);
    let of_run = arguments.of_plan.of_run();
    let task_folder = match task_folder(&Options::new(&environment, None), of_run.workdir.as_ref()) {
        Ok(folder) => folder,
        Err(failure) => return ProcessExitCode::from(say_last_line(&Failure::from(failure))),
    };
    let decide = || {
        let entry = Entry::BuiltIn {
            command: "copy",
            module: MODULE,
        };
        let order = json!({
            "dry_run": arguments.dry_run,
            "json": arguments.json,
            "bars": std::io::stderr().is_terminal(),
        });
        let order = order.as_object().cloned().unwrap_or_default();
        arguments.of_plan.plan(&of_run, entry, &task_folder, order)
    };
    ProcessExitCode::from(match arguments.dry_run {
        false => complete(&of_run, &task_folder, started, &decide),
        true => dry_run(&decide, &task_folder, started).unwrap_or_else(|failure| say_last_line(&failure)),
    })
}

/// Has the worker print what would be done; no outputs.json is touched.
fn dry_run(decide: &dyn Fn() -> Result<Plan, Failure>, task_folder: &Path, started: Instant) -> Result<u8, Failure> {
    let stops = Stops::collect().map_err(RunFailure::Signals)?;
    let keeper = Keeper::start(&stops, super::worker::take).map_err(WorkerError::Start)?;
    let plan = decide()?;
    let run_folder = RunFolder::create(task_folder).map_err(|source| RunFailure::RunFolder {
        path: task_folder.to_owned(),
        source,
    })?;
    let end = act(&plan, keeper, &run_folder, &stops, started, &mut Progress::default());
    run_folder.clear();
    Ok(say_end(&end?, &plan.entrypoint.to_string()))
}
