//! Keeps a laid-out payload for the next run of this user on the node.
//!
//! Each run needs a folder of its own with the package `dray` in it: copied from a source tree, where a file may be
//! written over at any time, or inflated from the executable, and then compiled by Python. That took a good part of the
//! whole start of a small project (2.5 of 16 ms, and 3 more where nothing was compiled yet). So a run that has ended gives
//! its folder back: it is moved into the cache's folder, compiled files included, and the next run moves it to itself.
//! While a run has it, nobody else can, so nothing is shared, and what is removed from the cache is missed by nobody.
//! Two runs at once have two. (Rejected: one folder that all runs use in place. It may lie where others can swap it while
//! it is in use, and cannot be removed while somebody may still import from it. Hard links into it cost more than the
//! move, for the folders around them, and share what a script may write over.)
//!
//! A spare is trusted only if every file in it is the very file that was there when it was given back, by its
//! [`Fingerprint`], and no other is there; and given back only if every file that was laid out is unchanged, and nothing
//! but compiled files was added. What it was made from is part of that record, so that a rebuilt module or another version of
//! dray does not get it. The record is one of the cache's entries, which nobody else can have written.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::cache::Cache;
use super::{Payload, PayloadError};
use crate::fingerprint::Fingerprint;

const PREFIX: &str = "payload-";

/// How many are kept, whatever they were made from: as many as tasks usually run at once on a node. Each takes 3 MB.
const KEPT: usize = 4;

/// A spare that is this old and has no record is of a run that was killed before it could write one.
const RECORD_AWAITED: Duration = Duration::from_secs(60);

/// Every file below a folder, by its path from there.
type Listing = BTreeMap<String, Fingerprint>;

/// What stands beside a spare, under its name and `.json`.
#[derive(Serialize, Deserialize)]
struct Record {
    /// What it was made from: [`Payload::identity`].
    identity: String,
    files: Listing,
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
    /// The files as they were when the run began.
    files: Listing,
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
        let files = match take(&cache, cache_folder, &identity, &folder) {
            Taken::Moved(files) => Some(files),
            Taken::Copied => None,
            Taken::Nothing => {
                payload.lay_out(&folder)?;
                // Not kept if it was written to while it was copied.
                let unchanged = payload.identity().as_ref() == Some(&identity);
                unchanged.then(|| listing(&folder).ok()).flatten()
            }
        };
        let keeping = files.map(|files| Keeping {
            cache,
            cache_folder: cache_folder.to_owned(),
            identity,
            files,
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
        let files = listing(folder)?;
        if let Some(path) = changed(&self.files, &files) {
            return Err(io::Error::other(format!("`{path}` is not as it was laid out")));
        }
        let prefix = prefix_of(&self.identity);
        let others = make_room(&self.cache, &self.cache_folder, &prefix);
        if others >= KEPT {
            return Err(io::Error::other("there are enough"));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("{prefix}{}-{}", now.as_nanos(), std::process::id());
        let spare = self.cache_folder.join(&name);
        let files = match fs_err::rename(folder, &spare) {
            Ok(()) => files,
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices && others == 0 => {
                copy(folder, &spare, &files)?;
                listing(&spare)?
            }
            Err(error) => return Err(error),
        };
        let record = Record {
            identity: self.identity.clone(),
            files,
        };
        self.cache.write(&format!("{name}.json"), &serde_json::to_vec(&record)?)
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
    for record_name in cache.names() {
        let Some(name) = record_name
            .strip_suffix(".json")
            .filter(|name| name.starts_with(&prefix))
        else {
            continue;
        };
        let record = cache
            .read(&record_name)
            .ok()
            .and_then(|text| serde_json::from_slice::<Record>(&text).ok());
        let spare = cache_folder.join(name);
        let Some(record) = record.filter(|record| record.identity == identity) else {
            discard(cache, name, &spare);
            continue;
        };
        match fs_err::rename(&spare, folder) {
            Ok(()) => cache.remove(&record_name),
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                if copy(&spare, folder, &record.files).is_ok() {
                    return Taken::Copied;
                }
                let _ = fs_err::remove_dir_all(folder);
                discard(cache, name, &spare);
                continue;
            }
            // Another run has just taken it, or it is not there.
            Err(_) => {
                cache.remove(&record_name);
                continue;
            }
        }
        match listing(folder) {
            Ok(files) if files == record.files => return Taken::Moved(files),
            _ => {
                tracing::debug!(event = "payload.spare_refused", spare = name);
                let _ = fs_err::remove_dir_all(folder);
            }
        }
    }
    Taken::Nothing
}

/// Removes a spare. The record goes first: without one it is not trusted.
fn discard(cache: &Cache, name: &str, spare: &Path) {
    cache.remove(&format!("{name}.json"));
    let _ = fs_err::remove_dir_all(spare);
}

/// Removes what is beyond [`KEPT`], oldest first and what has another identity before all, and what runs left behind that
/// were killed. Returns how many are left of the identity with this prefix.
fn make_room(cache: &Cache, cache_folder: &Path, prefix: &str) -> usize {
    let names = cache.names();
    let spares = names
        .iter()
        .filter(|name| name.starts_with(PREFIX) && !name.contains('.'))
        .collect::<Vec<_>>();
    let has_record = |spare: &str| names.iter().any(|name| name.strip_suffix(".json") == Some(spare));
    let age = |spare: &str| {
        fs_err::symlink_metadata(cache_folder.join(spare))
            .and_then(|metadata| metadata.modified())
            .ok()
            .and_then(|modified| modified.elapsed().ok())
            .unwrap_or_default()
    };
    let (mut own, mut others) = (0, Vec::new());
    for spare in spares {
        if !has_record(spare) {
            if age(spare) > RECORD_AWAITED {
                discard(cache, spare, &cache_folder.join(spare));
            }
        } else if spare.starts_with(prefix) {
            own += 1;
        } else {
            others.push((age(spare), spare));
        }
    }
    others.sort();
    for (_, spare) in others.split_off(others.len().min(KEPT.saturating_sub(own + 1))) {
        discard(cache, spare, &cache_folder.join(spare));
    }
    own
}

fn prefix_of(identity: &str) -> String {
    let mut hasher = DefaultHasher::new();
    identity.hash(&mut hasher);
    format!("{PREFIX}{:016x}-", hasher.finish())
}

/// The first file that is not as it was laid out, was removed or was added. What Python compiles may come and go.
fn changed<'a>(laid_out: &'a Listing, now: &'a Listing) -> Option<&'a str> {
    let differs = |path: &&String| laid_out.get(*path) != now.get(*path) && !is_compiled(laid_out, path);
    laid_out.keys().chain(now.keys()).find(differs).map(String::as_str)
}

/// Whether it is the compiled form of a source that was laid out (PEP 3147): `dray/__pycache__/_run.cpython-311.pyc`.
fn is_compiled(laid_out: &Listing, path: &str) -> bool {
    let Some((folder, file)) = path.rsplit_once("/__pycache__/") else {
        return false;
    };
    match file.split_once(".cpython-") {
        Some((stem, tag)) => tag.ends_with(".pyc") && laid_out.contains_key(&format!("{folder}/{stem}.py")),
        None => false,
    }
}

/// # Errors
/// The folder cannot be read, or has something in it that is neither file nor folder, or a name that is not UTF-8.
fn listing(root: &Path) -> io::Result<Listing> {
    let mut found = Listing::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(root.join(&folder))? {
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
            } else if metadata.is_file() {
                found.insert(path, Fingerprint::from(&metadata));
            } else {
                return Err(io::Error::other(format!("`{path}` is no file")));
            }
        }
    }
    Ok(found)
}

/// Copies these files, with their times: Python judges by them whether a compiled file fits its source.
///
/// # Errors
/// One of them is not the file that it was, or cannot be copied.
fn copy(from: &Path, to: &Path, files: &Listing) -> io::Result<()> {
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
