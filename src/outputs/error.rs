//! Why an outputs.json was refused or could not be written.

use std::path::PathBuf;

use super::{FILE_NAME, MAX_BYTES};
use crate::failure::{ExitCode, Failing};
use crate::json_file::JsonFileError;

/// An error of this module. No text of it holds a value out of the outputs; key names are masked.
#[derive(Debug, thiserror::Error)]
pub enum OutputsError {
    /// The outputs.json that the script wrote itself is unreadable, not JSON, or not an object.
    #[error("the `{FILE_NAME}` that the script wrote cannot be used")]
    Script(#[from] JsonFileError),

    /// More than ADF takes.
    #[error(
        "the outputs hold {size_bytes} bytes, the limit is {MAX_BYTES} bytes; the largest: {}",
        listed(largest)
    )]
    TooLarge {
        /// Size of the whole document.
        size_bytes: usize,
        /// The largest top-level keys with the bytes that each takes, the largest first.
        largest: Vec<(String, usize)>,
    },

    /// A folder, pipe or device stands where the file belongs.
    #[error("cannot write `{}`: {kind} of that name is in the way", path.display())]
    InTheWay {
        /// The file's path.
        path: PathBuf,
        /// `a folder`, or `a special file`.
        kind: &'static str,
    },

    /// The node refused: disk full, no permission.
    #[error("cannot write `{}`", path.display())]
    NotWritten {
        /// The file's path.
        path: PathBuf,
        /// The reason; names the path of the temporary file.
        #[source]
        source: std::io::Error,
    },

    /// The file of an earlier attempt cannot be removed.
    #[error("cannot remove the `{FILE_NAME}` of an earlier attempt")]
    Stale(#[source] std::io::Error),

    /// What the worker wrote down of its run cannot be read.
    #[error("cannot read the worker's events")]
    Events(#[source] std::io::Error),
}

fn listed(keys: &[(String, usize)]) -> String {
    let keys: Vec<String> = keys
        .iter()
        .map(|(key, size_bytes)| format!("`{key}` ({size_bytes} bytes)"))
        .collect();
    keys.join(", ")
}

impl Failing for OutputsError {
    fn exit_code(&self) -> ExitCode {
        match self {
            OutputsError::Script(_) | OutputsError::TooLarge { .. } | OutputsError::InTheWay { .. } => {
                ExitCode::Outputs
            }
            OutputsError::NotWritten { .. } | OutputsError::Stale(_) | OutputsError::Events(_) => ExitCode::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            OutputsError::Script(error) => match error {
                JsonFileError::Unreadable(_) | JsonFileError::NotAFile { .. } => "outputs.unreadable",
                JsonFileError::TooLarge { .. } => "outputs.too_large",
                JsonFileError::WrongShape { .. } => "outputs.not_an_object",
                JsonFileError::NotText { .. } | JsonFileError::Empty { .. } | JsonFileError::NotJson { .. } => {
                    "outputs.not_json"
                }
            },
            OutputsError::TooLarge { .. } => "outputs.too_large",
            OutputsError::InTheWay { .. } => "outputs.in_the_way",
            OutputsError::NotWritten { .. } => "outputs.not_written",
            OutputsError::Stale(_) => "outputs.stale",
            OutputsError::Events(_) => "outputs.events_unreadable",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            OutputsError::Script(JsonFileError::NotJson { .. }) => Some(
                "Python's `json.dump` writes NaN and Infinity, which are not JSON; `allow_nan=False` makes it refuse \
                 them, and `dray.outputs` checks each value where it is set"
                    .to_owned(),
            ),
            OutputsError::TooLarge { .. } => {
                Some("write large results to storage and put their address into the outputs".to_owned())
            }
            _ => None,
        }
    }
}
