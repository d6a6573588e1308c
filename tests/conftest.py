"""What every suite here works with: the executable in a clean environment, projects, and folders like a Batch task's.

The suites drive the executable, never the Python package by import: what they see is what a custom activity sees.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional, Protocol, Union

import pytest
from copying import Copying
from databases import Database, Databases, fresh_databases

pytest_plugins = ["azure_server"]

ROOT = Path(__file__).resolve().parent.parent

# A shell starts background jobs with SIGINT ignored, which every program below inherits and Python respects. What has a
# handler, like this process now, starts its children with the default action.
signal.signal(signal.SIGINT, signal.default_int_handler)

# `make test-long`: what `make test` does for some of all cases is done for each.
AT_LENGTH = "DRAY_TEST_AT_LENGTH" in os.environ

# A variable that would change what dray or Python does must not leak from the terminal into a test.
CLEARED = re.compile(r"^(AZ_BATCH_|DRAY_|PYTHON|ODBC)|^(VIRTUAL_ENV|LD_LIBRARY_PATH|LD_PRELOAD|RUST_LOG|NO_COLOR)$")


@pytest.fixture(scope="session")
def executable() -> Path:
    """The executable under test: DRAY_EXECUTABLE, else the debug build of this tree."""
    path = Path(os.environ.get("DRAY_EXECUTABLE") or ROOT / "target" / "debug" / "dray").resolve()
    if not path.is_file():
        pytest.exit(f"`{path}` is not there: run `cargo build --workspace` first, or set DRAY_EXECUTABLE", returncode=3)
    return path


@pytest.fixture(scope="session")
def clean_environment(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The environment without what steers dray or Python, and with a home of its own, one for the whole session: what
    dray keeps between runs (the facts of an interpreter) is then there from the second run on.
    """
    home = tmp_path_factory.mktemp("home")
    environment = {name: value for name, value in os.environ.items() if not CLEARED.search(name)}
    environment.update(HOME=str(home), XDG_CACHE_HOME=str(home / ".cache"), LC_ALL="C.UTF-8")
    environment.pop("XDG_CONFIG_HOME", None)
    # The interpreter itself before a script of pyenv's that starts it, which takes as long as the rest of a small run.
    environment["PATH"] = os.pathsep.join([f"{sys.base_prefix}/bin", environment.get("PATH", os.defpath)])
    # Such a script finds its versions through HOME.
    environment.setdefault("PYENV_ROOT", str(Path("~/.pyenv").expanduser()))
    return environment


class Dray(Protocol):
    """`dray(*args)` runs the executable to its end."""

    def __call__(
        self,
        *args: Union[str, bytes, Path],
        cwd: Optional[Path] = None,
        env: Optional[Mapping[str, str]] = None,
        input: Optional[str] = None,  # noqa: A002  the name that subprocess has for it
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
def dray(executable: Path, clean_environment: Mapping[str, str], tmp_path: Path) -> Dray:
    """Run the executable in `cwd` (default: a fresh folder) with `env` over the clean environment. The streams are
    decoded as UTF-8; what is not UTF-8 comes as surrogates.
    """

    def run(
        *args: Union[str, bytes, Path],
        cwd: Optional[Path] = None,
        env: Optional[Mapping[str, str]] = None,
        input: Optional[str] = None,  # noqa: A002  the name that subprocess has for it
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        if cwd is None:
            cwd = tmp_path / "cwd"
            cwd.mkdir(exist_ok=True)
        return subprocess.run(
            [str(executable), *args],
            cwd=cwd,
            env={**clean_environment, **(env or {})},
            stdin=subprocess.DEVNULL if input is None else None,
            input=input,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture
def start(executable: Path, clean_environment: Mapping[str, str], tmp_path: Path) -> Any:
    """`start(*args, cwd=None, env=None)` starts the executable and gives the `Popen` with text pipes; what still runs
    at the end of the test is killed.
    """
    started: list[subprocess.Popen[str]] = []

    def run(
        *args: Union[str, Path], cwd: Optional[Path] = None, env: Optional[Mapping[str, str]] = None
    ) -> subprocess.Popen[str]:
        if cwd is None:
            cwd = tmp_path / "cwd"
            cwd.mkdir(exist_ok=True)
        process = subprocess.Popen(
            [str(executable), *args],
            cwd=cwd,
            env={**clean_environment, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="surrogateescape",
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # a descendant that was left behind holds the pipes
            process.communicate(timeout=5)


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Path]:
    """`project({"main.py": "..."}, name="project.zip")` writes a zip of these members and gives its path."""

    def write(files: Mapping[str, Union[str, bytes]], name: str = "project.zip") -> Path:
        path = tmp_path / name
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, content in files.items():
                archive.writestr(member, content)
        return path

    return write


@dataclass
class Task:
    """A folder like the working directory of a Batch task, and the variables that Batch sets for it."""

    folder: Path

    @property
    def env(self) -> dict[str, str]:
        """The AZ_BATCH_ variables of this task, shaped as on a node."""
        return {
            "AZ_BATCH_ACCOUNT_NAME": "account",
            "AZ_BATCH_ACCOUNT_URL": "https://account.westeurope.batch.azure.com/",
            "AZ_BATCH_POOL_ID": "pool",
            "AZ_BATCH_JOB_ID": "adfv2-pool",
            "AZ_BATCH_TASK_ID": "7a1c3a6e-4f0e-4d4e-9a53-0d7c6f4d2b11",
            "AZ_BATCH_NODE_ID": "tvmps_0123456789abcdef_d",
            "AZ_BATCH_NODE_IS_DEDICATED": "true",
            "AZ_BATCH_TASK_DIR": str(self.folder.parent),
            "AZ_BATCH_TASK_WORKING_DIR": str(self.folder),
        }

    def write_activity(
        self,
        extended_properties: Optional[Mapping[str, Any]] = None,
        linked_services: Optional[Mapping[str, Any]] = None,
        datasets: Optional[Mapping[str, Any]] = None,
    ) -> None:
        """Write activity.json, linkedServices.json and datasets.json as ADF does.

        `linked_services` maps a name to the wrapper's `properties`, or, for type Odbc, to its connection string alone;
        `datasets` maps a name to `properties`.
        """
        services = {
            name: odbc_properties(value) if isinstance(value, str) else value
            for name, value in (linked_services or {}).items()
        }
        activity = {
            "name": "CopyTables",
            "type": "Custom",
            "dependsOn": [],
            "policy": {"timeout": "0.12:00:00", "retry": 0, "retryIntervalInSeconds": 30},
            "userProperties": [],
            "typeProperties": {
                "command": "./dray run project.zip main.py",
                "extendedProperties": dict(extended_properties or {}),
                "referenceObjects": {
                    "linkedServices": [{"referenceName": n, "type": "LinkedServiceReference"} for n in services],
                    "datasets": [{"referenceName": n, "type": "DatasetReference"} for n in datasets or {}],
                },
            },
            "linkedServiceName": {"referenceName": "Batch", "type": "LinkedServiceReference"},
        }
        self._write("activity.json", activity)
        self._write("linkedServices.json", [{"name": n, "properties": p} for n, p in services.items()])
        self._write("datasets.json", [{"name": n, "properties": p} for n, p in (datasets or {}).items()])

    def outputs(self) -> Any:
        """What outputs.json holds; the test fails if it is not there, or not UTF-8 without a byte order mark."""
        return json.loads((self.folder / "outputs.json").read_bytes().decode("utf-8"))

    def _write(self, name: str, document: Any) -> None:
        (self.folder / name).write_text(json.dumps(document, ensure_ascii=False, indent=2), "utf-8")


def odbc_properties(connection_string: str) -> dict[str, Any]:
    """The properties of a linked service of type Odbc."""
    return {
        "type": "Odbc",
        "annotations": [],
        "typeProperties": {"connectionString": connection_string, "authenticationType": "Anonymous"},
    }


@pytest.fixture
def task(tmp_path: Path) -> Task:
    """A fresh folder like a Batch task's working directory."""
    folder = tmp_path / "workitems" / "adfv2-pool" / "job-1" / "task" / "wd"
    folder.mkdir(parents=True)
    return Task(folder)


@pytest.fixture
def logs() -> Callable[[str], list[dict[str, Any]]]:
    """`logs(stderr)`: the JSON records among the lines of stderr, in their order."""

    def parse(stderr: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in stderr.splitlines() if line.startswith("{")]

    return parse


@pytest.fixture
def databases(tmp_path: Path) -> Iterator[Databases]:
    """`databases("postgresql")` makes a fresh database; all are dropped at the end of the test."""
    with fresh_databases(tmp_path) as maker:
        yield maker


@pytest.fixture(scope="module")
def module_databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Like `databases`, for a module's tests together: what they share is made once."""
    with fresh_databases(tmp_path_factory.mktemp("databases")) as maker:
        yield maker


@pytest.fixture(scope="session")
def long_tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Database]]:
    """`long_tables("sqlite")`: a database whose table `t` has 3,000,000 rows, made once, to be left as it is."""
    with fresh_databases(tmp_path_factory.mktemp("long")) as maker:

        @functools.cache
        def make(product: str) -> Database:
            database = maker(product)
            database.numbered("t", 3_000_000, "some text to carry over, and a number: ")
            return database

        yield make


@pytest.fixture(scope="session")
def copying(
    executable: Path, clean_environment: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Copying:
    """`copying(source, target)` copies all tables of a database into another in one run."""
    return Copying(executable, clean_environment, tmp_path_factory.mktemp("copying"))


class Script(Protocol):
    """`script(code, *args)` runs a Python script as a zipped project in the task's folder."""

    def __call__(
        self,
        code: str,
        *args: str,
        services: Optional[Mapping[str, Any]] = None,
        parameters: Optional[Mapping[str, Any]] = None,
        env: Optional[Mapping[str, str]] = None,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
def script(dray: Dray, project: Callable[..., Path], task: Task) -> Script:
    """Run `code` as main.py of a zip by `dray run project.zip main.py`, each time as another task of Batch. `services`
    maps names of linked services to ODBC connection strings, `parameters` are the extended properties.
    """
    numbers = itertools.count()

    def run(
        code: str,
        *args: str,
        services: Optional[Mapping[str, Any]] = None,
        parameters: Optional[Mapping[str, Any]] = None,
        env: Optional[Mapping[str, str]] = None,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        task.write_activity(extended_properties=parameters, linked_services=services)
        path = project({"main.py": textwrap.dedent(code)})
        # What a task has copied it does not copy again.
        variables = {**task.env, "AZ_BATCH_TASK_ID": f"task-{next(numbers)}", **(env or {})}
        return dray("run", path, "main.py", *args, cwd=task.folder, env=variables, timeout=timeout)

    return run


def interpreters() -> list[Path]:
    """Every CPython from 3.9 on of this machine: the one that runs the tests, /usr/bin's, and pyenv's; one a version of
    each place, by a path that is not itself a link to another of them.
    """
    candidates = [Path(sys.base_prefix) / "bin" / "python3", Path("/usr/bin/python3")]
    candidates += sorted(Path("~/.pyenv/versions").expanduser().glob("3.*/bin/python3"))
    on_path = shutil.which("python3")
    if on_path and "shims" not in on_path and not on_path.startswith(sys.prefix):
        candidates.append(Path(on_path))
    found: dict[str, Path] = {}
    probe = (
        "import sys, platform; print(int(platform.python_implementation() == 'CPython' and sys.version_info >= (3, 9)))"
    )
    for candidate in candidates:
        if not candidate.is_file():
            continue
        ran = subprocess.run([candidate, "-I", "-c", probe], capture_output=True, text=True, check=False)
        if ran.stdout.strip() == "1":
            found.setdefault(str(candidate.resolve()), candidate)
    return list(found.values())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `python` runs once under each interpreter of the machine."""
    if "python" in metafunc.fixturenames:
        metafunc.parametrize("python", interpreters(), ids=str)


@functools.cache
def stays_together(module: str) -> bool:
    """Whether the test module of this path has fixtures that outlive a test."""
    text = (Path(__file__).parent / module).read_text("utf-8")
    return re.search(r"scope=\"(module|session)\"", text) is not None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """How `-n 2` shares the tests out: one by one to whoever is free, but a module whose tests share what takes long to
    make as a whole, the largest of those first.
    """
    from xdist.scheduler import LoadScopeScheduling

    class OneByOne(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            module = nodeid.partition("::")[0]
            return module if stays_together(module) else nodeid

    return OneByOne(config, log)
