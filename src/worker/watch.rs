//! The supervisor's wait: hands on signals and the time limit until the worker ends.

use std::io::Write;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::Signal;

use super::keeper::{KILL_ALL, Keeper, Report, shares_group};
use super::signals::{Stops, until};
use crate::failure::{ExitCode, Failing};

/// How long the worker may run.
pub struct Limit {
    /// When the time limit is reached, if there is one.
    pub deadline: Option<Instant>,
    /// How long the worker may go on after it was told to stop.
    pub grace: Duration,
}

/// How the worker's process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// With an exit code.
    Exited(i32),
    /// By a signal.
    Signalled(i32),
    /// Unknown: the keeper was killed from outside, and the worker with it.
    KeeperKilled,
}

/// Why the worker was told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The supervisor received this signal.
    Signal(Signal),
    /// The time limit was reached.
    TimeLimit,
}

/// What is known after the worker's end.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// How the process ended.
    pub status: Status,
    /// Why it was told to stop, if it was.
    pub stop: Option<Stop>,
    /// Whether it outlived the grace time and was killed.
    pub killed_after_grace: bool,
    /// Peak resident set of the largest process of the run.
    pub peak_memory_bytes: u64,
}

/// The worker could not be started.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The keeper's process did not start.
    #[error("cannot start the worker process")]
    Start(#[source] std::io::Error),
    /// The keeper runs, but the worker below it was not started.
    #[error("{0}")]
    Keeper(String),
}

impl Failing for WorkerError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Internal
    }

    fn code(&self) -> &'static str {
        "worker.not_started"
    }
}

/// Waits for the end of the worker that `keeper` has ordered to begin, and for the end of all that it started. The keeper's
/// own end, which takes a while for a process that has nothing more to do, is left to who drops it.
///
/// The first signal of `stops` is handed to the worker, later ones are ignored; the time limit counts as SIGTERM. When
/// the grace time after that is over, the worker and every descendant are killed.
///
/// # Errors
/// Only if the worker could not be started; whatever it does after that is an [`Ended`].
pub fn watch(keeper: &mut Keeper, limit: &Limit, stops: &Stops) -> Result<Ended, WorkerError> {
    let mut watched = Watch {
        keeper,
        stop: None,
        kill_at: None,
        killed_after_grace: false,
    };
    let ended = watched.run(limit, stops);
    watched.keeper.wait_for_all();
    ended
}

struct Watch<'a> {
    keeper: &'a mut Keeper,
    stop: Option<Stop>,
    kill_at: Option<Instant>,
    killed_after_grace: bool,
}

impl Watch<'_> {
    fn run(&mut self, limit: &Limit, stops: &Stops) -> Result<Ended, WorkerError> {
        loop {
            let wake_at = if self.stop.is_none() {
                limit.deadline
            } else {
                self.kill_at
            };
            if wait(self.keeper, stops, wake_at) {
                return self.end();
            }
            while let Some(received) = stops.next() {
                if self.stop.is_none() {
                    tracing::warn!(event = "run.stopping", signal = %received.signal, reason = stops.reason(), "told to stop");
                    self.begin_stop(Stop::Signal(received.signal), limit.grace);
                    if !(received.from_terminal && shares_group()) {
                        self.order(received.signal as u8);
                    }
                }
            }
            let now = Instant::now();
            if self.stop.is_none() && limit.deadline.is_some_and(|deadline| now >= deadline) {
                tracing::warn!(event = "run.time_limit", "time limit reached, stopping the script");
                self.begin_stop(Stop::TimeLimit, limit.grace);
                self.order(Signal::SIGTERM as u8);
            }
            if self.kill_at.is_some_and(|kill_at| now >= kill_at) {
                tracing::warn!(
                    event = "run.killing",
                    "grace time is over, killing the worker and all it started"
                );
                self.kill_at = None;
                self.killed_after_grace = true;
                self.order(KILL_ALL);
            }
        }
    }

    fn begin_stop(&mut self, stop: Stop, grace: Duration) {
        self.stop = Some(stop);
        self.kill_at = Some(Instant::now() + grace);
    }

    /// A keeper that is gone is noticed by the end of the socket, not here.
    fn order(&mut self, byte: u8) {
        let _ = self.keeper.socket.get_mut().write_all(&[byte]);
    }

    /// Reads the keeper's report.
    fn end(&mut self) -> Result<Ended, WorkerError> {
        let (status, peak_memory_bytes) = match self.keeper.report() {
            Some(Report::NotStarted { reason }) => return Err(WorkerError::Keeper(reason)),
            Some(Report::Ended {
                wait_status,
                peak_memory_bytes,
            }) => (decode(wait_status), peak_memory_bytes),
            Some(Report::AllEnded) | None => (Status::KeeperKilled, 0),
        };
        Ok(Ended {
            status,
            stop: self.stop,
            killed_after_grace: self.killed_after_grace,
            peak_memory_bytes,
        })
    }
}

fn decode(wait_status: i32) -> Status {
    if libc::WIFSIGNALED(wait_status) {
        Status::Signalled(libc::WTERMSIG(wait_status))
    } else {
        Status::Exited(libc::WEXITSTATUS(wait_status))
    }
}

/// Waits for the keeper, a signal, or the time; true if the keeper has something to say (or is gone).
fn wait(keeper: &Keeper, stops: &Stops, wake_at: Option<Instant>) -> bool {
    let mut events = [
        PollFd::new(keeper.socket.get_ref().as_fd(), PollFlags::POLLIN),
        PollFd::new(stops.as_fd(), PollFlags::POLLIN),
    ];
    let _ = poll(&mut events, until(wake_at));
    events[0].revents().is_some_and(|events| !events.is_empty())
}
