"""Which Python runs a project, and that it runs there as under `python` itself.

Every CPython of this machine is driven, in and out of a virtual environment, loaded as a library and hosted by its own
executable. The reference is always the interpreter started by hand with the same script.
"""

import json
import os
import pathlib
import subprocess
import sys
import zipfile

import pytest
from conftest import AT_LENGTH

ROOT = pathlib.Path(__file__).resolve().parent.parent
DRAY = os.environ.get("DRAY_EXECUTABLE", str(ROOT / "target" / "debug" / "dray"))
OLDEST = (3, 9)

SURROUNDINGS = """\
import ctypes, json, os, site, sqlite3, ssl, sys, sysconfig
payload = os.sep + ".dray" + os.sep
json.dump({
    "executable": sys.executable,
    "base_executable": sys._base_executable,
    "prefix": [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix],
    "path": [entry for entry in sys.path[1:] if payload not in entry],
    "version": sys.version,
    "arguments": sys.argv[1:],
    "site": site.getsitepackages(),
    "user_site": site.ENABLE_USER_SITE,
    "purelib": sysconfig.get_path("purelib"),
    "suffix": sysconfig.get_config_var("EXT_SUFFIX"),
    "libraries": [ssl.OPENSSL_VERSION, sqlite3.sqlite_version, ctypes.sizeof(ctypes.c_void_p)],
    "modules": sorted(sys.builtin_module_names),
}, sys.stdout)
"""

CHILDREN = """\
import json, multiprocessing, os, subprocess, sys

def look(_):
    import dray._native
    return [sys.executable, os.path.basename(dray._native.__file__)]

if __name__ == "__main__":
    seen = {}
    for method in ("spawn", "fork", "forkserver"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            seen[method] = pool.map(look, [0])[0]
    code = "import os, sys, dray._native as n; print(sys.executable, os.path.basename(n.__file__))"
    seen["subprocess"] = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    json.dump(seen, sys.stdout)
"""


def version_of(python):
    """The version of an executable that is a CPython and starts, else None."""
    code = "import sys; print(sys.implementation.name, *sys.version_info[:2])"
    try:
        done = subprocess.run(
            [python, "-I", "-c", code], stdin=subprocess.DEVNULL, check=False, capture_output=True, text=True
        )
    except OSError:
        return None
    words = done.stdout.split()
    return tuple(map(int, words[1:])) if done.returncode == 0 and words[:1] == ["cpython"] else None


def every_python():
    """Every Python of this machine, by real file: pyenv's, the distribution's, and the one that runs the tests."""
    pyenv = pathlib.Path(os.environ.get("PYENV_ROOT") or pathlib.Path.home() / ".pyenv")
    places = [*sorted(pyenv.glob("versions/*/bin/python")), *sorted(pathlib.Path("/opt").glob("*/bin/python3"))]
    for folder in ("/usr/bin", "/usr/local/bin"):
        places += [
            pathlib.Path(folder, "python3"),
            *sorted(pathlib.Path(folder).glob("python3.?")),
            *sorted(pathlib.Path(folder).glob("python3.??")),
        ]
    places += [pathlib.Path(sys.base_prefix, "bin", "python3"), pathlib.Path("/usr/bin/pypy3")]
    found = {}
    for place in places:
        if place.exists():
            found.setdefault(place.resolve(), str(place))
    return list(found.values())


PYTHONS = {python: version_of(python) for python in every_python()}
USABLE = [python for python, version in PYTHONS.items() if version and version >= OLDEST]
OLDEST_AND_NEWEST = sorted({choose(USABLE, key=PYTHONS.__getitem__) for choose in (min, max) if USABLE})
UNUSABLE = [python for python, version in PYTHONS.items() if python not in USABLE]


def clean_environment(**variables):
    left_out = ("DRAY_", "AZ_BATCH_", "PYTHON", "PYENV_VERSION", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    if "DRAY_PAYLOAD" in os.environ:
        environment["DRAY_PAYLOAD"] = os.environ["DRAY_PAYLOAD"]
    return {**environment, **variables}


def run(*command, cwd, **variables):
    return subprocess.run(
        [os.fspath(part) for part in command],
        cwd=cwd,
        env=clean_environment(**variables),
        stdin=subprocess.DEVNULL,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


class Node:
    """A folder as a task has it: a project to run in place, and a cache of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.project = folder / "project"
        self.project.mkdir()
        self.cache = folder / "cache"

    def script(self, text, name="main.py"):
        (self.project / name).write_text(text, encoding="utf-8")

    def zip(self, files, *folders):
        """Makes p.zip of these files, and of what is in these folders of the project."""
        with zipfile.ZipFile(self.folder / "p.zip", "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
            for path in (path for folder in folders for path in folder.rglob("*") if path.is_file()):
                archive.write(path, path.relative_to(self.project))

    def dray(self, *arguments, **variables):
        variables.setdefault("XDG_CACHE_HOME", str(self.cache))
        return run(DRAY, "run", *arguments, cwd=self.folder, **variables)

    def under(self, python, *arguments, **variables):
        """Runs main.py by dray under one Python, and expects it to end well."""
        done = self.dray("--python", python, self.project, "main.py", *arguments, **variables)
        assert done.returncode == 0, done.stderr
        return done


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path)


@pytest.fixture(scope="session")
def virtual_environment(tmp_path_factory):
    """Makes a virtual environment of a Python, once a session."""
    made = {}

    def make(python):
        if python not in made:
            folder = tmp_path_factory.mktemp("environment") / "env"
            done = run(python, "-m", "venv", "--without-pip", folder, cwd="/")
            assert done.returncode == 0, done.stdout + done.stderr
            made[python] = folder / "bin" / "python"
        return made[python]

    return make


@pytest.fixture(params=["direct", "venv"])
def chosen(request, virtual_environment):
    """One usable Python: itself, or the interpreter of a virtual environment of it."""
    base = request.getfixturevalue("base")
    return base if request.param == "direct" else str(virtual_environment(base))


def test_this_machine_has_a_python_to_test_with():
    assert USABLE


@pytest.mark.parametrize("loading", ["library", "hosted"])
@pytest.mark.parametrize("base", USABLE)
def test_a_script_sees_the_surroundings_that_its_interpreter_would_give_it(node, base, chosen, loading):
    node.script(SURROUNDINGS)
    expected = run(chosen, "main.py", "a b", "--c=é", cwd=node.project, PYTHONUTF8="1")
    assert expected.returncode == 0, expected.stderr
    done = node.under(chosen, "a b", "--c=é", DRAY_LOADING=loading)
    assert json.loads(done.stdout) == json.loads(expected.stdout)


# Where Python is started: the task's folder, if it is before the project is there.
STARTED_IN = "import os\nopen(os.environ['STARTED_IN'], 'w').write(os.getcwd())\n"


@pytest.mark.parametrize("base", USABLE)
def test_a_python_that_is_started_before_the_project_is_there_is_the_same(node, base, chosen, tmp_path):
    node.zip({"main.py": SURROUNDINGS, "beside.py": ""})
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(STARTED_IN)
    variables = {"PYTHONPATH": str(tmp_path / "site"), "STARTED_IN": str(tmp_path / "started-in")}
    node.script(SURROUNDINGS)
    expected = run(chosen, "main.py", "a b", "--c=é", cwd=node.project, PYTHONUTF8="1", **variables)
    assert expected.returncode == 0, expected.stderr
    started_in = []
    for _ in ("not known yet", "known"):
        done = node.dray("--python", chosen, "p.zip", "main.py", "a b", "--c=é", **variables)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == json.loads(expected.stdout)
        started_in.append((tmp_path / "started-in").read_text())
    assert started_in[0].endswith("/project")
    assert started_in[1] == str(node.folder)


def test_a_relative_folder_on_pythonpath_is_one_of_the_project(node):
    node.zip({"main.py": "import there; print(there.__file__, __file__)", "lib/there.py": ""})
    for _ in ("not known yet", "known"):
        done = node.dray("--python", USABLE[0], "p.zip", "main.py", PYTHONPATH="lib")
        there, script = done.stdout.split()
        assert there == os.path.join(os.path.dirname(script), "lib", "there.py"), done.stderr


def test_an_environment_in_the_working_directory_may_be_named_without_a_slash(node):
    node.zip({"main.py": "import sys; print(sys.prefix)"})
    subprocess.run([USABLE[0], "-m", "venv", "--without-pip", node.folder / ".venv"], check=True)
    for _ in ("not known yet", "known"):
        done = node.dray("--python", ".venv", "p.zip", "main.py")
        assert done.stdout == f"{node.folder / '.venv'}\n", done.stderr


@pytest.mark.parametrize("loading", ["library", "hosted"])
def test_a_zip_that_brings_an_environment_is_run_by_that_one(node, loading):
    base = next((python for python in USABLE if python.startswith("/usr/bin/")), USABLE[0])
    made = run(base, "-m", "venv", "--without-pip", "--copies", node.project / "env", cwd="/")
    assert made.returncode == 0, made.stderr
    script = "import os, sys; print(os.path.relpath(sys.prefix), *sys.argv[1:], os.getcwd() == sys.path[0])\n"
    script += "print(*(os.path.basename(folder) for folder in os.environ['PYTHONPATH'].split(':')))"
    node.zip({"main.py": "print('other')"})
    (node.folder / "p.zip").rename(node.folder / "other.zip")
    node.zip({"main.py": script}, node.project / "env")
    variables = {"PATH": os.path.dirname(base) + ":/usr/bin:/bin", "DRAY_LOADING": loading, "PYTHONPATH": "/one:/two"}
    for known in (False, True):
        if known:
            # Another one then, which is started before the project is there.
            assert node.dray(node.folder / "other.zip", "main.py", **variables).stdout == "other\n"
        done = node.dray("p.zip", "main.py", "x", **variables)
        assert done.stdout == "env x True\npayload one two\n", done.stderr


@pytest.mark.parametrize("loading", ["library", "hosted"])
@pytest.mark.parametrize("base", USABLE)
def test_the_process_is_dray_with_a_library_and_the_interpreter_without(node, base, loading):
    node.script("import os; print(os.readlink('/proc/self/exe'))")
    seen = node.under(base, DRAY_LOADING=loading).stdout.strip()
    assert seen == os.path.realpath(DRAY if loading == "library" else base)


@pytest.mark.parametrize("loading", ["library", "hosted"])
@pytest.mark.parametrize("base", USABLE)
def test_child_interpreters_of_every_kind_import_dray(node, base, chosen, loading):
    node.script(CHILDREN)
    seen = json.loads(node.under(chosen, DRAY_LOADING=loading).stdout)
    assert seen == {how: [chosen, "_native.abi3.so"] for how in ("spawn", "fork", "forkserver", "subprocess")}


@pytest.mark.parametrize("base", USABLE if AT_LENGTH else OLDEST_AND_NEWEST)
def test_numpy_of_a_virtual_environment_works_with_either_loading(node, base, tmp_path):
    environment = tmp_path / "env"
    assert run(base, "-m", "venv", "--without-pip", environment, cwd="/").returncode == 0
    python = environment / "bin" / "python"
    # Outside the clean environment: pip may be told by variables where its index is.
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile"]
    install += ["--only-binary", ":all:", "numpy"]
    done = subprocess.run(install, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    node.script("import numpy, dray._native; print(numpy.__file__, numpy.linalg.det(numpy.eye(3)))")
    for loading in ("library", "hosted"):
        path, determinant = node.under(python, DRAY_LOADING=loading).stdout.split()
        assert path.startswith(str(environment)) and determinant == "1.0"


@pytest.mark.parametrize("base", USABLE)
def test_the_native_module_is_loaded_where_it_is_needed_and_once(node, base):
    node.script(
        "def loaded():\n"
        "    maps = open('/proc/self/maps').read().splitlines()\n"
        "    return sorted({line.split(None, 5)[5] for line in maps if '_native.' in line})\n"
        "before = loaded()\n"
        "import dray._native\n"
        "print(before == [], loaded() == [dray._native.__file__])\n"
    )
    assert node.under(base, DRAY_LOADING="library").stdout.strip() == "True True"


@pytest.mark.parametrize("other", [*UNUSABLE, "/bin/cat"])
def test_what_does_not_do_is_refused_with_what_was_found(node, other):
    node.script("print('ran')")
    done = node.dray("--python", other, node.project, "main.py")
    assert done.returncode == 113
    assert "ran" not in done.stdout
    reasons = ("3.9 or newer is needed", "only CPython does", "did not answer as a Python would")
    assert other in done.stderr and any(reason in done.stderr for reason in reasons), done.stderr


def test_a_python_named_by_the_variable_must_do(node):
    node.script("print('ran')")
    done = node.dray(node.project, "main.py", DRAY_PYTHON="/bin/cat")
    assert done.returncode == 113
    assert "named by `DRAY_PYTHON`" in done.stderr


def test_a_dry_run_says_which_python_and_why_others_were_passed_over(node, virtual_environment):
    node.script("print('ran')")
    broken = node.project / ".venv"
    (broken / "bin").mkdir(parents=True)
    (broken / "pyvenv.cfg").write_text("home = /opt/gone/bin\n")
    (broken / "bin" / "python3").symlink_to("/opt/gone/bin/python3")
    done = node.dray("--dry-run", node.project, "main.py", PATH=str(virtual_environment(USABLE[0]).parent))
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "`/opt/gone/bin`, is gone" in said and str(virtual_environment(USABLE[0]).parent) in said
    assert "ran" not in done.stdout


def test_the_projects_virtual_environment_is_taken_before_path(node):
    node.script("import sys; print(sys.prefix)")
    assert run(USABLE[-1], "-m", "venv", "--without-pip", node.project / "env", cwd="/").returncode == 0
    done = node.dray(node.project, "main.py")
    assert done.stdout.strip() == str(node.project / "env"), done.stderr


def test_requires_python_decides_between_the_pythons_on_path(node, tmp_path):
    node.script("import sys; print('%d.%d' % sys.version_info[:2])")
    (node.project / "pyproject.toml").write_text('[project]\nname = "p"\nversion = "1"\nrequires-python = ">3.0,<3"\n')
    done = node.dray(node.project, "main.py")
    assert done.returncode == 113 and "the project requires" in done.stderr
    newest = max(USABLE, key=PYTHONS.get)
    major, minor = PYTHONS[newest]
    (node.project / "pyproject.toml").write_text(
        f'[project]\nname = "p"\nversion = "1"\nrequires-python = ">={major}.{minor}"\n'
    )
    folders = tmp_path / "oldest", tmp_path / "newest"
    for folder, python in zip(folders, (min(USABLE, key=PYTHONS.get), newest)):
        folder.mkdir()
        (folder / "python3").symlink_to(python)
    done = node.dray(node.project, "main.py", PATH=os.pathsep.join(map(str, folders)))
    assert done.stdout.strip() == f"{major}.{minor}", done.stderr


def test_a_python_is_asked_once_and_again_when_it_changes(node, tmp_path):
    node.script("import sys; print('%d.%d' % sys.version_info[:2])")
    link = tmp_path / "bin" / "python3"
    link.parent.mkdir()
    link.symlink_to(USABLE[0])
    first = node.under(link).stdout
    entries = list((node.cache / "dray").glob("python-*"))
    assert len(entries) == 1
    kept = entries[0].stat()
    assert node.under(link).stdout == first
    assert entries[0].stat().st_ino == kept.st_ino
    link.unlink()
    link.symlink_to(USABLE[-1])
    assert node.under(link).stdout.strip() == "{}.{}".format(*PYTHONS[USABLE[-1]])
    assert entries[0].stat().st_ino != kept.st_ino or entries[0].stat().st_mtime_ns != kept.st_mtime_ns


def test_a_launcher_is_asked_each_time(node, tmp_path):
    node.script("import sys; print(sys.executable)")
    launcher = tmp_path / "python3"
    for python in (USABLE[0], USABLE[-1]):
        (tmp_path / "choice").write_text(python)
        if not launcher.exists():
            launcher.write_text(f'#!/bin/sh\nexec "$(cat {tmp_path}/choice)" "$@"\n')
            launcher.chmod(0o755)
        assert node.under(launcher).stdout.strip() == python


@pytest.mark.parametrize("other", ["another build", "torn"])
def test_a_library_that_cannot_be_used_after_all_makes_the_interpreter_host_the_package(node, tmp_path, other):
    node.script("import os, dray._native; print(os.readlink('/proc/self/exe'))")
    assert node.under(USABLE[0]).stdout.strip() == os.path.realpath(DRAY)
    torn = tmp_path / "libpython.so"
    torn.write_bytes(b"not a library")
    # What was remembered becomes wrong, as after an upgrade while a task starts.
    (entry,) = (node.cache / "dray").glob("python-*")
    kept = json.loads(entry.read_text())
    if other == "another build":
        kept["facts"]["version_text"] = "3.11.0 (of another build)"
    else:
        kept["facts"]["build"]["library"] = str(torn)
    entry.write_text(json.dumps(kept))
    assert node.under(USABLE[0]).stdout.strip() == os.path.realpath(USABLE[0])
    done = node.dray("--python", USABLE[0], node.project, "main.py", DRAY_LOADING="library")
    assert done.returncode == 113
    assert "cannot load libpython" in done.stderr or "not of one build" in done.stderr


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_an_interpreter_that_cannot_be_started_after_all_is_named(node, tmp_path, kind):
    """As while an upgrade writes it: the kernel starts no file that somebody has open for writing."""
    node.script("print('ran')")
    node.zip({"main.py": "print('ran')"})
    project = node.project if kind == "folder" else "p.zip"
    folder = tmp_path / "copied"
    assert run("/usr/bin/python3", "-m", "venv", "--copies", "--without-pip", folder, cwd="/").returncode == 0
    python = folder / "bin" / "python3"
    for _ in range(2):
        assert node.dray("--python", python, project, "main.py", DRAY_LOADING="hosted").stdout == "ran\n"
    with python.open("r+b"):
        done = node.dray("--python", python, project, "main.py", DRAY_LOADING="hosted")
    assert (done.returncode, done.stdout) == (113, "")
    said = f"error: cannot start the interpreter `{python}`: Text file busy (os error 26)"
    assert done.stderr.splitlines()[-1] == said


def test_an_unknown_loading_is_a_usage_error(node):
    node.script("print('ran')")
    done = node.dray(node.project, "main.py", DRAY_LOADING="static")
    assert done.returncode == 110 and "allowed are `auto`, `library` and `hosted`" in done.stderr
