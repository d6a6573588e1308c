"""Secrets in Key Vault, against a local server that behaves as documented."""

from __future__ import annotations

import signal
import time

import pytest
from azure_server import ONE, OTHER, TOKEN_PATH, Azure, reference

SHOW = "import dray\nprint(len(dray.params.pw.value), dray.params.pw.value[::-1])\n"


@pytest.fixture
def vault(azure: Azure) -> Azure:
    """With one secret in it."""
    azure.secrets["db-password"] = "hunter2-of-the-vault"
    return azure


@pytest.fixture
def fetch(script, vault):
    """`fetch(code, properties, env)` runs a script whose activity references the vault."""

    def run(code=SHOW, properties=None, env=None, services=None, **options):
        parameters = {"pw": reference("db-password")} if properties is None else properties
        services = vault.services if services is None else services
        return script(code, services=services, parameters=parameters, env={**vault.env, **(env or {})}, **options)

    return run


def error_of(ran, task, exit_code=118):
    """The error of a run that failed as it should."""
    assert ran.returncode == exit_code, ran.stderr
    error = task.outputs()["dray"]["error"]
    assert error["message"] in ran.stderr.splitlines()[-1]
    return error


def test_a_secret_is_fetched_with_the_token_of_the_node(fetch, vault):
    ran = fetch()
    assert (ran.returncode, ran.stdout) == (0, "20 tluav-eht-fo-2retnuh\n"), ran.stderr
    token, secret = vault.asked
    assert token.query == {"api-version": "2018-02-01", "resource": "https://vault.azure.net"}
    assert (token.headers["metadata"], secret.path) == ("true", "/secrets/db-password")
    assert secret.query == {"api-version": "7.4"}


def test_nothing_is_fetched_before_it_is_used(fetch, vault):
    ran = fetch("import dray\nprint(dray.params)\n")
    assert ran.stdout == "Parameters({'pw': KeyVaultSecret(store='KeyVault1', secret_name='db-password')})\n"
    assert not vault.asked


def test_a_version_is_asked_for_by_its_name(fetch, vault):
    vault.secrets["db-password/v1"] = "the old one"
    ran = fetch(properties={"pw": reference("db-password", "v1")})
    assert ran.stdout == "11 eno dlo eht\n", ran.stderr


def test_references_are_fetched_at_any_depth_and_each_secret_once(fetch, vault):
    vault.secrets["second"] = "another value"
    properties = {
        "deep": {"list": [reference("db-password"), {"x": reference("second")}]},
        "pw": reference("db-password"),
    }
    code = """
import dray
deep = dray.params.deep["list"]
print(f"{deep[0]}"[::-1], str(deep[1]["x"])[::-1], dray.params.pw.value == deep[0].value, type(deep[0].value).__name__)
"""
    ran = fetch(code, properties)
    assert ran.stdout == "tluav-eht-fo-2retnuh eulav rehtona True Secret\n", ran.stderr
    assert (vault.count(TOKEN_PATH), vault.count("/secrets/db-password"), vault.count("/secrets/second")) == (1, 1, 1)


def test_all_processes_of_a_run_ask_once(fetch, vault):
    code = """
import multiprocessing, os, subprocess, sys
import dray

def use(_):
    import dray
    return len(dray.params.pw.value)

if __name__ == "__main__":
    for method in ("spawn", "fork"):
        with multiprocessing.get_context(method).Pool(3) as pool:
            print(pool.map(use, range(6)))
    child = "import dray; print(len(dray.params.pw.value))"
    subprocess.run([sys.executable, "-c", child], check=True)
    if os.fork() == 0:
        print(use(0))
        os._exit(0)
    os.wait()
"""
    vault.delay_s = 0.1
    ran = fetch(code)
    assert ran.stdout.replace(" ", "") == "[20,20,20,20,20,20]\n" * 2 + "20\n20\n", ran.stderr
    assert (vault.count(TOKEN_PATH), vault.count("/secrets/")) == (1, 1)


def test_a_linked_service_has_its_password_from_the_vault(fetch, vault):
    vault.secrets["odbc"] = "p;w}d"
    service = {
        "type": "Odbc",
        "typeProperties": {
            "connectionString": "Driver={SQLite3};Database=x.db;",
            "userName": "u",
            "password": reference("odbc"),
        },
    }
    code = "import dray\nprint(dray.linked_services['Db'].connection_string[::-1])\n"
    ran = fetch(code, {}, services={**vault.services, "Db": service})
    assert ran.stdout == "Driver={SQLite3};Database=x.db;UID=u;PWD={p;w}}d};"[::-1] + "\n", ran.stderr


def test_a_whole_connection_string_can_lie_in_the_vault(fetch, vault):
    vault.secrets["string"] = "Driver={SQLite3};Database=:memory:;PWD=inner-secret"
    service = {"type": "Odbc", "typeProperties": {"connectionString": reference("string")}}
    code = """
import dray
print(dray.linked_services["Db"].connection_string)
print("inner-secret")
"""
    ran = fetch(code, {}, services={**vault.services, "Db": service})
    assert ran.stdout.splitlines()[1] == "***", ran.stderr
    assert "inner-secret" not in ran.stdout + ran.stderr


def test_arguments_from_the_activity_are_fetched(fetch, vault):
    code = "import sys\nprint([a[::-1] for a in sys.argv[1:]])\n"
    ran = fetch(code, {"pw": reference("db-password"), "n": 5}, {"DRAY_ARGS_FROM_ACTIVITY": "1"})
    assert ran.stdout == "['wp--', 'tluav-eht-fo-2retnuh', 'n--', '5']\n", ran.stderr


def test_a_function_gets_the_value_where_it_wants_text(dray, project, task, vault):
    task.write_activity({"pw": reference("db-password"), "lazy": reference("db-password")}, vault.services)
    code = "def main(pw: str, lazy):\n    print(pw[::-1], type(lazy).__name__)\n"
    path = project({"job.py": code})
    ran = dray("run", path, "job:main", cwd=task.folder, env={**task.env, **vault.env})
    assert ran.stdout == "tluav-eht-fo-2retnuh KeyVaultSecret\n", ran.stderr


def test_the_identity_of_the_variable_is_asked_for(fetch, vault):
    vault.identities = [ONE, OTHER]
    assert fetch(env={"AZURE_CLIENT_ID": OTHER}).returncode == 0
    assert vault.asked[0].query["client_id"] == OTHER


def test_a_service_principal_signs_in(fetch, vault):
    variables = {
        "AZURE_TENANT_ID": "tenant", "AZURE_CLIENT_ID": ONE, "AZURE_CLIENT_SECRET": vault.client_secret,
        "AZURE_AUTHORITY_HOST": vault.url,
    }  # fmt: skip
    ran = fetch(SHOW + "import os; print(os.environ['AZURE_CLIENT_SECRET'])\n", env=variables)
    assert ran.stdout.splitlines() == ["20 tluav-eht-fo-2retnuh", "***"], ran.stderr
    sign_in = vault.asked[0]
    assert (sign_in.method, sign_in.path) == ("POST", "/tenant/oauth2/v2.0/token")
    assert sign_in.form["scope"] == "https://vault.azure.net/.default"
    assert vault.count("/metadata/") == 0


def test_a_proxy_is_never_asked_for_metadata(fetch, vault):
    proxy = {"HTTP_PROXY": "http://127.0.0.1:9", "ALL_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"}
    assert fetch(env=proxy).returncode == 0
    ran = fetch(env={**proxy, "NO_PROXY": "", "DRAY_AZURE_PATIENCE": "0"})
    assert ran.returncode == 118
    assert "token for" not in ran.stderr.splitlines()[-1]
    assert "reading secret" in ran.stderr.splitlines()[-1]


@pytest.mark.parametrize("status", [404, 429, 500, 503])
def test_a_metadata_service_that_is_busy_is_asked_again(fetch, vault, status):
    vault.faults[TOKEN_PATH] = [status, status]
    assert fetch().returncode == 0
    assert vault.count(TOKEN_PATH) == 3


def test_a_metadata_service_that_is_being_updated_is_waited_for(fetch, vault):
    vault.faults[TOKEN_PATH] = [410, 410, 410]
    begun = time.monotonic()
    # Without patience of its own: 410 is waited for up to 70 seconds.
    assert fetch(env={"DRAY_AZURE_PATIENCE": ""}).returncode == 0
    assert time.monotonic() - begun >= 3.5


@pytest.mark.parametrize("status", [429, 500, 502])
def test_a_vault_that_is_busy_is_asked_again(fetch, vault, status):
    vault.faults["/secrets/db-password"] = [(status, {"Retry-After": "1"})]
    begun = time.monotonic()
    assert fetch().returncode == 0
    assert (vault.count("/secrets/"), vault.count(TOKEN_PATH)) == (2, 1)
    assert time.monotonic() - begun >= 1


def test_patience_ends(fetch, task, vault):
    vault.faults["/secrets/db-password"] = [500] * 50
    error = error_of(fetch(env={"DRAY_AZURE_PATIENCE": "1.2"}), task)
    assert error["code"] == "azure.failed"
    assert "failed after 2 tries" in error["message"]
    assert "HTTP 500: Fault: a fault of the test" in error["message"]


@pytest.mark.parametrize("status", [400, 401, 403])
def test_what_does_not_pass_is_asked_once(fetch, task, vault, status):
    vault.faults["/secrets/db-password"] = [status] * 5
    error_of(fetch(), task)
    assert vault.count("/secrets/") == 1


def test_a_slow_vault_is_waited_for(fetch, vault):
    vault.delay_s = 1.5
    assert fetch().returncode == 0


def test_no_identity_is_told(fetch, task, vault):
    vault.identities = []
    error = error_of(fetch(), task)
    assert error["code"] == "azure.no_identity"
    assert error["message"].startswith(
        "no managed identity: this node has none (HTTP 400: invalid_request: Identity not found)"
    )
    assert "assign a user-assigned managed identity to the Batch pool" in error["message"]


def test_an_identity_that_the_node_has_not_is_told_by_its_id(fetch, task, vault):
    error = error_of(fetch(env={"AZURE_CLIENT_ID": OTHER}), task)
    assert (error["code"], OTHER in error["message"]) == ("azure.no_identity", True)


def test_several_identities_are_told(fetch, task, vault):
    vault.identities = [ONE, OTHER]
    error = error_of(fetch(), task)
    assert error["code"] == "azure.several_identities"
    assert "set AZURE_CLIENT_ID" in error["message"]


def test_a_machine_that_is_not_in_azure_is_told(fetch, task):
    nobody = {"AZURE_POD_IDENTITY_AUTHORITY_HOST": "http://127.0.0.1:9", "DRAY_AZURE_PATIENCE": "0"}
    error = error_of(fetch(env=nobody), task)
    assert error["code"] == "azure.no_identity"
    assert "the metadata service at `http://127.0.0.1:9` does not answer" in error["message"]


def test_a_wrong_client_secret_is_told_and_not_shown(fetch, task, vault):
    variables = {
        "AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": ONE, "AZURE_CLIENT_SECRET": "wrong-one", "AZURE_AUTHORITY_HOST": vault.url,
    }  # fmt: skip
    ran = fetch(env=variables)
    error = error_of(ran, task)
    assert error["code"] == "azure.sign_in_refused"
    assert "AADSTS7000215: Invalid client secret provided." in error["message"]
    assert "wrong-one" not in ran.stderr


def test_a_forbidden_secret_is_told_with_who_asked(fetch, task, vault):
    vault.forbidden.add("db-password")
    error = error_of(fetch(), task)
    assert error["code"] == "azure.forbidden"
    assert "is forbidden to the managed identity of this node: HTTP 403: ForbiddenByRbac" in error["message"]
    assert "Key Vault Secrets User" in error["message"]


def test_a_secret_that_is_not_there_is_told(fetch, task, vault):
    error = error_of(fetch(properties={"pw": reference("db-passwrd")}), task)
    assert error["code"] == "azure.not_found"
    assert f"secret `db-passwrd` of Key Vault `{vault.url}` is not there" in error["message"]


def test_a_vault_that_is_not_referenced_is_told_with_what_to_add(fetch, task):
    error = error_of(fetch(properties={"pw": reference("x", store="Other")}), task, exit_code=112)
    assert error["code"] == "activity.vault_not_referenced"
    assert "key vaults among them: `KeyVault1`" in error["message"]
    assert '{"referenceName": "Other", "type": "LinkedServiceReference"}' in error["message"]


def test_a_vault_without_https_is_refused(fetch, task, vault):
    services = {"KeyVault1": {"type": "AzureKeyVault", "typeProperties": {"baseUrl": "http://v.vault.azure.net/"}}}
    error = error_of(fetch(services=services), task)
    assert (error["code"], vault.asked) == ("azure.bad_address", [])


def test_a_script_can_catch_the_error_and_tell_it_by_its_code(fetch, vault):
    vault.identities = []
    code = """
import dray
try:
    dray.params.pw.value
except dray.UnresolvedSecretError as error:
    print(error.code, error.exit_code)
"""
    assert fetch(code).stdout == "azure.no_identity 118\n"


def test_a_signal_comes_through_while_the_vault_is_slow(start, project, task, vault):
    vault.delay_s = 20
    task.write_activity({"pw": reference("db-password")}, vault.services)
    code = "import dray\ntry:\n    dray.params.pw.value\nfinally:\n    print('cleaned up')\n"
    process = start("run", project({"main.py": code}), cwd=task.folder, env={**task.env, **vault.env})
    deadline = time.monotonic() + 10
    while not vault.asked and time.monotonic() < deadline:
        time.sleep(0.02)
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (143, "cleaned up\n"), err
    assert time.monotonic() - begun < 2


@pytest.mark.alone
def test_other_threads_run_while_the_vault_is_slow(fetch, vault):
    vault.delay_s = 0.7
    code = """
import threading, time
import dray
ticks = []
def tick():
    while True:
        ticks.append(time.monotonic())
        time.sleep(0.01)
threading.Thread(target=tick, daemon=True).start()
dray.params.pw.value
print(max(b - a for a, b in zip(ticks, ticks[1:])) < 0.3, len(ticks) > 20)
"""
    assert fetch(code).stdout == "True True\n"


def test_a_reference_is_fetched_outside_of_a_run_of_its_folder_too(fetch, vault):
    code = """
import os, subprocess, sys
environment = {k: v for k, v in os.environ.items() if k != "DRAY_RUN"}
child = "import dray; print(len(dray.params.pw.value), len(dray.params.pw.value))"
subprocess.run([sys.executable, "-c", child], env=environment, check=True)
"""
    assert fetch(code).stdout == "20 20\n"


def test_a_dry_run_fetches_nothing(dray, project, task, vault):
    task.write_activity({"pw": reference("db-password")}, vault.services)
    path = project({"main.py": ""})
    ran = dray("run", "--dry-run", "--args-from-activity", path, cwd=task.folder, env={**task.env, **vault.env})
    assert (ran.returncode, vault.asked) == (0, []), ran.stderr
    assert "(secret `db-password` in Key Vault `KeyVault1`)" in ran.stdout
