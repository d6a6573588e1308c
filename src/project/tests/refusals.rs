//! Zips that are refused: each with its own code, and with nothing left behind.

use super::fixtures::*;
use crate::project::{Limits, Project};

/// Refused while it is opened, so before anything is written.
#[track_caller]
fn refused_when_opened(zip: &[u8], code: &str, part: &str) {
    let place = Place::new(zip);
    let (actual, sentence) = refusal(place.open());
    assert_eq!(actual, code, "{sentence}");
    assert!(sentence.contains(part), "{sentence}");
    assert!(sentence.contains("p.zip"), "{sentence}");
    assert!(place.leftovers().is_empty());
}

/// Opens, and is refused while it is unpacked; what was written is gone.
#[track_caller]
fn refused_when_unpacked(zip: &[u8], code: &str, part: &str) {
    let place = Place::new(zip);
    assert!(place.open().is_ok());
    let (actual, sentence) = refusal(place.unpack());
    assert_eq!(actual, code, "{sentence}");
    assert!(sentence.contains(part), "{sentence}");
    assert_eq!(place.leftovers(), Vec::<String>::new());
}

#[test]
fn a_member_with_an_absolute_name_is_refused() {
    refused_when_opened(
        &zip(&[file("/etc/cron.d/x", "")]).bytes,
        "project.member_absolute",
        "`/etc/cron.d/x`",
    );
}

#[test]
fn a_member_with_a_drive_letter_is_refused() {
    refused_when_opened(
        &zip(&[file(r"C:\x.py", "").host(0)]).bytes,
        "project.member_drive_letter",
        r"`C:\x.py`",
    );
}

#[test]
fn a_member_with_dotdot_is_refused() {
    for name in ["../x", "a/../../x", "a/../b", r"..\x"] {
        refused_when_opened(&zip(&[file(name, "")]).bytes, "project.member_leaves_tree", name);
    }
    // Also where the rest of the folder would be left out.
    refused_when_opened(
        &zip(&[file("__MACOSX/../../x", "")]).bytes,
        "project.member_leaves_tree",
        "__MACOSX",
    );
}

#[test]
fn a_member_with_a_nul_is_refused() {
    refused_when_opened(
        &zip(&[file("a.py\0.txt", "")]).bytes,
        "project.member_name_nul",
        "`a.py\\u{0}.txt`",
    );
}

#[test]
fn a_name_that_is_not_the_utf8_that_it_claims_is_refused() {
    refused_when_opened(
        &zip(&[file(b"\xff", "").flags(1 << 11)]).bytes,
        "project.member_name_invalid",
        "UTF-8",
    );
}

#[test]
fn a_unicode_path_is_judged_like_the_name() {
    let content = [&[1][..], &crc32fast::hash(b"safe").to_le_bytes(), b"../evil"].concat();
    let entry = file("safe", "").extra_field(0x7075, &content);
    refused_when_opened(&zip(&[entry]).bytes, "project.member_leaves_tree", "../evil");
}

#[test]
fn a_symlink_that_leaves_the_tree_is_refused() {
    for (path, target) in [
        ("l", "/etc/passwd"),
        ("l", "../x"),
        ("a/b/l", "../../../x"),
        ("l", "a/../../x"),
        ("l", ".."),
    ] {
        let zip = zip(&[symlink(path, target)]);
        refused_when_opened(&zip.bytes, "project.symlink_leaves_tree", target);
    }
}

#[test]
fn a_symlink_that_leaves_the_tree_through_another_is_refused() {
    // `up` is `a/b/..`, so `a`; `up/..` is the root; `up/../..` is outside, though it has as many names as dots.
    let zip = zip(&[
        folder("a/b/"),
        symlink("a/b/up", ".."),
        symlink("out", "a/b/up/../../x"),
    ]);
    refused_when_opened(&zip.bytes, "project.symlink_leaves_tree", "`out`");
}

#[test]
fn a_symlink_without_a_usable_target_is_refused() {
    refused_when_opened(&zip(&[symlink("l", "")]).bytes, "project.symlink_invalid", "empty");
    refused_when_opened(&zip(&[symlink("l", "a\0b")]).bytes, "project.symlink_invalid", "NUL");
    refused_when_opened(
        &zip(&[symlink("l", &"x".repeat(5000))]).bytes,
        "project.symlink_invalid",
        "4095",
    );
}

#[test]
fn a_member_below_a_symlink_is_refused() {
    let zip = zip(&[folder("real/"), symlink("link", "real"), file("link/x", "")]);
    refused_when_opened(&zip.bytes, "project.member_clash", "`link/x`");
}

#[test]
fn a_duplicate_is_refused() {
    let zip = zip(&[file("main.py", "1"), file("x", ""), file("main.py", "2")]);
    refused_when_opened(&zip.bytes, "project.member_duplicate", "`main.py`");
}

#[test]
fn names_that_mean_the_same_path_are_refused() {
    for other in ["./main.py", "pkg/../main.py", ".//main.py", "main.py/"] {
        let zip = zip(&[file("main.py", "1"), file(other, "")]);
        let code = if other.contains("..") {
            "project.member_leaves_tree"
        } else {
            "project.member_clash"
        };
        refused_when_opened(&zip.bytes, code, other);
    }
}

#[test]
fn a_file_where_a_folder_is_needed_is_refused() {
    refused_when_opened(
        &zip(&[file("a", ""), file("a/b", "")]).bytes,
        "project.member_clash",
        "`a/b`",
    );
    refused_when_opened(
        &zip(&[file("a/b/c", ""), file("a", "")]).bytes,
        "project.member_clash",
        "`a`",
    );
    refused_when_opened(
        &zip(&[folder("a/"), file("a", "")]).bytes,
        "project.member_clash",
        "`a`",
    );
}

#[test]
fn an_encrypted_member_is_refused() {
    refused_when_opened(&zip(&[file("a", "x").flags(1)]).bytes, "project.encrypted", "`a`");
    refused_when_opened(&zip(&[file("a", "x").method(99)]).bytes, "project.encrypted", "`a`");
}

#[test]
fn an_unknown_compression_method_is_refused_by_name() {
    refused_when_opened(
        &zip(&[file("a", "x").method(98)]).bytes,
        "project.compression_unsupported",
        "PPMd",
    );
    refused_when_opened(
        &zip(&[file("a", "x").method(77)]).bytes,
        "project.compression_unsupported",
        "method 77",
    );
}

#[test]
fn devices_pipes_and_sockets_are_refused() {
    for (mode, kind) in [
        (0o010_644, "named pipe"),
        (0o020_644, "character device"),
        (0o140_644, "socket"),
    ] {
        refused_when_opened(&zip(&[file("a", "").mode(mode)]).bytes, "project.member_special", kind);
    }
}

#[test]
fn files_of_another_kind_are_named() {
    for (bytes, found) in [
        (&b""[..], "empty"),
        (b"\x1f\x8b\x08\0tar.gz", "gzip"),
        (b"print('hello')\n", "another kind"),
        (
            b"\xef\xbb\xbf<?xml version=\"1.0\"?><Error><Code>AuthenticationFailed</Code></Error>",
            "XML",
        ),
        (b"<!DOCTYPE html><html>", "HTML"),
    ] {
        refused_when_opened(bytes, "project.not_a_zip", found);
    }
}

#[test]
fn an_archive_cut_off_anywhere_is_refused() {
    let zip = zip(&[
        file("a.py", "print(1)\n"),
        file("b/c.txt", "text".repeat(100)).deflated(),
    ]);
    for length in 1..zip.bytes.len() {
        let place = Place::new(&zip.bytes[..length]);
        let (code, sentence) = refusal(place.unpack());
        let expected = if length < 4 {
            "project.not_a_zip"
        } else {
            "project.truncated"
        };
        assert_eq!(code, expected, "{length} of {} bytes: {sentence}", zip.bytes.len());
        assert!(place.leftovers().is_empty());
    }
}

#[test]
fn an_archive_cut_off_behind_a_zip_within_it_does_not_pass_for_the_inner_one() {
    let inner = zip(&[file("inner.py", "print('inner')")]);
    let outer = zip(&[file("vendored.whl", &inner.bytes), file("main.py", "print('outer')")]);
    let cut = outer.data_offsets[0] + inner.bytes.len() + 7;
    refused_when_opened(&outer.bytes[..cut], "project.truncated", "end record");
}

#[test]
fn an_archive_with_bytes_missing_in_the_middle_is_refused() {
    let mut zip = zip(&[file("a", "x".repeat(1000)), file("b", "y")]);
    zip.bytes.drain(200..300);
    refused_when_opened(&zip.bytes, "project.truncated", "central directory");
}

#[test]
fn a_bad_checksum_is_refused() {
    for entry in [file("a", "content"), file("a", "content").deflated()] {
        let zip = zip(&[
            file("first", "x"),
            Entry {
                crc32: Some(0x1234_5678),
                ..entry
            },
        ]);
        refused_when_unpacked(&zip.bytes, "project.bad_crc", "12345678");
    }
}

#[test]
fn changed_data_are_refused() {
    let mut zip = zip(&[file("a", "text ".repeat(1000)).deflated()]);
    zip.bytes[zip.data_offsets[0]] = 0xff;
    refused_when_unpacked(&zip.bytes, "project.member_damaged", "deflate");
}

#[test]
fn a_deflate_stream_without_an_end_is_refused() {
    // A stored block, not the last one, and nothing behind it.
    let stream = [&[0, 3, 0, 0xfc, 0xff][..], b"abc"].concat();
    let mut zip = zip(&[Entry {
        crc32: Some(crc32fast::hash(b"abc")),
        size_bytes: Some(3),
        ..file("a", stream)
    }]);
    for at in [8, zip.directory_offset + 10] {
        zip.bytes[at] = 8;
    }
    refused_when_unpacked(&zip.bytes, "project.member_damaged", "no end");
}

#[test]
fn a_member_larger_or_smaller_than_it_says_is_refused() {
    let content = "x".repeat(1_000_000);
    let lying = |size_bytes| {
        zip(&[Entry {
            size_bytes: Some(size_bytes),
            ..file("a", &content).deflated()
        }])
        .bytes
    };
    refused_when_unpacked(&lying(10), "project.member_size_wrong", "more than the 10 bytes");
    refused_when_unpacked(&lying(1_000_001), "project.member_size_wrong", "1000000 bytes, fewer");
}

#[test]
fn headers_that_disagree_are_refused() {
    let entry = Entry {
        local_name: Some(b"evil.py".to_vec()),
        ..file("main.py", "")
    };
    refused_when_opened(&zip(&[entry]).bytes, "project.header_mismatch", "name");
    let mut other = zip(&[file("a", "x")]);
    other.bytes[8] = 8;
    refused_when_opened(&other.bytes, "project.header_mismatch", "compression method");
}

#[test]
fn members_that_share_data_are_refused() {
    let mut zip = zip(&[file("a", "x".repeat(100)), file("b", "y")]);
    // The first member's data now reach into the second.
    for at in [18, 22, zip.directory_offset + 20, zip.directory_offset + 24] {
        zip.bytes[at] = 110;
    }
    refused_when_opened(&zip.bytes, "project.members_overlap", "`b`");
}

#[test]
fn a_count_that_is_wrong_is_refused() {
    let mut zip = zip(&[file("a", ""), file("b", "")]);
    for at in [8, 10] {
        zip.bytes[zip.end_offset + at] = 1;
    }
    refused_when_opened(&zip.bytes, "project.archive_damaged", "1 members");
}

#[test]
fn a_part_of_a_split_archive_is_refused() {
    let mut zip = zip(&[file("a", "")]);
    zip.bytes[zip.end_offset + 4] = 1;
    refused_when_opened(&zip.bytes, "project.split_archive", "split");
}

#[test]
fn limits_are_enforced_before_anything_is_written() {
    let zip = zip(&[file("a", vec![0; 2_000_000]).deflated(), file("b", "b")]);
    let place = Place::new(&zip.bytes);
    let generous = Limits {
        max_ratio: 10_000,
        ..Limits::default()
    };
    let unpack = |limits: Limits| {
        place
            .open()
            .unwrap()
            .unpack(&place.tree(), &limits, 1, &std::sync::atomic::AtomicBool::new(false))
    };
    for (limits, code, numbers) in [
        (
            Limits {
                max_unpacked_bytes: 2_000_000,
                ..generous
            },
            "project.too_large",
            "2000001",
        ),
        (
            Limits {
                max_members: 1,
                ..generous
            },
            "project.too_many_members",
            "2 members",
        ),
        (
            Limits {
                max_ratio: 100,
                ..generous
            },
            "project.ratio_too_high",
            "100 times",
        ),
        (Limits::default(), "project.ratio_too_high", "500 times"),
    ] {
        let (actual, sentence) = refusal(unpack(limits));
        assert_eq!(actual, code);
        assert!(sentence.contains(numbers), "{sentence}");
        assert!(place.leftovers().is_empty());
    }
    assert!(
        unpack(Limits {
            max_unpacked_bytes: 2_000_001,
            max_members: 2,
            ..generous
        })
        .is_ok()
    );
}

#[test]
fn small_archives_are_not_judged_for_their_ratio() {
    let place = Place::new(&zip(&[file("a", vec![0; 900_000]).deflated()]).bytes);
    assert!(place.unpack().is_ok());
}

#[test]
fn a_tree_larger_than_the_disk_is_refused() {
    let sparse = 900_000_000_000_u64;
    let layout = Layout {
        zip64: true,
        ..Layout::default()
    };
    let mut zip = zip_with(&[file("a", vec![0; 5000]).deflated()], &layout);
    // The zip64 field of the only member starts with its unpacked size.
    let field = zip.directory_offset + 46 + 1 + 4;
    zip.bytes[field..field + 8].copy_from_slice(&(sparse * 1000).to_le_bytes());
    let place = Place::new(&zip.bytes);
    let limits = Limits {
        max_unpacked_bytes: u64::MAX,
        max_ratio: u64::MAX,
        ..Limits::default()
    };
    let cancel = std::sync::atomic::AtomicBool::new(false);
    let (code, sentence) = refusal(place.open().unwrap().unpack(&place.tree(), &limits, 1, &cancel));
    assert_eq!(code, "project.disk_full");
    assert!(sentence.contains("bytes are needed"), "{sentence}");
    assert!(place.leftovers().is_empty());
}

#[test]
fn what_is_not_there_is_said_so() {
    let (code, sentence) = refusal(Project::open(std::path::Path::new("/nonexistent/sales.zip")));
    assert_eq!(code, "project.not_found");
    assert!(sentence.contains("/nonexistent/sales.zip"), "{sentence}");
    assert_eq!(
        refusal(Project::open(std::path::Path::new("/dev/null"))).0,
        "project.not_a_project"
    );
}

#[test]
fn no_changed_byte_makes_it_panic_or_leaves_anything_behind() {
    for zip64 in [false, true] {
        let entries = [
            file("main.py", "print(1)\n").deflated(),
            folder("pkg/"),
            file("pkg/a", "a").extra_field(0x5455, &[1, 1, 2, 3, 4]),
            symlink("l", "pkg/a"),
        ];
        let zip = zip_with(
            &entries,
            &Layout {
                zip64,
                ..Layout::default()
            },
        );
        let mut refused = 0;
        for at in 0..zip.bytes.len() {
            for value in [0xff, zip.bytes[at] ^ 1] {
                let mut bytes = zip.bytes.clone();
                bytes[at] = value;
                let place = Place::new(&bytes);
                if place.unpack().is_err() {
                    refused += 1;
                    assert!(place.leftovers().is_empty(), "byte {at} is {value}");
                }
            }
        }
        assert!(refused > zip.bytes.len() / 2, "{refused} of {} bytes", zip.bytes.len());
    }
}
