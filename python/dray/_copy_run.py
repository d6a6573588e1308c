"""A copy that goes on beside the script."""

from __future__ import annotations

import atexit
import contextlib
import json
import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from . import _native
from ._copy import CopyReport, NativeArguments, carry_out, copy_tables, taking_what


@dataclass(frozen=True)
class RunningTable:
    """How far a table is.

    Attributes:
        source: The source's name; a connection string with its secrets masked.
        table: The source table, or ``query``.
        target: The table in the target.
        rows: Rows that were written.
        bytes: Bytes of their values.
        elapsed_ms: Milliseconds since it was begun.
        rows_per_s: Rows a second, over all that time.
        estimated_rows: How many rows the source believes to have; None where it does not know, for queries, and with a
            ``where``.
        percent: How much is done by that estimate, from 0 to 100, or None.
        left_s: Seconds that are left if it goes on as it did, or None.
    """

    source: str
    table: str
    target: str
    rows: int
    bytes: int
    elapsed_ms: int
    rows_per_s: int
    estimated_rows: int | None
    percent: float | None
    left_s: int | None


@dataclass(frozen=True)
class CopyProgress:
    """How far a copy is.

    Attributes:
        tables: Tables of the copy; 0 before they are known.
        tables_copied: Tables that are copied.
        tables_failed: Tables that failed.
        rows: Rows that were written, those of running tables too.
        bytes: Bytes of their values.
        elapsed_ms: Milliseconds since the tables are known.
        rows_per_s: Rows a second, over all that time.
        bytes_per_s: Bytes a second, over all that time.
        percent: How much is done, from 0 to 100: by rows where the databases say how many there are, else by tables.
        left_s: Seconds that are left if it goes on as it did; None as long as nothing is done.
        running: The tables that are being copied.
    """

    tables: int = 0
    tables_copied: int = 0
    tables_failed: int = 0
    rows: int = 0
    bytes: int = 0
    elapsed_ms: int = 0
    rows_per_s: int = 0
    bytes_per_s: int = 0
    percent: float = 0.0
    left_s: int | None = None
    running: list[RunningTable] = field(default_factory=list)


class CopyRun:
    """A copy that goes on beside the script; made by :func:`start_copy`.

    As a context manager it is waited for at the end of the block, and cancelled if the block raises. One that still
    goes on when the script ends is cancelled.
    """

    def __init__(self, arguments: NativeArguments) -> None:
        self._arguments = arguments
        self._number = _native.watch_copy()
        self._last = CopyProgress()
        self._report: CopyReport | None = None
        self._error: BaseException | None = None
        self._ended = threading.Event()
        # A daemon: the interpreter must not wait for it before it has run what is registered below.
        self._thread = threading.Thread(target=self._carry_out, name="dray-copy", daemon=True)
        atexit.register(self._end)
        self._thread.start()

    def _carry_out(self) -> None:
        try:
            self._report = carry_out(self._arguments, self._number)
        except BaseException as error:
            self._error = error
        finally:
            self._last = self.progress()
            self._ended.set()
            atexit.unregister(self._end)
            _native.forget_copy(self._number)

    def _end(self) -> None:
        self.cancel()
        self._thread.join()

    @property
    def done(self) -> bool:
        """Whether it has ended, one way or the other."""
        return self._ended.is_set()

    def progress(self) -> CopyProgress:
        """How far it is."""
        if self.done:
            return self._last
        try:
            now: dict[str, Any] = json.loads(_native.copy_progress(self._number))
        except ValueError:
            # It has ended meanwhile.
            return self._last
        now["running"] = [RunningTable(**table) for table in now["running"]]
        return CopyProgress(**now)

    def cancel(self) -> None:
        """Stops it: running tables are rolled back, the others are not begun. Returns at once; see :meth:`wait`."""
        if not self.done:
            # It may have ended meanwhile.
            with contextlib.suppress(ValueError):
                _native.cancel_copy(self._number)

    def wait(self, timeout: float | None = None) -> CopyReport:
        """Waits for its end and gives the report.

        Args:
            timeout: Seconds; by default it waits as long as it takes.

        Raises:
            CopyError: One table or more failed, or it was cancelled before all were copied.
            ConnectError: A connection could not be made; nothing was copied.
            TimeoutError: It goes on.
        """
        if not self._ended.wait(timeout):
            raise TimeoutError(f"the copy goes on after {timeout} seconds")
        if self._error is not None:
            raise self._error
        assert self._report is not None
        return self._report

    def __enter__(self) -> CopyRun:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.wait()
        else:
            self._end()


@taking_what(copy_tables)
def start_copy(arguments: NativeArguments) -> CopyRun:
    """Begins what :func:`copy_tables` does, with the same arguments, and returns at once.

    Raises:
        ValueError: The arguments make no sense.
        ActivityError: A connection's name is not known.

    Example:
        >>> with dray.start_copy(dray.Copy("HrDb", "dbo.*"), target="Warehouse", mode="replace") as run:
        ...     while not run.done:
        ...         print(f"{run.progress().percent} %")
        ...         time.sleep(10)
    """
    return CopyRun(arguments)
