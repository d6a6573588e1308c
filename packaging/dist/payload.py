"""Appends the payload to the executable, as a zip archive: the Python package `dray` with its native module, and the
licences of all that is linked in. Standard library only.
"""

from __future__ import annotations

import shutil
import time
import zipfile
from pathlib import Path

from steps import ROOT

PACKAGE = ROOT / "python" / "dray"
NATIVE_MODULE = "_native.abi3.so"


def package_files(native_module: Path) -> dict[str, Path]:
    """Every file of the installed package `dray`, by its path below the folder that is on `sys.path`."""
    sources = [path for path in PACKAGE.rglob("*") if path.suffix in {".py", ".pyi"} or path.name == "py.typed"]
    files = {path.relative_to(PACKAGE.parent).as_posix(): path for path in sources if path.is_file()}
    files[f"dray/{NATIVE_MODULE}"] = native_module
    return dict(sorted(files.items()))


def append(executable: Path, native_module: Path, licences: Path, into: Path, *, written_at: int) -> None:
    """Write `executable` with its payload to `into`; `written_at` is the time of every member, seconds since 1970."""
    part = into.with_name(into.name + ".part")
    shutil.copyfile(executable, part)
    moment = time.gmtime(max(written_at, 315_532_800))[:6]  # a zip knows no time before 1980
    with zipfile.ZipFile(part, "a", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, path in {**package_files(native_module), licences.name: licences}.items():
            member = zipfile.ZipInfo(name, moment)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = 0o100644 << 16
            archive.writestr(member, path.read_bytes())
    part.chmod(0o755)
    part.replace(into)
