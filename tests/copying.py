"""Copies many tables in one run of the executable, and says what became of each: starting it once per table would take
longer than all the tables together.
"""

from __future__ import annotations

import json
import subprocess
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union

from databases import Database

CODE = """
import dataclasses, json, os, sys
import dray

def status_kib(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name + ":"))


with open(os.environ["ARGUMENTS"]) as file:
    arguments = json.load(file)
baseline_kib = status_kib("VmRSS")
try:
    report = dray.copy_tables([dray.Copy("Source", **copy) for copy in arguments["copies"]], target="Target",
                              **arguments["options"])
except dray.CopyError as error:
    report = getattr(error, "report", None)
    if report is None:
        raise
growth_kib = status_kib("VmHWM") - baseline_kib
json.dump({"tables": [dataclasses.asdict(table) for table in report.tables], "growth_kib": growth_kib}, sys.stdout)
"""

# Both ways through the engine: the lanes that it would choose itself, and the one that every product has.
LANES = ("auto", "odbc")


@dataclass
class Copied:
    """What a run did."""

    tables: dict[str, dict[str, Any]]
    """The report of each table, by the source table's name without its schema."""
    growth_kib: int
    """The most memory that the process had, less what it had before the copy."""
    stderr: str

    def error(self, table: str) -> Optional[dict[str, Any]]:
        """The fields of a table's error, None if it arrived."""
        found: Optional[dict[str, Any]] = self.tables[table]["error"]
        return found


class Copying:
    """`copying(source, target)` copies all tables of a database into another."""

    def __init__(self, executable: Path, environment: Mapping[str, str], folder: Path) -> None:
        self._executable, self._environment, self._folder = executable, environment, folder
        self._project = folder / "project.zip"
        with zipfile.ZipFile(self._project, "w") as archive:
            archive.writestr("main.py", CODE)

    def __call__(
        self,
        source: Database,
        target: Database,
        tables: Union[str, Sequence[str]] = "*",
        *,
        into: Optional[str] = None,
        overrides: Optional[Mapping[str, Any]] = None,
        env: Optional[Mapping[str, str]] = None,
        timeout: float = 170,
        **options: Any,
    ) -> Copied:
        """Run it; `options` are those of `dray.copy_tables`."""
        process = self.start(source, target, tables, into=into, overrides=overrides, env=env, **options)
        return self.finish(process, timeout)

    def start(
        self,
        source: Database,
        target: Database,
        tables: Union[str, Sequence[str]] = "*",
        *,
        into: Optional[str] = None,
        overrides: Optional[Mapping[str, Any]] = None,
        env: Optional[Mapping[str, str]] = None,
        **options: Any,
    ) -> subprocess.Popen[str]:
        """Begin it; to be given to `finish`, one after the other."""
        services = [
            {"name": name, "properties": {"type": "Odbc", "typeProperties": {"connectionString": database.odbc}}}
            for name, database in (("Source", source), ("Target", target))
        ]
        self._write("linkedServices.json", services)
        self._write("activity.json", {})
        self._write("datasets.json", [])
        names = [tables] if isinstance(tables, str) else list(tables)
        copies = [{"tables": names, "into": into, **({"overrides": overrides} if overrides else {})}]
        self._write("arguments.json", {"copies": copies, "options": options})
        return subprocess.Popen(
            [self._executable, "run", self._project, "main.py"],
            cwd=self._folder,
            env={**self._environment, "ARGUMENTS": str(self._folder / "arguments.json"), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="surrogateescape",
        )

    def finish(self, process: subprocess.Popen[str], timeout: float = 170) -> Copied:
        """Wait for its end; what takes longer is killed."""
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        assert process.returncode == 0, stderr
        told = json.loads(stdout)
        by_name = {table["table"].rpartition(".")[2]: table for table in told["tables"]}
        return Copied(by_name, told["growth_kib"], stderr)

    def _write(self, name: str, document: Any) -> None:
        (self._folder / name).write_text(json.dumps(document), "utf-8")
