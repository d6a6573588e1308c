//! One file a command; each reads top to bottom as the story of that command.
//!
//! This module owns the command line: what is parsed here are plain values, checked and resolved by the commands.

mod copy;
mod deferred;
mod doctor;
mod dry_run;
mod init;
mod options;
mod outputs;
mod pack;
mod packages;
mod plan;
mod preemption;
mod rehearse;
mod report;
mod run;
mod secrets;
mod verify;
mod worker;

use std::cell::LazyCell;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode as ProcessExitCode;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::failure::ExitCode;
use crate::interpreter::Payload;
use crate::worker::{Assignment, Orders};
use deferred::Deferred;
use options::RunArguments;
use pack::PackArguments;

/// Runs a zipped Python project as the single command of an Azure Data Factory custom activity.
#[derive(Parser)]
#[command(name = "dray", disable_help_subcommand = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a project: a zip, or a folder in place
    Run(Deferred<Box<RunArguments>>),
    /// Copy tables between databases, after a plan or flags
    Copy(Deferred<Box<copy::CopyArguments>>),
    /// Compare the tables of such a plan in both databases, and change nothing
    Verify(Deferred<Box<verify::VerifyArguments>>),
    /// Say what this node has, and what of it would do: Python, drivers, connections
    Doctor(Deferred<doctor::DoctorArguments>),
    /// Write a small project that works, to start from
    Init(Deferred<init::InitArguments>),
    /// Run the custom activity of an exported pipeline here, as a Batch task would
    Rehearse(Deferred<rehearse::RehearseArguments>),
    /// Pack a project and its dependencies into one zip that runs on a node
    Pack(Deferred<Box<PackArguments>>),
    /// Make one HTML page of a run's log: what ran when, how fast, what failed
    Report(Deferred<report::ReportArguments>),
    /// Merge the outputs of several tasks, such as the shards of a copy
    Outputs(Deferred<outputs::OutputsArguments>),
    /// Print the completion script of a shell
    Completions {
        /// The shell to complete for
        shell: clap_complete::Shell,
    },
}

/// Runs the command line of this process and gives its exit code.
pub fn main() -> ProcessExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(descriptor) = as_worker(&arguments) {
        let assignment = worker::take(Orders::inherited(descriptor));
        return ProcessExitCode::from(assignment.map_or(1, Assignment::carry_out));
    }
    let definition = command_line();
    let (own, rest) = split_at_project(arguments);
    let asks_for_version = own
        .iter()
        .skip(1)
        .any(|argument| argument == "--version" || argument == "-V");
    let definition = if asks_for_version {
        definition.version(describe_version())
    } else {
        definition
    };
    let parsed = definition
        .try_get_matches_from(own)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    match parsed.map(|cli| cli.command) {
        Ok(Command::Run(Deferred(arguments))) => ProcessExitCode::from(run::run(&arguments, &rest)),
        Ok(Command::Copy(Deferred(arguments))) => copy::copy(&arguments),
        Ok(Command::Verify(Deferred(arguments))) => verify::verify(&arguments),
        Ok(Command::Doctor(Deferred(arguments))) => ProcessExitCode::from(doctor::doctor(&arguments)),
        Ok(Command::Init(Deferred(arguments))) => ProcessExitCode::from(init::init(&arguments)),
        Ok(Command::Rehearse(Deferred(arguments))) => ProcessExitCode::from(rehearse::rehearse(&arguments)),
        Ok(Command::Pack(Deferred(arguments))) => ProcessExitCode::from(pack::pack(&arguments)),
        Ok(Command::Report(Deferred(arguments))) => report::report(&arguments),
        Ok(Command::Outputs(Deferred(arguments))) => outputs::outputs(&arguments),
        Ok(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command_line(), "dray", &mut script);
            print_whole(&script)
        }
        Err(error) => explain_usage(&error),
    }
}

/// Prints what a command was asked for. A reader that has seen enough is no failure.
fn print_whole(bytes: &[u8]) -> ProcessExitCode {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("error: cannot write to stdout: {error}");
            ProcessExitCode::from(ExitCode::Internal.number())
        }
        _ => ProcessExitCode::SUCCESS,
    }
}

/// `__worker DESCRIPTOR`: started by this executable alone, and past the parser, whose work would be done twice in every
/// run.
fn as_worker(arguments: &[OsString]) -> Option<i32> {
    match arguments {
        [_, command, descriptor] if command.as_bytes() == worker::COMMAND.to_bytes() => {
            descriptor.to_str()?.parse().ok()
        }
        _ => None,
    }
}

fn command_line() -> clap::Command {
    Cli::command().version(env!("CARGO_PKG_VERSION"))
}

/// The version with what is only known at run time (the payload may be appended), and takes reading it to know.
fn describe_version() -> String {
    format!(
        "{} ({})\npayload: {}",
        env!("CARGO_PKG_VERSION"),
        TARGET,
        describe_payload()
    )
}

/// A missing payload is no reason to keep the version back; running a project says what is wrong with it.
fn describe_payload() -> String {
    Payload::locate()
        .and_then(|payload| payload.describe())
        .unwrap_or_else(|error| format!("none: {error}"))
}

/// The platform this executable was built for.
const TARGET: &str = env!("DRAY_TARGET");

/// Everything behind PROJECT belongs to the script, byte for byte: clap never sees it.
///
/// The definition of `run` says which options take a value, so that `--timeout 5m` is not taken for PROJECT.
fn split_at_project(arguments: Vec<OsString>) -> (Vec<OsString>, Vec<OsString>) {
    if arguments.get(1).is_none_or(|command| command != "run") {
        return (arguments, Vec::new());
    }
    let definition = LazyCell::new(|| RunArguments::augment_args(clap::Command::new("run")));
    let takes_value = |name: &str| {
        let is_it = |known: &clap::Arg| known.get_long() == Some(name) && known.get_action().takes_values();
        definition.get_arguments().any(is_it)
    };
    let mut index = 2;
    while let Some(argument) = arguments.get(index) {
        let argument = argument.to_string_lossy();
        if argument == "--" {
            index += 1;
            break;
        }
        match argument.strip_prefix("--") {
            Some(name) if takes_value(name) => index += 2,
            Some(_) => index += 1,
            None if argument.len() > 1 && argument.starts_with('-') => index += 1,
            None => break,
        }
    }
    let mut own = arguments;
    let rest = if index < own.len() {
        own.split_off(index + 1)
    } else {
        Vec::new()
    };
    (own, rest)
}

/// Help and version are no failure; a wrong command line is, and ends with one sentence as every failure does.
fn explain_usage(error: &clap::Error) -> ProcessExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return ProcessExitCode::SUCCESS;
    }
    let text = error.render().to_string();
    let paragraph: Vec<&str> = text
        .lines()
        .take_while(|line| !line.is_empty())
        .map(str::trim)
        .collect();
    let sentence = paragraph.join(" ").trim_start_matches("error: ").to_owned();
    let _ = error.print();
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return ProcessExitCode::from(ExitCode::Usage.number());
    }
    ProcessExitCode::from(run::refuse(sentence))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &[&str]) -> (Vec<OsString>, Vec<OsString>) {
        split_at_project(line.iter().map(OsString::from).collect())
    }

    #[test]
    fn what_follows_the_project_is_left_alone_even_if_it_looks_like_an_option_of_ours() {
        let (own, rest) = split(&[
            "dray",
            "run",
            "--timeout",
            "5m",
            "p.zip",
            "main.py",
            "--timeout",
            "1",
            "--",
            "-x",
        ]);
        assert_eq!(own, ["dray", "run", "--timeout", "5m", "p.zip"]);
        assert_eq!(rest, ["main.py", "--timeout", "1", "--", "-x"]);
    }

    #[test]
    fn an_option_with_an_equals_sign_does_not_swallow_the_project() {
        let (own, rest) = split(&["dray", "run", "--timeout=5m", "--dry-run", "p.zip", "--help"]);
        assert_eq!(own, ["dray", "run", "--timeout=5m", "--dry-run", "p.zip"]);
        assert_eq!(rest, ["--help"]);
    }

    #[test]
    fn two_dashes_before_the_project_end_our_options() {
        let (own, rest) = split(&["dray", "run", "--", "-odd.zip", "a"]);
        assert_eq!(own, ["dray", "run", "--", "-odd.zip"]);
        assert_eq!(rest, ["a"]);
    }

    #[test]
    fn the_definition_of_the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
