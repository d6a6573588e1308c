//! The keeper: the small process between supervisor and worker (see the module above for why there is one).
//!
//! It knows two things: an order is one byte from the supervisor (a signal to hand to the worker, or [`KILL_ALL`]), and
//! the end of the socket means that the supervisor is gone and everything below must go too.
#![allow(unsafe_code)]

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{ForkResult, Pid, fork, getppid, setpgid};
use serde::{Deserialize, Serialize};

use super::descendants::{self, Children};

/// The order to kill the worker and all its descendants; every other byte is the number of a signal for the worker.
pub const KILL_ALL: u8 = 0;

/// How long processes that the worker left behind may go on (to end their output, say) before they are killed.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// Raises the worker's badness by 30 % of the memory, so that the kernel, out of memory, takes the worker before the
/// supervisor that has to tell of it, and still takes another process first if that one is the real hog (proc(5)).
const OOM_SCORE_ADJUSTMENT: i32 = 300;

/// What the keeper says to the supervisor, one JSON object a line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "snake_case")]
pub enum Report {
    /// The worker has ended.
    Ended {
        /// The status as wait(2) gives it.
        wait_status: i32,
        /// Peak resident set of the largest process below the keeper.
        peak_memory_bytes: u64,
    },
    /// The keeper could not start the worker.
    NotStarted {
        /// What failed.
        reason: String,
    },
}

/// Turns this process into the keeper and runs `worker` in a child of it. Does not return.
///
/// This process must have one thread. `socket` is the number of the descriptor that the supervisor left open for it.
/// `own_group` puts the worker into a process group of its own, out of reach of signals that are meant for the
/// supervisor's group; without it (standard input is a terminal) the worker may read from the terminal.
pub fn keep(socket: RawFd, own_group: bool, worker: impl FnOnce() -> i32) -> ! {
    // SAFETY: the supervisor opened it for this process and told its number; nothing else here uses it.
    let mut supervisor = unsafe { UnixStream::from_raw_fd(socket) };
    // It came through exec, and goes no further.
    let _ = fcntl(supervisor.as_fd(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
    let reason = match start(own_group, worker, &supervisor) {
        Ok((worker, children)) => {
            watch(&mut supervisor, worker, &children);
            std::process::exit(0)
        }
        Err(error) => format!("cannot start the worker: {error}"),
    };
    say(&mut supervisor, &Report::NotStarted { reason });
    std::process::exit(1)
}

fn start(own_group: bool, worker: impl FnOnce() -> i32, supervisor: &UnixStream) -> nix::Result<(Pid, SignalFd)> {
    prctl::set_child_subreaper(true)?;
    // Whoever signals the supervisor's group must not end the keeper, which then could not clean up.
    let mut before = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
    let mut ended = SigSet::empty();
    ended.add(Signal::SIGCHLD);
    let children = SignalFd::with_flags(&ended, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let keeper = Pid::this();
    // SAFETY: this process has one thread, so the child's copy of every lock and allocator is in a sound state.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => {
            // Out of the supervisor's group: `kill -9 -GROUP` on that must leave the one that cleans up.
            let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
            Ok((child, children))
        }
        ForkResult::Child => {
            if own_group {
                let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
            }
            // Nobody may keep the socket open but the keeper, or its end would not be seen.
            // SAFETY: the descriptor is open, and this process does not use `supervisor` any more.
            unsafe { libc::close(supervisor.as_raw_fd()) };
            let _ = prctl::set_pdeathsig(Signal::SIGKILL);
            if getppid() != keeper {
                std::process::exit(1);
            }
            prefer_for_the_oom_killer();
            // The supervisor blocked SIGTERM and SIGINT for itself; Python must get them.
            let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
            std::process::exit(worker())
        }
    }
}

/// Raising one's own score needs no right; it is inherited by all that the worker starts.
fn prefer_for_the_oom_killer() {
    let path = "/proc/self/oom_score_adj";
    let now: i32 = fs_err::read_to_string(path)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0);
    let _ = fs_err::write(path, (now + OOM_SCORE_ADJUSTMENT).min(1000).to_string());
}

/// Hands on signals until the worker ends, reports that, lets what it left behind end too, and kills the rest.
fn watch(supervisor: &mut UnixStream, worker: Pid, children: &SignalFd) {
    let mut drain_limit = DRAIN_LIMIT;
    loop {
        match wait_for_order(supervisor, children, PollTimeout::NONE) {
            Order::Forward(signal) => {
                let _ = kill(worker, signal);
            }
            Order::KillAll => {
                // The worker first, and reaped below: its status is still wanted. The others follow without a wait.
                let _ = kill(worker, Signal::SIGKILL);
                drain_limit = Duration::ZERO;
            }
            Order::SupervisorGone => {
                descendants::kill_all();
                return;
            }
            Order::None => {}
        }
        if let Some(wait_status) = reap_worker(worker) {
            // The largest process, not the sum: what getrusage(2) keeps of reaped children. KiB on Linux.
            let peak = getrusage(UsageWho::RUSAGE_CHILDREN)
                .map(|usage| usage.max_rss())
                .unwrap_or(0);
            let peak_memory_bytes = u64::try_from(peak).unwrap_or(0) * 1024;
            say(
                supervisor,
                &Report::Ended {
                    wait_status,
                    peak_memory_bytes,
                },
            );
            break;
        }
    }
    let deadline = Instant::now() + drain_limit;
    while descendants::reap() == Children::Some {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        let order = wait_for_order(supervisor, children, timeout);
        if left.is_zero() || matches!(order, Order::KillAll | Order::SupervisorGone) {
            break;
        }
    }
    descendants::kill_all();
}

/// Reaps every child that has ended; gives the worker's wait status if it is among them.
fn reap_worker(worker: Pid) -> Option<i32> {
    loop {
        let mut wait_status = 0;
        // SAFETY: `wait_status` outlives the call. libc's call is used because the raw status is passed on.
        let pid = unsafe { libc::waitpid(-1, &mut wait_status, libc::WNOHANG) };
        if pid == worker.as_raw() {
            return Some(wait_status);
        }
        if pid == 0 || (pid < 0 && Errno::last() != Errno::EINTR) {
            return None;
        }
    }
}

enum Order {
    Forward(Signal),
    KillAll,
    SupervisorGone,
    None,
}

/// Waits for a byte from the supervisor, the end of a child, or the time.
fn wait_for_order(supervisor: &mut UnixStream, children: &SignalFd, timeout: PollTimeout) -> Order {
    let mut events = [
        PollFd::new(supervisor.as_fd(), PollFlags::POLLIN),
        PollFd::new(children.as_fd(), PollFlags::POLLIN),
    ];
    if poll(&mut events, timeout).is_err() {
        return Order::None;
    }
    let from_supervisor = events[0].revents().is_some_and(|events| !events.is_empty());
    while let Ok(Some(_)) = children.read_signal() {}
    if !from_supervisor {
        return Order::None;
    }
    let mut order = [0_u8];
    match supervisor.read(&mut order) {
        Ok(0) => Order::SupervisorGone,
        Ok(_) if order[0] == KILL_ALL => Order::KillAll,
        Ok(_) => Signal::try_from(i32::from(order[0])).map_or(Order::None, Order::Forward),
        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Order::None,
        Err(_) => Order::SupervisorGone,
    }
}

fn say(supervisor: &mut UnixStream, report: &Report) {
    if let Ok(mut line) = serde_json::to_vec(report) {
        line.push(b'\n');
        // A supervisor that is gone needs no report.
        let _ = supervisor.write_all(&line);
    }
}
