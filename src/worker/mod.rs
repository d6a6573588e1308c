//! Starts the worker, watches it, and explains its end.
//!
//! Three processes stand behind one `dray run`. The **supervisor** is the one that was started: it decides, and writes
//! outputs.json. The **keeper** is its only child: it is the worker's parent and the subreaper of all that the worker
//! starts, so that it can find and kill every one of them, also when the supervisor itself is killed and can do nothing
//! any more. The **worker** is the keeper's child and runs Python. Supervisor and keeper talk over one socket; its end
//! is how each of them learns of the other's death.
//!
//! The keeper is a fork, made first of all: nothing but the command line was parsed until then, and one thread runs. It
//! starts the worker as soon as it is known what that begins with, which is before the project is in place. Where an
//! interpreter hosts, the worker is that program, a child that never was a copy of anything; where a libpython can be
//! foreseen, it is one more fork, which loads it. Either starts Python where nothing of the project has a say in that, while
//! the supervisor still unpacks: it has **begun early**, and waits from within Python until all is in place. The
//! design has the worker be "the same executable started again", and so it was; now it is that only where another Python
//! turns out to be needed than was foreseen. A script can tell no difference: process, address space, descriptors, signals
//! and limits are its own or as they were, and nothing that the supervisor reads later is ever in its memory. What it saved
//! is the dynamic loader's work and the page faults of a second start: from command line to exit code of `print('done')`,
//! 1.3 of 16 ms for the keeper, and 0.5 of 13.2 for the worker where there are two CPUs (medians, with nothing else changed).
//!
//! Nothing here knows what the worker runs: this module sees a process, its exit status, its memory, and a run folder.

mod core_dumps;
mod descendants;
mod explain;
mod keeper;
mod memory;
mod order;
mod outlet;
mod program;
mod pump;
mod run_folder;
mod signals;
mod watch;

pub use core_dumps::switch_off as switch_off_core_dumps;
pub use explain::{Observed, WorkerEnd, explain};
pub use keeper::Keeper;
pub use memory::{MemoryLimit, OomKills, memory_limit};
pub use order::{Assignment, Orders, Streams, set_environment, start_again};
pub use program::Program;
pub use pump::{Pumps, Redirection};
pub use run_folder::{RunFolder, RunSpec, read_spec, record_error};
pub use signals::{StopSignal, Stopper, Stops};
pub use watch::{Ended, Limit, Status, Stop, WorkerError, watch};
