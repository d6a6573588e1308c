"""Which crates are linked into the executable and the native module, as cargo resolves them. Standard library only."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from steps import ROOT, StepFailed

TARGET_TRIPLE = "x86_64-unknown-linux-gnu"


@dataclass(frozen=True)
class Crate:
    """One linked crate."""

    name: str
    version: str
    license: str  # an SPDX expression
    folder: Path
    repository: Optional[str]
    sha256: Optional[str]  # of the published archive; None: it is of this repository
    dependencies: list[str] = field(default_factory=list)  # names with versions, as `title`

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{self.name} {self.version}"


def linked() -> list[Crate]:
    """The crates of both, sorted by name: no build scripts, macros or tests, and only for the platform built for.

    `cargo tree` alone resolves features as a build does; `cargo metadata` has the folders and licences.
    """
    tree = cargo("tree", "--workspace", "--target", TARGET_TRIPLE, "--edges", "normal,no-proc-macro", "--prefix", "none",
                 "--no-dedupe", "--format", "{p}")  # fmt: skip
    wanted = {tuple(line.split()[:2]) for line in tree.splitlines() if line.strip()}
    metadata = json.loads(cargo("metadata", "--format-version", "1", "--filter-platform", TARGET_TRIPLE))
    packages = {
        package["id"]: package for package in metadata["packages"] if (package["name"], f"v{package['version']}") in wanted
    }
    titles = {id_: f"{package['name']} {package['version']}" for id_, package in packages.items()}
    edges = {node["id"]: node["dependencies"] for node in metadata["resolve"]["nodes"]}
    checksums = locked_checksums()
    crates = [
        Crate(
            name=package["name"],
            version=package["version"],
            license=package["license"] or "",
            folder=Path(package["manifest_path"]).parent,
            repository=package["repository"],
            sha256=checksums.get(titles[id_]),
            dependencies=sorted(titles[other] for other in edges[id_] if other in titles),
        )
        for id_, package in packages.items()
    ]
    if len(crates) != len(wanted):
        raise StepFailed(f"cargo tree lists {len(wanted)} linked crates, cargo metadata knows {len(crates)} of them")
    return sorted(crates, key=lambda crate: crate.title)


def unixodbc_version(crates: list[Crate]) -> str:
    """The version of the driver manager's C sources in the crate `unix-odbc`."""
    (crate,) = (crate for crate in crates if crate.name == "unix-odbc")
    match = re.search(r"AC_INIT\(\[unixODBC\], *\[([^]]+)\]", (crate.folder / "unixODBC/configure.ac").read_text("utf-8"))
    if match is None:
        raise StepFailed(f"`{crate.folder}/unixODBC/configure.ac` does not name its version")
    return match[1]


def locked_checksums() -> dict[str, str]:
    """What Cargo.lock says of each crate from a registry: its title, and the SHA-256 of its archive."""
    entry = r'name = "([^"]+)"\nversion = "([^"]+)"\nsource = "[^"]+"\nchecksum = "([0-9a-f]{64})"'
    return {
        f"{name} {version}": checksum
        for name, version, checksum in re.findall(entry, (ROOT / "Cargo.lock").read_text("utf-8"))
    }


def cargo(*arguments: str) -> str:
    """What `cargo` prints; the lock file is not touched."""
    ended = subprocess.run(
        ["cargo", arguments[0], "--locked", *arguments[1:]], cwd=ROOT, capture_output=True, encoding="utf-8", check=False
    )
    if ended.returncode != 0:
        raise StepFailed(f"cargo {arguments[0]}: exit code {ended.returncode}\n{ended.stderr}")
    return ended.stdout
