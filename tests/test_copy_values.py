"""Every kind of value in every direction between SQLite, PostgreSQL and MariaDB: what arrives equals what left, as
clients that share no code with dray see it on both sides.
"""

import pytest
from conftest import Script
from databases import DIRECTIONS, Databases
from exact_values import KINDS, Kind, kind

COPY = """
    import dray
    print(dray.copy_table("Source", "Target", "t").rows)
"""

LOCALES = ("C", "C.UTF-8")


def ways(*kinds: Kind) -> list[object]:
    """Each direction with each of these kinds that its source has, as parameters of a test."""
    return [
        pytest.param(source, target, kind, id=f"{source}-{target}-{kind.name}")
        for source, target in DIRECTIONS
        for kind in kinds
        if source in kind.types
    ]


def differences(left: list[object], right: list[object]) -> list[str]:
    """The rows that differ, shortened; what an assertion shows."""
    assert len(left) == len(right), f"{len(left)} rows left, {len(right)} arrived"
    return [
        f"row {number}: {str(one)[:100]!r} became {str(other)[:100]!r}"
        for number, (one, other) in enumerate(zip(left, right))
        if one != other
    ]


@pytest.mark.parametrize(("source_product", "target_product", "kind"), ways(*KINDS))
def test_every_value_arrives_as_it_left_in_a_table_that_dray_makes(
    databases: Databases, script: Script, source_product: str, target_product: str, kind: Kind
) -> None:
    source, target = databases(source_product), databases(target_product)
    expected = kind.fill(source, "t")
    done = script(COPY, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{len(expected)}\n"
    assert differences(expected, kind.content(target, "t")) == []
    assert differences(expected, kind.content(source, "t")) == []


@pytest.mark.parametrize(("source_product", "target_product"), DIRECTIONS)
def test_every_value_arrives_as_it_left_in_a_table_that_was_there(
    databases: Databases, script: Script, source_product: str, target_product: str
) -> None:
    source, target = databases(source_product), databases(target_product)
    both = [kind for kind in KINDS if source_product in kind.types and target_product in kind.types]
    expected = {}
    for number, each in enumerate(both):
        expected[each.name] = each.fill(source, f"t{number}")
        types = {"id": "INTEGER NOT NULL PRIMARY KEY", "value": each.types[target_product]}
        target.execute(f"CREATE TABLE {target.quote(f't{number}')} ({target.columns(types)})")
    code = """
        import dray
        dray.copy_tables([dray.Copy("Source", "*")], target="Target")
    """
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 0, done.stderr
    for number, each in enumerate(both):
        assert differences(expected[each.name], each.content(target, f"t{number}")) == [], each.name


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize(("source_product", "target_product"), DIRECTIONS)
def test_text_and_names_beyond_ascii_arrive_under_any_locale(
    databases: Databases, script: Script, source_product: str, target_product: str, locale: str
) -> None:
    source, target = databases(source_product), databases(target_product)
    table, texts = "Größe 表 №1", kind("varchar")
    # MariaDB keeps identifiers in three bytes a character.
    last = "☃" if "mariadb" in (source_product, target_product) else "🎉"
    columns = {
        "naïve café": "INTEGER NOT NULL PRIMARY KEY",
        "das \"a\" `b` 'c'": texts.types[source_product],
        "select": texts.types[source_product],
        "价格 €": texts.types[source_product],
        last: texts.types[source_product],
    }
    rows = [(number, text, text[::-1], None, "é") for number, text in enumerate(texts.values)]
    source.fill(table, columns, rows)
    code = f"""
        import dray
        print(dray.copy_table("Source", "Target", {table!r}).target)
    """
    env = {"LC_ALL": locale, "LANG": locale}
    done = script(code, services={"Source": source.odbc, "Target": target.odbc}, env=env)
    assert done.returncode == 0, done.stderr
    assert table in done.stdout
    assert table in target.tables()
    names = ", ".join(target.quote(name) for name in columns)
    arrived = target.query(f"SELECT {names} FROM {target.quote(table)} ORDER BY 1")
    assert differences(rows, [tuple(row) for row in arrived]) == []


@pytest.mark.parametrize(("source_product", "target_product"), DIRECTIONS)
def test_cells_of_many_sizes_side_by_side_keep_to_their_rows_and_columns(
    databases: Databases, script: Script, source_product: str, target_product: str
) -> None:
    source, target = databases(source_product), databases(target_product)
    text, data = kind("text").types[source_product], kind("bytes").types[source_product]
    columns = {"id": "INTEGER NOT NULL PRIMARY KEY", "a": text, "b": "BIGINT", "c": data, "d": text}
    lengths = [0, 1, 255, 256, 4096, 8190, 8191, 65_535, 65_536, 3, 200_000, 5, 2_000_000, 7]
    rows = [
        (
            number,
            None if number % 5 == 3 else chr(97 + number % 26) * lengths[number % len(lengths)],
            None if number % 3 == 1 else number * 1_000_000_007,
            None if number % 7 == 2 else bytes([number % 256]) * lengths[(number * 3) % len(lengths)],
            f"ö{number}" * (number % 4),
        )
        for number in range(60)
    ]
    source.fill("t", columns, rows)
    done = script(COPY, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 0, done.stderr
    arrived = target.query(f"SELECT id, a, b, c, d FROM {target.quote('t')} ORDER BY id")
    assert differences(rows, [tuple(row) for row in arrived]) == []


@pytest.mark.parametrize(("source_product", "target_product"), DIRECTIONS)
def test_a_table_of_many_rows_arrives_whole(
    databases: Databases, script: Script, source_product: str, target_product: str
) -> None:
    source, target = databases(source_product), databases(target_product)
    source.numbered("t", 70_001, "nümber ")
    done = script(COPY, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 0, done.stderr
    assert done.stdout == "70001\n"
    everything = "SELECT id, square, note FROM t ORDER BY id"
    assert target.query(everything) == source.query(everything)


@pytest.mark.parametrize(("source_product", "target_product"), DIRECTIONS)
def test_an_empty_table_arrives_as_an_empty_table(
    databases: Databases, script: Script, source_product: str, target_product: str
) -> None:
    source, target = databases(source_product), databases(target_product)
    source.execute("CREATE TABLE t (id INTEGER NOT NULL PRIMARY KEY, note VARCHAR(10))")
    done = script(COPY, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 0, done.stderr
    assert done.stdout == "0\n"
    assert target.query("SELECT id, note FROM t") == []


def test_points_in_time_stay_the_same_instants_when_the_databases_have_different_zones(
    databases: Databases, script: Script
) -> None:
    source, target = databases("postgresql"), databases("postgresql")
    source.execute(f"ALTER DATABASE {source.quote(source.name)} SET timezone TO 'Asia/Kolkata'")  # type: ignore[attr-defined]
    target.execute(f"ALTER DATABASE {target.quote(target.name)} SET timezone TO 'America/St_Johns'")  # type: ignore[attr-defined]
    source.fill(
        "t",
        {"id": "INTEGER NOT NULL PRIMARY KEY", "value": "timestamptz"},
        [
            (1, "2024-02-29 12:34:56.123456+00"),
            (2, "1999-12-31 23:59:59.999999-11:30"),
            (3, "1969-12-31 23:59:59+05:45"),
            (4, "2024-10-27 01:30:00+00"),  # a clock in Europe shows this hour twice
        ],
    )
    done = script(COPY, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 0, done.stderr
    instants = "SELECT id, pg_typeof(value)::text, EXTRACT(epoch FROM value) FROM t ORDER BY id"
    assert target.query(instants) == source.query(instants)
