"""Connections for a script's own statements."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from . import _native
from ._errors import ConnectError


def is_name(name_or_text: str) -> bool:
    """Whether it is the name of a connection, and not a connection string or a URL."""
    return "=" not in name_or_text and "://" not in name_or_text


def connection_string(name_or_text: str) -> str:
    """The ODBC connection string for a name, a URL or a connection string; see :func:`connect`."""
    from . import _handover

    return _handover.connection_string(name_or_text)


def connect(name_or_string: str, *, autocommit: bool = True) -> Connection:
    """Opens a connection for a script's own statements, such as reading a control table.

    The session's time zone is UTC on products that have one.

    Args:
        name_or_string: A name, a URL such as ``postgresql://user:password@host/database`` (``mysql``, ``mariadb``,
            ``sqlite``, ``mssql``), or an ODBC connection string (a text with ``=`` in it). A name is looked for in this
            order: the environment variable ``DRAY_CONNECTION_NAME``, linked services, datasets (their linked service),
            ``[tool.dray.connections]`` of pyproject.toml, data sources of odbc.ini.
        autocommit: Whether each statement is its own transaction; True by default. Otherwise :meth:`Connection.commit`
            makes what was done permanent.

    Raises:
        DriverNotFoundError: The driver is not on this node; the message lists those that are.
        ConnectError: The database refused, or the text is none that a driver can follow.
        ActivityError: Nothing has that name, or the linked service cannot be turned into a connection.

    Example:
        >>> with dray.connect("Control") as control:
        ...     rows = control.query("SELECT name, since FROM tables WHERE active = ?", True)
    """
    string = connection_string(name_or_string)
    try:
        handle = _native.connect(string, autocommit, [path for path in sys.path if path])
    except ConnectError as error:
        # A connection string is not named: it may hold a password.
        if is_name(name_or_string):
            error.args = (f"`{name_or_string}`: {error}",)
        raise
    return Connection(handle, autocommit)


class Connection:
    """An open connection; made by :func:`connect`. A context manager that closes it.

    Values come and go as int, Decimal, float, str, bytes, bool, date, time, timedelta (spans beyond a day), datetime
    (with a time zone where the type has one), UUID and None, each exact.
    """

    def __init__(self, handle: int, autocommit: bool) -> None:
        self._handle = handle
        self._autocommit = autocommit

    def query(self, sql: str, *parameters: Any) -> list[dict[str, Any]]:
        """Runs a query and returns all its rows, each as a dictionary by column name.

        Args:
            sql: The text, in the product's SQL, with ``?`` for each parameter.
            parameters: Their values in order.

        Raises:
            DatabaseError: The database refused, a value cannot be had exactly, or two columns have one name.
            TypeError: A parameter has a type that no database has.
        """
        return _native.query(self._handle, sql, parameters)

    def execute(self, sql: str, *parameters: Any) -> int:
        """Runs a statement and returns the number of rows that it changed; -1 if the driver does not know.

        Args and errors are those of :meth:`query`.
        """
        return _native.execute(self._handle, sql, parameters)

    def commit(self) -> None:
        """Makes permanent what was done since the last commit; nothing to do with ``autocommit``."""
        _native.commit(self._handle)

    def rollback(self) -> None:
        """Undoes what was done since the last commit; nothing to do with ``autocommit``."""
        _native.rollback(self._handle)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction: committed at the end of the block, rolled back if it raises.

        Example:
            >>> with connection.transaction():
            ...     connection.execute("DELETE FROM staging")
            ...     connection.execute("INSERT INTO log VALUES (?)", "emptied")
        """
        if self._autocommit:
            _native.set_autocommit(self._handle, False)
        try:
            yield self
        except BaseException:
            self.rollback()
            raise
        else:
            self.commit()
        finally:
            if self._autocommit:
                _native.set_autocommit(self._handle, True)

    def close(self) -> None:
        """Closes the connection; what is not committed is rolled back. May be called again."""
        _native.close(self._handle)

    def __enter__(self) -> Connection:
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
        if _native is not None and hasattr(self, "_handle"):
            _native.close(self._handle)
