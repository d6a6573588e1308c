//! What a failed run says of itself: the exit code, a stable error code, the chain of causes and a hint.
//!
//! Every module keeps an error enum of its own and knows nothing of this one; the bridge is the [`Failing`] trait that
//! each of those enums implements, so that `commands/` can turn any of them into an exit code and one sentence.

use std::error::Error;

/// Exit codes of `dray` itself. The script's own `sys.exit(N)` passes through unchanged, 1 is an uncaught exception,
/// and 128+N says that the worker died of signal N. 126 and 127 stay free for the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// The command line, or an option's value, makes no sense.
    Usage = 110,
    /// The project cannot be unpacked or run: not a zip, an unsafe member, no such entrypoint.
    Project = 111,
    /// activity.json, linkedServices.json or datasets.json is malformed.
    Activity = 112,
    /// No Python interpreter that this project can run under.
    Interpreter = 113,
    /// An ODBC driver is missing, or a database refused the connection, and the script let that error pass.
    Connection = 114,
    /// outputs.json was refused: too large, or not JSON.
    Outputs = 115,
    /// The time limit of `--timeout` was reached.
    TimeLimit = 116,
    /// dray itself is at fault, or the node failed under it (disk full, no permission).
    Internal = 117,
    /// A secret could not be had from Key Vault, or a token for it, and the script let that error pass.
    Secret = 118,
}

impl ExitCode {
    /// The number that the process ends with.
    pub fn number(self) -> u8 {
        self as u8
    }
}

/// Implemented by the error enum of each module: what the last line on stderr and outputs.json need beside the text.
pub trait Failing: Error + Send + Sync + 'static {
    /// The exit code that this error ends the run with.
    fn exit_code(&self) -> ExitCode;

    /// A stable name, such as `project.member_leaves_tree`; part of the interface, so never renamed.
    fn code(&self) -> &'static str;

    /// What the reader can do about it, if anything; a full sentence without a final period.
    fn hint(&self) -> Option<String> {
        None
    }
}

/// Any module's error, ready to be reported.
#[derive(Debug)]
pub struct Failure {
    /// How the process ends.
    pub exit_code: ExitCode,
    /// Stable name of the error.
    pub code: &'static str,
    /// What the reader can do about it.
    pub hint: Option<String>,
    /// The error with its causes.
    pub error: anyhow::Error,
}

impl Failure {
    /// The message and its causes on one line.
    pub fn sentence(&self) -> String {
        format!("{:#}", self.error)
    }
}

impl<E: Failing> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure {
            exit_code: error.exit_code(),
            code: error.code(),
            hint: error.hint(),
            error: anyhow::Error::new(error),
        }
    }
}
