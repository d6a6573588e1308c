//! What a Python says of itself when it is asked.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::path_text;

/// `sys.version_info` of a Python.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u32, u32, u32, String, u32)", into = "(u32, u32, u32, String, u32)")]
pub struct Version {
    /// 3.
    pub major: u32,
    /// 11 in 3.11.2.
    pub minor: u32,
    /// 2 in 3.11.2.
    pub micro: u32,
    /// `alpha`, `beta`, `candidate` or `final`.
    pub level: String,
    /// 1 in 3.14.0rc1.
    pub serial: u32,
}

impl From<(u32, u32, u32, String, u32)> for Version {
    fn from((major, minor, micro, level, serial): (u32, u32, u32, String, u32)) -> Self {
        Version {
            major,
            minor,
            micro,
            level,
            serial,
        }
    }
}

impl From<Version> for (u32, u32, u32, String, u32) {
    fn from(version: Version) -> Self {
        (
            version.major,
            version.minor,
            version.micro,
            version.level,
            version.serial,
        )
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.micro)?;
        match self.level.as_str() {
            "alpha" => write!(f, "a{}", self.serial),
            "beta" => write!(f, "b{}", self.serial),
            "candidate" => write!(f, "rc{}", self.serial),
            _ => Ok(()),
        }
    }
}

/// The answer of `probe.py`. `build` is absent for what is refused before it matters: an old Python, or one that is not
/// CPython.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts {
    /// `sys.implementation.name`: `cpython`, `pypy`, `graalpy`.
    pub implementation: String,
    pub version: Version,
    /// `sys.version`.
    pub version_text: String,
    /// `sys.executable`; empty where Python does not know it.
    #[serde(with = "path_text")]
    pub executable: PathBuf,
    pub build: Option<Build>,
}

/// How a CPython was built and where it lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Build {
    pub pointer_bits: u32,
    /// `Py_GIL_DISABLED` of its configuration.
    pub free_threaded: bool,
    /// `sysconfig.get_platform()`, such as `linux-x86_64`.
    pub platform: String,
    /// `gnu` or `musl`.
    pub c_library: String,
    #[serde(with = "path_text")]
    pub prefix: PathBuf,
    #[serde(with = "path_text")]
    pub base_prefix: PathBuf,
    /// `sys._base_executable`: the interpreter that a virtual environment was made from.
    #[serde(with = "path_text")]
    pub base_executable: PathBuf,
    /// The libpython of the same build: the one that it is linked to, or one whose `Py_GetVersion()` is the same.
    #[serde(with = "path_text::option")]
    pub library: Option<PathBuf>,
    /// Whether the interpreter itself runs on that library, and does not have Python in its own executable.
    pub linked: bool,
    /// The files whose presence or absence decided `library`.
    #[serde(with = "path_text::list")]
    pub looked_at: Vec<PathBuf>,
}
