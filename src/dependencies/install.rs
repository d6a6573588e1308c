//! `--install`: the project's requirements as a folder of packages, made once for the node and for their content.
//!
//! By `uv` where it is on PATH, else by the pip of the interpreter, each with `--target`: the folder is used as packed
//! packages are, nothing of the interpreter changes, and what PEP 668 forbids (to install into the system's Python) is not
//! done. Rejected: a virtual environment, which needs the package python3-venv on the distributions that the images have,
//! and makes another interpreter of the one that was chosen.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use sha2::{Digest, Sha256};

use super::check::end_of;
use super::requirements::{asks_for_anything, without_own_package};
use super::store::{Store, StoreError, Wait};
use super::{DependencyError, Packages, Requirements};
use crate::interpreter::Interpreter;
use crate::project::hexadecimal;

/// Another way to install the same requirements gets another key.
const KEY_PREFIX: &str = "installed2";

/// How often an installer is asked whether it has ended.
const ASKED: Duration = Duration::from_millis(20);

/// The folder with `requirements` for `interpreter`: that of an earlier task, or made now.
///
/// `working_folder` is the project's tree on disk, which paths in the requirements start from. The end of `wait` ends the
/// installer.
///
/// # Errors
/// [`DependencyError::NoInstaller`], [`DependencyError::Install`] with the installer's last lines,
/// [`DependencyError::Stopped`]. Nothing is kept of an installation that failed.
pub fn install(
    requirements: &Requirements,
    interpreter: &Interpreter,
    working_folder: &Path,
    store: &Store,
    wait: Wait<'_>,
) -> Result<Packages, DependencyError> {
    let started = Instant::now();
    let key = format!("{KEY_PREFIX}-{}", identity(requirements, interpreter, working_folder)?);
    let taken = store.take(&key, wait, |folder| {
        make(requirements, interpreter, working_folder, folder, wait)
    });
    match taken {
        Ok(entry) => {
            tracing::info!(
                event = "dependencies.installed",
                folder = %entry.folder().display(),
                installed = entry.is_new,
                duration_ms = started.elapsed().as_millis() as u64,
                "dependencies are installed"
            );
            Ok(Packages {
                folder: entry.folder().to_owned(),
                entry: Some(entry),
            })
        }
        Err(StoreError::Make(error)) => Err(error),
        Err(StoreError::Cancelled) => Err(DependencyError::Stopped),
        Err(StoreError::Io(source)) => Err(DependencyError::Io {
            doing: "keep installed dependencies for the node".to_owned(),
            source,
        }),
    }
}

/// Of the requirements with all files that they include or name, and of the interpreter.
fn identity(
    requirements: &Requirements,
    interpreter: &Interpreter,
    working_folder: &Path,
) -> Result<String, DependencyError> {
    let mut hasher = Sha256::new();
    let mut add = |text: &[u8]| {
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text);
    };
    add(interpreter.version_text.as_bytes());
    add(interpreter.executable.as_os_str().as_encoded_bytes());
    add(interpreter.prefix.as_os_str().as_encoded_bytes());
    add(requirements.text.as_bytes());
    for (path, text) in &requirements.others {
        add(path.as_bytes());
        add(text.as_bytes());
    }
    for named in requirements.paths() {
        let path = working_folder.join(&named);
        if path.is_dir() {
            return Err(DependencyError::Folder {
                file: requirements.file.to_owned(),
                folder: named,
            });
        }
        // What is not there, the installer will say.
        add(&fs_err::read(&path).unwrap_or_default());
    }
    Ok(hexadecimal(&hasher.finalize()[..16]))
}

fn make(
    requirements: &Requirements,
    interpreter: &Interpreter,
    working_folder: &Path,
    folder: &Path,
    wait: Wait<'_>,
) -> Result<(), DependencyError> {
    let failed = |doing: &str| {
        let doing = doing.to_owned();
        move |source| DependencyError::Io { doing, source }
    };
    // Beside the packages, and gone with the rest of what is not kept.
    let beside = folder.parent().unwrap_or(folder);
    fs_err::create_dir(folder).map_err(failed("make a folder for packages"))?;
    let others = without_own_package(&requirements.text, working_folder);
    if others.is_some() {
        tracing::info!(
            event = "dependencies.own_package",
            "`dray` of {} is left out: `dray run` brings that package itself",
            requirements.file
        );
    }
    let file = if requirements.is_file() && others.is_none() {
        working_folder.join(requirements.file)
    } else {
        let text = others.as_ref().unwrap_or(&requirements.text);
        if !asks_for_anything(text) {
            return Ok(());
        }
        let file = beside.join("requirements.txt");
        fs_err::write(&file, text).map_err(failed("write the requirements"))?;
        file
    };
    let output = beside.join("installer.txt");
    let mut no_uv = false;
    for installer in ["uv", "pip"] {
        let written = fs_err::File::create(&output).map_err(failed("write the installer's output"))?;
        let mut command = command(installer, interpreter, folder);
        command
            .arg(&file)
            .current_dir(working_folder)
            .stdin(Stdio::null())
            .stdout(Stdio::from(
                written
                    .file()
                    .try_clone()
                    .map_err(failed("write the installer's output"))?,
            ))
            .stderr(Stdio::from(written.into_file()))
            .process_group(0);
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) if installer == "uv" && error.kind() == std::io::ErrorKind::NotFound => {
                no_uv = true;
                continue;
            }
            Err(source) => return Err(failed(&format!("start {installer}"))(source)),
        };
        tracing::info!(
            event = "dependencies.installing",
            installer,
            "installing the project's dependencies"
        );
        let status = wait_for(child, wait)?;
        if status.success() {
            break;
        }
        let written = fs_err::read(&output).unwrap_or_default();
        if installer == "pip" && String::from_utf8_lossy(&written).contains("No module named pip") && no_uv {
            return Err(DependencyError::NoInstaller {
                interpreter: interpreter.executable.clone(),
            });
        }
        return Err(DependencyError::Install {
            file: requirements.file.to_owned(),
            installer,
            status: status.to_string(),
            output: end_of(&written),
        });
    }
    let _ = fs_err::remove_file(&output);
    Ok(())
}

/// Bytecode is left to Python, which compiles what is imported when it first is.
fn command(installer: &str, interpreter: &Interpreter, folder: &Path) -> Command {
    if installer == "uv" {
        let mut command = Command::new("uv");
        // Copied: what is linked to uv's own cache would be made read-only there too.
        command.args([
            "pip",
            "install",
            "--quiet",
            "--no-progress",
            "--link-mode",
            "copy",
            "--python",
        ]);
        command
            .arg(&interpreter.executable)
            .arg("--target")
            .arg(folder)
            .arg("--requirement");
        return command;
    }
    let mut command = Command::new(&interpreter.executable);
    command.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-input",
        "--no-compile",
        "--disable-pip-version-check",
    ]);
    command.args(["--no-warn-script-location", "--root-user-action", "ignore", "--target"]);
    command.arg(folder).arg("--requirement");
    command
}

/// Waits for an installer, and ends it with all that it started when the run is to stop.
fn wait_for(mut child: Child, wait: Wait<'_>) -> Result<ExitStatus, DependencyError> {
    loop {
        let ended = child.try_wait().map_err(|source| DependencyError::Io {
            doing: "wait for the installer".to_owned(),
            source,
        })?;
        if let Some(status) = ended {
            return Ok(status);
        }
        if wait.is_over() {
            // All of it, before what it has written is removed; what has left its group is ended with the run.
            let _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
            let _ = child.wait();
            return Err(DependencyError::Stopped);
        }
        std::thread::sleep(ASKED);
    }
}
