//! The files of a folder that belong to its project.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::ignored::Ignored;
use super::{Content, Member, Members, PackError};

/// Never part of a project, as folders or as files (`.git` of a worktree): histories, what dray and Python leave behind.
const LEFT_OUT: [&str; 3] = [".git", ".dray", "__pycache__"];

/// Where packed packages lie; left out where they are packed anew.
const PACKED: &str = ".python_packages";

/// All files below `folder` that neither a .gitignore (in it, or above it in its repository) nor `exclude` names. Left out
/// as well: virtual environments, known by their pyvenv.cfg or conda-meta, what this pack writes (`written`), and, where
/// packages are packed anew, those that were packed before.
pub(super) fn collect(
    folder: &Path,
    exclude: &[String],
    written: &[&Path],
    packs_anew: bool,
) -> Result<Members, PackError> {
    let root = fs_err::canonicalize(folder).map_err(unreadable)?;
    let mut walk = Walk {
        ignored: Ignored::at_top(&root, exclude).map_err(unreadable)?,
        written: written.iter().map(|path| with_real_folder(path)).collect(),
        packs_anew,
        members: Members::new(),
    };
    walk.folder(&root, "")?;
    Ok(walk.members)
}

struct Walk {
    ignored: Ignored,
    written: Vec<PathBuf>,
    packs_anew: bool,
    members: Members,
}

impl Walk {
    fn folder(&mut self, folder: &Path, relative: &str) -> Result<(), PackError> {
        self.ignored.enter(folder, relative).map_err(unreadable)?;
        for entry in fs_err::read_dir(folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let (path, metadata) = (entry.path(), entry.metadata().map_err(unreadable)?); // of a link itself
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
                return Err(PackError::NotUtf8 { path });
            };
            let relative = match relative {
                "" => name.clone(),
                _ => format!("{relative}/{name}"),
            };
            if self.leaves_out(&path, &relative, &name, metadata.is_dir()) {
                continue;
            }
            if metadata.is_dir() {
                self.folder(&path, &relative)?;
            } else {
                let member = member(Path::new(&relative), &path, &metadata)?;
                self.members.insert(relative, member);
            }
        }
        self.ignored.leave();
        Ok(())
    }

    fn leaves_out(&self, path: &Path, relative: &str, name: &str, is_folder: bool) -> bool {
        let always = if is_folder {
            (self.packs_anew && relative == PACKED) || is_virtual_environment(path)
        } else {
            name.ends_with(".pyc") || self.written.iter().any(|written| is_written(path, written))
        };
        LEFT_OUT.contains(&name) || always || self.ignored.leaves_out(relative, is_folder)
    }
}

fn unreadable(source: io::Error) -> PackError {
    PackError::Io {
        doing: "read the project".to_owned(),
        source,
    }
}

fn is_virtual_environment(folder: &Path) -> bool {
    folder.join("pyvenv.cfg").is_file() || folder.join("conda-meta").is_dir()
}

/// The path as the walk sees it.
fn with_real_folder(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match (
        absolute.parent().and_then(|parent| parent.canonicalize().ok()),
        absolute.file_name(),
    ) {
        (Some(parent), Some(name)) => parent.join(name),
        _ => absolute,
    }
}

/// A file of an earlier time, or one that was being written.
fn is_written(path: &Path, written: &Path) -> bool {
    if path.parent() != written.parent() {
        return false;
    }
    let (name, written) = (
        path.file_name().unwrap_or_default(),
        written.file_name().unwrap_or_default(),
    );
    name == written
        || name
            .to_string_lossy()
            .starts_with(&super::zip::unfinished_prefix(written))
}

fn member(relative: &Path, path: &Path, metadata: &Metadata) -> Result<Member, PackError> {
    if metadata.is_symlink() {
        let target = fs_err::read_link(path).map_err(unreadable)?;
        return link(relative, &target);
    }
    if !metadata.is_file() {
        return Err(PackError::Special {
            path: relative.to_owned(),
        });
    }
    Ok(Member {
        content: Content::File(path.to_owned()),
        is_executable: metadata.permissions().mode() & 0o100 != 0,
        size_bytes: metadata.size(),
    })
}

/// What a run would refuse is refused here, where it can be mended.
fn link(relative: &Path, target: &Path) -> Result<Member, PackError> {
    let leaves = || PackError::LinkLeaves {
        path: relative.to_owned(),
        target: target.to_owned(),
    };
    let text = target.to_str().filter(|_| target.is_relative()).ok_or_else(leaves)?;
    let mut depth = relative.components().count() - 1;
    for component in target.components() {
        match component {
            std::path::Component::ParentDir => depth = depth.checked_sub(1).ok_or_else(leaves)?,
            std::path::Component::Normal(_) => depth += 1,
            _ => {}
        }
    }
    Ok(Member {
        content: Content::Link(text.to_owned()),
        is_executable: false,
        size_bytes: text.len() as u64,
    })
}
