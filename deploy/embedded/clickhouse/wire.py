"""The atoms of the native protocol: varints, strings, little-endian integers. No I/O of its own."""

import struct
from collections.abc import Callable
from typing import Final

MAX_STRING_BYTES: Final = 64 << 20  # a longer name, statement or setting is an attack or a lost byte
_CHUNK_BYTES: Final = 1 << 16


UNEXPECTED_PACKET: Final = 101


class ProtocolError(Exception):
    """Bytes that are not the native protocol as spoken here; the client is told `code` and the connection closes."""

    def __init__(self, text: str, code: int = UNEXPECTED_PACKET) -> None:
        super().__init__(text)
        self.code = code


class Disconnected(Exception):  # noqa: N818 - a peer that leaves is an event, not an error
    """The peer closed its side; `clean` when it did so between two packets."""

    def __init__(self, text: str, *, clean: bool) -> None:
        super().__init__(text)
        self.clean = clean


class Reader:
    """A cursor over bytes that are still arriving.

    Args:
        fill: returns the next bytes of the stream, b"" at its end; may block, and may raise what it likes.
        limit_bytes: most bytes held between two calls of `forget`; more is a `ProtocolError`.
    """

    def __init__(self, fill: Callable[[int], bytes], *, limit_bytes: int) -> None:
        self.buffer = bytearray()
        self.position = 0
        self._fill = fill
        self._limit_bytes = limit_bytes

    def reach(self, position: int) -> None:
        """Hold all bytes before `position`, or raise `Disconnected`."""
        if position > self._limit_bytes:
            raise ProtocolError(f"a packet of more than {self._limit_bytes} bytes; send smaller blocks")
        while len(self.buffer) < position:
            chunk = self._fill(max(position - len(self.buffer), _CHUNK_BYTES))
            if not chunk:
                raise Disconnected("the peer closed in the middle of a packet", clean=not self.buffer)
            self.buffer += chunk

    def skip(self, size_bytes: int) -> None:
        """Move over `size_bytes`, waiting for them."""
        self.reach(self.position + size_bytes)
        self.position += size_bytes

    def take(self, size_bytes: int) -> bytes:
        """Return the next `size_bytes`."""
        start = self.position
        self.skip(size_bytes)
        return bytes(self.buffer[start : self.position])

    def byte(self) -> int:
        """Return the next byte."""
        self.skip(1)
        return self.buffer[self.position - 1]

    def varint(self) -> int:
        """Return an unsigned LEB128 integer of at most 64 bits."""
        value = 0
        for shift in range(0, 70, 7):
            piece = self.byte()
            value |= (piece & 0x7F) << shift
            if piece < 0x80:
                return value
        raise ProtocolError("a varint longer than ten bytes")

    def text_bytes(self) -> bytes:
        """Return a string as its bytes."""
        size_bytes = self.varint()
        if size_bytes > MAX_STRING_BYTES:
            raise ProtocolError(f"a string of {size_bytes} bytes; {MAX_STRING_BYTES} is the most")
        return self.take(size_bytes)

    def text(self) -> str:
        """Return a string; raises `ProtocolError` when it is not UTF-8."""
        try:
            return self.text_bytes().decode()
        except UnicodeDecodeError as err:
            raise ProtocolError(f"a string that is not UTF-8: {err}") from err

    def unsigned(self, size_bytes: int) -> int:
        """Return a little-endian unsigned integer."""
        return int.from_bytes(self.take(size_bytes), "little")

    def forget(self) -> None:
        """Drop what was read: called between packets."""
        del self.buffer[: self.position]
        self.position = 0


def reader_of(content: bytes) -> Reader:
    """Return a reader over bytes that are all here; reading past them raises `Disconnected`."""
    reader = Reader(lambda _: b"", limit_bytes=len(content) + (1 << 62))
    reader.buffer += content
    return reader


def varint(value: int) -> bytes:
    """Encode an unsigned integer as LEB128."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def text(value: str) -> bytes:
    """Encode a string: its length in bytes, then UTF-8."""
    return text_of(value.encode())


def text_of(content: bytes) -> bytes:
    """Encode a string that is bytes already."""
    return varint(len(content)) + content


def int32(value: int) -> bytes:
    """Encode a signed 32-bit integer."""
    return struct.pack("<i", value)
