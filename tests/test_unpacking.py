"""A zip becomes the script's working directory: what is kept, what is linked, what is refused."""

from __future__ import annotations

import binascii
import os
import stat
import struct
import zipfile
from pathlib import Path
from typing import Any, Callable, Union

import pytest

WALK = """
import os
for folder, folders, files in os.walk("."):
    for name in sorted(folders + files):
        path = os.path.join(folder, name)[2:]
        s = os.lstat(path)
        kind = "l" if os.path.islink(path) else "d" if os.path.isdir(path) else "-"
        print(kind, path, oct(s.st_mode & 0o777) if kind != "l" else os.readlink(path), s.st_size if kind == "-" else "")
"""


def member(
    name: str, mode: int = stat.S_IFREG | 0o644, date: tuple[int, ...] = (2024, 2, 29, 12, 30, 58)
) -> zipfile.ZipInfo:
    """A member as a zip made on Unix has it."""
    info = zipfile.ZipInfo(name, date)
    info.create_system = 3
    info.external_attr = mode << 16 | (0x10 if stat.S_ISDIR(mode) else 0)
    return info


@pytest.fixture
def zipped(tmp_path) -> Callable[..., Path]:
    """`zipped([(name or ZipInfo, content), ...], name="p.zip")` writes a zip of exactly these members, in this order."""

    def write(members: list[tuple[Union[str, zipfile.ZipInfo], Union[str, bytes]]], name: str = "p.zip") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            for item, content in members:
                archive.writestr(item, content)
        return path

    return write


def test_modes_times_links_and_folders_are_kept(dray, task, zipped):
    members = [
        (member("main.py"), WALK),
        (member("bin/tool", stat.S_IFREG | 0o755), "x"),
        (member("private", stat.S_IFREG | 0o600), "x"),
        (member("empty/", stat.S_IFDIR | 0o755), ""),
        (member("current", stat.S_IFLNK | 0o777), "bin/tool"),
        (member("deep/up", stat.S_IFLNK | 0o777), "../bin"),
        ("__MACOSX/._main.py", "junk"),
    ]
    ran = dray("run", zipped(members), cwd=task.folder)
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    for line in (
        "- bin/tool 0o755 1",
        "- private 0o600 1",
        "l current bin/tool ",
        "l deep/up ../bin ",
        "- main.py 0o644 501",
    ):
        assert line.rsplit(" ", 1)[0] in ran.stdout, lines
    assert any(line.startswith("d empty 0o7") for line in lines)
    assert "MACOSX" not in ran.stdout
    times = "import os; print(int(os.stat('main.py').st_mtime) == int(__import__('time').mktime((2024,2,29,12,30,58,0,0,-1))))"
    ran = dray("run", zipped([(member("main.py"), times)]), cwd=task.folder)
    assert ran.stdout == "True\n", ran.stderr


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_every_compression_that_python_writes_is_read(dray, task, tmp_path, method):
    path = tmp_path / "p.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("main.py", "print(len(open('data').read()))")
        archive.writestr("data", "0123456789" * 30_000)
    ran = dray("run", path, cwd=task.folder)
    assert (ran.returncode, ran.stdout) == (0, "300000\n"), ran.stderr


def test_what_stands_before_the_archive_is_skipped(dray, task, zipped):
    path = zipped([("main.py", "print('ran')")])
    path.write_bytes(b"#!/usr/bin/env python3\n" + path.read_bytes())
    ran = dray("run", path, cwd=task.folder)
    assert (ran.returncode, ran.stdout) == (0, "ran\n"), ran.stderr


def test_names_of_windows_and_names_that_are_not_ascii(dray, task, zipped):
    written_on_windows = zipfile.ZipInfo("a\\b.txt")
    written_on_windows.create_system = 0
    # On Unix a backslash is a letter of a name like any other.
    written_on_unix = member("c\\d.txt")
    source = "print(open('a/b.txt').read(), open('c\\\\d.txt').read(), open('é/ü.txt').read())"
    path = zipped([("main.py", source), (written_on_windows, "one"), (written_on_unix, "two"), ("é/ü.txt", "three")])
    ran = dray("run", path, cwd=task.folder)
    assert (ran.returncode, ran.stdout) == (0, "one two three\n"), ran.stderr


def test_more_members_than_16_bits_can_count(dray, task, tmp_path):
    path = tmp_path / "p.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("main.py", "import os; print(len(os.listdir('d')))")
        for number in range(66_000):
            archive.writestr(zipfile.ZipInfo(f"d/{number}"), b"")
    ran = dray("run", path, cwd=task.folder)
    assert (ran.returncode, ran.stdout) == (0, "66000\n"), ran.stderr


def test_a_zip_whose_path_has_blanks_and_letters_beyond_ascii(dray, task, zipped):
    path = zipped([("main.py", "print('ran')")], "my projects/Übung nº 1.zip")
    ran = dray("run", path, "main.py", cwd=task.folder)
    assert (ran.returncode, ran.stdout) == (0, "ran\n"), ran.stderr


def test_the_tasks_files_are_linked_in_where_no_member_has_the_name(dray, task, zipped):
    (task.folder / "extra.txt").write_text("extra")
    (task.folder / "reference").mkdir()
    (task.folder / "reference" / "x.txt").write_text("in a folder")
    task.write_activity({"a": 1})
    own = (task.folder / "activity.json").read_bytes()
    source = """
import os
print(open("extra.txt").read(), open("reference/x.txt").read(), open("activity.json").read(), os.path.islink("datasets.json"))
open("activity.json", "w").write("changed")
"""
    ran = dray("run", zipped([("main.py", source), ("activity.json", "the member's")]), cwd=task.folder)
    assert (ran.returncode, ran.stdout) == (0, "extra in a folder the member's True\n"), ran.stderr
    assert (task.folder / "activity.json").read_bytes() == own


def test_nothing_of_an_earlier_attempt_is_mixed_in(dray, task, zipped):
    first = zipped([("main.py", "open('made', 'w').close(); print('first')"), ("old.py", "")], "first.zip")
    second = zipped([("main.py", "import os; print(os.path.exists('made'), os.path.exists('old.py'))")], "second.zip")
    assert dray("run", first, cwd=task.folder).returncode == 0
    # A killed attempt leaves a folder behind too, half unpacked.
    leftover = task.folder / ".dray" / "20200101T000000Z-1" / "project"
    leftover.mkdir(parents=True)
    (leftover / "old.py").write_text("")
    ran = dray("run", second, cwd=task.folder)
    assert (ran.returncode, ran.stdout) == (0, "False False\n"), ran.stderr
    assert not leftover.exists()


def test_the_tree_of_a_failed_run_stays_to_be_looked_at(dray, task, zipped):
    ran = dray("run", zipped([("main.py", "open('partial.csv', 'w').write('1'); 1 / 0")]), cwd=task.folder)
    assert ran.returncode == 1
    assert [path.read_text() for path in task.folder.glob(".dray/*/project/partial.csv")] == ["1"]


# Refused


def patched(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    """The archive with each `old` replaced: names that the module zipfile would not write."""

    def change(content: bytes) -> bytes:
        assert old in content
        return content.replace(old, new)

    return change


def encrypted(content: bytes) -> bytes:
    """The archive with the flag of encryption set on its members."""
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(signature)
        while at >= 0:
            flags = struct.unpack_from("<H", content, at + offset)[0] | 1
            content = content[: at + offset] + struct.pack("<H", flags) + content[at + offset + 2 :]
            at = content.find(signature, at + 4)
    return content


def with_wrong_crc(content: bytes) -> bytes:
    """The archive with the checksum of main.py changed wherever it stands."""
    crc = struct.pack("<L", binascii.crc32(b"print(1)"))
    assert content.count(crc) == 2
    return content.replace(crc, b"\1\2\3\4")


MAIN: tuple[Any, Any] = ("main.py", "print(1)")
REFUSED: dict[str, tuple[list[tuple[Any, Any]], Any, list[str], str]] = {
    "dot dot": ([MAIN, ("../evil.py", "")], None, [], "`../evil.py` leaves the project folder"),
    "dot dot within": ([MAIN, ("a/../../evil.py", "")], None, [], "leaves the project folder"),
    "dot dot of Windows": ([MAIN, ("aa/evil", "")], patched(b"aa/evil", b"..\\evil"), [], "leaves the project folder"),
    "absolute": ([MAIN, ("/etc/evil", "")], None, [], "`/etc/evil` has an absolute name"),
    "drive": ([MAIN, ("C:/evil.py", "")], None, [], "`C:/evil.py` has a drive letter"),
    "NUL": ([MAIN, ("aXb.txt", "")], patched(b"aXb.txt", b"a\0b.txt"), [], "has a NUL byte in its name"),
    "link out": ([MAIN, (member("l", stat.S_IFLNK | 0o777), "../../x")], None, [], "`l` leaves the project folder"),
    "absolute link": ([MAIN, (member("l", stat.S_IFLNK | 0o777), "/etc/passwd")], None, [], "points to `/etc/passwd`"),
    "through a link": (
        [MAIN, (member("d", stat.S_IFLNK | 0o777), "."), ("d/x.txt", "")],
        None,
        [],
        "clash",
    ),
    "device": ([MAIN, (member("dev", stat.S_IFCHR | 0o644), "")], None, [], "`dev` is a"),
    "twice": (
        [MAIN, ("a.txt", "1"), ("b.txt", "2")],
        patched(b"b.txt", b"a.txt"),
        [],
        "`a.txt` is in the archive twice",
    ),
    "file and folder": ([MAIN, ("x", "1"), ("x/y", "2")], None, [], "clash"),
    "encrypted": ([MAIN], encrypted, [], "`main.py` is encrypted"),
    "wrong checksum": ([MAIN], with_wrong_crc, [], "`main.py` is damaged"),
    "cut off": ([MAIN, ("x", "y" * 5000)], lambda content: content[:-100], [], "cut off"),
    "no zip": ([MAIN], lambda _: b"<html>404</html>", [], "not a zip"),
    "empty": ([MAIN], lambda _: b"", [], "not a zip"),
    "tar": ([MAIN], lambda _: b"\x1f\x8b" + b"x" * 600, [], "gzip"),
    "too large": (
        [MAIN, ("x", b"\1" * 5000)],
        None,
        ["--max-unpacked-bytes", "4000"],
        "more than the limit of 4000 bytes",
    ),
    "too many": ([MAIN, ("a", ""), ("b", "")], None, ["--max-members", "2"], "3 members, more than the limit of 2"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_zip_is_refused_with_a_message_of_its_own_and_leaves_nothing(dray, task, zipped, name):
    members, change, options, said = REFUSED[name]
    path = zipped(members)
    if change:
        path.write_bytes(change(path.read_bytes()))
    task.write_activity({"a": 1})
    before = sorted(os.listdir(task.folder))
    ran = dray("run", *options, path, "main.py", cwd=task.folder)
    assert (ran.returncode, ran.stdout) == (111, ""), ran.stderr
    last = ran.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert said in last
    error = task.outputs()["dray"]["error"]
    assert error["code"].startswith("project.")
    # Nothing left behind but outputs.json: no tree, no half of one.
    assert [item for item in task.folder.glob("**/*") if "project" in item.name or item.name == "main.py"] == []
    assert sorted(set(os.listdir(task.folder)) - {".dray", "outputs.json"}) == before
    assert not (task.folder.parent / "evil.py").exists()


def test_a_bomb_is_refused_by_its_ratio(dray, task, tmp_path):
    path = tmp_path / "p.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("main.py", "print(1)")
        archive.writestr("zeros", b"\0" * 300_000_000)
    ran = dray("run", "--max-ratio", "100", path, cwd=task.folder)
    assert ran.returncode == 111
    assert "times" in ran.stderr.splitlines()[-1]
    assert list(task.folder.glob(".dray/*/project")) == []


def test_every_refusal_has_a_code_of_its_own_that_does_not_change(dray, task, zipped):
    codes = {}
    for name in ("dot dot", "absolute", "drive", "link out", "encrypted", "wrong checksum", "no zip", "too many"):
        members, change, options, _ = REFUSED[name]
        path = zipped(members)
        if change:
            path.write_bytes(change(path.read_bytes()))
        dray("run", *options, path, "main.py", cwd=task.folder)
        codes[name] = task.outputs()["dray"]["error"]["code"]
    assert len(set(codes.values())) == len(codes), codes
