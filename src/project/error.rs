//! Everything that can be wrong with a project, in words for the person who reads stderr.txt, with a stable code each.

use std::io;
use std::path::PathBuf;

use crate::failure::{ExitCode, Failing};

/// Why a zip was refused. Member names are shown escaped, since they come from outside.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// No end record, and nothing else says that this ever was a zip.
    #[error("not a zip archive: it is {found}")]
    NotAZip {
        /// What the first bytes look like, such as "a gzip file".
        found: &'static str,
    },
    /// The file ends, or a part of it begins, where the archive's own records say that more must be.
    #[error("the archive is cut off: {what}")]
    Truncated {
        /// Which part is missing.
        what: String,
    },
    /// The archive's records contradict each other or the format.
    #[error("the archive is damaged: {what}")]
    Damaged {
        /// Which record, and what is wrong with it.
        what: String,
    },
    /// One of several parts of a split archive.
    #[error("the archive is one part of a split archive")]
    Split,
    /// The central directory itself is encrypted, or a member is.
    #[error("member `{member}` is encrypted")]
    Encrypted {
        /// Escaped name of the member.
        member: String,
    },
    /// A compression method that is not handled.
    #[error("member `{member}` is compressed with {method}, which is not supported")]
    CompressionUnsupported {
        /// Escaped name of the member.
        member: String,
        /// Name or number of the method.
        method: String,
    },
    /// Absolute name.
    #[error("member `{member}` has an absolute name")]
    MemberAbsolute {
        /// Escaped name of the member.
        member: String,
    },
    /// Name with a drive letter.
    #[error("member `{member}` has a drive letter in its name")]
    MemberDriveLetter {
        /// Escaped name of the member.
        member: String,
    },
    /// `..` in a name.
    #[error("member `{member}` leaves the project folder: its name contains `..`")]
    MemberLeavesTree {
        /// Escaped name of the member.
        member: String,
    },
    /// NUL in a name.
    #[error("member `{member}` has a NUL byte in its name")]
    MemberNameNul {
        /// Escaped name of the member.
        member: String,
    },
    /// Empty name, not decodable, or longer than a file system allows.
    #[error("member `{member}` has a name that cannot be used: {why}")]
    MemberNameInvalid {
        /// Escaped name of the member.
        member: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Two members with one name.
    #[error("member `{member}` is in the archive twice")]
    MemberDuplicate {
        /// Escaped path of the member.
        member: String,
    },
    /// Two names that mean one path, or a file where another member needs a folder.
    #[error("members `{first}` and `{second}` clash: {why}")]
    MemberClash {
        /// Escaped name of one.
        first: String,
        /// Escaped name of the other.
        second: String,
        /// What they clash over.
        why: &'static str,
    },
    /// Device, pipe or socket.
    #[error("member `{member}` is a {kind}, not a file, folder or symbolic link")]
    MemberSpecial {
        /// Escaped name of the member.
        member: String,
        /// Kind that its mode bits say.
        kind: &'static str,
    },
    /// A symbolic link that leads out of the tree.
    #[error("symbolic link `{member}` leaves the project folder: it points to `{target}`")]
    SymlinkLeavesTree {
        /// Escaped name of the member.
        member: String,
        /// Escaped target.
        target: String,
    },
    /// A symbolic link whose target cannot be one.
    #[error("symbolic link `{member}` has no usable target: {why}")]
    SymlinkInvalid {
        /// Escaped name of the member.
        member: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The local header of a member is not the one that the central directory describes.
    #[error("member `{member}` is described differently in its own header: the {field} differs")]
    HeaderMismatch {
        /// Escaped name of the member.
        member: String,
        /// What differs.
        field: &'static str,
    },
    /// Two members share bytes of the archive.
    #[error("members `{first}` and `{second}` overlap in the archive")]
    MembersOverlap {
        /// Escaped name of one.
        first: String,
        /// Escaped name of the other.
        second: String,
    },
    /// Checksum differs.
    #[error("member `{member}` is damaged: its CRC-32 is {actual:08x}, the archive says {declared:08x}")]
    BadCrc {
        /// Escaped name of the member.
        member: String,
        /// CRC-32 of the bytes that were unpacked.
        actual: u32,
        /// CRC-32 in the central directory.
        declared: u32,
    },
    /// The compressed data are not valid.
    #[error("member `{member}` is damaged: its {method} data cannot be read after {read_bytes} bytes ({why})")]
    BadData {
        /// Escaped name of the member.
        member: String,
        /// Name of the compression method.
        method: &'static str,
        /// Unpacked bytes before the fault.
        read_bytes: u64,
        /// The decoder's own words.
        why: String,
    },
    /// Fewer or more bytes than declared.
    #[error(
        "member `{member}` is damaged: it unpacks to {comparison} than the {declared_bytes} bytes that the archive says"
    )]
    MemberSizeWrong {
        /// Escaped name of the member.
        member: String,
        /// "more" or "fewer bytes (N)".
        comparison: String,
        /// Size in the central directory.
        declared_bytes: u64,
    },
    /// Over `max_unpacked_bytes`.
    #[error("the project unpacks to {actual_bytes} bytes, more than the limit of {limit_bytes} bytes")]
    TooLarge {
        /// Sum of the members' declared sizes.
        actual_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// Over `max_members`.
    #[error("the project has {actual_members} members, more than the limit of {limit_members}")]
    TooManyMembers {
        /// Number of members.
        actual_members: u64,
        /// The limit.
        limit_members: u64,
    },
    /// Over `max_ratio`.
    #[error(
        "the project unpacks to {ratio} times its compressed size ({unpacked_bytes} bytes from {compressed_bytes}), \
         more than the limit of {limit} times"
    )]
    RatioTooHigh {
        /// Unpacked by compressed, rounded up.
        ratio: u64,
        /// Sum of the unpacked sizes.
        unpacked_bytes: u64,
        /// Sum of the compressed sizes.
        compressed_bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The central directory alone is beyond what is read into memory.
    #[error(
        "the archive's central directory has {actual_bytes} bytes, more than the {limit_bytes} bytes that are read"
    )]
    DirectoryTooLarge {
        /// Size of the central directory.
        actual_bytes: u64,
        /// What is read at most.
        limit_bytes: u64,
    },
    /// The archive cannot be read.
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
}

impl ArchiveError {
    fn code(&self) -> &'static str {
        use ArchiveError::*;
        match self {
            NotAZip { .. } => "project.not_a_zip",
            Truncated { .. } => "project.truncated",
            Damaged { .. } => "project.archive_damaged",
            Split => "project.split_archive",
            Encrypted { .. } => "project.encrypted",
            CompressionUnsupported { .. } => "project.compression_unsupported",
            MemberAbsolute { .. } => "project.member_absolute",
            MemberDriveLetter { .. } => "project.member_drive_letter",
            MemberLeavesTree { .. } => "project.member_leaves_tree",
            MemberNameNul { .. } => "project.member_name_nul",
            MemberNameInvalid { .. } => "project.member_name_invalid",
            MemberDuplicate { .. } => "project.member_duplicate",
            MemberClash { .. } => "project.member_clash",
            MemberSpecial { .. } => "project.member_special",
            SymlinkLeavesTree { .. } => "project.symlink_leaves_tree",
            SymlinkInvalid { .. } => "project.symlink_invalid",
            HeaderMismatch { .. } => "project.header_mismatch",
            MembersOverlap { .. } => "project.members_overlap",
            BadCrc { .. } => "project.bad_crc",
            BadData { .. } => "project.member_damaged",
            MemberSizeWrong { .. } => "project.member_size_wrong",
            TooLarge { .. } => "project.too_large",
            TooManyMembers { .. } => "project.too_many_members",
            RatioTooHigh { .. } => "project.ratio_too_high",
            DirectoryTooLarge { .. } => "project.directory_too_large",
            Read(_) => "project.unreadable",
        }
    }

    fn hint(&self) -> Option<String> {
        use ArchiveError::*;
        let hint = match self {
            Truncated { .. } | BadCrc { .. } | BadData { .. } | Damaged { .. } => {
                "compare the file's size with the original, and upload it again"
            }
            Encrypted { .. } => "make the zip without a password",
            CompressionUnsupported { .. } => {
                "use stored, deflate, deflate64, bzip2, LZMA or zstd; most tools write deflate by default"
            }
            TooLarge { .. } => "raise `--max-unpacked-bytes` if the project is meant to be that large",
            TooManyMembers { .. } => "raise `--max-members` if the project is meant to have that many",
            RatioTooHigh { .. } => "raise `--max-ratio` if the project is meant to expand that much",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// What went wrong with a project.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// There is nothing at the path, or it may not be opened.
    #[error("cannot open project `{}`", project.display())]
    Open {
        /// PROJECT as given.
        project: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// Neither a file nor a folder.
    #[error("cannot use project `{}`: it is neither a zip nor a folder", project.display())]
    NotAProject {
        /// PROJECT as given.
        project: PathBuf,
    },
    /// The zip was refused.
    #[error("cannot unpack project `{}`", project.display())]
    Archive {
        /// PROJECT as given.
        project: PathBuf,
        /// Why.
        source: ArchiveError,
    },
    /// A file that is read whole is larger than it should be.
    #[error(
        "`{member}` in the project has {actual_bytes} bytes, more than the {limit_bytes} bytes that are read of it"
    )]
    MemberTooLarge {
        /// Path in the project.
        member: String,
        /// Its size.
        actual_bytes: u64,
        /// What is read at most.
        limit_bytes: u64,
    },
    /// A file of the project cannot be read.
    #[error("cannot read `{member}` in the project")]
    MemberUnreadable {
        /// Path in the project.
        member: String,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The tree does not fit the disk.
    #[error(
        "cannot unpack into `{}`: {needed} {unit} are needed, {free} are free",
        folder.display()
    )]
    DiskFull {
        /// Where the tree was to be.
        folder: PathBuf,
        /// How much it takes.
        needed: u64,
        /// How much there is for a user without privileges.
        free: u64,
        /// "bytes" or "inodes".
        unit: &'static str,
    },
    /// A file, folder or link cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// What was to be written.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The tree's place is taken.
    #[error("cannot unpack into `{}`: it already exists", destination.display())]
    DestinationExists {
        /// Where the tree was to be.
        destination: PathBuf,
    },
    /// Unpacking was stopped by the caller.
    #[error("unpacking was cancelled after {done_members} of {members} members")]
    Cancelled {
        /// Members that had been written.
        done_members: u64,
        /// Members in all.
        members: u64,
    },
    /// The task folder's files cannot be linked into the tree.
    #[error("cannot link the files of `{}` into the project's tree", task_folder.display())]
    Link {
        /// The task folder.
        task_folder: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// pyproject.toml is not TOML, or a value has the wrong type.
    #[error("`pyproject.toml` line {line}, column {column}: {message}")]
    ManifestInvalid {
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// pyproject.toml is not UTF-8.
    #[error("`pyproject.toml` is not UTF-8: line {line} has an invalid byte")]
    ManifestEncoding {
        /// From 1.
        line: usize,
    },
    /// A key of `[tool.dray]` that does not exist.
    #[error("`pyproject.toml` line {line}, column {column}: `[tool.dray]` has no key `{key}`")]
    ManifestKeyUnknown {
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// The key.
        key: String,
        /// The nearest key that exists.
        nearest: Option<&'static str>,
    },
    /// The entrypoint's file is not in the project.
    #[error("entrypoint `{entry}` ({origin}) is not in the project")]
    EntrypointMissing {
        /// As given.
        entry: String,
        /// Where it was named.
        origin: &'static str,
        /// Paths that look like it.
        nearest: Vec<String>,
        /// What could be started instead.
        candidates: Vec<String>,
    },
    /// The entrypoint cannot be one.
    #[error("entrypoint `{entry}` ({origin}) cannot be used: {why}")]
    EntrypointInvalid {
        /// As given.
        entry: String,
        /// Where it was named.
        origin: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// No entrypoint was named, and none of the default ones exists.
    #[error(
        "no entrypoint: none was named, `[tool.dray]` has no `entry`, and the project has neither `__main__.py` nor \
         `main.py`; {}",
        candidates_phrase(candidates)
    )]
    EntrypointNotChosen {
        /// What could be started.
        candidates: Vec<String>,
    },
}

const DISK_FULL_HINT: &str = "free some space, use a larger node, or name another folder with `--workdir`";

fn candidates_phrase(candidates: &[String]) -> String {
    if candidates.is_empty() {
        return "it has no other Python file at its top level either".to_owned();
    }
    format!("candidates: {}", quoted_list(candidates))
}

fn quoted_list(names: &[String]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

impl Failing for ProjectError {
    fn exit_code(&self) -> ExitCode {
        match self {
            // The node's fault, not the project's.
            ProjectError::DiskFull { .. }
            | ProjectError::Write { .. }
            | ProjectError::DestinationExists { .. }
            | ProjectError::Cancelled { .. }
            | ProjectError::Link { .. }
            | ProjectError::Archive {
                source: ArchiveError::Read(_),
                ..
            } => ExitCode::Internal,
            _ => ExitCode::Project,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            ProjectError::Open { .. } => "project.not_found",
            ProjectError::NotAProject { .. } => "project.not_a_project",
            ProjectError::Archive { source, .. } => source.code(),
            ProjectError::MemberTooLarge { .. } => "project.member_too_large",
            ProjectError::MemberUnreadable { .. } => "project.member_unreadable",
            ProjectError::DiskFull { .. } => "project.disk_full",
            ProjectError::Write { .. } => "project.write_failed",
            ProjectError::DestinationExists { .. } => "project.destination_exists",
            ProjectError::Cancelled { .. } => "project.unpacking_cancelled",
            ProjectError::Link { .. } => "project.link_failed",
            ProjectError::ManifestInvalid { .. } => "project.manifest_invalid",
            ProjectError::ManifestEncoding { .. } => "project.manifest_encoding",
            ProjectError::ManifestKeyUnknown { .. } => "project.manifest_key_unknown",
            ProjectError::EntrypointMissing { .. } => "project.entrypoint_missing",
            ProjectError::EntrypointInvalid { .. } => "project.entrypoint_invalid",
            ProjectError::EntrypointNotChosen { .. } => "project.entrypoint_not_chosen",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            ProjectError::Archive { source, .. } => source.hint(),
            ProjectError::DiskFull { .. } => Some(DISK_FULL_HINT.to_owned()),
            ProjectError::Write { source, .. }
                if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
            {
                Some(DISK_FULL_HINT.to_owned())
            }
            ProjectError::ManifestKeyUnknown {
                nearest: Some(nearest), ..
            } => Some(format!("the nearest key is `{nearest}`")),
            ProjectError::EntrypointMissing {
                nearest, candidates, ..
            } => match (nearest.is_empty(), candidates) {
                (false, _) => Some(format!("the nearest names in the project are {}", quoted_list(nearest))),
                (true, candidates) if !candidates.is_empty() => {
                    Some(format!("the project has {}", quoted_list(candidates)))
                }
                _ => None,
            },
            ProjectError::EntrypointNotChosen { candidates } if !candidates.is_empty() => {
                Some("name one after PROJECT, or set `entry` under `[tool.dray]` in pyproject.toml".to_owned())
            }
            _ => None,
        }
    }
}
