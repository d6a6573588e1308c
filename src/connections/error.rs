//! Why a name, a URL or a linked service does not become a connection string.

use std::fmt;

use crate::activity::ActivityError;
use crate::azure::AzureError;
use crate::failure::{ExitCode, Failing};
use crate::odbc;
use crate::project::ProjectError;

/// Where a connection was described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A linked service of this name.
    LinkedService(String),
    /// The environment variable of this name.
    Variable(String),
    /// `[tool.dray.connections]` of the project, under this name.
    Project(String),
    /// The script itself.
    Text,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::LinkedService(name) => write!(f, "linked service `{name}`"),
            Origin::Variable(name) => write!(f, "environment variable `{name}`"),
            Origin::Project(name) => write!(f, "`{name}` of `[tool.dray.connections]`"),
            Origin::Text => f.write_str("the connection given by the script"),
        }
    }
}

impl Origin {
    fn exit_code(&self) -> ExitCode {
        match self {
            Origin::LinkedService(_) => ExitCode::Activity,
            Origin::Project(_) | Origin::Variable(_) | Origin::Text => ExitCode::Connection,
        }
    }
}

/// An error of [`super::Connections`]. No text of it holds a value that may be a secret.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// What ADF handed over cannot be read, or a value of it is not there.
    #[error(transparent)]
    Activity(#[from] ActivityError),

    /// A secret cannot be had from its Key Vault.
    #[error(transparent)]
    Azure(#[from] AzureError),

    /// A reference to a secret in a Key Vault whose linked service was not handed over.
    #[error(
        "Key Vault `{store}` is not among the linked services that the activity references; key vaults among them: {}",
        if vaults.is_empty() { "none".to_owned() } else { quoted(vaults, ", ") }
    )]
    VaultNotReferenced {
        /// The name that the reference has for it.
        store: String,
        /// The vaults that were handed over.
        vaults: Vec<String>,
    },

    /// A reference to a secret that names a linked service of another type.
    #[error("linked service `{name}` is of type `{type_name}`, and no Key Vault to take a secret from")]
    NoVault {
        /// The linked service.
        name: String,
        /// Its type; empty if it has none.
        type_name: String,
    },

    /// A reference to a secret that does not say which.
    #[error("a reference to a secret in a Key Vault has no {lacks}")]
    ReferenceIncomplete {
        /// The key that it lacks.
        lacks: &'static str,
    },

    /// The project's pyproject.toml cannot be read.
    #[error(transparent)]
    Project(#[from] ProjectError),

    /// No driver, or a data source without one.
    #[error(transparent)]
    Odbc(#[from] odbc::Error),

    /// Nothing has that name.
    #[error(
        "no connection is named `{name}`: {}",
        described(linked_services, connections, sources, variable)
    )]
    UnknownName {
        /// The name asked for.
        name: String,
        /// The environment variable that would give it.
        variable: String,
        /// The linked services handed over, the nearest name first.
        linked_services: Vec<String>,
        /// The names in `[tool.dray.connections]`, the nearest first.
        connections: Vec<String>,
        /// The data sources of odbc.ini, the nearest first.
        sources: Vec<String>,
    },

    /// The linked service's type is none that dray makes a connection of.
    #[error(
        "linked service `{name}` is of type `{type_name}`, for which dray knows no ODBC driver; supported for connections: {}",
        quoted(supported, ", ")
    )]
    UnsupportedType {
        /// The linked service.
        name: String,
        /// Its type; empty if it has none.
        type_name: String,
        /// The types that are supported.
        supported: Vec<String>,
    },

    /// A key that a connection needs is absent.
    #[error("linked service `{name}` has no `{key}`")]
    MissingKey {
        /// The linked service.
        name: String,
        /// Path of the key below `properties`.
        key: String,
    },

    /// A key holds another kind of value than a connection needs.
    #[error("`{key}` of linked service `{name}` is {found}, expected {expected}")]
    WrongKind {
        /// The linked service.
        name: String,
        /// Path of the key below `properties`.
        key: String,
        /// Kind of the value there, such as `an array`.
        found: &'static str,
        /// What belongs there.
        expected: &'static str,
    },

    /// The way to sign in is none that a driver here has.
    #[error(
        "linked service `{name}` has the authentication type `{found}`, supported for `{type_name}`: {}",
        quoted(supported, ", ")
    )]
    UnknownAuthentication {
        /// The linked service.
        name: String,
        /// Its type.
        type_name: String,
        /// The value found.
        found: String,
        /// The values that are supported.
        supported: Vec<String>,
    },

    /// The password was encrypted by a self-hosted integration runtime, or kept back by it.
    #[error(
        "linked service `{name}` brings no password: {}",
        if *encrypted { "it was encrypted by its integration runtime (`encryptedCredential`), which only that can read" }
        else { "it connects via a self-hosted integration runtime, which keeps passwords to itself" }
    )]
    PasswordKeptBack {
        /// The linked service.
        name: String,
        /// Whether there is an `encryptedCredential`.
        encrypted: bool,
    },

    /// A key whose meaning cannot be kept.
    #[error("`{key}` of linked service `{name}` cannot be followed: {reason}")]
    RefusedKey {
        /// The linked service.
        name: String,
        /// The key.
        key: String,
        /// Why.
        reason: &'static str,
    },

    /// No dataset of that name was handed over.
    #[error("dataset `{name}` is not among those handed over")]
    UnknownDataset {
        /// The name asked for.
        name: String,
    },

    /// A dataset that stands for no table, or belongs to nothing.
    #[error("dataset `{name}` names no {lacks}")]
    DatasetIncomplete {
        /// The dataset.
        name: String,
        /// `table` or `linked service`.
        lacks: &'static str,
    },

    /// A parameter of a linked service or dataset has no value.
    #[error("{what} needs parameter `{parameter}`, which has neither a value nor a default")]
    MissingParameter {
        /// What holds the expression.
        what: String,
        /// The parameter.
        parameter: String,
    },

    /// A text that is no connection string and no URL, or a broken one.
    #[error("{origin}: {problem}")]
    Malformed {
        /// Where it stands.
        origin: Origin,
        /// What is wrong with it, without its text.
        problem: String,
    },

    /// A parameter of a URL that no driver here can follow.
    #[error("{origin}: `{parameter}` cannot be followed: {reason}")]
    RefusedParameter {
        /// Where the URL stands.
        origin: Origin,
        /// The parameter.
        parameter: String,
        /// Why.
        reason: String,
    },

    /// A setting that makes no sense.
    #[error("{origin}: `{setting}` {problem}")]
    Value {
        /// Where it stands.
        origin: Origin,
        /// The setting.
        setting: &'static str,
        /// What is wrong with its value.
        problem: String,
    },

    /// `${NAME}` stands for a variable that is not set.
    #[error("{origin} needs environment variable `{variable}`, which is not set")]
    UnsetVariable {
        /// Where it stands.
        origin: Origin,
        /// The variable.
        variable: String,
    },

    /// There are drivers for the product, but none that can do what is asked.
    #[error(
        "{origin}: driver `{driver}` {reason}, and no other driver for it is on this node; looked for {}",
        quoted(wanted, ", ")
    )]
    DriverUnfit {
        /// Whose connection it would be.
        origin: Origin,
        /// The driver that is there.
        driver: String,
        /// What it lacks.
        reason: &'static str,
        /// The drivers that would do.
        wanted: Vec<String>,
    },
}

fn quoted(names: &[String], separator: &str) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(separator)
}

fn described(linked_services: &[String], connections: &[String], sources: &[String], variable: &str) -> String {
    let one = |what: &str, names: &[String]| match names {
        [] => format!("{what}: none"),
        names => format!("{what}: {}", quoted(names, ", ")),
    };
    [
        one("linked services handed over", linked_services),
        one("`[tool.dray.connections]`", connections),
        one("data sources of odbc.ini", sources),
        format!("environment variable `{variable}`: not set"),
    ]
    .join("; ")
}

impl Failing for ConnectionError {
    fn exit_code(&self) -> ExitCode {
        match self {
            ConnectionError::Activity(error) => error.exit_code(),
            ConnectionError::Azure(error) => error.exit_code(),
            ConnectionError::Project(error) => error.exit_code(),
            ConnectionError::Odbc(error) => error.exit_code(),
            ConnectionError::Malformed { origin, .. }
            | ConnectionError::RefusedParameter { origin, .. }
            | ConnectionError::UnsetVariable { origin, .. }
            | ConnectionError::Value { origin, .. } => origin.exit_code(),
            ConnectionError::DriverUnfit { .. } => ExitCode::Connection,
            _ => ExitCode::Activity,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            ConnectionError::Activity(error) => error.code(),
            ConnectionError::Azure(error) => error.code(),
            ConnectionError::VaultNotReferenced { .. } => "activity.vault_not_referenced",
            ConnectionError::NoVault { .. } => "activity.no_vault",
            ConnectionError::ReferenceIncomplete { .. } => "activity.reference_incomplete",
            ConnectionError::Project(error) => error.code(),
            ConnectionError::Odbc(error) => error.code(),
            ConnectionError::UnknownName { .. } => "connection.unknown_name",
            ConnectionError::UnsupportedType { .. } => "activity.unsupported_type",
            ConnectionError::MissingKey { .. } => "activity.missing_key",
            ConnectionError::WrongKind { .. } => "activity.wrong_kind",
            ConnectionError::UnknownAuthentication { .. } => "activity.unknown_authentication",
            ConnectionError::PasswordKeptBack { .. } => "activity.password_kept_back",
            ConnectionError::RefusedKey { .. } => "activity.refused_key",
            ConnectionError::MissingParameter { .. } => "activity.missing_parameter",
            ConnectionError::UnknownDataset { .. } => "activity.unknown_dataset",
            ConnectionError::DatasetIncomplete { .. } => "activity.dataset_incomplete",
            ConnectionError::Malformed {
                origin: Origin::LinkedService(_),
                ..
            } => "activity.malformed_connection_string",
            ConnectionError::Malformed { .. } => "connection.malformed",
            ConnectionError::RefusedParameter { .. } => "connection.refused_parameter",
            ConnectionError::Value { .. } => "connection.value",
            ConnectionError::UnsetVariable { .. } => "connection.unset_variable",
            ConnectionError::DriverUnfit { .. } => "connection.driver_unfit",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            ConnectionError::Activity(error) => error.hint(),
            ConnectionError::Azure(error) => error.hint(),
            ConnectionError::VaultNotReferenced { store, .. } => Some(format!(
                "in the pipeline, add {{\"referenceName\": \"{store}\", \"type\": \"LinkedServiceReference\"}} to \
                 `referenceObjects.linkedServices` of the custom activity: only what is listed there is handed over"
            )),
            ConnectionError::Project(error) => error.hint(),
            ConnectionError::Odbc(error) => error.hint(),
            ConnectionError::UnknownName { name, variable, .. } => Some(format!(
                "in a pipeline, add a reference to `{name}` to `referenceObjects.linkedServices` of the custom activity: \
                 only what is listed there is handed over; elsewhere, set `{variable}` or add `{name}` to \
                 `[tool.dray.connections]` of pyproject.toml"
            )),
            ConnectionError::PasswordKeptBack { .. } => Some(
                "pass the password as a SecureString in the activity's `extendedProperties`, and give the copy a \
                 connection string of your own"
                    .to_owned(),
            ),
            ConnectionError::UnsupportedType { .. } | ConnectionError::RefusedKey { .. } => {
                Some("pass an ODBC connection string instead of the linked service's name".to_owned())
            }
            ConnectionError::DriverUnfit { .. } => Some(
                "add the package `mssql-python-odbc` to the project, which brings Microsoft's driver, or install one of \
                 these in the pool's start task"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}
