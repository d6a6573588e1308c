"""`dray.connect`: queries and statements with parameters of each type; drivers and passwords that fail, and those that
are easily mangled.
"""

from __future__ import annotations

import datetime
import json
import uuid
from decimal import Decimal

import pytest
from conftest import Script, Task
from databases import PRODUCTS, Database, Databases, part

LOCALES = ("C", "C.UTF-8")
SERVERS = ("postgresql", "mariadb")

PARAMETERS = {
    "whole number": ("BIGINT", 9223372036854775807),
    "negative number": ("BIGINT", -9223372036854775808),
    "decimal": ("DECIMAL(20,4)", Decimal("12345678.9012")),
    "double": ("DOUBLE PRECISION", 0.1),
    "text": ("VARCHAR(100)", "é日本🎉 'quoted' \"twice\" \\ {x} ? \r\n"),
    "empty text": ("VARCHAR(100)", ""),
    "long text": ("TEXT", "ä" * 30_000),
    "date": ("DATE", datetime.date(1999, 12, 31)),
    "time": ("TIME(6)", datetime.time(23, 59, 59, 123_456)),
    "timestamp": ("TIMESTAMP(6)", datetime.datetime(2024, 2, 29, 23, 59, 59, 123_456)),
    "null": ("VARCHAR(100)", None),
}

# The type where a product has a name of its own for it.
OWN_TYPES = {("mariadb", "TIMESTAMP(6)"): "DATETIME(6)"}

# Reads parameters from Python source, inserts them, reads them back, and prints both kinds of answer.
ROUND_TRIP = """
import datetime, dray, uuid
from decimal import Decimal
value = {value!r}
with dray.connect("Db") as connection:
    print(connection.execute("INSERT INTO t VALUES (?, ?)", 1, value))
    rows = connection.query("SELECT id, value FROM t WHERE id = ?", 1)
    print(len(rows), list(rows[0]), rows[0]["id"])
    print(repr(rows[0]["value"]))
"""


def fresh(databases: Databases, product: str, declared: str) -> Database:
    """A database with a table `t` of `id` and `value`."""
    database = databases(product)
    database.execute(f"CREATE TABLE t (id INTEGER, value {OWN_TYPES.get((product, declared), declared)})")
    return database


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("product", PRODUCTS)
def test_a_parameter_of_each_type_goes_in_and_comes_out_as_it_was(
    databases: Databases, script: Script, product: str, name: str, locale: str
) -> None:
    declared, value = PARAMETERS[name]
    database = fresh(databases, product, declared)
    done = script(ROUND_TRIP.format(value=value), services={"Db": database.odbc}, env={"LC_ALL": locale})
    assert done.returncode == 0, done.stderr
    affected, shape, read = done.stdout.split("\n", 2)
    assert affected == "1"
    assert shape == "1 ['id', 'value'] 1"
    assert read == repr(value) + "\n"


@pytest.mark.parametrize("product", PRODUCTS)
def test_text_given_as_a_parameter_is_what_another_client_reads(
    databases: Databases, script: Script, product: str
) -> None:
    _, value = PARAMETERS["text"]
    database = fresh(databases, product, "VARCHAR(100)")
    done = script(ROUND_TRIP.format(value=value), services={"Db": database.odbc}, env={"LC_ALL": "C"})
    assert done.returncode == 0, done.stderr
    assert database.query("SELECT value FROM t") == [(value,)]


@pytest.mark.parametrize("value", [b"", b"\x00\xff'\\", bytes(range(256)), b"z" * 70_000])
@pytest.mark.parametrize(
    ("product", "declared"), [("sqlite", "BLOB"), ("postgresql", "bytea"), ("mariadb", "LONGBLOB")]
)
def test_bytes_go_in_and_come_out_as_they_were(
    databases: Databases, script: Script, product: str, declared: str, value: bytes
) -> None:
    database = fresh(databases, product, declared)
    done = script(ROUND_TRIP.format(value=value), services={"Db": database.odbc})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[2] == repr(value)
    assert [bytes(read) for (read,) in database.query("SELECT value FROM t")] == [value]


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("product", PRODUCTS)
def test_a_boolean_goes_in_and_comes_out_as_true_or_false(
    databases: Databases, script: Script, product: str, value: bool
) -> None:
    database = fresh(databases, product, "BOOLEAN")
    done = script(ROUND_TRIP.format(value=value), services={"Db": database.odbc})
    assert done.returncode == 0, done.stderr
    # MariaDB's BOOLEAN is TINYINT(1), SQLite has no type for it: a number there, which is equal.
    assert done.stdout.splitlines()[2] in (repr(value), repr(int(value)))
    assert database.query("SELECT value FROM t") == [(value,)]


def test_a_uuid_goes_into_postgresql_and_comes_out_as_one(databases: Databases, script: Script) -> None:
    database = databases("postgresql")
    database.execute("CREATE TABLE t (id integer, value uuid)")
    value = uuid.UUID("12345678-1234-5678-9abc-def012345678")
    code = ROUND_TRIP.replace("{value!r}", f"uuid.{value!r}")
    done = script(code, services={"Db": database.odbc})
    assert done.returncode == 0, done.stderr
    assert str(value) in done.stdout
    assert database.query("SELECT value FROM t") == [(value,)]


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("product", PRODUCTS)
def test_sql_beyond_ascii_reaches_the_database_as_it_was_written(
    databases: Databases, script: Script, product: str, locale: str
) -> None:
    database = databases(product)
    database.fill("Länder 表", {"naïve": "VARCHAR(50)"}, [("é日本🎉",), ("plain",)])
    name, column, alias = database.quote("Länder 表"), database.quote("naïve"), database.quote("größe")
    select = f"SELECT {column}, 'ü🎉' AS {alias} FROM {name} WHERE {column} = 'é日本🎉'"
    update = f"UPDATE {name} SET {column} = 'ß𝔘' WHERE {column} = ?"
    code = f"""
        import dray
        with dray.connect("Db") as connection:
            print(ascii(connection.query({select!r})))
            print(connection.execute({update!r}, "é日本🎉"))
    """
    done = script(code, services={"Db": database.odbc}, env={"LC_ALL": locale})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [ascii([{"naïve": "é日本🎉", "größe": "ü🎉"}]), "1"]
    assert sorted(database.query(f"SELECT {column} FROM {name}")) == [("plain",), ("ß𝔘",)]


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_question_mark_within_a_literal_is_no_parameter(databases: Databases, script: Script, product: str) -> None:
    database = databases(product)
    code = """
        import dray
        with dray.connect("Db") as connection:
            print(connection.query("SELECT 'why?' AS a, CAST(? AS CHAR(3)) AS b", "yes"))
    """
    done = script(code, services={"Db": database.odbc})
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[{'a': 'why?', 'b': 'yes'}]\n"


@pytest.mark.parametrize("product", PRODUCTS)
def test_execute_tells_how_many_rows_it_changed(databases: Databases, script: Script, product: str) -> None:
    database = databases(product)
    database.fill("t", {"id": "INTEGER", "done": "INTEGER"}, [(1, 0), (2, 0), (3, 1)])
    code = """
        import dray
        with dray.connect("Db") as connection:
            print(connection.execute("UPDATE t SET done = ? WHERE done = ?", 2, 0))
            print(connection.execute("DELETE FROM t WHERE id = ?", 99))
            print(connection.query("SELECT id FROM t WHERE id > ?", 99))
    """
    done = script(code, services={"Db": database.odbc})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["2", "0", "[]"]
    assert database.query("SELECT id, done FROM t ORDER BY id") == [(1, 2), (2, 2), (3, 1)]


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_connection_serves_on_after_a_statement_that_failed(
    databases: Databases, script: Script, product: str
) -> None:
    database = databases(product)
    database.fill("t", {"id": "INTEGER"}, [(5,)])
    code = """
        import dray
        with dray.connect("Db") as connection:
            try:
                connection.query("SELECT nonsense FROM t")
            except Exception as error:
                print(type(error).__module__.partition(".")[0], "nonsense" in str(error))
            print(connection.query("SELECT id FROM t"))
    """
    done = script(code, services={"Db": database.odbc})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["dray True", "[{'id': 5}]"]


@pytest.mark.parametrize("product", PRODUCTS)
def test_columns_of_one_name_are_refused_instead_of_lost(
    databases: Databases, script: Script, task: Task, product: str
) -> None:
    code = """
        import dray
        with dray.connect("Db") as connection:
            print(connection.query("SELECT 1 AS a, 2 AS b, 3 AS c"))
            connection.query("SELECT 1 AS a, 2 AS b, 3 AS a")
    """
    ran = script(code, services={"Db": databases(product).odbc})
    assert (ran.returncode, ran.stdout) == (1, "[{'a': 1, 'b': 2, 'c': 3}]\n"), ran.stderr
    error = task.outputs()["dray"]["error"]
    said = "columns 1 and 3 of the result are both named `a`; give one of them an alias (AS)"
    assert (error["type"], error["message"]) == ("dray.DatabaseError", said)


@pytest.mark.parametrize("given", [0, 2])
@pytest.mark.parametrize("product", PRODUCTS)
def test_a_wrong_number_of_parameters_is_an_error(
    databases: Databases, script: Script, product: str, given: int
) -> None:
    database = databases(product)
    database.fill("t", {"id": "INTEGER"}, [(1,)])
    code = f"""
        import dray
        with dray.connect("Db") as connection:
            try:
                connection.query("SELECT id FROM t WHERE id = ?", *{[1] * given})
            except dray.Error as error:
                print(error)
            print(connection.query("SELECT id FROM t WHERE id = ?", 1))
    """
    done = script(code, services={"Db": database.odbc})
    assert done.returncode == 0, done.stderr
    message, rows = done.stdout.splitlines()
    assert str(given) in message and "1" in message, "the numbers of parameters given and wanted are not named"
    assert rows == "[{'id': 1}]", "the connection serves on"


def test_a_missing_driver_is_an_error_that_lists_those_there_are_the_nearest_first(script: Script, task: Task) -> None:
    code = """
        import dray
        dray.connect("Db")
    """
    done = script(code, services={"Db": "Driver={SQLlite3};Database=/nowhere"})
    assert done.returncode == 114, done.stderr
    last = done.stderr.splitlines()[-1]
    assert "SQLlite3" in last
    listed = done.stderr[done.stderr.index("SQLlite3") + len("SQLlite3") :]
    assert "PostgreSQL Unicode" in listed
    assert listed.index("SQLite3") < listed.index("PostgreSQL Unicode")
    assert task.outputs()["dray"]["error"]["code"] == "odbc.driver_not_found"
    assert task.outputs()["dray"]["exit_code"] == 114


@pytest.mark.parametrize("call", ["dray.connect('Db')", "dray.copy_table('Db', 'Db', 't', into='u')"])
@pytest.mark.parametrize("product", SERVERS)
def test_a_wrong_password_is_an_error_that_does_not_show_it(
    databases: Databases, script: Script, task: Task, product: str, call: str
) -> None:
    right = databases(product).odbc
    wrong = right.rpartition("PWD=")[0] + "PWD=hunter2-is-wrong"
    done = script(f"import dray\n{call}", services={"Db": wrong})
    assert done.returncode == 114, done.stderr
    outputs = (task.folder / "outputs.json").read_text("utf-8")
    assert json.loads(outputs)["dray"]["exit_code"] == 114
    for shown in (done.stdout, done.stderr, outputs):
        assert "hunter2" not in shown
        assert "PWD" not in shown
    assert "Db" in done.stderr.splitlines()[-1], "the connection is not named"


@pytest.mark.parametrize("product", SERVERS)
def test_a_server_that_does_not_answer_is_an_error_of_the_connection(script: Script, task: Task, product: str) -> None:
    odbc = part(product.upper()).replace(f"Port={part(f'{product.upper()}_PORT')}", "Port=9")
    done = script("import dray\ndray.connect('Db')", services={"Db": odbc})
    assert done.returncode == 114, done.stderr
    assert part(f"{product.upper()}_PASSWORD") not in done.stderr + json.dumps(task.outputs())


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("product", SERVERS)
def test_a_password_of_unusual_signs_opens_the_connection(script: Script, product: str, locale: str) -> None:
    name = product.upper()
    password = part(f"{name}_ODD_PASSWORD").replace("}", "}}")
    where = part(name).partition(";UID=")[0]
    odbc = f"{where};UID={part(f'{name}_ODD_USER')};PWD={{{password}}}"
    function = {"postgresql": "current_user", "mariadb": "SUBSTRING_INDEX(CURRENT_USER(), '@', 1)"}[product]
    code = f"""
        import dray
        with dray.connect("Db") as connection:
            print(connection.query("SELECT CAST({function} AS CHAR(8)) AS who"))
    """
    done = script(code, services={"Db": odbc}, env={"LC_ALL": locale})
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[{'who': 'dray_odd'}]\n"


@pytest.mark.parametrize("product", SERVERS)
def test_a_password_apart_from_the_connection_string_is_used(
    databases: Databases, script: Script, product: str
) -> None:
    whole = databases(product).odbc
    apart, _, password = whole.rpartition(";PWD=")
    properties = {
        "type": "Odbc",
        "typeProperties": {
            "connectionString": apart.partition(";UID=")[0],
            "authenticationType": "Basic",
            "userName": "dray",
            "password": {"type": "SecureString", "value": password},
        },
    }
    code = """
        import dray
        with dray.connect("Db") as connection:
            print(connection.query("SELECT 1 AS one"))
    """
    done = script(code, services={"Db": properties})
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[{'one': 1}]\n"
    assert password not in done.stderr
