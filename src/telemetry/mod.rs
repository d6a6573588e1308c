//! Log lines on stderr: `tracing` events of dray and records of Python's `logging`, in one format, with secrets masked.
//!
//! Owns the format, the levels, the current phase and the set of known secrets. These belong to the process as a whole
//! (there is one stderr, and a secret stays one wherever the text comes from), so they are globals here and nowhere else.
//! The executable and the native module each have a copy of this library, so each calls [`init`] for itself.
//!
//! A record in JSON, on one line:
//!
//! ```json
//! {"time": "2026-11-21T06:00:00.000123Z", "level": "info", "event": "project.unpacked", "message": "...",
//!  "phase": "unpacking", "pool_id": "...", "node_id": "...", "job_id": "...", "task_id": "...",
//!  "logger": "dray::project", "exception": "Traceback ...", "fields": {"members": 5}}
//! ```
//!
//! `phase`, the Batch ids, `exception` and `fields` are left out where there is nothing to say. `event` is a stable name
//! for machines, `log` where the record has none.
//!
//! Each record is written by one write(2) and without a lock: a lock that another thread holds while Python forks would
//! stay held in the child for ever.

mod filter;
mod layer;
mod record;
mod redact;
mod spellings;
mod stream;

use std::borrow::Cow;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::str::FromStr;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use serde_json::{Map, Value};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;

pub use filter::{LevelSpec, LogLevel};
pub use redact::Redactor;
pub use stream::{MaskedStream, Passed};

use crate::activity::BatchIdentity;
use crate::failure::{ExitCode, Failing};
use layer::RecordLayer;
use record::Record;

/// The value of `event` in records that have none of their own.
const UNNAMED_EVENT: &str = "log";

/// The form of log lines, as `--log-format` takes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text if stderr is a terminal, JSON otherwise.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// For people; with colours on a terminal unless NO_COLOR is set.
    Text,
}

impl FromStr for LogFormat {
    type Err = TelemetryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(LogFormat::Auto),
            "json" => Ok(LogFormat::Json),
            "text" => Ok(LogFormat::Text),
            _ => Err(TelemetryError::Format { found: text.to_owned() }),
        }
    }
}

/// What [`init`] needs to know.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The form of log lines.
    pub format: LogFormat,
    /// Which records are written.
    pub level: LevelSpec,
    /// Whose ids every record carries.
    pub batch: BatchIdentity,
    /// Known secrets; more can follow through [`redactor`].
    pub secrets: Vec<String>,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// A part of `--log-level` is no level.
    #[error(
        "`{found}` is no log level, expected `off`, `error`, `warning`, `info`, `debug` or `trace`, or `TARGET=LEVEL`"
    )]
    Level {
        /// The part.
        found: String,
    },
    /// `--log-format` is not one of the three.
    #[error("`{found}` is no log format, expected `auto`, `json` or `text`")]
    Format {
        /// What was given.
        found: String,
    },
    /// [`init`] was called twice in one process.
    #[error("logging is set up already")]
    Twice,
}

impl Failing for TelemetryError {
    fn exit_code(&self) -> ExitCode {
        match self {
            TelemetryError::Level { .. } | TelemetryError::Format { .. } => ExitCode::Usage,
            TelemetryError::Twice => ExitCode::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            TelemetryError::Level { .. } => "usage.log_level",
            TelemetryError::Format { .. } => "usage.log_format",
            TelemetryError::Twice => "internal.logging_set_up_twice",
        }
    }
}

struct Output {
    json: bool,
    colour: bool,
    batch: Vec<(&'static str, String)>,
    python: Targets,
}

static OUTPUT: OnceLock<Output> = OnceLock::new();
static PHASE: RwLock<Cow<'static, str>> = RwLock::new(Cow::Borrowed(""));
static REDACTOR: Redactor = Redactor::new();
static SCREEN: RwLock<Option<Arc<Screen>>> = RwLock::new(None);

/// Has something written to a terminal that somebody draws on: takes the drawing away, writes, and draws again.
pub type Screen = dyn Fn(&mut dyn FnMut()) + Send + Sync;

/// Starts logging to stderr; before that, records are dropped. Once a process.
///
/// # Errors
/// [`TelemetryError::Twice`].
pub fn init(settings: Settings) -> Result<(), TelemetryError> {
    REDACTOR.add_all(settings.secrets.iter().map(String::as_str));
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_terminal = io::stderr().is_terminal();
    let json = match settings.format {
        LogFormat::Auto => !is_terminal,
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let rust = settings.level.for_rust();
    let output = Output {
        json,
        // NO_COLOR: https://no-color.org, any value but an empty one counts.
        colour: is_terminal && !is_set("NO_COLOR") && !is_dumb,
        batch: settings
            .batch
            .log_members()
            .map(|(key, value)| (key, value.to_owned()))
            .collect(),
        python: settings.level.for_python(),
    };
    OUTPUT.set(output).map_err(|_| TelemetryError::Twice)?;
    let subscriber = tracing_subscriber::registry().with(RecordLayer.with_filter(rust));
    tracing::subscriber::set_global_default(subscriber).map_err(|_| TelemetryError::Twice)
}

/// Who draws on the terminal that stderr is, from now on; `None`: nobody does. For processes that never fork: a record is
/// then no longer written without a lock.
pub fn set_screen(screen: Option<Arc<Screen>>) {
    *SCREEN.write().unwrap_or_else(PoisonError::into_inner) = screen;
}

/// The process's known secrets, masked in all that dray writes.
pub fn redactor() -> &'static Redactor {
    &REDACTOR
}

/// Names what the run is doing now, such as `unpacking`; every record from now on carries it. Empty: none.
pub fn set_phase(phase: impl Into<Cow<'static, str>>) {
    *PHASE.write().unwrap_or_else(PoisonError::into_inner) = phase.into();
}

/// The phase that was set last; empty before the first one.
pub fn phase() -> Cow<'static, str> {
    PHASE.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Whether a record of Python's logger `logger` would be written; false before [`init`].
pub fn is_enabled(level: LogLevel, logger: &str) -> bool {
    OUTPUT
        .get()
        .is_some_and(|output| output.python.would_enable(logger, &level.to_tracing()))
}

/// Writes a record of Python's `logging`, if its logger's level allows.
///
/// `fields` are the record's extra attributes; a string under `event` among them becomes the record's event.
/// `exception` is the formatted traceback. All strings are masked, also keys.
pub fn emit(level: LogLevel, logger: &str, message: &str, mut fields: Map<String, Value>, exception: Option<&str>) {
    if !is_enabled(level, logger) {
        return;
    }
    let event = match fields.get("event") {
        Some(Value::String(event)) => {
            let event = event.clone();
            fields.shift_remove("event");
            event
        }
        _ => String::new(),
    };
    write(Entry {
        level,
        event: &event,
        logger,
        message,
        fields,
        exception,
    });
}

/// A record before masking.
struct Entry<'a> {
    level: LogLevel,
    /// Empty if it has none.
    event: &'a str,
    logger: &'a str,
    message: &'a str,
    fields: Map<String, Value>,
    exception: Option<&'a str>,
}

fn write(entry: Entry<'_>) {
    let Some(output) = OUTPUT.get() else { return };
    let mut fields = Value::Object(entry.fields);
    REDACTOR.redact_json(&mut fields);
    let Value::Object(fields) = fields else { return };
    let event = if entry.event.is_empty() {
        UNNAMED_EVENT
    } else {
        entry.event
    };
    let message = if entry.message.is_empty() { event } else { entry.message };
    let exception = entry.exception.map(|exception| REDACTOR.redact(exception));
    let record = Record {
        time: Timestamp::now(),
        level: entry.level,
        event: &REDACTOR.redact(event),
        message: &REDACTOR.redact(message),
        phase: &phase(),
        batch: &output.batch,
        logger: &REDACTOR.redact(entry.logger),
        fields,
        exception: exception.as_deref(),
    };
    let line = if output.json {
        record.to_json()
    } else {
        record.to_text(output.colour)
    };
    let screen = SCREEN.read().unwrap_or_else(PoisonError::into_inner).clone();
    match screen {
        Some(screen) => screen(&mut || write_to_stderr(line.as_bytes())),
        None => write_to_stderr(line.as_bytes()),
    }
}

/// One write(2) for the whole record; more only where the kernel takes less, or a script made the stream non-blocking.
/// A stderr that is closed or full is no reason to fail a run, and there is nowhere left to say so.
fn write_to_stderr(mut bytes: &[u8]) {
    let stderr = io::stderr();
    while !bytes.is_empty() {
        match rustix::io::write(stderr.as_fd(), bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut waiting = [PollFd::new(&stderr, PollFlags::OUT)];
                if !matches!(poll(&mut waiting, None), Ok(_) | Err(Errno::INTR)) {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests;
