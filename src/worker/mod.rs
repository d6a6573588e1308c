//! Starts the worker, watches it, and explains its end.
//!
//! Three processes stand behind one `dray run`. The **supervisor** is the one that was started: it decides, and writes
//! outputs.json. The **keeper** is its only child: it is the worker's parent and the subreaper of all that the worker
//! starts, so that it can find and kill every one of them, also when the supervisor itself is killed and can do nothing
//! any more. The **worker** is the keeper's child and runs Python. Supervisor and keeper talk over one socket; its end
//! is how each of them learns of the other's death.
//!
//! The keeper is a fork of the supervisor, made before anything was read; the worker is the same executable started
//! again. Both are started first of all, and the worker loads the libpython that can be foreseen while the supervisor
//! still unpacks. (Both used to be started by exec when all was ready: one exec more, 1.3 ms of 16 from command line to
//! exit code of `print('done')`, and the time that the two processes now share, another millisecond where there are two
//! CPUs.)
//!
//! Nothing here knows what the worker runs: this module sees a process, its exit status, its memory, and a run folder.

mod descendants;
mod explain;
mod keeper;
mod memory;
mod order;
mod run_folder;
mod signals;
mod watch;

pub use explain::{Observed, WorkerEnd, explain};
pub use keeper::Keeper;
pub use memory::{MemoryLimit, OomKills, memory_limit};
pub use order::{Orders, enter, start_again};
pub use run_folder::{RunFolder, RunSpec, read_spec, record_error};
pub use signals::{StopSignal, Stops};
pub use watch::{Ended, Launch, Status, Stop, WorkerError, watch};
