//! Keeps a laid-out payload for the next run of this user on the node.
//!
//! Each run needs a folder of its own with the package `dray` in it: copied from a source tree, where a file may be
//! written over at any time, or inflated from the executable, and then compiled by Python. That took a good part of the
//! whole start of a small project (2.5 of 16 ms, and 3 more where nothing was compiled yet). So a run that has ended gives
//! its folder back: it is moved into the cache's folder, compiled files included (the package's own, and what the worker
//! keeps of scripts), and the next run moves it to itself. While a run has it, nobody else can, so nothing is shared, and
//! what is removed from the cache is missed by nobody. Two runs at once have two. (Rejected: one folder that all runs use
//! in place. It may lie where others can swap it while it is in use, and cannot be removed while somebody may still import
//! from it. Hard links into it cost more than the move, for the folders around them, and share what a script may write
//! over.)
//!
//! A spare is trusted only if every file in it is the very file that its record names, by its [`Fingerprint`], and no
//! other is there. The record lies in the spare, so that both move at once. It is written when a run gives back what it
//! has laid out, and again when something was added to it, which may be nothing but compiled files: the folders tell that
//! by their times, and a run that added nothing has nothing else to look at. What was written over meanwhile is refused
//! by the next run, which compares all. What a spare was made from is part of the record, so that a rebuilt module or
//! another version of dray does not get it. Nobody else can have written it, since nobody else can write the cache.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fs_err::os::unix::fs::OpenOptionsExt;
use serde::{Deserialize, Serialize};

use super::cache::Cache;
use super::{Payload, PayloadError};
use crate::fingerprint::Fingerprint;

const PREFIX: &str = "payload-";

/// How many are kept, whatever they were made from: as many as tasks usually run at once on a node. Each takes 3 MB.
const KEPT: usize = 4;

/// What is copied into the cache has a name that begins like this until it is whole; one that is older than
/// [`COPIED_WITHIN`] is of a run that was killed.
const UNFINISHED: &str = "unfinished-";
const COPIED_WITHIN: Duration = Duration::from_secs(60);

/// The record's name in a spare.
const RECORD: &str = "record.json";

/// Everything below a folder but its [`RECORD`], by its path from there.
#[derive(Default)]
struct Listing {
    files: Files,
    folders: Files,
}

type Files = BTreeMap<String, Fingerprint>;

/// What a spare was made from, and consists of.
#[derive(Serialize, Deserialize)]
struct Record {
    /// What it was made from: [`Payload::identity`].
    identity: String,
    files: Files,
}

/// A payload in a run's own folder.
pub struct LaidOut {
    folder: PathBuf,
    /// None: it is not to be kept.
    keeping: Option<Keeping>,
}

struct Keeping {
    cache: Cache,
    cache_folder: PathBuf,
    identity: String,
    /// What was there when the run began.
    before: Listing,
    /// Whether that has a record in the folder.
    is_recorded: bool,
}

impl LaidOut {
    /// Puts `payload` into `folder`, which is made: a spare, if `cache` (what [`super::cache_folder`] says) has one that
    /// can be trusted, and afresh otherwise.
    ///
    /// # Errors
    /// Those of [`Payload::lay_out`]. Whatever is wrong with the cache is none.
    pub fn new(payload: &Payload, folder: PathBuf, cache: Option<&Path>) -> Result<LaidOut, PayloadError> {
        let identity = payload.identity();
        let (Some(identity), Some(cache_folder), Some(cache)) = (identity, cache, cache.and_then(Cache::open)) else {
            payload.lay_out(&folder)?;
            return Ok(LaidOut { folder, keeping: None });
        };
        let (before, is_recorded) = match take(&cache, cache_folder, &identity, &folder) {
            Taken::Moved(listing) => (Some(listing), true),
            Taken::Copied => (None, false),
            Taken::Nothing => {
                payload.lay_out(&folder)?;
                // Not kept if it was written to while it was copied.
                let unchanged = payload.identity().as_ref() == Some(&identity);
                (unchanged.then(|| listing(&folder).ok()).flatten(), false)
            }
        };
        let keeping = before.map(|before| Keeping {
            cache,
            cache_folder: cache_folder.to_owned(),
            identity,
            before,
            is_recorded,
        });
        Ok(LaidOut { folder, keeping })
    }

    /// Gives the folder back when the run has ended and nobody uses it any more. What cannot be kept stays where it is.
    pub fn give_back(&self) {
        let Some(keeping) = &self.keeping else { return };
        if let Err(error) = keeping.give_back(&self.folder) {
            tracing::debug!(event = "payload.not_kept", %error);
        }
    }
}

impl Keeping {
    fn give_back(&self, folder: &Path) -> io::Result<()> {
        let prefix = prefix_of(&self.identity);
        let others = make_room(&self.cache, &self.cache_folder, &prefix);
        if others >= KEPT {
            return Err(io::Error::other("there are enough"));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("{}-{}", now.as_nanos(), std::process::id());
        let spare = self.cache_folder.join(format!("{prefix}{name}"));
        if self.is_recorded && nothing_was_added(folder, &self.before) {
            return fs_err::rename(folder, spare);
        }
        let files = listing(folder)?.files;
        if let Some(path) = changed(&self.before.files, &files) {
            return Err(io::Error::other(format!("`{path}` is not as it was laid out")));
        }
        self.record(folder, files.clone())?;
        match fs_err::rename(folder, &spare) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices && others == 0 => {
                let unfinished = self.cache_folder.join(format!("{UNFINISHED}{name}"));
                copy(folder, &unfinished, &files)?;
                self.record(&unfinished, listing(&unfinished)?.files)?;
                fs_err::rename(unfinished, spare)
            }
            moved => moved,
        }
    }

    fn record(&self, folder: &Path, files: Files) -> io::Result<()> {
        let identity = self.identity.clone();
        let text = serde_json::to_vec(&Record { identity, files })?;
        let mut options = fs_err::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.open(folder.join(RECORD))?.write_all(&text)
    }
}

enum Taken {
    /// It is this run's now.
    Moved(Listing),
    /// It stays where it is, on another file system.
    Copied,
    Nothing,
}

/// Moves a spare of this identity to `folder`.
fn take(cache: &Cache, cache_folder: &Path, identity: &str, folder: &Path) -> Taken {
    let prefix = prefix_of(identity);
    for name in cache.names() {
        if !name.starts_with(&prefix) {
            continue;
        }
        let spare = cache_folder.join(&name);
        let record = match cache.read(&format!("{name}/{RECORD}")) {
            Ok(text) => serde_json::from_slice::<Record>(&text).ok(),
            // Another run has just taken it.
            Err(_) if !spare.exists() => continue,
            Err(_) => None,
        };
        let Some(record) = record.filter(|record| record.identity == identity) else {
            let _ = fs_err::remove_dir_all(&spare);
            continue;
        };
        match fs_err::rename(&spare, folder) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                if copy(&spare, folder, &record.files).is_ok() {
                    return Taken::Copied;
                }
                let _ = fs_err::remove_dir_all(folder);
                let _ = fs_err::remove_dir_all(&spare);
                continue;
            }
            Err(_) => continue,
        }
        match listing(folder) {
            Ok(found) if found.files == record.files => return Taken::Moved(found),
            _ => {
                tracing::debug!(event = "payload.spare_refused", spare = name);
                let _ = fs_err::remove_dir_all(folder);
            }
        }
    }
    Taken::Nothing
}

/// Removes what is beyond [`KEPT`], oldest first and what has another identity before all, and what runs left behind that
/// were killed. Returns how many are left of the identity with this prefix.
fn make_room(cache: &Cache, cache_folder: &Path, prefix: &str) -> usize {
    let age = |name: &str| {
        fs_err::symlink_metadata(cache_folder.join(name))
            .and_then(|metadata| metadata.modified())
            .ok()
            .and_then(|modified| modified.elapsed().ok())
            .unwrap_or_default()
    };
    let discard = |name: &str| {
        let _ = fs_err::remove_dir_all(cache_folder.join(name));
    };
    let (mut own, mut others) = (0, Vec::new());
    for name in cache.names() {
        if name.starts_with(UNFINISHED) {
            if age(&name) > COPIED_WITHIN {
                discard(&name);
            }
        } else if name.starts_with(prefix) {
            own += 1;
        } else if name.starts_with(PREFIX) {
            others.push((age(&name), name));
        }
    }
    others.sort();
    for (_, spare) in others.split_off(others.len().min(KEPT.saturating_sub(own + 1))) {
        discard(&spare);
    }
    own
}

/// Whether the folders are as they were: what is made in one, removed from it or put in the place of another changes its
/// times.
fn nothing_was_added(root: &Path, before: &Listing) -> bool {
    let is_as_before = |(path, fingerprint): (&String, &Fingerprint)| {
        Fingerprint::of(&root.join(path)).is_some_and(|now| now == *fingerprint)
    };
    before.folders.iter().all(is_as_before)
}

fn prefix_of(identity: &str) -> String {
    let mut hasher = DefaultHasher::new();
    identity.hash(&mut hasher);
    format!("{PREFIX}{:016x}-", hasher.finish())
}

/// The first file that is not as it was laid out, was removed or was added. What was compiled may come and go.
fn changed<'a>(laid_out: &'a Files, now: &'a Files) -> Option<&'a str> {
    let differs = |path: &&String| laid_out.get(*path) != now.get(*path) && !is_compiled(laid_out, path);
    laid_out.keys().chain(now.keys()).find(differs).map(String::as_str)
}

/// Whether it is the compiled form of a source that was laid out (PEP 3147), `dray/__pycache__/_run.cpython-311.pyc`, or that
/// of a script, which the worker keeps beside it (`python/dray/_worker.py`).
fn is_compiled(laid_out: &Files, path: &str) -> bool {
    let Some((folder, file)) = path.rsplit_once("/__pycache__/") else {
        return false;
    };
    match file.split_once(".cpython-") {
        Some((stem, _)) if stem.starts_with("script-") => true,
        Some((stem, tag)) => tag.ends_with(".pyc") && laid_out.contains_key(&format!("{folder}/{stem}.py")),
        None => false,
    }
}

/// # Errors
/// The folder cannot be read, or has something in it that is neither file nor folder, or a name that is not UTF-8.
fn listing(root: &Path) -> io::Result<Listing> {
    let mut found = Listing::default();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let in_root = root.join(&folder);
        // First: what is made after this look changes the time that is remembered.
        let fingerprint = Fingerprint::from(&fs_err::metadata(&in_root)?);
        for entry in fs_err::read_dir(&in_root)? {
            let entry = entry?;
            let name = entry
                .file_name()
                .into_string()
                .map_err(|_| io::ErrorKind::InvalidFilename)?;
            let path = if folder.is_empty() {
                name
            } else {
                format!("{folder}/{name}")
            };
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                folders.push(path);
            } else if !metadata.is_file() {
                return Err(io::Error::other(format!("`{path}` is no file")));
            } else if path != RECORD {
                found.files.insert(path, Fingerprint::from(&metadata));
            }
        }
        found.folders.insert(folder, fingerprint);
    }
    Ok(found)
}

/// Copies these files, with their times: Python judges by them whether a compiled file fits its source.
///
/// # Errors
/// One of them is not the file that it was, or cannot be copied.
fn copy(from: &Path, to: &Path, files: &Files) -> io::Result<()> {
    for (path, fingerprint) in files {
        let mut source = fs_err::File::open(from.join(path))?;
        let metadata = source.metadata()?;
        if Fingerprint::from(&metadata) != *fingerprint {
            return Err(io::Error::other(format!("`{path}` is another file")));
        }
        let target = to.join(path);
        if let Some(folder) = target.parent() {
            fs_err::create_dir_all(folder)?;
        }
        let mut target = fs_err::File::create(target)?;
        io::copy(&mut source, &mut target)?;
        target.file().set_modified(metadata.modified()?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
