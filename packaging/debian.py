"""Installs the Debian or Ubuntu packages that a command needs, only those missing, as root or through sudo.

Says plainly what is missing, and how to install it, where it may not install anything itself.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from steps import StepFailed, Steps


def require(steps: Steps, packages: Sequence[str]) -> None:
    """Install those of `packages` that are missing. `apt-get update` runs only if there are any."""
    absent = missing(packages)
    if not absent:
        return
    command = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    if os.geteuid() != 0:
        if not may_use_sudo():
            raise StepFailed(
                f"these packages are missing, and neither root nor sudo is at hand: {' '.join(absent)}\n"
                f"install them as root: apt-get update && apt-get install {' '.join(absent)}"
            )
        command = ["sudo", *command]
    interactive = os.geteuid() != 0
    print(f"  missing packages: {' '.join(absent)}")
    steps.run("apt-get update", [*command, "-q", "update"], own_group=not interactive)
    steps.run(
        "apt-get install",
        [*command, "-q", "install", "-y", "--no-install-recommends", *absent],
        own_group=not interactive,
    )
    still = missing(packages)
    if still:
        raise StepFailed(f"apt-get reported success, yet these packages are missing: {' '.join(still)}")


def missing(packages: Sequence[str]) -> list[str]:
    """Those of `packages` that dpkg does not list as installed."""
    if shutil.which("dpkg-query") is None or shutil.which("apt-get") is None:
        raise StepFailed(
            f"this machine is neither Debian nor Ubuntu; what is needed goes there by these names: {' '.join(packages)}"
        )
    listed = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *packages],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
        check=False,
    ).stdout
    installed = {line.split()[0] for line in listed.splitlines() if line.endswith(" installed")}
    return [package for package in packages if package not in installed]


def may_use_sudo() -> bool:
    """Whether sudo exists and either asks nothing or has a terminal to ask on."""
    if shutil.which("sudo") is None:
        return False
    if sys.stdin is not None and sys.stdin.isatty():
        return True
    return (
        subprocess.run(
            ["sudo", "-n", "true"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
        ).returncode
        == 0
    )


def for_compiling() -> list[str]:
    """Packages without which Rust cannot link, and the C parts of some crates cannot be compiled."""
    return [] if shutil.which("cc") else ["gcc", "libc6-dev"]


def for_virtual_environments() -> list[str]:
    """Debian's own Python lacks ensurepip, and so virtual environments, until this package is there."""
    probe = subprocess.run([sys.executable, "-c", "import ensurepip, venv"], stderr=subprocess.DEVNULL, check=False)
    return [] if probe.returncode == 0 else ["python3-venv"]


def for_browsing() -> list[str]:
    """A browser without a screen. Only Debian has it as a package; elsewhere what is there has to do."""
    release = Path("/etc/os-release")
    is_debian = release.is_file() and "ID=debian" in release.read_text("utf-8").splitlines()
    return ["chromium-headless-shell"] if is_debian else []


def require_cargo() -> None:
    """Refuse to go on without a Rust toolchain, which is not installed for the user."""
    if shutil.which("cargo") is None:
        raise StepFailed(
            "`cargo` is not on PATH nor in ~/.cargo/bin; a Rust toolchain, 1.88 or newer, is needed (see https://rustup.rs)"
        )
