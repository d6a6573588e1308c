"""A spot node that is taken away: the metadata service's scheduled events act as SIGTERM."""

from __future__ import annotations

import os
import time

import pytest
from azure_server import EVENTS_PATH, Azure

WAIT = """
import time
try:
    print("waiting", flush=True)
    time.sleep(30)
finally:
    print("cleaned up")
"""


def event(kind: str, *machines: str) -> dict:
    """An event as the documentation shows it."""
    return {
        "EventId": "602d9444-d2cd-49c7-8624-8643e7171297", "EventStatus": "Scheduled", "EventType": kind,
        "ResourceType": "VirtualMachine", "Resources": list(machines), "NotBefore": "Mon, 19 Sep 2026 18:29:47 GMT",
        "Description": "", "EventSource": "Platform", "DurationInSeconds": -1,
    }  # fmt: skip


@pytest.fixture
def spot(azure: Azure, task):
    """The variables of a task on a spot node whose metadata service is the test's."""
    return {**task.env, **azure.env, "AZ_BATCH_NODE_IS_DEDICATED": "false"}


def test_preemption_of_this_node_ends_the_run_as_sigterm_does(start, project, task, spot, azure, logs):
    process = start("run", project({"main.py": WAIT}), cwd=task.folder, env=spot)
    assert process.stdout.readline() == "waiting\n"
    azure.events.append(event("Preempt", "pool-scale-set_1", azure.machine))
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (143, "cleaned up\n"), err
    error = task.outputs()["dray"]["error"]
    assert error["code"] == "run.preempted"
    why = "this spot node is taken away (not before Mon, 19 Sep 2026 18:29:47 GMT)"
    assert error["message"] == f"main.py was stopped by SIGTERM: {why}"
    [stopping] = [record for record in logs(err) if record["event"] == "run.stopping"]
    assert stopping["fields"]["reason"] == why


def test_preemption_ends_an_installation_too(start, project, task, spot, azure, tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "uv").write_text(f"#!/bin/sh\necho > {tmp_path}/installing\nsleep 60\n")
    (tools / "uv").chmod(0o755)
    env = {**spot, "PATH": f"{tools}:{os.environ['PATH']}", "AZ_BATCH_NODE_SHARED_DIR": str(tmp_path)}
    path = project({"main.py": "print('started')", "requirements.txt": "alpha\n"})
    process = start("run", "--install", path, cwd=task.folder, env=env)
    while not (tmp_path / "installing").exists() and process.poll() is None:
        time.sleep(0.01)
    azure.events.append(event("Preempt", azure.machine))
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (143, ""), err
    error = task.outputs()["dray"]["error"]
    assert error["code"] == "run.preempted"
    why = "this spot node is taken away (not before Mon, 19 Sep 2026 18:29:47 GMT)"
    assert error["message"] == f"stopped by SIGTERM while dependencies were installed: {why}"


def test_what_happens_to_others_is_let_pass(script, spot, azure):
    azure.events += [event("Preempt", "pool-scale-set_1"), event("Freeze", azure.machine)]
    ran = script("import time\ntime.sleep(1.5)\nprint('done')\n", env=spot)
    assert (ran.returncode, ran.stdout) == (0, "done\n"), ran.stderr
    assert azure.count(EVENTS_PATH) >= 1


def test_it_can_be_ignored(script, spot, azure):
    azure.events.append(event("Preempt", azure.machine))
    ran = script("import time\ntime.sleep(1)\n", env={**spot, "DRAY_IGNORE_PREEMPTION": "1"})
    assert (ran.returncode, azure.asked) == (0, [])


@pytest.mark.parametrize("dedicated", ["true", ""])
def test_a_dedicated_node_is_not_watched(script, spot, azure, dedicated):
    assert (
        script("import time\ntime.sleep(0.5)\n", env={**spot, "AZ_BATCH_NODE_IS_DEDICATED": dedicated}).returncode == 0
    )
    assert not azure.asked


def test_a_service_that_does_not_answer_fails_nothing_and_holds_up_nothing(script, spot, azure):
    nobody = {**spot, "AZURE_POD_IDENTITY_AUTHORITY_HOST": "http://127.0.0.1:9"}
    ran = script("print('done')", env=nobody)
    assert (ran.returncode, ran.stdout) == (0, "done\n")
    azure.delay_s = 5
    begun = time.monotonic()
    assert script("print('done')", env=spot).returncode == 0
    assert time.monotonic() - begun < 3
    azure.delay_s = 0
    azure.faults[EVENTS_PATH] = [500] * 5
    assert script("import time\ntime.sleep(0.5)", env=spot).returncode == 0
