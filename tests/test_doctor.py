"""`dray doctor`: what a node has, from the image to the databases."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from azure_server import reference

TOKEN = "eyJ-a-token-that-nobody-may-see"


class Metadata(BaseHTTPRequestHandler):
    """An instance metadata service with one identity; a client id that it does not know is refused as Azure does."""

    def do_GET(self) -> None:
        asked_in_order = self.headers["Metadata"] == "true" and "resource=https%3A%2F%2Fvault.azure.net" in self.path
        if not asked_in_order or "client_id=other" in self.path:
            self.answer(400, {"error": "invalid_request", "error_description": "Identity not found"})
        else:
            self.answer(200, {"access_token": TOKEN, "client_id": "1111-2222", "expires_in": "86399"})

    def answer(self, status: int, document: dict[str, str]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def metadata() -> Iterator[str]:
    """The address of a metadata service."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def closed_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def doctor(dray, closed_port):
    """Run `dray doctor --json`; the result has the checks, also by area. Without a metadata service unless given one."""

    def run(*arguments: Any, env: Any = None, cwd: Any = None) -> Any:
        variables = {"AZURE_POD_IDENTITY_AUTHORITY_HOST": f"http://127.0.0.1:{closed_port}", **(env or {})}
        ran = dray("doctor", "--json", *arguments, env=variables, cwd=cwd)
        ran.document = json.loads(ran.stdout)
        assert ran.document["exit_code"] == ran.returncode
        ran.of = lambda area: [check for check in ran.document["checks"] if check["area"] == area]
        return ran

    return run


def named(checks: list[Any], subject: str) -> Any:
    return next(check for check in checks if check["subject"] == subject)


def test_everything_is_on_one_screen(dray, closed_port):
    ran = dray("doctor", env={"AZURE_POD_IDENTITY_AUTHORITY_HOST": f"http://127.0.0.1:{closed_port}"})
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stderr == ""
    lines = ran.stdout.splitlines()
    assert len(lines) < 50
    titles = [line[2:13].strip() for line in lines[:-2] if line[2:13].strip()]
    assert titles == ["image", "limits", "disk", "batch", "python", "driver", "identity"]
    assert lines[-1] == "nothing that a run needs has failed"


def test_the_machine_is_described(doctor, task):
    ran = doctor("--workdir", task.folder, env=task.env)
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    (image,) = ran.of("image")
    assert image["facts"]["name"] == release["PRETTY_NAME"].strip('"')
    assert image["facts"]["glibc"] == subprocess.check_output(["getconf", "GNU_LIBC_VERSION"], text=True).split()[1]
    assert named(ran.of("limits"), "memory")["facts"]["memory_limit_bytes"] > 0
    assert named(ran.of("limits"), "CPU")["facts"]["usable_cpus"] > 0
    (disk,) = ran.of("disk")
    assert disk["facts"]["folder"] == str(task.folder)
    assert 0 < disk["facts"]["free_bytes"] <= disk["facts"]["whole_bytes"]
    (batch,) = ran.of("batch")
    assert batch["facts"]["pool_id"] == "pool"
    assert batch["facts"]["task_id"] == task.env["AZ_BATCH_TASK_ID"]


def test_each_python_is_judged_and_the_one_of_a_run_marked(doctor, tmp_path):
    path = tmp_path / "bin"
    path.mkdir()
    (path / "python3.9").symlink_to("/bin/false")
    (path / "python3").symlink_to(sys.executable)
    ran = doctor(env={"PATH": str(path)})
    pythons = ran.of("python")
    chosen = named(pythons, str(path / "python3"))
    assert chosen["status"] == "ok"
    assert chosen["facts"]["is_chosen"]
    assert chosen["facts"]["version"] == ".".join(map(str, sys.version_info[:3]))
    refused = named(pythons, str(path / "python3.9"))
    assert "would not do (`python3.9` on PATH): it did not answer as a Python would" in refused["text"]


def test_without_a_python_all_else_is_still_told(doctor):
    ran = doctor(env={"PATH": "/nonexistent"})
    assert ran.returncode == 113
    assert named(ran.of("python"), "")["status"] == "failed"
    assert [check["area"] for check in ran.document["checks"]].count("image") == 1
    assert named(ran.of("driver"), "SQLite3")["text"].endswith("is there, whether it loads is not known")
    assert len(ran.of("identity")) == 1


def test_a_python_that_was_named_and_does_not_do_fails(doctor):
    ran = doctor("--python", "/bin/false")
    assert ran.returncode == 113
    assert named(ran.of("python"), "/bin/false")["facts"]["source"] == "`--python`"


def test_requires_python_of_the_project_counts(doctor, project):
    ran = doctor(project({"main.py": "", "pyproject.toml": '[project]\nrequires-python = ">=3.99"\n'}))
    assert ran.returncode == 113
    assert any("3.99" in check["text"] for check in ran.of("python"))


def test_drivers_are_loaded(doctor):
    drivers = doctor().of("driver")
    for name in ["SQLite3", "PostgreSQL Unicode", "MariaDB Unicode", "FreeTDS"]:
        assert named(drivers, name)["status"] == "ok", drivers
    assert named(drivers, "PostgreSQL Unicode")["facts"]["functions"] == "wide"


def test_a_driver_that_kills_the_worker_is_told_with_what_was_seen_before(doctor, tmp_path):
    source, library = tmp_path / "fatal.c", tmp_path / "zz_fatal.so"
    source.write_text("__attribute__((constructor)) static void f(void) { *(volatile int *)0 = 1; }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    good = next(Path("/usr/lib").glob("*/odbc/libsqlite3odbc.so"))
    ran = doctor(env={"DRAY_ODBC_DRIVERS": f"good={good}:fatal={library}"})
    assert ran.returncode == 117
    assert named(ran.of("driver"), "good")["status"] == "ok"
    assert "SIGSEGV" in ran.of("worker")[0]["text"]


def test_each_linked_service_is_connected_to(doctor, task, tmp_path, closed_port):
    task.write_activity(
        linked_services={
            "Sales": f"Driver={{SQLite3}};Database={tmp_path}/sales.db",
            "Gone": {
                "type": "PostgreSqlV2",
                "typeProperties": {
                    "server": "127.0.0.1",
                    "port": closed_port,
                    "database": "d",
                    "username": "u",
                    "password": {"type": "SecureString", "value": "h1dden-word"},
                },
            },
            "Sink": {"type": "AzureBlobStorage", "typeProperties": {}},
        }
    )
    ran = doctor("--workdir", task.folder)
    assert ran.returncode == 114
    connections = ran.of("connection")
    assert {check["subject"] for check in connections} == {"Sales", "Gone"}
    sales = named(connections, "Sales")
    assert sales["status"] == "ok"
    assert sales["facts"]["product"] == "SQLite"
    assert sales["facts"]["server_version"].startswith("3.")
    assert sales["facts"]["connect_ms"] >= 0
    assert sales["facts"]["answer_ms"] >= 0
    assert named(connections, "Gone")["status"] == "failed"
    assert named(connections, "Gone")["facts"]["kind"] == "PostgreSqlV2"
    assert "h1dden-word" not in ran.stdout + ran.stderr


@pytest.mark.parametrize(("product", "name"), [("postgresql", "PostgreSQL"), ("mariadb", "MariaDB")])
def test_a_server_is_told_by_its_product_and_version(doctor, task, databases, product, name):
    database = databases(product)
    task.write_activity(linked_services={"Db": database.odbc})
    ran = doctor("--workdir", task.folder)
    assert ran.returncode == 0, ran.stdout
    facts = named(ran.of("connection"), "Db")["facts"]
    assert facts["product"] == name
    ((version,),) = database.query("SELECT VERSION()")
    digits = [int(part) for part in re.findall(r"\d+", facts["server_version"])]
    assert digits[:2] == [int(part) for part in re.findall(r"\d+", version)][:2]
    assert facts["answer_ms"] >= 0


def test_what_has_failed_stands_last_on_the_screen(dray, task, closed_port):
    vaulted(task, f"https://127.0.0.1:{closed_port}/")
    env = {"AZURE_POD_IDENTITY_AUTHORITY_HOST": f"http://127.0.0.1:{closed_port}", "PATH": "/nonexistent"}
    ran = dray("doctor", "--workdir", task.folder, env=env)
    assert ran.returncode == 113
    assert ran.stdout.splitlines()[-1] == "failed: python, identity"
    assert "key vault   Vault: whether it answers is not known without a Python" in ran.stdout


def test_connections_of_the_project_and_of_variables_are_tried(doctor, project, tmp_path):
    path = project({"pyproject.toml": '[tool.dray.connections]\nHere = "sqlite:///:memory:"\nThere = "sqlite:////x"\n'})
    variables = {"DRAY_CONNECTION_THERE": f"sqlite:///{tmp_path}/t.db", "DRAY_CONNECTION_OWN": "sqlite:///:memory:"}
    ran = doctor(path, env=variables)
    assert ran.returncode == 0, ran.stdout
    kinds = {check["subject"]: check["facts"]["kind"] for check in ran.of("connection")}
    assert kinds == {"Here": "project", "There": "project", "OWN": "variable"}


def test_an_identity_is_told_and_its_token_is_not(doctor, metadata):
    ran = doctor(env={"AZURE_POD_IDENTITY_AUTHORITY_HOST": metadata})
    (identity,) = ran.of("identity")
    assert identity["status"] == "ok"
    assert identity["facts"]["client_id"] == "1111-2222"
    assert TOKEN not in ran.stdout + ran.stderr


def vaulted(task: Any, address: str) -> None:
    task.write_activity(linked_services={"Vault": {"type": "AzureKeyVault", "typeProperties": {"baseUrl": address}}})


def test_an_identity_that_a_vault_needs_and_azure_refuses_fails(doctor, task, metadata):
    vaulted(task, metadata)
    env = {"AZURE_POD_IDENTITY_AUTHORITY_HOST": metadata}
    ran = doctor("--workdir", task.folder, env=env)
    assert ran.returncode == 0, ran.stdout
    assert named(ran.of("vault"), "Vault")["status"] == "ok"
    ran = doctor("--workdir", task.folder, env={**env, "AZURE_CLIENT_ID": "other"})
    assert ran.returncode == 118
    (identity,) = ran.of("identity")
    assert (
        "this node has none with client id `other` (HTTP 400: invalid_request: Identity not found)" in identity["text"]
    )
    assert identity["facts"]["code"] == "azure.no_identity"


def test_a_service_principal_of_the_environment_is_told(doctor, metadata):
    principal = {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "app-7", "AZURE_CLIENT_SECRET": "hush-hush"}
    ran = doctor(env={"AZURE_POD_IDENTITY_AUTHORITY_HOST": metadata, **principal})
    (identity,) = ran.of("identity")
    assert (identity["status"], "service principal `app-7`" in identity["text"]) == ("note", True)
    assert "hush-hush" not in ran.stdout + ran.stderr


def test_a_vault_out_of_reach_fails_and_no_metadata_service_with_it(doctor, task, closed_port):
    vaulted(task, f"https://127.0.0.1:{closed_port}/")
    ran = doctor("--workdir", task.folder)
    assert ran.returncode == 118
    assert f"https://127.0.0.1:{closed_port}` failed" in named(ran.of("vault"), "Vault")["text"]
    assert ran.of("identity")[0]["status"] == "failed"


def test_each_secret_that_is_referenced_is_told_and_no_value(doctor, task, azure):
    azure.secrets.update(good="the-value-of-good", deep="the-value-of-deep", locked="the-value-of-locked")
    azure.forbidden.add("locked")
    blob = {"type": "AzureBlobStorage", "typeProperties": {"accountKey": reference("deep")}}
    parameters = {"a": reference("good"), "b": [{"c": reference("locked")}, reference("good")], "d": reference("gone")}
    task.write_activity({**parameters, "e": reference("x", store="Nowhere")}, {**azure.services, "Blob": blob})
    ran = doctor("--workdir", task.folder, env=azure.env)
    assert ran.returncode == 118
    vaults = [(check["subject"], check["status"], check["text"]) for check in ran.of("vault")]
    assert [(subject, status) for subject, status, _ in vaults].count(("KeyVault1", "ok")) == 2
    for secret in ("good", "deep"):
        assert ("KeyVault1", "ok", f"secret `{secret}` can be read") in vaults
    failed = {subject: text for subject, status, text in vaults if status == "failed"}
    texts = " ".join(text for _, status, text in vaults if status == "failed")
    assert "secret `locked`" in texts and "ForbiddenByRbac" in texts and "secret `gone`" in texts, texts
    assert "Nowhere" in failed and len(vaults) == 5
    assert azure.count("/secrets/good") == 1
    assert "the-value-of" not in ran.stdout + ran.stderr
    assert ran.of("identity")[0]["status"] == "ok"


def test_the_address_of_a_vault_may_be_an_expression(doctor, task, azure):
    service = {
        "type": "AzureKeyVault",
        "parameters": {"address": {"type": "String", "defaultValue": azure.url}},
        "typeProperties": {"baseUrl": "@{linkedService().address}"},
    }
    task.write_activity(linked_services={"Vault": service})
    ran = doctor("--workdir", task.folder, env=azure.env)
    assert named(ran.of("vault"), "Vault")["status"] == "ok", ran.stdout
    assert ran.returncode == 0


def test_a_vault_is_asked_through_the_proxy_that_a_run_would_take(doctor, task, azure, closed_port):
    vaulted(task, azure.url)
    proxy = {"HTTP_PROXY": f"http://127.0.0.1:{closed_port}", "NO_PROXY": ""}
    ran = doctor("--workdir", task.folder, env={**azure.env, **proxy})
    assert (ran.returncode, named(ran.of("vault"), "Vault")["status"]) == (118, "failed"), ran.stdout


def test_a_token_is_asked_for_the_cloud_that_the_vault_is_in(doctor, task, azure, closed_port):
    vaulted(task, "https://v.vault.azure.cn/")
    proxy = {"HTTPS_PROXY": f"http://127.0.0.1:{closed_port}"}
    ran = doctor("--workdir", task.folder, env={**azure.env, **proxy})
    assert ran.of("identity")[0]["status"] == "ok", ran.stdout
    assert azure.asked[0].query["resource"] == "https://vault.azure.cn"


def test_without_a_vault_no_identity_is_missed(doctor):
    ran = doctor()
    assert ran.returncode == 0
    assert ran.of("identity")[0]["status"] == "note"


def test_a_malformed_file_is_told_beside_all_else(doctor, task):
    (task.folder / "linkedServices.json").write_text("[{")
    ran = doctor("--workdir", task.folder)
    assert ran.returncode == 112
    assert "is not valid JSON at line 1" in ran.of("project")[0]["text"]
    assert len(ran.of("image")) == 1


def test_a_project_that_cannot_be_read_is_told_beside_all_else(doctor, tmp_path):
    ran = doctor(tmp_path / "none.zip")
    assert ran.returncode == 111
    assert len(ran.of("image")) == 1


def test_nothing_is_left_behind(doctor, task, project, tmp_path):
    (task.folder / "outputs.json").write_text("{}")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    ran = doctor(project({"main.py": ""}), "--workdir", task.folder, env={"TMPDIR": str(scratch)})
    assert ran.returncode == 0, ran.stdout
    assert [path.name for path in task.folder.iterdir()] == ["outputs.json"]
    assert list(scratch.iterdir()) == []
