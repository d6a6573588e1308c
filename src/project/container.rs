//! Reads the records of a zip file: end record, zip64 end record, central directory, local headers.
//!
//! It owns the file format and nothing else: names are bytes here, nothing is decompressed, nothing is judged but the
//! format's own consistency. The outside facts are from PKWARE's APPNOTE 6.3.10 and Info-ZIP's `proginfo/extrafld.txt`.
//!
//! Why not a reader from a library: the `zip` crate keys members by name, so a duplicate silently replaces the member
//! before it; it trusts the 16-bit member count, so members after the 65,536th of an archive without zip64 vanish; it
//! guesses a name's encoding without the flag that says it; and it reports a damaged archive in free text, where a run
//! needs one stable code a cause. The decompressors are libraries (`inflate.rs`).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::error::ArchiveError;

const END_SIGNATURE: &[u8; 4] = b"PK\x05\x06";
const ZIP64_LOCATOR_SIGNATURE: &[u8; 4] = b"PK\x06\x07";
const ZIP64_END_SIGNATURE: &[u8; 4] = b"PK\x06\x06";
const CENTRAL_SIGNATURE: &[u8; 4] = b"PK\x01\x02";
const LOCAL_SIGNATURE: &[u8; 4] = b"PK\x03\x04";
const DIGITAL_SIGNATURE: &[u8; 4] = b"PK\x05\x05";

const END_BYTES: u64 = 22;
const ZIP64_LOCATOR_BYTES: u64 = 20;
const ZIP64_END_BYTES: u64 = 56;
const CENTRAL_BYTES: usize = 46;
const LOCAL_BYTES: usize = 30;
const MAX_COMMENT_BYTES: u64 = 0xffff;

/// The central directory is read whole; this many bytes hold some three million members.
const MAX_DIRECTORY_BYTES: u64 = 256 * 1024 * 1024;

/// Flag bit 0: encrypted. Bit 6: strong encryption. Bit 13: central directory encrypted, local headers masked.
const ENCRYPTION_FLAGS: u16 = 1 | 1 << 6 | 1 << 13;
/// Flag bit 11: name and comment are UTF-8.
const UTF8_FLAG: u16 = 1 << 11;

/// One member as the central directory describes it, checked against its local header.
#[derive(Debug)]
pub(super) struct Record {
    /// The name's bytes as stored.
    pub name: Vec<u8>,
    /// The flag that says that `name` is UTF-8.
    pub name_is_utf8: bool,
    /// Content of the Info-ZIP unicode path field whose checksum fits `name`.
    pub unicode_name: Option<Vec<u8>>,
    /// System that the member was made on (APPNOTE 4.4.2.2): 0 is FAT, 3 is Unix.
    pub host: u8,
    /// The upper 16 bits are a Unix mode on most hosts, the lower 8 are DOS attributes.
    pub external_attributes: u32,
    /// Any kind of encryption.
    pub encrypted: bool,
    /// Compression method's number.
    pub method: u16,
    /// CRC-32 of the unpacked data.
    pub crc32: u32,
    /// Bytes in the archive.
    pub compressed_bytes: u64,
    /// Bytes unpacked.
    pub size_bytes: u64,
    /// Date and time as MS-DOS stores them, date in the upper half.
    pub dos_time: u32,
    /// The extra fields, unparsed.
    pub extra: Vec<u8>,
    /// Where the local header starts in the file.
    pub header_offset: u64,
    /// Where the compressed data start in the file.
    pub data_offset: u64,
}

/// Reads all records of `file`; they come in the order of the central directory, duplicates included.
///
/// # Errors
/// When the file is no zip, is cut off, is one part of several, or its records contradict each other.
pub(super) fn read_records(file: &File) -> Result<Vec<Record>, ArchiveError> {
    let file_bytes = file.metadata().map_err(ArchiveError::Read)?.len();
    let directory = find_directory(file, file_bytes)?;
    let mut bytes = vec![0; directory.bytes as usize];
    read_exact_at(file, &mut bytes, directory.offset, "its central directory")?;
    let mut records = parse_directory(&bytes, &directory)?;
    for record in &mut records {
        locate_data(file, record, directory.offset)?;
    }
    refuse_overlaps(&records)?;
    Ok(records)
}

struct Directory {
    offset: u64,
    bytes: u64,
    /// What to add to the offsets in the archive: the length of whatever was put before it.
    prefix_bytes: u64,
    /// Number of members that the end record gives, and whether it has only its lower 16 bits.
    members: u64,
    members_wrap: bool,
}

fn find_directory(file: &File, file_bytes: u64) -> Result<Directory, ArchiveError> {
    let tail_bytes = file_bytes.min(END_BYTES + MAX_COMMENT_BYTES);
    let tail_offset = file_bytes - tail_bytes;
    let mut tail = vec![0; tail_bytes as usize];
    read_exact_at(file, &mut tail, tail_offset, "its end")?;

    let ends: Vec<usize> = memchr::memmem::rfind_iter(&tail, END_SIGNATURE)
        .filter(|&at| at + END_BYTES as usize <= tail.len())
        .collect();
    // A comment may hold the signature too, so it counts only where the comment ends with the file. Padding behind it is
    // put up with, other bytes are not: a zip that was cut off after a zip within it would pass for the inner one.
    let ends_the_file = |&at: &usize| {
        let comment_bytes = usize::from(u16_at(&tail, at + 20));
        tail[at + END_BYTES as usize..]
            .split_at_checked(comment_bytes)
            .is_some_and(|(_, behind)| behind.iter().all(|byte| *byte == 0 || byte.is_ascii_whitespace()))
    };
    let mut first_fault = None;
    for at in ends.into_iter().filter(ends_the_file) {
        match read_end(file, &tail[at..], tail_offset + at as u64) {
            Ok(directory) => return Ok(directory),
            Err(fault) => first_fault = first_fault.or(Some(fault)),
        }
    }
    match first_fault {
        Some(fault) => Err(fault),
        None => Err(describe_other(file, file_bytes)?),
    }
}

/// Interprets the end record `end`, which lies at `end_offset`.
fn read_end(file: &File, end: &[u8], end_offset: u64) -> Result<Directory, ArchiveError> {
    let saturated = end[4..12].chunks_exact(2).any(|field| field == [0xff; 2])
        || end[12..20].chunks_exact(4).any(|field| field == [0xff; 4]);
    let zip64 = find_zip64_end(file, end_offset, saturated)?;
    let mut disk = u32::from(u16_at(end, 4));
    let mut directory_disk = u32::from(u16_at(end, 6));
    let mut disk_members = u64::from(u16_at(end, 8));
    let mut members = u64::from(u16_at(end, 10));
    let mut bytes = u64::from(u32_at(end, 12));
    let mut offset = u64::from(u32_at(end, 16));
    let mut members_wrap = true;
    // Where the directory must end: right before the first of the end records.
    let mut limit = end_offset;

    if let Some((record, record_offset)) = &zip64 {
        limit = *record_offset;
        if disk == 0xffff {
            disk = u32_at(record, 16);
        }
        if directory_disk == 0xffff {
            directory_disk = u32_at(record, 20);
        }
        if disk_members == 0xffff {
            disk_members = u64_at(record, 24);
        }
        if members == 0xffff {
            members = u64_at(record, 32);
            members_wrap = false;
        }
        if bytes == 0xffff_ffff {
            bytes = u64_at(record, 40);
        }
        if offset == 0xffff_ffff {
            offset = u64_at(record, 48);
        }
    }
    if disk != 0 || directory_disk != 0 || disk_members != members {
        return Err(ArchiveError::Split);
    }
    if bytes > MAX_DIRECTORY_BYTES && bytes <= limit {
        return Err(ArchiveError::DirectoryTooLarge {
            actual_bytes: bytes,
            limit_bytes: MAX_DIRECTORY_BYTES,
        });
    }

    let declared_end = offset
        .checked_add(bytes)
        .ok_or_else(|| damaged("the end record's offset is out of range"))?;
    if declared_end > limit {
        return Err(ArchiveError::Truncated {
            what: format!("its central directory should end at byte {declared_end}, but the end record is at {limit}"),
        });
    }
    let directory = |start: u64, prefix_bytes: u64| Directory {
        offset: start,
        bytes,
        prefix_bytes,
        members,
        members_wrap,
    };
    if members == 0 && bytes == 0 {
        return Ok(directory(limit, 0));
    }
    // Offsets count from the start of the archive, which is not the start of the file where something was put before
    // it (a shell stub, say). The directory ends at the end record, so the difference is the length of that prefix.
    if has_signature(file, limit - bytes, CENTRAL_SIGNATURE)? {
        return Ok(directory(limit - bytes, limit - declared_end));
    }
    if has_signature(file, offset, CENTRAL_SIGNATURE)? {
        return Ok(directory(offset, 0));
    }
    Err(damaged(format!(
        "there is no central directory at byte {}, where the end record says",
        limit - bytes
    )))
}

type Zip64End = ([u8; ZIP64_END_BYTES as usize], u64);

/// The zip64 end record that belongs to the end record at `end_offset`, with its own offset. `needed` says that the end
/// record refers to it; without that, what looks like a locator may be the end of a comment.
fn find_zip64_end(file: &File, end_offset: u64, needed: bool) -> Result<Option<Zip64End>, ArchiveError> {
    let Some(locator_offset) = end_offset.checked_sub(ZIP64_LOCATOR_BYTES) else {
        return Ok(None);
    };
    let mut locator = [0; ZIP64_LOCATOR_BYTES as usize];
    read_exact_at(file, &mut locator, locator_offset, "its zip64 locator")?;
    if !locator.starts_with(ZIP64_LOCATOR_SIGNATURE) {
        return Ok(None);
    }
    if needed && u32_at(&locator, 16) > 1 {
        return Err(ArchiveError::Split);
    }
    let mut record = [0; ZIP64_END_BYTES as usize];
    // The locator's offset is short by the length of a prefix; the record itself then still lies before the locator.
    let candidates = [Some(u64_at(&locator, 8)), locator_offset.checked_sub(ZIP64_END_BYTES)];
    for offset in candidates.into_iter().flatten() {
        if offset <= locator_offset.saturating_sub(ZIP64_END_BYTES) && has_signature(file, offset, ZIP64_END_SIGNATURE)?
        {
            read_exact_at(file, &mut record, offset, "its zip64 end record")?;
            return Ok(Some((record, offset)));
        }
    }
    if needed {
        Err(damaged("there is no zip64 end record where its locator says"))
    } else {
        Ok(None)
    }
}

fn parse_directory(bytes: &[u8], directory: &Directory) -> Result<Vec<Record>, ArchiveError> {
    let mut records = Vec::with_capacity((directory.members as usize).min(bytes.len() / CENTRAL_BYTES));
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        if rest.starts_with(DIGITAL_SIGNATURE) {
            break;
        }
        if rest.len() < CENTRAL_BYTES || !rest.starts_with(CENTRAL_SIGNATURE) {
            return Err(damaged(format!(
                "record {} of its central directory is not one",
                records.len() + 1
            )));
        }
        let name_bytes = usize::from(u16_at(rest, 28));
        let extra_bytes = usize::from(u16_at(rest, 30));
        let record_bytes = CENTRAL_BYTES + name_bytes + extra_bytes + usize::from(u16_at(rest, 32));
        if rest.len() < record_bytes {
            return Err(damaged(format!(
                "record {} of its central directory is cut off",
                records.len() + 1
            )));
        }
        let (name, extra) = rest[CENTRAL_BYTES..].split_at(name_bytes);
        records.push(parse_record(rest, name, &extra[..extra_bytes], directory.prefix_bytes)?);
        at += record_bytes;
    }
    let found = records.len() as u64;
    // Writers without zip64 let the 16-bit count wrap; the directory's length is then the better witness.
    let agrees = if directory.members_wrap {
        found & 0xffff == directory.members
    } else {
        found == directory.members
    };
    if !agrees {
        return Err(damaged(format!(
            "its end record counts {} members, its central directory has {found}",
            directory.members
        )));
    }
    Ok(records)
}

fn parse_record(fixed: &[u8], name: &[u8], extra: &[u8], prefix_bytes: u64) -> Result<Record, ArchiveError> {
    let flags = u16_at(fixed, 8);
    let method = u16_at(fixed, 10);
    let mut compressed_bytes = u64::from(u32_at(fixed, 20));
    let mut size_bytes = u64::from(u32_at(fixed, 24));
    let mut header_offset = u64::from(u32_at(fixed, 42));

    // Zip64 field: 64-bit values for those of the three that are saturated, in this order (APPNOTE 4.5.3).
    let mut wide = extra_fields(extra)
        .find(|&(id, _)| id == 1)
        .map_or(&[][..], |(_, content)| content)
        .chunks_exact(8);
    for value in [&mut size_bytes, &mut compressed_bytes, &mut header_offset] {
        if *value == 0xffff_ffff
            && let Some(chunk) = wide.next()
        {
            *value = u64_at(chunk, 0);
        }
    }
    let unicode_name = extra_fields(extra)
        .find(|&(id, content)| {
            id == 0x7075 && content.len() > 5 && content[0] == 1 && u32_at(content, 1) == crc32fast::hash(name)
        })
        .map(|(_, content)| content[5..].to_vec());
    Ok(Record {
        name: name.to_vec(),
        name_is_utf8: flags & UTF8_FLAG != 0,
        unicode_name,
        host: fixed[5],
        external_attributes: u32_at(fixed, 38),
        // Method 99 is AES encryption of WinZip.
        encrypted: flags & ENCRYPTION_FLAGS != 0 || method == 99,
        method,
        crc32: u32_at(fixed, 16),
        compressed_bytes,
        size_bytes,
        dos_time: u32_at(fixed, 12),
        extra: extra.to_vec(),
        header_offset: header_offset
            .checked_add(prefix_bytes)
            .ok_or_else(|| damaged(format!("member `{}` is said to lie out of range", shown(name))))?,
        data_offset: 0,
    })
}

/// Finds the data of `record` behind its local header, which must describe the same member.
///
/// Readers differ in which of the two they trust; an archive that says different things to different readers is
/// refused, as by Python's zipfile.
fn locate_data(file: &File, record: &mut Record, directory_offset: u64) -> Result<(), ArchiveError> {
    let outside = |record: &Record| ArchiveError::Truncated {
        what: format!(
            "member `{}` should lie at byte {} and following",
            shown(&record.name),
            record.header_offset
        ),
    };
    let header_bytes = LOCAL_BYTES + record.name.len();
    let header_end = record
        .header_offset
        .checked_add(header_bytes as u64)
        .ok_or_else(|| outside(record))?;
    if header_end > directory_offset {
        return Err(outside(record));
    }
    let mut header = vec![0; header_bytes];
    read_exact_at(file, &mut header, record.header_offset, "a member's header")?;
    if !header.starts_with(LOCAL_SIGNATURE) {
        return Err(damaged(format!(
            "member `{}` has no header at byte {}",
            shown(&record.name),
            record.header_offset
        )));
    }
    let mismatch = |field| {
        Err(ArchiveError::HeaderMismatch {
            member: shown(&record.name),
            field,
        })
    };
    // An encrypted member is refused for that, and its own header may be masked.
    if !record.encrypted && u16_at(&header, 6) & ENCRYPTION_FLAGS != 0 {
        return mismatch("encryption flag");
    }
    let slashes = |byte: &u8| if *byte == b'\\' { b'/' } else { *byte };
    let same_name = usize::from(u16_at(&header, 26)) == record.name.len()
        && header[LOCAL_BYTES..]
            .iter()
            .map(slashes)
            .eq(record.name.iter().map(slashes));
    if !same_name && !record.encrypted {
        return mismatch("name");
    }
    if u16_at(&header, 8) != record.method {
        return mismatch("compression method");
    }
    record.data_offset = header_end + u64::from(u16_at(&header, 28));
    match record.data_offset.checked_add(record.compressed_bytes) {
        Some(end) if end <= directory_offset => Ok(()),
        _ => Err(outside(record)),
    }
}

/// Members that share bytes make an archive unpack to many times what its size allows; no writer makes them.
/// See David Fifield, "A better zip bomb" (2019).
fn refuse_overlaps(records: &[Record]) -> Result<(), ArchiveError> {
    let mut order: Vec<&Record> = records.iter().collect();
    order.sort_unstable_by_key(|record| record.header_offset);
    for pair in order.windows(2) {
        if pair[0].data_offset + pair[0].compressed_bytes > pair[1].header_offset {
            return Err(ArchiveError::MembersOverlap {
                first: shown(&pair[0].name),
                second: shown(&pair[1].name),
            });
        }
    }
    Ok(())
}

/// The extra fields of a member: id and content. Stops at the first that does not fit, since tools pad with zeros.
pub(super) fn extra_fields(mut extra: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (header, rest) = extra.split_at_checked(4)?;
        let (content, rest) = rest.split_at_checked(usize::from(u16_at(header, 2)))?;
        extra = rest;
        Some((u16_at(header, 0), content))
    })
}

/// Says what a file without an end record is.
fn describe_other(file: &File, file_bytes: u64) -> Result<ArchiveError, ArchiveError> {
    let mut start = [0; 512];
    let read = file.read_at(&mut start, 0).map_err(ArchiveError::Read)?;
    let start = &start[..read];
    if start.starts_with(LOCAL_SIGNATURE) {
        return Ok(ArchiveError::Truncated {
            what: format!("it starts as a zip, but its {file_bytes} bytes have no end record"),
        });
    }
    let text = start.trim_ascii_start();
    let found = if start.is_empty() {
        "empty"
    } else if start.starts_with(b"\x1f\x8b") {
        "a gzip file"
    } else if start.starts_with(b"7z\xbc\xaf\x27\x1c") {
        "a 7z archive"
    } else if start.starts_with(b"Rar!") {
        "a RAR archive"
    } else if start.starts_with(b"\xfd7zXZ\0") {
        "an xz file"
    } else if start.starts_with(b"BZh") {
        "a bzip2 file"
    } else if start.get(257..262) == Some(b"ustar") {
        "a tar archive"
    } else if text.starts_with(b"<?xml") || text.starts_with(b"\xef\xbb\xbf<?xml") {
        // Azure Storage answers a refused download with such a page, which tools save under the blob's name.
        "an XML document, such as the error page of a refused download"
    } else if text.len() > 4 && (text[..5].eq_ignore_ascii_case(b"<html") || text[..5].eq_ignore_ascii_case(b"<!doc")) {
        "an HTML page"
    } else {
        "a file of another kind"
    };
    Ok(ArchiveError::NotAZip { found })
}

fn has_signature(file: &File, offset: u64, signature: &[u8; 4]) -> Result<bool, ArchiveError> {
    let mut found = [0; 4];
    match file.read_exact_at(&mut found, offset) {
        Ok(()) => Ok(&found == signature),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(ArchiveError::Read(error)),
    }
}

fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64, what: &str) -> Result<(), ArchiveError> {
    file.read_exact_at(buffer, offset).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => ArchiveError::Truncated {
            what: format!("{what} at byte {offset} is missing or incomplete"),
        },
        _ => ArchiveError::Read(error),
    })
}

fn damaged(what: impl Into<String>) -> ArchiveError {
    ArchiveError::Damaged { what: what.into() }
}

/// A stored name for a message, before its encoding is known.
fn shown(name: &[u8]) -> String {
    name.escape_ascii().to_string()
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
