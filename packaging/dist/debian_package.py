"""Makes the .deb: the distributed executable as /usr/bin/dray, its licences, what changed, and completion for bash.

Run by `make dist`; needs dpkg-deb. Standard library only. Arguments: the executable, the licences, a folder to work in,
the file to write, the version, the level of compression.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

from steps import ROOT  # noqa: E402

# Of Python any version from 3.9 on will do, also one that no package installed: it is recommended, not required.
CONTROL = """Package: dray
Version: {version}
Section: database
Priority: optional
Architecture: amd64
Installed-Size: {size_kib}
Depends: libc6 (>= 2.17)
Recommends: python3 (>= 3.9)
Suggests: odbc-postgresql, odbc-mariadb, libsqliteodbc
Maintainer: the dray maintainers
Description: runs a zipped Python project as one Azure Data Factory activity
 dray runs a zipped Python project as the single command of an Azure Data
 Factory custom activity, and gives that project an exact way to copy tables
 between databases. It is one executable with its Python package inside, and
 runs under the CPython 3.9 or newer that the machine has.
"""


def main() -> int:
    """Lay out the package's root, and build it."""
    executable, licences, work, into = (Path(argument) for argument in sys.argv[1:5])
    version, level = sys.argv[5:]
    shutil.rmtree(work, ignore_errors=True)
    files = {
        "usr/bin/dray": executable.read_bytes(),
        "usr/share/bash-completion/completions/dray": completion(executable),
        "usr/share/doc/dray/copyright": licences.read_bytes(),
        "usr/share/doc/dray/changelog.gz": gzip.compress((ROOT / "CHANGELOG.md").read_bytes(), 9, mtime=0),
    }
    for name, content in files.items():
        write(work / name, content)
    (work / "usr/bin/dray").chmod(0o755)
    size_kib = sum(-(-len(content) // 1024) for content in files.values())
    write(work / "DEBIAN/control", CONTROL.format(version=version, size_kib=size_kib).encode())
    sums = "".join(f"{hashlib.md5(content).hexdigest()}  {name}\n" for name, content in sorted(files.items()))
    write(work / "DEBIAN/md5sums", sums.encode())
    # xz: what dpkg of every supported release reads.
    build = ["dpkg-deb", "--root-owner-group", "-Zxz", f"-z{level}", "--build", str(work), str(into)]
    return subprocess.run(build, check=False).returncode


def completion(executable: Path) -> bytes:
    """The completion script, as the executable itself writes it."""
    return subprocess.run([executable, "completions", "bash"], stdout=subprocess.PIPE, check=True).stdout


def write(path: Path, content: bytes) -> None:
    """Write a file that everybody may read, in folders that everybody may enter, whatever the umask."""
    missing = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        folder.chmod(0o755)
    path.write_bytes(content)
    path.chmod(0o644)


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())
