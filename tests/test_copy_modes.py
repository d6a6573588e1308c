"""The modes append, truncate and replace; how a missing table is made; that a load is all or nothing."""

from __future__ import annotations

import pytest
from conftest import Script, Task
from databases import PRODUCTS, Database, Databases

# A product's source need not be its own: rows come from SQLite, but for PostgreSQL's into SQLite.
OTHER = {"sqlite": "postgresql", "postgresql": "sqlite", "mariadb": "sqlite"}

MODES = ("append", "truncate", "replace")


def copy(mode: str | None) -> str:
    """A script that copies the table `t`."""
    option = "" if mode is None else f", mode={mode!r}"
    return f"""
        import dray
        report = dray.copy_tables([dray.Copy("Source", "t")], target="Target"{option})
        print(report.rows, [table.rows for table in report.tables])
    """


def pair(databases: Databases, product: str) -> tuple[Database, Database]:
    """A source of another product and a destination of `product`."""
    return databases(OTHER[product]), databases(product)


def services(source: Database, target: Database) -> dict[str, str]:
    """The linked services of a copy."""
    return {"Source": source.odbc, "Target": target.odbc}


@pytest.mark.parametrize("mode", [None, *MODES])
@pytest.mark.parametrize("product", PRODUCTS)
def test_a_missing_table_is_made(databases: Databases, script: Script, product: str, mode: str | None) -> None:
    source, target = pair(databases, product)
    source.fill("t", {"id": "INTEGER NOT NULL PRIMARY KEY", "note": "TEXT"}, [(1, "one"), (2, None)])
    done = script(copy(mode), services=services(source, target))
    assert done.returncode == 0, done.stderr
    assert target.query("SELECT id, note FROM t ORDER BY id") == [(1, "one"), (2, None)]
    assert done.stdout == "2 [2]\n"
    assert target.tables() == {"t"}, "nothing but the table is left behind"


@pytest.mark.parametrize("mode", [None, "append"])
@pytest.mark.parametrize("product", PRODUCTS)
def test_append_is_the_default_and_keeps_the_rows_that_are_there(
    databases: Databases, script: Script, product: str, mode: str | None
) -> None:
    source, target = pair(databases, product)
    source.fill("t", {"id": "INTEGER NOT NULL PRIMARY KEY", "note": "TEXT"}, [(1, "new")])
    target.fill("t", {"id": "INTEGER NOT NULL PRIMARY KEY", "note": "VARCHAR(20)"}, [(7, "old")])
    done = script(copy(mode), services=services(source, target))
    assert done.returncode == 0, done.stderr
    assert target.query("SELECT id, note FROM t ORDER BY id") == [(1, "new"), (7, "old")]


@pytest.mark.parametrize("product", PRODUCTS)
def test_columns_are_matched_by_name_whatever_their_order(databases: Databases, script: Script, product: str) -> None:
    source, target = pair(databases, product)
    source.fill("t", {"a": "INTEGER", "b": "INTEGER", "note": "TEXT"}, [(1, 2, "x")])
    target.execute("CREATE TABLE t (note VARCHAR(20), b INTEGER, extra INTEGER DEFAULT 5, a INTEGER)")
    done = script(copy("append"), services=services(source, target))
    assert done.returncode == 0, done.stderr
    assert target.query("SELECT a, b, note, extra FROM t") == [(1, 2, "x", 5)]


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_column_that_the_target_lacks_is_an_error_that_names_it(
    databases: Databases, script: Script, product: str
) -> None:
    source, target = pair(databases, product)
    source.fill("t", {"id": "INTEGER", "surplus": "INTEGER"}, [(1, 2)])
    target.fill("t", {"id": "INTEGER"}, [(9,)])
    done = script(copy("append"), services=services(source, target))
    assert done.returncode == 1
    assert "surplus" in done.stderr.splitlines()[-1]
    assert target.query("SELECT id FROM t") == [(9,)]


@pytest.mark.parametrize("product", PRODUCTS)
def test_truncate_removes_the_rows_that_are_there_and_keeps_the_table(
    databases: Databases, script: Script, product: str
) -> None:
    source, target = pair(databases, product)
    source.fill("t", {"id": "INTEGER NOT NULL PRIMARY KEY", "note": "TEXT"}, [(1, "new")])
    target.fill("t", {"id": "INTEGER NOT NULL PRIMARY KEY", "note": "VARCHAR(20)"}, [(1, "old"), (7, "old")])
    target.execute("ALTER TABLE t ADD COLUMN kept INTEGER DEFAULT 3")
    done = script(copy("truncate"), services=services(source, target))
    assert done.returncode == 0, done.stderr
    assert target.query("SELECT id, note, kept FROM t") == [(1, "new", 3)]


@pytest.mark.parametrize("product", PRODUCTS)
def test_replace_makes_the_table_anew_in_the_shape_of_the_source(
    databases: Databases, script: Script, product: str
) -> None:
    source, target = pair(databases, product)
    source.fill("t", {"id": "INTEGER NOT NULL PRIMARY KEY", "note": "TEXT"}, [(1, "new")])
    target.fill("t", {"id": "INTEGER", "gone": "INTEGER"}, [(1, 1), (2, 2)])
    done = script(copy("replace"), services=services(source, target))
    assert done.returncode == 0, done.stderr
    assert [tuple(row) for row in target.query("SELECT * FROM t")] == [(1, "new")]
    assert target.tables() == {"t"}, "nothing but the table is left behind"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("product", PRODUCTS)
def test_a_copy_can_be_run_again(databases: Databases, script: Script, product: str, mode: str) -> None:
    source, target = pair(databases, product)
    source.fill("t", {"id": "INTEGER", "note": "TEXT"}, [(1, "x"), (2, "y")])
    for number in range(2):
        done = script(copy(mode), services=services(source, target), parameters={"run_id": number})
        assert done.returncode == 0, done.stderr
    assert target.count("t") == (4 if mode == "append" else 2)


@pytest.mark.parametrize("mode", ["append", "truncate"])
@pytest.mark.parametrize("product", PRODUCTS)
def test_a_row_refused_in_the_middle_takes_the_whole_load_back(
    databases: Databases, script: Script, task: Task, product: str, mode: str
) -> None:
    source, target = pair(databases, product)
    source.numbered("t", 20_000, "a cell's value ")
    target.execute("CREATE TABLE t (id INTEGER, square BIGINT, note VARCHAR(40), CHECK (id <> 15000))")
    target.insert("t", [(-1, 0, "old")])
    done = script(copy(mode), services=services(source, target))
    assert done.returncode == 1, done.stderr
    assert target.query("SELECT id, note FROM t") == [(-1, "old")]
    last = done.stderr.splitlines()[-1]
    assert "`t`" in last or ".t`" in last or "`t." in last, last
    assert "a cell's value" not in done.stderr
    assert task.outputs()["dray"]["status"] != "succeeded"


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_replace_that_fails_in_the_middle_leaves_the_old_table(
    databases: Databases, script: Script, product: str
) -> None:
    source, target = databases("sqlite"), databases(product)
    # SQLite lets any value into any column: the last row is no number, which no other product takes.
    source.execute("CREATE TABLE t (id INTEGER NOT NULL PRIMARY KEY, amount BIGINT)")
    source.insert("t", [(number, number) for number in range(20_000)])
    source.insert("t", [(20_000, "twenty thousand")])
    target.fill("t", {"old": "INTEGER"}, [(1,), (2,)])
    done = script(copy("replace"), services=services(source, target))
    if product == "sqlite" and done.returncode == 0:
        # Both ends are SQLite: the value may well arrive as it is.
        assert target.query("SELECT amount FROM t WHERE id = 20000") == [("twenty thousand",)]
        return
    assert done.returncode == 1, done.stderr
    assert target.query("SELECT old FROM t ORDER BY old") == [(1,), (2,)]
    assert target.tables() == {"t"}, "nothing but the table is left behind"
    assert "amount" in done.stderr.splitlines()[-1], "the column is named"


def test_a_table_that_fails_leaves_the_others_whole(databases: Databases, script: Script, task: Task) -> None:
    source, target = databases("sqlite"), databases("postgresql")
    for name in ("first", "second", "third"):
        source.numbered(name, 3_000, "x")
    target.execute("CREATE TABLE second (id integer CHECK (id <> 2500), square bigint, note text)")
    code = """
        import dray
        try:
            dray.copy_tables([dray.Copy("Source", "*")], target="Target")
        except dray.CopyError as error:
            for table in error.report.tables:
                print(table.source, table.rows)
            raise
    """
    done = script(code, services=services(source, target))
    assert done.returncode == 1, done.stderr
    assert (target.count("first"), target.count("second"), target.count("third")) == (3000, 0, 3000)
    assert "second" in done.stderr.splitlines()[-1]
    assert task.outputs()["dray"]["error"]["type"].endswith("CopyError")


@pytest.mark.parametrize("mode", ["append", "truncate"])
@pytest.mark.parametrize("engine", ["MyISAM", "Aria"])
def test_a_table_of_an_engine_without_transactions_is_refused(
    databases: Databases, script: Script, engine: str, mode: str
) -> None:
    source, target = databases("sqlite"), databases("mariadb")
    source.fill("t", {"id": "INTEGER"}, [(1,)])
    target.execute(f"CREATE TABLE t (id INT) ENGINE={engine}")
    target.insert("t", [(9,)])
    done = script(copy(mode), services=services(source, target))
    assert done.returncode == 1
    assert engine.lower() in done.stderr.splitlines()[-1].lower()
    assert target.query("SELECT id FROM t") == [(9,)]


def test_an_unknown_mode_is_refused_before_anything_is_done(databases: Databases, script: Script) -> None:
    source, target = databases("sqlite"), databases("sqlite")
    source.fill("t", {"id": "INTEGER"}, [(1,)])
    done = script(copy("sideways"), services=services(source, target))
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "sideways" in last
    assert all(mode in last for mode in MODES)
    assert target.tables() == set()


def test_a_table_made_from_its_like_has_the_same_types_nulls_and_key_in_postgresql(
    databases: Databases, script: Script
) -> None:
    source, target = databases("postgresql"), databases("postgresql")
    source.execute(
        """CREATE TABLE t (
            region varchar(10) NOT NULL, number integer NOT NULL, small smallint, big bigint NOT NULL,
            money numeric(12,3), free numeric, single real, double double precision,
            plain text, named varchar(77) NOT NULL, data bytea, day date, clock time, moment timestamp NOT NULL,
            instant timestamptz, truth boolean NOT NULL, mark uuid,
            PRIMARY KEY (region, number))"""
    )
    done = script(copy("append"), services=services(source, target))
    assert done.returncode == 0, done.stderr
    columns = """
        SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull FROM pg_attribute a
        WHERE a.attrelid = 't'::regclass AND a.attnum > 0 ORDER BY a.attnum"""
    assert target.query(columns) == source.query(columns)
    key = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'p'"
    assert target.query(key) == source.query(key) != []


def test_a_table_made_from_its_like_has_the_same_types_nulls_and_key_in_mariadb(
    databases: Databases, script: Script
) -> None:
    source, target = databases("mariadb"), databases("mariadb")
    source.execute(
        """CREATE TABLE t (
            region VARCHAR(10) NOT NULL, number INT NOT NULL, small SMALLINT, big BIGINT NOT NULL, money DECIMAL(12,3),
            `double` DOUBLE, named VARCHAR(77) NOT NULL, plain LONGTEXT, data LONGBLOB, day DATE, clock TIME(6),
            moment DATETIME(6) NOT NULL, PRIMARY KEY (region, number))"""
    )
    done = script(copy("append"), services=services(source, target))
    assert done.returncode == 0, done.stderr
    columns = """
        SELECT column_name, column_type, is_nullable, column_key FROM information_schema.columns
        WHERE table_schema = DATABASE() AND table_name = 't' ORDER BY ordinal_position"""
    assert target.query(columns) == source.query(columns)


def test_a_table_made_from_its_like_has_the_same_types_nulls_and_key_in_sqlite(
    databases: Databases, script: Script
) -> None:
    source, target = databases("sqlite"), databases("sqlite")
    source.execute(
        """CREATE TABLE t (
            region VARCHAR(10) NOT NULL, number INTEGER NOT NULL, big BIGINT NOT NULL, money DECIMAL(12,3),
            double DOUBLE, plain TEXT, named VARCHAR(77) NOT NULL, data BLOB, day DATE, moment TIMESTAMP NOT NULL,
            PRIMARY KEY (region, number))"""
    )
    done = script(copy("append"), services=services(source, target))
    assert done.returncode == 0, done.stderr
    columns = "SELECT name, UPPER(type), \"notnull\", pk FROM pragma_table_info('t')"
    assert target.query(columns) == source.query(columns)


@pytest.mark.parametrize("product", PRODUCTS)
def test_precision_length_nulls_and_key_come_over_from_another_product(
    databases: Databases, script: Script, product: str
) -> None:
    source, target = databases("postgresql"), databases(product)
    source.execute(
        """CREATE TABLE t (
            region varchar(10) NOT NULL, number integer NOT NULL, money numeric(12,3), PRIMARY KEY (region, number))"""
    )
    done = script(copy("append"), services=services(source, target))
    assert done.returncode == 0, done.stderr
    if product == "sqlite":
        found = target.query("SELECT name, type, \"notnull\", pk FROM pragma_table_info('t')")
        assert [(name, bool(required), key) for name, _, required, key in found] == [
            ("region", True, 1),
            ("number", True, 2),
            ("money", False, 0),
        ]
        return
    columns = """
        SELECT column_name, is_nullable, character_maximum_length, numeric_precision, numeric_scale
        FROM information_schema.columns WHERE table_name = 't' AND table_schema = {} ORDER BY ordinal_position"""
    found = target.query(columns.format("'public'" if product == "postgresql" else "DATABASE()"))
    region, number, money = found
    assert region[:3] == ("region", "NO", 10)
    assert number[:2] == ("number", "NO")
    assert money[:2] == ("money", "YES")
    assert money[3:] == (12, 3)
    with pytest.raises(Exception, match=r"(?i)duplicate"):
        target.insert("t", [("x", 1, 1), ("x", 1, 2)])
