//! `dray report`: one page about a run, from the log that Data Factory has kept of it.

use std::path::PathBuf;
use std::process::ExitCode as ProcessExitCode;

use clap::Args;

use super::run::say_last_line;
use crate::failure::Failure;
use crate::report::{self, ReportError};

/// `dray report` as given.
#[derive(Args, Clone, Debug)]
pub struct ReportArguments {
    /// stderr.txt of a task, or of several
    #[arg(required = true, value_name = "LOG")]
    pub logs: Vec<PathBuf>,

    /// Where the page goes [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Writes the page and gives the exit code.
pub fn report(arguments: &ReportArguments) -> ProcessExitCode {
    let page = match report::page(&arguments.logs) {
        Ok(page) => page,
        Err(error) => return ProcessExitCode::from(say_last_line(&Failure::from(error))),
    };
    let Some(output) = &arguments.output else {
        return super::print_whole(page.as_bytes());
    };
    match fs_err::write(output, page) {
        Ok(()) => ProcessExitCode::SUCCESS,
        Err(error) => ProcessExitCode::from(say_last_line(&Failure::from(ReportError::Write(error)))),
    }
}
