"""Ask a server of the native protocol for a number: the readiness check, with no client library."""

import socket
from contextlib import suppress
from typing import Final

from deploy.embedded.clickhouse import packets
from deploy.embedded.clickhouse.blocks import Block, first_number, read_block
from deploy.embedded.clickhouse.columntypes import UnknownLayoutError
from deploy.embedded.clickhouse.packets import Hello, Server
from deploy.embedded.clickhouse.wire import Disconnected, ProtocolError, Reader

_LIMIT_BYTES: Final = 16 << 20
_BLOCKS: Final = (Server.DATA, Server.TOTALS, Server.EXTREMES, Server.LOG, Server.PROFILE_EVENTS)
_VARINTS: Final = {Server.PROGRESS: 5, Server.PROFILE_INFO: 6}  # flags of one byte read as varints alike


class ServerSaysError(Exception):
    """The server answered with an exception; `code` is ClickHouse's."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def answers(host: str, port: int, user: str, password: str, timeout_s: float) -> bool:
    """Say whether a server lets this login in and answers SELECT 1; False for every way it does not."""
    with suppress(OSError, ProtocolError, Disconnected, ServerSaysError, UnknownLayoutError):
        return ask_number(host, port, user, password, "SELECT 1", timeout_s) == 1
    return False


def ask_number(host: str, port: int, user: str, password: str, sql: str, timeout_s: float) -> int:
    """Return the first value of a query for one whole number; `timeout_s` holds for each wait, not for their sum.

    Raises:
        OSError: nothing listens there, or it does not answer in time.
        ServerSaysError: it answers with an exception.
        ProtocolError, Disconnected: it is no such server, or it left.
    """
    with socket.create_connection((host, port), timeout_s) as connection:
        reader = Reader(lambda size: connection.recv(min(size, 1 << 16)), limit_bytes=_LIMIT_BYTES)
        connection.sendall(packets.write_hello(Hello("isochrone ping", packets.REVISION, "", user, password)))
        _expect(reader, Server.HELLO)
        packets.read_server_hello(reader)
        connection.sendall(packets.write_query(sql))
        return _first_number(reader)


def _first_number(reader: Reader) -> int:
    found: int | None = None
    while (kind := _next(reader)) != Server.END_OF_STREAM:
        if kind in _BLOCKS:
            block = _read_data(reader)
            if kind == Server.DATA and block.rows > 0 and found is None:
                found = first_number(block)
        elif kind in _VARINTS:
            for _ in range(_VARINTS[Server(kind)]):
                reader.varint()
        elif kind == Server.TABLE_COLUMNS:
            reader.text_bytes(), reader.text_bytes()
        else:
            raise ProtocolError(f"packet {kind} is not understood by the ping")
    if found is None:
        raise ProtocolError("the query returned no number")
    return found


def _read_data(reader: Reader) -> Block:
    packets.skip_data_head(reader)
    return read_block(reader)


def _next(reader: Reader) -> int:
    reader.forget()
    kind = reader.varint()
    if kind == Server.EXCEPTION:
        raise ServerSaysError(*packets.read_exception(reader))
    return kind


def _expect(reader: Reader, wanted: Server) -> None:
    kind = _next(reader)
    if kind != wanted:
        raise ProtocolError(f"packet {kind} where {wanted.name} was expected")
