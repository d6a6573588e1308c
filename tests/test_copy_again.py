"""A run that is run again: what it had finished is skipped, the rest is repeated, and nothing is there twice. Runs that are
killed at any moment, runs that meet another one, servers that go away in between.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import servers
from conftest import Dray, Script, Task
from copying import Copying
from databases import PRODUCTS, Database, Databases, Mariadb, Postgresql, connect_postgresql, fresh_databases, part

# How many runs are killed; `make test-long` asks for 300.
KILLS = int(os.environ.get("DRAY_KILLS", "10"))

TABLES = [f"t{number:02}" for number in range(40)]
ROWS = 25
OLD = (-1, 1, "old")
STALE = (1, 7, "stale")
MODES = ("append", "truncate", "replace", "upsert", "mirror", "incremental")


def expected(table: str, mode: str) -> list[tuple[Any, ...]]:
    """What a table holds after a copy: half of them were there before, with a row of their own."""
    rows = [(number, number * number, f"{table} {number}") for number in range(1, ROWS + 1)]
    return [OLD, *rows] if mode in ("append", "upsert", "incremental") and is_old(table) else rows


def is_old(table: str) -> bool:
    """Whether the target has the table before the copy."""
    return int(table[1:]) % 2 == 0


def make_old_tables(target: Database, mode: str = "") -> None:
    """The tables that the target has before the copy; where rows meet by their key, one row is to be written over."""
    rows = [OLD] if mode not in ("upsert", "mirror", "incremental") else [OLD, STALE]
    for table in filter(is_old, TABLES):
        target.execute(f"CREATE TABLE {table} (id INTEGER NOT NULL PRIMARY KEY, square BIGINT, note VARCHAR(40))")
        target.insert(table, rows)


def journal_rows(target: Database) -> int:
    """How many tables the target's journal has; the marks of incremental copies are of no run."""
    if "dray_journal" not in target.all_tables():
        return 0
    return int(target.query("SELECT COUNT(*) FROM dray_journal WHERE run_id <> ''")[0][0])


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Look again and again, as long as the process runs."""
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def kill(process: subprocess.Popen[str], target: Database, after: int, pause_s: float) -> None:
    """Kill a run a moment after it has finished so many tables."""
    wait_for(lambda: journal_rows(target) >= after, process)
    time.sleep(pause_s)
    process.kill()
    process.communicate()


@contextlib.contextmanager
def held_back(source: Postgresql, table: str) -> Iterator[None]:
    """Nobody can read the table of a PostgreSQL database until the block ends."""
    with connect_postgresql(source.name) as connection, connection.transaction():
        connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield


@pytest.fixture(scope="module")
def forty(module_databases: Databases) -> Database:
    """A source of 40 small tables."""
    source = module_databases("sqlite")
    for table in TABLES:
        source.numbered(table, ROWS, f"{table} ")
    return source


@pytest.mark.timeout(120 + 10 * KILLS)
@pytest.mark.parametrize("product", PRODUCTS)
def test_a_run_that_is_killed_at_any_moment_and_run_again_has_copied_everything_once(
    tmp_path: Path, copying: Copying, forty: Database, product: str
) -> None:
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    for number in range(PRODUCTS.index(product), KILLS, len(PRODUCTS)):
        # Each product meets each mode, where there are kills enough.
        mode, after = MODES[(number + number // len(MODES)) % len(MODES)], chance.randrange(len(TABLES))
        told = f"kill {number} of seed {seed}, {mode}, after {after} tables"
        # Closed after each: a hundred would take all sessions of the server.
        with fresh_databases(tmp_path) as databases:
            kill_and_run_again(copying, (forty, databases(product)), (mode, after, chance.random() * 0.02), told)


def kill_and_run_again(
    copying: Copying, ends: tuple[Database, Database], moment: tuple[str, int, float], told: str
) -> None:
    """Kill one run and repeat it: the target has everything once, and nothing else."""
    (source, target), (mode, after, pause_s) = ends, moment
    make_old_tables(target, mode)
    options = {"mode": mode, "run_id": told, **({"watermark": "id"} if mode == "incremental" else {})}
    kill(copying.start(source, target, **options), target, after, pause_s)
    copied = copying(source, target, **options)
    assert {name: table["error"] for name, table in copied.tables.items() if table["error"]} == {}, told
    assert sum(table["skipped"] for table in copied.tables.values()) >= after, told
    assert {table["rows"] for table in copied.tables.values()} == {ROWS}, told
    assert target.tables() == set(TABLES), f"{told}: something is left behind"
    for table in TABLES:
        rows = target.query(f"SELECT id, square, note FROM {table} ORDER BY id")
        assert rows == expected(table, mode), (told, table)
    assert journal_rows(target) == len(TABLES), told
    if mode == "incremental":
        marks = target.query("SELECT COUNT(*) FROM dray_journal WHERE run_id = ''")
        assert marks == [(len(TABLES),)], f"{told}: the marks are not those of the rows"
        again = copying(source, target, mode=mode, watermark="id", run_id=f"{told}, once more")
        assert {table["rows"] for table in again.tables.values()} == {0}, told


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_second_run_of_the_same_id_skips_what_the_first_has_finished(
    databases: Databases, copying: Copying, product: str
) -> None:
    source, target = databases("postgresql" if product == "sqlite" else "sqlite"), databases(product)
    source.fill("good", {"id": "INTEGER"}, [(1,), (2,)])
    source.fill("bad", {"id": "INTEGER"}, [(1,)])
    target.execute("CREATE TABLE bad (id INTEGER CHECK (id <> 1))")
    first = copying(source, target, run_id="it's \\ one")
    assert (first.error("good"), first.tables["good"]["skipped"]) == (None, False)
    assert first.error("bad") is not None
    source.execute("UPDATE bad SET id = 3")
    second = copying(source, target, run_id="it's \\ one")
    assert (second.tables["good"]["skipped"], second.tables["good"]["rows"]) == (True, 2)
    assert (second.tables["bad"]["skipped"], second.tables["bad"]["rows"]) == (False, 1)
    assert target.query("SELECT id FROM good ORDER BY id") == [(1,), (2,)]
    assert target.query("SELECT id FROM bad") == [(3,)]
    third = copying(source, target, run_id="another")
    assert not any(table["skipped"] for table in third.tables.values())
    assert target.count("good") == 4
    told = str(target.query("SELECT * FROM dray_journal"))
    assert part("POSTGRESQL_PASSWORD") not in told and str(source.odbc) not in told


AGAIN = """
    import dray
    for number in range(2):
        report = dray.copy_tables([dray.Copy("Source", "t")], target="Target")
        print([table.skipped for table in report.tables])
"""


def test_the_same_copy_twice_in_a_script_is_made_twice_and_skipped_twice(databases: Databases, script: Script) -> None:
    source, target = databases("sqlite"), databases("sqlite")
    source.fill("t", {"id": "INTEGER"}, [(1,)])
    for skipped in (False, True):
        services = {"Source": source.odbc, "Target": target.odbc}
        done = script(AGAIN, services=services, env={"AZ_BATCH_TASK_ID": "one"})
        assert done.stdout == f"[{skipped}]\n" * 2, done.stderr
        assert target.count("t") == 2


@pytest.mark.parametrize(
    ("arguments", "variables", "options", "known_by"),
    [
        # Each wins over the property, and the property over the ids of the Batch task.
        (["--run-id=x"], {}, "", "x"),
        ([], {"DRAY_RUN_ID": "x"}, "", "x"),
        (["--run-id=x"], {}, ", run_id='y'", "y"),
        ([], {}, "", "7"),
        ([], {}, ", run_id=''", None),
    ],
)
def test_a_run_is_known_by_what_it_is_given_or_the_property_of_its_activity(
    databases: Databases,
    dray: Dray,
    project: Callable[..., Path],
    task: Task,
    arguments: list[str],
    variables: dict[str, str],
    options: str,
    known_by: str | None,
) -> None:
    source, target = databases("sqlite"), databases("sqlite")
    source.fill("t", {"id": "INTEGER"}, [(1,)])
    task.write_activity({"run_id": 7}, linked_services={"Source": source.odbc, "Target": target.odbc})
    path = project({"main.py": COPY_ONE.format(options=options)})
    for number, skipped in enumerate([False, known_by is not None]):
        env = {**task.env, **variables, "AZ_BATCH_TASK_ID": f"another {number}"}
        done = dray("run", *arguments, path, "main.py", cwd=task.folder, env=env)
        assert (done.returncode, done.stdout) == (0, f"{skipped}\n"), done.stderr
    assert ("dray_journal" in target.all_tables()) == (known_by is not None)
    if known_by is not None:
        assert target.query("SELECT run_id, activity FROM dray_journal") == [(known_by, "CopyTables")]


COPY_ONE = """
import dray
print(dray.copy_table("Source", "Target", "t"{options}).skipped)
"""


def test_append_under_the_ids_of_the_batch_task_alone_is_warned_of(
    databases: Databases, script: Script, logs: Callable[[str], list[dict[str, Any]]]
) -> None:
    source, target = databases("sqlite"), databases("sqlite")
    source.fill("t", {"id": "INTEGER"}, [(1,)])
    services = {"Source": source.odbc, "Target": target.odbc}
    for skipped in ("False", "True"):
        done = script(COPY_ONE.format(options=""), services=services, env={"AZ_BATCH_TASK_ID": "one"})
        assert done.stdout == f"{skipped}\n", done.stderr
    assert [record["level"] for record in logs(done.stderr) if record.get("event") == "copy.run_id_of_batch"] != []
    done = script(COPY_ONE.format(options=", mode='replace'"), services=services)
    assert "copy.run_id_of_batch" not in done.stderr


def test_a_target_that_lets_nobody_make_a_journal_is_copied_to_unless_an_id_was_given(
    databases: Databases, script: Script, logs: Callable[[str], list[dict[str, Any]]]
) -> None:
    source, target = databases("sqlite"), databases("postgresql")
    source.fill("t", {"id": "INTEGER"}, [(1,)])
    target.execute("CREATE TABLE t (id integer)")
    target.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
    user, password = part("POSTGRESQL_ODD_USER"), part("POSTGRESQL_ODD_PASSWORD")
    target.execute(f"GRANT USAGE ON SCHEMA public TO {user}")
    target.execute(f"GRANT INSERT, SELECT ON t TO {user}")
    string = target.odbc.partition("UID=")[0] + "UID=" + user + ";PWD={" + password.replace("}", "}}") + "}"
    services = {"Source": source.odbc, "Target": string}
    done = script(COPY_ONE.format(options=""), services=services, parameters={"run_id": "x"})
    assert done.returncode == 0, done.stderr
    (record,) = [record for record in logs(done.stderr) if record.get("event") == "copy.no_journal"]
    assert record["fields"]["code"] == "database.permission_denied"
    done = script(COPY_ONE.format(options=", run_id='x'"), services=services)
    assert done.returncode == 1
    assert "dray_journal" in done.stderr.splitlines()[-1]
    assert target.query("SELECT id FROM t") == [(1,)], "the second run copied without a journal"


WAITING = "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND info LIKE 'RENAME%'"


def test_a_rename_that_the_server_makes_after_the_run_was_killed_counts(databases: Databases, copying: Copying) -> None:
    source, target = databases("sqlite"), databases("mariadb")
    source.fill("t", {"id": "INTEGER NOT NULL PRIMARY KEY"}, [(1,), (2,)])
    target.execute("CREATE TABLE t (old INT)")
    # Who has read a table in its transaction holds its rename back.
    target.execute("BEGIN")
    target.query("SELECT * FROM t")
    process = copying.start(source, target, mode="replace", run_id="x")
    wait_for(lambda: target.query(WAITING) == [(1,)], process)
    process.kill()
    process.communicate()
    target.execute("ROLLBACK")
    copied = copying(source, target, mode="replace", run_id="x")
    assert (copied.error("t"), copied.tables["t"]["rows"]) == (None, 2)
    assert target.query("SELECT id FROM t ORDER BY id") == [(1,), (2,)]
    assert target.tables() == {"t"}, "something is left behind"


@pytest.mark.parametrize("product", PRODUCTS)
def test_two_runs_at_once_into_one_table_are_refused_and_the_other_is_named(
    databases: Databases, copying: Copying, product: str
) -> None:
    source, target = databases("postgresql"), databases(product)
    assert isinstance(source, Postgresql)
    source.fill("t", {"id": "INTEGER"}, [(1,)])
    target.fill("t", {"id": "INTEGER"}, [(0,)])
    brief = databases(product) if product != "sqlite" else target
    brief.odbc = target.odbc + (";Timeout=100" if product == "sqlite" else "")
    with held_back(source, "t"):
        first = copying.start(source, target, mode="replace")
        # It waits for the source, and has the target already.
        wait_for(lambda: source.query(BLOCKED) == [(1,)], first)
        error = copying(source, brief, mode="replace", patience=0).error("t")
    assert error is not None
    assert error["phase"] == "prepare", error
    if product == "sqlite":
        assert error["code"] == "database.lock_timeout", error
    else:
        assert error["code"] == "copy.target_in_use", error
        assert {"postgresql": "server process ", "mariadb": "connection "}[product] in error["message"], error
    assert copying.finish(first).error("t") is None
    assert target.query("SELECT id FROM t") == [(1,)]


BLOCKED = """
SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


def test_a_table_whose_session_was_ended_at_the_server_is_copied_again_and_the_report_says_so(
    databases: Databases, copying: Copying
) -> None:
    source, target = databases("postgresql"), databases("mariadb")
    assert isinstance(source, Postgresql)
    source.fill("t", {"id": "INTEGER"}, [(1,)])
    with held_back(source, "t"):
        process = copying.start(source, target)
        wait_for(lambda: source.query(BLOCKED) == [(1,)], process)
        for (session,) in target.query(
            "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        ):
            target.execute(f"KILL {session}")
    copied = copying.finish(process)
    assert copied.error("t") is None
    (retry,) = copied.tables["t"]["retries"]
    assert (retry["side"], retry["code"]) == ("target", "database.connection_lost"), retry
    assert 100 <= retry["wait_ms"] <= 200
    assert '"copy.table_again"' in copied.stderr
    assert target.query("SELECT id FROM t") == [(1,)]
    assert target.tables() == {"t"}, "something is left behind"


@pytest.mark.parametrize("run_id", ["x", ""])
def test_a_commit_without_an_answer_is_decided_by_the_journal_if_there_is_one(
    databases: Databases, copying: Copying, run_id: str
) -> None:
    source, target = databases("sqlite"), databases("postgresql")
    assert isinstance(target, Postgresql)
    source.fill("t", {"id": "INTEGER"}, [(1,)])
    target.execute("CREATE TABLE t (id integer)")
    target.execute("CREATE TABLE gate (id integer)")
    # Its commit waits at the gate.
    target.execute(
        "CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN LOCK TABLE gate; RETURN NULL; END'"
    )
    target.execute(
        "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION pass()"
    )
    with held_back(target, "gate"):
        process = copying.start(source, target, "t", run_id=run_id)
        wait_for(lambda: target.query(BLOCKED) == [(1,)], process)
        target.query(BLOCKED.replace("COUNT(*)", "pg_terminate_backend(pid)"))
    copied = copying.finish(process)
    error, retries = copied.error("t"), copied.tables["t"]["retries"]
    if run_id:
        assert (error, [retry["phase"] for retry in retries]) == (None, ["commit"])
        assert target.count("t") == 1
    else:
        assert error is not None
        assert (error["phase"], error["code"], retries) == ("commit", "database.connection_lost", []), error
        assert "not known" in error["message"]


@pytest.mark.timeout(120)
def test_a_server_that_restarts_in_the_middle_of_a_run_is_waited_for(
    copying: Copying, forty: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dray-restart-")))
        folder.chmod(0o755)  # the server runs as a user of its own
        patched = stack.enter_context(monkeypatch.context())
        durable = {"synchronous_commit": "on"}  # the tests' servers may forget the last commits
        for name, value in stack.enter_context(servers.postgresql(folder / "server", durable)).items():
            patched.setenv(name, value)
        with fresh_databases(tmp_path) as databases:
            target = databases("postgresql")
            make_old_tables(target)
            (server,) = target.query("SELECT pg_backend_pid()")[0]
            process = copying.start(forty, target, run_id="x")
            wait_for(lambda: journal_rows(target) >= 5, process)
            # The server's own way to restart: one of its processes dies, and it ends all the others.
            os.kill(server, signal.SIGKILL)
            copied = copying.finish(process)
            assert isinstance(target, Postgresql)
            target.reconnect()
            assert [name for name, table in copied.tables.items() if table["error"]] == []
            codes = {retry["code"] for table in copied.tables.values() for retry in table["retries"]}
            assert codes == {"database.connection_lost"}
            for table in TABLES:
                rows = target.query(f"SELECT id, square, note FROM {table} ORDER BY id")
                assert rows == expected(table, "append"), table


@pytest.mark.timeout(180)
def test_a_mariadb_that_is_killed_and_started_again_in_the_middle_of_a_run_is_waited_for(
    copying: Copying, forty: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dray-restart-")))
        folder.chmod(0o755)  # the server runs as a user of its own
        patched = stack.enter_context(monkeypatch.context())
        durable = ["--innodb-flush-log-at-trx-commit=1"]  # the tests' servers may forget the last commits
        for name, value in stack.enter_context(servers.mariadb(folder / "server", durable)).items():
            patched.setenv(name, value)
        with fresh_databases(tmp_path) as databases:
            target = databases("mariadb")
            assert isinstance(target, Mariadb)
            make_old_tables(target)
            server = int((folder / "server" / "pid").read_text())
            command = Path(f"/proc/{server}/cmdline").read_text().split("\0")[:-1]
            process = copying.start(forty, target, run_id="x")
            wait_for(lambda: journal_rows(target) >= 5, process)
            os.kill(server, signal.SIGKILL)
            again = subprocess.Popen(
                [argument for argument in command if not argument.startswith("--init-file=")],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                preexec_fn=servers.become(servers.server_user(folder / "again", "mysql")),
            )
            stack.callback(again.wait)
            stack.callback(again.kill)
            copied = copying.finish(process)
            target.reconnect()
            assert [name for name, table in copied.tables.items() if table["error"]] == []
            codes = {retry["code"] for table in copied.tables.values() for retry in table["retries"]}
            assert codes == {"database.connection_lost"}
            for table in TABLES:
                rows = target.query(f"SELECT id, square, note FROM {table} ORDER BY id")
                assert rows == expected(table, "append"), table
