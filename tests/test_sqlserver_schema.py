"""What a table that a copy makes takes over beside its columns, from SQL Server and into it: looked at in the catalog by an
independent client, and tried out. Runs where DRAY_TEST_MSSQL leads to a database that may be emptied.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import Script
from databases import PRODUCTS, Databases, Sqlserver
from test_copy_full_schema import REFUSED, copy, foreign_keys, indexes, open_shop, services

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
def test_what_a_table_has_is_there_in_its_copy_in_sql_server_but_for_foreign_keys(
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
        assert lacks["customers"] == []
        assert [thing.split(":")[0] for thing in lacks["orders"]] == ["foreign key `of_customer`"], lacks
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
