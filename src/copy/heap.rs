//! Freed memory goes back to the system: the process goes on as somebody's script after the copy.

#![allow(unsafe_code)]

/// Gives back what the allocator keeps for later. glibc keeps a heap for each of several threads, and in each what lies
/// below its last live block; after a copy of long cells that was seen to be 200 MiB. Takes some milliseconds.
pub(super) fn give_back() {
    // SAFETY: without a precondition, and thread-safe (malloc_trim(3)).
    #[cfg(target_env = "gnu")]
    let _ = unsafe { libc::malloc_trim(0) };
}
