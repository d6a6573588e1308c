//! How much memory the worker may use here, and how often the kernel has killed a process for want of it.

use std::path::{Path, PathBuf};

/// The smallest limit that holds for this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimit {
    /// The limit in bytes.
    pub bytes: u64,
    /// Who sets it: `machine` or `cgroup`.
    pub set_by: &'static str,
}

/// The machine's memory, or a smaller limit of this process's cgroup or one above it (cgroup v2 `memory.max`, v1
/// `memory.limit_in_bytes`). None if /proc cannot be read.
pub fn memory_limit() -> Option<MemoryLimit> {
    let machine = machine_memory_bytes(&fs_err::read_to_string("/proc/meminfo").ok()?)?;
    let cgroup = cgroup_folders()
        .iter()
        .flat_map(|folder| [folder.join("memory.max"), folder.join("memory.limit_in_bytes")])
        .filter_map(|file| fs_err::read_to_string(file).ok()?.trim().parse::<u64>().ok())
        .min();
    Some(match cgroup {
        // Version 1 says "no limit" with a number near 2^63.
        Some(bytes) if bytes < machine => MemoryLimit {
            bytes,
            set_by: "cgroup",
        },
        _ => MemoryLimit {
            bytes: machine,
            set_by: "machine",
        },
    })
}

/// The kernel's count of its out-of-memory kills, to be compared before and after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OomKills(u64);

impl OomKills {
    /// The count now: `oom_kill` of the innermost cgroup that has one (memory.events of v2, memory.oom_control of v1), which
    /// counts what was killed in it, whichever limit it was killed for. The cgroups above it count other tasks' processes
    /// too, and so does /proc/vmstat, which is asked only where no cgroup counts.
    pub fn now() -> OomKills {
        let cgroups = cgroup_folders();
        let mut counts = cgroups
            .iter()
            .flat_map(|folder| [folder.join("memory.events"), folder.join("memory.oom_control")])
            .chain([PathBuf::from("/proc/vmstat")])
            .filter_map(|file| counter(&fs_err::read_to_string(file).ok()?, "oom_kill"));
        OomKills(counts.next().unwrap_or(0))
    }

    /// Whether the kernel has killed for want of memory since `before`.
    pub fn since(self, before: OomKills) -> bool {
        self.0 > before.0
    }
}

fn counter(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

fn machine_memory_bytes(meminfo: &str) -> Option<u64> {
    let kib = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"))?;
    Some(kib.trim().parse::<u64>().ok()? * 1024)
}

/// This process's memory cgroup and those above it, innermost first, as folders below /sys/fs/cgroup.
fn cgroup_folders() -> Vec<PathBuf> {
    let Ok(text) = fs_err::read_to_string("/proc/self/cgroup") else {
        return Vec::new();
    };
    let mut folders = Vec::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let root = match controllers {
            "" => Path::new("/sys/fs/cgroup").to_path_buf(),
            names if names.split(',').any(|name| name == "memory") => Path::new("/sys/fs/cgroup/memory").to_path_buf(),
            _ => continue,
        };
        let own = root.join(path.trim_start_matches('/'));
        folders.extend(
            own.ancestors()
                .take_while(|folder| folder.starts_with(&root))
                .map(Path::to_path_buf),
        );
    }
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_not_taken_from_a_line_whose_name_only_begins_alike() {
        assert_eq!(counter("oom 3\noom_kill 2\noom_group_kill 9\n", "oom_kill"), Some(2));
        assert_eq!(
            counter("oom_kill_disable 0\nunder_oom 0\noom_kill 4\n", "oom_kill"),
            Some(4)
        );
    }

    #[test]
    fn the_machines_memory_is_read_in_bytes() {
        assert_eq!(
            machine_memory_bytes("MemTotal:        2031616 kB\nMemFree: 1 kB\n"),
            Some(2_080_374_784)
        );
    }
}
