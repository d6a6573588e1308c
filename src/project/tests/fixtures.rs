//! Zips laid out byte by byte, independently of any library's reader or writer.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use crate::failure::Failing;
use crate::project::{Archive, Limits, Project, ProjectError};

/// 2024-05-06 07:08:10 as MS-DOS stores it.
pub const DOS_TIME: u32 = (44 << 9 | 5 << 5 | 6) << 16 | 7 << 11 | 8 << 5 | 5;

/// One member; the defaults are those of a file made by Info-ZIP on Unix.
#[derive(Clone)]
pub struct Entry {
    pub name: Vec<u8>,
    pub content: Vec<u8>,
    pub method: u16,
    pub flags: u16,
    pub host: u8,
    pub mode: u32,
    pub extra: Vec<u8>,
    pub dos_time: u32,
    pub crc32: Option<u32>,
    pub size_bytes: Option<u32>,
    pub local_name: Option<Vec<u8>>,
    pub data_descriptor: bool,
}

pub fn file(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Entry {
    Entry {
        name: name.as_ref().to_vec(),
        content: content.as_ref().to_vec(),
        method: 0,
        flags: 0,
        host: 3,
        mode: 0o100_644,
        extra: Vec::new(),
        dos_time: DOS_TIME,
        crc32: None,
        size_bytes: None,
        local_name: None,
        data_descriptor: false,
    }
}

pub fn folder(name: &str) -> Entry {
    Entry {
        mode: 0o040_755,
        ..file(name, "")
    }
}

pub fn symlink(name: &str, target: &str) -> Entry {
    Entry {
        mode: 0o120_777,
        ..file(name, target)
    }
}

impl Entry {
    pub fn mode(self, mode: u32) -> Entry {
        Entry { mode, ..self }
    }

    pub fn host(self, host: u8) -> Entry {
        Entry { host, ..self }
    }

    pub fn flags(self, flags: u16) -> Entry {
        Entry { flags, ..self }
    }

    pub fn method(self, method: u16) -> Entry {
        Entry { method, ..self }
    }

    /// Deflate, with the stream as flate2 makes it.
    pub fn deflated(self) -> Entry {
        self.method(8)
    }

    pub fn extra_field(mut self, id: u16, content: &[u8]) -> Entry {
        self.extra.extend(id.to_le_bytes());
        self.extra.extend((content.len() as u16).to_le_bytes());
        self.extra.extend(content);
        self
    }

    pub fn data(&self) -> Vec<u8> {
        if self.method != 8 {
            return self.content.clone();
        }
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(&self.content).unwrap();
        encoder.finish().unwrap()
    }
}

/// A zip's bytes, and where its parts begin.
pub struct ZipBytes {
    pub bytes: Vec<u8>,
    pub data_offsets: Vec<usize>,
    pub directory_offset: usize,
    pub end_offset: usize,
}

/// The options of the file as a whole.
#[derive(Default)]
pub struct Layout {
    /// Bytes put before the archive, without correcting its offsets.
    pub prefix: Vec<u8>,
    pub comment: Vec<u8>,
    /// All sizes, offsets and counts in zip64 records.
    pub zip64: bool,
}

pub fn zip(entries: &[Entry]) -> ZipBytes {
    zip_with(entries, &Layout::default())
}

pub fn zip_with(entries: &[Entry], layout: &Layout) -> ZipBytes {
    let mut bytes = layout.prefix.clone();
    let base = bytes.len();
    let mut directory = Vec::new();
    let mut data_offsets = Vec::new();
    for entry in entries {
        let header_offset = (bytes.len() - base) as u32;
        let data = entry.data();
        let crc32 = entry.crc32.unwrap_or_else(|| crc32fast::hash(&entry.content));
        let size_bytes = entry.size_bytes.unwrap_or(entry.content.len() as u32);
        let flags = entry.flags | if entry.data_descriptor { 1 << 3 } else { 0 };
        let local_name = entry.local_name.as_ref().unwrap_or(&entry.name);

        bytes.extend(b"PK\x03\x04");
        put16(&mut bytes, &[20, flags, entry.method]);
        put32(&mut bytes, &[entry.dos_time]);
        match entry.data_descriptor {
            true => put32(&mut bytes, &[0, 0, 0]),
            false => put32(&mut bytes, &[crc32, data.len() as u32, size_bytes]),
        }
        put16(&mut bytes, &[local_name.len() as u16, entry.extra.len() as u16]);
        bytes.extend(local_name);
        bytes.extend(&entry.extra);
        data_offsets.push(bytes.len());
        bytes.extend(&data);
        if entry.data_descriptor {
            bytes.extend(b"PK\x07\x08");
            put32(&mut bytes, &[crc32, data.len() as u32, size_bytes]);
        }

        let mut extra = entry.extra.clone();
        let sizes = if layout.zip64 {
            put16(&mut extra, &[1, 24]);
            for value in [size_bytes, data.len() as u32, header_offset] {
                extra.extend(u64::from(value).to_le_bytes());
            }
            [u32::MAX; 3]
        } else {
            [size_bytes, data.len() as u32, header_offset]
        };
        directory.extend(b"PK\x01\x02");
        directory.extend([30, entry.host]);
        put16(&mut directory, &[20, flags, entry.method]);
        put32(&mut directory, &[entry.dos_time, crc32, sizes[1], sizes[0]]);
        put16(&mut directory, &[entry.name.len() as u16, extra.len() as u16, 0, 0, 0]);
        put32(&mut directory, &[entry.mode << 16, sizes[2]]);
        directory.extend(&entry.name);
        directory.extend(&extra);
    }
    let directory_offset = bytes.len();
    bytes.extend(&directory);
    let relative = (directory_offset - base) as u32;
    let members = entries.len() as u64;
    if layout.zip64 {
        let zip64_end_offset = (bytes.len() - base) as u64;
        bytes.extend(b"PK\x06\x06");
        bytes.extend(44_u64.to_le_bytes());
        put16(&mut bytes, &[45, 45]);
        put32(&mut bytes, &[0, 0]);
        for value in [members, members, directory.len() as u64, u64::from(relative)] {
            bytes.extend(value.to_le_bytes());
        }
        bytes.extend(b"PK\x06\x07");
        put32(&mut bytes, &[0]);
        bytes.extend(zip64_end_offset.to_le_bytes());
        put32(&mut bytes, &[1]);
    }
    let end_offset = bytes.len();
    bytes.extend(b"PK\x05\x06");
    if layout.zip64 {
        put16(&mut bytes, &[0, 0, u16::MAX, u16::MAX]);
        put32(&mut bytes, &[u32::MAX, u32::MAX]);
    } else {
        // The count is 16 bits wide and wraps, as writers without zip64 let it.
        put16(&mut bytes, &[0, 0, members as u16, members as u16]);
        put32(&mut bytes, &[directory.len() as u32, relative]);
    }
    put16(&mut bytes, &[layout.comment.len() as u16]);
    bytes.extend(&layout.comment);
    ZipBytes {
        bytes,
        data_offsets,
        directory_offset,
        end_offset,
    }
}

fn put16(bytes: &mut Vec<u8>, values: &[u16]) {
    values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
}

fn put32(bytes: &mut Vec<u8>, values: &[u32]) {
    values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
}

/// A folder for one test, with a zip in it.
pub struct Place {
    pub folder: tempfile::TempDir,
}

impl Place {
    pub fn new(zip: &[u8]) -> Place {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("p.zip"), zip).unwrap();
        Place { folder }
    }

    pub fn zip(&self) -> PathBuf {
        self.folder.path().join("p.zip")
    }

    pub fn tree(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    pub fn open(&self) -> Result<Archive, ProjectError> {
        Archive::open(&self.zip())
    }

    pub fn project(&self) -> Project {
        Project::open(&self.zip()).unwrap()
    }

    pub fn unpack(&self) -> Result<crate::project::Unpacked, ProjectError> {
        self.open()?
            .unpack(&self.tree(), &Limits::default(), 2, &AtomicBool::new(false))
    }

    pub fn text(&self, path: &str) -> String {
        fs_err::read_to_string(self.tree().join(path)).unwrap()
    }

    pub fn mode(&self, path: &str) -> u32 {
        fs_err::metadata(self.tree().join(path)).unwrap().permissions().mode() & 0o7777
    }

    /// Everything in the test's folder besides the zip.
    pub fn leftovers(&self) -> Vec<String> {
        let entries = fs_err::read_dir(self.folder.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != "p.zip").collect()
    }
}

/// The paths of `zip`'s members.
pub fn paths(zip: &ZipBytes) -> Vec<String> {
    let place = Place::new(&zip.bytes);
    place
        .open()
        .unwrap()
        .members()
        .map(|member| member.path.clone())
        .collect()
}

/// The stable code and the whole sentence of an error.
pub fn refusal<T: std::fmt::Debug>(result: Result<T, ProjectError>) -> (&'static str, String) {
    let error = result.unwrap_err();
    let code = error.code();
    (code, crate::failure::Failure::from(error).sentence())
}
