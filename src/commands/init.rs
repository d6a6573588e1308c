//! `dray init`: a small project that works, to start from.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;

use super::run::say_last_line;
use crate::failure::{ExitCode, Failing, Failure};

/// The files of the project: paths below its folder, and contents. They are real files, so that they are linted and run by
/// the tests as they are.
const FILES: [(&str, &str); 8] = [
    ("main.py", include_str!("init/main.py")),
    ("plan.json", include_str!("init/plan.json")),
    ("pyproject.toml", include_str!("init/pyproject.toml")),
    ("README.md", include_str!("init/README.md")),
    (
        "factory/pipeline/CopySales.json",
        include_str!("init/factory/pipeline/CopySales.json"),
    ),
    (
        "factory/linkedService/Sales.json",
        include_str!("init/factory/linkedService/Sales.json"),
    ),
    (
        "factory/linkedService/Warehouse.json",
        include_str!("init/factory/linkedService/Warehouse.json"),
    ),
    (".gitignore", include_str!("init/gitignore")),
];

/// `dray init` as given.
#[derive(Args, Clone, Debug)]
pub struct InitArguments {
    /// Where to write it; made if need be
    #[arg(default_value = ".")]
    pub folder: PathBuf,
}

/// The project cannot be written.
#[derive(Debug, thiserror::Error)]
enum InitError {
    #[error("`{}` is there already, and nothing was written", .0.display())]
    Exists(PathBuf),
    #[error("cannot write the project into `{}`", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl Failing for InitError {
    fn exit_code(&self) -> ExitCode {
        match self {
            InitError::Exists(_) => ExitCode::Usage,
            InitError::Write { .. } => ExitCode::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            InitError::Exists(_) => "init.exists",
            InitError::Write { .. } => "init.write",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            InitError::Exists(_) => Some("name another folder: `dray init FOLDER`".to_owned()),
            InitError::Write { .. } => None,
        }
    }
}

/// Writes the project and gives the exit code. A file that is there already is never overwritten, and then no other is
/// written either.
pub fn init(arguments: &InitArguments) -> u8 {
    match write(&arguments.folder) {
        Ok(()) => {
            let folder = arguments.folder.display();
            let names: String = FILES.iter().map(|(name, _)| format!("  {name}\n")).collect();
            // A reader that has seen enough is no failure.
            let _ = write!(
                io::stdout(),
                "wrote into {folder}:\n{names}run it:\n  dray run {folder}\nREADME.md has the rest\n"
            );
            0
        }
        Err(error) => say_last_line(&Failure::from(error)),
    }
}

fn write(folder: &Path) -> Result<(), InitError> {
    if let Some((name, _)) = FILES
        .iter()
        .find(|(name, _)| folder.join(name).symlink_metadata().is_ok())
    {
        return Err(InitError::Exists(folder.join(name)));
    }
    let mut written = Vec::new();
    for (name, content) in FILES {
        let path = folder.join(name);
        if let Err(source) = write_new(&path, content) {
            // Nothing half written.
            for path in written {
                let _ = fs_err::remove_file(path);
            }
            return Err(match source.kind() {
                io::ErrorKind::AlreadyExists => InitError::Exists(path),
                _ => InitError::Write {
                    path: folder.to_owned(),
                    source,
                },
            });
        }
        written.push(path);
    }
    Ok(())
}

fn write_new(path: &Path, content: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs_err::create_dir_all(folder)?;
    }
    let mut file = fs_err::File::options().write(true).create_new(true).open(path)?;
    file.write_all(content.as_bytes())
}
