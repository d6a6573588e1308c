"""Values with a choice, rows named by their key, and what a report says that a copy left behind."""

from __future__ import annotations

import datetime
import json
import math

import pytest
from conftest import Script, Task
from databases import PRODUCTS, Database, Databases


def services(source: Database, target: Database) -> dict[str, str]:
    """The linked services of a copy."""
    return {"Source": source.odbc, "Target": target.odbc}


def copy(options: str = "") -> str:
    """A script that copies the table `t` and prints what became NULL for which reason."""
    return f"""
        import dray, json
        report = dray.copy_table("Source", "Target", "t"{options and ", " + options})
        print(json.dumps([report.nulls_for_infinity, report.nulls_for_nan, report.nulls_for_zero_dates]))
    """


INFINITE = """CREATE TABLE t (id integer PRIMARY KEY, f float8, n numeric, d date, ts timestamp, tz timestamptz)"""


@pytest.mark.parametrize("product", ["mariadb", "sqlite"])
def test_what_the_target_does_not_hold_becomes_null_if_that_was_chosen(
    databases: Databases, script: Script, product: str
) -> None:
    source, target = databases("postgresql"), databases(product)
    source.execute(INFINITE)
    source.execute("INSERT INTO t VALUES (1, '-Infinity', 'Infinity', 'infinity', '-infinity', 'infinity')")
    source.execute("INSERT INTO t VALUES (2, 'NaN', 'NaN', '2024-02-29', '2024-02-29 01:02:03', NULL)")
    source.execute("INSERT INTO t VALUES (3, 1.5, 2.5, NULL, NULL, NULL)")
    refused = script(copy(), services=services(source, target))
    assert refused.returncode == 1
    assert target.tables() == set()
    # SQLite's floats may be infinite: what the target holds arrives as it is, chosen or not.
    option, infinite = ("nan", 4) if product == "sqlite" else ("infinity", 5)
    assert refused.stderr.splitlines()[-1].count(f'hint: `{option}="null"` copies such values as NULL') == 1
    half = script(copy('infinity="null"'), services=services(source, target))
    assert half.returncode == 1, "NaN is not infinite"
    assert '`nan="null"`' in half.stderr.splitlines()[-1]
    done = script(copy('infinity="null", nan="null"'), services=services(source, target))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [infinite, 2, 0]
    nothing = (None,) * 5
    first, second, third = target.query("SELECT f, n, d, ts, tz FROM t ORDER BY id")
    assert first == ((-math.inf, *nothing[1:]) if product == "sqlite" else nothing)
    assert second[:2] == (None, None)
    assert str(second[2]) == "2024-02-29"
    assert float(third[0]) == 1.5
    assert float(third[1]) == 2.5


def test_zero_dates_become_null_if_that_was_chosen_and_the_column_allows_it(
    databases: Databases, script: Script
) -> None:
    source, target = databases("mariadb"), databases("postgresql")
    source.execute("SET SESSION sql_mode = ''")  # else the server refuses the zero dates itself
    source.execute("CREATE TABLE t (id INT PRIMARY KEY, d DATE, dt DATETIME(3), ts TIMESTAMP NULL)")
    source.execute("INSERT INTO t VALUES (1, '0000-00-00', '0000-00-00', '0000-00-00'), (2, '2024-02-29', NULL, NULL)")
    refused = script(copy(), services=services(source, target))
    assert refused.returncode == 1
    assert '`zero_dates="null"`' in refused.stderr.splitlines()[-1]
    assert "column d, row 1 (id=1)" in refused.stderr.splitlines()[-1]
    done = script(copy('zero_dates="null"'), services=services(source, target))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [0, 0, 3]
    assert target.query("SELECT * FROM t ORDER BY id") == [
        (1, None, None, None),
        (2, datetime.date(2024, 2, 29), None, None),
    ]
    target.execute("TRUNCATE t")
    target.execute("ALTER TABLE t ALTER d SET NOT NULL")
    done = script(copy('zero_dates="null"'), services=services(source, target))
    assert done.returncode == 1
    assert target.count("t") == 0


def test_zero_dates_stay_what_they_are_where_they_can(databases: Databases, script: Script) -> None:
    source, target = databases("mariadb"), databases("mariadb")
    source.execute("SET SESSION sql_mode = ''")
    source.execute("CREATE TABLE t (id INT PRIMARY KEY, d DATE, dt DATETIME(6), ts TIMESTAMP(2) NULL)")
    source.execute("INSERT INTO t VALUES (1, '0000-00-00', '0000-00-00', '0000-00-00')")
    done = script(copy('zero_dates="null"'), services=services(source, target))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [0, 0, 0]
    seen = "SELECT CAST(d AS CHAR), CAST(dt AS CHAR), CAST(ts AS CHAR) FROM t"
    expected = ("0000-00-00", "0000-00-00 00:00:00.000000", "0000-00-00 00:00:00.00")
    assert target.query(seen) == source.query(seen) == [expected]


@pytest.mark.parametrize("lanes", ["auto", "odbc"])
def test_years_before_christ_and_infinities_arrive_in_postgresql(
    databases: Databases, script: Script, lanes: str
) -> None:
    source, target = databases("postgresql"), databases("postgresql")
    source.execute(INFINITE)
    source.execute("ALTER TABLE t ADD small numeric(5, 2)")
    rows = [
        "(1, 'Infinity', 'Infinity', 'infinity', '-infinity', 'infinity', 'NaN')",
        "(2, 'NaN', 'NaN', '0044-03-15 BC', '0044-03-15 12:30:00.5 BC', '0044-03-15 12:30:00+02 BC', 999.99)",
        "(3, '-Infinity', '-Infinity', '4713-01-01 BC', '0001-01-01 00:00:00', '0001-12-31 23:00:00+00 BC', NULL)",
        "(4, NULL, 0.1, '0005-02-29 BC', NULL, '-infinity', -0.01)",
    ]
    source.execute(f"INSERT INTO t VALUES {', '.join(rows)}")
    done = script(copy(f'lanes="{lanes}"'), services=services(source, target))
    assert done.returncode == 0, done.stderr
    seen = "SELECT CAST(t AS text) FROM t ORDER BY id"
    assert target.query(seen) == source.query(seen)


@pytest.mark.parametrize("product", ["postgresql", "mariadb"])
def test_a_refused_value_is_named_by_its_rows_key(
    databases: Databases, script: Script, task: Task, product: str
) -> None:
    source, target = databases("sqlite"), databases(product)
    source.execute(
        "CREATE TABLE t (amount BIGINT, line INTEGER NOT NULL, day DATE NOT NULL, name TEXT NOT NULL, "
        "PRIMARY KEY (day, name, line))"
    )
    source.insert("t", [(number, number, "2024-02-29", "secret name") for number in range(5_000)])
    source.insert("t", [(2**40, 7, "2026-11-22", "secret name")])
    target.execute("CREATE TABLE t (line INTEGER, day DATE, name VARCHAR(20), amount INTEGER)")
    code = """
        import dray
        try:
            dray.copy_table("Source", "Target", "t")
        except dray.CopyError as error:
            print(error.column, error.row, error.key)
            raise
    """
    done = script(code, services=services(source, target))
    assert done.returncode == 1
    assert done.stdout == "amount 5001 day=2026-11-22, line=7\n"
    assert "row 5001 (day=2026-11-22, line=7)" in done.stderr.splitlines()[-1]
    assert "secret name" not in done.stderr
    assert task.outputs()["dray"]["copies"][0]["error"]["key"] == "day=2026-11-22, line=7"


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_row_that_a_constraint_refuses_is_named_by_its_key(
    databases: Databases, script: Script, product: str
) -> None:
    source, target = databases("postgresql"), databases(product)
    source.execute("CREATE TABLE t (id numeric(6, 1) PRIMARY KEY, note text)")
    source.execute("INSERT INTO t SELECT i + 0.5, 'secret cell' FROM generate_series(1, 700) i")
    target.execute("CREATE TABLE t (id DECIMAL(6, 1), note VARCHAR(20), CHECK (id <> 500.5))")
    code = """
        import dray
        try:
            dray.copy_table("Source", "Target", "t", lanes="odbc")
        except dray.CopyError as error:
            print(error.row, error.key, error.code)
    """
    done = script(code, services=services(source, target))
    assert done.stdout == "500 id=500.5 database.constraint\n", done.stderr
    assert target.count("t") == 0


def test_a_key_of_text_alone_is_not_shown(databases: Databases, script: Script) -> None:
    source, target = databases("sqlite"), databases("postgresql")
    source.execute("CREATE TABLE t (name TEXT NOT NULL PRIMARY KEY, amount BIGINT)")
    source.insert("t", [("secret name", 2**40)])
    target.execute("CREATE TABLE t (name text, amount integer)")
    done = script('import dray\ndray.copy_table("Source", "Target", "t")', services=services(source, target))
    assert done.returncode == 1
    assert "column amount, row 1: " in done.stderr.splitlines()[-1]
    assert "secret name" not in done.stderr


MADE = {
    "postgresql": (
        [
            "CREATE TABLE p (id integer PRIMARY KEY)",
            "CREATE TABLE t (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a integer DEFAULT 5, "
            "b integer REFERENCES p, c integer UNIQUE, d integer CONSTRAINT positive CHECK (d > 0), "
            "g integer GENERATED ALWAYS AS (a + 1) STORED)",
            "CREATE INDEX by_a ON t (a)",
            "CREATE UNIQUE INDEX by_b ON t (b)",
            "COMMENT ON TABLE t IS 'what it is for'",
            "COMMENT ON COLUMN t.a IS 'what it is for'",
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
            "CREATE TRIGGER seen BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
        ],
        {
            *("identity of column `id`", "default of column `a`", "foreign key `t_b_fkey`"),
            *("unique constraint `t_c_key`", "check `positive`", "expression of generated column `g`"),
            *("index `by_a`", "unique index `by_b`", "comment on the table", "comment on column `a`"),
            "trigger `seen`",
        },
    ),
    "mariadb": (
        [
            "CREATE TABLE p (id INT PRIMARY KEY)",
            "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, a INT DEFAULT 5, b INT, c INT UNIQUE, "
            "d INT COMMENT 'what it is for', g INT AS (a + 1) STORED, s VARCHAR(5) DEFAULT 'NULL', "
            "CONSTRAINT to_p FOREIGN KEY (b) REFERENCES p (id), CONSTRAINT positive CHECK (d > 0), INDEX by_a (a)"
            ") COMMENT = 'what it is for'",
            "CREATE TRIGGER seen BEFORE INSERT ON t FOR EACH ROW SET @x = 1",
        ],
        {
            *("identity of column `id`", "default of column `a`", "foreign key `to_p`", "unique constraint `c`"),
            *("check `positive`", "expression of generated column `g`", "index `by_a`", "index `to_p`"),
            *("comment on the table", "comment on column `d`", "trigger `seen`", "default of column `s`"),
        },
    ),
    "sqlite": (
        [
            "CREATE TABLE p (id INTEGER PRIMARY KEY)",
            "CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER DEFAULT 5, b INTEGER REFERENCES p, c INTEGER UNIQUE, "
            "g INTEGER AS (a + 1) STORED)",
            "CREATE INDEX by_a ON t (a)",
            "CREATE UNIQUE INDEX by_b ON t (b)",
            "CREATE TRIGGER seen BEFORE INSERT ON t BEGIN SELECT 1; END",
        ],
        {
            *("default of column `a`", "foreign key to `p`", "unique constraint `sqlite_autoindex_t_1`"),
            *("expression of generated column `g`", "index `by_a`", "unique index `by_b`", "trigger `seen`"),
        },
    ),
}


@pytest.mark.parametrize("product", PRODUCTS)
def test_what_a_new_table_lacks_of_its_source_is_listed(databases: Databases, script: Script, product: str) -> None:
    source, target = databases(product), databases("postgresql")
    statements, expected = MADE[product]
    for statement in statements:
        source.execute(statement)
    code = """
        import dray, json
        for _ in range(2):
            report = dray.copy_table("Source", "Target", "t", schema="columns")
            print(json.dumps([report.created, report.not_carried, report.read_lane_reason, report.unparsed]))
    """
    done = script(code, services=services(source, target))
    assert done.returncode == 0, done.stderr
    (created, listed, reason, _), (again, nothing, _, _) = map(json.loads, done.stdout.splitlines())
    assert created is True
    assert sorted(listed) == sorted(expected)
    assert (again, nothing) == (False, []), "an existing table keeps what it has"
    assert reason


def test_what_is_not_carried_is_listed_at_its_own_table_alone(databases: Databases, script: Script) -> None:
    source, target = databases("postgresql"), databases("sqlite")
    for name in ("one", "two", "three"):
        source.execute(f"CREATE TABLE {name} (id integer PRIMARY KEY, a integer)")
    source.execute("COMMENT ON COLUMN two.a IS 'of this one only'")
    source.execute("CREATE INDEX by_a ON three (a)")
    code = """
        import dray, json
        report = dray.copy_tables(dray.Copy("Source", ["one", "two", "three"]), target="Target", schema="columns")
        print(json.dumps({table.table: table.not_carried for table in report.tables}))
    """
    done = script(code, services=services(source, target))
    assert done.returncode == 0, done.stderr
    expected = {"one": [], "two": ["comment on column `a`"], "three": ["index `by_a`"]}
    assert json.loads(done.stdout) == expected


@pytest.mark.parametrize("lanes", ["auto", "odbc"])
def test_fractions_of_seconds_are_rounded_if_that_was_chosen_and_counted(
    databases: Databases, script: Script, lanes: str
) -> None:
    source, target = databases("postgresql"), databases("postgresql")
    source.execute("CREATE TABLE t (id integer PRIMARY KEY, at timestamptz, noon time)")
    source.execute("INSERT INTO t VALUES (1, '1999-12-31 23:59:59.9996Z', '12:00:00.0004'), (2, NULL, '12:00:00.5')")
    target.execute("CREATE TABLE t (id integer PRIMARY KEY, at timestamptz(3), noon time(3))")
    refused = script(copy(f"lanes='{lanes}'"), services=services(source, target))
    assert refused.returncode == 1
    assert '`fraction="round"` rounds such values' in refused.stderr.splitlines()[-1]
    code = f"""
        import dray
        print(dray.copy_table("Source", "Target", "t", lanes={lanes!r}, fraction="round").rounded_fractions)
    """
    done = script(code, services=services(source, target))
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
    arrived = target.query("SELECT at = '2000-01-01Z', noon::text FROM t ORDER BY id")
    assert arrived == [(True, "12:00:00"), (None, "12:00:00.5")]
