"""A script sees under dray what it sees under plain `python`: each case runs both ways, and both are compared.

Plain `python` runs in the unzipped tree, with the package `dray` on PYTHONPATH, in UTF-8 mode and with faulthandler: what
`dray run` has on in any case. What differs on purpose is asserted in the tests at the end.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import textwrap
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional, Union

import pytest
from conftest import ROOT, Task, interpreters


@dataclass
class Run:
    """One way of running a script, the paths in its texts made comparable."""

    stdout: str
    stderr: str
    exit_code: int


@dataclass
class Both:
    """The same script under plain `python` and under dray."""

    plain: Run
    dray: Run
    task: Task

    @property
    def traceback(self) -> str:
        """The traceback in dray's outputs.json, paths made comparable."""
        return comparable(self.task.outputs()["dray"]["error"]["traceback"])


def comparable(text: str) -> str:
    """`text` with the paths that must differ replaced by names."""
    text = re.sub(r"/[^\s'\"]*/(?:plain|\.dray/\d+T\d+Z-\d+/project)(?=[/'\"\s]|$)", "<tree>", text)
    return re.sub(r"/[^\s'\"]*/(?:plain-payload|\.dray/\d+T\d+Z-\d+/payload)(?=[/'\"\s]|$)", "<payload>", text)


@pytest.fixture
def both(dray, executable, clean_environment, task, tmp_path) -> Callable[..., Both]:
    """`both(files, *entry_and_arguments)` runs a project both ways; `interpreter` is python's path, `loading` how dray
    loads it.
    """

    def run(
        files: Union[str, Mapping[str, Union[str, bytes]]],
        *arguments: str,
        interpreter: Path = interpreters()[0],
        loading: str = "auto",
        env: Optional[Mapping[str, str]] = None,
        input: Optional[str] = None,  # noqa: A002
    ) -> Both:
        if isinstance(files, str):
            files = {"main.py": files}
        arguments = arguments or ("main.py",)
        path, tree, payload = tmp_path / "project.zip", tmp_path / "plain", tmp_path / "plain-payload"
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, textwrap.dedent(content) if isinstance(content, str) else content)
        with zipfile.ZipFile(path) as archive:
            archive.extractall(tree)
        shutil.copytree(ROOT / "python" / "dray", payload / "dray", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(executable.with_name("libdray_native.so"), payload / "dray" / "_native.abi3.so")
        env = dict(env or {})
        python_path = f"{payload}:{env['PYTHONPATH']}" if env.get("PYTHONPATH") else str(payload)
        steering = {"PYTHONUTF8": "1", "PYTHONFAULTHANDLER": "1", "PYTHONPATH": python_path}
        plain = subprocess.run(
            [interpreter, *arguments],
            cwd=tree,
            env={**clean_environment, **env, **steering},
            stdin=subprocess.DEVNULL if input is None else None,
            input=input,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=60,
            check=False,
        )
        ran = dray(
            *("run", "--python", interpreter, path, *arguments),
            cwd=task.folder,
            env={**env, **({} if loading == "auto" else {"DRAY_LOADING": loading})},
            input=input,
        )
        return Both(
            *(Run(comparable(r.stdout), comparable(r.stderr), r.returncode % 256) for r in (plain, ran)), task
        )

    return run


def ways() -> list[Any]:
    """Every interpreter of the machine with each way of loading it has."""
    found = []
    for interpreter in interpreters():
        code = "import sysconfig as s; print(s.get_config_var('LIBDIR'), s.get_config_var('INSTSONAME'))"
        where = subprocess.run([interpreter, "-I", "-c", code], capture_output=True, text=True, check=True)
        library = Path(*where.stdout.split())
        loadings = ["library", "hosted"] if ".so" in library.name and library.exists() else ["hosted"]
        found += [pytest.param(interpreter, loading, id=f"{interpreter}-{loading}") for loading in loadings]
    return found


def assert_same(runs: Both, exit_code: int = 0) -> None:
    """Stdout and exit code are the same, and the latter is what the case is about."""
    assert runs.dray.stdout == runs.plain.stdout, runs.dray.stderr
    assert (runs.plain.exit_code, runs.dray.exit_code) == (exit_code, exit_code), runs.dray.stderr


ALL = '''
"""The docstring."""
import json, os, sys

def show(name, value):
    print(f"{name}: {value!r}")

names = list(globals())
import faulthandler, locale, signal, subprocess, threading

def look():
    show("globals", [name for name in names if name != "show"])
    show("file", __file__)
    show("name", __name__)
    show("spec", __spec__)
    show("package", __package__)
    show("doc", __doc__)
    show("builtins", type(__builtins__))
    show("annotations", globals().get("__annotations__", "none"))
    show("loader", (type(__loader__), __loader__.name, __loader__.path))
    show("cached", globals().get("__cached__", "none"))
    show("argv", sys.argv)
    show("orig_argv", getattr(sys, "orig_argv", [])[1:])
    show("path", sys.path)
    show("executable", (sys.executable, sys.prefix, sys.base_prefix, sys.exec_prefix, sys._base_executable))
    show("main", sys.modules["__main__"])
    show("main is this", vars(sys.modules["__main__"]) is globals())
    show("flags", sys.flags)
    show("xoptions", {k: v for k, v in sys._xoptions.items() if k not in ("utf8", "faulthandler")})
    show("warnoptions", sys.warnoptions)
    show("limit", (sys.getrecursionlimit(), sys.getswitchinterval(), sys.dont_write_bytecode))
    show("cwd", os.getcwd())
    show("umask", os.umask(0o022))
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        show(stream.name, (stream.encoding, stream.errors, stream.newlines, stream.isatty()))
    show("encodings", (sys.getdefaultencoding(), sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()))
    show("hooks", (sys.excepthook is sys.__excepthook__, sys.displayhook is sys.__displayhook__, sys.gettrace(), sys.getprofile()))

    show("faulthandler", faulthandler.is_enabled())
    show("locale", (locale.getpreferredencoding(False), locale.setlocale(locale.LC_CTYPE)))
    show("mask", signal.pthread_sigmask(signal.SIG_BLOCK, []))
    show("handlers", {s.name: str(signal.getsignal(s)) for s in signal.valid_signals() if isinstance(s, signal.Signals)
                      and s not in (signal.SIGTERM, signal.SIGINT)})
    show("threads", (threading.current_thread() is threading.main_thread(), threading.main_thread().name, threading.active_count()))

    # But signals 32 and 33, which are glibc's own: its posix_spawn leaves them ignored in every program it starts.
    status = subprocess.run(["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"], stdout=subprocess.PIPE, text=True).stdout
    show("signals of a child", [hex(int(line.split()[1], 16) & ~0x180000000) for line in status.splitlines()])
    child = subprocess.run([sys.executable, "-c", "import dray, sys; print(dray.__version__, sys.argv, dray.params)"],
                           stdout=subprocess.PIPE, text=True)
    show("child", (child.returncode, child.stdout))


import inspect, dataclasses, pickle, typing
@dataclasses.dataclass
class Point:
    x: int
    y: "typing.Optional[Point]" = None
annotated: int = 5
def look_at_objects():
    show("source", inspect.getsource(show))
    show("hints", typing.get_type_hints(Point))
    show("pickled", pickle.loads(pickle.dumps(Point(1, Point(2)))))
    show("module of a class", Point.__module__)
    show("annotation", typing.get_type_hints(sys.modules["__main__"]))

import asyncio
async def main_coroutine():
    await asyncio.sleep(0)
    return "awaited"

import multiprocessing
import concurrent.futures
def work(point):
    import dray
    return Point(point.x + 1, point), __name__, dray.__version__, sys.argv
def report(queue, tag):
    queue.put((tag, __name__))

def pools():
    for method in ("spawn", "fork", "forkserver"):
        context = multiprocessing.get_context(method)
        with context.Pool(1) as pool:
            show(method, pool.map(work, [Point(1)]))
        queue = context.SimpleQueue()
        process = context.Process(target=report, args=(queue, method))
        process.start()
        show("queue", queue.get())
        process.join()
        show("exit code", process.exitcode)
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as executor:
            show("executor", executor.submit(work, Point(2)).result())

import atexit
def late(where):
    show(f"pickled in {where}", pickle.loads(pickle.dumps(Point(3))))
    show(f"main in {where}", sys.modules["__main__"].Point is Point)

if __name__ == "__main__":
    look()
    look_at_objects()
    show("async", asyncio.run(main_coroutine()))
    pools()
    atexit.register(late, "first handler, run last")
    atexit.register(late, "second handler, run first")
    import time
    threading.Thread(target=lambda: (threading.main_thread().join(), time.sleep(0.05), late("a thread"))).start()
    sys.stdout.flush()
    print("é\\U0001f600\\udcff")
'''


@pytest.mark.parametrize(("interpreter", "loading"), ways())
def test_a_script_sees_what_it_sees_under_plain_python(both, interpreter, loading):
    runs = both(ALL, "main.py", "a b", "é", "--", interpreter=interpreter, loading=loading)
    assert_same(runs)
    assert "pickled in a thread: Point" in runs.dray.stdout


MODULE = """
import sys, os
print(__name__, __package__, __spec__.name, __spec__.origin, __file__, __spec__.parent)
print(sys.argv, getattr(sys, "orig_argv", [])[1:], sys.path)
from . import sibling
from .sibling import Thing
print(sibling.__name__, Thing)
class Here: pass
def work(x): return Here.__module__, __name__, x
if __name__ == "__main__":
    import multiprocessing, pickle
    print(pickle.loads(pickle.dumps(Here)))
    for method in ("spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            print(pool.map(work, [1]))
"""
PACKAGE = {
    "pkg/__init__.py": "import sys; print('init', __name__, sys.argv)",
    "pkg/sibling.py": "class Thing: pass",
    "pkg/mod.py": MODULE,
    "pkg/__main__.py": MODULE,
    "pkg/deep/__init__.py": "",
    "pkg/deep/far.py": "from ..sibling import Thing; print(Thing, __package__)",
}


@pytest.mark.parametrize(("interpreter", "loading"), ways())
def test_a_module_run_with_dash_m_sees_what_it_sees_under_plain_python(both, interpreter, loading):
    assert_same(both(PACKAGE, "-m", "pkg.mod", "x", interpreter=interpreter, loading=loading))


@pytest.mark.parametrize("module", ["pkg", "pkg.__main__", "pkg.deep.far", "json.tool"])
def test_every_form_of_dash_m_runs_as_under_plain_python(both, module):
    assert_same(both(PACKAGE, "-m", module, input="[1]"))


@pytest.mark.parametrize("entry", ["./main.py", "jobs/daily.py", "./jobs//daily.py", "jobs/../main.py"])
def test_the_entrypoint_may_be_written_in_any_way_that_python_takes(both, entry):
    source = "import sys; print(__file__, sys.argv, sys.path[0])"
    assert_same(both({"main.py": source, "jobs/daily.py": source}, entry))


RAISING = {
    "raised": "def f():\n    raise ValueError('bad')\n\nf()\n",
    "chained by cause": """
        def f():
            try:
                {}["x"]
            except KeyError as error:
                raise ValueError("outer") from error
        f()
        """,
    "chained by context": """
        def f():
            try:
                1 / 0
            except ZeroDivisionError:
                int("x")
        try:
            f()
        finally:
            [][1]
        """,
    "context suppressed": "try:\n    1 / 0\nexcept ZeroDivisionError:\n    raise ValueError from None\n",
    "syntax error": "x = 1\ny = = 2\n",
    "indentation": "def f():\nreturn 1\n",
    "unterminated": "x = '''\n",
    "not UTF-8": b"x = 1\ny = '\xe9'\n",
    "unknown encoding": b"# coding: klingon\nx = 1\n",
    "NUL": b"x = 1\0\n",
    "import of a module with a syntax error": {"main.py": "import broken\n", "broken.py": "def f(:\n"},
    "raised in an import": {"main.py": "import a\n", "a.py": "from b import c\n", "b.py": "import json\n1 / 0\n"},
    "missing name in a module": "from json import dumpz\n",
    "missing package": "import json\nimport no_such_package.part\n",
    "misspelt name": "value = 1\nprint(valeu)\n",
    "misspelt attribute": "import json\njson.dupms(1)\n",
    "recursion": "def f(n):\n    return f(n + 1)\n\nf(0)\n",
    "mutual recursion in a comparison": """
        class A:
            def __eq__(self, other):
                return self == other
        A() == A()
        """,
    "message of several lines": "raise RuntimeError('one\\ntwo\\n')\n",
    "empty message": "raise RuntimeError\n",
    "broken str": "class E(Exception):\n    def __str__(self):\n        1 / 0\nraise E()\n",
    "own class": "class Wrong(Exception):\n    pass\nraise Wrong('x', 1)\n",
    "nested class": "class A:\n    class Wrong(Exception):\n        pass\nraise A.Wrong()\n",
    "base exception": "class Stop(BaseException):\n    pass\nraise Stop('x')\n",
    "assertion": "assert 1 == 2, 'not equal'\n",
    "compiled text": "exec(compile('x = 1\\n1 / 0', '<made>', 'exec'))\n",
    "evaluated text": "eval('1 +')\n",
    "multi-line call": "def f(a, b):\n    raise KeyError(a)\nf(\n    'x',\n    b=2,\n)\n",
    "lambda and comprehension": "print([(lambda y: 1 / y)(x) for x in (1, 0)])\n",
    "generator stop": "def g():\n    yield 1\n    raise StopIteration\nlist(g())\n",
    "async": "import asyncio\nasync def f():\n    await asyncio.sleep(0)\n    raise OSError(2, 'no', 'x')\nasyncio.run(f())\n",
    "non-ASCII": "# coding: latin-1\nraise ValueError('é')\n".encode("latin-1"),
    "a limit on the traceback": "import sys\nsys.tracebacklimit = 1\ndef f():\n    1 / 0\nf()\n",
    "with_traceback(None)": "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise e.with_traceback(None)\n",
}
ON_3_11 = {
    "group": """
        def f():
            raise ExceptionGroup("several", [ValueError(1), ExceptionGroup("inner", [TypeError(2)])])
        try:
            f()
        except* TypeError as error:
            raise OSError("third") from error
        """,
    "note": "error = ValueError('x')\nerror.add_note('seen at noon\\nand at one')\nraise error\n",
}


def printed_traceback(stderr: str) -> str:
    """What plain `python` prints at its end, without the frames of runpy and the count of the repeated lines: the stack
    has some frames less under dray.
    """
    return stderr.rstrip("\n")


def without_count(text: str) -> str:
    """The number of repeated lines depends on how deep the stack was before."""
    return re.sub(r"repeated \d+ more times", "repeated N more times", text)


@pytest.mark.parametrize("name", [*RAISING, *ON_3_11])
def test_a_traceback_is_that_of_plain_python(both, name, python):
    if name in ON_3_11 and version_of(python) < (3, 11):
        return
    runs = both({**RAISING, **ON_3_11}[name], interpreter=python)
    assert_same(runs, 1)
    assert without_count(runs.traceback) == without_count(printed_traceback(runs.plain.stderr))


def version_of(python: Path) -> tuple[int, int]:
    """Major and minor version."""
    code = "import sys; print(*sys.version_info[:2])"
    major, minor = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True).stdout.split()
    return int(major), int(minor)
