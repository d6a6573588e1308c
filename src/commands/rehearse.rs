//! `dray rehearse`: a custom activity of an exported pipeline, from its definition to what Data Factory shows of its end.

use std::io::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;

use super::run::say_last_line;
use crate::activity::FILE_NAMES;
use crate::failure::Failure;
use crate::rehearsal::{self, Givens, Plan, RehearsalError, Source, Task, Weight, fresh_root};
use crate::telemetry;

/// `dray rehearse` as given.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "The linked services and datasets that the activity refers to are read from `linkedService/` and `dataset/` \
                  beside the pipeline's folder, or from the template itself. A connection for a laptop is given as in a \
                  run: the variable DRAY_CONNECTION_NAME comes before the linked service NAME."
)]
pub struct RehearseArguments {
    /// A pipeline's file in a factory's repository, or an exported template
    pub pipeline: PathBuf,

    /// The custom activity, `Name` or `Pipeline/Name`; left out where there is only one
    pub activity: Option<String>,

    /// A value for a parameter, or for an expression: --set "activity('Lookup').output.count=3"
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,

    /// The folder whose files stand in for those in the activity's `folderPath`
    #[arg(long, value_name = "FOLDER")]
    pub folder: Option<PathBuf>,

    /// Linked services of a JSON file, before those beside the pipeline
    #[arg(long, value_name = "FILE")]
    pub linked_services: Option<PathBuf>,

    /// A fresh folder for the task, left behind [default: one in the folder for temporary files]
    #[arg(long, value_name = "FOLDER")]
    pub workdir: Option<PathBuf>,

    /// Check the activity, print what the task would get, and run nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Rehearses the activity and gives the exit code: the command's own, or that of a failure before it.
pub fn rehearse(arguments: &RehearseArguments) -> u8 {
    attempt(arguments).unwrap_or_else(|error| say_last_line(&Failure::from(error)))
}

fn attempt(arguments: &RehearseArguments) -> Result<u8, RehearsalError> {
    let source = Source::read(&arguments.pipeline)?;
    let givens = Givens::parse(&arguments.set)?;
    let plan = rehearsal::plan(
        &source,
        arguments.activity.as_deref(),
        &givens,
        arguments.folder.as_deref(),
        arguments.linked_services.as_deref(),
    )?;
    telemetry::redactor().add_all(plan.secrets.iter().map(String::as_str));
    describe(&plan);
    let faults = plan.findings.iter().filter(|finding| finding.weight == Weight::Fault);
    let faults: Vec<String> = faults.map(|finding| finding.text.clone()).collect();
    if arguments.dry_run {
        for (name, value) in FILE_NAMES.iter().zip(&plan.files) {
            let mut value = value.clone();
            telemetry::redactor().redact_json(&mut value);
            print(&format!("{name}\n{value:#}\n"));
        }
    }
    if !faults.is_empty() {
        return Err(RehearsalError::Faulty {
            activity: plan.activity,
            faults,
        });
    }
    if arguments.dry_run {
        return Ok(0);
    }

    let task = Task::lay_out(&plan, &arguments.workdir.clone().unwrap_or_else(fresh_root))?;
    say("task", &task.root().display().to_string());
    if task.lends_executable {
        say("", "the folder has no `dray`; this one stands in for it");
    }
    let started = Instant::now();
    let status = task.run(&plan)?;
    let end = rehearsal::output_of_activity(&task, &plan.activity, status, started.elapsed().as_secs());
    say("exit code", &end.exit_code.to_string());
    if let Some(remark) = &end.remark {
        say("", &format!("no `customOutput`: {remark}"));
    }
    let mut shown = end.shown;
    telemetry::redactor().redact_json(&mut shown);
    print(&format!("{shown:#}\n"));
    // A shell has no negative exit codes.
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}

/// All that was decided, in a few lines on stderr: stdout is the command's.
fn describe(plan: &Plan) {
    say("activity", &format!("{} of pipeline {}", plan.activity, plan.pipeline));
    say("command", &plan.command);
    if let Some(timeout) = &plan.timeout {
        say("time limit", &format!("{timeout} in Azure, none here"));
    }
    for stand_in in &plan.stand_ins {
        say("made up", &format!("{} = {}", stand_in.expression, stand_in.value));
    }
    for finding in &plan.findings {
        let weight = match finding.weight {
            Weight::Fault => "fault",
            Weight::Remark => "remark",
        };
        say(weight, &finding.text);
    }
}

fn say(name: &str, text: &str) {
    let text = telemetry::redactor().redact(text);
    // Nobody is left to be told.
    let _ = writeln!(std::io::stderr(), "{name:<12}{text}");
}

fn print(text: &str) {
    // A reader that has seen enough (`| head`) is no failure.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
