"""Names, URLs and linked services as connections: each way opens a real database, and says what is wrong when it cannot."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, Optional
from urllib.parse import quote

import pytest
from conftest import Dray, Script, Task
from databases import PRODUCTS, Database, Databases, part

SERVERS = ("postgresql", "mariadb")

# Prints the rows of `t` by the connection that the argument names.
ROWS = """
import dray, sys
with dray.connect(sys.argv[1]) as connection:
    print([row["id"] for row in connection.query("SELECT id FROM t ORDER BY id")])
"""


@pytest.fixture
def filled(databases: Databases) -> Callable[[str], Database]:
    """`filled("mariadb")` makes a database with a table `t` of the ids 1 and 2."""

    def make(product: str) -> Database:
        database = databases(product)
        database.fill("t", {"id": "INTEGER"}, [(1,), (2,)])
        return database

    return make


def database_of(database: Database) -> str:
    """The database's name on its server, or its file."""
    return dict(pair.split("=", 1) for pair in database.odbc.split(";"))["Database"]


def url(database: Database, user: Optional[str] = None, password: Optional[str] = None, query: str = "") -> str:
    """The URL of a database."""
    if database.product == "sqlite":
        return f"sqlite:///{quote(database_of(database))}"
    name = database.product.upper()
    user = user or part(f"{name}_USER")
    password = quote(password or part(f"{name}_PASSWORD"), safe="")
    place = f"{part(f'{name}_HOST')}:{part(f'{name}_PORT')}/{database_of(database)}"
    return f"{database.product}://{user}:{password}@{place}{query}"


def keys(database: Database, **more: Any) -> dict[str, Any]:
    """The keys that the newer types of linked services have for a server."""
    name = database.product.upper()
    return {
        "server": part(f"{name}_HOST"),
        "port": int(part(f"{name}_PORT")),
        "database": database_of(database),
        "username": part(f"{name}_USER"),
        "password": {"type": "SecureString", "value": part(f"{name}_PASSWORD")},
        **more,
    }


def legacy(database: Database, template: str) -> dict[str, Any]:
    """A linked service's older form: a connection string, and the password beside it."""
    name = database.product.upper()
    text = template.format(
        host=part(f"{name}_HOST"),
        port=part(f"{name}_PORT"),
        database=database_of(database),
        user=part(f"{name}_USER"),
    )
    return {"connectionString": text, "password": {"type": "SecureString", "value": part(f"{name}_PASSWORD")}}


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_url_opens_a_connection(filled: Callable[[str], Database], script: Script, product: str) -> None:
    done = script(ROWS, url(filled(product)))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[1, 2]\n"


@pytest.mark.parametrize("product", SERVERS)
def test_an_unusual_password_in_a_url_is_decoded(databases: Databases, script: Script, product: str) -> None:
    name = product.upper()
    code = "import dray, sys\nwith dray.connect(sys.argv[1]) as c:\n    print(c.query('SELECT 1 AS one'))"
    text = url(databases(product), part(f"{name}_ODD_USER"), part(f"{name}_ODD_PASSWORD"))
    # That user may enter the server's own database alone.
    text = text.rpartition("/")[0] + "/" + part(f"{name}_DATABASE")
    done = script(code, text)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[{'one': 1}]\n"


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_variable_gives_a_connection_to_a_name(
    filled: Callable[[str], Database], script: Script, product: str
) -> None:
    done = script(ROWS, "sales-Db", env={"DRAY_CONNECTION_SALES_DB": url(filled(product))})
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[1, 2]\n"


@pytest.mark.parametrize("product", PRODUCTS)
def test_the_project_gives_a_connection_to_a_name_with_its_password_in_a_variable(
    filled: Callable[[str], Database], dray: Dray, project: Callable[..., Path], task: Task, product: str
) -> None:
    database = filled(product)
    password = "none" if product == "sqlite" else part(f"{product.upper()}_PASSWORD")
    text = url(database).replace(f":{password}@", ":${DB_PASSWORD}@")
    pyproject = f"[tool.dray.connections]\nWarehouse = {json.dumps(text)}\n"
    path = project({"main.py": ROWS, "pyproject.toml": pyproject})
    done = dray("run", path, "main.py", "warehouse", cwd=task.folder, env={**task.env, "DB_PASSWORD": password})
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[1, 2]\n"


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_data_source_is_a_connection_by_its_name(
    filled: Callable[[str], Database], script: Script, tmp_path: Path, product: str
) -> None:
    lines = [pair.partition("=") for pair in filled(product).odbc.split(";")]
    text = "\n".join(f"{key}={value.strip('{}')}" for key, _, value in lines)
    (tmp_path / "odbc.ini").write_text(f"[Warehouse]\n{text}\n", "utf-8")
    done = script(ROWS, "Warehouse", env={"ODBCINI": str(tmp_path / "odbc.ini")})
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[1, 2]\n"


@pytest.mark.parametrize(
    ("product", "type_name", "template"),
    [
        ("postgresql", "PostgreSqlV2", ""),
        ("postgresql", "AzurePostgreSql", ""),
        ("postgresql", "PostgreSql", "host={host};database={database};port={port};uid={user};EncryptionMethod=0"),
        (
            "postgresql",
            "AzurePostgreSql",
            "Server={host};Database={database};Port={port};User Id={user};SSL Mode=Prefer",
        ),
        ("mariadb", "MySql", ""),
        ("mariadb", "MariaDB", ""),
        ("mariadb", "AzureMySql", "Server={host};Port={port};Database={database};UID={user};SSLMode=0"),
        ("mariadb", "MariaDB", "Server={host};Port={port};Database={database};UID={user};SSLMode=1"),
    ],
)
def test_a_linked_service_opens_a_connection_and_is_copied_from(
    filled: Callable[[str], Database],
    databases: Databases,
    script: Script,
    product: str,
    type_name: str,
    template: str,
) -> None:
    source, target = filled(product), databases("sqlite")
    optional = {"postgresql": 2, "mariadb": 1}[product]
    properties = legacy(source, template) if template else keys(source, sslMode=optional)
    code = ROWS + "print(dray.copy_table('Db', sys.argv[2], 't').rows)"
    done = script(code, "Db", url(target), services={"Db": {"type": type_name, "typeProperties": properties}})
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[1, 2]\n2\n"
    assert sorted(target.query("SELECT id FROM t")) == [(1,), (2,)]
    password = part(f"{product.upper()}_PASSWORD")
    assert password not in done.stderr


def test_the_schema_of_a_linked_service_is_where_names_are_looked_up(databases: Databases, script: Script) -> None:
    database = databases("postgresql")
    database.execute('CREATE SCHEMA "it\'s"')
    database.execute('CREATE TABLE "it\'s".t AS SELECT 7 AS id')
    properties = keys(database, sslMode=0, schema='"it\'s"')
    done = script(ROWS, "Db", services={"Db": {"type": "PostgreSqlV2", "typeProperties": properties}})
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[7]\n"


@pytest.mark.parametrize("mode", ["require", "verify-full"])
@pytest.mark.parametrize("product", SERVERS)
def test_a_connection_that_must_be_encrypted_is_refused_by_a_server_without_tls(
    databases: Databases, script: Script, task: Task, product: str, mode: str
) -> None:
    code = "import dray, sys\ndray.connect(sys.argv[1])"
    done = script(code, url(databases(product), query=f"?sslmode={mode}"))
    assert done.returncode == 114, done.stdout + done.stderr
    assert task.outputs()["dray"]["error"]["type"] == "dray.ConnectError"
    assert "TLS" in done.stderr.splitlines()[-1] or "SSL" in done.stderr.splitlines()[-1]


def test_a_dataset_names_a_table_and_its_connection(
    databases: Databases, dray: Dray, project: Callable[..., Path], task: Task
) -> None:
    source, target = databases("postgresql"), databases("sqlite")
    source.execute("CREATE SCHEMA sales")
    source.execute("CREATE TABLE sales.y2021 AS SELECT 5 AS id")
    parameters = {"Database": {"type": "String"}}
    service = {**keys(source, sslMode=0), "database": "@{linkedService().Database}"}
    task.write_activity(
        linked_services={"Db": {"type": "PostgreSqlV2", "parameters": parameters, "typeProperties": service}},
        datasets={
            "Orders": {
                "type": "PostgreSqlV2Table",
                "parameters": {"Year": {"type": "Int", "defaultValue": 2021}},
                "linkedServiceName": {"referenceName": "Db", "parameters": {"Database": database_of(source)}},
                "typeProperties": {"schema": "sales", "table": {"type": "Expression", "value": "y@{dataset().Year}"}},
            }
        },
    )
    code = """
import dray, sys
orders = dray.datasets["Orders"]
print(orders.table, orders.linked_service_name)
print(dray.copy_tables([dray.Copy("Orders", orders.table)], target=sys.argv[1]).rows)
"""
    done = dray("run", project({"main.py": code}), "main.py", url(target), cwd=task.folder, env=task.env)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "sales.y2021 Db\n1\n"
    assert target.query("SELECT id FROM y2021") == [(5,)]


def test_the_variable_wins_over_the_linked_service_and_that_over_the_project(
    databases: Databases, dray: Dray, project: Callable[..., Path], task: Task
) -> None:
    made = {}
    for place in ("variable", "linked service", "project"):
        made[place] = databases("sqlite")
        made[place].fill("t", {"id": "VARCHAR(20)"}, [(place,)])
    pyproject = f"[tool.dray.connections]\nDb = {json.dumps(url(made['project']))}\n"
    path = project({"main.py": ROWS, "pyproject.toml": pyproject})
    services = {"Db": made["linked service"].odbc}

    def rows(**env: str) -> str:
        done = dray("run", path, "main.py", "Db", cwd=task.folder, env={**task.env, **env})
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    task.write_activity(linked_services=services)
    assert rows(DRAY_CONNECTION_DB=url(made["variable"])) == "['variable']"
    assert rows() == "['linked service']"
    task.write_activity()
    assert rows() == "['project']"


def test_children_of_the_script_find_the_project_too(
    filled: Callable[[str], Database], dray: Dray, project: Callable[..., Path], task: Task
) -> None:
    pyproject = f"[tool.dray.connections]\nDb = {json.dumps(url(filled('sqlite')))}\n"
    code = "import os, subprocess, sys\nsys.exit(subprocess.call([sys.executable, os.path.abspath('rows.py'), 'Db'], cwd='/'))"
    path = project({"main.py": code, "rows.py": ROWS, "pyproject.toml": pyproject})
    done = dray("run", path, "main.py", cwd=task.folder, env=task.env)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[1, 2]\n"


def test_an_unknown_name_is_an_error_that_says_where_it_was_looked_for(script: Script, task: Task) -> None:
    done = script("import dray\ndray.connect('SalesDB')", services={"SalesDb1": "DSN=x"})
    assert done.returncode == 112, done.stderr
    error = task.outputs()["dray"]["error"]
    assert (error["type"], error["code"]) == ("dray.ActivityError", "connection.unknown_name")
    for said in ("`SalesDB`", "`SalesDb1`", "`DRAY_CONNECTION_SALESDB`", "tool.dray.connections"):
        assert said in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("properties", "code", "exit_code"),
    [
        ({"type": "Oracle", "typeProperties": {"server": "s"}}, "activity.unsupported_type", 112),
        (
            {
                "type": "SqlServer",
                "connectVia": {"referenceName": "shir", "type": "IntegrationRuntimeReference"},
                "typeProperties": {
                    "server": "h\\i",
                    "authenticationType": "Windows",
                    "userName": "D\\u",
                    "encryptedCredential": "x",
                },
            },
            "activity.password_kept_back",
            112,
        ),
        (
            {"type": "PostgreSqlV2", "typeProperties": {"server": "@{concat('a', 'b')}"}},
            "activity.unevaluated_expression",
            112,
        ),
        (
            {"type": "AzurePostgreSql", "typeProperties": {"server": "s", "servicePrincipalId": "i"}},
            "activity.missing_key",
            112,
        ),
        (
            {"type": "AzureSqlDatabase", "typeProperties": {"server": "s", "userName": "u", "password": "p"}},
            "connection.driver_unfit",
            114,
        ),
    ],
)
def test_a_linked_service_that_makes_no_connection_has_an_error_of_its_own(
    script: Script, task: Task, properties: dict[str, Any], code: str, exit_code: int
) -> None:
    done = script("import dray\ndray.connect('Db')", services={"Db": properties})
    assert done.returncode == exit_code, done.stderr
    assert task.outputs()["dray"]["error"]["code"] == code, done.stderr


@pytest.mark.parametrize("call", ["dray.connect(url)", "dray.copy_table(url, 'sqlite://', 't')"])
def test_a_password_in_a_url_is_masked_wherever_the_connection_fails(script: Script, task: Task, call: str) -> None:
    code = f"""
        import dray, sys
        url = "postgresql://u:hunter2%40secret@127.0.0.1:9/d"
        {call}
    """
    done = script(code)
    assert done.returncode == 114, done.stderr
    outputs = (task.folder / "outputs.json").read_text("utf-8")
    for shown in (done.stderr, outputs):
        assert "hunter2" not in shown


@pytest.mark.parametrize("text", ["postgresql://u:hunter2@h:port/d", "oracle://u:hunter2@h/d", "PWD=hunter2;Driver={x"])
def test_a_password_in_a_malformed_text_is_masked_in_the_traceback(script: Script, task: Task, text: str) -> None:
    done = script(f"import dray\ndray.connect({text!r})")
    assert done.returncode == 114, done.stderr
    outputs = (task.folder / "outputs.json").read_text("utf-8")
    assert "dray.connect(" in outputs
    assert "hunter2" not in done.stderr + outputs


def test_a_password_of_a_variable_or_of_the_project_is_masked_though_it_is_never_used(
    dray: Dray, project: Callable[..., Path], task: Task
) -> None:
    code = """
import logging, os
text = os.environ["DRAY_CONNECTION_A"] + open("pyproject.toml").read()
logging.warning("connections: %s", text)
raise ValueError(text)
"""
    pyproject = "[tool.dray.connections]\nB = 'postgresql://u:tiger-77@h/d'\n"
    path = project({"main.py": code, "pyproject.toml": pyproject})
    env = {**task.env, "DRAY_CONNECTION_A": "Driver=x;PWD=hunter-22"}
    done = dray("run", path, "main.py", cwd=task.folder, env=env)
    assert done.returncode == 1, done.stderr
    outputs = (task.folder / "outputs.json").read_text("utf-8")
    for shown in (done.stderr, outputs):
        assert "hunter-22" not in shown
        assert "tiger-77" not in shown
        assert "***" in shown


class HangingUp:
    """A server that ends each connection at once: a driver gives that up sooner than one that is not there."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.reached = threading.Event()


@pytest.fixture
def hanging_up() -> Iterator[HangingUp]:
    """Such a server."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = HangingUp(listening.getsockname()[1])

        def serve() -> None:
            with contextlib.suppress(OSError):  # closed at the end of the test
                while True:
                    listening.accept()[0].close()
                    server.reached.set()

        threading.Thread(target=serve, daemon=True).start()
        yield server
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("type_name", "more"),
    [
        (
            "AzureSqlDatabase",
            {"authenticationType": "SQL", "userName": "u", "password": {"type": "SecureString", "value": "p;w}{=%+"}},
        ),
        ("AzureSqlMI", {"authenticationType": "SystemAssignedManagedIdentity"}),
        ("AzureSqlDW", {"servicePrincipalId": "i", "servicePrincipalKey": {"type": "SecureString", "value": "k}"}}),
        ("SqlServer", {"authenticationType": "Windows", "hostNameInCertificate": "x", "applicationIntent": "ReadOnly"}),
    ],
)
def test_microsofts_driver_reads_the_string_of_a_linked_service_and_looks_for_its_server(
    script: Script, task: Task, hanging_up: HangingUp, type_name: str, more: dict[str, Any]
) -> None:
    # A value that the driver does not know would be refused before it looks for a server.
    found = importlib.util.find_spec("mssql_python_odbc")
    if found is None or found.origin is None:
        pytest.skip("the package `mssql-python-odbc` is not installed: see tests/requirements.txt")
    code = """
        import sys
        sys.path.append(sys.argv[1])
        import dray
        dray.connect("Db")
    """
    place = {"server": f"tcp:127.0.0.1,{hanging_up.port}", "database": "d", "encrypt": "mandatory"}
    properties = {"type": type_name, "typeProperties": {**place, "trustServerCertificate": False, **more}}
    done = script(code, str(Path(found.origin).parent.parent), services={"Db": properties})
    assert done.returncode == 114, done.stderr
    error = task.outputs()["dray"]["error"]
    assert error["code"] == "odbc.connect_failed", error
    assert "connection string attribute" not in error["message"], error
    assert hanging_up.reached.is_set()


def test_freetds_takes_a_windows_account_by_its_password(script: Script, task: Task, hanging_up: HangingUp) -> None:
    properties = {
        "type": "SqlServer",
        "typeProperties": {
            "server": f"tcp:127.0.0.1,{hanging_up.port}",
            "database": "d",
            "encrypt": "optional",
            "authenticationType": "Windows",
            "userName": "DOMAIN\\u",
            "password": {"type": "SecureString", "value": "p;w}"},
        },
    }
    done = script("import dray\ndray.connect('Db')", services={"Db": properties})
    assert done.returncode == 114, done.stderr
    error = task.outputs()["dray"]["error"]
    assert error["code"] == "odbc.connect_failed", error
    assert hanging_up.reached.is_set(), "it did not look for the server"
