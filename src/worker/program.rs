//! A program that the worker is: how a process becomes it, or gets it as a child.
//!
//! A child shares this process's memory until it is that program, as a child of posix_spawn(3) does, and so costs neither a
//! copy of the page tables nor the page faults after it: 0.3 of 13 ms of a run where both wait for one CPU. What the
//! worker's process needs from its birth on (a parent-death signal, a score for the out-of-memory killer), that function
//! cannot set.
//!
//! Foreign interfaces used: `clone` of libc with CLONE_VM and CLONE_VFORK (clone(2)), and `execv`.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::fd::OwnedFd;
use std::ptr;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, chdir};

use super::order::Streams;

/// For the calls between birth and exec, which are few and flat; glibc's posix_spawn allows them as much.
const STACK_BYTES: usize = 32 * 1024;

/// A program with all that it starts with; its environment is that of this process.
pub struct Program {
    /// Its file.
    pub executable: CString,
    /// Its arguments, the first being what it is called.
    pub arguments: Vec<CString>,
    /// Its working directory. None: that of this process.
    pub folder: Option<CString>,
    /// Where its stdout and stderr lead. None: as those of this process.
    pub streams: Option<Streams>,
    /// The signals that are blocked in it.
    pub blocked: SigSet,
    /// What it inherits beside the three streams, under the same numbers. They have been told to survive exec.
    pub descriptors: Vec<OwnedFd>,
}

impl Program {
    /// Turns this process into it. Returns only if that fails.
    pub fn become_it(&self) -> Errno {
        self.exec(&pointers(&self.arguments))
    }

    /// Starts it as a child of this process, which first does `prepare`, and waits until it is that program.
    ///
    /// `prepare` runs in the child, on this process's memory: it must not allocate, lock, or panic. All signals are to be
    /// blocked, so that no handler runs there.
    ///
    /// # Errors
    /// There is no process left, or the file cannot be executed; then there is no child.
    pub fn start(&self, prepare: &dyn Fn()) -> nix::Result<Pid> {
        let mut stack = Box::<[u8]>::new_uninit_slice(STACK_BYTES);
        let child = Child {
            program: self,
            prepare,
            arguments: pointers(&self.arguments),
            failed: Cell::new(None),
        };
        // It grows downwards, from an address that the ABI wants to be a multiple of 16.
        let top = stack.as_mut_ptr_range().end;
        let top = top.wrapping_sub(top as usize % 16);
        // SAFETY: CLONE_VFORK keeps this thread from running until the child has left this memory by exec or _exit. So the
        // stack, `child`, and what is local to this thread, such as errno, are the child's alone meanwhile.
        let pid = unsafe {
            libc::clone(
                in_child,
                top.cast(),
                libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
                ptr::from_ref(&child).cast_mut().cast(),
            )
        };
        let pid = Pid::from_raw(Errno::result(pid)?);
        match child.failed.get() {
            None => Ok(pid),
            Some(error) => {
                while waitpid(pid, None) == Err(Errno::EINTR) {}
                Err(error)
            }
        }
    }

    /// Allocates nothing: it is called in a child that shares its memory.
    fn exec(&self, arguments: &[*const c_char]) -> Errno {
        let enter = || {
            if let Some(folder) = &self.folder {
                chdir::<CStr>(folder)?;
            }
            if let Some(streams) = &self.streams {
                streams.take_place()?;
            }
            sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.blocked), None)?;
            // SAFETY: the path ends with NUL, as does each string of the list, which ends with a null pointer.
            Errno::result(unsafe { libc::execv(self.executable.as_ptr(), arguments.as_ptr()) })
        };
        enter().err().unwrap_or(Errno::UnknownErrno)
    }
}

/// What the child finds in this process's memory.
struct Child<'a> {
    program: &'a Program,
    prepare: &'a dyn Fn(),
    arguments: Vec<*const c_char>,
    /// Why it has not become the program.
    failed: Cell<Option<Errno>>,
}

/// The child's life before exec.
extern "C" fn in_child(argument: *mut c_void) -> c_int {
    // SAFETY: it is what `Program::start` gave to clone, and stays until this process is gone from its memory.
    let child = unsafe { &*argument.cast_const().cast::<Child<'_>>() };
    (child.prepare)();
    child.failed.set(Some(child.program.exec(&child.arguments)));
    // SAFETY: ends this process without the exit handlers, which are its parent's.
    unsafe { libc::_exit(127) }
}

/// As execv(3) takes a list of strings.
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    let strings = strings.iter().map(|string| string.as_ptr());
    strings.chain([ptr::null()]).collect()
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::Signal;
    use nix::sys::wait::WaitStatus;

    use super::*;

    fn shell(script: &CStr, folder: &CStr) -> Program {
        Program {
            executable: c"/bin/sh".to_owned(),
            arguments: [c"sh", c"-c", script].map(CStr::to_owned).into(),
            folder: Some(folder.to_owned()),
            streams: None,
            blocked: SigSet::empty(),
            descriptors: Vec::new(),
        }
    }

    #[test]
    fn a_child_prepares_itself_and_is_the_program_then() {
        let preparation = || {
            let _ = nix::unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0));
        };
        // $5 of stat is the process group (proc(5)).
        let script = c"test \"$(pwd)\" = / && read -r _ _ _ _ group _ < /proc/self/stat && test $group = $$ && exit 7";
        let pid = shell(script, c"/").start(&preparation).unwrap();
        assert_eq!(waitpid(pid, None), Ok(WaitStatus::Exited(pid, 7)));
    }

    #[test]
    fn what_cannot_be_started_leaves_no_child() {
        let mut program = shell(c"exit 0", c"/");
        program.executable = c"/nowhere/python".to_owned();
        assert_eq!(program.start(&|| ()), Err(Errno::ENOENT));
        assert_eq!(shell(c"exit 0", c"/nowhere").start(&|| ()), Err(Errno::ENOENT));
    }

    #[test]
    fn signals_are_blocked_as_it_says() {
        // SIGINT may be ignored from the start, as in a shell's background job.
        let mut program = shell(c"kill -USR1 $$; exit 7", c"/");
        let pid = program.start(&|| ()).unwrap();
        assert_eq!(
            waitpid(pid, None),
            Ok(WaitStatus::Signaled(pid, Signal::SIGUSR1, false))
        );
        program.blocked.add(Signal::SIGUSR1);
        let pid = program.start(&|| ()).unwrap();
        assert_eq!(waitpid(pid, None), Ok(WaitStatus::Exited(pid, 7)));
    }
}
