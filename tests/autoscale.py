"""Evaluates autoscale formulas of Azure Batch: the part of the language that packaging/azure/pool.json uses.

Stricter than Batch where its documentation leaves a choice: both branches of `a ? b : c` are evaluated, so a formula
must bear missing samples in either; truth is the numbers 1 and 0.
The language: https://learn.microsoft.com/azure/batch/batch-automatic-scaling
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Callable

# Batch takes one every 30 seconds.
SAMPLE_PERIOD = timedelta(seconds=30)
MAX_BYTES = 8192
MAX_STATEMENTS = 100
TARGETS = {"$TargetDedicatedNodes", "$TargetLowPriorityNodes", "$NodeDeallocationOption"}
DEALLOCATION_OPTIONS = {"requeue", "terminate", "taskcompletion", "retaineddata"}
INTERVALS = {"TimeInterval_Second": 1, "TimeInterval_Minute": 60, "TimeInterval_Hour": 3600}
TOKEN = re.compile(r"\s*(\$?[A-Za-z_]\w*|\d+(?:\.\d+)?|<=|>=|==|!=|&&|\|\||[-+*/<>!?:;=.,()])")
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    ">=": lambda left, right: left >= right,
    ">": lambda left, right: left > right,
}


class FormulaFault(Exception):
    """A formula that Batch would refuse, or fail to evaluate."""


@dataclass(frozen=True)
class Metric:
    """The samples of one service-defined variable: age and value, the newest first."""

    samples: Sequence[tuple[timedelta, float]]

    def get_sample(self, span: Any) -> list[float]:
        """The newest `span` samples, or those of the last `span` of time; an empty list where there are none."""
        if isinstance(span, timedelta):
            return [value for age, value in self.samples if age <= span]
        return [value for _age, value in self.samples[: int(span)]]

    def get_sample_percent(self, span: timedelta) -> float:
        """How many of the samples that the last `span` should have are there."""
        return 100 * len(self.get_sample(span)) / (span / SAMPLE_PERIOD)


def evaluate(formula: str, *, now: datetime, pending: Sequence[tuple[timedelta, float]]) -> dict[str, Any]:
    """What the formula assigns, by name, at the UTC time `now` with these samples of `$PendingTasks`."""
    if len(formula.encode()) > MAX_BYTES:
        raise FormulaFault(f"the formula has {len(formula.encode())} bytes, allowed are {MAX_BYTES}")
    return _Evaluation(_tokens(formula), now, {"$PendingTasks": Metric(pending)}).run()


def _tokens(formula: str) -> list[str]:
    tokens, position = [], 0
    while position < len(formula.rstrip()):
        match = TOKEN.match(formula, position)
        if match is None:
            raise FormulaFault(f"cannot read `{formula[position : position + 20]}`")
        tokens.append(match[1])
        position = match.end()
    return tokens


class _Evaluation:
    def __init__(self, tokens: list[str], now: datetime, metrics: dict[str, Metric]) -> None:
        self._tokens = tokens
        self._at = 0
        self._now = now
        self._metrics = metrics
        self._assigned: dict[str, Any] = {}

    def run(self) -> dict[str, Any]:
        statements = 0
        while self._at < len(self._tokens):
            statements += 1
            name = self._take()
            if not re.match(r"\$?[A-Za-z_]", name) or (name.startswith("$") and name not in TARGETS):
                raise FormulaFault(f"`{name}` cannot be assigned to")
            self._take("=")
            value = self._ternary()
            if name == "$NodeDeallocationOption":
                if value not in DEALLOCATION_OPTIONS:
                    raise FormulaFault(f"`{value}` is no way to remove nodes")
            elif name in TARGETS and not isinstance(value, (int, float)):
                raise FormulaFault(f"`{name}` becomes {value!r}, which is no number of nodes")
            self._assigned[name] = value
            self._take(";")
        if statements > MAX_STATEMENTS:
            raise FormulaFault(f"the formula has {statements} statements, allowed are {MAX_STATEMENTS}")
        return self._assigned

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else "the end"

    def _take(self, expected: str = "") -> str:
        token = self._peek()
        if token == "the end" or (expected and token != expected):
            raise FormulaFault(f"{token!r} where {expected or 'more'!r} should stand")
        self._at += 1
        return token

    def _ternary(self) -> Any:
        value = self._either()
        if self._peek() == "?":
            self._take()
            taken = self._ternary()
            self._take(":")
            other = self._ternary()
            return taken if _truth(value) else other
        return value

    def _either(self) -> Any:
        value = self._both()
        while self._peek() == "||":
            self._take()
            right = self._both()
            value = float(_truth(value) or _truth(right))
        return value

    def _both(self) -> Any:
        value = self._comparison()
        while self._peek() == "&&":
            self._take()
            right = self._comparison()
            value = float(_truth(value) and _truth(right))
        return value

    def _comparison(self) -> Any:
        value = self._product()
        if self._peek() in COMPARISONS:
            compare = COMPARISONS[self._take()]
            right = self._product()
            if type(value) is not type(right):
                raise FormulaFault(f"{value!r} cannot be compared with {right!r}")
            value = float(compare(value, right))
        return value

    def _product(self) -> Any:
        value = self._postfix()
        while self._peek() == "*":
            self._take()
            right = self._postfix()
            if isinstance(value, list) or isinstance(right, list):
                raise FormulaFault("a list of samples cannot be multiplied here")
            value = value * right
        return value

    def _postfix(self) -> Any:
        value = self._primary()
        while self._peek() == ".":
            self._take()
            member = self._take()
            if isinstance(value, Metric) and member in ("GetSample", "GetSamplePercent"):
                arguments = self._arguments()
                if len(arguments) != 1:
                    raise FormulaFault(f"`{member}` with {len(arguments)} arguments is not known here")
                read = value.get_sample if member == "GetSample" else value.get_sample_percent
                value = read(arguments[0])
            elif isinstance(value, datetime) and member in ("hour", "minute"):
                value = float(getattr(value, member))
            elif isinstance(value, datetime) and member == "weekday":
                # Monday is 1; of Sunday the documentation says no number, so take the one that is easier to get wrong.
                value = float(value.isoweekday() % 7)
            else:
                raise FormulaFault(f"there is no `{member}` in {value!r}")
        return value

    def _primary(self) -> Any:
        token = self._take()
        if token == "(":
            value = self._ternary()
            self._take(")")
            return value
        if token[0].isdigit():
            return float(token)
        if token in ("max", "min"):
            numbers: list[float] = []
            for argument in self._arguments():
                numbers += argument if isinstance(argument, list) else [argument]
            if not numbers:
                raise FormulaFault(f"`{token}` of nothing")
            return max(numbers) if token == "max" else min(numbers)
        if token == "time":
            if self._arguments():
                raise FormulaFault("`time` with an argument is not known here")
            return self._now
        if token in INTERVALS:
            return timedelta(seconds=INTERVALS[token])
        if token in DEALLOCATION_OPTIONS:
            return token
        if token in self._metrics:
            return self._metrics[token]
        if token in self._assigned:
            return self._assigned[token]
        raise FormulaFault(f"there is no `{token}`")

    def _arguments(self) -> list[Any]:
        self._take("(")
        found: list[Any] = []
        while self._peek() != ")":
            if found:
                self._take(",")
            found.append(self._ternary())
        self._take(")")
        return found


def _truth(value: Any) -> bool:
    if not isinstance(value, (int, float)):
        raise FormulaFault(f"{value!r} is neither true nor false")
    return value != 0
