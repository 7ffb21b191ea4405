"""Batches as a broker sends them: what is sound is read as ever, what is too large is stepped over and says so."""

import struct
from collections.abc import Sequence
from typing import Any

import cramjam
import pytest
from aiokafka import TopicPartition  # type: ignore[import-untyped]
from aiokafka.consumer import fetcher  # type: ignore[import-untyped]
from aiokafka.record.default_records import DefaultRecordBatchBuilder  # type: ignore[import-untyped]
from aiokafka.record.memory_records import MemoryRecords  # type: ignore[import-untyped]
from support import wire_messages as wire

from schemas.topics import SUMMARY
from streams.messages import REFUSED_HEADER
from streams.unpack import LARGEST_BATCH_BYTES, MOST_RECORDS, RefusedBatchError, bound_fetches, bounded
from streams.verify import Rejected, verify

AT = TopicPartition("isochrone.summary.v1", 3)
NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)


def batch(first_offset: int, values: Sequence[bytes], codec: int = ZSTD) -> bytes:
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=codec, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1,
        batch_size=1 << 30,
    )  # fmt: skip
    for offset, value in enumerate(values):
        assert builder.append(offset, timestamp=1_000 + offset, key=b"probe", value=value, headers=[]) is not None
    return struct.pack(">q", first_offset) + bytes(builder.build())[8:]  # the offset is the broker's to give


def fetched(*batches: bytes, from_offset: int = 0) -> tuple[list[Any], int]:
    """Return the records of a fetch and where the next one begins, by the class that consumers then use."""
    bound_fetches()
    records = fetcher.PartitionRecords(
        AT, MemoryRecords(b"".join(batches)), [], from_offset, None, None, True, fetcher.READ_UNCOMMITTED
    )
    return list(records), records.next_fetch_offset


@pytest.mark.parametrize("codec", [NONE, GZIP, SNAPPY, LZ4, ZSTD])
@pytest.mark.parametrize("size", [0, 100, 2 << 20])
def test_a_sound_batch_is_read_as_ever(codec: int, size: int) -> None:
    values = [bytes([number]) * size for number in range(3)]
    records, after = fetched(batch(7, values, codec))
    assert [(each.offset, each.value, each.headers) for each in records] == [
        (7 + n, v, ()) for n, v in enumerate(values)
    ]
    assert after == 10


@pytest.mark.parametrize("codec", [GZIP, LZ4, ZSTD])
def test_a_bomb_is_stepped_over_and_one_message_stands_for_it(codec: int) -> None:
    bomb = batch(11, [b"x", bytes(LARGEST_BATCH_BYTES), b"x"], codec)
    assert len(bomb) < 200_000
    records, after = fetched(batch(10, [b"before"]), bomb, batch(14, [b"after"]))
    assert [(each.offset, each.value) for each in records] == [(10, b"before"), (13, b""), (14, b"after")]
    assert after == 15
    ((name, text),) = records[1].headers
    assert name == REFUSED_HEADER
    assert text.decode().startswith("the batch at offsets 11 to 13 does not unpack into 8 MiB")
    assert (records[1].key, records[1].timestamp) == (b"", 1_002)


def test_a_bomb_that_comes_last_moves_the_next_fetch_beyond_it() -> None:
    records, after = fetched(batch(5, [bytes(LARGEST_BATCH_BYTES)]), from_offset=5)
    assert ([each.offset for each in records], after) == ([5], 6)


def test_a_batch_of_very_many_records_is_stepped_over_before_it_is_unpacked() -> None:
    records, after = fetched(batch(0, [b""] * (MOST_RECORDS + 1)), batch(MOST_RECORDS + 1, [b""] * MOST_RECORDS))
    assert len(records) == 1 + MOST_RECORDS
    assert after == 2 * MOST_RECORDS + 1
    assert b"holds 10001 records, at most 10000" in records[0].headers[0][1]


def test_bytes_that_are_not_packed_like_this_are_refused_too() -> None:
    with pytest.raises(RefusedBatchError, match="does not unpack into 1 MiB"):
        bounded(cramjam.zstd.decompress_into, 1 << 20)(b"no zstd at all")


def test_what_unpacks_to_exactly_the_bound_is_taken() -> None:
    unpack = bounded(cramjam.zstd.decompress_into, 1 << 20)
    assert len(unpack(bytes(cramjam.zstd.compress(bytes(1 << 20))))) == 1 << 20
    with pytest.raises(RefusedBatchError):
        unpack(bytes(cramjam.zstd.compress(bytes((1 << 20) + 1))))


def test_the_message_that_stands_for_it_goes_to_quarantine_and_says_why() -> None:
    (stands,), _ = fetched(batch(0, [bytes(LARGEST_BATCH_BYTES)]))
    message = wire.signed(b"", SUMMARY.name, "", headers=tuple(stands.headers))
    verdict = verify(message, wire.membership(), now_ms=wire.SLOT_MS)
    assert isinstance(verdict, Rejected)
    assert (verdict.reason, verdict.signed) == ("bounds", False)
    assert "was stepped over" in verdict.detail
