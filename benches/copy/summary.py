"""From raw runs to what is shown: medians, spreads, and ratios to the floor of the same round, or to dray without one.

A ratio is taken within a round, since a machine that slows down slows both; the median of the ratios is shown, not the
ratio of medians. Plain values only: this also redraws from a results file.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

FLOOR = "floor"
OK, WRONG, FAILED, STOPPED, SKIPPED = "ok", "wrong", "failed", "stopped", "skipped"


@dataclass(frozen=True)
class Spread:
    """A median and the least and the greatest of what it is the median of."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Line:
    """What a peer took on one route. Without a good run, `status` and `reason` say why and there are no numbers.
    `reference` is the peer that the ratios are taken to.
    """

    peer: str
    status: str
    reason: str
    runs: int
    wall_s: Optional[Spread] = None
    wall_ratio: Optional[Spread] = None
    cpu_s: Optional[Spread] = None
    cpu_ratio: Optional[Spread] = None
    peak_rss_bytes: int = 0
    stopped_after_s: float = 0
    reference: str = FLOOR


def spread(values: Sequence[float]) -> Optional[Spread]:
    """None of nothing."""
    return Spread(statistics.median(values), min(values), max(values)) if values else None


def reference(route: str) -> str:
    """What the ratios of a route are taken to: the floor, or dray where SQL Server is an end, and so there is none."""
    return "dray" if "ms" in route.split("_") else FLOOR


def lines(runs: Iterable[dict[str, Any]], dataset: str, route: str) -> list[Line]:
    """One line a peer, the fastest first, those without a time at the end."""
    here = [run for run in runs if run["dataset"] == dataset and run["route"] == route and not run.get("memory")]
    to = reference(route)
    bases = {run["round"]: run for run in here if run["peer"] == to and run["status"] == OK}
    found = [replace(line(peer, here, bases), reference=to) for peer in dict.fromkeys(run["peer"] for run in here)]
    return sorted(found, key=lambda one: (one.wall_s is None, one.wall_s.median if one.wall_s else 0, one.status))


def line(peer: str, runs: Iterable[dict[str, Any]], bases: dict[int, dict[str, Any]]) -> Line:
    """What one peer took. A single wrong, failed or stopped run takes the times of all its runs away."""
    own = [run for run in runs if run["peer"] == peer]
    bad = next((run for run in own if run["status"] not in (OK, SKIPPED)), None)
    good = [run for run in own if run["status"] == OK]
    if bad is not None or not good:
        first = bad or own[0]
        stopped = first["wall_s"] if first["status"] == STOPPED else 0
        return Line(peer, first["status"], first["reason"], len(own), stopped_after_s=stopped)
    return Line(
        peer,
        OK,
        "",
        len(good),
        wall_s=spread([run["wall_s"] for run in good]),
        wall_ratio=spread(ratios(good, bases, lambda run: run["wall_s"])),
        cpu_s=spread([run["cpu_s"] for run in good]),
        cpu_ratio=spread(ratios(good, bases, lambda run: run["cpu_s"])),
        peak_rss_bytes=max(run["peak_rss_bytes"] for run in good),
    )


def ratios(
    runs: Iterable[dict[str, Any]], bases: dict[int, dict[str, Any]], measure: Callable[[dict[str, Any]], float]
) -> list[float]:
    """Each run over the reference's of its round; a round whose reference is missing gives none."""
    return [measure(run) / measure(bases[run["round"]]) for run in runs if run["round"] in bases]


def rounds_of(wall_ratio: float, rounds: int) -> int:
    """In how many rounds a peer runs, from its first ratio: the nearer to the reference, the more."""
    if wall_ratio > 5:
        return 1
    return min(2, rounds) if wall_ratio > 2 else rounds


def parts(result: dict[str, Any]) -> list[tuple[str, str]]:
    """The pairs of dataset and route that were measured, in their order."""
    return list(dict.fromkeys((run["dataset"], run["route"]) for run in result["runs"] if not run.get("memory")))


def memory(result: dict[str, Any]) -> dict[str, list[tuple[int, int]]]:
    """dray's peak memory by route: pairs of rows and bytes, the fewest rows first."""
    found: dict[str, dict[int, int]] = {}
    for run in result["runs"]:
        if run["peer"] == "dray" and run["status"] == OK and run["dataset"].startswith("lineitem"):
            rows = result["datasets"][run["dataset"]]["rows"]
            sizes = found.setdefault(run["route"], {})
            sizes[rows] = max(sizes.get(rows, 0), run["peak_rss_bytes"])
    return {route: sorted(sizes.items()) for route, sizes in found.items()}
