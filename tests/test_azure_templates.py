"""The deployment templates of packaging/azure/, as far as they can be tried without Azure: what they refer to is there,
what they send has the shape that Microsoft's own libraries for the same interface know, and the pipeline's activity runs.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import azure.mgmt.batch.models
import azure.mgmt.datafactory.models
import pytest
from azure_expressions import Call, ExpressionFault, Functions, Literal, evaluate, nodes, parse
from azure_templates import FOLDER, Runtime, Template, concat, resource_id, texts

NAMES = ["account.json", "pool.json", "factory.json"]
PREFIX = "https://schema.management.azure.com/schemas/"

# Every way to deploy a template that changes what it makes.
WAYS: dict[str, list[dict[str, Any]]] = {
    "account.json": [{}, {"operatorObjectId": "22222222-2222-2222-2222-222222222222"}],
    "pool.json": [
        {},
        {"scaling": "schedule", "warmOnWeekends": True},
        {"scaling": "pipeline"},
        {"nodeKind": "spot", "installOdbcDriver": True},
    ],
    "factory.json": [
        {},
        {"resizePool": True, "nodes": 3},
        {"resizePool": True, "nodeKind": "spot", "createFactory": False, "factoryName": "theirs"},
        {"databaseLinkedServices": ["SalesDb", "Warehouse"]},
    ],
}
ALL_WAYS = [pytest.param(name, way, id=f"{name}-{at}") for name, ways in WAYS.items() for at, way in enumerate(ways)]

MODELS = {
    "Microsoft.Batch/batchAccounts": azure.mgmt.batch.models.BatchAccountCreateParameters,
    "Microsoft.Batch/batchAccounts/pools": azure.mgmt.batch.models.Pool,
    "Microsoft.DataFactory/factories": azure.mgmt.datafactory.models.Factory,
    "Microsoft.DataFactory/factories/linkedservices": azure.mgmt.datafactory.models.LinkedServiceResource,
    "Microsoft.DataFactory/factories/pipelines": azure.mgmt.datafactory.models.PipelineResource,
}
# What the resource manager reads itself.
ENVELOPE = {"type", "apiVersion", "name", "dependsOn", "scope", "condition"}

# Azure's built-in roles: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
ROLES = {
    "4633458b-17de-408a-b874-0445c86b69e6": "Key Vault Secrets User",
    "b86a8fe4-44ce-4948-aee5-eccb2c155cd7": "Key Vault Secrets Officer",
    "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1": "Storage Blob Data Reader",
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
    "6aaa78f1-f7de-44ca-8722-c64a23943cae": "Azure Batch Data Contributor",
}


def deploy(name: str, way: Mapping[str, Any]) -> Any:
    return Template(name).deploy(**{"name": "sales", **way})


@pytest.mark.parametrize("name", NAMES)
def test_a_template_is_one_for_a_resource_group(name):
    document = Template(name).document
    assert document["$schema"] == PREFIX + "2019-04-01/deploymentTemplate.json#"
    assert re.fullmatch(r"\d+\.\d+\.\d+\.\d+", document["contentVersion"])
    known = {"$schema", "contentVersion", "metadata", "parameters", "variables", "resources", "outputs"}
    assert set(document) <= known
    for parameter in document["parameters"].values():
        assert set(parameter) <= {
            "type",
            "defaultValue",
            "allowedValues",
            "minLength",
            "maxLength",
            "minValue",
            "maxValue",
            "metadata",
        }


@pytest.mark.parametrize("name", NAMES)
def test_all_that_is_declared_is_used_and_the_other_way_round(name):
    template = Template(name)
    assert template.uses("parameters") == set(template.parameters)
    loops = {item["name"] for item in template.variables.get("copy", [])}
    assert template.uses("variables") == (set(template.variables) - {"copy"}) | loops


@pytest.mark.parametrize(("name", "way"), ALL_WAYS)
def test_every_resource_has_a_type_a_version_and_a_name_that_fits(name, way):
    for resource in deploy(name, way).resources:
        assert re.fullmatch(r"Microsoft\.\w+(/\w+)+", resource["type"])
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", resource["apiVersion"]), "no preview of an interface"
        # A type with n parts below its provider takes a name of n parts.
        assert resource["name"].count("/") == resource["type"].count("/") - 1
        assert all(resource["name"].split("/"))


@pytest.mark.parametrize(("name", "way"), ALL_WAYS)
def test_what_a_resource_waits_for_is_in_the_same_template(name, way):
    deployed = deploy(name, way)
    # A resource whose condition is false is none to wait for.
    unconditional = Template(name).deploy(
        **{"name": "sales", **way, **({"createFactory": True} if name == "factory.json" else {})}
    )
    for resource in deployed.resources:
        assert set(resource.get("dependsOn", [])) <= unconditional.ids(), resource["name"]


@pytest.mark.parametrize(("name", "way"), ALL_WAYS)
def test_a_resource_below_another_waits_for_it(name, way):
    deployed = deploy(name, way)
    ids = deployed.ids()
    for resource in deployed.resources:
        parent = (
            resource_id(resource["type"].rpartition("/")[0], *resource["name"].split("/")[:-1])
            if "/" in resource["name"]
            else resource.get("scope")
        )
        if parent in ids:
            assert parent in transitive_dependencies(deployed, resource), resource["name"]


def transitive_dependencies(deployed: Any, resource: Mapping[str, Any]) -> set[str]:
    by_id = {
        resource_id(item["type"], *item["name"].split("/")): item for item in deployed.resources if "scope" not in item
    }
    found: set[str] = set()
    waiting = list(resource.get("dependsOn", []))
    while waiting:
        identifier = waiting.pop()
        if identifier not in found:
            found.add(identifier)
            waiting += by_id.get(identifier, {}).get("dependsOn", [])
    return found


@pytest.mark.parametrize(("name", "way"), ALL_WAYS)
def test_what_is_asked_at_run_time_was_made_by_the_template_or_by_the_account(name, way):
    deployed = deploy(name, way)
    there = deploy("account.json", {}).ids() | deployed.ids()
    if way.get("createFactory") is False:
        there.add(resource_id("Microsoft.DataFactory/factories", "theirs"))
    scopes = {resource["scope"] for resource in deployed.resources if "scope" in resource}
    assert deployed.asked | scopes <= there


def test_the_three_templates_mean_the_same_account():
    account = deploy("account.json", {})
    made = account.ids()
    pool = deploy("pool.json", {"installOdbcDriver": True}).resources[0]
    assert resource_id("Microsoft.Batch/batchAccounts", pool["name"].split("/")[0]) in made
    assert set(pool["identity"]["userAssignedIdentities"]) <= made
    script = pool["properties"]["startTask"]["resourceFiles"][0]
    assert script["identityReference"]["resourceId"] in made
    storage, container = account.outputs["storageAccount"], "projects"
    assert script["httpUrl"] == f"https://{storage}.blob.core.windows.net/{container}/start-task/install-odbc-driver.sh"
    assert (
        resource_id("Microsoft.Storage/storageAccounts/blobServices/containers", storage, "default", container) in made
    )
    folder = activities({})["RunProject"]["typeProperties"]["folderPath"]
    assert folder == "projects/sales", "a folder of the container, and not that of the start task"


@pytest.mark.parametrize("name", ["abc", "sales", "abcdefghij", "0123456789"])
def test_names_are_within_what_azure_allows(name):
    outputs = Template("account.json").deploy(name=name).outputs
    assert re.fullmatch(r"[a-z0-9]{3,24}", outputs["storageAccount"])
    assert re.fullmatch(r"[a-z0-9]{3,24}", outputs["batchAccount"])
    assert re.fullmatch(r"[a-z0-9](-?[a-z0-9])*", outputs["vault"]) and len(outputs["vault"]) <= 24
    assert re.fullmatch(r"[A-Za-z0-9-]{3,63}", Template("factory.json").deploy(name=name).outputs["factory"])


@pytest.mark.parametrize(("name", "way"), ALL_WAYS)
def test_what_is_sent_is_known_to_microsofts_own_library(name, way):
    for resource in deploy(name, way).resources:
        model = MODELS.get(resource["type"])
        if model is None:
            continue
        body = {key: value for key, value in resource.items() if key not in ENVELOPE}
        assert unknown_to(model, body) == []


def unknown_to(model: Any, body: Mapping[str, Any]) -> list[str]:
    """The paths of what a model of the library does not know, by reading `body` with it and writing it again."""
    plain = json.loads(json.dumps(body))
    written = json.loads(json.dumps(model.deserialize(plain).serialize(keep_readonly=True), default=str))
    return list(lost(plain, written, "$"))


def lost(before: Any, after: Any, path: str) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if value is not None:
                yield from lost(value, after.get(key), f"{path}.{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for at, (left, right) in enumerate(zip(before, after)):
            yield from lost(left, right, f"{path}[{at}]")
    elif before != after and before != {}:
        yield path


@pytest.mark.parametrize(
    ("kind", "broken", "path"),
    [
        ("Microsoft.Batch/batchAccounts/pools", {"properties": {"vmsize": "x"}}, "$.properties"),
        ("Microsoft.Batch/batchAccounts/pools", {"properties": {"vmSize": "x", "startTask": {"command": "y"}}}, "$.properties.startTask.command"),
        ("Microsoft.DataFactory/factories/linkedservices", {"properties": {"type": "AzureBatch", "typeProperties": {"acountName": "x"}}}, "$.properties.typeProperties"),
    ],
)  # fmt: skip
def test_a_misspelt_property_is_noticed(kind, broken, path):
    assert any(found.startswith(path) for found in unknown_to(MODELS[kind], broken))


@pytest.mark.parametrize(("name", "way"), ALL_WAYS)
def test_no_secret_is_written_down(name, way):
    secret = re.compile(r"(?i)(key|password|secret|token|sig)\w*\s*[=:]\s*[^;\s<]{8,}|[A-Za-z0-9+/]{60,}={0,2}")
    for path, text in texts(Template(name).document):
        assert not secret.search(text), path
    for resource in deploy(name, way).resources:
        for path, part in parts(resource):
            if isinstance(part, dict) and part.get("type") == "SecureString":
                assert re.search(r"<[^>]*>", part["value"]), f"{path} comes from the deployment"


@pytest.mark.parametrize(("name", "way"), ALL_WAYS)
def test_what_only_the_deployment_knows_is_secret_where_it_is_a_key(name, way):
    for resource in deploy(name, way).resources:
        for path, part in parts(resource):
            if isinstance(part, str) and re.search(r"\.(primary|secondary|value)$", part) and "<" in part:
                assert path.endswith(".value"), path


def parts(part: Any, path: str = "$") -> Iterator[tuple[str, Any]]:
    yield path, part
    if isinstance(part, dict):
        for key, value in part.items():
            yield from parts(value, f"{path}.{key}")
    elif isinstance(part, list):
        for at, value in enumerate(part):
            yield from parts(value, f"{path}[{at}]")


def grants(name: str, way: Mapping[str, Any]) -> set[tuple[str, str, str]]:
    """Who gets which role on what, by their names."""
    found = set()
    for item in deploy(name, way).of_type("Microsoft.Authorization/roleAssignments"):
        principal = str(item["properties"]["principalId"])
        who = re.search(r"/(\w+)/[\w-]+ ", principal)
        role = ROLES[item["properties"]["roleDefinitionId"].rpartition("/")[2]]
        found.add((who[1] if who else "operator", role, item["scope"].split("/")[-2]))
    return found


def test_each_party_gets_the_rights_it_needs_and_no_others():
    nodes_rights = {
        ("userAssignedIdentities", "Key Vault Secrets User", "vaults"),
        ("userAssignedIdentities", "Storage Blob Data Reader", "containers"),
    }
    assert grants("account.json", {}) == nodes_rights
    assert grants("account.json", {"operatorObjectId": "22222222-2222-2222-2222-222222222222"}) == nodes_rights | {
        ("operator", "Key Vault Secrets Officer", "vaults"),
        ("operator", "Storage Blob Data Contributor", "storageAccounts"),
    }
    assert grants("pool.json", {}) == set()
    assert grants("factory.json", {}) == {("factories", "Key Vault Secrets User", "vaults")}
    assert grants("factory.json", {"resizePool": True}) == {
        ("factories", "Key Vault Secrets User", "vaults"),
        ("factories", "Azure Batch Data Contributor", "batchAccounts"),
    }


@pytest.mark.parametrize("name", ["account.json", "factory.json"])
def test_role_assignments_have_names_of_their_own(name):
    assigned = deploy(name, WAYS[name][1]).of_type("Microsoft.Authorization/roleAssignments")
    assert len({item["name"] for item in assigned}) == len(assigned) > 1


def test_storage_and_vault_are_open_to_nobody_without_a_role_or_a_key():
    deployed = deploy("account.json", {})
    storage = deployed.of_type("Microsoft.Storage/storageAccounts")[0]["properties"]
    assert storage["allowBlobPublicAccess"] is False
    assert storage["supportsHttpsTrafficOnly"] is True
    assert storage["minimumTlsVersion"] == "TLS1_2"
    # Custom activities reach storage by its key and no other way.
    assert storage["allowSharedKeyAccess"] is True
    for container in deployed.of_type("Microsoft.Storage/storageAccounts/blobServices/containers"):
        assert container["properties"]["publicAccess"] == "None"
    assert deployed.of_type("Microsoft.KeyVault/vaults")[0]["properties"]["enableRbacAuthorization"] is True


def test_logs_of_runs_are_deleted_after_the_days_given_and_projects_are_not():
    rule = deploy("account.json", {"keepTaskFilesDays": 9}).of_type(
        "Microsoft.Storage/storageAccounts/managementPolicies"
    )
    definition = rule[0]["properties"]["policy"]["rules"][0]["definition"]
    assert definition["filters"]["prefixMatch"] == ["adfjobs/"]
    assert definition["actions"] == {"baseBlob": {"delete": {"daysAfterModificationGreaterThan": 9}}}


def test_a_factory_that_is_there_is_not_touched():
    deployed = deploy("factory.json", {"createFactory": False, "factoryName": "theirs"})
    assert deployed.of_type("Microsoft.DataFactory/factories") == []
    assert all(item["name"].startswith("theirs/") for item in deployed.resources if "scope" not in item)


def test_nodes_run_a_start_task_only_when_asked_to():
    assert deploy("pool.json", {}).resources[0]["properties"]["startTask"] is None
    task = deploy("pool.json", {"installOdbcDriver": True}).resources[0]["properties"]["startTask"]
    assert shlex.split(task["commandLine"]) == ["/bin/bash", task["resourceFiles"][0]["filePath"]]
    assert task["userIdentity"]["autoUser"]["elevationLevel"] == "Admin"
    assert task["waitForSuccess"] is True


# --- the pipeline


def pipeline(way: Mapping[str, Any]) -> dict[str, Any]:
    return deploy("factory.json", way).of_type("Microsoft.DataFactory/factories/pipelines")[0]["properties"]


def activities(way: Mapping[str, Any]) -> dict[str, Any]:
    """The activities of the pipeline, by name."""
    return {activity["name"]: activity for activity in pipeline(way)["activities"]}


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


# --- the stand-in for Azure


@pytest.mark.parametrize(
    ("name", "way", "named"),
    [
        ("account.json", {"name": "ab"}, "name"),
        ("account.json", {"keepTaskFilesDays": 0}, "keepTaskFilesDays"),
        ("pool.json", {"scaling": "never"}, "scaling"),
        ("pool.json", {"maxNodes": "4"}, "maxNodes"),
        ("pool.json", {"color": "red"}, "color"),
    ],
)
def test_wrong_parameters_are_refused(name, way, named):
    with pytest.raises(ExpressionFault, match=named):
        deploy(name, way)


@pytest.mark.parametrize(
    "broken",
    ["concat('a'", "concat('a'))", "concat('a' 'b')", "a.b", "'a", "f().", "f(,)", "f('a',)", ""],
)
def test_an_expression_with_a_fault_is_not_read(broken):
    with pytest.raises(ExpressionFault):
        parse(broken)


def test_a_variable_cannot_hold_what_only_a_deployment_knows():
    template = Template("factory.json")
    template.variables["vaultName"] = "[reference('x', '2023-07-01').vaultUri]"
    with pytest.raises(ExpressionFault, match="reference"):
        template.deploy(name="sales")


def test_a_text_known_at_run_time_shows_where_it_came_from():
    assert Runtime("<x>")["keys"][0]["value"] == "<x>.keys.0.value"


# --- the documentation


def test_the_commands_of_the_readme_give_parameters_that_the_templates_have():
    text = (FOLDER / "README.md").read_text("utf-8").replace("\\\n", " ")
    commands = re.findall(r"--template-file (\w+\.json)\s+--parameters ([^\n]*)", text)
    assert {name for name, _given in commands} == set(NAMES)
    for name, given in commands:
        # The value of a parameter may come from a command, which has blanks of its own.
        words = re.sub(r"\$\([^)]*\)", "x", given).split()
        assert {word.partition("=")[0] for word in words} <= set(Template(name).parameters), name
        assert "name=sales" in words


def test_the_readme_names_every_role_that_is_given():
    text = (FOLDER / "README.md").read_text("utf-8")
    for role in ROLES.values():
        assert role in text, role
