"""What ran under `/bin/bash -c "unzip -q p.zip && python3 main.py ARGS"` runs the same under `dray run p.zip main.py
ARGS`: same stdout, same exit code, same outputs.json, in a folder as ADF leaves it.
"""

from __future__ import annotations

import json
import shlex
import shutil
import stat
import subprocess
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional, Union

import pytest
from conftest import Task

Files = Union[str, Mapping[str, Union[str, bytes]]]


@dataclass
class End:
    """What is seen of a task from outside."""

    stdout: str
    exit_code: int
    outputs: Optional[Any]


@pytest.fixture
def ends(dray, clean_environment, tmp_path) -> Callable[..., tuple[End, End]]:
    """`ends(files, *arguments)` runs the project by the chain and by dray, each in a task folder of its own."""
    if shutil.which("unzip") is None:
        pytest.fail("`unzip` is missing: apt-get install unzip")

    def run(files: Files, *arguments: str, entry: str = "main.py", extra: Optional[Mapping[str, str]] = None) -> Any:
        path = tmp_path / "p.zip"
        write_zip(path, {"main.py": files} if isinstance(files, str) else files)
        found = []
        for name in ("chain", "dray"):
            task = Task(tmp_path / name / "wd")
            task.folder.mkdir(parents=True)
            shutil.copy(path, task.folder)
            task.write_activity({"month": 3, "name": "é", "password": {"type": "SecureString", "value": "s3cr3t!"}})
            for file, content in (extra or {}).items():
                (task.folder / file).write_text(content, "utf-8")
            # One Python for both, found by each in its own way.
            env = {**task.env, "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
            if name == "chain":
                script = f"unzip -q p.zip && python3 {entry} {shlex.join(arguments)}"
                ran = subprocess.run(
                    ["/bin/bash", "-c", script],
                    cwd=task.folder,
                    env={**clean_environment, **env},
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    encoding="utf-8",
                    errors="surrogateescape",
                    timeout=60,
                    check=False,
                )
            else:
                ran = dray("run", "--no-summary", "p.zip", *shlex.split(entry), *arguments, cwd=task.folder, env=env)
            outputs = task.folder / "outputs.json"
            # A signal as Batch tells it.
            exit_code = ran.returncode if ran.returncode >= 0 else 128 - ran.returncode
            found.append(
                End(ran.stdout, exit_code, json.loads(outputs.read_text("utf-8")) if outputs.exists() else None)
            )
            print(ran.stderr)
        return tuple(found)

    return run


def write_zip(path: Path, files: Mapping[str, Union[str, bytes]]) -> None:
    """A zip with folders, and with modes: a member whose name ends with `!` is executable."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name.rstrip("!"), (2024, 2, 29, 12, 30, 58))
            info.external_attr = (stat.S_IFREG | (0o755 if name.endswith("!") else 0o640)) << 16
            archive.writestr(info, content)


CASES: dict[str, tuple[Files, int]] = {
    "hello": ("print('hello')", 0),
    "arguments": ("import sys; print(sys.argv)", 0),
    "no outputs": ("pass", 0),
    "activity.json": (
        "import json; print(json.load(open('activity.json'))['typeProperties']['extendedProperties'])",
        0,
    ),
    "linked services": (
        "import json; print(json.load(open('linkedServices.json')), json.load(open('datasets.json')))",
        0,
    ),
    "outputs": ("import json; json.dump({'rows': 5, 'é': [1.5, None]}, open('outputs.json', 'w'))", 0),
    "outputs by full path": (
        "import json, os\nwith open(os.path.join(os.environ['AZ_BATCH_TASK_WORKING_DIR'], 'outputs.json'), 'w') as f:\n"
        "    json.dump({'rows': 5}, f)",
        0,
    ),
    "outputs beside the script": (
        "import json, pathlib; pathlib.Path(__file__).with_name('outputs.json').write_text(json.dumps({'a': 1}))",
        0,
    ),
    "outputs by rename": ("import os; open('x', 'w').write('{\"a\": 1}'); os.rename('x', 'outputs.json')", 0),
    "outputs of a child": ("import os; os.system('echo \\'{\"a\": 1}\\' > outputs.json')", 0),
    "outputs before a failure": ("open('outputs.json', 'w').write('{\"a\": 1}'); raise SystemExit(4)", 4),
    "outputs in an exit handler": ("import atexit; atexit.register(lambda: open('outputs.json', 'w').write('{}'))", 0),
    "outputs in the zip": ({"main.py": "print(open('outputs.json').read())", "outputs.json": '{"from": "zip"}'}, 0),
    "data files": ({"main.py": "print(open('data/a b/é.csv').read())", "data/a b/é.csv": "1;ü"}, 0),
    "packages": (
        {"main.py": "from pkg.deep import x; print(x.Y, x.__file__)", "pkg/deep/x.py": "Y = 2", "pkg/__init__.py": ""},
        0,
    ),
    "an executable": ({"main.py": "import os; os.system('./bin/tool x')", "bin/tool!": "#!/bin/sh\necho tool $1\n"}, 0),
    "modes and times": (
        {
            "main.py": "import os\nfor f in ('main.py', 'bin/tool', 'a.txt'):\n    s = os.stat(f)\n"
            "    print(f, oct(s.st_mode), s.st_size, int(s.st_mtime))",
            "bin/tool!": "",
            "a.txt": "x" * 100_000,
        },
        0,
    ),
    "a file to write": (
        {"main.py": "open('log/x.txt', 'a').write('x'); print(open('log/x.txt').read())", "log/x.txt": "a"},
        0,
    ),
    "the task's files": ("print(open('extra.txt').read(), __import__('os').path.getsize('p.zip') > 0)", 0),
    "raises": ("print('before'); raise ValueError('x')", 1),
    "exits": ("import sys; print('before'); sys.exit(7)", 7),
    "exits with text": ("import sys; sys.exit('done for')", 1),
    "syntax error": ("print('never'\n", 1),
    "missing package": ("import no_such_package", 1),
    "killed": ("import os; os.kill(os.getpid(), 9)", 137),
    "segmentation fault": ("import ctypes; print('before', flush=True); ctypes.string_at(0)", 139),
    "os._exit": ("import os; print('before', flush=True); os._exit(3)", 3),
    "a child that fails": ("import subprocess, sys; sys.exit(subprocess.call(['sh', '-c', 'echo out; exit 5']))", 5),
    "the environment": (
        "import os; print(sorted(i for i in os.environ.items() if i[0][:3] == 'AZ_' and 'DIR' not in i[0]))",
        0,
    ),
    "standard input": ("import sys; print(repr(sys.stdin.read()))", 0),
    "much on stdout": ("for n in range(20000): print(n)", 0),
}


@pytest.mark.parametrize("name", CASES)
def test_a_project_ends_as_under_the_chain(ends, name):
    files, exit_code = CASES[name]
    chain, ours = ends(files, "--date", "2026-11-21", "a b", "é", "*", extra={"extra.txt": "extra"})
    # The one difference: dray shows no secret.
    expected = chain.stdout.replace(chain_tree(chain.stdout), "<tree>").replace("s3cr3t!", "***")
    assert ours.stdout.replace(ours_tree(ours.stdout), "<tree>") == expected
    assert (ours.exit_code, chain.exit_code) == (exit_code, exit_code)
    assert ours.outputs == chain.outputs


def ours_tree(text: str) -> str:
    """The unpacked tree as the script printed it; something that is not there if it did not."""
    start, marker, rest = text.partition("/dray/wd/.dray/")
    return f"{start[start.rfind(' ') + 1 :]}{marker}{rest.partition('/')[0]}/project" if marker else "\0"


def chain_tree(text: str) -> str:
    """The same of the chain: the task's folder itself."""
    start, marker, _ = text.partition("/chain/wd")
    return f"{start[start.rfind(' ') + 1 :]}{marker}" if marker else "\0"


def test_a_module_ends_as_under_the_chain(ends):
    files = {
        "pkg/__init__.py": "",
        "pkg/mod.py": "from . import n; print(__name__, __package__, n.N)",
        "pkg/n.py": "N = 1",
    }
    chain, ours = ends(files, "x", entry="-m pkg.mod")
    assert (ours.stdout, ours.exit_code) == (chain.stdout, chain.exit_code) == ("__main__ pkg 1\n", 0)


def test_a_member_called_activity_json_is_what_the_script_reads_and_the_tasks_own_stays(dray, project, task):
    # `unzip -q` would stop and ask here; what it is told to overwrite would be gone for the next attempt.
    task.write_activity({"month": 3})
    before = (task.folder / "activity.json").read_bytes()
    path = project(
        {"main.py": "import dray; print(open('activity.json').read(), dray.params.month)", "activity.json": "mine"}
    )
    ran = dray("run", path, cwd=task.folder)
    assert (ran.returncode, ran.stdout) == (0, "mine 3\n"), ran.stderr
    assert (task.folder / "activity.json").read_bytes() == before
