"""`dray init`: a project to start from, which works as it is."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import zipfile

import pytest


@pytest.fixture
def written(dray, tmp_path):
    """The folder of a fresh project."""
    folder = tmp_path / "start"
    ran = dray("init", folder)
    assert ran.returncode == 0, ran.stderr
    return folder


def test_the_project_copies_a_table_as_it_is(dray, written):
    ran = dray("run", written, "main.py", "--month", "3")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "orders: 10 rows\n"
    with sqlite3.connect(written / "warehouse.db") as warehouse:
        assert warehouse.execute("SELECT COUNT(*), MIN(month), MAX(month) FROM orders").fetchone() == (10, 3, 3)


def test_its_plan_is_one_that_dray_copy_takes(dray, written):
    assert dray("run", ".", cwd=written).stdout == "orders: 120 rows\n"
    (written / "warehouse.db").unlink()
    ran = dray("copy", "plan.json", "--workdir", ".", cwd=written)
    assert ran.returncode == 0, ran.stderr
    with sqlite3.connect(written / "warehouse.db") as warehouse:
        assert warehouse.execute("SELECT COUNT(*) FROM orders").fetchone() == (120,)


def test_the_project_can_be_rehearsed_as_its_readme_says(dray, written):
    (written / "upload").mkdir()
    lines = (written / "README.md").read_text("utf-8").splitlines()
    pack, line = (next(line for line in lines if line.startswith(f"dray {name}")) for name in ("pack", "rehearse"))
    packed = dray(*pack.split()[1:], cwd=written)
    assert packed.returncode == 0, packed.stderr
    assert "main.py" in zipfile.ZipFile(written / "upload" / "sales.zip").namelist()
    ran = dray(*line.split()[1:], "--workdir", "rehearsed", cwd=written)
    assert ran.returncode == 0, ran.stderr
    assert "fault" not in ran.stderr
    assert json.loads((written / "rehearsed" / "wd" / "outputs.json").read_text("utf-8"))["rows"] == 10


def test_every_path_that_the_readme_names_is_there(written):
    readme = (written / "README.md").read_text("utf-8")
    for name in ["plan.json", "pyproject.toml", "main.py", "factory/pipeline/CopySales.json"]:
        assert name in readme
        assert (written / name).is_file()


def test_a_file_is_never_overwritten_and_nothing_is_half_written(dray, tmp_path):
    folder = tmp_path / "there"
    folder.mkdir()
    (folder / "README.md").write_text("mine")
    ran = dray("init", folder)
    assert ran.returncode == 110
    assert ran.stderr.startswith(f"error: `{folder / 'README.md'}` is there already, and nothing was written")
    assert [path.name for path in folder.iterdir()] == ["README.md"]
    assert (folder / "README.md").read_text() == "mine"


def test_the_script_passes_the_linter_and_the_type_checker_of_a_careful_user(written):
    ran = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", written], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout
