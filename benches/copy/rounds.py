"""Runs the tools in rounds: empties the destination, measures, has the copy checked, keeps what came of it.

Knows how a round goes; which datasets and how many rounds there are is `run.py`'s business.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import loading
import measure
import summary
import table
import verify
from datasets import Dataset
from peers import PEERS, QUIET, Job, Peer
from sqlserver import Sqlserver

import database
from database import Database

# What a slow peer may take: so many times the floor, or dray where there is none, but not less than so many seconds.
# dray and the floor have more.
LEAST_LIMIT_S = 60.0
OWN_LIMIT_S = 1800.0
# Databases that are not a peer's to make; whatever else is there after a run is dropped before the next one.
MARIADB_OWN = ("information_schema", "mysql", "performance_schema", "sys", "dray", "src")


@dataclass(frozen=True)
class Run:
    """One copy by one peer. `memory` marks those that were only made to see the memory."""

    dataset: str
    route: str
    round: int
    peer: str
    status: str
    reason: str = ""
    wall_s: float = 0
    user_s: float = 0
    system_s: float = 0
    cpu_s: float = 0
    peak_rss_bytes: int = 0
    log: str = ""
    memory: bool = False


class Rounds:
    """The runs of one bench, in `runs`."""

    def __init__(
        self,
        databases: Mapping[tuple[str, str], Database],
        folder: Path,
        logs: Path,
        deadline: float,
        limit_factor: float,
    ) -> None:
        """`folder` is the bench's below target/, `deadline` a time of `time.monotonic`."""
        self.runs: list[Run] = []
        self.csv_bytes: dict[str, int] = {}
        self._databases = dict(databases)
        self._folder = folder
        self._logs = logs
        self._deadline = deadline
        self._limit_factor = limit_factor
        self._expected: dict[str, dict[str, verify.Content]] = {}
        self._count = 0

    def prepare(self, dataset: Dataset, routes: Sequence[str]) -> None:
        """Fill the sources, and see that they hold the same."""
        if dataset.key in self._expected:
            return
        started = time.monotonic()
        print(f"  {'data: ' + dataset.key:<52}", end="", flush=True)
        data = self._folder / "data"
        data.mkdir(exist_ok=True)
        rows = loading.csv_file(dataset, data, self._folder / "venv-bench" / "bin" / "python")
        self.csv_bytes[dataset.key] = rows.stat().st_size
        postgresql = self._databases["pg", "src"]
        loading.fill_postgresql(postgresql, dataset, rows)
        self._expected[dataset.key] = verify.read(postgresql, dataset, "public", checksum=True)
        if "my_pg" in routes:
            mariadb = self._databases["my", "src"]
            loading.fill_mariadb(mariadb, dataset, rows)
            verdict = verify.check(mariadb, dataset, "src", self._expected[dataset.key], full=True)
            if verdict.faults:
                raise database.QueryFailed(f"MariaDB's source is not what PostgreSQL's is: {verdict}")
        if "ms_pg" in routes:
            source = self._databases["ms", "src"]
            loading.fill_sqlserver(source, dataset, rows)
            verdict = verify.check(source, dataset, source.schema(), self._expected[dataset.key], full=True)
            if verdict.faults:
                raise database.QueryFailed(f"SQL Server's source is not what PostgreSQL's is: {verdict}")
        if "sqlite_pg" in routes:
            self._databases["sqlite", dataset.key] = loading.fill_sqlite(dataset, rows)
        print(f"{'ok':>6}{time.monotonic() - started:8.1f} s", flush=True)

    def measure_route(self, dataset: Dataset, route: str, names: Sequence[str], rounds: int) -> None:
        """The floor, dray and those peers that are not slow there, in up to `rounds` rounds."""
        peers = [peer for peer in self._taking_part(names, dataset, route) if route not in peer.slow_on]
        wanted = {peer.name: rounds for peer in peers}
        for number in range(1, rounds + 1):
            taking_part = [peer for peer in peers if wanted[peer.name] >= number]
            if not taking_part or (number > 1 and self.time_is_up()):
                return
            turn = (number - 1) % len(taking_part)  # every round begins with another one
            self.round(dataset, route, number, [*taking_part[turn:], *taking_part[:turn]])
            if number == 1:
                for line in summary.lines(map(asdict, self.runs), dataset.key, route):
                    if line.status != summary.OK:
                        wanted[line.peer] = 1
                    elif line.wall_ratio is not None and line.peer != "dray":
                        wanted[line.peer] = summary.rounds_of(line.wall_ratio.median, rounds)

    def measure_slow(self, dataset: Dataset, route: str, names: Sequence[str], number: int) -> None:
        """Those peers that are slow there, once, beside the floor, or dray, of a round of their own."""
        slow = [peer for peer in self._taking_part(names, dataset, route) if route in peer.slow_on]
        if slow:
            self.round(dataset, route, number, [PEERS[summary.reference(route)], *slow])

    def measure_memory(self, dataset: Dataset, route: str) -> None:
        """dray alone, for its memory."""
        print(f"  {dataset.key} {table.ROUTES[route]}, memory:", end="", flush=True)
        self._show(self._copy(PEERS["dray"], dataset, route, 1, memory=True))
        print()

    def round(self, dataset: Dataset, route: str, number: int, peers: Sequence[Peer]) -> None:
        """Each of the peers once, in the order given."""
        print(f"  {dataset.key} {table.ROUTES[route]}, round {number}:", end="", flush=True)
        for peer in peers:
            if self.time_is_up() and peer.name not in (summary.FLOOR, "dray"):
                if number == 1 or route in peer.slow_on:
                    reason = "the time for the bench was up"
                    self.runs.append(Run(dataset.key, route, number, peer.name, summary.SKIPPED, reason))
                continue
            self._show(self._copy(peer, dataset, route, number))
        print(flush=True)

    def time_is_up(self) -> bool:
        """Whether no more may begin than what has to be."""
        return time.monotonic() > self._deadline

    def _taking_part(self, names: Sequence[str], dataset: Dataset, route: str) -> list[Peer]:
        peers = [PEERS[name] for name in names]
        return [peer for peer in peers if route in peer.routes and dataset.name in peer.datasets]

    def _copy(self, peer: Peer, dataset: Dataset, route: str, number: int, *, memory: bool = False) -> Run:
        """One copy, checked."""
        self._count += 1
        log = self._logs / f"{self._count:03}-{dataset.key}-{route}-{peer.name}.log"
        source_product, product = route.split("_")
        source = self._databases[source_product, dataset.key if source_product == "sqlite" else "src"]
        destination = self._databases[product, "dst"]
        folder = self._folder / "work"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        job = Job(route, dataset, source, destination, folder, self._folder)
        self._reset(job, peer)
        database.settle(self._databases)
        usage = measure.run(peer.commands(job), folder, self._environment(job, peer), log, self._limit(job, peer))
        status, reason = self._status(job, peer, usage, log)
        run = Run(
            dataset.key,
            route,
            number,
            peer.name,
            status,
            reason,
            wall_s=round(usage.wall_s, 4),
            user_s=round(usage.user_s, 4),
            system_s=round(usage.system_s, 4),
            cpu_s=round(usage.cpu_s, 4),
            peak_rss_bytes=usage.peak_rss_bytes,
            log=log.name,
            memory=memory,
        )
        self.runs.append(run)
        return run

    def _status(self, job: Job, peer: Peer, usage: measure.Usage, log: Path) -> tuple[str, str]:
        """What became of a run. The first of each peer, and those for the memory, are checked value by value."""
        if usage.stopped:
            return summary.STOPPED, f"stopped after {usage.wall_s:.0f} s"
        if usage.failure:
            said = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
            return summary.FAILED, f"{usage.failure}: {said[-1][:200] if said else ''}"
        seen = any((run.dataset, run.route, run.peer) == (job.dataset.key, job.route, peer.name) for run in self.runs)
        schema = peer.schema or job.destination.schema()
        verdict = verify.check(job.destination, job.dataset, schema, self._expected[job.dataset.key], full=not seen)
        return (summary.WRONG, str(verdict)) if verdict.faults else (summary.OK, "")

    def _reset(self, job: Job, peer: Peer) -> None:
        """An empty destination: the database made anew, with the tables if the peer does not make them."""
        if job.destination.product == "pg":
            maintenance = self._databases["pg", "src"]
            maintenance.query("drop database if exists dst with (force); create database dst")
        elif isinstance(job.destination, Sqlserver):
            job.destination.empty()
        else:
            kept = ", ".join(f"'{name}'" for name in MARIADB_OWN)
            names = self._databases["my", "src"].query(
                f"select schema_name from information_schema.schemata where schema_name not in ({kept})"
            )
            drops = "".join(f"drop database `{name}`; " for (name,) in names)
            own = f"; create database {peer.schema}" if peer.schema else ""
            self._databases["my", "src"].query(f"{drops}create database dst{own}")
        if not peer.creates(job):
            job.destination.query("; ".join(job.dataset.ddl(t, job.destination.product) for t in job.dataset.tables))

    def _environment(self, job: Job, peer: Peer) -> dict[str, str]:
        """The variables of a run: few, the same for all, and a home that is not the user's."""
        home = self._folder / "home"
        home.mkdir(exist_ok=True)
        few = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        return {**few, **QUIET, **job.source.environment(), **job.destination.environment(), **peer.environment(job)}

    def _limit(self, job: Job, peer: Peer) -> float:
        """Seconds after which a run is stopped."""
        bases = [
            run.wall_s
            for run in self.runs
            if (run.dataset, run.route, run.peer) == (job.dataset.key, job.route, summary.reference(job.route))
        ]
        if peer.name in (summary.FLOOR, "dray") or not bases:
            return OWN_LIMIT_S
        return max(LEAST_LIMIT_S, self._limit_factor * max(bases))

    def _show(self, run: Run) -> None:
        """What came of a run, on the line of its round."""
        mark = {summary.OK: "", summary.WRONG: " !"}.get(run.status, f" {run.status}")
        print(f" {run.peer} {table.seconds(run.wall_s)}{mark}", end=",", flush=True)


def described(dataset: Dataset, csv_bytes: int) -> dict[str, Any]:
    """A dataset as the results have it."""
    return {
        "name": dataset.name,
        "tables": len(dataset.tables),
        "rows": dataset.rows,
        "columns": len(dataset.columns),
        "csv_bytes": csv_bytes,
    }
