"""Rows to and from libraries that speak Arrow: what pyarrow, polars, pandas and DuckDB get is what other clients read, and
what they hand over is what those find in the table afterwards.
"""

from __future__ import annotations

import datetime
import pickle
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any, Callable

import pytest
from conftest import Script, Task
from copying import LANES
from databases import PRODUCTS, Database, Databases
from exact_values import KINDS, as_instant, as_integer

# What a script prints are its own words; values come back as pickles, with their types.
HEAD = """
import os, pickle, sys
import dray
import pyarrow as pa


def told(value):
    with open(os.environ["TOLD"], "wb") as file:
        pickle.dump(value, file)


def refused(work):
    try:
        work()
    except Exception as error:
        return type(error).__name__, str(error), getattr(error, "code", None)
    return None

"""


class Arrow:
    """`arrow(code, **databases)` runs code in which each database is a connection's name, and gives what it has told."""

    def __init__(self, script: Script, folder: Path) -> None:
        self._script, self._told = script, folder / "told.pickle"

    def __call__(self, code: str, timeout: float = 170, **databases: Database) -> Any:
        self._told.unlink(missing_ok=True)
        services = {name: database.odbc for name, database in databases.items()}
        variables = {"DRAY_PYTHON": sys.executable, "TOLD": str(self._told)}
        ran = self._run(HEAD + code, services, variables, timeout)
        assert ran.returncode == 0, ran.stderr
        return pickle.loads(self._told.read_bytes()) if self._told.exists() else None

    def _run(
        self, code: str, services: dict[str, str], env: dict[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        return self._script(code, services=services, env=env, timeout=timeout)


@pytest.fixture
def arrow(script: Script, task: Task) -> Arrow:
    """Run a script that has pyarrow, polars, pandas and DuckDB."""
    return Arrow(script, task.folder)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("product", PRODUCTS)
def test_every_kind_of_value_is_read_as_other_clients_read_it(
    databases: Databases, arrow: Arrow, product: str, lanes: str
) -> None:
    source = databases(product)
    kinds = {kind.name.replace(" ", "_"): kind for kind in KINDS if product in kind.types}
    held = {table: kind.fill(source, table) for table, kind in kinds.items()}
    read = arrow(
        f"""
tables = {{}}
for table in {list(kinds)!r}:
    rows = dray.read("Source", table, lanes={lanes!r}, timestamps="us")
    tables[table] = pa.table(rows).sort_by("id").column("value").to_pylist()
told(tables)
""",
        Source=source,
    )
    for table, kind in kinds.items():
        values = [None if value is None else kind.canonical(value) for value in read[table]]
        assert values == held[table], table


TYPES = {
    "postgresql": {
        "a smallint NOT NULL": ("int16", -5),
        "b integer": ("int32", 2**31 - 1),
        "c bigint": ("int64", -(2**63)),
        "d boolean": ("bool", True),
        "e real": ("float", 0.5),
        "f double precision": ("double", 0.1),
        "g numeric(12,3)": ("decimal128(12, 3)", Decimal("-123456789.125")),
        "h numeric(50,10)": ("decimal256(50, 10)", Decimal("-" + "9" * 40 + ".0123456789")),
        "i varchar(10)": ("large_string", "é\n🎉"),
        "j bytea": ("large_binary", b"\0\xff"),
        "k uuid": ("large_string", "c4ca4238-a0b9-2382-0dcc-509a6f75849b"),
        "l date": ("date32[day]", datetime.date(9999, 12, 31)),
        "m time(3)": ("time64[us]", datetime.time(23, 59, 59, 999_000)),
        "n timestamp": ("timestamp[us]", datetime.datetime(1, 1, 1, 0, 0, 0, 1)),
        "o timestamptz": ("timestamp[us, tz=UTC]", datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.timezone.utc)),
        "p json": ("large_string", '{"a" : 1.0}'),
        "q int4range": ("large_string", "[1,5)"),
    },
    "mariadb": {
        "a TINYINT UNSIGNED NOT NULL": ("uint8", 255),
        "b MEDIUMINT": ("int32", -(2**23)),
        "c BIGINT UNSIGNED": ("uint64", 2**64 - 1),
        "d SMALLINT UNSIGNED": ("uint16", 65_535),
        "e FLOAT": ("float", 0.5),
        "f DOUBLE": ("double", 0.1),
        "g DECIMAL(12,3)": ("decimal128(12, 3)", Decimal("-123456789.125")),
        "h DECIMAL(65,10)": ("decimal256(65, 10)", Decimal("-" + "9" * 40 + ".0123456789")),
        "i VARCHAR(10)": ("large_string", "é\n🎉"),
        "j VARBINARY(10)": ("large_binary", b"\0\xff"),
        "l DATE": ("date32[day]", datetime.date(9999, 12, 31)),
        "m TIME(6)": ("time64[us]", datetime.time(23, 59, 59, 999_999)),
        "n DATETIME(6)": ("timestamp[us]", datetime.datetime(1, 1, 1, 0, 0, 0, 1)),
        "q ENUM('x','y')": ("large_string", "y"),
    },
    "sqlite": {
        "a INTEGER NOT NULL": ("int64", -(2**63)),
        "d BOOLEAN": ("bool", True),
        "f DOUBLE": ("double", 0.1),
        "g DECIMAL(12,3)": ("decimal128(12, 3)", Decimal("-123.125")),
        "i TEXT": ("large_string", "é\n🎉"),
        "j BLOB": ("large_binary", b"\0\xff"),
        "l DATE": ("date32[day]", datetime.date(9999, 12, 31)),
        "n TIMESTAMP": ("timestamp[ns]", datetime.datetime(2024, 2, 29, 1, 2, 3)),
    },
}


def stored(product: str, value: Any) -> Any:
    """A value as the product's client takes it."""
    return str(value) if product == "sqlite" and isinstance(value, (datetime.date, Decimal)) else value


@pytest.mark.parametrize("product", PRODUCTS)
def test_each_type_becomes_the_one_that_holds_all_its_values(databases: Databases, arrow: Arrow, product: str) -> None:
    source = databases(product)
    source.execute(f"CREATE TABLE t ({', '.join(TYPES[product])})")
    source.insert("t", [[stored(product, value) for _, value in TYPES[product].values()]])
    columns, values = arrow(
        """
table = pa.table(dray.read("Source", "t"))
assert table.schema == pa.schema(dray.read("Source", "t"))
columns = {field.name: (str(field.type), field.nullable, field.metadata) for field in table.schema}
told((columns, table.to_pylist()))
""",
        Source=source,
    )
    expected = {declared.split()[0]: kind for declared, (kind, _) in TYPES[product].items()}
    assert {name: kind for name, (kind, _, _) in columns.items()} == expected
    assert {name: nullable for name, (_, nullable, _) in columns.items()} == {name: name != "a" for name in expected}
    assert list(values[0].values()) == [value for _, value in TYPES[product].values()]
    declared = columns["g"][2][b"dray.type"].decode().lower().replace(" ", "")
    assert declared in ("numeric(12,3)", "decimal(12,3)")


@pytest.mark.parametrize("product", PRODUCTS)
def test_polars_pandas_and_duckdb_take_the_rows(databases: Databases, arrow: Arrow, product: str) -> None:
    source = databases(product)
    source.numbered("t", 1000, "é ")
    counts = arrow(
        """
import polars, pandas, duckdb
query = "SELECT id, square, note FROM t WHERE id > 10"
frame = polars.DataFrame(dray.read("Source", query))
data = pa.table(dray.read("Source", query)).to_pandas()
rows = dray.read("Source", query)
found = duckdb.sql("SELECT count(*), max(square), max(id || note) FROM rows").fetchall()
told([
    (len(frame), frame["square"].max(), frame["note"][-1]),
    (len(data), int(data["square"].max()), data["note"].iloc[-1]),
    found[0],
])
""",
        Source=source,
    )
    ((last,),) = source.query("SELECT note FROM t WHERE id = 1000")
    assert counts[:2] == [(990, 1_000_000, last)] * 2
    assert counts[2][:2] == (990, 1_000_000)


def test_the_rows_leave_by_the_bulk_lane_and_only_once(databases: Databases, arrow: Arrow) -> None:
    source = databases("postgresql")
    source.numbered("t", 100_000, "x")
    lanes, rows, again, of_two, after_close = arrow(
        """
rows = dray.read("Source", "t")
odbc = dray.read("Source", "t", lanes="odbc")
# Who only asks for the type has not read them.
pa.RecordBatchReader.from_stream(rows).schema
count = pa.table(rows).num_rows
again = refused(lambda: pa.table(rows))
two = dray.read("Source", "t")
one, other = pa.RecordBatchReader.from_stream(two), pa.RecordBatchReader.from_stream(two)
one.read_next_batch()
of_two = refused(other.read_next_batch)
two.close()
told(((rows.read_lane, odbc.read_lane), count, again, of_two, refused(lambda: list(one))))
""",
        Source=source,
    )
    assert lanes == ("copy", "odbc")
    assert rows == 100_000
    assert again[0] == "CopyError"
    assert again[2] == "read.used_up"
    assert "read once" in again[1]
    assert "read once" in of_two[1]
    assert "stopped before the last row" in after_close[1]


ERRORS = {
    "postgresql": (
        "SELECT i AS id, CASE WHEN i = 50000 THEN 'infinity'::date ELSE '2020-01-01' END AS d "
        "FROM generate_series(1, 100000) i",
        'infinity="null"',
        "infinite",
    ),
    "mariadb": (
        "SELECT seq AS id, CASE WHEN seq = 50000 THEN CAST('25:00:00' AS TIME) ELSE CAST('01:00:00' AS TIME) END AS d "
        "FROM seq_1_to_100000",
        None,
        "span beyond a day",
    ),
}


@pytest.mark.parametrize("product", list(ERRORS))
def test_a_value_that_has_no_place_ends_the_stream_with_its_row(
    databases: Databases, arrow: Arrow, product: str
) -> None:
    source = databases(product)
    query, option, reason = ERRORS[product]
    read, raised, kept, with_null = arrow(
        f"""
rows = dray.read("Source", {query!r})
reader, read = pa.RecordBatchReader.from_stream(rows), []
try:
    for batch in reader:
        read += batch.column("id").to_pylist()
except pa.ArrowInvalid as error:
    raised = str(error)
assert refused(reader.read_next_batch) is not None
error = rows.error
kept = type(error).__name__, error.code, error.column, error.row, error.side, str(error)
nulls = None
if {option!r}:
    nulls = pa.table(dray.read("Source", {query!r}, {option or ""})).column("d").null_count
told((read, raised, kept, nulls))
""",
        Source=source,
    )
    assert len(read) < 50_000
    assert [int(number) for number in read] == list(range(1, len(read) + 1))
    assert "column `d`, row 50000: the value is" in raised
    assert reason in raised
    assert kept[:5] == ("CopyError", "copy.value_refused", "d", 50_000, "source")
    assert kept[5] in raised
    assert with_null == (1 if option else None)


def test_what_the_server_says_in_the_middle_comes_to_the_consumer(databases: Databases, arrow: Arrow) -> None:
    source = databases("postgresql")
    message, kept = arrow(
        """
rows = dray.read("Source", "SELECT 1000 / (90000 - i) AS q FROM generate_series(1, 100000) i")
message = refused(lambda: pa.table(rows))
told((message[1], (rows.error.sqlstate, rows.error.code, rows.error.phase)))
""",
        Source=source,
    )
    assert "division by zero" in message
    assert kept == ("22012", "database.data", "read")


def test_decimals_without_a_size_get_one_and_keep_every_digit(databases: Databases, arrow: Arrow) -> None:
    source = databases("postgresql")
    source.execute("CREATE TABLE t (id integer, n numeric, long numeric(100,2))")
    source.execute("INSERT INTO t VALUES (1, '-0.125', 1), (2, '12345678901234567890.5', NULL), (3, NULL, -2.5)")
    columns, sized, text, short, average = arrow(
        """
read = lambda **options: pa.table(dray.read("Source", "t", **options)).column("n")
columns = pa.table(dray.read("Source", "t"))
sized = read(decimals=(38, 9))
average = pa.table(dray.read("Source", "SELECT avg(i) AS n FROM generate_series(1, 6) i WHERE i <> 5"))
told(([str(field.type) for field in columns.schema], (str(sized.type), sized.to_pylist()),
      read(decimals="text").to_pylist(), refused(lambda: read(decimals=(38, 2))), average.column("n").to_pylist()))
""",
        Source=source,
    )
    assert columns[1:] == ["decimal128(38, 18)"] * 2
    held = [value for (value,) in source.query("SELECT n FROM t ORDER BY id")]
    assert sized == ("decimal128(38, 9)", held)
    assert text == [None if value is None else str(value) for value in held]
    assert "column `n`, row 1: the value has 0 digits before and 3 after the point" in short[1]
    assert "hint: `decimals`" in short[1]
    assert average == [Decimal("3.2")]


def test_times_are_nanoseconds_where_the_column_has_as_many_digits_or_it_is_asked_for(
    databases: Databases, arrow: Arrow
) -> None:
    source = databases("sqlite")
    source.fill("t", {"id": "INTEGER", "ts": "TIMESTAMP"}, [(1, "2024-02-29 01:02:03.123456789"), (2, None)])
    source.fill("far", {"id": "INTEGER", "ts": "TIMESTAMP"}, [(1, "9999-12-31 23:59:59")])
    nanoseconds, too_fine, rounded, too_far, far = arrow(
        """
read = lambda table, **options: pa.table(dray.read("Source", table, **options)).column("ts")
whole = lambda column: (str(column.type), column.cast("int64").to_pylist())
told((whole(read("t")), refused(lambda: read("t", timestamps="us")),
      whole(read("t", timestamps="us", fraction="round")),
      refused(lambda: read("far")), read("far", timestamps="us").to_pylist()))
""",
        Source=source,
    )
    seconds = int(datetime.datetime(2024, 2, 29, 1, 2, 3, tzinfo=datetime.timezone.utc).timestamp())
    assert nanoseconds == ("timestamp[ns]", [seconds * 10**9 + 123_456_789, None])
    assert "9 digits of a second's fraction" in too_fine[1]
    assert 'fraction="round"' in too_fine[1]
    assert rounded == ("timestamp[us]", [seconds * 10**6 + 123_457, None])
    assert "1677 to 2262" in too_far[1]
    assert 'timestamps="us"' in too_far[1]
    assert far == [datetime.datetime(9999, 12, 31, 23, 59, 59)]


def test_zero_dates_are_refused_or_null(databases: Databases, arrow: Arrow) -> None:
    source = databases("mariadb")
    source.execute("SET SESSION sql_mode = ''")  # else the server refuses them itself
    source.execute("CREATE TABLE t (id INT PRIMARY KEY, d DATE NOT NULL)")
    source.execute("INSERT INTO t VALUES (7, '0000-00-00'), (8, '2024-02-29')")
    refusal, values = arrow(
        """
told((refused(lambda: pa.table(dray.read("Source", "t"))),
      pa.table(dray.read("Source", "t", zero_dates="null")).column("d").to_pylist()))
""",
        Source=source,
    )
    assert "column `d`, row 1 (id=7): the value is the zero date" in refusal[1]
    assert values == [None, datetime.date(2024, 2, 29)]


@pytest.mark.parametrize("product", PRODUCTS)
def test_memory_does_not_grow_with_what_is_streamed(databases: Databases, arrow: Arrow, product: str) -> None:
    source = databases(product)
    source.numbered("t", 300_000, "x" * 1000)
    rows, bytes_read, growth_kib = arrow(
        """
def status_kib(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name + ":"))

dray.read("Source", "SELECT 1 AS one FROM t WHERE id = 1").close()
baseline_kib = status_kib("VmRSS")
reader = pa.RecordBatchReader.from_stream(dray.read("Source", "t", memory_limit="64MiB"))
rows = size = 0
for batch in reader:
    rows += batch.num_rows
    size += batch.nbytes
told((rows, size, status_kib("VmHWM") - baseline_kib))
""",
        Source=source,
    )
    assert rows == 300_000
    assert bytes_read > 300_000_000
    assert growth_kib < 64 * 1024


def sessions(database: Database) -> int:
    """How many sessions of others the database has."""
    ((count,),) = database.query(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    return int(count)


ENDS = {
    "nothing is read": "rows = dray.read('Source', 't')\ndel rows",
    "the stream is dropped": (
        "reader = pa.RecordBatchReader.from_stream(dray.read('Source', 't'))\nreader.read_next_batch()\ndel reader"
    ),
    "it is closed": (
        "rows = dray.read('Source', 't')\nreader = pa.RecordBatchReader.from_stream(rows)\n"
        "reader.read_next_batch()\nrows.close()"
    ),
    "the block ends": "with dray.read('Source', 't') as rows:\n    pa.RecordBatchReader.from_stream(rows).read_next_batch()",
    "the last row is read": "pa.table(dray.read('Source', 'SELECT 1 AS one'))",
    "the server is at work": (
        "import threading\nrows = dray.read('Source', 'SELECT pg_sleep(100)::text AS s')\n"
        "reader = pa.RecordBatchReader.from_stream(rows)\n"
        "thread = threading.Thread(target=lambda: refused(reader.read_next_batch))\nthread.start()\n"
        "import time\ntime.sleep(0.5)\nrows.close()\nthread.join()"
    ),
}


@pytest.mark.parametrize("end", list(ENDS))
def test_the_session_ends_when(databases: Databases, arrow: Arrow, end: str) -> None:
    source = databases("postgresql")
    source.numbered("t", 300_000, "some text")
    arrow(
        f"""
control = dray.connect("Source")
others = '''SELECT count(*) AS n FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name NOT LIKE 'test%' '''
before = control.query(others)[0]["n"]
{ENDS[end]}
import time
deadline = time.monotonic() + 5
while control.query(others)[0]["n"] != before:
    assert time.monotonic() < deadline, "the session is still there"
    time.sleep(0.02)
""",
        Source=source,
    )


def test_a_script_may_end_while_rows_are_being_read(databases: Databases, arrow: Arrow) -> None:
    source = databases("postgresql")
    source.numbered("t", 300_000, "some text")
    arrow(
        """
reader = pa.RecordBatchReader.from_stream(dray.read("Source", "t"))
reader.read_next_batch()
sys.modules["keeps it"] = reader
""",
        Source=source,
    )
    deadline = time.monotonic() + 5
    while sessions(source):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_forked_child_gets_an_error_and_leaves_its_parents_rows_alone(databases: Databases, arrow: Arrow) -> None:
    source = databases("postgresql")
    source.numbered("t", 200_000, "some text")
    rows, status = arrow(
        """
reader = pa.RecordBatchReader.from_stream(dray.read("Source", "t"))
rows = reader.read_next_batch().num_rows
child = os.fork()
if child == 0:
    message = refused(reader.read_next_batch)[1]
    del reader
    os._exit(7 if "forked" in message else 8)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
told((rows + sum(batch.num_rows for batch in reader), status))
""",
        Source=source,
    )
    assert (rows, status) == (200_000, 7)


@pytest.mark.parametrize(
    ("what", "code", "words"),
    [
        ("nowhere", "copy.no_such_table", "there is no table `nowhere`"),
        ("SELECT * FROM nowhere", None, "nowhere"),
    ],
)
def test_what_is_not_there_is_told_before_anything_is_read(
    databases: Databases, arrow: Arrow, what: str, code: str, words: str
) -> None:
    name, message, found = arrow(
        f"told(refused(lambda: dray.read('Source', {what!r})))", Source=databases("postgresql")
    )
    assert name == "CopyError"
    assert code in (None, found)
    assert words in message


def test_a_query_is_known_by_its_first_word(databases: Databases, arrow: Arrow) -> None:
    source = databases("sqlite")
    source.fill("selected", {"id": "INTEGER"}, [(1,)])
    source.fill("with space", {"id": "INTEGER"}, [(2,)])
    found = arrow(
        """
told([pa.table(dray.read("Source", what)).column(0).to_pylist() for what in
      ("selected", '"with space"', "-- a SELECT\\n select 3 AS n;", "WITH n AS (SELECT 4 AS n) SELECT n FROM n")])
""",
        Source=source,
    )
    assert [[int(value) for value in values] for values in found] == [[1], [2], [3], [4]]


# Columns as pyarrow makes them, and what an independent client reads of them afterwards.
WRITTEN: dict[str, tuple[str, list[Any]]] = {
    "i8": ("pa.array([1, None, -128], pa.int8())", [1, None, -128]),
    "u8": ("pa.array([1, None, 255], pa.uint8())", [1, None, 255]),
    "i16": ("pa.array([1, None, -32768], pa.int16())", [1, None, -32768]),
    "u16": ("pa.array([1, None, 65535], pa.uint16())", [1, None, 65535]),
    "i32": ("pa.array([1, None, -2**31], pa.int32())", [1, None, -(2**31)]),
    "u32": ("pa.array([1, None, 2**32 - 1], pa.uint32())", [1, None, 2**32 - 1]),
    "i64": ("pa.array([1, None, -2**63], pa.int64())", [1, None, -(2**63)]),
    "u64": ("pa.array([1, None, 2**63 - 1], pa.uint64())", [1, None, 2**63 - 1]),
    "f16": ("pa.array(numpy.array([1.5, 0, -2], numpy.float16))", [1.5, 0.0, -2.0]),
    "f32": ("pa.array([0.5, None, -2.25], pa.float32())", [0.5, None, -2.25]),
    "f64": ("pa.array([0.1, None, 1e300], pa.float64())", [0.1, None, 1e300]),
    "flag": ("pa.array([True, None, False])", [1, None, 0]),
    "s": ("pa.array(['', None, 'é🎉' * 20])", ["", None, "é🎉" * 20]),
    "ls": ("pa.array(['', None, 'long'], pa.large_string())", ["", None, "long"]),
    "vs": ("pa.array(['short', None, 'longer than twelve'], pa.string_view())", ["short", None, "longer than twelve"]),
    "b": ("pa.array([b'', None, b'\\0\\xff'], pa.binary())", [b"", None, b"\0\xff"]),
    "vb": ("pa.array([b'', None, b'x' * 13], pa.binary_view())", [b"", None, b"x" * 13]),
    "fb": ("pa.array([b'ab', None, b'\\0\\0'], pa.binary(2))", [b"ab", None, b"\0\0"]),
    "c": ("pa.array(['x', None, 'y']).dictionary_encode()", ["x", None, "y"]),
    "cu": (
        "pa.DictionaryArray.from_arrays(pa.array([200, None, 0], pa.uint8()), pa.array(range(201)))",
        [200, None, 0],
    ),
    "d32": (
        "pa.array([datetime.date(1, 1, 1), None, datetime.date(9999, 12, 31)])",
        ["0001-01-01", None, "9999-12-31"],
    ),
    "d64": ("pa.array([datetime.date(1969, 12, 31), None, None], pa.date64())", ["1969-12-31", None, None]),
    "dec32": ("pa.array([Decimal('-1.25'), None, Decimal('0')], pa.decimal32(5, 2))", [Decimal("-1.25"), None, 0]),
    "dec64": ("pa.array([Decimal('-1.25'), None, Decimal('0')], pa.decimal64(15, 2))", [Decimal("-1.25"), None, 0]),
    "dec128": (
        "pa.array([Decimal('-123456789012.25'), None, Decimal('0.01')], pa.decimal128(14, 2))",
        [Decimal("-123456789012.25"), None, Decimal("0.01")],
    ),
    "dec256": ("pa.array([Decimal('-1.25'), None, Decimal('7')], pa.decimal256(15, 2))", [Decimal("-1.25"), None, 7]),
    "t32s": ("pa.array([datetime.time(1, 2, 3), None, None], pa.time32('s'))", ["01:02:03", None, None]),
    "t32ms": ("pa.array([datetime.time(1, 2, 3, 4000), None, None], pa.time32('ms'))", ["01:02:03.004", None, None]),
    "t64": ("pa.array([datetime.time(1, 2, 3, 4), None, None], pa.time64('us'))", ["01:02:03.000004", None, None]),
    "tss": (
        "pa.array([datetime.datetime(1, 1, 1), None, None], pa.timestamp('s'))",
        ["0001-01-01 00:00:00", None, None],
    ),
    "tsms": (
        "pa.array([datetime.datetime(9999, 12, 31, 23, 59, 59, 999000), None, None], pa.timestamp('ms'))",
        ["9999-12-31 23:59:59.999", None, None],
    ),
    "tsus": (
        "pa.array([datetime.datetime(1969, 12, 31, 23, 59, 59, 999999), None, None], pa.timestamp('us'))",
        ["1969-12-31 23:59:59.999999", None, None],
    ),
    "tsns": (
        "pa.array([datetime.datetime(2024, 2, 29, 1, 2, 3, 4), None, None], pa.timestamp('ns'))",
        ["2024-02-29 01:02:03.000004", None, None],
    ),
    "nothing": ("pa.nulls(3)", [None, None, None]),
}

MAKE = f"""
import datetime, numpy
from decimal import Decimal
table = pa.table({{{", ".join(f"{name!r}: {made}" for name, (made, _) in WRITTEN.items())}}})
"""


def comparable(value: Any) -> Any:
    """A value as the products' clients agree on it; times as SQLite spells them."""
    if isinstance(value, datetime.timedelta):
        value = (datetime.datetime(2000, 1, 1) + value).time()
    if isinstance(value, datetime.datetime):
        value = value.replace(tzinfo=None).isoformat(" ")
    if isinstance(value, (datetime.date, datetime.time)):
        value = value.isoformat()
    if isinstance(value, str):
        # Zeros at the end of a fraction say nothing.
        return value.rstrip("0").rstrip(".") if ":" in value and "." in value else value
    return value


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("product", PRODUCTS)
def test_every_type_is_written_into_a_table_that_is_made(
    databases: Databases, arrow: Arrow, product: str, lanes: str
) -> None:
    target = databases(product)
    report = arrow(
        MAKE
        + f"""
report = dray.write("Target", "t", table, lanes={lanes!r})
told((report.rows, report.created, report.read_lane, report.mode, report.source))
""",
        Target=target,
    )
    assert report == (3, True, "arrow", "append", "arrow")
    names = ", ".join(target.quote(name) for name in WRITTEN)
    found = target.query(f"SELECT {names} FROM t")
    columns = {name: [comparable(row[place]) for row in found] for place, name in enumerate(WRITTEN)}
    if product == "sqlite":
        for name in ("dec128", "dec256", "dec32", "dec64"):
            columns[name] = [None if value is None else Decimal(str(value)) for value in columns[name]]
        # What may be beyond 63 bits is text there.
        columns["u64"] = [None if value is None else int(value) for value in columns["u64"]]
    assert columns == {name: values for name, (_, values) in WRITTEN.items()}


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_point_in_time_is_written_as_one_whatever_its_zone(databases: Databases, arrow: Arrow, product: str) -> None:
    target = databases(product)
    arrow(
        """
import datetime
at = datetime.datetime(2024, 7, 1, 12, 30, 0, 5, tzinfo=datetime.timezone.utc)
for name, zone in (("one", "UTC"), ("two", "Europe/Zurich"), ("three", "+05:30")):
    dray.write("Target", name, pa.table({"at": pa.array([at], pa.timestamp("us", zone))}))
""",
        Target=target,
    )
    for name in ("one", "two", "three"):
        ((value,),) = target.query(f"SELECT {target.quote('at')} FROM {name}")
        assert as_instant(value) == datetime.datetime(2024, 7, 1, 12, 30, 0, 5, tzinfo=datetime.timezone.utc)


FRAMES = {
    "table": "pa.table(columns)",
    "chunked": "pa.concat_tables([pa.table(columns).slice(0, 2), pa.table(columns).slice(2)])",
    "batch": "pa.RecordBatch.from_pydict(columns)",
    "slice": "pa.record_batch({name: [None, *values, None] for name, values in columns.items()}).slice(1, 3)",
    "reader": "pa.table(columns).to_reader()",
    "polars": "__import__('polars').DataFrame(columns)",
    "polars categorical": "__import__('polars').DataFrame(columns, schema_overrides={'s': __import__('polars').Categorical})",
    "pandas": "__import__('pandas').DataFrame(columns)",
    "pandas categorical": "__import__('pandas').DataFrame(columns).astype({'s': 'category'})",
    "duckdb": "__import__('duckdb').sql('SELECT * FROM made')",
}


@pytest.mark.parametrize("frame", list(FRAMES))
def test_what_has_an_arrow_interface_is_written(databases: Databases, arrow: Arrow, frame: str) -> None:
    target = databases("postgresql")
    target.execute("CREATE TABLE t (id bigint PRIMARY KEY, s text, n double precision)")
    rows = arrow(
        f"""
columns = {{"id": [1, 2, 3], "s": ["é", None, "x" * 100], "n": [0.5, None, -1.25]}}
made = pa.table(columns)
data = {FRAMES[frame]}
told(dray.write("Target", "t", data).rows)
""",
        Target=target,
    )
    assert rows == 3
    found = target.query("SELECT * FROM t ORDER BY id")
    assert found == [(1, "é", 0.5), (2, None, None), (3, "x" * 100, -1.25)]


def test_the_rows_of_one_database_are_written_into_another(databases: Databases, arrow: Arrow) -> None:
    source, target = databases("postgresql"), databases("mariadb")
    source.numbered("t", 250_000, "é ")
    same = arrow(
        """
report = dray.write("Target", "t", dray.read("Source", "t"))
table = pa.table(dray.read("Target", "t")).sort_by("id")
told((report.rows, report.write_lane, table.to_pylist() == pa.table(dray.read("Source", "t")).sort_by("id").to_pylist()))
""",
        Source=source,
        Target=target,
    )
    assert same[0::2] == (250_000, True)
    # After the server's `local_infile`.
    assert same[1] in ("load_data", "values")
    sql = "SELECT count(*), sum(id), sum(square), min(note), max(note) FROM t"
    assert [str(value) for value in target.query(sql)[0]] == [str(value) for value in source.query(sql)[0]]


@pytest.mark.parametrize("product", PRODUCTS)
def test_modes_meet_the_rows_that_are_there(databases: Databases, arrow: Arrow, product: str) -> None:
    target = databases(product)
    target.execute("CREATE TABLE t (id INTEGER NOT NULL PRIMARY KEY, a INTEGER, b INTEGER)")
    target.execute("INSERT INTO t VALUES (1, 10, 100), (2, 20, 200)")

    def written(mode: str, table: str = "pa.table({'id': [2, 3], 'a': [21, 31], 'b': pa.nulls(2)})") -> list[Any]:
        arrow(f"dray.write('Target', 't', {table}, mode={mode!r})", Target=target)
        rows = target.query("SELECT id, a, b FROM t ORDER BY id")
        return [tuple(None if value is None else as_integer(value) for value in row) for row in rows]

    assert written("upsert") == [(1, 10, 100), (2, 21, None), (3, 31, None)]
    assert written("append", "pa.table({'id': [4], 'a': [None]})")[-1] == (4, None, None)
    assert written("mirror") == [(2, 21, None), (3, 31, None)]
    assert written("truncate", "pa.table({'id': [9], 'b': [9]})") == [(9, None, 9)]
    assert written("replace", "pa.table({'id': [5], 'a': [5], 'b': [5]})") == [(5, 5, 5)]


def test_a_value_that_the_column_cannot_hold_leaves_the_table_as_it_was(databases: Databases, arrow: Arrow) -> None:
    target = databases("postgresql")
    target.execute("CREATE TABLE t (id integer, s varchar(3))")
    target.execute("INSERT INTO t VALUES (0, 'old')")
    error = arrow(
        """
table = pa.table({"id": range(100_000), "s": ["abc"] * 99_999 + ["a secret"]})
try:
    dray.write("Target", "t", table, mode="truncate")
except dray.CopyError as error:
    told((error.code, error.column, error.row, error.target, str(error), error.report.rows))
""",
        Target=target,
    )
    assert error[:4] == ("copy.value_refused", "s", 100_000, "t")
    assert "the text has 8 characters, the target column holds 3" in error[4]
    assert "secret" not in error[4]
    assert error[5] == 0
    assert target.query("SELECT * FROM t") == [(0, "old")]


REFUSED = {
    "a list": "pa.array([[1]])",
    "a struct": "pa.array([{'x': 1}])",
    "a map": "pa.array([[('k', 1)]], pa.map_(pa.string(), pa.int64()))",
    "a duration": "pa.array([1], pa.duration('s'))",
    "run-end encoded": "pa.compute.run_end_encode(pa.array([1]))",
}


def test_columns_that_no_database_has_are_refused_by_name(databases: Databases, arrow: Arrow) -> None:
    target = databases("sqlite")
    columns = ", ".join(f"{words!r}: {made}" for words, made in REFUSED.items())
    refusal, no_data, late = arrow(
        f"""
import pyarrow.compute
table = pa.table({{"id": [1], {columns}}})
def rows():
    yield pa.record_batch({{"id": [1]}})
    raise RuntimeError("no more")
broken = pa.RecordBatchReader.from_batches(pa.schema({{"id": pa.int64()}}), rows())
told((refused(lambda: dray.write("Target", "t", table)), refused(lambda: dray.write("Target", "t", [1])),
      refused(lambda: dray.write("Target", "t", broken))))
""",
        Target=target,
    )
    assert refusal[0] == "TypeError"
    for words in REFUSED:
        assert f"column `{words}` is {words}" in refusal[1]
    assert no_data[0] == "TypeError"
    assert "list" in no_data[1]
    assert late[0] == "CopyError"
    assert "no more" in late[1]
    assert target.tables() == set()


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ("pa.array([253402300800], pa.timestamp('s'))", "after the year 9999"),
        ("pa.array([90_000], pa.int32()).view(pa.time32('s'))", "no time of day"),
        ("pa.array([1], pa.int64()).view(pa.date64())", "the date has a time of day"),
        ("pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b'\\0\\0\\0\\0\\1\\0\\0\\0'), pa.py_buffer(b'\\xff')])",
         "not in UTF-8"),
    ],
)  # fmt: skip
def test_values_that_arrows_type_allows_and_no_column_holds_are_refused(
    databases: Databases, arrow: Arrow, made: str, words: str
) -> None:
    target = databases("sqlite")
    name, message, code = arrow(
        f"told(refused(lambda: dray.write('Target', 't', pa.table({{'v': {made}}}))))", Target=target
    )
    assert (name, code) == ("CopyError", "copy.value_unreadable")
    assert words in message
    assert "column v, row 1" in message
    assert target.tables() == set()


def test_what_cannot_be_asked_for_is_refused_before_anything_is_done(arrow: Arrow, databases: Databases) -> None:
    calls = [
        "dray.read('S', 't', decimals='float')",
        "dray.read('S', 't', decimals=(5, 6))",
        "dray.read('S', 't', decimals=(77, 0))",
        "dray.read('S', 't', timestamps='ms')",
        "dray.read('S', 't', memory_limit='1MiB')",
        "dray.write('S', 't', pa.table({'a': [1]}), mode='incremental')",
        "dray.write('S', 't', pa.table({'a': [1]}), mode='append', key='a')",
    ]
    works = ", ".join(f"lambda: {call}" for call in calls)
    refusals = arrow(f"told([refused(work) for work in ({works})])", S=databases("sqlite"))
    assert [refusal[0] for refusal in refusals] == ["ValueError"] * len(calls)


def test_dray_is_imported_without_what_arrow_needs(arrow: Arrow, dray: Callable[..., Any]) -> None:
    loaded = arrow("told([name for name in sys.modules if name == 'dray._arrow'])")
    assert loaded == []
