"""What dray keeps on a node of its own Python package from run to run, and when it does not use it."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable, Optional

import pytest

ROOT = Path(__file__).resolve().parent.parent

# The identity of a source says whether it was kept, or copied anew; `version` is of the copy that runs.
SCRIPT = """
import os, dray, dray._native
source = dray.__file__
compiled = [name for name in os.listdir(os.path.join(os.path.dirname(source), "__pycache__")) if name.startswith("_run.")]
print(f"{os.stat(source).st_ino}-{os.stat(source).st_ctime_ns}", dray.__version__, len(compiled))
"""


class Node:
    """A payload of its own, and a cache."""

    def __init__(self, run: Callable[..., Any], folder: Path, executable: Path) -> None:
        self._run = run
        self.payload = folder / "payload"
        self.cache = folder / "cache"
        shutil.copytree(ROOT / "python" / "dray", self.payload / "dray", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(executable.with_name("libdray_native.so"), self.payload / "dray" / "_native.abi3.so")
        self.settle()

    def settle(self) -> None:
        """What was written a moment ago is not kept: it may be written again without a difference that shows."""
        for path in self.payload.rglob("*"):
            os.utime(path, (time.time() - 60, time.time() - 60 - path.stat().st_ino % 10))

    def env(self, env: Optional[Mapping[str, str]] = None) -> dict[str, str]:
        return {"DRAY_PAYLOAD": str(self.payload), "DRAY_CACHE": str(self.cache), **(env or {})}

    def run(self, env: Optional[Mapping[str, str]] = None) -> tuple[str, str]:
        """Runs the script: the identity of dray's source that it sees, and dray's version."""
        ran = self._run(SCRIPT, env=self.env(env))
        assert ran.returncode == 0, ran.stderr
        identity, version, compiled = ran.stdout.split()
        assert compiled == "1"
        return identity, version

    def spares(self) -> list[Path]:
        return list(self.cache.glob("payload-*"))


@pytest.fixture
def node(script: Callable[..., Any], tmp_path: Path, executable: Path) -> Node:
    return Node(script, tmp_path, executable)


def test_the_second_run_has_the_package_of_the_first(node: Node) -> None:
    first = node.run()
    assert len(node.spares()) == 1
    compiled = next(node.spares()[0].glob("dray/__pycache__/_run.*")).stat()
    assert node.run() == first
    again = next(node.spares()[0].glob("dray/__pycache__/_run.*")).stat()
    assert (again.st_ino, again.st_mtime_ns) == (compiled.st_ino, compiled.st_mtime_ns)


def test_a_run_that_fails_gives_the_package_back_too(node: Node, script: Callable[..., Any]) -> None:
    assert script("raise ValueError", env=node.env()).returncode == 1
    assert len(node.spares()) == 1


def test_a_killed_run_harms_nobody(node: Node, script: Callable[..., Any]) -> None:
    node.run()
    killing = "import os; os.kill(int(open(f'/proc/{os.getppid()}/stat').read().rpartition(')')[2].split()[1]), 9)"
    assert script(killing, env=node.env()).returncode == -9
    assert not node.spares()
    node.run()
    assert len(node.spares()) == 1


@pytest.mark.parametrize("damage", ["altered", "missing", "added", "record"])
def test_a_damaged_package_is_not_used(node: Node, damage: str) -> None:
    first = node.run()
    (spare,) = node.spares()
    source = spare / "dray" / "_worker.py"
    if damage == "altered":
        source.write_text("raise SystemExit('altered')")
    elif damage == "missing":
        source.unlink()
    elif damage == "added":
        (spare / "json.py").write_text("raise SystemExit('added')")
    else:
        (spare / "record.json").write_text("{")
    assert node.run()[0] != first[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_what_another_user_owns_is_not_used(node: Node) -> None:
    first = node.run()
    os.chown(node.cache, 65534, 65534)
    kept = sorted(node.cache.iterdir())
    assert node.run()[0] != first[0]
    assert sorted(node.cache.iterdir()) == kept


def test_two_runs_at_once_have_a_package_each(
    node: Node, start: Callable[..., Any], project: Callable[..., Path], tmp_path: Path
) -> None:
    node.run()
    inodes, ends = [], []
    for number in range(2):
        folder = tmp_path / f"task-{number}"
        folder.mkdir()
        gate = folder / "gate"
        os.mkfifo(gate)
        waiting = f"import os, dray; print(os.stat(dray.__file__).st_ino, flush=True); open({str(gate)!r}).read()"
        process = start("run", project({"main.py": waiting}, f"{number}.zip"), "main.py", cwd=folder, env=node.env())
        inodes.append(int(process.stdout.readline()))
        ends.append((process, gate))
    for process, gate in ends:
        gate.write_text("")
        assert process.wait(timeout=30) == 0
    assert len(set(inodes)) == 2
    assert len(node.spares()) == 2


@pytest.mark.parametrize("cache", ["nowhere", "off", "cannot be made", "read-only"])
def test_without_a_cache_everything_works(node: Node, cache: str) -> None:
    if cache == "read-only":
        node.cache.mkdir(mode=0o500)
        # Root writes there all the same, unless the folder is in a file system that has no files of its own.
        env = {"DRAY_CACHE": "/proc/self" if os.geteuid() == 0 else str(node.cache)}
    else:
        env = {
            "nowhere": {"DRAY_CACHE": "", "HOME": "", "XDG_CACHE_HOME": ""},
            "off": {"DRAY_CACHE": "off"},
            "cannot be made": {"DRAY_CACHE": "/dev/null/cache"},
        }[cache]
    first, second = node.run(env), node.run(env)
    assert first[1] == second[1]
    assert not node.cache.exists() or not node.spares()


def test_a_changed_package_is_taken_up(node: Node) -> None:
    first = node.run()
    source = node.payload / "dray" / "__init__.py"
    source.write_text(source.read_text().replace('__version__ = "0.1.0"', '__version__ = "0.1.1"'))
    assert node.run()[1] == "0.1.1"
    node.settle()
    changed = node.run()
    assert changed[1] == "0.1.1" and changed[0] != first[0]
    assert node.run() == changed


def test_a_module_that_was_built_in_place_is_taken_up(node: Node) -> None:
    node.run()
    module = node.payload / "dray" / "_native.abi3.so"
    with module.open("ab") as file:
        file.write(b"\0")
    node.settle()
    (old,) = node.spares()
    node.run()
    sizes = {spare.joinpath("dray", "_native.abi3.so").stat().st_size for spare in node.spares()}
    assert module.stat().st_size in sizes and old in node.spares()


def kept_scripts(node: Node) -> list[Path]:
    return [path for spare in node.spares() for path in spare.glob("dray/__pycache__/script-*")]


def test_a_script_is_compiled_once_on_a_node(node: Node, script: Callable[..., Any]) -> None:
    assert script("print(1)", env=node.env()).stdout == "1\n"
    (kept,) = kept_scripts(node)
    written = kept.stat()
    assert script("print(1)", env=node.env()).stdout == "1\n"
    (kept,) = kept_scripts(node)
    assert (kept.stat().st_ino, kept.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    assert script("print(2)", env=node.env()).stdout == "2\n"
    assert len(kept_scripts(node)) == 2


def test_a_kept_script_runs_in_the_place_of_the_compiler(node: Node, script: Callable[..., Any]) -> None:
    patched = "import builtins; builtins.compile = None"
    assert script(patched, env=node.env()).returncode == 0
    # Its own `sitecustomize` runs before the worker compiles.
    folder = node.payload.parent / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(patched)
    environment = {**node.env(), "PYTHONPATH": str(folder)}
    assert script(patched, env=environment).returncode == 0
    assert script("print('another')", env=environment).returncode == 1


def test_a_kept_script_has_the_paths_of_its_own_run(node: Node, script: Callable[..., Any]) -> None:
    source = (
        "import sys\ndef f(): return f.__code__.co_filename\nprint(f() == __file__, sys.argv[1:], flush=True)\n1 / 0"
    )
    runs = [script(source, str(number), env=node.env()) for number in range(2)]
    assert [ran.stdout for ran in runs] == ["True ['0']\n", "True ['1']\n"]
    for ran in runs:
        assert ran.returncode == 1
        assert (
            ran.stderr.splitlines()[-1]
            == "error: main.py failed: ZeroDivisionError: division by zero (main.py, line 4, in <module>)"
        )
    assert len(kept_scripts(node)) == 1


def test_asserts_are_left_out_where_python_is_told_so(node: Node, script: Callable[..., Any]) -> None:
    for optimize, code in (("", 1), ("1", 0), ("", 1), ("1", 0)):
        assert script("assert False", env={**node.env(), "PYTHONOPTIMIZE": optimize}).returncode == code
    assert len(kept_scripts(node)) == 2


def test_what_python_warns_of_as_it_compiles_is_told_in_each_run(node: Node, script: Callable[..., Any]) -> None:
    for _ in range(2):
        ran = script("print(1 is 1)", env=node.env())
        events = [json.loads(line) for line in ran.stderr.splitlines()]
        warned = [event["logger"] for event in events if "SyntaxWarning" in json.dumps(event)]
        assert warned == ["py.warnings"], ran.stderr
    assert not kept_scripts(node)
    assert script("print(1 is 1)", env={**node.env(), "PYTHONWARNINGS": "ignore"}).returncode == 0
    assert script("print(1 is 1)", env={**node.env(), "PYTHONWARNINGS": "error"}).returncode == 1


@pytest.mark.parametrize("damage", [b"", b"\0" * 40, None])
def test_a_damaged_compiled_script_is_compiled_anew(
    node: Node, script: Callable[..., Any], damage: Optional[bytes]
) -> None:
    """By the script itself, which writes over what its run gives back."""
    write = f"open(next(__import__('pathlib').Path(dray.__file__).parent.glob('__pycache__/script-*')), 'wb').write({damage!r})"
    if damage is None:
        write = write.replace(".write(None)", ".write(__import__('importlib.util').util.MAGIC_NUMBER + b'(')")
    source = f"import dray; print(1); {write}"
    for _ in range(3):
        ran = script(source, env=node.env())
        assert (ran.returncode, ran.stdout) == (0, "1\n"), ran.stderr


def test_many_scripts_do_not_fill_the_cache(node: Node, script: Callable[..., Any]) -> None:
    for number in range(18):
        assert script(f"print({number})", env=node.env()).stdout == f"{number}\n"
    assert len(kept_scripts(node)) == 2


def test_the_start_is_compiled_once_where_python_is_to_write_no_bytecode(
    node: Node, script: Callable[..., Any]
) -> None:
    source = "import os, sys; print(sys.dont_write_bytecode, sorted(os.listdir()))"
    environment = {**node.env(), "PYTHONDONTWRITEBYTECODE": "1"}
    files = []
    for _ in range(2):
        ran = script(source, env=environment)
        assert ran.stdout.startswith("True ") and "__pycache__" not in ran.stdout, ran.stderr
        (spare,) = node.spares()
        compiled = (spare / "dray" / "__pycache__").iterdir()
        files.append({path.name.partition(".")[0]: path.stat().st_mtime_ns for path in compiled})
    assert files[0] == files[1]
    assert {"_run", "_worker"} < set(files[0]) and len(files[0]) == 3
