//! `dray doctor`: what this node has, and what of it would do.
//!
//! Owns what is looked at and how it is judged; every look gives a [`Check`], which the screen and the JSON document are
//! made of. What needs no engine is found by the supervisor ([`machine`], [`python`], the identity of [`azure`]), so that it
//! can be told where no Python is; drivers, secrets and connections are looked at in the worker ([`engine`]), whose checks
//! come as lines of JSON. Nothing here mends anything, and nothing is written but the report.

pub mod azure;
mod c_library;
pub mod engine;
pub mod machine;
pub mod python;
mod screen;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use screen::screen;

use crate::failure::ExitCode;

/// What was found in one place.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Check {
    /// What it is about.
    pub area: Area,
    /// Which of several, such as a driver's name; empty where there is one.
    pub subject: String,
    /// How it is judged.
    pub status: Status,
    /// A sentence without a full stop.
    pub text: String,
    /// The same for programs; names carry units.
    pub facts: Map<String, Value>,
}

/// What a [`Check`] is about; in the order of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Area {
    /// The distribution and its C library.
    Image,
    /// Processors and memory.
    Limits,
    /// Space for the project.
    Disk,
    /// The Batch task.
    Batch,
    /// The project's pyproject.toml, and what Data Factory handed over.
    Project,
    /// Interpreters.
    Python,
    /// ODBC drivers.
    Driver,
    /// The node's managed identity.
    Identity,
    /// A Key Vault.
    Vault,
    /// A database.
    Connection,
    /// The process that looks at drivers and connections, if it died of one.
    Worker,
}

/// How something is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It works.
    Ok,
    /// It is as it is, and neither good nor bad.
    Note,
    /// It may be missed.
    Warning,
    /// What was asked for does not work.
    Failed,
}

impl Check {
    /// A check without facts.
    pub fn new(area: Area, subject: &str, status: Status, text: String) -> Check {
        Check {
            area,
            subject: subject.to_owned(),
            status,
            text,
            facts: Map::new(),
        }
    }

    /// The check with one more fact; null is left out.
    #[must_use]
    pub fn fact(mut self, name: &str, value: impl Into<Value>) -> Check {
        let value = value.into();
        if !value.is_null() {
            self.facts.insert(name.to_owned(), value);
        }
        self
    }
}

/// All checks.
#[derive(Clone, Debug, Default)]
pub struct Diagnosis {
    /// In the order of the screen.
    pub checks: Vec<Check>,
}

impl Diagnosis {
    /// Puts the checks into the order of the screen; within an area they stay as they came, but for connections and secrets,
    /// which come as fast as their servers are.
    pub fn new(mut checks: Vec<Check>) -> Diagnosis {
        let subject = |check: &Check| match check.area {
            Area::Connection | Area::Vault => (check.subject.clone(), check.text.clone()),
            _ => <(String, String)>::default(),
        };
        checks.sort_by_key(|check| (check.area, subject(check)));
        Diagnosis { checks }
    }

    /// The exit code: 0 if nothing has failed, else that of what a run would fail with first.
    pub fn exit_code(&self) -> u8 {
        let mut failed = self.checks.iter().filter(|check| check.status == Status::Failed);
        let code = failed.next().map(|check| match check.area {
            Area::Image | Area::Limits | Area::Disk | Area::Batch | Area::Worker => ExitCode::Internal,
            Area::Project => match check.facts.get("exit_code").and_then(Value::as_u64) {
                Some(code) if code == u64::from(ExitCode::Activity.number()) => ExitCode::Activity,
                _ => ExitCode::Project,
            },
            Area::Python => ExitCode::Interpreter,
            Area::Driver | Area::Connection => ExitCode::Connection,
            Area::Identity | Area::Vault => ExitCode::Secret,
        });
        code.map_or(0, ExitCode::number)
    }

    /// The document of `--json`:
    ///
    /// ```json
    /// {"dray": "0.1.0", "exit_code": 0, "checks": [{"area": "driver", "subject": "SQLite3", "status": "ok",
    ///  "text": "...", "facts": {...}}]}
    /// ```
    pub fn to_json(&self) -> Value {
        serde_json::json!({
            "dray": env!("CARGO_PKG_VERSION"),
            "exit_code": self.exit_code(),
            "checks": self.checks,
        })
    }
}
