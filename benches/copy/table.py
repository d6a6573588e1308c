"""The results as Markdown."""

from __future__ import annotations

from typing import Any, Optional

import summary
from summary import Line, Spread

ROUTES = {
    "pg_pg": "PostgreSQL to PostgreSQL",
    "sqlite_pg": "SQLite to PostgreSQL",
    "pg_my": "PostgreSQL to MariaDB",
    "my_pg": "MariaDB to PostgreSQL",
    "ms_pg": "SQL Server to PostgreSQL",
    "pg_ms": "PostgreSQL to SQL Server",
}
FLOOR_LABEL = "*floor* (the databases' own tools in a pipe)"
MEBIBYTE = 2**20


def markdown(result: dict[str, Any], charts: list[str]) -> str:
    """The whole page; `charts` are files beside it."""
    parts = [heading(result), *[f"![bars of the same numbers]({chart})\n" for chart in charts]]
    parts += ["## In short\n", in_short(result)]
    for dataset in result["datasets"]:
        routes = [route for measured, route in summary.parts(result) if measured == dataset]
        if routes:
            parts.append(f"## {title(result, dataset)}\n")
        for route in routes:
            parts += [f"### {ROUTES[route]}\n", details(summary.lines(result["runs"], dataset, route))]
    parts += [memory(result), facts(result)]
    return "\n".join(part for part in parts if part)


def heading(result: dict[str, Any]) -> str:
    """What was done, how, and by which command."""
    return f"""# Copying tables: dray beside its peers

Made by `{result["command"]}`; `python3 benches/copy/run.py --report-only` draws it again from the raw results.

Every tool copies the same tables between the same private servers on one machine, one stream each, in rounds: the
floor, then dray, then the others, each round beginning with another one. × is the median of the ratios to the floor of
the same round. CPU time is that of the tool's own processes, user and system, without the servers. Peak memory is the
largest resident set of any one of its processes. Each first result is compared with the source by psql and mariadb:
rows, a sum, a checksum over every value, the types of the columns. One that differs is marked **!** with the reason,
and not timed. dray, and tools that make the destination's table themselves, did so within the time; for the others it
was made before. Of many tables between two PostgreSQL the floor, psycopg and DuckDB made theirs as well; many from
SQLite were made before for dray, too. Tools of more than five times the floor ran once, and were stopped at
{result["limit_factor"]:.0f} ×.
{sqlserver(result)}"""


def sqlserver(result: dict[str, Any]) -> str:
    """What is different where SQL Server is an end; nothing without such a route."""
    if all(summary.reference(route) == summary.FLOOR for _, route in summary.parts(result)):
        return ""
    return f"""
SQL Server is not one of the private servers, and has its own settings: {result["versions"]["databases"]["SQL Server"]}.
From and to it there is no floor, as Microsoft's bcp is no package of Debian: × is the ratio to dray, and FreeTDS's
freebcp is one of the peers. dray-odbc is dray with `lanes="odbc"`. What has arrived there is read by pyodbc.
"""


def title(result: dict[str, Any], dataset: str) -> str:
    """A dataset in words."""
    facts = result["datasets"][dataset]
    rows = f"{facts['rows']:,} rows"
    if facts["tables"] > 1:
        rows = f"{facts['tables']} tables of {rows}"
    words = f"{facts['name']}: {rows}, {facts['columns']} columns"
    return f"{words}, {facts['csv_bytes'] / MEBIBYTE:,.0f} MiB as CSV"


def in_short(result: dict[str, Any]) -> str:
    """Wall seconds of every tool on every route: of the main dataset, of dray with options, of many tables."""
    more = [name for name, facts in result["datasets"].items() if facts["tables"] > 1 or facts["name"] == "keyed"]
    return "\n".join(overview(result, dataset) for dataset in [result["main_dataset"], *more] if dataset)


def overview(result: dict[str, Any], dataset: str) -> str:
    """Wall seconds of every tool on every route of a dataset."""
    routes = [route for measured, route in summary.parts(result) if measured == dataset]
    found = {route: {line.peer: line for line in summary.lines(result["runs"], dataset, route)} for route in routes}
    peers = list(dict.fromkeys(peer for lines in found.values() for peer in lines))
    peers.sort(key=lambda peer: (peer != summary.FLOOR, peer != "dray"))
    rows = [
        [peer if peer != "dray" else "**dray**", *[cell(found[route].get(peer)) for route in routes]] for peer in peers
    ]
    others = any(summary.reference(route) != summary.FLOOR for route in routes)
    times_whose = "the floor's" + (", or dray's where SQL Server is an end" if others else "")
    return (
        f"{title(result, dataset)}. Wall seconds, and how many times {times_whose}.\n\n"
        + grid(["", *[ROUTES[route] for route in routes]], rows)
        if routes
        else ""
    )


def cell(line: Optional[Line]) -> str:
    """A tool on a route, in few signs."""
    if line is None:
        return ""
    if line.wall_s is None:
        return without_time(line)
    ratio = f" ({line.wall_ratio.median:.2f} ×)" if line.wall_ratio and line.peer != line.reference else ""
    return f"{seconds(line.wall_s.median)}{ratio}"


def without_time(line: Line) -> str:
    """Why there is no time."""
    if line.status == summary.WRONG:
        return "**!**"
    if line.status == summary.STOPPED:
        return f"> {line.stopped_after_s:.0f} (stopped)"
    return {summary.FAILED: "failed", summary.SKIPPED: "not run"}[line.status]


def details(lines: list[Line]) -> str:
    """Every number of a route."""
    rows = []
    for line in lines:
        name = {summary.FLOOR: FLOOR_LABEL, "dray": "**dray**"}.get(line.peer, line.peer)
        if line.wall_s is None or line.cpu_s is None:
            rows.append([name, without_time(line), "", "", "", "", "", str(line.runs), line.reason.replace("|", "\\|")])
            continue
        rows.append(
            [
                name,
                seconds(line.wall_s.median),
                f"{seconds(line.wall_s.low)} to {seconds(line.wall_s.high)}" if line.runs > 1 else "",
                times(line.wall_ratio),
                seconds(line.cpu_s.median),
                times(line.cpu_ratio),
                f"{line.peak_rss_bytes / MEBIBYTE:.0f}",
                str(line.runs),
                "",
            ]
        )
    to = lines[0].reference
    return grid(["", "wall s", "least to most", f"× {to}", "CPU s", f"× {to}'s", "peak MiB", "runs", ""], rows)


def times(ratio: Optional[Spread]) -> str:
    """A ratio with its spread."""
    if ratio is None:
        return ""
    width = f" ({ratio.low:.2f} to {ratio.high:.2f})" if ratio.low != ratio.high else ""
    return f"{ratio.median:.2f}{width}"


def seconds(value: float) -> str:
    """Two digits after the point below ten seconds, one above."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def memory(result: dict[str, Any]) -> str:
    """dray's peak memory at two sizes."""
    found = summary.memory(result)
    sizes = sorted({rows for pairs in found.values() for rows, _ in pairs})
    if len(sizes) < 2:
        return ""
    rows = []
    for route, pairs in found.items():
        known = dict(pairs)
        rows.append([ROUTES[route], *[f"{known[size] / MEBIBYTE:.1f}" if size in known else "" for size in sizes]])
    header = ["", *[f"{size:,} rows" for size in sizes]]
    return "## dray's peak memory and the number of rows\n\nMiB, lineitem.\n\n" + grid(header, rows)


def facts(result: dict[str, Any]) -> str:
    """The machine, the servers' settings and the versions."""
    machine = result["machine"]
    memory_gib = (machine["memory_bytes"] or 0) / 2**30
    lines = [
        "## Machine, settings, versions\n",
        f"- {machine['cores']} cores of {machine['processor']}{' (virtual machine)' if machine['virtual'] else ''}, "
        f"{memory_gib:.1f} GiB of memory",
        f"- {machine['system']}, kernel {machine['kernel']}; servers' data on {machine['file_system']}, "
        f"{machine['disk']}",
        f"- load average {machine['load_average_at_start']} when it began; {result['started']}, "
        f"{result['duration_s'] / 60:.0f} minutes",
        "- PostgreSQL: " + ", ".join(f"`{name}={value}`" for name, value in result["settings"]["postgresql"].items()),
        "- MariaDB: " + ", ".join(f"`{option}`" for option in result["settings"]["mariadb"]),
    ]
    for anew in result.get("anew", []):
        commit = anew["dray"]["commit"]
        lines.append(f"- measured anew, {anew['started']}: {', '.join(anew['datasets'])}; dray of commit {commit}")
    for name, versions in result["versions"].items():
        lines.append(f"- {name}: " + ", ".join(f"{package} {version}" for package, version in versions.items()))
    return "\n".join(lines) + "\n"


def grid(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, numbers to the right."""
    marks = ["---", *["---:" for _ in header[1:]]]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, marks, *rows]) + "\n"
