//! Zips of all kinds are read, whoever made them.

use std::io::Write;
use std::path::Path;

use super::fixtures::*;
use crate::project::{MemberKind, Project};

fn unpacked_text(zip: &[u8], path: &str) -> String {
    let place = Place::new(zip);
    place.unpack().unwrap();
    place.text(path)
}

#[test]
fn stored_and_deflated_members_come_out() {
    let long = "0123456789abcdef".repeat(100_000);
    let zip = zip(&[
        file("a.py", "print(1)\n"),
        file("long.txt", &long).deflated(),
        file("empty", "").deflated(),
    ]);
    let place = Place::new(&zip.bytes);
    let unpacked = place.unpack().unwrap();
    assert_eq!((unpacked.members, unpacked.bytes), (3, 9 + 1_600_000));
    assert_eq!(place.text("a.py"), "print(1)\n");
    assert!(place.text("long.txt") == long);
    assert_eq!(place.text("empty"), "");
}

#[test]
fn data_that_do_not_compress_come_out() {
    // Longer than a piece on both sides of the decompressor.
    let mut state = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
    .take(1_000_003)
    .collect();
    let place = Place::new(&zip(&[file("noise", &noise).deflated(), file("stored", &noise)]).bytes);
    place.unpack().unwrap();
    assert!(fs_err::read(place.tree().join("noise")).unwrap() == noise);
    assert!(fs_err::read(place.tree().join("stored")).unwrap() == noise);
}

#[test]
fn bzip2_and_zstd_come_out() {
    use zip::CompressionMethod;
    let text = (0..100_000)
        .map(|number| format!("row {number} of table\n"))
        .collect::<String>();
    for method in [
        CompressionMethod::Bzip2,
        CompressionMethod::Zstd,
        CompressionMethod::Deflated,
    ] {
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        writer.start_file("pkg/text.txt", options).unwrap();
        writer.write_all(text.as_bytes()).unwrap();
        let bytes = writer.finish().unwrap().into_inner();
        assert!(unpacked_text(&bytes, "pkg/text.txt") == text, "{method}");
    }
}

#[test]
fn deflate64_and_lzma_of_7_zip_come_out() {
    for (name, method) in [("deflate64", 9), ("lzma", 14)] {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/zips/{name}.zip"));
        let bytes = fs_err::read(fixture).unwrap();
        let central = memchr::memmem::rfind(&bytes, b"PK\x01\x02").unwrap();
        assert_eq!(bytes[central + 10], method, "the fixture is what it is said to be");
        let text = unpacked_text(&bytes, "pkg/text.txt");
        assert_eq!(text.len(), 105_775);
        assert_eq!(text.split(' ').count(), 20_000);
        assert!(text.starts_with("plan copy drone row table zip"), "{}", &text[..40]);
    }
}

#[test]
fn what_pythons_zipfile_writes_comes_out() {
    let script = r#"
import sys, zipfile
class Unseekable:
    def __init__(self, file): self.file = file
    def write(self, data): return self.file.write(data)
    def flush(self): self.file.flush()
text = "".join(f"row {n} of table\n" for n in range(100000))
for method in ("STORED", "DEFLATED", "BZIP2", "LZMA"):
    for seekable in (True, False):
        with open(f"{method}-{seekable}.zip", "wb") as file:
            with zipfile.ZipFile(file if seekable else Unseekable(file), "w", getattr(zipfile, "ZIP_" + method)) as z:
                z.writestr("übung/text.txt", text)
                with z.open("wide.txt", "w", force_zip64=True) as member:
                    member.write(b"wide")
"#;
    let folder = tempfile::tempdir().unwrap();
    let python = std::process::Command::new("python3")
        .args(["-c", script])
        .current_dir(folder.path())
        .status();
    assert!(python.expect("`python3` is needed").success());
    let text: String = (0..100_000).map(|number| format!("row {number} of table\n")).collect();
    for method in ["STORED", "DEFLATED", "BZIP2", "LZMA"] {
        for seekable in ["True", "False"] {
            let place = Place::new(&fs_err::read(folder.path().join(format!("{method}-{seekable}.zip"))).unwrap());
            place.unpack().unwrap();
            assert!(place.text("übung/text.txt") == text, "{method} {seekable}");
            assert_eq!(place.text("wide.txt"), "wide", "{method} {seekable}");
        }
    }
}

#[test]
fn zip64_records_are_read() {
    let layout = Layout {
        zip64: true,
        ..Layout::default()
    };
    let zip = zip_with(&[file("a.py", "print(1)\n"), file("b/c.txt", "c").deflated()], &layout);
    assert_eq!(paths(&zip), ["a.py", "b/c.txt"]);
    assert_eq!(unpacked_text(&zip.bytes, "b/c.txt"), "c");
}

#[test]
fn more_than_65535_members_are_read_with_zip64_and_without() {
    let entries: Vec<Entry> = (0..65_540)
        .map(|number| file(format!("d{}/f{number}", number % 100), ""))
        .collect();
    for zip64 in [true, false] {
        let zip = zip_with(
            &entries,
            &Layout {
                zip64,
                ..Layout::default()
            },
        );
        assert_eq!(
            Place::new(&zip.bytes).open().unwrap().members().len(),
            65_540,
            "zip64: {zip64}"
        );
    }
}

#[test]
fn data_descriptors_are_read() {
    let descriptor = |entry: Entry| Entry {
        data_descriptor: true,
        ..entry
    };
    let zip = zip(&[
        descriptor(file("a", "stored")),
        descriptor(file("b", "deflated").deflated()),
    ]);
    assert_eq!(unpacked_text(&zip.bytes, "a"), "stored");
    assert_eq!(unpacked_text(&zip.bytes, "b"), "deflated");
}

#[test]
fn a_prefix_before_the_archive_is_passed_over() {
    let prefix = b"#!/usr/bin/env python3\n".to_vec();
    for zip64 in [false, true] {
        let layout = Layout {
            prefix: prefix.clone(),
            zip64,
            ..Layout::default()
        };
        let zip = zip_with(&[file("__main__.py", "print(1)\n")], &layout);
        assert_eq!(unpacked_text(&zip.bytes, "__main__.py"), "print(1)\n", "zip64: {zip64}");
    }
}

#[test]
fn a_prefix_with_corrected_offsets_is_passed_over() {
    // As `zip -A` leaves it: the offsets count from the start of the file.
    let mut zip = zip(&[file("a", "a")]);
    let prefix = b"#!/bin/sh\n";
    let shift = prefix.len() as u32;
    for at in [zip.directory_offset + 42, zip.end_offset + 16] {
        let value = u32::from_le_bytes(zip.bytes[at..at + 4].try_into().unwrap()) + shift;
        zip.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    zip.bytes.splice(0..0, prefix.iter().copied());
    assert_eq!(unpacked_text(&zip.bytes, "a"), "a");
}

#[test]
fn a_comment_is_passed_over_even_with_an_end_record_in_it() {
    let inner = zip(&[file("inner", "x")]).bytes;
    for comment in [b"a comment".to_vec(), [&inner[..], b" and more"].concat()] {
        let zip = zip_with(
            &[file("outer", "y")],
            &Layout {
                comment,
                ..Layout::default()
            },
        );
        assert_eq!(paths(&zip), ["outer"]);
    }
}

#[test]
fn padding_behind_the_archive_is_passed_over() {
    let mut zip = zip(&[file("a", "a")]);
    zip.bytes.extend(b"\0\0\r\n");
    assert_eq!(paths(&zip), ["a"]);
}

#[test]
fn an_empty_archive_has_no_members() {
    let place = Place::new(&zip(&[]).bytes);
    assert_eq!(place.unpack().unwrap().members, 0);
    assert!(place.tree().is_dir());
}

#[test]
fn names_are_read_in_each_of_their_encodings() {
    let unicode_path =
        |name: &str, for_name: &[u8]| [&[1][..], &crc32fast::hash(for_name).to_le_bytes(), name.as_bytes()].concat();
    let zip = zip(&[
        file("naïve.py", "").flags(1 << 11),
        file("ditto-é.py", ""),
        file(b"caf\x82.py", "").host(0),
        file("plain_fallback.py", "").extra_field(0x7075, &unicode_path("höhe.py", b"plain_fallback.py")),
        // The field belongs to an earlier name, and is stale.
        file("renamed.py", "").extra_field(0x7075, &unicode_path("old.py", b"other name")),
        file("数据/表.py", "").flags(1 << 11),
    ]);
    assert_eq!(
        paths(&zip),
        [
            "naïve.py",
            "ditto-é.py",
            "café.py",
            "höhe.py",
            "renamed.py",
            "数据/表.py"
        ]
    );
    let place = Place::new(&zip.bytes);
    place.unpack().unwrap();
    assert!(place.tree().join("数据/表.py").is_file());
}

#[test]
fn backslashes_of_windows_separate_folders() {
    let windows = zip(&[
        file(r"pkg\sub\mod.py", "x").host(0),
        folder(r"empty\").host(0).mode(0),
        file("a/b", ""),
    ]);
    assert_eq!(paths(&windows), ["pkg/sub/mod.py", "empty", "a/b"]);
    let place = Place::new(&windows.bytes);
    place.unpack().unwrap();
    assert_eq!(place.text("pkg/sub/mod.py"), "x");
    assert!(place.tree().join("empty").is_dir());
    // A writer on Windows that claims to be Unix, known by the lack of any `/`.
    assert_eq!(
        paths(&zip(&[file(r"pkg\mod.py", ""), file("main.py", "")])),
        ["pkg/mod.py", "main.py"]
    );
    // Unix: a character like any other.
    assert_eq!(paths(&zip(&[file(r"a\x2db", ""), file("c/d", "")])), [r"a\x2db", "c/d"]);
}

#[test]
fn what_macos_adds_is_left_out() {
    let zip = zip(&[
        file("main.py", "print(1)"),
        folder("__MACOSX/"),
        file("__MACOSX/._main.py", "resource fork"),
        file("__MACOSX/pkg/._x", ""),
        file("__MACOSX.py", ""),
    ]);
    assert_eq!(paths(&zip), ["main.py", "__MACOSX.py"]);
}

#[test]
fn a_folder_may_be_there_twice_or_not_at_all() {
    let zip = zip(&[
        folder("a/"),
        file("a/x", "1"),
        folder("a/"),
        file("b/c/d/y", "2"),
        folder("./"),
    ]);
    let place = Place::new(&zip.bytes);
    place.unpack().unwrap();
    assert_eq!(
        (place.text("a/x"), place.text("b/c/d/y")),
        ("1".to_owned(), "2".to_owned())
    );
}

#[test]
fn names_that_differ_in_case_are_two_files() {
    let place = Place::new(&zip(&[file("Main.py", "M"), file("main.py", "m")]).bytes);
    place.unpack().unwrap();
    assert_eq!(
        (place.text("Main.py"), place.text("main.py")),
        ("M".to_owned(), "m".to_owned())
    );
}

#[test]
fn members_are_described_before_unpacking() {
    let zip = zip(&[
        file("run.sh", "#!/bin/sh\n").mode(0o104_755),
        folder("d/"),
        symlink("l", "d"),
    ]);
    let project = Place::new(&zip.bytes);
    let members = project.project().members().unwrap();
    assert_eq!((members[0].mode, members[0].size_bytes), (0o755, 10));
    assert_eq!(members[1].kind, MemberKind::Folder);
    assert_eq!(members[2].kind, MemberKind::Symlink { target: "d".into() });
}

#[test]
fn a_file_is_read_without_unpacking_also_through_a_link() {
    let text = "[tool.dray]\nentry = 'x.py'\n";
    let zip = zip(&[
        file("conf/p.toml", text).deflated(),
        symlink("pyproject.toml", "conf/p.toml"),
    ]);
    let place = Place::new(&zip.bytes);
    let project = place.project();
    assert_eq!(
        project.read_small("pyproject.toml", 100).unwrap().unwrap(),
        text.as_bytes()
    );
    assert_eq!(
        project.read_small("./conf/../conf/p.toml", 100).unwrap().unwrap(),
        text.as_bytes()
    );
    assert_eq!(project.read_small("conf", 100).unwrap(), None);
    assert_eq!(project.read_small("nothing", 100).unwrap(), None);
    assert_eq!(project.manifest().unwrap().entry.as_deref(), Some("x.py"));
    assert_eq!(
        refusal(project.read_small("conf/p.toml", 5)).0,
        "project.member_too_large"
    );
    assert!(place.leftovers().is_empty());
}

#[test]
fn a_folder_is_a_project_too() {
    let folder = tempfile::tempdir().unwrap();
    fs_err::create_dir_all(folder.path().join("pkg/__pycache__")).unwrap();
    fs_err::write(folder.path().join("pkg/__init__.py"), "").unwrap();
    fs_err::write(folder.path().join("main.py"), "print(1)").unwrap();
    fs_err::write(folder.path().parent().unwrap().join("outside-dray-test"), "").unwrap();
    let project = Project::open(folder.path()).unwrap();
    let paths: Vec<String> = project
        .members()
        .unwrap()
        .into_iter()
        .map(|member| member.path)
        .collect();
    assert_eq!(paths, ["main.py", "pkg", "pkg/__init__.py"]);
    assert!(project.contains("main.py") && project.contains("./pkg/../main.py"));
    assert!(!project.contains("../outside-dray-test"));
    assert_eq!(project.manifest().unwrap(), crate::project::Manifest::default());
    fs_err::remove_file(folder.path().parent().unwrap().join("outside-dray-test")).unwrap();
}
