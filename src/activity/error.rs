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

    /// The value lies in a Key Vault, and is none that a connection needs: a table's name, the address of a vault.
    #[error(
        "{what} is a reference to secret `{}` in Key Vault `{}`, and no secret is fetched for that",
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
            ActivityError::KeyVaultReference { .. } => "activity.key_vault_reference",
            ActivityError::Unevaluated { .. } => "activity.unevaluated_expression",
            ActivityError::Nul { .. } => "activity.nul",
            ActivityError::EmptyName => "activity.empty_name",
            ActivityError::NoTaskFolder { .. } => "activity.no_task_folder",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            ActivityError::Unevaluated { .. } => Some(
                "functions and variables of Azure Data Factory have no value on the node: pass what the expression comes \
                 to in `extendedProperties`, or as a parameter in `referenceObjects`"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}
