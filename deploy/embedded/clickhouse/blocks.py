"""Blocks of FORMAT Native: where they end, their header alone, and the same block under other type names.

A block is: columns, rows (varints), then for each column its name, its type and, when there are rows, its values.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from deploy.embedded.clickhouse.columntypes import (
    Array,
    Fixed,
    Layout,
    LowCardinality,
    Nullable,
    Strings,
    Tuple,
    layout,
)
from deploy.embedded.clickhouse.wire import ProtocolError, Reader, reader_of, text, varint

MAX_COLUMNS: Final = 10_000
MAX_ROWS: Final = 1 << 31
EMPTY: Final = varint(0) + varint(0)

_DICTIONARY_BYTES: Final = 8
_HAS_KEYS: Final = 1 << 9


class Column(NamedTuple):
    """A column's name and type, as a header says them."""

    name: str
    type_name: str
    default_kind: str = ""  # DEFAULT, MATERIALIZED, ALIAS, EPHEMERAL; "" where none or not known


class Block(NamedTuple):
    """A whole block as it stood on the wire."""

    columns: tuple[Column, ...]
    rows: int
    content: bytes


def header(columns: Sequence[Column]) -> bytes:
    """Return the block of no rows that tells names and types."""
    named = b"".join(text(each.name) + text(each.type_name) for each in columns)
    return varint(len(columns)) + varint(0) + named


def read_block(reader: Reader) -> Block:
    """Read one block to its end.

    Raises:
        UnknownLayoutError: a type whose end cannot be found; the stream is lost after it.
        ProtocolError: sizes that cannot be.
    """
    start = reader.position
    count, rows = _shape(reader)
    columns = tuple(_read_column(reader, rows) for _ in range(count))
    return Block(columns, rows, bytes(reader.buffer[start : reader.position]))


def split_blocks(content: bytes) -> Iterator[Block]:
    """Yield the blocks that stand one after the other."""
    reader = reader_of(content)
    while reader.position < len(content):
        yield read_block(reader)


def retype(content: bytes, columns: Sequence[Column]) -> bytes:
    """Return one block under the names and types of `columns`, its values untouched."""
    reader = reader_of(content)
    count, rows = _shape(reader)
    if count != len(columns):
        raise ProtocolError(f"a block of {count} columns where {len(columns)} were described")
    pieces = [varint(count), varint(rows)]
    for column in columns:
        own = layout(_read_name(reader).type_name)
        start = reader.position
        _skip_values(reader, own, rows)
        pieces += [text(column.name), text(column.type_name), bytes(reader.buffer[start : reader.position])]
    return b"".join(pieces)


def first_number(block: Block) -> int:
    """Return the first value of a block of one column of whole numbers."""
    reader = reader_of(block.content)
    _shape(reader)
    size_bytes = layout(_read_name(reader).type_name)
    if block.rows == 0 or not isinstance(size_bytes, Fixed):
        raise ProtocolError("a number was expected")
    return reader.unsigned(size_bytes.size_bytes)


def _shape(reader: Reader) -> tuple[int, int]:
    count, rows = reader.varint(), reader.varint()
    if count > MAX_COLUMNS or rows > MAX_ROWS:
        raise ProtocolError(f"a block of {count} columns and {rows} rows")
    return count, rows


def _read_name(reader: Reader) -> Column:
    return Column(reader.text(), reader.text())


def _read_column(reader: Reader, rows: int) -> Column:
    column = _read_name(reader)
    _skip_values(reader, layout(column.type_name), rows)
    return column


def _skip_values(reader: Reader, kind: Layout, rows: int) -> None:
    if rows > 0:
        _skip_prefix(reader, kind)
        _skip_rows(reader, kind, rows)


def _skip_prefix(reader: Reader, kind: Layout) -> None:
    """Skip the versions of all dictionaries inside a column: they stand before its values."""
    match kind:
        case LowCardinality():
            reader.skip(_DICTIONARY_BYTES)
        case Nullable(inner) | Array(inner):
            _skip_prefix(reader, inner)
        case Tuple(items):
            for item in items:
                _skip_prefix(reader, item)
        case _:
            return


def _skip_rows(reader: Reader, kind: Layout, rows: int) -> None:
    match kind:
        case Fixed(size_bytes):
            reader.skip(rows * size_bytes)
        case Strings():
            _skip_strings(reader, rows)
        case Nullable(inner):
            reader.skip(rows)
            _skip_rows(reader, inner, rows)
        case Array(inner):
            _skip_rows(reader, inner, _total(reader, rows))
        case Tuple(items):
            for item in items:
                _skip_rows(reader, item, rows)
        case LowCardinality(inner):
            _skip_dictionary(reader, inner, rows)


def _total(reader: Reader, rows: int) -> int:
    """Skip the offsets of an array and return the last: the number of elements."""
    if rows == 0:
        return 0
    reader.skip(8 * (rows - 1))
    total = reader.unsigned(8)
    if total > MAX_ROWS:
        raise ProtocolError(f"an array of {total} elements")
    return total


def _skip_dictionary(reader: Reader, inner: Layout, rows: int) -> None:
    while rows > 0:
        flags = reader.unsigned(8)
        if flags & _HAS_KEYS:
            _skip_rows(reader, inner, reader.unsigned(8))
        here = reader.unsigned(8)
        if not 0 < here <= rows:
            raise ProtocolError(f"a dictionary of {here} rows where {rows} are left")
        reader.skip(here << (flags & 0x3))
        rows -= here


def _skip_strings(reader: Reader, rows: int) -> None:
    """Skip strings: the one loop over values, so it touches the buffer and no method where it can."""
    buffer, at = reader.buffer, reader.position
    have = len(buffer)
    for _ in range(rows):
        if at >= have:
            reader.reach(at + 1)
            have = len(buffer)
        size = buffer[at]
        at += 1
        if size >= 0x80:
            reader.position = at - 1
            size, have = reader.varint(), len(buffer)
            at = reader.position
        at += size
    reader.position = at
    reader.reach(at)
