"""No secret in what the script prints, and not a byte of it changed otherwise."""

from __future__ import annotations

import os
import pty
import random
import signal
import subprocess
import time

import pytest
from azure_server import TOKEN, reference

SECRET = "S3cr3t/value+é'x"


def secure(value: str) -> dict[str, str]:
    """A SecureString, as ADF writes it."""
    return {"type": "SecureString", "value": value}


@pytest.fixture
def printing(script):
    """`printing(code)` runs a script that knows one secret, `dray.params.pw`."""

    def run(code, secret=SECRET, **options):
        return script(code, parameters={"pw": secure(secret), **options.pop("parameters", {})}, **options)

    return run


def test_a_secret_is_masked_on_both_streams(printing):
    ran = printing(
        "import dray, sys\nprint('out', dray.params.pw, '!')\nprint('err', dray.params.pw, file=sys.stderr)\n"
    )
    assert ran.stdout == "out *** !\n"
    assert "err ***\n" in ran.stderr


def test_it_is_masked_as_urls_and_base64_and_json_have_it(printing):
    code = """
import base64, json, urllib.parse
import dray
pw = str(dray.params.pw)
print(urllib.parse.quote(pw), urllib.parse.quote_plus(pw), urllib.parse.quote(pw, safe=""))
print(json.dumps(pw), json.dumps(pw, ensure_ascii=False))
for before in ("", "u", "us"):
    print(base64.b64encode((before + pw).encode()).decode(), base64.urlsafe_b64encode((before + pw + "+").encode()).decode())
"""
    ran = printing(code)
    lines = ran.stdout.splitlines()
    assert lines[0] == "*** *** ***"
    assert lines[1] == '"***" "***"'
    # Beside the mask stands at most what belongs to the neighbour, too.
    for line in lines[2:]:
        assert all(len(part.replace("***", "").rstrip("=")) <= 6 for part in line.split(" ")), line
        assert line.count("***") == 2


def test_it_is_masked_across_writes_and_by_whichever_process_writes(printing):
    code = """
import os, subprocess, sys, time
import dray
pw = str(dray.params.pw).encode()
for byte in pw:
    os.write(1, bytes([byte]))
    time.sleep(0.01)
os.write(1, b"|")
sys.stdout.flush()
subprocess.run(["/bin/sh", "-c", 'printf %s "$0"', pw], check=True)
if os.fork() == 0:
    os.write(1, b"|" + pw)
    os._exit(0)
os.wait()
"""
    assert printing(code).stdout == "***|***|***"


def test_the_bytes_are_unchanged_otherwise(executable, clean_environment, project, task):
    code = """
import os, random
import dray
random.seed(7)
pw = str(dray.params.pw).encode()
for _ in range(300):
    os.write(1, random.randbytes(random.choice([1, 10, 3000, 100000])))
    os.write(1, pw[: random.randrange(len(pw))] + b"\\n")
"""
    task.write_activity({"pw": secure(SECRET)})
    command = [executable, "run", project({"main.py": code})]
    env = {**clean_environment, **task.env}
    ran = subprocess.run(command, cwd=task.folder, env=env, capture_output=True, check=True)
    random.seed(7)
    pw, expected = SECRET.encode(), b""
    for _ in range(300):
        expected += random.randbytes(random.choice([1, 10, 3000, 100000]))
        expected += pw[: random.randrange(len(pw))] + b"\n"
    assert ran.stdout == expected


def test_short_values_stay(printing):
    assert printing("print('abc abcd')", secret="abc", parameters={"d": secure("abcd")}).stdout == "abc ***\n"


def test_no_mask_leaves_the_streams_as_they_are(printing):
    code = "import dray, os, stat\nprint(dray.params.pw, stat.S_ISREG(os.fstat(1).st_mode))\n"
    assert printing(code, env={"DRAY_NO_MASK": "1"}).stdout.startswith(SECRET)


def test_the_streams_are_those_of_dray_where_there_is_nothing_to_mask(executable, clean_environment, project, task):
    path = project({"main.py": "import os\nprint(os.fstat(1).st_ino)\n"})
    with open(task.folder / "out.txt", "wb") as out:
        inode = os.fstat(out.fileno()).st_ino
        command = [executable, "run", path]
        subprocess.run(command, cwd=task.folder, env={**clean_environment, **task.env}, stdout=out, check=True)
    assert (task.folder / "out.txt").read_text() == f"{inode}\n"


def test_a_secret_of_the_vault_is_masked_as_soon_as_it_is_there(script, azure):
    azure.secrets["pw"] = "from-the-vault"
    code = """
import os, subprocess, sys
import dray
print(dray.params.pw.value, flush=True)
child = "import dray; print('child', dray.params.other)"
subprocess.run([sys.executable, "-c", child], check=True)
dray.outputs["x"] = str(dray.params.pw)
raise ValueError(f"with {dray.params.pw} in it")
"""
    azure.secrets["other"] = "fetched-by-a-child"
    parameters = {"pw": reference("pw"), "other": reference("other")}
    ran = script(code, services=azure.services, parameters=parameters, env=azure.env)
    assert ran.stdout == "***\nchild ***\n", ran.stderr
    assert "from-the-vault" not in ran.stderr
    assert ran.returncode == 1
    assert "ValueError: with *** in it" in ran.stderr


def test_a_fetched_secret_is_masked_in_outputs(script, task, azure):
    azure.secrets["pw"] = "from-the-vault"
    code = "import dray\ndray.outputs['x'] = f'a {dray.params.pw} b'\nopen('outputs.json', 'w').write('{}')\n"
    script(code, services=azure.services, parameters={"pw": reference("pw")}, env=azure.env)
    assert task.outputs()["x"] == "a *** b"


def test_a_token_is_masked_too(script, azure):
    azure.secrets["pw"] = "from-the-vault"
    code = f"import dray\ndray.params.pw.value\nprint('{TOKEN}')\n"
    ran = script(code, services=azure.services, parameters={"pw": reference("pw")}, env=azure.env)
    assert ran.stdout == "***\n", ran.stderr


@pytest.mark.parametrize("known", [True, False], ids=["beside others", "alone"])
def test_a_password_that_the_script_brings_is_masked_from_then_on(printing, script, known):
    code = """
import dray
try:
    dray.connect("Driver={no such driver};PWD=brought-by-the-script")
except dray.Error:
    pass
print("brought-by-the-script")
"""
    assert (printing(code) if known else script(code, parameters={"n": 1})).stdout == "***\n"


def test_what_was_printed_before_a_crash_comes_out_whole_and_in_order(printing):
    code = """
import ctypes, os
for i in range(20000):
    print("line", i)
os.write(2, b"last words S3cr")
ctypes.string_at(0)
"""
    ran = printing(code)
    assert ran.returncode == 139
    assert ran.stdout == "".join(f"line {i}\n" for i in range(20000))
    assert "last words S3cr" in ran.stderr
    assert "SIGSEGV" in ran.stderr.splitlines()[-1]


def test_one_file_for_both_streams_keeps_the_order(executable, clean_environment, project, task):
    task.write_activity({"pw": secure(SECRET)})
    code = """
import os
for i in range(2000):
    os.write(1 + i % 2, b"%d\\n" % i)
"""
    path = project({"main.py": code})
    with open(task.folder / "both.txt", "wb") as both:
        command = [executable, "run", "--log-level", "error", path]
        env = {**clean_environment, **task.env}
        subprocess.run(command, cwd=task.folder, env=env, stdout=both, stderr=both, check=True)
    assert (task.folder / "both.txt").read_text() == "".join(f"{i}\n" for i in range(2000))


@pytest.mark.alone
def test_lines_come_out_while_the_script_runs(start, project, task):
    task.write_activity({"pw": secure(SECRET)})
    code = "import time\nfor i in range(5):\n    print('tick', time.time(), flush=True)\n    time.sleep(0.2)\n"
    process = start("run", project({"main.py": code}), cwd=task.folder, env=task.env)
    for _ in range(5):
        line = process.stdout.readline()
        assert time.time() - float(line.split()[1]) < 0.1
    process.communicate(timeout=10)


def test_a_grandchild_that_holds_stdout_open_does_not_hold_up_the_end(printing):
    code = """
import subprocess
print("done")
subprocess.Popen(["/bin/sh", "-c", "trap '' TERM; while :; do echo more; sleep 0.1; done"], start_new_session=True)
"""
    begun = time.monotonic()
    ran = printing(code)
    assert ran.returncode == 0
    assert ran.stdout.startswith("done\n")
    assert time.monotonic() - begun < 6


def test_a_reader_that_has_gone_is_told_to_the_script(executable, clean_environment, project, task):
    task.write_activity({"pw": secure(SECRET)})
    code = """
import sys
try:
    for i in range(10**7):
        print("line", i)
except BrokenPipeError:
    sys.stderr.write("the reader has gone\\n")
    import os
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
"""
    path = project({"main.py": code})
    process = subprocess.Popen(
        [executable, "run", path], cwd=task.folder, env={**clean_environment, **task.env},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "line 0\n"
    process.stdout.close()
    stderr = process.stderr.read()
    assert process.wait(timeout=30) == 0, stderr
    assert "the reader has gone" in stderr


def test_a_run_that_is_told_to_stop_does_not_wait_for_a_reader_that_does_not_read(start, project, task):
    task.write_activity({"pw": secure(SECRET)})
    code = "import os\nwhile True:\n    os.write(1, b'x' * 65536)\n"
    process = start("run", "--grace", "1s", project({"main.py": code}), cwd=task.folder, env=task.env)
    time.sleep(1.5)
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) in (137, 143)
    assert time.monotonic() - begun < 8


def test_a_terminal_stays_the_scripts_own(executable, clean_environment, project, task):
    task.write_activity({"pw": secure(SECRET)})
    code = "import sys\nprint(sys.stdin.isatty(), sys.stdout.isatty(), sys.stderr.isatty(), input('name? '))\n"
    path = project({"main.py": code})
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [executable, "run", path], cwd=task.folder, env={**clean_environment, **task.env}, close_fds=True,
        stdin=follower, stdout=follower, stderr=follower, start_new_session=True,
    )  # fmt: skip
    os.close(follower)
    os.write(leader, b"me\n")
    seen = b""
    while True:
        try:
            data = os.read(leader, 4096)
        except OSError:
            break
        if not data:
            break
        seen += data
    os.close(leader)
    assert process.wait(timeout=20) == 0, seen
    assert b"name? " in seen
    assert b"True True True me" in seen


def test_under_an_interpreter_without_libpython_too(printing):
    assert printing("import dray\nprint(dray.params.pw)\n", env={"DRAY_LOADING": "hosted"}).stdout == "***\n"


def test_scrub_removes_what_adf_handed_over_and_loses_nothing(script, task, azure):
    azure.secrets["pw"] = "from-the-vault"
    code = """
import multiprocessing, os, subprocess, sys
import dray
names = ("activity.json", "linkedServices.json", "datasets.json")
task = os.environ["AZ_BATCH_TASK_WORKING_DIR"]
print([n for n in names if os.path.lexists(n) or os.path.lexists(os.path.join(task, n))])
print(dray.activity.name, dray.params.rate, len(dray.params.clear), len(dray.params.pw.value), list(dray.linked_services))
child = "import dray; print(dray.activity.name, len(dray.params.pw.value))"
subprocess.run([sys.executable, "-c", child], check=True)
found = subprocess.run(["grep", "-rlE", "hunter2-in-[c]lear|from-the-[v]ault", task], capture_output=True, text=True)
print(found.stdout)
"""
    parameters = {"pw": reference("pw"), "clear": secure("hunter2-in-clear"), "rate": 1.5}
    ran = script(code, services=azure.services, parameters=parameters, env={**azure.env, "DRAY_SCRUB": "1"})
    expected = ["[]", "CopyTables 1.5 16 14 ['KeyVault1']", "CopyTables 14", ""]
    assert ran.stdout.splitlines() == expected, ran.stderr
    assert not (task.folder / "activity.json").exists()


def test_scrub_writes_no_argument_down(script, task):
    code = """
import os, subprocess, sys
print(len(sys.argv[2]), sys.argv[3:])
found = subprocess.run(["grep", "-rl", "hunter2-in-[c]lear", os.environ["AZ_BATCH_TASK_WORKING_DIR"]], text=True, capture_output=True)
print(repr(found.stdout))
"""
    env = {"DRAY_SCRUB": "1", "DRAY_ARGS_FROM_ACTIVITY": "1"}
    ran = script(code, "own", parameters={"pw": secure("hunter2-in-clear")}, env=env)
    assert ran.stdout.splitlines() == ["16 ['own']", "''"], ran.stderr


def test_scrub_removes_the_files_of_a_run_that_is_refused_too(dray, project, task):
    task.write_activity({"pw": secure(SECRET)})
    ran = dray("run", "--scrub", project({"main.py": ""}), "missing.py", cwd=task.folder, env=task.env)
    assert ran.returncode == 111
    assert not (task.folder / "activity.json").exists()


def test_there_are_no_core_dumps_and_a_crash_is_told_all_the_same(printing):
    code = """
import resource, os, signal, subprocess
limit = resource.getrlimit(resource.RLIMIT_CORE)[0]
child = subprocess.run(["/bin/sh", "-c", "ulimit -c"], capture_output=True, text=True).stdout.strip()
print(limit, child, flush=True)
os.kill(os.getpid(), signal.SIGABRT)
"""
    ran = printing(code)
    assert ran.stdout.split()[0] in ("0", "1")
    assert ran.returncode == 134
    assert "SIGABRT" in ran.stderr.splitlines()[-1]
