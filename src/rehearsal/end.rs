//! What Data Factory would show of a task that has ended.
//!
//! Of a task that failed it shows error 2500 and neither stderr nor, as far as anybody has seen, outputs.json; what it does
//! with an outputs.json that is no JSON or too large is documented nowhere, and taken here for nothing at all.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use serde_json::{Value, json};

use super::task::Task;
use crate::json_file::JsonFile;
use crate::outputs;

/// How a task ended.
pub struct End {
    /// The exit code as Batch has it: that of the process, or -N of one that died of signal N.
    pub exit_code: i32,
    /// The output of the activity, or its error.
    pub shown: Value,
    /// Why there is no `customOutput`, if that is not what it should be.
    pub remark: Option<String>,
}

/// What is shown of `task`, which ended with `status` after `seconds`.
pub fn output_of_activity(task: &Task, activity: &str, status: ExitStatus, seconds: u64) -> End {
    let exit_code = status
        .code()
        .unwrap_or_else(|| status.signal().map_or(-1, |signal| -signal));
    if exit_code != 0 {
        let shown = json!({"error": {
            "errorCode": "2500",
            "message": format!("Hit unexpected exception and execution failed: the exit code is {exit_code}"),
            "failureType": "UserError",
            "target": activity,
        }});
        return End {
            exit_code,
            shown,
            remark: None,
        };
    }
    let streams = ["stdout.txt", "stderr.txt"].map(|name| task.root().join(name).display().to_string());
    let mut shown = json!({
        "exitcode": exit_code,
        "outputs": streams,
        "executionDuration": seconds,
    });
    let path = task.working_folder().join(outputs::FILE_NAME);
    let (custom, remark) = match JsonFile::read(&path, "a JSON value") {
        Ok(Some(_)) if fs_err::metadata(&path).is_ok_and(|file| file.len() > outputs::MAX_BYTES as u64) => (
            None,
            Some(format!("outputs.json has more than {} bytes", outputs::MAX_BYTES)),
        ),
        Ok(Some(file)) => (Some(file.value), None),
        Ok(None) => (None, Some("the command wrote no outputs.json".to_owned())),
        Err(error) => (None, Some(error.to_string())),
    };
    if let (Some(custom), Some(shown)) = (custom, shown.as_object_mut()) {
        shown.insert("customOutput".to_owned(), custom);
    }
    End {
        exit_code,
        shown,
        remark,
    }
}
