"""An entrypoint `module:function`: its keyword arguments from extended properties and `--name value`; its result."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from typing import Any, Callable, Optional

import pytest

HEAD = """
import datetime, decimal, enum, pathlib, typing, uuid
from datetime import date, datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import *
import dray

class Mode(enum.Enum):
    FULL = "full load"
    DELTA = "delta"

class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2

Id = NewType("Id", int)
"""


# What is printed here is looked at as it is, secrets too.
UNMASKED = {"DRAY_NO_MASK": "1"}


@pytest.fixture
def call(dray, project, task) -> Callable[..., Any]:
    """`call("x: int", properties={...}, arguments=[...])` runs a function with these parameters, which prints them."""

    def run(
        parameters: str,
        *arguments: str,
        properties: Optional[Mapping[str, Any]] = None,
        body: str = "print(', '.join(f'{name}={value!r}' for name, value in locals().items()))",
        head: str = HEAD,
        options: tuple[str, ...] = (),
    ) -> Any:
        task.write_activity(properties)
        source = f"{textwrap.dedent(head)}\ndef run({parameters}):\n{textwrap.indent(textwrap.dedent(body), '    ')}\n"
        return dray("run", *options, project({"job.py": source}), "job:run", *arguments, cwd=task.folder, env=UNMASKED)

    return run


def assert_prints(ran: Any, expected: str) -> None:
    assert (ran.returncode, ran.stdout) == (0, expected + "\n"), ran.stderr


# Annotation, value in extended properties (none: cannot be), text behind `--x` (none: cannot be), what the function gets.
NONE = object()
CONVERTED = [
    ("str", "é", "é", "'é'"),
    ("str", 12, "12", "'12'"),
    ("str", True, "true", "'true'"),
    ("int", 12, "12", "12"),
    ("int", "12", " 12 ", "12"),
    ("int", 12345678901234567890123, "-5", None),
    ("int", 3.0, NONE, "3"),
    ("float", 1.5, "1.5", "1.5"),
    ("float", 2, "2", "2.0"),
    ("float", "1e3", "1e3", "1000.0"),
    ("bool", True, "true", "True"),
    ("bool", "False", "no", "False"),
    ("bool", 1, "on", "True"),
    ("date", "2026-11-21", "2026-11-21", "datetime.date(2026, 11, 21)"),
    ("dt", "2026-11-21T01:02:03", "2026-11-21 01:02:03", "datetime.datetime(2026, 11, 21, 1, 2, 3)"),
    ("dt", "2026-11-21T01:02:03.1234567Z", "2026-11-21T01:02:03.1234567Z",
     "datetime.datetime(2026, 11, 21, 1, 2, 3, 123456, tzinfo=datetime.timezone.utc)"),
    ("datetime.time", "01:02:03", "01:02:03", "datetime.time(1, 2, 3)"),
    ("Decimal", "1.10", "1.10", "Decimal('1.10')"),
    ("Decimal", 7, "7", "Decimal('7')"),
    ("Path", "/a/b", "/a/b", "PosixPath('/a/b')"),
    ("Mode", "full load", "full load", "<Mode.FULL: 'full load'>"),
    ("Mode", "DELTA", "DELTA", "<Mode.DELTA: 'delta'>"),
    ("Level", 2, "2", None),
    ("Literal['a', 2, None]", "a", "a", "'a'"),
    ("Literal['a', 2, None]", 2, "2", "2"),
    ("Literal['a', 2, None]", None, NONE, "None"),
    ("Optional[int]", None, NONE, "None"),
    ("Optional[int]", "5", "5", "5"),
    ("Union[int, str]", "5", "5", "'5'"),
    ("Union[int, str]", 5, NONE, "5"),
    ("Union[int, date]", "2026-11-21", "2026-11-21", "datetime.date(2026, 11, 21)"),
    ("list", [1, "a", 1.5], '[1, "a", 1.5]', "[1, 'a', 1.5]"),
    ("list[int]", [1, "2"], "[1, 2]", "[1, 2]"),
    ("List[date]", ["2026-11-21"], "2026-11-21", "[datetime.date(2026, 11, 21)]"),
    ("tuple[int, str]", [1, "a"], '[1, "a"]', "(1, 'a')"),
    ("Tuple[int, ...]", [1, 2], "[1, 2]", "(1, 2)"),
    ("set[int]", [1, 1], "[1, 1]", "{1}"),
    ("Sequence[Decimal]", [1.1], "[1.1]", "[Decimal('1.1')]"),
    ("dict", {"a": [1.5]}, '{"a": [1.5]}', "{'a': [1.5]}"),
    ("dict[str, int]", {"a": "1"}, '{"a": "1"}', "{'a': 1}"),
    ("Mapping[str, Optional[date]]", {"a": None, "b": "2026-11-21"}, '{"a": null}', None),
    ("Any", {"a": 0.1}, NONE, "{'a': 0.1}"),
    ("Annotated[int, 'rows']", "3", "3", "3"),
    ("Id", "3", "3", "3"),
]  # fmt: skip


def test_every_annotation_converts_a_property_and_an_argument(call):
    # One run for all of them: each is a parameter of its own.
    from_properties = {f"x{n}": (hint, value) for n, (hint, value, _, _) in enumerate(CONVERTED) if value is not NONE}
    parameters = ", ".join(f"{name}: {hint}" for name, (hint, _) in from_properties.items())
    ran = call(
        parameters,
        properties={name: value for name, (_, value) in from_properties.items()},
        body="print('\\n'.join(map(repr, locals().values())))",
    )
    assert ran.returncode == 0, ran.stderr
    printed = dict(zip(from_properties, ran.stdout.splitlines()))
    for n, (_, _, _, expected) in enumerate(CONVERTED):
        if f"x{n}" in printed and expected is not None:
            assert printed[f"x{n}"] == expected

    from_arguments = {f"x{n}": (hint, text) for n, (hint, _, text, _) in enumerate(CONVERTED) if text is not NONE}
    ran = call(
        ", ".join(f"{name}: {hint}" for name, (hint, _) in from_arguments.items()),
        *(part for name, (_, text) in from_arguments.items() for part in (f"--{name}", text)),
        body="print('\\n'.join(map(repr, locals().values())))",
    )
    assert ran.returncode == 0, ran.stderr
    printed = dict(zip(from_arguments, ran.stdout.splitlines()))
    for n, (_, _, _, expected) in enumerate(CONVERTED):
        if f"x{n}" in printed and expected is not None:
            assert printed[f"x{n}"] == expected


def test_large_and_exact_numbers_lose_nothing(call):
    ran = call("a: int, b: Decimal, c: Decimal", properties={"a": 2**70, "b": 0.1, "c": "1.10"})
    assert_prints(ran, f"a={2**70}, b=Decimal('0.1'), c=Decimal('1.10')")


def test_arguments_win_over_properties_and_defaults_fill_the_rest(call):
    ran = call("a: int, b: int = 2, c: int = 3, *, d: int = 4", "--b", "20", properties={"a": 1, "b": 10, "c": 30})
    assert_prints(ran, "a=1, b=20, c=30, d=4")


def test_the_forms_of_arguments(call):
    arguments = ["--run-id=a=b", "--rows", "-5", "--verbose", "--tags", "a", "--tags", "b", "--empty="]
    ran = call("run_id: str, rows: int, verbose: bool, tags: list[str], empty: str", *arguments)
    assert_prints(ran, "run_id='a=b', rows=-5, verbose=True, tags=['a', 'b'], empty=''")


def test_what_no_parameter_names_goes_to_the_keyword_parameters(call):
    ran = call("a: int, **rest: int", "--z", "9", properties={"a": "1", "y": "8"})
    assert_prints(ran, "a=1, rest={'y': 8, 'z': 9}")


def test_without_annotations_values_come_as_they_are(call):
    ran = call("a, b, c, d", "--d", "5", properties={"a": 1, "b": 0.1, "c": [None, {"x": 0.5}]})
    assert_prints(ran, "a=1, b=0.1, c=[None, {'x': 0.5}], d='5'")


def test_all_that_is_wrong_is_reported_together_before_anything_runs(call, task):
    ran = call(
        "rows: int, day: date, mode: Mode, missing, also_missing: str, pair: tuple[int, int], ok: bool = True",
        *("--day", "tomorrow", "stray", "--pair", "[1]"),
        properties={"rows": "many", "mode": "half", "row": 1},
        head="print('importing the module is allowed')\n" + HEAD,
        body="print('the function ran')",
    )
    assert ran.returncode == 110
    assert "the function ran" not in ran.stdout
    error = task.outputs()["dray"]["error"]
    assert error["code"] == "parameters.invalid"
    for problem in (
        "`rows` must be an int, not this text",
        "`day` must be a date such as 2026-11-21",
        "`mode` must be one of FULL, DELTA",
        "`missing` is missing",
        "`also_missing` is missing",
        "`pair` has 1 items, 2 are wanted",
        "argument 3 is not of the form `--name value`",
        "`row` is unknown (did you mean `rows`?)",
    ):
        assert problem in error["message"], problem
        assert problem in ran.stderr.splitlines()[-1]
    # Values may be secrets, and are not shown.
    for value in ("many", "tomorrow", "half", "stray"):
        assert value not in error["message"]


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        ("int", 1.5), ("int", True), ("int", "1.0"), ("int", None), ("int", [1]), ("float", "x"), ("float", False),
        ("bool", "maybe"), ("bool", 2), ("bool", None), ("str", None), ("str", [1]), ("str", {"a": 1}), ("date", "2026-02-30"),
        ("date", "2026-11-21T00:00:00"), ("date", 20261121), ("dt", "noon"), ("Decimal", "1,5"), ("Decimal", True),
        ("Path", 5), ("Mode", "FULL LOAD"), ("Literal['a']", "b"), ("Union[int, date]", "x"), ("Optional[int]", "x"),
        ("list[int]", ["x"]), ("list", {"a": 1}), ("dict", "x"), ("dict[str, int]", {"a": "x"}), ("bytes", "x"),
        ("Callable", "x"), ("NoSuchName", 1),
    ],
)  # fmt: skip
def test_what_does_not_fit_exactly_is_refused(call, task, hint, value):
    # As a string, so that a name which exists for the type checker alone is no error before it is needed.
    ran = call(f"x: '{hint}'" if '"' not in hint and "'" not in hint else f"x: {hint}", properties={"x": value})
    assert (ran.returncode, ran.stdout) == (110, ""), ran.stderr
    assert task.outputs()["dray"]["error"]["message"].startswith("parameters of `run`: `x` ")


def test_annotations_that_are_strings_are_evaluated(call, python):
    ran = call(
        "a: int, b: Optional[Later], c: Missing = None",
        *("--a", "1", "--b", "2026-11-21"),
        head="from __future__ import annotations\n" + HEAD,
        body="print(a, b, c)",
        options=("--python", str(python)),
    )
    assert ran.returncode == 110  # `Later` is not there yet
    assert "`b` is annotated with `Optional[Later]`, which cannot be evaluated" in ran.stderr
    assert "`c`" not in ran.stderr.splitlines()[-1]
    ran = call(
        "a: int, b: Optional[Later], c: Missing = None",
        *("--a", "1", "--b", "2026-11-21"),
        head="from __future__ import annotations\n" + HEAD + "Later = date\n",
        body="print(a, b, c)",
        options=("--python", str(python)),
    )
    assert_prints(ran, "1 2026-11-21 None")


def test_a_union_with_a_bar_is_understood_from_3_10_on_and_refused_before(call, python):
    ran = call(
        "a: int | None",
        *("--a", "1"),
        head="from __future__ import annotations",
        body="print(a)",
        options=("--python", str(python)),
    )
    if "3.9" in str(python):
        assert ran.returncode == 110
        assert "`int | None`, which cannot be evaluated (TypeError" in ran.stderr.splitlines()[-1]
    else:
        assert_prints(ran, "1")


def test_a_coroutine_function_is_awaited_and_what_it_returns_is_merged(dray, project, task):
    source = (
        "import asyncio\nasync def run(rows: int):\n    await asyncio.sleep(0)\n    return {'rows': rows, 'ok': True}"
    )
    ran = dray("run", "--no-summary", project({"job.py": source}), "job:run", "--rows", "3", cwd=task.folder)
    assert ran.returncode == 0, ran.stderr
    assert task.outputs() == {"rows": 3, "ok": True}


def test_a_returned_mapping_is_merged_into_the_outputs(call, task):
    ran = call("", body="dray.outputs['a'] = 1; dray.outputs['b'] = 2; return {'b': 3, 'c': date(2026, 11, 21)}")
    assert ran.returncode == 0, ran.stderr
    outputs = task.outputs()
    outputs.pop("dray")
    assert outputs == {"a": 1, "b": 3, "c": "2026-11-21"}


def test_a_result_that_is_no_mapping_is_ignored_with_a_warning(call, task, logs):
    ran = call("", body="return 5")
    assert ran.returncode == 0
    assert list(task.outputs()) == ["dray"]
    assert [record["level"] for record in logs(ran.stderr) if record["event"] == "entrypoint.result_ignored"] == [
        "warning"
    ]


def test_a_returned_value_that_is_not_json_is_refused_by_its_path(call):
    ran = call("", body="return {'a': {'b': float('nan')}}")
    assert ran.returncode == 115
    assert "outputs['a']['b']" in ran.stderr.splitlines()[-1]


def test_secrets_arrive_as_secrets_and_those_of_a_vault_that_is_not_there_are_refused(call, task):
    secret = {"type": "SecureString", "value": "pass-word-1"}
    vault = {"type": "AzureKeyVaultSecret", "store": {"referenceName": "KV"}, "secretName": "db"}
    ran = call(
        "plain: str, typed: dray.Secret, untyped, whole: dict",
        properties={"plain": secret, "typed": secret, "untyped": secret, "whole": {"inner": secret}},
        body="print(plain, type(plain).__name__, repr(typed), repr(untyped), whole, typed == 'pass-word-1')",
    )
    assert_prints(ran, "pass-word-1 Secret Secret('***') Secret('***') {'inner': Secret('***')} True")
    ran = call("password: str", properties={"password": vault})
    assert ran.returncode == 112
    assert "Key Vault `KV` is not among the linked services" in ran.stderr.splitlines()[-1]
    ran = call("x: int", properties={"x": secret})
    assert ran.returncode == 110
    assert "pass-word-1" not in ran.stderr + json.dumps(task.outputs())


@pytest.mark.parametrize(
    ("entry", "source", "expected"),
    [
        ("job:Loader", "class Loader:\n    def __init__(self, rows: int): print(rows + 1)", "6"),
        ("job:Loader.run", "class Loader:\n    @staticmethod\n    def run(rows: int): print(rows + 1)", "6"),
        ("job:loader", "class Loader:\n    def __call__(self, rows: int): print(rows + 1)\nloader = Loader()", "6"),
        ("job:run", "import functools\ndef f(a, rows: int): print(a, rows + 1)\nrun = functools.partial(f, 'x')", "x 6"),
        ("job:run", "import functools\ndef d(f):\n    @functools.wraps(f)\n    def g(**k): print('in'); f(**k)\n    return g\n"
                    "@d\ndef run(rows: int): print(rows + 1)", "in\n6"),
        ("pkg.deep.job:run", "from . import near\ndef run(rows: int): print(near.__name__, rows + 1)", "pkg.deep.near 6"),
    ],
)  # fmt: skip
def test_any_callable_is_an_entrypoint(dray, project, task, entry, source, expected):
    module = entry.partition(":")[0].replace(".", "/")
    files = {f"{module}.py": source, "pkg/__init__.py": "", "pkg/deep/__init__.py": "", "pkg/deep/near.py": ""}
    ran = dray("run", project(files), entry, "--rows", "5", cwd=task.folder)
    assert_prints(ran, expected)


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ("job:nun", "has no attribute `nun`"),
        ("job:NUMBER", "is a int, not a function"),
        ("jab:run", "no module named `jab`"),
    ],
)
def test_an_entrypoint_that_is_not_there_is_named(dray, project, task, entry, named):
    ran = dray("run", project({"job.py": "NUMBER = 1\ndef run(): pass"}), entry, cwd=task.folder)
    assert ran.returncode == 111
    assert named in ran.stderr.splitlines()[-1]
    assert task.outputs()["dray"]["error"]["code"] == "entrypoint.not_found"


def test_children_by_spawn_work_from_a_function_too(dray, project, task):
    source = """
import multiprocessing, sys
def work(x): return x + 1, __name__
def run(rows: int):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(work, [rows]), sys.argv, sys.path[0] == __import__("os").getcwd())
"""
    ran = dray("run", project({"job.py": source}), "job:run", "--rows", "3", cwd=task.folder)
    assert_prints(ran, "[(4, 'job')] ['job:run', '--rows', '3'] True")
