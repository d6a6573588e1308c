//! Levels, and the reading of `--log-level`: which records are written at all.

use std::str::FromStr;

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

use super::TelemetryError;

/// How serious a record is; Rust's and Python's levels in one scale, the most serious last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Below Python's DEBUG.
    Trace,
    /// For finding a fault.
    Debug,
    /// The course of a run; the default.
    Info,
    /// Something to look at, though the run goes on.
    Warning,
    /// Something failed.
    Error,
    /// Python's CRITICAL.
    Critical,
}

impl LogLevel {
    /// The name in log records: `trace`, `debug`, `info`, `warning`, `error`, `critical`.
    pub fn name(self) -> &'static str {
        match self {
            LogLevel::Trace => "trace",
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warning => "warning",
            LogLevel::Error => "error",
            LogLevel::Critical => "critical",
        }
    }

    /// The level for a number of Python's `logging` (10 is DEBUG, 50 is CRITICAL); numbers between two count as the
    /// lower one.
    pub fn from_python(number: i64) -> Self {
        match number {
            50.. => LogLevel::Critical,
            40.. => LogLevel::Error,
            30.. => LogLevel::Warning,
            20.. => LogLevel::Info,
            10.. => LogLevel::Debug,
            _ => LogLevel::Trace,
        }
    }

    /// The number of Python's `logging` at which this level starts; 5 for trace, which Python has no name for.
    pub fn to_python(self) -> i64 {
        match self {
            LogLevel::Trace => 5,
            LogLevel::Debug => 10,
            LogLevel::Info => 20,
            LogLevel::Warning => 30,
            LogLevel::Error => 40,
            LogLevel::Critical => 50,
        }
    }

    pub(super) fn from_tracing(level: Level) -> Self {
        match level {
            Level::TRACE => LogLevel::Trace,
            Level::DEBUG => LogLevel::Debug,
            Level::INFO => LogLevel::Info,
            Level::WARN => LogLevel::Warning,
            Level::ERROR => LogLevel::Error,
        }
    }

    /// The nearest level of `tracing`, which has no critical.
    pub(super) fn to_tracing(self) -> Level {
        match self {
            LogLevel::Trace => Level::TRACE,
            LogLevel::Debug => Level::DEBUG,
            LogLevel::Info => Level::INFO,
            LogLevel::Warning => Level::WARN,
            LogLevel::Error | LogLevel::Critical => Level::ERROR,
        }
    }

    /// The escape sequence that sets its colour.
    pub(super) fn colour(self) -> &'static str {
        match self {
            LogLevel::Trace | LogLevel::Debug => "\x1b[34m",
            LogLevel::Info => "\x1b[32m",
            LogLevel::Warning => "\x1b[33m",
            LogLevel::Error => "\x1b[31m",
            LogLevel::Critical => "\x1b[1;31m",
        }
    }
}

/// A level and its exceptions, as `--log-level` takes them: `info`, or `info,dray::project=debug,azure=warning`.
///
/// Parts are separated by commas. A part without `=` is the level of all that no other part names (default `info`), and
/// of dray itself; Rust crates that dray uses say nothing below `warning` unless named. `TARGET=LEVEL` sets the level of
/// every logger whose name starts with TARGET; the longest TARGET counts. Levels: `off`, `error`, `warning` or `warn`,
/// `info`, `debug`, `trace`, in any case; `critical` counts as `error`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelSpec {
    base: LevelFilter,
    targets: Vec<(String, LevelFilter)>,
}

impl Default for LevelSpec {
    fn default() -> Self {
        LevelSpec {
            base: LevelFilter::INFO,
            targets: Vec::new(),
        }
    }
}

impl FromStr for LevelSpec {
    type Err = TelemetryError;

    fn from_str(text: &str) -> Result<Self, TelemetryError> {
        let mut spec = LevelSpec::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                None => spec.base = level_filter(part)?,
                Some((target, level)) if !target.trim().is_empty() => {
                    spec.targets
                        .push((target.trim().to_owned(), level_filter(level.trim())?));
                }
                Some(_) => return Err(TelemetryError::Level { found: part.to_owned() }),
            }
        }
        Ok(spec)
    }
}

impl LevelSpec {
    /// The level of what no target names; `None` for `off`.
    pub fn base(&self) -> Option<LogLevel> {
        self.base.into_level().map(LogLevel::from_tracing)
    }

    /// For `tracing` events, whose targets are module paths.
    pub(super) fn for_rust(&self) -> Targets {
        Targets::new()
            .with_default(self.base.min(LevelFilter::WARN))
            .with_target("dray", self.base)
            .with_targets(self.targets.clone())
    }

    /// For Python's records, whose targets are logger names: all of them are the user's choice of packages.
    pub(super) fn for_python(&self) -> Targets {
        Targets::new()
            .with_default(self.base)
            .with_targets(self.targets.clone())
    }
}

fn level_filter(text: &str) -> Result<LevelFilter, TelemetryError> {
    match text.to_ascii_lowercase().as_str() {
        "off" => Ok(LevelFilter::OFF),
        "error" | "critical" => Ok(LevelFilter::ERROR),
        "warn" | "warning" => Ok(LevelFilter::WARN),
        "info" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        "trace" => Ok(LevelFilter::TRACE),
        _ => Err(TelemetryError::Level { found: text.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_level_counts_for_dray_and_python_and_leaves_other_crates_at_warning() {
        let spec: LevelSpec = "debug".parse().unwrap();
        assert!(spec.for_rust().would_enable("dray::project", &Level::DEBUG));
        assert!(!spec.for_rust().would_enable("zip", &Level::INFO));
        assert!(spec.for_python().would_enable("any.package", &Level::DEBUG));
        assert_eq!(spec.base(), Some(LogLevel::Debug));
        let quiet: LevelSpec = "error".parse().unwrap();
        assert!(!quiet.for_rust().would_enable("zip", &Level::WARN));
    }

    #[test]
    fn the_longest_target_counts() {
        let spec: LevelSpec = "WARNING, azure=off ,azure.core=Debug,zip=info".parse().unwrap();
        assert!(!spec.for_python().would_enable("azure.storage", &Level::ERROR));
        assert!(spec.for_python().would_enable("azure.core.pipeline", &Level::DEBUG));
        assert!(spec.for_rust().would_enable("zip::read", &Level::INFO));
        assert!(!spec.for_rust().would_enable("dray", &Level::INFO));
    }

    #[test]
    fn an_unknown_level_is_named() {
        let error = "info,dray=loud".parse::<LevelSpec>().unwrap_err();
        assert!(error.to_string().contains("`loud`"), "{error}");
        assert!("=info".parse::<LevelSpec>().is_err());
    }

    #[test]
    fn python_numbers_count_as_the_level_below() {
        assert_eq!(LogLevel::from_python(35), LogLevel::Warning);
        assert_eq!(LogLevel::from_python(0), LogLevel::Trace);
        for level in [LogLevel::Trace, LogLevel::Info, LogLevel::Critical] {
            assert_eq!(LogLevel::from_python(level.to_python()), level);
        }
    }
}
