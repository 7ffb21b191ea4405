"""The packets of the native protocol, both directions, at revision 54453. No I/O of its own."""

from enum import IntEnum
from typing import Final, NamedTuple

from deploy.embedded.clickhouse.wire import ProtocolError, Reader, int32, text, varint

# The last revision without a byte before each column and without an addendum after hello: a block on the wire is
# then BlockInfo followed by exactly what FORMAT Native reads and writes.
REVISION: Final = 54453
MIN_REVISION: Final = 54442  # the first whose ClientInfo holds all fields up to telemetry
BLOCK_INFO: Final = bytes.fromhex("010002ffffffff00")
MAX_SETTINGS: Final = 1000


class Client(IntEnum):
    """What a client sends."""

    HELLO = 0
    QUERY = 1
    DATA = 2
    CANCEL = 3
    PING = 4


class Server(IntEnum):
    """What a server sends."""

    HELLO = 0
    DATA = 1
    EXCEPTION = 2
    PROGRESS = 3
    PONG = 4
    END_OF_STREAM = 5
    PROFILE_INFO = 6
    TOTALS = 7
    EXTREMES = 8
    LOG = 10
    TABLE_COLUMNS = 11
    PROFILE_EVENTS = 14


PONG: Final = varint(Server.PONG)
END_OF_STREAM: Final = varint(Server.END_OF_STREAM)


class Hello(NamedTuple):
    """What a client says first."""

    client: str
    revision: int
    database: str
    user: str
    password: str


class Query(NamedTuple):
    """One statement with its settings; `sql` as sent."""

    query_id: str
    settings: dict[str, str]
    compressed: bool
    sql: str


def read_hello(reader: Reader) -> Hello:
    """Read a client's hello after its packet type."""
    client, _major, _minor, revision = reader.text(), reader.varint(), reader.varint(), reader.varint()
    return Hello(client, revision, database=reader.text(), user=reader.text(), password=reader.text())


def write_hello(hello: Hello) -> bytes:
    """Encode a client's hello."""
    head = varint(Client.HELLO) + text(hello.client) + varint(1) + varint(0) + varint(hello.revision)
    return head + text(hello.database) + text(hello.user) + text(hello.password)


def server_hello(version: str, timezone: str, name: str) -> bytes:
    """Encode the answer to hello; `version` is the engine's, such as 26.9.2.1."""
    major, minor, patch = (int(part) for part in version.split(".")[:3])
    head = varint(Server.HELLO) + text("ClickHouse") + varint(major) + varint(minor) + varint(REVISION)
    return head + text(timezone) + text(name) + varint(patch)


def read_server_hello(reader: Reader) -> str:
    """Read a server's answer to a hello of `REVISION` and return its display name."""
    reader.text()
    for _ in ("major", "minor", "revision"):
        reader.varint()
    reader.text()
    name = reader.text()
    reader.varint()
    return name


def read_query(reader: Reader) -> Query:
    """Read a query after its packet type."""
    query_id = reader.text()
    _skip_client_info(reader)
    settings = _read_settings(reader)
    reader.text_bytes()  # the secret between servers
    reader.varint()  # the stage: always complete
    compressed = reader.varint() != 0
    return Query(query_id, settings, compressed, sql=reader.text())


def write_query(sql: str) -> bytes:
    """Encode a query without settings, and the empty block that ends its external tables."""
    strings = b"".join(text(each) for each in ("", "", "0.0.0.0:0"))  # user, query id and address that began it
    client = text("") + text("") + text("isochrone") + varint(1) + varint(0) + varint(REVISION)
    tail = text("") + varint(0) + varint(0) + b"\0" + varint(0) * 3  # quota, depth, patch, telemetry, replicas
    info = b"\1" + strings + bytes(8) + b"\1" + client + tail
    query = varint(Client.QUERY) + text("") + info + text("") + text("") + varint(2) + varint(0) + text(sql)
    return query + varint(Client.DATA) + text("") + BLOCK_INFO + varint(0) + varint(0)


def data(block: bytes, kind: Server = Server.DATA) -> bytes:
    """Encode a block of FORMAT Native as a packet."""
    return varint(kind) + text("") + BLOCK_INFO + block


def exception(code: int, message: str) -> bytes:
    """Encode an exception without a nested one and without the server's stack."""
    return varint(Server.EXCEPTION) + int32(code) + text("DB::Exception") + text(message) + text("") + b"\0"


def read_exception(reader: Reader) -> tuple[int, str]:
    """Read an exception after its packet type; return code and text."""
    code = int.from_bytes(reader.take(4), "little", signed=True)
    reader.text()
    message = reader.text()
    reader.text()
    if reader.byte():
        read_exception(reader)
    return code, message


def skip_data_head(reader: Reader) -> None:
    """Read what stands before a block: the table's name, then (number, value) pairs of which 0 is the last."""
    reader.text_bytes()
    while (field := reader.varint()) != 0:
        if field not in (1, 2):
            raise ProtocolError(f"unknown block field {field}")
        reader.skip(1 if field == 1 else 4)


def _skip_client_info(reader: Reader) -> None:
    if reader.byte() == 0:
        return
    for _ in ("initial user", "initial query id", "initial address"):
        reader.text_bytes()
    reader.skip(8 + 1)  # start time in microseconds, interface
    for _ in ("os user", "host", "client"):
        reader.text_bytes()
    for _ in ("major", "minor", "revision"):
        reader.varint()
    reader.text_bytes()  # quota key
    reader.varint()  # depth
    reader.varint()  # patch
    if reader.byte():
        _skip_telemetry(reader)
    for _ in ("collaborate", "replicas", "replica"):
        reader.varint()


def _skip_telemetry(reader: Reader) -> None:
    reader.skip(16 + 8)  # trace id, span id
    reader.text_bytes()
    reader.skip(1)


def _read_settings(reader: Reader) -> dict[str, str]:
    settings: dict[str, str] = {}
    while name := reader.text():
        reader.byte()  # flags: important, custom
        settings[name] = reader.text()
        if len(settings) > MAX_SETTINGS:
            raise ProtocolError(f"more than {MAX_SETTINGS} settings")
    return settings
