//! Keeps the compiled form of the package `dray` between the runs of a user on a node.
//!
//! Each run lays the package out afresh, and Python would compile it afresh each time, which takes as long as all else
//! that dray adds to a start. What Python compiled in one run is put beside the sources of the next. Python itself judges
//! whether it fits: a compiled file names the version that made it, and size and time of its source, which is why a
//! source keeps its time when it is laid out. The files lie in the folder of the interpreter's cache and are trusted as
//! its entries are: they are code, so nobody else may have been able to write them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::cache::Cache;

const PREFIX: &str = "bytecode";

/// The compiled files of one laid-out package.
pub struct Bytecode {
    cache: Option<Cache>,
    /// `<payload>/dray/__pycache__`, where Python looks and writes.
    folder: PathBuf,
    entries: Vec<Entry>,
}

struct Entry {
    /// Such as `_worker.cpython-311.pyc`.
    file_name: String,
    /// The same, with time and size of the source.
    cache_name: String,
    restored: bool,
}

impl Bytecode {
    /// Puts what is kept beside the sources of `package`, for a CPython 3 of this minor version.
    ///
    /// `cache` is what [`super::cache_folder`] says. What cannot be had is compiled by Python, as ever.
    pub fn restore(package: &Path, minor_version: u32, cache: Option<&Path>) -> Bytecode {
        let cache = cache.and_then(Cache::open);
        let folder = package.join("__pycache__");
        let mut entries = match &cache {
            Some(_) => entries(package, minor_version).unwrap_or_default(),
            None => Vec::new(),
        };
        if let Some(cache) = &cache {
            for entry in &mut entries {
                let Ok(content) = cache.read(&entry.cache_name) else {
                    continue;
                };
                let written = fs_err::create_dir_all(&folder)
                    .and_then(|()| fs_err::write(folder.join(&entry.file_name), content));
                entry.restored = written.is_ok();
            }
        }
        Bytecode { cache, folder, entries }
    }

    /// Keeps what Python has compiled since.
    pub fn keep(&self) {
        let Some(cache) = &self.cache else { return };
        for entry in self.entries.iter().filter(|entry| !entry.restored) {
            // Not every run imports every module, and Python may have been told to write none.
            let Ok(content) = fs_err::read(self.folder.join(&entry.file_name)) else {
                continue;
            };
            match cache.write(&entry.cache_name, &content) {
                Ok(()) => cache.remove_where(|name| is_outdated(name, entry)),
                Err(error) => {
                    tracing::debug!(event = "interpreter.bytecode_not_kept", entry = entry.cache_name, %error);
                }
            }
        }
    }
}

/// Of the same module and Python, but of another source.
fn is_outdated(name: &str, entry: &Entry) -> bool {
    name != entry.cache_name && name.starts_with(PREFIX) && name.ends_with(&format!("-{}", entry.file_name))
}

fn entries(package: &Path, minor_version: u32) -> std::io::Result<Vec<Entry>> {
    let mut found = Vec::new();
    for source in fs_err::read_dir(package)? {
        let path = source?.path();
        if path.extension() != Some(OsStr::new("py")) {
            continue;
        }
        let Some(stem) = path.file_stem().and_then(OsStr::to_str) else {
            continue;
        };
        let metadata = fs_err::metadata(&path)?;
        let modified = metadata
            .modified()?
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let file_name = format!("{stem}.cpython-3{minor_version}.pyc");
        let cache_name = format!("{PREFIX}-{modified}-{}-{file_name}", metadata.len());
        found.push(Entry {
            file_name,
            cache_name,
            restored: false,
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(root: &Path) -> PathBuf {
        let package = root.join("dray");
        fs_err::create_dir_all(package.join("__pycache__")).unwrap();
        fs_err::write(package.join("_worker.py"), "x = 1\n").unwrap();
        package
    }

    #[test]
    fn what_python_compiled_in_one_run_is_there_in_the_next() {
        let root = tempfile::tempdir().unwrap();
        let (package, cache) = (package(root.path()), root.path().join("cache"));
        let compiled = package.join("__pycache__/_worker.cpython-311.pyc");
        let first = Bytecode::restore(&package, 11, Some(&cache));
        assert!(!compiled.exists());
        fs_err::write(&compiled, "code").unwrap();
        first.keep();
        fs_err::remove_file(&compiled).unwrap();

        Bytecode::restore(&package, 12, Some(&cache));
        assert!(!compiled.exists(), "another Python's");
        Bytecode::restore(&package, 11, Some(&cache));
        assert_eq!(fs_err::read(&compiled).unwrap(), b"code");
    }

    #[test]
    fn a_source_that_changed_brings_nothing_back_and_replaces_what_was_kept() {
        let root = tempfile::tempdir().unwrap();
        let (package, cache) = (package(root.path()), root.path().join("cache"));
        let compiled = package.join("__pycache__/_worker.cpython-311.pyc");
        let keep = |content: &str| {
            let bytecode = Bytecode::restore(&package, 11, Some(&cache));
            assert!(!compiled.exists());
            fs_err::write(&compiled, content).unwrap();
            bytecode.keep();
            fs_err::remove_file(&compiled).unwrap();
        };
        keep("old");
        fs_err::write(package.join("_worker.py"), "x = 22\n").unwrap();
        keep("new");
        assert_eq!(fs_err::read_dir(&cache).unwrap().count(), 1);
    }

    #[test]
    fn what_others_could_have_written_is_not_taken() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let (package, cache) = (package(root.path()), root.path().join("cache"));
        let compiled = package.join("__pycache__/_worker.cpython-311.pyc");
        let bytecode = Bytecode::restore(&package, 11, Some(&cache));
        fs_err::write(&compiled, "code").unwrap();
        bytecode.keep();
        fs_err::remove_file(&compiled).unwrap();
        let entry = fs_err::read_dir(&cache).unwrap().next().unwrap().unwrap().path();
        fs_err::set_permissions(&entry, std::fs::Permissions::from_mode(0o666)).unwrap();

        Bytecode::restore(&package, 11, Some(&cache));
        assert!(!compiled.exists());
    }
}
