"""A record as the spool keeps it: packed when that saves room, with a check sum over all that names it."""

import zlib
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import zstandard

Headers = Sequence[tuple[str, bytes]]

PLAIN: Final = 0
ZSTD: Final = 1
PACK_FROM_BYTES: Final = 512  # below it a frame saves little
ROW_BYTES: Final = 64  # what a row costs beside its value and headers
MAX_VALUE_BYTES: Final = 16 << 20  # far above what a broker takes; a damaged length asks for no more memory than this
_LEVEL: Final = 1  # 0.4 ms for the 150 KB of a cluster's batch, a quarter of its size; level 3 saves 2 % more
INSERT: Final = (
    "INSERT INTO record (id, chain, seq, at_ms, state, size, codec, crc, headers, value)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


Row = tuple[int | None, int, int, int, int, int, int, int, bytes, bytes]  # as INSERT wants it
SIZE: Final = 5  # where a Row says what it costs in the file, about
INSERT_CHAIN: Final = "INSERT INTO chain (spool_id, topic, crc, last_seq) VALUES (?, ?, ?, ?)"


class PackedRow(NamedTuple):
    """The columns of a record that its bytes are in."""

    codec: int
    value: bytes
    headers: bytes
    crc: int


class Packer:
    """Packs records; used by one thread at a time, as is everything here."""

    def __init__(self) -> None:
        self._zstd = zstandard.ZstdCompressor(level=_LEVEL)

    def row(self, id_: int | None, chain: int, seq: int, at_ms: int, state: int, value: bytes, headers: Headers) -> Row:
        """Return the row of a record; `Unpacker` gives back the same bytes."""
        codec, packed_headers = PLAIN, msgspec.msgpack.encode(headers)
        if len(value) >= PACK_FROM_BYTES:
            smaller = self._zstd.compress(value)
            if len(smaller) < len(value):
                codec, value = ZSTD, smaller
        crc = checksum(chain, seq, at_ms, codec, value, packed_headers)
        size = len(value) + len(packed_headers) + ROW_BYTES
        return id_, chain, seq, at_ms, state, size, codec, crc, packed_headers, value


def moved_row(chain: int, seq: int, at_ms: int, state: int, row: PackedRow) -> Row:
    """Return a row on its way to another file, under another chain number."""
    crc = checksum(chain, seq, at_ms, row.codec, row.value, row.headers)
    size = len(row.value) + len(row.headers) + ROW_BYTES
    return None, chain, seq, at_ms, state, size, row.codec, crc, row.headers, row.value


class Unpacker:
    """Gives back what was packed."""

    def __init__(self) -> None:
        self._zstd = zstandard.ZstdDecompressor()
        self._headers = msgspec.msgpack.Decoder(list[tuple[str, bytes]])

    def unpack(self, row: PackedRow) -> tuple[bytes, list[tuple[str, bytes]]]:
        """Return value and headers of a row whose check sum holds."""
        value = row.value
        if row.codec == ZSTD:
            value = self._zstd.decompress(value, max_output_size=MAX_VALUE_BYTES)
        return value, self._headers.decode(row.headers)


def is_sound(chain: int, seq: int, at_ms: int, row: PackedRow) -> bool:
    """Return whether every bit of a record, and of what names it, is as it was written."""
    try:
        return row.crc == checksum(chain, seq, at_ms, row.codec, row.value, row.headers)
    except (TypeError, ValueError):  # a flipped bit made it text, a null or a float
        return False


def checksum(chain: int, seq: int, at_ms: int, codec: int, value: bytes, headers: bytes) -> int:
    """Return the CRC-32 of a row."""
    return zlib.crc32(value, zlib.crc32(headers, zlib.crc32(b"%d %d %d %d" % (chain, seq, at_ms, codec))))


def name_checksum(spool_id: str, topic: str) -> int:
    """Return the CRC-32 of what names a chain."""
    return zlib.crc32(f"{spool_id} {topic}".encode())
