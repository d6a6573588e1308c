//! An archive is divided in two: one folder of it, whose tree may be kept on the node, and all else.

use std::io;

use sha2::{Digest, Sha256};

use super::MemberKind;
use super::archive::{Archive, ArchiveMember, build_tree, refuse_leaving_links};
use super::error::ProjectError;

/// The two parts of an archive; each unpacks by itself.
#[derive(Debug)]
pub struct Split {
    /// What lies below the folder, with paths from there.
    pub inside: Archive,
    /// Everything else. The folder itself is in neither.
    pub outside: Archive,
}

impl Archive {
    /// Divides the archive at `folder` (a path in the tree, without a slash at its end). None: nothing lies below it, or a
    /// symbolic link in it leads out of it, so that it makes no tree of its own.
    ///
    /// # Errors
    /// No descriptor is left for the second part.
    pub fn split(&self, folder: &str) -> Result<Option<Split>, ProjectError> {
        let below = format!("{folder}/");
        let (mut inside, mut outside) = (Vec::new(), Vec::new());
        for member in &self.members {
            let path = member.member.path.as_str();
            if let Some(rest) = path.strip_prefix(&below) {
                let mut member = member.clone();
                member.member.path = rest.to_owned();
                inside.push(member);
            } else if path != folder {
                outside.push(member.clone());
            }
        }
        if inside.is_empty() {
            return Ok(None);
        }
        let (Some(inside), Some(outside)) = (self.part(inside)?, self.part(outside)?) else {
            return Ok(None);
        };
        if refuse_leaving_links(&inside.members, &inside.tree).is_err() {
            return Ok(None);
        }
        Ok(Some(Split { inside, outside }))
    }

    fn part(&self, members: Vec<ArchiveMember>) -> Result<Option<Archive>, ProjectError> {
        let file = self.file.try_clone().map_err(|source| ProjectError::Open {
            project: self.path.clone(),
            source,
        })?;
        let paths: Vec<String> = members.iter().map(|member| member.member.path.clone()).collect();
        Ok(build_tree(&members, &paths).ok().map(|tree| Archive {
            path: self.path.clone(),
            file,
            members,
            tree,
        }))
    }

    /// A text of 32 hexadecimal digits that is another for every other tree: half of a SHA-256 over path, kind, size, CRC-32 and mode of all
    /// members. No member's data are read.
    pub fn identity(&self) -> String {
        let mut members: Vec<&ArchiveMember> = self.members.iter().collect();
        members.sort_by(|one, other| one.member.path.cmp(&other.member.path));
        let mut hasher = Sha256::new();
        for ArchiveMember { member, extent, .. } in members {
            let kind = match &member.kind {
                MemberKind::File => "file",
                MemberKind::Folder => "folder",
                MemberKind::Symlink { .. } => "link",
            };
            hasher.update(member.path.as_bytes());
            hasher.update(format!(
                "\0{kind}\0{}\0{:08x}\0{:o}\0",
                member.size_bytes, extent.crc32, member.mode
            ));
        }
        hexadecimal(&hasher.finalize()[..16])
    }

    /// The whole content of the file at `path`, whatever its size.
    ///
    /// # Errors
    /// There is no file of that name; its data are damaged.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, ProjectError> {
        self.read_small(path, u64::MAX)?
            .ok_or_else(|| ProjectError::MemberUnreadable {
                member: path.to_owned(),
                source: io::ErrorKind::NotFound.into(),
            })
    }
}

/// Bytes as text, two digits each.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
