//! The `dray` object of outputs.json: how the run went. Version 1 of its shape:
//!
//! | key | value |
//! |---|---|
//! | `version` | 1 |
//! | `status` | `succeeded` or `failed` |
//! | `exit_code` | what the process ends with |
//! | `entrypoint` | such as `main.py`; absent if it was never found |
//! | `python` | version, such as `3.11.7`; absent if none was found |
//! | `durations_ms` | milliseconds of each phase that was reached |
//! | `peak_memory_bytes` | of the worker; absent if it never ran |
//! | `error` | `code`, `type`, `message`, `location`, `phase`, `hint`, `traceback`, those that there are; absent on success |
//! | `outputs_error` | `code` and `message` of refused outputs, where `error` already says why the run failed |
//! | `copies` | one report a table; absent if there was none |
//! | `copies_left_out` | how many reports did not fit; instead of `copies` |
//! | `parts` | of merged outputs (`dray outputs merge`): how many tasks they are of |
//! | `failed_parts` | of merged outputs: the files of those that failed; absent if none has |
//! | `copied` | of merged outputs: `tables`, `failed_tables`, `rows`, `bytes`, `rejected` and `retries` of all copies |
//!
//! Strings are masked here, before they are cut: a secret that is cut in two would not be recognised any more.

use std::error::Error;

use serde_json::{Map, Value, json};

use super::error::OutputsError;
use super::events::ErrorEvent;
use crate::failure::{Failing, Failure};
use crate::telemetry::Redactor;

/// Longest traceback in outputs.json, in bytes of UTF-8; the middle of a longer one is left out.
const MAX_TRACEBACK_BYTES: usize = 32 * 1024;
/// The same for messages, which may hold a whole data frame.
const MAX_MESSAGE_BYTES: usize = 8 * 1024;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Exit code 0.
    Succeeded,
    /// Any other.
    Failed,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Status::Succeeded => "succeeded",
            Status::Failed => "failed",
        }
    }
}

/// Everything that the `dray` object says; see the table above.
#[derive(Clone, Debug)]
pub struct Summary {
    /// How it ended.
    pub status: Status,
    /// What the process ends with.
    pub exit_code: i32,
    /// The entrypoint as it was chosen.
    pub entrypoint: Option<String>,
    /// The interpreter's version.
    pub python: Option<String>,
    /// Milliseconds of each phase, in their order: `unpack`, `interpreter`, `script`, `total`.
    pub durations_ms: Vec<(&'static str, u64)>,
    /// Peak resident memory of the worker.
    pub peak_memory_bytes: Option<u64>,
    /// Why it failed.
    pub error: Option<ErrorReport>,
    /// One report a copied table.
    pub copies: Vec<Value>,
}

/// Why a run failed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ErrorReport {
    /// Stable code, such as `script.raised`.
    pub code: String,
    /// The exception's type, for one of Python's.
    pub type_name: Option<String>,
    /// One sentence, or the exception's text.
    pub message: String,
    /// Where in the script.
    pub location: Option<String>,
    /// What the run was doing.
    pub phase: Option<String>,
    /// What the reader can do about it.
    pub hint: Option<String>,
    /// Python's traceback.
    pub traceback: Option<String>,
}

impl ErrorReport {
    /// What the worker reported.
    pub fn from_event(event: &ErrorEvent) -> Self {
        ErrorReport {
            code: event.code.clone().unwrap_or_else(|| "script.failed".to_owned()),
            type_name: event.type_name.clone(),
            message: event.message.clone().unwrap_or_default(),
            location: event.location.clone(),
            phase: event.phase.clone(),
            hint: None,
            traceback: event.traceback.clone(),
        }
    }

    /// A failure of dray's own, that happened in `phase`.
    pub fn from_failure(failure: &Failure, phase: &str) -> Self {
        ErrorReport {
            code: failure.code.to_owned(),
            message: failure.sentence(),
            phase: (!phase.is_empty()).then(|| phase.to_owned()),
            hint: failure.hint.clone(),
            ..ErrorReport::default()
        }
    }

    fn from_outputs_error(error: &OutputsError) -> Self {
        let causes = std::iter::successors(error.source(), |&cause| cause.source());
        ErrorReport {
            code: error.code().to_owned(),
            message: causes.fold(error.to_string(), |chain, cause| format!("{chain}: {cause}")),
            hint: error.hint(),
            ..ErrorReport::default()
        }
    }

    fn to_json(&self, redactor: &Redactor) -> Value {
        let mut members = Map::new();
        let mut set = |key: &str, value: Option<&str>, max_bytes: usize| {
            if let Some(value) = value {
                members.insert(
                    key.to_owned(),
                    Value::from(cut_middle(&redactor.redact(value), max_bytes)),
                );
            }
        };
        // The code is a name of dray's own, for machines.
        set("type", self.type_name.as_deref(), MAX_MESSAGE_BYTES);
        set("message", Some(&self.message), MAX_MESSAGE_BYTES);
        set("location", self.location.as_deref(), MAX_MESSAGE_BYTES);
        set("hint", self.hint.as_deref(), MAX_MESSAGE_BYTES);
        set("traceback", self.traceback.as_deref(), MAX_TRACEBACK_BYTES);
        members.shift_insert(0, "code".to_owned(), Value::from(self.code.as_str()));
        if let Some(phase) = &self.phase {
            members.insert("phase".to_owned(), Value::from(phase.as_str()));
        }
        Value::Object(members)
    }
}

/// The object for outputs.json. `outputs_error` is what was wrong with the outputs themselves; it becomes the error of a
/// run that had none, and a remark beside the error of one that had failed already.
pub(super) fn to_json(
    summary: &Summary,
    outputs_error: Option<&OutputsError>,
    redactor: &Redactor,
) -> Map<String, Value> {
    let mut status = summary.status;
    let mut exit_code = summary.exit_code;
    let mut error = summary.error.as_ref().map(|error| error.to_json(redactor));
    let mut remark = None;
    if let Some(refused) = outputs_error {
        let report = ErrorReport::from_outputs_error(refused).to_json(redactor);
        if status == Status::Succeeded {
            status = Status::Failed;
            exit_code = i32::from(refused.exit_code().number());
            error = Some(report);
        } else {
            remark = Some(report);
        }
    }
    let durations: Map<String, Value> = summary
        .durations_ms
        .iter()
        .map(|&(phase, ms)| (phase.to_owned(), Value::from(ms)))
        .collect();
    let mut members = Map::new();
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            members.insert(key.to_owned(), value);
        }
    };
    set("version", Some(json!(1)));
    set("status", Some(json!(status.name())));
    set("exit_code", Some(json!(exit_code)));
    set(
        "entrypoint",
        summary.entrypoint.as_deref().map(|text| json!(redactor.redact(text))),
    );
    set("python", summary.python.as_deref().map(Value::from));
    set("durations_ms", Some(Value::Object(durations)));
    set("peak_memory_bytes", summary.peak_memory_bytes.map(Value::from));
    set("error", error);
    set("outputs_error", remark);
    if !summary.copies.is_empty() {
        let mut copies = Value::Array(summary.copies.clone());
        redactor.redact_values(&mut copies);
        set("copies", Some(copies));
    }
    members
}

/// Takes the reports of copies out of a `dray` object and says how many they were; false if there were none.
pub(super) fn leave_out_copies(members: &mut Map<String, Value>) -> bool {
    match members.shift_remove("copies") {
        Some(Value::Array(copies)) => {
            members.insert("copies_left_out".to_owned(), Value::from(copies.len()));
            true
        }
        _ => false,
    }
}

/// `text`, or its two ends around a line that says how much of the middle is missing.
fn cut_middle(text: &str, max_bytes: usize) -> String {
    if text.len() <= max_bytes {
        return text.to_owned();
    }
    let mut head = max_bytes / 2;
    while !text.is_char_boundary(head) {
        head -= 1;
    }
    let mut tail = text.len() - max_bytes / 2;
    while !text.is_char_boundary(tail) {
        tail += 1;
    }
    format!(
        "{}\n[... {} bytes left out ...]\n{}",
        &text[..head],
        tail - head,
        &text[tail..]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_keeps_both_ends_and_says_what_is_missing() {
        let text = format!("start{}end", "é".repeat(10_000));
        let cut = cut_middle(&text, 1000);
        assert!(cut.starts_with("starté") && cut.ends_with("éend"), "{cut}");
        assert!(cut.contains("bytes left out") && cut.len() < 1050);
        assert_eq!(cut_middle("short", 5), "short");
    }

    #[test]
    fn a_secret_is_masked_before_a_message_is_cut() {
        let redactor = Redactor::new();
        redactor.add("SECRETSECRET");
        // The secret stands across the place where the head ends.
        let message = format!(
            "{}SECRETSECRET{}",
            "x".repeat(MAX_MESSAGE_BYTES / 2 - 6),
            "y".repeat(MAX_MESSAGE_BYTES)
        );
        let report = ErrorReport {
            message,
            ..ErrorReport::default()
        };
        assert!(
            !report.to_json(&redactor)["message"]
                .as_str()
                .unwrap()
                .contains("SECRET")
        );
    }
}
