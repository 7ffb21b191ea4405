"""Columns <-> the bytes of the engine's native format (pure): what `streams.columns` holds is nearly that already.

The format is ClickHouse's: little-endian numbers; a list column is its running lengths as UInt64, then its values; a
low-cardinality column is its dictionary, then a key for each row; a UUID is two numbers, the high half first.
"""

import struct
import uuid
from collections.abc import Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from streams.columns import Column, Ragged, Words

_NUMBERS: Final = {
    "UInt8": "<u1",
    "UInt16": "<u2",
    "UInt32": "<u4",
    "UInt64": "<u8",
    "Int64": "<i8",
    "DateTime": "<u4",
    "DateTime('UTC')": "<u4",
}
_KEYS: Final = ("<u1", "<u2", "<u4", "<u8")  # of a dictionary, by the width that its size asks for
_KEY_WIDTH: Final = 0xF  # of the flags of a dictionary
_DICTIONARY_VERSION: Final = 1
_DICTIONARY_FLAGS: Final = 1 << 9 | 1 << 10  # the dictionary comes with the block, and replaces the one before


class Source(Protocol):
    """Bytes in their order; the driver's buffers are such."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, all of them."""

    def read_strings(self, count: int, /, *, encoding: str) -> Sequence[str]:
        """Return the next texts."""


def decode(spec: str, rows: int, source: Source) -> Column:
    """Return a column of a type as it comes.

    Raises:
        ValueError: a type that is not read here.
    """
    if spec in _NUMBERS:
        kind = np.dtype(_NUMBERS[spec])
        return np.frombuffer(source.read(rows * kind.itemsize), dtype=kind)
    if spec.startswith("Array("):
        return _lists_from(spec.removeprefix("Array(").removesuffix(")"), rows, source)
    if spec == "LowCardinality(String)":
        return _dictionary_from(rows, source)
    if spec == "UUID":
        return _uuids_from(source.read(rows * 16))
    raise ValueError(f"a column of {spec} is not read as an array")


def encode(spec: str, column: Sequence[Any] | NDArray[Any] | Ragged | Words) -> bytes | None:
    """Return the bytes of a column of a type; None where it is no array, Ragged or Words.

    Raises:
        ValueError: a number outside the type, a type that is not written here, or a text that is no UUID.
    """
    if isinstance(column, Words):
        return _dictionary(column) if spec == "LowCardinality(String)" else _uuids(spec, column)
    if isinstance(column, Ragged):
        return _list(spec, column)
    return _numbers(spec, column) if isinstance(column, np.ndarray) else None


def _numbers(spec: str, values: NDArray[Any]) -> bytes:
    if spec not in _NUMBERS:
        raise ValueError(f"numbers for a column of {spec}")
    kind = np.dtype(_NUMBERS[spec])
    if values.size > 0 and values.dtype != np.bool_:
        low, high, held = int(values.min()), int(values.max()), np.iinfo(kind)
        if low < held.min or high > held.max:
            raise ValueError(f"{low if low < held.min else high} does not fit {spec}")
    return values.astype(kind, copy=False).tobytes()


def _list(spec: str, column: Ragged) -> bytes:
    if not spec.startswith("Array("):
        raise ValueError(f"lists for a column of {spec}")
    ends = np.cumsum(column.lengths, dtype=np.int64)
    return _numbers("UInt64", ends) + _numbers(spec.removeprefix("Array(").removesuffix(")"), column.values)


def _dictionary(column: Words) -> bytes:
    head = struct.pack("<Q", _DICTIONARY_VERSION)
    if len(column) == 0:
        return head
    size = len(column.words)
    width = sum(size > 1 << bits for bits in (8, 16))
    words = b"".join(_text(word) for word in column.words)
    keys = column.codes.astype(_KEYS[width]).tobytes()
    return b"".join(
        (head, struct.pack("<QQ", _DICTIONARY_FLAGS | width, size), words, struct.pack("<Q", len(column)), keys)
    )


def _uuids(spec: str, column: Words) -> bytes:
    if spec != "UUID":
        raise ValueError(f"words for a column of {spec}")
    halves = [divmod(uuid.UUID(word).int, 1 << 64) for word in column.words]
    return np.array(halves, dtype="<u8").reshape(-1, 2)[column.codes].tobytes()


def _text(word: str) -> bytes:
    content = word.encode()
    return _varint(len(content)) + content


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _lists_from(spec: str, rows: int, source: Source) -> Ragged:
    ends = np.frombuffer(source.read(rows * 8), dtype="<u8").astype(np.int64)
    values = decode(spec, int(ends[-1]) if rows > 0 else 0, source)
    if not isinstance(values, np.ndarray):
        raise TypeError(f"lists of {spec}")
    return Ragged(np.diff(ends, prepend=0), values)


def _dictionary_from(rows: int, source: Source) -> Words:
    source.read(8)  # its version, told before the column
    if rows == 0:
        return Words((), np.zeros(0, dtype=np.uint8))
    flags, size = struct.unpack("<QQ", source.read(16))
    words = tuple(source.read_strings(size, encoding="utf-8"))
    (keys,) = struct.unpack("<Q", source.read(8))
    kind = np.dtype(_KEYS[flags & _KEY_WIDTH])
    return Words(words, np.frombuffer(source.read(keys * kind.itemsize), dtype=kind))


def _uuids_from(content: bytes) -> Words:
    different, codes = np.unique(np.frombuffer(content, dtype="V16"), return_inverse=True)
    halves = np.frombuffer(different.tobytes(), dtype="<u8").reshape(-1, 2).tolist()
    return Words(tuple(str(uuid.UUID(int=high << 64 | low)) for high, low in halves), codes)
