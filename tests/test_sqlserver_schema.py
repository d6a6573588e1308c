"""What a table that a copy makes takes over beside its columns, from SQL Server and into it: looked at in the catalog by an
independent client, and tried out. Runs where DRAY_TEST_MSSQL leads to a database that may be emptied.
"""

from __future__ import annotations

import json
import signal
import time
from typing import Any

import pytest
from conftest import Script
from copying import Copying
from databases import PRODUCTS, Databases, Sqlserver
from test_copy_full_schema import (
    REFUSED,
    copy,
    copy_without_what_is_referred_to,
    foreign_keys,
    indexes,
    open_shop,
    services,
)
from test_copy_replacing import children, parents

SHOP = [
    "CREATE TABLE customers (id int IDENTITY(1,1) NOT NULL PRIMARY KEY, "
    "name nvarchar(40) COLLATE Latin1_General_100_BIN2 NOT NULL, email nvarchar(80) COLLATE Latin1_General_100_BIN2 NOT NULL, "
    "CONSTRAINT one_email UNIQUE (email))",
    "CREATE TABLE orders (id int IDENTITY(1,1) NOT NULL PRIMARY KEY, customer int NOT NULL, "
    "amount int NOT NULL DEFAULT 7, state nvarchar(10) COLLATE Latin1_General_100_BIN2 NOT NULL DEFAULT 'new', "
    "paid bit NOT NULL DEFAULT 0, ordered date DEFAULT '2020-02-29', made datetime2(6) DEFAULT SYSDATETIME(), "
    "CONSTRAINT positive CHECK (amount > 0 AND amount <= 1000), "
    "CONSTRAINT of_customer FOREIGN KEY (customer) REFERENCES customers (id) ON DELETE CASCADE)",
    "CREATE INDEX by_amount ON orders (amount, id)",
]
COMMENTS = [
    "EXEC sp_addextendedproperty 'MS_Description', 'what was ''ordered''', 'SCHEMA', 'dbo', 'TABLE', 'orders'",
    "EXEC sp_addextendedproperty 'MS_Description', 'in euros', 'SCHEMA', 'dbo', 'TABLE', 'orders', 'COLUMN', 'amount'",
]


@pytest.fixture
def server(databases: Databases) -> Sqlserver:
    """The empty database."""
    made = databases("sqlserver")
    assert isinstance(made, Sqlserver)
    return made


def babelfish(server: Sqlserver) -> bool:
    """Whether it is Babelfish, which knows no keys that are not trusted: it looks at the rows at once, whatever is asked."""
    return server.query("SELECT CAST(SERVERPROPERTY('Babelfish') AS int)") == [(1,)]


@pytest.fixture
def lenient(server: Sqlserver) -> Sqlserver:
    """The empty database, of a server that takes WITH NOCHECK: Babelfish does if its escape hatches say so."""
    if babelfish(server):
        hatches = server.query("EXEC sp_babelfish_configure 'escape_hatch_nocheck%'")
        strict = [name for name, setting, _ in hatches if setting == "strict"]
        if strict:
            pytest.skip(f"this Babelfish refuses WITH NOCHECK: `ignore` is wanted for {', '.join(strict)}")
    return server


def indexes_of(server: Sqlserver, table: str) -> dict[str, tuple[bool, list[str]]]:
    """The indexes of a table without what Babelfish puts behind their names: that of the table and a hash."""
    return {name.partition(table)[0]: found for name, found in indexes(server, table).items()}


def comments(server: Sqlserver) -> dict[str, str]:
    """The comments of `orders`: on each column, and under no name that on the table."""
    rows = server.query(
        "SELECT COALESCE(c.name, ''), CAST(p.value AS nvarchar(4000)) FROM sys.extended_properties p LEFT JOIN sys.columns c "
        "ON c.object_id = p.major_id AND c.column_id = p.minor_id AND p.minor_id > 0 "
        "WHERE p.class = 1 AND p.name = 'MS_Description' AND p.major_id = OBJECT_ID('orders')"
    )
    return dict(rows)


@pytest.mark.parametrize("product", PRODUCTS)
def test_what_a_table_of_sql_server_has_is_there_in_the_copy(
    databases: Databases, server: Sqlserver, script: Script, product: str
) -> None:
    target = databases(product)
    for sql in [*SHOP, *COMMENTS]:
        server.execute(sql)
    for name in ("Ada", "Bob", "Eve"):
        server.execute(f"INSERT INTO customers (name, email) VALUES ('{name}', '{name}@example.org')")
    for number in range(1, 6):
        server.execute(f"INSERT INTO orders (customer, amount) VALUES (1, {number})")
    server.execute("DELETE FROM orders WHERE id = 5")
    for _ in range(2):
        done = script(copy(options=', mode="replace", run_id=""'), services=services(server, target))
        assert done.returncode == 0, done.stderr
        lacks = json.loads(done.stdout)
        assert lacks["customers"] == []
        expected = ["comment on the table", "comment on column `amount`"] if product == "sqlite" else []
        assert [thing.split(":")[0] for thing in lacks["orders"]] == expected, lacks
        assert (target.count("orders"), target.count("customers")) == (4, 3)
    if product == "sqlite":
        target.execute("PRAGMA foreign_keys = ON")
    # Babelfish's names for indexes have a hash behind them.
    assert (False, ["amount", "id"]) in indexes(target, "orders").values()
    assert (True, ["email"]) in indexes(target, "customers").values()
    assert foreign_keys(target, "orders") == [("customers", "CASCADE")]
    target.execute("INSERT INTO orders (customer) VALUES (2)")
    [(number, amount, state, paid, ordered, made)] = target.query(
        "SELECT id, amount, state, paid, ordered, made FROM orders WHERE customer = 2"
    )
    assert number >= 6, "no number is given twice"  # more than that in Babelfish, which takes other tables for this one
    assert (amount, state, bool(paid), str(ordered)) == (7, "new", False, "2020-02-29")
    assert made is not None
    for refused in ("INSERT INTO orders (customer, amount) VALUES (1, 0)", "INSERT INTO orders (customer) VALUES (99)"):
        with pytest.raises(REFUSED):
            target.execute(refused)


@pytest.mark.parametrize("product", PRODUCTS)
def test_what_a_table_has_is_there_in_its_copy_in_sql_server(
    databases: Databases, server: Sqlserver, script: Script, product: str
) -> None:
    import pyodbc

    source = databases(product)
    open_shop(source)
    for _ in range(2):
        done = script(copy(options=', mode="replace", run_id=""'), services=services(source, server))
        assert done.returncode == 0, done.stderr
        # Babelfish puts a hash behind the names of indexes, which then are not those of the source.
        lacks = {
            table: [
                lack for lack in lacks if not lack.endswith("the table that is replaced has it, and its source has not")
            ]
            for table, lacks in json.loads(done.stdout).items()
        }
        assert lacks == {"orders": [], "customers": []}
    assert foreign_keys(server, "orders") == [("customers", "CASCADE")]
    assert indexes_of(server, "orders")["by_amount"] == (False, ["amount", "id"])
    assert (True, ["email"]) in indexes_of(server, "customers").values()
    expected = {} if product == "sqlite" else {"": "what was 'ordered'", "amount": "in euros"}
    assert comments(server) == expected
    server.execute("INSERT INTO orders (customer) VALUES (2)")
    rows = "SELECT id, amount, state, paid, CONVERT(varchar(10), ordered, 23), made FROM orders WHERE customer = 2"
    [(number, amount, state, paid, ordered, made)] = server.query(rows)
    assert number >= 5, "no number is given twice"
    assert (amount, state, bool(paid), ordered) == (7, "new", False, "2020-02-29")
    assert made is not None
    for refused in (
        "INSERT INTO orders (customer, amount) VALUES (1, 0)",
        "INSERT INTO orders (customer, state) VALUES (1, 'odd')",
        "INSERT INTO orders (customer) VALUES (99)",
        "INSERT INTO customers (name, email) VALUES ('Al', 'Ada@example.org')",
    ):
        with pytest.raises(pyodbc.Error):
            server.execute(refused)
    # Rows without one, and texts that differ in their letters alone, are not the same here either.
    for email in ("NULL", "NULL", "'ada@example.org'"):
        server.execute(f"INSERT INTO customers (name, email) VALUES ('No', {email})")


def test_within_sql_server_computed_columns_and_indexes_come_in_its_own_words(
    server: Sqlserver, script: Script
) -> None:
    server.execute(
        "CREATE TABLE items (id int NOT NULL PRIMARY KEY, price decimal(10,2) NOT NULL, n int NOT NULL DEFAULT 1, "
        "total AS (price * n) PERSISTED, code varchar(10) DEFAULT LEFT(CONVERT(varchar(36), NEWID()), 8))"
    )
    server.execute("CREATE INDEX by_price ON items (price) INCLUDE (n)")
    server.execute("INSERT INTO items (id, price, n) VALUES (1, 2.50, 3)")
    code = """
        import dray, json
        report = dray.copy_tables(dray.Copy("Source", "items", into="copied"), target="Source")
        print(json.dumps(report.tables[0].not_carried))
    """
    done = script(code, services={"Source": server.odbc})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []
    server.execute("INSERT INTO copied (id, price) VALUES (2, 4)")
    found: Any = server.query("SELECT total, LEN(code) FROM copied ORDER BY id")
    assert [(float(total), length) for total, length in found] == [(7.5, 8), (4.0, 8)]
    # Babelfish's name for it has that of the old table in it.
    assert any(name.startswith("by_price") for name in indexes_of(server, "copied"))


@pytest.mark.parametrize(
    ("driver", "mode"),
    [*(("microsoft", mode) for mode in ("replace", "truncate", "mirror", "upsert")), ("freetds", "truncate")],
)
def test_the_same_copy_again_meets_the_keys_that_the_first_one_made(
    databases: Databases, lenient: Sqlserver, script: Script, driver: str, mode: str
) -> None:
    server = lenient
    source = databases("postgresql")
    open_shop(source)
    to = {**services(source, server), "Target": server.freetds if driver == "freetds" else server.odbc}
    # A customer who goes while an order is there that goes with the next table: Babelfish sees it at once.
    goes_first = [2, 5, 6] if babelfish(server) and mode != "replace" else [2, 4, 5]
    for run in range(3):
        done = script(copy("'*'", f', mode="{mode}", run_id="{run}"'), services=to)
        assert done.returncode == 0, done.stderr
        assert foreign_keys(server, "orders") == [("customers", "CASCADE")]
        for table in ("customers", "orders"):
            assert server.count(table) == source.count(table)
        if mode != "upsert":
            source.execute(f"DELETE FROM customers WHERE id = {goes_first[run]}")
        source.execute(f"INSERT INTO customers (id, name) VALUES ({4 + run}, 'next')")
        source.execute(f"INSERT INTO orders (customer) VALUES ({4 + run})")
    assert server.tables() == {"customers", "orders"}, "nothing is left beside them"
    assert "by_amount" in indexes_of(server, "orders")
    assert server.query("SELECT name FROM sys.foreign_keys") == [("of_customer",)]
    assert server.query("SELECT name FROM sys.extended_properties WHERE name LIKE 'dray%'") == []


def test_rows_are_appended_after_those_that_they_refer_to(
    databases: Databases, server: Sqlserver, script: Script
) -> None:
    source = databases("postgresql")
    open_shop(source)
    for run in range(2):
        done = script(copy(options=f', mode="append", run_id="{run}"'), services=services(source, server))
        assert done.returncode == 0, done.stderr
        source.execute("DELETE FROM customers")
        source.execute("INSERT INTO customers (id, name) VALUES (9, 'next')")
        source.execute("INSERT INTO orders (customer) VALUES (9)")
    assert server.query("SELECT COUNT(*) FROM orders WHERE customer = 9") == [(1,)]
    assert foreign_keys(server, "orders") == [("customers", "CASCADE")]


def test_keys_have_the_actions_of_their_source(databases: Databases, server: Sqlserver, script: Script) -> None:
    source = databases("postgresql")
    source.execute("CREATE TABLE p (id integer PRIMARY KEY, code varchar(10) UNIQUE NOT NULL)")
    source.execute(
        "CREATE TABLE c (id integer PRIMARY KEY, a integer CONSTRAINT a REFERENCES p ON UPDATE CASCADE ON DELETE SET NULL, "
        "b varchar(10) DEFAULT 'x' CONSTRAINT b REFERENCES p (code) ON DELETE SET DEFAULT, "
        "d integer CONSTRAINT d REFERENCES p ON UPDATE RESTRICT ON DELETE RESTRICT, "
        "e integer CONSTRAINT e REFERENCES p DEFERRABLE)"
    )
    done = script(copy("'*'"), services=services(source, server))
    assert done.returncode == 0, done.stderr
    lacks = json.loads(done.stdout)["c"]
    expected = [("a", "CASCADE", "SET_NULL"), ("b", "NO_ACTION", "SET_DEFAULT"), ("d", "NO_ACTION", "NO_ACTION")]
    keys = server.query(
        "SELECT name, update_referential_action_desc, delete_referential_action_desc FROM sys.foreign_keys"
    )
    told = ["foreign key `e`: it is looked at when the transaction ends, which the target's product does not do"]
    if not babelfish(server):
        # By `a` and `b` a row of `c` could be reached in two ways, which SQL Server refuses.
        told.append(next(lack for lack in lacks if lack.startswith("foreign key `b`: ") and "cascade paths" in lack))
        expected.pop(1)
    assert (sorted(keys), sorted(lacks)) == (expected, sorted(told))


def test_a_key_of_text_is_of_columns_that_are_alike(databases: Databases, server: Sqlserver, script: Script) -> None:
    source = databases("postgresql")
    source.execute("CREATE TABLE p (code text, area varchar(10), PRIMARY KEY (code, area))")
    source.execute("CREATE TABLE c (area varchar(10), code text, FOREIGN KEY (code, area) REFERENCES p)")
    source.execute("INSERT INTO p VALUES ('ü', 'A'), ('ü', 'a')")
    source.execute("INSERT INTO c VALUES ('a', 'ü'), (NULL, 'none')")
    done = script(copy("'*'"), services=services(source, server))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"c": [], "p": []}
    columns = "SELECT max_length, collation_name FROM sys.columns WHERE object_id = OBJECT_ID('{}') ORDER BY name"
    assert server.query(columns.format("c")) == server.query(columns.format("p"))
    assert foreign_keys(server, "c") == [("p", "NO ACTION")]


def test_a_copy_within_sql_server_has_its_keys_under_names_that_are_free(server: Sqlserver, script: Script) -> None:
    for sql in SHOP:
        server.execute(sql)
    server.execute("INSERT INTO customers (name, email) VALUES ('Ada', 'Ada@example.org')")
    server.execute("INSERT INTO orders (customer) VALUES (1)")
    server.execute("ALTER TABLE orders ADD second int CONSTRAINT of_two REFERENCES customers (id)")
    code = """
        import dray, json
        report = dray.copy_tables(dray.Copy("Server", ["customers", "orders"], into="new_{table}"), target="Server",
                                  mode="replace", run_id="")
        print(json.dumps([table.not_carried for table in report.tables]))
    """
    for _ in range(2):
        done = script(code, services={"Server": server.odbc})
        assert done.returncode == 0, done.stderr
        # Babelfish's indexes have other names, and are told as lost.
        assert "foreign key" not in done.stdout
    assert foreign_keys(server, "new_orders") == [("new_customers", "CASCADE"), ("new_customers", "NO ACTION")]
    names = "SELECT name FROM sys.foreign_keys WHERE parent_object_id = OBJECT_ID('{}')"
    assert sorted(server.query(names.format("new_orders"))) == [
        ("new_orders_customer_fkey",),
        ("new_orders_second_fkey",),
    ]
    assert sorted(server.query(names.format("orders"))) == [("of_customer",), ("of_two",)]


def test_a_key_does_not_take_the_name_of_a_table(databases: Databases, server: Sqlserver, script: Script) -> None:
    source = databases("mariadb")
    open_shop(source)
    server.execute("CREATE TABLE of_customer (id int)")
    done = script(copy(), services=services(source, server))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"orders": [], "customers": []}
    assert server.query("SELECT name FROM sys.foreign_keys") == [("orders_customer_fkey",)]


def test_a_key_comes_back_if_its_own_table_could_not_be_replaced(
    databases: Databases, lenient: Sqlserver, script: Script
) -> None:
    server = lenient
    import pyodbc

    source = databases("sqlite")
    open_shop(source)
    assert script(copy(), services=services(source, server)).returncode == 0
    source.execute("PRAGMA ignore_check_constraints = ON")
    source.execute("INSERT INTO orders (customer, amount) VALUES (1, 'not a number')")
    done = script(copy(options=', mode="replace", run_id=""'), services=services(source, server))
    assert done.returncode == 1
    assert foreign_keys(server, "orders") == [("customers", "CASCADE")]
    with pytest.raises(pyodbc.Error):
        server.execute("INSERT INTO orders (customer) VALUES (99)")


def test_a_run_again_that_skips_the_tables_ends_with_their_keys(
    databases: Databases, server: Sqlserver, script: Script
) -> None:
    source = databases("sqlite")
    open_shop(source)
    options = ', run_id="night"'
    assert script(copy(options=options), services=services(source, server)).returncode == 0
    # As if the first run had ended before its last step.
    server.execute("ALTER TABLE orders DROP CONSTRAINT of_customer")
    for _ in range(2):
        again = script(copy(options=options), services=services(source, server))
        assert again.returncode == 0, again.stderr
        assert foreign_keys(server, "orders") == [("customers", "CASCADE")]


def test_a_foreign_key_that_the_rows_violate_is_named_and_the_rows_stay(
    databases: Databases, server: Sqlserver, script: Script
) -> None:
    source = databases("postgresql")
    copy_without_what_is_referred_to(source, server, script)
    assert (server.count("orders"), foreign_keys(server, "orders")) == (5, [])


def test_a_key_that_made_way_is_back_after_a_call_that_was_stopped(
    databases: Databases, lenient: Sqlserver, copying: Copying
) -> None:
    server = lenient
    source = databases("postgresql")
    parents(source)
    source.execute("CREATE VIEW c AS SELECT i AS id, 1 AS p FROM generate_series(50, 52) i, pg_sleep(60)")
    parents(server, rows=2)
    children(server, "ON DELETE CASCADE")
    process = copying.start(source, server, ["p", "c"], mode="replace", overrides={"c": {"mode": "append"}})
    deadline = time.monotonic() + 60
    while server.query("SELECT COUNT(*) FROM sys.foreign_keys WITH (NOLOCK)") != [(0,)]:
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 143, stderr
    assert (server.count("p"), server.count("c")) == (3, 2)
    assert foreign_keys(server, "c") == [("p", "CASCADE")]
    assert "copy.key_makes_way" in stderr


def test_a_key_that_cannot_be_as_it_was_is_named(databases: Databases, lenient: Sqlserver, copying: Copying) -> None:
    server = lenient
    source = databases("sqlite")
    parents(source)
    children(source, "", rows=3)
    parents(server, rows=9)
    children(server, "", rows=0)
    server.insert("c", [(9, 9)])
    copied = copying(source, server, ["p", "c"], mode="replace", overrides={"c": {"mode": "append"}})
    assert (copied.error("p"), copied.error("c")) == (None, None)
    (told,) = copied.tables["c"]["not_carried"]
    assert "c_of_p" in told
    if babelfish(server):
        # It looks at the rows before the key is there.
        assert "ALTER TABLE [dbo].[c] ADD CONSTRAINT [c_of_p] FOREIGN KEY ([p]) REFERENCES [dbo].[p] ([id])" in told
    else:
        assert "new rows" in told
        assert server.query("SELECT is_disabled, is_not_trusted FROM sys.foreign_keys") == [(0, 1)]


@pytest.mark.parametrize("mode", ["truncate", "mirror", "replace"])
def test_a_key_that_an_earlier_run_put_back_unseen_is_looked_at_and_one_of_the_user_is_not(
    databases: Databases, server: Sqlserver, copying: Copying, mode: str
) -> None:
    if babelfish(server):
        pytest.skip("Babelfish has no keys that are not trusted or disabled")
    source = databases("sqlite")
    parents(source)
    children(source, "", rows=3)
    parents(server, rows=9)
    children(server, "", rows=0)
    for name, rest in (("as_it_is", " ON UPDATE CASCADE"), ("copied", " NOT FOR REPLICATION"), ("off", "")):
        server.execute(f"ALTER TABLE c WITH NOCHECK ADD CONSTRAINT {name} FOREIGN KEY (p) REFERENCES p (id){rest}")
    server.execute("ALTER TABLE c NOCHECK CONSTRAINT off")
    server.insert("c", [(9, 9)])
    states = (
        "SELECT name, CAST(is_disabled AS int), CAST(is_not_trusted AS int), CAST(is_not_for_replication AS int), "
        "update_referential_action_desc FROM sys.foreign_keys ORDER BY name"
    )
    own = [("as_it_is", 0, 1, 0, "CASCADE"), ("copied", 0, 1, 1, "NO_ACTION"), ("off", 1, 1, 0, "NO_ACTION")]
    before = server.query(states)
    assert sorted([*own, ("c_of_p", 0, 0, 0, "NO_ACTION")]) == sorted(before)
    options: dict[str, Any] = {"mode": mode, "overrides": {"c": {"mode": "upsert"}}}
    copied = copying(source, server, ["p", "c"], **options)
    assert (copied.error("p"), copied.error("c")) == (None, None)
    # As after a run that ended before it had looked.
    assert sorted(server.query(states)) == sorted([*own, ("c_of_p", 0, 1, 0, "NO_ACTION")])
    server.execute("DELETE FROM c WHERE id = 9")
    copied = copying(source, server, ["p", "c"], **options)
    assert (copied.error("p"), copied.error("c")) == (None, None)
    assert server.query(states) == before
    assert server.query("SELECT name FROM sys.extended_properties WHERE name LIKE 'dray%'") == []


def test_a_table_of_the_call_makes_way_and_one_outside_of_it_stands_in_the_way(
    databases: Databases, server: Sqlserver, copying: Copying
) -> None:
    source = databases("sqlite")
    parents(source)
    children(source, "")
    parents(server, rows=2)
    children(server, "")
    children(server, "", name="outside")
    error = copying(source, server, ["p", "c"], mode="replace").error("p")
    assert error is not None
    assert error["code"] == "copy.not_replaceable"
    assert "`outside_of_p` of `dbo.outside`" in error["message"]
    assert "`c_of_p`" not in error["message"]
    server.execute("DROP TABLE outside")
    assert copying(source, server, ["p", "c"], mode="replace").error("p") is None
    assert foreign_keys(server, "c") == [("p", "NO ACTION")]
