"""A listener that speaks as much of SQL Server's protocol as a bulk copy through Microsoft's driver needs, and keeps
what it is sent: the real driver's functions are then tried wherever the tests run.

Knows the protocol ([MS-TDS]) and no SQL: statements are answered by what stands in them, and a table is what its CREATE
TABLE says. Whether a server would store the same values is asked of a real one, by DRAY_TEST_MSSQL.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, Optional

COLLATION = bytes([0x09, 0x04, 0xD0, 0x00, 0x34])  # SQL_Latin1_General_CP1_CI_AS
MAX = 0xFFFF

# Packet types.
BATCH, BULK, RESULT, TRANSACTION, LOGIN, PRELOGIN = 0x01, 0x07, 0x04, 0x0E, 0x10, 0x12


@dataclass
class Column:
    """A column, as a CREATE TABLE declares it."""

    name: str
    declared: str
    nullable: bool

    @property
    def numbers(self) -> list[int]:
        """Those in its parentheses; `max` is 65535."""
        inner = re.search(r"\((.*)\)", self.declared)
        return [MAX if part == "max" else int(part) for part in inner[1].split(",")] if inner else []

    @property
    def type_info(self) -> bytes:
        """TYPE_INFO of its type."""
        base = self.declared.split("(")[0]
        numbers = self.numbers
        if base in ("bit", "tinyint", "smallint", "int", "bigint", "real", "float", "uniqueidentifier", "date"):
            return {
                "bit": b"\x68\x01", "tinyint": b"\x26\x01", "smallint": b"\x26\x02", "int": b"\x26\x04",
                "bigint": b"\x26\x08", "real": b"\x6d\x04", "float": b"\x6d\x08", "uniqueidentifier": b"\x24\x10",
                "date": b"\x28",
            }[base]  # fmt: skip
        if base == "decimal":
            return bytes([0x6A, 17, *numbers])
        if base in ("time", "datetime2", "datetimeoffset"):
            return bytes([{"time": 0x29, "datetime2": 0x2A, "datetimeoffset": 0x2B}[base], *numbers])
        kind = {"nchar": 0xEF, "nvarchar": 0xE7, "binary": 0xAD, "varbinary": 0xA5}[base]
        size = numbers[0] if numbers[0] == MAX or base.endswith("binary") else 2 * numbers[0]
        return struct.pack("<BH", kind, size) + (b"" if base.endswith("binary") else COLLATION)


@dataclass
class TdsServer:
    """What was heard so far."""

    port: int
    statements: list[str] = field(default_factory=list)
    transactions: list[str] = field(default_factory=list)
    columns: list[Column] = field(default_factory=list)
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    refusal: Optional[tuple[int, str]] = None
    """The error, number and message, that a bulk copy is answered with."""
    login_refusals: list[tuple[int, str]] = field(default_factory=list)
    """The errors that the next logins are answered with, one each; those after them are let in."""

    @property
    def odbc(self) -> str:
        """How it is connected to."""
        return (
            "Driver={ODBC Driver 18 for SQL Server};"
            f"Server=127.0.0.1,{self.port};UID=user;PWD=password;Encrypt=no;Database=db"
        )

    @property
    def insert_bulk(self) -> str:
        """The one statement that began a bulk copy."""
        (statement,) = [statement for statement in self.statements if statement.startswith("insert bulk")]
        return statement

    def answer(self, sql: str) -> bytes:
        """What a batch of statements is answered with."""
        self.statements.append(sql)
        created = re.match(r"CREATE TABLE \S+ \((.*)\)$", sql, re.DOTALL)
        if created:
            lines = re.findall(r"^\s+\[(.+?)\] (\S+)(.*)$", created[1], re.MULTILINE)
            self.columns = [Column(name, kind.rstrip(","), "NOT NULL" not in rest) for name, kind, rest in lines]
        if "sp_bcp_dbcmptlevel" in sql:
            level = b"\x81\x01\x00" + struct.pack("<IH", 0, 0) + b"\x30\x00" + b"\xd1\xa0"
            shape = b"\x81" + struct.pack("<H", len(self.columns))
            for column in self.columns:
                shape += struct.pack("<IH", 0, 0x08 | column.nullable) + column.type_info + short_text(column.name)
            return level + done(0x11, token=0xFF) + b"\x79\0\0\0\0" + done(1, token=0xFE) + shape + done(0x10)
        if "sp_tablecollations" in sql:
            names = [(number, column) for number, column in enumerate(self.columns, 1)]
            return table(
                ["int", "nvarchar(128)", "binary(5)", "nvarchar(128)"],
                [
                    [struct.pack("<BI", 4, number), long_text(column.name), *collation(column)]
                    for number, column in names
                ],
                done(0x11, token=0xFF) + b"\x79\0\0\0\0" + done(0, token=0xFE),
            )
        if "c.is_identity" in sql and self.columns:
            cells = [[column.name, "0", "0", column.declared, "0", "U", "0", "0"] for column in self.columns]
            return table(["nvarchar(128)"] * 8, [[long_text(cell) for cell in row] for row in cells], done(0x10))
        if "sp_getapplock" in sql:
            return table(["nvarchar(128)"], [[long_text("1")]], done(0x10))
        if "SELECT" in sql.split(" UPDATE ")[0] and not sql.startswith("IF "):
            return table(["nvarchar(128)"], [], done(0x10))
        return done(0)

    def take(self, data: bytes) -> bytes:
        """What the rows of a bulk copy are answered with."""
        before = len(self.rows)
        self.rows.extend(bulk_rows(data, self.columns))
        if self.refusal is not None:
            return error(*self.refusal)
        return done(0x10, len(self.rows) - before)


def error(number: int, message: str) -> bytes:
    text = struct.pack("<H", len(message)) + message.encode("utf-16-le")
    body = struct.pack("<iBB", number, 1, 16) + text + b"\0\0" + struct.pack("<I", 1)
    return b"\xaa" + struct.pack("<H", len(body)) + body + done(2)


def done(status: int, rows: int = 0, token: int = 0xFD) -> bytes:
    return struct.pack("<BHHQ", token, status, 0xC1, rows)


def short_text(text: str) -> bytes:
    return bytes([len(text)]) + text.encode("utf-16-le")


def long_text(text: str, unit: int = 2) -> bytes:
    return struct.pack("<H", len(text) * unit) + text.encode("utf-16-le")


def collation(column: Column) -> list[bytes]:
    if column.declared.startswith("n"):
        return [struct.pack("<H", 5) + COLLATION, long_text("SQL_Latin1_General_CP1_CI_AS")]
    return [b"\xff\xff", b"\xff\xff"]


def table(types: list[str], rows: list[list[bytes]], end: bytes) -> bytes:
    columns = [struct.pack("<IH", 0, 9) + Column("", declared, True).type_info + short_text("") for declared in types]
    return (
        b"\x81"
        + struct.pack("<H", len(types))
        + b"".join(columns)
        + b"".join(b"\xd1" + b"".join(r) for r in rows)
        + end
    )


class Reader:
    """Bytes that are taken from the front."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    def take(self, length: int) -> bytes:
        self.place += length
        assert self.place <= len(self.data), "a value ends behind its packet"
        return self.data[self.place - length : self.place]

    def number(self, length: int) -> int:
        return int.from_bytes(self.take(length), "little")


def bulk_rows(data: bytes, columns: list[Column]) -> Iterator[tuple[Any, ...]]:
    """The rows of a bulk copy, in the order of the table."""
    reader = Reader(data)
    assert reader.number(1) == 0x81
    sent = []
    for _ in range(reader.number(2)):
        reader.take(6)
        info = reader.data[reader.place :]
        column = next(column for column in columns if named(info, column))
        reader.take(len(column.type_info) + 1 + 2 * len(column.name))
        sent.append(column)
    while reader.number(1) == 0xD1:
        values = {column.name: value(reader, column) for column in sent}
        yield tuple(values[column.name] for column in columns)
    reader.take(12)
    assert reader.place == len(data)


def named(info: bytes, column: Column) -> bool:
    """Whether a column's description, from its TYPE_INFO on, is that of this one."""
    length = len(column.type_info)
    # The driver says how long a decimal may be in its own way.
    same = info[0] == column.type_info[0] and info[2:length] == column.type_info[2:]
    return same and info[length:].startswith(short_text(column.name))


def value(reader: Reader, column: Column) -> Any:
    base = column.declared.split("(")[0]
    if base in ("nchar", "nvarchar", "binary", "varbinary"):
        data = long_value(reader) if column.numbers[0] == MAX else short_value(reader)
        return data if data is None or base.endswith("binary") else data.decode("utf-16-le")
    length = reader.number(1)
    data = reader.take(length)
    if not data:
        return None
    number = int.from_bytes(data, "little")
    if base in ("tinyint", "bit"):
        return number
    if base in ("smallint", "int", "bigint"):
        return int.from_bytes(data, "little", signed=True)
    if base in ("real", "float"):
        return struct.unpack("<f" if length == 4 else "<d", data)[0]
    if base == "decimal":
        digits = int.from_bytes(data[1:], "little") * (1 if data[0] else -1)
        return Decimal(digits).scaleb(-column.numbers[1])
    if base == "uniqueidentifier":
        return uuid.UUID(bytes_le=data)
    if base == "date":
        return date.fromordinal(number + 1)
    if base == "time":
        return clock(number, column.numbers[0])
    offset = 2 if base == "datetimeoffset" else 0
    day = date.fromordinal(int.from_bytes(data[length - offset - 3 : length - offset], "little") + 1)
    moment = datetime.combine(day, clock(int.from_bytes(data[: length - offset - 3], "little"), column.numbers[0]))
    if not offset:
        return moment
    zone = timezone(timedelta(minutes=int.from_bytes(data[-2:], "little", signed=True)))
    return moment.replace(tzinfo=timezone.utc).astimezone(zone)


def clock(units: int, digits: int) -> time:
    """A time of day in units of its last digit, in microseconds."""
    microseconds, rest = divmod(units * 10**6, 10**digits)
    assert rest == 0, "finer than a microsecond"
    return (datetime.min + timedelta(microseconds=microseconds)).time()


def short_value(reader: Reader) -> Optional[bytes]:
    length = reader.number(2)
    return None if length == MAX else reader.take(length)


def long_value(reader: Reader) -> Optional[bytes]:
    if reader.number(8) == 2**64 - 1:
        return None
    pieces = []
    while length := reader.number(4):
        pieces.append(reader.take(length))
    return b"".join(pieces)


class Session:
    """One connection."""

    def __init__(self, server: TdsServer, connection: socket.socket) -> None:
        self._server, self._connection = server, connection

    def run(self) -> None:
        with self._connection, contextlib.suppress(ConnectionError):
            while True:
                kind, data = self._receive()
                self._send(self._answer(kind, data))

    def _answer(self, kind: int, data: bytes) -> bytes:
        if kind == PRELOGIN:
            options = [(0, b"\x0a\x32\x0f\xa1\0\0"), (1, b"\x02"), (2, b"\0"), (3, b""), (4, b"\0")]
            place, head, body = 5 * len(options) + 1, b"", b""
            for option, content in options:
                head += struct.pack(">BHH", option, place + len(body), len(content))
                body += content
            return head + b"\xff" + body
        if kind == LOGIN and self._server.login_refusals:
            return error(*self._server.login_refusals.pop(0))
        if kind == LOGIN:
            # SQL Server 2008: later ones are asked for a table's columns in a way that takes more to answer.
            program = (
                b"\x01" + bytes([0x73, 0x0B, 0, 3]) + short_text("Microsoft SQL Server") + bytes([10, 50, 15, 161])
            )
            return (
                change(1, short_text("db"), short_text("master"))
                + change(7, b"\x05" + COLLATION, b"\0")
                + b"\xad" + struct.pack("<H", len(program)) + program
                + done(0)
            )  # fmt: skip
        if kind == BATCH:
            return self._server.answer(data[struct.unpack("<I", data[:4])[0] :].decode("utf-16-le"))
        if kind == BULK:
            return self._server.take(data)
        if kind == TRANSACTION:
            request = data[struct.unpack("<I", data[:4])[0]]
            name, kind_of_change = {5: ("begin", 8), 7: ("commit", 9), 8: ("rollback", 10)}[request]
            self._server.transactions.append(name)
            number = b"\x08" + b"\x01" * 8
            answer = change(kind_of_change, *((number, b"\0") if name == "begin" else (b"\0", number)))
            # The request may ask for the next one to be begun.
            if name != "begin" and data[struct.unpack("<I", data[:4])[0] + 3 :][:1] == b"\x01":
                self._server.transactions.append("begin")
                answer += change(8, number, b"\0")
            return answer + done(0)
        return done(0)

    def _receive(self) -> tuple[int, bytes]:
        data = bytearray()
        while True:
            head = self._exactly(8)
            data += self._exactly(struct.unpack(">H", head[2:4])[0] - 8)
            if head[1] & 1:
                return head[0], bytes(data)

    def _exactly(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            read = self._connection.recv(length - len(data))
            if not read:
                raise ConnectionError
            data += read
        return bytes(data)

    def _send(self, data: bytes) -> None:
        parts = [data[start : start + 4088] for start in range(0, len(data), 4088)] or [b""]
        for number, part in enumerate(parts, 1):
            self._connection.sendall(
                struct.pack(">BBHHBB", RESULT, number == len(parts), len(part) + 8, 0, 1, 0) + part
            )


def change(kind: int, new: bytes, old: bytes) -> bytes:
    return b"\xe3" + struct.pack("<HB", len(new) + len(old) + 1, kind) + new + old


@contextlib.contextmanager
def tds_server() -> Iterator[TdsServer]:
    """A listener on a port of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = TdsServer(listener.getsockname()[1])

        def serve() -> None:
            with contextlib.suppress(OSError):  # the listener is closed
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=Session(server, connection).run, daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield server
