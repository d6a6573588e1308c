//! The image, its limits, the disk, and which Batch task this is.

use std::path::Path;

use serde_json::Value;

use super::c_library::glibc_version;
use super::{Area, Check, Status};
use crate::activity::BatchIdentity;
use crate::worker::memory_limit;

/// Below this, a project with its packages may not fit.
const LITTLE_DISK_BYTES: u64 = 1024 * 1024 * 1024;

/// Below this, a copy with its default memory beside Python is tight.
const LITTLE_MEMORY_BYTES: u64 = 512 * 1024 * 1024;

/// The checks that need nothing but the machine. `task_folder` is where a project would be unpacked.
pub fn checks(task_folder: &Path) -> Vec<Check> {
    vec![image(), processors(), memory(), disk(task_folder), batch()]
}

/// The distribution (os-release(5)) and the C library.
fn image() -> Check {
    let release = ["/etc/os-release", "/usr/lib/os-release"]
        .iter()
        .find_map(|file| fs_err::read_to_string(file).ok())
        .unwrap_or_default();
    let value = |key: &str| {
        let mut lines = release.lines();
        let text = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(text.trim_matches(['"', '\'']).to_owned())
    };
    let name = value("PRETTY_NAME");
    let glibc = glibc_version();
    let kernel = fs_err::read_to_string("/proc/sys/kernel/osrelease");
    let text = format!(
        "{}, glibc {glibc}",
        name.as_deref().unwrap_or("a Linux without os-release")
    );
    Check::new(Area::Image, "", Status::Note, text)
        .fact("id", value("ID"))
        .fact("version_id", value("VERSION_ID"))
        .fact("name", name)
        .fact("glibc", glibc)
        .fact("kernel", kernel.ok().map(|release| release.trim().to_owned()))
}

/// As many as this process may use: its affinity, and the quota of its cgroup.
fn processors() -> Check {
    let usable = std::thread::available_parallelism().map_or(1, usize::from);
    let machine = fs_err::read_to_string("/proc/cpuinfo").map_or(0, |text| {
        text.lines().filter(|line| line.starts_with("processor")).count()
    });
    let text = match machine > usable {
        true => format!("{usable} of {machine} CPUs"),
        false => format!("{usable} CPU{}", if usable == 1 { "" } else { "s" }),
    };
    Check::new(Area::Limits, "CPU", Status::Note, text)
        .fact("usable_cpus", usable)
        .fact("machine_cpus", machine)
}

fn memory() -> Check {
    let Some(limit) = memory_limit() else {
        return Check::new(
            Area::Limits,
            "memory",
            Status::Note,
            "cannot be read from /proc".to_owned(),
        );
    };
    let status = match limit.bytes < LITTLE_MEMORY_BYTES {
        true => Status::Warning,
        false => Status::Note,
    };
    let text = format!("{}, the limit of the {}", size(limit.bytes), limit.set_by);
    Check::new(Area::Limits, "memory", status, text)
        .fact("memory_limit_bytes", limit.bytes)
        .fact("set_by", limit.set_by)
}

fn disk(task_folder: &Path) -> Check {
    let path = task_folder.display();
    match rustix::fs::statvfs(task_folder) {
        Ok(space) => {
            let free = space.f_bavail.saturating_mul(space.f_frsize);
            let whole = space.f_blocks.saturating_mul(space.f_frsize);
            let status = match free < LITTLE_DISK_BYTES {
                true => Status::Warning,
                false => Status::Note,
            };
            let text = format!("{} free of {} in {path}", size(free), size(whole));
            Check::new(Area::Disk, "", status, text)
                .fact("folder", path.to_string())
                .fact("free_bytes", free)
                .fact("whole_bytes", whole)
        }
        Err(error) => Check::new(Area::Disk, "", Status::Failed, format!("cannot use {path}: {error}")),
    }
}

fn batch() -> Check {
    let batch = BatchIdentity::from_env(|name| std::env::var_os(name));
    let ids: Vec<String> = batch
        .log_members()
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    let text = match ids.is_empty() {
        true => "not in a Batch task".to_owned(),
        false => ids.join(", "),
    };
    let mut check = Check::new(Area::Batch, "", Status::Note, text);
    check.facts = batch.to_json();
    check.facts.retain(|_, value| !matches!(value, Value::Null));
    check
}

/// A size for people.
pub fn size(bytes: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20)];
    for (unit, shift) in units {
        if bytes >> shift > 0 {
            return format!("{:.1} {unit}", bytes as f64 / 1024_f64.powi(shift / 10));
        }
    }
    format!("{bytes} bytes")
}
