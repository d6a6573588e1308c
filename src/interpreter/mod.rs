//! Finds a Python, probes it, loads it, and lays out the payload.
//!
//! The supervisor calls [`find()`] with what the command line, the environment and the project say, and gets an
//! [`Interpreter`]: plain values that go into the run folder and can be printed by a dry run. The worker calls
//! [`run_python`] with it, or becomes what [`command_of`] says. In between, [`LaidOut`] puts the Python package `dray` and
//! its native module where the worker and its children import it from.
//!
//! Whether a Python does is decided here and nowhere else. This module must not know what is run: neither the
//! entrypoint, nor the arguments, nor the bootstrap of the Python package.
//!
//! The shape: candidates are listed lazily with the reason why each is considered, the probe runs one of
//! them and returns facts, a pure function judges the facts, the cache keeps them. Rejected: to derive the facts from
//! file names and ELF headers without a run, which is wrong for every launcher script and for `sitecustomize`.

mod cache;
mod candidates;
mod error;
mod facts;
mod find;
mod load;
pub mod path_text;
mod payload;
mod probe;
mod spare;
mod suitability;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use cache::{cache_folder, open_own_folder};
pub use candidates::Source;
pub use error::{InterpreterError, PayloadError};
pub use facts::Version;
pub use find::{Foreseen, Found, PassedOver, Request, Surveyed, find, find_unless, foresee, survey};
pub use load::{command_of, not_started, preload, run_python};
pub use payload::{Payload, PayloadKind};
pub use spare::LaidOut;
pub use suitability::Refusal;

/// A Python that this run can use, as the supervisor found it and the worker starts it.
///
/// Written into `run.json` by the supervisor and read back by the worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interpreter {
    /// What Python calls itself (`sys.executable`): an absolute path, with symbolic links as they are, because a
    /// virtual environment is recognised by the path that it is started with. It is the worker's `argv[0]`.
    #[serde(with = "path_text")]
    pub executable: PathBuf,
    /// The file that was asked. Differs from `executable` where that is a launcher, such as a pyenv shim.
    #[serde(with = "path_text")]
    pub candidate: PathBuf,
    /// Why it was considered.
    pub source: Source,
    /// `sys.version_info`.
    pub version: Version,
    /// `sys.version`, to be compared with a library's `Py_GetVersion()`.
    pub version_text: String,
    /// `sys.prefix`: the folder of the virtual environment, or that of the installation.
    #[serde(with = "path_text")]
    pub prefix: PathBuf,
    /// `sys.base_prefix`: the folder of the installation.
    #[serde(with = "path_text")]
    pub base_prefix: PathBuf,
    /// How the worker gets it into a process.
    pub loading: Loading,
}

impl Interpreter {
    /// Whether it is the interpreter of a virtual environment.
    pub fn is_virtual_environment(&self) -> bool {
        self.prefix != self.base_prefix
    }
}

/// How the worker gets Python into a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Loading {
    /// The worker loads the shared libpython of the same build.
    Library {
        /// The library.
        #[serde(with = "path_text")]
        library: PathBuf,
        /// `DRAY_LOADING=library` was set: a library that cannot be used is an error. Otherwise the worker then lets
        /// the interpreter host the package.
        required: bool,
    },
    /// The worker becomes the interpreter, which hosts the same package.
    Hosted {
        /// `DRAY_LOADING=hosted` was set; otherwise this interpreter has Python in its own executable.
        required: bool,
    },
}

impl fmt::Display for Loading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Loading::Library { library, .. } => write!(f, "library `{}`", library.display()),
            Loading::Hosted { required: true } => write!(f, "hosted, as `DRAY_LOADING` asks"),
            Loading::Hosted { required: false } => write!(f, "hosted, since it runs on no libpython"),
        }
    }
}

/// The value of `DRAY_LOADING`: which [`Loading`] may be chosen. For tests, and for a libpython that misbehaves.
///
/// An interpreter that runs on a libpython (those of pyenv, RHEL, the images of Docker Hub) is loaded as that library; one that
/// has Python in its own executable (Debian's and Ubuntu's, conda's, uv's) hosts, though a libpython of the same build may be
/// installed beside it. The design took that library wherever there was one. Measured on Debian 12 with what `make dist` gives,
/// a script that prints, from the command line to its first line and to the end: 0.96 and 1.01 times what `unzip && python3`
/// takes in the same rounds on two cores, and 1.01 and 1.06 with the library (medians of 100; on one, 0.98 and 1.03 or 1.04).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoadingChoice {
    /// `auto`: as the interpreter itself is linked.
    #[default]
    Auto,
    /// `library`: a Python without a libpython of its own build is refused.
    Library,
    /// `hosted`: always the interpreter's own executable.
    Hosted,
}

impl FromStr for LoadingChoice {
    type Err = InterpreterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" | "auto" => Ok(LoadingChoice::Auto),
            "library" => Ok(LoadingChoice::Library),
            "hosted" => Ok(LoadingChoice::Hosted),
            _ => Err(InterpreterError::LoadingChoice { found: text.to_owned() }),
        }
    }
}
