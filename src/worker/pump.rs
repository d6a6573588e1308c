//! Pumps: what the script prints goes through a pipe and a mask on its way to this process's own stdout and stderr.
//!
//! Used only where there is something to mask, and only for streams where that makes sense ([`Redirection::decide`]); every other
//! stream is the script's own, as it was inherited. Each pipe is read by a thread of the supervisor. A line that is
//! printed wakes it at once; after that it looks again a millisecond later at the earliest, so that a script that prints
//! much does not pay for a wake-up with each line.
//!
//! Knows nothing of secrets but that a [`MaskedStream`] takes them out.

use std::fs::File;
use std::io::{self, IsTerminal, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};

use super::outlet::Outlet;
use super::signals::Stops;
use crate::telemetry::{self, MaskedStream, Passed};

/// What a pipe should hold; the kernel's limit for users without privileges (pipe(7), /proc/sys/fs/pipe-max-size).
const PIPE_BYTES: i32 = 1024 * 1024;

/// What is read at once: a part of the pipe that stays in the processor's second cache.
const PIECE_BYTES: usize = 256 * 1024;

/// A script that has printed as much as this at once will soon have printed more.
const MUCH_BYTES: usize = 64 * 1024;

/// How long a script that prints line after line is left alone.
const REST: Duration = Duration::from_millis(1);

/// How long a run that was told to stop waits for whoever reads its output.
const STOPPED_LIMIT: Duration = Duration::from_secs(2);

/// Which pipe (by its number) the script's stdout and stderr go into, none where a stream is inherited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirection {
    /// For stdout.
    pub stdout: Option<usize>,
    /// For stderr.
    pub stderr: Option<usize>,
}

impl Redirection {
    /// What to do with the streams of this process, if they are to be masked at all: a terminal stays the script's, which
    /// may want to know that it is one, and keeps nothing; what goes to /dev/null needs no mask; two streams that are one
    /// file share a pipe, so that their lines stay in order.
    pub fn decide() -> Redirection {
        let stdout = is_to_be_masked(io::stdout().as_fd(), io::stdout().is_terminal());
        let stderr = is_to_be_masked(io::stderr().as_fd(), io::stderr().is_terminal());
        Redirection {
            stdout: stdout.map(|_| 0),
            stderr: stderr.map(|file| usize::from(stdout != Some(file))),
        }
    }

    /// Whether nothing is redirected.
    pub fn is_none(&self) -> bool {
        *self == Redirection::default()
    }
}

/// The file behind a stream, by device and inode; none if it is not to be masked.
fn is_to_be_masked(stream: BorrowedFd, is_terminal: bool) -> Option<(u64, u64)> {
    let metadata = File::from(stream.try_clone_to_owned().ok()?).metadata().ok()?;
    let null = fs_err::metadata("/dev/null").map(|null| null.rdev()).ok();
    let is_null = metadata.file_type().is_char_device() && Some(metadata.rdev()) == null;
    (!is_terminal && !is_null).then(|| (metadata.dev(), metadata.ino()))
}

/// The threads that read the pipes of a run.
pub struct Pumps {
    threads: Vec<JoinHandle<()>>,
    /// Its end tells them that nothing more is to come. Written to by nobody.
    ended: Option<io::PipeWriter>,
}

impl Pumps {
    /// Starts one for each pipe that `redirection` uses; the others are closed.
    ///
    /// # Errors
    /// No descriptor or thread is left.
    pub fn start(pipes: [PipeReader; 2], redirection: Redirection) -> io::Result<Pumps> {
        let (waiting, ended) = io::pipe()?;
        let mut pumps = Pumps {
            threads: Vec::new(),
            ended: Some(ended),
        };
        for (number, pipe) in pipes.into_iter().enumerate() {
            let to_stdout = redirection.stdout == Some(number);
            if !to_stdout && redirection.stderr != Some(number) {
                continue;
            }
            // A smaller one does as well, only slower.
            let has_room = fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES)).is_ok_and(|bytes| bytes >= PIPE_BYTES / 2);
            let waiting = waiting.try_clone()?;
            let target = if to_stdout {
                io::stdout().as_fd().try_clone_to_owned()?
            } else {
                io::stderr().as_fd().try_clone_to_owned()?
            };
            let pump = Pump {
                pipe,
                ended: waiting,
                outlet: Outlet::new(target.into()),
                rest: if has_room { REST } else { REST / 10 },
            };
            let thread = std::thread::Builder::new().name("dray-pump".to_owned());
            pumps.threads.push(thread.spawn(move || pump.run())?);
        }
        Ok(pumps)
    }

    /// Waits until all that was printed has been handed on: to be called when the processes of the run have ended. One
    /// that is still there with a pipe in its hands is not waited for.
    ///
    /// If the run `was_stopped`, or is told to by one of `stops` now, a reader of the output that takes nothing is waited
    /// for two seconds at most.
    pub fn finish(mut self, was_stopped: bool, stops: &Stops) {
        self.ended = None;
        let mut give_up = was_stopped.then(|| Instant::now() + STOPPED_LIMIT);
        while self.threads.iter().any(|thread| !thread.is_finished()) {
            if give_up.is_some_and(|give_up| Instant::now() >= give_up) {
                tracing::warn!(
                    event = "run.output_lost",
                    "nobody has read the script's last output, it is dropped"
                );
                return;
            }
            if stops.next().is_some() && give_up.is_none() {
                give_up = Some(Instant::now() + STOPPED_LIMIT);
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

struct Pump {
    pipe: PipeReader,
    ended: PipeReader,
    outlet: Outlet,
    rest: Duration,
}

impl Pump {
    fn run(mut self) {
        let mut stream = MaskedStream::new(telemetry::redactor());
        let mut piece = Vec::new();
        let mut has_ended = false;
        loop {
            if !has_ended {
                has_ended = self.wait();
                if has_ended {
                    // What is in the pipe is all that is to come, whoever may still hold it open.
                    let _ = fcntl(&self.pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
                }
            }
            let kept = stream.kept().len();
            piece.resize(kept + PIECE_BYTES, 0);
            piece[..kept].copy_from_slice(stream.kept());
            let count = match self.pipe.read(&mut piece[kept..]) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && !has_ended => continue,
                Err(_) => break,
            };
            let is_much = count >= MUCH_BYTES;
            let written = match stream.pass(&piece[..kept + count]) {
                Passed::Unchanged(range) => self.outlet.write(&mut piece, range, is_much),
                Passed::Masked(masked) => {
                    let end = masked.len();
                    self.outlet.write(masked, 0..end, is_much)
                }
            };
            if let Err(error) = written {
                // Closing the pipe tells the script, as its own write would have.
                tracing::debug!(event = "run.output_closed", "{error}");
                return;
            }
            if !is_much && !has_ended {
                self.rest();
            }
        }
        let mut last = stream.finish();
        let end = last.len();
        let _ = self.outlet.write(&mut last, 0..end, false);
        let _ = self.outlet.close();
    }

    /// Waits for something to read; true if the run has ended.
    fn wait(&self) -> bool {
        let mut events = [
            PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.ended.as_fd(), PollFlags::POLLIN),
        ];
        let _ = poll(&mut events, PollTimeout::NONE);
        events[1].revents().is_some_and(|events| !events.is_empty())
    }

    /// Gives the script time to print more, unless the run ends.
    fn rest(&self) {
        let mut events = [PollFd::new(self.ended.as_fd(), PollFlags::POLLIN)];
        let duration = nix::sys::time::TimeSpec::from_duration(self.rest);
        let _ = nix::poll::ppoll(&mut events, Some(duration), None);
    }
}
