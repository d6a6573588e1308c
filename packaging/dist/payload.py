"""Appends the payload to the executable, as a zip archive: the Python package `dray` with its native module, and the
licences of all that is linked in. As a program: EXECUTABLE NATIVE_MODULE LICENCES INTO SECONDS LEVEL.
"""

from __future__ import annotations

import shutil
import sys
import time
import zipfile
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

PACKAGE = ROOT / "python" / "dray"
NATIVE_MODULE = "_native.abi3.so"

# A member's method, and the version that a program needs for it (APPNOTE.TXT 4.4.5 and 4.4.3.2).
ZSTANDARD = 93
NEEDED_VERSION = 63


def package_files(native_module: Path) -> dict[str, Path]:
    """Every file of the installed package `dray`, by its path below the folder that is on `sys.path`."""
    sources = [path for path in PACKAGE.rglob("*") if path.suffix in {".py", ".pyi"} or path.name == "py.typed"]
    files = {path.relative_to(PACKAGE.parent).as_posix(): path for path in sources if path.is_file()}
    files[f"dray/{NATIVE_MODULE}"] = native_module
    return dict(sorted(files.items()))


def append(
    executable: Path, native_module: Path, licences: Path, into: Path, *, written_at: int, zstandard_level: int
) -> None:
    """Write `executable` with its payload to `into`; `written_at` is the time of every member, seconds since 1970."""
    part = into.with_name(into.name + ".part")
    shutil.copyfile(executable, part)
    moment = time.gmtime(max(written_at, 315_532_800))[:6]  # a zip knows no time before 1980
    with zipfile.ZipFile(part, "a", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, path in {**package_files(native_module), licences.name: licences}.items():
            member = zipfile.ZipInfo(name, moment)
            member.external_attr = 0o100644 << 16
            if path == native_module:
                write_zstandard(archive, member, path.read_bytes(), zstandard_level)
                continue
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, path.read_bytes())
    part.chmod(0o755)
    part.replace(into)


def write_zstandard(archive: zipfile.ZipFile, member: zipfile.ZipInfo, content: bytes, level: int) -> None:
    """Write a member by method 93, which `zipfile` knows from Python 3.14 on alone: a fifth smaller than deflated, and
    inflated as fast.
    """
    import zstandard

    parameters = zstandard.ZstdCompressionParameters.from_level(level, source_size=len(content), window_log=23)
    archive.writestr(member, zstandard.ZstdCompressor(compression_params=parameters).compress(content))
    # Stored so far. What `close` writes into the directory comes from here, what stands before the member is written over.
    member.compress_type, member.CRC, member.file_size = ZSTANDARD, zlib.crc32(content), len(content)
    member.create_version = member.extract_version = NEEDED_VERSION
    archive.fp.seek(member.header_offset)
    archive.fp.write(member.FileHeader(zip64=False))
    archive.fp.seek(archive.start_dir)


if __name__ == "__main__":
    *paths, moment, level = sys.argv[1:]
    append(*map(Path, paths), written_at=int(moment), zstandard_level=int(level))
