//! `dray pack`: a project's folder becomes one zip, with all that it needs on the node.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::run::say_last_line;
use crate::failure::Failure;
use crate::pack::{self, PackError, Packed, Request, Target};

/// The largest packages are listed, this many of them.
const LISTED: usize = 10;

/// `dray pack` as given.
#[derive(Args, Clone, Debug, Default)]
#[command(
    after_help = "Dependencies are those of requirements.txt, else `dependencies` of [project] in pyproject.toml; wheels \
                  alone, got with uv if it is on PATH, else with pip.\nLeft out of the project: what .gitignore and `exclude` \
                  of [tool.dray] name, .git, virtual environments.\nSOURCE_DATE_EPOCH sets the time of all members."
)]
pub struct PackArguments {
    /// The project's folder
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,

    /// The zip to write [default: the folder's name and .zip, in the current folder]
    #[arg(short, long, value_name = "ZIP")]
    pub output: Option<PathBuf>,

    /// The node's version of Python [default: that of the image, 3.12]
    #[arg(long, value_name = "VERSION")]
    pub python: Option<String>,

    /// The node's platform: manylinux_2_35_x86_64 or an image, ubuntu-22.04 [default: ubuntu-24.04]
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<String>,

    /// Requirements instead of the project's own, such as what --lock wrote
    #[arg(short, long, value_name = "FILE")]
    pub requirements: Option<PathBuf>,

    /// Write what was chosen, with hashes, in the format of requirements.txt
    #[arg(long, value_name = "FILE")]
    pub lock: Option<PathBuf>,

    /// Leave out the packages' tests and caches
    #[arg(long)]
    pub strip: bool,
}

/// Packs, says what came of it, and gives the exit code.
pub fn pack(arguments: &PackArguments) -> u8 {
    match attempt(arguments) {
        Ok((output, packed)) => {
            // A reader that has seen enough is no failure.
            let _ = std::io::stdout().write_all(describe(&output, &packed).as_bytes());
            0
        }
        Err(error) => say_last_line(&Failure::from(error)),
    }
}

fn attempt(arguments: &PackArguments) -> Result<(PathBuf, Packed), PackError> {
    let target =
        Target::parse(arguments.python.as_deref(), arguments.platform.as_deref()).map_err(PackError::Target)?;
    let output = match &arguments.output {
        Some(output) => output.clone(),
        None => default_output(&arguments.folder)?,
    };
    let packed = pack::pack(&Request {
        folder: arguments.folder.clone(),
        output: output.clone(),
        target,
        requirements: arguments.requirements.clone(),
        lock: arguments.lock.clone(),
        strip: arguments.strip,
    })?;
    Ok((output, packed))
}

fn default_output(folder: &Path) -> Result<PathBuf, PackError> {
    let folder = fs_err::canonicalize(folder).map_err(|source| PackError::Io {
        doing: "read the project".to_owned(),
        source,
    })?;
    let mut name: OsString = folder.file_name().unwrap_or("project".as_ref()).to_owned();
    name.push(".zip");
    Ok(name.into())
}

fn describe(output: &Path, packed: &Packed) -> String {
    let mut text = format!(
        "{}: {}, {} files, {} unpacked\n",
        output.display(),
        megabytes(packed.zip_bytes),
        packed.files,
        megabytes(packed.unpacked_bytes)
    );
    let _ = match &packed.source {
        Some((source, resolver)) => writeln!(
            text,
            "{} packages of {source}, chosen by {resolver}; {} files of the project",
            packed.packages.len(),
            packed.project_files
        ),
        None => writeln!(text, "no dependencies; {} files of the project", packed.project_files),
    };
    for (name, size_bytes) in packed.packages.iter().take(LISTED) {
        let _ = writeln!(text, "  {:>10}  {name}", megabytes(*size_bytes));
    }
    if packed.packages.len() > LISTED {
        let _ = writeln!(text, "  and {} smaller ones", packed.packages.len() - LISTED);
    }
    for note in &packed.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10)
}
