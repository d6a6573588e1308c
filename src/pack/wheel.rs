//! A wheel's files as members of the zip: where `pip install --target` would put them ("Binary distribution format").

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{Content, Member, Members, PackError, in_packed_folder};
use crate::dependencies::Distribution;
use crate::project::{Archive, MemberKind, hexadecimal};

/// Records of a large wheel have a megabyte.
const MAX_RECORD_BYTES: u64 = 64 * 1024 * 1024;

/// An opened wheel.
pub(super) struct Wheel {
    pub distribution: Distribution,
    archive: Arc<Archive>,
    /// `name-version.dist-info`.
    metadata: String,
    /// `name-version.data/`.
    data: String,
}

/// Opens a wheel; what a project's zip is refused for, a wheel is too.
pub(super) fn open(path: &Path) -> Result<Wheel, PackError> {
    let wheel = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let invalid = |cause: String| PackError::Wheel {
        wheel: wheel.clone(),
        cause,
    };
    let archive = Archive::open(path)?;
    let folders: BTreeSet<&str> = archive
        .members()
        .filter_map(|member| member.path.split_once('/'))
        .map(|(folder, _)| folder)
        .filter(|folder| folder.ends_with(".dist-info"))
        .collect();
    let [metadata] = folders.into_iter().collect::<Vec<_>>()[..] else {
        return Err(invalid("it has not one folder `*.dist-info`".to_owned()));
    };
    let metadata = metadata.to_owned();
    let text = archive.read(&format!("{metadata}/METADATA"))?;
    let text = String::from_utf8_lossy(&text);
    let field = |name: &str| {
        text.lines()
            .take_while(|line| !line.is_empty())
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(|value| value.trim().to_owned())
            .ok_or_else(|| invalid(format!("its METADATA has no `{name}`")))
    };
    let bytes = fs_err::read(path).map_err(|source| PackError::Io {
        doing: "read a wheel".to_owned(),
        source,
    })?;
    Ok(Wheel {
        distribution: Distribution {
            name: field("Name")?,
            version: field("Version")?,
            sha256: hexadecimal(&Sha256::digest(&bytes)),
            wheel: wheel.clone(),
        },
        data: format!("{}.data/", metadata.trim_end_matches(".dist-info")),
        metadata,
        archive: Arc::new(archive),
    })
}

impl Wheel {
    /// Adds the wheel's files to those of the zip, and gives their size in bytes. `strip` leaves out tests and caches.
    pub(super) fn add_to(&self, members: &mut Members, strip: bool, notes: &mut Vec<String>) -> Result<u64, PackError> {
        let record_path = format!("{}/RECORD", self.metadata);
        let mut size_bytes = 0;
        let mut changed = Vec::new();
        let mut left_out = BTreeSet::new();
        for member in self.archive.members() {
            let stored = member.path.as_str();
            if member.kind == MemberKind::Folder || stored == record_path {
                continue;
            }
            let path = self.place(stored);
            if stored.ends_with(".pyc") || strip && is_test_or_cache(&path) {
                left_out.insert(stored);
                continue;
            }
            let mut added = Member {
                content: Content::Wheel(Arc::clone(&self.archive), stored.to_owned()),
                is_executable: member.mode & 0o100 != 0,
                size_bytes: member.size_bytes,
            };
            if let MemberKind::Symlink { target } = &member.kind {
                added.content = Content::Link(target.to_string_lossy().into_owned());
            }
            if let Some(script) = stored
                .strip_prefix(&self.data)
                .and_then(|path| path.strip_prefix("scripts/"))
            {
                if let Some(rewritten) = rewritten_script(&self.archive.read(stored)?) {
                    added.size_bytes = rewritten.len() as u64;
                    added.content = Content::Bytes(rewritten);
                }
                added.is_executable = true;
                tracing::debug!(event = "pack.script", script);
            }
            if path != stored {
                changed.push((stored, path.clone(), added.size_bytes));
            }
            size_bytes += added.size_bytes;
            self.note(&path, notes);
            self.insert(members, &path, added, notes)?;
        }
        let record = self.record(&record_path, &changed, &left_out)?;
        size_bytes += record.size_bytes;
        self.insert(members, &record_path, record, notes)?;
        let installer = Member::of_text("dray\n".to_owned());
        self.insert(members, &format!("{}/INSTALLER", self.metadata), installer, notes)?;
        Ok(size_bytes)
    }

    /// Where a file goes: those of `.data` by their scheme, as in pip's scheme `home`, all others as they are.
    fn place(&self, stored: &str) -> String {
        let Some((scheme, rest)) = stored.strip_prefix(&self.data).and_then(|path| path.split_once('/')) else {
            return stored.to_owned();
        };
        match scheme {
            "scripts" => format!("bin/{rest}"),
            "headers" => format!("include/python/{}/{rest}", self.distribution.name),
            _ => rest.to_owned(), // purelib, platlib, data
        }
    }

    /// Two packages may bring one file (of a namespace); where they differ, the second is packed, as pip would install it.
    fn insert(
        &self,
        members: &mut Members,
        path: &str,
        member: Member,
        notes: &mut Vec<String>,
    ) -> Result<(), PackError> {
        let before = members.insert(in_packed_folder(path), member.clone());
        if let Some(before) = before
            && (before.size_bytes != member.size_bytes || content(&before)? != content(&member)?)
        {
            notes.push(format!(
                "`{path}` is in two packages, and packed as {} has it",
                self.distribution.name
            ));
        }
        Ok(())
    }

    fn note(&self, path: &str, notes: &mut Vec<String>) {
        if path.ends_with(".pth") && !path.contains('/') {
            notes.push(format!(
                "`{path}` of {} is packed, but Python runs such a file in its own site-packages only",
                self.distribution.name
            ));
        }
    }

    /// RECORD as it is after the move: importlib.metadata finds a distribution's files by it.
    fn record(
        &self,
        path: &str,
        changed: &[(&str, String, u64)],
        left_out: &BTreeSet<&str>,
    ) -> Result<Member, PackError> {
        let text = self.archive.read(path)?;
        if text.len() as u64 > MAX_RECORD_BYTES {
            return Err(PackError::Wheel {
                wheel: self.distribution.wheel.clone(),
                cause: format!(
                    "its RECORD has {} bytes, the limit is {MAX_RECORD_BYTES} bytes",
                    text.len()
                ),
            });
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        let mut lines: Vec<String> = Vec::new();
        for line in text.lines() {
            // Hash and size hold no comma, and a name with one is quoted.
            let name = line.rsplitn(3, ',').nth(2).unwrap_or(line).trim_matches('"');
            if left_out.contains(name) {
                continue;
            }
            lines.push(match changed.iter().find(|(stored, _, _)| *stored == name) {
                Some((_, path, size_bytes)) => format!("{path},,{size_bytes}"),
                None => line.to_owned(),
            });
        }
        lines.push(format!("{}/INSTALLER,,", self.metadata));
        Ok(Member::of_text(lines.join("\n") + "\n"))
    }
}

fn content(member: &Member) -> Result<Vec<u8>, PackError> {
    Ok(match &member.content {
        Content::Bytes(bytes) => bytes.clone(),
        Content::Link(target) => target.clone().into_bytes(),
        Content::Wheel(archive, path) => archive.read(path)?,
        Content::File(path) => fs_err::read(path).map_err(|source| PackError::Io {
            doing: "read the project".to_owned(),
            source,
        })?,
    })
}

/// A script that begins with `#!python` names the interpreter that it was installed for; here, the one on PATH.
fn rewritten_script(bytes: &[u8]) -> Option<Vec<u8>> {
    let rest = bytes.strip_prefix(b"#!python")?;
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    Some([b"#!/usr/bin/env python3", &rest[end..]].concat())
}

/// Folders of tests below a package, and what tools keep for themselves.
fn is_test_or_cache(path: &str) -> bool {
    let mut folders: Vec<&str> = path.split('/').collect();
    folders.pop();
    folders.iter().any(|folder| {
        matches!(
            *folder,
            "tests" | "test" | "__pycache__" | ".pytest_cache" | ".mypy_cache"
        )
    })
}
