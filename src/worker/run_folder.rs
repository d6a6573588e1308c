//! The run folder: what one run keeps on disk, and what its processes hand to each other through it.
//!
//! `<task folder>/.dray/<time>-<pid>/` holds `project/` (the unpacked tree, the script's working directory), `payload/`
//! (the Python package), `run.json` (what the worker is to do), `events.jsonl` (what it says of itself) and `fault.txt`
//! (the interpreter's last words in a crash). A lock held for as long as the supervisor lives tells the
//! folder of a running task from a leftover: leftovers go when the next run starts, and are never mixed in.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::pump::Redirection;
use crate::failure::Failure;
use crate::interpreter::path_text;

/// Name of the folder, in the task folder, that all run folders stand in.
pub const PARENT: &str = ".dray";

const EVENTS: &str = "events.jsonl";

/// What the worker is to do; `run.json`, read by the worker, and once more by the native module where that is loaded.
#[derive(Debug, Serialize, Deserialize)]
pub struct RunSpec {
    /// Where activity.json and its companions are, and where outputs.json goes.
    #[serde(with = "path_text")]
    pub task_folder: PathBuf,
    /// The script's working directory and the root of its project.
    #[serde(with = "path_text")]
    pub working_folder: PathBuf,
    /// The folder on `sys.path` that holds the package `dray`.
    #[serde(with = "path_text")]
    pub payload: PathBuf,
    /// The folder on `sys.path`, behind the payload, that holds the project's packages.
    #[serde(with = "path_text::option")]
    pub packages: Option<PathBuf>,
    /// The interpreter to run, as `interpreter` chose it.
    pub interpreter: crate::interpreter::Interpreter,
    /// What to run.
    pub entrypoint: crate::project::Entrypoint,
    /// `sys.argv[1:]`.
    #[serde(with = "path_text::list")]
    pub arguments: Vec<OsString>,
    /// Whether the extended properties come before `arguments`, to be made arguments by the worker: they lie in a
    /// Key Vault, or are not to be written down.
    pub arguments_from_activity: bool,
    /// Which of the worker's streams go through the supervisor.
    pub redirection: Redirection,
    /// What the run is known by when it is run again; the variable `DRAY_RUN_ID` of the script.
    pub run_id: Option<String>,
    /// Whether this is written before the project is in place. The worker then starts Python, and waits for a `Release`.
    pub early: bool,
    /// `--log-level` as it holds for this run.
    pub log_level: String,
    /// `--log-format` as it holds for this run.
    pub log_format: String,
}

/// A run folder, locked.
pub struct RunFolder {
    path: PathBuf,
    parent: PathBuf,
    /// On the folder itself, for as long as this process lives.
    _lock: Flock<std::fs::File>,
}

impl RunFolder {
    /// Makes a new one in `task_folder` and removes those that earlier runs left there.
    ///
    /// # Errors
    /// The task folder cannot be written.
    pub fn create(task_folder: &Path) -> io::Result<RunFolder> {
        let parent = task_folder.join(PARENT);
        // Two runs may start in one folder: a folder that is made but not yet locked must not look like a leftover.
        let _all = lock_parent(&parent)?;
        remove_leftovers(&parent);
        let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
        let path = parent.join(format!("{now}-{}", std::process::id()));
        fs_err::create_dir(&path)?;
        let lock = lock(&path, FlockArg::LockExclusiveNonblock)?;
        Ok(RunFolder {
            path,
            parent,
            _lock: lock,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where a zip is unpacked to.
    pub fn project(&self) -> PathBuf {
        self.path.join("project")
    }

    /// Where the payload is laid out.
    pub fn payload(&self) -> PathBuf {
        self.path.join("payload")
    }

    /// What the worker appends its events to.
    pub fn events(&self) -> PathBuf {
        self.path.join(EVENTS)
    }

    /// What Python's faulthandler wrote, if the worker crashed.
    pub fn fault(&self) -> Option<String> {
        let text = fs_err::read(self.path.join("fault.txt")).ok()?;
        let text = String::from_utf8_lossy(&text).trim_end().to_owned();
        (!text.is_empty()).then_some(text)
    }

    /// Writes what the worker reads, and makes the file that it writes; both may be there already.
    ///
    /// # Errors
    /// The run folder cannot be written.
    pub fn write_spec(&self, spec: &RunSpec) -> io::Result<()> {
        fs_err::write(self.path.join("run.json"), serde_json::to_vec(spec)?)?;
        fs_err::File::options()
            .append(true)
            .create(true)
            .open(self.events())
            .map(drop)
    }

    /// Removes everything but the unpacked project, in which the script may have left files that somebody looks for; all
    /// of it if nothing was unpacked.
    pub fn clear(&self) {
        let Ok(entries) = fs_err::read_dir(&self.path) else {
            return;
        };
        for entry in entries.flatten().filter(|entry| entry.file_name() != "project") {
            remove(&entry.path());
        }
        if !self.project().is_dir()
            && let Ok(_all) = lock_parent(&self.parent)
        {
            remove(&self.path);
            // Another run may have its folder there.
            let _ = std::fs::remove_dir(&self.parent);
        }
    }
}

/// Reads `run.json` of a run folder.
///
/// # Errors
/// The file is missing or not what [`RunFolder::write_spec`] wrote.
pub fn read_spec(run_folder: &Path) -> io::Result<RunSpec> {
    let text = fs_err::read(run_folder.join("run.json"))?;
    Ok(serde_json::from_slice(&text)?)
}

/// Leaves an error for the supervisor, as the Python side of the worker does: an event in `events.jsonl`.
pub fn record_error(run_folder: &Path, failure: &Failure) {
    let event = serde_json::json!({
        "event": "error", "code": failure.code, "message": failure.sentence(), "exit_code": failure.exit_code.number(),
    });
    let written = fs_err::File::options()
        .append(true)
        .open(run_folder.join(EVENTS))
        .and_then(|mut events| events.write_all(format!("{event}\n").as_bytes()));
    if let Err(error) = written {
        tracing::error!(event = "worker.event_lost", "{error}");
    }
}

/// The folder of all run folders, made if need be and locked against other runs that start or end.
fn lock_parent(parent: &Path) -> io::Result<Flock<std::fs::File>> {
    loop {
        match std::fs::DirBuilder::new().mode(0o700).create(parent) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                let text = format!("failed to create folder `{}`: {error}", parent.display());
                return Err(io::Error::new(error.kind(), text));
            }
            _ => {}
        }
        match lock(parent, FlockArg::LockExclusive) {
            // A run that ended may have removed it in between.
            Ok(lock) if fs_err::metadata(parent).is_ok_and(|there| is_same(&there, &lock)) => return Ok(lock),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
}

fn is_same(there: &std::fs::Metadata, locked: &std::fs::File) -> bool {
    locked
        .metadata()
        .is_ok_and(|own| (own.dev(), own.ino()) == (there.dev(), there.ino()))
}

/// Locks a folder.
fn lock(path: &Path, how: FlockArg) -> io::Result<Flock<std::fs::File>> {
    let folder = fs_err::File::open(path)?;
    Flock::lock(folder.into_file(), how).map_err(|(_, errno)| {
        io::Error::new(
            io::Error::from(errno).kind(),
            format!("failed to lock folder `{}`: {errno}", path.display()),
        )
    })
}

fn remove_leftovers(parent: &Path) {
    let Ok(entries) = fs_err::read_dir(parent) else { return };
    for folder in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        if lock(&folder, FlockArg::LockExclusiveNonblock).is_ok() {
            remove(&folder);
        }
    }
}

/// A leftover that cannot be removed (another user's file in it) does no harm: nothing is ever read from it.
fn remove(path: &Path) {
    let result = if path.is_dir() {
        fs_err::remove_dir_all(path)
    } else {
        fs_err::remove_file(path)
    };
    if let Err(error) = result {
        tracing::warn!(event = "run_folder.not_removed", "{error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leftover_of_an_earlier_run_is_removed_and_a_running_one_is_not() {
        let task = tempfile::tempdir().unwrap();
        let running = task.path().join(PARENT).join("running");
        let leftover = task.path().join(PARENT).join("leftover");
        for folder in [&running, &leftover] {
            fs_err::create_dir_all(folder.join("project")).unwrap();
        }
        let _held = lock(&running, FlockArg::LockExclusiveNonblock).unwrap();

        let own = RunFolder::create(task.path()).unwrap();

        assert!(running.exists());
        assert!(!leftover.exists());
        assert!(own.path().is_dir());
    }

    #[test]
    fn a_run_that_unpacked_nothing_leaves_nothing() {
        let task = tempfile::tempdir().unwrap();
        let own = RunFolder::create(task.path()).unwrap();
        fs_err::write(own.events(), "{}").unwrap();

        own.clear();

        assert_eq!(fs_err::read_dir(task.path()).unwrap().count(), 0);
    }

    #[test]
    fn clearing_keeps_the_unpacked_project_alone() {
        let task = tempfile::tempdir().unwrap();
        let own = RunFolder::create(task.path()).unwrap();
        fs_err::create_dir_all(own.project()).unwrap();
        fs_err::write(own.events(), "{}").unwrap();

        own.clear();

        assert!(own.project().is_dir());
        assert!(!own.events().exists());
    }
}
