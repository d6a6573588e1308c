//! A project that is a folder and is run in place. Reads only.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::error::ProjectError;
use super::{EntryKind, Member, MemberKind};

/// Folders that a run never needs: histories, dray's own runs, caches.
const LEFT_OUT: [&str; 3] = [".git", ".dray", "__pycache__"];

/// A folder project.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    pub(super) fn new(root: &Path) -> Folder {
        Folder { root: root.to_owned() }
    }

    /// The folder, as it was given.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The first `limit` members, sorted by path within each folder. Names that are not UTF-8 are shown lossily.
    pub(super) fn members(&self, limit: usize) -> Result<Vec<Member>, ProjectError> {
        let mut members = Vec::new();
        let mut folders = vec![(self.root.clone(), String::new())];
        while let Some((folder, prefix)) = folders.pop() {
            let entries = read_folder(&folder).map_err(|source| ProjectError::MemberUnreadable {
                member: prefix.clone(),
                source,
            })?;
            for entry in entries {
                if members.len() == limit {
                    return Ok(members);
                }
                let name = entry.file_name().to_string_lossy().into_owned();
                let path = if prefix.is_empty() {
                    name.clone()
                } else {
                    format!("{prefix}/{name}")
                };
                // A file that vanished meanwhile is no member.
                let Ok(metadata) = entry.metadata() else { continue };
                let kind = if metadata.is_symlink() {
                    let Ok(target) = fs_err::read_link(entry.path()) else {
                        continue;
                    };
                    MemberKind::Symlink { target }
                } else if metadata.is_dir() {
                    if LEFT_OUT.contains(&name.as_str()) {
                        continue;
                    }
                    folders.push((entry.path(), path.clone()));
                    MemberKind::Folder
                } else if metadata.is_file() {
                    MemberKind::File
                } else {
                    continue;
                };
                let size_bytes = if kind == MemberKind::File { metadata.len() } else { 0 };
                let mode = metadata.permissions().mode() & 0o777;
                members.push(Member {
                    path,
                    kind,
                    size_bytes,
                    compressed_bytes: size_bytes,
                    mode,
                });
            }
        }
        Ok(members)
    }

    pub(super) fn kind_at(&self, path: &str) -> Option<EntryKind> {
        let path = self.within(path)?;
        let metadata = fs_err::metadata(path).ok()?;
        if metadata.is_file() {
            Some(EntryKind::File)
        } else {
            metadata.is_dir().then_some(EntryKind::Folder)
        }
    }

    pub(super) fn read_small(&self, member: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, ProjectError> {
        let Some(path) = self.within(member) else {
            return Ok(None);
        };
        let unreadable = |source| ProjectError::MemberUnreadable {
            member: member.to_owned(),
            source,
        };
        let metadata = match fs_err::metadata(&path) {
            Ok(metadata) if metadata.is_file() => metadata,
            Ok(_) => return Ok(None),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(unreadable(error)),
        };
        if metadata.len() > max_bytes {
            return Err(ProjectError::MemberTooLarge {
                member: member.to_owned(),
                actual_bytes: metadata.len(),
                limit_bytes: max_bytes,
            });
        }
        fs_err::read(&path).map(Some).map_err(unreadable)
    }

    /// The place of `path` on disk, if it is relative and does not climb out by its own components. Symbolic links of
    /// the folder may lead anywhere: it is the developer's own.
    fn within(&self, path: &str) -> Option<PathBuf> {
        let mut depth = 0_i32;
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." => depth -= 1,
                _ => depth += 1,
            }
            if depth < 0 {
                return None;
            }
        }
        (!path.starts_with('/') && !path.contains('\0')).then(|| self.root.join(path))
    }
}

fn read_folder(folder: &Path) -> io::Result<Vec<fs_err::DirEntry>> {
    let mut entries = fs_err::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs_err::DirEntry::file_name);
    Ok(entries)
}
