"""Where a block ends: each layout, and what no block can be."""

import struct

import pytest

from deploy.embedded.clickhouse import wire
from deploy.embedded.clickhouse.blocks import Column, first_number, header, read_block, retype, split_blocks
from deploy.embedded.clickhouse.columntypes import (
    Array,
    Fixed,
    LowCardinality,
    Nullable,
    Strings,
    Tuple,
    UnknownLayoutError,
    has_zone,
    layout,
)
from deploy.embedded.clickhouse.wire import Disconnected, ProtocolError, Reader, reader_of

AFTER = b"the next packet"


def block(rows: int, *columns: tuple[str, bytes]) -> bytes:
    named = b"".join(wire.text("c") + wire.text(type_name) + values for type_name, values in columns)
    return wire.varint(len(columns)) + wire.varint(rows) + named


def offsets(*ends: int) -> bytes:
    return struct.pack(f"<{len(ends)}Q", *ends)


DICTIONARY = offsets(1) + offsets(0x600, 2) + wire.text("") + wire.text("ab")  # version, flags, keys
CASES = [
    ("UInt8", 3, b"abc"),
    ("DateTime64(3, 'UTC')", 1, bytes(8)),
    ("Decimal(38, 2)", 1, bytes(16)),
    ("Decimal(9, 2)", 2, bytes(8)),
    ("FixedString(5)", 2, b"helloworld"),
    ("IntervalSecond", 1, bytes(8)),
    ("String", 2, wire.text("") + wire.text("y" * 300)),
    ("Nullable(String)", 2, b"\0\1" + wire.text("x") + wire.text("")),
    ("Nullable(Nothing)", 2, b"\1\1" + b"00"),
    ("Array(UInt16)", 2, offsets(2, 3) + bytes(6)),
    ("Array(Array(UInt8))", 2, offsets(1, 1) + offsets(2) + b"ab"),
    ("Tuple(a UInt8, `b c` String)", 1, b"\1" + wire.text("z")),
    ("Nested(a UInt8, b String)", 1, offsets(1) + b"\1" + wire.text("z")),
    ("Map(String, UInt64)", 1, offsets(1) + wire.text("k") + bytes(8)),
    ("LowCardinality(String)", 2, DICTIONARY + offsets(2) + b"\0\1"),
    ("LowCardinality(Nullable(String))", 2, DICTIONARY + offsets(2) + b"\0\1"),
    ("Array(LowCardinality(String))", 2, offsets(1) + offsets(0, 0)),
    ("Tuple(LowCardinality(String), UInt8)", 1, DICTIONARY + offsets(1) + b"\1" + b"\7"),
    ("Enum8('a, (b' = 1, 'c''d' = 2)", 2, b"\1\2"),
    ("SimpleAggregateFunction(sum, UInt64)", 1, bytes(8)),
]


@pytest.mark.parametrize(("type_name", "rows", "values"), CASES, ids=[each[0] for each in CASES])
def test_a_column_ends_where_its_values_end(type_name: str, rows: int, values: bytes) -> None:
    content = block(rows, (type_name, values), ("UInt8", bytes(rows)))
    reader = reader_of(content + AFTER)
    found = read_block(reader)
    assert (found.content, found.rows, len(found.columns)) == (content, rows, 2)
    assert reader.take(len(AFTER)) == AFTER


@pytest.mark.parametrize(("type_name", "rows", "values"), CASES, ids=[each[0] for each in CASES])
def test_a_column_cut_short_is_never_taken_for_whole(type_name: str, rows: int, values: bytes) -> None:
    with pytest.raises(Disconnected):
        read_block(reader_of(block(rows, (type_name, values))[:-1]))


def test_strings_that_arrive_in_pieces_are_measured_all_the_same() -> None:
    content = block(400, ("String", b"".join(wire.text("x" * size) for size in range(400))))
    pieces = iter([content[at : at + 7] for at in range(0, len(content), 7)])
    assert read_block(Reader(lambda _: next(pieces, b""), limit_bytes=1 << 20)).content == content


@pytest.mark.parametrize(
    ("type_name", "expected"),
    [
        (
            "Map(LowCardinality(String), Array(Nullable(Date)))",
            Array(Tuple((LowCardinality(Strings()), Array(Nullable(Fixed(2)))))),
        ),
        ("LowCardinality(Nullable(FixedString(2)))", LowCardinality(Fixed(2))),
    ],
)
def test_a_type_is_read_into_its_layout(type_name: str, expected: object) -> None:
    assert layout(type_name) == expected


@pytest.mark.parametrize(
    "type_name",
    [
        *("", "UInt8)", "Array(", "Array(UInt8", "Array(UInt8))", "NoSuch", "Tuple()", "FixedString(x)", "UInt8 UInt8"),
        *(
            "AggregateFunction(sum, UInt8)",
            "JSON",
            "Variant(UInt8, String)",
            "Dynamic",
            "Array(" * 50 + "UInt8" + ")" * 50,
        ),
    ],
)
def test_a_type_that_cannot_be_measured_is_said_so(type_name: str) -> None:
    with pytest.raises(UnknownLayoutError):
        layout(type_name)


@pytest.mark.parametrize(
    "content",
    [
        wire.varint(1 << 40) + wire.varint(1),
        wire.varint(1) + wire.varint(1 << 40),
        block(1, ("Array(UInt8)", offsets(1 << 50))),
        block(1, ("LowCardinality(String)", DICTIONARY + offsets(9) + b"\0")),
    ],
)
def test_sizes_that_cannot_be_are_refused(content: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_block(reader_of(content))


def test_a_header_is_a_block_without_rows() -> None:
    columns = (Column("a", "UInt8"), Column("态", "String"))
    found = read_block(reader_of(header(columns)))
    assert (found.columns, found.rows) == (columns, 0)


def test_a_block_under_other_types_keeps_its_values() -> None:
    content = block(1, ("DateTime", b"\1\2\3\4"), ("Array(DateTime)", offsets(1) + b"5678"))
    zoned = [Column("at", "DateTime('UTC')"), Column("all", "Array(DateTime('UTC'))")]
    found = read_block(reader_of(retype(content, zoned)))
    assert found.columns == tuple(zoned)
    assert found.content.replace(b"('UTC')", b"").count(b"\1\2\3\4") == 1
    with pytest.raises(ProtocolError, match="2 columns where 1"):
        retype(content, zoned[:1])


def test_blocks_one_after_the_other_are_split() -> None:
    one, two = block(1, ("UInt8", b"\1")), block(2, ("UInt8", b"\2\3"))
    assert [each.content for each in split_blocks(one + two)] == [one, two]


def test_a_number_is_read_and_a_text_is_not() -> None:
    assert first_number(read_block(reader_of(block(1, ("UInt16", b"\1\2"))))) == 513
    with pytest.raises(ProtocolError, match="number"):
        first_number(read_block(reader_of(block(1, ("String", wire.text("1"))))))


def test_only_a_zone_that_the_native_format_drops_is_put_back() -> None:
    assert has_zone("Array(Nullable(DateTime('UTC')))")
    assert not has_zone("DateTime64(3, 'UTC')")
    assert not has_zone("DateTime")
