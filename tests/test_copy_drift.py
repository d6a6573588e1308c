"""A target table that is there and its source have grown apart: columns that one lacks, and narrower types."""

from __future__ import annotations

import pytest
from conftest import Dray, Script, Task
from copying import LANES
from databases import PRODUCTS, Database, Databases
from test_copy_modes import pair, services

COLUMNS = {"id": "INTEGER NOT NULL PRIMARY KEY", "note": "VARCHAR(20)"}
GROWN = {**COLUMNS, "price": "DECIMAL(10,2)", "taken": "TIMESTAMP", "more": "VARCHAR(20) NOT NULL"}
ROWS = [(1, "one", "1.50", "2026-11-26 08:00:00", "m1"), (2, "two", None, None, "m2")]

MODES = ("append", "truncate", "upsert", "mirror", "incremental")


def options(mode: str) -> str:
    """Of a call in this mode."""
    return f"mode={mode!r}" + (", watermark='id'" if mode == "incremental" else "")


def grown(source: Database, rows: int = 2) -> None:
    """The table `t` with more columns than the target's."""
    nullable = "TIMESTAMP NULL" if source.product == "mariadb" else "TIMESTAMP"
    source.fill("t", {**GROWN, "taken": nullable}, ROWS[:rows])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("product", PRODUCTS)
def test_columns_that_the_target_lacks_are_all_named_with_what_helps(
    databases: Databases, script: Script, product: str, mode: str
) -> None:
    source, target = pair(databases, product)
    grown(source)
    target.fill("t", COLUMNS, [(2, "old"), (3, "old")])
    code = f'import dray\ndray.copy_table("Source", "Target", "t", {options(mode)})\n'
    done = script(code, services=services(source, target))
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "the target table has no columns `price`, `taken`, `more`, which the source has" in last
    assert "add_columns=True" in last
    assert target.query("SELECT * FROM t ORDER BY id") == [(2, "old"), (3, "old")]


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("product", PRODUCTS)
def test_they_are_added_if_it_is_asked_for(
    databases: Databases, script: Script, product: str, mode: str, lanes: str
) -> None:
    source, target = pair(databases, product)
    grown(source)
    target.fill("t", COLUMNS, [(2, "old"), (3, "old")] if mode != "append" else [(3, "old")])
    code = f"""
        import dray
        call = dict(add_columns=True, lanes={lanes!r}, after="UPDATE {{target}} SET more = 'old' WHERE more IS NULL")
        planned = dray.plan_copy(dray.Copy("Source", "t"), target="Target", {options(mode)}, **call).tables[0]
        print([statement["sql"].split("(")[0] for statement in planned.statements if "ADD" in statement["sql"]])
        report = dray.copy_table("Source", "Target", "t", {options(mode)}, **call)
        print(report.rows, report.created)
    """
    done = script(code, services=services(source, target))
    assert done.returncode == 0, done.stderr
    planned, told = done.stdout.splitlines()
    assert "ALTER TABLE" in planned and "price" in planned
    assert told == "2 False"
    found = [
        (key, note, None if price is None else float(price), str(taken)[:16], more)
        for key, note, price, taken, more in target.query("SELECT id, note, price, taken, more FROM t ORDER BY id")
    ]
    kept = [] if mode in ("truncate", "mirror") else [(3, "old", None, "None", "old")]
    expected = [(1, "one", 1.5, "2026-11-26 08:00", "m1"), (2, "two", None, "None", "m2"), *kept]
    assert found == expected
    assert target.tables() - {"dray_journal"} == {"t"}


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_load_that_fails_leaves_no_column_but_an_empty_one_in_mariadb(
    databases: Databases, script: Script, product: str
) -> None:
    source, target = pair(databases, product)
    grown(source)
    target.execute("CREATE TABLE t (id INTEGER NOT NULL PRIMARY KEY, note VARCHAR(20), CHECK (id <> 2))")
    target.insert("t", [(3, "old")])
    code = """
        import dray
        try:
            dray.copy_table("Source", "Target", "t", add_columns=True)
        except dray.CopyError as error:
            print(error.phase)
    """
    done = script(code, services=services(source, target))
    assert done.stdout == "write\n", done.stderr
    stays = (None, None, None) if product == "mariadb" else ()
    assert [tuple(row) for row in target.query("SELECT * FROM t")] == [(3, "old", *stays)]
    source.execute("DELETE FROM t WHERE id = 2")
    done = script(code, services=services(source, target), parameters={"run_id": "again"})
    assert done.stdout == "", done.stderr
    assert target.query("SELECT id, more FROM t ORDER BY id") == [(1, "m1"), (3, None)]


@pytest.mark.parametrize("product", PRODUCTS)
def test_the_users_own_statements_find_the_added_columns(databases: Databases, script: Script, product: str) -> None:
    source, target = pair(databases, product)
    grown(source)
    target.fill("t", COLUMNS, [(3, "old")])
    code = """
        import dray
        dray.copy_table("Source", "Target", "t", add_columns=True, before="UPDATE {target} SET more = 'before'")
    """
    done = script(code, services=services(source, target))
    assert done.returncode == 0, done.stderr
    assert target.query("SELECT id, more FROM t ORDER BY id") == [(1, "m1"), (2, "m2"), (3, "before")]


@pytest.mark.parametrize("mode", ["append", "upsert"])
@pytest.mark.parametrize("product", PRODUCTS)
def test_a_column_of_the_target_without_a_value_is_an_error_before_the_load(
    databases: Databases, script: Script, product: str, mode: str
) -> None:
    source, target = pair(databases, product)
    source.fill("t", COLUMNS, [(1, "one")])
    target.execute(
        "CREATE TABLE t (id INTEGER NOT NULL PRIMARY KEY, note VARCHAR(20), a INTEGER NOT NULL, b INTEGER NOT NULL, "
        "c INTEGER NOT NULL DEFAULT 5, d INTEGER)"
    )
    code = f"""
        import dray
        planned = dray.plan_copy(dray.Copy("Source", "t"), target="Target", mode={mode!r}).tables[0]
        print(planned.error["code"], planned.error["message"])
        dray.copy_table("Source", "Target", "t", mode={mode!r})
    """
    done = script(code, services=services(source, target))
    assert done.returncode == 1
    message = "the source has nothing for the target's columns `a`, `b`, which forbid NULL and have no default"
    assert done.stdout == f"copy.columns_required {message}\n"
    assert message in done.stderr.splitlines()[-1]
    for column in ("a", "b"):
        target.execute(f"ALTER TABLE t RENAME COLUMN {column} TO {column}_old")
        target.execute(f"ALTER TABLE t ADD COLUMN {column} INTEGER NOT NULL DEFAULT 7")
    target.execute("ALTER TABLE t DROP COLUMN a_old")
    target.execute("ALTER TABLE t DROP COLUMN b_old")
    done = script(code, services=services(source, target))
    assert "planned.error" in done.stderr, "there is none"
    code = f'import dray\ndray.copy_table("Source", "Target", "t", mode={mode!r})\n'
    done = script(code, services=services(source, target))
    assert done.returncode == 0, done.stderr
    assert target.query("SELECT id, note, a, b, c, d FROM t") == [(1, "one", 7, 7, 5, None)]


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_column_that_a_counter_or_trigger_fills_needs_no_value(
    databases: Databases, script: Script, product: str
) -> None:
    source, target = pair(databases, product)
    source.fill("t", {"note": "VARCHAR(20)"}, [("one",)])
    if product == "sqlite":
        target.execute("CREATE TABLE t (id INTEGER NOT NULL PRIMARY KEY, note VARCHAR(20))")
    elif product == "mariadb":
        target.execute(
            "CREATE TABLE t (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, note VARCHAR(20), "
            "kind ENUM('a', 'b') NOT NULL)"
        )
    else:
        target.execute("CREATE DOMAIN five AS integer DEFAULT 5 NOT NULL")
        target.execute(
            "CREATE TABLE t (id integer GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, note varchar(20), "
            "n serial NOT NULL, five five NOT NULL, filled integer NOT NULL)"
        )
        target.execute(
            "CREATE FUNCTION fill_t() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.filled := 5; RETURN NEW; END'"
        )
        target.execute("CREATE TRIGGER fill_t BEFORE INSERT ON t FOR EACH ROW EXECUTE PROCEDURE fill_t()")
    done = script('import dray\ndray.copy_table("Source", "Target", "t")\n', services=services(source, target))
    assert done.returncode == 0, done.stderr
    assert target.query("SELECT id, note FROM t") == [(1, "one")]


@pytest.mark.parametrize("product", ["postgresql", "mariadb"])
def test_narrower_columns_stand_in_the_dry_run_and_the_report(
    databases: Databases, dray: Dray, task: Task, script: Script, product: str
) -> None:
    source, target = databases("postgresql" if product == "mariadb" else "mariadb"), databases(product)
    wide = {
        "id": "BIGINT", "name": "VARCHAR(20)", "price": "DECIMAL(12,4)", "taken": f"{'DATETIME' if source.product == 'mariadb' else 'TIMESTAMP'}(6)", "same": "INTEGER",
        "wider": "INTEGER",
    }  # fmt: skip
    source.fill("t", wide, [(1, "ok", "1.5", "2026-11-26 08:00:00.5", 1, 1)])
    target.execute(
        "CREATE TABLE t (id INTEGER, name VARCHAR(10), price DECIMAL(12,2), "
        f"taken {'DATETIME' if product == 'mariadb' else 'TIMESTAMP'}(3), same INTEGER, wider BIGINT)"
    )
    task.write_activity(linked_services={"Source": source.odbc, "Target": target.odbc})
    flags = ["--source", "Source", "--table", "t", "--target", "Target", "--narrower", "check"]
    done = dray("copy", *flags, "--dry-run", cwd=task.folder, env=task.env)
    assert done.returncode == 0, done.stderr
    assert "narrower    column `id`: bigint" in done.stdout, done.stdout
    code = """
        import dray
        print("\\n".join(dray.copy_table("Source", "Target", "t", narrower="check").narrower))
    """
    told = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert told.returncode == 0, told.stderr
    lines = told.stdout.splitlines()
    assert [line.split("`")[1] for line in lines] == ["id", "name", "price", "taken"], lines
    assert all(line in done.stdout for line in lines)
    assert "(text of 20 characters) into " in lines[1] and lines[1].endswith("(text of 10 characters)")
    assert target.count("t") == 1
    source.execute("UPDATE t SET name = 'eleven more'")
    done = script(code, services={"Source": source.odbc, "Target": target.odbc}, parameters={"run_id": "2"})
    assert done.returncode == 1
    assert "the text has 11 characters, the target column holds 10" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("product", ["postgresql", "mariadb"])
def test_a_narrower_column_is_an_error_before_anything_is_loaded(
    databases: Databases, dray: Dray, task: Task, script: Script, product: str, mode: str
) -> None:
    source, target = databases("postgresql" if product == "mariadb" else "mariadb"), databases(product)
    moment = "DATETIME" if source.product == "mariadb" else "TIMESTAMP"
    wide = {
        "id": "BIGINT NOT NULL PRIMARY KEY",
        "name": "VARCHAR(20)",
        "price": "DECIMAL(12,4)",
        "taken": f"{moment}(6)",
    }
    # Every value would fit.
    source.fill("t", {**wide, "same": "INTEGER"}, [(1, "ok", "1.5", "2026-11-26 08:00:00", 1)])
    moment = "DATETIME" if product == "mariadb" else "TIMESTAMP"
    narrow = {
        "id": "INTEGER NOT NULL PRIMARY KEY",
        "name": "VARCHAR(10)",
        "price": "DECIMAL(12,2)",
        "taken": f"{moment}(3)",
    }
    target.fill("t", {**narrow, "same": "INTEGER"}, [(9, "old", None, None, 9)])
    code = f'import dray\ndray.copy_table("Source", "Target", "t", {options(mode)})\n'
    done = script(code, services=services(source, target))
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "the target is narrower than the source: column `id`: bigint" in last
    assert all(f"column `{name}`" in last for name in ("name", "price", "taken")), last
    assert "`same`" not in last
    assert 'narrower="check"' in last
    assert target.query("SELECT id FROM t") == [(9,)]
    task.write_activity(linked_services=services(source, target))
    flags = ["--source", "Source", "--table", "t", "--target", "Target", "--mode", mode]
    flags += ["--watermark", "id"] if mode == "incremental" else []
    planned = dray("copy", *flags, "--dry-run", cwd=task.folder, env=task.env)
    assert planned.returncode == 1
    assert "narrower than the source" in planned.stdout


@pytest.mark.parametrize("product", ["postgresql", "mariadb"])
def test_what_is_no_declared_width_is_looked_at_value_by_value(
    databases: Databases, script: Script, product: str
) -> None:
    other = databases("postgresql" if product == "mariadb" else "mariadb")
    loose, target = databases("sqlite"), databases(product)
    # Nothing keeps SQLite's types to their size; text and a query's results have none.
    loose.fill("loose", {"id": "BIGINT", "name": "VARCHAR(20)"}, [(1, "ok")])
    other.fill("other", {"name": "TEXT"}, [("ok",)])
    other.fill("wide", {"id": "BIGINT", "name": "VARCHAR(20)"}, [(1, "ok")])
    for name in ("loose", "queried", "filed"):
        target.execute(f"CREATE TABLE {name} (id SMALLINT, name VARCHAR(10))")
    target.execute("CREATE TABLE other (name VARCHAR(10))")
    code = """
        import dray
        copies = [dray.Copy("Loose", "loose"), dray.Copy("Other", "other"),
                  dray.Copy("Other", query="SELECT COUNT(*) AS id, MIN(name) AS name FROM wide", into="queried")]
        dray.copy_tables(copies, target="Target")
        print(dray.copy_tables(dray.Copy("Other", "wide", into="filed"), target="Target", on_reject="file").rows)
    """
    done = script(code, services={"Loose": loose.odbc, "Other": other.odbc, "Target": target.odbc})
    assert done.stdout == "1\n", done.stderr
    assert [target.count(name) for name in ("loose", "other", "queried", "filed")] == [1] * 4


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_table_that_dray_has_made_is_not_narrower(databases: Databases, script: Script, product: str) -> None:
    source, target = pair(databases, product)
    grown(source)
    code = """
        import dray
        for _ in range(2):
            print(dray.copy_table("Source", "Target", "t", mode="truncate").narrower)
    """
    done = script(code, services=services(source, target))
    assert done.stdout == "[]\n[]\n", done.stderr
