//! No core dumps: one would hold every secret of the run, in a file that outlives it.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Switches core dumps off for this process and all that it starts; a script that wants one can still raise the limit.
///
/// The limit is one byte and not none: where core dumps are handed to a program (`|` in core_pattern), the kernel calls it
/// all the same for 0, and for 1 it does not (`do_coredump` in fs/coredump.c). `PR_SET_DUMPABLE` is left alone: it would
/// make /proc/self unreadable for the script and shut out py-spy and gdb.
pub fn switch_off() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_CORE) {
        let _ = setrlimit(Resource::RLIMIT_CORE, hard.min(1), hard);
    }
}
