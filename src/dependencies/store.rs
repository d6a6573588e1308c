//! Folders of packages that are made once for the node and used by every later task of this user.
//!
//! An entry stands under `dependencies/` in the folder of `interpreter::cache_folder`, which is one a user; neither it nor
//! anything in it is trusted unless it belongs to this user or to root and nobody else may write it. An entry `KEY` is
//! made in `KEY.making-…` under an exclusive lock on `KEY.lock`, and renamed when whole: two tasks at once make it once.
//! `KEY/listing` says which files it has and of what size, and each use looks at all of them: what a cleaner of
//! temporary files took, or somebody added to a file, is noticed, and the entry made anew. Files and folders are read-only
//! but for the folders `__pycache__`, which Python fills as modules are first imported: to compile all of a large package
//! would take longer than the start that is to be saved, and what the script imports is compiled after its first run.
//!
//! A run holds a shared lock for as long as it lasts; what nobody holds is removed when it was not used for long, or
//! when all entries together are too large. An entry that is no longer whole cannot be replaced under a run that holds it,
//! which may last for hours: then the next task makes a second one, `KEY-beside`.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use nix::fcntl::{Flock, FlockArg};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use crate::interpreter::open_own_folder;

/// Name of the folder in the cache's folder.
const FOLDER: &str = "dependencies";
/// The packages of an entry.
const PACKAGES: &str = "site-packages";
const LISTING: &str = "listing";
const LOCK_SUFFIX: &str = ".lock";

/// An entry that was not used for this long is removed.
const KEPT_UNUSED: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// All entries together keep to this many bytes, and to a quarter of their disk.
const KEPT_BYTES: u64 = 10 * 1024 * 1024 * 1024;
/// What is unpacked into the store takes no more than this part of what is free. Entries of users who come no more (Batch
/// can give each task one of its own) stay as long as the node does, and must not fill its disk.
const PART_OF_FREE: u64 = 8;
/// How often a lock that another task holds is tried.
const LOCK_TRIED: Duration = Duration::from_millis(20);
/// For this long a damaged entry that is in use is tried again: it may have been looked at, and no more.
const DAMAGED_TRIED: Duration = Duration::from_secs(1);
/// A wait that is longer than this is told.
const TOLD_AFTER: Duration = Duration::from_secs(1);
const BESIDE_SUFFIX: &str = "-beside";

/// The node's folder of entries.
pub struct Store {
    path: PathBuf,
}

/// An entry in use: whole, and not removed before this is dropped.
pub struct StoreEntry {
    folder: PathBuf,
    /// Whether it was made just now.
    pub is_new: bool,
    _lock: Flock<File>,
}

impl StoreEntry {
    /// The packages.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// For how long another task that makes an entry is waited for.
#[derive(Clone, Copy)]
pub struct Wait<'a> {
    /// Ends the wait when it is set.
    pub cancel: &'a AtomicBool,
    /// Ends it too.
    pub deadline: Option<Instant>,
}

impl Wait<'_> {
    pub(super) fn is_over(&self) -> bool {
        self.cancel.load(Ordering::Relaxed) || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

/// What can be done with an entry, and the lock for it.
enum Claim {
    /// It is whole, and held.
    Use(Flock<File>),
    /// It is to be made; nobody else has it.
    Make(Flock<File>),
    /// It is not whole, and in use.
    Damaged,
}

/// Why an entry could not be had.
#[derive(Debug)]
pub enum StoreError<E> {
    /// The store itself failed.
    Io(io::Error),
    /// The wait for another task that was making the entry was over.
    Cancelled,
    /// What should have made it failed.
    Make(E),
}

impl<E> From<io::Error> for StoreError<E> {
    fn from(error: io::Error) -> Self {
        StoreError::Io(error)
    }
}

impl Store {
    /// Opens the store in the cache's folder, and makes it if need be.
    ///
    /// # Errors
    /// It cannot be made, or others may write it.
    pub fn open(cache: &Path) -> io::Result<Store> {
        open_own_folder(cache)?;
        let path = cache.join(FOLDER);
        open_own_folder(&path)?;
        Ok(Store { path })
    }

    /// Bytes that an entry may have; the rest of what is free is left to the tasks.
    pub fn room_bytes(&self) -> u64 {
        rustix::fs::statvfs(&self.path).map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize) / PART_OF_FREE)
    }

    /// The entry `key`. Where there is none, or one that is no longer whole, `make` is to make the folder that it is given,
    /// with the packages in it. Another task that makes it is waited for.
    ///
    /// # Errors
    /// See [`StoreError`]; nothing is left of an entry that could not be made.
    pub fn take<E>(
        &self,
        key: &str,
        wait: Wait<'_>,
        make: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<StoreEntry, StoreError<E>> {
        for key in [key, &format!("{key}{BESIDE_SUFFIX}")] {
            let entry = self.path.join(key);
            let lock = match self.claim(key, wait)? {
                Claim::Use(lock) => return Ok(self.in_use(entry, lock, false)),
                Claim::Make(lock) => lock,
                Claim::Damaged => {
                    tracing::warn!(
                        event = "dependencies.entry_damaged",
                        entry = %entry.display(),
                        "packages that are kept for the node's tasks lack files, and a task that runs uses them"
                    );
                    continue;
                }
            };
            self.make(key, &lock, make)?;
            // No other task can have removed it in between: that takes the exclusive lock too, and what is given up here for
            // a moment is only waited for by those who want to use it.
            return match lock.relock(FlockArg::LockShared) {
                Ok(()) => Ok(self.in_use(entry, lock, true)),
                Err(errno) => Err(StoreError::Io(errno.into())),
            };
        }
        Err(StoreError::Io(io::Error::other(
            "all that is kept of them lacks files and is in use",
        )))
    }

    fn claim<E>(&self, key: &str, wait: Wait<'_>) -> Result<Claim, StoreError<E>> {
        let entry = self.path.join(key);
        let begun = Instant::now();
        let mut is_told = false;
        let mut damaged_since = None;
        loop {
            match self.try_lock(key, FlockArg::LockSharedNonblock)? {
                Some(lock) if is_whole(&entry) => return Ok(Claim::Use(lock)),
                Some(shared) => {
                    drop(shared);
                    if let Some(lock) = self.try_lock(key, FlockArg::LockExclusiveNonblock)? {
                        match is_whole(&entry) {
                            true => continue,
                            false => return Ok(Claim::Make(lock)),
                        }
                    }
                    if damaged_since.get_or_insert_with(Instant::now).elapsed() >= DAMAGED_TRIED {
                        return Ok(Claim::Damaged);
                    }
                }
                // Another task makes it.
                None => damaged_since = None,
            }
            if wait.is_over() {
                return Err(StoreError::Cancelled);
            }
            if !is_told && begun.elapsed() >= TOLD_AFTER {
                is_told = true;
                tracing::info!(
                    event = "dependencies.waiting",
                    entry = %entry.display(),
                    "waiting for another task that makes the same packages ready"
                );
            }
            std::thread::sleep(LOCK_TRIED);
        }
    }

    fn in_use(&self, entry: PathBuf, lock: Flock<File>, is_new: bool) -> StoreEntry {
        // The lock file's time is that of the last use.
        let _ = lock.set_modified(SystemTime::now());
        StoreEntry {
            folder: entry.join(PACKAGES),
            is_new,
            _lock: lock,
        }
    }

    fn make<E>(
        &self,
        key: &str,
        lock: &Flock<File>,
        make: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<(), StoreError<E>> {
        self.remove_all_of(key)?;
        let making = self.path.join(format!("{key}.making-{}", std::process::id()));
        fs_err::create_dir(&making)?;
        let made = make(&making.join(PACKAGES)).map_err(StoreError::Make).and_then(|()| {
            let size_bytes = finish(&making)?;
            fs_err::rename(&making, self.path.join(key))?;
            lock.set_len(0)?;
            (&**lock).write_all(size_bytes.to_string().as_bytes())?;
            Ok(())
        });
        if made.is_err() {
            remove_tree(&making);
        }
        made
    }

    /// An entry that is not whole, and what attempts that were killed have left. To be called with the exclusive lock.
    fn remove_all_of(&self, key: &str) -> io::Result<()> {
        for item in fs_err::read_dir(&self.path)? {
            let path = item?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name == key || (name.starts_with(&format!("{key}.")) && !name.ends_with(LOCK_SUFFIX)) {
                remove_tree(&path);
            }
        }
        Ok(())
    }

    /// None: another task holds it.
    fn try_lock(&self, key: &str, how: FlockArg) -> io::Result<Option<Flock<File>>> {
        let path = self.path.join(format!("{key}{LOCK_SUFFIX}"));
        loop {
            let file = std::fs::OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
                .open(&path)?;
            let locked = match Flock::lock(file, how) {
                Ok(locked) => locked,
                Err((_, nix::errno::Errno::EWOULDBLOCK)) => return Ok(None),
                Err((_, errno)) => return Err(errno.into()),
            };
            // Whoever removed an entry has removed this file with it.
            let there = fs_err::symlink_metadata(&path).map(|there| (there.dev(), there.ino()));
            let own = locked.metadata().map(|own| (own.dev(), own.ino()))?;
            if there.is_ok_and(|there| there == own) {
                return Ok(Some(locked));
            }
        }
    }

    /// Removes what was not used for long, and then the longest unused until the rest is small enough. What a run holds is
    /// left alone. Failures are logged: nothing depends on it.
    pub fn prune(&self) {
        let disk_bytes =
            rustix::fs::statvfs(&self.path).map_or(u64::MAX, |disk| disk.f_blocks.saturating_mul(disk.f_frsize));
        self.prune_to(KEPT_UNUSED, KEPT_BYTES.min(disk_bytes / 4));
    }

    fn prune_to(&self, kept_unused: Duration, kept_bytes: u64) {
        let Ok(items) = fs_err::read_dir(&self.path) else {
            return;
        };
        let mut entries: Vec<(SystemTime, String, u64)> = items
            .flatten()
            .filter_map(|item| {
                let name = item.file_name().to_str()?.strip_suffix(LOCK_SUFFIX)?.to_owned();
                let used = item.metadata().ok()?.modified().ok()?;
                let size_bytes = fs_err::read_to_string(item.path()).ok()?.trim().parse().unwrap_or(0);
                Some((used, name, size_bytes))
            })
            .collect();
        entries.sort_unstable();
        let mut all_bytes: u64 = entries.iter().map(|(_, _, size_bytes)| size_bytes).sum();
        for (used, key, size_bytes) in entries {
            // Of no size: what a task was making when it was killed. One that is being made is locked.
            let is_old = size_bytes == 0 || used.elapsed().is_ok_and(|unused| unused > kept_unused);
            if !is_old && all_bytes <= kept_bytes {
                continue;
            }
            let Ok(Some(_lock)) = self.try_lock(&key, FlockArg::LockExclusiveNonblock) else {
                continue;
            };
            let removed = self.remove_all_of(&key);
            let _ = fs_err::remove_file(self.path.join(format!("{key}{LOCK_SUFFIX}")));
            tracing::debug!(
                event = "dependencies.pruned",
                key,
                size_bytes,
                removed = removed.is_ok()
            );
            all_bytes = all_bytes.saturating_sub(size_bytes);
        }
    }
}

/// Makes an entry's files and folders read-only, but for the folders that Python compiles into, and writes the listing.
/// Gives the size of all files in bytes.
fn finish(entry: &Path) -> io::Result<u64> {
    let root = entry.join(PACKAGES);
    let mut size_bytes = 0;
    let mut listing = String::new();
    let mut folders = vec![(root.clone(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        let mut has_modules = false;
        for item in fs_err::read_dir(&folder)? {
            let item = item?;
            let name = item.file_name();
            let Some(name) = name.to_str().filter(|name| !name.contains('\n')) else {
                return Err(io::Error::other(format!(
                    "`{}` has a name that cannot be listed",
                    item.path().display()
                )));
            };
            let metadata = item.metadata()?; // of a link itself
            if metadata.is_dir() {
                if name != "__pycache__" {
                    folders.push((item.path(), format!("{prefix}{name}/")));
                }
                continue;
            }
            has_modules |= name.ends_with(".py");
            size_bytes += metadata.len();
            listing += &format!("{} {prefix}{name}\n", metadata.len());
            if metadata.is_file() {
                let mode = metadata.permissions().mode() & 0o555;
                fs_err::set_permissions(item.path(), PermissionsExt::from_mode(mode))?;
            }
        }
        let compiled = folder.join("__pycache__");
        if has_modules {
            match fs_err::create_dir(&compiled) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => fs_err::set_permissions(&compiled, PermissionsExt::from_mode(0o755))?,
            }
        }
        fs_err::set_permissions(&folder, PermissionsExt::from_mode(0o555))?;
    }
    let path = entry.join(LISTING);
    fs_err::write(&path, listing)?;
    fs_err::set_permissions(&path, PermissionsExt::from_mode(0o444))?;
    fs_err::set_permissions(entry, PermissionsExt::from_mode(0o755))?;
    Ok(size_bytes)
}

/// Whether all that the listing names is there, of that size, and writable by nobody else.
fn is_whole(entry: &Path) -> bool {
    let look = || -> io::Result<bool> {
        let folder = open_folder(entry)?;
        let listing = rustix::fs::openat(
            &folder,
            LISTING,
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        if !is_own(&rustix::fs::fstat(&folder)?) || !is_own(&rustix::fs::fstat(&listing)?) {
            return Ok(false);
        }
        let listing = io::read_to_string(File::from(listing))?;
        let packages = open_folder(&entry.join(PACKAGES))?;
        if !is_own(&rustix::fs::fstat(&packages)?) {
            return Ok(false);
        }
        Ok(listing.lines().all(|line| is_listed(packages.as_fd(), line)))
    };
    match look() {
        Ok(whole) => whole,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::debug!(event = "dependencies.entry_refused", entry = %entry.display(), %error);
            }
            false
        }
    }
}

fn is_listed(packages: impl AsFd, line: &str) -> bool {
    let Some((size_bytes, path)) = line.split_once(' ') else {
        return false;
    };
    rustix::fs::statat(packages, path, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| {
        u64::try_from(stat.st_size).ok() == size_bytes.parse().ok()
            && (is_own(&stat) || FileType::from_raw_mode(stat.st_mode).is_symlink())
    })
}

fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

fn is_own(stat: &rustix::fs::Stat) -> bool {
    (stat.st_uid == rustix::process::geteuid().as_raw() || stat.st_uid == 0) && stat.st_mode & 0o022 == 0
}

/// Removes a tree of read-only folders. It is renamed first, so that nobody takes a part of it for the whole.
fn remove_tree(path: &Path) {
    let removing = path.with_extension(format!("removing-{}", std::process::id()));
    let path = if fs_err::rename(path, &removing).is_ok() {
        &removing
    } else {
        path
    };
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        let _ = fs_err::set_permissions(&folder, PermissionsExt::from_mode(0o700));
        let Ok(items) = fs_err::read_dir(&folder) else { continue };
        folders.extend(
            items
                .flatten()
                .filter(|item| item.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|item| item.path()),
        );
    }
    if let Err(error) = fs_err::remove_dir_all(path) {
        tracing::debug!(event = "dependencies.not_removed", %error);
    }
}
