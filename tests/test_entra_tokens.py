"""Signing in to databases by tokens of Microsoft Entra that dray fetches: a real PostgreSQL whose user has the token for a
password, and the first words of Microsoft's driver, against a local server that gives tokens as documented.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from azure_server import ONE, OTHER, PRINCIPAL_TOKEN, TOKEN_PATH, Azure
from conftest import Script, Task
from databases import Databases, connect_postgresql, microsoft_driver
from test_connection_names import database_of, keys, url

# As long as real ones are.
LONG_TOKEN = "eyJ0eXAiOiJKV1QifQ." + "aB3_" * 450 + ".c2ln"

PRINCIPAL = {
    "servicePrincipalId": "app-id",
    "servicePrincipalKey": {"type": "SecureString", "value": "s3cret-of-the-principal"},
    "tenant": "tenant-id",
}

COPY = """
import dray, json
with dray.connect("Db") as connection:
    print(connection.query("SELECT current_user AS name")[0]["name"])
table = dray.copy_table("Db", "Target", "t")
print(table.rows, table.read_lane)
text = dray.linked_services["Db"].connection_string
print(text)
"""


def statements(database: str, *texts: str) -> None:
    """Runs them as the server's owner."""
    with connect_postgresql(database) as admin:
        admin.autocommit = True
        for text in texts:
            admin.execute(text)


@pytest.fixture
def source(databases: Databases) -> Iterator[Any]:
    """`source(token)` gives the keys of a database, one of whose users has the token for a password."""
    with contextlib.ExitStack() as after:

        def make(token: str) -> dict[str, Any]:
            database = databases("postgresql")
            database.fill("t", {"id": "INTEGER"}, [(1,), (2,)])
            name = database_of(database)
            user = f"entra-{name}"  # roles are the server's, which other tests use at the same time
            statements(name, f"CREATE ROLE \"{user}\" LOGIN PASSWORD '{token}'", f'GRANT SELECT ON t TO "{user}"')
            after.callback(statements, name, f'DROP OWNED BY "{user}"', f'DROP ROLE "{user}"')
            # The private server has no TLS, which a token asks for where nothing is said.
            made = keys(database, username=user, sslMode=0)
            del made["password"]
            return made

        yield make


@pytest.mark.parametrize(
    ("authentication", "env", "identity"),
    [
        ({"authenticationType": "SystemAssignedManagedIdentity"}, {}, None),
        ({"credential": {"referenceName": "c", "type": "CredentialReference"}}, {"AZURE_CLIENT_ID": OTHER}, OTHER),
    ],
    ids=["system-assigned", "user-assigned"],
)
def test_a_managed_identity_signs_in_to_postgresql_by_a_token(
    script: Script, source: Any, databases: Databases, azure: Azure, authentication: Any, env: Any, identity: Any
) -> None:
    azure.token, azure.identities = LONG_TOKEN, [ONE] if identity is None else [ONE, OTHER]
    place = source(LONG_TOKEN)
    services = {
        "Db": {"type": "AzurePostgreSql", "typeProperties": {**place, **authentication}},
        "Target": databases("sqlite").odbc,
    }
    secret = {"pw": {"type": "SecureString", "value": "another-secret"}}
    ran = script(COPY, services=services, parameters=secret, env={**azure.env, **env})
    assert ran.returncode == 0, ran.stderr
    user, copied, text = ran.stdout.splitlines()
    assert (user, copied) == (place["username"], "2 copy")
    assert "PWD=***" in text
    assert LONG_TOKEN not in ran.stdout + ran.stderr
    (token,) = azure.asked
    assert token.query["resource"] == "https://ossrdbms-aad.database.windows.net"
    assert token.query.get("client_id") == identity


def test_a_service_principal_signs_in_to_postgresql_by_a_token(
    script: Script, source: Any, databases: Databases, azure: Azure
) -> None:
    place = source(PRINCIPAL_TOKEN)
    service = {"type": "AzurePostgreSql", "typeProperties": {**place, **PRINCIPAL}}
    env = {**azure.env, "AZURE_AUTHORITY_HOST": azure.url}
    ran = script(COPY, services={"Db": service, "Target": databases("sqlite").odbc}, env=env)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[:2] == [place["username"], "2 copy"]
    (token,) = azure.asked
    assert token.path == "/tenant-id/oauth2/v2.0/token"
    assert token.form["client_id"] == "app-id"
    assert token.form["scope"] == "https://ossrdbms-aad.database.windows.net/.default"


def test_a_url_takes_the_token_of_whom_the_environment_names(
    script: Script, source: Any, databases: Databases, azure: Azure
) -> None:
    place = source(PRINCIPAL_TOKEN)
    address = f"postgresql://{place['username']}@{place['server']}:{place['port']}/{place['database']}?sslmode=disable"
    env = {
        **azure.env, "AZURE_AUTHORITY_HOST": azure.url, "AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "app",
        "AZURE_CLIENT_SECRET": "s3cret-of-the-principal", "DRAY_CONNECTION_DB": f"{address}&authentication=ActiveDirectoryDefault",
        "DRAY_CONNECTION_TARGET": url(databases("sqlite")),
    }  # fmt: skip
    ran = script(COPY.split("text =")[0], env=env)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == [place["username"], "2 copy"]
    assert azure.count(TOKEN_PATH) == 0


def test_a_token_asks_for_tls_where_nothing_is_said(script: Script, source: Any, task: Task, azure: Azure) -> None:
    place = source(azure.token)
    del place["sslMode"]
    service = {
        "type": "AzurePostgreSql",
        "typeProperties": {**place, "authenticationType": "SystemAssignedManagedIdentity"},
    }
    ran = script("import dray\ndray.connect('Db')", services={"Db": service}, env=azure.env)
    assert ran.returncode == 114, ran.stderr
    assert "SSL" in task.outputs()["dray"]["error"]["message"]


def test_an_identity_that_is_not_there_is_told_as_for_a_vault(
    script: Script, source: Any, task: Task, azure: Azure
) -> None:
    azure.identities = []
    place = {**source(azure.token), "authenticationType": "UserAssignedManagedIdentity"}
    services = {"Db": {"type": "AzurePostgreSql", "typeProperties": place}}
    ran = script("import dray\ndray.connect('Db')", services=services, env=azure.env)
    assert ran.returncode == 118, ran.stderr
    assert task.outputs()["dray"]["error"]["code"] == "azure.no_identity"


@pytest.mark.parametrize(
    ("server", "audience"),
    [
        ("tcp:s.database.windows.net,1433", "https://database.windows.net/"),
        ("s.database.chinacloudapi.cn", "https://database.chinacloudapi.cn/"),
        ("10.0.0.4\\instance", "https://database.windows.net/"),
    ],
)
@pytest.mark.parametrize("form", ["ado.net", "odbc", "keys"])
def test_sql_server_takes_a_token_for_its_cloud(
    script: Script, azure: Azure, form: str, server: str, audience: str
) -> None:
    text = f"Server={server};Database=d;Authentication=Active Directory Default"
    services = {
        "ado.net": {"type": "AzureSqlDatabase", "typeProperties": {"connectionString": text}},
        "odbc": {
            "type": "Odbc",
            "typeProperties": {"connectionString": f"Driver={{ODBC Driver 18 for SQL Server}};{text}"},
        },
        "keys": {
            "type": "AzureSqlDatabase",
            "typeProperties": {"server": server, "database": "d", "authenticationType": "ActiveDirectoryDefault"},
        },
    }
    env = {**azure.env, "DRAY_ODBC_DRIVERS": f"ODBC Driver 18 for SQL Server={microsoft_driver()}"}
    code = "import dray\nprint(dray.linked_services['Db'].connection_string[::-1])"
    ran = script(code, services={"Db": services[form]}, env=env)
    assert ran.returncode == 0, ran.stderr
    found = ran.stdout.strip()[::-1]
    assert f"AccessToken={azure.token};" in found
    assert "Authentication" not in found and "UID" not in found
    (token,) = azure.asked
    assert token.query["resource"] == audience


def test_a_token_reaches_microsofts_driver(script: Script, azure: Azure) -> None:
    """Its first packet says that the login will be federated (FEDAUTHREQUIRED, MS-TDS 2.2.6.5) with a token alone."""
    options: list[dict[int, bytes]] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        data = connection.recv(4096)[8:]
                        found, place = {}, 0
                        while data[place] != 0xFF:
                            option, start, length = struct.unpack(">BHH", data[place : place + 5])
                            found[option] = data[start : start + length]
                            place += 5
                        options.append(found)

        threading.Thread(target=serve, daemon=True).start()
        place = (
            f"Driver={{ODBC Driver 18 for SQL Server}};Server=127.0.0.1,{listener.getsockname()[1]};ConnectRetryCount=0"
        )
        env = {**azure.env, "DRAY_ODBC_DRIVERS": f"ODBC Driver 18 for SQL Server={microsoft_driver()}"}
        for way in ("Authentication=ActiveDirectoryDefault", "UID=u;PWD=p"):
            ran = script(f"import dray\ndray.connect({json.dumps(f'{place};{way}')})", env=env)
            assert ran.returncode == 114, ran.stderr
            assert azure.token not in ran.stderr
    assert 6 in options[0]
    assert 6 not in options[-1]


def test_freetds_is_not_given_a_token(script: Script, task: Task, azure: Azure) -> None:
    text = "Driver=FreeTDS;Server=127.0.0.1;Port=9;Authentication=ActiveDirectoryDefault"
    ran = script(f"import dray\ndray.connect({text!r})", env=azure.env)
    assert ran.returncode == 114, ran.stderr
    assert "FreeTDS takes no `AccessToken`" in task.outputs()["dray"]["error"]["message"]
    assert azure.token not in ran.stderr
