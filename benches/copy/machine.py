"""Facts about the machine that times depend on, and the versions of what ran."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any


def facts(data_folder: Path) -> dict[str, Any]:
    """Processor, memory, kernel, and the file system of `data_folder`, where the servers keep their data."""
    processors = Path("/proc/cpuinfo").read_text("utf-8")
    model = re.search(r"^model name\s*: (.+)$", processors, re.M)
    memory = re.search(r"^MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text("utf-8"), re.M)
    release = platform.freedesktop_os_release() if hasattr(platform, "freedesktop_os_release") else {}
    device, kind = file_system(data_folder)
    return {
        "processor": model[1] if model else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "virtual": " hypervisor" in processors,
        "memory_bytes": int(memory[1]) * 1024 if memory else None,
        "kernel": platform.release(),
        "system": release.get("PRETTY_NAME", platform.system()),
        "file_system": kind,
        "disk": disk(device),
        "load_average_at_start": round(os.getloadavg()[0], 2),
    }


def file_system(folder: Path) -> tuple[str, str]:
    """The device and the type of the file system that a folder lies on: the longest mount point above it."""
    best = ("", "", "unknown")
    for line in Path("/proc/mounts").read_text("utf-8").splitlines():
        device, place, kind, *_ = line.split()
        inside = Path(place) == folder or Path(place) in folder.parents
        if inside and len(place) >= len(best[0]):
            best = (place, device, kind)
    return best[1], best[2]


def disk(device: str) -> str:
    """What the kernel knows of a block device: virtual, rotating or not."""
    name = Path(device).name
    rotates = Path(f"/sys/class/block/{name}/queue/rotational")
    if not rotates.is_file():
        rotates = Path(f"/sys/class/block/{name.rstrip('0123456789').rstrip('p')}/queue/rotational")
    if not rotates.is_file():
        return "unknown"
    kind = "virtual disk" if name.startswith("vd") else "disk"
    return f"{kind}, {'rotating' if rotates.read_text().strip() == '1' else 'not rotating'} as the kernel sees it"


def first_line(command: list[str]) -> str:
    """The first line that a command prints, or nothing if it cannot run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return (done.stdout.splitlines() or [""])[0]


def package_versions(packages: list[str]) -> dict[str, str]:
    """The versions of Debian packages."""
    lines = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Package}\t${Version}\n", *packages],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.splitlines()
    return dict(line.split("\t") for line in lines)


def library_versions(python: Path) -> dict[str, str]:
    """The versions of what is installed in a virtual environment."""
    code = "import importlib.metadata as m; [print(d.metadata['Name'], d.version) for d in m.distributions()]"
    lines = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False).stdout.splitlines()
    return {name: version for name, version in (line.split() for line in lines) if name not in ("pip", "setuptools")}
