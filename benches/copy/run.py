"""`make bench`: dray beside its peers: the same tables, the same servers, one run; a table and charts of it.

    python3 benches/copy/run.py [--size quick|normal|full] [--routes pg_pg,my_pg] [--peers dray,floor] ...

Prints a line a round; whole logs go to target/logs/bench/, raw results to target/bench/result-<time>.json, the table
and the charts beside it, and to benches/results/ if nothing was left out. Standard library only; what needs more runs
in environments that are made below target/bench/.

With DRAY_TEST_MSSQL set (see `sqlserver.py`), lineitem is copied from and to that SQL Server too: routes ms_pg, pg_ms.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT / "packaging"), str(ROOT / "tests")]

import datasets  # noqa: E402
import install  # noqa: E402
import machine  # noqa: E402
import servers  # noqa: E402
import sqlserver  # noqa: E402
import summary  # noqa: E402
import table  # noqa: E402
from datasets import Dataset  # noqa: E402
from peers import PEERS, PRIVATE_ROUTES, ROUTES, SQLSERVER_ROUTES  # noqa: E402
from rounds import Rounds, described  # noqa: E402
from steps import TARGET, StepFailed, Steps, relative, stop_on_signals, tail  # noqa: E402

import database  # noqa: E402

RESULTS = ROOT / "benches" / "results"

# The short tables in README.md stand between these.
README_BEGIN = "<!-- `make bench` writes from here -->"
README_END = "<!-- to here -->"

# Added to what the tests' servers have, which is no fsync: disks are not what is compared. Checkpoints and vacuum come
# between the runs, never within one; no setting spares the servers any work for a row.
POSTGRESQL_SETTINGS = {
    "shared_buffers": "512MB",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
}
MARIADB_OPTIONS = ["--innodb-buffer-pool-size=512M", "--innodb-log-file-size=2G", "--local-infile=ON"]


@dataclass(frozen=True)
class Size:
    """How much is done. `limit_factor`: how many times the floor a peer may take before it is stopped."""

    rows: int
    more: tuple[Dataset, ...]
    memory_rows: tuple[int, ...]
    rounds: int
    more_rounds: int
    minutes: float
    limit_factor: float


SIZES = {
    "quick": Size(100_000, (), (250_000, 1_000_000), 3, 0, 2, 20),
    "normal": Size(
        1_000_000,
        (datasets.keyed(1_000_000), datasets.wide(50_000), datasets.long_text(10_000), datasets.small_tables(300, 200)),
        (4_000_000,),
        5,
        3,
        40,
        20,
    ),
    "full": Size(
        4_000_000,
        (
            datasets.keyed(4_000_000),
            datasets.wide(100_000),
            datasets.long_text(20_000),
            datasets.small_tables(300, 1000),
        ),
        (1_000_000,),
        5,
        5,
        24 * 60,
        100,
    ),
}
DATASETS = ("lineitem", "keyed", "wide", "long", "small")
# Of the datasets beside lineitem; keyed is there for dray's own options, whose cost matters on all.
MORE_ROUTES = {"keyed": PRIVATE_ROUTES, **dict.fromkeys(("wide", "long", "small"), ("pg_pg", "sqlite_pg"))}


def main() -> int:
    """Install, start the servers, measure, draw; 0 only if the floor and dray ended well everywhere."""
    arguments = parse()
    try:
        stop_on_signals()
        if arguments.report_only is not None:
            return report_only(arguments.report_only)
        return bench(arguments)
    except (StepFailed, servers.ServerFailed, database.QueryFailed) as error:
        print(error)
        return 1


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="normal")
    parser.add_argument("--routes", type=names(ROUTES), help=f"some of {','.join(ROUTES)}")
    parser.add_argument("--peers", type=names(PEERS), help=f"some of {','.join(PEERS)}; the floor always runs")
    parser.add_argument("--datasets", type=names(DATASETS), help=f"some of {','.join(DATASETS)}")
    parser.add_argument("--rows", type=int, help="rows of lineitem")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--minutes", type=float, help="nothing new begins after this time but dray and the floor")
    parser.add_argument("--no-memory", action="store_true", help="leave out dray's memory at other sizes")
    parser.add_argument(
        "--report-only",
        nargs="?",
        const=Path(),
        type=Path,
        metavar="FILE",
        help="draw a result again, of a whole bench in benches/results/, else beside it (default: the newest whole)",
    )
    parser.add_argument(
        "--anew-in",
        type=Path,
        metavar="FILE",
        help="what is measured takes the place of the same datasets in this result of a whole bench, drawn again",
    )
    return parser.parse_args()


def names(allowed: Any) -> Any:
    """A type of argument: names with commas between."""

    def convert(text: str) -> list[str]:
        found = text.split(",")
        unknown = [name for name in found if name not in allowed]
        if unknown:
            raise argparse.ArgumentTypeError(f"`{unknown[0]}` is none of {', '.join(allowed)}")
        return found

    return convert


def bench(arguments: argparse.Namespace) -> int:
    """Everything."""
    started, begun = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), time.monotonic()
    size = SIZES[arguments.size]
    quick = arguments.size == "quick"
    command = "make bench" + {"normal": ""}.get(arguments.size, f"-{arguments.size}")
    print(command)
    steps = Steps("bench")
    peers = [peer for peer in PEERS.values() if chosen(peer.name, arguments)]
    with_sqlserver = bool(set(SQLSERVER_ROUTES) & set(wanted_routes(arguments)))
    installed = install.everything(
        steps, peers, install_peers=not quick or arguments.peers is not None, with_sqlserver=with_sqlserver
    )
    absent = [peer.name for peer in peers if peer.name not in installed]
    if absent:
        print(f"  not installed, left out: {', '.join(absent)}")
    result: dict[str, Any] = {
        "format": 1,
        "started": started,
        "command": shlex.join(["python3", "benches/copy/run.py", *sys.argv[1:]]) if narrowed(arguments) else command,
        "limit_factor": size.limit_factor,
        "size": arguments.size,
        "whole": False,
        "machine": machine.facts(Path(tempfile.gettempdir())),
        "versions": install.versions(installed, with_sqlserver=with_sqlserver),
        "settings": {"postgresql": POSTGRESQL_SETTINGS, "mariadb": MARIADB_OPTIONS},
    }
    file = install.FOLDER / f"result-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}.json"
    minutes = arguments.minutes if arguments.minutes is not None else size.minutes
    # A quick one counts from here: what is built and installed before it is not a part of it.
    deadline = (time.monotonic() if quick else begun) + minutes * 60
    on_disk = Path(tempfile.gettempdir())
    with servers.running(POSTGRESQL_SETTINGS, MARIADB_OPTIONS, parent=on_disk) as variables:
        databases = database.servers_databases(variables)
        given = sqlserver.databases(install.FOLDER / "venv-sqlserver") if with_sqlserver else {}
        if given:
            result["versions"]["databases"]["SQL Server"] = given["ms", "src"].query("select @@version")[0][0]
        rounds = Rounds({**databases, **given}, install.FOLDER, steps.logs, deadline, size.limit_factor)
        measured: list[Dataset] = []
        try:
            measure_all(rounds, measured, arguments, size, installed)
            result["whole"] = not quick and not narrowed(arguments)
        finally:
            for one in given.values():
                one.empty()
            result["datasets"] = {one.key: described(one, rounds.csv_bytes.get(one.key, 0)) for one in measured}
            result["main_dataset"] = measured[0].key if measured else ""
            result["runs"] = [asdict(run) for run in rounds.runs]
            result["duration_s"] = round(time.monotonic() - begun, 1)
            file.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
            print(f"  raw results: {relative(file)}; logs: {relative(steps.logs)}/")
    draw(file, install.FOLDER / file.stem)
    if arguments.anew_in is not None:
        measure_anew(arguments.anew_in, result)
        draw(arguments.anew_in, committed(result))
    elif result["whole"]:
        draw(file, committed(result))
    return 1 if failures(result) else 0


def measure_anew(file: Path, result: dict[str, Any]) -> None:
    """Put the datasets of `result`, whole, in the place of those in `file`, and note there when they were measured."""
    whole = json.loads(file.read_text("utf-8"))
    names = list(result["datasets"])
    whole["runs"] = [run for run in whole["runs"] if run["dataset"] not in names] + result["runs"]
    whole["datasets"].update(result["datasets"])
    facts = {"datasets": names, "started": result["started"], "dray": result["versions"]["dray"]}
    whole["anew"] = [*whole.get("anew", []), facts]
    file.write_text(json.dumps(whole, indent=1) + "\n", "utf-8")


def measure_all(
    rounds: Rounds, measured: list[Dataset], arguments: argparse.Namespace, size: Size, peers: list[str]
) -> None:
    """What matters most first: if the time is up, the slow peers are what is left out."""
    routes = wanted_routes(arguments)
    wanted = arguments.datasets or ["lineitem", *[one.name for one in size.more]]
    count = arguments.rounds or size.rounds
    main_dataset = datasets.lineitem(arguments.rows or size.rows)
    more = [one for one in size.more if one.name in wanted]
    if "lineitem" in wanted:
        measured.append(main_dataset)
        rounds.prepare(main_dataset, routes)
        for route in routes:
            rounds.measure_route(main_dataset, route, peers, count)
    for one in more:
        measured.append(one)
        more_routes = [route for route in routes if route in MORE_ROUTES[one.name]]
        rounds.prepare(one, more_routes)
        for route in more_routes:
            rounds.measure_route(one, route, peers, arguments.rounds or size.more_rounds)
    private = [route for route in routes if route in PRIVATE_ROUTES]
    if "lineitem" in wanted and "dray" in peers and private and not arguments.no_memory:
        for rows in size.memory_rows:
            measure_memory(rounds, measured, datasets.lineitem(rows), private)
    if "lineitem" in wanted:
        for route in routes:
            rounds.measure_slow(main_dataset, route, peers, count + 1)
    for one in more:
        for route in (route for route in routes if route in MORE_ROUTES[one.name]):
            rounds.measure_slow(one, route, peers, (arguments.rounds or size.more_rounds) + 1)


def wanted_routes(arguments: argparse.Namespace) -> list[str]:
    """The routes that are measured; to and from SQL Server only lineitem is copied."""
    there = ROUTES if arguments.datasets is None or "lineitem" in arguments.datasets else PRIVATE_ROUTES
    return [route for route in there if arguments.routes is None or route in arguments.routes]


def measure_memory(rounds: Rounds, measured: list[Dataset], dataset: Dataset, routes: list[str]) -> None:
    """dray's memory at another size than the main one, as long as there is time."""
    if rounds.time_is_up():
        print(f"  {dataset.key}, memory: left out, the time for the bench was up")
        return
    measured.append(dataset)
    rounds.prepare(dataset, routes)
    for route in routes:
        if not rounds.time_is_up():
            rounds.measure_memory(dataset, route)


def chosen(name: str, arguments: argparse.Namespace) -> bool:
    """Whether a peer is wanted."""
    peer = PEERS[name]
    if arguments.peers is not None:
        return name in arguments.peers or name == summary.FLOOR
    return peer.quick if arguments.size == "quick" else arguments.size == "full" or not peer.full_only


def narrowed(arguments: argparse.Namespace) -> bool:
    """Whether options left something out, so that the results are not those of the whole bench."""
    options = (arguments.routes, arguments.peers, arguments.datasets, arguments.rows, arguments.rounds)
    return any(option is not None for option in options) or arguments.no_memory or arguments.minutes is not None


def report_only(file: Path) -> int:
    """Draw a result again."""
    if file == Path():
        found = [path for path in sorted(install.FOLDER.glob("result-*.json")) if is_whole(path)]
        if not found:
            print("no result of a whole `make bench` below target/bench/; name a file: --report-only FILE")
            return 1
        file = found[-1]
    install.environment(Steps("bench-report"), "bench")
    result = json.loads(file.read_text("utf-8"))
    draw(file, committed(result) if result["whole"] else file.with_suffix(""))
    return 0


def is_whole(file: Path) -> bool:
    """Whether a result is that of `make bench` with nothing left out."""
    result = json.loads(file.read_text("utf-8"))
    return bool(result["whole"]) and result["size"] == "normal"


def committed(result: dict[str, Any]) -> Path:
    """The files of the repository, without their endings."""
    return RESULTS / ("copy-full" if result["size"] == "full" else "copy")


def draw(file: Path, base: Path) -> None:
    """`base`.md, `base`.svg for lineitem and `base`-more.svg for the other datasets, out of a result file."""
    result = json.loads(file.read_text("utf-8"))
    shown = list(dict.fromkeys(dataset for dataset, _ in summary.parts(result)))
    main_ones = [dataset for dataset in shown if dataset == result["main_dataset"]]
    base.parent.mkdir(parents=True, exist_ok=True)
    python = install.FOLDER / "venv-bench" / "bin" / "python"
    charts = []
    for suffix, some in ((".svg", main_ones), ("-more.svg", [one for one in shown if one not in main_ones])):
        if some:
            chart = base.with_name(base.name + suffix)
            subprocess.run([str(python), str(HERE / "chart.py"), str(file), str(chart), *some], check=True)
            charts.append(chart.name)
    base.with_name(base.name + ".md").write_text(table.markdown(result, charts), "utf-8")
    print(f"  drawn: {relative(base)}.md, {', '.join(charts)}")
    if base == RESULTS / "copy":
        tell_readme(result)


def tell_readme(result: dict[str, Any]) -> None:
    """Put the short tables between their two marks in README.md."""
    file = ROOT / "README.md"
    before, begin, rest = file.read_text("utf-8").partition(README_BEGIN)
    _, end, after = rest.partition(README_END)
    if not begin or not end:
        raise StepFailed(f"README.md has no place for the results: `{README_BEGIN}` and `{README_END}`")
    file.write_text(f"{before}{begin}\n{table.in_short(result)}\n{end}{after}", "utf-8")
    print("  README.md has the tables")


def failures(result: dict[str, Any]) -> list[str]:
    """Runs of dray or the floor that did not end well, and what came of them."""
    own = [run for run in result["runs"] if run["peer"] == summary.FLOOR or run["peer"].startswith("dray")]
    bad = [run for run in own if run["status"] != summary.OK]
    for run in bad:
        log = TARGET / "logs" / "bench" / run["log"]
        print(f"  {run['peer']} {run['status']} on {run['dataset']} {run['route']}: {run['reason']}; {tail(log, 5)}")
    return [run["peer"] for run in bad]


if __name__ == "__main__":
    sys.exit(main())
