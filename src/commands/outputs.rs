//! `dray outputs`: what tasks have left, after they have ended.

use std::path::PathBuf;
use std::process::ExitCode as ProcessExitCode;

use clap::{Args, Subcommand};

use super::options::Options;
use super::run::{say_last_line, task_folder};
use crate::activity::Handover;
use crate::failure::Failure;
use crate::outputs;

/// `dray outputs` as given.
#[derive(Args, Clone, Debug)]
pub struct OutputsArguments {
    #[command(subcommand)]
    command: OutputsCommand,
}

#[derive(Subcommand, Clone, Debug)]
enum OutputsCommand {
    /// Merge the outputs.json of several tasks, such as the shards of a copy, into one
    Merge(MergeArguments),
}

/// `dray outputs merge` as given.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Numbers are added, lists joined, objects merged key by key; other values have to be the same in all. The \
                  `dray` object has failed if one has, with the longest durations and the tables of all.\nThe exit code is \
                  115 if two values do not go together, and 0 also if the tasks had failed."
)]
struct MergeArguments {
    /// outputs.json of a task, a JSON list of such, or a folder with outputs.json in it or in its folders
    #[arg(value_name = "FILE", required_unless_present = "property")]
    files: Vec<PathBuf>,

    /// Merge the list in this extended property of the activity, such as a pipeline's variable
    #[arg(long, value_name = "NAME")]
    property: Option<String>,

    /// A key whose number is the same in all, and not to be added
    #[arg(long, value_name = "KEY")]
    same: Vec<String>,

    /// Where the result goes [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Does what was asked for and gives the exit code.
pub fn outputs(arguments: &OutputsArguments) -> ProcessExitCode {
    let OutputsCommand::Merge(arguments) = &arguments.command;
    match merge(arguments) {
        Ok(code) => code,
        Err(failure) => ProcessExitCode::from(say_last_line(&failure)),
    }
}

fn merge(arguments: &MergeArguments) -> Result<ProcessExitCode, Failure> {
    let mut parts = Vec::new();
    if let Some(name) = &arguments.property {
        let environment = |name: &str| std::env::var_os(name);
        let handover = Handover::load(&task_folder(&Options::new(&environment, None), None)?)?;
        parts.extend(outputs::parts_of_property(
            name,
            handover.extended_properties().get(name),
        )?);
    }
    for file in &arguments.files {
        parts.extend(outputs::read_parts(file, arguments.output.as_deref())?);
    }
    let merged = outputs::merge(&parts, &arguments.same)?;
    for note in &merged.notes {
        eprintln!("note: {note}");
    }
    let Some(output) = &arguments.output else {
        let line = [merged.bytes.as_slice(), b"\n"].concat();
        return Ok(super::print_whole(&line));
    };
    outputs::write_merged(output, &merged.bytes)?;
    Ok(ProcessExitCode::SUCCESS)
}
