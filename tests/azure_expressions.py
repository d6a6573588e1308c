"""Reads and evaluates the expressions of Azure: those of deployment templates (`[concat(...)]`) and those of Data
Factory's pipelines (`@concat(...)`, `@{...}`). Both have one grammar: calls, literals, `.name`, `?.name`, `[index]`.

Knows the grammar alone; what the functions do is the caller's.
Grammar: https://learn.microsoft.com/azure/azure-resource-manager/templates/template-expressions and
https://learn.microsoft.com/azure/data-factory/control-flow-expression-language-functions
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Callable, Union

TOKEN = re.compile(
    r"""\s*(?:
        (?P<text>'(?:[^']|'')*')
        | (?P<number>-?\d+(?:\.\d+)?)
        | (?P<name>[A-Za-z_]\w*)
        | (?P<sign>\?\.|\?\[|[().,\[\]])
    )""",
    re.VERBOSE,
)


class ExpressionFault(Exception):
    """An expression that cannot be read, or that names what is not there."""


@dataclass(frozen=True)
class Literal:
    """A text in single quotes, or a number."""

    value: Union[str, int, float]


@dataclass(frozen=True)
class Call:
    """A function by its name and its arguments."""

    name: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True)
class Member:
    """A part of a value, by name or index; `lenient` (`?.`) gives null where there is none."""

    whole: Node
    key: Node
    lenient: bool


Node = Union[Literal, Call, Member]
Functions = Mapping[str, Callable[..., Any]]


def parse(text: str) -> Node:
    """The tree of one expression, which must be the whole of `text`."""
    tokens = _tokens(text)
    node, after = _expression(tokens, 0)
    if after != len(tokens):
        raise ExpressionFault(f"`{tokens[after][1]}` follows where `{text}` should end")
    return node


def nodes(node: Node) -> Iterator[Node]:
    """`node` and all below it."""
    yield node
    if isinstance(node, Call):
        for argument in node.arguments:
            yield from nodes(argument)
    elif isinstance(node, Member):
        yield from nodes(node.whole)
        yield from nodes(node.key)


def evaluate(node: Node, functions: Functions) -> Any:
    """The value of an expression. `if` evaluates only the branch that it takes, as Azure does."""
    if isinstance(node, Literal):
        return node.value
    if isinstance(node, Member):
        whole, key = evaluate(node.whole, functions), evaluate(node.key, functions)
        if node.lenient and (whole is None or (isinstance(whole, dict) and key not in whole)):
            return None
        try:
            return whole[key]
        except (KeyError, IndexError, TypeError) as error:
            raise ExpressionFault(f"there is no `{key}` in `{whole!r}`") from error
    if node.name == "if":
        if len(node.arguments) != 3:
            raise ExpressionFault(f"`if` takes 3 arguments, not {len(node.arguments)}")
        condition = evaluate(node.arguments[0], functions)
        if not isinstance(condition, bool):
            raise ExpressionFault(f"the condition of `if` is `{condition!r}`, neither true nor false")
        return evaluate(node.arguments[1 if condition else 2], functions)
    if node.name not in functions:
        raise ExpressionFault(f"there is no function `{node.name}` here")
    return functions[node.name](*(evaluate(argument, functions) for argument in node.arguments))


def _tokens(text: str) -> list[tuple[str, str]]:
    found, position = [], 0
    while position < len(text.rstrip()):
        match = TOKEN.match(text, position)
        if match is None:
            raise ExpressionFault(f"cannot read `{text[position:]}` in `{text}`")
        assert match.lastgroup is not None
        found.append((match.lastgroup, match.group(match.lastgroup)))
        position = match.end()
    return found


def _expression(tokens: list[tuple[str, str]], at: int) -> tuple[Node, int]:
    kind, token = _token(tokens, at)
    node: Node
    if kind == "text":
        node, at = Literal(token[1:-1].replace("''", "'")), at + 1
    elif kind == "number":
        node, at = Literal(float(token) if "." in token else int(token)), at + 1
    elif kind == "name":
        _expect(tokens, at + 1, "(")
        arguments: list[Node] = []
        at += 2
        while _token(tokens, at)[1] != ")":
            if arguments:
                _expect(tokens, at, ",")
                at += 1
            argument, at = _expression(tokens, at)
            arguments.append(argument)
        node, at = Call(token, tuple(arguments)), at + 1
    else:
        raise ExpressionFault(f"`{token}` where a value should stand")
    while at < len(tokens) and tokens[at][1] in (".", "?.", "[", "?["):
        sign = tokens[at][1]
        key: Node
        if sign.endswith("."):
            kind, token = _token(tokens, at + 1)
            if kind != "name":
                raise ExpressionFault(f"`{token}` where a name should stand")
            key, at = Literal(token), at + 2
        else:
            key, at = _expression(tokens, at + 1)
            _expect(tokens, at, "]")
            at += 1
        node = Member(node, key, lenient=sign.startswith("?"))
    return node, at


def _token(tokens: list[tuple[str, str]], at: int) -> tuple[str, str]:
    if at >= len(tokens):
        raise ExpressionFault("the expression ends too early: is a bracket missing?")
    return tokens[at]


def _expect(tokens: list[tuple[str, str]], at: int, sign: str) -> None:
    if _token(tokens, at)[1] != sign:
        raise ExpressionFault(f"`{tokens[at][1]}` where `{sign}` should stand")
