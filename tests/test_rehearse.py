"""`dray rehearse`: the custom activity of an exported pipeline, run here as a Batch task would run it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any, Optional

import pytest
from azure_templates import FOLDER

MAIN = """
import json, os, sys
import dray
print(json.dumps({"argv": sys.argv[1:], "params": dict(dray.params), "services": sorted(dray.linked_services)}, default=repr))
dray.outputs["rows"] = 7
sys.exit(int(os.environ.get("CODE", "0")))
"""


class Factory:
    """A factory's repository, and a folder with what would be uploaded."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.upload = root / "upload"
        for name in ("pipeline", "linkedService", "dataset", "upload"):
            (root / name).mkdir()
        with zipfile.ZipFile(self.upload / "p.zip", "w") as archive:
            archive.writestr("main.py", MAIN)
        self.service("Storage", "AzureBlobStorage", {"connectionString": "AccountName=a;AccountKey=b"})

    def service(self, name: str, kind: str, properties: dict[str, Any]) -> None:
        document = {"name": name, "properties": {"type": kind, "typeProperties": properties}}
        (self.root / "linkedService" / f"{name}.json").write_text(json.dumps(document), "utf-8")

    def dataset(self, name: str, service: str) -> None:
        reference = {"referenceName": service, "type": "LinkedServiceReference"}
        document = {"name": name, "properties": {"type": "OdbcTable", "linkedServiceName": reference}}
        (self.root / "dataset" / f"{name}.json").write_text(json.dumps(document), "utf-8")

    def pipeline(self, *activities: Any, **properties: Any) -> Path:
        path = self.root / "pipeline" / "Daily.json"
        path.write_text(json.dumps({"name": "Daily", "properties": {"activities": activities, **properties}}), "utf-8")
        return path


@pytest.fixture
def factory(tmp_path):
    root = tmp_path / "factory"
    root.mkdir()
    return Factory(root)


def custom(
    name: str = "Copy", *, services: tuple[str, ...] = (), datasets: tuple[str, ...] = (), **changed: Any
) -> dict[str, Any]:
    """A custom activity; `changed` replaces typeProperties."""
    properties = {
        "command": "./dray run p.zip main.py",
        "resourceLinkedService": {"referenceName": "Storage", "type": "LinkedServiceReference"},
        "folderPath": "adf/daily",
        "referenceObjects": {
            "linkedServices": [{"referenceName": each, "type": "LinkedServiceReference"} for each in services],
            "datasets": [{"referenceName": each, "type": "DatasetReference"} for each in datasets],
        },
        **changed,
    }
    return {
        "name": name,
        "type": "Custom",
        "linkedServiceName": {"referenceName": "Batch", "type": "LinkedServiceReference"},
        "typeProperties": {key: value for key, value in properties.items() if value is not None},
    }


@pytest.fixture
def rehearse(dray, factory, tmp_path):
    """Rehearses with the factory's upload folder into a folder that the result's `task` names."""

    def run(pipeline: Path, *arguments: str, env: Optional[dict[str, str]] = None) -> Any:
        task = tmp_path / "task"
        ran = dray("rehearse", pipeline, *arguments, "--folder", factory.upload, "--workdir", task, env=env)
        ran.task = task
        return ran

    return run


def shown(ran: Any) -> Any:
    """What Data Factory would show: the JSON behind the command's own output."""
    return json.loads(ran.stdout[ran.stdout.index("{\n") :])


def seen(ran: Any) -> Any:
    """What the script saw."""
    return json.loads(ran.stdout.splitlines()[0])


def test_the_activity_runs_with_its_expressions_evaluated(rehearse, factory):
    factory.service("Sales", "Odbc", {"connectionString": "DSN=x"})
    activity = custom(
        services=("Sales",),
        command={"value": "./dray run p.zip main.py --day @{pipeline().parameters.day}", "type": "Expression"},
        extendedProperties={
            "run": "@pipeline().RunId",
            "when": "@formatDateTime(pipeline().TriggerTime, 'yyyy')",
            "n": {"value": "@add(pipeline().parameters.count, 1)", "type": "Expression"},
            "kept": "@@x",
        },
    )
    parameters = {"day": {"type": "String"}, "count": {"type": "Int", "defaultValue": 4}}
    ran = rehearse(factory.pipeline(activity, parameters=parameters), "Copy", "--set", "day=2026-11-21")
    assert ran.returncode == 0, ran.stderr
    script = seen(ran)
    assert script["argv"] == ["--day", "2026-11-21"]
    assert script["services"] == ["Sales"]
    assert script["params"]["n"] == 5
    assert script["params"]["kept"] == "@x"
    assert len(script["params"]["when"]) == 4
    assert f"pipeline().RunId = {script['params']['run']}" in ran.stderr


def test_the_end_is_shown_as_data_factory_shows_it(rehearse, factory):
    ran = rehearse(factory.pipeline(custom()))
    assert ran.returncode == 0, ran.stderr
    output = shown(ran)
    assert output["exitcode"] == 0
    assert output["customOutput"]["rows"] == 7
    assert output["outputs"] == [str(ran.task / "stdout.txt"), str(ran.task / "stderr.txt")]
    assert (ran.task / "stdout.txt").read_text("utf-8").startswith('{"argv"')


def test_the_exit_code_of_a_failure_comes_through_without_custom_output(rehearse, factory):
    ran = rehearse(factory.pipeline(custom()), env={"CODE": "9"})
    assert ran.returncode == 9
    assert shown(ran) == {
        "error": {
            "errorCode": "2500",
            "message": "Hit unexpected exception and execution failed: the exit code is 9",
            "failureType": "UserError",
            "target": "Copy",
        }
    }


def test_the_folder_is_like_a_tasks(rehearse, factory):
    code = "import os, json; print(json.dumps({n: v for n, v in os.environ.items() if n.startswith('AZ_BATCH_')}))"
    (factory.upload / "show.py").write_text(code)
    ran = rehearse(factory.pipeline(custom(command="python3 show.py")), env={"AZ_BATCH_TASK_SHARED_DIR": "/outer"})
    assert ran.returncode == 0, ran.stderr
    variables = seen(ran)
    assert variables["AZ_BATCH_TASK_WORKING_DIR"] == str(ran.task / "wd")
    assert variables["AZ_BATCH_TASK_DIR"] == str(ran.task)
    assert Path(variables["AZ_BATCH_NODE_SHARED_DIR"]).is_dir()
    assert "AZ_BATCH_TASK_SHARED_DIR" not in variables
    names = {path.name for path in (ran.task / "wd").iterdir()}
    assert {"activity.json", "linkedServices.json", "datasets.json", "p.zip", "show.py"} <= names
    assert (ran.task / "wd" / "show.py").stat().st_mode & 0o777 == 0o770
    assert ran.task.stat().st_mode & 0o777 == 0o700


def test_the_command_gets_no_shell(rehearse, factory):
    (factory.upload / "show.py").write_text("import sys; print(sys.argv[1:])")
    ran = rehearse(factory.pipeline(custom(command='python3 show.py $HOME "a b" * && x')))
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[0] == "['$HOME', 'a b', '*', '&&', 'x']"
    assert "remark      the program gets `$HOME` of its `command` as it stands" in ran.stderr


@pytest.mark.parametrize(
    "outer",
    [
        {"type": "ForEach", "typeProperties": {"items": {"value": "@pipeline().parameters.list", "type": "Expression"}, "activities": [0]}},
        {"type": "IfCondition", "typeProperties": {"expression": "@true", "ifFalseActivities": [0]}},
        {"type": "Until", "typeProperties": {"activities": [0]}},
        {"type": "Switch", "typeProperties": {"cases": [{"value": "a", "activities": [0]}]}},
        {"type": "Switch", "typeProperties": {"defaultActivities": [0]}},
    ],
    ids=["for each", "if", "until", "switch", "default"],
)  # fmt: skip
def test_an_activity_inside_another_is_found(rehearse, factory, outer):
    inner = custom("Deep", extendedProperties={"x": "@string(pipeline().parameters.list)"})
    nested = json.loads(json.dumps({"name": "Outer", **outer}).replace("[0]", json.dumps([inner])))
    parameters = {"list": {"type": "Array", "defaultValue": ["a"]}}
    ran = rehearse(factory.pipeline(nested, custom("Other"), parameters=parameters), "deep")
    assert ran.returncode == 0, ran.stderr
    assert seen(ran)["params"]["x"] == '["a"]'


def test_the_item_of_a_loop_is_its_first_or_given(rehearse, factory, tmp_path):
    items = {"value": "@pipeline().parameters.list", "type": "Expression"}
    inner = custom(extendedProperties={"x": "@item().name"})
    loop = {"name": "Loop", "type": "ForEach", "typeProperties": {"items": items, "activities": [inner]}}
    parameters = {"list": {"type": "Array", "defaultValue": [{"name": "first"}, {"name": "second"}]}}
    pipeline = factory.pipeline(loop, parameters=parameters)
    ran = rehearse(pipeline)
    assert seen(ran)["params"]["x"] == "first", ran.stderr
    assert "`item()` is the first of 2 items" in ran.stderr
    (tmp_path / "task").rename(tmp_path / "before")
    assert seen(rehearse(pipeline, "--set", 'item()={"name": "third"}'))["params"]["x"] == "third"


def test_values_that_only_azure_has_are_asked_for_all_at_once(rehearse, factory):
    activity = custom(
        extendedProperties={
            "a": "@activity('Lookup').output.firstRow.since",
            "b": "x@{pipeline().parameters.day}",
            "c": "@variables('v')",
        }
    )
    pipeline = factory.pipeline(activity, parameters={"day": {"type": "String"}}, variables={"v": {"type": "String"}})
    ran = rehearse(pipeline)
    assert ran.returncode == 110
    assert ran.stderr.splitlines()[-1] == (
        "error: only a run in Azure has a value for `activity('Lookup').output.firstRow.since`, "
        "`pipeline().parameters.day`, `variables('v')`; hint: give --set \"activity('Lookup').output.firstRow.since=VALUE\" "
        "--set day=VALUE --set \"variables('v')=VALUE\""
    )
    assert not ran.task.exists()
    given = ["--set", "activity( 'Lookup' ).OUTPUT.firstRow.since=5", "--set", "day=1", "--set", "variables('v')=w"]
    assert seen(rehearse(pipeline, *given))["params"] == {"a": 5, "b": "x1", "c": "w"}


def test_a_parameter_that_is_not_there_is_an_error_with_those_that_are(rehearse, factory):
    ran = rehearse(factory.pipeline(custom(), parameters={"day": {"type": "String"}}), "--set", "dya=1")
    assert ran.returncode == 110
    assert "the pipeline has no parameter `dya`; there are `day`" in ran.stderr
    ran = rehearse(factory.pipeline(custom(), parameters={"n": {"type": "Int"}}), "--set", "n=secret")
    assert ran.returncode == 110
    assert "the value of parameter `n` is no Int" in ran.stderr
    assert "secret" not in ran.stderr


def test_an_expression_that_fails_says_where_it_stands(rehearse, factory):
    ran = rehearse(factory.pipeline(custom(extendedProperties={"a": [{"b": "@int('x')"}]})))
    assert ran.returncode == 112
    assert ran.stderr == (
        "error: typeProperties.extendedProperties.a[0].b of the activity: `int('x')`: its argument is no whole number\n"
    )


VAULT = {
    "type": "AzureKeyVaultSecret",
    "store": {"referenceName": "Vault", "type": "LinkedServiceReference"},
    "secretName": "pw",
}


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"command": "./dray run p.zip "}, "its `command` has blanks at an end"),
        ({"command": {"value": " @{'./dray'}", "type": "Expression"}}, "its `command` has blanks at an end"),
        ({"command": None}, "it has no `command`"),
        ({"command": './dray run "p.zip'}, 'a " in its `command` has no second one'),
        ({"command": "./dray run " + "x" * 131_072}, "word 3 of its `command` has 131072 bytes"),
        ({"folderPath": None}, "it has `resourceLinkedService` without `folderPath` (error 2507)"),
        ({"resourceLinkedService": None}, "it has `folderPath` without `resourceLinkedService`"),
        ({"extendedProperties": {"s": {"deep": [VAULT]}}}, "it has a secret in Key Vault `Vault`, which is not among"),
        ({"services": ("Secret",)}, "linked service `Secret` has a secret in Key Vault `Vault`, which is not among"),
        ({"services": ("Gone",)}, "linked service `Gone` is referenced and not in `linkedService/`"),
        ({"datasets": ("Gone",)}, "dataset `Gone` is referenced and not in `dataset/`"),
        ({"extendedProperties": {"big": "x" * 1_000_000}}, "the largest extended property is `big`, 1000002 bytes"),
        ({"resourceLinkedService": {"referenceName": "Sas"}}, "signs in by `sasUri`, and a custom activity takes"),
    ],
)  # fmt: skip
def test_what_would_go_wrong_in_azure_is_refused_before_anything_runs(rehearse, factory, changed, fault):
    factory.service("Secret", "AzureSqlDatabase", {"server": "s", "password": VAULT})
    factory.service("Sas", "AzureBlobStorage", {"sasUri": "https://x"})
    ran = rehearse(factory.pipeline(custom(**changed)))
    assert ran.returncode == 112, ran.stderr
    last = ran.stderr.splitlines()[-1]
    assert last.startswith("error: the activity `Copy` would not run: ")
    assert fault in last, last
    assert ran.stdout == ""
    assert not ran.task.exists()


def test_files_that_flattening_would_merge_are_refused_and_folders_remarked_on(rehearse, factory, tmp_path):
    (factory.upload / "lib").mkdir()
    (factory.upload / "lib" / "helper.py").write_text("")
    pipeline = factory.pipeline(custom())
    ran = rehearse(pipeline)
    assert ran.returncode == 0, ran.stderr
    assert "remark      sub-folders are flattened: `lib/helper.py` arrives beside all other files" in ran.stderr
    assert (ran.task / "wd" / "helper.py").is_file()
    (tmp_path / "task").rename(tmp_path / "before")
    (factory.upload / "helper.py").write_text("")
    ran = rehearse(pipeline)
    assert ran.returncode == 112
    assert "2 files of the folder are called `helper.py`, and sub-folders are flattened (error 2508)" in ran.stderr


def test_too_many_files_are_refused(rehearse, factory):
    for number in range(130):
        (factory.upload / f"{number}.txt").write_text("")
    ran = rehearse(factory.pipeline(custom()))
    assert ran.returncode == 112
    assert "(error 2504): put them into one zip" in ran.stderr


def test_a_secret_in_clear_and_an_encrypted_one_are_remarked_on(rehearse, factory):
    factory.service("On prem", "SqlServer", {"server": "s", "encryptedCredential": "opaque"})
    secret = {"type": "SecureString", "value": "s3cret"}
    ran = rehearse(factory.pipeline(custom(services=("On prem",), extendedProperties={"pw": secret})))
    assert ran.returncode == 0, ran.stderr
    assert "a SecureString among the activity's properties is clear text in activity.json" in ran.stderr
    assert "set `DRAY_CONNECTION_ON_PREM` for the rehearsal" in ran.stderr
    assert "s3cret" not in ran.stderr


def test_a_secret_parameter_reaches_the_script_and_is_shown_nowhere(rehearse, dray, factory):
    factory.service("Sales", "Odbc", {"connectionString": "DSN=x;PWD=w0rd-of-dsn"})
    activity = custom(
        services=("Sales",),
        command="./dray run p.zip main.py @{pipeline().parameters.key}",
        extendedProperties={"key": {"type": "SecureString", "value": "@pipeline().parameters.key"}},
    )
    pipeline = factory.pipeline(activity, parameters={"key": {"type": "SecureString"}})
    ran = rehearse(pipeline, "--set", "key=k3y-of-all")
    assert ran.returncode == 0, ran.stderr
    handed = json.loads((ran.task / "wd" / "activity.json").read_text("utf-8"))
    assert handed["typeProperties"]["extendedProperties"]["key"]["value"] == "k3y-of-all"
    assert "command     ./dray run p.zip main.py ***" in ran.stderr
    dry = dray("rehearse", pipeline, "--set", "key=k3y-of-all", "--dry-run")
    for text in (ran.stderr, dry.stdout, dry.stderr):
        assert "k3y-of-all" not in text
        assert "w0rd-of-dsn" not in text


def test_linked_services_of_a_file_win_over_those_beside_the_pipeline(rehearse, factory, tmp_path):
    factory.service("Sales", "Odbc", {"connectionString": "DSN=there"})
    own = tmp_path / "own.json"
    here = {"name": "sales", "properties": {"type": "Odbc", "typeProperties": {"connectionString": "DSN=here"}}}
    own.write_text(json.dumps([here]), "utf-8")
    ran = rehearse(factory.pipeline(custom(services=("Sales",))), "--linked-services", str(own))
    assert ran.returncode == 0, ran.stderr
    handed = json.loads((ran.task / "wd" / "linkedServices.json").read_text("utf-8"))
    assert handed[0]["properties"]["typeProperties"]["connectionString"] == "DSN=here"


def test_datasets_are_handed_over(rehearse, factory):
    factory.service("Sales", "Odbc", {"connectionString": "DSN=x"})
    factory.dataset("Orders", "Sales")
    ran = rehearse(factory.pipeline(custom(datasets=("Orders",))))
    assert ran.returncode == 0, ran.stderr
    assert json.loads((ran.task / "wd" / "datasets.json").read_text("utf-8"))[0]["name"] == "Orders"
    assert "dataset `Orders` is of linked service `Sales`, which is not among" in ran.stderr


def test_without_a_name_the_only_custom_activity_is_meant(rehearse, factory):
    pipeline = factory.pipeline(custom("One"), custom("Two"))
    ran = rehearse(pipeline)
    assert ran.returncode == 110
    assert "could be meant; there are `Daily/One`, `Daily/Two`; hint: name one as `Pipeline/Activity`" in ran.stderr
    assert rehearse(pipeline, "Daily/Two").returncode == 0
    ran = rehearse(pipeline, "Three")
    assert ran.returncode == 110
    assert "no custom activity `Three`" in ran.stderr
    assert "there are `Daily/One`, `Daily/Two`" in ran.stderr


def test_a_folder_must_stand_in_for_the_storage_accounts(dray, factory):
    ran = dray("rehearse", factory.pipeline(custom()))
    assert ran.returncode == 110
    assert "the activity's files are in `adf/daily` of its storage account" in ran.stderr


def test_a_folder_that_holds_something_is_not_touched(rehearse, factory, tmp_path):
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "mine").write_text("")
    ran = rehearse(factory.pipeline(custom()))
    assert ran.returncode == 110
    assert "is not empty: each rehearsal needs a fresh folder" in ran.stderr
    assert [path.name for path in (tmp_path / "task").iterdir()] == ["mine"]


def test_a_dry_run_prints_the_three_files_and_runs_nothing(dray, factory, tmp_path):
    pipeline = factory.pipeline(custom(extendedProperties={"x": "@concat('a', 'b')"}))
    ran = dray("rehearse", pipeline, "--dry-run", "--workdir", tmp_path / "task")
    assert ran.returncode == 0, ran.stderr
    assert '"x": "ab"' in ran.stdout
    assert [line for line in ran.stdout.splitlines() if line.endswith(".json")] == [
        "activity.json",
        "linkedServices.json",
        "datasets.json",
    ]
    assert not (tmp_path / "task").exists()


def test_a_program_that_is_not_there_is_named(rehearse, factory):
    ran = rehearse(factory.pipeline(custom(command="./nothing here")))
    assert ran.returncode == 112
    assert "cannot start `./nothing`, the first word of the command" in ran.stderr


@pytest.mark.parametrize("content", ["[]", '{"properties": {}}', "{", ""])
def test_what_is_no_pipeline_is_refused(dray, tmp_path, content):
    path = tmp_path / "p.json"
    path.write_text(content)
    ran = dray("rehearse", path)
    assert ran.returncode == 112
    assert ran.stderr.startswith(f"error: `{path}` ")


def test_the_template_of_packaging_runs_as_it_is(rehearse, factory):
    (factory.upload / "p.zip").rename(factory.upload / "project.zip")
    ran = rehearse(
        FOLDER / "factory.json",
        "RunProject",
        "--set", "name=sales",
        "--set", "reference(variables('vaultId'), '2023-07-01').vaultUri=https://vault.invalid/",
        "--set", "date=2026-11-21",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    script = seen(ran)
    assert script["services"] == ["KeyVault"]
    assert {name: script["params"][name] for name in ("date", "pipeline")} == {
        "date": "2026-11-21",
        "pipeline": "RunProject",
    }
    handed = json.loads((ran.task / "wd" / "linkedServices.json").read_text("utf-8"))
    assert handed[0]["properties"]["typeProperties"] == {"baseUrl": "https://vault.invalid/"}


def test_a_value_of_a_template_that_only_a_deployment_has_is_left_out_and_named(rehearse, factory):
    (factory.upload / "p.zip").rename(factory.upload / "project.zip")
    ran = rehearse(FOLDER / "factory.json", "RunProject", "--set", "name=sales")
    assert ran.returncode == 0, ran.stderr
    expression = "reference(variables('vaultId'), '2023-07-01').vaultUri"
    assert f"linked service `KeyVault` goes without the value of `{expression}`, which only" in ran.stderr
    assert f'give it by `--set "{expression}=VALUE"`' in ran.stderr
