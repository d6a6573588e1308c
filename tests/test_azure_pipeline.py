"""The pipeline of packaging/azure/factory.json: what its expressions give in a run, and its activity run by dray."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

import pytest
from azure_expressions import Call, ExpressionFault, Functions, Literal, evaluate, nodes, parse
from azure_templates import WAYS, activities, concat, deploy, parts, pipeline, texts


def pipeline_expressions(text: str) -> list[str]:
    """The expressions in a text of a pipeline: the whole of it behind an `@`, or each `@{...}`."""
    if text.startswith("@") and not text.startswith(("@@", "@{")):
        return [text[1:]]
    return re.findall(r"@\{([^}]*)\}", text)


def run(part: Any, functions: Functions) -> Any:
    """A part of a pipeline as Data Factory would evaluate it."""
    if isinstance(part, dict):
        return {key: run(value, functions) for key, value in part.items()}
    if isinstance(part, list):
        return [run(item, functions) for item in part]
    if not isinstance(part, str):
        return part
    if part.startswith("@") and not part.startswith(("@@", "@{")):
        return evaluate(parse(part[1:]), functions)
    return re.sub(r"@\{([^}]*)\}", lambda match: str(evaluate(parse(match[1]), functions)), part)


def functions_of_a_run(way: Mapping[str, Any], given: Mapping[str, Any], outputs: Mapping[str, Any]) -> Functions:
    """What the expressions of a pipeline find in one run: its parameters, and the outputs of the activities so far."""
    parameters = {name: given.get(name, item["defaultValue"]) for name, item in pipeline(way)["parameters"].items()}
    about = {
        "parameters": parameters,
        "DataFactory": "sales-factory",
        "Pipeline": "RunProject",
        "RunId": "c0ffee00-0000-0000-0000-000000000000",
        "TriggerTime": "2026-11-21T05:00:00.0000000Z",
    }
    return {
        "pipeline": lambda: about,
        "activity": lambda name: {"output": outputs[name]},
        "concat": concat,
        "empty": lambda value: not value,
        "formatDateTime": lambda text, layout: text[:10] if layout == "yyyy-MM-dd" else f"no layout {layout}",
        "string": lambda value: "" if value is None else str(value),
    }


@pytest.mark.parametrize("way", WAYS["factory.json"])
def test_expressions_of_the_pipeline_name_what_is_there(way):
    for activity in activities(way).values():
        for path, text in texts(activity):
            assert text.count("@{") == len(re.findall(r"@\{[^}]*\}", text)), path
            for expression in pipeline_expressions(text):
                for node in nodes(parse(expression)):
                    if isinstance(node, Call) and node.name == "activity":
                        assert isinstance(node.arguments[0], Literal)
                        assert node.arguments[0].value in [item["activity"] for item in activity["dependsOn"]], path


@pytest.mark.parametrize("way", WAYS["factory.json"])
def test_every_parameter_and_variable_of_the_pipeline_is_used_and_declared(way):
    properties = pipeline(way)
    used = set(re.findall(r"pipeline\(\)\.parameters\.(\w+)", json.dumps(properties["activities"])))
    assert used == set(properties["parameters"])
    written = {
        item["typeProperties"]["variableName"] for item in properties["activities"] if item["type"] == "SetVariable"
    }
    assert written == set(properties["variables"])


@pytest.mark.parametrize("way", WAYS["factory.json"])
def test_linked_services_that_the_pipeline_names_are_deployed_before_it(way):
    deployed = deploy("factory.json", way)
    made = {
        item["name"].partition("/")[2] for item in deployed.of_type("Microsoft.DataFactory/factories/linkedservices")
    }
    named = {
        part["referenceName"]
        for _path, part in parts(pipeline(way))
        if isinstance(part, dict) and "referenceName" in part
    }
    assert named - made == set(way.get("databaseLinkedServices", []))
    waits = deployed.of_type("Microsoft.DataFactory/factories/pipelines")[0]["dependsOn"]
    assert {identifier.rpartition("/")[2] for identifier in waits} == made


def test_linked_services_of_databases_and_the_vault_reach_the_script():
    listed = activities({"databaseLinkedServices": ["SalesDb"]})["RunProject"]["typeProperties"]["referenceObjects"]
    assert [item["referenceName"] for item in listed["linkedServices"]] == ["KeyVault", "SalesDb"]


@pytest.mark.parametrize("way", WAYS["factory.json"])
def test_the_command_has_no_blank_at_its_ends_and_needs_no_shell(way):
    command = activities(way)["RunProject"]["typeProperties"]["command"]
    assert command == command.strip()
    assert not set(command) & set("$&|;<>`*?\"'\\")


def test_the_scripts_time_limit_ends_before_the_activitys():
    activity = activities({})["RunProject"]
    assert activity["policy"]["timeout"] == "0.12:00:00"
    words = shlex.split(activity["typeProperties"]["command"])
    assert words[words.index("--timeout") + 1] == "11h30m"


MAIN = """
import dray
dray.outputs["rows"] = 3
dray.outputs["seen"] = {name: dray.params[name] for name in ("date", "factory", "pipeline", "run_id")}
dray.outputs["vault"] = dray.linked_services["KeyVault"].properties["baseUrl"]
"""


@pytest.mark.parametrize("date", ["", "2026-02-03"])
def test_the_activity_runs_and_the_next_one_reads_its_outputs(dray, project, task, date):
    functions = functions_of_a_run({}, {"date": date}, {})
    activity = run(activities({})["RunProject"], functions)
    services = deploy("factory.json", {}).of_type("Microsoft.DataFactory/factories/linkedservices")
    referenced = [item["referenceName"] for item in activity["typeProperties"]["referenceObjects"]["linkedServices"]]
    handed = [
        {"name": item["name"].partition("/")[2], "properties": item["properties"]}
        for item in services
        if item["name"].partition("/")[2] in referenced
    ]
    (task.folder / "activity.json").write_text(json.dumps(activity), "utf-8")
    (task.folder / "linkedServices.json").write_text(json.dumps(handed), "utf-8")
    (task.folder / "datasets.json").write_text("[]", "utf-8")
    words = shlex.split(activity["typeProperties"]["command"])
    assert words[0] == "./dray"
    project({"main.py": MAIN}).rename(task.folder / "project.zip")

    ran = dray(*words[1:], cwd=task.folder, env=task.env)

    assert ran.returncode == 0, ran.stderr
    outputs = task.outputs()
    assert outputs["seen"] == {
        "date": date or "2026-11-21",
        "factory": "sales-factory",
        "pipeline": "RunProject",
        "run_id": "c0ffee00-0000-0000-0000-000000000000",
    }
    assert outputs["vault"] == handed[0]["properties"]["typeProperties"]["baseUrl"]
    after = functions_of_a_run({}, {}, {"RunProject": {"exitcode": 0, "customOutput": outputs}})
    assert run(activities({})["ReadOutputs"]["typeProperties"]["value"], after) == "3"
    without = functions_of_a_run({}, {}, {"RunProject": {"exitcode": 0}})
    with pytest.raises(ExpressionFault):
        run(activities({})["ReadOutputs"]["typeProperties"]["value"], without)


@pytest.mark.parametrize(
    ("kind", "grown"),
    [
        ("dedicated", {"targetDedicatedNodes": 3, "targetLowPriorityNodes": 0, "resizeTimeout": "PT15M"}),
        ("spot", {"targetDedicatedNodes": 0, "targetLowPriorityNodes": 3, "resizeTimeout": "PT15M"}),
    ],
)
def test_the_pool_is_resized_before_and_after(kind, grown):
    way = {"resizePool": True, "nodeKind": kind, "poolName": "nightly"}
    functions = functions_of_a_run(way, {"nodes": 3}, {})
    calls = {
        name: run(activity["typeProperties"], functions)
        for name, activity in activities(way).items()
        if activity["type"] == "WebActivity"
    }
    assert json.loads(calls["GrowPool"]["body"]) == grown
    assert json.loads(calls["ShrinkPool"]["body"]) == {
        "targetDedicatedNodes": 0,
        "targetLowPriorityNodes": 0,
        "nodeDeallocationOption": "taskcompletion",
    }
    for call in calls.values():
        assert re.fullmatch(
            r"https://<[^>]*>\.accountEndpoint/pools/nightly/resize\?api-version=2025-06-01", call["url"]
        )
        assert call["method"] == "POST"
        assert call["authentication"] == {"type": "MSI", "resource": "https://batch.core.windows.net/"}


def test_the_pool_shrinks_however_the_script_ends_and_a_failure_still_fails_the_pipeline():
    found = activities({"resizePool": True})
    after = {
        name: {item["activity"]: item["dependencyConditions"] for item in activity.get("dependsOn", [])}
        for name, activity in found.items()
    }
    assert after == {
        "GrowPool": {},
        "RunProject": {"GrowPool": ["Succeeded"]},
        "ShrinkPool": {"RunProject": ["Completed", "Skipped"]},
        # A pipeline fails with the parent of a last activity that was skipped: this is the one that is.
        "ReadOutputs": {"RunProject": ["Succeeded"]},
    }
    assert pipeline({"resizePool": True})["concurrency"] == 1
    assert pipeline({"maxConcurrentRuns": 7})["concurrency"] == 7
