//! The options of `dray run`: as given, and as resolved.
//!
//! Each has a flag, an environment variable `DRAY_…` and a key in the project's `[tool.dray]`; the first of these that is
//! set wins, then the default. All four are read as text by one parser, so that they cannot differ in what they take.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::copy::RUN_ID_CHARACTERS_MAX;
use crate::failure::{ExitCode, Failing};
use crate::project::{Limits, Manifest};
use crate::telemetry::{LevelSpec, LogFormat};

/// How long the script may go on after it was told to stop, unless `--grace` says otherwise.
const DEFAULT_GRACE: Duration = Duration::from_secs(30);

/// `dray run` as given.
#[derive(Args, Clone, Debug, Default)]
#[command(
    override_usage = "dray run [OPTIONS] PROJECT [ENTRY] [ARGS]...",
    after_help = "ENTRY is main.py, -m pkg.mod or pkg.mod:function; left out: `entry` of [tool.dray] in pyproject.toml, \
                  __main__.py, main.py.\nARGS reach the script's sys.argv untouched.\nEach option has a variable: --log-level \
                  is DRAY_LOG_LEVEL, and a key of [tool.dray]: log-level."
)]
pub struct RunArguments {
    /// A zip, or a folder to run in place
    pub project: PathBuf,

    /// Stop the script after this time, such as 90s or 2h30m
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<OsString>,

    /// Time it has to end after it was told to stop [default: 30s]
    #[arg(long, value_name = "TIME")]
    pub grace: Option<OsString>,

    /// The Python interpreter to use
    #[arg(long, value_name = "PATH")]
    pub python: Option<OsString>,

    /// Where activity.json is read and outputs.json written [default: the Batch task's working directory, else .]
    #[arg(long, value_name = "FOLDER")]
    pub workdir: Option<OsString>,

    /// What a run of the same copies again is known by, to go on where this one ended
    #[arg(long, value_name = "ID")]
    pub run_id: Option<OsString>,

    /// Give the script the extended properties as --name value
    #[arg(long)]
    pub args_from_activity: bool,

    /// debug, info, warning or error; with a logger's name: etl.load=debug,info [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<OsString>,

    /// auto, json or text; auto is text on a terminal [default: auto]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<OsString>,

    /// Leave the `dray` object out of outputs.json
    #[arg(long)]
    pub no_summary: bool,

    /// Print what the script prints unmasked
    #[arg(long)]
    pub no_mask: bool,

    /// Remove activity.json and its two sisters once they are read
    #[arg(long)]
    pub scrub: bool,

    /// Go on when this spot node is announced to be taken away
    #[arg(long)]
    pub ignore_preemption: bool,

    /// Install what the project requires, once for the node
    #[arg(long)]
    pub install: bool,

    /// Run though something of requirements.txt is missing
    #[arg(long)]
    pub ignore_requirements: bool,

    /// Unpack packed dependencies for this run alone
    #[arg(long)]
    pub fresh_dependencies: bool,

    /// Refuse a zip that unpacks to more than this many bytes
    #[arg(long, value_name = "BYTES")]
    pub max_unpacked_bytes: Option<OsString>,

    /// Refuse a zip with more members than this
    #[arg(long, value_name = "COUNT")]
    pub max_members: Option<OsString>,

    /// Refuse a zip that expands more than this many times
    #[arg(long, value_name = "RATIO")]
    pub max_ratio: Option<OsString>,

    /// Print the whole plan and run nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Where the value of an option came from; part of every complaint about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Flag,
    Environment,
    Manifest,
}

/// An option's value makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{place}: `{value}` is not {wanted}")]
pub struct OptionError {
    place: String,
    value: String,
    wanted: String,
}

impl Failing for OptionError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Usage
    }

    fn code(&self) -> &'static str {
        "usage.option"
    }
}

/// How the run logs, as the worker is told it too.
pub struct LogOptions {
    /// A level, or several with targets, as `--log-level` takes it.
    pub level: String,
    /// `auto`, `json` or `text`.
    pub format: String,
}

impl Default for LogOptions {
    fn default() -> Self {
        LogOptions {
            level: "info".to_owned(),
            format: "auto".to_owned(),
        }
    }
}

/// Finds the value of one option after the other.
pub struct Options<'a> {
    environment: &'a dyn Fn(&str) -> Option<OsString>,
    manifest: Option<&'a Manifest>,
}

impl<'a> Options<'a> {
    /// `environment` gives a variable; `manifest` is that of the project, once it is known.
    pub fn new(environment: &'a dyn Fn(&str) -> Option<OsString>, manifest: Option<&'a Manifest>) -> Options<'a> {
        Options { environment, manifest }
    }

    /// The working directory of the task: `--workdir`, DRAY_WORKDIR, AZ_BATCH_TASK_WORKING_DIR, none for the current one.
    pub fn task_folder(&self, flag: Option<&OsString>) -> Option<PathBuf> {
        let given = self.find("workdir", flag).map(|(_, value)| value);
        given
            .or_else(|| self.variable("AZ_BATCH_TASK_WORKING_DIR"))
            .map(PathBuf::from)
    }

    /// `--python` or the manifest's, and DRAY_PYTHON apart from it: the search for an interpreter says which it was.
    pub fn python(&self, flag: Option<&OsString>) -> (Option<PathBuf>, Option<PathBuf>) {
        let environment = self.variable("DRAY_PYTHON").map(PathBuf::from);
        match self.find("python", flag) {
            Some((Source::Environment, _)) | None => (None, environment),
            Some((_, value)) => (Some(PathBuf::from(value)), environment),
        }
    }

    /// How long the run may take, if that is limited.
    ///
    /// # Errors
    /// Not a duration.
    pub fn timeout(&self, flag: Option<&OsString>) -> Result<Option<Duration>, OptionError> {
        self.parsed("timeout", flag, "a duration such as `90s` or `2h30m`", |text| {
            humantime::parse_duration(text).ok()
        })
    }

    /// How long the script may go on after it was told to stop.
    ///
    /// # Errors
    /// Not a duration.
    pub fn grace(&self, flag: Option<&OsString>) -> Result<Duration, OptionError> {
        let wanted = "a duration such as `30s` or `2m`";
        Ok(self
            .parsed("grace", flag, wanted, |text| humantime::parse_duration(text).ok())?
            .unwrap_or(DEFAULT_GRACE))
    }

    /// The level and format of the log, as text that has been checked.
    ///
    /// # Errors
    /// No such level or format.
    pub fn log(&self, arguments: &RunArguments) -> Result<LogOptions, OptionError> {
        let level = self.parsed(
            "log-level",
            arguments.log_level.as_ref(),
            "a log level such as `info`",
            |text| text.parse::<LevelSpec>().ok().map(|_| text.to_owned()),
        )?;
        let format = self.parsed(
            "log-format",
            arguments.log_format.as_ref(),
            "`auto`, `json` or `text`",
            |text| text.parse::<LogFormat>().ok().map(|_| text.to_owned()),
        )?;
        let default = LogOptions::default();
        Ok(LogOptions {
            level: level.unwrap_or(default.level),
            format: format.unwrap_or(default.format),
        })
    }

    /// What the run is known by when it is run again, if somebody says so.
    ///
    /// # Errors
    /// Not UTF-8, or too long for a journal.
    pub fn run_id(&self, flag: Option<&OsString>) -> Result<Option<String>, OptionError> {
        let wanted = format!("a text of at most {RUN_ID_CHARACTERS_MAX} characters");
        self.parsed("run-id", flag, &wanted, |text| {
            (1..=RUN_ID_CHARACTERS_MAX)
                .contains(&text.chars().count())
                .then(|| text.to_owned())
        })
    }

    /// How large a zip may be.
    ///
    /// # Errors
    /// Not a whole number.
    pub fn limits(&self, arguments: &RunArguments) -> Result<Limits, OptionError> {
        let number = |name, flag: &Option<OsString>| {
            self.parsed(name, flag.as_ref(), "a whole number", |text| {
                text.replace('_', "").parse::<u64>().ok()
            })
        };
        let default = Limits::default();
        Ok(Limits {
            max_unpacked_bytes: number("max-unpacked-bytes", &arguments.max_unpacked_bytes)?
                .unwrap_or(default.max_unpacked_bytes),
            max_members: number("max-members", &arguments.max_members)?.unwrap_or(default.max_members),
            max_ratio: number("max-ratio", &arguments.max_ratio)?.unwrap_or(default.max_ratio),
        })
    }

    /// An option that is on or off; a flag can only turn it on.
    ///
    /// # Errors
    /// The variable or the key is neither true nor false.
    pub fn switch(&self, name: &'static str, flag: bool) -> Result<bool, OptionError> {
        let flag = flag.then(|| OsString::from("true"));
        Ok(self
            .parsed(name, flag.as_ref(), "true or false", parse_switch)?
            .unwrap_or(false))
    }

    fn parsed<T>(
        &self,
        name: &str,
        flag: Option<&OsString>,
        wanted: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, OptionError> {
        let Some((source, value)) = self.find(name, flag) else {
            return Ok(None);
        };
        match value.to_str().and_then(|text| parse(text.trim())) {
            Some(parsed) => Ok(Some(parsed)),
            None => Err(OptionError {
                place: match source {
                    Source::Flag => format!("option `--{name}`"),
                    Source::Environment => format!("variable `{}`", variable_of(name)),
                    Source::Manifest => format!("`{name}` in [tool.dray] of pyproject.toml"),
                },
                value: value.to_string_lossy().into_owned(),
                wanted: wanted.to_owned(),
            }),
        }
    }

    fn find(&self, name: &str, flag: Option<&OsString>) -> Option<(Source, OsString)> {
        if let Some(value) = flag {
            return Some((Source::Flag, value.clone()));
        }
        if let Some(value) = self.variable(&variable_of(name)) {
            return Some((Source::Environment, value));
        }
        Some((Source::Manifest, option_of(self.manifest?, name)?.into()))
    }

    /// An empty variable counts as unset, as everywhere in a shell.
    fn variable(&self, name: &str) -> Option<OsString> {
        (self.environment)(name).filter(|value| value != OsStr::new(""))
    }
}

/// The text of an option in `[tool.dray]`, whose reader has checked its type.
fn option_of(manifest: &Manifest, name: &str) -> Option<String> {
    match name {
        "timeout" => manifest.timeout.clone(),
        "grace" => manifest.grace.clone(),
        "python" => manifest.python.clone(),
        "log-level" => manifest.log_level.clone(),
        "log-format" => manifest.log_format.clone(),
        "no-summary" => manifest.no_summary.map(|value| value.to_string()),
        "no-mask" => manifest.no_mask.map(|value| value.to_string()),
        "scrub" => manifest.scrub.map(|value| value.to_string()),
        "ignore-preemption" => manifest.ignore_preemption.map(|value| value.to_string()),
        "install" => manifest.install.map(|value| value.to_string()),
        "ignore-requirements" => manifest.ignore_requirements.map(|value| value.to_string()),
        "fresh-dependencies" => manifest.fresh_dependencies.map(|value| value.to_string()),
        "args-from-activity" => manifest.args_from_activity.map(|value| value.to_string()),
        "max-unpacked-bytes" => manifest.max_unpacked_bytes.map(|value| value.to_string()),
        "max-members" => manifest.max_members.map(|value| value.to_string()),
        "max-ratio" => manifest.max_ratio.map(|value| value.to_string()),
        _ => None,
    }
}

fn variable_of(name: &str) -> String {
    format!("DRAY_{}", name.replace('-', "_").to_ascii_uppercase())
}

fn parse_switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<OsString> {
        match name {
            "DRAY_GRACE" => Some("5s".into()),
            "DRAY_TIMEOUT" => Some("".into()),
            "DRAY_NO_SUMMARY" => Some("maybe".into()),
            _ => None,
        }
    }

    #[test]
    fn a_flag_wins_over_its_variable() {
        let options = Options::new(&environment, None);
        assert_eq!(options.grace(Some(&"7s".into())).unwrap(), Duration::from_secs(7));
        assert_eq!(options.grace(None).unwrap(), Duration::from_secs(5));
    }

    #[test]
    fn an_empty_variable_counts_as_unset() {
        assert_eq!(Options::new(&environment, None).timeout(None).unwrap(), None);
    }

    #[test]
    fn a_bad_value_is_reported_with_the_place_it_came_from() {
        let error = Options::new(&environment, None)
            .switch("no-summary", false)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "variable `DRAY_NO_SUMMARY`: `maybe` is not true or false"
        );
        let error = Options::new(&environment, None)
            .timeout(Some(&"soon".into()))
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "option `--timeout`: `soon` is not a duration such as `90s` or `2h30m`"
        );
    }
}
