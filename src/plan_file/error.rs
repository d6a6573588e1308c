//! What is wrong with a plan.

use std::fmt;
use std::path::PathBuf;

use crate::failure::{ExitCode, Failing};

/// Where a plan, or a part of it, was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In a file.
    File(PathBuf),
    /// In the extended property `copy`.
    Property,
    /// In the extended property `shard`.
    ShardProperty,
    /// On the command line.
    Flags,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(path) => write!(formatter, "`{}`", path.display()),
            Origin::Property => formatter.write_str("the extended property `copy`"),
            Origin::ShardProperty => formatter.write_str("the extended properties"),
            Origin::Flags => formatter.write_str("the command line"),
        }
    }
}

/// There is no plan, or it makes no sense. `path` is such as `copy[2].tables`, copies counted from 1.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The file cannot be read.
    #[error("cannot read the plan")]
    Read(#[source] std::io::Error),
    /// It is neither TOML nor JSON.
    #[error("{origin} is not {form}: line {line}, column {column}: {message}")]
    Syntax {
        /// Where.
        origin: Origin,
        /// TOML or JSON.
        form: &'static str,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// It is not UTF-8.
    #[error("{origin} is not UTF-8: line {line}")]
    NotUtf8 {
        /// Where.
        origin: Origin,
        /// From 1.
        line: usize,
    },
    /// A key that there is not.
    #[error("{origin}: `{path}` is no key of a plan{}; allowed here: {allowed}", nearest_words(*nearest))]
    UnknownKey {
        /// Where.
        origin: Origin,
        /// The key.
        path: String,
        /// The key that was meant, perhaps.
        nearest: Option<&'static str>,
        /// What is allowed.
        allowed: String,
    },
    /// A key's value.
    #[error("{origin}: `{path}` is {actual}; allowed: {allowed}")]
    Value {
        /// Where.
        origin: Origin,
        /// The key.
        path: String,
        /// What stands there.
        actual: String,
        /// What is allowed.
        allowed: String,
    },
    /// A key that has to be there.
    #[error("{origin}: `{path}` is missing: {why}")]
    Missing {
        /// Where.
        origin: Origin,
        /// The key.
        path: String,
        /// What it is needed for.
        why: &'static str,
    },
    /// Keys that do not go together.
    #[error("{origin}: {message}")]
    Contradiction {
        /// Where.
        origin: Origin,
        /// What is wrong.
        message: String,
    },
    /// Nothing says what to copy.
    #[error("nothing says what to copy: no plan is named, no `--source`, and no extended property `copy`")]
    NoPlan,
}

fn nearest_words(nearest: Option<&str>) -> String {
    nearest.map_or(String::new(), |nearest| format!(", `{nearest}` is the nearest"))
}

impl PlanError {
    fn origin(&self) -> Option<&Origin> {
        match self {
            PlanError::Read(_) | PlanError::NoPlan => None,
            PlanError::Syntax { origin, .. }
            | PlanError::NotUtf8 { origin, .. }
            | PlanError::UnknownKey { origin, .. }
            | PlanError::Value { origin, .. }
            | PlanError::Missing { origin, .. }
            | PlanError::Contradiction { origin, .. } => Some(origin),
        }
    }
}

impl Failing for PlanError {
    fn exit_code(&self) -> ExitCode {
        match self.origin() {
            Some(Origin::Property | Origin::ShardProperty) => ExitCode::Activity,
            _ => ExitCode::Usage,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            PlanError::Read(_) => "plan.unreadable",
            PlanError::Syntax { .. } | PlanError::NotUtf8 { .. } => "plan.syntax",
            PlanError::UnknownKey { .. } => "plan.unknown_key",
            PlanError::Value { .. } => "plan.value",
            PlanError::Missing { .. } => "plan.missing_key",
            PlanError::Contradiction { .. } => "plan.contradiction",
            PlanError::NoPlan => "plan.none",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            PlanError::NoPlan => {
                Some("`dray copy plan.toml`, or `dray copy --source A --table T --target B`".to_owned())
            }
            _ => None,
        }
    }
}
