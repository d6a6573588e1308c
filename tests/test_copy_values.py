"""Every kind of value in every direction between SQLite, PostgreSQL and MariaDB: what arrives equals what left, as
clients that share no code with dray see it on both sides.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from copying import LANES, Copied, Copying
from databases import DIRECTIONS, SOME_DIRECTIONS, Database, Databases
from exact_values import KINDS, Kind, kind
from product_values import PRODUCT_KINDS

ALL_KINDS = [*KINDS, *PRODUCT_KINDS]

LOCALES = ("C", "C.UTF-8")


def table_of(kind: Kind) -> str:
    """The name of the table that holds a kind of value."""
    return kind.name.replace(" ", "_").replace(":", "_")


def ways(existing: bool) -> list[object]:
    """Each direction on each lane with each kind that its source has, as parameters of a test; those of one run follow
    each other. With `existing`, only kinds that the destination has a type for.
    """
    return [
        pytest.param(lanes, source, target, kind, id=f"{lanes}-{source}-{target}-{kind.name}")
        for lanes in LANES
        for source, target in DIRECTIONS
        for kind in ALL_KINDS
        if source in kind.types and target in kind.targets and (target in kind.types or not existing)
    ]


def differences(left: list[object], right: list[object]) -> list[str]:
    """The rows that differ, shortened; what an assertion shows."""
    assert len(left) == len(right), f"{len(left)} rows left, {len(right)} arrived"
    return [
        f"row {number}: {str(one)[:100]!r} became {str(other)[:100]!r}"
        for number, (one, other) in enumerate(zip(left, right))
        if one != other
    ]


class Sources:
    """A database of each product with a table for every kind of value that it has a type for, made when first asked for."""

    def __init__(self, databases: Databases) -> None:
        self._databases = databases
        self._made: dict[str, tuple[Database, dict[str, list[Any]]]] = {}

    def __call__(self, product: str) -> tuple[Database, dict[str, list[Any]]]:
        """The database, and by a kind's name what its table holds."""
        if product not in self._made:
            source = self._databases(product)
            if product == "mariadb":
                source.execute("SET SESSION sql_mode = ''")  # else the server refuses zero dates itself
            held = {kind.name: kind.fill(source, table_of(kind)) for kind in ALL_KINDS if product in kind.types}
            self._made[product] = source, held
        return self._made[product]


@pytest.fixture(scope="module")
def sources(module_databases: Databases) -> Sources:
    """The databases that the copies here are made of."""
    return Sources(module_databases)


class Arrived:
    """What a copy of all kinds of values became, one run for each direction, lane and state of the destination."""

    def __init__(self, databases: Databases, sources: Sources, copying: Copying) -> None:
        self._databases, self._sources, self._copying = databases, sources, copying
        self._last: tuple[object, Database, Copied] | None = None

    def __call__(self, lanes: str, source_product: str, target_product: str, existing: bool) -> tuple[Database, Copied]:
        """The destination, and what the run said."""
        key = (lanes, source_product, target_product, existing)
        if self._last is None or self._last[0] != key:
            source, _ = self._sources(source_product)
            target = self._databases(target_product)
            for kind in ALL_KINDS:
                if source_product in kind.types and target_product in kind.types:
                    kind.prepare(target)
                    types = {"id": "INTEGER NOT NULL PRIMARY KEY", "value": kind.types[target_product]}
                    if existing:
                        target.execute(f"CREATE TABLE {target.quote(table_of(kind))} ({target.columns(types)})")
            self._last = key, target, self._copying(source, target, lanes=lanes)
        return self._last[1], self._last[2]


@pytest.fixture(scope="module")
def arrived(module_databases: Databases, sources: Sources, copying: Copying) -> Arrived:
    """Copies of everything in every direction."""
    return Arrived(module_databases, sources, copying)


@pytest.mark.parametrize(("lanes", "source_product", "target_product", "kind"), ways(existing=False))
def test_every_value_arrives_as_it_left_in_a_table_that_dray_makes(
    sources: Sources, arrived: Arrived, lanes: str, source_product: str, target_product: str, kind: Kind
) -> None:
    check(sources, arrived, lanes, source_product, target_product, kind, existing=False)


@pytest.mark.parametrize(("lanes", "source_product", "target_product", "kind"), ways(existing=True))
def test_every_value_arrives_as_it_left_in_a_table_that_was_there(
    sources: Sources, arrived: Arrived, lanes: str, source_product: str, target_product: str, kind: Kind
) -> None:
    check(sources, arrived, lanes, source_product, target_product, kind, existing=True)


def check(
    sources: Sources,
    arrived: Arrived,
    lanes: str,
    source_product: str,
    target_product: str,
    kind: Kind,
    existing: bool,
) -> None:
    """One kind of value in one direction arrived as it left, and is still there as it was."""
    source, held = sources(source_product)
    target, copied = arrived(lanes, source_product, target_product, existing)
    error = copied.error(table_of(kind))
    assert error is None, error["message"] + f" (column {error['column']}, row {error['row']})"
    assert copied.tables[table_of(kind)]["rows"] == len(held[kind.name])
    if lanes == "odbc":
        assert copied.tables[table_of(kind)]["read_lane"] == copied.tables[table_of(kind)]["write_lane"] == "odbc"
    assert differences(held[kind.name], kind.content(target, table_of(kind))) == []
    assert differences(held[kind.name], kind.content(source, table_of(kind))) == []


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize(("source_product", "target_product"), DIRECTIONS)
def test_text_and_names_beyond_ascii_arrive_under_any_locale(
    databases: Databases, copying: Copying, source_product: str, target_product: str, locale: str, lanes: str
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
    copied = copying(source, target, lanes=lanes, env={"LC_ALL": locale, "LANG": locale})
    assert copied.error(table) is None
    assert table in copied.tables[table]["target"]
    assert table in target.tables()
    names = ", ".join(target.quote(name) for name in columns)
    arrived = target.query(f"SELECT {names} FROM {target.quote(table)} ORDER BY 1")
    assert differences(rows, [tuple(row) for row in arrived]) == []


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize(("source_product", "target_product"), SOME_DIRECTIONS)
def test_cells_of_many_sizes_side_by_side_keep_to_their_rows_and_columns(
    databases: Databases, copying: Copying, source_product: str, target_product: str, lanes: str
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
    copied = copying(source, target, lanes=lanes)
    assert copied.error("t") is None
    arrived = target.query(f"SELECT id, a, b, c, d FROM {target.quote('t')} ORDER BY id")
    assert differences(rows, [tuple(row) for row in arrived]) == []


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize(("source_product", "target_product"), SOME_DIRECTIONS)
def test_a_table_of_many_rows_arrives_whole(
    databases: Databases, copying: Copying, source_product: str, target_product: str, lanes: str
) -> None:
    source, target = databases(source_product), databases(target_product)
    source.numbered("t", 70_001, "nümber ")
    copied = copying(source, target, lanes=lanes)
    assert (copied.error("t"), copied.tables["t"]["rows"]) == (None, 70_001)
    everything = "SELECT id, square, note FROM t ORDER BY id"
    assert target.query(everything) == source.query(everything)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize(("source_product", "target_product"), DIRECTIONS)
def test_an_empty_table_arrives_as_an_empty_table(
    databases: Databases, copying: Copying, source_product: str, target_product: str, lanes: str
) -> None:
    source, target = databases(source_product), databases(target_product)
    source.execute("CREATE TABLE t (id INTEGER NOT NULL PRIMARY KEY, note VARCHAR(10))")
    copied = copying(source, target, lanes=lanes)
    assert (copied.error("t"), copied.tables["t"]["rows"]) == (None, 0)
    assert target.query("SELECT id, note FROM t") == []


@pytest.fixture
def mariadb_elsewhere(databases: Databases) -> Iterator[None]:
    """The MariaDB server has a time zone that is not UTC."""
    server = databases("mariadb")
    (before,) = server.query("SELECT @@GLOBAL.time_zone")[0]
    server.execute("SET GLOBAL time_zone = '-03:30'")
    yield
    server.execute("SET GLOBAL time_zone = %s", before)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize(("source_product", "target_product"), DIRECTIONS)
@pytest.mark.usefixtures("mariadb_elsewhere")
@pytest.mark.alone
def test_points_in_time_stay_the_same_instants_whatever_zones_databases_sessions_and_the_process_have(
    databases: Databases, copying: Copying, source_product: str, target_product: str, lanes: str
) -> None:
    source, target = databases(source_product), databases(target_product)
    for database, zone in ((source, "Asia/Kolkata"), (target, "America/St_Johns")):
        if database.product == "postgresql":
            database.execute(f"ALTER DATABASE {database.quote(database.name)} SET timezone TO '{zone}'")  # type: ignore[attr-defined]
        elif database.product == "mariadb":
            database.execute("SET time_zone = '+00:00'")  # the test's own session
    kinds = [
        each for each in ALL_KINDS if each.name in ("instant", "timestamp", "time") and source_product in each.types
    ]
    expected = {each.name: each.fill(source, each.name) for each in kinds}
    env = {"TZ": "Pacific/Chatham", "PGTZ": "Europe/Amsterdam"}
    copied = copying(source, target, lanes=lanes, env=env)
    for each in kinds:
        assert copied.error(each.name) is None
        assert differences(expected[each.name], each.content(target, each.name)) == [], each.name
