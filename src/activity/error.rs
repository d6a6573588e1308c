//! What can be wrong with the files that ADF handed over, and with what they say.

use std::path::PathBuf;

use super::reference::KeyVaultSecret;
use crate::failure::{ExitCode, Failing};
use crate::json_file::JsonFileError;

/// An error of [`super::Handover`]. No text of it holds a value out of the files.
#[derive(Debug, thiserror::Error)]
pub enum ActivityError {
    /// One of the three files is unreadable, not JSON, or of the wrong shape.
    #[error(transparent)]
    File(#[from] JsonFileError),

    /// No linked service has that name.
    #[error("linked service `{name}` is not among those handed over: {}", listed(known))]
    UnknownLinkedService {
        /// The name asked for.
        name: String,
        /// The names in linkedServices.json, the nearest first.
        known: Vec<String>,
    },

    /// The linked service's type is none that dray makes a connection of.
    #[error("linked service `{name}` is of type `{type_name}`, supported for connections: `Odbc`")]
    UnsupportedType {
        /// The linked service.
        name: String,
        /// Its type; empty if it has none.
        type_name: String,
    },

    /// A key that a connection needs is absent.
    #[error("linked service `{name}` has no `{key}`")]
    MissingKey {
        /// The linked service.
        name: String,
        /// Path of the key below `properties`.
        key: &'static str,
    },

    /// A key holds another kind of value than a connection needs.
    #[error("`{key}` of linked service `{name}` is {found}, expected {expected}")]
    WrongKind {
        /// The linked service.
        name: String,
        /// Path of the key below `properties`.
        key: &'static str,
        /// Kind of the value there, such as `an array`.
        found: &'static str,
        /// What belongs there.
        expected: &'static str,
    },

    /// `authenticationType` is none of those that ADF defines for Odbc.
    #[error(
        "linked service `{name}` has the authentication type `{found}`, supported for `Odbc`: `Basic` and `Anonymous`"
    )]
    UnknownAuthentication {
        /// The linked service.
        name: String,
        /// The value found.
        found: String,
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

    /// The value lies in a Key Vault.
    #[error(
        "{what} is a reference to secret `{}` in Key Vault `{}`, which dray does not resolve",
        reference.secret_name.as_deref().unwrap_or("?"), reference.store.as_deref().unwrap_or("?")
    )]
    KeyVaultReference {
        /// Whose value it is, with its name: "`password` of linked service `X`".
        what: String,
        /// The reference.
        reference: KeyVaultSecret,
    },

    /// An expression that ADF did not evaluate.
    #[error("{what} is an expression that Azure Data Factory left unevaluated")]
    Unevaluated {
        /// Whose value it is, with its name.
        what: String,
    },

    /// A NUL character, which neither a connection string nor an argument can carry.
    #[error("{what} contains a NUL character")]
    Nul {
        /// Whose value it is, with its name.
        what: String,
    },

    /// A connection string whose braces do not close.
    #[error("`typeProperties.connectionString` of linked service `{name}` is malformed: {problem}")]
    MalformedConnectionString {
        /// The linked service.
        name: String,
        /// What is wrong with it, without its text.
        problem: &'static str,
    },

    /// An extended property without a name cannot become an argument.
    #[error("an extended property has an empty name, which makes no argument")]
    EmptyName,

    /// The task folder itself is not there.
    #[error("task folder `{}` is not a folder", path.display())]
    NoTaskFolder {
        /// The path.
        path: PathBuf,
    },
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "there are none".to_owned();
    }
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    format!("there are {}", quoted.join(", "))
}

impl Failing for ActivityError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Activity
    }

    fn code(&self) -> &'static str {
        match self {
            ActivityError::File(error) => match error {
                JsonFileError::Unreadable(_) | JsonFileError::NotAFile { .. } => "activity.unreadable",
                JsonFileError::TooLarge { .. } => "activity.too_large",
                JsonFileError::NotText { .. } | JsonFileError::NotJson { .. } | JsonFileError::Empty { .. } => {
                    "activity.not_json"
                }
                JsonFileError::WrongShape { .. } => "activity.wrong_shape",
            },
            ActivityError::UnknownLinkedService { .. } => "activity.unknown_linked_service",
            ActivityError::UnsupportedType { .. } => "activity.unsupported_type",
            ActivityError::MissingKey { .. } => "activity.missing_key",
            ActivityError::WrongKind { .. } => "activity.wrong_kind",
            ActivityError::UnknownAuthentication { .. } => "activity.unknown_authentication",
            ActivityError::PasswordKeptBack { .. } => "activity.password_kept_back",
            ActivityError::KeyVaultReference { .. } => "activity.key_vault_reference",
            ActivityError::Unevaluated { .. } => "activity.unevaluated_expression",
            ActivityError::Nul { .. } => "activity.nul",
            ActivityError::MalformedConnectionString { .. } => "activity.malformed_connection_string",
            ActivityError::EmptyName => "activity.empty_name",
            ActivityError::NoTaskFolder { .. } => "activity.no_task_folder",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            ActivityError::UnknownLinkedService { name, .. } => Some(format!(
                "add a reference to `{name}` to `referenceObjects.linkedServices` of the custom activity: only what is \
                 listed there is handed over"
            )),
            ActivityError::PasswordKeptBack { .. } => Some(
                "pass the password as a SecureString in the activity's `extendedProperties`, and give the copy a \
                 connection string of your own"
                    .to_owned(),
            ),
            ActivityError::KeyVaultReference { .. } => Some(
                "read the secret with a Web activity and pass it as a SecureString in the activity's \
                 `extendedProperties`"
                    .to_owned(),
            ),
            ActivityError::UnsupportedType { .. } => {
                Some("pass an ODBC connection string instead of the linked service's name".to_owned())
            }
            _ => None,
        }
    }
}
