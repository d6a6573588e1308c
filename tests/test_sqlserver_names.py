"""Tables of SQL Server by the name of their database: of another one than the connection's, as source and as target.

Runs where DRAY_TEST_MSSQL leads to a database that may be emptied, with a login that may make another one. What is in a
database is looked at by a client that is connected to that database.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Script
from copying import Copying
from databases import Databases, Postgresql, Sqlserver
from test_copy_again import BLOCKED, held_back, wait_for
from test_sqlserver_copies import WAYS, by


@pytest.fixture
def server(databases: Databases) -> Sqlserver:
    """The empty database that connections lead to."""
    made = databases("sqlserver")
    assert isinstance(made, Sqlserver)
    return made


@pytest.fixture(scope="module")
def other_name() -> Iterator[str]:
    """The name of another database of the server, which wants its brackets."""
    server, name = Sqlserver(), f"dray other {os.getpid()}"
    server.execute(f"CREATE DATABASE [{name}]")
    yield name

    def is_dropped() -> bool:
        # The session of a process that has just ended may still be there.
        with contextlib.suppress(Exception):
            server.execute(f"DROP DATABASE [{name}]")
        return server.query("SELECT DB_ID(?)", name) == [(None,)]

    until = time.monotonic() + 30
    while not is_dropped() and time.monotonic() < until:
        time.sleep(0.5)
    server.close()


@pytest.fixture
def other(server: Sqlserver, other_name: str) -> Iterator[Sqlserver]:
    """The other database, empty."""
    made = Sqlserver(other_name)
    yield made
    made.close()


def is_babelfish(server: Sqlserver) -> bool:
    """Whether the server lacks what Babelfish does: to bulk-load into another database than the session's, and to take the
    values of an identity column there.
    """
    return "Babelfish" in str(server.query("SELECT @@VERSION")[0][0])


def into_other(server: Sqlserver, way: str) -> dict[str, Any]:
    """As `by`, for rows that go into the other database."""
    if way == "auto" and is_babelfish(server):
        pytest.skip(
            "Babelfish bulk-loads into no other database; what the driver sends is looked at in test_sqlserver_bcp.py"
        )
    return by(server, way)


def within(database: Sqlserver, table: str) -> str:
    """The name of a table with its database."""
    return f"[{database.name}].dbo.{table}"


ORDERS = [
    "CREATE TABLE orders (id int IDENTITY(1,1) NOT NULL PRIMARY KEY, amount int NOT NULL DEFAULT 7, note nvarchar(20), "
    "CONSTRAINT positive CHECK (amount > 0))",
    "CREATE INDEX by_amount ON orders (amount)",
    "EXEC sp_addextendedproperty 'MS_Description', 'what was ''ordered''', 'SCHEMA', 'dbo', 'TABLE', 'orders'",
    "INSERT INTO orders (note) VALUES (N'one'), (N'two'), (N'three')",
    "DELETE FROM orders WHERE id = 2",
]


@pytest.mark.parametrize("way", WAYS)
def test_a_table_of_another_database_is_copied_with_all_that_it_has(
    server: Sqlserver, other: Sqlserver, script: Script, way: str
) -> None:
    for sql in ORDERS:
        other.execute(sql)
    lanes = by(server, way)["lanes"]
    name = f"[{other.name}]..orders"
    code = f"""
        import dray, json
        table = dray.copy_table("Server", "Server", {name!r}, lanes={lanes!r})
        print(json.dumps([table.table, table.target, table.rows, table.not_carried]))
    """
    done = script(code, services={"Server": server.odbc})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [f"{other.name}.dbo.orders", "orders", 2, []]
    assert server.query("SELECT id, amount, note FROM orders ORDER BY id") == [(1, 7, "one"), (3, 7, "three")]
    server.execute("INSERT INTO orders (note) VALUES (N'more')")
    [(number, amount)] = server.query("SELECT id, amount FROM orders WHERE note = N'more'")
    assert number >= 4 and amount == 7
    with pytest.raises(Exception, match=r"positive|CHECK|check"):
        server.execute("INSERT INTO orders (amount) VALUES (0)")
    [(key,)] = server.query(
        "SELECT c.name FROM sys.indexes i JOIN sys.index_columns k ON k.object_id = i.object_id AND k.index_id = i.index_id "
        "JOIN sys.columns c ON c.object_id = k.object_id AND c.column_id = k.column_id "
        "WHERE i.object_id = OBJECT_ID('orders') AND i.is_primary_key = 1"
    )
    assert key == "id"
    comment = "SELECT CAST(value AS nvarchar(99)) FROM sys.extended_properties WHERE major_id = OBJECT_ID('orders')"
    assert server.query(comment) == [("what was 'ordered'",)]


def test_names_with_wildcards_and_those_that_are_left_out_say_their_database(
    databases: Databases, server: Sqlserver, other: Sqlserver, script: Script
) -> None:
    target = databases("sqlite")
    for database in (server, other):
        for table in ("ord_one", "ord_two", "rest"):
            database.execute(f"CREATE TABLE {table} (id int NOT NULL PRIMARY KEY)")
            database.execute(f"INSERT INTO {table} VALUES ({len(database.name)})")
    code = f"""
        import dray
        for copy in (
            dray.Copy("Server", ["[{other.name}].dbo.ord*", "rest"], exclude=["[{other.name}]..ord_two"]),
            dray.Copy("Server", ["[{other.name}].dbo.*", "[{server.name}].dbo.*"], exclude=["ord_*"], into="{{table}}_{{schema}}",
                      overrides={{"[{other.name}].dbo.rest": {{"into": "other_rest"}}}}),
        ):
            report = dray.copy_tables([copy], target="Target")
            print(*sorted(f"{{table.table}}>{{table.target}}" for table in report.tables), sep="|")
    """
    done = script(code, services={"Server": server.odbc, "Target": target.odbc})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"{other.name}.dbo.ord_one>ord_one|rest>rest",
        f"dbo.rest>rest_dbo|{other.name}.dbo.rest>other_rest",
    ]
    for table, database in (("ord_one", other), ("rest", server), ("other_rest", other), ("rest_dbo", server)):
        assert target.query(f"SELECT id FROM {table}") == [(len(database.name),)], table


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", ["append", "truncate", "replace"])
def test_each_mode_meets_a_table_of_another_database_as_it_says(
    databases: Databases, server: Sqlserver, other: Sqlserver, copying: Copying, mode: str, way: str
) -> None:
    source = databases("sqlite")
    # A BIGINT is no column of SQLite's that numbers its rows, and becomes none.
    identity, integer = ("", "BIGINT") if is_babelfish(server) else ("IDENTITY(1,1)", "INTEGER")
    columns = {"id": f"{integer} NOT NULL PRIMARY KEY", "note": "VARCHAR(20)"}
    for table in ("new", "goods"):
        source.fill(table, columns, [(5, "five"), (9, None)])
    for database in (server, other):
        database.execute(f"CREATE TABLE goods (id bigint {identity} NOT NULL PRIMARY KEY, note nvarchar(20))")
        database.execute(
            f"INSERT INTO goods ({'note' if identity else 'id, note'}) VALUES ({'' if identity else '1, '}N'old')"
        )
    lane = into_other(server, way)
    for number in (1, 2):
        copied = copying(source, server, mode=mode, into=within(other, "{table}"), run_id=f"run {number}", **lane)
        assert copied.error("goods") is None, copied.error("goods")
        assert copied.error("new") is None, copied.error("new")
        assert copied.tables["goods"]["target"] == f"{other.name}.dbo.goods"
        assert copied.tables["goods"]["write_lane"] == ("bcp" if way == "auto" else "odbc"), copied.tables["goods"]
        if mode == "append":
            break
    rows = [(5, "five"), (9, None)]
    assert other.query("SELECT id, note FROM new ORDER BY id") == rows
    assert other.query("SELECT id, note FROM goods ORDER BY id") == [*([(1, "old")] if mode == "append" else []), *rows]
    assert other.all_tables() == {"goods", "new"}, "something is left behind"
    # The journal is in the connection's own database, and the table of the same name there is as it was.
    assert server.all_tables() == {"goods", "dray_journal"}
    assert server.query("SELECT id, note FROM goods") == [(1, "old")]
    again = copying(source, server, mode=mode, into=within(other, "{table}"), run_id=f"run {number}", **lane)
    assert [table["skipped"] for table in again.tables.values()] == [True, True]


@pytest.mark.parametrize("way", WAYS)
def test_rows_meet_those_of_the_same_key_in_another_database(
    databases: Databases, server: Sqlserver, other: Sqlserver, copying: Copying, way: str
) -> None:
    source = databases("postgresql")
    columns = {"id": "INTEGER NOT NULL PRIMARY KEY", "note": "VARCHAR(20)", "modified": "timestamp"}
    source.fill("goods", columns, [(2, "new two", "2026-01-05 00:00:00"), (3, None, "2026-01-06 12:30:00.5")])
    lane = into_other(server, way)
    expected = {"upsert": [(1, "one"), (2, "new two"), (3, None)], "mirror": [(2, "new two"), (3, None)]}
    expected["incremental"] = expected["upsert"]
    for mode, rows in expected.items():
        other.execute("DROP TABLE IF EXISTS goods")
        other.execute(
            "CREATE TABLE goods (id int IDENTITY(1,1) NOT NULL PRIMARY KEY, note nvarchar(20), modified datetime2(6), "
            "kept varchar(9) NOT NULL DEFAULT 'kept')"
        )
        other.execute("INSERT INTO goods (note) VALUES (N'one'), (N'two')")
        options = {"watermark": "modified"} if mode == "incremental" else {}
        after = "UPDATE {target} SET kept = 'last' WHERE id = 3"
        copied = copying(source, server, mode=mode, into=within(other, "goods"), after=after, **options, **lane)
        assert copied.error("goods") is None, (mode, copied.error("goods"))
        assert other.query("SELECT id, note FROM goods ORDER BY id") == rows, mode
        assert other.query("SELECT kept FROM goods ORDER BY id")[-1] == ("last",), mode
        assert other.all_tables() == {"goods"}, "something is left behind"
    after = "DELETE FROM no_such_table"
    error = copying(source, server, mode="upsert", into=within(other, "goods"), after=after, **lane).error("goods")
    assert error is not None and error["code"] == "database.not_found", error
    assert other.all_tables() == {"goods"}, "something is left behind"


@pytest.mark.parametrize("way", WAYS)
def test_names_with_dots_blanks_and_apostrophes_are_one_table_each(
    server: Sqlserver, other: Sqlserver, copying: Copying, way: str
) -> None:
    # Without a bracket in them, which Babelfish cannot read.
    other.execute("CREATE TABLE [or.d er's] (id int NOT NULL PRIMARY KEY)")
    other.execute("INSERT INTO [or.d er's] VALUES (1), (2)")
    lane = into_other(server, way)
    name, target = within(other, "[or.d er's]"), within(other, '"co.p y\'s"')
    for mode in ("append", "truncate", "replace", "upsert"):
        copied = copying(server, server, name, into=target, mode=mode, **lane)
        (table,) = copied.tables.values()
        assert table["error"] is None, table["error"]
        assert (table["rows"], other.query("SELECT id FROM [co.p y's] ORDER BY id")) == (2, [(1,), (2,)])
    assert other.all_tables() == {"or.d er's", "co.p y's"}


@pytest.mark.parametrize("way", WAYS)
def test_two_runs_at_once_into_one_table_are_refused_whichever_database_they_are_connected_to(
    databases: Databases, server: Sqlserver, other: Sqlserver, copying: Copying, way: str
) -> None:
    source = databases("postgresql")
    assert isinstance(source, Postgresql)
    source.fill("goods", {"id": "INTEGER"}, [(1,)])
    other.execute("CREATE TABLE goods (id int)")
    lane = into_other(server, way)
    if way == "freetds":
        by(other, way)
    with held_back(source, "goods"):
        first = copying.start(source, server, mode="truncate", into=within(other, "goods"), **lane)
        wait_for(lambda: source.query(BLOCKED) == [(1,)], first)
        error = copying(source, other, mode="truncate", patience=0, **lane).error("goods")
    assert error is not None and error["code"] == "copy.target_in_use", error
    assert copying.finish(first).error("goods") is None
    assert copying(source, other, mode="truncate", patience=0, **lane).error("goods") is None, "it was not given back"
    assert other.query("SELECT id FROM goods") == [(1,)]


def test_a_table_of_the_connections_own_database_is_the_same_by_two_parts_and_by_three(
    server: Sqlserver, copying: Copying, script: Script
) -> None:
    server.execute("CREATE TABLE t (id int)")
    server.execute("INSERT INTO t VALUES (1)")
    own = within(server, "t")
    code = f"""
        import dray
        dray.copy_tables([dray.Copy("Server", "dbo.t", into="dbo.copy"),
                          dray.Copy("Server", {own!r}, into={within(server, "copy")!r})], target="Server")
    """
    done = script(code, services={"Server": server.odbc})
    assert (done.returncode, "copy.same_target" in done.stdout + done.stderr) == (1, True), done.stderr
    assert server.all_tables() == {"t"}
    code = f"import dray\ndray.copy_table('Server', 'Server', 'dbo.t', into={own!r}, mode='append')"
    done = script(code, services={"Server": server.odbc})
    assert (done.returncode, "source and target are the same table" in done.stderr) == (1, True), done.stderr
    first = copying(server, server, "dbo.t", into="dbo.copy", run_id="one")
    # Its letters do not count either where the server does not tell them apart.
    spelled = within(server, "t").replace(server.name, server.name.upper())
    second = copying(server, server, spelled, into=within(server, "copy"), run_id="one")
    assert [first.tables["t"]["skipped"], second.tables["t"]["skipped"]] == [False, True]
    assert second.tables["t"]["table"] == "dbo.t" and second.tables["t"]["target"] == "dbo.copy"
    assert server.query("SELECT id FROM copy") == [(1,)]


def test_tables_that_refer_to_each_other_are_loaded_in_their_order_in_another_database(
    databases: Databases, server: Sqlserver, other: Sqlserver, copying: Copying
) -> None:
    source = databases("sqlite")
    source.fill("a_child", {"id": "INTEGER NOT NULL PRIMARY KEY", "of": "INTEGER"}, [(1, 7)])
    source.fill("parent", {"id": "INTEGER NOT NULL PRIMARY KEY"}, [(7,)])
    other.execute("CREATE TABLE parent (id int NOT NULL PRIMARY KEY)")
    other.execute("CREATE TABLE a_child (id int NOT NULL PRIMARY KEY, [of] int REFERENCES parent (id))")
    lane = into_other(server, "odbc")
    copied = copying(
        source, server, ["a_child", "parent"], mode="append", into=within(other, "{table}"), parallel=1, **lane
    )
    assert (copied.error("a_child"), copied.error("parent")) == (None, None)
    assert other.query("SELECT id, [of] FROM a_child") == [(1, 7)]
    alone = copying(source, server, ["parent"], mode="replace", into=within(other, "{table}"))
    error = alone.error("parent")
    assert error is not None and error["code"] == "copy.not_replaceable", error
    assert "a_child" in error["message"], error


def test_foreign_keys_between_tables_of_another_database_come_along(
    databases: Databases, server: Sqlserver, other: Sqlserver, copying: Copying
) -> None:
    target = databases("postgresql")
    other.execute("CREATE TABLE parent (id int NOT NULL PRIMARY KEY)")
    other.execute("CREATE TABLE a_child (id int NOT NULL PRIMARY KEY, [of] int REFERENCES parent (id))")
    other.execute("INSERT INTO parent VALUES (7)")
    other.execute("INSERT INTO a_child VALUES (1, 7)")
    copied = copying(server, target, within(other, "*"))
    assert [table["not_carried"] for table in copied.tables.values()] == [[], []]
    assert target.query("SELECT confrelid::regclass::text FROM pg_constraint WHERE contype = 'f'") == [("parent",)]


def test_a_database_that_is_out_of_reach_is_named_before_anything_is_copied(
    databases: Databases, server: Sqlserver, other: Sqlserver, script: Script
) -> None:
    source = databases("sqlite")
    source.fill("t", {"id": "INTEGER"}, [(1,)])
    server.execute("CREATE TABLE t (id int)")
    other.execute("CREATE TABLE t (id int)")
    login = f"dray_login_{os.getpid()}"
    server.execute(f"CREATE LOGIN {login} WITH PASSWORD = 'Dray-1234'")
    try:
        server.execute(f"CREATE USER {login} FOR LOGIN {login}")
        server.execute(f"GRANT SELECT ON t TO {login}")
        lacking = "".join(
            f"{name}={login if name == 'UID' else 'Dray-1234' if name == 'PWD' else value};"
            for name, value in (pair.split("=", 1) for pair in server.odbc.split(";") if pair)
        )
        services: dict[str, Any] = {"Server": server.odbc, "Lacking": lacking, "Source": source.odbc}
        for copies, words in (
            ('dray.Copy("Server", "[no such].dbo.t")], target="Source"', ["`no such.dbo.t`", "no database `no such`"]),
            ('dray.Copy("Server", "[no such].dbo.*")], target="Source"', ["`no such.dbo.*`", "no database `no such`"]),
            (
                'dray.Copy("Source", "t", into="[no such]..t")], target="Server"',
                ["`no such..t`", "no database `no such`"],
            ),
            (
                f'dray.Copy("Lacking", "[{other.name}].dbo.t")], target="Source"',
                [f"the login `{login}` may not use the database `{other.name}`"],
            ),
            (
                f'dray.Copy("Source", "t", into="[{other.name}].dbo.t")], target="Lacking"',
                [f"the login `{login}` may not use the database `{other.name}`"],
            ),
        ):
            code = f"""
                import dray
                try:
                    dray.copy_tables([dray.Copy("Source", "t", into="fine"), {copies})
                except dray.CopyError as error:
                    print(error.code, error)
            """
            done = script(code, services=services)
            assert done.returncode == 0, done.stderr
            assert done.stdout.startswith("copy.name "), done.stdout
            assert all(word in done.stdout for word in words), done.stdout
            assert server.all_tables() == {"t"} and source.tables() == {"t"}
    finally:
        server.execute(f"REVOKE SELECT ON t FROM {login}")
        server.execute(f"DROP USER IF EXISTS {login}")
        server.execute(f"DROP LOGIN {login}")


def test_a_database_is_named_where_rows_go_to_and_come_from_arrow_and_where_two_are_compared(
    databases: Databases, server: Sqlserver, other: Sqlserver, script: Script
) -> None:
    source = databases("sqlite")
    source.fill("t", {"id": "INTEGER NOT NULL PRIMARY KEY"}, [(1,), (2,), (4,)])
    name = within(other, "t")
    code = f"""
        import dray
        rows = dray.read("Source", "SELECT id FROM t WHERE id < 3")
        print(dray.write("Server", {name!r}, rows, lanes="odbc").target)
        dray.write("Server", "back", dray.read("Server", {name!r}))
        (table,) = dray.verify_tables(dray.Copy("Source", "t", into={name!r}), target="Server", key="id").tables
        print([each.key for each in table.differences])
    """
    done = script(code, services={"Server": server.odbc, "Source": source.odbc})
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{other.name}.dbo.t\n[{{'id': '4'}}]\n"
    assert other.query("SELECT id FROM t ORDER BY id") == [(1,), (2,)]
    assert server.query("SELECT id FROM back ORDER BY id") == [(1,), (2,)]


def test_rights_come_back_in_another_database_too(
    databases: Databases, server: Sqlserver, other: Sqlserver, script: Script
) -> None:
    source = databases("sqlite")
    source.fill("t", {"id": "INTEGER NOT NULL PRIMARY KEY"}, [(1,)])
    other.execute("CREATE TABLE t (id int NOT NULL PRIMARY KEY)")
    other.execute("CREATE ROLE readers")
    try:
        other.execute("GRANT SELECT ON t TO readers")
        granted = (
            "SELECT COUNT(*) FROM sys.database_permissions p JOIN sys.database_principals g "
            "ON g.principal_id = p.grantee_principal_id WHERE g.name = 'readers' AND p.major_id = OBJECT_ID('t')"
        )
        if other.query(granted) == [(0,)]:
            pytest.skip(
                "the server's sys.database_permissions shows no rights (Babelfish): nothing could be given again"
            )
        options = f"into={within(other, 't')!r}, mode='replace', lanes='odbc'"
        code = f"import dray\ndray.copy_table('Source', 'Server', 't', {options})"
        done = script(code, services={"Server": server.odbc, "Source": source.odbc})
        assert done.returncode == 0, done.stderr
        assert other.query(granted) == [(1,)]
    finally:
        other.execute("DROP TABLE IF EXISTS t")
        other.execute("DROP ROLE readers")
