//! SIGTERM and SIGINT, read from a file descriptor instead of handled: the supervisor has one thread that waits for
//! everything at once, and no code of it ever runs inside a signal handler.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

/// A signal that asked the run to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopSignal {
    /// SIGTERM or SIGINT.
    pub signal: Signal,
    /// Sent by the terminal (Ctrl-C), to each process of its foreground group.
    pub from_terminal: bool,
}

/// SIGTERM and SIGINT of this process, from its creation on.
pub struct Stops {
    descriptor: SignalFd,
    reason: Arc<OnceLock<String>>,
}

/// Stops the run from within, as a SIGTERM from outside would.
pub struct Stopper {
    reason: Arc<OnceLock<String>>,
}

impl Stopper {
    /// Sends this process SIGTERM; `reason` says why to whoever reads of it.
    pub fn stop(self, reason: String) {
        let _ = self.reason.set(reason);
        let _ = kill(Pid::this(), Signal::SIGTERM);
    }
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
        Ok(Stops {
            descriptor: SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?,
            reason: Arc::default(),
        })
    }

    /// What another thread can stop the run with.
    pub fn stopper(&self) -> Stopper {
        Stopper {
            reason: Arc::clone(&self.reason),
        }
    }

    /// Why a [`Stopper`] has stopped the run, if one has.
    pub fn reason(&self) -> Option<&str> {
        self.reason.get().map(String::as_str)
    }

    /// Whether a signal has come; it is still there for [`Stops::next`].
    pub fn has_come(&self) -> bool {
        let mut events = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        poll(&mut events, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// The next signal that has come, without waiting.
    pub fn next(&self) -> Option<StopSignal> {
        let information = self.descriptor.read_signal().ok().flatten()?;
        let signal = Signal::try_from(i32::try_from(information.ssi_signo).ok()?).ok()?;
        Some(StopSignal {
            signal,
            from_terminal: information.ssi_code == libc::SI_KERNEL,
        })
    }
}

impl Stops {
    /// Does `work`, whose flag is set once a signal has come, or the `deadline`; the signal is still there for
    /// [`Stops::next`].
    ///
    /// # Errors
    /// No descriptor is left for the thread that waits for signals meanwhile.
    pub fn cancelling<T>(&self, deadline: Option<Instant>, work: impl FnOnce(&AtomicBool) -> T) -> std::io::Result<T> {
        let cancel = AtomicBool::new(false);
        // Its end wakes the waiting thread at once: a run's start must not wait for a poll's time to pass.
        let (working, waiting) = UnixStream::pair()?;
        Ok(std::thread::scope(|scope| {
            scope.spawn(|| {
                let waiting = waiting;
                let mut events = [
                    PollFd::new(self.as_fd(), PollFlags::POLLIN),
                    PollFd::new(waiting.as_fd(), PollFlags::POLLIN),
                ];
                let is_over = loop {
                    match poll(&mut events, until(deadline)) {
                        Err(Errno::EINTR) => {}
                        Ok(0) if deadline.is_some_and(|deadline| Instant::now() < deadline) => {}
                        Ok(0) => break true,
                        _ => break events[0].revents().is_some_and(|events| !events.is_empty()),
                    }
                };
                cancel.store(is_over, Ordering::Relaxed);
            });
            let result = work(&cancel);
            drop(working);
            result
        }))
    }
}

/// The time to wait until `deadline`; rounded up, or the last millisecond would be spent spinning.
pub(super) fn until(deadline: Option<Instant>) -> PollTimeout {
    deadline.map_or(PollTimeout::NONE, |deadline| {
        let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
    })
}

impl AsFd for Stops {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
