//! Keeps what a Python said of itself for the next task on the node, so that start-up costs no second interpreter run.
//! (The folder also holds what `spare.rs` keeps.)
//!
//! An entry names every file that the answer depends on (the executable, `pyvenv.cfg`, the libpython, and the places
//! where a libpython would have been found first) with device, inode, size and times of each, absent ones included. If
//! one differs, the entry is stale and is removed.
//!
//! The folder may lie where other users of the node write, and an entry decides which library is loaded. So the folder
//! is one of this user alone, and neither it nor an entry is trusted unless it belongs to this user or to root and
//! nobody else may write it.

use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, fstat, open, openat, renameat, unlinkat};
use serde::{Deserialize, Serialize};

use super::candidates::environment_files;
use super::facts::Facts;
use super::path_text;
use crate::fingerprint::Fingerprint;

/// An entry is some hundred bytes; more is not ours.
const LONGEST_ENTRY_BYTES: u64 = 256 * 1024;
/// With this much room an entry is read at once.
const USUAL_ENTRY_BYTES: usize = 8 * 1024;

/// Where answers are kept: `dray-<uid>` in `AZ_BATCH_NODE_SHARED_DIR`, which all tasks of a Batch node can write; else
/// `dray` in `XDG_CACHE_HOME`, else in `~/.cache`; `DRAY_CACHE` names another folder. None: nowhere (`DRAY_CACHE=off`, or
/// none of these is set), and each run asks anew.
///
/// `variable` looks up the environment. One folder a user, because tasks may run as users of their own, who do not
/// trust each other's entries.
pub fn cache_folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(named) = variable("DRAY_CACHE").filter(|named| !named.is_empty()) {
        // What is no absolute path would be another folder for each task.
        return Some(PathBuf::from(named)).filter(|path| path.is_absolute());
    }
    if let Some(shared) = absolute("AZ_BATCH_NODE_SHARED_DIR") {
        return Some(shared.join(format!("dray-{}", rustix::process::geteuid().as_raw())));
    }
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(base.join("dray"))
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Dependency {
    #[serde(with = "path_text")]
    path: PathBuf,
    /// None: there was no such file.
    fingerprint: Option<Fingerprint>,
}

impl Dependency {
    fn of(path: PathBuf) -> Dependency {
        Dependency {
            fingerprint: Fingerprint::of(&path),
            path,
        }
    }
}

/// What an answer is kept under.
#[derive(Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Key {
    dray: String,
    #[serde(with = "path_text")]
    candidate: PathBuf,
    /// LD_LIBRARY_PATH, which decides which libpython the dynamic loader finds.
    #[serde(with = "path_text")]
    library_path: PathBuf,
}

impl Key {
    fn of(candidate: &Path) -> Key {
        Key {
            dray: env!("CARGO_PKG_VERSION").to_owned(),
            candidate: candidate.to_owned(),
            library_path: std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default().into(),
        }
    }

    /// The whole key is in the entry, so that a clash of names costs a run, no more.
    fn file_name(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        format!("python-{:016x}.json", hasher.finish())
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    key: Key,
    depends_on: Vec<Dependency>,
    facts: Facts,
}

/// The folder of entries, known to be this user's own.
pub(super) struct Cache {
    folder: OwnedFd,
}

/// What was seen before a Python was asked; with the answer it becomes an entry.
pub(super) struct Unanswered {
    executable: Dependency,
}

impl Cache {
    /// Opens the folder, and makes it if need be. None: it cannot be made, or it is not this user's own; a run without a
    /// cache is slower, not wrong.
    pub fn open(path: &Path) -> Option<Cache> {
        match open_own_folder(path) {
            Ok(folder) => Some(Cache { folder }),
            Err(error) => {
                tracing::debug!(event = "interpreter.cache_unusable", folder = %path.display(), error = %error);
                None
            }
        }
    }

    /// To be called before the candidate is run.
    pub fn before(candidate: &Path) -> Unanswered {
        Unanswered {
            executable: Dependency::of(candidate.to_owned()),
        }
    }

    /// What the candidate said when it was last asked, if nothing has changed that it depends on.
    pub fn recall(&self, candidate: &Path) -> Option<Facts> {
        let key = Key::of(candidate);
        let name = key.file_name();
        let text = match self.read(&name) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::debug!(event = "interpreter.cache_entry_refused", entry = name, error = %error);
                self.remove(&name);
                return None;
            }
        };
        match serde_json::from_slice::<Entry>(&text) {
            Ok(entry) if entry.key == key && entry.depends_on.iter().all(is_unchanged) => Some(entry.facts),
            _ => {
                self.remove(&name);
                None
            }
        }
    }

    /// Keeps an answer, unless the candidate is a launcher: what a launcher starts depends on more than files that can be
    /// known (a pyenv shim on PYENV_VERSION and on `.python-version` in every folder above the current one).
    pub fn keep(&self, seen: Unanswered, facts: &Facts) {
        let candidate = seen.executable.path.clone();
        if facts.executable != candidate {
            return;
        }
        let key = Key::of(&candidate);
        let name = key.file_name();
        let mut depends_on = vec![seen.executable];
        depends_on.extend(environment_files(&candidate).into_iter().map(Dependency::of));
        if let Some(build) = &facts.build {
            depends_on.push(Dependency::of(build.base_executable.clone()));
            depends_on.extend(build.looked_at.iter().cloned().map(Dependency::of));
        }
        let entry = Entry {
            key,
            depends_on,
            facts: facts.clone(),
        };
        let written = serde_json::to_vec(&entry)
            .map_err(io::Error::from)
            .and_then(|text| self.write(&name, &text));
        if let Err(error) = written {
            tracing::debug!(event = "interpreter.cache_not_written", entry = name, error = %error);
        }
    }

    /// The content of an entry that nobody else can have written.
    pub(super) fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = openat(&self.folder, name, flags, Mode::empty())?;
        check_own(&file)?;
        let mut text = Vec::with_capacity(USUAL_ENTRY_BYTES);
        std::fs::File::from(file)
            .take(LONGEST_ENTRY_BYTES)
            .read_to_end(&mut text)?;
        Ok(text)
    }

    /// Writes an entry, whole or not at all.
    pub(super) fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let unfinished = format!("{name}.{}", std::process::id());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.folder, &unfinished, flags, Mode::RUSR | Mode::WUSR)?;
        let written = std::fs::File::from(file)
            .write_all(content)
            .and_then(|()| Ok(renameat(&self.folder, &unfinished, &self.folder, name)?));
        if written.is_err() {
            self.remove(&unfinished);
        }
        written
    }

    /// The names of all that is in the folder.
    pub(super) fn names(&self) -> Vec<String> {
        let Ok(entries) = rustix::fs::Dir::read_from(&self.folder) else {
            return Vec::new();
        };
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned))
            .filter(|name| name != "." && name != "..")
            .collect()
    }

    pub(super) fn remove(&self, name: &str) {
        let _ = unlinkat(&self.folder, name, AtFlags::empty());
    }
}

fn is_unchanged(dependency: &Dependency) -> bool {
    Fingerprint::of(&dependency.path) == dependency.fingerprint
}

/// Opens a folder that is made if need be, and that nobody but this user or root can have written.
///
/// # Errors
/// It cannot be made or opened, is a symbolic link, or others may write it.
pub fn open_own_folder(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = match open(path, flags, Mode::empty()) {
        Ok(folder) => folder,
        Err(rustix::io::Errno::NOENT) => {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
            open(path, flags, Mode::empty())?
        }
        Err(error) => return Err(error.into()),
    };
    check_own(&folder)?;
    Ok(folder)
}

/// Whether nobody but this user or root can have written it.
fn check_own(file: impl AsFd) -> io::Result<()> {
    let stat = fstat(file)?;
    let own = stat.st_uid == rustix::process::geteuid().as_raw() || stat.st_uid == 0;
    if own && stat.st_mode & 0o022 == 0 {
        return Ok(());
    }
    let message = format!(
        "owner {} and mode {:o} let others write it",
        stat.st_uid,
        stat.st_mode & 0o7777
    );
    Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpreter::facts::{Build, Version};
    use std::os::unix::fs::PermissionsExt;

    struct Node {
        root: tempfile::TempDir,
    }

    impl Node {
        fn new() -> Node {
            let node = Node {
                root: tempfile::tempdir().unwrap(),
            };
            fs_err::create_dir(node.root.path().join("bin")).unwrap();
            fs_err::write(node.python(), "first").unwrap();
            node
        }

        fn python(&self) -> PathBuf {
            self.root.path().join("bin/python3")
        }

        fn library(&self) -> PathBuf {
            self.root.path().join("libpython3.11.so.1.0")
        }

        fn folder(&self) -> PathBuf {
            self.root.path().join("cache/dray")
        }

        fn facts(&self) -> Facts {
            Facts {
                implementation: "cpython".to_owned(),
                version: Version {
                    major: 3,
                    minor: 11,
                    micro: 2,
                    level: "final".to_owned(),
                    serial: 0,
                },
                version_text: "3.11.2 (main)".to_owned(),
                executable: self.python(),
                build: Some(Build {
                    pointer_bits: 64,
                    free_threaded: false,
                    platform: "linux-x86_64".to_owned(),
                    c_library: "gnu".to_owned(),
                    prefix: PathBuf::from("/usr"),
                    base_prefix: PathBuf::from("/usr"),
                    base_executable: self.python(),
                    library: None,
                    linked: false,
                    looked_at: vec![self.library()],
                }),
            }
        }

        fn kept(&self) -> Cache {
            let cache = Cache::open(&self.folder()).unwrap();
            cache.keep(Cache::before(&self.python()), &self.facts());
            assert_eq!(cache.recall(&self.python()), Some(self.facts()));
            cache
        }

        fn entry(&self) -> PathBuf {
            fs_err::read_dir(self.folder()).unwrap().next().unwrap().unwrap().path()
        }
    }

    #[test]
    fn an_answer_is_recalled_by_the_next_task() {
        let node = Node::new();
        node.kept();
        assert_eq!(
            Cache::open(&node.folder()).unwrap().recall(&node.python()),
            Some(node.facts())
        );
        assert_eq!(node.entry().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn an_answer_is_forgotten_when_the_interpreter_changes() {
        let node = Node::new();
        let cache = node.kept();
        fs_err::write(node.python(), "other").unwrap(); // the same size: told by its times
        assert_eq!(cache.recall(&node.python()), None);
        assert_eq!(fs_err::read_dir(node.folder()).unwrap().count(), 0);
    }

    #[test]
    fn an_answer_is_forgotten_when_a_library_appears() {
        let node = Node::new();
        let cache = node.kept();
        fs_err::write(node.library(), "").unwrap();
        assert_eq!(cache.recall(&node.python()), None);
    }

    #[test]
    fn an_answer_is_forgotten_when_a_pyvenv_cfg_appears() {
        let node = Node::new();
        let cache = node.kept();
        fs_err::write(node.root.path().join("pyvenv.cfg"), "home = /usr/bin").unwrap();
        assert_eq!(cache.recall(&node.python()), None);
    }

    #[test]
    fn a_launchers_answer_is_not_kept() {
        let node = Node::new();
        let cache = Cache::open(&node.folder()).unwrap();
        let facts = Facts {
            executable: PathBuf::from("/opt/python3.11/bin/python3"),
            ..node.facts()
        };
        cache.keep(Cache::before(&node.python()), &facts);
        assert_eq!(cache.recall(&node.python()), None);
    }

    #[test]
    fn an_entry_that_others_may_write_is_not_trusted() {
        let node = Node::new();
        let cache = node.kept();
        fs_err::set_permissions(node.entry(), std::fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(cache.recall(&node.python()), None);
    }

    #[test]
    fn an_entry_that_is_a_link_or_torn_is_removed() {
        let node = Node::new();
        let cache = node.kept();
        let entry = node.entry();
        let text = fs_err::read(&entry).unwrap();
        fs_err::write(&entry, &text[..text.len() / 2]).unwrap();
        assert_eq!(cache.recall(&node.python()), None);
        fs_err::write(node.root.path().join("planted"), &text).unwrap();
        std::os::unix::fs::symlink(node.root.path().join("planted"), &entry).unwrap();
        assert_eq!(cache.recall(&node.python()), None);
        assert!(entry.symlink_metadata().is_err());
    }

    #[test]
    fn a_folder_that_others_may_write_is_not_used() {
        let node = Node::new();
        fs_err::create_dir_all(node.folder()).unwrap();
        fs_err::set_permissions(node.folder(), std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(Cache::open(&node.folder()).is_none());
    }

    #[test]
    fn the_folder_is_the_nodes_shared_one_then_the_users_cache() {
        let folder = |variables: &[(&str, &str)]| {
            cache_folder(|name| {
                variables
                    .iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| value.into())
            })
        };
        let uid = rustix::process::geteuid().as_raw();
        let all = [
            ("AZ_BATCH_NODE_SHARED_DIR", "/mnt/shared"),
            ("XDG_CACHE_HOME", "/c"),
            ("HOME", "/home/me"),
        ];
        assert_eq!(folder(&all), Some(PathBuf::from(format!("/mnt/shared/dray-{uid}"))));
        assert_eq!(folder(&all[1..]), Some(PathBuf::from("/c/dray")));
        assert_eq!(folder(&all[2..]), Some(PathBuf::from("/home/me/.cache/dray")));
        assert_eq!(folder(&[("XDG_CACHE_HOME", ""), ("HOME", "")]), None);
        let named = |value| folder(&[("DRAY_CACHE", value), ("HOME", "/home/me")]);
        assert_eq!(named("/fast/dray"), Some(PathBuf::from("/fast/dray")));
        assert_eq!(named(""), Some(PathBuf::from("/home/me/.cache/dray")));
        assert_eq!(named("off"), None);
    }
}
