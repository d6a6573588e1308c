"""What `make dist` gives to users: that it runs where they are, and brings what it must.

Looked at in an unoptimized build, which is made in less than half the time; with DRAY_DIST=optimized, as `make test-long` has
it, in the one that users are given.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import stat
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import distribution_root
import pyarrow
import pytest
from conftest import Task, interpreters
from databases import microsoft_driver
from tds_server import tds_server
from test_build import ALLOWED, LOOKED_UP

ROOT = Path(__file__).resolve().parent.parent
LARGEST_EXECUTABLE_BYTES = 8_000_000
NATIVE_MODULE = "dray/_native.abi3.so"
LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")

OPTIMIZED = os.environ.get("DRAY_DIST") == "optimized"

# The first to ask for it waits for a build.
pytestmark = pytest.mark.timeout(1800)

COPY = """
import platform, sqlite3, sys
import dray

source, target = (f"Driver={{SQLite3}};Database={name}.db" for name in ("source", "target"))
with sqlite3.connect("source.db") as db:
    db.execute("CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT)")
    db.execute("INSERT INTO names VALUES (1, 'Zoë'), (2, NULL)")
db.close()
report = dray.copy_table(source, target, "names")
dray.copy_tables([dray.Copy(source, "names", into="by_odbc")], target=target, lanes="odbc")
db = sqlite3.connect("target.db")
print(db.execute("SELECT * FROM names").fetchall(), db.execute("SELECT * FROM by_odbc").fetchall())
dray.outputs.update(rows=report.rows, arguments=sys.argv[1:], python=platform.python_version(), prefix=sys.prefix)
"""
PANDAS = """
import pandas

people = pandas.DataFrame({"town": ["Uster", "Zürich", "Uster"], "count": [1, 2, 3]})
print(people.groupby("town")["count"].sum().to_dict(), ".python_packages" in pandas.__file__)
"""
COPIED = "[(1, 'Zoë'), (2, None)] [(1, 'Zoë'), (2, None)]\n"


@pytest.fixture(scope="session")
def dist() -> Path:
    """The folder that `make dist` fills, or its unoptimized twin."""
    command = [sys.executable, ROOT / "packaging" / "dist" / "run.py", *([] if OPTIMIZED else ["--unoptimized"])]
    made = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    return ROOT / "dist" if OPTIMIZED else ROOT / "target" / "dist-test"


@pytest.fixture(scope="session")
def program(dist: Path) -> Path:
    return dist / "dray"


@pytest.fixture(scope="session")
def native_module(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The native module inside the executable."""
    path = tmp_path_factory.mktemp("payload") / Path(NATIVE_MODULE).name
    path.write_bytes(unpacked_native_module(program))
    return path


def unpacked_native_module(program: Path) -> bytes:
    """By the method Zstandard, which `zipfile` knows from Python 3.14 on alone."""
    with zipfile.ZipFile(program) as payload, program.open("rb") as file:
        member = payload.getinfo(NATIVE_MODULE)
        # Behind the name and what may follow it (APPNOTE.TXT 4.3.7).
        file.seek(member.header_offset + 26)
        file.seek(sum(struct.unpack("<HH", file.read(4))), os.SEEK_CUR)
        packed = file.read(member.compress_size)
    content: bytes = pyarrow.decompress(packed, member.file_size, codec="zstd", asbytes=True)
    assert (member.compress_type, zlib.crc32(content)) == (93, member.CRC)
    return content


@pytest.fixture(params=["program", "native_module"])
def binary(request: pytest.FixtureRequest) -> Path:
    path: Path = request.getfixturevalue(request.param)
    return path


def readelf(path: Path, option: str) -> str:
    return subprocess.run(["readelf", "--wide", option, path], capture_output=True, text=True, check=True).stdout


def only(paths: list[Path]) -> Path:
    assert len(paths) == 1, paths
    return paths[0]


def test_no_symbol_newer_than_glibc_2_17_is_needed(binary: Path) -> None:
    needed = readelf(binary, "--version-info").partition("Version needs section")[2]
    versions = set(re.findall(r"Name: (\S+)", needed))
    assert "GLIBC_2.2.5" in versions
    numbers = {tuple(map(int, name.removeprefix("GLIBC_").split("."))) for name in versions}
    assert max(numbers) <= (2, 17), versions


def test_no_library_but_those_of_libc_and_libgcc_is_needed(binary: Path) -> None:
    needed = set(re.findall(r"\(NEEDED\).*\[(.+)\]", readelf(binary, "--dynamic")))
    assert "libc.so.6" in needed
    assert needed <= ALLOWED


@pytest.mark.skipif(not OPTIMIZED, reason="DRAY_DIST=optimized is not set")
def test_the_executable_is_small(program: Path) -> None:
    assert program.stat().st_size < LARGEST_EXECUTABLE_BYTES


def test_the_executable_is_stripped(program: Path) -> None:
    assert ".symtab" not in readelf(program, "--section-headers")


def test_the_module_exports_what_python_and_bulk_copy_look_up_and_nothing_else(native_module: Path) -> None:
    listed = subprocess.run(["nm", "-D", "--defined-only", native_module], capture_output=True, text=True, check=True)
    exported = {line.split()[-1] for line in listed.stdout.splitlines()}
    assert exported == {"PyInit__native", *LOOKED_UP}


def test_nothing_tells_of_the_machine_that_built_it(binary: Path) -> None:
    content = binary.read_bytes()
    cargo_home = os.environ.get("CARGO_HOME") or str(Path("~/.cargo").expanduser())
    assert b"/registry/" in content
    assert b"/registry/index." not in content
    assert str(ROOT).encode() not in content
    assert cargo_home.encode() not in content


def test_the_payload_is_appended_whole(program: Path) -> None:
    with zipfile.ZipFile(program) as payload:
        names = set(payload.namelist())
        for name in names - {NATIVE_MODULE}:
            assert payload.read(name) or name.endswith("py.typed"), "whose checksum is looked at"
    assert unpacked_native_module(program).startswith(b"\x7fELF")
    assert {"dray/__init__.py", "dray/__init__.pyi", "dray/py.typed", "LICENSES.txt"} <= names
    shown = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    assert f"payload: appended, {len(names)} files" in shown


def test_the_checksums_are_those_of_all_files(dist: Path) -> None:
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=dist, check=True, capture_output=True)
    named = {line.split()[1] for line in (dist / "SHA256SUMS").read_text().splitlines()}
    assert named == {path.name for path in dist.iterdir()} - {"SHA256SUMS"}


def bill(dist: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((dist / "dray.cdx.json").read_text("utf-8"))
    return content


def test_the_bill_of_materials_is_valid_and_has_what_is_linked_in(dist: Path) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = (dist / "dray.cdx.json").read_text("utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    names = {component["name"] for component in bill(dist)["components"]}
    assert {"unix-odbc", "unixODBC", "odbc-sys", "zstd-sys", "pyo3", "rust-std"} <= names
    # A macro, what tests use, what build scripts use, another platform's.
    assert not {"serde_derive", "proptest", "cc", "windows-sys"} & names


def test_every_linked_crate_has_its_licence_text(dist: Path) -> None:
    sections = (dist / "LICENSES.txt").read_text("utf-8").split("=" * 100)
    titled = " ".join(section.strip().split("\n", 1)[0] for section in sections[2:])
    crates = [component for component in bill(dist)["components"] if component["purl"].startswith("pkg:cargo/")]
    assert len(crates) > 50
    assert [c["name"] for c in crates if f"{c['name']} {c['version']}" not in titled] == []
    assert any("unix-odbc" in section and "GNU LESSER GENERAL PUBLIC LICENSE" in section for section in sections)


def test_a_crate_without_a_licence_text_stops_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "packaging")
    monkeypatch.syspath_prepend(ROOT / "packaging" / "dist")
    import licences
    from crates import Crate
    from steps import StepFailed

    crate = Crate("nameless", "1.0.0", "MIT", tmp_path, None, None)
    (tmp_path / "license.rs").touch()
    with pytest.raises(StepFailed, match=r"crate `nameless 1\.0\.0` has no licence text"):
        licences.texts(crate)
    (tmp_path / "LICENSE").write_text("terms")
    assert licences.texts(crate) == ["terms"]


def test_an_executable_takes_another_native_module_without_being_built_anew(
    program: Path, executable: Path, clean_environment: Mapping[str, str], tmp_path: Path
) -> None:
    """As packaging/dist/README.md has it; the module of the debug build stands for one with another unixODBC."""
    payload, readme = tmp_path / "payload", (ROOT / "packaging" / "dist" / "README.md").read_text("utf-8")
    assert "unzip dray 'dray/*.py' -d payload" in readme
    # The module is packed by a method that unzip does not know, so it must not be asked for.
    subprocess.run(["unzip", "-q", program, "dray/*.py", "-d", payload], check=True)
    shutil.copy(executable.parent / "libdray_native.so", payload / NATIVE_MODULE)
    (tmp_path / "main.py").write_text("import dray._native\nprint(len(open(dray._native.__file__, 'rb').read()))\n")
    env = {**clean_environment, "DRAY_PAYLOAD": str(payload)}
    command = [program, "run", ".", "main.py"]
    ran = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, f"{(payload / NATIVE_MODULE).stat().st_size}\n"), ran.stderr


# --- on a node of an older and of a newer distribution ---


@pytest.fixture(scope="session", params=distribution_root.releases())
def node(request: pytest.FixtureRequest) -> distribution_root.Root:
    try:
        # Every image has libstdc++6, which is what apt itself needs; wheels may count on it (PEP 513).
        extra = ["libsqliteodbc", "libstdc++6"]
        return distribution_root.unpack(request.param, ROOT / "target" / "roots", extra)
    except distribution_root.RootUnavailable as reason:
        # What is released has been tried there.
        (pytest.fail if OPTIMIZED else pytest.skip)(f"no root of {request.param}: {reason}")


@pytest.fixture
def task_folder(node: distribution_root.Root, program: Path, tmp_path: Path) -> Path:
    """A folder in the node's root with the two files that a data engineer puts there."""
    folder = node.folder / "tasks" / tmp_path.name
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if old.is_file():
            old.unlink()
    (folder / "dray").write_bytes(program.read_bytes())
    (folder / "dray").chmod(0o755)
    with zipfile.ZipFile(folder / "project.zip", "w") as archive:
        archive.writestr("main.py", COPY)
    return folder


def on_node(
    node: distribution_root.Root, folder: Path, env: Mapping[str, str], project: str = "project.zip"
) -> subprocess.CompletedProcess[str]:
    return node.run("./dray", "run", project, "main.py", "--day", "3", cwd=f"/tasks/{folder.name}", env=env)


def test_it_copies_tables_where_there_is_neither_unixodbc_nor_libpython(
    node: distribution_root.Root, task_folder: Path
) -> None:
    assert [*node.folder.glob("usr/lib/**/libodbc*"), *node.folder.glob("**/libpython3*.so*")] == []
    driver = "/usr/lib/x86_64-linux-gnu/odbc/libsqlite3odbc.so"
    ran = on_node(node, task_folder, {"DRAY_ODBC_DRIVERS": f"SQLite3={driver}"})
    assert (ran.returncode, ran.stdout) == (0, COPIED), ran.stderr
    outputs = json.loads((task_folder / "outputs.json").read_text("utf-8"))
    assert (outputs["rows"], outputs["arguments"]) == (2, ["--day", "3"])


def test_without_a_driver_it_says_which_one_is_missing(node: distribution_root.Root, task_folder: Path) -> None:
    ran = on_node(node, task_folder, {})
    assert ran.returncode == 114
    assert "no ODBC driver `SQLite3` is registered on this node" in ran.stderr.splitlines()[-1]


def test_it_bulk_copies_through_microsofts_driver(
    program: Path, clean_environment: Mapping[str, str], tmp_path: Path
) -> None:
    with tds_server() as server, sqlite3.connect(tmp_path / "source.db") as db:
        db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)")
        db.execute("INSERT INTO t VALUES (1, 'Zoë'), (2, NULL)")
        db.commit()
        source = f"Driver={{SQLite3}};Database={tmp_path / 'source.db'}"
        code = f"import dray\nprint(dray.copy_table({source!r}, {server.odbc!r}, 't').write_lane)\n"
        (tmp_path / "main.py").write_text(code, "utf-8")
        drivers = f"SQLite3={LIBRARIES}/odbc/libsqlite3odbc.so:ODBC Driver 18 for SQL Server={microsoft_driver()}"
        ran = subprocess.run(
            [program, "run", ".", "main.py"], cwd=tmp_path, env={**clean_environment, "DRAY_ODBC_DRIVERS": drivers},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert (ran.returncode, ran.stdout) == (0, "bcp\n"), ran.stderr
    assert server.rows == [(1, "Zoë"), (2, None)]


def test_a_project_packed_with_pandas_runs_there(
    node: distribution_root.Root, task_folder: Path, program: Path, tmp_path: Path
) -> None:
    version = only(list(node.folder.glob("usr/bin/python3.*[0-9]"))).name.removeprefix("python")
    (tmp_path / "main.py").write_text(PANDAS, "utf-8")
    (tmp_path / "requirements.txt").write_text("pandas==2.3.3\n", "utf-8")
    command = [program, "pack", tmp_path, "-o", task_folder / "pandas.zip", "--python", version]
    packed = subprocess.run(
        [*command, "--platform", "manylinux_2_28_x86_64"],
        # By the uv of the tests' environment, which is quicker than pip.
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert packed.returncode == 0, packed.stdout + packed.stderr
    ran = on_node(node, task_folder, {}, "pandas.zip")
    assert (ran.returncode, ran.stdout) == (0, "{'Uster': 4, 'Zürich': 2} True\n"), ran.stderr


# --- the wheel ---


@pytest.fixture(scope="session")
def wheel(dist: Path) -> Path:
    return only(list(dist.glob("*.whl")))


def oldest_and_newest() -> list[Path]:
    """The interpreters of this machine with the lowest and the highest version."""
    code = "import sys; print(*sys.version_info[:2])"
    versions = {
        tuple(map(int, subprocess.check_output([path, "-c", code], text=True).split())): path for path in interpreters()
    }
    return list(dict.fromkeys([versions[min(versions)], versions[max(versions)]]))


@pytest.fixture(scope="module", params=oldest_and_newest(), ids=str)
def environment(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh virtual environment with the wheel in it."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([request.param, "-m", "venv", "--without-pip", folder], check=True)
    install = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--no-index", wheel]
    subprocess.run(install, check=True, capture_output=True)
    return folder


@pytest.fixture
def environment_variables(clean_environment: Mapping[str, str]) -> dict[str, str]:
    """The driver that the machine has, also where nobody registered it."""
    return {**clean_environment, "DRAY_ODBC_DRIVERS": f"SQLite3={LIBRARIES}/odbc/libsqlite3odbc.so"}


def test_an_installed_command_runs_a_project_under_its_own_environment(
    environment: Path, environment_variables: dict[str, str], task: Task
) -> None:
    command = environment / "bin" / "dray"
    (task.folder / "main.py").write_text(COPY, "utf-8")
    shown = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
    assert "payload: appended" in shown
    ran = subprocess.run(
        [command, "run", ".", "main.py"], cwd=task.folder, env=environment_variables, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout) == (0, COPIED), ran.stderr
    assert task.outputs()["prefix"] == str(environment)


def test_an_installed_package_copies_without_the_command(
    environment: Path, environment_variables: dict[str, str], tmp_path: Path
) -> None:
    ran = subprocess.run(
        [environment / "bin" / "python", "-c", COPY], cwd=tmp_path, env=environment_variables, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout) == (0, COPIED), ran.stderr


def check_types(environment: Path, script: Path) -> subprocess.CompletedProcess[str]:
    mypy = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", script.parent / "cache"]
    return subprocess.run(
        [*mypy, "--python-executable", environment / "bin" / "python", script],
        cwd=script.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_script_is_type_checked_against_the_installed_package(environment: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    right = (
        "import dray\n"
        "report = dray.copy_tables([dray.Copy('A', 'dbo.*')], target='B', mode='replace')\n"
        "rows: int = report.rows\n"
        "token: dray.Secret = dray.Secret('x')\n"
        "with dray.connect('A') as db:\n"
        "    names: list[str] = [row['name'] for row in db.query('SELECT name FROM t')]\n"
        "try:\n    dray.copy_table('A', 'B', 't')\n"
        "except dray.CopyError as error:\n    dray.outputs['error'] = str(error)\n"
    )
    script.write_text(right, "utf-8")
    checked = check_types(environment, script)
    assert checked.returncode == 0, checked.stdout
    script.write_text(right.replace("rows: int", "rows: str").replace("'dbo.*'", "5"), "utf-8")
    wrong = check_types(environment, script).stdout
    assert "[assignment]" in wrong
    assert "[arg-type]" in wrong


def test_type_checkers_see_every_name_of_the_package(environment: Path) -> None:
    code = "import dray; print(*(name for name in dray.__all__))"
    names = subprocess.check_output([environment / "bin" / "python", "-c", code], text=True).split()
    stub = (ROOT / "python" / "dray" / "__init__.pyi").read_text("utf-8")
    seen = re.findall(r"^from \._\w+ import \w+ as (\w+)$|^(\w+):", stub, re.MULTILINE)
    assert sorted(names) == sorted(first or second for first, second in seen)


# --- the .deb ---


@pytest.fixture(scope="session")
def package(dist: Path) -> Path:
    return only(list(dist.glob("*.deb")))


def test_the_deb_says_what_it_is_and_needs(package: Path) -> None:
    fields = dict(
        line.split(": ", 1)
        for line in subprocess.check_output(["dpkg-deb", "--field", package], text=True).splitlines()
        if re.match(r"[A-Z]", line)
    )
    assert (fields["Package"], fields["Architecture"], fields["Depends"]) == ("dray", "amd64", "libc6 (>= 2.17)")
    assert package.name == f"dray_{fields['Version']}_amd64.deb"
    listed = [line.split() for line in subprocess.check_output(["dpkg-deb", "-c", package], text=True).splitlines()]
    assert {line[1] for line in listed} == {"root/root"}
    modes = {line[5]: line[0] for line in listed}
    assert modes["./usr/bin/dray"] == "-rwxr-xr-x"
    assert {modes[name] for name in modes if name.endswith("/")} == {"drwxr-xr-x"}
    assert {mode for name, mode in modes.items() if name.startswith("./usr/share") and not name.endswith("/")} == {
        "-rw-r--r--"
    }
    assert {"./usr/share/doc/dray/copyright", "./usr/share/doc/dray/changelog.gz"} <= set(modes)


def test_the_deb_unpacks_to_the_distributed_executable(package: Path, program: Path, tmp_path: Path) -> None:
    subprocess.run(["dpkg-deb", "--raw-extract", package, tmp_path], check=True)
    subprocess.run(["md5sum", "--check", "--strict", "--quiet", "DEBIAN/md5sums"], cwd=tmp_path, check=True)
    installed = tmp_path / "usr" / "bin" / "dray"
    assert installed.read_bytes() == program.read_bytes()
    assert stat.S_IMODE(installed.stat().st_mode) == 0o755
    completion = tmp_path / "usr" / "share" / "bash-completion" / "completions" / "dray"
    subprocess.run(["bash", "-n", completion], check=True)


# --- the release ---

RELEASE = ROOT / ".github" / "workflows" / "release.yml"


def test_the_release_workflow_is_one_that_github_takes() -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(RELEASE)]
    checked = subprocess.run(check, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_release_workflow_pins_its_actions_and_reads_no_secret() -> None:
    text = RELEASE.read_text("utf-8")
    used = re.findall(r"uses: *(\S+)", text)
    assert used
    assert [action for action in used if not re.fullmatch(r"[\w-]+/[\w-]+@v\d+\.\d+\.\d+", action)] == []
    assert "secrets." not in text
