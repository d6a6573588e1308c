"""`dray pack`: a project's folder and its dependencies become one zip that runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable, Union

import pytest
from tds_server import tds_server
from wheels import Index

PACKED = ".python_packages/lib/site-packages/"
HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
TESTS_BIN = Path(sys.executable).parent


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(tmp_path / "index")


@pytest.fixture
def tree(tmp_path: Path) -> Callable[..., Path]:
    """`tree({"main.py": "..."})` writes a project's folder."""

    def write(files: Mapping[str, Union[str, bytes]], name: str = "work") -> Path:
        folder = tmp_path / name
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content.encode() if isinstance(content, str) else content)
        return folder

    return write


@pytest.fixture
def pack(dray: Any, tmp_path: Path) -> Callable[..., Any]:
    """`pack(folder, *options)` packs into `project.zip` of the test's folder; by pip, unless `uv` is set."""

    def run(folder: Path, *options: Union[str, Path], uv: bool = False, env: Any = None, ok: bool = True) -> Any:
        path = os.environ["PATH"]
        if uv:
            path = f"{TESTS_BIN}:{path}"
        else:
            without = [part for part in path.split(":") if not (Path(part) / "uv").exists()]
            path = ":".join(without)
        variables = {"PATH": path, "UV_CACHE_DIR": str(tmp_path / "uv"), **(env or {})}
        output = [] if "--output" in options else ["-o", tmp_path / "project.zip"]
        ran = dray("pack", folder, *output, *options, env=variables, timeout=170)
        assert (ran.returncode == 0) is ok, ran.stdout + ran.stderr
        if uv and ok and "--requirements" not in options:
            assert "chosen by uv" in ran.stdout
        return ran

    return run


def members(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def packed_manifest(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read(".python_packages/dray.json"))


def test_a_project_with_packages_of_the_index_runs(pack, dray, tree, task, tmp_path):
    folder = tree(
        {
            "main.py": "import markupsafe._speedups, six; print(markupsafe.escape('<'), six.__version__)",
            "requirements.txt": "markupsafe==3.0.3\nsix==1.17.0\n",
        }
    )
    said = pack(folder, "--python", HERE).stdout
    assert "2 packages of requirements.txt, chosen by pip; 2 files of the project" in said
    assert "six 1.17.0" in said.splitlines()[-1]
    manifest = packed_manifest(tmp_path / "project.zip")
    assert (manifest["format"], manifest["python"], manifest["platform"]) == (1, HERE, "manylinux_2_39_x86_64")
    (markupsafe, six) = manifest["distributions"]
    assert six["wheel"] == "six-1.17.0-py2.py3-none-any.whl"
    assert six["sha256"] == "4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274"
    assert f"cp{HERE.replace('.', '')}-manylinux" in markupsafe["wheel"]
    ran = dray("run", "--python", sys.base_prefix + "/bin/python3", tmp_path / "project.zip", cwd=task.folder)
    assert (ran.returncode, ran.stdout) == (0, "&lt; 1.17.0\n"), ran.stderr


@pytest.mark.parametrize("uv", [False, True], ids=["pip", "uv"])
def test_the_same_project_gives_the_same_bytes(pack, tree, index, tmp_path, uv):
    index.wheel("alpha", requires=["beta"])
    index.wheel("beta", files={"beta/__init__.py": "", "beta/data.txt": "x" * 1000})
    zips = []
    for name in ("one", "two"):
        files = {"main.py": "1", "sub/b.txt": "b", "sub/a.txt": "a", "requirements.txt": index.lines + "alpha\n"}
        folder = tree(dict(sorted(files.items(), reverse=name == "two")), name)
        (folder / "main.py").chmod(0o664 if name == "two" else 0o600)
        os.utime(folder / "main.py", (10**9, 10**9 + len(zips)))
        pack(folder, uv=uv)
        zips.append((tmp_path / "project.zip").read_bytes())
    assert zips[0] == zips[1]
    infos = zipfile.ZipFile(tmp_path / "project.zip").infolist()
    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}
    assert {stat.S_IMODE(info.external_attr >> 16) for info in infos} == {0o644}
    assert [info.filename for info in infos] == sorted(info.filename for info in infos)


def test_pip_and_uv_give_the_same_zip(pack, tree, index, tmp_path):
    index.wheel("alpha", requires=["beta; python_version < '3.13'", "gamma; python_version >= '3.13'"])
    index.wheel("beta")
    index.wheel("gamma")
    folder = tree({"main.py": "1", "requirements.txt": index.lines + "alpha\n"})
    assert "chosen by pip" in pack(folder).stdout
    by_pip = (tmp_path / "project.zip").read_bytes()
    assert "chosen by uv" in pack(folder, uv=True).stdout
    assert (tmp_path / "project.zip").read_bytes() == by_pip


def test_source_date_epoch_sets_the_time_of_all_members(pack, tree, tmp_path):
    pack(tree({"main.py": "1"}), env={"SOURCE_DATE_EPOCH": "1700000000"})
    (info,) = zipfile.ZipFile(tmp_path / "project.zip").infolist()
    assert info.date_time == (2023, 11, 14, 22, 13, 20)


def test_what_does_not_belong_to_a_project_is_left_out(pack, tree, tmp_path):
    folder = tree(
        {
            "main.py": "1",
            ".gitignore": "*.log\n/data/*\n!/data/keep.csv\n",
            "a.log": "",
            "data/big.csv": "",
            "data/keep.csv": "",
            "docs/manual.md": "",
            "sub/notes.tmp": "",
            "sub/kept.tmp": "",
            "pyproject.toml": "[tool.dray]\nexclude = ['*.tmp', '!kept.tmp', '/docs/']\n",
            ".git/config": "",
            ".dray/x": "",
            "env/pyvenv.cfg": "",
            "env/bin/python": "",
            "conda/conda-meta/history": "",
            "__pycache__/main.pyc": "",
            ".hidden": "kept",
        }
    )
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("data/keep.csv")
    pack(folder, "--output", folder / "out.zip")
    for _ in range(2):
        pack(folder, "--output", folder / "out.zip")
    archive = zipfile.ZipFile(folder / "out.zip")
    expected = [".gitignore", ".hidden", "data/keep.csv", "link", "main.py", "pyproject.toml", "run.sh"]
    expected += ["sub/kept.tmp"]
    assert archive.namelist() == expected
    assert stat.S_IMODE(archive.getinfo("run.sh").external_attr >> 16) == 0o755
    assert archive.read("link") == b"data/keep.csv"


def test_gitignore_files_are_read_as_git_reads_them(pack, tree, tmp_path):
    files = {
        ".gitignore": "# logs\n*.log\n!keep.log\n/top.txt\nbuild/\ndeep/**/x.bin\n\\#odd\n*.t[mx]p\ntrailing.txt   \n",
        "project/.gitignore": "local.txt\n/anchored\n!again.log\n",
        "project/sub/.gitignore": "!local.txt\n*.md\n",
        **{f"project/{name}": "x" for name in ("a.log", "keep.log", "again.log", "top.txt", "local.txt", "anchored")},
        **{f"project/{name}": "x" for name in ("#odd", "a.tmp", "a.txp", "a.tnp", "trailing.txt", "deep/a/b/x.bin")},
        **{
            f"project/sub/{name}": "x" for name in ("local.txt", "a.md", "anchored", "build/x", "a.log", "b", "top.txt")
        },
        "project/build": "a file",
    }
    repository = tree(files, "repository")
    subprocess.run(["git", "init", "--quiet", repository], check=True)
    listed = ["git", "-c", "core.excludesFile=", "ls-files", "--others", "--exclude-standard"]
    by_git = subprocess.run(
        listed, cwd=repository / "project", capture_output=True, text=True, check=True
    ).stdout.split()
    pack(repository / "project")
    assert members(tmp_path / "project.zip") == sorted(by_git)
    assert "keep.log" in by_git and "sub/local.txt" in by_git and "sub/build/x" not in by_git


@pytest.mark.parametrize("uv", [False, True], ids=["pip", "uv"])
def test_a_package_of_sources_alone_is_refused_by_name_and_not_built(pack, tree, index, tmp_path, uv):
    index.source("onlysource")
    index.wheel("alpha", requires=["onlysource>=1"])
    ran = pack(tree({"requirements.txt": index.lines + "alpha\n"}), uv=uv, ok=False)
    assert ran.returncode == 111
    last = ran.stderr.splitlines()[-1]
    assert "onlysource" in last and "Python 3.12 and manylinux_2_39_x86_64" in last
    if not uv:
        assert "it is published as source only" in last
    else:
        assert last.startswith("error: uv cannot get the project's dependencies")
    assert not (index.folder / "built").exists()
    assert not (tmp_path / "project.zip").exists()


@pytest.mark.parametrize("uv", [False, True], ids=["pip", "uv"])
def test_wheels_of_another_platform_are_refused_by_name(pack, tree, index, uv):
    for tag in ("cp312-cp312-win_amd64", "cp311-cp311-manylinux_2_17_x86_64", "cp312-cp312-manylinux_2_40_x86_64"):
        index.wheel("wrong", tag=tag)
    ran = pack(tree({"requirements.txt": index.lines + "wrong\n"}), uv=uv, ok=False)
    assert ran.returncode == 111
    last = ran.stderr.splitlines()[-1]
    assert "wrong" in last
    if not uv:
        assert "its wheels are for cp311-cp311-manylinux_2_17_x86_64, cp312-cp312-manylinux_2_40_x86_64, " in last


def test_the_best_wheel_for_the_target_is_taken(pack, tree, index, tmp_path):
    for tag in (
        "py3-none-any",
        "cp310-cp310-manylinux_2_17_x86_64",
        "cp312-cp312-manylinux_2_28_x86_64",
        "cp312-cp312-manylinux_2_39_x86_64",
    ):
        index.wheel("native", files={"native.py": f"TAG = {tag!r}"}, tag=tag)
    folder = tree({"requirements.txt": index.lines + "native\n"})
    for options, tag in (
        ([], "cp312-cp312-manylinux_2_39_x86_64"),
        (["--platform", "manylinux_2_35_x86_64"], "cp312-cp312-manylinux_2_28_x86_64"),
        (["--platform", "ubuntu-22.04"], "cp310-cp310-manylinux_2_17_x86_64"),
        (["--python", "3.13"], "py3-none-any"),
    ):
        pack(folder, *options)
        assert zipfile.ZipFile(tmp_path / "project.zip").read(PACKED + "native.py").decode() == f"TAG = {tag!r}"


def test_markers_are_judged_for_the_target_and_not_for_the_python_that_runs_pip(pack, tree, index, tmp_path):
    other = "3.9" if HERE != "3.9" else "3.13"
    for name in ("direct", "transitive"):
        for version in (HERE, other):
            index.wheel(f"{name}-{version.replace('.', '')}")
    requires = [f"transitive-{v.replace('.', '')}; python_version == '{v}'" for v in (HERE, other)]
    index.wheel("alpha", requires=requires)
    lines = [f"direct-{v.replace('.', '')}; python_version == '{v}'\n" for v in (HERE, other)]
    pack(tree({"requirements.txt": index.lines + "alpha\n" + "".join(lines)}), "--python", other)
    names = [distribution["name"] for distribution in packed_manifest(tmp_path / "project.zip")["distributions"]]
    assert names == ["alpha", f"direct-{other.replace('.', '')}", f"transitive-{other.replace('.', '')}"]


@pytest.mark.parametrize("uv", [False, True], ids=["pip", "uv"])
def test_a_lock_holds_the_versions_and_refuses_other_files(pack, tree, index, tmp_path, uv):
    index.wheel("alpha", requires=["beta"])
    beta = index.wheel("beta")
    folder = tree({"requirements.txt": index.lines + "alpha\n"})
    lock = tmp_path / "lock.txt"
    pack(folder, "--lock", lock, uv=uv)
    first = (tmp_path / "project.zip").read_bytes()
    assert "alpha==1.0 \\\n    --hash=sha256:" in lock.read_text()
    index.wheel("beta", "2.0")
    by_lock = {"env": {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index.folder)}, "uv": uv}
    pack(folder, "--requirements", lock, **by_lock)
    assert (tmp_path / "project.zip").read_bytes() == first
    pack(folder, uv=uv)
    assert packed_manifest(tmp_path / "project.zip")["distributions"][1]["version"] == "2.0"
    beta.unlink()
    index.wheel("beta", files={"beta.py": "tampered"})
    ran = pack(folder, "--requirements", lock, ok=False, **by_lock)
    assert ran.returncode == 111 and "HASHES" in ran.stderr


def test_a_lock_in_the_project_is_no_part_of_it(pack, tree, index, tmp_path):
    index.wheel("alpha")
    folder = tree({"requirements.txt": index.lines + "alpha\n"})
    zips = []
    for _ in range(2):
        pack(folder, "--lock", folder / "lock.txt")
        zips.append((tmp_path / "project.zip").read_bytes())
    assert zips[0] == zips[1] and "lock.txt" not in members(tmp_path / "project.zip")


def test_requirements_that_ask_for_nothing_are_no_failure(pack, tree, index, tmp_path):
    folder = tree({"main.py": "1", "requirements.txt": "# none\n" + index.lines})
    pack(folder, "--lock", tmp_path / "lock.txt")
    said = pack(folder, "--requirements", tmp_path / "lock.txt").stdout
    assert "no dependencies; 2 files of the project" in said
    assert members(tmp_path / "project.zip") == ["main.py", "requirements.txt"]


def test_dependencies_of_pyproject_are_packed_where_there_is_no_requirements_txt(pack, tree, index, tmp_path):
    index.wheel("alpha")
    text = "[project]\nname = 'x'\nversion = '1'\ndependencies = ['alpha>=1']\n"
    env = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index.folder)}
    assert "1 packages of pyproject.toml" in pack(tree({"main.py": "1", "pyproject.toml": text}), env=env).stdout
    assert PACKED + "alpha.py" in members(tmp_path / "project.zip")


SEES_ALL = """
import importlib.metadata as metadata, json, os, stat, sys
import pkg
files = metadata.files("pkg")
missing = [str(file) for file in files if not file.locate().exists()]
scripts = [entry.name for entry in metadata.distribution("pkg").entry_points]
packed = os.path.dirname(os.path.dirname(pkg.__file__))
tool = os.path.join(packed, "bin", "tool")
print(json.dumps({
    "missing": missing, "entry points": scripts, "data": open(os.path.join(packed, "share/pkg/x.txt")).read(),
    "tool": open(tool).readline(), "executable": bool(os.stat(tool).st_mode & 0o100), "pure": pkg.pure(),
    "installer": metadata.distribution("pkg").read_text("INSTALLER"), "listed": sorted(str(file) for file in files),
}))
"""


def test_scripts_data_records_and_entry_points_of_a_wheel_are_kept(pack, dray, tree, index, task, tmp_path):
    index.wheel(
        "pkg",
        files={
            "pkg/__init__.py": "def pure():\n    import pkg_pure\n    return pkg_pure.X\n",
            "pkg-1.0.data/purelib/pkg_pure.py": "X = 1\n",
            "pkg-1.0.data/scripts/tool": "#!python\nprint('tool')\n",
            "pkg-1.0.data/data/share/pkg/x.txt": "data",
            "pkg-1.0.data/headers/pkg.h": "",
        },
        metadata={"entry_points.txt": "[console_scripts]\npkg = pkg:pure\n"},
    )
    pack(tree({"main.py": SEES_ALL, "requirements.txt": index.lines + "pkg\n"}), "--python", HERE)
    python = sys.base_prefix + "/bin/python3"
    ran = dray("run", "--python", python, tmp_path / "project.zip", cwd=task.folder)
    seen = json.loads(ran.stdout)
    assert "include/python/pkg/pkg.h" in seen.pop("listed")
    assert seen == {
        "missing": [],
        "entry points": ["pkg"],
        "data": "data",
        "tool": "#!/usr/bin/env python3\n",
        "executable": True,
        "pure": 1,
        "installer": "dray\n",
    }


def test_tests_and_caches_of_packages_are_left_out_on_request(pack, tree, index, tmp_path):
    files = {
        "pkg/__init__.py": "",
        "pkg/testing.py": "",
        "pkg/tests/__init__.py": "",
        "pkg/sub/test/data/x.bin": "",
        "pkg/__pycache__/x.cpython-312.pyc": "",
    }
    index.wheel("pkg", files=files)
    folder = tree({"tests/test_mine.py": "", "requirements.txt": index.lines + "pkg\n"})
    pack(folder)
    packed = [name[len(PACKED) :] for name in members(tmp_path / "project.zip") if name.startswith(PACKED + "pkg/")]
    assert packed == ["pkg/__init__.py", "pkg/sub/test/data/x.bin", "pkg/testing.py", "pkg/tests/__init__.py"]
    pack(folder, "--strip")
    names = members(tmp_path / "project.zip")
    assert [name for name in names if name.startswith(PACKED + "pkg/")] == [
        PACKED + "pkg/__init__.py",
        PACKED + "pkg/testing.py",
    ]
    assert "tests/test_mine.py" in names
    record = zipfile.ZipFile(tmp_path / "project.zip").read(PACKED + "pkg-1.0.dist-info/RECORD").decode()
    assert "pkg/testing.py" in record and "test/" not in record and "tests/" not in record


def test_packages_that_were_packed_before_are_replaced(pack, tree, index, tmp_path):
    index.wheel("alpha")
    folder = tree({PACKED + "old.py": "", "requirements.txt": index.lines + "alpha\n"})
    pack(folder)
    assert PACKED + "old.py" not in members(tmp_path / "project.zip")
    (folder / "requirements.txt").unlink()
    pack(folder)
    assert members(tmp_path / "project.zip") == [PACKED + "old.py"]


def test_a_pack_that_fails_leaves_the_zip_of_before_and_nothing_else(pack, tree, index, tmp_path):
    zip_path = tmp_path / "project.zip"
    folder = tree({"main.py": "1"})
    pack(folder)
    before = zip_path.read_bytes()
    (folder / "requirements.txt").write_text(index.lines + "nowhere-to-be-found\n")
    pack(folder, ok=False)
    (folder / "requirements.txt").unlink()
    if os.geteuid() != 0:
        (folder / "main.py").chmod(0)
        pack(folder, ok=False)
    assert zip_path.read_bytes() == before
    assert not [path for path in tmp_path.iterdir() if "packing" in path.name]


def test_what_compressing_does_not_gain_is_stored(pack, tree, tmp_path):
    pack(tree({"noise.bin": os.urandom(200_000), "text.txt": "word " * 50_000, "small.bin": os.urandom(1000)}))
    archive = zipfile.ZipFile(tmp_path / "project.zip")
    assert archive.getinfo("noise.bin").compress_type == zipfile.ZIP_STORED
    assert archive.getinfo("text.txt").compress_type == zipfile.ZIP_DEFLATED
    assert archive.testzip() is None


def test_a_link_that_leaves_the_project_is_refused(pack, tree):
    folder = tree({"main.py": "1"})
    (folder / "out").symlink_to("../index/x")
    ran = pack(folder, ok=False)
    assert ran.returncode == 111
    assert "symbolic link `out` leaves the project folder: it points to `../index/x`" in ran.stderr


def test_two_packages_with_one_file_are_named(pack, tree, index):
    for name in ("alpha", "beta"):
        index.wheel(name, files={f"{name}.py": "", "shared.txt": name, "space/__init__.py": ""})
    said = pack(tree({"requirements.txt": index.lines + "alpha\nbeta\n"})).stdout
    assert "note: `shared.txt` is in two packages, and packed as beta has it" in said
    assert said.count("note:") == 1


@pytest.mark.parametrize(
    ("options", "code", "wanted"),
    [
        (
            ["--platform", "solaris"],
            110,
            "`solaris` is neither a tag such as `manylinux_2_35_x86_64` nor one of `ubuntu",
        ),
        (["--python", "2.7"], 110, "`2.7` is not a version of Python from 3.9 on, such as `3.12`"),
        (["--requirements", "nowhere.txt"], 117, "cannot read the requirements: failed to canonicalize path"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(pack, tree, options, code, wanted):
    ran = pack(tree({"main.py": "1"}), *options, ok=False)
    assert ran.returncode == code and wanted in ran.stderr.splitlines()[-1]


def test_a_zip_cannot_be_packed(pack, project):
    ran = pack(project({"main.py": "1"}, "other.zip"), ok=False)
    assert ran.returncode == 111 and "it is not a folder" in ran.stderr


def test_without_pip_and_uv_both_are_named(pack, tree, index, tmp_path):
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    index.wheel("alpha")
    folder = tree({"requirements.txt": index.lines + "alpha\n"})
    ran = pack(folder, env={"PATH": f"{bare}/bin"}, ok=False)
    assert "neither `python3 -m pip` nor `uv` can be started" in ran.stderr.splitlines()[-1]
    shutil.copy(TESTS_BIN / "uv", bare / "bin" / "uv")
    if (Path(sys.base_prefix) / "bin").is_dir():
        assert "chosen by uv" in pack(folder, env={"PATH": f"{bare}/bin"}).stdout


@pytest.mark.parametrize("uv", [False, True], ids=["pip", "uv"])
def test_the_package_that_dray_brings_itself_is_not_packed(pack, dray, tree, index, task, tmp_path, uv):
    index.wheel("alpha", files={"alpha.py": "VERSION = 'mine'"})
    index.wheel("dray", "9.0", files={"dray/__init__.py": "raise SystemExit('another package of this name')"})
    files = {
        "main.py": "import alpha, dray; print(alpha.VERSION, hasattr(dray, 'copy_tables'))",
        "requirements.txt": "--no-index\n--find-links wheels\n-r sub/more.txt\n",
        "sub/more.txt": "alpha\nDray >= 0.1  # for the editor\n-c limits.txt\n",
        "sub/limits.txt": "alpha==1.0\n",
    }
    folder = tree(files)
    shutil.copytree(index.folder, folder / "wheels")
    said = pack(folder, "--python", HERE, uv=uv).stdout
    assert "1 packages of requirements.txt" in said
    assert "note: `dray` of requirements.txt is left out: `dray run` brings that package itself" in said
    ran = dray("run", "--python", sys.base_prefix + "/bin/python3", tmp_path / "project.zip", cwd=task.folder)
    assert ran.stdout == "mine True\n", ran.stderr


def test_a_project_that_asks_for_dray_alone_has_nothing_to_pack(pack, tree, tmp_path):
    said = pack(tree({"main.py": "1", "requirements.txt": "dray\n"}), env={"PIP_NO_INDEX": "1"}).stdout
    assert "no dependencies; 2 files of the project" in said and "note: `dray` of requirements.txt" in said


def test_a_worktrees_link_to_its_repository_is_left_out(pack, tree, tmp_path):
    pack(tree({"main.py": "1", ".git": "gitdir: /elsewhere/.git/worktrees/x\n", "sub/.git": "gitdir: ../.git/modules"}))
    assert members(tmp_path / "project.zip") == ["main.py"]


@pytest.mark.parametrize("platform", ["manylinux_2_41_x86_64", "manylinux_2_33_x86_64", "manylinux_2_30_x86_64"])
def test_a_c_library_that_uv_has_no_name_for_can_be_packed_for(pack, tree, index, tmp_path, platform):
    minor = int(platform.split("_")[2])
    for of in (17, minor, 42):
        index.wheel("native", files={"native.py": str(of)}, tag=f"cp312-cp312-manylinux_2_{of}_x86_64")
    pack(tree({"requirements.txt": index.lines + "native\n"}), "--platform", platform, uv=True)
    assert zipfile.ZipFile(tmp_path / "project.zip").read(PACKED + "native.py").decode() == str(minor)
    assert packed_manifest(tmp_path / "project.zip")["platform"] == platform


def test_a_packed_driver_is_the_one_that_loads(pack, dray, tree, task, tmp_path):
    (pinned,) = re.findall(r"^mssql-python-odbc==\S+", Path(__file__).with_name("requirements.txt").read_text(), re.M)
    with tds_server() as server, sqlite3.connect(tmp_path / "source.db") as db:
        db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)")
        db.execute("INSERT INTO t VALUES (1, 'Zoë'), (2, NULL)")
        db.commit()
        code = (
            f"import dray\nprint(dray.copy_table('sqlite:///{tmp_path}/source.db', {server.odbc!r}, 't').write_lane)\n"
        )
        folder = tree({"main.py": code, "requirements.txt": pinned + "\n"})
        pack(folder, "--python", HERE)
        python = ["--python", sys.base_prefix + "/bin/python3"]
        # Nowhere else, so that no other one is taken for it.
        without = dray("run", *python, "--ignore-requirements", folder, cwd=task.folder)
        ran = dray("run", *python, tmp_path / "project.zip", cwd=task.folder)
    assert without.returncode == 114 and "no ODBC driver" in without.stderr.splitlines()[-1]
    assert (ran.returncode, ran.stdout) == (0, "bcp\n"), ran.stderr
    assert server.rows == [(1, "Zoë"), (2, None)]
