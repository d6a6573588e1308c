"""Exact copies of tables from any database into another."""

from __future__ import annotations

import functools
import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from . import _native
from ._connection import connection_string, is_name
from ._errors import ConnectError, CopyError

_R = TypeVar("_R")
if TYPE_CHECKING:
    from typing_extensions import ParamSpec

    _P = ParamSpec("_P")


@dataclass(frozen=True)
class Copy:
    """Tables of one source.

    Attributes:
        source: Name of a linked service, or an ODBC connection string (a text with ``=`` in it).
        tables: ``"schema.table"`` or ``"table"``, one or a list, with ``*`` and ``?`` as wildcards; a name without a
            schema means the connection's own. In SQL Server also ``"database.schema.table"`` of another database of the
            server, and ``"server.database.schema.table"`` of a linked one. Left out when ``query`` is given.
        exclude: Names or patterns that are left out.
        into: Name in the target, in SQL Server also ``"database.schema.table"``. ``{schema}`` and ``{table}`` stand for
            the source's. By default the source table's name in the target's own schema.
        where: Condition in the source's SQL, without the word WHERE.
        query: A SELECT in the source's SQL, instead of ``tables``; needs ``into``.
        columns: Names of the columns that are copied, one or a list, in the order of the target; ``*`` and ``?`` are
            wildcards, and ``["id", "*"]`` is ``id`` before the others. The others are not read. Each table must have
            each name that is no pattern. By default all columns; a primary key of which a column is left out is none.
        exclude_columns: Names or patterns of columns that are left out; the same holds for them.
        rename: Names of columns in the source, each with that in the target. Every table must have them.
        mode: As for :func:`copy_tables`, for these tables; by default that of the call, as for the next three.
        key: Names in the target.
        watermark: A name in the source; the column need not be copied.
        overlap: How far before the last watermark the rows begin.
        before: Statements of the target's SQL, one or a list, that are run before each table's rows come, in the
            transaction of the table; ``{target}`` in them stands for the table that the rows go into.
        after: The same after the rows, before the commit.
        overrides: Names or patterns of some of these tables, each with the fields that they have instead, of those from
            ``into`` to ``after`` but for ``query``. What stands by a table's own name comes before what stands by a
            pattern, and nothing is taken from both.

    Example:
        >>> Copy("SalesDb", "SalesLT.*", exclude=["SalesLT.BuildVersion"], into="staging.{table}",
        ...      overrides={"SalesLT.Customer": {"exclude_columns": "Password*", "rename": {"CustomerID": "id"}}})
    """

    source: str
    tables: str | Sequence[str] = ()
    exclude: Sequence[str] = ()
    into: str | None = None
    where: str | None = None
    query: str | None = None
    columns: str | Sequence[str] = ()
    exclude_columns: str | Sequence[str] = ()
    rename: Mapping[str, str] = field(default_factory=dict, hash=False)
    mode: str | None = None
    key: str | Sequence[str] | None = None
    watermark: str | None = None
    overlap: int | str | None = None
    before: str | Sequence[str] = ()
    after: str | Sequence[str] = ()
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class TableReport:
    """What became of one table.

    Attributes:
        source: The source's name; a connection string with its secrets masked.
        table: The source table, or ``query``; the patterns where the source could not be asked for its tables.
        target: The table in the target.
        rows: Rows that are in the target because of this copy; 0 if it failed.
        bytes: Bytes of their values.
        started_ms: Milliseconds from the beginning of the call to that of this table.
        duration_ms: Milliseconds from plan to commit.
        worker: Which of those that copy at once has copied it, from 0.
        mode: ``append``, ``truncate``, ``replace``, ``upsert``, ``incremental`` or ``mirror``.
        created: Whether the copy made the target table.
        read_lane: How the rows left the source, such as ``odbc``; empty if the table failed before that was decided.
        read_lane_reason: Why this way was taken, and why none before it.
        write_lane: How they entered the target.
        write_lane_reason: Why this way was taken, and why none before it.
        unparsed: Whether they went through in the databases' own form, as they were.
        not_carried: What the source table, or the one that was replaced, has and a target table that the copy made
            lacks: triggers, or an index that the target cannot have, each by its name and mostly with the reason.
        nulls_for_infinity: Infinite values that became NULL, see ``infinity`` of :func:`copy_tables`.
        nulls_for_nan: NaNs that became NULL, see ``nan``.
        nulls_for_zero_dates: Zero dates that became NULL, see ``zero_dates``.
        rounded_fractions: Times whose fraction of a second was rounded, see ``fraction``.
        skipped: Whether nothing was done because an earlier run of the same id has copied the table; ``rows`` and
            ``bytes`` are those of then.
        retries: Failures after which the table was copied again: ``phase``, ``side``, ``code``, ``sqlstate``,
            ``native``, ``message`` and ``wait_ms`` of each.
        error: Fields of the error if the table failed, else None. A table that was not begun has the ``code``
            ``copy.not_begun`` if one of its connections was given up, and ``copy.cancelled`` if the call was stopped.
        ranges: Key ranges that it was read in at the same time, 1 for the table as a whole; 0 if it was not read to its
            end.
        rejected: Rows that the target has refused and that were left out, see ``on_reject``; of a table that failed,
            those until then.
        rejects_file: The file that they are in; empty if there are none.
        narrower: Columns of a target table that was there which hold fewer values than those of the source that went
            into them, each in a few words. Every value was looked at: one that does not fit fails the table. See
            ``narrower`` of :func:`copy_tables`.
        verified: What was found to be equal before the commit: ``count``, ``checksum``, or nothing.
        checksum: The checksum of the rows in hexadecimal digits, if ``verify`` asked for it: the same for equal values
            in every product.
    """

    source: str
    table: str
    target: str
    rows: int
    bytes: int
    started_ms: int
    duration_ms: int
    worker: int
    mode: str
    created: bool
    read_lane: str
    read_lane_reason: str
    write_lane: str
    write_lane_reason: str
    unparsed: bool
    not_carried: list[str]
    nulls_for_infinity: int
    nulls_for_nan: int
    nulls_for_zero_dates: int
    rounded_fractions: int
    skipped: bool = False
    retries: list[dict[str, Any]] = field(default_factory=list)
    error: dict[str, Any] | None = None
    ranges: int = 0
    rejected: int = 0
    rejects_file: str = ""
    narrower: list[str] = field(default_factory=list)
    verified: str = ""
    checksum: str | None = None


@dataclass(frozen=True)
class CopyReport:
    """What a call of :func:`copy_tables` did.

    Attributes:
        tables: One report a table, in the order of the request, also if it was not begun; then one for each
            :class:`Copy` whose source could not be asked for its tables.
        rows: Rows of all tables.
        bytes: Bytes of their values.
        duration_ms: Milliseconds of the whole call.
        retries: Failures after which a connection was made again, as those of a table.
        error: Fields of the error if all tables were copied and a statement of ``after_run`` failed, else None.
    """

    tables: list[TableReport] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0
    duration_ms: int = 0
    retries: list[dict[str, Any]] = field(default_factory=list)
    error: dict[str, Any] | None = None


def copy_tables(
    copies: Copy | Sequence[Copy],
    *,
    target: str,
    mode: str = "append",
    key: str | Sequence[str] = (),
    watermark: str | None = None,
    overlap: int | str = 0,
    before: str | Sequence[str] = (),
    after: str | Sequence[str] = (),
    before_run: str | Sequence[str] = (),
    after_run: str | Sequence[str] = (),
    schema: str = "full",
    add_columns: bool = False,
    narrower: str = "refuse",
    constraints: str = "check",
    verify: str = "count",
    on_reject: str = "fail",
    rejects: str | os.PathLike[str] | None = None,
    max_rejects: int | None = None,
    shard: str | None = None,
    ranges: int | None = None,
    lanes: str = "auto",
    parallel: int | None = None,
    memory_limit: int | str | None = None,
    infinity: str = "refuse",
    nan: str = "refuse",
    zero_dates: str = "refuse",
    fraction: str = "refuse",
    run_id: str | None = None,
    patience: float | None = None,
) -> CopyReport:
    """Copies tables exactly, or not at all.

    Each table is one transaction in the target (MariaDB and MySQL: for a new table, a load beside it and a rename).
    Every value arrives as it left; one that the target cannot hold fails its table, which is then as it was before,
    and the other tables go on. Ctrl-C and SIGTERM roll the running tables back before their exception goes on.

    Several tables are copied at once, the largest first as far as the sources know how large they are, and those of
    which they do not before all others. Tables that refer to each other by foreign keys in the target, or of which one
    reads what the other writes, are copied one after the other, in the order in which they are named.

    Args:
        copies: What to copy.
        target: Name of a linked service, or an ODBC connection string.
        mode: ``append`` adds to existing tables, ``truncate`` empties them first, ``replace`` makes them anew.
            ``upsert`` gives the rows that are there the values of those of the same key and adds the others,
            ``mirror`` also removes those whose key has not come, ``incremental`` is an upsert (into a table without a
            key, an append) that reads what has changed since the last one. A missing table is created in every mode,
            with the source's types and primary key.
        key: Names of the columns that tell rows apart, as the target has them, for the last three modes; by default the
            target's primary key.
        watermark: For ``incremental``, the name of a column of the source that grows with each change: a number, a date
            or time, a text, or a ``rowversion`` of SQL Server. Read is what is greater than the greatest value of the
            last copy, which is kept in the target's table ``dray_journal`` and moves in the transaction of the rows;
            the first copy reads everything.
        overlap: How far before that value the rows begin, for changes that were committed late: seconds or a text such
            as ``"15min"`` for dates and times, else a whole number; texts and a ``rowversion`` have none. Needs a key.
        before: Statements of the target's SQL, one or a list, before the rows of each table, in its transaction; see
            :class:`Copy`, whose own follow.
        after: The same after the rows; those of a :class:`Copy` come before.
        before_run: Statements of the target's SQL that are run once, before the first table, in a transaction of their
            own. If one fails, nothing is copied.
        after_run: The same after the last table, if every table was copied.
        schema: ``full`` gives a table that the copy makes all that the target can have of the source's: indexes, unique
            ones among them, defaults, check constraints, identities and sequences, foreign keys, comments; what it
            cannot have stands in ``not_carried`` of its report. ``columns``: columns and primary key alone.
        add_columns: Whether a table that is there gets the columns of its source that it lacks, which then allow NULL.
            Without, it is refused.
        narrower: ``refuse`` fails a table that is there before its first row where a column is narrower than the width
            that the source's is declared with, such as ``varchar(10)`` for ``varchar(20)`` or ``int`` for ``bigint``;
            ``check`` looks at each value, and fails it at the first that does not fit. Where no width is declared
            (text of any length, the result of a query, SQLite), and with ``on_reject="file"``, values are looked at in
            either case.
        constraints: ``skip`` loads a table that is there without a look at its CHECK and FOREIGN KEY constraints, in
            SQL Server, which then trusts them no more, MariaDB, and MySQL, but for CHECK; the report says which, in
            ``write_lane_reason``. Other targets are refused. A table that the copy makes is checked in either case, as
            are keys, unique indexes and NOT NULL.
        verify: ``count`` compares the number of rows that were read with what the target has more of before the commit,
            ``checksum`` also a hash of every value read with one of what the target gives back; ``none`` does neither.
        on_reject: ``file`` leaves rows that the target refuses out and writes them to a file of their table, as JSON
            Lines with reason, key and values; ``fail`` fails the table at the first. Not for ``mirror``; and in
            ``upsert`` and ``incremental`` a row that breaks a constraint of the target's fails the table all the same.
        rejects: The folder of these files; by default ``rejects`` in the task's working directory.
        max_rejects: The most rejected rows of one table; one more fails it. By default any number.
        shard: A text such as ``"3/8"``: copy the third of eight parts of the tables. As many calls with the same
            copies, on as many machines, copy each table once: its name in the target decides which part it is in. A
            part may have no tables.
        ranges: Most key ranges of one table that are read at once, each on a connection of its own and all of one
            state; by default 1, the table as a whole. Also the most sessions that load a table which the copy makes
            in MariaDB or MySQL.
        lanes: ``auto`` takes the fastest way out of and into each database, ``odbc`` its ODBC driver alone.
        parallel: Most tables at once. By default as many as there are processor cores, at least 2, at most 8; never
            more than the target takes (SQLite: 1) or than leave each table 32 MiB of ``memory_limit``.
        memory_limit: By how much the process may grow, client libraries included: bytes, or a text such as
            ``"512MiB"``; 256 MiB by default, 32 MiB at least. The tables that are copied at once share it equally; one
            with a value that does not fit into its part is copied again at the end, alone.
        infinity: ``null`` copies infinite floats, decimals, dates and timestamps that the target does not hold as
            NULL, if the column allows it, and counts them in the report; ``refuse`` fails their table. What the target
            holds arrives as it is in either case.
        nan: The same for floats and decimals that are NaN.
        zero_dates: The same for MariaDB's and MySQL's ``0000-00-00``.
        fraction: ``round`` rounds times that have more digits of a second than the target's column keeps (SQL Server
            has 7, most others 6), half of the last one up, and counts them in the report; ``refuse`` fails their table.
        run_id: What a second run of the same copies is known by: it skips the tables that are noted as finished in the
            target's table ``dray_journal`` and repeats the rest. By default the id given to ``dray run`` (``--run-id``,
            ``DRAY_RUN_ID``), else the activity's extended property ``run_id``, else the ids of the Batch job and task,
            else none. An empty text: none, every call is new and no journal is kept.
        patience: Seconds for which a database that is starting, waking up or too busy is asked again, and one that has
            gone away during the call; 120 by default. A table whose connection was lost, or that the server took back
            because of a deadlock, is begun up to five times. 0: nothing is tried again.

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
    arguments = native_arguments(
        copies,
        target=target,
        mode=mode,
        key=key,
        watermark=watermark,
        overlap=overlap,
        before=before,
        after=after,
        before_run=before_run,
        after_run=after_run,
        schema=schema,
        add_columns=add_columns,
        narrower=narrower,
        constraints=constraints,
        verify=verify,
        on_reject=on_reject,
        rejects=rejects,
        max_rejects=max_rejects,
        shard=shard,
        ranges=ranges,
        lanes=lanes,
        parallel=parallel,
        memory_limit=memory_limit,
        infinity=infinity,
        nan=nan,
        zero_dates=zero_dates,
        fraction=fraction,
        run_id=run_id,
        patience=patience,
    )
    return carry_out(arguments)


def copy_table(
    source: str,
    target: str,
    table: str | None = None,
    *,
    into: str | None = None,
    where: str | None = None,
    query: str | None = None,
    columns: str | Sequence[str] = (),
    exclude_columns: str | Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
    mode: str = "append",
    key: str | Sequence[str] = (),
    watermark: str | None = None,
    overlap: int | str = 0,
    before: str | Sequence[str] = (),
    after: str | Sequence[str] = (),
    schema: str = "full",
    add_columns: bool = False,
    narrower: str = "refuse",
    constraints: str = "check",
    verify: str = "count",
    on_reject: str = "fail",
    rejects: str | os.PathLike[str] | None = None,
    max_rejects: int | None = None,
    ranges: int | None = None,
    lanes: str = "auto",
    memory_limit: int | str | None = None,
    infinity: str = "refuse",
    nan: str = "refuse",
    zero_dates: str = "refuse",
    fraction: str = "refuse",
    run_id: str | None = None,
    patience: float | None = None,
) -> TableReport:
    """Copies one table, or the result of one query; see :func:`copy_tables`.

    Args:
        source: Name of a linked service, or an ODBC connection string.
        target: The same, for where the rows go.
        table: ``"schema.table"`` or ``"table"`` in the source, in SQL Server also ``"database.schema.table"``; left out
            when ``query`` is given.
        into: Name in the target, as for ``table``; by default the source table's name.
        where: Condition in the source's SQL, without the word WHERE.
        query: A SELECT in the source's SQL; needs ``into``.
        columns: Names or patterns of the columns that are copied, in the order of the target.
        exclude_columns: Names or patterns of columns that are left out.
        rename: Names of columns in the source, each with that in the target.
        mode: ``append``, ``truncate``, ``replace``, ``upsert``, ``incremental`` or ``mirror``.
        key: Names of the columns that tell rows apart, for the last three modes.
        watermark: For ``incremental``, the column that grows with each change.
        overlap: How far before the last watermark the rows begin.
        before: Statements of the target's SQL before the rows, in the table's transaction.
        after: The same after the rows.
        schema: ``full`` or ``columns``, for a table that the copy makes.
        add_columns: Whether a table that is there gets the columns that it lacks.
        narrower: ``refuse`` or ``check``.
        constraints: ``check`` or ``skip``.
        verify: ``count``, ``checksum`` or ``none``.
        on_reject: ``fail`` or ``file``.
        rejects: The folder of rejected rows.
        max_rejects: The most of them.
        ranges: Most key ranges of the table that are read at once, and most sessions that load a new one.
        lanes: ``auto`` or ``odbc``.
        memory_limit: By how much the process may grow, in bytes or as ``"512MiB"``.
        infinity: ``refuse`` or ``null``.
        nan: ``refuse`` or ``null``.
        zero_dates: ``refuse`` or ``null``.
        fraction: ``refuse`` or ``round``.
        run_id: What a second run of the same copy is known by; an empty text for none.
        patience: Seconds for which a database that is not ready, or has gone away, is asked again.

    Example:
        >>> dray.copy_table("HrDb", "Warehouse", "dbo.Employee", into="staging.Employee", where="Active = 1").rows
    """
    if table is not None and any(letter in table for letter in "*?"):
        raise ValueError(f"copy_table copies one table, `{table}` is a pattern; use copy_tables")
    copy = Copy(
        source,
        [] if table is None else [table],
        into=into,
        where=where,
        query=query,
        columns=columns,
        exclude_columns=exclude_columns,
        rename=rename or {},
    )
    report = copy_tables(
        [copy],
        target=target,
        mode=mode,
        key=key,
        watermark=watermark,
        overlap=overlap,
        before=before,
        after=after,
        schema=schema,
        add_columns=add_columns,
        narrower=narrower,
        constraints=constraints,
        verify=verify,
        on_reject=on_reject,
        rejects=rejects,
        max_rejects=max_rejects,
        ranges=ranges,
        lanes=lanes,
        memory_limit=memory_limit,
        infinity=infinity,
        nan=nan,
        zero_dates=zero_dates,
        fraction=fraction,
        run_id=run_id,
        patience=patience,
    )
    return report.tables[0]


def native_arguments_of(*positional: Any, **named: Any) -> NativeArguments:
    """What :func:`copy_tables` would hand on, given these arguments."""
    bound = inspect.signature(copy_tables).bind(*positional, **named)
    bound.apply_defaults()
    return native_arguments(**bound.arguments)


def taking_what(
    like: Callable[_P, object],
) -> Callable[[Callable[[NativeArguments], _R]], Callable[_P, _R]]:
    """Makes a function that takes what ``like`` does, which is :func:`copy_tables`; the decorated one is
    given that as the native module takes it.
    """

    def decorate(function: Callable[[NativeArguments], _R]) -> Callable[_P, _R]:
        @functools.wraps(function)
        def call(*positional: _P.args, **named: _P.kwargs) -> _R:
            return function(native_arguments_of(*positional, **named))

        # For `help`; `wraps` would show the function's own.
        returned = inspect.signature(function).return_annotation
        call.__signature__ = inspect.signature(like).replace(return_annotation=returned)  # type: ignore[attr-defined]
        return call

    return decorate


class NativeArguments(NamedTuple):
    """A call as the native module takes it."""

    copies: list[dict[str, Any]]
    target: tuple[str, str]
    options: dict[str, Any]
    folders: list[str]


def native_arguments(
    copies: Copy | Sequence[Copy],
    *,
    target: str,
    mode: str,
    key: str | Sequence[str],
    watermark: str | None,
    overlap: int | str,
    before: str | Sequence[str],
    after: str | Sequence[str],
    before_run: str | Sequence[str] = (),
    after_run: str | Sequence[str] = (),
    rejects: str | os.PathLike[str] | None,
    memory_limit: int | str | None,
    run_id: str | None,
    patience: float | None,
    **options: Any,
) -> NativeArguments:
    """The arguments of :func:`copy_tables`, all of them, with each connection's name looked up."""
    from . import _run, _run_id

    requests = [copies] if isinstance(copies, Copy) else list(copies)
    of_call = {"mode": mode, "key": key, "watermark": watermark, "overlap": overlap}
    return NativeArguments(
        [_native_request(copy, of_call) for copy in requests],
        (_label(target), connection_string(target)),
        {
            **options,
            "before": _texts(before),
            "after": _texts(after),
            "before_run": _texts(before_run),
            "after_run": _texts(after_run),
            "rejects": os.path.join(_run.task_folder(), "rejects" if rejects is None else os.fspath(rejects)),
            "memory_limit_bytes": _bytes(memory_limit),
            "run": _run_id.of_call(run_id),
            "patience_s": patience,
        },
        [path for path in sys.path if path],
    )


def carry_out(arguments: NativeArguments, number: int | None = None, bars: bool = False) -> CopyReport:
    """Copies, and raises CopyError if a table failed.

    Args:
        arguments: What to copy, and how.
        number: One of ``_native.watch_copy``, for who wants to look at the copy or stop it.
        bars: Whether to draw on stderr how far it is; only in a process that never forks.
    """
    from . import _run

    def on_table(table: str) -> None:
        _run.record({"event": "copy", "table": json.loads(table)})

    raw = json.loads(_native.copy(*arguments, (on_table, number, bars)))
    report = CopyReport(
        tables=[TableReport(**table) for table in raw["tables"]],
        rows=raw["rows"],
        bytes=raw["bytes"],
        duration_ms=raw["duration_ms"],
        retries=raw["retries"],
        error=raw["error"],
    )
    failed = [table for table in report.tables if table.error is not None]
    if failed:
        # First what happened, then what was not begun because of it.
        failed.sort(key=lambda table: table.error is not None and table.error["code"] == "copy.not_begun")
        raise _failure(failed, report)
    if report.error is not None:
        raise _error(f"all tables are copied, but {report.error['message']}", report.error, report)
    return report


def _native_request(copy: Copy, of_call: Mapping[str, Any]) -> dict[str, Any]:
    tables = _texts(copy.tables)
    if (copy.query is None) == (not tables):
        raise ValueError("a Copy has either `tables` or a `query`")
    if copy.query is not None and (copy.where is not None or copy.exclude):
        raise ValueError("`where` and `exclude` go with `tables`; put the condition into the `query`")
    if copy.query is not None and copy.overrides:
        raise ValueError("`overrides` go with `tables`")
    return {
        "source": (_label(copy.source), connection_string(copy.source)),
        "tables": tables,
        "exclude": _texts(copy.exclude),
        "query": copy.query,
        "options": _table_options(copy, _meeting(of_call, vars(copy))),
        "overrides": [(name, _override(name, copy, instead, of_call)) for name, instead in copy.overrides.items()],
    }


def _override(name: str, copy: Copy, instead: Mapping[str, Any], of_call: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a table that has other ones than its Copy."""
    allowed = [each.name for each in fields(Copy)]
    allowed = [each for each in allowed if each not in ("source", "tables", "exclude", "query", "overrides")]
    for key in instead:
        if key not in allowed:
            words = ", ".join(f"`{each}`" for each in allowed)
            raise ValueError(f"`overrides` of `{name}` has `{key}`; allowed are {words}")
    return _table_options(replace(copy, **instead), _meeting(of_call, vars(copy), instead))


def _table_options(copy: Copy, meeting: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "into": copy.into,
        "where": copy.where,
        "columns": _texts(copy.columns),
        "exclude_columns": _texts(copy.exclude_columns),
        "rename": list(copy.rename.items()),
        **meeting,
        "before": _texts(copy.before),
        "after": _texts(copy.after),
    }


# What goes with a mode; none of it with the others.
_OF_MODE = {"upsert": ("key",), "mirror": ("key",), "incremental": ("key", "watermark", "overlap")}


def _meeting(*levels: Mapping[str, Any]) -> dict[str, Any]:
    """How rows meet a table, by what the call, its Copy and its override say of it, None for nothing. The last one
    counts; and where it names a mode, only what goes with that is taken over from those before.
    """
    said: dict[str, Any] = {}
    for level in levels:
        given = {name: level.get(name) for name in ("mode", "key", "watermark", "overlap")}
        given = {name: value for name, value in given.items() if value is not None}
        if "mode" in given:
            taken = _OF_MODE.get(str(given["mode"]), ())
            said = {name: value for name, value in said.items() if name in taken}
        said.update(given)
    return {
        "mode": said["mode"],
        "key": _texts(said.get("key", ())),
        "watermark": said.get("watermark"),
        "overlap": _overlap(said.get("overlap", 0)),
    }


def _texts(one_or_several: str | Sequence[str]) -> list[str]:
    return [one_or_several] if isinstance(one_or_several, str) else list(one_or_several)


_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}


def _overlap(amount: int | str) -> int:
    """A number, or a text such as ``15min`` as a number of seconds."""
    match = re.fullmatch(r"\s*([0-9]+)\s*(s|min|h|d)?\s*", str(amount))
    if match is None or isinstance(amount, bool):
        raise ValueError(f"overlap is {amount!r}; a whole number or a text such as '15min' (s, min, h, d) is allowed")
    return int(match[1]) * _SECONDS.get(match[2], 1)


_UNITS = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "kb": 10**3, "mb": 10**6, "gb": 10**9}


def _bytes(size: int | str | None) -> int | None:
    """A number of bytes, or a text such as ``512MiB``, as a number of bytes."""
    if size is None:
        return None
    match = re.fullmatch(r"\s*([0-9]+)\s*([A-Za-z]*)\s*", str(size))
    unit = _UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None or isinstance(size, bool):
        raise ValueError(f"memory_limit is {size!r}; a number of bytes or a text such as '512MiB' is allowed")
    return int(match[1]) * unit


def _label(name_or_string: str) -> str:
    """How messages call a database: by its name; a connection string is masked by the engine."""
    return name_or_string if is_name(name_or_string) else ""


def _failure(failed: list[TableReport], report: CopyReport) -> CopyError:
    """The first failed table's error, with the report of all."""
    first = failed[0].error or {}
    place = first["side"] + "".join(f", {name} {first[name]}" for name in ("column", "row") if first[name] is not None)
    place += f" ({first['key']})" if first["key"] is not None else ""
    others = f" (and {len(failed) - 1} more of {len(report.tables)} tables)" if len(failed) > 1 else ""
    message = f"cannot copy `{first['table']}` to `{first['target']}`: {place}: {first['message']}{others}"
    return _error(message, first, report)


def _error(message: str, first: Mapping[str, Any], report: CopyReport) -> CopyError:
    """The exception for an error's fields."""
    hint = f"; hint: {first['hint']}" if first["hint"] is not None else ""
    error = CopyError(
        message + hint,
        code=first["code"],
        sqlstate=first["sqlstate"],
        native=first["native"],
        hint=first["hint"],
    )
    error.table, error.target = first["table"], first["target"]
    error.column, error.row, error.key = first["column"], first["row"], first["key"]
    error.phase, error.side = first["phase"], first["side"]
    error.report = report
    if first["phase"] == "connect":
        error.exit_code = ConnectError.exit_code
    return error
