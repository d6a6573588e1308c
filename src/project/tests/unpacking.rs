//! The tree on disk: modes, times, links, and its appearing whole or not at all.

use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::sync::atomic::AtomicBool;

use super::fixtures::*;
use crate::project::{Limits, link_task_files};

#[test]
fn executable_bits_are_kept_and_special_bits_dropped() {
    let place = Place::new(
        &zip(&[
            file("run.sh", "").mode(0o100_755),
            file("setuid", "").mode(0o104_711),
            file("locked", "").mode(0o100_000),
            file("readonly", "").mode(0o100_444),
            file("dos", "").host(0).mode(0),
            folder("closed/").mode(0o040_000),
            folder("sticky/").mode(0o041_777),
            file("closed/inside", "x"),
        ])
        .bytes,
    );
    place.unpack().unwrap();
    for (path, mode) in [
        ("run.sh", 0o755),
        ("setuid", 0o711),
        ("locked", 0o600),
        ("readonly", 0o644),
        ("dos", 0o644),
        ("closed", 0o700),
        ("sticky", 0o777),
    ] {
        assert_eq!(place.mode(path), mode, "{path}");
    }
}

#[test]
fn modification_times_are_kept() {
    let extended = |seconds: i32| [&[3][..], &seconds.to_le_bytes()].concat();
    let entries = [
        file("new", "x").extra_field(0x5455, &extended(1_700_000_001)),
        file("dos", "x"),
        Entry {
            dos_time: 0,
            ..file("none", "x")
        },
        folder("d/").extra_field(0x5455, &extended(1_600_000_001)),
        file("d/inside", "x"),
        symlink("l", "new").extra_field(0x5455, &extended(1_500_000_001)),
    ];
    let place = Place::new(&zip(&entries).bytes);
    place.unpack().unwrap();
    let seconds = |path: &str| fs_err::symlink_metadata(place.tree().join(path)).unwrap().mtime();
    assert_eq!(seconds("new"), 1_700_000_001);
    assert_eq!(seconds("d"), 1_600_000_001);
    assert_eq!(seconds("l"), 1_500_000_001);
    let local = jiff::civil::date(2024, 5, 6)
        .at(7, 8, 10, 0)
        .to_zoned(jiff::tz::TimeZone::system())
        .unwrap();
    assert_eq!(seconds("dos"), local.timestamp().as_second());
    assert!(seconds("none") > 1_700_000_001);
}

#[test]
fn the_tree_is_the_one_that_unzip_makes() {
    if Command::new("unzip").arg("-v").output().is_err() {
        eprintln!("skipped: there is no `unzip` here");
        return;
    }
    let place = Place::new(
        &zip(&[
            folder("pkg/").mode(0o040_750),
            file("pkg/a.py", "a = 1\n".repeat(10_000)).deflated(),
            file("pkg/tool", "#!/bin/sh\n")
                .mode(0o100_755)
                .extra_field(0x5455, &[1, 1, 2, 3, 100]),
            symlink("pkg/link", "a.py"),
            file("implicit/deep/x.txt", "x"),
            file("é.txt", "é").flags(1 << 11),
        ])
        .bytes,
    );
    place.unpack().unwrap();
    let theirs = place.folder.path().join("theirs");
    let unzip = Command::new("unzip")
        .args(["-q", "p.zip", "-d", "theirs"])
        .current_dir(place.folder.path())
        .status();
    assert!(unzip.unwrap().success());
    let list = |root: &std::path::Path| {
        let arguments = [".", "-mindepth", "1", "-printf", "%P %y %s %m %T@ %l\\n"];
        let output = Command::new("find").args(arguments).current_dir(root).output().unwrap();
        let mut lines: Vec<String> = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect();
        // Implicit folders have the time of their making, and so has a link that unzip makes.
        lines.retain(|line| !line.starts_with("implicit d") && !line.starts_with("implicit/deep d"));
        for link in lines.iter_mut().filter(|line| line.contains(" l ")) {
            *link = link
                .split(' ')
                .enumerate()
                .filter(|(at, _)| *at != 4)
                .map(|(_, part)| part)
                .collect();
        }
        lines.sort();
        lines
    };
    assert!(list(&place.tree()).len() > 5);
    assert_eq!(list(&place.tree()), list(&theirs));
    let diff = Command::new("diff")
        .arg("-r")
        .args([place.tree(), theirs])
        .output()
        .unwrap();
    assert!(diff.status.success(), "{}", String::from_utf8_lossy(&diff.stdout));
}

#[test]
fn symlinks_within_the_tree_are_kept() {
    let zip = zip(&[
        file("lib/libx.so.1.2", "elf"),
        symlink("lib/libx.so.1", "libx.so.1.2"),
        symlink("lib/libx.so", "libx.so.1"),
        symlink("current", "lib"),
        symlink("deep/er/up", "../../lib/libx.so"),
        symlink("through", "current/libx.so"),
        symlink("dangling", "nowhere"),
        symlink("loop", "loop"),
    ]);
    let place = Place::new(&zip.bytes);
    place.unpack().unwrap();
    for path in ["lib/libx.so", "current/libx.so", "deep/er/up", "through"] {
        assert_eq!(place.text(path), "elf", "{path}");
    }
    assert_eq!(
        fs_err::read_link(place.tree().join("lib/libx.so")).unwrap(),
        std::path::Path::new("libx.so.1")
    );
    assert!(
        fs_err::symlink_metadata(place.tree().join("dangling"))
            .unwrap()
            .is_symlink()
    );
}

#[test]
fn a_tree_that_is_there_already_is_not_mixed_with() {
    let place = Place::new(&zip(&[file("a", "new")]).bytes);
    fs_err::create_dir(place.tree()).unwrap();
    fs_err::write(place.tree().join("stale"), "old").unwrap();
    assert_eq!(refusal(place.unpack()).0, "project.destination_exists");
    assert_eq!(place.text("stale"), "old");
    assert_eq!(place.leftovers(), ["tree"]);
}

#[test]
fn what_an_earlier_attempt_left_is_not_mixed_in() {
    let place = Place::new(&zip(&[file("a", "new")]).bytes);
    let left = place.folder.path().join("tree.unpacking-0");
    fs_err::create_dir(&left).unwrap();
    fs_err::write(left.join("stale"), "old").unwrap();
    place.unpack().unwrap();
    assert!(!place.tree().join("stale").exists());
}

#[test]
fn a_cancelled_unpacking_leaves_nothing() {
    let entries: Vec<Entry> = (0..500)
        .map(|number| file(format!("f{number}"), "x".repeat(1000)).deflated())
        .collect();
    let place = Place::new(&zip(&entries).bytes);
    let result = place
        .open()
        .unwrap()
        .unpack(&place.tree(), &Limits::default(), 2, &AtomicBool::new(true));
    assert_eq!(refusal(result).0, "project.unpacking_cancelled");
    assert!(place.leftovers().is_empty());
}

#[test]
fn one_bad_member_among_many_leaves_nothing() {
    let mut entries: Vec<Entry> = (0..500)
        .map(|number| file(format!("d{number}/f"), "x".repeat(1000)))
        .collect();
    entries[250].crc32 = Some(1);
    let place = Place::new(&zip(&entries).bytes);
    let (code, sentence) = refusal(place.unpack());
    assert_eq!(code, "project.bad_crc");
    assert!(sentence.contains("`d250/f`"), "{sentence}");
    assert!(place.leftovers().is_empty());
}

#[test]
fn any_number_of_threads_makes_the_same_tree() {
    let entries: Vec<Entry> = (0..50)
        .map(|number| file(format!("d{}/f{number}", number % 7), format!("{number}")).deflated())
        .collect();
    for threads in [1, 3, 64] {
        let place = Place::new(&zip(&entries).bytes);
        let archive = place.open().unwrap();
        archive
            .unpack(&place.tree(), &Limits::default(), threads, &AtomicBool::new(false))
            .unwrap();
        for number in 0..50 {
            assert_eq!(place.text(&format!("d{}/f{number}", number % 7)), format!("{number}"));
        }
    }
}

#[test]
fn task_files_are_linked_where_no_member_has_the_name() {
    let task = tempfile::tempdir().unwrap();
    let tree = task.path().join(".dray/run/project");
    fs_err::create_dir_all(&tree).unwrap();
    fs_err::write(tree.join("activity.json"), "the member's").unwrap();
    for name in ["activity.json", "linkedServices.json", "outputs.json", "p.zip"] {
        fs_err::write(task.path().join(name), "the task's").unwrap();
    }
    fs_err::create_dir(task.path().join("data")).unwrap();
    assert_eq!(
        link_task_files(&tree, task.path()).unwrap(),
        ["data", "linkedServices.json", "p.zip"]
    );
    assert_eq!(
        fs_err::read_to_string(tree.join("linkedServices.json")).unwrap(),
        "the task's"
    );
    assert_eq!(
        fs_err::read_to_string(tree.join("activity.json")).unwrap(),
        "the member's"
    );
    assert_eq!(
        fs_err::read_to_string(task.path().join("activity.json")).unwrap(),
        "the task's"
    );
    assert!(!tree.join("outputs.json").exists() && !tree.join(".dray").exists());
}
