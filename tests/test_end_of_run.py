"""How a run ends: exit codes, the last line on stderr, outputs.json, and what failed."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import AT_LENGTH

LIBRARY = pytest.param({}, id="library")
# As an interpreter without a libpython: the worker execs it.
HOSTED = pytest.param({"DRAY_LOADING": "hosted"}, id="hosted")
each_way = pytest.mark.parametrize("way", [LIBRARY, HOSTED])
each_way_at_length = pytest.mark.parametrize("way", [LIBRARY, HOSTED] if AT_LENGTH else [LIBRARY])


def last_line(ran: subprocess.CompletedProcess[str]) -> str:
    return ran.stderr.splitlines()[-1]


def error_of(task) -> dict:
    return task.outputs()["dray"]["error"]


def run_main(dray, project, task, source, *options, **keywords):
    return dray("run", *options, project({"main.py": source}), "main.py", cwd=task.folder, **keywords)


def test_success_is_0_with_a_summary(dray, project, task):
    ran = run_main(dray, project, task, "print('hello')")
    assert (ran.returncode, ran.stdout) == (0, "hello\n"), ran.stderr
    summary = task.outputs()["dray"]
    assert summary["status"] == "succeeded" and summary["exit_code"] == 0 and summary["entrypoint"] == "main.py"
    assert re.fullmatch(r"3\.\d+\.\d+\S*", summary["python"])
    assert summary["peak_memory_bytes"] > 1_000_000
    assert summary["durations_ms"]["total"] >= 0
    assert "error" not in summary


@pytest.mark.parametrize(
    ("statement", "code", "stderr"),
    [
        ("sys.exit()", 0, ""), ("sys.exit(None)", 0, ""), ("sys.exit(0)", 0, ""), ("sys.exit(3)", 3, ""),
        ("sys.exit(True)", 1, ""), ("sys.exit(-1)", 255, ""), ("sys.exit(256)", 0, ""), ("sys.exit('done for')", 1, "done for"),
        ("sys.exit([1])", 1, "[1]"), ("raise SystemExit(7)", 7, ""), ("exit(4)", 4, ""),
    ],
)  # fmt: skip
def test_every_kind_of_sys_exit_ends_as_under_python(dray, project, task, statement, code, stderr):
    ran = run_main(dray, project, task, f"import sys\n{statement}")
    assert ran.returncode == code
    assert stderr in ran.stderr
    assert task.outputs()["dray"]["exit_code"] == code


@each_way
def test_an_uncaught_exception_is_1_with_a_traceback_free_of_our_frames(dray, project, task, way, logs):
    source = "def load():\n    raise ValueError('bad thing')\n\nload()\n"
    ran = run_main(dray, project, task, source, env=way)
    assert ran.returncode == 1
    assert last_line(ran) == "error: main.py failed: ValueError: bad thing (main.py, line 2, in load)"
    error = error_of(task)
    assert (error["code"], error["type"], error["message"]) == ("script.raised", "ValueError", "bad thing")
    assert error["location"] == "main.py, line 2, in load"
    lines = error["traceback"].splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "ValueError: bad thing"
    assert [line for line in lines if line.startswith("  File")] == [line for line in lines if "main.py" in line]
    assert "dray" not in error["traceback"].replace("/.dray/", "")
    record = next(record for record in logs(ran.stderr) if record.get("event") == "script.raised")
    assert "ValueError: bad thing" in str(record)


def test_a_missing_package_is_told_from_a_missing_entrypoint(dray, project, task):
    ran = run_main(dray, project, task, "import json\nimport no_such_package.part\n")
    assert ran.returncode == 1
    assert error_of(task)["code"] == "script.missing_package"
    assert "no_such_package" in last_line(ran)
    ran = dray("run", project({"main.py": ""}), "mian.py", cwd=task.folder)
    assert ran.returncode == 111
    assert error_of(task)["code"].endswith("entrypoint_missing") and "main.py" in last_line(ran)
    ran = dray("run", project({"main.py": ""}), "-m", "no_such_module", cwd=task.folder)
    assert ran.returncode == 111
    assert error_of(task)["code"] == "entrypoint.not_found" and "no_such_module" in last_line(ran)
    ran = dray("run", project({"pkg/__init__.py": "import no_such_dependency"}), "pkg:run", cwd=task.folder)
    assert ran.returncode == 1
    assert error_of(task)["code"] == "script.missing_package"


def test_a_syntax_error_names_file_and_line(dray, project, task):
    ran = run_main(dray, project, task, "x = 1\ny = = 2\n")
    assert ran.returncode == 1
    assert error_of(task)["code"] == "script.syntax_error"
    assert error_of(task)["location"] == "main.py, line 2"


def test_a_syntax_error_in_an_imported_module_names_that_module(dray, project, task):
    ran = dray("run", project({"main.py": "import broken", "broken.py": "def f(:\n"}), cwd=task.folder)
    assert ran.returncode == 1
    assert error_of(task)["code"] == "script.syntax_error"
    assert error_of(task)["location"] == "broken.py, line 1"


def test_raising_while_importing_is_told_from_raising_while_running(dray, project, task):
    ran = dray("run", project({"main.py": "import settings", "settings.py": "1 / 0"}), cwd=task.folder)
    assert ran.returncode == 1
    assert error_of(task)["code"] == "script.import_failed"
    ran = dray("run", project({"job.py": "1 / 0\ndef run(): pass"}), "job:run", cwd=task.folder)
    assert error_of(task)["code"] == "script.import_failed"
    ran = dray("run", project({"job.py": "def run(): 1 / 0"}), "job:run", cwd=task.folder)
    assert error_of(task)["code"] == "script.raised"


@each_way
def test_os_exit_is_outlived_and_explained(dray, project, task, way):
    ran = run_main(dray, project, task, "import dray, os\ndray.outputs['rows'] = 5\nos._exit(9)", env=way)
    assert ran.returncode == 9
    assert task.outputs()["rows"] == 5
    assert error_of(task)["code"] == "script.exited_abruptly"


@each_way
def test_a_segmentation_fault_is_outlived_and_explained(dray, project, task, way):
    source = "import ctypes, dray\ndray.outputs['rows'] = 5\ndef crash():\n    ctypes.string_at(0)\ncrash()"
    ran = run_main(dray, project, task, source, env=way)
    assert ran.returncode == 128 + signal.SIGSEGV
    assert task.outputs()["rows"] == 5
    error = error_of(task)
    assert error["code"] == "worker.crashed" and "SIGSEGV" in error["message"]
    assert "line 4 in crash" in error["traceback"]
    assert "SIGSEGV" in last_line(ran) and "peak memory" in last_line(ran)


@each_way
def test_a_kill_from_outside_is_not_taken_for_want_of_memory(dray, project, task, way):
    ran = run_main(dray, project, task, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", env=way)
    assert ran.returncode == 137
    assert error_of(task)["code"] == "worker.killed"


def test_the_worker_is_the_kernels_first_choice_when_memory_runs_out(dray, project, task):
    source = """
import os
def score(pid):
    return int(open(f"/proc/{pid}/oom_score_adj").read())
supervisor = int(open(f"/proc/{os.getppid()}/stat").read().rpartition(")")[2].split()[1])
print(score("self") - score(os.getppid()), score("self") - score(supervisor))
"""
    assert run_main(dray, project, task, source).stdout == "300 300\n"


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"not a zip at all", 111), (b"PK\x03\x04 torn", 111), (b"", 111)],
)
def test_a_broken_zip_is_111_and_leaves_nothing(dray, task, content, code):
    (task.folder / "p.zip").write_bytes(content)
    ran = dray("run", "p.zip", "main.py", cwd=task.folder)
    assert ran.returncode == code
    assert last_line(ran).startswith("error: ")
    assert task.outputs()["dray"]["status"] == "failed"
    assert not (task.folder / ".dray").exists()


def test_a_project_that_is_not_there_is_111(dray, task):
    ran = dray("run", "missing.zip", cwd=task.folder)
    assert ran.returncode == 111 and "missing.zip" in last_line(ran)


def test_a_malformed_activity_file_is_112_with_file_line_and_column(dray, project, task):
    (task.folder / "activity.json").write_text('{\n  "name": oops\n}')
    ran = run_main(dray, project, task, "print('never')")
    assert (ran.returncode, ran.stdout) == (112, "")
    assert "activity.json" in last_line(ran) and "line 2" in last_line(ran) and "column" in last_line(ran)


def test_no_interpreter_is_113_with_all_that_was_tried(dray, project, task, tmp_path):
    ran = run_main(dray, project, task, "", env={"PATH": str(tmp_path)})
    assert ran.returncode == 113
    ran = run_main(dray, project, task, "", "--python", "/no/such/python")
    assert ran.returncode == 113 and "/no/such/python" in last_line(ran)


def test_refused_outputs_are_115_with_the_largest_keys(dray, project, task):
    source = "import dray\ndray.outputs['small'] = 1\ndray.outputs['huge'] = 'x' * 3_000_000"
    ran = run_main(dray, project, task, source)
    assert ran.returncode == 115
    assert "huge" in last_line(ran)
    assert task.outputs()["dray"]["exit_code"] == 115


def test_large_outputs_are_warned_of(dray, project, task, logs):
    ran = run_main(dray, project, task, "import dray\ndray.outputs['big'] = 'x' * 900_000")
    assert ran.returncode == 0
    assert any(record["level"] == "warning" and "output" in record["event"] for record in logs(ran.stderr))


@pytest.fixture
def known_python(dray, project, task) -> list[str]:
    """Options that name an interpreter which a run before has asked what it is: that takes longer than all else of a
    start, and what PATH has may be a launcher, which is asked each time.
    """
    options = ["--python", sys.executable]
    assert run_main(dray, project, task, "", *options).returncode == 0
    return options


@each_way
def test_the_time_limit_is_116_and_lets_finally_run(dray, project, task, known_python, way):
    source = "import time\ntry:\n    time.sleep(60)\nfinally:\n    print('cleaned up')"
    started = time.monotonic()
    ran = run_main(dray, project, task, source, *known_python, "--timeout", "2s", env=way)
    assert (ran.returncode, ran.stdout) == (116, "cleaned up\n"), ran.stderr
    assert time.monotonic() - started < 20
    assert error_of(task)["code"] == "run.time_limit"


def test_a_fault_of_dray_itself_is_117(dray, project, task):
    ran = run_main(dray, project, task, "", env={"DRAY_PAYLOAD": "/no/such/payload"})
    assert ran.returncode == 117
    assert task.outputs()["dray"]["exit_code"] == 117


def test_an_unreachable_database_that_the_script_lets_pass_is_114(dray, project, task):
    source = "import dray\ndray.connect('Driver={PostgreSQL Unicode};Server=127.0.0.1;Port=9;Database=d;UID=u;PWD=topsecret')"
    ran = run_main(dray, project, task, source)
    assert ran.returncode == 114
    assert "topsecret" not in ran.stderr + (task.folder / "outputs.json").read_text()


def test_outputs_of_dray_and_of_the_script_are_joined(dray, project, task):
    source = "import dray, json\ndray.outputs['a'] = 1\nopen('outputs.json', 'w').write(json.dumps({'b': 2}))"
    assert run_main(dray, project, task, source).returncode == 0
    outputs = task.outputs()
    assert (outputs["a"], outputs["b"]) == (1, 2)


def test_without_a_summary_only_the_scripts_values_are_written(dray, project, task):
    assert run_main(dray, project, task, "import dray; dray.outputs['a'] = 1", "--no-summary").returncode == 0
    assert task.outputs() == {"a": 1}


def test_a_stale_outputs_file_of_an_earlier_attempt_is_gone(dray, project, task):
    (task.folder / "outputs.json").write_text('{"stale": true}')
    run_main(dray, project, task, "import os; print(os.path.exists('outputs.json'))")
    assert "stale" not in task.outputs()


def test_an_outputs_file_that_is_not_json_is_115(dray, project, task):
    ran = run_main(dray, project, task, "open('outputs.json', 'w').write('{oops')")
    assert ran.returncode == 115
    assert task.outputs()["dray"]["status"] == "failed"


@pytest.mark.parametrize(
    ("value", "path"),
    [("float('nan')", "outputs['a']"), ("{'b': [1, float('inf')]}", "outputs['a']['b'][1]"), ("object()", "outputs['a']"),
     ("b'x'", "outputs['a']"), ("{1: 2}", "outputs['a']")],
)  # fmt: skip
def test_a_value_that_is_not_json_is_refused_where_it_is_set(dray, project, task, value, path):
    ran = run_main(dray, project, task, f"import dray\nx = 1\ndray.outputs['a'] = {value}\n")
    assert ran.returncode == 115
    assert path in last_line(ran) and "main.py, line 3" in last_line(ran)


def test_a_cycle_is_refused(dray, project, task):
    ran = run_main(dray, project, task, "import dray\na = []\na.append(a)\ndray.outputs['a'] = a")
    assert ran.returncode == 115 and "outputs['a'][0] contains itself" in last_line(ran)


def test_all_kinds_of_values_become_json(dray, project, task):
    source = """
import dataclasses, datetime, decimal, enum, pathlib, uuid, dray
@dataclasses.dataclass
class Point:
    x: int
    y: list
class Colour(enum.Enum):
    RED = "red"
dray.outputs.update(
    date=datetime.date(2026, 11, 21), time=datetime.datetime(2026, 11, 21, 1, 2, 3, tzinfo=datetime.timezone.utc),
    decimal=decimal.Decimal("12345678901234567890.10"), uuid=uuid.UUID(int=1), point=Point(1, [2]), colour=Colour.RED,
    path=pathlib.Path("/a"), tuple=(1, None, True), big=2**70, text="é\\U0001f600",
)
dray.outputs["grown"] = []
dray.outputs["grown"].append(1)
"""
    ran = run_main(dray, project, task, source)
    assert ran.returncode == 0, ran.stderr
    outputs = task.outputs()
    outputs.pop("dray")
    assert outputs == {
        "date": "2026-11-21", "time": "2026-11-21T01:02:03+00:00", "decimal": "12345678901234567890.10",
        "uuid": "00000000-0000-0000-0000-000000000001", "point": {"x": 1, "y": [2]}, "colour": "red", "path": "/a",
        "tuple": [1, None, True], "big": 2**70, "text": "é\U0001f600", "grown": [1],
    }  # fmt: skip


def test_numpy_and_pandas_scalars_become_json(dray, project, task):
    source = """
import numpy, pandas, dray
dray.outputs.update(
    i=numpy.int64(7), f=numpy.float32(0.5), b=numpy.bool_(True), d=numpy.datetime64("2026-11-21"), a=numpy.arange(3),
    t=pandas.Timestamp("2026-11-21 01:02:03"), n=pandas.NaT, m=pandas.NA, s=pandas.Series([1, 2]),
)
"""
    ran = run_main(dray, project, task, source, "--python", sys.executable)
    assert ran.returncode == 0, ran.stderr
    outputs = task.outputs()
    outputs.pop("dray")
    assert outputs == {
        "i": 7, "f": 0.5, "b": True, "d": "2026-11-21", "a": [0, 1, 2], "t": "2026-11-21T01:02:03", "n": None, "m": None,
        "s": [1, 2],
    }  # fmt: skip


def test_secrets_are_masked_in_all_that_dray_writes(dray, project, task):
    task.write_activity({"password": {"type": "SecureString", "value": "s3cr3t/välue"}})
    source = """
import logging, dray
assert repr(dray.params.password) == "Secret('***')", repr(dray.params.password)
assert f"{dray.params.password}" == "s3cr3t/v\\u00e4lue"
logging.warning("password is %s", dray.params.password)
dray.outputs["echo"] = "it is " + dray.params.password
raise RuntimeError(f"cannot log in with {dray.params.password}")
"""
    ran = run_main(dray, project, task, source)
    assert ran.returncode == 1
    written = ran.stderr + (task.folder / "outputs.json").read_text("utf-8")
    assert "s3cr3t" not in written
    assert task.outputs()["echo"] == "it is ***"


def test_one_json_object_a_line_on_stderr(dray, project, task, logs):
    source = "import logging, warnings\nlogging.getLogger('etl').info('loaded', extra={'rows': 5})\nwarnings.warn('old')\nprint('out')"
    ran = run_main(dray, project, task, source, env=task.env)
    assert ran.stdout == "out\n"
    records = logs(ran.stderr)
    assert len(records) == len(ran.stderr.splitlines())
    record = next(record for record in records if record["message"] == "loaded")
    assert record["level"] == "info" and record["fields"]["rows"] == 5 and record["logger"] == "etl"
    assert record["task_id"] == task.env["AZ_BATCH_TASK_ID"] and record["phase"] == "running"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,6}Z", record["time"])
    assert any(record["event"] == "python.warning" and record["message"] == "old" for record in records)


def test_a_warning_from_c_is_logged_though_nobody_has_imported_warnings(dray, project, task, logs):
    source = "exec(compile('print(1 is 1)', 'made.py', 'exec'))"
    ran = run_main(dray, project, task, source, env=task.env)
    assert ran.stdout == "True\n"
    (warning,) = [record for record in logs(ran.stderr) if record["event"] == "python.warning"]
    assert warning["message"].startswith('"is" with ')
    assert len(logs(ran.stderr)) == len(ran.stderr.splitlines())


def test_what_warns_while_python_ends_is_as_silent_as_under_plain_python(dray, project, task, logs):
    # A file that nobody has closed is worth a ResourceWarning, which Python's own filters drop.
    ran = run_main(dray, project, task, "left = open(__file__)\nprint('out')", env=task.env)
    assert ran.stdout == "out\n"
    assert len(logs(ran.stderr)) == len(ran.stderr.splitlines())
    assert "warning" not in {record["level"] for record in logs(ran.stderr)}


# A name as os.listdir gives it of a file whose name is not UTF-8.
SURROGATE = "caf\\udce9"


def test_an_exception_whose_text_is_not_unicode_is_told_all_the_same(dray, project, task):
    ran = run_main(dray, project, task, f"raise RuntimeError('cannot load {SURROGATE}')")
    assert ran.returncode == 1
    assert (
        last_line(ran) == "error: main.py failed: RuntimeError: cannot load caf\\udce9 (main.py, line 1, in <module>)"
    )
    assert error_of(task)["code"] == "script.raised"
    assert error_of(task)["traceback"].endswith("RuntimeError: cannot load caf\\udce9")


def test_sys_exit_with_a_text_that_is_not_unicode_is_told_all_the_same(dray, project, task):
    ran = run_main(dray, project, task, f"import sys\nsys.exit('bad {SURROGATE}')")
    assert ran.returncode == 1
    assert error_of(task)["code"] == "script.exited"
    assert "bad caf\\udce9" in last_line(ran)


def test_warnings_and_records_that_are_not_unicode_are_logged(dray, project, task, logs):
    source = f"""
import logging, warnings
warnings.warn("old {SURROGATE}")
logging.warning("file %s", "{SURROGATE}", extra={{"path": "{SURROGATE}", "n": 1}})
print("went on")
"""
    ran = run_main(dray, project, task, source, env=task.env)
    assert (ran.returncode, ran.stdout) == (0, "went on\n"), ran.stderr
    records = {record["message"]: record for record in logs(ran.stderr)}
    assert "old caf\\udce9" in records
    assert records["file caf\\udce9"]["fields"] == {"path": "caf\\udce9", "n": 1}


@pytest.mark.parametrize(
    ("statement", "path"),
    [
        ("dray.outputs['a'] = {'b': {name: 1}}", "outputs['a']['b']: the key 'caf\\udce9'"),
        ("dray.outputs[name] = 1", "outputs: the key 'caf\\udce9'"),
    ],
)
def test_a_key_of_the_outputs_that_is_not_unicode_is_refused(dray, project, task, statement, path):
    ran = run_main(dray, project, task, f"import dray\nname = '{SURROGATE}'\n{statement}\n")
    assert ran.returncode == 115
    assert path in last_line(ran) and "main.py, line 3" in last_line(ran)


def test_an_exception_that_cannot_be_described_is_told_by_its_type(dray, project, task):
    ran = run_main(dray, project, task, "class Odd(Exception):\n    __module__ = None\nraise Odd('x')\n")
    assert ran.returncode == 1
    assert (error_of(task)["code"], error_of(task)["type"]) == ("script.raised", "Odd")
    assert last_line(ran).startswith("error: main.py failed: Odd")


def test_what_json_does_not_take_of_a_log_record_comes_as_its_repr(dray, project, task, logs):
    source = """
import logging
cycle = {"rows": 5}
cycle["self"] = cycle
logging.warning("odd", extra={"ratio": float("nan"), "nested": [float("inf")], "cycle": cycle, "rows": 5, "kind": int})
"""
    ran = run_main(dray, project, task, source, env=task.env)
    record = next(record for record in logs(ran.stderr) if record["message"] == "odd")
    assert record["fields"] == {
        "ratio": "nan", "nested": "[inf]", "cycle": "{'rows': 5, 'self': {...}}", "rows": 5, "kind": "<class 'int'>",
    }  # fmt: skip


def test_a_gigabyte_on_stdout_passes(executable, clean_environment, project, task):
    path = project(
        {"main.py": "import sys\nline = 'x' * 1023 + '\\n'\nfor _ in range(1024 * 1024): sys.stdout.write(line)"}
    )
    with subprocess.Popen(
        [executable, "run", path, "main.py"], cwd=task.folder, env=dict(clean_environment), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        size = 0
        while block := process.stdout.read(1 << 20):
            size += len(block)
        process.stderr.read()
    assert (process.returncode, size) == (0, 1 << 30)
    assert task.outputs()["dray"]["peak_memory_bytes"] < 200_000_000


# Signals


def started(process: subprocess.Popen[str]) -> None:
    assert process.stdout.readline() == "ready\n"


def processes_of(marker: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if marker.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except (OSError, ValueError):
            continue
    return found


READY = "print('ready', flush=True)\n"
# Not one long sleep: a signal that comes just before one starts is seen when it ends.
WAIT = "for _ in range(600): time.sleep(0.1)"


@each_way
@pytest.mark.parametrize(
    ("sent", "caught", "code"), [(signal.SIGTERM, "SystemExit(143)", 143), (signal.SIGINT, "KeyboardInterrupt()", 130)]
)
def test_a_signal_reaches_the_script_once_as_an_exception(start, project, task, way, sent, caught, code):
    source = f"""
import dray, time
try:
    {READY}    {WAIT}
except BaseException as error:
    print(repr(error), flush=True)
    dray.outputs["caught"] = True
    time.sleep(1)
    raise
finally:
    print("finally", flush=True)
"""
    process = start("run", project({"main.py": source}), "main.py", cwd=task.folder, env=way)
    started(process)
    process.send_signal(sent)
    assert process.stdout.readline() == f"{caught}\n"
    for _ in range(3):
        process.send_signal(sent)
        time.sleep(0.1)
    rest, stderr = process.communicate(timeout=20)
    assert (process.returncode, rest) == (code, "finally\n"), stderr
    assert task.outputs()["caught"] is True
    assert error_of(task)["code"] == "run.stopped"


@pytest.mark.parametrize("stdin", ["a terminal", "/dev/null"])
def test_ctrl_c_on_a_terminal_reaches_the_script_once(executable, clean_environment, project, task, stdin):
    source = f"""
import time
try:
    {READY}    {WAIT}
except KeyboardInterrupt:
    print("caught", flush=True)
    time.sleep(1)
    raise
"""
    path = project({"main.py": source})
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(task.folder)
        if stdin == "/dev/null":
            os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        os.execve(executable, [str(executable), "run", str(path), "main.py"], dict(clean_environment))
    said, deadline = b"", time.monotonic() + 20
    try:
        while b"ready" not in said:
            said += os.read(terminal, 4096)
        os.write(terminal, b"\x03")
        while time.monotonic() < deadline:
            try:
                said += os.read(terminal, 4096)
            except OSError:  # the other side is closed
                break
    finally:
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 130, said
    assert said.count(b"caught") == 1


def stopped_in_order(process, sent):
    """Sends the signal; the script prints nothing but what its `finally` does. Returns stderr."""
    started(process)
    process.send_signal(sent)
    rest, stderr = process.communicate(timeout=20)
    assert (process.returncode, rest) == (128 + sent, "finally\n"), stderr
    return stderr


# Python drops what is raised while one of these waits, with a message to standard error.
DROPPING = {
    "a destructor": "held.__class__.__del__ = wait",
    "a callback of a weak reference": "reference = weakref.ref(held, wait)",
}


@each_way
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("where", DROPPING)
def test_a_signal_is_not_lost_where_python_drops_exceptions(start, project, task, way, sent, where):
    source = f"""
import time, weakref
class Held: pass
def wait(_):
    {READY}    {WAIT}
held = Held()
{DROPPING[where]}
try:
    del held
    {WAIT}
    print("not told", flush=True)
finally:
    print("finally", flush=True)
"""
    process = start("run", project({"main.py": source}), "main.py", cwd=task.folder, env=way)
    assert "Exception ignored" not in stopped_in_order(process, sent)


@each_way
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_not_turned_into_another_exception_while_a_class_is_made(start, project, task, way, sent):
    source = f"""
import time
class Field:
    def __set_name__(self, owner, name):
        {READY}        for _ in range(5): time.sleep(0.1)
try:
    try:
        class Row: field = Field()
    except Exception as error:
        print(repr(error), flush=True)
    {WAIT}
finally:
    print("finally", flush=True)
"""
    process = start("run", project({"main.py": source}), "main.py", cwd=task.folder, env=way)
    stopped_in_order(process, sent)


@each_way
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_not_lost_while_warnings_are_loaded(start, project, task, tmp_path, way, sent):
    # By dray, as soon as the script looks at the module; up to Python 3.11 `import` drops what is raised meanwhile.
    members = {
        "main.py": f"""
import time
try:
    import warnings
    {WAIT}
    print("not told", flush=True)
finally:
    print("finally", flush=True)
""",
        "warnings.py": f"import time\n{READY}for _ in range(5): time.sleep(0.1)\n",
    }
    # Without packages, some of which have Python load it while it starts.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "empty"], check=True)
    arguments = ("--python", tmp_path / "empty", project(members), "main.py")
    process = start("run", *arguments, cwd=task.folder, env=way)
    stopped_in_order(process, sent)


def test_other_exceptions_that_python_drops_are_told_of_after_a_signal_as_before_it(start, project, task):
    source = f"""
import time
class Held:
    def __del__(self): raise ValueError("of a destructor")
try:
    {READY}    {WAIT}
finally:
    Held()
"""
    process = start("run", project({"main.py": source}), "main.py", cwd=task.folder, env={})
    started(process)
    process.terminate()
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 143
    assert "Exception ignored in" in stderr and "ValueError: of a destructor" in stderr


@each_way_at_length
def test_a_handler_of_the_script_wins(start, project, task, way):
    source = f"""
import os, signal, time
def handle(number, frame):
    os.write(1, b"mine\\n")
    raise SystemExit(5)
signal.signal(signal.SIGTERM, handle)
{READY}time.sleep(60)
"""
    process = start("run", project({"main.py": source}), "main.py", cwd=task.folder, env=way)
    started(process)
    process.terminate()
    rest, stderr = process.communicate(timeout=20)
    assert (process.returncode, rest) == (5, "mine\n"), stderr


# What still runs behind the last line of a script: in each case `work` would print the second line.
LATE_WORK = {
    "a thread": "threading.Thread(target=work).start()",
    "an executor": "concurrent.futures.ThreadPoolExecutor().submit(work)",
    "an exit handler": "atexit.register(work)",
    "a thread behind sys.exit": "threading.Thread(target=work).start()\nsys.exit()",
}
LATE = """
import atexit, concurrent.futures, sys, threading, time
def work():
    print("ready", flush=True)
    time.sleep(4)
    print("worked", flush=True)
"""


@each_way_at_length
@pytest.mark.parametrize("how", LATE_WORK)
def test_a_stop_while_threads_or_exit_handlers_work_on_is_no_success(start, project, task, way, how):
    path = project({"main.py": f"import dray\ndray.outputs['rows'] = 5\n{LATE}{LATE_WORK[how]}\n"})
    process = start("run", path, "main.py", cwd=task.folder, env=way)
    started(process)
    time.sleep(0.3)
    process.terminate()
    rest, stderr = process.communicate(timeout=20)
    assert (process.returncode, rest) == (143, ""), stderr
    assert (task.outputs()["rows"], task.outputs()["dray"]["status"]) == (5, "failed")
    error = error_of(task)
    assert (error["code"], error["phase"]) == ("run.stopped", "finishing")
    said = "main.py was stopped by SIGTERM while its threads or exit handlers were still at work"
    assert stderr.splitlines()[-1] == f"error: {said}"


@each_way
def test_ctrl_c_while_a_thread_works_on_is_130(start, project, task, way):
    process = start(
        "run", project({"main.py": f"{LATE}{LATE_WORK['a thread']}\n"}), "main.py", cwd=task.folder, env=way
    )
    started(process)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert (process.returncode, error_of(task)["code"]) == (130, "run.stopped")


@each_way_at_length
def test_the_time_limit_while_a_thread_works_on_is_116(dray, project, task, known_python, way):
    ran = run_main(dray, project, task, f"{LATE}{LATE_WORK['a thread']}\n", *known_python, "--timeout", "2s", env=way)
    assert (ran.returncode, ran.stdout) == (116, "ready\n"), ran.stderr
    assert error_of(task)["code"] == "run.time_limit"
    assert "2s was reached while its threads" in last_line(ran)


@each_way_at_length
def test_a_script_that_catches_the_stop_and_ends_well_is_a_success(start, project, task, way):
    source = f"import time\ntry:\n    {READY}    time.sleep(60)\nexcept SystemExit:\n    print('caught')\n"
    process = start("run", project({"main.py": source}), "main.py", cwd=task.folder, env=way)
    started(process)
    process.terminate()
    rest, stderr = process.communicate(timeout=20)
    assert (process.returncode, rest) == (0, "caught\n"), stderr
    assert task.outputs()["dray"]["status"] == "succeeded"


@each_way_at_length
def test_a_script_that_ignores_sigterm_is_killed_with_all_it_started_after_the_grace_time(start, project, task, way):
    source = f"""
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import os, time; os.setsid(); time.sleep(60)"])
time.sleep(0.5)
{READY}time.sleep(60)
"""
    process = start(
        "run",
        "--grace",
        "500ms",
        project({"main.py": source}),
        "main.py",
        cwd=task.folder,
        env={**way, "MARKER": str(task.folder)},
    )
    started(process)
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode == 137
    assert error_of(task)["code"] == "run.stopped" and "grace" in error_of(task)["message"]
    assert processes_of(str(task.folder)) == []


@each_way_at_length
@pytest.mark.parametrize("sent", [signal.SIGKILL])
def test_everything_dies_with_a_killed_supervisor(start, project, task, sent, way):
    source = f"""
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import os, time; os.setsid(); time.sleep(60)"])
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(60)
    os._exit(0)
time.sleep(0.5)
{READY}time.sleep(60)
"""
    process = start(
        "run", project({"main.py": source}), "main.py", cwd=task.folder, env={**way, "MARKER": str(task.folder)}
    )
    started(process)
    assert len(processes_of(str(task.folder))) >= 4
    process.send_signal(sent)
    process.wait(timeout=10)
    deadline = time.monotonic() + 5
    while processes_of(str(task.folder)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_of(str(task.folder)) == []


def test_a_grandchild_that_holds_stdout_open_does_not_hold_up_the_end(dray, project, task):
    source = "import subprocess\nsubprocess.Popen(['sleep', '60'], start_new_session=True)\nprint('done')"
    begun = time.monotonic()
    ran = run_main(dray, project, task, source, timeout=30)
    assert (ran.returncode, ran.stdout) == (0, "done\n")
    assert time.monotonic() - begun < 6


@each_way_at_length
def test_a_forked_child_has_the_default_action_of_signals(dray, project, task, way):
    source = """
import os, signal, time
child = os.fork()
if child == 0:
    print(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, signal.getsignal(signal.SIGINT) == signal.default_int_handler, flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""
    assert run_main(dray, project, task, source, env=way).stdout == "True True\n"


def test_a_signal_while_the_project_is_unpacked_still_settles_the_outputs(start, project, task):
    path = project({"main.py": "", **{f"data/{index}.bin": os.urandom(200_000) for index in range(300)}})
    process = start("run", path, "main.py", cwd=task.folder)
    deadline = time.monotonic() + 10
    while not (task.folder / ".dray").exists() and time.monotonic() < deadline:
        time.sleep(0.001)
    process.terminate()
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 143, stderr
    assert error_of(task)["code"] == "run.stopped"


@pytest.fixture
def sleeping_python(tmp_path: Path) -> Path:
    """A launcher that takes long, as one on a network disk or a version manager may."""
    launcher = tmp_path / "python3"
    launcher.write_text("#!/bin/sh\n: > started\nsleep 25\n")
    launcher.chmod(0o755)
    return launcher


def test_a_signal_while_a_python_is_asked_what_it_is_ends_the_run(start, project, task, tmp_path, sleeping_python):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "main.py").write_text("")
    begun = time.monotonic()
    process = start("run", "--python", sleeping_python, folder, "main.py", cwd=task.folder)
    while not (folder / "started").exists() and time.monotonic() < begun + 10:
        time.sleep(0.01)
    process.terminate()
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 143, stderr
    assert stderr.splitlines()[-1] == "error: stopped by SIGTERM while a Python was looked for"
    assert error_of(task)["code"] == "run.stopped"
    assert time.monotonic() - begun < 15


def test_the_time_limit_holds_while_a_python_is_asked_what_it_is(dray, project, task, sleeping_python):
    begun = time.monotonic()
    ran = run_main(dray, project, task, "print('never')", "--python", sleeping_python, "--timeout", "1s")
    assert (ran.returncode, ran.stdout) == (116, ""), ran.stderr
    assert last_line(ran) == "error: stopped while a Python was looked for: the time limit of 1s was reached"
    assert error_of(task)["code"] == "run.time_limit"
    assert time.monotonic() - begun < 15


def test_the_time_limit_holds_while_the_project_is_unpacked(dray, project, task):
    path = project({"main.py": "print('never')", **{f"data/{index}.bin": os.urandom(200_000) for index in range(100)}})
    ran = dray("run", "--timeout", "1ms", path, "main.py", cwd=task.folder)
    assert (ran.returncode, ran.stdout) == (116, ""), ran.stderr
    assert last_line(ran) == "error: stopped while the project was unpacked: the time limit of 1ms was reached"
    assert error_of(task)["code"] == "run.time_limit"


def test_the_worker_has_a_name_of_its_own_and_nothing_open_that_is_the_supervisors(dray, project, task):
    source = """
import os
print(open("/proc/self/comm").read().strip())
for number in map(int, os.listdir("/proc/self/fd")):
    try:
        if number > 2:
            print(os.path.basename(os.readlink(f"/proc/self/fd/{number}")))
    except FileNotFoundError:
        pass  # that of the listing itself
"""
    # What faulthandler writes to in a crash is the worker's own.
    assert run_main(dray, project, task, source).stdout == "dray-worker\nfault.txt\n"
