"""What a copy would do."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from . import _native
from ._copy import NativeArguments, copy_tables, taking_what


@dataclass(frozen=True)
class PlannedTable:
    """What would be done with one table.

    Attributes:
        source: The source's name; a connection string with its secrets masked.
        table: The source table, or ``query``.
        target: The table in the target.
        mode: ``append``, ``truncate`` or ``replace``.
        exists: Whether the target table is there already.
        estimated_rows: How many rows the source believes to have; None where it does not know, for queries, and with a
            ``where``.
        read_lane: How the rows would leave the source; empty if that could not be decided.
        read_lane_reason: Why this way, and why none before it.
        write_lane: How they would enter the target.
        write_lane_reason: Why this way, and why none before it.
        unparsed_as: The databases' own form in which rows would go through as they are, or None.
        columns: For each column ``source``, ``source_type``, ``target`` and ``target_type``.
        statements: What would be run at the target: for each statement its ``sql`` and ``when``, which is ``before`` or
            ``after`` the rows, ``after_commit``, or ``cleanup``.
        not_carried: What the source table, or the one that is replaced, has and a target table that the copy makes
            would lack.
        error: Fields of the error if the table could not be copied, else None.
        ranges: The conditions of the key ranges that it would be read in at the same time, without values of text;
            empty if it would be read as a whole.
        narrower: Columns of a target table that is there which hold fewer values than those of the source.
    """

    source: str
    table: str
    target: str
    mode: str
    exists: bool
    estimated_rows: int | None
    read_lane: str
    read_lane_reason: str
    write_lane: str
    write_lane_reason: str
    unparsed_as: str | None
    columns: list[dict[str, str]]
    statements: list[dict[str, str]]
    not_carried: list[str]
    error: dict[str, Any] | None
    ranges: list[str] = field(default_factory=list)
    narrower: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        state = "is there" if self.exists else "is made"
        lines = [f"{self.table} of {self.source} -> {self.target} ({self.mode}, {state})"]

        def say(name: str, *texts: str) -> None:
            for text in texts:
                first, *rest = text.splitlines() or [""]
                lines.append(f"  {name:<12}{first}")
                lines.extend(f"  {'':<12}{line}" for line in rest)
                name = ""

        if self.error is not None:
            say("error", self.error["message"], *([f"hint: {self.error['hint']}"] if self.error["hint"] else []))
            return "\n".join(lines)
        say("rows", "unknown" if self.estimated_rows is None else f"about {self.estimated_rows:,}")
        say("read by", f"{self.read_lane}: {self.read_lane_reason}")
        say("ranges", *self.ranges)
        say("written by", f"{self.write_lane}: {self.write_lane_reason}")
        if self.unparsed_as is not None:
            say("unparsed", self.unparsed_as)
        say("columns", *(f"{c['source']} {c['source_type']} -> {c['target']} {c['target_type']}" for c in self.columns))
        for when in ("before", "after", "after_commit", "cleanup", "after_tables"):
            say(when.replace("_", " "), *(each["sql"] for each in self.statements if each["when"] == when))
        say("not carried", *self.not_carried)
        say("narrower", *self.narrower)
        return "\n".join(lines)


@dataclass(frozen=True)
class CopyPlan:
    """What a call of :func:`copy_tables` would do; as text, a page for people.

    Attributes:
        target: The target's name; a connection string with its secrets masked.
        tables_at_once: Tables that would be copied at once.
        memory_limit_bytes: By how much the process may grow.
        tables: One entry a table, in the order of the request.
        before_run: Statements that would be run once at the target, before the first table.
        after_run: Those after the last.
    """

    target: str
    tables_at_once: int
    memory_limit_bytes: int
    tables: list[PlannedTable]
    before_run: list[str]
    after_run: list[str]

    def __str__(self) -> str:
        count = len(self.tables)
        failed = sum(table.error is not None for table in self.tables)
        head = (
            f"{count} table{'' if count == 1 else 's'} into {self.target}, {self.tables_at_once} at once, "
            f"{self.memory_limit_bytes / 2**20:.0f} MiB of memory" + (f"; {failed} cannot be copied" if failed else "")
        )

        def once(when: str, statements: list[str]) -> list[str]:
            return ["\n".join([f"once, {when} the tables", *(f"  {sql}" for sql in statements)])] if statements else []

        tables = map(str, self.tables)
        return "\n\n".join([head, *once("before", self.before_run), *tables, *once("after", self.after_run)])


@taking_what(copy_tables)
def plan_copy(arguments: NativeArguments) -> CopyPlan:
    """What :func:`copy_tables` would do with the same arguments; connects to both sides and changes nothing.

    Raises:
        ConnectError: A connection could not be made.
        CopyError: Nothing could be planned. A table that could not be copied has its error in its entry instead.
        ValueError: The arguments make no sense.

    Example:
        >>> print(dray.plan_copy(dray.Copy("HrDb", "dbo.*"), target="Warehouse", mode="replace"))
    """
    raw = json.loads(_native.plan_copy(*arguments))
    raw["tables"] = [PlannedTable(**table) for table in raw["tables"]]
    return CopyPlan(**raw)
