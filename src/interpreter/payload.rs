//! The payload: the Python package `dray`, its sources and its native module. Finds it, and lays it out for a run.
//!
//! It is copied, never linked: an editor or a linker may write its file in place (mold does), and a mapped library that
//! is written over ends the process with SIGBUS. `copy_file_range` shares the blocks where the file system can.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use zip::{ZipArchive, result::ZipError};

use super::PayloadError;
use crate::fingerprint::Fingerprint;

/// The name under which Python finds the native module, on every CPython from 3.9 on (PEP 384).
const NATIVE_MODULE: &str = "_native.abi3.so";

/// The name under which cargo builds it.
const BUILT_NATIVE_MODULE: &str = "libdray_native.so";

/// Appended archives are written without a comment; as long as a comment may be, its end record is looked for.
const LONGEST_COMMENT_BYTES: u64 = 65_535;

/// The times of a file system may be this coarse: two writes within it can look like one.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// Length of the end record without a comment (APPNOTE.TXT 4.3.16).
const END_RECORD_BYTES: usize = 22;

/// Where the payload comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadKind {
    /// The folder that `DRAY_PAYLOAD` names.
    Named,
    /// Appended to the executable, as a distribution build has it.
    Appended,
    /// In the source tree and the build folder of cargo, around the executable.
    Beside,
}

impl fmt::Display for PayloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PayloadKind::Named => "named by DRAY_PAYLOAD",
            PayloadKind::Appended => "appended",
            PayloadKind::Beside => "beside the executable",
        })
    }
}

/// The payload, found and not yet laid out.
#[derive(Debug)]
pub struct Payload {
    kind: PayloadKind,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Archive {
        /// The executable, opened.
        file: fs_err::File,
        /// The central directory of the archive in it.
        directory: Vec<u8>,
    },
    Folder {
        package: PathBuf,
        native_module: PathBuf,
    },
}

/// Every file of a package in a folder, where it is.
fn all_files(package: &Path, native_module: &Path) -> io::Result<Vec<PathBuf>> {
    let sources = sources(package)?.into_iter().map(|file| package.join(file));
    Ok(sources.chain([native_module.to_owned()]).collect())
}

impl Payload {
    /// Finds the payload of this executable: in the folder that `DRAY_PAYLOAD` names, else appended to it, else around
    /// it in a cargo build.
    ///
    /// Costs a read of the end and one of the directory in a distribution build, one of 64 KiB otherwise. Fails with
    /// [`PayloadError::NotFound`] if there is none, with [`PayloadError::Incomplete`] if the named folder lacks a part.
    pub fn locate() -> Result<Payload, PayloadError> {
        let named = std::env::var_os("DRAY_PAYLOAD")
            .filter(|folder| !folder.is_empty())
            .map(PathBuf::from);
        // Opened through /proc: after a rebuild or an upgrade the path has another file, or none.
        Payload::locate_for(named.as_deref(), Path::new("/proc/self/exe"), &std::env::current_exe()?)
    }

    fn locate_for(named: Option<&Path>, executable: &Path, executable_path: &Path) -> Result<Payload, PayloadError> {
        if let Some(folder) = named {
            return Payload::in_named_folder(folder);
        }
        let mut file = fs_err::File::open(executable)?;
        if let Some(directory) = central_directory(&mut file)? {
            return Ok(Payload {
                kind: PayloadKind::Appended,
                place: Place::Archive { file, directory },
            });
        }
        let place = around(executable_path).ok_or(PayloadError::NotFound)?;
        Ok(Payload {
            kind: PayloadKind::Beside,
            place,
        })
    }

    pub(super) fn in_named_folder(folder: &Path) -> Result<Payload, PayloadError> {
        Ok(Payload {
            kind: PayloadKind::Named,
            place: in_folder(folder)?,
        })
    }

    /// Where it comes from.
    pub fn kind(&self) -> PayloadKind {
        self.kind
    }

    /// What it consists of, as a text that is another for every other payload; so that a laid-out one can be told to be
    /// of it. None: it has just been written to, and may be written to again without a look at its files telling.
    pub(super) fn identity(&self) -> Option<String> {
        let mut identity = format!("dray {}\n", env!("CARGO_PKG_VERSION"));
        match &self.place {
            // By content, since on a Batch node every task has the executable in a file of its own: the directory names
            // each member with its size and CRC-32.
            Place::Archive { directory, .. } => identity += &format!("{:02x?}", Sha256::digest(directory)),
            Place::Folder { package, native_module } => {
                for file in all_files(package, native_module).ok()? {
                    let metadata = fs_err::metadata(&file).ok()?;
                    if metadata.modified().ok()?.elapsed().ok()? < SETTLED_AFTER {
                        return None;
                    }
                    identity += &format!("{} {:?}\n", file.display(), Fingerprint::from(&metadata));
                }
            }
        }
        Some(identity)
    }

    /// Writes the package to `<destination>/dray/` and returns the path of its native module there: the file that the
    /// worker opens is the one that `import dray._native` finds, so that there is one of it in the process.
    ///
    /// `destination` is made if need be; it is to be absolute, since it goes into PYTHONPATH.
    pub fn lay_out(&self, destination: &Path) -> Result<PathBuf, PayloadError> {
        let package = destination.join("dray");
        fs_err::create_dir_all(&package)?;
        let native_module = package.join(NATIVE_MODULE);
        match &self.place {
            Place::Archive { file, .. } => extract(file, destination)?,
            Place::Folder {
                package: from,
                native_module: built,
            } => {
                for file in sources(from)? {
                    let target = package.join(&file);
                    if let Some(folder) = target.parent() {
                        fs_err::create_dir_all(folder)?;
                    }
                    fs_err::copy(from.join(&file), &target)?;
                    keep_time(&fs_err::metadata(from.join(&file))?, &target)?;
                }
                fs_err::copy(built, &native_module)?;
            }
        }
        for (file, what) in [
            (native_module.clone(), "its native module"),
            (package.join("__init__.py"), "`__init__.py`"),
        ] {
            if !file.is_file() {
                return Err(PayloadError::Incomplete {
                    folder: package,
                    lacking: what.to_owned(),
                });
            }
        }
        Ok(native_module)
    }

    /// Where it comes from, how many files it has, and their size in bytes; for `dray --version`.
    pub fn describe(&self) -> Result<String, PayloadError> {
        let (mut files, mut size_bytes) = (0, 0);
        match &self.place {
            Place::Archive { file, .. } => {
                let mut archive = ZipArchive::new(io::BufReader::new(file.file()))?;
                for index in 0..archive.len() {
                    let member = archive.by_index_raw(index)?;
                    if member.is_file() {
                        files += 1;
                        size_bytes += member.size();
                    }
                }
            }
            Place::Folder { package, native_module } => {
                for file in all_files(package, native_module)? {
                    files += 1;
                    size_bytes += fs_err::metadata(file)?.len();
                }
            }
        }
        Ok(format!("{}, {files} files, {size_bytes} bytes", self.kind))
    }
}

/// The central directory, if the file ends with the end record of a zip archive whose directory is where the record says. A
/// plain build of the executable holds the record's signature too, among its constants, but not at that place.
fn central_directory(file: &mut fs_err::File) -> io::Result<Option<Vec<u8>>> {
    let length = file.seek(SeekFrom::End(0))?;
    for tail_bytes in [END_RECORD_BYTES as u64, END_RECORD_BYTES as u64 + LONGEST_COMMENT_BYTES] {
        let tail_bytes = tail_bytes.min(length);
        let mut tail = vec![0; tail_bytes as usize];
        file.seek(SeekFrom::Start(length - tail_bytes))?;
        file.read_exact(&mut tail)?;
        for at in memchr::memmem::rfind_iter(&tail, b"PK\x05\x06") {
            let Some(record) = tail.get(at..).filter(|record| record.len() >= END_RECORD_BYTES) else {
                continue;
            };
            let comment_bytes = usize::from(u16::from_le_bytes([record[20], record[21]]));
            if record.len() != END_RECORD_BYTES + comment_bytes {
                continue;
            }
            // The directory lies straight before the record, whatever was put before the archive.
            let directory_bytes = u64::from(u32::from_le_bytes([record[12], record[13], record[14], record[15]]));
            let record_at = length - tail_bytes + at as u64;
            let Some(directory_at) = record_at.checked_sub(directory_bytes) else {
                continue;
            };
            let mut directory = vec![0; (record_at - directory_at) as usize];
            file.seek(SeekFrom::Start(directory_at))?;
            file.read_exact(&mut directory)?;
            if directory.starts_with(b"PK\x01\x02") {
                return Ok(Some(directory));
            }
        }
    }
    Ok(None)
}

/// Writes the members `dray/...` of the archive below `destination`.
fn extract(file: &fs_err::File, destination: &Path) -> Result<(), PayloadError> {
    let mut archive = ZipArchive::new(io::BufReader::new(file.file()))?;
    for index in 0..archive.len() {
        let member = archive.by_index_raw(index)?;
        let Some(name) = member.enclosed_name().filter(|name| name.starts_with("dray")) else {
            continue;
        };
        let target = destination.join(name);
        if member.is_dir() {
            fs_err::create_dir_all(target)?;
            continue;
        }
        if let Some(folder) = target.parent() {
            fs_err::create_dir_all(folder)?;
        }
        let mut written = fs_err::File::create(&target)?;
        if member.compression() == zip::CompressionMethod::ZSTD {
            inflate_zstd(member, &mut written)?;
        } else {
            drop(member);
            io::copy(&mut archive.by_index(index)?, &mut written)?;
        }
        keep_time(&file.metadata()?, &target)?;
    }
    Ok(())
}

/// Writes a member of method 93, given as it is stored. `zip` could do it, but would bring zstd's compressor with it.
fn inflate_zstd<R: Read>(stored: zip::read::ZipFile<'_, R>, into: &mut fs_err::File) -> Result<(), PayloadError> {
    let expected = stored.crc32();
    let mut content = Vec::new();
    zstd::Decoder::new(stored)?.read_to_end(&mut content)?;
    if crc32fast::hash(&content) != expected {
        return Err(ZipError::InvalidArchive("a member's checksum is not that of its content".into()).into());
    }
    into.write_all(&content)?;
    Ok(())
}

/// Gives a source the time of where it came from: Python judges by it whether a compiled file fits .
fn keep_time(from: &std::fs::Metadata, target: &Path) -> io::Result<()> {
    fs_err::File::options()
        .write(true)
        .open(target)?
        .file()
        .set_modified(from.modified()?)
}

fn in_folder(folder: &Path) -> Result<Place, PayloadError> {
    let lacks = |lacking: String| PayloadError::Incomplete {
        folder: folder.to_owned(),
        lacking,
    };
    let package = folder.join("dray");
    if !package.join("__init__.py").is_file() {
        return Err(lacks("`dray/__init__.py`".to_owned()));
    }
    let native_module = [
        package.join(NATIVE_MODULE),
        folder.join(NATIVE_MODULE),
        folder.join(BUILT_NATIVE_MODULE),
    ]
    .into_iter()
    .find(|path| path.is_file())
    .ok_or_else(|| lacks(format!("`dray/{NATIVE_MODULE}`")))?;
    Ok(Place::Folder { package, native_module })
}

/// A cargo build: the module in the executable's folder (or one up, for an example or a test), the sources in the
/// nearest source tree above.
fn around(executable: &Path) -> Option<Place> {
    let package = executable
        .ancestors()
        .skip(1)
        .filter(|folder| folder.join("Cargo.toml").is_file())
        .map(|folder| folder.join("python/dray"))
        .find(|package| package.join("__init__.py").is_file())?;
    let folders = executable.ancestors().skip(1).take(2);
    let native_module = folders
        .map(|folder| folder.join(BUILT_NATIVE_MODULE))
        .find(|path| path.is_file())?;
    Some(Place::Folder { package, native_module })
}

/// The sources of the package, as paths relative to it; neither compiled files nor what an editor leaves behind.
fn sources(package: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(package.join(&folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            let is_source = matches!(path.extension().and_then(OsStr::to_str), Some("py" | "pyi" | "typed"));
            if entry.path().is_dir() {
                if path.file_name() != Some(OsStr::new("__pycache__")) {
                    folders.push(path);
                }
            } else if is_source {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source tree with a build folder and an executable in it.
    fn tree() -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let package = root.path().join("python/dray");
        for (file, content) in [
            ("__init__.py", "one = 1\n"),
            ("py.typed", ""),
            ("inner/__init__.py", ""),
            ("__pycache__/stale.py", ""),
            ("notes.py~", ""),
        ] {
            fs_err::create_dir_all(package.join(file).parent().unwrap()).unwrap();
            fs_err::write(package.join(file), content).unwrap();
        }
        fs_err::write(root.path().join("Cargo.toml"), "").unwrap();
        let build = root.path().join("target/debug");
        fs_err::create_dir_all(&build).unwrap();
        fs_err::write(build.join(BUILT_NATIVE_MODULE), "module").unwrap();
        fs_err::write(build.join("dray"), vec![7; 200_000]).unwrap();
        (root, build.join("dray"))
    }

    fn append_archive(executable: &Path, comment: &str) {
        let mut bytes = io::Cursor::new(Vec::new());
        let mut archive = zip::ZipWriter::new(&mut bytes);
        let options = zip::write::SimpleFileOptions::default();
        for (name, content) in [
            ("dray/__init__.py", "two = 2\n"),
            ("dray/_native.abi3.so", "appended"),
            ("other/x", ""),
        ] {
            let method = match name.ends_with(".so") {
                true => zip::CompressionMethod::ZSTD,
                false => zip::CompressionMethod::DEFLATE,
            };
            archive.start_file(name, options.compression_method(method)).unwrap();
            archive.write_all(content.as_bytes()).unwrap();
        }
        archive.set_comment(comment).unwrap();
        archive.finish().unwrap();
        let mut file = fs_err::OpenOptions::new().append(true).open(executable).unwrap();
        file.write_all(bytes.get_ref()).unwrap();
    }

    fn laid_out(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(next) = folders.pop() {
            for entry in fs_err::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path)
                } else {
                    names.push(path.strip_prefix(folder).unwrap().display().to_string())
                }
            }
        }
        names.sort();
        names
    }

    #[test]
    fn in_a_cargo_build_it_is_found_beside_the_executable() {
        let (root, executable) = tree();
        let payload = Payload::locate_for(None, &executable, &executable).unwrap();
        assert_eq!(payload.kind(), PayloadKind::Beside);
        let native_module = payload.lay_out(&root.path().join("run")).unwrap();
        assert_eq!(fs_err::read_to_string(native_module).unwrap(), "module");
        assert_eq!(
            laid_out(&root.path().join("run")),
            [
                "dray/__init__.py",
                "dray/_native.abi3.so",
                "dray/inner/__init__.py",
                "dray/py.typed"
            ]
        );
        assert_eq!(payload.describe().unwrap(), "beside the executable, 4 files, 14 bytes");
    }

    #[test]
    fn what_was_laid_out_stays_when_the_source_tree_is_built_anew() {
        let (root, executable) = tree();
        let payload = Payload::locate_for(None, &executable, &executable).unwrap();
        let native_module = payload.lay_out(&root.path().join("run")).unwrap();
        let mut built = fs_err::OpenOptions::new()
            .write(true)
            .open(executable.with_file_name(BUILT_NATIVE_MODULE))
            .unwrap();
        built.write_all(b"MODULE").unwrap(); // in place
        assert_eq!(fs_err::read_to_string(native_module).unwrap(), "module");
    }

    #[test]
    fn an_appended_payload_comes_before_one_beside() {
        for comment in ["", "a comment"] {
            let (root, executable) = tree();
            append_archive(&executable, comment);
            let payload = Payload::locate_for(None, &executable, &executable).unwrap();
            assert_eq!(payload.kind(), PayloadKind::Appended);
            let native_module = payload.lay_out(&root.path().join("run")).unwrap();
            assert_eq!(fs_err::read_to_string(native_module).unwrap(), "appended");
            assert_eq!(
                laid_out(&root.path().join("run")),
                ["dray/__init__.py", "dray/_native.abi3.so"]
            );
            assert_eq!(payload.describe().unwrap(), "appended, 3 files, 16 bytes");
        }
    }

    #[test]
    fn a_damaged_module_is_refused() {
        let (root, executable) = tree();
        append_archive(&executable, "");
        let mut bytes = fs_err::read(&executable).unwrap();
        let at = memchr::memmem::rfind(&bytes, b"appended").unwrap();
        bytes[at] = b'A';
        fs_err::write(&executable, bytes).unwrap();
        let payload = Payload::locate_for(None, &executable, &executable).unwrap();
        let error = payload.lay_out(&root.path().join("run")).unwrap_err();
        assert!(matches!(error, PayloadError::Archive(_)), "{error:?}");
    }

    #[test]
    fn the_signature_alone_makes_no_archive() {
        let (_root, executable) = tree();
        let mut file = fs_err::OpenOptions::new().append(true).open(&executable).unwrap();
        file.write_all(b"PK\x05\x06").unwrap();
        file.write_all(&[0; 18]).unwrap();
        let payload = Payload::locate_for(None, &executable, &executable).unwrap();
        assert_eq!(payload.kind(), PayloadKind::Beside);
    }

    #[test]
    fn a_named_folder_comes_first_and_must_be_whole() {
        let (root, executable) = tree();
        let named = root.path().join("named");
        fs_err::create_dir_all(named.join("dray")).unwrap();
        fs_err::write(named.join("dray/__init__.py"), "").unwrap();
        let error = Payload::locate_for(Some(&named), &executable, &executable).unwrap_err();
        assert!(error.to_string().ends_with("lacks `dray/_native.abi3.so`"), "{error}");
        fs_err::write(named.join(BUILT_NATIVE_MODULE), "named").unwrap();
        let payload = Payload::locate_for(Some(&named), &executable, &executable).unwrap();
        assert_eq!(payload.kind(), PayloadKind::Named);
    }

    #[test]
    fn an_executable_alone_has_no_payload() {
        let root = tempfile::tempdir().unwrap();
        let executable = root.path().join("dray");
        fs_err::write(&executable, "alone").unwrap();
        let error = Payload::locate_for(None, &executable, &executable).unwrap_err();
        assert!(matches!(error, PayloadError::NotFound));
    }
}
