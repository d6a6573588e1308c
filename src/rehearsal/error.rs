//! Why an activity cannot be rehearsed.

use std::path::PathBuf;

use super::expression::Fault;
use crate::failure::{ExitCode, Failing};
use crate::json_file::JsonFileError;

/// An error of a rehearsal, before its command is started or around it.
#[derive(Debug, thiserror::Error)]
pub enum RehearsalError {
    /// A file of the pipeline is unreadable, not JSON, or of the wrong shape.
    #[error(transparent)]
    File(#[from] JsonFileError),
    /// Nothing is there.
    #[error("`{}` does not exist", .0.display())]
    Missing(PathBuf),
    /// JSON, but no pipeline.
    #[error(
        "`{}` is no pipeline: it has neither `properties.activities`, as a file of a factory's repository, nor \
         `resources` with a pipeline, as an exported template", .0.display()
    )]
    NotAPipeline(PathBuf),
    /// No custom activity has the name.
    #[error("no custom activity `{asked}` in `{}`{}", path.display(), listed(found))]
    NoActivity {
        /// The name, or nothing where none was given.
        asked: String,
        /// The file.
        path: PathBuf,
        /// `Pipeline/Activity` of those that there are.
        found: Vec<String>,
    },
    /// Several could be meant.
    #[error("several custom activities of `{}` could be meant{}", path.display(), listed(found))]
    SeveralActivities {
        /// The file.
        path: PathBuf,
        /// `Pipeline/Activity` of each.
        found: Vec<String>,
    },
    /// `--set` without `=`.
    #[error("option `--set`: `{0}` is not NAME=VALUE")]
    NotASetting(String),
    /// `--set` of something that nobody asks for.
    #[error("option `--set`: the pipeline has no parameter `{name}`{}", listed(parameters))]
    UnknownParameter {
        /// What was given.
        name: String,
        /// The parameters that there are.
        parameters: Vec<String>,
    },
    /// The value given for a parameter is none of its type. Does not say which value: it may be a secret.
    #[error("option `--set`: the value of parameter `{name}` is no {type_name}")]
    ParameterType {
        /// The parameter.
        name: String,
        /// Its type, as the pipeline declares it.
        type_name: String,
    },
    /// An expression that fails, or cannot be read.
    #[error("{place} of the activity")]
    Expression {
        /// Where in the activity it stands, such as `typeProperties.command`.
        place: String,
        /// Why.
        #[source]
        fault: Fault,
    },
    /// Values that only a real run has.
    #[error("only a run in Azure has a value for {}", quoted(.0))]
    Unknown(Vec<String>),
    /// The activity has faults that would keep it from running in Azure.
    #[error("the activity `{activity}` would not run: {}", faults.join("; "))]
    Faulty {
        /// Its name.
        activity: String,
        /// Each a sentence.
        faults: Vec<String>,
    },
    /// The files of the task cannot be brought into place.
    #[error("cannot lay out the task in `{}`", path.display())]
    LayOut {
        /// The folder.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// The folder of `--workdir` holds something already.
    #[error("`{}` is not empty: each rehearsal needs a fresh folder, as each task has one", .0.display())]
    NotEmpty(PathBuf),
    /// The activity has a folder in the storage account, and nothing was named for it.
    #[error("the activity's files are in `{folder_path}` of its storage account, and nothing stands in for them here")]
    NoFolder {
        /// Its `folderPath`.
        folder_path: String,
    },
    /// The program cannot be started; Batch would say so as well.
    #[error("cannot start `{program}`, the first word of the command")]
    Start {
        /// The first word.
        program: String,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "; there is none".to_owned();
    }
    format!("; there are {}", quoted(names))
}

fn quoted(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

impl Failing for RehearsalError {
    fn exit_code(&self) -> ExitCode {
        match self {
            RehearsalError::NoActivity { .. }
            | RehearsalError::SeveralActivities { .. }
            | RehearsalError::NotASetting(_)
            | RehearsalError::UnknownParameter { .. }
            | RehearsalError::ParameterType { .. }
            | RehearsalError::Unknown(_)
            | RehearsalError::NotEmpty(_)
            | RehearsalError::NoFolder { .. } => ExitCode::Usage,
            RehearsalError::LayOut { .. } => ExitCode::Internal,
            _ => ExitCode::Activity,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            RehearsalError::File(_) | RehearsalError::Missing(_) | RehearsalError::NotAPipeline(_) => {
                "rehearsal.pipeline"
            }
            RehearsalError::NoActivity { .. } | RehearsalError::SeveralActivities { .. } => "rehearsal.activity",
            RehearsalError::NotASetting(_)
            | RehearsalError::UnknownParameter { .. }
            | RehearsalError::ParameterType { .. } => "rehearsal.setting",
            RehearsalError::Expression { .. } => "rehearsal.expression",
            RehearsalError::Unknown(_) => "rehearsal.unknown_value",
            RehearsalError::Faulty { .. } => "rehearsal.faulty",
            RehearsalError::LayOut { .. } | RehearsalError::NotEmpty(_) => "rehearsal.folder",
            RehearsalError::NoFolder { .. } => "rehearsal.no_folder",
            RehearsalError::Start { .. } => "rehearsal.start",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            RehearsalError::SeveralActivities { .. } => Some("name one as `Pipeline/Activity`".to_owned()),
            RehearsalError::NoFolder { .. } => {
                Some("name the folder with the files that would be uploaded there by `--folder`".to_owned())
            }
            RehearsalError::Unknown(expressions) => {
                let settings: Vec<String> = expressions.iter().map(|each| setting_for(each)).collect();
                Some(format!("give {}", settings.join(" ")))
            }
            _ => None,
        }
    }
}

/// The option that gives a value to an expression, as it is typed into a shell.
fn setting_for(expression: &str) -> String {
    let parameter = expression.strip_prefix("pipeline().parameters.");
    match parameter.filter(|name| name.chars().all(|letter| letter.is_alphanumeric() || letter == '_')) {
        Some(name) => format!("--set {name}=VALUE"),
        None => format!("--set \"{expression}=VALUE\""),
    }
}
