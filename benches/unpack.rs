//! Unpacking a project beside Info-ZIP's `unzip`, in one run: `cargo bench --bench unpack -- PROJECT.zip [ROUNDS]`.
//!
//! Prints the median wall time of each, in milliseconds. The zip is read once before, so that all find it in memory.
//! What one run has written goes to disk before the next starts, and no tree is removed before the end: ext4 searches
//! long for inodes that were not freed within the last seconds. A TMPDIR in memory leaves the disk out altogether.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot be made should stop")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use dray::project::{Archive, Limits};

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let Some(zip) = arguments.next().map(PathBuf::from) else {
        println!("usage: cargo bench --bench unpack -- PROJECT.zip [ROUNDS]");
        return;
    };
    let rounds: usize = arguments.next().map_or(5, |rounds| rounds.parse().unwrap());
    let folder = std::env::temp_dir().join(format!("dray-unpack-{}", std::process::id()));
    fs_err::create_dir(&folder).unwrap();
    fs_err::read(&zip).unwrap();

    let mut results: Vec<(&str, Vec<Duration>)> = ["unzip", "dray, 1 thread", "dray, 2 threads", "dray, 4 threads"]
        .map(|name| (name, Vec::new()))
        .into();
    for round in 0..rounds {
        results[0].1.push(timed(&folder.join(format!("unzip-{round}")), |tree| {
            let status = Command::new("unzip")
                .arg("-q")
                .arg(&zip)
                .arg("-d")
                .arg(tree)
                .status()
                .unwrap();
            assert!(status.success());
        }));
        for (at, threads) in [(1, 1), (2, 2), (3, 4)] {
            results[at]
                .1
                .push(timed(&folder.join(format!("dray-{threads}-{round}")), |tree| {
                    let archive = Archive::open(&zip).unwrap();
                    archive
                        .unpack(tree, &Limits::default(), threads, &AtomicBool::new(false))
                        .unwrap();
                }));
        }
    }
    fs_err::remove_dir_all(&folder).unwrap();
    for (name, times) in &mut results {
        times.sort();
        println!("{name:16} {:7.0} ms", times[times.len() / 2].as_secs_f64() * 1e3);
    }
}

fn timed(tree: &Path, unpack: impl FnOnce(&Path)) -> Duration {
    rustix::fs::sync();
    let started = Instant::now();
    unpack(tree);
    started.elapsed()
}
