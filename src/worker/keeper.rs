//! The keeper: the small process between supervisor and worker (see the module above for why there is one).
//!
//! It knows two things: an order is one byte from the supervisor (a signal to hand to the worker, or [`KILL_ALL`]), and
//! the end of the socket means that the supervisor is gone and everything below must go too.
#![allow(unsafe_code)]

use std::io::{self, BufRead, BufReader, IsTerminal, PipeReader, PipeWriter, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::Mode;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, getppid, setpgid, write};
use serde::{Deserialize, Serialize};

use super::descendants::{self, Children};
use super::order::{Assignment, Orders, word};
use super::signals::Stops;

/// The order to kill the worker and all its descendants; every other byte is the number of a signal for the worker.
pub const KILL_ALL: u8 = 0;

/// How long processes that the worker left behind may go on (to end their output, say) before they are killed.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// Raises the worker's badness by 30 % of the memory, so that the kernel, out of memory, takes the worker before the
/// supervisor that has to tell of it, and still takes another process first if that one is the real hog (proc(5)).
const OOM_SCORE_ADJUSTMENT: i32 = 300;

/// What the keeper says to the supervisor, one JSON object a line: two of them, or that there was nothing to keep.
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
    /// So has all that it started.
    AllEnded,
    /// The worker could not be started.
    NotStarted {
        /// What failed.
        reason: String,
    },
}

/// The supervisor's end of a keeper, and of the worker that waits below it for its orders.
///
/// Dropped, it ends both, and all that the worker has started.
pub struct Keeper {
    process: Pid,
    /// Orders go out, [`Report`]s come in. Its end is how each learns of the other's death.
    pub(super) socket: BufReader<UnixStream>,
    /// None: there are no more.
    orders: Option<PipeWriter>,
    has_foreseen: bool,
    printed: Option<[PipeReader; 2]>,
}

impl Keeper {
    /// Forks the keeper, which starts the worker as soon as `take` has made an [`Assignment`] of what [`Keeper::foresee`]
    /// and [`Keeper::order`] tell.
    ///
    /// To be called before this process starts a thread, and before it reads what the worker shall not know. `stops`
    /// blocks the signals that would end the keeper before it can clean up.
    ///
    /// # Errors
    /// No process or descriptor is left. That the worker does not start is told by the keeper's [`Report`].
    pub fn start(stops: &Stops, take: fn(Orders) -> Option<Assignment>) -> io::Result<Keeper> {
        // Should the keeper itself be killed, its children come here, and are not lost.
        prctl::set_child_subreaper(true)?;
        let (socket, keepers) = UnixStream::pair()?;
        let (waiting, orders) = io::pipe()?;
        let ((stdout, stdout_in), (stderr, stderr_in)) = (io::pipe()?, io::pipe()?);
        let inlets = [stdout_in, stderr_in];
        // SAFETY: this process has one thread, so the child's copy of every lock and allocator is in a sound state.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok(Keeper {
                process: child,
                socket: BufReader::new(socket),
                orders: Some(orders),
                has_foreseen: false,
                printed: Some([stdout, stderr]),
            }),
            ForkResult::Child => {
                // The ends of the supervisor: as long as they are open here, its death goes unseen.
                drop((socket, orders, stdout, stderr));
                close(stops.as_fd());
                keep(keepers, Orders::new(waiting.into(), Some(inlets)), take)
            }
        }
    }

    /// Tells the worker which libpython it will most likely be ordered to load, so that it can begin. At most once, and
    /// before the order.
    pub fn foresee(&mut self, library: &Path) {
        self.has_foreseen = true;
        self.tell(library);
    }

    /// The other ends of the pipes that the worker's stdout and stderr go into if it is ordered so; once.
    pub fn printed(&mut self) -> Option<[PipeReader; 2]> {
        self.printed.take()
    }

    /// Orders the worker to do what stands in `run.json` of `run_folder`.
    pub fn order(&mut self, run_folder: &Path) {
        if !self.has_foreseen {
            self.tell(Path::new(""));
        }
        self.tell(run_folder);
    }

    /// After the order, to a worker that has begun early: what it waits for, which this module knows nothing of. If that
    /// makes it start this executable anew in its place, that one needs an order of its own.
    pub fn release(&mut self, release: &[u8]) {
        self.has_foreseen = false;
        self.write(release);
    }

    fn tell(&mut self, path: &Path) {
        self.write(&word(path));
    }

    /// A worker that is gone is noticed by the keeper, not here.
    fn write(&mut self, bytes: &[u8]) {
        if let Some(orders) = &mut self.orders {
            let _ = orders.write_all(bytes);
        }
    }

    /// Its next report; none if it is gone.
    pub(super) fn report(&mut self) -> Option<Report> {
        let mut line = String::new();
        self.socket.read_line(&mut line).ok()?;
        serde_json::from_str(&line).ok()
    }

    /// After [`Report::Ended`]: waits until nothing is left of what the worker has started. The socket stays open: the end
    /// of that would tell the keeper to kill at once what may still drain.
    pub(super) fn wait_for_all(&mut self) {
        if !matches!(self.report(), Some(Report::AllEnded)) {
            // It was killed, and what it had left has come here.
            self.wait();
            descendants::kill_all();
        }
    }

    fn wait(&self) {
        while waitpid(self.process, None) == Err(Errno::EINTR) {}
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // Which of the two it looks at, waiting for orders or for the worker's end, is not known here.
        self.orders = None;
        let _ = self.socket.get_ref().shutdown(Shutdown::Both);
        self.wait();
        descendants::kill_all();
    }
}

/// The keeper's life, from the fork on.
fn keep(mut supervisor: UnixStream, orders: Orders, take: fn(Orders) -> Option<Assignment>) -> ! {
    match start(&supervisor, orders, take) {
        Ok(Some((worker, children))) => watch(&mut supervisor, worker, &children),
        // The run was refused, or the supervisor is gone.
        Ok(None) => {}
        Err(error) => say_not_started(&mut supervisor, error),
    }
    // SAFETY: ends this process without the exit handlers, which are the supervisor's.
    unsafe { libc::_exit(0) }
}

fn start(
    supervisor: &UnixStream,
    orders: Orders,
    take: fn(Orders) -> Option<Assignment>,
) -> nix::Result<Option<(Pid, SignalFd)>> {
    prctl::set_child_subreaper(true)?;
    // Whoever signals the supervisor's group must not end the keeper, which then could not clean up.
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)?;
    let mut ended = SigSet::empty();
    ended.add(Signal::SIGCHLD);
    let children = SignalFd::with_flags(&ended, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let birth = Birth::prepare();
    let Some(assignment) = take(orders) else {
        return Ok(None);
    };
    let fork = |work| fork_worker(&birth, [supervisor.as_fd(), children.as_fd()], work);
    let worker = match assignment {
        Assignment::Work(work) => fork(work)?,
        Assignment::Program(program, otherwise) => match program.start(&|| birth.apply()) {
            Ok(worker) => worker,
            Err(error) => fork(Box::new(move || otherwise(error.into())))?,
        },
    };
    // Out of the supervisor's group: `kill -9 -GROUP` on that must leave the one that cleans up.
    let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
    Ok(Some((worker, children)))
}

/// Forks this process, which has one thread, to do `work` as the worker, without the keeper's `own` descriptors.
fn fork_worker(birth: &Birth, own: [BorrowedFd; 2], work: Box<dyn FnOnce() -> u8>) -> nix::Result<Pid> {
    // SAFETY: as above.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            birth.apply();
            // What `ps` and the kernel's words about a crash call it; its command line stays the supervisor's.
            let _ = prctl::set_name(c"dray-worker");
            // An exec would have closed them.
            own.into_iter().for_each(close);
            // The supervisor blocked SIGTERM and SIGINT for itself; Python must get them.
            let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
            // With the exit handlers: those of what Python loads are among them.
            std::process::exit(i32::from(work()))
        }
    }
}

/// What a worker's process does first, decided before there is one.
struct Birth {
    keeper: Pid,
    leaves_group: bool,
    /// What the kernel shall have for its oom_score_adj. Raising one's own needs no right; it is inherited by all that the
    /// worker starts.
    oom_score_adjustment: String,
}

impl Birth {
    fn prepare() -> Birth {
        let own: i32 = fs_err::read_to_string("/proc/self/oom_score_adj")
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0);
        Birth {
            keeper: Pid::this(),
            leaves_group: !shares_group(),
            oom_score_adjustment: (own + OOM_SCORE_ADJUSTMENT).min(1000).to_string(),
        }
    }

    /// In the worker's process. Allocates nothing: the memory may be the keeper's still ([`super::program::Program::start`]).
    fn apply(&self) {
        if self.leaves_group {
            let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
        }
        let _ = prctl::set_pdeathsig(Signal::SIGKILL);
        if getppid() != self.keeper {
            // SAFETY: as in `keep`.
            unsafe { libc::_exit(1) }
        }
        if let Ok(score) = open(
            c"/proc/self/oom_score_adj",
            OFlag::O_WRONLY | OFlag::O_CLOEXEC,
            Mode::empty(),
        ) {
            let _ = write(&score, self.oom_score_adjustment.as_bytes());
        }
    }
}

/// Whether the worker is in the supervisor's process group, so that the terminal's Ctrl-C reaches it without anybody's help.
///
/// It is out of reach of signals that are meant for that group; but on a terminal the script may want to read from it (a
/// debugger), which only its foreground group may.
pub(super) fn shares_group() -> bool {
    io::stdin().is_terminal()
}

/// Closes, in a child that ends without dropping what it got from its parent, a descriptor that is none of its business.
fn close(descriptor: BorrowedFd) {
    // SAFETY: its owner is never used nor dropped in this process again.
    unsafe { libc::close(descriptor.as_raw_fd()) };
}

fn say_not_started(supervisor: &mut impl Write, error: Errno) {
    let reason = format!("cannot start the worker: {}", error.desc());
    say(supervisor, &[Report::NotStarted { reason }]);
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
            let ended = Report::Ended {
                wait_status,
                peak_memory_bytes,
            };
            // As a rule nothing is left behind, and the supervisor need not be woken twice.
            if descendants::reap() == Children::None {
                say(supervisor, &[ended, Report::AllEnded]);
                return;
            }
            say(supervisor, &[ended]);
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
    say(supervisor, &[Report::AllEnded]);
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

fn say(supervisor: &mut impl Write, reports: &[Report]) {
    let mut lines = Vec::new();
    for report in reports {
        if serde_json::to_writer(&mut lines, report).is_ok() {
            lines.push(b'\n');
        }
    }
    // A supervisor that is gone needs no report.
    let _ = supervisor.write_all(&lines);
}
