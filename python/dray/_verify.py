"""Two databases compared without copying."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from . import _native
from ._copy import NativeArguments, copy_tables, taking_what


@dataclass(frozen=True)
class Difference:
    """A key whose rows are not the same on both sides.

    Attributes:
        kind: ``missing`` in the target, ``extra`` in the target, or ``different``.
        key: The key's columns, by their names in the target, with their values as text.
    """

    kind: str
    key: dict[str, str]

    def __str__(self) -> str:
        words = {"missing": "missing in the target", "extra": "in the target alone", "different": "different"}
        return f"{words[self.kind]}: " + ", ".join(f"{name}={value}" for name, value in self.key.items())


@dataclass(frozen=True)
class ComparedTable:
    """What the comparison of one table came to.

    Attributes:
        source: The source's name; a connection string with its secrets masked.
        table: The source table, or ``query``.
        target: The table in the target.
        equal: Whether both sides have the same rows.
        source_rows: Rows of the source.
        target_rows: Rows of the target.
        source_checksum: The checksum of the source's rows, as :class:`TableReport` has it.
        target_checksum: That of the target's rows.
        key: The columns that tell rows apart; empty if there is no key, and then no keys are named.
        differences: The first keys that differ, ten at most, in their order.
        notes: What else is to be known, each in a sentence.
        rows_read: Rows that were read, on both sides together; those of which the key alone was read do not count.
        duration_ms: Milliseconds that it took.
        error: Fields of the error if the table could not be compared, else None.
    """

    source: str
    table: str
    target: str
    equal: bool
    source_rows: int
    target_rows: int
    source_checksum: str
    target_checksum: str
    key: list[str]
    differences: list[Difference]
    notes: list[str]
    rows_read: int
    duration_ms: int
    error: dict[str, Any] | None

    def __str__(self) -> str:
        head = f"{self.table} of {self.source} -> {self.target}: "
        if self.error is not None:
            hint = f"; hint: {self.error['hint']}" if self.error["hint"] else ""
            return f"{head}not compared: {self.error['message']}{hint}"
        if self.equal:
            head += f"equal, {self.source_rows:,} rows"
        elif self.source_rows == self.target_rows:
            head += f"different, {self.source_rows:,} rows on both sides"
        else:
            head += f"different, {self.source_rows:,} rows in the source and {self.target_rows:,} in the target"
        return "\n  ".join([head, *map(str, self.differences), *self.notes])


@dataclass(frozen=True)
class Comparison:
    """What :func:`verify_tables` came to; as text, a page for people.

    Attributes:
        equal: Whether all tables are the same.
        tables: One entry a table, in the order of the request.
        duration_ms: Milliseconds of the whole call.
    """

    equal: bool
    tables: list[ComparedTable]
    duration_ms: int

    def __str__(self) -> str:
        different = sum(not table.equal for table in self.tables)
        count = f"{len(self.tables)} table{'' if len(self.tables) == 1 else 's'}"
        end = f"{count}, {f'{different} different' if different else 'all equal'}, in {self.duration_ms / 1000:.1f} s"
        return "\n".join([*map(str, self.tables), end])


def _with_key(options: dict[str, Any]) -> dict[str, Any]:
    """The options of a table. A key goes with every mode here, for the engine it goes with some."""
    is_out_of_place = options["key"] and options["mode"] in ("append", "truncate", "replace")
    return {**options, "mode": "upsert"} if is_out_of_place else options


@taking_what(copy_tables)
def verify_tables(arguments: NativeArguments) -> Comparison:
    """Compares what :func:`copy_tables` would read, given the same arguments, with what the target has. Nothing is
    changed.

    Values are compared as a copy would have written them, so ``infinity``, ``nan``, ``zero_dates`` and ``fraction``
    count; what is about writing (``mode``, ``before``, ``run_id`` and the like) does not. Each side is read once, and
    the ranges of keys in which something differs again. Rows are told apart by ``key``, by default the source's primary
    key, else the target's.

    Raises:
        ConnectError: A connection could not be made.
        CopyError: Nothing could be compared. A table that could not be compared has its error in its entry instead.
        ValueError: The arguments make no sense.

    Example:
        >>> comparison = dray.verify_tables(dray.Copy("HrDb", "dbo.*"), target="Warehouse")
        >>> [table.target for table in comparison.tables if not table.equal]
    """
    copies = [
        {
            **copy,
            "options": _with_key(copy["options"]),
            "overrides": [(name, _with_key(options)) for name, options in copy["overrides"]],
        }
        for copy in arguments.copies
    ]
    raw = json.loads(_native.verify_tables(*arguments._replace(copies=copies)))
    tables = [
        ComparedTable(**{**table, "differences": [Difference(**each) for each in table["differences"]]})
        for table in raw["tables"]
    ]
    return Comparison(raw["equal"], tables, raw["duration_ms"])
