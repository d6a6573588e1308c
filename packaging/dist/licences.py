"""Writes LICENSES.txt: the licence of dray, and the text of every licence of what is linked into it.

A crate without a licence text stops the build: its terms would be broken without anybody's noticing.
Run by `make dist`. Arguments: the file to write, the folder of the ziglang package.
"""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

from crates import Crate, linked, unixodbc_version  # noqa: E402
from steps import ROOT, StepFailed  # noqa: E402

NAMED_LIKE_A_LICENCE = re.compile(r"(licen[cs]e|copying|copyright|notice|unlicense)", re.IGNORECASE)
# Offered beside the licence that the crate chose.
NOT_CHOSEN = {"zstd-sys": {"zstd/COPYING"}}
RULE = "=" * 100

HEAD = """dray {version}

This file has the licences of dray and of all that is linked into the executable `dray` and its native module:
{count} crates, unixODBC and zstd within them, Rust's standard library, and the parts of the compiler's run-time
libraries that zig links in.

unixODBC {unixodbc} is under the GNU Lesser General Public License, version 2.1 or later, and is linked statically into the
native module. Its source is {source}. To use dray with an unixODBC of your own:
unpack that crate, change what you want below its folder `unixODBC`, and build dray from the source of the same version by

    make dist UNIX_ODBC=/path/of/the/unpacked/crate

Without building the executable anew: unpack the rest of its payload (`unzip dray 'dray/*.py' -d folder`), put the module so
built into `folder/dray/_native.abi3.so`, and set DRAY_PAYLOAD=folder.
"""


def main() -> int:
    """Write the file; 1 if something has no licence text."""
    into, zig = Path(sys.argv[1]), Path(sys.argv[2])
    try:
        crates = linked()
        into.write_text(document(crates, zig), "utf-8")
    except StepFailed as error:
        print(error)
        return 1
    return 0


def document(crates: list[Crate], zig: Path) -> str:
    """The whole file. A text that several crates share stands once, under the names of all of them."""
    own = [crate for crate in crates if crate.sha256 is None and crate.folder.is_relative_to(ROOT)]
    foreign = [crate for crate in crates if crate not in own]
    (odbc,) = (crate for crate in foreign if crate.name == "unix-odbc")
    changed = ", changed by who built this" if os.environ.get("UNIX_ODBC") else ""
    source = f"in the crate unix-odbc {odbc.version}{changed}"
    sections = [
        HEAD.format(
            version=own[0].version, count=len(foreign), unixodbc=unixodbc_version(crates), source=source
        )
    ]
    sections += ["\n".join(f"{crate.title}: {crate.license}" for crate in foreign) + "\n"]
    holders: dict[str, tuple[str, list[str]]] = {}

    def add(title: str, text: str) -> None:
        _, titles = holders.setdefault(" ".join(text.split()), (text.strip("\n"), []))
        titles.append(title)

    for path in sorted(ROOT.glob("LICENSE-*")):
        add(f"dray {own[0].version}", path.read_text("utf-8"))
    for crate in foreign:
        for text in texts(crate):
            add(crate.title, text)
    add("zig: start files and compiler-rt", (zig / "LICENSE").read_text("utf-8"))
    # zig ships the one licence of LLVM's run-time libraries beside others of them.
    add("LLVM: libunwind", (zig / "lib/libcxxabi/LICENSE.TXT").read_text("utf-8"))
    add("Rust: standard library", rust_standard_library())
    sections += [f"{', '.join(dict.fromkeys(titles))}\n\n{text}\n" for text, titles in holders.values()]
    return f"\n{RULE}\n\n".join(sections)


def texts(crate: Crate) -> list[str]:
    """The licence texts in a crate's own folder and the folders in it, which hold the C sources that some crates bring."""
    found = [
        path
        for pattern in ("*", "*/*")
        for path in sorted(crate.folder.glob(pattern))
        if path.is_file()
        and NAMED_LIKE_A_LICENCE.match(path.name)
        and path.suffix not in {".rs", ".c", ".h"}
        and path.relative_to(crate.folder).as_posix() not in NOT_CHOSEN.get(crate.name, ())
    ]
    if not crate.license or not found:
        raise StepFailed(f"crate `{crate.title}` has no licence text in `{crate.folder}`; name its terms in {__file__}")
    return [path.read_text("utf-8", "replace") for path in found]


def rust_standard_library() -> str:
    """What the toolchain says of its library and the crates in it, without the mark-up."""
    sysroot = subprocess.run(["rustc", "--print", "sysroot"], capture_output=True, encoding="utf-8", check=True).stdout
    page = Path(sysroot.strip()) / "share/doc/rust/COPYRIGHT-library.html"
    if not page.is_file():
        raise StepFailed(f"`{page}` is missing: the toolchain does not bring the licences of its standard library")
    body = page.read_text("utf-8").partition("<body>")[2]
    return re.sub(r"\n\s*\n\s*\n+", "\n\n", html.unescape(re.sub(r"<[^>]+>", "", body)))


if __name__ == "__main__":
    sys.exit(main())
