"""Requirements that are not packed: checked before the script starts, or installed once for the node."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable

import pytest
from wheels import Index

PYTHON = sys.base_prefix + "/bin/python3"
HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(tmp_path / "index")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with three distributions, and without pip."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", folder / "env"], check=True)
    (site_packages,) = (folder / "env").glob("lib/python3*/site-packages")
    source = Index(folder / "index")
    wheels = [
        source.wheel(
            "alpha", "1.5", requires=["delta; extra == 'more'", "gone; extra == 'all'"], extras=["more", "all"]
        ),
        source.wheel("Under_Score.name", "2.0rc1"),
        source.wheel("delta", "3.0+local.1"),
    ]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", site_packages]
    subprocess.run([*command, *wheels], check=True)
    # As `setup.py` and distributions of Linux leave them.
    (site_packages / "Old_Style-0.5-py3.11.egg-info").write_text("Name: Old-Style\nVersion: 0.5\n")
    (site_packages / "linked.egg-info").mkdir()
    (site_packages / "linked.egg-info" / "PKG-INFO").write_text("Name: linked\nVersion: 4.0\n")
    return folder / "env"


@pytest.fixture
def run(dray: Any, project: Any, task: Any, environment: Path, tmp_path: Path) -> Callable[..., Any]:
    """`run(requirements, code)` runs a project with that requirements.txt under `environment`."""

    def run(
        requirements: str, code: str = "print('started')", *options: str, files: Any = None, env: Any = None
    ) -> Any:
        path = project({"main.py": code, "requirements.txt": requirements, **(files or {})})
        variables = {
            **task.env,
            "AZ_BATCH_NODE_SHARED_DIR": str(tmp_path),
            "DRAY_PYTHON": str(environment),
            **(env or {}),
        }
        return dray("run", *options, path, "main.py", cwd=task.folder, env=variables, timeout=120)

    return run


def test_all_that_is_missing_or_wrong_is_named_with_two_ways_to_mend_it(run, task):
    ran = run("nowhere>=1,<3\nalpha<1.5  # too new\n-r more.txt\n", files={"more.txt": "delta==9\nunder-score-name\n"})
    assert (ran.returncode, ran.stdout) == (113, "")
    last = ran.stderr.splitlines()[-1]
    assert "has not what `requirements.txt` asks for: " in last
    assert "`alpha<1.5`: 1.5 is there; `delta==9`: 3.0+local.1 is there; `nowhere>=1,<3` is missing" in last
    assert "`dray pack`" in last and "`dray run --install`" in last
    assert task.outputs()["dray"]["error"]["code"] == "dependencies.unmet"


@pytest.mark.parametrize(
    "requirements",
    [
        "alpha\nunder.score_NAME>=1\nold-style==0.5\nlinked>=4\n",
        "alpha[more]~=1.4\n",
        "delta==3.0\n",
        "nowhere; python_version < '3'\nnowhere; sys_platform == 'win32' and extra == 'x'\n",
        "# nothing\n--index-url https://nowhere.invalid/simple\n-e .\n",
        "alpha @ https://nowhere.invalid/alpha-1.5-py3-none-any.whl\n",
        "mine==1\nmy-package\n",
        "dray\n",
        "Dray[extra]>=99; python_version > '3'\nalpha\n",
    ],
)
def test_what_is_met_is_passed(run, requirements):
    files = {"mine.py": "", "my_package/__init__.py": ""}  # copied into the project, without metadata
    ran = run(requirements, files=files)
    assert ran.stdout == "started\n", ran.stderr


def test_what_an_extra_needs_is_asked_for_too(run):
    assert "`gone` is missing" in run("alpha[all,more]\n").stderr.splitlines()[-1]


def test_what_is_beside_the_script_in_a_subfolder_counts(dray, project, task, environment):
    files = {"sub/main.py": "import beside; print(1)", "sub/beside.py": "", "requirements.txt": "beside\n"}
    ran = dray("run", project(files), "sub/main.py", cwd=task.folder, env={"DRAY_PYTHON": str(environment)})
    assert ran.stdout == "1\n", ran.stderr


def test_a_module_of_the_project_does_not_disturb_the_question(run):
    files = {"json.py": "raise SystemExit('imported')", "re.py": "raise SystemExit('imported')"}
    assert run("alpha\n", files=files).stdout == "started\n"


def test_a_line_that_is_no_requirement_is_refused_with_its_number(run):
    ran = run("alpha\nalpha ~ 3\n")
    assert ran.returncode == 111
    assert "`requirements.txt` line 2: `alpha ~ 3` is not a requirement" in ran.stderr.splitlines()[-1]


@pytest.mark.parametrize("how", ["option", "key"])
def test_a_script_can_be_run_without_what_it_asks_for(run, how):
    files = {"pyproject.toml": "[tool.dray]\nignore-requirements = true\n"} if how == "key" else {}
    options = ["--ignore-requirements"] if how == "option" else []
    assert run("nowhere\n", "print('started')", *options, files=files).stdout == "started\n"


def test_packed_packages_are_not_asked_for(run):
    files = {".python_packages/lib/site-packages/nowhere.py": ""}
    assert run("nowhere\n", "import nowhere; print(1)", files=files).stdout == "1\n"


INSTALLED = "import alpha, os; s = os.stat(alpha.__file__); print(alpha.VERSION, s.st_ino, s.st_ctime_ns)"


@pytest.fixture
def install(run: Any, tmp_path: Path) -> Callable[..., Any]:
    """`install(requirements)` runs with `--install`, by the pip of an interpreter that has one."""

    def install(requirements: str, code: str = INSTALLED, *options: str, uv: bool = False, **more: Any) -> Any:
        path = f"{Path(sys.executable).parent}:/usr/bin:/bin" if uv else "/usr/bin:/bin"
        env = {"DRAY_PYTHON": PYTHON, "PATH": path, "UV_CACHE_DIR": str(tmp_path / "uv"), **more.pop("env", {})}
        return run(requirements, code, "--install", *options, env=env, **more)

    return install


def store(tmp_path: Path) -> list[Path]:
    folder = tmp_path / f"dray-{os.geteuid()}" / "dependencies"
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


@pytest.mark.parametrize("uv", [False, True], ids=["pip", "uv"])
def test_requirements_are_installed_once_for_the_node(install, index, tmp_path, uv):
    index.wheel("alpha", requires=["beta"])
    index.wheel("beta")
    first = install(index.lines + "alpha\n", uv=uv)
    assert first.stdout.startswith("1.0 "), first.stderr
    assert f'"installer":"{"uv" if uv else "pip"}"' in first.stderr
    index.wheel("alpha", "2.0")  # would be taken if anything was installed again
    assert install(index.lines + "alpha\n", uv=uv).stdout == first.stdout
    assert len(store(tmp_path)) == 1
    assert not [path for path in store(tmp_path)[0].iterdir() if path.name not in ("site-packages", "listing")]


def test_other_requirements_are_installed_apart(install, index, tmp_path):
    index.wheel("alpha")
    index.wheel("alpha", "2.0")
    assert install(index.lines + "alpha<2\n").stdout.startswith("1.0")
    assert install(index.lines + "-r more.txt\n", files={"more.txt": "alpha<2"}).stdout.startswith("1.0")
    assert install(index.lines + "-r more.txt\n", files={"more.txt": "alpha>1"}).stdout.startswith("2.0")
    assert len(store(tmp_path)) == 3


def test_a_package_of_the_index_is_installed_and_children_find_it(install):
    code = """
import subprocess, sys, markupsafe._speedups
print(subprocess.run([sys.executable, "-c", "import markupsafe; print(markupsafe.escape('<'))"],
                     capture_output=True, text=True).stdout)
"""
    ran = install("markupsafe==3.0.3\n", code)
    assert ran.stdout == "&lt;\n\n", ran.stderr


def test_dependencies_of_pyproject_are_installed(dray, project, task, index, tmp_path):
    index.wheel("alpha")
    text = "[project]\nname = 'x'\nversion = '1'\ndependencies = ['alpha']\n[tool.dray]\ninstall = true\n"
    env = {"DRAY_PYTHON": PYTHON, "PATH": "/usr/bin:/bin", "AZ_BATCH_NODE_SHARED_DIR": str(tmp_path)}
    env.update(PIP_NO_INDEX="1", PIP_FIND_LINKS=str(index.folder))
    path = project({"main.py": INSTALLED, "pyproject.toml": text})
    ran = dray("run", path, cwd=task.folder, env=env)
    assert ran.stdout.startswith("1.0 "), ran.stderr


@pytest.mark.parametrize("uv", [False, True], ids=["pip", "uv"])
def test_a_failure_ends_with_the_installers_last_lines_and_keeps_nothing(install, index, tmp_path, uv):
    ran = install(index.lines + "nowhere-to-be-found\n", uv=uv)
    assert (ran.returncode, ran.stdout) == (113, "")
    last = ran.stderr.splitlines()[-1]
    assert f"cannot install `requirements.txt` by {'uv' if uv else 'pip'}: it ended with exit status: 1: " in last
    assert "nowhere-to-be-found" in last
    assert store(tmp_path) == []
    index.wheel("nowhere-to-be-found", files={"alpha.py": "VERSION = 0"})
    assert install(index.lines + "nowhere-to-be-found\n", uv=uv).stdout.startswith("0 ")


def test_without_pip_and_uv_the_ways_out_are_named(install, index, environment):
    ran = install(index.lines + "alpha\n", env={"DRAY_PYTHON": str(environment)})
    assert ran.returncode == 113
    last = ran.stderr.splitlines()[-1]
    assert "`uv` is not on PATH" in last and "has no pip" in last and "`dray pack`" in last


def test_a_project_that_names_nothing_has_nothing_to_install(dray, project, task):
    ran = dray("run", "--install", project({"main.py": "1"}), cwd=task.folder)
    assert ran.returncode == 111 and "`--install` needs a `requirements.txt`" in ran.stderr.splitlines()[-1]


def test_without_a_folder_to_keep_them_in_nothing_is_installed(install, index):
    index.wheel("alpha")
    ran = install(index.lines + "alpha\n", env={"DRAY_CACHE": "off"})
    assert ran.returncode == 117 and "`--install` needs a folder to keep packages in" in ran.stderr.splitlines()[-1]


def test_a_folder_named_in_the_requirements_is_refused(install):
    ran = install("./package\n", files={"package/setup.py": ""})
    assert ran.returncode == 111 and "`./package`" in ran.stderr.splitlines()[-1]


def test_a_wheel_in_the_project_is_installed_anew_when_it_changes(install, index):
    wheel = index.wheel("alpha")
    name = f"wheels/{wheel.name}"
    assert install(f"--no-index\n./{name}\n", files={name: wheel.read_bytes()}).stdout.startswith("1.0")
    wheel = index.wheel("alpha", files={"alpha.py": "VERSION = 'changed'"})
    assert install(f"--no-index\n./{name}\n", files={name: wheel.read_bytes()}).stdout.startswith("changed")


@pytest.mark.parametrize("uv", [False, True], ids=["pip", "uv"])
def test_the_package_that_dray_brings_itself_is_not_installed(install, index, uv):
    index.wheel("alpha")
    index.wheel("dray", "9.0", files={"dray/__init__.py": "raise SystemExit('another package of this name')"})
    code = "import alpha, dray; print(alpha.VERSION, hasattr(dray, 'copy_tables'))"
    ran = install(index.lines + "-r more.txt\n", code, uv=uv, files={"more.txt": "alpha\ndray\n"})
    assert ran.stdout == "1.0 True\n", ran.stderr
    assert "`dray` of requirements.txt is left out" in ran.stderr


def test_a_project_that_asks_for_dray_alone_has_nothing_to_install(install):
    assert install("dray\n", "import dray; print(1)", env={"PATH": "/usr/bin:/bin"}).stdout == "1\n"


@pytest.fixture
def slow(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """`slow(command)` gives variables by which a `uv` that runs this shell command is first on PATH; it writes a line into
    `calls` each time, and `$target` is the folder that it is to install into."""

    def write(command: str) -> dict[str, str]:
        folder = tmp_path / "tools"
        folder.mkdir()
        script = f'echo x >> {tmp_path}/calls\nwhile [ "$1" != --target ]; do shift; done\ntarget=$2\n{command}\n'
        (folder / "uv").write_text(f"#!/bin/sh\n{script}")
        (folder / "uv").chmod(0o755)
        return {"PATH": f"{folder}:/usr/bin:/bin", "DRAY_PYTHON": PYTHON, "AZ_BATCH_NODE_SHARED_DIR": str(tmp_path)}

    return write


def test_two_tasks_at_once_install_once(start, project, slow, tmp_path):
    env = slow('sleep 1; echo VERSION=1 > "$target/alpha.py"')
    path = project({"main.py": INSTALLED, "requirements.txt": "alpha\n"})
    runs = []
    for number in range(3):
        folder = tmp_path / f"task-{number}"
        folder.mkdir()
        runs.append(start("run", "--install", path, cwd=folder, env=env))
    said = {run.communicate(timeout=60)[0] for run in runs}
    assert len(said) == 1 and said.pop().startswith("1 ")
    assert (tmp_path / "calls").read_text() == "x\n"


@pytest.mark.parametrize("how", ["signal", "time limit"])
def test_an_installation_is_stopped_with_all_that_it_started(start, project, slow, tmp_path, how):
    env = slow(f"sleep 300 & echo $! > {tmp_path}/pid; wait")
    path = project({"main.py": "print('started')", "requirements.txt": "alpha\n"})
    folder = tmp_path / "task"
    folder.mkdir(exist_ok=True)
    options = ["--timeout", "2s"] if how == "time limit" else []
    run = start("run", "--install", *options, path, cwd=folder, env=env)
    for _ in range(1000):
        if (tmp_path / "pid").is_file() and (tmp_path / "pid").read_text().strip():
            break
        time.sleep(0.01)
    if how == "signal":
        run.send_signal(signal.SIGTERM)
    stdout, stderr = run.communicate(timeout=30)
    assert (run.returncode, stdout) == (143 if how == "signal" else 116, ""), stderr
    pid = int((tmp_path / "pid").read_text())
    for _ in range(500):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            break
        if state == "Z":
            break
        time.sleep(0.01)
    else:
        raise AssertionError("what the installer started still runs")
    assert store(tmp_path) == []
    outputs = json.loads((folder / "outputs.json").read_text())
    assert outputs["dray"]["status"] == "failed"


def test_waiting_for_another_tasks_installation_ends_at_the_time_limit(start, project, slow, tmp_path):
    env = slow("sleep 300")
    path = project({"main.py": "print('started')", "requirements.txt": "alpha\n"})
    runs = []
    for options in ([], ["--timeout", "2s"]):
        folder = tmp_path / f"task-{len(runs)}"
        folder.mkdir()
        runs.append(start("run", "--install", *options, path, cwd=folder, env=env))
        for _ in range(1000):
            if (tmp_path / "calls").is_file():
                break
            time.sleep(0.01)
    _, stderr = runs[1].communicate(timeout=30)
    assert runs[1].returncode == 116 and "dependencies.waiting" in stderr, stderr
    runs[0].send_signal(signal.SIGTERM)
    assert runs[0].wait(timeout=30) == 143
