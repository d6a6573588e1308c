//! The files of a folder that belong to its project.

use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ignore::WalkBuilder;
use ignore::overrides::{Override, OverrideBuilder};

use super::{Content, Member, Members, PackError};

/// Never part of a project: histories, what dray and Python leave behind.
const LEFT_OUT: [&str; 3] = [".git", ".dray", "__pycache__"];

/// Where packed packages lie; left out where they are packed anew.
const PACKED: &str = ".python_packages";

/// All files below `folder` that neither a .gitignore (in it, or above it in its repository) nor `exclude` names. Left out
/// as well: virtual environments, known by their pyvenv.cfg or conda-meta, the zip itself, and, where they are packed anew,
/// packages that were packed before.
pub(super) fn collect(
    folder: &Path,
    exclude: &[String],
    output: &Path,
    packs_anew: bool,
) -> Result<Members, PackError> {
    let output = std::path::absolute(output).unwrap_or_else(|_| output.to_owned());
    let root = fs_err::canonicalize(folder).map_err(|source| PackError::Io {
        doing: "read the project".to_owned(),
        source,
    })?;
    let output = output
        .parent()
        .and_then(|parent| parent.canonicalize().ok())
        .map_or(output.clone(), |parent| {
            parent.join(output.file_name().unwrap_or_default())
        });
    let walk_root = root.clone();
    let walk = WalkBuilder::new(&root)
        .hidden(false)
        .ignore(false)
        .git_global(false) // another machine has another one
        .git_exclude(false)
        .require_git(false)
        .overrides(overrides(&root, exclude)?)
        .filter_entry(move |entry| {
            let name = entry.file_name().to_string_lossy();
            let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
            if entry.path() == walk_root {
                return true;
            }
            if is_folder {
                let is_packed = packs_anew && name == PACKED && entry.depth() == 1;
                return !LEFT_OUT.contains(&&*name) && !is_packed && !is_virtual_environment(entry.path());
            }
            !name.ends_with(".pyc") && !is_zip_itself(entry.path(), &output)
        })
        .sort_by_file_name(std::cmp::Ord::cmp)
        .build();
    let mut members = Members::new();
    for entry in walk {
        let entry = entry.map_err(|source| PackError::Walk { source })?;
        let path = entry.path();
        let Ok(relative) = path.strip_prefix(&root) else {
            continue;
        };
        let metadata = fs_err::symlink_metadata(path).map_err(|source| PackError::Io {
            doing: "read the project".to_owned(),
            source,
        })?;
        if relative.as_os_str().is_empty() || metadata.is_dir() {
            continue;
        }
        let Some(name) = relative.to_str() else {
            return Err(PackError::NotUtf8 {
                path: relative.to_owned(),
            });
        };
        members.insert(name.to_owned(), member(&root, relative, path, &metadata)?);
    }
    Ok(members)
}

/// A pattern of a .gitignore leaves out; in the library's overrides it is the one with a `!` that does.
fn overrides(root: &Path, exclude: &[String]) -> Result<Override, PackError> {
    let mut builder = OverrideBuilder::new(root);
    for pattern in exclude {
        let inverted = match pattern.strip_prefix('!') {
            Some(kept) => kept.to_owned(),
            None => format!("!{pattern}"),
        };
        builder.add(&inverted).map_err(|source| PackError::Exclude {
            pattern: pattern.clone(),
            cause: source.to_string(),
        })?;
    }
    builder.build().map_err(|source| PackError::Exclude {
        pattern: exclude.join(", "),
        cause: source.to_string(),
    })
}

fn is_virtual_environment(folder: &Path) -> bool {
    folder.join("pyvenv.cfg").is_file() || folder.join("conda-meta").is_dir()
}

/// The zip of an earlier time, or one that is being written.
fn is_zip_itself(path: &Path, output: &Path) -> bool {
    if path.parent() != output.parent() {
        return false;
    }
    let (name, output) = (
        path.file_name().unwrap_or_default(),
        output.file_name().unwrap_or_default(),
    );
    let unfinished = super::zip::unfinished_prefix(output);
    name == output || name.to_string_lossy().starts_with(&unfinished)
}

fn member(root: &Path, relative: &Path, path: &Path, metadata: &Metadata) -> Result<Member, PackError> {
    if metadata.is_symlink() {
        let target = fs_err::read_link(path).map_err(|source| PackError::Io {
            doing: "read the project".to_owned(),
            source,
        })?;
        return link(root, relative, &target);
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
fn link(root: &Path, relative: &Path, target: &Path) -> Result<Member, PackError> {
    let leaves = || PackError::LinkLeaves {
        path: relative.to_owned(),
        target: target.to_owned(),
    };
    let text = target.to_str().filter(|_| target.is_relative()).ok_or_else(leaves)?;
    let place = root.join(relative.parent().unwrap_or(Path::new("")));
    let mut resolved = PathBuf::new();
    for component in place.join(target).components() {
        match component {
            std::path::Component::ParentDir => {
                resolved.pop();
            }
            other => resolved.push(other),
        }
        if !resolved.starts_with(root) && resolved.components().count() >= root.components().count() {
            return Err(leaves());
        }
    }
    if !resolved.starts_with(root) {
        return Err(leaves());
    }
    Ok(Member {
        content: Content::Link(text.to_owned()),
        is_executable: false,
        size_bytes: text.len() as u64,
    })
}
