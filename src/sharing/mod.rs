//! What the processes of one run share in memory: secrets and tokens that one of them has fetched, the secrets that one of
//! them has learnt, and, with `--scrub`, the files of ADF that are no longer on disk.
//!
//! The supervisor serves them ([`serve`]) at a socket in the run folder, which only this user can enter; every other
//! process of the run, forked, spawned or started by a script, is a client ([`Sharing`]) for as long as it finds the
//! folder. Each question is a connection of its own, so that nothing is shared by a fork. A secret is known to the supervisor
//! before a client has its value or goes on: whatever is printed of it later is masked.
//!
//! Knows nothing of Azure, of the log, or of what the texts mean. Nothing of it ever touches a disk.

mod client;
mod server;
mod values;

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use client::{Fetched, Sharing};
pub use server::{Served, serve};

/// The socket's name in the run folder.
const SOCKET: &str = "shared";

/// What a client says; one JSON object on a line.
#[derive(Serialize, Deserialize)]
enum Request {
    /// These are secrets, to be masked from now on.
    Known(Vec<String>),
    /// The value of this key, which another process may have.
    Fetch(String),
    /// Behind [`Reply::Yours`]: the value, and until when it holds (seconds of Unix time; `None`: to the end of the run).
    Fetched(String, Option<u64>),
    /// The files that were taken off the disk.
    Files,
}

/// What the server says.
#[derive(Serialize, Deserialize)]
enum Reply {
    /// It is done.
    Done,
    /// The value of the key.
    Value(String),
    /// Nobody has it: the client is to fetch it, while all others who ask wait. If it hangs up, the next one is to.
    Yours,
    /// Names and contents, none if the files are on the disk.
    Files(Option<Vec<(String, String)>>),
}

/// A path to the socket that is short enough for an address (108 bytes, unix(7)) however deep the run folder lies; holds
/// as long as the folder that comes with it is open.
fn address(run_folder: &Path) -> std::io::Result<(File, PathBuf)> {
    let folder = fs_err::File::open(run_folder)?.into_file();
    let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()));
    Ok((folder, path))
}

#[cfg(test)]
mod tests;
