"""MariaDB's own lanes: which are taken and why, and that a load through them is exact, whole or not at all, and can be
stopped.
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pymysql
import pytest
from conftest import Script
from copying import Copying
from databases import Database, Databases, part

REPORT = """
    import dray, json
    try:
        table = dray.copy_table("Source", "Target", "t"{options})
    except dray.CopyError as failed:
        table = failed.report.tables[0]
    error = table.error
    print(json.dumps({{
        "rows": table.rows, "read_lane": table.read_lane, "write_lane": table.write_lane,
        "error": error and {{
            name: error[name] for name in ("code", "row", "column", "message", "native")
        }},
    }}))
"""


def report(script: Script, source: Database, target: Database, options: str = "", **more: Any) -> dict[str, Any]:
    """What the copy of `t` reports of itself."""
    services = {"Source": source.odbc, "Target": target.odbc}
    done = script(REPORT.format(options=options and ", " + options), services=services, **more)
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout), "stderr": done.stderr}


@contextlib.contextmanager
def server_variable(database: Database, name: str, value: str) -> Iterator[None]:
    """A global variable of the server, put back at the end: for tests marked `alone`."""
    ((before,),) = database.query(f"SELECT @@GLOBAL.{name} + 0")
    database.execute(f"SET GLOBAL {name} = {value}")
    try:
        yield
    finally:
        database.execute(f"SET GLOBAL {name} = {int(before)}")


def test_rows_are_streamed_out_and_loaded_by_load_data(databases: Databases, script: Script) -> None:
    source, target = databases("mariadb"), databases("mariadb")
    source.numbered("t", 3_000, "text ")
    copied = report(script, source, target, env={"DRAY_LOG_LEVEL": "debug"})
    assert (copied["rows"], copied["read_lane"], copied["write_lane"]) == (3_000, "stream", "load_data")
    assert "read by stream: row by row" in copied["stderr"]
    assert "written by load_data: LOAD DATA LOCAL INFILE" in copied["stderr"]
    assert target.query("SELECT * FROM t ORDER BY id") == source.query("SELECT * FROM t ORDER BY id")


@pytest.mark.alone
def test_a_server_that_forbids_local_infile_is_loaded_otherwise(databases: Databases, script: Script) -> None:
    source, target = databases("mariadb"), databases("mariadb")
    source.numbered("t", 3_000, "text ")
    with server_variable(target, "local_infile", "0"):
        copied = report(script, source, target, env={"DRAY_LOG_LEVEL": "debug"})
    assert copied["write_lane"] == "values"
    assert "not `load_data`: the server's `local_infile` is off" in copied["stderr"]
    assert target.query("SELECT * FROM t ORDER BY id") == source.query("SELECT * FROM t ORDER BY id")


def test_an_attribute_that_only_the_odbc_driver_knows_leaves_the_table_to_it(
    databases: Databases, script: Script
) -> None:
    source, target = databases("mariadb"), databases("mariadb")
    source.numbered("t", 10, "text ")
    source.odbc += ";Colour=blue"
    copied = report(script, source, target, env={"DRAY_LOG_LEVEL": "debug"})
    assert (copied["rows"], copied["read_lane"], copied["write_lane"]) == (10, "odbc", "load_data")
    assert "not `stream`: attribute `Colour` is not known outside the ODBC driver" in copied["stderr"]


@pytest.mark.parametrize("product", ["source", "target"])
def test_a_password_with_odd_signs_opens_the_lanes_too(databases: Databases, script: Script, product: str) -> None:
    maria, other = databases("mariadb"), databases("sqlite")
    odd = "{" + part("MARIADB_ODD_PASSWORD").replace("}", "}}") + "}"
    maria.execute(f"GRANT ALL ON `{maria.name}`.* TO {part('MARIADB_ODD_USER')}@'%'")  # type: ignore[attr-defined]
    user, password = f"UID={part('MARIADB_USER')}", f"PWD={part('MARIADB_PASSWORD')}"
    maria.odbc = maria.odbc.replace(user, f"UID={part('MARIADB_ODD_USER')}").replace(password, f"PWD={odd}")
    source, target = (maria, other) if product == "source" else (other, maria)
    source.numbered("t", 10, "text ")
    copied = report(script, source, target)
    assert copied["rows"] == 10
    assert "stream" in copied["read_lane"] or "load_data" in copied["write_lane"]


# Both ways into a table; the second is that of a server that forbids the first.
LOADS = ["load_data", pytest.param("values", marks=pytest.mark.alone)]

# Each with the definition of the target's table, and the number in the last row of the source's.
REFUSED_BY_THE_SERVER: dict[str, tuple[str, int]] = {
    "a key twice": ("number INT PRIMARY KEY, note VARCHAR(40)", 1),
    "a unique key twice": ("number INT UNIQUE, note VARCHAR(40)", 1),
    "a check": ("number INT CHECK (number >= 0), note VARCHAR(40)", -5),
    "a foreign key": ("number INT, note VARCHAR(40), FOREIGN KEY (number) REFERENCES parent (id)", -5),
}


@pytest.mark.parametrize("lane", LOADS)
@pytest.mark.parametrize("mode", ["append", "truncate"])
@pytest.mark.parametrize("case", REFUSED_BY_THE_SERVER)
def test_a_last_row_that_the_server_refuses_is_named_and_takes_all_rows_back(
    databases: Databases, script: Script, case: str, mode: str, lane: str
) -> None:
    definition, number = REFUSED_BY_THE_SERVER[case]
    rows = 30_000
    source, target = databases("sqlite"), databases("mariadb")
    source.execute("CREATE TABLE t (number INTEGER, note TEXT)")
    source.execute(
        f"INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) "
        f"SELECT CASE i WHEN {rows} THEN {number} ELSE i END, 'secret text ' || i FROM n"
    )
    target.execute("CREATE TABLE parent (id INT PRIMARY KEY)")
    target.execute(f"INSERT INTO parent SELECT seq FROM seq_1_to_{2 * rows}")
    target.execute(f"CREATE TABLE t ({definition}) ENGINE=InnoDB")
    target.insert("t", [(rows + 1, "old")])
    with server_variable(target, "local_infile", "1" if lane == "load_data" else "0"):
        failed = report(script, source, target, f"mode={mode!r}")
    assert failed["write_lane"] == lane
    assert failed["error"]["code"] == "database.constraint", failed["error"]
    assert failed["error"]["row"] == rows
    assert "secret" not in failed["error"]["message"]
    assert target.query("SELECT number, note FROM t") == [(rows + 1, "old")]


def test_a_table_that_cannot_be_made_whole_is_not_there(databases: Databases, script: Script) -> None:
    source, target = databases("postgresql"), databases("mariadb")
    source.execute("CREATE TABLE t (id integer PRIMARY KEY, v double precision)")
    source.execute(
        "INSERT INTO t SELECT i, CASE i WHEN 20000 THEN '-0'::float8 ELSE i / 3.0 END FROM generate_series(1, 20000) i"
    )
    failed = report(script, source, target)
    assert (failed["error"]["row"], failed["error"]["column"]) == (20_000, "v")
    assert "-0.0" in failed["error"]["message"]
    assert target.tables() == set()


# A value that the server would take for another one without a word: the target's column, and the text or number.
TAKEN_FOR_ANOTHER: dict[str, tuple[str, str, Any]] = {
    "a year of two digits": ("YEAR", "INTEGER", 24),
    "text beyond the column's character set": ("VARCHAR(9) CHARACTER SET latin1", "TEXT", "日本"),
}


@pytest.mark.parametrize("with_bytes", [False, True], ids=["text", "with bytes"])
@pytest.mark.parametrize("case", TAKEN_FOR_ANOTHER)
def test_what_the_server_would_take_for_another_value_is_refused(
    databases: Databases, script: Script, case: str, with_bytes: bool
) -> None:
    target_type, source_type, value = TAKEN_FOR_ANOTHER[case]
    source, target = databases("sqlite"), databases("mariadb")
    source.fill("t", {"value": source_type, "data": "BLOB" if with_bytes else "TEXT"}, [(None, None), (value, None)])
    target.execute(f"CREATE TABLE t (value {target_type}, data {'LONGBLOB' if with_bytes else 'LONGTEXT'})")
    failed = report(script, source, target)
    assert failed["write_lane"] == "load_data"
    assert failed["error"], target.query("SELECT * FROM t")
    assert failed["error"]["column"] == "value" or re.search("['`]value['`]", failed["error"]["message"])
    assert failed["error"]["row"] == 2
    assert str(value) not in failed["error"]["message"].replace("row 2", "")
    assert target.count("t") == 0


@pytest.mark.parametrize("lane", LOADS)
def test_bytes_and_text_of_every_character_set_stay_as_they_are_side_by_side(
    databases: Databases, script: Script, lane: str
) -> None:
    source, target = databases("mariadb"), databases("mariadb")
    columns = (
        "id INT PRIMARY KEY, data LONGBLOB, fixed BINARY(4), plain LONGTEXT CHARACTER SET utf8mb4, "
        "western VARCHAR(20) CHARACTER SET latin1, basic VARCHAR(20) CHARACTER SET utf8mb3, "
        "narrow VARCHAR(20) CHARACTER SET ascii, cyrillic VARCHAR(20) CHARACTER SET koi8r, key_ UUID, address INET6, "
        "size ENUM('1', 'größer'), parts SET('a', 'b'), document JSON, bits BIT(9), flag BIT(1), made YEAR"
    )
    every = bytes(range(256))
    text = "tab\t line\n \\ \\N \0 ' \" \x1a 日本 🎉 trailing "
    rows = [
        (1, every * 3, b"\0\\\t\n", text, "é€ü", "日本", "a\\b", "Привет", "0" * 8 + "-1111-2222-3333-444444444444",
         "2001:db8::1", "1", "a,b", '{"b": 1,  "a": "\\\\"}', b"\x01\xff", b"\x01", 1999),
        (2, b"", b"\xff\xfe\xfd\xfc", "", "", "", "", "", None, None, "größer", "", "[]", b"\0\0", b"\0", 0),
        (3, *[None] * 15),
        (4, every[::-1] + b"\xe4\\", None, "\\", "\\", "\\", "\\", "\\", None, None, None, None, None, None, None, 2155),
    ]  # fmt: skip
    for database in (source, target):
        database.execute(f"CREATE TABLE t ({columns})")
    source.insert("t", rows)
    with server_variable(target, "local_infile", "1" if lane == "load_data" else "0"):
        copied = report(script, source, target)
    assert (copied["rows"], copied["write_lane"]) == (4, lane)
    assert target.query("SELECT * FROM t ORDER BY id") == source.query("SELECT * FROM t ORDER BY id")


def test_the_zeros_of_zerofill_and_the_digits_of_a_declared_scale_are_no_part_of_a_number(
    databases: Databases, script: Script
) -> None:
    source, target = databases("mariadb"), databases("postgresql")
    source.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, a INT(8) UNSIGNED ZEROFILL, b DECIMAL(10,2) ZEROFILL, "
        "c BIGINT UNSIGNED ZEROFILL, d DOUBLE(20,4), e FLOAT(10,3), f FLOAT)"
    )
    source.execute(
        "INSERT INTO t VALUES (1, 42, 7.5, 18446744073709551615, 0.1234, 1234.567, 16777217), (2, 0, 0, 0, 0, 0, 0)"
    )
    copied = report(script, source, target)
    assert copied["read_lane"] == "stream"
    rows = target.query("SELECT a, b::text, c::text, d::text, e::text, f FROM t ORDER BY id")
    assert rows == [
        (42, "7.50", "18446744073709551615", "0.1234", "1234.567", 16777216.0),
        (0, "0.00", "0", "0.0000", "0.000", 0.0),
    ]


@pytest.mark.parametrize("lane", LOADS)
def test_cells_of_up_to_16_mib_pass(databases: Databases, script: Script, lane: str) -> None:
    source, target = databases("mariadb"), databases("mariadb")
    source.execute("CREATE TABLE t (id INT PRIMARY KEY, data LONGBLOB, note LONGTEXT)")
    lengths = [0, 1, 65_535, 65_536, 4 << 20, (4 << 20) + 1, 16 << 20, 16 << 20, 10]
    for number, length in enumerate(lengths):
        # Every byte, and for text every sign that is escaped.
        source.execute(
            f"INSERT INTO t VALUES ({number}, LEFT(REPEAT(_binary x'{bytes(range(256)).hex()}', {length // 256 + 1}), "
            f"{length}), LEFT(REPEAT('\\\\ab\\tcd\\n', {length // 14 + 1}), {length // 2}))"
        )
    with server_variable(target, "local_infile", "1" if lane == "load_data" else "0"):
        copied = report(script, source, target, timeout=300)
    assert (copied["rows"], copied["write_lane"], copied["error"]) == (len(lengths), lane, None)
    sums = "SELECT id, LENGTH(data), MD5(data), LENGTH(note), MD5(note) FROM t ORDER BY id"
    assert target.query(sums) == source.query(sums)
    assert [row[1] for row in target.query(sums)] == lengths


def test_a_cell_beyond_the_memory_limit_is_named_with_its_size(databases: Databases, script: Script) -> None:
    source, target = databases("mariadb"), databases("sqlite")
    source.execute("CREATE TABLE t (id INT PRIMARY KEY, note LONGTEXT)")
    source.execute(f"INSERT INTO t VALUES (1, 'short'), (2, REPEAT('x', {60 << 20}))")
    error = report(script, source, target)["error"]
    assert error["code"] == "copy.over_memory_limit"
    assert (error["row"], error["column"]) == (2, "note")
    assert str(60 << 20) in error["message"]
    assert target.tables() == set()


def others(database: Database) -> list[tuple[int, str, str]]:
    """The other sessions in this database: number, state and statement."""
    return database.query(
        "SELECT id, COALESCE(state, ''), COALESCE(info, '') FROM information_schema.processlist "
        "WHERE db = DATABASE() AND id <> CONNECTION_ID()"
    )  # type: ignore[return-value]


def wait_for(database: Database, condition: Callable[[str], bool], seconds: float = 30) -> int:
    """The number of the session whose statement fulfils the condition."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for number, _state, statement in others(database):
            if condition(statement):
                return number
        time.sleep(0.01)
    raise AssertionError(f"no such statement among {others(database)}")


@pytest.mark.timeout(60)  # the system alone would tell of the end after 107 s
@pytest.mark.parametrize("mode", ["append", "replace"])
def test_a_connection_that_is_killed_while_it_loads_leaves_the_table_as_it_was(
    databases: Databases, script: Script, mode: str
) -> None:
    source, target = databases("sqlite"), databases("mariadb")
    source.numbered("t", 500_000, "some text to carry over: ")
    target.fill("t", {"id": "INT PRIMARY KEY", "square": "BIGINT", "note": "LONGTEXT"}, [(-1, 0, "old")])

    def kill() -> None:
        number = wait_for(target, lambda statement: statement.startswith("LOAD DATA"))
        time.sleep(0.5)
        with contextlib.suppress(pymysql.Error):
            target.execute(f"KILL {number}")

    killer = threading.Thread(target=kill)
    killer.start()
    failed = report(script, source, target, f"mode={mode!r}, patience=0")
    killer.join()
    assert failed["error"]["code"] == "database.connection_lost", failed["error"]
    assert target.query("SELECT id, note FROM t") == [(-1, "old")]
    assert target.tables() == {"t"}


@pytest.mark.parametrize("lane", LOADS)
@pytest.mark.parametrize("mode", ["append", "replace"])
def test_a_table_that_the_copy_makes_is_loaded_on_several_sessions_if_ranges_are_asked_for(
    databases: Databases, copying: Copying, mode: str, lane: str
) -> None:
    source, target = databases("sqlite"), databases("mariadb")
    source.numbered("t", 150_000, "some text to carry over, which is made a little longer: ")
    if mode == "replace":
        target.fill("t", {"id": "INT PRIMARY KEY"}, [(-1,)])
    with server_variable(target, "local_infile", "1" if lane == "load_data" else "0"):
        copied = copying(source, target, mode=mode, ranges=3, verify="checksum")
        again = copying(source, target, mode="truncate", ranges=3)
    assert (copied.error("t"), copied.tables["t"]["write_lane"]) == (None, lane)
    assert copied.tables["t"]["write_lane_reason"].endswith("; on 3 sessions")
    assert "sessions" not in again.tables["t"]["write_lane_reason"], "its rows would not be one transaction"
    for table in (copied, again):
        assert (table.error("t"), table.tables["t"]["rows"]) == (None, 150_000)
    assert target.query("SELECT id, square, note FROM t ORDER BY id") == source.query("SELECT * FROM t ORDER BY id")
    assert target.tables() == {"t"}


@pytest.mark.parametrize("patience", [0, 60])
def test_a_further_session_that_is_killed_takes_the_whole_load_back(
    databases: Databases, copying: Copying, patience: int
) -> None:
    source, target = databases("sqlite"), databases("mariadb")
    source.numbered("t", 300_000, "some text to carry over, which is made a little longer: ")
    target.fill("t", {"id": "INT PRIMARY KEY", "square": "BIGINT", "note": "LONGTEXT"}, [(-1, 0, "old")])
    killed: list[int] = []

    def kill() -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and not killed:
            loading = [number for number, _, statement in others(target) if statement.startswith("LOAD DATA")]
            if len(loading) > 1:
                killed.append(max(loading))
                with contextlib.suppress(pymysql.Error):
                    target.execute(f"KILL {killed[0]}")

    killer = threading.Thread(target=kill)
    killer.start()
    copied = copying(source, target, mode="replace", ranges=2, patience=patience)
    killer.join()
    assert killed
    error = copied.error("t")
    if patience == 0:
        assert error is not None and error["code"] == "database.connection_lost", error
        assert target.query("SELECT id, note FROM t") == [(-1, "old")]
    else:
        assert error is None and len(copied.tables["t"]["retries"]) == 1, copied.tables["t"]
        assert target.query("SELECT COUNT(*), SUM(id) FROM t") == source.query("SELECT COUNT(*), SUM(id) FROM t")
    assert target.tables() == {"t"}


def test_a_source_connection_that_is_killed_leaves_no_table(databases: Databases, script: Script) -> None:
    source, target = databases("mariadb"), databases("sqlite")
    source.numbered("t", 500_000, "some text to carry over: ")

    def kill() -> None:
        number = wait_for(source, lambda statement: "FROM `t`" in statement)
        time.sleep(0.2)
        with contextlib.suppress(pymysql.Error):
            source.execute(f"KILL {number}")

    killer = threading.Thread(target=kill)
    killer.start()
    failed = report(script, source, target, "patience=0")
    killer.join()
    assert failed["error"]["code"] == "database.connection_lost", failed["error"]
    assert target.tables() == set()


STOPPED = """
    import dray
    print("starting", flush=True)
    dray.copy_table("Source", "Target", "t", mode={mode!r})
    print("copied", flush=True)
"""


@pytest.mark.parametrize("mode", ["append", "truncate", "replace"])
@pytest.mark.parametrize("where", ["loading", "waiting"])
def test_a_copy_that_is_told_to_stop_ends_within_two_seconds(
    databases: Databases, start: Any, project: Any, task: Any, mode: str, where: str
) -> None:
    source, target = databases("sqlite"), databases("mariadb")
    held = 5 if where == "waiting" else 0  # a row that the load meets, or does not
    source.numbered("t", 1_000_000, "some text to carry over: ")
    target.fill("t", {"id": "INT PRIMARY KEY", "square": "BIGINT", "note": "LONGTEXT"}, [(held, 0, "old")])
    task.write_activity(linked_services={"Source": source.odbc, "Target": target.odbc})
    other = pymysql.connect(
        host=part("MARIADB_HOST"), port=int(part("MARIADB_PORT")), user=part("MARIADB_USER"),
        password=part("MARIADB_PASSWORD"), database=target.name,  # type: ignore[attr-defined]
    )  # fmt: skip
    with other, other.cursor() as cursor:
        if where == "waiting":
            cursor.execute("UPDATE t SET note = 'held' WHERE id = 5")  # holds the row, and the table's definition
        path = project({"main.py": textwrap.dedent(STOPPED.format(mode=mode))})
        process = start("run", path, "main.py", cwd=task.folder, env=task.env)
        statement = "DELETE FROM" if (where, mode) == ("waiting", "truncate") else "LOAD DATA"
        if (where, mode) == ("waiting", "replace"):
            statement = "RENAME"  # after the load
        wait_for(target, lambda text: text.startswith(statement))
        time.sleep(0.7)
        process.send_signal(signal.SIGTERM)
        told = time.monotonic()
        _, stderr = process.communicate(timeout=60)
        took = time.monotonic() - told
        other.rollback()
    assert process.returncode == 143, stderr
    assert took < 2.5, f"it took {took:.1f} s to stop"  # half a second for the interpreter's own end
    assert target.query("SELECT id, note FROM t") == [(held, "old")]
    deadline = time.monotonic() + 30
    while target.tables() != {"t"} or others(target):
        assert time.monotonic() < deadline, (target.tables(), others(target))
        time.sleep(0.1)


@pytest.mark.alone
def test_a_server_does_not_give_up_a_source_that_pauses(databases: Databases, script: Script) -> None:
    source, target = databases("postgresql"), databases("mariadb")
    code = """
        import dray
        query = "SELECT i, repeat('x', 1000) AS note, CASE WHEN i = 20000 THEN pg_sleep(4) END::text AS pause "\
            "FROM generate_series(1, 40000) i"
        print(dray.copy_tables([dray.Copy("Source", query=query, into="t")], target="Target").rows)
    """
    with server_variable(target, "net_read_timeout", "1"), server_variable(target, "wait_timeout", "1"):
        done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 0, done.stderr
    assert target.count("t") == 40_000
