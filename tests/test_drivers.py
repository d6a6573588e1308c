"""Which ODBC drivers a run finds, where, and what it says of one that cannot be loaded. Real drivers, without servers."""

from __future__ import annotations

import importlib.util
import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

FOLDER = next(Path("/usr/lib").glob("*/odbc"), Path("/usr/lib64"))
SQLITE = FOLDER / "libsqlite3odbc.so"

CONNECT = """
import sys
import dray
try:
    with dray.connect(sys.argv[1]) as db:
        print(db.query("SELECT 1 AS one")[0]["one"])
except dray.DatabaseError as error:
    print(error.sqlstate)
"""


def microsoft() -> Path:
    """The package `mssql_python_odbc`."""
    found = importlib.util.find_spec("mssql_python_odbc")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project that connects to what its argument says."""
    path = tmp_path / "project"
    path.mkdir()
    (path / "main.py").write_text(CONNECT)
    return path


def connects(dray: Any, folder: Path, driver: str, env: Any = None) -> Any:
    return dray("run", folder, "main.py", f"Driver={{{driver}}};Database=:memory:", env=env)


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_the_five_real_drivers_load(dray, folder):
    (folder / "mssql_python_odbc").symlink_to(microsoft())
    ran = dray("doctor", "--json", folder)
    checks = json.loads(ran.stdout)["checks"]
    status = {check["subject"]: check["status"] for check in checks if check["area"] == "driver"}
    for name in ["PostgreSQL Unicode", "MariaDB Unicode", "SQLite3", "FreeTDS", "ODBC Driver 18 for SQL Server"]:
        assert status.get(name) == "ok", ran.stdout


@pytest.mark.parametrize(
    ("connection", "sqlstate"),
    [
        ("Driver={{PostgreSQL Unicode}};Server=127.0.0.1;Port={port};Database=d;UID=u;PWD=p", "08001"),
        ("Driver={{MariaDB Unicode}};Server=127.0.0.1;Port={port};Database=d;UID=u;PWD=p", "HY000"),
        ("Driver={{FreeTDS}};Server=127.0.0.1;Port={port};UID=u;PWD=p;TDS_Version=7.4", "08S01"),
    ],
    ids=["postgresql", "mariadb", "freetds"],
)
def test_a_real_driver_is_the_one_that_answers(dray, folder, closed_port, connection, sqlstate):
    (folder / "main.py").write_text(CONNECT.replace("DatabaseError", "ConnectError"))
    ran = dray("run", folder, "main.py", connection.format(port=closed_port))
    assert (ran.returncode, ran.stdout) == (0, f"{sqlstate}\n"), ran.stderr


def test_a_driver_of_the_systems_odbcinst_is_found_by_a_bare_file_name(dray, folder, tmp_path):
    system = tmp_path / "etc"
    system.mkdir()
    (system / "odbcinst.ini").write_text("[Ours]\nDriver=libsqlite3odbc.so\n")
    ran = connects(dray, folder, "ours", {"ODBCSYSINI": str(system)})
    assert ran.stdout == "1\n", ran.stderr


def test_a_driver_of_the_users_odbcinst_comes_before_the_systems(dray, folder, tmp_path):
    system, home = tmp_path / "etc", tmp_path / "home"
    for path, driver in [(system / "odbcinst.ini", "/gone.so"), (home / ".odbcinst.ini", SQLITE)]:
        path.parent.mkdir()
        path.write_text(f"[Ours]\nDriver={driver}\n")
    ran = connects(dray, folder, "Ours", {"ODBCSYSINI": str(system), "HOME": str(home)})
    assert ran.stdout == "1\n", ran.stderr


@pytest.mark.parametrize("driver", ["libsqlite3odbc.so", str(SQLITE)], ids=["bare name", "path"])
def test_a_driver_that_nobody_registered_is_found_in_the_distributions_folder(dray, folder, driver):
    ran = connects(dray, folder, driver)
    assert ran.stdout == "1\n", ran.stderr


def test_a_project_may_bring_a_driver_with_an_odbcinst_of_its_own(dray, project):
    files = {
        "main.py": CONNECT,
        "odbcinst.ini": "[Brought]\nDriver=drivers/own.so\n[SQLite3]\nDriver=drivers/own.so\n",
        "drivers/own.so": SQLITE.read_bytes(),
    }
    for driver in ["Brought", "SQLite3"]:
        ran = dray("run", project(files), "main.py", f"Driver={driver};Database=:memory:")
        assert ran.stdout == "1\n", ran.stderr


def test_a_driver_in_the_project_is_found_by_a_bare_file_name(dray, folder):
    shutil.copy(SQLITE, folder / "libown.so")
    ran = connects(dray, folder, "libown.so")
    assert ran.stdout == "1\n", ran.stderr


@pytest.mark.parametrize("form", ["{folder}", "Ours={folder}/libown.so"], ids=["folder", "name"])
def test_the_variable_names_folders_and_files_and_comes_first(dray, folder, tmp_path, form):
    drivers = tmp_path / "drivers"
    drivers.mkdir()
    shutil.copy(SQLITE, drivers / "libown.so")
    (folder / "odbcinst.ini").write_text("[Ours]\nDriver=/gone.so\n[libown.so]\nDriver=/gone.so\n")
    driver = "Ours" if "=" in form else "libown.so"
    ran = connects(dray, folder, driver, {"DRAY_ODBC_DRIVERS": f"/nowhere:{form.format(folder=drivers)}"})
    assert ran.stdout == "1\n", ran.stderr


def lacking(driver: Path, path: Path, renamed: dict[bytes, bytes]) -> Path:
    """A copy of a driver that is linked with other libraries than it was."""
    content = driver.read_bytes()
    for before, after in renamed.items():
        assert content.count(before + b"\0") == 1
        content = content.replace(before + b"\0", after.ljust(len(before), b"\0") + b"\0")
    path.write_bytes(content)
    return path


def test_a_driver_that_cannot_be_loaded_names_every_library_that_it_lacks_and_its_packages(dray, folder, tmp_path):
    renamed = {b"libgssapi_krb5.so.2": b"libcrypto.so.1.1", b"libgnutls.so.30": b"libunheard.so.9"}
    driver = lacking(FOLDER / "libtdsodbc.so", tmp_path / "libtdsodbc.so", renamed)
    (folder / "main.py").write_text(f"import dray\ndray.connect('Driver={driver};Server=h')\n")
    ran = dray("run", folder)
    assert ran.returncode == 114
    assert (
        f"ODBC driver `{driver}` cannot be loaded: this node lacks "
        "`libcrypto.so.1.1` (package libssl1.1 of Debian and Ubuntu, compat-openssl11 of Red Hat), `libunheard.so.9`"
    ) in ran.stderr.splitlines()[-1]


def test_what_a_library_in_a_package_lacks_in_turn_is_named(dray, folder):
    package = folder / "mssql_python_odbc"
    shutil.copytree(microsoft(), package)
    for library in package.glob("libs/linux/*/x86_64/lib/libodbcinst.so.2"):
        lacking(library, library, {b"libltdl.so.7": b"libltdl.so.6"})
    # Alone in its process: a library of that name which another driver has loaded would serve this one too.
    (folder / "main.py").write_text("import dray\ndray.connect('Driver=ODBC Driver 18 for SQL Server;Server=h')\n")
    ran = dray("run", folder)
    assert ran.returncode == 114
    assert "cannot be loaded: this node lacks `libltdl.so.6`" in ran.stderr.splitlines()[-1]


def test_doctor_gives_the_packages_of_a_driver_that_does_not_load(dray, tmp_path):
    renamed = {b"libgssapi_krb5.so.2": b"libcrypto.so.1.1"}
    driver = lacking(FOLDER / "libtdsodbc.so", tmp_path / "libtdsodbc.so", renamed)
    ran = dray("doctor", "--json", env={"DRAY_ODBC_DRIVERS": f"Broken={driver}"})
    checks = json.loads(ran.stdout)["checks"]
    (broken,) = [check for check in checks if check["subject"] == "Broken"]
    assert broken["facts"]["lacking"] == [
        {"library": "libcrypto.so.1.1", "debian": "libssl1.1", "red_hat": "compat-openssl11"}
    ]
