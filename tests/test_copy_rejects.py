"""Rows that the target refuses, left out and written to a file of their table; the others arrive."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from conftest import Dray, Script, Task
from copying import LANES, Copied, Copying
from databases import PRODUCTS, Databases, Sqlite
from test_copy_faults import small_disk
from test_mysql_lanes import server_variable


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the files of rejected rows go."""
    return tmp_path / "rejects of a run"


def lines(copied: Copied, table: str = "t") -> list[dict[str, Any]]:
    """The lines of a table's file, which its report names."""
    path = Path(copied.tables[table]["rejects_file"])
    told = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert len(told) == copied.tables[table]["rejected"]
    return told


def other_than(product: str) -> str:
    """A product to copy from."""
    return "sqlite" if product != "sqlite" else "postgresql"


CONSTRAINTS = {
    # What the table has beside its columns, and which rows of 1 to 3,000 it refuses.
    "primary key": ("PRIMARY KEY", "", [1, 1500, 3000]),
    "unique": ("", ", UNIQUE (square)", [1, 1500, 3000]),
    "check": ("", ", CHECK (id % 1000 <> 7)", [7, 1007, 2007]),
    "foreign key": ("", ", FOREIGN KEY (id) REFERENCES parent (id)", [13, 14, 15, 2999]),
}


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("constraint", CONSTRAINTS)
@pytest.mark.parametrize("product", PRODUCTS)
def test_the_rows_that_a_constraint_refuses_are_in_the_file_and_all_others_in_the_table(
    databases: Databases, copying: Copying, folder: Path, product: str, constraint: str, lanes: str
) -> None:
    if (product, constraint) == ("sqlite", "foreign key"):
        pytest.skip("SQLite checks foreign keys only where a connection asks for it")
    source, target = databases(other_than(product)), databases(product)
    source.numbered("t", 3000, "note ")
    key, clause, refused = CONSTRAINTS[constraint]
    if constraint == "foreign key":
        target.numbered("parent", 3000, "")
        target.execute(f"DELETE FROM parent WHERE id IN ({', '.join(map(str, refused))})")
    target.execute(f"CREATE TABLE t (id INTEGER {key}, square BIGINT, note VARCHAR(99){clause})")
    old = [(number, number * number, "old") for number in refused] if constraint in ("primary key", "unique") else []
    if old:
        target.insert("t", old)
    copied = copying(source, target, "t", lanes=lanes, on_reject="file", rejects=str(folder))
    assert copied.error("t") is None
    told = lines(copied)
    assert [line["row"] for line in told] == refused
    assert [line["values"] for line in told] == [
        {"id": number, "square": number * number, "note": f"note {number}"} for number in refused
    ]
    assert {(line["table"].rpartition(".")[2], line["target"]) for line in told} == {("t", "t")}
    assert [line["key"] for line in told] == [{"id": number} for number in refused]
    assert {line["code"] for line in told} == {"database.constraint"}
    assert not any(f"note {line['row']}" in line["reason"] for line in told)
    states = {"primary key": "23505", "unique": "23505", "check": "23514", "foreign key": "23503"}
    if product == "postgresql":
        assert {line["sqlstate"] for line in told} == {states[constraint]}
    expected = old + [(n, n * n, f"note {n}") for n in range(1, 3001) if n not in refused]
    assert sorted(target.query("SELECT id, square, note FROM t")) == sorted(expected)
    assert copied.tables["t"]["rows"] == 3000 - len(refused)


@pytest.mark.parametrize("product", PRODUCTS)
def test_refused_rows_are_found_in_every_batch_of_a_long_table(
    databases: Databases, copying: Copying, folder: Path, product: str
) -> None:
    source, target = databases(other_than(product)), databases(product)
    rows, text = 40_000, "x" * 100
    source.numbered("t", rows, text)
    refused = [n for n in range(1, rows + 1) if n % 4_001 == 0 or 20_000 <= n < 20_040]
    target.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, square BIGINT, note VARCHAR(200))")
    target.insert("t", [(number, 0, "old") for number in refused])
    copied = copying(source, target, "t", on_reject="file", rejects=str(folder))
    assert copied.error("t") is None
    told = lines(copied)
    assert [(line["row"], line["values"]["note"]) for line in told] == [(n, f"{text}{n}") for n in refused]
    found = target.query("SELECT COUNT(*), SUM(square), MIN(note) FROM t WHERE note <> 'old'")[0]
    loaded = [n for n in range(1, rows + 1) if n not in set(refused)]
    assert (found[0], int(found[1])) == (len(loaded), sum(n * n for n in loaded))


@pytest.mark.alone
def test_inserts_of_many_rows_leave_refused_ones_out(databases: Databases, copying: Copying, folder: Path) -> None:
    source, target = databases("sqlite"), databases("mariadb")
    source.numbered("t", 3_000, "note ")
    target.execute("CREATE TABLE t (id INT CHECK (id % 1000 <> 7), square BIGINT, note VARCHAR(20))")
    with server_variable(target, "local_infile", "0"):
        copied = copying(source, target, "t", on_reject="file", rejects=str(folder))
    assert (copied.error("t"), copied.tables["t"]["write_lane"]) == (None, "values")
    assert [line["row"] for line in lines(copied)] == [7, 1007, 2007]
    assert target.count("t") == 2_997


TRIGGERS = {
    "postgresql": (
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN IF NEW.id % 100 = 7 THEN RAISE EXCEPTION ''not this one''; END IF; RETURN NEW; END'",
        "CREATE TRIGGER t BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION refuse()",
    ),
    "mariadb": (
        "CREATE TRIGGER t BEFORE INSERT ON t FOR EACH ROW IF NEW.id MOD 100 = 7 THEN "
        "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not this one'; END IF",
    ),
    "sqlite": (
        "CREATE TRIGGER refuse BEFORE INSERT ON t WHEN NEW.id % 100 = 7 BEGIN SELECT RAISE(ABORT, 'not this one'); END",
    ),
}


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("product", PRODUCTS)
def test_rows_that_a_trigger_refuses_are_left_out(
    databases: Databases, copying: Copying, folder: Path, product: str, lanes: str
) -> None:
    source, target = databases(other_than(product)), databases(product)
    source.numbered("t", 300, "note ")
    target.execute("CREATE TABLE t (id INTEGER, square BIGINT, note VARCHAR(20))")
    for statement in TRIGGERS[product]:
        target.execute(statement)
    copied = copying(source, target, "t", lanes=lanes, on_reject="file", rejects=str(folder))
    assert copied.error("t") is None
    told = lines(copied)
    assert [line["row"] for line in told] == [7, 107, 207]
    assert all("not this one" in line["reason"] for line in told)
    assert target.count("t") == 297


def test_a_type_that_goes_as_text_is_sifted_too(databases: Databases, copying: Copying, folder: Path) -> None:
    source, target = databases("postgresql"), databases("postgresql")
    for database, clause in ((source, ""), (target, ", CHECK (id <> 2)")):
        database.execute(f"CREATE TABLE t (id integer PRIMARY KEY, span int4range{clause})")
    source.execute("INSERT INTO t VALUES (1, '[1,5)'), (2, '[2,5)'), (3, '[3,5)')")
    copied = copying(source, target, "t", on_reject="file", rejects=str(folder))
    assert copied.tables["t"]["write_lane"] == "copy"
    assert [line["values"] for line in lines(copied)] == [{"id": 2, "span": "[2,5)"}]
    assert target.query("SELECT id, span::text FROM t ORDER BY id") == [(1, "[1,5)"), (3, "[3,5)")]


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("product", PRODUCTS)
def test_of_two_rows_with_the_same_key_the_first_one_read_is_kept(
    databases: Databases, copying: Copying, folder: Path, product: str, lanes: str
) -> None:
    source, target = databases("sqlite"), databases(product)
    rows = [(number % 40, f"note {number}") for number in range(100)]
    source.fill("t", {"id": "INTEGER", "note": "VARCHAR(20)"}, rows)
    target.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, note VARCHAR(20))")
    copied = copying(source, target, "t", lanes=lanes, on_reject="file", rejects=str(folder))
    assert copied.error("t") is None
    assert [line["row"] for line in lines(copied)] == list(range(41, 101))
    assert target.query("SELECT id, note FROM t ORDER BY id") == rows[:40]


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("product", PRODUCTS)
def test_values_that_the_column_does_not_hold_are_rejected_before_the_server_is_asked(
    databases: Databases, copying: Copying, folder: Path, product: str, lanes: str
) -> None:
    source, target = databases("postgresql"), databases(product)
    rows = [(1, "fits", 1), (2, "too long for it", 2), (3, None, 3), (4, "too long as well", None), (5, "fits", 5)]
    source.fill("t", {"id": "integer PRIMARY KEY", "note": "text", "amount": "integer"}, rows)
    target.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, note VARCHAR(9) NOT NULL, amount INTEGER NOT NULL)")
    copied = copying(source, target, "t", lanes=lanes, on_reject="file", rejects=str(folder))
    assert copied.error("t") is None
    told = lines(copied)
    # Of row 4, with two such values, the first column's is told.
    assert [(line["row"], line["column"]) for line in told] == [(2, "note"), (3, "note"), (4, "note")]
    assert {(line["code"], line["sqlstate"]) for line in told} == {("copy.value_refused", None)}
    assert [tuple(line["values"].values()) for line in told] == rows[1:4]
    assert target.query("SELECT id, note, amount FROM t") == [rows[0], rows[4]]


def test_a_rejected_rows_values_are_exact(databases: Databases, copying: Copying, folder: Path) -> None:
    source, target = databases("postgresql"), databases("postgresql")
    columns = {
        "id": "bigint PRIMARY KEY",
        "flag": "boolean",
        "whole": "bigint",
        "exact": "numeric",
        "half": "float4",
        "real": "float8",
        "raw": "bytea",
        "day": "date",
        "moment": "timestamptz",
        "note": "text",
        "nothing": "text",
    }
    source.execute(f"CREATE TABLE t ({source.columns(columns)})")
    source.execute(
        "INSERT INTO t VALUES (2, true, 9007199254740993, 12345678901234567890.10, 0.1, 'NaN', '\\x00ff', "
        "'2026-02-28', '2026-02-28 12:00:00.5+00', 'Größe \"x\"\n€', NULL)"
    )
    target.execute(f"CREATE TABLE t ({target.columns(columns)}, CHECK (id <> 2))")
    told = lines(copying(source, target, "t", on_reject="file", rejects=str(folder)))
    assert told[0]["values"] == {
        "id": 2,
        "flag": True,
        "whole": "9007199254740993",
        "exact": "12345678901234567890.10",
        "half": 0.10000000149011612,
        "real": "NaN",
        "raw": {"hex": "00ff"},
        "day": "2026-02-28",
        "moment": "2026-02-28 12:00:00.5+00:00",
        "note": 'Größe "x"\n€',
        "nothing": None,
    }


def test_the_file_is_for_its_owner_alone_and_the_log_has_counts_only(
    databases: Databases, copying: Copying, folder: Path
) -> None:
    source, target = databases("sqlite"), databases("postgresql")
    source.fill("t", {"id": "INTEGER PRIMARY KEY", "note": "VARCHAR(20)"}, [(1, "Rumpelstilzchen"), (2, None)])
    target.execute("CREATE TABLE t (id integer PRIMARY KEY, note varchar(20) CHECK (note = 'x'))")
    copied = copying(source, target, "t", on_reject="file", rejects=str(folder))
    path = Path(copied.tables["t"]["rejects_file"])
    assert path == folder / "t.rejects.jsonl"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "Rumpelstilzchen" in path.read_text("utf-8")
    assert "Rumpelstilzchen" not in copied.stderr
    told = [json.loads(line) for line in copied.stderr.splitlines() if '"copy.rejects"' in line]
    assert [(record["level"], record["fields"]["rejected"]) for record in told] == [("warning", 1)]


@pytest.mark.parametrize("product", PRODUCTS)
def test_one_row_more_than_max_rejects_fails_the_table(
    databases: Databases, copying: Copying, folder: Path, product: str
) -> None:
    source, target = databases(other_than(product)), databases(product)
    source.numbered("t", 100, "note ")
    target.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, square BIGINT, note VARCHAR(99))")
    target.insert("t", [(number, 0, "old") for number in (10, 20, 30)])
    options = {"on_reject": "file", "rejects": str(folder)}
    copied = copying(source, target, "t", max_rejects=2, **options)
    error = copied.error("t")
    assert error is not None
    assert (error["code"], copied.tables["t"]["rows"]) == ("copy.too_many_rejects", 0)
    assert target.count("t") == 3
    # What was rejected until then can be looked at.
    assert [line["row"] for line in lines(copied)] == [10, 20]
    assert copied.tables["t"]["rejects_file"] in error["hint"]
    assert os.listdir(folder) == ["t.rejects.jsonl.part"]
    copied = copying(source, target, "t", max_rejects=3, **options)
    assert copied.error("t") is None
    assert [line["row"] for line in lines(copied)] == [10, 20, 30]
    assert os.listdir(folder) == ["t.rejects.jsonl"]
    assert target.count("t") == 100


def test_a_copy_without_rejects_leaves_no_file_of_an_earlier_one(
    databases: Databases, copying: Copying, folder: Path
) -> None:
    source, target = databases("sqlite"), databases("sqlite")
    for table in ("t", "a b/c"):
        source.numbered(table, 3, "note ")
        target.execute(f"CREATE TABLE {target.quote(table)} (id INTEGER, square BIGINT, note TEXT, CHECK (id <> 2))")
    options = {"on_reject": "file", "rejects": str(folder)}
    copying(source, target, ["t", "a b/c"], **options)
    assert sorted(os.listdir(folder)) == ["a%20b%2Fc.rejects.jsonl", "t.rejects.jsonl"]
    copied = copying(source, target, ["t"], mode="replace", **options)
    assert (copied.tables["t"]["rejected"], copied.tables["t"]["rejects_file"]) == (0, "")
    assert os.listdir(folder) == ["a%20b%2Fc.rejects.jsonl"]


@pytest.mark.parametrize("mode", ["truncate", "replace", "upsert", "incremental"])
@pytest.mark.parametrize("product", PRODUCTS)
def test_every_mode_but_mirror_leaves_rows_out_that_conversion_refuses(
    databases: Databases, copying: Copying, folder: Path, product: str, mode: str
) -> None:
    source, target = databases("postgresql"), databases(product)
    source.fill("t", {"id": "integer PRIMARY KEY", "at": "timestamp"}, [(1, "2026-01-01"), (3, "2026-01-03")])
    source.execute("INSERT INTO t VALUES (2, 'infinity')")
    times = {"sqlite": "TIMESTAMP", "postgresql": "timestamp CHECK (at < 'infinity')", "mariadb": "DATETIME(6)"}
    target.execute(f"CREATE TABLE t (id INTEGER PRIMARY KEY, at {times[product]})")
    target.execute("INSERT INTO t VALUES (2, '2025-12-31 00:00:00')")
    options = {"watermark": "id"} if mode == "incremental" else {}
    copied = copying(source, target, "t", mode=mode, on_reject="file", rejects=str(folder), **options)
    ids = [number for (number,) in target.query("SELECT id FROM t ORDER BY id")]
    if product == "postgresql" and mode != "truncate":
        # What the target's own constraints refuse in a merge is one statement's failure; a new table has no CHECK.
        if mode == "replace":
            assert (copied.error("t"), ids) == (None, [1, 2, 3])
        else:
            assert copied.tables["t"]["error"]["code"] == "database.constraint"
            assert ids == [2]
        return
    assert copied.error("t") is None
    assert [line["row"] for line in lines(copied)] == [3]
    assert ids == ([1, 3] if mode in ("truncate", "replace") else [1, 2, 3])


def test_a_mirror_cannot_leave_rows_out(databases: Databases, copying: Copying, script: Script) -> None:
    source, target = databases("sqlite"), databases("sqlite")
    source.numbered("t", 3, "note ")
    code = """
        import dray
        try:
            dray.copy_table("Source", "Target", "t", mode="mirror", on_reject="file")
        except dray.CopyError as error:
            print(error.code)
    """
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.stdout == "copy.rejects_of_mirror\n", done.stderr
    assert target.tables() == set()


@pytest.mark.parametrize("product", PRODUCTS)
def test_rows_do_not_pass_unparsed_and_the_report_says_why(
    databases: Databases, copying: Copying, folder: Path, product: str
) -> None:
    source, target = databases(product), databases(product)
    source.numbered("t", 10, "note ")
    copied = copying(source, target, "t", on_reject="file", rejects=str(folder))
    assert copied.tables["t"]["unparsed"] is False
    assert "rejected rows are left out" in copied.tables["t"]["write_lane_reason"]
    assert target.query("SELECT * FROM t") == source.query("SELECT * FROM t")


def test_rejected_rows_do_not_count_among_the_changed_values(
    databases: Databases, copying: Copying, folder: Path
) -> None:
    source, target = databases("postgresql"), databases("mariadb")
    source.execute("CREATE TABLE t (id integer PRIMARY KEY, at timestamp, amount float8, note text)")
    source.execute(
        "INSERT INTO t VALUES (1, '2026-01-01 00:00:00.5', 'NaN', 'fits'), (2, '2026-01-01 00:00:00.5', 'NaN', 'too long'),"
        " (3, '2026-01-01 00:00:00.5', 'NaN', 'no')"
    )
    target.execute("CREATE TABLE t (id INT PRIMARY KEY, at DATETIME, amount DOUBLE, note VARCHAR(5), CHECK (id <> 3))")
    copied = copying(source, target, "t", on_reject="file", rejects=str(folder), nan="null", fraction="round")
    table = copied.tables["t"]
    assert [line["row"] for line in lines(copied)] == [2, 3]
    assert (table["rows"], table["nulls_for_nan"], table["rounded_fractions"]) == (1, 1, 1)


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_a_sqlite_file_that_is_source_and_target_at_once(
    databases: Databases, copying: Copying, folder: Path, journal: str
) -> None:
    database = databases("sqlite")
    assert isinstance(database, Sqlite)
    database.query(f"PRAGMA journal_mode = {journal}")
    database.numbered("t", 100, "note ")
    database.execute("CREATE TABLE u (id INTEGER PRIMARY KEY, square BIGINT, note TEXT, CHECK (id <> 50))")
    copied = copying(database, database, "t", into="u", on_reject="file", rejects=str(folder))
    assert copied.error("t") is None
    assert [line["row"] for line in lines(copied)] == [50]
    assert database.count("u") == 99


def test_a_folder_that_cannot_be_made_is_told_before_any_row(
    databases: Databases, script: Script, tmp_path: Path
) -> None:
    source, target = databases("sqlite"), databases("sqlite")
    source.numbered("t", 3, "note ")
    (tmp_path / "file").write_text("")
    code = f"""
        import dray
        try:
            dray.copy_table("Source", "Target", "t", on_reject="file", rejects={str(tmp_path / "file")!r})
        except dray.CopyError as error:
            print(error.code)
    """
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.stdout == "copy.rejects_file\n", done.stderr
    assert target.tables() == set()


def test_by_default_the_files_are_in_the_tasks_working_directory(
    databases: Databases, script: Script, task: Task
) -> None:
    source, target = databases("sqlite"), databases("sqlite")
    source.numbered("t", 3, "note ")
    target.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, square BIGINT, note TEXT, CHECK (id <> 2))")
    code = "import dray\nprint(dray.copy_table('Source', 'Target', 't', on_reject='file').rejected)"
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    assert (task.folder / "rejects" / "t.rejects.jsonl").is_file()


def test_a_plan_says_it_in_the_same_words(databases: Databases, dray: Dray, task: Task) -> None:
    source, target = databases("sqlite"), databases("postgresql")
    source.numbered("t", 3, "note ")
    target.execute("CREATE TABLE t (id integer PRIMARY KEY CHECK (id <> 2), square bigint, note text)")
    task.write_activity(linked_services={"Source": source.odbc, "Target": target.odbc})
    plan = """
        target = "Target"
        on_reject = "file"
        rejects = "refused"
        max_rejects = 1
        [[copy]]
        source = "Source"
        tables = "t"
    """
    (task.folder / "plan.toml").write_text(plan, "utf-8")
    done = dray("copy", "plan.toml", cwd=task.folder, env=task.env)
    assert done.returncode == 0, done.stderr
    (line,) = (task.folder / "refused" / "t.rejects.jsonl").read_text("utf-8").splitlines()
    assert json.loads(line)["values"] == {"id": 2, "square": 4, "note": "note 2"}
    assert target.query("SELECT id FROM t ORDER BY id") == [(1,), (3,)]
    shown = dray("copy", "plan.toml", "--dry-run", cwd=task.folder, env=task.env).stdout
    assert "rejected rows are left out" in shown


def test_what_is_read_in_one_range_though_more_were_asked_for_says_why(
    databases: Databases, copying: Copying, folder: Path
) -> None:
    source, target = databases("postgresql"), databases("postgresql")
    source.numbered("t", 1_000, "note ")
    copied = copying(source, target, "t", ranges=2, on_reject="file", rejects=str(folder))
    assert copied.tables["t"]["ranges"] == 1
    assert "in one range: rejected rows are numbered" in copied.tables["t"]["read_lane_reason"]


def test_a_trigger_that_ends_the_transaction_fails_the_table_with_what_it_said(
    databases: Databases, copying: Copying, folder: Path
) -> None:
    source, target = databases("postgresql"), databases("sqlite")
    source.numbered("t", 10, "note ")
    target.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, square BIGINT, note TEXT)")
    target.execute(
        "CREATE TRIGGER r BEFORE INSERT ON t WHEN NEW.id = 5 BEGIN SELECT RAISE(ROLLBACK, 'none at all'); END"
    )
    error = copying(source, target, "t", on_reject="file", rejects=str(folder)).error("t")
    assert error is not None
    assert (error["code"], error["row"]) == ("database.constraint", 5), error
    assert "none at all" in error["message"]
    assert target.count("t") == 0


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_table_whose_rejected_rows_find_no_space_is_as_it_was(
    databases: Databases, copying: Copying, product: str
) -> None:
    source, target = databases(other_than(product)), databases(product)
    source.numbered("t", 3_000, "x" * 100)
    target.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, square BIGINT, note VARCHAR(9))")
    with small_disk(None, "64k") as folder:
        error = copying(source, target, "t", on_reject="file", rejects=str(folder)).error("t")
    assert error is not None
    assert error["code"] == "copy.rejects_file", error
    assert "No space left" in error["message"] and str(folder) in error["message"]
    assert target.count("t") == 0
