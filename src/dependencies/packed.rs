//! Lays out a zip that has packed packages: they come from the node's store where it can be used, all else is unpacked
//! afresh.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::Ordering;

use super::store::{Store, StoreEntry, StoreError, Wait};
use super::{DependencyError, PACKED_FOLDER, Packages};
use crate::project::{Archive, Limits, ProjectError, Split};

/// Another way to lay out the same packages gets another key.
const KEY_PREFIX: &str = "packed1";

/// Writes the project's tree to `tree`, as [`Archive::unpack`] does, and says where its packed packages are, if it has any.
///
/// `python` is the version that they were packed for, if that is known. With a `store` they are unpacked into it once for the
/// node, and the tree has a symbolic link in their place. What is wrong with the store is no error: they are then unpacked
/// into the tree. The end of `wait` ends the wait for another task that unpacks them; unpacking goes on, unless it was
/// cancelled.
///
/// # Errors
/// Those of [`Archive::unpack`]; [`DependencyError::Stopped`].
pub fn lay_out(
    archive: &Archive,
    tree: &Path,
    python: Option<(u32, u32)>,
    limits: &Limits,
    threads: usize,
    wait: Wait<'_>,
    store: Option<&Store>,
) -> Result<Option<Packages>, DependencyError> {
    let cancel = wait.cancel;
    archive.check(limits)?;
    let split = match store {
        Some(_) => archive.split(PACKED_FOLDER)?,
        None => None,
    };
    if let (Some(store), Some(split)) = (store, split)
        && let Some(entry) = take(store, &split, python, threads, wait)?
    {
        split.outside.unpack(tree, &judged(), threads, cancel)?;
        link(entry.folder(), &tree.join(PACKED_FOLDER))?;
        return Ok(Some(Packages {
            folder: entry.folder().to_owned(),
            entry: Some(entry),
        }));
    }
    archive.unpack(tree, limits, threads, cancel)?;
    let folder = tree.join(PACKED_FOLDER);
    Ok(folder.is_dir().then_some(Packages { folder, entry: None }))
}

/// None: the store cannot be used.
fn take(
    store: &Store,
    split: &Split,
    python: Option<(u32, u32)>,
    threads: usize,
    wait: Wait<'_>,
) -> Result<Option<StoreEntry>, DependencyError> {
    let target = python
        .map(|(major, minor)| format!("{major}.{minor}-"))
        .unwrap_or_default();
    let key = format!("{KEY_PREFIX}-{target}{}", split.inside.identity());
    let taken = store.take(&key, wait, |folder| {
        let (needed, free) = (split.inside.unpacked_bytes(), store.room_bytes());
        if needed > free {
            return Err(ProjectError::DiskFull {
                folder: folder.to_owned(),
                needed,
                free,
                unit: "bytes",
            });
        }
        split.inside.unpack(folder, &judged(), threads, wait.cancel).map(|_| ())
    });
    match taken {
        Ok(entry) => {
            tracing::info!(
                event = "dependencies.laid_out",
                folder = %entry.folder().display(),
                unpacked = entry.is_new,
                "packed dependencies are in place"
            );
            Ok(Some(entry))
        }
        Err(StoreError::Make(error)) if !is_of_the_store(&error) => Err(error.into()),
        Err(StoreError::Cancelled) => Err(DependencyError::Stopped),
        // Unpacking the tree then says that it was cancelled.
        Err(_) if wait.cancel.load(Ordering::Relaxed) => Ok(None),
        Err(StoreError::Io(error)) => Ok(not_kept(&error)),
        Err(StoreError::Make(error)) => Ok(not_kept(&error)),
    }
}

fn not_kept(cause: &dyn std::fmt::Display) -> Option<StoreEntry> {
    tracing::warn!(
        event = "dependencies.not_kept",
        %cause,
        "packed dependencies cannot be kept for the next task; they are unpacked for this one"
    );
    None
}

/// Whether another folder may do better.
fn is_of_the_store(error: &ProjectError) -> bool {
    matches!(
        error,
        ProjectError::Write { .. } | ProjectError::DiskFull { .. } | ProjectError::DestinationExists { .. }
    )
}

/// The limits hold for the archive as a whole, and were judged.
fn judged() -> Limits {
    Limits {
        max_unpacked_bytes: u64::MAX,
        max_members: u64::MAX,
        max_ratio: u64::MAX,
    }
}

/// For a script that puts the folder on its path itself.
fn link(folder: &Path, place: &Path) -> Result<(), ProjectError> {
    let failed = |source| ProjectError::Write {
        path: place.to_owned(),
        source,
    };
    if let Some(parent) = place.parent() {
        fs_err::create_dir_all(parent).map_err(failed)?;
    }
    symlink(folder, place).map_err(failed)
}
