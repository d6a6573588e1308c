//! A zip whose every member has been judged before one byte is written: names, kinds, clashes, links, encryption.
//!
//! It owns what a zip may contain. The format's records come from `container.rs`, the names from `names.rs`; writing the
//! tree is `unpack.rs`.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::container::{self, Record};
use super::error::{ArchiveError, ProjectError};
use super::inflate::{Extent, Fault, Inflater, Method};
use super::limits::Limits;
use super::names;
use super::times::{self, Timestamp};
use super::{Member, MemberKind};

/// File type bits of a Unix mode, as in `st_mode`.
const S_IFMT: u32 = 0o170_000;
/// Hosts whose upper attribute bits are a Unix mode, whatever they are (APPNOTE 4.4.2.2): Unix, OS X.
const UNIX_HOSTS: [u8; 2] = [3, 19];
/// Longest target of a symbolic link; Linux takes 4095 bytes.
const MAX_TARGET_BYTES: u64 = 4095;
/// Links that one path may lead through; Linux gives up after as many.
const MAX_LINK_HOPS: u32 = 40;
/// macOS keeps resource forks and Finder's data in this folder beside the members proper.
const MACOS_FOLDER: &str = "__MACOSX";

/// An opened zip, judged and ready to be unpacked.
#[derive(Debug)]
pub struct Archive {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) members: Vec<ArchiveMember>,
    /// Every path of the tree, implicit folders included.
    pub(super) tree: HashMap<String, Node>,
}

#[derive(Clone, Debug)]
pub(super) struct ArchiveMember {
    pub member: Member,
    pub extent: Extent,
    pub modified: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Node {
    /// A folder, with its member if it has one of its own.
    Folder(Option<usize>),
    File(usize),
    Symlink(usize),
}

impl Archive {
    /// Opens the zip at `path` and judges all members.
    ///
    /// # Errors
    /// [`ProjectError::Open`], and [`ProjectError::Archive`] for everything that a zip is refused for, except the limits
    /// (see [`Archive::check`]) and what only shows when data are unpacked.
    pub fn open(path: &Path) -> Result<Archive, ProjectError> {
        let file = fs_err::File::open(path).map_err(|source| ProjectError::Open {
            project: path.to_owned(),
            source,
        })?;
        let file = file.into_parts().0;
        judge(&file)
            .map(|(members, tree)| Archive {
                path: path.to_owned(),
                file,
                members,
                tree,
            })
            .map_err(|source| ProjectError::Archive {
                project: path.to_owned(),
                source,
            })
    }

    /// Refuses the archive if it is beyond `limits`. Unpacking does this too.
    ///
    /// # Errors
    /// [`ProjectError::Archive`] with the limit that is exceeded, and both numbers.
    pub fn check(&self, limits: &Limits) -> Result<(), ProjectError> {
        let (mut unpacked_bytes, mut compressed_bytes) = (0_u64, 0_u64);
        for member in &self.members {
            unpacked_bytes = unpacked_bytes.saturating_add(member.extent.size_bytes);
            compressed_bytes = compressed_bytes.saturating_add(member.extent.compressed_bytes);
        }
        let actual_members = self.members.len() as u64;
        let ratio = unpacked_bytes.div_ceil(compressed_bytes.max(1));
        let refused = if actual_members > limits.max_members {
            ArchiveError::TooManyMembers {
                actual_members,
                limit_members: limits.max_members,
            }
        } else if unpacked_bytes > limits.max_unpacked_bytes {
            ArchiveError::TooLarge {
                actual_bytes: unpacked_bytes,
                limit_bytes: limits.max_unpacked_bytes,
            }
        } else if ratio > limits.max_ratio && unpacked_bytes >= Limits::RATIO_FLOOR_BYTES {
            ArchiveError::RatioTooHigh {
                ratio,
                unpacked_bytes,
                compressed_bytes,
                limit: limits.max_ratio,
            }
        } else {
            return Ok(());
        };
        Err(self.refused(refused))
    }

    /// The members that will be unpacked, in the archive's order.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &Member> {
        self.members.iter().map(|member| &member.member)
    }

    /// Paths of all folders, implicit ones included, parents before children.
    pub(super) fn folders(&self) -> Vec<(&str, Option<&ArchiveMember>)> {
        let mut folders: Vec<_> = self
            .tree
            .iter()
            .filter_map(|(path, node)| match node {
                Node::Folder(index) => Some((path.as_str(), index.map(|index| &self.members[index]))),
                _ => None,
            })
            .collect();
        folders.sort_unstable_by_key(|(path, _)| *path);
        folders
    }

    /// What lies at `path`, through symbolic links within the tree.
    pub(super) fn kind_at(&self, path: &str) -> Option<super::EntryKind> {
        match self.lookup(path)? {
            Node::Folder(_) => Some(super::EntryKind::Folder),
            Node::File(_) => Some(super::EntryKind::File),
            Node::Symlink(_) => None,
        }
    }

    /// The whole content of the file at `path`, or `None` where there is no file.
    pub(super) fn read_small(&self, path: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, ProjectError> {
        let Some(Node::File(index)) = self.lookup(path) else {
            return Ok(None);
        };
        let member = &self.members[index];
        if member.extent.size_bytes > max_bytes {
            return Err(ProjectError::MemberTooLarge {
                member: names::shown(path),
                actual_bytes: member.extent.size_bytes,
                limit_bytes: max_bytes,
            });
        }
        read_whole(&self.file, &member.extent)
            .map(Some)
            .map_err(|fault| self.refused(explain(fault, &member.member.path, &member.extent)))
    }

    pub(super) fn refused(&self, source: ArchiveError) -> ProjectError {
        ProjectError::Archive {
            project: self.path.clone(),
            source,
        }
    }

    fn lookup(&self, path: &str) -> Option<Node> {
        let targets = |path: &str| match self.tree.get(path) {
            Some(Node::Symlink(index)) => link_target(&self.members[*index]),
            _ => None,
        };
        match resolve("", path, &targets) {
            Resolved::Within(path) => self.tree.get(&path).copied(),
            Resolved::Leaves | Resolved::Loops => None,
        }
    }
}

type Judged = (Vec<ArchiveMember>, HashMap<String, Node>);

fn judge(file: &File) -> Result<Judged, ArchiveError> {
    let records = container::read_records(file)?;
    let archive_has_slash = records.iter().any(|record| record.name.contains(&b'/'));
    let mut members = Vec::with_capacity(records.len());
    let mut names_by_member = Vec::with_capacity(records.len());
    for record in &records {
        let name = names::decode(record)?;
        let place = names::tree_path(&name, names::backslash_separates(record.host, archive_has_slash))?;
        let left_out = place.path == MACOS_FOLDER || place.path.starts_with("__MACOSX/");
        // A member `./` is the tree's root.
        if left_out || place.path.is_empty() {
            continue;
        }
        members.push(judge_member(record, place)?);
        names_by_member.push(name);
    }
    let tree = build_tree(&members, &names_by_member)?;
    read_links(file, &mut members)?;
    refuse_leaving_links(&members, &tree)?;
    Ok((members, tree))
}

fn judge_member(record: &Record, place: names::TreePath) -> Result<ArchiveMember, ArchiveError> {
    let shown = || names::shown(&place.path);
    if record.encrypted {
        return Err(ArchiveError::Encrypted { member: shown() });
    }
    let method = Method::from_number(record.method).map_err(|method| ArchiveError::CompressionUnsupported {
        member: shown(),
        method,
    })?;
    if method == Method::Stored && record.compressed_bytes != record.size_bytes {
        return Err(ArchiveError::Damaged {
            what: format!(
                "member `{}` is stored in {} bytes and should have {}",
                shown(),
                record.compressed_bytes,
                record.size_bytes
            ),
        });
    }
    let mode = unix_mode(record);
    let special = match mode.map_or(0, |mode| mode & S_IFMT) {
        0o010_000 => Some("named pipe"),
        0o020_000 => Some("character device"),
        0o060_000 => Some("block device"),
        0o140_000 => Some("socket"),
        _ => None,
    };
    if let Some(kind) = special {
        return Err(ArchiveError::MemberSpecial { member: shown(), kind });
    }
    let kind = match mode.map_or(0, |mode| mode & S_IFMT) {
        0o120_000 => MemberKind::Symlink { target: PathBuf::new() },
        0o040_000 => MemberKind::Folder,
        _ if place.names_folder => MemberKind::Folder,
        _ => MemberKind::File,
    };
    if kind == MemberKind::Folder && record.size_bytes > 0 {
        return Err(ArchiveError::Damaged {
            what: format!("member `{}` is a folder with content", shown()),
        });
    }
    // The owner can always read, write and enter; set-user-ID, set-group-ID and sticky bits are dropped.
    let mode = match (&kind, mode) {
        (MemberKind::Folder, Some(mode)) => mode & 0o777 | 0o700,
        (MemberKind::Folder, None) => 0o755,
        (MemberKind::Symlink { .. }, _) => 0o777,
        (MemberKind::File, Some(mode)) => mode & 0o777 | 0o600,
        (MemberKind::File, None) => 0o644,
    };
    Ok(ArchiveMember {
        member: Member {
            path: place.path,
            kind,
            size_bytes: record.size_bytes,
            compressed_bytes: record.compressed_bytes,
            mode,
        },
        extent: Extent {
            method,
            data_offset: record.data_offset,
            compressed_bytes: record.compressed_bytes,
            size_bytes: record.size_bytes,
            crc32: record.crc32,
        },
        modified: times::modified(record),
    })
}

/// The Unix mode of a member, if it has one. Tools on other hosts (Python's zipfile on Windows, PKZIP for Unix) fill it
/// too, recognisable by the file type that it then has.
fn unix_mode(record: &Record) -> Option<u32> {
    let mode = record.external_attributes >> 16;
    let is_mode = mode & S_IFMT != 0 || (mode != 0 && UNIX_HOSTS.contains(&record.host));
    is_mode.then_some(mode)
}

/// Gives every path its node. A folder may be there twice, as tools that merge archives leave it; nothing else may.
pub(super) fn build_tree(
    members: &[ArchiveMember],
    stored_names: &[String],
) -> Result<HashMap<String, Node>, ArchiveError> {
    let mut tree: HashMap<String, Node> = HashMap::with_capacity(members.len() + members.len() / 8);
    let shown = |index: usize| names::shown(&stored_names[index]);
    for (index, member) in members.iter().enumerate() {
        let path = &member.member.path;
        let node = match member.member.kind {
            MemberKind::Folder => Node::Folder(Some(index)),
            MemberKind::File => Node::File(index),
            MemberKind::Symlink { .. } => Node::Symlink(index),
        };
        match (tree.get_mut(path), node) {
            (None, node) => {
                tree.insert(path.clone(), node);
            }
            // Implicit folders join the tree below, after all members.
            (Some(Node::Folder(None)), _) | (Some(Node::Folder(_)), Node::Folder(_)) => {}
            (Some(Node::File(other) | Node::Symlink(other) | Node::Folder(Some(other))), _) => {
                let other = *other;
                if stored_names[other] == stored_names[index] {
                    return Err(ArchiveError::MemberDuplicate { member: shown(index) });
                }
                let why = "both stand for one path in the tree";
                return Err(ArchiveError::MemberClash {
                    first: shown(other),
                    second: shown(index),
                    why,
                });
            }
        }
    }
    for (index, member) in members.iter().enumerate() {
        let mut parent = member.member.path.as_str();
        while let Some((above, _)) = parent.rsplit_once('/') {
            parent = above;
            match tree.get(parent) {
                Some(Node::Folder(_)) => break,
                Some(Node::File(other) | Node::Symlink(other)) => {
                    let why = "the first is not a folder, and the second lies in it";
                    return Err(ArchiveError::MemberClash {
                        first: shown(*other),
                        second: shown(index),
                        why,
                    });
                }
                None => {
                    tree.insert(parent.to_owned(), Node::Folder(None));
                }
            }
        }
    }
    Ok(tree)
}

/// Reads the targets of all symbolic links; they are the members' data.
fn read_links(file: &File, members: &mut [ArchiveMember]) -> Result<(), ArchiveError> {
    use std::os::unix::ffi::OsStringExt;

    for member in members {
        let MemberKind::Symlink { target } = &mut member.member.kind else {
            continue;
        };
        let invalid = |why| ArchiveError::SymlinkInvalid {
            member: names::shown(&member.member.path),
            why,
        };
        if member.extent.size_bytes > MAX_TARGET_BYTES {
            return Err(invalid("it is longer than 4095 bytes"));
        }
        let bytes =
            read_whole(file, &member.extent).map_err(|fault| explain(fault, &member.member.path, &member.extent))?;
        if bytes.is_empty() {
            return Err(invalid("it is empty"));
        }
        if bytes.contains(&0) {
            return Err(invalid("it contains a NUL byte"));
        }
        *target = std::ffi::OsString::from_vec(bytes).into();
    }
    Ok(())
}

pub(super) fn refuse_leaving_links(
    members: &[ArchiveMember],
    tree: &HashMap<String, Node>,
) -> Result<(), ArchiveError> {
    let targets = |path: &str| match tree.get(path) {
        Some(Node::Symlink(index)) => link_target(&members[*index]),
        _ => None,
    };
    for member in members {
        let Some(target) = link_target(member) else { continue };
        let folder = member.member.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        // A loop leads nowhere, so it leaves nothing; opening it fails as it would where the zip was made.
        if matches!(resolve(folder, &target, &targets), Resolved::Leaves) {
            let member = names::shown(&member.member.path);
            return Err(ArchiveError::SymlinkLeavesTree {
                member,
                target: names::shown(&target),
            });
        }
    }
    Ok(())
}

fn link_target(member: &ArchiveMember) -> Option<String> {
    match &member.member.kind {
        MemberKind::Symlink { target } => Some(target.to_string_lossy().into_owned()),
        _ => None,
    }
}

enum Resolved {
    /// The path in the tree that is meant, whether something is there or not.
    Within(String),
    Leaves,
    Loops,
}

/// Follows `path` from `folder` as the kernel would, through the links that `targets` knows.
fn resolve(folder: &str, path: &str, targets: &impl Fn(&str) -> Option<String>) -> Resolved {
    if path.starts_with('/') {
        return Resolved::Leaves;
    }
    let mut place: Vec<String> = folder
        .split('/')
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect();
    // Components still to go, the next one last.
    let mut ahead: Vec<String> = path.rsplit('/').map(str::to_owned).collect();
    let mut hops = 0;
    while let Some(component) = ahead.pop() {
        match component.as_str() {
            "" | "." => {}
            ".." => {
                if place.pop().is_none() {
                    return Resolved::Leaves;
                }
            }
            _ => {
                place.push(component);
                if let Some(target) = targets(&place.join("/")) {
                    hops += 1;
                    if hops > MAX_LINK_HOPS {
                        return Resolved::Loops;
                    }
                    if target.starts_with('/') {
                        return Resolved::Leaves;
                    }
                    place.pop();
                    ahead.extend(target.rsplit('/').map(str::to_owned));
                }
            }
        }
    }
    Resolved::Within(place.join("/"))
}

fn read_whole(file: &File, extent: &Extent) -> Result<Vec<u8>, Fault> {
    let mut content = Vec::new();
    Inflater::new().unpack(file, extent, |piece| {
        content.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(content)
}

/// Names the member that a fault is in.
pub(super) fn explain(fault: Fault, path: &str, extent: &Extent) -> ArchiveError {
    let member = names::shown(path);
    let declared_bytes = extent.size_bytes;
    match fault {
        Fault::Read(error) | Fault::Sink(error) => ArchiveError::Read(error),
        Fault::Data { read_bytes, why } => ArchiveError::BadData {
            member,
            method: extent.method.name(),
            read_bytes,
            why,
        },
        Fault::Crc { actual } => ArchiveError::BadCrc {
            member,
            actual,
            declared: extent.crc32,
        },
        Fault::Size { at_least_bytes } => {
            let comparison = if at_least_bytes > declared_bytes {
                "more".to_owned()
            } else {
                format!("{at_least_bytes} bytes, fewer")
            };
            ArchiveError::MemberSizeWrong {
                member,
                comparison,
                declared_bytes,
            }
        }
    }
}
