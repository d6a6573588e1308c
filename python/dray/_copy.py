"""Exact copies of tables from any database into another."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from . import _native
from ._connection import connection_string, is_name
from ._errors import ConnectError, CopyError


@dataclass(frozen=True)
class Copy:
    """Tables of one source.

    Attributes:
        source: Name of a linked service, or an ODBC connection string (a text with ``=`` in it).
        tables: ``"schema.table"`` or ``"table"``, one or a list, with ``*`` and ``?`` as wildcards; a name without a
            schema means the connection's own. Left out when ``query`` is given.
        exclude: Names or patterns that are left out.
        into: Name in the target. ``{schema}`` and ``{table}`` stand for the source's. By default the source table's
            name in the target's own schema.
        where: Condition in the source's SQL, without the word WHERE.
        query: A SELECT in the source's SQL, instead of ``tables``; needs ``into``.

    Example:
        >>> Copy("SalesDb", "SalesLT.*", exclude=["SalesLT.BuildVersion"], into="staging.{table}")
    """

    source: str
    tables: str | Sequence[str] = ()
    exclude: Sequence[str] = ()
    into: str | None = None
    where: str | None = None
    query: str | None = None


@dataclass(frozen=True)
class TableReport:
    """What became of one table.

    Attributes:
        source: The source's name; a connection string with its secrets masked.
        table: The source table, or ``query``.
        target: The table in the target.
        rows: Rows that are in the target because of this copy; 0 if it failed.
        bytes: Bytes of their values.
        duration_ms: Milliseconds from plan to commit.
        mode: ``append``, ``truncate`` or ``replace``.
        created: Whether the copy made the target table.
        read_lane: How the rows left the source, such as ``odbc``.
        write_lane: How they entered the target.
        error: Fields of the error if the table failed, else None.
    """

    source: str
    table: str
    target: str
    rows: int
    bytes: int
    duration_ms: int
    mode: str
    created: bool
    read_lane: str
    write_lane: str
    error: dict[str, Any] | None = None


@dataclass(frozen=True)
class Report:
    """What a call of :func:`copy_tables` did.

    Attributes:
        tables: One report a table, in the order of copying.
        rows: Rows of all tables.
        bytes: Bytes of their values.
        duration_ms: Milliseconds of the whole call.
    """

    tables: list[TableReport] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0
    duration_ms: int = 0


def copy_tables(copies: Copy | Sequence[Copy], *, target: str, mode: str = "append", lanes: str = "auto") -> Report:
    """Copies tables exactly, or not at all.

    Each table is one transaction in the target (MariaDB and MySQL: for a new table, a load beside it and a rename).
    Every value arrives as it left; one that the target cannot hold fails its table, which is then as it was before,
    and the other tables go on. Ctrl-C and SIGTERM roll the running table back before their exception goes on.

    Args:
        copies: What to copy.
        target: Name of a linked service, or an ODBC connection string.
        mode: ``append`` adds to existing tables, ``truncate`` empties them first, ``replace`` makes them anew.
            A missing table is created in every mode, with the source's types and primary key.
        lanes: ``auto`` takes the fastest way out of and into each database, ``odbc`` its ODBC driver alone.

    Returns:
        Rows, bytes and milliseconds, in all and by table.

    Raises:
        CopyError: One table or more failed; its ``report`` has the others.
        ConnectError: A connection could not be made; nothing was copied.
        ValueError: The arguments make no sense.

    Example:
        >>> report = dray.copy_tables([dray.Copy("HrDb", "dbo.*")], target="Warehouse", mode="replace")
        >>> report.rows
    """
    from . import _run

    requests = [copies] if isinstance(copies, Copy) else list(copies)
    native = [_native_request(copy) for copy in requests]
    text = _native.copy(
        native,
        (_label(target), connection_string(target)),
        mode,
        {"lanes": lanes, "memory_limit_bytes": None},
        lambda table: _run.record({"event": "copy", "table": json.loads(table)}),
        [path for path in sys.path if path],
    )
    raw = json.loads(text)
    report = Report(
        tables=[TableReport(**table) for table in raw["tables"]],
        rows=raw["rows"],
        bytes=raw["bytes"],
        duration_ms=raw["duration_ms"],
    )
    failed = [table for table in report.tables if table.error is not None]
    if failed:
        raise _failure(failed, report)
    return report


def copy_table(
    source: str,
    target: str,
    table: str | None = None,
    *,
    into: str | None = None,
    where: str | None = None,
    query: str | None = None,
    mode: str = "append",
    lanes: str = "auto",
) -> TableReport:
    """Copies one table, or the result of one query; see :func:`copy_tables`.

    Args:
        source: Name of a linked service, or an ODBC connection string.
        target: The same, for where the rows go.
        table: ``"schema.table"`` or ``"table"`` in the source; left out when ``query`` is given.
        into: Name in the target; by default the source table's name.
        where: Condition in the source's SQL, without the word WHERE.
        query: A SELECT in the source's SQL; needs ``into``.
        mode: ``append``, ``truncate`` or ``replace``.
        lanes: ``auto`` or ``odbc``.

    Example:
        >>> dray.copy_table("HrDb", "Warehouse", "dbo.Employee", into="staging.Employee", where="Active = 1").rows
    """
    if table is not None and any(letter in table for letter in "*?"):
        raise ValueError(f"copy_table copies one table, `{table}` is a pattern; use copy_tables")
    copy = Copy(source, [] if table is None else [table], into=into, where=where, query=query)
    return copy_tables([copy], target=target, mode=mode, lanes=lanes).tables[0]


def _native_request(copy: Copy) -> dict[str, Any]:
    tables = [copy.tables] if isinstance(copy.tables, str) else list(copy.tables)
    if (copy.query is None) == (not tables):
        raise ValueError("a Copy has either `tables` or a `query`")
    if copy.query is not None and (copy.where is not None or copy.exclude):
        raise ValueError("`where` and `exclude` go with `tables`; put the condition into the `query`")
    exclude = [copy.exclude] if isinstance(copy.exclude, str) else list(copy.exclude)
    return {
        "source": (_label(copy.source), connection_string(copy.source)),
        "tables": tables,
        "exclude": exclude,
        "into": copy.into,
        "where": copy.where,
        "query": copy.query,
    }


def _label(name_or_string: str) -> str:
    """How messages call a database: by its name; a connection string is masked by the engine."""
    return name_or_string if is_name(name_or_string) else ""


def _failure(failed: list[TableReport], report: Report) -> CopyError:
    """The first failed table's error, with the report of all."""
    first = failed[0].error or {}
    place = "".join(f", {name} {first[name]}" for name in ("column", "row") if first[name] is not None)
    others = f" (and {len(failed) - 1} more of {len(report.tables)} tables)" if len(failed) > 1 else ""
    message = (
        f"cannot copy `{first['table']}` to `{first['target']}`: {first['side']}{place}: {first['message']}{others}"
    )
    error = CopyError(
        message,
        code=first["code"],
        sqlstate=first["sqlstate"],
        native=first["native"],
        hint=first["hint"],
    )
    error.table, error.target = first["table"], first["target"]
    error.column, error.row = first["column"], first["row"]
    error.phase, error.side = first["phase"], first["side"]
    error.report = report
    if first["phase"] == "connect":
        error.exit_code = ConnectError.exit_code
    return error
