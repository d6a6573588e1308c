//! What the commands that carry out a copy's plan have in common: where the plan is, and how the run is made that does it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value, json};

use super::options::RunArguments;
use super::run::{self, Entry, Plan};
use crate::activity::secrets_of_text;
use crate::failure::Failure;
use crate::plan_file::{Flags, PlanSource};
use crate::telemetry;

/// A plan, and a run of the current folder, as given.
#[derive(Args, Clone, Debug)]
pub struct PlanArguments {
    /// What to copy, in TOML or JSON
    pub plan: Option<PathBuf>,

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

impl PlanArguments {
    /// As the run of the current folder takes them.
    pub fn of_run(&self) -> RunArguments {
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

    /// The plan of the run of a built-in entrypoint, which is told where the copy's plan is and what else is in `order`. The
    /// copy's own is checked on the way, and its secrets are masked from now on.
    pub(super) fn plan(
        &self,
        of_run: &RunArguments,
        entry: Entry<'_>,
        task_folder: &Path,
        order: Map<String, Value>,
    ) -> Result<Plan, Failure> {
        let mut plan = run::plan(of_run, entry, task_folder)?;
        let source = self.plan_source();
        let properties = plan.handover.extended_properties();
        let copy_plan = source.read(&properties)?;
        let secrets: Vec<String> = copy_plan.connection_texts().flat_map(secrets_of_text).collect();
        telemetry::redactor().add_all(secrets.iter().map(String::as_str));
        let mut order = order;
        order.insert("source".to_owned(), json!(source));
        plan.arguments = vec![Value::Object(order).to_string().into()];
        Ok(plan)
    }
}
