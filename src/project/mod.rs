//! A zip becomes a tree on disk; which entrypoint is meant.
//!
//! This module owns what a project is: a zip that is judged whole before one byte of it is written, or a folder that is
//! run in place; its `pyproject.toml`; its entrypoint; the tree that the script finds as its working directory. It knows
//! nothing of Python interpreters, of what ADF handed over, or of how the worker is started.
//!
//! ```text
//! Project::open -> manifest -> Entrypoint::choose        nothing is written
//! Archive::unpack -> link_task_files                     the tree appears, whole or not at all
//! Archive::split                                         where a part of the tree has a place of its own
//! ```

mod archive;
mod container;
mod entrypoint;
mod error;
mod folder;
mod inflate;
mod limits;
mod manifest;
mod names;
mod nearest;
mod split;
mod task_files;
mod times;
mod unpack;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use archive::Archive;
pub use entrypoint::{EntryArgument, Entrypoint};
pub use error::{ArchiveError, ProjectError};
pub use limits::Limits;
pub use manifest::Manifest;
pub(crate) use manifest::position;
pub(crate) use nearest::nearest;
pub use split::{Split, hexadecimal};
pub use task_files::link_task_files;
pub use unpack::Unpacked;

use folder::Folder;

/// A Python project: PROJECT of the command line.
#[derive(Debug)]
pub enum Project {
    /// A zip, to be unpacked.
    Zip(Archive),
    /// A folder, run where it is.
    Folder(Folder),
}

/// One member of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Path below the project's root, with `/` between folders and none at the end.
    pub path: String,
    /// File, folder or symbolic link.
    pub kind: MemberKind,
    /// Unpacked size in bytes; 0 for folders.
    pub size_bytes: u64,
    /// Size in the zip in bytes; of a folder project, the size of the file.
    pub compressed_bytes: u64,
    /// Permission bits that the tree's file has or will have, such as `0o755`.
    pub mode: u32,
}

/// What a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link that stays within the tree.
    Symlink {
        /// Where it points to, as stored.
        target: PathBuf,
    },
}

/// What a path in a project leads to, through symbolic links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
}

impl Project {
    /// Opens a zip, told by its content and not its name, or a folder. Nothing is written.
    ///
    /// The limits are not judged here, since the project's own `pyproject.toml` may set them: call [`Archive::check`]
    /// once they are known. [`Archive::unpack`] judges them too. Until then no more is read than the zip's records (of
    /// 256 MiB at most) and the targets of its symbolic links.
    ///
    /// # Errors
    /// See [`Archive::open`]; [`ProjectError::Open`] where there is nothing at `path`; [`ProjectError::NotAProject`] for
    /// a device or the like.
    pub fn open(path: &Path) -> Result<Project, ProjectError> {
        let metadata = fs_err::metadata(path).map_err(|source| ProjectError::Open {
            project: path.to_owned(),
            source,
        })?;
        if metadata.is_dir() {
            Ok(Project::Folder(Folder::new(path)))
        } else if metadata.is_file() {
            Archive::open(path).map(Project::Zip)
        } else {
            Err(ProjectError::NotAProject {
                project: path.to_owned(),
            })
        }
    }

    /// All members, for a dry run. Of a folder project, what a run does not need is left out: `.git`, `.dray`,
    /// `__pycache__`.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn members(&self) -> Result<Vec<Member>, ProjectError> {
        match self {
            Project::Zip(archive) => Ok(archive.members().cloned().collect()),
            Project::Folder(folder) => folder.members(usize::MAX),
        }
    }

    /// What is at `path` (relative, `/` between folders); `None` for nothing, or for a path that leaves the project.
    pub fn kind_at(&self, path: &str) -> Option<EntryKind> {
        match self {
            Project::Zip(archive) => archive.kind_at(path),
            Project::Folder(folder) => folder.kind_at(path),
        }
    }

    /// Whether there is a file at `path`.
    pub fn contains(&self, path: &str) -> bool {
        self.kind_at(path) == Some(EntryKind::File)
    }

    /// The whole content of the file at `path`, also before the project is unpacked; `None` where there is no file.
    ///
    /// # Errors
    /// A file of more than `max_bytes`; a damaged member; a file that cannot be read.
    pub fn read_small(&self, path: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, ProjectError> {
        match self {
            Project::Zip(archive) => archive.read_small(path, max_bytes),
            Project::Folder(folder) => folder.read_small(path, max_bytes),
        }
    }

    /// What the project's `pyproject.toml` says to dray; all empty where it has none.
    ///
    /// # Errors
    /// Malformed TOML, an unknown key or a value of the wrong type in `[tool.dray]`, with line and column.
    pub fn manifest(&self) -> Result<Manifest, ProjectError> {
        match self.read_small(manifest::FILE_NAME, manifest::MAX_BYTES)? {
            Some(bytes) => Manifest::parse(&bytes),
            None => Ok(Manifest::default()),
        }
    }

    /// Paths of members to compare a mistyped name with; at most `limit` of a folder project.
    fn paths(&self, limit: usize) -> Vec<String> {
        match self {
            Project::Zip(archive) => archive.members().map(|member| member.path.clone()).collect(),
            Project::Folder(folder) => match folder.members(limit) {
                Ok(members) => members.into_iter().map(|member| member.path).collect(),
                Err(_) => Vec::new(),
            },
        }
    }
}
