"""A script sees under dray what it sees under plain `python`: each case runs both ways, and both are compared.

Plain `python` runs in the unzipped tree, with the package `dray` on PYTHONPATH, in UTF-8 mode and with faulthandler:
what `dray run` has on in any case. What differs on purpose is asserted in the tests at the end.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import textwrap
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional, Union

import pytest
from conftest import AT_LENGTH, ROOT, Task, interpreters


def version_of(python: Path) -> tuple[int, int]:
    """Major and minor version."""
    code = "import sys; print(*sys.version_info[:2])"
    major, minor = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True).stdout.split()
    return int(major), int(minor)


NEWEST = max(interpreters(), key=version_of)
"""What the finer cases run under."""


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
        files: Union[str, bytes, Mapping[str, Union[str, bytes]]],
        *arguments: str,
        interpreter: Path = NEWEST,
        loading: str = "auto",
        env: Optional[Mapping[str, str]] = None,
        input: Optional[str] = None,  # noqa: A002
    ) -> Both:
        if isinstance(files, (str, bytes)):
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
            # A signal as a shell tells it, and Batch.
            *(
                Run(
                    comparable(r.stdout),
                    comparable(r.stderr),
                    r.returncode if r.returncode >= 0 else 128 - r.returncode,
                )
                for r in (plain, ran)
            ),
            task,
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


def in_both_ways(names: Iterable[str], hosted: Iterable[str]) -> list[Any]:
    """Each name with the way of loading that dray would choose; those in `hosted`, or all at length, hosted too."""
    names, hosted = list(names), set(hosted)
    chosen = [(name, "auto") for name in names]
    return chosen + [(name, "hosted") for name in names if AT_LENGTH or name in hosted]


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
    # None where PYTHONFAULTHANDLER was first, before Python looked at the signals.
    show("handlers", {s.name: str(signal.getsignal(s) or signal.SIG_DFL) for s in signal.valid_signals() if isinstance(s, signal.Signals)
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
from . import sibling
from .sibling import Thing
from . import ARGV
class Here: pass
def work(x): return Here.__module__, __name__, __package__, __spec__.name, sibling.__name__, sys.argv, x
if __name__ == "__main__":
    import multiprocessing, pickle
    print(__name__, __package__, __spec__.name, __spec__.origin, __file__, __spec__.parent, Thing)
    print(ARGV, sys.argv, getattr(sys, "orig_argv", [])[1:], sys.path)
    print(pickle.loads(pickle.dumps(Here)))
    for method in ("spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            print(pool.map(work, [1]))
"""
PACKAGE = {
    "pkg/__init__.py": "import sys; ARGV = list(sys.argv)",
    "pkg/sibling.py": "class Thing: pass",
    "pkg/mod.py": MODULE,
    # Classes of it cannot be used in children by spawn, nor under plain `python`: multiprocessing imports no `__main__`.
    "pkg/__main__.py": "import sys; print(__name__, __package__, __spec__.name, __file__, sys.argv, sys.path)",
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


def without_count(text: str) -> str:
    """Where exactly the recursion ends depends on how deep the stack was before."""
    return re.sub(r"repeated \d+ more times", "repeated N more times", text).replace(" in comparison", "")


def check_traceback(both, name: str, interpreter: Path, loading: str = "auto") -> None:
    runs = both({**RAISING, **ON_3_11}[name], interpreter=interpreter, loading=loading)
    assert_same(runs, 1)
    assert without_count(runs.traceback) == without_count(runs.plain.stderr.rstrip("\n"))


@pytest.mark.parametrize(
    ("name", "loading"), in_both_ways([*RAISING, *ON_3_11], ["chained by cause", "syntax error", "group"])
)
def test_a_traceback_is_that_of_plain_python(both, name, loading):
    check_traceback(both, name, NEWEST, loading)


@pytest.mark.parametrize("name", ["chained by cause", "syntax error", "misspelt name", "recursion", "group"])
def test_the_main_kinds_of_traceback_are_those_of_every_python(both, name, python):
    if name in ON_3_11 and version_of(python) < (3, 11):
        name = "chained by context"
    check_traceback(both, name, python)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (b"x = 1\ny = '\xe9'\n", "can't decode byte 0xe9"),
        (b"# coding: klingon\nx = 1\n", "unknown encoding: klingon"),
        (b"x = 1\0\n", "null bytes"),
    ],
)
def test_a_source_that_is_no_text_is_a_syntax_error_in_the_words_of_compile(both, source, said):
    # Plain `python` reads the file itself, and has other words for these.
    runs = both(source)
    assert_same(runs, 1)
    error = runs.task.outputs()["dray"]["error"]
    assert error["code"] == "script.syntax_error"
    assert said in error["message"]
    assert "main.py" in error["location"]


# Ends


ENDS = {
    "sys.exit()": 0,
    "sys.exit(None)": 0,
    "sys.exit(3)": 3,
    "sys.exit(True)": 1,
    "sys.exit(-1)": 255,
    "sys.exit(256)": 0,
    "sys.exit(2**70)": 255,
    "sys.exit('text')": 1,
    "sys.exit(3.5)": 1,
    "sys.exit((1, 2))": 1,
    "raise SystemExit(7)": 7,
    "quit(4)": 4,
    "raise type('Own', (SystemExit,), {})(6)": 6,
    "os._exit(9)": 9,
    "raise ValueError": 1,
    "raise KeyboardInterrupt": 130,
    "os.abort()": 134,
    "os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)": 143,
    "signal.signal(signal.SIGTERM, lambda n, f: print('mine')); os.kill(os.getpid(), signal.SIGTERM)": 0,
    "signal.signal(signal.SIGINT, signal.SIG_DFL); os.kill(os.getpid(), signal.SIGINT)": 130,
    "signal.signal(signal.SIGALRM, lambda n, f: print(f.f_lineno)); signal.setitimer(0, 0.1); time.sleep(0.4)": 0,
    "sys.excepthook = lambda *a: print(a[0], a[2].tb_lineno, a[1].__traceback__ is a[2]); 1 / 0": 1,
    "sys.excepthook = lambda *a: sys.exit(8); 1 / 0": 8,
    "sys.excepthook = lambda *a: 1 / 0; int('x')": 1,
    "atexit.register(lambda: print(sys.last_value, sys.last_traceback.tb_lineno)); 1 / 0": 1,
    "atexit.register(lambda: 1 / 0)": 0,
    "atexit.register(lambda: os._exit(5))": 5,
    "threading.Thread(target=lambda: time.sleep(0.2) or print('late')).start()": 0,
    "threading.Thread(target=lambda: 1 / 0).start()": 0,
    "threading.Thread(target=sys.exit, args=(3,)).start()": 0,
    "threading.Thread(target=time.sleep, args=(99,), daemon=True).start()": 0,
}


ENDS_TOLD_APART = [statement for statement in ENDS if "os." in statement or "signal." in statement]


@pytest.mark.parametrize(("statement", "loading"), in_both_ways(ENDS, ENDS_TOLD_APART))
def test_a_script_ends_as_under_plain_python(both, statement, loading):
    source = (
        f"import atexit, os, signal, sys, threading, time\nprint('before', flush=True)\n{statement}\nprint('after')\n"
    )
    assert_same(both(source, loading=loading), ENDS[statement])


def test_what_python_prints_of_a_faulty_hook_is_printed(both):
    runs = both("import sys\ndef hook(*a):\n    1 / 0\nsys.excepthook = hook\nint('x')\n")
    assert_same(runs, 1)
    printed = [line for line in runs.dray.stderr.splitlines() if not line.startswith(("{", "error: "))]
    assert printed == runs.plain.stderr.splitlines()


@pytest.mark.parametrize("how", ["sys.exit(9)", "1 / 0", "raise KeyboardInterrupt", "pass"])
def test_a_forked_child_that_comes_to_the_scripts_end_is_not_taken_for_the_run(both, how):
    source = f"""
import atexit, os, sys
import dray
dray.outputs["list"] = []
atexit.register(lambda: print("exit handler of", "child" if os.getpid() != parent else "parent", flush=True))
parent = os.getpid()
pid = os.fork()
if pid == 0:
    os.dup2(1, 2)
    {how}
else:
    print("child ended with", os.waitpid(pid, 0)[1], flush=True)
    dray.outputs["list"].append(1)
"""
    runs = both(source)
    if how.endswith("KeyboardInterrupt"):
        # Python itself prints that one, with the frames below the script's.
        lines = [line for line in runs.dray.stdout.splitlines() if "_worker" not in line and "<string>" not in line]
        assert [line for line in lines if not line.startswith(" ")] == [
            line for line in runs.plain.stdout.splitlines() if not line.startswith(" ")
        ]
    else:
        assert_same(runs)
    outputs = runs.task.outputs()
    assert (outputs["list"], outputs["dray"]["status"]) == ([1], "succeeded")
    assert "error" not in outputs["dray"]


def test_exit_handlers_may_still_set_outputs(both):
    source = """
import atexit, dray
dray.outputs["x"] = ["set"]
def first(): dray.outputs["y"] = 1
def second(): dray.outputs["x"].append("in place"); print("second")
atexit.register(first)
atexit.register(second)
"""
    runs = both(source)
    assert_same(runs)
    assert (runs.task.outputs()["x"], runs.task.outputs()["y"]) == (["set", "in place"], 1)


# Streams, sources, environment, folders


LOGGING = (
    "import logging, logging.config, sys\nroot, to_stdout = logging.getLogger(), logging.StreamHandler(sys.stdout)\n"
)
FOUND = {
    "input": "print([input(), input('prompt ')]); import sys; print(repr(sys.stdin.read()))",
    "binary": "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read()[::-1]); sys.stdout.flush()",
    "end of file": "import sys; sys.stdin.read()\ntry:\n    input()\nexcept EOFError as error:\n    print(repr(error))",
    "surrogates": "print('\\udcff\\udc80é')",
    "order": "import os; print('a', flush=True); os.write(1, b'b\\n'); os.system('echo c'); print('d')",
    "a cookie": "# -*- coding: latin-1 -*-\nprint('é' == chr(233))".encode("latin-1"),
    "a mark": b"\xef\xbb\xbfprint('after the mark')",
    "carriage returns": b"x = 1\r\nif x:\r\n    print(repr('''a\r\nb'''))\r\n",
    "no end of line": b"print(1)\nif 1:\n    print(2)",
    "future": "from __future__ import annotations\ndef f(x: nonsense): pass\nprint(f.__annotations__)",
    "no future": "def f(x: int): pass\nprint(f.__annotations__)",
    "closed stdout": "import sys; print('x'); sys.stdout.close()",
    "stdout of its own": "import io, sys; sys.stdout = io.StringIO(); print('lost')",
    "basicConfig to stdout": LOGGING
    + "logging.basicConfig(stream=sys.stdout); logging.info('no'); logging.error('yes')",
    "basicConfig with a level": LOGGING + "logging.basicConfig(stream=sys.stdout, level=10); logging.debug('yes')",
    "basicConfig twice": LOGGING + "logging.basicConfig(); logging.basicConfig(stream=sys.stdout); logging.error('no')",
    "basicConfig to a file": LOGGING
    + "logging.basicConfig(filename='x.log'); logging.info('no'); logging.error('yes'); print(open('x.log').read())",
    "basicConfig by force": LOGGING
    + "logging.basicConfig(force=True, stream=sys.stdout); logging.warning('yes'); logging.info('no')",
    "basicConfig gone wrong": LOGGING
    + "try:\n    logging.basicConfig(klingon=1)\nexcept ValueError as e:\n    print(e)",
    "a handler": LOGGING + "root.addHandler(to_stdout); logging.info('no'); logging.warning('yes')",
    "a handler and a level": LOGGING
    + "root.setLevel(20); root.addHandler(to_stdout); root.info('yes'); root.debug('no')",
    "a level after a handler": LOGGING + "root.addHandler(to_stdout); root.setLevel(10); root.debug('yes')",
    "a logger with a handler": LOGGING
    + "log = logging.getLogger('a'); log.setLevel(10); log.addHandler(to_stdout); log.debug('yes'); log.propagate = False",
    "dictConfig": LOGGING
    + "handler = {'class': 'logging.StreamHandler', 'stream': 'ext://sys.stdout'}\n"
    + "root_of = {'handlers': ['h'], 'level': 'INFO'}\n"
    + "logging.config.dictConfig({'version': 1, 'handlers': {'h': handler}, 'root': root_of}); logging.info('yes')",
    "logging of its own": {"main.py": "import logging; print(logging.MINE)", "logging.py": "MINE = 1"},
    "logging found, then imported": "import importlib.util as i; print(i.find_spec('logging').name); import logging",
    "warnings recorded": "import warnings\nwith warnings.catch_warnings(record=True) as w:\n"
    "    warnings.simplefilter('always'); warnings.warn('x')\nprint(w[0].message, w[0].lineno)",
    "warnings shown by its own": "import warnings; warnings.showwarning = lambda *a, **k: print(a[0]); warnings.warn('x')",
    "no working directory": "import os, tempfile; d = tempfile.mkdtemp(); os.chdir(d); os.rmdir(d); import json; print(json)",
    "its own files gone": {
        "main.py": "import os, shutil\nfor f in os.listdir():\n    (shutil.rmtree if os.path.isdir(f) else os.remove)(f)\n"
        "print(os.listdir())",
        "a/b.txt": "x",
    },
    "data files": {
        "main.py": "import pkgutil\nprint(open('data/é.txt').read(), pkgutil.get_data('pkg', 'x.bin'))",
        "data/é.txt": "ü",
        "pkg/__init__.py": "",
        "pkg/x.bin": b"\x00\xff",
    },
    "namespace package": {"main.py": "import space.mod; print(space.mod.X, space.__path__)", "space/mod.py": "X = 1"},
    "a module in place of Python's": {"main.py": "import json; print(json.MINE)", "json.py": "MINE = 1"},
}


@pytest.mark.parametrize("name", FOUND)
def test_streams_sources_logging_and_files_are_as_under_plain_python(both, name):
    assert_same(both(FOUND[name], input="one\ntwo\nthree é\n"))


ENVIRONMENTS = {
    "C": {"LC_ALL": "C"},
    "POSIX": {"LC_ALL": "", "LANG": ""},
    "latin-1 streams": {"PYTHONIOENCODING": "latin-1"},
    "errors": {"PYTHONWARNINGS": "error"},
    "always": {"PYTHONWARNINGS": "always"},
    "safe path": {"PYTHONSAFEPATH": "1"},
    "optimized": {"PYTHONOPTIMIZE": "2"},
    "path": {"PYTHONPATH": "/tmp/one:/tmp/two"},
    "empty path": {"PYTHONPATH": ""},
    "development mode": {"PYTHONDEVMODE": "1"},
    "unbuffered": {"PYTHONUNBUFFERED": "1"},
    "no bytecode": {"PYTHONDONTWRITEBYTECODE": "1"},
    "hash": {"PYTHONHASHSEED": "1"},
    "no user site": {"PYTHONNOUSERSITE": "1"},
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_pythons_own_variables_do_what_they_do(both, name):
    source = """
'''docs'''
import locale, sys, warnings
print(sys.flags, sys.path, sys.warnoptions, __doc__, hash("x") if sys.flags.hash_randomization == 0 else "random")
print(sys.stdout.encoding, sys.stdout.errors, sys.stdout.write_through, locale.setlocale(locale.LC_CTYPE))
print(warnings.filters)
try:
    warnings.warn("x", DeprecationWarning)
    print("passed")
except DeprecationWarning as error:
    print(repr(error))
assert False, "not with -O"
"""
    assert_same(both(source, env=ENVIRONMENTS[name]), 0 if name == "optimized" else 1)


def test_a_script_that_changes_directory_writes_its_outputs_where_it_says(both, task):
    # As in the chain: a file in any other folder than the first working directory and the task's is nobody's outputs.
    source = """
import json, os
os.makedirs("elsewhere"); os.chdir("elsewhere")
json.dump({"lost": 1}, open("outputs.json", "w"))
if "DRAY_TASK_FOLDER" in os.environ:
    json.dump({"found": 1}, open(os.path.join(os.environ["DRAY_TASK_FOLDER"], "outputs.json"), "w"))
raise ValueError("x")
"""
    assert_same(both(source), 1)
    outputs = task.outputs()
    assert "lost" not in outputs
    assert outputs["found"] == 1
    # Places are still told as seen from the project.
    assert outputs["dray"]["error"]["location"] == "main.py, line 7, in <module>"


# What differs, on purpose


def lines_of(both, source: str, **keywords: Any) -> tuple[list[str], list[str]]:
    """What the script prints under plain `python`, and under dray."""
    runs = both(source, **keywords)
    assert (runs.plain.exit_code, runs.dray.exit_code) == (0, 0), runs.dray.stderr
    return runs.plain.stdout.splitlines(), runs.dray.stdout.splitlines()


def test_stdout_is_flushed_line_by_line(both):
    assert lines_of(both, "import sys; print(sys.stdout.line_buffering)") == (["False"], ["True"])


def test_the_signals_of_a_crash_look_as_if_faulthandler_were_off(dray, project, task):
    source = "import signal; print(signal.signal(signal.SIGSEGV, signal.getsignal(signal.SIGSEGV)) == signal.SIG_DFL)"
    ran = dray("run", project({"main.py": source}), cwd=task.folder)
    assert ran.stdout == "True\n", ran.stderr


def test_utf8_mode_and_faulthandler_are_on_without_being_asked_for(dray, project, task):
    source = "import faulthandler, sys; print(sys.flags.utf8_mode, faulthandler.is_enabled(), sorted(sys._xoptions))"
    ran = dray("run", project({"main.py": source}), cwd=task.folder, env={"LC_ALL": "C"})
    assert ran.stdout == "1 True ['faulthandler', 'utf8']\n", ran.stderr


def test_sigterm_and_sigint_have_handlers_that_raise(both):
    source = "from signal import *; print([getsignal(s) in (SIG_DFL, default_int_handler) for s in (SIGTERM, SIGINT)])"
    assert lines_of(both, source) == (["[True, True]"], ["[False, False]"])


def test_the_stack_goes_on_below_the_script(both):
    # Frames of `-c`, run, execute and run_file.
    assert lines_of(both, "import inspect; print(len(inspect.stack()))") == (["1"], ["5"])


def test_the_root_logger_has_a_handler_and_the_level_of_the_run(both):
    source = "import logging; r = logging.getLogger(); print(len(r.handlers), r)"
    plain, dray = ["0 <RootLogger root (WARNING)>"], ["1 <RootLogger root (INFO)>"]
    assert lines_of(both, source) == (plain, dray)


def test_a_closed_stdin_is_an_empty_one(executable, clean_environment, project, task):
    # The runtime of Rust opens /dev/null in place of a closed descriptor, before anything of dray runs.
    path = project({"main.py": "import sys; print(repr(sys.stdin.read()))"})
    command = ["/bin/sh", "-c", 'exec "$0" run "$1" <&-', executable, path]
    ran = subprocess.run(command, cwd=task.folder, env=clean_environment, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "''\n"), ran.stderr


def test_little_more_than_plain_python_is_loaded_before_the_script(both):
    plain, dray = lines_of(both, "import sys; print(*sys.modules, sep='\\n')")
    assert set(dray) - set(plain) <= {
        *("dray._run", "dray._worker"),
        *("warnings", "faulthandler", "atexit"),
        # From 3.13 on, `python -c` loads these by itself, to show the text of the command in tracebacks.
        *("linecache", "importlib", "importlib._bootstrap", "importlib._bootstrap_external"),
    }


@pytest.mark.parametrize("code", [None, 0, 3])
def test_a_script_that_ends_itself_ends_as_soon_as_under_plain_python(dray, project, task, code):
    """Nothing of dray is loaded to say so that takes long to load; of an end that is none, nothing at all."""
    source = f"""
import atexit, sys
atexit.register(lambda: print(*sorted(name for name in sys.modules if name in ("dray", "json") or "_native" in name)))
sys.exit({code})
"""
    ran = dray("run", project({"main.py": source}), cwd=task.folder)
    assert (ran.returncode, ran.stdout) == (code or 0, "dray json\n" if code else "\n"), ran.stderr


def test_importing_dray_outside_a_run_is_light_and_works(executable, clean_environment, tmp_path):
    payload = tmp_path / "payload"
    shutil.copytree(ROOT / "python" / "dray", payload / "dray", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(executable.with_name("libdray_native.so"), payload / "dray" / "_native.abi3.so")
    source = """
import sys
before = set(sys.modules)
import dray
print(sorted(set(sys.modules) - before))
dray.outputs["a"] = 1
print(dray.outputs, dict(dray.params), dray.activity.name, list(dray.linked_services), dray.batch.pool_id)
"""
    ran = subprocess.run(
        [NEWEST, "-c", source],
        cwd=tmp_path,
        env={**clean_environment, "PYTHONPATH": str(payload)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.splitlines() == ["['dray']", "Outputs({'a': 1}) {} None [] None"]
