"""One call that copies out of several databases, of which one refuses, is down, or sleeps: the others are copied, and every
table that was asked for stands in the report.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Dray, Script, Task
from databases import PRODUCTS, Database, Databases, part

COPY = """
import dataclasses, json, sys
import dray

try:
    report = dray.copy_tables({copies}, target="Target"{options})
    raised = None
except dray.CopyError as error:
    report, raised = error.report, {{"message": str(error), "code": error.code, "exit_code": error.exit_code}}
print(json.dumps({{"report": report and dataclasses.asdict(report), "raised": raised}}))
"""


def wrong(database: Database) -> str:
    """The connection string with another password."""
    return re.sub(r"(?i)pwd=[^;]*", "PWD=wrong", database.odbc)


def nobody(database: Database) -> str:
    """The connection string with a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return re.sub(r"(?i)port=[^;]*", f"Port={port}", database.odbc)


def copied(script: Script, services: dict[str, Any], copies: str, **options: Any) -> tuple[dict[str, Any], Any]:
    """The tables of the report by their target, and what was raised."""
    told = "".join(f", {name}={value!r}" for name, value in options.items())
    done = script(COPY.format(copies=copies, options=told), services=services)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["report"] is not None, answer
    return {table["target"]: table for table in answer["report"]["tables"]}, answer["raised"]


@pytest.mark.parametrize("parallel", [1, 4])
def test_a_refused_login_ends_its_source_alone_and_no_table_is_missing_in_the_report(
    databases: Databases, script: Script, parallel: int
) -> None:
    refusing, good, target = databases("postgresql"), databases("sqlite"), databases("postgresql")
    for name in ("a", "b", "c"):
        good.fill(f"good_{name}", {"id": "INTEGER"}, [(1,)])
    tables, raised = copied(
        script,
        {"Refusing": wrong(refusing), "Good": good.odbc, "Target": target.odbc},
        "[dray.Copy('Refusing', [f'bad_{n:02}' for n in range(20)]), dray.Copy('Good', ['good_a', 'good_b', 'good_c'])]",
        parallel=parallel,
    )
    assert len(tables) == 23
    assert [name for name, table in tables.items() if table["error"] is None] == ["good_a", "good_b", "good_c"]
    assert target.tables() == {"good_a", "good_b", "good_c"}
    bad = [table["error"] for table in tables.values() if table["error"]]
    begun = [error for error in bad if error["code"] != "copy.not_begun"]
    # As many as were begun at once, and no twenty, which would lock the account.
    assert 1 <= len(begun) <= parallel
    for error in bad:
        assert "`Refusing`" in error["message"], error
        assert (error["phase"], error["side"]) == ("connect", "source"), error
    assert raised["code"] == begun[0]["code"]
    assert raised["exit_code"] == 114
    assert "(and 19 more of 23 tables)" in raised["message"]


def test_a_refused_login_of_the_target_ends_the_call(databases: Databases, script: Script) -> None:
    source, target = databases("sqlite"), databases("postgresql")
    source.fill("t", {"id": "INTEGER"}, [(1,)])
    done = script(
        "import dray; dray.copy_tables(dray.Copy('Source', ['t', 'u']), target='Target')",
        services={"Source": source.odbc, "Target": wrong(target)},
    )
    assert done.returncode == 114, done.stderr
    assert "`Target`" in done.stderr.splitlines()[-1]


def test_what_dray_copy_says_counts_the_tables_that_were_not_begun(
    databases: Databases, dray: Dray, task: Task
) -> None:
    refusing, good, target = databases("mariadb"), databases("sqlite"), databases("sqlite")
    good.fill("good", {"id": "INTEGER"}, [(1,)])
    task.write_activity(
        linked_services={"Refusing": wrong(refusing), "Good": good.odbc, "Target": target.odbc},
    )
    plan = 'target = "Target"\nparallel = 1\n[[copy]]\nsource = "Refusing"\ntables = ["a", "b", "c"]\n'
    (task.folder / "plan.toml").write_text(plan + '[[copy]]\nsource = "Good"\ntables = "good"\n', "utf-8")
    done = dray("copy", "plan.toml", cwd=task.folder, env=task.env)
    assert done.returncode == 114, done.stderr
    assert "1 of 4 tables" in done.stdout
    outputs = task.outputs()
    assert (outputs["tables"], outputs["failed_tables"]) == (1, ["a", "b", "c"])
    assert [table["target"] for table in outputs["dray"]["copies"]] == ["a", "b", "c", "good"]


@pytest.mark.parametrize("how", ["wrong", "nobody"])
def test_one_database_that_cannot_be_listed_leaves_the_others_whole(
    databases: Databases, script: Script, how: str
) -> None:
    down, target = databases("postgresql"), databases("postgresql")
    good = [databases(product) for product in PRODUCTS]
    services: dict[str, Any] = {"Down": {"wrong": wrong, "nobody": nobody}[how](down), "Target": target.odbc}
    for number, source in enumerate(good):
        source.fill(f"t{number}", {"id": "INTEGER"}, [(number,)])
        services[f"Good{number}"] = source.odbc
    tables, raised = copied(
        script,
        services,
        "[dray.Copy('Down', ['x*', 'y*'], into='{schema}_{table}'), "
        "*(dray.Copy(f'Good{number}', '*') for number in range(3))]",
        after_run="CREATE TABLE is_whole (id integer)",
    )
    assert target.tables() == {"t0", "t1", "t2"}
    (failed,) = [table for table in tables.values() if table["error"]]
    assert (failed["source"], failed["table"]) == ("Down", "x*, y*")
    assert (failed["error"]["phase"], failed["error"]["side"]) == ("connect", "source")
    assert raised["exit_code"] == 114
    assert "`x*, y*`" in raised["message"] and "`Down`" in raised["message"]


def test_a_mistake_in_the_call_is_an_error_before_anything_is_copied_though_a_source_is_down(
    databases: Databases, script: Script
) -> None:
    down, good, target = databases("postgresql"), databases("sqlite"), databases("sqlite")
    good.fill("t", {"id": "INTEGER"}, [(1,)])
    done = script(
        "import dray\ndray.copy_tables([dray.Copy('Down', '*'), dray.Copy('Good', 't'), "
        "dray.Copy('Good', 'no*')], target='Target')",
        services={"Down": nobody(down), "Good": good.odbc, "Target": target.odbc},
    )
    assert done.returncode == 1
    assert "no table of `Good` matches `no*`" in done.stderr.splitlines()[-1]
    assert target.all_tables() == set()


def test_a_dry_run_shows_the_source_that_cannot_be_listed_and_the_tables_of_the_others(
    databases: Databases, dray: Dray, task: Task
) -> None:
    down, good, target = databases("postgresql"), databases("sqlite"), databases("sqlite")
    good.fill("t", {"id": "INTEGER"}, [(1,)])
    task.write_activity(linked_services={"Down": nobody(down), "Good": good.odbc, "Target": target.odbc})
    plan = 'target = "Target"\n[[copy]]\nsource = "Down"\ntables = "*"\n[[copy]]\nsource = "Good"\ntables = "*"\n'
    (task.folder / "plan.toml").write_text(plan, "utf-8")
    done = dray("copy", "plan.toml", "--dry-run", "--json", cwd=task.folder, env=task.env)
    assert done.returncode == 1
    tables = json.loads(done.stdout)["tables"]
    assert [(table["source"], table["error"] is None) for table in tables] == [("Good", True), ("Down", False)]
    done = dray("verify", "plan.toml", "--json", cwd=task.folder, env=task.env)
    assert done.returncode == 1
    compared = json.loads(done.stdout)["tables"]
    assert [table["source"] for table in compared] == ["Good", "Down"]
    assert all(table["error"] is not None for table in compared)


LOGIN_S = 2.5


@contextlib.contextmanager
def slow_to_log_in(host: str, port: int) -> Iterator[int]:
    """A port that leads to another one, where each connection is held up for a while, as by a database that wakes up."""

    def carry(reader: socket.socket, writer: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := reader.recv(1 << 16):
                writer.sendall(data)
        with contextlib.suppress(OSError):
            writer.shutdown(socket.SHUT_WR)

    def lead(client: socket.socket) -> None:
        time.sleep(LOGIN_S)
        server = socket.create_connection((host, port))
        threading.Thread(target=carry, args=(server, client), daemon=True).start()
        carry(client, server)

    def serve(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the listener is closed
            while True:
                threading.Thread(target=lead, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]


SLEEPY = """
import time
import dray
copies = [dray.Copy(f"Sleepy{number}", "no_such_table*") for number in range(6)]
began = time.monotonic()
try:
    dray.copy_tables(copies, target="Target")
except dray.CopyError as error:
    print(error.code, time.monotonic() - began)
"""


@pytest.mark.parametrize("product", ["postgresql", "mariadb"])
def test_sources_are_listed_at_the_same_time(databases: Databases, script: Script, product: str) -> None:
    source, target = databases(product), databases("sqlite")
    with slow_to_log_in(part(f"{product.upper()}_HOST"), int(part(f"{product.upper()}_PORT"))) as port:
        odbc = re.sub(r"(?i)port=[^;]*", f"Port={port}", source.odbc)
        # Each is a database of its own for dray.
        services = {f"Sleepy{number}": f"{odbc};Description=number {number}" for number in range(6)}
        done = script(SLEEPY, services={**services, "Target": target.odbc})
    code, took_s = done.stdout.split()
    assert code == "copy.no_match", done.stderr
    assert LOGIN_S < float(took_s) < 3 * LOGIN_S, "six sources were listed one after the other"


@pytest.mark.parametrize("product", PRODUCTS)
def test_the_schema_in_into_is_the_sources_own_for_a_name_without_one(
    databases: Databases, script: Script, product: str
) -> None:
    source, target = databases(product), databases("sqlite")
    source.fill("t", {"id": "INTEGER"}, [(1,)])
    services = {"Source": source.odbc, "Target": target.odbc}
    targets = []
    for names in ("t", "*", "?"):
        tables, raised = copied(script, services, f"dray.Copy('Source', {names!r}, into='{{schema}}_{{table}}')")
        assert raised is None
        targets.append(list(tables))
    schema = {"postgresql": "public", "sqlite": "main"}.get(product) or getattr(source, "name")  # noqa: B009
    assert targets == [[f"{schema}_t"]] * 3
    assert target.tables() == {f"{schema}_t"}
