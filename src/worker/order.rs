//! The worker's first steps: it waits to be told what to do, and becomes what its script is to find.
//!
//! It was started before anything was decided (`keeper.rs`), so what a process has from its birth on is set here: the
//! environment and the working directory. The supervisor's words come through a pipe, each behind its length: the libpython
//! that will most likely be needed (or nothing), then the run folder, whose `run.json` says what to do. If that says that
//! the worker is to begin early (`RunSpec::early`), then what releases it, which Python reads. If the pipe ends before that,
//! there is no run.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use super::program::Program;
use super::pump::Redirection;
use super::run_folder::RunSpec;

/// What the supervisor's words come to.
pub enum Assignment {
    /// To do this, and to end with the exit code that it gives.
    Work(Box<dyn FnOnce() -> u8>),
    /// To be this program, or, where that fails, to do this.
    Program(Box<Program>, Box<dyn FnOnce(io::Error) -> u8>),
}

impl Assignment {
    /// Does it in this process, and gives the exit code.
    pub fn carry_out(self) -> u8 {
        match self {
            Assignment::Work(work) => work(),
            Assignment::Program(program, otherwise) => otherwise(program.become_it().into()),
        }
    }
}

/// The pipes to the supervisor's pumps, as far as stdout and stderr are to lead there.
pub struct Streams {
    inlets: [PipeWriter; 2],
    redirection: Redirection,
}

impl Streams {
    /// Puts them in the place of this process's stdout and stderr. To be done before anything is printed; allocates nothing.
    ///
    /// # Errors
    /// None that dup2(2) has for descriptors that are open.
    pub fn take_place(&self) -> nix::Result<()> {
        if let Some(number) = self.redirection.stdout {
            nix::unistd::dup2_stdout(&self.inlets[number])?;
        }
        if let Some(number) = self.redirection.stderr {
            nix::unistd::dup2_stderr(&self.inlets[number])?;
        }
        Ok(())
    }
}

/// The supervisor's words, as they come.
pub struct Orders {
    /// Without a buffer, so that it can be handed down at any word.
    pipe: File,
    inlets: Option<[PipeWriter; 2]>,
}

impl Orders {
    /// What the supervisor writes to the other end of `pipe`; `inlets` lead to its pumps.
    pub fn new(pipe: OwnedFd, inlets: Option<[PipeWriter; 2]>) -> Orders {
        Orders {
            pipe: pipe.into(),
            inlets,
        }
    }

    /// What is to become this worker's stdout and stderr, once. None in a process that was started again, where that is
    /// done already.
    pub fn streams(&mut self, redirection: Redirection) -> Option<Streams> {
        let inlets = self.inlets.take()?;
        Some(Streams { inlets, redirection })
    }

    /// As [`start_again`] left them, under the number that it named on the command line.
    pub fn inherited(descriptor: RawFd) -> Orders {
        // SAFETY: it was opened for this process and its number told; nothing else here uses it.
        let pipe = unsafe { OwnedFd::from_raw_fd(descriptor) };
        // It came through exec, and goes no further.
        let _ = fcntl(pipe.as_fd(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
        Orders::new(pipe, None)
    }

    /// Hands the pipe down to the program that this process becomes, or to Python in it: the descriptor from which it reads
    /// the words that are still to come.
    ///
    /// # Errors
    /// None that a pipe has which is open.
    pub fn hand_down(self) -> io::Result<OwnedFd> {
        fcntl(self.pipe.as_fd(), FcntlArg::F_SETFD(FdFlag::empty()))?;
        Ok(self.pipe.into())
    }

    /// Waits for the next word. None: the supervisor has ended without one.
    pub fn wait(&mut self) -> Option<PathBuf> {
        let mut length = [0; 4];
        self.pipe.read_exact(&mut length).ok()?;
        let mut word = vec![0; u32::from_le_bytes(length) as usize];
        self.pipe.read_exact(&mut word).ok()?;
        Some(OsString::from_vec(word).into())
    }
}

/// A word of the supervisor's, as [`Orders::wait`] reads it.
pub(super) fn word(path: &Path) -> Vec<u8> {
    let path = path.as_os_str().as_bytes();
    // No path of the kernel's is as long as 4 GiB.
    [&(path.len() as u32).to_le_bytes(), path].concat()
}

/// Starts this process's executable anew as `COMMAND DESCRIPTOR`, with the same order and nothing foreseen: for a process
/// that has loaded what it cannot use. Returns only if that fails.
pub fn start_again(command: &CStr, run_folder: &Path) -> io::Error {
    let exec = || -> io::Result<()> {
        let (waiting, mut orders) = io::pipe()?;
        orders.write_all(&[word(Path::new("")), word(run_folder)].concat())?;
        fcntl(waiting.as_fd(), FcntlArg::F_SETFD(FdFlag::empty()))?;
        let descriptor = CString::new(waiting.as_raw_fd().to_string())?;
        // Not by path: the file may have been replaced or removed since the supervisor started.
        let executable = c"/proc/self/exe";
        let arguments = [executable, command, &descriptor];
        match nix::unistd::execv(executable, &arguments)? {}
    };
    match exec() {
        Ok(()) => io::ErrorKind::Other.into(),
        Err(error) => error,
    }
}

/// Gives this process the environment of the script.
///
/// To be called while there is one thread.
pub fn set_environment(spec: &RunSpec, run_folder: &Path) {
    let set = |name: &str, value: &OsStr| {
        // SAFETY: no other thread runs that could read the environment meanwhile.
        unsafe { std::env::set_var(name, value) }
    };
    // The payload comes first, so that no installed package of the same name is taken for it.
    let mut python_path = spec.payload.as_os_str().to_owned();
    if let Some(packages) = &spec.packages {
        python_path.push(":");
        python_path.push(packages);
    }
    let before = std::env::var_os("PYTHONPATH").filter(|before| !before.is_empty());
    for folder in before.iter().flat_map(std::env::split_paths) {
        // A worker that was started again has it there already.
        if folder != spec.payload {
            python_path.push(":");
            python_path.push(folder);
        }
    }
    set("PYTHONPATH", &python_path);
    set("DRAY_RUN", run_folder.as_os_str());
    set("DRAY_TASK_FOLDER", spec.task_folder.as_os_str());
    if let Some(id) = &spec.run_id {
        set("DRAY_RUN_ID", id.as_ref());
    }
}
