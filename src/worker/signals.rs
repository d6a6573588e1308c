//! SIGTERM and SIGINT, read from a file descriptor instead of handled: the supervisor has one thread that waits for
//! everything at once, and no code of it ever runs inside a signal handler.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// A signal that asked the run to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopSignal {
    /// SIGTERM or SIGINT.
    pub signal: Signal,
    /// Sent by the terminal (Ctrl-C) and thus to the worker as well, which stands in the same process group then.
    pub from_terminal: bool,
}

/// SIGTERM and SIGINT of this process, from its creation on.
pub struct Stops {
    descriptor: SignalFd,
}

impl Stops {
    /// Blocks both signals in this thread, and in all that are started from now on, and collects them.
    ///
    /// # Errors
    /// Those of signalfd(2): no descriptor or memory left.
    pub fn collect() -> nix::Result<Stops> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGTERM);
        signals.add(Signal::SIGINT);
        signals.thread_block()?;
        Ok(Stops { descriptor: SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)? })
    }

    /// The next signal that has come, without waiting.
    pub fn next(&self) -> Option<StopSignal> {
        let information = self.descriptor.read_signal().ok().flatten()?;
        let signal = Signal::try_from(i32::try_from(information.ssi_signo).ok()?).ok()?;
        Some(StopSignal { signal, from_terminal: information.ssi_code == libc::SI_KERNEL })
    }
}

impl AsFd for Stops {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
