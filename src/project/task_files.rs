//! The files beside the zip in the task's working directory, linked into the tree.
//!
//! Under `unzip && python3` the script ran among them: activity.json and whatever else ADF put there. It finds them in
//! the same place still, while no member can overwrite one.

use std::io;
use std::path::Path;

use super::error::ProjectError;

/// Never linked: a script that writes it must make a fresh file in the tree, not write through to one that an earlier
/// attempt left.
const NEVER_LINKED: &str = "outputs.json";

/// Links every entry of `task_folder` into the root of `tree` under its own name, where the tree has nothing of that
/// name. Left out are outputs.json and the folder that the tree itself lies in. The project's zip is linked too: it lay
/// beside the script before.
///
/// Returns the names that were linked, sorted; a name that is not UTF-8 is linked and shown lossily.
///
/// # Errors
/// [`ProjectError::Link`] where the task folder cannot be read, or the tree not written.
pub fn link_task_files(tree: &Path, task_folder: &Path) -> Result<Vec<String>, ProjectError> {
    link_all(tree, task_folder).map_err(|source| ProjectError::Link {
        task_folder: task_folder.to_owned(),
        source,
    })
}

fn link_all(tree: &Path, task_folder: &Path) -> io::Result<Vec<String>> {
    let tree = fs_err::canonicalize(tree)?;
    let task_folder = fs_err::canonicalize(task_folder)?;
    let mut linked = Vec::new();
    for entry in fs_err::read_dir(&task_folder)? {
        let entry = entry?;
        if entry.file_name() == NEVER_LINKED || tree.starts_with(entry.path()) {
            continue;
        }
        match std::os::unix::fs::symlink(entry.path(), tree.join(entry.file_name())) {
            Ok(()) => linked.push(entry.file_name().to_string_lossy().into_owned()),
            // A member has the name.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    linked.sort();
    Ok(linked)
}
