//! Finds and kills every descendant of this process, read from /proc.
//!
//! A process group is not enough: a daemon leaves it with setsid. This process is a subreaper, so whatever its
//! descendants orphan becomes its child again, and a walk down from here finds all of them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// How long the kernel may take to bury a killed process (one in uninterruptible sleep may never go).
const BURIAL_LIMIT: Duration = Duration::from_secs(5);

/// Kills all descendants with SIGKILL and reaps them, again and again until none is left, for at most five seconds.
pub fn kill_all() {
    // As a rule there is none, and the walk through /proc is not needed: what its descendants orphaned would be a child.
    if reap() == Children::None {
        return;
    }
    let give_up = Instant::now() + BURIAL_LIMIT;
    // Without children there are no descendants: the usual end of a run, which costs no look at all processes.
    while reap() == Children::Some && Instant::now() < give_up {
        for pid in all() {
            // It may have ended in between, or be a setuid program that is not ours to kill.
            let _ = kill(pid, Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether this process has children left after [`reap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Children {
    /// At least one is alive.
    Some,
    /// There is none.
    None,
}

/// Reaps every child that has ended, without waiting.
pub fn reap() -> Children {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return Children::Some,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return Children::None,
        }
    }
}

/// All living descendants of this process, in no order.
fn all() -> Vec<Pid> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    let Ok(entries) = fs_err::read_dir("/proc") else {
        return Vec::new();
    };
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let Ok(stat) = fs_err::read(entry.path().join("stat")) else {
            continue;
        };
        if let Some(parent) = parent_of(&stat) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut open = vec![Pid::this().as_raw()];
    while let Some(pid) = open.pop() {
        for child in children.remove(&pid).unwrap_or_default() {
            found.push(Pid::from_raw(child));
            open.push(child);
        }
    }
    found
}

/// The parent's id in `/proc/PID/stat`, none for a zombie; the second field is the program's name in parentheses, which
/// may itself hold blanks and parentheses (proc_pid_stat(5)).
fn parent_of(stat: &[u8]) -> Option<i32> {
    let after_name = &stat[memchr::memrchr(b')', stat)? + 1..];
    let mut fields = std::str::from_utf8(after_name).ok()?.split_ascii_whitespace();
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    fields.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_read_behind_a_name_with_blanks_and_parentheses() {
        assert_eq!(parent_of(b"12 (a b) c) S 7 12 12 0 -1"), Some(7));
    }

    #[test]
    fn a_zombie_is_not_counted_as_alive() {
        assert_eq!(parent_of(b"12 (python3) Z 7 12 12 0 -1"), None);
    }
}
