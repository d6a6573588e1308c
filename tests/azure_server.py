"""A server on this machine that answers as the metadata service, Entra and a Key Vault are documented to.

Sources: azure-docs, `how-to-use-vm-token.md` and `virtual-machines/linux/scheduled-events.md`; azure-rest-api-specs,
`specification/keyvault/`; the errors of the metadata service as users have reported them.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Optional

import pytest

TOKEN = "eyJ0eXAiOiJKV1QifQ.the-token-of-the-node.c2ln"
PRINCIPAL_TOKEN = "eyJ0eXAiOiJKV1QifQ.the-token-of-the-principal.c2ln"
ONE, OTHER = "11111111-aaaa-4bbb-8ccc-000000000001", "11111111-aaaa-4bbb-8ccc-000000000002"


@dataclass
class Asked:
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    form: dict[str, str]


@dataclass
class Azure:
    """What the server has, and what it was asked. `faults[path]` are answers that come before the good one, each a
    status or a status with headers.
    """

    url: str = ""
    identities: list[str] = field(default_factory=lambda: [ONE])
    token: str = TOKEN
    secrets: dict[str, Any] = field(default_factory=dict)
    forbidden: set[str] = field(default_factory=set)
    faults: dict[str, list[Any]] = field(default_factory=dict)
    delay_s: float = 0
    asked: list[Asked] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    machine: str = "pool-scale-set_3"
    client_secret: str = "s3cret-of-the-principal"

    def count(self, path: str) -> int:
        """How many requests began with this path."""
        return sum(asked.path.startswith(path) for asked in self.asked)

    @property
    def env(self) -> dict[str, str]:
        """The variables that lead dray here."""
        return {"AZURE_POD_IDENTITY_AUTHORITY_HOST": self.url, "DRAY_AZURE_PATIENCE": "10"}

    @property
    def services(self) -> dict[str, Any]:
        """The linked service of the vault, and nothing else."""
        return {"KeyVault1": {"type": "AzureKeyVault", "typeProperties": {"baseUrl": f"{self.url}/"}}}


def reference(name: str, version: Optional[str] = None, store: str = "KeyVault1") -> dict[str, Any]:
    """A reference to a secret, as ADF writes it."""
    made = {
        "type": "AzureKeyVaultSecret",
        "store": {"type": "LinkedServiceReference", "referenceName": store},
        "secretName": name,
    }
    return made if version is None else {**made, "secretVersion": version}


TOKEN_PATH = "/metadata/identity/oauth2/token"
EVENTS_PATH = "/metadata/scheduledevents"


def answer(azure: Azure, asked: Asked) -> tuple[int, Any]:
    """The documented answer."""
    path, query = asked.path, asked.query
    if path.startswith("/metadata/"):
        if asked.headers.get("metadata") != "true" or "x-forwarded-for" in asked.headers or "api-version" not in query:
            return 400, {"error": "Bad request. Required metadata header not specified"}
        if path == TOKEN_PATH:
            return metadata_token(azure, query)
        if path == EVENTS_PATH:
            return 200, {"DocumentIncarnation": len(azure.events), "Events": azure.events}
        if path == "/metadata/instance/compute":
            return 200, {"name": azure.machine, "location": "westeurope", "vmScaleSetName": "pool-scale-set"}
    if path.endswith("/oauth2/v2.0/token") and asked.method == "POST":
        if asked.form.get("client_secret") != azure.client_secret:
            words = "AADSTS7000215: Invalid client secret provided.\r\nTrace ID: 1\r\nTimestamp: 2"
            return 401, {"error": "invalid_client", "error_description": words}
        return 200, {"token_type": "Bearer", "expires_in": 3599, "access_token": PRINCIPAL_TOKEN}
    if path.startswith("/secrets/"):
        return vault_secret(azure, asked)
    return 404, {}


def metadata_token(azure: Azure, query: dict[str, str]) -> tuple[int, Any]:
    """As the metadata service answers with no, one or several identities."""
    wanted = query.get("client_id")
    if not azure.identities or (wanted is not None and wanted not in azure.identities):
        return 400, {"error": "invalid_request", "error_description": "Identity not found"}
    if wanted is None and len(azure.identities) > 1:
        words = (
            "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the "
            "token request"
        )
        return 400, {"error": "invalid_request", "error_description": words}
    return 200, {
        "access_token": azure.token, "client_id": wanted or azure.identities[0], "expires_in": "86399",
        "expires_on": str(int(time.time()) + 86399), "ext_expires_in": "86399", "not_before": "1699910000",
        "resource": query["resource"], "token_type": "Bearer",
    }  # fmt: skip


def vault_secret(azure: Azure, asked: Asked) -> tuple[int, Any]:
    """As Key Vault answers."""
    if asked.headers.get("authorization") not in (f"Bearer {azure.token}", f"Bearer {PRINCIPAL_TOKEN}"):
        return 401, {
            "error": {"code": "Unauthorized", "message": "AKV10000: Request is missing a Bearer or PoP token."}
        }
    _, _, name, *version = asked.path.split("/")
    if name in azure.forbidden:
        words = "Caller is not authorized to perform action on resource."
        return 403, {"error": {"code": "Forbidden", "message": words, "innererror": {"code": "ForbiddenByRbac"}}}
    key = "/".join([name, *version])
    if key not in azure.secrets:
        words = f"A secret with (name/id) {name} was not found in this key vault."
        return 404, {"error": {"code": "SecretNotFound", "message": words}}
    identifier = f"https://v.vault.azure.net/secrets/{name}/1"
    return 200, {"value": azure.secrets[key], "id": identifier, "attributes": {"enabled": True}}


@pytest.fixture
def azure() -> Iterator[Azure]:
    """The server, for one test."""
    state = Azure()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def respond(self) -> None:
            split = urllib.parse.urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            asked = Asked(
                self.command,
                split.path,
                dict(urllib.parse.parse_qsl(split.query)),
                {name.lower(): value for name, value in self.headers.items()},
                dict(urllib.parse.parse_qsl(body)),
            )
            state.asked.append(asked)
            time.sleep(state.delay_s)
            headers: dict[str, str] = {}
            if state.faults.get(split.path):
                fault = state.faults[split.path].pop(0)
                status, headers = fault if isinstance(fault, tuple) else (fault, {})
                document: Any = {"error": {"code": "Fault", "message": "a fault of the test"}}
            else:
                status, document = answer(state, asked)
            content = json.dumps(document).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = respond  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            """Keeps quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
