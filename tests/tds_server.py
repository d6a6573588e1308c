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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, Callable, Optional, Union

# Collations: their bytes in the protocol, and their code pages.
COLLATIONS = {
    "SQL_Latin1_General_CP1_CI_AS": (bytes([0x09, 0x04, 0xD0, 0x00, 0x34]), "cp1252"),
    "Lithuanian_CI_AS": (bytes([0x27, 0x04, 0xD0, 0x00, 0x00]), "cp1257"),
}
OF_DATABASE = "SQL_Latin1_General_CP1_CI_AS"
MAX = 0xFFFF
LONG = struct.pack("<I", 0x7FFFFFFF)

# Packet types.
BATCH, BULK, RESULT, TRANSACTION, LOGIN, PRELOGIN = 0x01, 0x07, 0x04, 0x0E, 0x10, 0x12


@dataclass
class Column:
    """A column, as a CREATE TABLE declares it."""

    name: str
    declared: str
    nullable: bool
    collation: str = OF_DATABASE
    is_key: bool = False

    @property
    def base(self) -> str:
        """Its type without parentheses."""
        return self.declared.split("(")[0]

    @property
    def code_page(self) -> Optional[str]:
        """That of its text, if it has one."""
        return COLLATIONS[self.collation][1] if self.base in ("char", "varchar", "text") else None

    @property
    def is_old(self) -> bool:
        """Whether it is one of the long types that `(max)` has replaced, which name their table."""
        return self.base in ("text", "ntext", "image")

    @property
    def catalog_row(self) -> list[str]:
        """What the catalog says of it, behind the place of its table."""
        numbers = self.numbers
        size = {"n": 2}.get(self.base[0], 1) * numbers[0] if numbers and numbers[0] != MAX else 0
        others = [*numbers, 0][:2] if self.base == "decimal" else [0, *numbers, 0][:2]
        has_collation = self.base.endswith(("char", "text")) and self.collation != OF_DATABASE
        return [
            self.name, self.base, str(size or ""), *map(str, others), str(int(self.nullable)), "0",
            "1" if self.is_key else "",
            self.collation if has_collation else "",
        ]  # fmt: skip

    @property
    def numbers(self) -> list[int]:
        """Those in its parentheses; `max` is 65535."""
        inner = re.search(r"\((.*)\)", self.declared)
        return [MAX if part == "max" else int(part) for part in inner[1].split(",")] if inner else []

    @property
    def type_info(self) -> bytes:
        """TYPE_INFO of its type."""
        base, numbers = self.base, self.numbers
        fixed = {
            "bit": b"\x68\x01", "tinyint": b"\x26\x01", "smallint": b"\x26\x02", "int": b"\x26\x04",
            "bigint": b"\x26\x08", "real": b"\x6d\x04", "float": b"\x6d\x08", "uniqueidentifier": b"\x24\x10",
            "date": b"\x28", "money": b"\x6e\x08", "smallmoney": b"\x6e\x04", "datetime": b"\x6f\x08",
            "smalldatetime": b"\x6f\x04", "image": b"\x22" + LONG,
        }  # fmt: skip
        if base in fixed:
            return fixed[base]
        collation = COLLATIONS[self.collation][0]
        if base in ("text", "ntext"):
            return bytes([{"text": 0x23, "ntext": 0x63}[base]]) + LONG + collation
        if base == "decimal":
            return bytes([0x6A, 17, *numbers])
        if base in ("time", "datetime2", "datetimeoffset"):
            return bytes([{"time": 0x29, "datetime2": 0x2A, "datetimeoffset": 0x2B}[base], *numbers])
        kind = {"char": 0xAF, "varchar": 0xA7, "nchar": 0xEF, "nvarchar": 0xE7, "binary": 0xAD, "varbinary": 0xA5}[base]
        size = 2 * numbers[0] if numbers[0] != MAX and base.startswith("n") else numbers[0]
        return struct.pack("<BH", kind, size) + (b"" if base.endswith("binary") else collation)


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
    answers: dict[str, Union[bytes, list[list[Optional[str]]], Callable[[], bytes]]] = field(default_factory=dict)
    """For statements in which a text stands, before all others: tokens, the rows of a result, or what gives tokens."""

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
        within = re.match(r"EXEC \(N'USE \[\w+\]; (.*)'\)$", sql, re.DOTALL)
        if within:
            sql = within[1].replace("''", "'")
        created = re.match(r"CREATE TABLE \S+ \((.*)\)$", sql, re.DOTALL)
        if created:
            lines = re.findall(r"^\s+\[(.+?)\] (\S+)(.*)$", created[1], re.MULTILINE)
            self.columns = [Column(name, kind.rstrip(","), "NOT NULL" not in rest) for name, kind, rest in lines]
        for words, given in self.answers.items():
            if words in self.statements[-1]:
                if isinstance(given, list):
                    return texts(given)
                return given if isinstance(given, bytes) else given()
        if "sp_bcp_dbcmptlevel" in sql:
            level = b"\x81\x01\x00" + struct.pack("<IH", 0, 0) + b"\x30\x00" + b"\xd1\xa0"
            shape = b"\x81" + struct.pack("<H", len(self.columns))
            for column in self.columns:
                shape += struct.pack("<IH", 0, 0x08 | column.nullable) + column.type_info
                shape += (b"\x01" + long_text("t", 1) if column.is_old else b"") + short_text(column.name)
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
        if "CAST(c.is_identity AS int)" in sql and self.columns:
            return texts([[column.name, "0", "0", column.declared, "0", "U", "0", "0"] for column in self.columns])
        if "FROM asked JOIN sys.columns" in sql and self.columns:
            (place, *_) = re.findall(r"VALUES \((\d+),", sql)
            return texts([[place, *column.catalog_row] for column in self.columns])
        if "COLLATIONPROPERTY(collation_name, 'CodePage')" in sql:
            return texts([[column.name, column.code_page[2:]] for column in self.columns if column.code_page])
        if "COLLATIONPROPERTY(" in sql:
            named = [name for name in COLLATIONS if f"N'{name}'" in sql] or [OF_DATABASE]
            return texts([[COLLATIONS[named[0]][1][2:]]])
        if "sp_getapplock" in sql:
            return texts([["1"]])
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
    body = struct.pack("<iBB", number, 1, 16) + long_text(message, 1) + b"\0\0" + struct.pack("<I", 1)
    return b"\xaa" + struct.pack("<H", len(body)) + body + done(2)


def texts(rows: Sequence[Sequence[Optional[str]]]) -> bytes:
    """A result of text alone."""
    cells = [[b"\xff\xff" if cell is None else long_text(cell) for cell in row] for row in rows]
    return table(["nvarchar(4000)"] * (len(cells[0]) if cells else 1), cells, done(0x10))


def done(status: int, rows: int = 0, token: int = 0xFD) -> bytes:
    return struct.pack("<BHHQ", token, status, 0xC1, rows)


def short_text(text: str) -> bytes:
    return bytes([len(text)]) + text.encode("utf-16-le")


def long_text(text: str, unit: int = 2) -> bytes:
    return struct.pack("<H", len(text) * unit) + text.encode("utf-16-le")


def collation(column: Column) -> list[bytes]:
    if column.base.endswith(("char", "text")):
        return [struct.pack("<H", 5) + COLLATIONS[column.collation][0], long_text(column.collation)]
    return [b"\xff\xff", b"\xff\xff"]


def table(types: list[str], rows: list[list[bytes]], end: bytes, name: str = "") -> bytes:
    """A result; all of its columns have the same name."""
    columns = [struct.pack("<IH", 0, 9) + Column("", declared, True).type_info + short_text(name) for declared in types]
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
        # The older types name their table, which is left empty.
        reader.take(len(column.type_info) + 2 * column.is_old + 1 + 2 * len(column.name))
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
    return same and info[length + 2 * column.is_old :].startswith(short_text(column.name))


def value(reader: Reader, column: Column) -> Any:
    base = column.base
    if column.is_old or base.endswith(("char", "binary")):
        data = old_value(reader) if column.is_old else varying_value(reader, column)
        if data is None or base in ("image", "binary", "varbinary"):
            return data
        return data.decode(column.code_page or "utf-16-le")
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
        # `scaleb` would round it to 28 digits.
        return Decimal(f"{digits}e-{column.numbers[1]}")
    if base in ("money", "smallmoney"):
        # The upper half comes first.
        halves = data if length == 4 else data[4:] + data[:4]
        return Decimal(int.from_bytes(halves, "little", signed=True)).scaleb(-4)
    if base in ("datetime", "smalldatetime"):
        half = length // 2
        days = int.from_bytes(data[:half], "little", signed=base == "datetime")
        units = int.from_bytes(data[half:], "little")
        seconds = {"minutes": units} if half == 2 else {"milliseconds": round(units * 10 / 3)}
        return datetime(1900, 1, 1) + timedelta(days=days, **seconds)
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


def varying_value(reader: Reader, column: Column) -> Optional[bytes]:
    return long_value(reader) if column.numbers[0] == MAX else short_value(reader)


def old_value(reader: Reader) -> Optional[bytes]:
    """A value of `text`, `ntext` or `image`: a pointer, a moment, and a length before it."""
    pointer = reader.number(1)
    if pointer == 0:
        return None
    reader.take(pointer + 8)
    return reader.take(reader.number(4))


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
                + change(7, b"\x05" + COLLATIONS[OF_DATABASE][0], b"\0")
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
