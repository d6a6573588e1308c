//! A folder like a Batch task's, and the command in it.
//!
//! ```text
//! root/            AZ_BATCH_TASK_DIR: stdout.txt, stderr.txt
//!      wd/         AZ_BATCH_TASK_WORKING_DIR: the uploaded files, the three JSON files, outputs.json
//!      shared/     AZ_BATCH_NODE_SHARED_DIR
//!      startup/    AZ_BATCH_NODE_STARTUP_DIR
//! ```

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;

use serde_json::Value;

use super::error::RehearsalError;
use super::plan::Plan;
use crate::activity::FILE_NAMES;

/// How Batch leaves downloaded files on Linux (azure-batch, `ResourceFile.file_mode`).
const FILE_MODE: u32 = 0o770;

/// The executable that stands in for one that the command names and the folder lacks.
const EXECUTABLE: &str = "./dray";

/// The files that stand in for those in the storage account.
pub struct Upload {
    folder: PathBuf,
    /// Paths below the folder, sorted.
    files: Vec<PathBuf>,
}

impl Upload {
    /// Lists a folder, all that is below it.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub(super) fn read(folder: &Path) -> Result<Upload, RehearsalError> {
        let failed = |source| RehearsalError::LayOut {
            path: folder.to_owned(),
            source,
        };
        let mut files = Vec::new();
        let mut folders = vec![PathBuf::new()];
        while let Some(below) = folders.pop() {
            for entry in fs_err::read_dir(folder.join(&below)).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let path = below.join(entry.file_name());
                if fs_err::metadata(entry.path()).map_err(failed)?.is_dir() {
                    folders.push(path);
                } else {
                    files.push(path);
                }
            }
        }
        files.sort();
        Ok(Upload {
            folder: folder.to_owned(),
            files,
        })
    }

    /// The name of each file, as it arrives.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().filter_map(|file| file.file_name()?.to_str())
    }

    /// The files that are not at the top, as paths.
    pub(super) fn in_folders(&self) -> Vec<String> {
        let nested = self.files.iter().filter(|file| file.components().count() > 1);
        nested.map(|file| file.display().to_string()).collect()
    }

    /// Names that several files have, with their paths.
    pub(super) fn doubled(&self) -> BTreeMap<String, Vec<String>> {
        let mut by_name: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for file in &self.files {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            by_name.entry(name).or_default().push(file.display().to_string());
        }
        by_name.retain(|_, paths| paths.len() > 1);
        by_name
    }
}

/// A task, laid out.
pub struct Task {
    root: PathBuf,
    id: String,
    /// Whether this executable stands in for the one that the command names.
    pub lends_executable: bool,
}

impl Task {
    /// Makes the folders and files; `root` is made if need be, readable by nobody else, since activity.json may hold
    /// secrets.
    ///
    /// # Errors
    /// [`RehearsalError::NotEmpty`], [`RehearsalError::NoFolder`]; a file that cannot be read or written.
    pub fn lay_out(plan: &Plan, root: &Path) -> Result<Task, RehearsalError> {
        if let (Some(folder_path), None) = (&plan.folder_path, &plan.upload) {
            return Err(RehearsalError::NoFolder {
                folder_path: folder_path.clone(),
            });
        }
        let failed = |source| RehearsalError::LayOut {
            path: root.to_owned(),
            source,
        };
        let make = |folder: &Path| std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        make(root).map_err(failed)?;
        if fs_err::read_dir(root).map_err(failed)?.next().is_some() {
            return Err(RehearsalError::NotEmpty(root.to_owned()));
        }
        let mut task = Task {
            root: fs_err::canonicalize(root).map_err(failed)?,
            id: uuid::Uuid::new_v4().to_string(),
            lends_executable: false,
        };
        for folder in ["wd", "shared", "startup/wd"] {
            make(&task.root.join(folder)).map_err(failed)?;
        }
        task.fill(plan).map_err(failed)?;
        Ok(task)
    }

    fn fill(&mut self, plan: &Plan) -> io::Result<()> {
        let working_folder = self.working_folder();
        if let Some(upload) = &plan.upload {
            for file in &upload.files {
                let to = working_folder.join(file.file_name().unwrap_or_default());
                fs_err::copy(upload.folder.join(file), &to)?;
                fs_err::set_permissions(&to, std::fs::Permissions::from_mode(FILE_MODE))?;
            }
        }
        for (name, value) in FILE_NAMES.iter().zip(&plan.files) {
            fs_err::write(working_folder.join(name), pretty(value))?;
        }
        let executable = working_folder.join(EXECUTABLE);
        if plan.words.first().is_some_and(|program| program == EXECUTABLE) && !executable.exists() {
            symlink(std::env::current_exe()?, executable)?;
            self.lends_executable = true;
        }
        Ok(())
    }

    /// The task's own folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the command runs.
    pub fn working_folder(&self) -> PathBuf {
        self.root.join("wd")
    }

    /// Runs the command as Batch does: no shell, no terminal, the streams into files; here they are shown as well.
    ///
    /// # Errors
    /// [`RehearsalError::Start`].
    pub fn run(&self, plan: &Plan) -> Result<ExitStatus, RehearsalError> {
        let program = plan.words.first().cloned().unwrap_or_default();
        let failed = |source| RehearsalError::Start {
            program: program.clone(),
            source,
        };
        let mut child = self.command(&program, plan).spawn().map_err(failed)?;
        let copied = thread::scope(|scope| {
            let output = child
                .stdout
                .take()
                .map(|pipe| scope.spawn(|| self.keep(pipe, "stdout.txt", io::stdout())));
            let errors = child
                .stderr
                .take()
                .map(|pipe| scope.spawn(|| self.keep(pipe, "stderr.txt", io::stderr())));
            let threads = [output, errors].into_iter().flatten();
            threads
                .map(|thread| thread.join().unwrap_or(Ok(())))
                .collect::<io::Result<Vec<()>>>()
        });
        let status = child.wait().map_err(failed)?;
        copied.map_err(failed)?;
        Ok(status)
    }

    fn command(&self, program: &str, plan: &Plan) -> Command {
        let working_folder = self.working_folder();
        // A path is meant from the working directory of the task; a bare name is looked up on PATH.
        let file = match program.contains('/') {
            true => working_folder.join(program),
            false => PathBuf::from(program),
        };
        let mut command = Command::new(file);
        command
            .arg0(program)
            .args(plan.words.iter().skip(1))
            .current_dir(&working_folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // Not those of a task that this may itself run in.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("AZ_BATCH_") {
                command.env_remove(name);
            }
        }
        command.env_remove("DRAY_RUN").env_remove("DRAY_TASK_FOLDER");
        command.envs(self.variables());
        command
    }

    /// The variables that Batch sets (azure-docs, `batch-compute-node-environment-variables.md`).
    fn variables(&self) -> Vec<(&'static str, PathBuf)> {
        let text = |value: &str| PathBuf::from(value);
        let at = |name: &str| self.root.join(name);
        vec![
            ("AZ_BATCH_ACCOUNT_NAME", text("rehearsal")),
            ("AZ_BATCH_ACCOUNT_URL", text("https://rehearsal.invalid/")),
            ("AZ_BATCH_POOL_ID", text("rehearsal")),
            ("AZ_BATCH_NODE_ID", text("rehearsal")),
            ("AZ_BATCH_NODE_IS_DEDICATED", text("true")),
            ("AZ_BATCH_JOB_ID", text("adfv2-rehearsal")),
            ("AZ_BATCH_TASK_ID", text(&self.id)),
            ("AZ_BATCH_TASK_DIR", self.root.clone()),
            ("AZ_BATCH_TASK_WORKING_DIR", at("wd")),
            ("AZ_BATCH_NODE_ROOT_DIR", self.root.clone()),
            ("AZ_BATCH_NODE_SHARED_DIR", at("shared")),
            ("AZ_BATCH_NODE_STARTUP_DIR", at("startup")),
            ("AZ_BATCH_NODE_STARTUP_WORKING_DIR", at("startup/wd")),
        ]
    }

    /// Copies a stream of the command into a file and to where this process's own goes.
    fn keep(&self, mut pipe: impl Read, name: &str, mut shown: impl Write) -> io::Result<()> {
        let mut file = fs_err::File::create(self.root.join(name))?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let bytes = match pipe.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(bytes) => &buffer[..bytes],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            file.write_all(bytes)?;
            // Nobody may be left to be shown it.
            let _ = shown.write_all(bytes).and_then(|()| shown.flush());
        }
    }
}

fn pretty(value: &Value) -> String {
    // A JSON value has no map with other keys than texts, so this cannot fail.
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// A path in the system's folder for temporary files that nothing has yet.
pub fn fresh_root() -> PathBuf {
    std::env::temp_dir().join(format!("dray-rehearsal-{}", uuid::Uuid::new_v4().simple()))
}
