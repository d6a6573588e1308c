"""What a script gets of what ADF handed over: parameters, activity, linked services, datasets, Batch, and secrets."""

from __future__ import annotations

import codecs
import json
from typing import Any

import pytest

# Shapes as ADF writes them: the order of keys is not fixed, and there are more keys than anybody knows.
ACTIVITY = {
    "type": "Custom",
    "typeProperties": {
        "referenceObjects": {
            "datasets": [{"type": "DatasetReference", "parameters": {}, "referenceName": "SalesTable"}],
            "linkedServices": [
                {"referenceName": "Sink1", "type": "LinkedServiceReference"},
                {"type": "LinkedServiceReference", "referenceName": "KeyVault1"},
            ],
        },
        "extendedProperties": {
            "run_id": "f3d0",
            "rows": 100,
            "ratio": 0.25,
            "big": 12345678901234567890,
            "full": True,
            "nothing": None,
            "nested": {"a": [1, {"b": "é"}]},
            "odd name": "x",
            "plain_secret": {"value": "clear text here", "type": "SecureString"},
            "deep": {"list": [{"type": "SecureString", "value": "deep secret"}]},
            "kv_secret": {
                "type": "AzureKeyVaultSecret",
                "secretName": "db-password",
                "store": {"type": "LinkedServiceReference", "referenceName": "KeyVault1"},
            },
        },
        "retentionTimeInDays": 30,
        "command": "./dray run p.zip",
    },
    "name": "CopySales",
    "newKeyOfTomorrow": [{}],
}
LINKED_SERVICES = [
    {
        "properties": {
            "annotations": [],
            "type": "AzureBlobStorage",
            "typeProperties": {"sasUri": "https://a.blob.core.windows.net/c?sv=1", "normalizeBinaryFolderPath": True},
        },
        "name": "Sink1",
    },
    {"name": "KeyVault1", "properties": {"type": "AzureKeyVault", "typeProperties": {"baseUrl": "https://v/"}}},
    {
        "name": "Warehouse",
        "properties": {
            "type": "Odbc",
            "typeProperties": {
                "connectionString": "Driver={PostgreSQL Unicode};Server=h;Port=5432;Database=d;",
                "authenticationType": "Basic",
                "userName": "u",
                "password": {"type": "SecureString", "value": "p;w}d"},
            },
        },
    },
    {
        "name": "Vaulted",
        "properties": {
            "type": "Odbc",
            "typeProperties": {
                "connectionString": "DSN=x",
                "userName": "u",
                "password": {
                    "type": "AzureKeyVaultSecret",
                    "store": {"referenceName": "KeyVault1"},
                    "secretName": "pw",
                },
            },
        },
    },
]
DATASETS = [
    {
        "name": "SalesTable",
        "properties": {
            "type": "AzureSqlTable",
            "linkedServiceName": {"referenceName": "SqlDb1", "type": "LinkedServiceReference", "parameters": {}},
            "schema": [{"name": "id", "type": "int"}],
            "typeProperties": {"schema": "dbo", "table": {"value": "@dataset().t", "type": "Expression"}},
        },
    }
]


@pytest.fixture
def look(dray, project, task) -> Any:
    """`look(code)` runs code under dray with the files of a whole handover, and gives what it printed, by lines."""

    def run(code: str, *, activity: Any = ACTIVITY, exit_code: int = 0, **env: str) -> Any:
        for name, document in (
            ("activity.json", activity),
            ("linkedServices.json", LINKED_SERVICES),
            ("datasets.json", DATASETS),
        ):
            content = document if isinstance(document, bytes) else json.dumps(document).encode()
            (task.folder / name).write_bytes(content)
        # What is printed here is looked at as it is, secrets too.
        ran = dray("run", "--no-mask", project({"main.py": code}), cwd=task.folder, env={**task.env, **env})
        assert ran.returncode == exit_code, ran.stderr
        return ran.stdout.splitlines() if exit_code == 0 else ran

    return run


def test_parameters_are_a_mapping_with_attributes(look):
    code = """
import dray
p = dray.params
print(p["run_id"], p.rows, p.ratio, p.big, p.full, p.nothing, p.nested, p["odd name"])
print(len(p), list(p)[:2], "rows" in p, "row" in p, p.get("row", 5), hasattr(p, "row"), dict(**p)["rows"])
print(p is dray.activity.extended_properties, repr(p)[:30])
"""
    assert look(code) == [
        "f3d0 100 0.25 12345678901234567890 True None {'a': [1, {'b': 'é'}]} x",
        "11 ['run_id', 'rows'] True False 5 False 100",
        "True Parameters({'run_id': 'f3d0', ",
    ]


def test_the_activity_names_what_it_references(look):
    code = """
import dray
a = dray.activity
print(a.name, a.linked_service_references, a.dataset_references, a)
print(a.definition["typeProperties"]["retentionTimeInDays"], a.definition["newKeyOfTomorrow"])
"""
    assert look(code) == [
        "CopySales ['Sink1', 'KeyVault1'] ['SalesTable'] Activity(name='CopySales')",
        "30 [{}]",
    ]


def test_a_reference_is_its_name_and_has_the_parameters_given_to_it(look):
    reference = {"referenceName": "SalesTable", "type": "DatasetReference", "parameters": {"t": "Orders", "n": 5}}
    activity = {
        "typeProperties": {
            "referenceObjects": {"datasets": [reference], "linkedServices": [{"referenceName": "Sink1"}]}
        }
    }
    code = """
import copy, dray, pickle
table, server = dray.activity.dataset_references[0], dray.activity.linked_service_references[0]
print(table, table == "SalesTable", dray.datasets[table].name, table.parameters, server.parameters)
print([(again, again.parameters) for again in (pickle.loads(pickle.dumps(table)), copy.deepcopy(table))])
"""
    assert look(code, activity=activity) == [
        "SalesTable True SalesTable {'t': 'Orders', 'n': 5} {}",
        "[('SalesTable', {'t': 'Orders', 'n': 5}), ('SalesTable', {'t': 'Orders', 'n': 5})]",
    ]


def test_linked_services_and_datasets_are_found_by_name(look):
    code = """
import dray
s, d = dray.linked_services, dray.datasets
print(list(s), list(d), len(s), "Sink1" in s, s.get("none"))
print(s["Sink1"].type, s["Sink1"].properties, s["KeyVault1"].properties["baseUrl"], s["Sink1"].definition["name"])
print(d["SalesTable"].type, d["SalesTable"].linked_service_name, d["SalesTable"].properties)
print(s["Warehouse"], d["SalesTable"], s)
"""
    lines = look(code)
    assert lines[0] == "['Sink1', 'KeyVault1', 'Warehouse', 'Vaulted'] ['SalesTable'] 4 True None"
    assert lines[1].startswith("AzureBlobStorage {'sasUri': ")
    assert lines[1].endswith("'normalizeBinaryFolderPath': True} https://v/ Sink1")
    assert (
        lines[2] == "AzureSqlTable SqlDb1 {'schema': 'dbo', 'table': {'value': '@dataset().t', 'type': 'Expression'}}"
    )
    assert lines[3].startswith(
        "LinkedService(name='Warehouse', type='Odbc') Dataset(name='SalesTable', type='AzureSqlTable')"
    )


def test_batch_is_typed(look):
    code = """
import dray
b = dray.batch
print(b.account_name, b.pool_id, b.job_id, b.task_id, b.node_id, b.node_is_dedicated)
print(type(b.task_working_dir).__name__, b.task_working_dir.name, b.node_shared_dir, b)
"""
    assert look(code) == [
        "account pool adfv2-pool 7a1c3a6e-4f0e-4d4e-9a53-0d7c6f4d2b11 tvmps_0123456789abcdef_d True",
        "PosixPath wd None Batch(pool_id='pool', job_id='adfv2-pool', task_id='7a1c3a6e-4f0e-4d4e-9a53-0d7c6f4d2b11')",
    ]


@pytest.mark.parametrize(
    ("text", "value"), [("1", True), ("FALSE", False), ("0", False), ("perhaps", None), ("", None)]
)
def test_whether_the_node_is_dedicated_may_be_a_number(look, text, value):
    assert look("import dray; print(dray.batch.node_is_dedicated)", AZ_BATCH_NODE_IS_DEDICATED=text) == [str(value)]


def test_every_folder_of_batch_is_there(look):
    code = "import dray; print(dray.batch.node_startup_working_dir.name, dray.batch.job_prep_working_dir.parent)"
    folders = {
        "AZ_BATCH_NODE_STARTUP_WORKING_DIR": "/batch/startup/wd",
        "AZ_BATCH_JOB_PREP_WORKING_DIR": "/batch/prep/wd",
    }
    assert look(code, **folders) == ["wd /batch/prep"]


def test_all_of_it_is_there_and_empty_outside_adf(dray, project, task):
    code = """
import dray
print(dict(dray.params), dray.activity.name, dray.activity.definition, dray.activity.linked_service_references)
print(dict(dray.linked_services), dict(dray.datasets), dray.batch.task_id, dray.batch.task_dir, dray.batch.node_is_dedicated)
"""
    ran = dray("run", project({"main.py": code}), cwd=task.folder)
    assert ran.stdout.splitlines() == ["{} None {} []", "{} {} None None None"], ran.stderr


@pytest.mark.parametrize(
    "change",
    [
        lambda text: codecs.BOM_UTF8 + text.encode(),
        lambda text: text.replace(": ", " :\t").replace(", ", ",\r\n").encode(),
        lambda text: text.encode() + b"\r\n\r\n",
    ],
)
def test_the_files_are_read_leniently(look, change):
    assert look("import dray; print(dray.params.rows)", activity=change(json.dumps(ACTIVITY))) == ["100"]


def test_the_smallest_activity_is_enough(look):
    activity = {"typeProperties": {"extendedProperties": {"rows": "5"}}}
    assert look("import dray; print(dray.params, dray.activity.name)", activity=activity) == [
        "Parameters({'rows': '5'}) None"
    ]


@pytest.mark.parametrize(
    ("expression", "kind", "said"),
    [
        ("dray.params['rwos']", "KeyError", "no extended property `rwos`; there are: `run_id`, `rows`"),
        ("dray.params.rwos", "AttributeError", "did you mean `rows`?"),
        ("dray.linked_services['WareHouse']", "KeyError", "no linked service `WareHouse`; there are: `Sink1`"),
        ("dray.linked_services['WareHouse']", "KeyError", "did you mean `Warehouse`?"),
        ("dray.datasets['x']", "KeyError", "no dataset `x`; there are: `SalesTable`"),
        ("dray.batch.task", "AttributeError", "dray.batch has no `task`; it has account_name"),
        ("dray.parms", "AttributeError", "module 'dray' has no attribute 'parms'"),
        ("dray.linked_services['Sink1'].connection_string", "dray.ActivityError", "AzureBlobStorage"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(look, task, expression, kind, said):
    ran = look(f"import dray\n{expression}\n", exit_code=112 if kind.startswith("dray.") else 1)
    error = task.outputs()["dray"]["error"]
    assert error["type"] == kind
    assert said in error["message"]
    assert said in ran.stderr.splitlines()[-1]
    assert error["location"] == "main.py, line 2, in <module>"
    assert "_handover" not in error["traceback"]


def test_a_secret_is_a_string_that_does_not_show_itself(look):
    code = """
import copy, dray, json, pickle
s = dray.params.plain_secret
print(repr(s), [s], f"{s!r}", type(s).__name__, isinstance(s, str))
print(s, f"{s}", "%s" % s, s + "!", s == "clear text here", hash(s) == hash("clear text here"), s.encode(), json.dumps(s))
for again in (pickle.loads(pickle.dumps(s)), copy.deepcopy(s), copy.copy(s)):
    print(repr(again), again == s)
print(dray.params.deep, dray.params)
print(repr(dray.params.kv_secret), dray.params.kv_secret.store, dray.params.kv_secret.secret_name)
print(type(s[:5]).__name__, type(str(s)).__name__)
"""
    lines = look(code)
    assert lines[0] == "Secret('***') [Secret('***')] Secret('***') Secret True"
    assert lines[1] == (
        "clear text here clear text here clear text here clear text here! True True b'clear text here' \"clear text here\""
    )
    assert lines[2:5] == ["Secret('***') True"] * 3
    assert lines[5].startswith("{'list': [Secret('***')]} Parameters(")
    assert "deep secret" not in lines[5]
    assert lines[6] == "KeyVaultSecret(store='KeyVault1', secret_name='db-password') KeyVault1 db-password"
    # A part of a secret is text like any other.
    assert lines[7] == "str str"


def test_children_get_the_same_and_secrets_stay_secrets(look):
    code = """
import multiprocessing, subprocess, sys, dray
def work(secret):
    import dray
    return repr(secret), secret == dray.params.plain_secret, dray.params.rows, dray.activity.name, dray.batch.pool_id
if __name__ == "__main__":
    for method in ("spawn", "fork", "forkserver"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            print(*pool.apply(work, [dray.params.plain_secret]))
    subprocess.run([sys.executable, "-c", "import dray; print(dray.params.rows, dray.linked_services['Sink1'].type)"], cwd="/")
"""
    same = "Secret('***') True 100 CopySales pool"
    assert look(code) == [same, same, same, "100 AzureBlobStorage"]


def test_children_may_set_outputs_and_the_last_word_counts(look, task):
    code = """
import multiprocessing, dray
def work(n):
    import dray
    dray.outputs[f"part {n}"] = n
    dray.outputs["both"] = f"child {n}"
if __name__ == "__main__":
    dray.outputs["both"] = "parent"
    dray.outputs["kept"] = [1]
    for n, method in enumerate(("spawn", "fork")):
        process = multiprocessing.get_context(method).Process(target=work, args=(n,))
        process.start()
        process.join()
    print(dict(dray.outputs))
"""
    # Each process has a mapping of its own: the parent does not see what its children set, the pipeline does.
    assert look(code) == ["{'both': 'parent', 'kept': [1]}"]
    outputs = task.outputs()
    outputs.pop("dray")
    assert outputs == {"both": "child 1", "kept": [1], "part 0": 0, "part 1": 1}


def test_a_connection_string_has_its_credentials_and_is_a_secret(look):
    code = """
import dray
c = dray.linked_services["Warehouse"].connection_string
print(repr(c), "UID=u" in c or "Uid=u" in c, "p;w" in c, c.startswith("Driver={PostgreSQL Unicode}"))
print(repr(dray.linked_services["Warehouse"].properties["password"]))
"""
    assert look(code) == ["Secret('***') True True True", "Secret('***')"]


def test_known_secrets_are_masked_in_logs_errors_and_outputs(look, task):
    code = """
import dray, logging
logging.warning("the password is %s and %s", dray.params.plain_secret, dray.params.deep["list"][0])
dray.outputs["x"] = {"y": [dray.params.plain_secret]}
raise RuntimeError(f"cannot log in with {dray.params.plain_secret}")
"""
    ran = look(code, exit_code=1)
    written = ran.stderr + (task.folder / "outputs.json").read_text("utf-8")
    assert "clear text here" not in written
    assert "deep secret" not in written
    assert "cannot log in with ***" in ran.stderr.splitlines()[-1]


def test_files_changed_after_the_start_are_not_read_again_and_a_folder_change_does_not_matter(look):
    code = """
import os, dray
os.chdir("/")
print(dray.params.rows)
"""
    assert look(code) == ["100"]
