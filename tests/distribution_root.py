"""The root of a distribution with nothing but its Python: packages of the distribution's own server, unpacked, and a
command in it by chroot. No maintainer script runs, so there is no shell, no linker cache, and no registered driver.

Needs apt and dpkg; the server is the one that this machine's own apt is set up with.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

# Which releases of a distribution to run on, the one with the oldest glibc that its server still has first; in which
# components their Python is, and its package.
RELEASES = {
    "debian": {"bullseye": ("main", "python3"), "trixie": ("main", "python3")},
    "ubuntu": {"focal": ("main universe", "python3.9"), "noble": ("main", "python3")},
}
KEYRING = "/usr/share/keyrings/{distribution}-archive-keyring.gpg"

# Mounts go into a namespace of their own, and end with it.
ENTER = """
mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" || exit 125
root=$1 folder=$2
shift 2
exec unshare --root="$root" --wd="$folder" "$@"
"""


class RootUnavailable(Exception):
    """This machine cannot have such a root; the text says why."""


@dataclass(frozen=True)
class Root:
    """An unpacked root, which tests share: each works in a folder of its own in it."""

    folder: Path

    def run(self, *command: str, cwd: str, env: Optional[Mapping[str, str]] = None) -> subprocess.CompletedProcess[str]:
        """Run `command` as root of the root, in its folder `cwd`, with no environment but PATH and `env`."""
        return subprocess.run(
            [*namespaces(), "/bin/sh", "-c", ENTER, "sh", str(self.folder), cwd, *command],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **(env or {})},
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )


def namespaces() -> list[str]:
    """How this user gets namespaces of mounts and processes."""
    return ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--mount", "--pid", "--fork"]


def distribution() -> tuple[str, str]:
    """The distribution of this machine and its release's codename; empty where it is neither Debian nor Ubuntu."""
    lines = Path("/etc/os-release").read_text("utf-8") if Path("/etc/os-release").is_file() else ""
    values = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', lines, re.MULTILINE))
    return values.get("ID", ""), values.get("VERSION_CODENAME", "")


def releases() -> list[str]:
    """The codenames that `unpack` takes on this machine."""
    return list(RELEASES.get(distribution()[0], {"none": ()}))


def unpack(release: str, folder: Path, extra: Sequence[str] = ()) -> Root:
    """The root of `release` below `folder`, with its Python and all that this depends on, and the packages `extra`
    without what they depend on. Made once: what is there whole is used again.

    Raises `RootUnavailable` if this machine is no Debian or Ubuntu, may not make namespaces, or its server does not
    have the release.
    """
    if shutil.which("unshare") is None or run([*namespaces(), "mount", "-t", "proc", "proc", "/proc"]).returncode != 0:
        raise RootUnavailable("this user may not make the namespaces for a chroot")
    name, codename = distribution()
    if name not in RELEASES or shutil.which("apt-get") is None:
        raise RootUnavailable("this machine is neither Debian nor Ubuntu")
    components, python = RELEASES[name][release]
    root, made_from = folder / release, folder / f"{release}.txt"
    wanted = " ".join([python, *extra])
    if made_from.is_file() and made_from.read_text("utf-8") == wanted:
        return Root(root)
    shutil.rmtree(root, ignore_errors=True)
    work = folder / f"{release}.apt"
    apt = prepare_apt(
        work, f"deb [signed-by={KEYRING.format(distribution=name)}] {server(codename)} {release} {components}"
    )
    updated = run([*apt, "update"])
    if updated.returncode != 0:
        raise RootUnavailable(
            f"the server of this machine's packages does not have `{release}`: {updated.stderr.strip()}"
        )
    archives = work / "cache" / "archives"
    must([*apt, "--yes", "--no-install-recommends", "--download-only", "install", python])
    if extra:
        must([*apt, "download", *extra], cwd=archives)
    for directory in ("proc", "dev", "tmp"):
        (root / directory).mkdir(parents=True)
    for package in sorted(archives.glob("*.deb")):
        must(["dpkg-deb", "--extract", str(package), str(root)])
    for directory in ("bin", "sbin", "lib", "lib64"):
        # Newer releases have them below /usr alone, and the links to there in a package that no Python depends on.
        if not (root / directory).exists() and (root / "usr" / directory).is_dir():
            (root / directory).symlink_to(f"usr/{directory}")
    shutil.rmtree(work)
    made_from.write_text(wanted, "utf-8")
    return Root(root)


def server(codename: str) -> str:
    """Where this machine's apt has its own release from."""
    listed = run(["apt-get", "indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)"]).stdout
    for line in listed.splitlines():
        release, component, address = line.split(maxsplit=2)
        if (release, component) == (codename, "main"):
            return address
    raise RootUnavailable(f"apt of this machine has no server for `{codename}`")


def prepare_apt(work: Path, source: str) -> list[str]:
    """The command of an apt that has one source, and knows of no installed package."""
    shutil.rmtree(work, ignore_errors=True)
    for directory in ("lists/partial", "cache/archives/partial"):
        (work / directory).mkdir(parents=True)
    (work / "status").touch()
    (work / "sources.list").write_text(source + "\n", "utf-8")
    options = {
        "Dir::Etc::sourcelist": f"{work}/sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": f"{work}/lists",
        "Dir::State::status": f"{work}/status",
        "Dir::Cache": f"{work}/cache",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
        "Debug::NoLocking": "true",
    }
    return ["apt-get", "-q", *(part for name, value in options.items() for part in ("-o", f"{name}={value}"))]


def run(command: Sequence[str], cwd: Optional[Path] = None) -> subprocess.CompletedProcess[str]:
    """Run to the end, whatever it is."""
    return subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", timeout=300, check=False
    )


def must(command: Sequence[str], cwd: Optional[Path] = None) -> None:
    """Run what is to succeed."""
    ended = run(command, cwd)
    assert ended.returncode == 0, f"{' '.join(command)}: {ended.stderr}"
