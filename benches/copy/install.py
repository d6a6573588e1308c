"""Installs what the bench needs and the peers, by package name, at pinned versions; says which versions there are."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

import debian
import machine
import virtual_environment
from peers import Peer, sling_program
from steps import ROOT, TARGET, StepFailed, Steps

HERE = Path(__file__).resolve().parent
FOLDER = TARGET / "bench"
SERVERS = ["postgresql", "mariadb-server"]
CLIENTS = ["postgresql-client", "mariadb-client", "sqlite3"]
DRIVERS = ["odbc-postgresql", "odbc-mariadb", "libsqliteodbc", "unixodbc"]
ODBC2PARQUET = "11.0.1"


def everything(steps: Steps, peers: Iterable[Peer], *, install_peers: bool, with_sqlserver: bool) -> list[str]:
    """Install, and give the names of those peers that can run. Without `install_peers` only what the bench itself needs
    is installed, and the peers are those that were installed before.
    With `with_sqlserver` the bench itself needs a client and a driver for that.
    """
    if sys.version_info < (3, 11):
        raise StepFailed("the pinned peers need Python 3.11 or newer; name another: make bench PYTHON=...")
    names = [peer.name for peer in peers]
    packages = [*SERVERS, *CLIENTS, *DRIVERS, *debian.for_compiling(), *debian.for_virtual_environments()]
    if install_peers and "pgloader" in names:
        packages.append("pgloader")
    if install_peers and "freebcp" in names:
        packages.append("freetds-bin")
    if install_peers and "odbc2parquet" in names:
        packages.append("unixodbc-dev")
    debian.require(steps, packages)
    steps.run("cargo build --release", ["cargo", "build", "--release", "--workspace", "--locked"])
    environment(steps, "bench")
    if with_sqlserver:
        environment(steps, "sqlserver")
    if install_peers:
        for name in dict.fromkeys(peer.requirements for peer in peers if peer.requirements):
            environment(steps, name)
        if "odbc2parquet" in names and not odbc2parquet_program().is_file():
            # Its own lock file: what it was released with.
            command = ["cargo", "install", "--locked", "--root", str(FOLDER / "cargo"), "odbc2parquet"]
            steps.run("cargo install odbc2parquet", [*command, "--version", ODBC2PARQUET], cwd=FOLDER)
    return [peer.name for peer in peers if is_installed(peer)]


def environment(steps: Steps, name: str) -> Path:
    """The interpreter of the virtual environment for `requirements/<name>.txt`."""
    folder = FOLDER / f"venv-{name}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    return virtual_environment.prepare(steps, folder, HERE / "requirements" / f"{name}.txt")


def is_installed(peer: Peer) -> bool:
    """Whether a peer can be started."""
    if peer.requirements is not None:
        return (FOLDER / f"venv-{peer.requirements}" / "made-from.txt").is_file()
    if peer.name == "pgloader":
        return not debian.missing(["pgloader"])
    if peer.name == "freebcp":
        return not debian.missing(["freetds-bin"])
    return peer.name != "odbc2parquet" or odbc2parquet_program().is_file()


def odbc2parquet_program() -> Path:
    """Where cargo puts it."""
    return FOLDER / "cargo" / "bin" / "odbc2parquet"


def versions(names: Iterable[str], *, with_sqlserver: bool) -> dict[str, dict[str, str]]:
    """Versions of the servers, their clients and drivers, and of every peer of `names`."""
    wanted = list(names)
    packages = machine.package_versions([*SERVERS, *CLIENTS, *DRIVERS, "libpq5", "libmariadb3"])
    found = {
        "dray": {"dray": machine.first_line([str(ROOT / "target/release/dray"), "--version"]), "commit": commit()},
        "databases": {
            "PostgreSQL": machine.first_line(["psql", "--version"]),
            "MariaDB": machine.first_line(["mariadb", "--version"]),
            "SQLite": machine.first_line(["sqlite3", "--version"])[:40],
            **packages,
        },
        "Python": {"Python": sys.version.split()[0]},
    }
    if "pgloader" in wanted:
        found["pgloader"] = machine.package_versions(["pgloader"])
    if "freebcp" in wanted:
        found["freebcp"] = machine.package_versions(["freetds-bin"])
    if "odbc2parquet" in wanted:
        found["odbc2parquet"] = {"odbc2parquet": machine.first_line([str(odbc2parquet_program()), "--version"])}
    if "sling" in wanted:
        found["sling"] = {"sling": machine.first_line([str(sling_program(FOLDER)), "--version"])}
    for name in ("ingestr", "duckdb", "libraries", "dlt", *(["sqlserver"] if with_sqlserver else [])):
        python = FOLDER / f"venv-{name}" / "bin" / "python"
        if python.exists():
            found[name] = machine.library_versions(python)
    return found


def commit() -> str:
    """The commit that was measured, with a `+` if files were changed since."""
    git = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
    return machine.first_line(git) if os.path.exists(ROOT / ".git") else ""
