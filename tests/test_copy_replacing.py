"""What depends on a table that is replaced or emptied: keys of other tables, views, triggers, policies, grants. What would
be lost or changed is refused before anything is touched, by name; the catalog is looked at by an independent client.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Script
from copying import Copying
from databases import PRODUCTS, Database, Databases

SERVERS = ("postgresql", "mariadb")


def parents(database: Database, rows: int = 3) -> None:
    """A table of so many rows whose number is its key."""
    database.execute("CREATE TABLE p (id INT NOT NULL PRIMARY KEY, note VARCHAR(20))")
    database.insert("p", [(number, f"of {number}") for number in range(1, rows + 1)])


def children(database: Database, rule: str, name: str = "c", rows: int = 2) -> None:
    """A table that refers to `p` by the key `<name>_of_p`, with what happens when a row of it goes."""
    database.execute(
        f"CREATE TABLE {name} (id INT NOT NULL PRIMARY KEY, p INT, "
        f"CONSTRAINT {name}_of_p FOREIGN KEY (p) REFERENCES p (id) {rule})"
    )
    database.insert(name, [(10 + number, number) for number in range(1, rows + 1)])


def enforce_keys(database: Database) -> Database:
    """The database, with foreign keys that count: SQLite's driver has to be asked for it."""
    if database.product == "sqlite":
        database.odbc += ";FKSupport=1"
    return database


@pytest.fixture
def pair(databases: Databases) -> Callable[[str], tuple[Database, Database]]:
    """`pair(product)`: a source with three rows in `p`, and a target of that product with two."""

    def make(product: str) -> tuple[Database, Database]:
        source, target = databases("sqlite"), enforce_keys(databases(product))
        parents(source)
        parents(target, rows=2)
        return source, target

    return make


def refused(copied: Any, table: str, code: str, *words: str) -> dict[str, Any]:
    """The error of a table that was refused while it was planned, with these words in its message."""
    error: dict[str, Any] = copied.error(table)
    assert error is not None
    assert (error["code"], error["phase"], error["side"]) == (code, "plan", "target"), error
    assert all(word in error["message"] for word in words), error
    return error


@pytest.mark.parametrize("product", SERVERS)
def test_a_table_that_an_outside_key_refers_to_is_not_replaced(
    pair: Callable[[str], tuple[Database, Database]], copying: Copying, product: str
) -> None:
    source, target = pair(product)
    children(target, "")
    for _ in range(2):
        error = refused(copying(source, target, "p", mode="replace"), "p", "copy.not_replaceable", "`c_of_p`", ".c`")
        assert "mirror" in error["hint"]
    assert target.count("p") == 2
    assert target.tables() == {"p", "c"}, "nothing is left beside them"
    if product == "mariadb":
        assert "REFERENCES `p` (`id`)" in target.query("SHOW CREATE TABLE c")[0][1]


def test_a_key_from_another_database_of_the_server_counts(databases: Databases, copying: Copying) -> None:
    source, target, other = databases("sqlite"), databases("mariadb"), databases("mariadb")
    parents(source)
    parents(target)
    here = target.quote(target.name)  # type: ignore[attr-defined]
    other.execute(f"CREATE TABLE far (p INT, CONSTRAINT from_far FOREIGN KEY (p) REFERENCES {here}.p (id))")
    try:
        refused(copying(source, target, "p", mode="replace"), "p", "copy.not_replaceable", "`from_far`", ".far`")
    finally:
        other.execute("DROP TABLE far")


@pytest.mark.parametrize("rule", ["ON DELETE CASCADE", "ON DELETE SET NULL"])
@pytest.mark.parametrize("product", PRODUCTS)
def test_a_table_is_not_emptied_if_rows_of_others_would_go_or_change(
    pair: Callable[[str], tuple[Database, Database]], copying: Copying, product: str, rule: str
) -> None:
    source, target = pair(product)
    children(target, rule)
    children(target, rule, "d")
    before = target.query("SELECT id, p FROM c ORDER BY id")
    words = ("`main.c`", "`main.d`") if product == "sqlite" else ("`c_of_p`", "`d_of_p`")
    refused(copying(source, target, "p", mode="truncate"), "p", "copy.not_emptiable", *words)
    assert target.query("SELECT id, p FROM c ORDER BY id") == before
    assert target.count("p") == 2


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_table_of_the_call_that_is_emptied_as_well_does_not_stand_in_the_way(
    pair: Callable[[str], tuple[Database, Database]], copying: Copying, product: str
) -> None:
    source, target = pair(product)
    children(target, "ON DELETE CASCADE")
    children(source, "", rows=3)
    tables = ["c", "p"]
    if product == "sqlite":
        # Nothing says there which comes first, and rows that are in would go with those that they refer to.
        refused(copying(source, target, tables, mode="truncate"), "p", "copy.not_emptiable", "`main.c`")
        tables = ["p", "c"]
    copied = copying(source, target, tables, mode="truncate")
    assert (copied.error("p"), copied.error("c")) == (None, None)
    assert (target.count("p"), target.count("c")) == (3, 3)
    # Of those that are emptied, one more refers to the same rows.
    children(target, "", "d")
    if product != "sqlite":
        refused(copying(source, target, tables, mode="truncate"), "p", "copy.not_emptiable", "`d_of_p`")
        assert (target.count("p"), target.count("d")) == (3, 2)


def test_without_keys_that_count_sqlite_replaces_and_empties_what_it_did(
    databases: Databases, copying: Copying
) -> None:
    source, target = databases("sqlite"), databases("sqlite")
    parents(source)
    parents(target, rows=2)
    children(target, "ON DELETE CASCADE")
    for mode in ("truncate", "replace"):
        assert copying(source, target, "p", mode=mode).error("p") is None
        assert (target.count("p"), target.count("c")) == (3, 2)


def test_sqlite_does_not_replace_a_table_whose_rows_take_others_along(
    pair: Callable[[str], tuple[Database, Database]], copying: Copying
) -> None:
    source, target = pair("sqlite")
    children(target, "ON DELETE CASCADE")
    refused(copying(source, target, "p", mode="replace"), "p", "copy.not_replaceable", "`main.c`")
    assert (target.count("p"), target.count("c")) == (2, 2)


TRIGGERS = {
    "postgresql": [
        "CREATE FUNCTION seen() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "CREATE TRIGGER looks_on BEFORE INSERT ON p FOR EACH ROW EXECUTE PROCEDURE seen()",
    ],
    "mariadb": ["CREATE TRIGGER looks_on BEFORE INSERT ON p FOR EACH ROW SET @x = 1"],
    "sqlite": ["CREATE TRIGGER looks_on BEFORE INSERT ON p BEGIN SELECT 1; END"],
}


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_table_with_a_trigger_is_not_replaced(
    pair: Callable[[str], tuple[Database, Database]], copying: Copying, product: str
) -> None:
    source, target = pair(product)
    for statement in TRIGGERS[product]:
        target.execute(statement)
    error = refused(copying(source, target, "p", mode="replace"), "p", "copy.not_replaceable", "trigger `looks_on`")
    assert "truncate" in error["hint"]
    assert target.count("p") == 2
    assert copying(source, target, "p", mode="truncate").error("p") is None
    # Whoever takes care of it by name is let.
    before = "DROP TRIGGER looks_on" + (" ON p" if product == "postgresql" else "")
    if product == "mariadb":
        before = "DROP TRIGGER IF EXISTS looks_on"
    assert copying(source, target, "p", mode="replace", before=[before]).error("p") is None
    assert target.count("p") == 3


def test_what_stands_in_the_way_in_postgresql_is_named(
    pair: Callable[[str], tuple[Database, Database]], copying: Copying
) -> None:
    source, target = pair("postgresql")
    target.execute("CREATE SCHEMA elsewhere")
    target.execute("CREATE VIEW elsewhere.seen AS SELECT note FROM p")
    target.execute("CREATE MATERIALIZED VIEW kept AS SELECT id FROM p")
    target.execute("CREATE TABLE heir () INHERITS (p)")
    target.execute("CREATE POLICY own ON p USING (id > 0)")
    target.execute("ALTER TABLE p ENABLE ROW LEVEL SECURITY")
    target.execute("CREATE RULE quiet AS ON DELETE TO p DO INSTEAD NOTHING")
    words = ["view `elsewhere.seen`", "materialized view `public.kept`", "heir", "policy `own`", "rule `quiet`"]
    refused(copying(source, target, "p", mode="replace"), "p", "copy.not_replaceable", *words)
    assert target.count("p") == 2


def test_a_view_can_make_way_and_come_back_within_the_copy(
    pair: Callable[[str], tuple[Database, Database]], copying: Copying
) -> None:
    source, target = pair("postgresql")
    target.execute("CREATE VIEW seen AS SELECT note FROM p")
    around: dict[str, Any] = {"before": ["DROP VIEW seen"], "after": ["CREATE VIEW seen AS SELECT note FROM {target}"]}
    assert copying(source, target, "p", mode="replace", **around).error("p") is None
    assert target.count("seen") == 3


def test_a_partition_is_not_replaced(databases: Databases, copying: Copying) -> None:
    source, target = databases("sqlite"), databases("postgresql")
    parents(source)
    target.execute("CREATE TABLE whole (id integer NOT NULL, note varchar(20)) PARTITION BY RANGE (id)")
    target.execute("CREATE TABLE p PARTITION OF whole FOR VALUES FROM (0) TO (100)")
    refused(copying(source, target, "p", mode="replace"), "p", "copy.not_replaceable", "`public.whole`")


def test_a_replaced_table_of_postgresql_has_the_grants_and_the_owner_that_it_had(
    pair: Callable[[str], tuple[Database, Database]], copying: Copying
) -> None:
    source, target = pair("postgresql")
    reader, owner = f"reader_{target.name}", f"owner_{target.name}"  # type: ignore[attr-defined]
    try:
        for role in (reader, owner):
            target.execute(f'CREATE ROLE "{role}"')
        target.execute(f'GRANT CREATE ON SCHEMA public TO "{owner}"')
        target.execute(f'ALTER TABLE p OWNER TO "{owner}"')
        target.execute(f'GRANT SELECT, UPDATE ON p TO "{reader}" WITH GRANT OPTION')
        target.execute(f'GRANT INSERT (note) ON p TO "{reader}"')
        target.execute("GRANT SELECT ON p TO PUBLIC")
        acl = (
            "SELECT grantee::regrole::text, privilege_type, is_grantable FROM pg_class c, aclexplode(c.relacl) "
            "WHERE c.oid = 'p'::regclass ORDER BY 1, 2"
        )
        of_column = "SELECT attacl IS NOT NULL FROM pg_attribute WHERE attrelid = 'p'::regclass AND attname = 'note'"
        whose = "SELECT relowner::regrole::text FROM pg_class WHERE oid = 'p'::regclass"
        before = [target.query(sql) for sql in (acl, of_column, whose)]
        copied = copying(source, target, "p", mode="replace")
        assert copied.error("p") is None
        assert target.count("p") == 3
        assert [target.query(sql) for sql in (acl, of_column, whose)] == before
        assert copied.tables["p"]["not_carried"] == []
    finally:
        target.execute("DROP TABLE p")
        for role in (reader, owner):
            target.execute(f'DROP OWNED BY "{role}"')
            target.execute(f'DROP ROLE "{role}"')


@pytest.mark.parametrize("product", PRODUCTS)
def test_an_index_that_goes_with_the_old_table_is_named_and_one_that_comes_again_is_not(
    pair: Callable[[str], tuple[Database, Database]], copying: Copying, product: str
) -> None:
    source, target = pair(product)
    for database in (source, target):
        database.execute("CREATE INDEX by_note ON p (note)")
    target.execute("CREATE INDEX own ON p (note, id)")
    copied = copying(source, target, "p", mode="replace")
    assert copied.error("p") is None
    assert [thing.split(":")[0] for thing in copied.tables["p"]["not_carried"]] == ["index `own`"]
    assert copying(source, target, "p", mode="replace").tables["p"]["not_carried"] == []


def test_a_plan_says_what_stands_in_the_way_and_what_is_given_again(
    pair: Callable[[str], tuple[Database, Database]], script: Script
) -> None:
    source, target = pair("postgresql")
    for database in (source, target):
        database.execute("CREATE TABLE q (id INTEGER NOT NULL PRIMARY KEY)")
    target.execute("CREATE VIEW seen AS SELECT note FROM p")
    target.execute("CREATE INDEX own ON q (id)")
    target.execute("GRANT SELECT ON q TO PUBLIC")
    code = """
        import dray, json
        plan = dray.plan_copy(dray.Copy("Source", ["p", "q"]), target="Target", mode="replace")
        print(json.dumps([[t.error and t.error["message"], t.not_carried, [s["sql"] for s in t.statements]] for t in plan.tables]))
    """
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 0, done.stderr
    (error, _, _), (none, lacks, statements) = json.loads(done.stdout)
    assert "view `public.seen`" in error
    assert (none, [thing.split(":")[0] for thing in lacks]) == (None, ["index `own`"])
    assert statements[-1] == "GRANT SELECT ON public.q TO PUBLIC"
    assert (target.count("p"), target.count("q")) == (2, 0)


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_view_is_not_replaced_by_a_table(databases: Databases, copying: Copying, product: str) -> None:
    source, target = databases("sqlite"), databases(product)
    parents(source)
    target.execute("CREATE TABLE behind (id INT NOT NULL PRIMARY KEY, note VARCHAR(20))")
    target.insert("behind", [(7, "old")])
    target.execute("CREATE VIEW p AS SELECT id, note FROM behind")
    error = refused(copying(source, target, "p", mode="replace"), "p", "copy.not_replaceable", "is a view")
    assert "truncate" not in error["hint"]
    assert target.query("SELECT id, note FROM p") == [(7, "old")]
    assert not [table for table in target.tables() if "dray" in table]


@pytest.mark.parametrize("mode", ["append", "truncate"])
@pytest.mark.parametrize("product", PRODUCTS)
def test_rows_go_through_a_view_where_its_product_lets_them_and_the_error_says_view_elsewhere(
    databases: Databases, copying: Copying, product: str, mode: str
) -> None:
    source, target = databases("sqlite"), databases(product)
    parents(source)
    target.execute("CREATE TABLE behind (id INT NOT NULL PRIMARY KEY, note VARCHAR(20))")
    target.insert("behind", [(7, "old")])
    target.execute("CREATE VIEW p AS SELECT id, note FROM behind")
    error = copying(source, target, "p", mode=mode).error("p")
    if error is None:
        assert product != "sqlite"
        assert target.count("behind") == (3 if mode == "truncate" else 4)
    else:
        assert "view" in error["message"], error
        assert target.query("SELECT id, note FROM behind") == [(7, "old")]


@pytest.mark.parametrize("mode", ["append", "truncate", "upsert", "mirror"])
@pytest.mark.parametrize("kind", ["serial", "integer GENERATED BY DEFAULT AS IDENTITY"])
def test_a_counter_goes_on_behind_the_rows_that_came(
    databases: Databases, copying: Copying, mode: str, kind: str
) -> None:
    source, target = databases("sqlite"), databases("postgresql")
    parents(source, rows=5)
    target.execute(f'CREATE TABLE p ("id" {kind} PRIMARY KEY, note varchar(20), other serial)')
    assert copying(source, target, "p", mode=mode).error("p") is None
    target.execute("INSERT INTO p (note) VALUES ('new')")
    assert target.query("SELECT id FROM p WHERE note = 'new'") == [(6,)]
    # Never back: numbers that were given are not given again.
    target.execute("SELECT setval(pg_get_serial_sequence('p', 'id'), 100)")
    source.execute("INSERT INTO p VALUES (50, 'fifty')" if mode != "append" else "UPDATE p SET id = id + 50")
    assert copying(source, target, "p", mode=mode).error("p") is None
    target.execute("INSERT INTO p (note) VALUES ('newer')")
    assert target.query("SELECT id FROM p WHERE note = 'newer'") == [(101,)]


def test_a_counter_that_counts_down_goes_on_below(databases: Databases, copying: Copying) -> None:
    source, target = databases("sqlite"), databases("postgresql")
    source.execute("CREATE TABLE p (id INTEGER NOT NULL PRIMARY KEY)")
    source.insert("p", [(-1,), (-2,), (-7,)])
    target.execute("CREATE TABLE p (id integer GENERATED ALWAYS AS IDENTITY (INCREMENT BY -1) PRIMARY KEY, n integer)")
    assert copying(source, target, "p", mode="append").error("p") is None
    target.execute("INSERT INTO p (n) VALUES (1)")
    assert target.query("SELECT id FROM p WHERE n = 1") == [(-8,)]


def keys_of(database: Database, table: str) -> list[tuple[Any, ...]]:
    """The foreign keys of a table: the name, the referred table, and whether all rows are known to keep to it."""
    queries = {
        "postgresql": "SELECT conname, confrelid::regclass::text, convalidated FROM pg_constraint "
        f"WHERE contype = 'f' AND conrelid = '{table}'::regclass",
        "mariadb": "SELECT constraint_name, referenced_table_name, TRUE FROM information_schema.referential_constraints "
        f"WHERE constraint_schema = DATABASE() AND table_name = '{table}'",
    }
    return [(name, referred, bool(valid)) for name, referred, valid in database.query(queries[database.product])]


@pytest.mark.parametrize("product", SERVERS)
def test_a_key_that_made_way_is_back_after_a_call_that_was_stopped(
    databases: Databases, copying: Copying, product: str
) -> None:
    source, target = databases("postgresql"), databases(product)
    parents(source)
    source.execute("CREATE VIEW c AS SELECT i AS id, 1 AS p FROM generate_series(50, 52) i, pg_sleep(60)")
    parents(target, rows=2)
    children(target, "ON DELETE CASCADE")
    process = copying.start(source, target, ["p", "c"], mode="replace", overrides={"c": {"mode": "append"}})
    deadline = time.monotonic() + 60
    while keys_of(target, "c"):
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 143, stderr
    assert (target.count("p"), target.count("c")) == (3, 2)
    assert keys_of(target, "c") == [("c_of_p", "p", True)]
    assert "copy.key_makes_way" in stderr


@pytest.mark.parametrize("product", SERVERS)
def test_a_key_that_cannot_be_as_it_was_is_named_with_its_statement(
    databases: Databases, copying: Copying, product: str
) -> None:
    source, target = databases("sqlite"), databases(product)
    parents(source)
    children(source, "", rows=3)
    parents(target, rows=9)
    target.execute(
        "CREATE TABLE c (id INT NOT NULL PRIMARY KEY, p INT, CONSTRAINT c_of_p FOREIGN KEY (p) REFERENCES p (id))"
    )
    target.insert("c", [(9, 9)])
    copied = copying(source, target, ["p", "c"], mode="replace", overrides={"c": {"mode": "append"}})
    assert (copied.error("p"), copied.error("c")) == (None, None)
    (told,) = copied.tables["c"]["not_carried"]
    assert "c_of_p" in told
    if product == "postgresql":
        assert "new rows" in told
        assert keys_of(target, "c") == [("c_of_p", "p", False)]
    else:
        assert "ALTER TABLE" in told and "FOREIGN KEY (`p`) REFERENCES" in told


def test_a_key_that_an_earlier_run_put_back_unseen_is_looked_at_and_one_of_the_user_is_not(
    databases: Databases, copying: Copying
) -> None:
    source, target = databases("sqlite"), databases("postgresql")
    parents(source)
    children(source, "", rows=3)
    parents(target, rows=9)
    target.execute("CREATE TABLE c (id integer NOT NULL PRIMARY KEY, p integer CONSTRAINT c_of_p REFERENCES p (id))")
    target.execute("ALTER TABLE c ADD CONSTRAINT as_it_is FOREIGN KEY (p) REFERENCES p (id) NOT VALID")
    target.insert("c", [(9, 9)])
    options: dict[str, Any] = {"mode": "truncate", "overrides": {"c": {"mode": "upsert"}}}
    copied = copying(source, target, ["p", "c"], **options)
    assert (copied.error("p"), copied.error("c")) == (None, None)
    # As after a run that ended before it had looked.
    assert sorted(keys_of(target, "c")) == [("as_it_is", "p", False), ("c_of_p", "p", False)]
    target.execute("DELETE FROM c WHERE id = 9")
    copied = copying(source, target, ["p", "c"], **options)
    assert (copied.error("p"), copied.error("c")) == (None, None)
    assert sorted(keys_of(target, "c")) == [("as_it_is", "p", False), ("c_of_p", "p", True)]
    comments = (
        "SELECT count(*) FROM pg_description WHERE classoid = 'pg_constraint'::regclass AND description LIKE '%dray%'"
    )
    assert target.query(comments) == [(0,)]
