//! `dray __worker`: the executable started by itself, as keeper and worker.

use std::ffi::CString;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode as ProcessExitCode;

use crate::failure::ExitCode;
use crate::interpreter::load;
use crate::worker::{self, RunSpec};

/// What the interpreter runs; the rest of the start is Python (`python/dray/_worker.py`).
const BOOTSTRAP: &str = "from dray._worker import run; run()";
