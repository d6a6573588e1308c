//! outputs.json: what a run gives back to the pipeline as `output.customOutput` of the activity.
//!
//! Owns joining the script's own file with `dray.outputs` and the `dray` object, the size limit, and writing it so that
//! ADF never sees half a file. It must not know how the run was done.
//!
//! ADF reads the file from the root of AZ_BATCH_TASK_WORKING_DIR and takes up to 2 MB (azure-docs,
//! transform-data-using-custom-activity.md). What it does with one that is larger, invalid, starts with a byte order
//! mark, or comes from a failed task is documented nowhere; so no such file is ever written, and one is written on
//! failure too.

mod error;
mod events;
mod merge;
mod summary;
#[cfg(test)]
mod tests;

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

pub use error::OutputsError;
pub use events::{ErrorEvent, Events, ExitEvent};
pub use merge::{MergeError, Merged, Part, merge, parts_of_property, read_parts, write as write_merged};
pub use summary::{ErrorReport, Status, Summary};

use crate::fingerprint::Fingerprint;
use crate::json_file::JsonFile;
use crate::telemetry::Redactor;

/// The name that ADF looks for.
pub const FILE_NAME: &str = "outputs.json";
/// Key of dray's own object; reserved unless the summary is switched off.
pub const SUMMARY_KEY: &str = "dray";
/// Largest document that is written. ADF's page says "2 MB"; this is the smaller of the two readings.
pub const MAX_BYTES: usize = 2_000_000;
/// From here on there is a warning: an activity's payload in a pipeline is limited to about 896 KB, so expressions over
/// a larger output may fail.
pub const WARN_BYTES: usize = 800_000;

/// How many keys the error for too large outputs names.
const NAMED_KEYS: usize = 5;
/// In the task folder, since a rename is only atomic within one file system.
const TEMPORARY_NAME: &str = ".outputs.json.tmp";

/// What [`settle`] works on.
#[derive(Clone, Debug)]
pub struct Settlement<'a> {
    /// Where ADF looks for the file.
    pub task_folder: &'a Path,
    /// The script's working directory.
    pub working_folder: &'a Path,
    /// The outputs.json that stood in the working folder before the script ran, for a project that is run in place; a
    /// file that is still the same is none of this run's. `None` for a fresh folder: there, one that came with the
    /// project counts, as it did under `unzip && python3`.
    pub before: Option<Fingerprint>,
    /// `dray.outputs`.
    pub values: &'a Map<String, Value>,
    /// The `dray` object; `None` with `--no-summary`.
    pub summary: Option<&'a Summary>,
    /// The secrets to mask.
    pub redactor: &'a Redactor,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The file; `None` if there was nothing to say (no outputs at all, and no summary).
    pub path: Option<PathBuf>,
    /// Its size.
    pub bytes: usize,
}

/// The fingerprint of the outputs.json in `folder`, for telling whether it was written to; `None` if there is none.
pub fn fingerprint_in(folder: &Path) -> Option<Fingerprint> {
    Fingerprint::of(&folder.join(FILE_NAME))
}

/// Removes the outputs.json of an earlier attempt from `task_folder`, and what a killed attempt left of writing one.
/// Returns whether there was one. A link is removed, not what it points to.
///
/// # Errors
/// [`OutputsError::InTheWay`], [`OutputsError::Stale`].
pub fn remove_stale(task_folder: &Path) -> Result<bool, OutputsError> {
    refuse_what_is_in_the_way(task_folder)?;
    let remove = |name| match fs_err::remove_file(task_folder.join(name)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(OutputsError::Stale(error)),
    };
    remove(TEMPORARY_NAME)?;
    remove(FILE_NAME)
}

/// Writes outputs.json into the task folder.
///
/// Joined are, in this order: the script's own outputs.json in the task folder (a script may write it there by its full
/// path), the one in its working folder, `dray.outputs`, and the `dray` object. Of equal keys the later one counts, with
/// a warning where the values differ; that includes a key `dray` of the script's, which a pipeline would otherwise take
/// for the state of this run. Known secrets are masked. Where the document is too large, the reports of copies are left
/// out first.
///
/// # Errors
/// [`OutputsError::Script`] and [`OutputsError::TooLarge`]: the outputs were refused. The file then holds the `dray`
/// object alone, with the error in it (with `--no-summary` there is no file). The run's exit code is that of the error,
/// unless the run had failed already. [`OutputsError::InTheWay`] and [`OutputsError::NotWritten`]: there is no new file.
pub fn settle(settlement: &Settlement<'_>) -> Result<Settled, OutputsError> {
    refuse_what_is_in_the_way(settlement.task_folder)?;
    let refused = match script_values(settlement).and_then(|(own, wrote_file)| document(settlement, own, wrote_file)) {
        Ok(document) if document.is_empty() => return Ok(Settled { path: None, bytes: 0 }),
        Ok(document) => return write(settlement.task_folder, &document),
        Err(error) => error,
    };
    let Some(summary) = settlement.summary else {
        // Better none than one that ADF cannot read, should the script have put it there.
        remove_stale(settlement.task_folder)?;
        return Err(refused);
    };
    let mut members = summary::to_json(summary, Some(&refused), settlement.redactor);
    let mut bytes = serialize(&with_summary(Map::new(), &members));
    if bytes.len() > MAX_BYTES && summary::leave_out_copies(&mut members) {
        bytes = serialize(&with_summary(Map::new(), &members));
    }
    write(settlement.task_folder, &bytes)?;
    Err(refused)
}

/// What the script wrote into files of its own, joined, and whether there was such a file at all.
fn script_values(settlement: &Settlement<'_>) -> Result<(Map<String, Value>, bool), OutputsError> {
    let in_task = fingerprint_in(settlement.task_folder);
    let in_working = fingerprint_in(settlement.working_folder);
    let is_one_file = matches!((&in_task, &in_working), (Some(task), Some(working)) if task.is_same_file(working));
    let is_old = in_working.is_some() && in_working == settlement.before;
    let mut values = Map::new();
    let mut wrote_file = false;
    let folders = [
        (settlement.task_folder, is_one_file && is_old),
        (settlement.working_folder, is_one_file || is_old),
    ];
    for (folder, skipped) in folders {
        if skipped {
            continue;
        }
        let Some(file) = JsonFile::read(&folder.join(FILE_NAME), "a JSON object")? else {
            continue;
        };
        wrote_file = true;
        match file.value {
            Value::Object(members) => join(&mut values, members),
            ref other => return Err(file.wrong_shape(&[], other, "an object").into()),
        }
    }
    Ok((values, wrote_file))
}

/// The whole document as bytes; empty if there is nothing to say. A script that wrote `{}` has said something.
fn document(
    settlement: &Settlement<'_>,
    mut values: Map<String, Value>,
    wrote_file: bool,
) -> Result<Vec<u8>, OutputsError> {
    join(&mut values, settlement.values.clone());
    let mut values = Value::Object(values);
    let masked = settlement.redactor.redact_json(&mut values);
    if masked > 0 {
        tracing::warn!(
            event = "outputs.masked",
            strings = masked,
            "the outputs held secrets, which were masked"
        );
    }
    let Value::Object(mut values) = values else {
        return Ok(Vec::new());
    };
    let Some(summary) = settlement.summary else {
        if values.is_empty() && !wrote_file {
            return Ok(Vec::new());
        }
        let bytes = serialize(&values);
        return check_size(bytes.len(), &values).map(|()| bytes);
    };
    if values.shift_remove(SUMMARY_KEY).is_some() {
        tracing::warn!(
            event = "outputs.reserved_key",
            key = SUMMARY_KEY,
            "the script's outputs have a key that is dray's own; its value is left out (`--no-summary` keeps it)"
        );
    }
    let mut members = summary::to_json(summary, None, settlement.redactor);
    let mut bytes = serialize(&with_summary(values.clone(), &members));
    if bytes.len() > MAX_BYTES && summary::leave_out_copies(&mut members) {
        bytes = serialize(&with_summary(values.clone(), &members));
        if bytes.len() <= MAX_BYTES {
            tracing::warn!(
                event = "outputs.copies_left_out",
                copies = summary.copies.len(),
                "the reports of copied tables are left out of the outputs, which would be too large with them"
            );
        }
    }
    check_size(bytes.len(), &values).map(|()| bytes)
}

fn check_size(size_bytes: usize, values: &Map<String, Value>) -> Result<(), OutputsError> {
    if size_bytes > MAX_BYTES {
        return Err(OutputsError::TooLarge {
            size_bytes,
            largest: largest_keys(values),
        });
    }
    if size_bytes >= WARN_BYTES {
        tracing::warn!(
            event = "outputs.large",
            size_bytes,
            warn_bytes = WARN_BYTES,
            "the outputs are large: a pipeline's payload is limited to about 896 KB, so expressions over them may fail"
        );
    }
    Ok(())
}

fn largest_keys(values: &Map<String, Value>) -> Vec<(String, usize)> {
    let mut sizes: Vec<(String, usize)> = values
        .iter()
        .map(|(key, value)| (key.chars().take(60).collect(), key.len() + value.to_string().len()))
        .collect();
    sizes.sort_by_key(|&(_, size_bytes)| std::cmp::Reverse(size_bytes));
    sizes.truncate(NAMED_KEYS);
    sizes
}

/// Adds `later` to `values`; of equal keys the later one counts, with a warning if it differs.
fn join(values: &mut Map<String, Value>, later: Map<String, Value>) {
    for (key, value) in later {
        if values.get(&key).is_some_and(|earlier| *earlier != value) {
            tracing::warn!(
                event = "outputs.key_twice",
                key,
                "an output was given twice with different values; the later one counts, `dray.outputs` before a file"
            );
        }
        values.insert(key, value);
    }
}

fn with_summary(mut values: Map<String, Value>, members: &Map<String, Value>) -> Map<String, Value> {
    values.insert(SUMMARY_KEY.to_owned(), Value::Object(members.clone()));
    values
}

fn serialize(document: &Map<String, Value>) -> Vec<u8> {
    // Display of a JSON value cannot fail, unlike the serializer's general interface.
    Value::Object(document.clone()).to_string().into_bytes()
}

/// A link is fine: it is replaced, never written through.
fn refuse_what_is_in_the_way(task_folder: &Path) -> Result<(), OutputsError> {
    let path = task_folder.join(FILE_NAME);
    match fs_err::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_dir() => Err(OutputsError::InTheWay { path, kind: "a folder" }),
        Ok(metadata) if !metadata.is_file() && !metadata.is_symlink() => Err(OutputsError::InTheWay {
            path,
            kind: "a special file",
        }),
        _ => Ok(()),
    }
}

/// Writes beside the place and renames: whoever looks sees the old file, none, or the whole new one.
fn write(task_folder: &Path, bytes: &[u8]) -> Result<Settled, OutputsError> {
    let path = task_folder.join(FILE_NAME);
    let temporary = task_folder.join(TEMPORARY_NAME);
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
        // Not synced: ADF reads it on this node, and what a node loses with its power is lost with all else on it.
        file.write_all(bytes)?;
        fs_err::rename(&temporary, &path)
    };
    if let Err(source) = attempt() {
        // What is left of it is of no use, and there is nothing more to be done if it stays.
        let _ = fs_err::remove_file(&temporary);
        return Err(OutputsError::NotWritten { path, source });
    }
    tracing::debug!(
        event = "outputs.written",
        size_bytes = bytes.len(),
        "wrote outputs.json"
    );
    Ok(Settled {
        path: Some(path),
        bytes: bytes.len(),
    })
}
