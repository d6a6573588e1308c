"""The results as bars, one SVG for some datasets. Run by the environment with matplotlib:

    python chart.py RESULT.json FILE.svg DATASET...

Three panels a route: wall time, CPU time, peak memory. A bar far beyond the floor, or beyond dray where there is none,
is cut, and its number says so.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Optional

import matplotlib as mpl
import summary
import table
from matplotlib import pyplot
from matplotlib.axes import Axes

COLORS = {"dray": "#c2410c", summary.FLOOR: "#404040"}
PEER_COLOR = "#7d9cc0"
TEXT_COLOR = "#1a1a1a"
WRONG_COLOR = "#8a1c1c"
WALL_CUT, CPU_CUT = 8.0, 16.0  # times the floor, or dray
BAR_INCHES, PANEL_INCHES = 0.24, 0.85
MEBIBYTE = 2**20


def main() -> int:
    """Draw one chart. The same results give the same file."""
    result = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    mpl.rcParams.update(
        {
            "svg.hashsalt": "dray",
            "svg.fonttype": "none",  # text stays text: smaller, and can be searched
            "font.family": ["DejaVu Sans", "sans-serif"],
            "font.size": 9,
            "text.color": TEXT_COLOR,
            "axes.labelcolor": TEXT_COLOR,
            "xtick.color": TEXT_COLOR,
            "ytick.color": TEXT_COLOR,
        }
    )
    wanted = [part for part in summary.parts(result) if part[0] in sys.argv[3:]]
    found = [(dataset, route, summary.lines(result["runs"], dataset, route)) for dataset, route in wanted]
    heights = [len(lines) * BAR_INCHES + PANEL_INCHES for _, _, lines in found]
    figure, grid = pyplot.subplots(
        len(found), 3, figsize=(13, sum(heights)), squeeze=False, layout="constrained", height_ratios=heights
    )
    figure.patch.set_facecolor("white")
    for panels, (dataset, route, lines) in zip(grid, found):
        name = f"{table.ROUTES[route]}\n{short_title(result, dataset, route)}"
        draw(panels[0], lines, name, [wall_bar(line) for line in lines])
        draw(panels[1], lines, "\nclient CPU seconds", [cpu_bar(line) for line in lines], cut=CPU_CUT)
        draw(panels[2], lines, "\npeak memory, MiB", [memory_bar(line) for line in lines], cut=None)
    metadata = {"Date": None} if sys.argv[2].endswith(".svg") else None
    figure.savefig(sys.argv[2], metadata=metadata, facecolor="white", dpi=90)
    return 0


def short_title(result: dict[str, Any], dataset: str, route: str) -> str:
    """The dataset above the first panel of its row."""
    facts = result["datasets"][dataset]
    tables = f"{facts['tables']} tables of " if facts["tables"] > 1 else ""
    return f"{facts['name']}, {tables}{facts['rows']:,} rows: wall seconds (× {summary.reference(route)})"


Bar = tuple[float, str]


def wall_bar(line: summary.Line) -> Bar:
    """Length and label."""
    if line.wall_s is None:
        label = table.without_time(line).replace("**!**", "! wrong")
        return line.stopped_after_s, label
    ratio = f" ({line.wall_ratio.median:.2f}×)" if line.wall_ratio and line.peer != line.reference else ""
    return line.wall_s.median, table.seconds(line.wall_s.median) + ratio


def cpu_bar(line: summary.Line) -> Bar:
    """Length and label."""
    return (line.cpu_s.median, table.seconds(line.cpu_s.median)) if line.cpu_s else (0, "")


def memory_bar(line: summary.Line) -> Bar:
    """Length and label."""
    return (line.peak_rss_bytes / MEBIBYTE, f"{line.peak_rss_bytes / MEBIBYTE:.0f}") if line.wall_s else (0, "")


def draw(axes: Axes, lines: list[summary.Line], name: str, bars: list[Bar], *, cut: Optional[float] = WALL_CUT) -> None:
    """One panel: the fastest at the top, what the ratios are to as a dashed line through all; bars end at `cut` times
    that.
    """
    longest = max([length for length, _ in bars] + [1e-9])
    base = next((length for line, (length, _) in zip(lines, bars) if line.peer == line.reference), 0)
    limit = min(longest, base * cut) if cut and base else longest
    places = list(range(len(lines)))
    colors = [COLORS.get(line.peer, PEER_COLOR) for line in lines]
    axes.barh(places, [min(length, limit) for length, _ in bars], color=colors, height=0.72)
    if base:
        axes.axvline(base, color=COLORS[summary.FLOOR], linewidth=0.8, linestyle=(0, (4, 3)))
    for place, line, (length, label) in zip(places, lines, bars):
        text = f"{label} »" if length > limit else label
        color = WRONG_COLOR if line.wall_s is None else TEXT_COLOR
        weight = "bold" if line.peer == "dray" else "normal"
        place_x = min(length, limit) + limit * 0.015
        label_text = axes.text(place_x, place, text, va="center", color=color, fontsize=8, weight=weight)
        label_text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.8})  # the dashed line ends there
    axes.set_yticks(places, [line.peer for line in lines])
    axes.invert_yaxis()
    axes.set_xlim(0, limit * 1.45)
    axes.set_title(name, loc="left", fontsize=9.5, color=TEXT_COLOR)
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    sys.exit(main())
