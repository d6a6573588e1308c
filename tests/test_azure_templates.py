"""The deployment templates of packaging/azure/, as far as they can be tried without Azure: what they refer to is there,
what they send has the shape that Microsoft's own libraries for the same interface know.
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
from azure_expressions import ExpressionFault, parse
from azure_templates import FOLDER, WAYS, Runtime, Template, activities, deploy, parts, resource_id, texts

NAMES = ["account.json", "pool.json", "factory.json"]
PREFIX = "https://schema.management.azure.com/schemas/"

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
