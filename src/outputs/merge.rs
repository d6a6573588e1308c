//! The outputs of several tasks as one: those of the shards of a copy, or of any activity that ran several times.
//!
//! Owns by what rule two values become one, and the `dray` object of the whole. Knows nothing of tables but the few keys of
//! their reports that it adds up.
//!
//! The rule: numbers are added and lists joined, whether they are equal or not, for two tasks may have copied as many rows;
//! objects are merged key by key; any other value has to be the same in all, and null gives way. A number that is not to be
//! added (a year) is named.

use std::collections::HashMap;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Number, Value, json};

use super::error::OutputsError;
use super::{FILE_NAME, MAX_BYTES, SUMMARY_KEY, WARN_BYTES, check_size, serialize};
use crate::failure::{ExitCode, Failing};
use crate::json_file::{JsonFile, JsonFileError, Step};

/// Outputs could not be merged. No text holds a value of theirs.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// A file is not what a task leaves.
    #[error("cannot merge")]
    Read(#[from] JsonFileError),
    /// A folder cannot be read.
    #[error("cannot look for outputs")]
    Folder(#[source] std::io::Error),
    /// There is no such file.
    #[error("there is no `{}`", path.display())]
    NoFile {
        /// The path as given.
        path: PathBuf,
    },
    /// A folder without outputs.
    #[error("no `{FILE_NAME}` in `{}` or the folders in it", path.display())]
    NoneInFolder {
        /// The folder as given.
        path: PathBuf,
    },
    /// The extended property is not there, or holds something else.
    #[error("the extended property `{name}` is {found}, expected a list of outputs")]
    Property {
        /// Its name.
        name: String,
        /// What it is.
        found: String,
    },
    /// Two values of which one cannot be made.
    #[error("`{key}` is {earlier} in `{first}` and {later} in `{second}`")]
    Conflict {
        /// The key, with those around it.
        key: String,
        /// What the first is, in words.
        earlier: &'static str,
        /// Where it stands.
        first: String,
        /// What the second is, in words.
        later: &'static str,
        /// Where it stands.
        second: String,
    },
    /// More than ADF takes.
    #[error("the merged outputs cannot be used")]
    TooLarge(#[from] OutputsError),
    /// The result cannot be written.
    #[error("cannot write the merged outputs")]
    Write(#[source] std::io::Error),
}

impl Failing for MergeError {
    fn exit_code(&self) -> ExitCode {
        match self {
            MergeError::Read(_)
            | MergeError::Folder(_)
            | MergeError::NoFile { .. }
            | MergeError::NoneInFolder { .. }
            | MergeError::Property { .. } => ExitCode::Usage,
            MergeError::Conflict { .. } | MergeError::TooLarge(_) => ExitCode::Outputs,
            MergeError::Write(_) => ExitCode::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            MergeError::Read(_) | MergeError::Folder(_) => "merge.unreadable",
            MergeError::NoFile { .. } | MergeError::NoneInFolder { .. } => "merge.no_outputs",
            MergeError::Property { .. } => "merge.property",
            MergeError::Conflict { .. } => "merge.conflict",
            MergeError::TooLarge(error) => error.code(),
            MergeError::Write(_) => "merge.unwritable",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            MergeError::Conflict { .. } => {
                Some("let the tasks give such a value under names of their own, or not at all".to_owned())
            }
            MergeError::TooLarge(error) => error.hint(),
            _ => None,
        }
    }
}

/// The outputs of one task.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// What errors call it: its file.
    pub name: String,
    /// The document.
    pub values: Map<String, Value>,
}

/// Merged outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// The document.
    pub bytes: Vec<u8>,
    /// What is worth knowing about it, in sentences.
    pub notes: Vec<String>,
}

/// The outputs in a file, which may also hold a list of them, or of every outputs.json in a folder and those in it; not of
/// `output`, which an earlier merge may have left there.
///
/// # Errors
/// Nothing there, or something else.
pub fn read_parts(path: &Path, output: Option<&Path>) -> Result<Vec<Part>, MergeError> {
    if !path.is_dir() {
        let name = path.display().to_string();
        let file = JsonFile::read(path, "a JSON object")?;
        return parts_of(
            &name,
            &file.ok_or_else(|| MergeError::NoFile { path: path.to_owned() })?,
        );
    }
    let own = output.and_then(|output| fs_err::canonicalize(output).ok());
    let mut files = Vec::new();
    find(path, &mut files).map_err(MergeError::Folder)?;
    files.retain(|file| own.is_none() || fs_err::canonicalize(file).ok() != own);
    files.sort_unstable();
    if files.is_empty() {
        return Err(MergeError::NoneInFolder { path: path.to_owned() });
    }
    let mut parts = Vec::new();
    for file in files {
        parts.extend(read_parts(&file, None)?);
    }
    Ok(parts)
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        // Links are not followed: they may lead back.
        match entry.file_type()? {
            kind if kind.is_dir() => find(&entry.path(), files)?,
            kind if kind.is_file() && entry.file_name() == FILE_NAME => files.push(entry.path()),
            _ => {}
        }
    }
    Ok(())
}

fn parts_of(name: &str, file: &JsonFile) -> Result<Vec<Part>, MergeError> {
    let part = |name: String, value: &Value, steps: &[Step]| match value {
        Value::Object(values) => Ok(Part {
            name,
            values: values.clone(),
        }),
        other => Err(file.wrong_shape(steps, other, "an object").into()),
    };
    match &file.value {
        Value::Array(values) => values
            .iter()
            .enumerate()
            .map(|(index, value)| part(format!("{name}[{index}]"), value, &[Step::Index(index)]))
            .collect(),
        value => part(name.to_owned(), value, &[]).map(|part| vec![part]),
    }
}

/// The outputs in an extended property: a list of them, or its text, as a pipeline's variable is handed over.
///
/// # Errors
/// Something else.
pub fn parts_of_property(name: &str, value: Option<&Value>) -> Result<Vec<Part>, MergeError> {
    let wrong = |found: String| MergeError::Property {
        name: name.to_owned(),
        found,
    };
    let parsed = match value {
        Some(Value::String(text)) => {
            serde_json::from_str(text).map_err(|_| wrong("a text that is no JSON".to_owned()))?
        }
        Some(value) => value.clone(),
        None => return Err(wrong("not there".to_owned())),
    };
    let Value::Array(values) = parsed else {
        return Err(wrong(described(&parsed).to_owned()));
    };
    let part = |(index, value)| match value {
        Value::Object(values) => Ok(Part {
            name: format!("{name}[{index}]"),
            values,
        }),
        other => Err(wrong(format!("a list with {} in it", described(&other)))),
    };
    values.into_iter().enumerate().map(part).collect()
}

/// Makes one document of several. Numbers under the keys in `same` are not added.
///
/// # Errors
/// [`MergeError::Conflict`], [`MergeError::TooLarge`].
pub fn merge(parts: &[Part], same: &[String]) -> Result<Merged, MergeError> {
    let mut values = Map::new();
    // Where each key came from first.
    let mut origins: HashMap<&str, &str> = HashMap::new();
    for part in parts {
        for (key, value) in part.values.iter().filter(|(key, _)| *key != SUMMARY_KEY) {
            let first = origins.entry(key).or_insert(&part.name);
            let adds = !same.contains(key);
            let merged = match values.get(key) {
                None => value.clone(),
                Some(earlier) => {
                    unite(key, earlier, value, adds).map_err(|(key, [earlier, later])| MergeError::Conflict {
                        key,
                        earlier,
                        first: (*first).to_owned(),
                        later,
                        second: part.name.clone(),
                    })?
                }
            };
            values.insert(key.clone(), merged);
        }
    }
    let mut notes = Vec::new();
    let whole = |values: &Map<String, Value>, members: &Map<String, Value>| {
        let mut document = values.clone();
        if !members.is_empty() {
            document.insert(SUMMARY_KEY.to_owned(), Value::Object(members.clone()));
        }
        serialize(&document)
    };
    let mut members = summary(parts);
    let mut bytes = whole(&values, &members);
    if bytes.len() > MAX_BYTES
        && let Some(Value::Array(copies)) = members.shift_remove("copies")
    {
        let left_out = members.get("copies_left_out").and_then(Value::as_u64).unwrap_or(0) + copies.len() as u64;
        members.insert("copies_left_out".to_owned(), Value::from(left_out));
        bytes = whole(&values, &members);
        notes.push("the reports of copied tables are left out, the outputs would be too large with them".to_owned());
    }
    check_size(bytes.len(), &values)?;
    if bytes.len() >= WARN_BYTES {
        notes.push(format!(
            "the outputs hold {} bytes; a pipeline's payload is limited to about 896 KB, so expressions over them may fail",
            bytes.len()
        ));
    }
    Ok(Merged { bytes, notes })
}

/// One value of two; else the key under which there are two that do not go together, and what each is.
fn unite(key: &str, earlier: &Value, later: &Value, adds: bool) -> Result<Value, (String, [&'static str; 2])> {
    let conflict = || Err((key.to_owned(), [earlier, later].map(described)));
    match (earlier, later) {
        (Value::Null, value) | (value, Value::Null) => Ok(value.clone()),
        (Value::Number(earlier), Value::Number(later)) if adds => match sum(earlier, later) {
            Some(sum) => Ok(Value::Number(sum)),
            None => conflict(),
        },
        (Value::Array(earlier), Value::Array(later)) => Ok(earlier.iter().chain(later).cloned().collect()),
        (Value::Object(earlier), Value::Object(later)) => {
            let mut members = earlier.clone();
            for (name, value) in later {
                let merged = match earlier.get(name) {
                    Some(earlier) => unite(&format!("{key}.{name}"), earlier, value, adds)?,
                    None => value.clone(),
                };
                members.insert(name.clone(), merged);
            }
            Ok(Value::Object(members))
        }
        (earlier, later) if earlier == later => Ok(earlier.clone()),
        _ => conflict(),
    }
}

/// The sum, exact for whole and decimal numbers up to 38 digits.
fn sum(one: &Number, other: &Number) -> Option<Number> {
    let exact = || {
        let (one, other) = (decimal(&one.to_string())?, decimal(&other.to_string())?);
        let scale = one.1.max(other.1);
        let scaled = |(digits, own): (i128, u32)| digits.checked_mul(10_i128.checked_pow(scale - own)?);
        let sum = scaled(one)?.checked_add(scaled(other)?)?;
        let digits = format!("{:0width$}", sum.unsigned_abs(), width = scale as usize + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale as usize);
        let point = if fraction.is_empty() { "" } else { "." };
        let sign = if sum < 0 { "-" } else { "" };
        serde_json::from_str(&format!("{sign}{whole}{point}{fraction}")).ok()
    };
    exact().or_else(|| Number::from_f64(one.as_f64()? + other.as_f64()?))
}

/// A number's digits, and how many of them are behind the point; `None` with an exponent, or too many digits.
fn decimal(text: &str) -> Option<(i128, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{fraction}").parse().ok()?;
    Some((digits, u32::try_from(fraction.len()).ok()?))
}

/// The `dray` object of all parts; empty if none has one.
fn summary(parts: &[Part]) -> Map<String, Value> {
    let of_part = |part: &Part| part.values.get(SUMMARY_KEY).and_then(Value::as_object).cloned();
    let summaries: Vec<(&str, Map<String, Value>)> = parts
        .iter()
        .filter_map(|part| Some((part.name.as_str(), of_part(part)?)))
        .collect();
    let mut members = Map::new();
    if summaries.is_empty() {
        return members;
    }
    let failed: Vec<&(&str, Map<String, Value>)> = summaries
        .iter()
        .filter(|(_, summary)| summary.get("status").and_then(Value::as_str) != Some("succeeded"))
        .collect();
    let all = |key: &str| -> Vec<Value> {
        let found = summaries.iter().filter_map(|(_, summary)| summary.get(key).cloned());
        found.collect()
    };
    let same = |key: &str| {
        let found = all(key);
        found
            .first()
            .filter(|first| found.iter().all(|value| value == *first))
            .cloned()
    };
    let greatest = |values: &mut dyn Iterator<Item = u64>| values.max().map(Value::from);
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            members.insert(key.to_owned(), value);
        }
    };
    set("version", Some(json!(1)));
    set(
        "status",
        Some(json!(if failed.is_empty() { "succeeded" } else { "failed" })),
    );
    let of_failed = |key: &str| failed.iter().find_map(|(_, summary)| summary.get(key).cloned());
    set("exit_code", of_failed("exit_code").or(Some(json!(0))));
    set("entrypoint", same("entrypoint"));
    set("python", same("python"));
    // They ran at once: the longest is what one waited for.
    let mut durations: Map<String, Value> = Map::new();
    for (_, summary) in &summaries {
        for (phase, ms) in summary
            .get("durations_ms")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let longest = durations.get(phase).and_then(Value::as_u64).max(ms.as_u64());
            durations.insert(phase.clone(), longest.map_or(Value::Null, Value::from));
        }
    }
    set("durations_ms", Some(Value::Object(durations)));
    let peaks = all("peak_memory_bytes");
    set(
        "peak_memory_bytes",
        greatest(&mut peaks.iter().filter_map(Value::as_u64)),
    );
    set("error", of_failed("error"));
    set("outputs_error", all("outputs_error").first().cloned());
    set("parts", Some(json!(summaries.len())));
    if !failed.is_empty() {
        set("failed_parts", Some(failed.iter().map(|(name, _)| *name).collect()));
    }
    let left_out: u64 = all("copies_left_out").iter().filter_map(Value::as_u64).sum();
    let copies: Vec<Value> = all("copies")
        .into_iter()
        .filter_map(|copies| match copies {
            Value::Array(copies) => Some(copies),
            _ => None,
        })
        .flatten()
        .collect();
    if !copies.is_empty() && left_out == 0 {
        set("copied", Some(copied(&copies)));
    }
    if left_out > 0 {
        set("copies_left_out", Some(json!(left_out)));
    }
    if !copies.is_empty() {
        set("copies", Some(Value::Array(copies)));
    }
    members
}

/// What the reports of tables come to.
fn copied(copies: &[Value]) -> Value {
    let has_failed = |copy: &&Value| copy.get("error").is_some_and(|error| !error.is_null());
    let total = |key: &str| -> u64 {
        let numbers = copies.iter().filter_map(|copy| copy.get(key).and_then(Value::as_u64));
        numbers.sum()
    };
    let failed: Vec<Value> = copies
        .iter()
        .filter(has_failed)
        .filter_map(|copy| copy.get("target").cloned())
        .collect();
    let retries = copies
        .iter()
        .filter_map(|copy| copy.get("retries").and_then(Value::as_array).map(Vec::len));
    json!({
        "tables": copies.len() - copies.iter().filter(has_failed).count(),
        "failed_tables": failed,
        "rows": total("rows"),
        "bytes": total("bytes"),
        "rejected": total("rejected"),
        "retries": retries.sum::<usize>(),
    })
}

fn described(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Writes beside the place and renames, so that nobody sees half of it.
///
/// # Errors
/// [`MergeError::Write`].
pub fn write(output: &Path, bytes: &[u8]) -> Result<(), MergeError> {
    let name = output.file_name().unwrap_or(FILE_NAME.as_ref()).to_string_lossy();
    let temporary = output.with_file_name(format!(".{name}.tmp"));
    let attempt = || {
        match fs_err::remove_file(&temporary) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // A new file only: nothing that anyone put there is written through.
        let mut file = fs_err::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&temporary)?;
        file.write_all(bytes)?;
        fs_err::rename(&temporary, output)
    };
    attempt().map_err(|error| {
        // What is left of it is of no use, and there is nothing more to be done if it stays.
        let _ = fs_err::remove_file(&temporary);
        MergeError::Write(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, values: &str) -> Part {
        Part {
            name: name.to_owned(),
            values: serde_json::from_str(values).unwrap(),
        }
    }

    fn merged(parts: &[&str], same: &[&str]) -> Result<String, MergeError> {
        let parts: Vec<Part> = parts
            .iter()
            .zip(["a", "b", "c"])
            .map(|(values, name)| part(name, values))
            .collect();
        let same: Vec<String> = same.iter().map(|&key| key.to_owned()).collect();
        merge(&parts, &same).map(|merged| String::from_utf8(merged.bytes).unwrap())
    }

    #[test]
    fn numbers_are_added_though_they_are_equal_and_to_the_last_digit() {
        let told = merged(
            &[
                r#"{"rows":5,"amount":1.10,"left":-0.3}"#,
                r#"{"rows":5,"amount":2.20,"left":0.1}"#,
            ],
            &[],
        );
        assert_eq!(told.unwrap(), r#"{"rows":10,"amount":3.30,"left":-0.2}"#);
        let long = "12345678901234567890123";
        let told = merged(&[&format!(r#"{{"n":{long}}}"#), r#"{"n":1}"#], &[]).unwrap();
        assert_eq!(told, r#"{"n":12345678901234567890124}"#);
        assert_eq!(
            merged(&[r#"{"n":1e300}"#, r#"{"n":1}"#], &[]).unwrap(),
            r#"{"n":1e+300}"#
        );
    }

    #[test]
    fn lists_are_joined_objects_merged_and_null_gives_way() {
        let told = merged(
            &[
                r#"{"failed":["x"],"by":{"de":1,"fr":2},"when":null}"#,
                r#"{"failed":[],"by":{"de":3,"it":4},"when":"today"}"#,
                r#"{"failed":["x"],"own":true}"#,
            ],
            &[],
        );
        assert_eq!(
            told.unwrap(),
            r#"{"failed":["x","x"],"by":{"de":4,"fr":2,"it":4},"when":"today","own":true}"#
        );
    }

    #[test]
    fn what_cannot_be_both_is_an_error_that_names_both_and_no_value() {
        for (one, other, expected) in [
            (
                r#"{"date":"s3cret"}"#,
                r#"{"date":"other"}"#,
                "`date` is a text in `a` and a text in `b`",
            ),
            (
                r#"{"x":{"y":1}}"#,
                r#"{"x":{"y":"1"}}"#,
                "`x.y` is a number in `a` and a text in `b`",
            ),
        ] {
            assert_eq!(merged(&[one, other], &[]).unwrap_err().to_string(), expected);
        }
        assert_eq!(
            merged(&[r#"{"year":2026}"#, r#"{"year":2026}"#], &["year"]).unwrap(),
            r#"{"year":2026}"#
        );
        assert!(merged(&[r#"{"year":2026}"#, r#"{"year":2027}"#], &["year"]).is_err());
    }

    #[test]
    fn the_runs_are_one_that_failed_if_one_of_them_has() {
        let told = merged(
            &[
                r#"{"dray":{"version":1,"status":"succeeded","exit_code":0,"entrypoint":"dray copy","python":"3.11.7",
                    "durations_ms":{"script":20,"total":30},"peak_memory_bytes":9,
                    "copies":[{"target":"t","rows":5,"bytes":50,"retries":[{}],"error":null}]}}"#,
                r#"{"dray":{"version":1,"status":"failed","exit_code":1,"entrypoint":"dray copy","python":"3.12.1",
                    "durations_ms":{"script":25,"total":26},"peak_memory_bytes":7,"error":{"code":"copy.failed"},
                    "copies":[{"target":"u","rows":0,"bytes":0,"retries":[],"error":{}}]}}"#,
            ],
            &[],
        );
        let told: Value = serde_json::from_str(&told.unwrap()).unwrap();
        assert_eq!(
            told["dray"],
            json!({
                "version": 1, "status": "failed", "exit_code": 1, "entrypoint": "dray copy",
                "durations_ms": {"script": 25, "total": 30}, "peak_memory_bytes": 9, "error": {"code": "copy.failed"},
                "parts": 2, "failed_parts": ["b"],
                "copied": {"tables": 1, "failed_tables": ["u"], "rows": 5, "bytes": 50, "rejected": 0, "retries": 1},
                "copies": [
                    {"target": "t", "rows": 5, "bytes": 50, "retries": [{}], "error": null},
                    {"target": "u", "rows": 0, "bytes": 0, "retries": [], "error": {}},
                ],
            })
        );
    }

    #[test]
    fn what_would_be_too_large_loses_the_reports_of_its_tables_first() {
        let copy = json!({"target": "t".repeat(1_000), "rows": 1, "error": null});
        let copies = Value::Array(vec![copy; 1_500]);
        let document =
            json!({"rows": 1, "dray": {"status": "succeeded", "exit_code": 0, "copies": copies}}).to_string();
        let parts = [part("a", &document), part("b", &document)];
        let merged = merge(&parts, &[]).unwrap();
        let told: Value = serde_json::from_slice(&merged.bytes).unwrap();
        assert_eq!(
            (&told["rows"], &told["dray"]["copies_left_out"]),
            (&json!(2), &json!(3_000))
        );
        assert_eq!(told["dray"]["copied"]["rows"], 3_000);
        assert!(told["dray"].get("copies").is_none() && merged.notes.len() == 1);
        let large = format!(r#"{{"text":["{}"]}}"#, "x".repeat(1_200_000));
        let error = merge(&[part("a", &large), part("b", &large)], &[]).unwrap_err();
        assert_eq!(error.code(), "outputs.too_large");
    }
}
