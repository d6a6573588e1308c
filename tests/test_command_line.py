"""The command line of `dray run`: entrypoints, arguments, options and where they come from."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

ARGPARSE = """
import argparse, json, sys
parser = argparse.ArgumentParser()
parser.add_argument("--date")
parser.add_argument("--rows", type=int, default=0)
parser.add_argument("rest", nargs="*")
print(json.dumps([vars(parser.parse_args()), sys.argv]))
"""


def test_an_argparse_script_gets_its_arguments(dray, project, task):
    path = project({"main.py": ARGPARSE})
    ran = dray("run", path, "main.py", "--date", "2026-11-21", "--rows", "3", "a b", cwd=task.folder)
    assert ran.returncode == 0, ran.stderr
    parsed, argv = json.loads(ran.stdout)
    assert parsed == {"date": "2026-11-21", "rows": 3, "rest": ["a b"]}
    assert argv == ["main.py", "--date", "2026-11-21", "--rows", "3", "a b"]


def test_arguments_reach_the_script_byte_for_byte(dray, project, task):
    path = project({"main.py": "import os, sys\nprint([os.fsencode(a) for a in sys.argv[1:]])"})
    arguments = ["--", "--help", "", " x ", "é", "a\nb", b"\xff\xfe", "--timeout", "-m", "$HOME", '{"a": "b"}']
    ran = dray("run", path, "main.py", *arguments, cwd=task.folder)
    assert ran.returncode == 0, ran.stderr
    expected = [item if isinstance(item, bytes) else item.encode() for item in arguments]
    assert ran.stdout == f"{expected}\n"


def test_a_script_in_a_folder_of_the_project_runs(dray, project, task):
    path = project({"jobs/daily.py": "import sys, helper\nprint(sys.argv, helper.X)", "jobs/helper.py": "X = 1"})
    ran = dray("run", path, "jobs/daily.py", "x", cwd=task.folder)
    assert (ran.returncode, ran.stdout) == (0, "['jobs/daily.py', 'x'] 1\n"), ran.stderr


def test_a_module_runs_with_dash_m(dray, project, task):
    files = {"pkg/__init__.py": "", "pkg/mod.py": "import sys\nfrom . import other\nprint(__name__, __package__, sys.argv[1:], other.Y)",
             "pkg/other.py": "Y = 2"}  # fmt: skip
    ran = dray("run", project(files), "-m", "pkg.mod", "a", cwd=task.folder)
    assert (ran.returncode, ran.stdout) == (0, "__main__ pkg ['a'] 2\n"), ran.stderr


def test_the_manifest_names_the_entrypoint(dray, project, task):
    files = {
        "pyproject.toml": '[tool.dray]\nentry = "jobs/daily.py"\n',
        "jobs/daily.py": "print('daily')",
        "main.py": "print('main')",
    }
    ran = dray("run", project(files), cwd=task.folder)
    assert (ran.returncode, ran.stdout) == (0, "daily\n"), ran.stderr


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"__main__.py": "print('dunder')", "main.py": "print('main')"}, "dunder\n"),
        ({"main.py": "print('main')"}, "main\n"),
    ],
)
def test_without_an_entry_the_usual_files_are_tried(dray, project, task, files, expected):
    ran = dray("run", project(files), cwd=task.folder)
    assert (ran.returncode, ran.stdout) == (0, expected), ran.stderr


def test_without_any_entrypoint_the_candidates_are_listed(dray, project, task):
    ran = dray("run", project({"etl.py": "", "jobs/__main__.py": ""}), cwd=task.folder)
    assert ran.returncode == 111
    last = ran.stderr.splitlines()[-1]
    assert "etl.py" in last and "jobs" in last, last


def test_options_behind_the_project_belong_to_the_script(dray, project, task):
    ran = dray(
        "run", project({"main.py": "import sys; print(sys.argv[1:])"}), "--dry-run", "--timeout", "1s", cwd=task.folder
    )
    assert (ran.returncode, ran.stdout) == (0, "['--dry-run', '--timeout', '1s']\n"), ran.stderr


def test_a_folder_runs_in_place(dray, task, tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "main.py").write_text("import os; open('made', 'w').close(); print(os.getcwd(), __file__)")
    ran = dray("run", folder, "main.py", cwd=task.folder)
    assert (ran.returncode, ran.stdout) == (0, f"{folder} {folder / 'main.py'}\n"), ran.stderr
    assert (folder / "made").exists()
    assert task.outputs()["dray"]["status"] == "succeeded"


def test_an_option_is_taken_from_flag_then_variable_then_manifest(dray, project, task):
    path = project(
        {"pyproject.toml": '[tool.dray]\nlog-level = "error"\n', "main.py": "import logging; logging.warning('seen')"}
    )
    assert "seen" not in dray("run", path, cwd=task.folder).stderr
    assert "seen" in dray("run", path, cwd=task.folder, env={"DRAY_LOG_LEVEL": "warn"}).stderr
    ran = dray("run", "--log-level", "error", path, cwd=task.folder, env={"DRAY_LOG_LEVEL": "warn"})
    assert "seen" not in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "named"),
    [
        (["--timeout", "soon"], {}, "`--timeout`: `soon`"),
        ([], {"DRAY_GRACE": "much"}, "`DRAY_GRACE`: `much`"),
        ([], {"DRAY_DRY_RUN": "maybe"}, "`DRAY_DRY_RUN`: `maybe`"),
        (["--log-format", "xml"], {}, "`--log-format`: `xml`"),
        (["--no-such-option"], {}, "--no-such-option"),
    ],
)
def test_a_wrong_option_is_a_usage_error(dray, project, task, arguments, environment, named):
    ran = dray("run", *arguments, project({"main.py": ""}), cwd=task.folder, env={**task.env, **environment})
    assert ran.returncode == 110
    assert named in ran.stderr.splitlines()[-1]
    assert task.outputs()["dray"]["exit_code"] == 110


@pytest.mark.parametrize("where", ["the flag", "DRAY_WORKDIR", "AZ_BATCH_TASK_WORKING_DIR"])
def test_the_task_folder_may_be_another_than_the_current_one(dray, project, task, tmp_path, where):
    task.write_activity({"date": "2026-11-21"})
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    # Those that are outranked.
    options, environment = [], {"AZ_BATCH_TASK_WORKING_DIR": str(elsewhere)}
    if where == "the flag":
        options, environment = ["--workdir", task.folder], {**environment, "DRAY_WORKDIR": str(elsewhere)}
    else:
        environment[where] = str(task.folder)
    code = "import dray\nprint(dray.params.date)\ndray.outputs['rows'] = 5\n"
    ran = dray("run", *options, project({"main.py": code}), cwd=tmp_path, env=environment)
    assert (ran.returncode, ran.stdout) == (0, "2026-11-21\n"), ran.stderr
    assert task.outputs()["rows"] == 5
    assert not list(elsewhere.iterdir())
    assert not (tmp_path / "outputs.json").exists() and not (tmp_path / ".dray").exists()


@pytest.mark.parametrize("key", ["no-summary", "scrub"])
def test_what_the_project_says_counts_also_where_it_cannot_be_run(dray, project, task, key):
    task.write_activity()
    (task.folder / "outputs.json").write_text("{}")
    manifest = f"[tool.dray]\nentry = 'missing.py'\n{key} = true\n"
    ran = dray("run", project({"pyproject.toml": manifest, "main.py": ""}), cwd=task.folder)
    assert ran.returncode == 111
    if key == "scrub":
        assert not (task.folder / "activity.json").exists()
    else:
        assert not (task.folder / "outputs.json").exists() or "dray" not in task.outputs()


def test_an_unknown_key_of_the_manifest_is_named_with_the_nearest(dray, project, task):
    ran = dray("run", project({"pyproject.toml": "[tool.dray]\ntimeuot = '1s'\n", "main.py": ""}), cwd=task.folder)
    assert ran.returncode == 111
    assert "timeuot" in ran.stderr and "timeout" in ran.stderr


def test_extended_properties_become_arguments_of_a_plain_argparse_script(dray, project, task):
    task.write_activity({"date": "2026-11-21", "rows": 7})
    ran = dray("run", "--args-from-activity", project({"main.py": ARGPARSE}), "main.py", "--rows", "8", cwd=task.folder)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)[0] == {"date": "2026-11-21", "rows": 8, "rest": []}


def test_help_fits_a_screen(dray):
    for arguments in (["--help"], ["run", "--help"]):
        ran = dray(*arguments, env={"COLUMNS": "100"})
        assert ran.returncode == 0
        assert len(ran.stdout.splitlines()) <= 40


def test_the_version_names_target_and_payload(dray):
    ran = dray("--version")
    assert ran.returncode == 0
    assert "x86_64-unknown-linux-gnu" in ran.stdout and "payload: " in ran.stdout and "files" in ran.stdout


def test_completions_are_those_of_clap(dray):
    ran = dray("completions", "bash")
    assert ran.returncode == 0 and "_dray()" in ran.stdout


def test_completions_that_cannot_be_written_are_a_failure_in_words(executable):
    with open("/dev/full", "wb") as full:
        command = [executable, "completions", "bash"]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False, encoding="utf-8")
    assert ended.returncode == 117
    assert ended.stderr.startswith("error: cannot write to stdout: No space left")


def test_a_dry_run_prints_the_plan_and_runs_nothing(dray, project, task):
    task.write_activity({"month": 1, "password": {"type": "SecureString", "value": "hunter2-secret"}})
    path = project({"main.py": "open('ran', 'w')", "lib/x.py": ""})
    ran = dray("run", "--dry-run", path, "main.py", "--x", cwd=task.folder)
    assert ran.returncode == 0, ran.stderr
    for part in ("main.py", "lib/x.py", "python", "month", "outputs.json", "--x"):
        assert part in ran.stdout, part
    assert "hunter2-secret" not in ran.stdout + ran.stderr
    assert sorted(item.name for item in task.folder.iterdir()) == [
        "activity.json",
        "datasets.json",
        "linkedServices.json",
    ]


def test_a_dry_run_says_why_an_interpreter_was_passed_over(dray, project, task, tmp_path):
    old = tmp_path / "bin" / "python3"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho this is no Python; exit 3\n")
    old.chmod(0o755)
    path = f"{old.parent}:{sys.base_prefix}/bin:/usr/bin:/bin"
    ran = dray("run", "--dry-run", project({"main.py": ""}), cwd=task.folder, env={"PATH": path})
    assert ran.returncode == 0, ran.stderr
    assert str(old) in ran.stdout


def test_a_dry_run_tells_of_the_virtual_environments_that_a_zip_brings(dray, project, task):
    path = project({"main.py": "", "venv/pyvenv.cfg": "", ".venv/pyvenv.cfg": "", "lib/env/pyvenv.cfg": ""})
    ran = dray("run", "--dry-run", path, cwd=task.folder)
    assert ran.returncode == 0, ran.stderr
    for folder in (".venv", "venv"):
        assert f"the project brings the environment `{folder}`, which comes before what the node has" in ran.stdout
    assert ran.stdout.count("the project brings") == 2
    # Named Pythons come before it.
    assert "the project brings" not in dray("run", "--dry-run", "--python", "python3", path, cwd=task.folder).stdout
