"""PostgreSQL's bulk lanes: when they are taken and when not, what passes unparsed, and how a load ends that cannot go on."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Script, Task
from databases import Database, Databases, connect_postgresql, part

COPY = """
    import dray, json
    try:
        report = dray.copy_table("Source", "Target", "{table}", mode="{mode}", lanes="{lanes}",
                                 patience={patience})
        print(json.dumps({{"lanes": [report.read_lane, report.write_lane], "rows": report.rows}}))
    except dray.CopyError as error:
        print(json.dumps(error.report.tables[0].error))
"""


@pytest.fixture
def copy(script: Script) -> Callable[..., dict[str, Any]]:
    """Copy a table; what the report says of it, or of its error, and what was logged as the plan."""

    def run(
        source: Database, target: Database, table: str = "t", mode: str = "append", lanes: str = "auto", **options: Any
    ) -> dict[str, Any]:
        services = {
            "Source": options.get("source_odbc", source.odbc),
            "Target": options.get("target_odbc", target.odbc),
        }
        code = COPY.format(table=table, mode=mode, lanes=lanes, patience=options.get("patience"))
        done = script(code, services=services, env={"DRAY_LOG_LEVEL": "debug"}, timeout=options.get("timeout", 120))
        assert done.returncode == 0, done.stderr
        records = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
        plans = [record["fields"]["plan"] for record in records if record.get("event") == "copy.plan"]
        return {**json.loads(done.stdout), "plan": "\n".join(plans), "log": done.stderr}

    return run


def two(databases: Databases) -> tuple[Database, Database]:
    """Two databases of PostgreSQL."""
    return databases("postgresql"), databases("postgresql")


@pytest.mark.parametrize(
    ("source_product", "target_product", "lanes"),
    [
        ("postgresql", "postgresql", ["copy", "copy"]),
        ("postgresql", "mariadb", ["copy", None]),
        ("sqlite", "postgresql", [None, "copy"]),
    ],
)
def test_the_bulk_lanes_are_taken_and_named_in_the_plan(
    databases: Databases,
    copy: Callable[..., dict[str, Any]],
    source_product: str,
    target_product: str,
    lanes: list[Any],
) -> None:
    source, target = databases(source_product), databases(target_product)
    source.numbered("t", 1_000, "text ")
    done = copy(source, target)
    assert [name for name, lane in zip(done["lanes"], lanes) if lane] == [lane for lane in lanes if lane]
    assert done["rows"] == target.count("t") == 1_000
    assert "COPY" in done["plan"]
    assert ("unparsed, as PostgreSQL's binary COPY rows" in done["plan"]) == (source_product == target_product)


def test_the_generic_lane_is_taken_where_it_is_asked_for(
    databases: Databases, copy: Callable[..., dict[str, Any]]
) -> None:
    source, target = two(databases)
    source.numbered("t", 100, "text ")
    done = copy(source, target, lanes="odbc")
    assert done["lanes"] == ["odbc", "odbc"]
    assert "not `copy`: lanes are set to `odbc`" in done["plan"]
    assert target.count("t") == 100


def test_a_setting_that_cannot_be_translated_is_named_and_the_next_lane_serves(
    databases: Databases, copy: Callable[..., dict[str, Any]]
) -> None:
    source, target = two(databases)
    source.numbered("t", 100, "text ")
    done = copy(source, target, source_odbc=source.odbc + ";CX=1b502bb")
    assert done["lanes"] == ["odbc", "copy"]
    assert "not `copy`: the driver's attribute `CX` cannot be translated for libpq" in done["plan"]
    assert target.count("t") == 100


def test_a_server_that_allows_no_second_connection_is_read_by_the_next_lane(
    databases: Databases, copy: Callable[..., dict[str, Any]]
) -> None:
    source, target = two(databases)
    source.numbered("t", 100, "text ")
    role = "one_connection"
    with connect_postgresql("postgres") as server:
        server.execute(f"DROP ROLE IF EXISTS {role}")
        server.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x' CONNECTION LIMIT 1 SUPERUSER")
        # A superuser is not counted.
        server.execute(f"ALTER ROLE {role} NOSUPERUSER")
    source.execute(f"GRANT SELECT ON t TO {role}")
    try:
        odbc = source.odbc.replace("UID=dray;", f"UID={role};").rpartition("PWD=")[0] + "PWD=x"
        done = copy(source, target, source_odbc=odbc)
    finally:
        source.execute(f"DROP OWNED BY {role}")
        source.execute(f"DROP ROLE {role}")
    assert done["lanes"] == ["odbc", "copy"]
    assert "not `copy`: " in done["plan"] and "too many connections for role" in done["plan"]
    assert target.count("t") == 100


def test_a_password_with_odd_signs_and_letters_leads_to_the_bulk_lane(
    databases: Databases, copy: Callable[..., dict[str, Any]]
) -> None:
    source, target = two(databases)
    source.fill("Länder 表", {"naïve ü": "text"}, [("é日本🎉",), (None,)])
    user = part("POSTGRESQL_ODD_USER")
    source.execute(f'GRANT SELECT ON "Länder 表" TO {user}')
    password = "{" + part("POSTGRESQL_ODD_PASSWORD").replace("}", "}}") + "}"
    odbc = source.odbc.replace("UID=dray;", f"UID={user};").rpartition("PWD=")[0] + f"PWD={password}"
    done = copy(source, target, table="Länder 表", source_odbc=odbc)
    assert done["lanes"] == ["copy", "copy"]
    assert target.query('SELECT "naïve ü" FROM "Länder 表"') == [("é日本🎉",), (None,)]
    source.execute(f'REVOKE SELECT ON "Länder 表" FROM {user}')


def test_statements_of_the_connections_settings_hold_for_the_bulk_lane_too(
    databases: Databases, copy: Callable[..., dict[str, Any]]
) -> None:
    source, target = two(databases)
    source.execute("CREATE SCHEMA other")
    source.execute("CREATE TABLE other.only_there (id integer)")
    source.execute("INSERT INTO other.only_there VALUES (7)")
    done = copy(source, target, "only_there", source_odbc=source.odbc + ";ConnSettings={SET search_path TO other}")
    assert done["lanes"] == ["copy", "copy"]
    assert target.query("SELECT id FROM only_there") == [(7,)]


# What a relation is made by, and what is read from it although it is not a table of its own.
SOURCES = {
    "a view": "CREATE VIEW v AS SELECT * FROM t",
    "a materialized view": "CREATE MATERIALIZED VIEW v AS SELECT * FROM t",
    "a partitioned table": "CREATE TABLE v (id integer, note text) PARTITION BY RANGE (id);"
    "CREATE TABLE v_1 PARTITION OF v FOR VALUES FROM (0) TO (2); CREATE TABLE v_2 PARTITION OF v DEFAULT;"
    "INSERT INTO v SELECT * FROM t",
    "a table with heirs": "CREATE TABLE v (LIKE t); CREATE TABLE heir () INHERITS (v); INSERT INTO v SELECT * FROM t"
    " WHERE id = 1; INSERT INTO heir SELECT * FROM t WHERE id <> 1",
    "a generated column": "CREATE TABLE v (id integer, note text GENERATED ALWAYS AS ('n' || id::int2) STORED);"
    "INSERT INTO v SELECT id FROM t",
}


@pytest.mark.parametrize("name", SOURCES)
def test_every_kind_of_relation_is_read_whole(
    databases: Databases, copy: Callable[..., dict[str, Any]], name: str
) -> None:
    source, target = two(databases)
    source.fill("t", {"id": "integer", "note": "text"}, [(1, "n1"), (2, "n2"), (3, "n3")])
    for statement in SOURCES[name].split(";"):
        # `||` of int2 and text is only stable; a function says that it is immutable.
        if "GENERATED" in statement:
            source.execute(
                "CREATE FUNCTION n(integer) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'n' || $1::text $$"
            )
            statement = statement.replace("'n' || id::int2", "n(id)")
        source.execute(statement)
    done = copy(source, target, table="v")
    assert done["lanes"] == ["copy", "copy"]
    assert target.query("SELECT id, note FROM v ORDER BY id") == [(1, "n1"), (2, "n2"), (3, "n3")]


# What a target is made by, and why COPY would not do there what an INSERT does.
TARGETS = {
    "a view": (
        "CREATE TABLE base (id integer, note text); CREATE VIEW t AS SELECT * FROM base",
        "is no table",
        "base",
    ),
    "a rule": (
        "CREATE TABLE t (id integer, note text); CREATE TABLE base (id integer, note text);"
        "CREATE RULE r AS ON INSERT TO t DO INSTEAD INSERT INTO base VALUES (new.id, new.note)",
        "has rules",
        "base",
    ),
}


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_that_copy_does_not_load_as_an_insert_does_is_left_to_the_next_lane(
    databases: Databases, copy: Callable[..., dict[str, Any]], name: str
) -> None:
    source, target = two(databases)
    source.fill("t", {"id": "integer", "note": "text"}, [(1, "a"), (2, "b")])
    statements, reason, ends_in = TARGETS[name]
    for statement in statements.split(";"):
        target.execute(statement)
    done = copy(source, target)
    assert done["lanes"] == ["copy", "odbc"]
    assert reason in done["plan"]
    assert target.query(f"SELECT id, note FROM {ends_in} ORDER BY id") == [(1, "a"), (2, "b")]


def test_numbers_of_an_identity_column_are_kept(databases: Databases, copy: Callable[..., dict[str, Any]]) -> None:
    source, target = two(databases)
    source.fill("t", {"id": "integer", "note": "text"}, [(5, "a"), (9, "b")])
    target.execute("CREATE TABLE t (id integer GENERATED ALWAYS AS IDENTITY, note text)")
    done = copy(source, target)
    assert done["lanes"] == ["copy", "copy"]
    assert target.query("SELECT id, note FROM t ORDER BY id") == [(5, "a"), (9, "b")]


# Types that only PostgreSQL knows, each with values in its own words.
PORTABLE = {
    "inet": ["192.168.0.1/24", "::1"],
    "interval": ["1 year -2 mons +3 days -04:05:06.789", "-178000000 years"],
    "bit(5)": ["10110"],
    "bit varying(70)": ["", "1" * 70],
    "integer[]": ["{1,NULL,3}", "{}", "[2:3]={5,6}", "{{1,2},{3,4}}"],
    "text[]": ['{"a,b","c\\"d",NULL,"NULL",""}'],
    "numrange": ["[1.50,2)", "empty", "(,)"],
    "timetz": ["23:59:59.999999-15:59", "24:00:00+00"],
    "timestamptz[]": ['{"2024-03-31 02:30:00+01",infinity}'],
    "money": ["-92233720368547758.08"],
    "point": ["(1e300,-0.1)"],
    "jsonb": ['{"a": [1.10, "\\u00e9", null]}'],
    "numeric": ["NaN", "Infinity", "-Infinity", "0.000", "1e-1000", "9" * 1000],
    "date": ["infinity", "-infinity", "4714-11-24 BC", "5874897-12-31"],
    "timestamp": ["infinity", "4714-11-24 00:00:00 BC", "294276-12-31 23:59:59.999999"],
    "char(5)": ["", "ab", "äöüß "],
    '"char"': ["a", ""],
}
TEXTUAL = {
    "mood": ["happy", 'it\'s \\ "so"\t\n'],
    "mood[]": ["{happy,NULL}"],
    "pair": ['(1,"a,b\\\\")', "(,)"],
    "xml": ["<a>é&amp;</a>", "plain"],
    "tsvector": ["'a':1A 'b':2"],
    "money[]": ["{$1.00}"],
    "hstore": ['"a"=>"1", "b"=>NULL'],
    "bytea": ["\\x00ff5c0a"],
    "text": ["\\N", "a\tb\nc\rd\\", "\\."],
}


@pytest.mark.parametrize(("types", "form"), [(PORTABLE, "binary"), (TEXTUAL, "text")], ids=["portable", "textual"])
def test_types_that_only_postgresql_knows_pass_unparsed(
    databases: Databases, copy: Callable[..., dict[str, Any]], types: dict[str, list[str]], form: str
) -> None:
    source, target = two(databases)
    for database in (source, target):
        database.execute("CREATE EXTENSION hstore")
        database.execute("""CREATE TYPE mood AS ENUM ('happy', 'it''s \\ "so"\t\n')""")
        database.execute("CREATE TYPE pair AS (a integer, b text)")
    # The target's oids of its own types are others than the source's.
    columns = {f"c{number}": declared for number, declared in enumerate(types)}
    rows = max(len(values) for values in types.values())
    source.execute(f"CREATE TABLE t (id integer PRIMARY KEY, {source.columns(columns)})")
    for row in range(rows):
        values = [values[row] if row < len(values) else None for values in types.values()]
        casts = ", ".join(f"%s::text::{declared}" for declared in types)
        source.execute(f"INSERT INTO t VALUES ({row}, {casts})", *values)
    done = copy(source, target)
    assert done["lanes"] == ["copy", "copy"]
    assert f"unparsed, as PostgreSQL's {form} COPY rows" in done["plan"]
    select = "SELECT id, " + ", ".join(f"c{number}::text" for number in range(len(types))) + " FROM t ORDER BY id"
    assert target.query(select) == source.query(select)
    declared = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0"
    assert target.query(declared) == source.query(declared)


def test_rows_that_are_converted_come_over_beside_types_that_only_postgresql_knows(
    databases: Databases, copy: Callable[..., dict[str, Any]]
) -> None:
    source, target = two(databases)
    columns = (
        "id integer, flag boolean, f real, d double precision, n numeric, note text, b bytea, day date, at time,"
        " ts timestamp, tz timestamptz, u uuid, j json, {last}"
    )
    source.execute(f"CREATE TABLE t ({columns.format(last='span interval')})")
    # One column that has another size, so that nothing passes unparsed.
    target.execute(f"CREATE TABLE t ({columns.format(last='span interval').replace('id integer', 'id bigint')})")
    source.execute(
        "INSERT INTO t VALUES (1, true, 0.1, 5e-324, 1.50, E'tab\\there \\\\N', '\\x00ff', '2024-02-29', '23:59:59.5',"
        " '0001-01-01 00:00:00', '2024-03-31 01:30:00.000001+01', '12345678-1234-5678-9abc-def012345678', '{\"a\" : 1}',"
        " '1 mon -2 days'), (2, NULL, 'NaN', '-Infinity', NULL, '', '', NULL, NULL, NULL, NULL, NULL, NULL, NULL)"
    )
    done = copy(source, target)
    assert done["lanes"] == ["copy", "copy"]
    assert "unparsed" not in done["plan"]
    select = "SELECT t::text FROM t ORDER BY id"
    assert target.query(select) == source.query(select)


def test_a_querys_columns_are_read_by_the_types_that_the_server_gives_them(
    databases: Databases, script: Script
) -> None:
    source, target = two(databases)
    code = """
        import dray
        query = "SELECT 1::int2 AS a, 2.50 AS b, 'x'::varchar AS c, now() > '2000-01-01' AS d, " \\
                "'192.168.0.1'::inet AS e, timestamptz '2024-01-01 12:00:00+00' AS f"
        report = dray.copy_tables([dray.Copy("Source", query=query, into="t")], target="Target")
        print(report.tables[0].read_lane, report.tables[0].write_lane)
    """
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 0, done.stderr
    assert done.stdout == "copy copy\n"
    rows = target.query("SELECT a, b::text, c, d, e::text, f = '2024-01-01 12:00:00+00' FROM t")
    assert rows == [(1, "2.50", "x", True, "192.168.0.1/32", True)]


SIZES = [0, 1, 65_535, 65_536, 1 << 20, (16 << 20) - 7, 16 << 20]


@pytest.mark.parametrize("column", ["id integer", "id bigint"], ids=["unparsed", "converted"])
def test_long_cells_come_over_whole(databases: Databases, copy: Callable[..., dict[str, Any]], column: str) -> None:
    source, target = two(databases)
    source.execute("CREATE TABLE t (id integer, note text, data bytea)")
    target.execute(f"CREATE TABLE t ({column}, note text, data bytea)")
    for number, size in enumerate(SIZES):
        source.execute(
            "INSERT INTO t VALUES (%s, left(repeat('aé\\\t', %s / 3 + 1), %s), NULL), (%s, NULL, left(repeat(md5('x'), %s / 16 + 1), %s)::bytea)",
            *(number, size, size, 100 + number, size, size),
        )
    done = copy(source, target, timeout=300)
    assert done["lanes"] == ["copy", "copy"]
    select = "SELECT id, length(note), md5(note), length(data), md5(data) FROM t ORDER BY id"
    assert target.query(select) == source.query(select)
    assert [row[1] for row in target.query(select)][: len(SIZES)] == SIZES


def test_a_row_beyond_the_memory_is_refused_by_name(databases: Databases, copy: Callable[..., dict[str, Any]]) -> None:
    source, target = two(databases)
    source.execute("CREATE TABLE t (id integer, note text)")
    source.execute("INSERT INTO t VALUES (1, 'a'), (2, repeat('0123456789', 8000000))")
    failed = copy(source, target, timeout=300)
    assert (failed["code"], failed["row"]) == ("copy.over_memory_limit", 2)
    assert target.tables() == set()


def test_text_that_is_not_utf_8_is_refused_and_other_encodings_are_converted(
    databases: Databases, copy: Callable[..., dict[str, Any]]
) -> None:
    target = databases("sqlite")
    with connect_postgresql("postgres") as server:
        for name, encoding in (("latin", "LATIN1"), ("ascii", "SQL_ASCII")):
            server.execute(f"DROP DATABASE IF EXISTS in_{name}")
            server.execute(f"CREATE DATABASE in_{name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    source = databases("postgresql")
    in_database = {
        name: source.odbc.replace(f"Database={source.name};", f"Database=in_{name};") for name in ("latin", "ascii")
    }
    try:
        with connect_postgresql("in_latin") as latin:
            latin.execute("CREATE TABLE t (note text)")
            latin.execute("INSERT INTO t VALUES ('é')")
        done = copy(source, target, source_odbc=in_database["latin"])
        assert done["lanes"][0] == "copy"
        assert target.query("SELECT note FROM t") == [("é",)]
        with connect_postgresql("in_ascii") as ascii_only:
            ascii_only.execute("CREATE TABLE t (note text)")
            ascii_only.execute("INSERT INTO t VALUES ('a'), (convert_from('\\xe9', 'SQL_ASCII'))")
        failed = copy(source, target, source_odbc=in_database["ascii"])
        assert (failed["code"], failed["sqlstate"], failed["side"]) == ("database.data", "22021", "source")
        assert "UTF8" in failed["message"]
        assert target.query("SELECT note FROM t") == [("é",)]
    finally:
        with connect_postgresql("postgres") as server:
            for name in in_database:
                server.execute(f"DROP DATABASE in_{name} WITH (FORCE)")


@pytest.mark.parametrize("column", ["integer", "bigint"], ids=["unparsed", "converted"])
@pytest.mark.parametrize("rows", [1_000, 400_000], ids=["one batch", "many batches"])
def test_a_constraint_violated_in_the_last_row_names_it_and_takes_all_rows_back(
    databases: Databases, copy: Callable[..., dict[str, Any]], rows: int, column: str
) -> None:
    source, target = two(databases)
    source.execute("CREATE TABLE t (id integer, note text)")
    source.execute(f"INSERT INTO t SELECT i, 'note ' || i FROM generate_series(1, {rows} - 1) i")
    source.execute("INSERT INTO t VALUES (0, 'secret')")
    target.execute(f"CREATE TABLE t (id {column} CHECK (id <> 0), note text)")
    target.execute("INSERT INTO t VALUES (-1, 'old')")
    failed = copy(source, target)
    assert (failed["code"], failed["sqlstate"], failed["row"]) == ("database.constraint", "23514", rows)
    assert "secret" not in failed["log"]
    assert target.query("SELECT id, note FROM t") == [(-1, "old")]


def test_a_row_that_is_refused_early_stops_the_copy_soon_and_is_named(
    databases: Databases, copy: Callable[..., dict[str, Any]]
) -> None:
    source, target = two(databases)
    source.numbered("t", 3_000_000, "some text ")
    target.execute("CREATE TABLE t (id integer NOT NULL, square bigint CHECK (square <> 25), note text)")
    failed = copy(source, target)
    assert (failed["code"], failed["row"]) == ("database.constraint", 5)
    assert target.count("t") == 0
    progress = [json.loads(line) for line in failed["log"].splitlines() if '"copy.progress"' in line]
    assert max([0, *(record["fields"]["rows"] for record in progress)]) < 1_500_000


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_killed_server_connection_leaves_the_table_as_it_was(
    databases: Databases, long_tables: Callable[[str], Database], copy: Callable[..., dict[str, Any]], side: str
) -> None:
    source, target = long_tables("postgresql"), databases("postgresql")
    target.execute("CREATE TABLE t (id integer, square bigint, note text)")
    target.execute("INSERT INTO t VALUES (-1, 0, 'old')")
    database = source if side == "source" else target
    assert hasattr(database, "name")
    killed = threading.Event()

    def kill() -> None:
        with connect_postgresql("postgres") as server:
            deadline = time.monotonic() + 60
            while not killed.is_set() and time.monotonic() < deadline:
                time.sleep(0.3)
                found = server.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND query LIKE 'COPY %%'",
                    (database.name,),
                ).fetchall()
                if found:
                    killed.set()

    thread = threading.Thread(target=kill)
    thread.start()
    failed = copy(source, target, patience=0)
    killed.set()
    thread.join()
    assert (failed["code"], failed["side"]) == ("database.connection_lost", side)
    assert target.query("SELECT id, note FROM t") == [(-1, "old")]


WAITING = """
import dray
print("starting", flush=True)
dray.copy_table("Source", "Target", "t", mode="truncate")
"""


@pytest.mark.parametrize("locked", ["source", "target"])
def test_a_copy_that_waits_for_a_lock_is_stopped_within_two_seconds(
    databases: Databases,
    start: Callable[..., subprocess.Popen[str]],
    project: Callable[..., Path],
    task: Task,
    locked: str,
) -> None:
    source, target = two(databases)
    source.numbered("t", 1_000, "text ")
    target.numbered("t", 10, "old ")
    database = source if locked == "source" else target
    assert hasattr(database, "name")
    task.write_activity(linked_services={"Source": source.odbc, "Target": target.odbc})
    with connect_postgresql(database.name) as holder, holder.transaction():
        holder.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        path = project({"main.py": WAITING})
        process = start("run", path, "main.py", cwd=task.folder, env=task.env)
        assert process.stdout is not None
        assert process.stdout.readline() == "starting\n"
        waiting = (
            "SELECT count(*) FROM pg_locks WHERE NOT granted "
            f"AND database = (SELECT oid FROM pg_database WHERE datname = '{database.name}')"
        )
        with connect_postgresql("postgres") as server:
            deadline = time.monotonic() + 30
            while server.execute(waiting).fetchall() == [(0,)]:
                assert time.monotonic() < deadline, "the copy does not wait for the lock"
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            told = time.monotonic()
            _, stderr = process.communicate(timeout=60)
            took = time.monotonic() - told
            assert process.returncode == 143, stderr
            assert took < 2, f"it took {took:.1f} s to stop"
            assert server.execute(waiting).fetchall() == [(0,)], "nothing is left at the server"
    assert target.count("t") == 10
