"""A project that brings its packages: where the script finds them, what the node keeps of them, what is refused."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional, Union

import pytest
from conftest import interpreters

FOLDER = ".python_packages/lib/site-packages/"
MANIFEST = ".python_packages/dray.json"
HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
PYTHON = sys.base_prefix + "/bin/python3"

PACKAGE = {
    FOLDER + "pkg/__init__.py": "from .inner import VALUE\n",
    FOLDER + "pkg/inner.py": "VALUE = 42\n",
    FOLDER + "pkg/data/table.bin": b"\0" * 5000,
    FOLDER + "pkg-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: pkg\nVersion: 1.0\n",
}


def manifest(python: str = HERE, wheel: str = "pkg-1.0-py3-none-any.whl", **changes: Any) -> str:
    distribution = {"name": "pkg", "version": "1.0", "wheel": wheel, "sha256": ""}
    document = {
        "format": 1,
        "python": python,
        "abi": f"cp{python.replace('.', '')}",
        "platform": "manylinux_2_39_x86_64",
        "distributions": [distribution],
    }
    return json.dumps({**document, **changes})


class Node:
    """A node with a shared folder, on which projects with packages are run."""

    def __init__(self, dray: Any, project: Any, root: Path) -> None:
        self._dray, self._project, self._root = dray, project, root
        self.shared = root / "shared"
        self.shared.mkdir()
        self.env = {"AZ_BATCH_NODE_SHARED_DIR": str(self.shared), "DRAY_PYTHON": PYTHON}
        self._tasks = 0

    @property
    def store(self) -> Path:
        return self.shared / f"dray-{os.geteuid()}" / "dependencies"

    def entries(self) -> list[Path]:
        return sorted(path for path in self.store.iterdir() if path.is_dir()) if self.store.is_dir() else []

    def zip(self, code: str, files: Optional[Mapping[str, Union[str, bytes]]] = None) -> Path:
        return self._project({"main.py": code, **(PACKAGE if files is None else files)}, f"{self._tasks}.zip")

    def run(
        self, code: str, *options: str, files: Any = None, env: Any = None, ok: bool = True
    ) -> subprocess.CompletedProcess[str]:
        self._tasks += 1
        folder = self._root / f"task-{self._tasks}"
        folder.mkdir()
        path = self.zip(code, files)
        ran = self._dray("run", *options, path, "main.py", cwd=folder, env={**self.env, **(env or {})})
        assert (ran.returncode == 0) is ok, ran.stdout + ran.stderr
        return ran


@pytest.fixture
def node(dray: Any, project: Any, tmp_path: Path) -> Node:
    return Node(dray, project, tmp_path)


def was_unpacked(ran: subprocess.CompletedProcess[str]) -> Optional[bool]:
    """Whether this run unpacked the packages into the store; None: it did not use it."""
    for line in ran.stderr.splitlines():
        if line.startswith("{") and (record := json.loads(line))["event"] == "dependencies.laid_out":
            return record["fields"]["unpacked"]
    return None


CHILDREN = """
import multiprocessing, os, subprocess, sys
import pkg
def ask(_):
    import pkg
    return pkg.__file__
if __name__ == "__main__":
    found = [pkg.__file__]
    found.append(subprocess.run([sys.executable, "-c", "import pkg; print(pkg.__file__)"],
                                capture_output=True, text=True, check=True).stdout.strip())
    for method in ("spawn", "fork", "forkserver"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            found += pool.map(ask, [1])
    import importlib.metadata
    print(len(set(found)), importlib.metadata.version("pkg"))
"""


@pytest.mark.parametrize("loading", ["auto", "hosted"])
def test_script_and_children_find_the_packages(node, loading):
    assert node.run(CHILDREN, env={"DRAY_LOADING": loading}).stdout == "1 1.0\n"


def test_they_stand_behind_the_project_and_before_the_interpreters_own(node, tmp_path):
    """`pytest` stands for a package that the interpreter has: here of a virtual environment's own."""
    environment = tmp_path / "env"
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", environment], check=True)
    (own,) = environment.glob("lib/python3*/site-packages")
    (own / "both.py").write_text("WHERE = 'interpreter'")
    (own / "single.py").write_text("WHERE = 'interpreter'")
    files = {
        FOLDER + "both.py": "WHERE = 'packed'",
        FOLDER + "mine.py": "WHERE = 'packed'",
        "mine.py": "WHERE = 'project'",
    }
    code = "import both, mine, single; print(both.WHERE, mine.WHERE, single.WHERE)"
    ran = node.run(code, files=files, env={"DRAY_PYTHON": str(environment)})
    assert ran.stdout == "packed project interpreter\n"


def test_what_pip_installed_by_hand_works(node, tmp_path):
    target = tmp_path / "target"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", target, "six==1.17.0"]
    subprocess.run(command, check=True)
    files = {FOLDER + str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}
    code = "import six, importlib.metadata as m; print(six.__version__, m.version('six'))"
    assert node.run(code, files=files).stdout == "1.17.0 1.17.0\n"


def test_a_folder_that_is_run_in_place_has_them_too(dray, node, tmp_path):
    with zipfile.ZipFile(node.zip("import pkg; print(pkg.VALUE)")) as archive:
        archive.extractall(tmp_path / "work")
    ran = dray("run", tmp_path / "work", env=node.env)
    assert ran.stdout == "42\n", ran.stderr
    assert not node.store.exists()


def test_the_tree_has_them_in_their_place(node):
    code = f"import os; print(os.path.realpath({FOLDER!r}), sorted(os.listdir({FOLDER!r})))"
    place, names = node.run(code, files={**PACKAGE, MANIFEST: manifest()}).stdout.split(" ", 1)
    assert Path(place) == node.entries()[0] / "site-packages"
    assert names.strip() == "['pkg', 'pkg-1.0.dist-info']"


def test_the_second_task_unpacks_nothing_but_the_project(node):
    code = "import pkg, os; s = os.stat(pkg.__file__); print(s.st_ino, s.st_ctime_ns); open('mine', 'x')"
    first = node.run(code)
    second = node.run("import os\n" + code)  # the project's own files are another's
    assert (was_unpacked(first), was_unpacked(second)) == (True, False)
    assert first.stdout == second.stdout


def test_what_the_first_task_imported_is_compiled_for_the_second(node):
    code = "import pkg, os; p = pkg.inner.__cached__; print(os.path.exists(p) and os.stat(p).st_mtime_ns)"
    assert node.run("import pkg").stdout == ""
    first = node.run(code).stdout
    assert first != "False\n" and node.run(code).stdout == first


def test_other_content_is_another_entry_and_other_times_are_not(node):
    node.run("import pkg")
    node.run("import pkg", files={**PACKAGE, FOLDER + "pkg/inner.py": "VALUE = 43\n"})
    assert len(node.entries()) == 2
    ran = node.run("import pkg; print(pkg.VALUE)")
    assert (was_unpacked(ran), ran.stdout) == (False, "42\n")


def test_nothing_in_the_store_can_be_written_but_compiled_files(node):
    node.run("import pkg")
    (entry,) = node.entries()
    writable = {path.name for path in entry.rglob("*") if path.stat().st_mode & stat.S_IWUSR and path.suffix != ".pyc"}
    assert writable == {"__pycache__"}
    others = {path.name for path in [entry, *entry.rglob("*")] if path.stat().st_mode & 0o022}
    assert others == set()


@pytest.mark.parametrize("damage", ["missing", "shorter", "writable", "listing", "unlisted", "another user's"])
def test_an_entry_that_is_not_as_it_was_made_is_made_anew(node, damage):
    node.run("import pkg")
    (entry,) = node.entries()
    module = entry / "site-packages/pkg/inner.py"
    subprocess.run(["chmod", "-R", "u+w", entry], check=True)
    if damage == "missing":
        module.unlink()
    elif damage == "shorter":
        module.write_text("")
    elif damage == "writable":
        module.chmod(0o666)
    elif damage == "listing":
        (entry / "listing").write_text("x")
    elif damage == "unlisted":
        (entry / "listing").unlink()
    elif os.geteuid() == 0:
        os.chown(module, 65534, 65534)
    else:
        pytest.skip("only root can give a file to another user")
    ran = node.run("import pkg; print(pkg.VALUE)")
    assert (was_unpacked(ran), ran.stdout) == (True, "42\n")
    assert len(node.entries()) == 1
    assert was_unpacked(node.run("import pkg")) is False


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_tasks_of_two_users_have_an_entry_each(node, executable, tmp_path):
    node.shared.chmod(0o1777)
    node.run("import pkg")
    path = node.zip("import os, pkg; print(os.stat(pkg.__file__).st_uid)")
    folder = tmp_path / "other"
    folder.mkdir()
    # Where the other user may read and go.
    public = Path(f"/tmp/dray-test-{os.getpid()}")
    shutil.copytree(executable.parent, public, ignore=lambda _, names: set(names) - {"dray", "libdray_native.so"})
    shutil.copytree(Path(__file__).parent.parent / "python" / "dray", public / "payload" / "dray")
    shutil.copy(public / "libdray_native.so", public / "payload" / "dray" / "_native.abi3.so")
    shutil.copy(path, public / "project.zip")
    task, shared = public / "task", public / "shared"
    task.mkdir()
    try:
        shutil.copytree(node.shared, shared, symlinks=True)
        for item in (task, public):
            os.chown(item, 65534, 65534)
        shared.chmod(0o1777)
        env = {
            "PATH": "/usr/bin:/bin",
            "AZ_BATCH_NODE_SHARED_DIR": str(shared),
            "DRAY_PAYLOAD": str(public / "payload"),
        }
        command = [public / "dray", "run", "--python", "/usr/bin/python3", public / "project.zip"]
        ran = subprocess.run(command, cwd=task, env=env, user=65534, group=65534, capture_output=True, text=True)
        assert ran.stdout == "65534\n", ran.stderr
        assert (shared / "dray-65534" / "dependencies").stat().st_uid == 65534
        assert stat.S_IMODE((shared / "dray-65534").stat().st_mode) == 0o700
    finally:
        subprocess.run(["rm", "-rf", public], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_store_of_another_user_is_not_used(node):
    node.run("import pkg")
    os.chown(node.store, 65534, 65534)
    ran = node.run("import pkg; print(pkg.__file__)")
    assert was_unpacked(ran) is None and ".dray" in ran.stdout


@pytest.mark.parametrize("how", ["option", "variable", "key", "no cache"])
def test_packages_can_be_had_for_one_run_alone(node, how):
    options, env, files = [], {}, dict(PACKAGE)
    if how == "option":
        options = ["--fresh-dependencies"]
    elif how == "variable":
        env = {"DRAY_FRESH_DEPENDENCIES": "1"}
    elif how == "key":
        files["pyproject.toml"] = "[tool.dray]\nfresh-dependencies = true\n"
    else:
        env = {"DRAY_CACHE": "off"}
    ran = node.run("import pkg; print(pkg.__file__)", *options, files=files, env=env)
    assert was_unpacked(ran) is None and f"/project/{FOLDER}pkg" in ran.stdout
    assert node.entries() == []


def test_a_store_on_a_full_disk_is_done_without(node, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small]).returncode:
        pytest.skip("no small file system can be mounted")
    try:
        files = {**PACKAGE, FOLDER + "pkg/large.bin": os.urandom(200_000)}
        ran = node.run("import pkg; print(pkg.VALUE)", files=files, env={"AZ_BATCH_NODE_SHARED_DIR": str(small)})
        assert ran.stdout == "42\n"
        assert "they are unpacked for this one" in ran.stderr
        assert not list((small / f"dray-{os.geteuid()}" / "dependencies").glob("*making*"))
    finally:
        subprocess.run(["umount", small], check=True)


def test_two_tasks_at_once_unpack_once(node, start, tmp_path):
    files = {**PACKAGE, **{FOLDER + f"pkg/m{n}.py": os.urandom(20_000).hex() for n in range(300)}}
    path = node.zip("import pkg; print(pkg.VALUE)", files)
    runs = []
    for number in range(3):
        folder = tmp_path / f"at-once-{number}"
        folder.mkdir()
        runs.append(start("run", path, cwd=folder, env=node.env))
    ends = [run.communicate(timeout=60) for run in runs]
    assert [stdout for stdout, _ in ends] == ["42\n"] * 3
    unpacked = [was_unpacked(subprocess.CompletedProcess([], 0, *end)) for end in ends]
    assert sorted(map(bool, unpacked)) == [False, False, True]


def test_a_task_that_is_killed_while_unpacking_harms_nobody(node, start, tmp_path):
    files = {**PACKAGE, **{FOLDER + f"pkg/m{n}.bin": os.urandom(2_000_000) for n in range(60)}}
    path = node.zip("import pkg; print(pkg.VALUE)", files)
    folder = tmp_path / "killed"
    folder.mkdir()
    process = start("run", path, cwd=folder, env=node.env)
    for _ in range(2000):
        if list(node.store.glob("*.making-*")) if node.store.is_dir() else []:
            break
        time.sleep(0.001)
    process.kill()
    process.communicate(timeout=30)
    assert [path.name for path in node.entries() if "making" in path.name]
    ran = node.run("import pkg; print(pkg.VALUE)", files=files)
    assert (was_unpacked(ran), ran.stdout) == (True, "42\n")
    assert [path for path in node.entries() if "making" in path.name] == []


def test_what_was_not_used_for_long_is_removed_and_what_is_in_use_is_not(node, start, tmp_path):
    for number in range(3):
        node.run("import pkg", files={**PACKAGE, FOLDER + "number.py": f"N = {number}"})
    in_use, *old = node.entries()
    # The task that uses the first one still runs.
    number = (in_use / "site-packages/number.py").read_text()
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    path = node.zip(
        f"import pkg; print(1, flush=True); open({str(gate)!r}).read()", {**PACKAGE, FOLDER + "number.py": number}
    )
    folder = tmp_path / "using"
    folder.mkdir()
    process = start("run", path, cwd=folder, env=node.env)
    assert process.stdout.readline() == "1\n"
    month_ago = time.time() - 30 * 24 * 3600
    for entry in node.entries():
        os.utime(f"{entry}.lock", (month_ago, month_ago))
    # Removed beside the script, so that it is there long enough.
    node.run("import pkg, time; time.sleep(1)", files={**PACKAGE, FOLDER + "number.py": "N = 9"})
    assert in_use in node.entries() and not set(old) & set(node.entries())
    assert len(list(node.store.iterdir())) == 4
    gate.write_text("")
    assert process.wait(timeout=30) == 0


@pytest.mark.parametrize("options", [[], ["--timeout", "30s"]], ids=["no limit", "time limit"])
def test_an_entry_that_lacks_a_file_and_is_in_use_is_not_waited_for(node, start, tmp_path, options):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    folder = tmp_path / "using"
    folder.mkdir()
    code = f"import pkg; print(1, flush=True); open({str(gate)!r}).read()"
    process = start("run", node.zip(code), cwd=folder, env=node.env)
    assert process.stdout.readline() == "1\n"
    (entry,) = node.entries()
    (entry / "site-packages/pkg").chmod(0o755)
    (entry / "site-packages/pkg/inner.py").unlink()
    for unpacked in (True, False):  # beside the other one, where the next task finds it
        begun = time.monotonic()
        ran = node.run("import pkg; print(pkg.VALUE)", *options)
        assert (was_unpacked(ran), ran.stdout) == (unpacked, "42\n") and time.monotonic() - begun < 10
        assert "lack files, and a task that runs uses them" in ran.stderr
    gate.write_text("")
    assert process.wait(timeout=30) == 0
    ran = node.run("import pkg; print(pkg.VALUE)")
    assert (was_unpacked(ran), ran.stdout) == (True, "42\n")


def test_a_link_that_leaves_the_packages_is_still_unpacked_with_the_project(node, tmp_path, dray):
    path = tmp_path / "linked.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("main.py", "import pkg, linked; print(pkg.VALUE, linked.X)")
        archive.writestr("inside.py", "X = 1")
        for name, content in PACKAGE.items():
            archive.writestr(name, content)
        link = zipfile.ZipInfo(FOLDER + "linked.py")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "../../../inside.py")
    ran = dray("run", path, env=node.env)
    assert ran.stdout == "42 1\n", ran.stderr


def test_another_python_than_they_were_packed_for_is_refused(node):
    files = {**PACKAGE, MANIFEST: manifest("3.99")}
    ran = node.run("print('started')", files=files, ok=False)
    assert (ran.returncode, ran.stdout) == (113, "")
    last = ran.stderr.splitlines()[-1]
    assert "the project's dependencies were packed for Python 3.99" in last
    assert f"`dray pack --python {HERE}`, or let the node have Python 3.99" in last
    assert node.entries() == [] or was_unpacked(ran) is not None


def test_the_python_that_they_were_packed_for_is_looked_for(node):
    others = [path for path in interpreters() if version_of(path) != HERE]
    if not others:
        pytest.skip("this machine has one version of Python")
    other = others[0]
    path = f"{Path(PYTHON).parent}:{other.parent}"
    files = {**PACKAGE, MANIFEST: manifest(version_of(other))}
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    ran = node.run(code, files=files, env={"DRAY_PYTHON": "", "PATH": path})
    assert ran.stdout == version_of(other) + "\n"


def version_of(python: Path) -> str:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_a_node_with_an_older_c_library_is_refused(node):
    wheel = "pkg-1.0-cp312-cp312-manylinux_2_99_x86_64.whl"
    ran = node.run("print('started')", files={**PACKAGE, MANIFEST: manifest(wheel=wheel)}, ok=False)
    assert (ran.returncode, ran.stdout) == (113, "")
    last = ran.stderr.splitlines()[-1]
    glibc = os.confstr("CS_GNU_LIBC_VERSION").split()[1]
    assert f"and this node has glibc {glibc} on x86_64: pkg 1.0 would not load" in last
    assert f"`dray pack --platform manylinux_{glibc.replace('.', '_')}_x86_64`" in last


def test_a_node_with_an_older_c_library_than_was_asked_for_serves_packages_that_need_less(node):
    document = manifest(platform="manylinux_2_99_x86_64")
    assert node.run("import pkg; print(pkg.VALUE)", files={**PACKAGE, MANIFEST: document}).stdout == "42\n"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("{", "EOF while parsing"),
        (manifest(format=2), "its format is 2, and this version of dray reads 1"),
        (manifest(python="3"), "`python` is `3`, not a version such as `3.12`"),
    ],
)
def test_a_manifest_that_is_none_is_refused(node, text, wanted):
    ran = node.run("print('started')", files={**PACKAGE, MANIFEST: text}, ok=False)
    assert (ran.returncode, ran.stdout) == (111, "")
    assert f"`{MANIFEST}` in the project cannot be used: {wanted}" in ran.stderr.splitlines()[-1]


def test_the_limits_of_a_zip_hold_for_it_as_a_whole(node):
    files = {**PACKAGE, FOLDER + "pkg/zeros.bin": b"\0" * 3_000_000}
    ran = node.run("print('started')", "--max-unpacked-bytes", "3000000", files=files, ok=False)
    assert ran.returncode == 111 and "more than the limit of 3000000 bytes" in ran.stderr
    # Its packages alone expand more than the whole, which some noise makes acceptable.
    files["noise.bin"] = os.urandom(100_000)
    node.run("print('started')", "--max-ratio", "40", files=files)


def test_a_dry_run_says_what_they_were_packed_for(node):
    said = node.run("", "--dry-run", files={**PACKAGE, MANIFEST: manifest()}).stdout
    assert f"dependencies    packed for Python {HERE} and manylinux_2_39_x86_64, 1 distributions" in said
    assert not node.store.exists()
