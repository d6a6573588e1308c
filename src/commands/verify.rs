//! `dray verify`: the tables that a plan would copy, compared in both databases without copying.
//!
//! As with `dray copy`, the worker does it: `python/dray/_verify_command.py` is its entrypoint.

use std::process::ExitCode as ProcessExitCode;
use std::time::Instant;

use clap::Args;
use serde_json::{Map, json};

use super::options::Options;
use super::plan::PlanArguments;
use super::run::{Entry, complete, say_last_line, task_folder};
use crate::failure::Failure;

/// What the worker runs.
const MODULE: &str = "dray._verify_command";

/// `dray verify` as given.
#[derive(Args, Clone, Debug)]
#[command(
    override_usage = "dray verify [OPTIONS] [PLAN]\n       dray verify [OPTIONS] --source NAME --table NAME --target NAME",
    after_help = "PLAN is one of dray copy; what in it is about writing does not matter. Nothing is changed.\nThe exit code is 0 \
                  if all tables are equal, 1 if one is not or could not be compared, else that of a run that fails so: 110 \
                  plan or flags, 112 activity, 113 Python, 114 a connection."
)]
pub struct VerifyArguments {
    /// Print what was found as JSON
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    pub of_plan: PlanArguments,
}

/// Compares, and gives the exit code.
pub fn verify(arguments: &VerifyArguments) -> ProcessExitCode {
    let started = Instant::now();
    let environment = |name: &str| std::env::var_os(name);
    let of_run = arguments.of_plan.of_run();
    let task_folder = match task_folder(&Options::new(&environment, None), of_run.workdir.as_ref()) {
        Ok(folder) => folder,
        Err(failure) => return ProcessExitCode::from(say_last_line(&Failure::from(failure))),
    };
    let decide = || {
        let entry = Entry::BuiltIn {
            command: "verify",
            module: MODULE,
        };
        let order = Map::from_iter([("json".to_owned(), json!(arguments.json))]);
        arguments.of_plan.plan(&of_run, entry, &task_folder, order)
    };
    ProcessExitCode::from(complete(&of_run, &task_folder, started, &decide))
}
