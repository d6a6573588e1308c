"""What the executable and the native module need from a node, and what they give away."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

# libc's family and libgcc_s: what every Linux with glibc has.
ALLOWED = {
    "linux-vdso.so.1", "ld-linux-x86-64.so.2", "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1",
    "libgcc_s.so.1",
}  # fmt: skip

# What Microsoft's driver looks up to find the driver manager.
LOOKED_UP = {"SQLAllocEnv", "SQLFreeEnv", "SQLGetEnvAttr", "SQLGetInfo", "SQLSetConnectAttr", "SQLGetDiagRec"}


@pytest.fixture
def native_module(executable: Path) -> Path:
    return executable.parent / "libdray_native.so"


def symbols(path: Path, *options: str) -> set[str]:
    shown = subprocess.run(["nm", *options, path], capture_output=True, text=True, check=True).stdout
    return {line.split()[-1] for line in shown.splitlines() if line.strip()}


@pytest.mark.parametrize("name", ["dray", "libdray_native.so"])
def test_nothing_is_needed_but_libc_and_libgcc(executable: Path, name: str) -> None:
    shown = subprocess.run(["ldd", executable.parent / name], capture_output=True, text=True, check=True).stdout
    needed = {Path(line.split()[0]).name for line in shown.splitlines()}
    assert "libc.so.6" in needed
    assert needed <= ALLOWED


def test_the_executable_holds_neither_the_driver_manager_nor_python(executable: Path) -> None:
    names = symbols(executable)
    assert "main" in names
    assert not {name for name in names if name.startswith(("SQLDriverConnect", "SQLAllocHandle", "Py_"))}


def test_the_native_module_exports_what_python_and_bulk_copy_look_up(native_module: Path) -> None:
    exported = symbols(native_module, "-D", "--defined-only")
    assert {"PyInit__native", *LOOKED_UP} <= exported
    # Whatever else the driver manager has stays inside: a driver must not find it in place of its own.
    assert "SQLDriverConnect" not in exported
