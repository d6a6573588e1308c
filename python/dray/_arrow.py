"""Rows to and from libraries that speak Arrow: pyarrow, polars, pandas, DuckDB and others."""

from __future__ import annotations

import atexit
import json
import re
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from . import _native
from ._connection import connection_string
from ._copy import CopyReport, TableReport, _bytes, _failure, _label, _texts

# A SELECT, also behind comments and parentheses; a table may well be called `selected`.
_QUERY = re.compile(
    r"(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*(?:select|with|values|table)\b\s*[^\s.]", re.IGNORECASE | re.DOTALL
)


class Rows:
    """Rows of a table or query, to be read once; made by :func:`read`.

    What takes Arrow's PyCapsule interface takes it: ``pyarrow.table(rows)``, ``polars.DataFrame(rows)``,
    ``pyarrow.RecordBatchReader.from_stream(rows)``, ``duckdb.sql("SELECT * FROM rows")``. Reading begins with the first
    batch that is asked for and keeps a few batches ahead; a consumer that takes them one by one has the memory of a
    few. Whoever asks first gets all rows, whoever asks after that an error. Where it ends in the middle, by
    ``close()``, at the end of a ``with`` block, or because the consumer has dropped its stream, the reading is
    stopped at the server and the connection closed. Ctrl-C is heard between two batches.
    """

    def __init__(self, number: int) -> None:
        self._number = number

    def __arrow_c_schema__(self) -> object:
        """A capsule with the type of the rows."""
        return _native.rows_schema(self._number)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """A capsule with the rows.

        Args:
            requested_schema: Not heeded: the types are those of the columns, and who wants others casts.

        Raises:
            CopyError: The rows have been read, ``code`` is ``read.used_up``.
        """
        return _native.rows_stream(self._number)

    @property
    def error(self) -> Exception | None:
        """Why the reading ended before the last row, or None.

        The consumer raises an exception of its own with the same text; this one has ``code``, ``column``, ``row`` and
        the other fields of :class:`CopyError`.
        """
        return _native.rows_error(self._number)

    @property
    def read_lane(self) -> str:
        """How the rows leave the database, such as ``copy`` or ``odbc``."""
        return _native.rows_lane(self._number)[0]

    def close(self) -> None:
        """Stops reading, and closes the connection; a consumer that still asks for rows gets an error."""
        _native.close_rows(self._number)

    def __enter__(self) -> Rows:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # At the interpreter's end the module may be gone already.
        if _native is not None and hasattr(self, "_number"):
            _native.forget_rows(self._number)


# Reading that goes on while the client libraries are unloaded would crash the process.
atexit.register(_native.close_all_rows)


def read(
    source: str,
    query_or_table: str,
    *,
    lanes: str = "auto",
    memory_limit: int | str | None = None,
    decimals: str | tuple[int, int] = (38, 18),
    timestamps: str = "declared",
    infinity: str = "refuse",
    nan: str = "refuse",
    zero_dates: str = "refuse",
    fraction: str = "refuse",
    patience: float | None = None,
) -> Rows:
    """Reads a table or a query's result into whatever takes Arrow, exactly or not at all.

    Connects, and finds out which columns there are; the rows are read when somebody asks for them, see :class:`Rows`.

    Args:
        source: Name of a linked service, or an ODBC connection string.
        query_or_table: A query in the source's SQL that begins with SELECT, WITH, VALUES or TABLE; anything else is
            ``"schema.table"`` or ``"table"``, in SQL Server also ``"database.schema.table"``.
        lanes: ``auto`` takes the fastest way out of the database, ``odbc`` its ODBC driver alone.
        memory_limit: By how much the process may grow beside what the consumer keeps: bytes or a text such as
            ``"512MiB"``; 256 MiB by default, 32 MiB at least.
        decimals: Precision and scale of decimals whose column declares none, as PostgreSQL's ``numeric``, sums, and all
            decimals of a query in PostgreSQL, or more than 76 digits; a value that needs more digits ends the reading
            with an error. Or ``text``, to read them as text.
        timestamps: ``declared`` reads times of more than six digits of a second (SQL Server's ``datetime2(7)``,
            SQLite's) in nanoseconds and others in microseconds, ``us`` all in microseconds, ``ns`` all in
            nanoseconds. In nanoseconds there are no years before 1677 and after 2262: such values are refused.
        infinity: ``null`` reads infinite decimals, dates and timestamps as NULL, ``refuse`` ends with an error at the
            first. Infinite floats are read as they are.
        nan: The same for decimals that are NaN.
        zero_dates: The same for MariaDB's and MySQL's ``0000-00-00``.
        fraction: ``round`` rounds times that have more digits of a second than their unit, ``refuse`` ends with an
            error.
        patience: Seconds for which a database that is starting, waking up or too busy is asked again; 120 by default.

    Returns:
        Rows whose types are Arrow's: integers of their width and sign, ``bool``, ``float``, ``double``,
        ``decimal128``, ``decimal256``, ``large_string`` (text, JSON, UUIDs, and what the product alone knows as the
        text that it writes), ``large_binary``, ``date32``, ``time64``, ``timestamp`` and, for points in time,
        ``timestamp`` with the zone UTC. Fields are nullable as the table's columns are, and have the declared type in
        their metadata as ``dray.type``.

    Raises:
        CopyError: There is no such table, or a column has no exact type.
        ConnectError: The connection could not be made.
        ValueError: The arguments make no sense.

    Example:
        >>> polars.DataFrame(dray.read("Sales", "SELECT region, amount FROM orders WHERE year = 2026"))
        >>> for batch in pyarrow.RecordBatchReader.from_stream(dray.read("Sales", "SalesLT.Product")):
        ...     print(batch.num_rows)
    """
    options = {
        "lanes": lanes,
        "memory_limit_bytes": _bytes(memory_limit),
        "decimals": decimals,
        "timestamps": timestamps,
        "infinity": infinity,
        "nan": nan,
        "zero_dates": zero_dates,
        "fraction": fraction,
        "patience_s": patience,
    }
    what = (query_or_table, _QUERY.match(query_or_table) is not None)
    folders = [path for path in sys.path if path]
    return Rows(_native.open_rows((_label(source), connection_string(source)), what, options, folders))


def write(
    target: str,
    table: str,
    data: Any,
    *,
    mode: str = "append",
    key: str | Sequence[str] = (),
    before: str | Sequence[str] = (),
    after: str | Sequence[str] = (),
    lanes: str = "auto",
    memory_limit: int | str | None = None,
    infinity: str = "refuse",
    nan: str = "refuse",
    fraction: str = "refuse",
    patience: float | None = None,
) -> TableReport:
    """Writes a table of another library's into one of a database, exactly or not at all.

    The rows are checked, converted and loaded as by :func:`copy_table`: in one transaction, by the fastest way into the
    database; a value that the target cannot hold fails the call, and the table is as it was. They are read once: what
    has begun is not tried again after a lost connection.

    Args:
        target: Name of a linked service, or an ODBC connection string.
        table: ``"schema.table"`` or ``"table"``, in SQL Server also ``"database.schema.table"``. One that is missing is
            made, with types for those of the data.
        data: Anything with Arrow's PyCapsule interface: pyarrow's Table, RecordBatch and RecordBatchReader, polars' and
            pandas' DataFrame (a pandas index that is not the default one comes along as a column;
            ``reset_index(drop=True)`` leaves it out), DuckDB's relations, :func:`read`. Dictionaries and categoricals
            are written as their values; a column of nothing but NULLs fits every column, and becomes one of text in a
            table that is made. Lists, structs, maps, unions, durations and intervals are refused.
        mode: ``append``, ``truncate``, ``replace``, ``upsert`` or ``mirror``, see :func:`copy_tables`.
        key: Names of the columns that tell rows apart, for ``upsert`` and ``mirror``; by default the target's primary
            key.
        before: Statements of the target's SQL before the rows, in their transaction.
        after: The same after the rows.
        lanes: ``auto`` or ``odbc``.
        memory_limit: By how much the process may grow beside the data, in bytes or as ``"512MiB"``.
        infinity: ``null`` writes infinite floats that the target does not hold as NULL and counts them, ``refuse``
            fails.
        nan: The same for floats that are NaN.
        fraction: ``round`` rounds times that have more digits of a second than the target's column keeps, ``refuse``
            fails.
        patience: Seconds for which a database that is starting, waking up or too busy is asked again; 120 by default.

    Returns:
        The report of the table; ``source`` is ``arrow``.

    Raises:
        CopyError: The rows were not written; ``column`` and ``row`` tell of the value at fault.
        ConnectError: The connection could not be made.
        TypeError: The data have no Arrow interface, or columns that no database has.
        ValueError: The arguments make no sense.

    Example:
        >>> dray.write("Warehouse", "staging.Prices", polars.read_parquet("prices.parquet"), mode="replace").rows
    """
    from . import _run

    capsules: tuple[object, object | None]
    if hasattr(data, "__arrow_c_stream__"):
        capsules = (data.__arrow_c_stream__(), None)
    elif hasattr(data, "__arrow_c_array__"):
        capsules = data.__arrow_c_array__()
    else:
        raise TypeError(f"data is of the type {type(data).__qualname__}, which has no Arrow interface")
    options = {
        "mode": mode,
        "key": _texts(key),
        "watermark": None,
        "overlap": 0,
        "before": _texts(before),
        "after": _texts(after),
        "lanes": lanes,
        "memory_limit_bytes": _bytes(memory_limit),
        "infinity": infinity,
        "nan": nan,
        "zero_dates": "refuse",
        "fraction": fraction,
        "patience_s": patience,
    }
    folders = [path for path in sys.path if path]
    to = (_label(target), connection_string(target))
    raw = json.loads(_native.write_rows(capsules, to, table, options, folders))
    _run.record({"event": "copy", "table": raw})
    report = TableReport(**raw)
    if report.error is not None:
        raise _failure([report], CopyReport(tables=[report], duration_ms=report.duration_ms))
    return report
