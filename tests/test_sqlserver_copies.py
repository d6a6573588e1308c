"""SQL Server as source and as destination, through Microsoft's driver and FreeTDS: values, lanes, modes, faults.

Runs where DRAY_TEST_MSSQL leads to a database that may be emptied. Servers that only speak the protocol (Babelfish) depart
from SQL Server in places; there, SQL Server's documented behaviour is what a test asks for, and it says so.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
import uuid
from decimal import Decimal
from typing import Any

import pytest
from conftest import Script
from copying import Copying
from databases import PRODUCTS, Database, Databases, Postgresql, Sqlserver
from exact_values import DOUBLES, Kind, as_decimal, as_instant, as_padded_text, as_text, kind
from product_values import PRODUCT_KINDS
from test_copy_again import BLOCKED, held_back, wait_for
from test_copy_values import differences


def table_of(kind: Kind) -> str:
    """The table of a kind of value. Babelfish takes a table called `decimal` for the type."""
    return "t_" + kind.name.replace(" ", "_")


# The lanes and the driver that a copy goes by.
WAYS = ["auto", "odbc", "freetds"]


@pytest.fixture
def server(databases: Databases) -> Sqlserver:
    """The empty database."""
    made = databases("sqlserver")
    assert isinstance(made, Sqlserver)
    return made


def by(server: Sqlserver, way: str) -> dict[str, Any]:
    """Makes copies go this way, and gives the options for it."""
    if way == "freetds":
        server.odbc = server.freetds
    return {"lanes": "odbc" if way == "odbc" else "auto"}


def known(name: str, declared: str, **changes: Any) -> Kind:
    """A kind of value that other products have as well, with SQL Server's type for it."""
    found = next((each for each in PRODUCT_KINDS if each.name == name), None) or kind(name)
    changes["targets"] = (*changes.get("targets", found.targets), "sqlserver")
    return dataclasses.replace(found, types={**found.types, "sqlserver": declared}, **changes)


def offset_instant(value: Any) -> datetime.datetime:
    """A point in time; SQL Server gives it as text with a space before the offset, and seven digits."""
    if isinstance(value, str):
        value = re.sub(r"(?:(\.\d{6})\d?)? (?=[+-]\d\d:\d\d$)", r"\1", value)
    return as_instant(value)


KINDS = [
    known("smallint", "smallint"),
    known("integer", "int"),
    known("bigint", "bigint"),
    known("tinyint unsigned", "tinyint"),
    known("boolean", "bit"),
    known("decimal", "decimal(15,4)"),
    known("decimal of 38 digits", "decimal(38,10)"),
    # The server's floats begin with the smallest normal one.
    known(
        "double", "float", values=[value for value in DOUBLES if value == 0 or abs(value) >= 2.2250738585072014e-308]
    ),
    known("single", "real"),
    known("text", "nvarchar(max)"),
    known("varchar", "nvarchar(600)"),
    known("every character", "nvarchar(max)"),
    # What it is filled with differs: SQL Server counts units of UTF-16.
    known("char that is filled", "nchar(10)", canonical=as_padded_text),
    known("bytes", "varbinary(max)"),
    known("date", "date", read={"sqlserver": "CONVERT(varchar(10), {}, 23)"}),
    known("time", "time(6)"),
    known("timestamp", "datetime2(6)"),
    known("milliseconds", "datetime2(3)"),
    known(
        "instant",
        "datetimeoffset(6)",
        canonical=offset_instant,
        stored={"sqlite": str, "mariadb": lambda value: value.replace(tzinfo=None)},
        read={"sqlserver": "CONVERT(varchar(40), {}, 121)"},
    ),
    known("uuid", "uniqueidentifier", stored={"sqlserver": str}),
    Kind(
        "money",
        {"sqlserver": "money"},
        [Decimal("-922337203685477.5808"), Decimal("0.0001"), Decimal("1.5")],
        as_decimal,
    ),
    Kind("smallmoney", {"sqlserver": "smallmoney"}, [Decimal("-214748.3648"), Decimal("214748.3647")], as_decimal),
    Kind(
        "small time",
        {"sqlserver": "smalldatetime"},
        [datetime.datetime(2079, 6, 6, 23, 59)],
        lambda value: str(value)[:19],
    ),
    Kind("latin", {"sqlserver": "varchar(20)"}, ["", "é", "Größe", "€"], as_text),
    Kind("long latin", {"sqlserver": "varchar(max)"}, ["", "é" * 70_000], as_text),
    Kind("fixed bytes", {"sqlserver": "binary(4)"}, [b"\0\0\0\0", b"\xff\0\xff\0"], bytes),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("product", PRODUCTS)
def test_every_value_leaves_sql_server_as_it_is(
    databases: Databases, server: Sqlserver, copying: Copying, product: str, way: str
) -> None:
    target = databases(product)
    kinds = [each for each in KINDS if "sqlserver" in each.types]
    held = {each.name: each.fill(server, table_of(each)) for each in kinds}
    copied = copying(server, target, **by(server, way))
    check(kinds, held, copied, target)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("product", PRODUCTS)
def test_every_value_enters_sql_server_as_it_is(
    databases: Databases, server: Sqlserver, copying: Copying, product: str, way: str
) -> None:
    source = databases(product)
    kinds = [each for each in KINDS if product in each.types]
    if way == "auto":
        # Babelfish takes the times of a bulk copy through floats: .000099 becomes .000098. What it is sent is exact, see
        # test_sqlserver_bcp.py.
        kinds = [each for each in kinds if each.name != "time"]
    held = {each.name: each.fill(source, table_of(each)) for each in kinds}
    copied = copying(source, server, [table_of(each) for each in kinds], **by(server, way))
    assert {table["write_lane"] for table in copied.tables.values()} == {"bcp" if way == "auto" else "odbc"}
    check(kinds, held, copied, server)


def check(kinds: list[Kind], held: dict[str, list[Any]], copied: Any, target: Database) -> None:
    """Everything that left has arrived."""
    failures = {}
    for each in kinds:
        error = copied.error(table_of(each))
        wrong = [error["message"]] if error else differences(held[each.name], each.content(target, table_of(each)))
        if wrong:
            failures[each.name] = wrong
    assert failures == {}


# Babelfish takes an empty `text`, `ntext` or `image` of a bulk load for NULL. What it is sent is exact, see
# test_sqlserver_bcp.py.
OLDER = {
    "a": ("char(5)", ["é    ", "abcde"]),
    "b": ("varchar(10)", ["", "Größe €"]),
    "c": ("text", ["x", "é" * 70_000]),
    "d": ("ntext", ["x", "日🎉" * 9_000]),
    "e": ("image", [b"x", b"\0\xff" * 50_000]),
    "f": ("varchar(max)", ["", "é" * 70_000]),
    "g": ("money", [Decimal("-922337203685477.5808"), Decimal("922337203685477.5807")]),
    "h": ("smallmoney", [Decimal("-214748.3648"), Decimal("214748.3647")]),
    "i": ("datetime", [datetime.datetime(1753, 1, 1), datetime.datetime(2024, 1, 1, 23, 59, 59, 997_000)]),
    "j": ("smalldatetime", [datetime.datetime(1900, 1, 1), datetime.datetime(2079, 6, 6, 23, 59)]),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_older_types_are_copied_into_a_table_that_is_there(server: Sqlserver, script: Script, way: str) -> None:
    columns = ", ".join(f"{name} {declared}" for name, (declared, _) in OLDER.items())
    for table in ("t", "same"):
        server.execute(f"CREATE TABLE {table} (id int NOT NULL PRIMARY KEY, {columns})")
    values = list(zip(*(values for _, values in OLDER.values())))
    server.execute("INSERT INTO t (id) VALUES (1), (4)")
    server.insert("t", [(2 + number, *row) for number, row in enumerate(values)])
    lanes = by(server, way)["lanes"]
    code = f"""
        import dray
        copied = dray.copy_table("Server", "Server", "t", into="same", mode="append", lanes={lanes!r})
        print(copied.write_lane)
    """
    done = script(code, services={"Server": server.odbc})
    assert (done.returncode, done.stdout) == (0, "bcp\n" if way == "auto" else "odbc\n"), done.stderr
    rows = "SELECT * FROM {} ORDER BY id"
    assert len(server.query(rows.format("t"))) == 4
    assert server.query(rows.format("same")) == server.query(rows.format("t"))


def test_a_table_of_every_type_becomes_what_the_page_says_and_comes_back_equal(
    databases: Databases, server: Sqlserver, script: Script
) -> None:
    target = databases("postgresql")
    server.execute(
        "CREATE TABLE t (id int NOT NULL PRIMARY KEY, a bit, b tinyint, c numeric(38,10), d money, e smallmoney, f real, "
        "g float, h char(5), i varchar(10), j text, k nchar(5), l nvarchar(10), m ntext, n binary(4), o varbinary(10), "
        "p image, q date, r time(6), s datetime, u smalldatetime, v datetime2(6), w datetimeoffset(6), "
        "x uniqueidentifier, y xml)"
    )
    # Babelfish has room for 40 characters of a decimal of a bulk load, and none for the end of a text of 38 digits, sign and
    # point: it reads on in what was there before ("invalid input syntax for type numeric"). What it is sent is exact, see
    # test_sqlserver_bcp.py.
    values = (
        "1, 255, '-123456789012345678901234567.0123456789', 922337203685477.5807, -214748.3648, 0.1, 0.1, 'é', N'é€', "
        "'long é', N'日', N'日本', N'🎉', 0x00ff00ff, 0x00, 0xff, '0001-01-01', '23:59:59.999999', "
        "'2024-01-02T03:04:05.007', '2024-01-02T03:04:00', '9999-12-31T23:59:59.999999', "
        "'2024-01-02 03:04:05.123456 +05:45', '6F9619FF-8B86-D011-B42D-00C04FC964FF', N'<a b=\"1\">é</a>'"
    )
    server.execute(f"INSERT INTO t VALUES (1, {values})")
    server.execute("INSERT INTO t (id) VALUES (2)")
    code = """
        import dray
        dray.copy_table("Server", "Other", "t")
        dray.copy_table("Other", "Server", "t", into="back")
    """
    done = script(code, services={"Server": server.odbc, "Other": target.odbc})
    assert done.returncode == 0, done.stderr
    (row, empty) = target.query("SELECT * FROM t ORDER BY id")
    assert row[1:8] == (
        True,
        255,
        Decimal("-123456789012345678901234567.0123456789"),
        Decimal("922337203685477.5807"),
        Decimal("-214748.3648"),
        0.1,  # the shortest digits of a real
        0.1,
    )
    assert row[8:14] == ("é    ", "é€", "long é", "日    ", "日本", "🎉")
    assert [bytes(value) for value in row[14:17]] == [b"\0\xff\0\xff", b"\0", b"\xff"]
    assert row[17:19] == (datetime.date(1, 1, 1), datetime.time(23, 59, 59, 999_999))
    assert row[19:22] == (
        datetime.datetime(2024, 1, 2, 3, 4, 5, 7_000),
        datetime.datetime(2024, 1, 2, 3, 4),
        datetime.datetime(9999, 12, 31, 23, 59, 59, 999_999),
    )
    assert row[22] == datetime.datetime(2024, 1, 1, 21, 19, 5, 123_456, tzinfo=datetime.timezone.utc)
    assert row[23:] == (uuid.UUID("6f9619ff-8b86-d011-b42d-00c04fc964ff"), '<a b="1">é</a>')
    assert empty[1:] == (None,) * 24
    # Types without one of their own elsewhere come back as what holds them.
    same = "a, b, c, d, e, f, g, h, k, l, n, o, q, r, v, x"
    assert server.query(f"SELECT {same} FROM back ORDER BY id") == server.query(f"SELECT {same} FROM t ORDER BY id")


def test_the_seventh_digit_of_a_second_is_refused_or_rounded_and_counted(
    databases: Databases, server: Sqlserver, script: Script
) -> None:
    # Babelfish declares no more than six digits.
    target = databases("postgresql")
    server.execute("CREATE TABLE t (id int NOT NULL PRIMARY KEY, at datetime2(6))")
    server.execute("INSERT INTO t VALUES (1, '2024-01-01T00:00:00.123456'), (2, '2024-01-01T00:00:00.125')")
    target.execute("CREATE TABLE t (id int PRIMARY KEY, at timestamp(3))")
    services = {"Server": server.odbc, "Other": target.odbc}
    done = script("import dray\ndray.copy_table('Server', 'Other', 't')", services=services)
    assert done.returncode == 1
    assert '`fraction="round"`' in done.stderr
    code = "import dray\nprint(dray.copy_table('Server', 'Other', 't', fraction='round').rounded_fractions)"
    done = script(code, services=services)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    assert [at.microsecond for (at,) in target.query("SELECT at FROM t ORDER BY id")] == [123_000, 125_000]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", ["append", "truncate", "replace"])
def test_each_mode_meets_a_table_with_an_identity_as_it_says(
    databases: Databases, server: Sqlserver, copying: Copying, mode: str, way: str
) -> None:
    source = databases("sqlite")
    source.fill("t", {"id": "INTEGER NOT NULL PRIMARY KEY", "note": "VARCHAR(20)"}, [(5, "five"), (9, None)])
    server.execute("CREATE TABLE t (id int IDENTITY(1,1) NOT NULL PRIMARY KEY, note nvarchar(20))")
    server.execute("INSERT INTO t (note) VALUES (N'old')")
    copied = copying(source, server, mode=mode, **by(server, way))
    assert copied.error("t") is None
    old = [(1, "old")] if mode == "append" else []
    assert server.query("SELECT id, note FROM t ORDER BY id") == [*old, (5, "five"), (9, None)]
    assert server.tables() == {"t"}


@pytest.mark.parametrize("way", WAYS)
def test_rows_meet_those_of_the_same_key_whatever_the_identity_says(
    databases: Databases, server: Sqlserver, copying: Copying, way: str
) -> None:
    source = databases("postgresql")
    columns = {"id": "INTEGER NOT NULL PRIMARY KEY", "note": "VARCHAR(20)", "modified": "timestamp"}
    source.fill("t", columns, [(2, "new two", "2026-01-05 00:00:00"), (3, None, "2026-01-06 12:30:00.5")])
    lane = by(server, way)
    expected = {"upsert": [(1, "one"), (2, "new two"), (3, None)], "mirror": [(2, "new two"), (3, None)]}
    expected["incremental"] = expected["upsert"]
    for mode, rows in expected.items():
        server.execute("DROP TABLE IF EXISTS t")
        server.execute(
            "CREATE TABLE t (id int IDENTITY(1,1) NOT NULL PRIMARY KEY, note nvarchar(20), modified datetime2(6), "
            "kept varchar(9) NOT NULL DEFAULT 'kept')"
        )
        server.execute("INSERT INTO t (note) VALUES (N'one'), (N'two')")
        options = {"watermark": "modified"} if mode == "incremental" else {}
        after = "UPDATE {target} SET kept = 'last' WHERE id = 3"
        copied = copying(source, server, mode=mode, after=after, **options, **lane)
        assert copied.error("t") is None, (mode, copied.error("t"))
        assert server.query("SELECT id, note FROM t ORDER BY id") == rows, mode
        assert server.query("SELECT kept FROM t ORDER BY id")[-1] == ("last",), mode
        assert server.tables() == {"t"}, "something is left behind"
        # The server goes on counting by itself.
        server.execute("INSERT INTO t (note) VALUES (N'four')")
    error = copying(source, server, mode="upsert", after="DELETE FROM no_such_table", **lane).error("t")
    assert error is not None and error["code"] == "database.not_found", error
    assert server.tables() == {"t"}, "something is left behind"


@pytest.mark.parametrize("way", WAYS)
def test_keys_that_come_twice_or_not_at_all_change_nothing(
    databases: Databases, server: Sqlserver, copying: Copying, way: str
) -> None:
    source = databases("sqlite")
    parts = {"Region": "VARCHAR(20)", "Number": "INTEGER", "note": "VARCHAR(20)"}
    source.fill("twice", parts, [("secret", 1, "a"), ("secret", 1, "b"), ("x", 1, "c")])
    source.fill("lacks", parts, [("secret", None, "a")])
    for name in ("twice", "lacks"):
        server.execute(f"CREATE TABLE {name} (Region nvarchar(20), Number int, note nvarchar(20))")
        server.execute(f"INSERT INTO {name} VALUES (N'x', 1, N'old')")
    copied = copying(source, server, ["twice", "lacks"], mode="upsert", key=["region", "Number"], **by(server, way))
    twice, lacks = copied.error("twice"), copied.error("lacks")
    assert twice is not None and lacks is not None
    assert twice["code"] == lacks["code"] == "copy.duplicate_keys", (twice, lacks)
    # Babelfish keeps names in small letters.
    assert "1 value of `region`, `number` comes more than once" in twice["message"].lower()
    assert "secret" not in copied.stderr + str(twice)
    assert server.query("SELECT note FROM twice") == server.query("SELECT note FROM lacks") == [("old",)]


@pytest.mark.parametrize("way", ["odbc", "freetds"])
@pytest.mark.parametrize("declared", ["datetime2(6)", "datetime", "datetimeoffset(6)"])
def test_an_incremental_copy_from_sql_server_reads_what_is_greater_than_its_mark(
    databases: Databases, server: Sqlserver, copying: Copying, way: str, declared: str
) -> None:
    target = databases("postgresql")
    server.execute(f"CREATE TABLE t (id int NOT NULL PRIMARY KEY, note nvarchar(20), modified {declared})")
    server.execute(
        "INSERT INTO t VALUES (1, N'a', '2026-01-01T00:00:00'), (2, N'b', '2026-01-02T00:00:00.003'), (3, N'c', NULL)"
    )

    def copied(**options: Any) -> int:
        done = copying(server, target, mode="incremental", watermark="Modified", **options, **by(server, way))
        assert done.error("t") is None, done.error("t")
        return int(done.tables["t"]["rows"])

    assert copied() == 3
    assert copied() == 0
    server.execute("UPDATE t SET note = N'changed', modified = '2026-01-02T00:00:00.013' WHERE id = 1")
    server.execute("INSERT INTO t VALUES (4, N'late', '2026-01-01T23:59:00')")
    assert copied() == 1
    assert copied(overlap="15min") == 3
    rows = "SELECT id, note FROM t ORDER BY id"
    assert target.query(rows) == server.query(rows)


def test_a_second_run_of_the_same_id_skips_what_the_first_has_finished_in_sql_server(
    databases: Databases, server: Sqlserver, copying: Copying
) -> None:
    source = databases("sqlite")
    source.fill("good", {"id": "INTEGER"}, [(1,), (2,)])
    source.fill("bad", {"id": "INTEGER"}, [(1,)])
    server.execute("CREATE TABLE bad (id INTEGER CHECK (id <> 1))")
    first = copying(source, server, run_id="it's one")
    assert (first.error("good"), first.tables["good"]["skipped"]) == (None, False)
    assert first.error("bad") is not None
    source.execute("UPDATE bad SET id = 3")
    second = copying(source, server, run_id="it's one")
    assert (second.tables["good"]["skipped"], second.tables["good"]["rows"]) == (True, 2)
    assert (second.tables["bad"]["skipped"], second.tables["bad"]["rows"]) == (False, 1)
    # Ids differ by case, whatever the database's collation says.
    third = copying(source, server, run_id="It's one")
    assert not any(table["skipped"] for table in third.tables.values())
    assert server.count("good") == 4
    assert server.query("SELECT COUNT(*) FROM dray_journal") == [(4,)]


@pytest.mark.parametrize("way", WAYS)
def test_two_runs_at_once_into_one_table_of_sql_server_are_refused(
    databases: Databases, server: Sqlserver, copying: Copying, way: str
) -> None:
    source = databases("postgresql")
    assert isinstance(source, Postgresql)
    source.fill("t", {"id": "INTEGER"}, [(1,)])
    server.execute("CREATE TABLE t (id int)")
    server.execute("INSERT INTO t VALUES (0)")
    lane = by(server, way)
    with held_back(source, "t"):
        first = copying.start(source, server, mode="truncate", **lane)
        wait_for(lambda: source.query(BLOCKED) == [(1,)], first)
        error = copying(source, server, mode="truncate", patience=0, **lane).error("t")
    assert error is not None and error["code"] == "copy.target_in_use", error
    assert copying.finish(first).error("t") is None
    assert server.query("SELECT id FROM t") == [(1,)]


def test_a_column_of_sql_server_that_nobody_fills_is_named_before_the_load(
    databases: Databases, server: Sqlserver, copying: Copying
) -> None:
    source = databases("sqlite")
    source.fill("t", {"id": "INTEGER"}, [(1,)])
    server.execute(
        "CREATE TABLE t (id int, number int IDENTITY(1,1), filled int NOT NULL DEFAULT 1, [must be] int NOT NULL)"
    )
    error = copying(source, server).error("t")
    assert error is not None and error["code"] == "copy.columns_required", error
    assert "`must be`" in error["message"] and "`number`" not in error["message"], error


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", ["append", "truncate", "replace"])
def test_a_row_that_the_server_refuses_takes_the_whole_load_back_and_is_not_repeated(
    databases: Databases, server: Sqlserver, copying: Copying, mode: str, way: str
) -> None:
    source = databases("sqlite")
    source.fill(
        "t", {"id": "INTEGER NOT NULL", "note": "VARCHAR(20)"}, [(number, f"n{number}") for number in range(2500)]
    )
    source.insert("t", [(17, "geheim")])
    server.execute("CREATE TABLE t (id int NOT NULL PRIMARY KEY, note nvarchar(20))")
    server.execute("INSERT INTO t VALUES (9999, N'old')")
    if mode == "replace":
        # A new table has no key to be broken: the text is too long for the one that is made.
        source.execute("DELETE FROM t WHERE note = 'geheim'")
        source.execute("UPDATE t SET note = ? WHERE id = 2499", "geheim" * 20)
    copied = copying(source, server, mode=mode, **by(server, way))
    error = copied.error("t")
    assert error is not None
    assert "geheim" not in json.dumps(error) + copied.stderr
    assert error["code"] == ("copy.value_refused" if mode == "replace" else "database.constraint"), error
    assert server.query("SELECT id, note FROM t") == [(9999, "old")]
    assert server.tables() == {"t"}


def test_a_table_that_others_refer_to_is_emptied_row_by_row_and_not_replaced(
    databases: Databases, server: Sqlserver, script: Script
) -> None:
    source = databases("sqlite")
    source.fill("t", {"id": "INTEGER NOT NULL PRIMARY KEY"}, [(1,), (2,)])
    server.execute("CREATE TABLE t (id int NOT NULL PRIMARY KEY)")
    server.execute("CREATE TABLE child (id int CONSTRAINT refers REFERENCES t (id))")
    server.execute("INSERT INTO t VALUES (7)")
    code = "import dray, sys\ndray.copy_table('Other', 'Server', 't', mode=sys.argv[1])"
    services = {"Server": server.odbc, "Other": source.odbc}
    done = script(code, "replace", services=services)
    assert done.returncode == 1
    assert "foreign key `refers`" in done.stderr
    assert "copy `dbo.child` in the same call" in done.stderr
    assert server.query("SELECT id FROM t") == [(7,)]
    done = script(code, "truncate", services=services)
    assert done.returncode == 0, done.stderr
    assert server.query("SELECT id FROM t ORDER BY id") == [(1,), (2,)]


@pytest.mark.parametrize("way", WAYS)
def test_what_a_column_would_change_in_silence_is_refused_by_row(
    databases: Databases, server: Sqlserver, copying: Copying, way: str
) -> None:
    source = databases("sqlite")
    cases = {
        "code_page": ("varchar(20)", "TEXT", "Ω", "nvarchar has them all"),
        "units": ("nvarchar(3)", "TEXT", "🎉🎉", "4 units"),
        "spaces": ("nvarchar(3)", "TEXT", "abc ", "4 characters"),
        "ticks": ("datetime", "TIMESTAMP", "2024-01-01 00:00:00.001", "1/300"),
        "minutes": ("smalldatetime", "TIMESTAMP", "2024-01-01 00:00:01", "minute"),
        "smallest": ("float", "DOUBLE", 5e-324, "smallest"),
    }
    for name, (declared, type_there, value, _) in cases.items():
        source.fill(name, {"id": "INTEGER NOT NULL PRIMARY KEY", "v": type_there}, [(1, None), (2, value)])
        server.execute(f"CREATE TABLE {name} (id int NOT NULL PRIMARY KEY, v {declared})")
    copied = copying(source, server, **by(server, way))
    for name, (_, _, _, reason) in cases.items():
        error = copied.error(name)
        assert error is not None, name
        assert (reason in error["message"], error["row"]) == (True, 2), error
        assert server.count(name) == 0


def test_a_computed_column_and_a_rowversion_are_refused_as_targets_and_read_as_sources(
    databases: Databases, server: Sqlserver, script: Script
) -> None:
    other = databases("sqlite")
    server.execute("CREATE TABLE t (id int NOT NULL PRIMARY KEY, twice AS (id * 2) PERSISTED)")
    server.execute("INSERT INTO t (id) VALUES (4)")
    services = {"Server": server.odbc, "Other": other.odbc}
    done = script("import dray\ndray.copy_table('Server', 'Other', 't')", services=services)
    assert done.returncode == 0, done.stderr
    assert other.query("SELECT id, twice FROM t") == [(4, 8)]
    done = script("import dray\ndray.copy_table('Other', 'Server', 't')", services=services)
    assert done.returncode == 1
    assert "column `twice`: the database computes the target column itself" in done.stderr


@pytest.mark.parametrize("way", ["odbc", "freetds"])
def test_queries_with_named_parts_and_an_order_are_read(
    databases: Databases, server: Sqlserver, script: Script, way: str
) -> None:
    target = databases("sqlite")
    server.numbered("t", 30, "n")
    by(server, way)
    code = """
        import dray
        dray.copy_table("Server", "Other", query="WITH a AS (SELECT id FROM t) SELECT id FROM a WHERE id > 28", into="a")
        dray.copy_table("Server", "Other", query="SELECT id, note FROM t WHERE id < 3 ORDER BY id DESC", into="b")
    """
    done = script(code, services={"Server": server.odbc, "Other": target.odbc})
    assert done.returncode == 0, done.stderr
    assert target.query("SELECT id FROM a ORDER BY id") == [(29,), (30,)]
    assert target.query("SELECT id, note FROM b ORDER BY id") == [(1, "n1"), (2, "n2")]


@pytest.mark.parametrize("way", ["odbc", "freetds"])
@pytest.mark.parametrize(
    "query",
    ["WITH a AS (SELECT id, note FROM t) SELECT id, note FROM a", "SELECT id, note FROM t ORDER BY note -- all"],
)
def test_an_incremental_copy_of_a_query_with_named_parts_or_an_order_reads_what_is_new(
    databases: Databases, server: Sqlserver, script: Script, way: str, query: str
) -> None:
    target = databases("sqlite")
    server.numbered("t", 30, "n")
    by(server, way)
    code = f"""
        import dray
        print(dray.copy_table("Server", "Other", query={query!r}, into="a", mode="incremental", watermark="id", key="id").rows)
    """
    services = {"Server": server.odbc, "Other": target.odbc}
    first = script(code, services=services)
    assert (first.returncode, first.stdout) == (0, "30\n"), first.stderr
    server.execute("INSERT INTO t (id, note) VALUES (31, N'new')")
    second = script(code, services=services)
    assert (second.returncode, second.stdout) == (0, "1\n"), second.stderr
    assert target.query("SELECT COUNT(*), MAX(note) FROM a") == server.query("SELECT COUNT(*), MAX(note) FROM t")


@pytest.mark.parametrize("way", WAYS)
def test_names_of_any_letters_and_long_columns_between_others_keep_their_places(
    databases: Databases, server: Sqlserver, copying: Copying, way: str
) -> None:
    target = databases("postgresql")
    # Babelfish makes small letters of names, and `?` of those beyond its code page.
    server.execute(
        "CREATE TABLE [größe b] (id int NOT NULL PRIMARY KEY, [a b-c] nvarchar(max), n int, [é f] varbinary(max))"
    )
    rows = [(1, "x" * 100_000, 7, b"\1" * 70_000), (2, None, None, None), (3, "", 8, b"")]
    server.insert("größe b", rows)
    copied = copying(server, target, **by(server, way))
    table = next(iter(copied.tables.values()))
    assert table["error"] is None
    arrived = target.query('SELECT id, "a b-c", n, "é f" FROM "größe b" ORDER BY id')
    assert [(a, b, c, None if d is None else bytes(d)) for a, b, c, d in arrived] == rows


def test_a_table_in_sql_server_is_copied_within_it_with_its_own_types(server: Sqlserver, script: Script) -> None:
    server.execute(
        "CREATE TABLE t (id int NOT NULL, code nchar(3) NOT NULL, at datetime2(3), note varchar(20), doc xml, "
        "PRIMARY KEY (code, id))"
    )
    server.execute("INSERT INTO t VALUES (1, N'abc', '2024-01-01T00:00:00.5', 'é', N'<a> <b/> </a>')")
    server.execute("CREATE INDEX by_note ON t (note)")
    code = "import dray\nprint(dray.copy_table('Server', 'Server', 't', into='copied').not_carried)"
    done = script(code, services={"Server": server.odbc})
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
    [(name,)] = server.query(
        "SELECT name FROM sys.indexes WHERE object_id = OBJECT_ID('copied') AND is_primary_key = 0 AND index_id > 0"
    )
    assert name.startswith("by_note"), "Babelfish adds letters to the names of indexes"
    catalog = (
        "SELECT c.name, TYPE_NAME(c.user_type_id), c.max_length, c.precision, c.scale, c.is_nullable FROM sys.columns c "
        "WHERE c.object_id = OBJECT_ID('{}') ORDER BY c.column_id"
    )
    assert server.query(catalog.format("copied")) == server.query(catalog.format("t"))
    same = "SELECT id, code, at, note, CAST(doc AS nvarchar(max)) FROM {}"
    assert server.query(same.format("copied")) == server.query(same.format("t"))


def test_the_plan_says_under_which_isolation_a_table_is_read(
    databases: Databases, server: Sqlserver, copying: Copying
) -> None:
    server.numbered("t", 3, "n")
    copied = copying(server, databases("sqlite"))
    reason = copied.tables["t"]["read_lane_reason"]
    assert "READ COMMITTED" in reason or "SNAPSHOT" in reason
    assert "compatibility level" in reason


def test_a_table_with_a_trigger_is_not_replaced_and_one_is_not_emptied_that_takes_others_along(
    databases: Databases, server: Sqlserver, copying: Copying
) -> None:
    source = databases("sqlite")
    source.fill("t", {"id": "INTEGER NOT NULL PRIMARY KEY"}, [(1,), (2,)])
    server.execute("CREATE TABLE t (id int NOT NULL PRIMARY KEY)")
    server.execute("INSERT INTO t VALUES (7)")
    server.execute("CREATE TRIGGER looks_on ON t AFTER INSERT AS BEGIN DECLARE @x int END")
    error = copying(source, server, "t", mode="replace").error("t")
    assert error is not None
    assert (error["code"], "trigger `looks_on`" in error["message"]) == ("copy.not_replaceable", True), error
    server.execute("DROP TRIGGER looks_on")
    server.execute("CREATE TABLE child (id int CONSTRAINT refers REFERENCES t (id) ON DELETE CASCADE)")
    server.execute("INSERT INTO child VALUES (7)")
    error = copying(source, server, "t", mode="truncate").error("t")
    assert error is not None
    assert (error["code"], "`refers` of `dbo.child`" in error["message"]) == ("copy.not_emptiable", True), error
    assert (server.count("t"), server.count("child")) == (1, 1)
