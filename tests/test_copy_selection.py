"""Which tables, rows and columns a copy takes, and where they go: wildcards, exclude, into, where, query, columns, rename."""

from __future__ import annotations

import pytest
from conftest import Script
from databases import PRODUCTS, Database, Databases


def run(script: Script, copies: str, source: Database, target: Database, **options: str) -> list[str]:
    """Run one `copy_tables` and give the sorted lines `source -> target: rows` of its report."""
    mode = options.get("mode", "append")
    code = f"""
        import dray
        report = dray.copy_tables([{copies}], target="Target", mode={mode!r})
        for table in report.tables:
            print(f"{{table.source}} -> {{table.target}}: {{table.rows}}")
    """
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 0, done.stderr
    return sorted(done.stdout.splitlines())


def fill(source: Database, *names: str) -> None:
    """Small tables of these names, `schema.table` or `table`, each with a row that says which one it is."""
    for name in names:
        quoted = ".".join(source.quote(part) for part in name.split("."))
        source.execute(f"CREATE TABLE {quoted} (id INTEGER, origin VARCHAR(50))")
        source.execute(f"INSERT INTO {quoted} VALUES (1, '{name}')")


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_star_stands_for_every_table_and_exclude_takes_some_out(
    databases: Databases, script: Script, product: str
) -> None:
    source, target = databases(product), databases("sqlite")
    fill(source, "orders", "order_lines", "tmp_1", "tmp_2", "Kunden")
    lines = run(script, 'dray.Copy("Source", "*", exclude=["tmp_*"])', source, target)
    assert len(lines) == 3
    assert target.tables() == {"orders", "order_lines", "Kunden"}
    assert target.query("SELECT origin FROM order_lines") == [("order_lines",)]


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_question_mark_stands_for_one_character(databases: Databases, script: Script, product: str) -> None:
    source, target = databases(product), databases("sqlite")
    fill(source, "part_1", "part_2", "part_10", "party")
    run(script, 'dray.Copy("Source", "part_?")', source, target)
    assert target.tables() == {"part_1", "part_2"}


@pytest.mark.parametrize("product", PRODUCTS)
def test_an_underscore_or_percent_sign_stands_for_itself(databases: Databases, script: Script, product: str) -> None:
    """ODBC's catalog functions take both as wildcards of their own."""
    source, target = databases(product), databases("sqlite")
    fill(source, "a_b", "axb")
    source.execute(f"CREATE TABLE {source.quote('a%b')} (id INTEGER)")
    run(script, 'dray.Copy("Source", "a_b")', source, target)
    assert target.tables() == {"a_b"}
    assert target.query("SELECT origin FROM a_b") == [("a_b",)]
    run(script, 'dray.Copy("Source", "a%b")', source, target)
    assert target.tables() == {"a_b", "a%b"}


@pytest.mark.parametrize("product", PRODUCTS)
def test_names_that_differ_in_a_wildcards_place_keep_their_columns_apart(
    databases: Databases, script: Script, product: str
) -> None:
    """`t_1` as a pattern of SQLColumns also matches `tx1`: its columns must not get into the plan."""
    source, target = databases(product), databases("sqlite")
    source.fill("t_1", {"id": "INTEGER", "mine": "INTEGER"}, [(1, 2)])
    source.fill("tx1", {"id": "INTEGER", "other": "INTEGER"}, [(3, 4)])
    run(script, 'dray.Copy("Source", "t_1")', source, target)
    assert [row[1] for row in target.query("PRAGMA table_info('t_1')")] == ["id", "mine"]
    assert target.query("SELECT * FROM t_1") == [(1, 2)]


def test_a_schema_and_a_star_stand_for_the_tables_of_that_schema(databases: Databases, script: Script) -> None:
    source, target = databases("postgresql"), databases("sqlite")
    for schema in ("sales", "hr"):
        source.execute(f"CREATE SCHEMA {schema}")
    fill(source, "sales.orders", "sales.lines", "sales.tmp_x", "hr.employee", "elsewhere")
    lines = run(script, 'dray.Copy("Source", "sales.*", exclude=["sales.tmp_*"])', source, target)
    assert len(lines) == 2
    assert target.tables() == {"orders", "lines"}


def test_several_sources_go_into_one_target(databases: Databases, script: Script) -> None:
    target = databases("postgresql")
    sources = {product: databases(product) for product in PRODUCTS}
    for product, source in sources.items():
        source.fill("origin", {"id": "INTEGER", "name": "VARCHAR(20)"}, [(1, product)])
    code = """
        import dray
        copies = [dray.Copy(name, "origin", into=f"from_{name}") for name in ("sqlite", "postgresql", "mariadb")]
        print(dray.copy_tables(copies, target="Target").rows)
    """
    odbc = {product: source.odbc for product, source in sources.items()}
    done = script(code, services={**odbc, "Target": target.odbc})
    assert done.returncode == 0, done.stderr
    assert done.stdout == "3\n"
    for product in PRODUCTS:
        assert target.query(f"SELECT name FROM from_{product}") == [(product,)]


def test_into_names_schema_and_table(databases: Databases, script: Script) -> None:
    source, target = databases("sqlite"), databases("postgresql")
    target.execute("CREATE SCHEMA staging")
    fill(source, "employee")
    run(script, 'dray.Copy("Source", "employee", into="staging.Employee")', source, target)
    assert target.query('SELECT origin FROM staging."Employee"') == [("employee",)]


def test_into_may_be_a_pattern_of_schema_and_table(databases: Databases, script: Script) -> None:
    source, target = databases("postgresql"), databases("sqlite")
    source.execute("CREATE SCHEMA sales")
    source.execute("CREATE SCHEMA hr")
    fill(source, "sales.people", "hr.people")
    run(script, 'dray.Copy("Source", ["sales.*", "hr.*"], into="{schema}_{table}_2026")', source, target)
    assert target.tables() == {"sales_people_2026", "hr_people_2026"}
    assert target.query("SELECT origin FROM hr_people_2026") == [("hr.people",)]


@pytest.mark.parametrize("product", PRODUCTS)
def test_where_takes_the_rows_that_meet_it(databases: Databases, script: Script, product: str) -> None:
    source, target = databases(product), databases("sqlite")
    rows = [(1, "grün"), (2, "rot"), (3, "grün"), (4, None)]
    source.fill("t", {"id": "INTEGER", "colour": "VARCHAR(20)"}, rows)
    lines = run(script, "dray.Copy('Source', 't', where=\"colour = 'grün' AND id > 1\")", source, target)
    assert [line.rpartition(": ")[2] for line in lines] == ["1"]
    assert target.query("SELECT id, colour FROM t") == [(3, "grün")]


@pytest.mark.parametrize("condition", ["id = 1 OR 1 = 1", "id = 2 -- a comment"])
def test_where_is_one_condition_whatever_is_in_it(databases: Databases, script: Script, condition: str) -> None:
    source, target = databases("sqlite"), databases("sqlite")
    source.fill("t", {"id": "INTEGER"}, [(1,), (2,), (3,)])
    run(script, f"dray.Copy('Source', 't', where={condition!r})", source, target)
    assert target.query("SELECT id FROM t ORDER BY id") == source.query(f"SELECT id FROM t WHERE {condition}\n")


@pytest.mark.parametrize("lanes", ["auto", "odbc"])
@pytest.mark.parametrize("product", PRODUCTS)
def test_a_query_may_end_in_a_comment(databases: Databases, script: Script, product: str, lanes: str) -> None:
    source, target = databases(product), databases("sqlite")
    source.fill("t", {"id": "INTEGER"}, [(1,), (2,)])
    code = f"""
        import dray
        query = "SELECT id FROM t WHERE id = 2 -- the second one"
        dray.copy_table("Source", "Target", None, query=query, into="u", lanes={lanes!r})
    """
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 0, done.stderr
    assert target.query("SELECT id FROM u") == [(2,)]


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_query_is_a_source_too(databases: Databases, script: Script, product: str) -> None:
    source, target = databases(product), databases("postgresql")
    source.fill("t", {"id": "INTEGER", "amount": "INTEGER"}, [(1, 10), (1, 5), (2, 7)])
    code = """
        import dray
        query = "SELECT id, SUM(amount) AS total, 'é' AS sign FROM t GROUP BY id"
        print(dray.copy_table("Source", "Target", None, query=query, into="totals").rows)
    """
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 0, done.stderr
    assert done.stdout == "2\n"
    found = target.query("SELECT id, total::bigint, sign::text FROM totals ORDER BY id")
    assert found == [(1, 15, "é"), (2, 7, "é")]


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_table_that_is_not_there_is_an_error_that_names_it(
    databases: Databases, script: Script, product: str
) -> None:
    source, target = databases(product), databases("sqlite")
    fill(source, "customers")
    code = """
        import dray
        dray.copy_table("Source", "Target", "custommers")
    """
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 1
    assert "custommers" in done.stderr.splitlines()[-1]
    assert target.tables() == set()


def test_two_tables_into_one_are_refused_before_anything_is_copied(databases: Databases, script: Script) -> None:
    source, target = databases("postgresql"), databases("sqlite")
    source.execute("CREATE SCHEMA sales")
    source.execute("CREATE SCHEMA hr")
    fill(source, "sales.people", "hr.people")
    code = """
        import dray
        dray.copy_tables([dray.Copy("Source", ["sales.*", "hr.*"])], target="Target", mode="replace")
    """
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 1
    assert "people" in done.stderr.splitlines()[-1]
    assert target.tables() == set()


def test_a_service_that_adf_did_not_hand_over_is_an_error_that_lists_those_it_did(
    databases: Databases, script: Script
) -> None:
    source = databases("sqlite")
    code = """
        import dray
        dray.copy_table("Source", "Warehose", "t")
    """
    done = script(code, services={"Source": source.odbc, "Warehouse": source.odbc})
    assert done.returncode != 0
    last = done.stderr.splitlines()[-1]
    assert "Warehose" in last
    assert "Warehouse" in last


@pytest.mark.parametrize("product", PRODUCTS)
def test_connection_strings_serve_in_place_of_names(databases: Databases, script: Script, product: str) -> None:
    source, target = databases(product), databases("sqlite")
    fill(source, "t")
    code = """
        import dray, sys
        print(dray.copy_table(dray.params.source, dray.params.target, "t").rows)
    """
    done = script(code, parameters={"source": source.odbc, "target": target.odbc})
    assert done.returncode == 0, done.stderr
    assert target.query("SELECT origin FROM t") == [("t",)]


PEOPLE = {"id": "INTEGER NOT NULL PRIMARY KEY", "name": "VARCHAR(20)", "secret": "VARCHAR(20)", "note": "TEXT"}
ROWS = [(1, "Ann", "s1", "n1"), (2, "Bo", "s2", None)]


def columns_of(database: Database, table: str) -> list[str]:
    """Its columns in order."""
    sql = {
        "sqlite": f"SELECT name FROM pragma_table_info('{table}')",
        "postgresql": f"SELECT attname FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0 ORDER BY attnum",
        "mariadb": f"SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() "
        f"AND table_name = '{table}' ORDER BY ordinal_position",
    }
    return [name for (name,) in database.query(sql[database.product])]


@pytest.mark.parametrize("lanes", ["auto", "odbc"])
@pytest.mark.parametrize("product", PRODUCTS)
def test_columns_are_taken_in_the_order_that_was_asked_for_and_renamed(
    databases: Databases, script: Script, product: str, lanes: str
) -> None:
    for target in (databases(product), databases("sqlite" if product != "sqlite" else "postgresql")):
        source = databases(product)
        source.fill("t", PEOPLE, ROWS)
        code = f"""
            import dray
            dray.copy_table("Source", "Target", "t", columns=["note", "ID", "name"], rename={{"name": "full name"}},
                            lanes={lanes!r})
        """
        done = script(code, services={"Source": source.odbc, "Target": target.odbc})
        assert done.returncode == 0, done.stderr
        assert columns_of(target, "t") == ["note", "id", "full name"]
        found = target.query(f"SELECT note, id, {target.quote('full name')} FROM t ORDER BY id")
        assert found == [("n1", 1, "Ann"), (None, 2, "Bo")]


@pytest.mark.parametrize("product", PRODUCTS)
def test_columns_of_a_table_that_is_there_are_found_by_their_new_names(
    databases: Databases, script: Script, product: str
) -> None:
    source, target = databases("sqlite" if product != "sqlite" else "mariadb"), databases(product)
    source.fill("t", PEOPLE, ROWS)
    target.execute("CREATE TABLE t (name VARCHAR(20), key_of INTEGER, id INTEGER DEFAULT 7)")
    run(script, 'dray.Copy("Source", "t", columns=["id", "name"], rename={"id": "key_of"})', source, target)
    assert target.query("SELECT key_of, name, id FROM t ORDER BY key_of") == [(1, "Ann", 7), (2, "Bo", 7)]


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_column_that_is_left_out_is_not_read(databases: Databases, script: Script, product: str) -> None:
    """A view's column whose values cannot be computed, or read by this user, spoils only what reads it."""
    source, target = databases(product), databases("postgresql")
    source.fill("t", {"id": "INTEGER", "text": "INTEGER"}, [(1, None), (2, None)])
    if product == "sqlite":
        source.execute("UPDATE t SET text = 'no number'")
    spoilt = {
        "postgresql": "1 / (id - id)",
        "sqlite": "text",
        "mariadb": "(SELECT id FROM t AS u WHERE u.id + 0 * t.id > 0)",
    }[product]
    source.execute(f"CREATE VIEW v AS SELECT id, {spoilt} AS spoilt FROM t")
    code = """
        import dray
        for options in (dict(exclude_columns="spoil*"), dict(columns=["id"])):
            print(dray.copy_table("Source", "Target", "v", into="u", **options).rows)
        query = "SELECT id, spoilt, id + 1 AS next FROM v"
        print(dray.copy_table("Source", "Target", query=query, into="w", columns=["next", "id"]).rows)
        dray.copy_table("Source", "Target", "v", into="x")
    """
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.stdout == "2\n2\n2\n", done.stderr
    assert done.returncode == 1, "the column is spoilt"
    assert columns_of(target, "w") == ["next", "id"]
    assert target.query("SELECT next::int, id::int FROM w ORDER BY id") == [(2, 1), (3, 2)]


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_key_that_is_not_taken_whole_is_no_key_of_the_new_table(
    databases: Databases, script: Script, product: str
) -> None:
    source, target = databases("sqlite" if product != "sqlite" else "mariadb"), databases(product)
    source.execute("CREATE TABLE t (a INTEGER NOT NULL, b INTEGER NOT NULL, note VARCHAR(9), PRIMARY KEY (a, b))")
    source.insert("t", [(1, 1, "x"), (1, 2, "y")])
    copies = (
        'dray.Copy("Source", "t", exclude_columns="b", into="part"), '
        'dray.Copy("Source", "t", rename={"a": "z"}, into="whole")'
    )
    run(script, copies, source, target)
    assert target.query("SELECT a, note FROM part ORDER BY note") == [(1, "x"), (1, "y")]
    target.execute("INSERT INTO part VALUES (1, 'x')")
    with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
        target.execute("INSERT INTO whole VALUES (1, 1, 'again')")


def test_a_column_that_one_of_the_tables_lacks_is_an_error_of_that_table(databases: Databases, script: Script) -> None:
    source, target = databases("sqlite"), databases("postgresql")
    source.fill("a", {"id": "INTEGER", "name": "TEXT", "version": "INTEGER"}, [(1, "x", 3)])
    source.fill("b", {"id": "INTEGER", "title": "TEXT"}, [(1, "x")])
    code = """
        import dray
        for options in (dict(columns=["id", "name"]), dict(columns=["id", "na*"], exclude_columns="version*"),
                        dict(exclude_columns=["version"]), dict(rename={"name": "n"})):
            try:
                print(dray.copy_tables(dray.Copy("Source", "*", **options), target="Target", mode="replace").rows)
            except dray.CopyError as error:
                print(error.code, error.table, error.report.rows, str(error).split(": ")[-1])
    """
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "copy.columns main.b 1 there is no column `name` of `columns`",
        "2",
        "copy.columns main.b 1 there is no column `version` of `exclude_columns`",
        "copy.columns main.b 1 there is no column `name` of `rename`",
    ]
    assert columns_of(target, "a") == ["id", "n", "version"]


def test_two_columns_of_one_name_are_refused(databases: Databases, script: Script) -> None:
    source, target = databases("sqlite"), databases("postgresql")
    source.fill("t", {"id": "INTEGER", "name": "TEXT"}, [(1, "x")])
    code = 'import dray\ndray.copy_table("Source", "Target", "t", rename={"id": "name"})\n'
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 1
    assert "two columns would be called `name`" in done.stderr.splitlines()[-1]
    assert target.tables() == set()


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("mode", ["upsert", "mirror"])
def test_a_key_is_named_as_the_target_has_it(databases: Databases, script: Script, product: str, mode: str) -> None:
    source, target = databases("sqlite" if product != "sqlite" else "postgresql"), databases(product)
    source.fill("t", PEOPLE, ROWS)
    target.fill("t", {"nr": "INTEGER NOT NULL UNIQUE", "name": "VARCHAR(20)"}, [(2, "old"), (3, "kept")])
    code = f"""
        import dray
        print(dray.copy_table("Source", "Target", "t", columns=["name", "id"], rename={{"id": "nr"}}, mode={mode!r},
                              key="nr").rows)
    """
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 0, done.stderr
    kept = [(3, "kept")] if mode == "upsert" else []
    assert target.query("SELECT nr, name FROM t ORDER BY nr") == [(1, "Ann"), (2, "Bo"), *kept]


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_watermark_is_named_as_the_source_has_it_and_need_not_be_copied(
    databases: Databases, script: Script, product: str
) -> None:
    source, target = databases(product), databases("sqlite" if product != "sqlite" else "postgresql")
    source.fill("t", {"id": "INTEGER NOT NULL PRIMARY KEY", "name": "VARCHAR(9)", "seq": "INTEGER"}, [(1, "a", 1)])
    code = """
        import dray
        for options in (dict(exclude_columns="seq"), dict(exclude_columns="seq", rename={"name": "name"})):
            print(dray.copy_table("Source", "Target", "t", mode="incremental", watermark="seq", **options).rows)
            with dray.connect("Source") as db:
                db.execute("INSERT INTO t VALUES (2, 'b', 2)") if db.query("SELECT * FROM t WHERE id = 2") == [] else None
    """
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1\n1\n", "other columns do not begin the rows anew"
    assert target.query("SELECT id, name FROM t ORDER BY id") == [(1, "a"), (2, "b")]


@pytest.mark.parametrize("product", PRODUCTS)
def test_many_parts_of_one_table_go_where_each_is_to_go(databases: Databases, script: Script, product: str) -> None:
    source, target = databases(product), databases("sqlite")
    source.numbered("t", 40, "row ")
    source.execute("CREATE INDEX by_square ON t (square)")
    parts = [f'dray.Copy("Source", "t", where="id % 4 = {rest}", into="part_{rest}")' for rest in range(4)]
    run(script, ", ".join(parts), source, target)
    for rest in range(4):
        assert target.query(f"SELECT COUNT(*), MIN(id % 4), MAX(id % 4) FROM part_{rest}") == [(10, rest, rest)]
        assert len(target.query(f"SELECT name FROM pragma_index_list('part_{rest}') WHERE origin = 'c'")) == 1


def test_elsewhere_a_third_part_is_the_connections_own_database_or_an_error(
    databases: Databases, script: Script
) -> None:
    postgresql, mariadb, sqlite = databases("postgresql"), databases("mariadb"), databases("sqlite")
    postgresql.fill("t", {"id": "INTEGER"}, [(1,)])
    [(own,)] = postgresql.query("SELECT current_database()")
    services = {"Postgresql": postgresql.odbc, "Mariadb": mariadb.odbc, "Sqlite": sqlite.odbc}
    code = f"""
        import dray
        print(dray.copy_table("Postgresql", "Sqlite", "{own}.public.t").table)
        print(dray.copy_table("Sqlite", "Postgresql", "t", into="{own}.public.back").target)
        for source, target, table, into in (
            ("Postgresql", "Sqlite", "other.public.t", None),
            ("Postgresql", "Sqlite", "other.public.*", None),
            ("Mariadb", "Sqlite", "a.b.c", None),
            ("Sqlite", "Mariadb", "t", "a.b.c"),
            ("Sqlite", "Postgresql", "t", "other.public.c"),
            ("Sqlite", "Sqlite", "t", "a.b.c"),
            ("Sqlite", "Postgresql", "t", "linked.a.b.c"),
            ("Sqlite", "Postgresql", "a.b.c.d.e", None),
        ):
            try:
                dray.copy_tables([dray.Copy(source, table, into=into)], target=target)
            except dray.CopyError as error:
                print(error.code, error)
    """
    done = script(code, services=services)
    assert done.returncode == 0, done.stderr
    table, target, *errors = done.stdout.splitlines()
    assert (table, target) == ("public.t", "public.back")
    assert postgresql.query("SELECT id FROM back") == sqlite.query("SELECT id FROM t") == [(1,)]
    expected = [
        f"`other.public.t` is not of the connection's database, `{own}`",
        f"`other.public.*` is not of the connection's database, `{own}`",
        "`a.b.c` has 3 parts, `schema.table` or `table` is allowed in this product (`mariadb`)",
        "`a.b.c` has 3 parts, `schema.table` or `table` is allowed in this product (`mariadb`)",
        f"`other.public.c` is not of the connection's database, `{own}`",
        "`a.b.c` has 3 parts, `schema.table` or `table` is allowed in this product (`sqlite`)",
        "the target `linked.a.b.c` has four parts",
        "`a.b.c.d.e` has 5 parts",
    ]
    assert len(errors) == len(expected), done.stdout
    for error, words in zip(errors, expected):
        assert error.startswith("copy.name ") and words in error, error
