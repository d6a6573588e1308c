"""SQL Server's drivers without a server: Microsoft's and FreeTDS load, and say what helps where a login fails."""

from __future__ import annotations

import contextlib
import importlib.util
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest
from conftest import Script

CERTIFICATE = Path(__file__).parent / "fixtures" / "self_signed.pem"

CONNECT = """
    import sys
    import dray
    sys.path.append({packages!r})
    dray.connect(sys.argv[1])
"""

# TDS: the kinds of packets, and what a server answers to the question whether it encrypts.
REPLY, PRELOGIN = 0x04, 0x12
ENCRYPTION_ON, ENCRYPTION_NOT_SUPPORTED = 1, 2


def packet(kind: int, payload: bytes) -> bytes:
    """A packet that is a message of its own."""
    return struct.pack(">BBHHBB", kind, 1, len(payload) + 8, 0, 1, 0) + payload


def read_exactly(peer: socket.socket, size: int) -> bytes:
    """So many bytes, or fewer if the other side is gone."""
    read = b""
    while len(read) < size and (more := peer.recv(size - len(read))):
        read += more
    return read


def read_packet(peer: socket.socket) -> bytes:
    """The payload of the next packet; nothing if the other side is gone."""
    header = read_exactly(peer, 8)
    return read_exactly(peer, struct.unpack(">H", header[2:4])[0] - 8) if len(header) == 8 else b""


def answer_prelogin(peer: socket.socket, encryption: int) -> None:
    """The first exchange: a server of version 16 that answers `encryption`."""
    read_packet(peer)
    values = [(0, b"\x10\x00\x10\x00\x00\x00"), (1, bytes([encryption])), (2, b"\0"), (3, b""), (4, b"\0")]
    offset, options, data = 5 * len(values) + 1, b"", b""
    for token, value in values:
        options += struct.pack(">BHH", token, offset + len(data), len(value))
        data += value
    peer.sendall(packet(REPLY, options + b"\xff" + data))


def hang_up(peer: socket.socket) -> None:
    """Nothing is said at all."""


def talk_http(peer: socket.socket) -> None:
    """A server of another kind."""
    peer.recv(4096)
    peer.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def without_tls(peer: socket.socket) -> None:
    """A server that does not encrypt."""
    answer_prelogin(peer, ENCRYPTION_NOT_SUPPORTED)
    read_packet(peer)


def with_own_certificate(peer: socket.socket) -> None:
    """A server whose certificate nobody has signed; the handshake goes in packets of its own."""
    answer_prelogin(peer, ENCRYPTION_ON)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(received, sent, server_side=True)
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            peer.sendall(packet(PRELOGIN, data) if (data := sent.read()) else b"")
            payload = read_packet(peer)
            if not payload:
                return
            received.write(payload)
        except ssl.SSLError:
            return  # the driver does not like the certificate


@contextlib.contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port where each caller is served so, and then left."""

    def accept() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer, contextlib.suppress(OSError):
                peer.settimeout(20)
                serve(peer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(30)


@pytest.fixture
def closed_port() -> int:
    """A port where nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def packages() -> str:
    """Where the package with Microsoft's driver lies."""
    found = importlib.util.find_spec("mssql_python_odbc")
    assert found is not None
    assert found.origin is not None
    return str(Path(found.origin).parent.parent)


def microsoft(port: int, more: str = "") -> str:
    """A connection string for Microsoft's driver."""
    return f"Driver={{ODBC Driver 18 for SQL Server}};Server=127.0.0.1,{port};Database=d;UID=u;PWD=hunter2;{more}"


def freetds(port: int, more: str = "") -> str:
    """A connection string for FreeTDS."""
    return f"Driver=FreeTDS;Server=127.0.0.1;Port={port};Database=d;UID=u;PWD=hunter2;{more}"


def ado_net(port: int, more: str = "") -> str:
    """A connection string of ADO.NET, for whichever driver is the best."""
    return f"Data Source=tcp:127.0.0.1,{port};Initial Catalog=d;User ID=u;Password='hunter2';{more}"


def refused(script: Script, connection: str) -> str:
    """What a script says whose connection is refused; never its password."""
    ran = script(CONNECT.format(packages=packages()), connection)
    assert ran.returncode == 114, ran.stderr
    assert "hunter2" not in ran.stderr
    return ran.stderr


def test_a_port_where_nothing_listens_is_said_to_be_one(script: Script, closed_port: int) -> None:
    # FreeTDS alone: Microsoft's driver knocks again and again until its 30 seconds are over.
    said = refused(script, freetds(closed_port))
    assert "cannot connect" in said
    assert "08S01" in said


@pytest.mark.parametrize("serve", [hang_up, talk_http])
@pytest.mark.parametrize("written", [microsoft, freetds, ado_net])
def test_a_listener_that_is_no_sql_server_is_an_error_and_no_wait(
    script: Script, written: Callable[[int], str], serve: Callable[[socket.socket], None]
) -> None:
    with listening(serve) as port:
        assert "cannot connect" in refused(script, written(port))


def test_a_server_without_tls_is_refused_with_what_goes_without(script: Script) -> None:
    with listening(without_tls) as port:
        said = refused(script, microsoft(port))
    assert "Encrypt=no" in said


@pytest.mark.parametrize("written", [microsoft, ado_net])
def test_a_certificate_that_nobody_has_signed_is_refused_with_what_to_set(
    script: Script, written: Callable[[int], str]
) -> None:
    with listening(with_own_certificate) as port:
        said = refused(script, written(port))
    assert "TrustServerCertificate=yes" in said


def test_a_string_of_ado_net_with_a_keyword_that_is_none_is_refused_by_the_keyword(script: Script) -> None:
    ran = script("import sys, dray\ndray.connect(sys.argv[1])", "Server=h;Pasword=hunter2")
    assert ran.returncode == 114, ran.stderr
    assert "`Pasword`" in ran.stderr
    assert "hunter2" not in ran.stderr


@pytest.mark.parametrize("into", ["linked.Other.dbo.t", "[linked]...{table}"])
def test_a_table_of_a_linked_server_is_no_target_and_nobody_has_to_be_asked_for_that(script: Script, into: str) -> None:
    code = f"""
        import dray
        for copy in (dray.Copy("DSN=a", "t", into={into!r}), dray.Copy("DSN=a", query="SELECT 1 AS one", into={into!r})):
            try:
                dray.copy_tables([copy], target="DSN=b")
            except dray.CopyError as error:
                print(error.code, error)
    """
    ran = script(code)
    for said in ran.stdout.splitlines():
        assert said.startswith("copy.name ") and f"`{into}` has four parts" in said and "`linked`" in said, said
    assert (ran.returncode, ran.stdout.count("\n")) == (0, 2), ran.stderr
