"""What the broker sends is taken apart within bounds, so that a few kilobytes cannot become gigabytes in a worker.

aiokafka unpacks a compressed batch whole, whatever its size, and stops for ever at one that it cannot unpack. Here a
batch that is too large is stepped over: one empty message with `REFUSED_HEADER` stands for it at its last offset, goes
to quarantine like any other, and says what was refused. The batch itself stays in the topic as long as that keeps it.
"""

import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

import cramjam
from aiokafka.consumer import fetcher  # type: ignore[import-untyped]  # Faust's client, without types
from aiokafka.record.default_records import DefaultRecordBatch  # type: ignore[import-untyped]  # same
from aiokafka.structs import ConsumerRecord  # type: ignore[import-untyped]  # same

from streams.messages import REFUSED_HEADER

LARGEST_BATCH_BYTES: Final = 8 << 20  # four of the largest messages; a probe sends 256 KiB
MOST_RECORDS: Final = 10_000  # a probe's batch holds a few hundred
_FIRST_GUESS: Final = 8  # JSON of summaries becomes about a sixth
_CODECS: Final = ("zstd", "lz4", "gzip")  # snappy cannot grow more than 21 times, which the size of a message bounds

Unpack = Callable[[Any], bytes]


class RefusedBatchError(Exception):
    """A batch that is not taken apart; the text says why."""


def bound_fetches() -> None:
    """Let every consumer of this process take batches apart within bounds; a second call changes nothing."""
    codecs = sys.modules[DefaultRecordBatch.__module__]
    for name in _CODECS:
        getattr(codecs, f"{name}_decode")  # where it is called another day, that is told here and not by a bomb
        setattr(codecs, f"{name}_decode", bounded(getattr(cramjam, name).decompress_into))
    fetcher.PartitionRecords = BoundedRecords


def bounded(unpack_into: Callable[[Any, bytearray], int], largest_bytes: int = LARGEST_BATCH_BYTES) -> Unpack:
    """Return a function that unpacks up to `largest_bytes` and asks for no more memory than about what it needs.

    It raises `RefusedBatchError` for what is larger, or is not packed like this at all.
    """

    def unpack(packed: Any) -> bytes:  # noqa: ANN401 - any buffer
        size = min(max(_FIRST_GUESS * len(packed), 1 << 16), largest_bytes)
        while True:
            room = bytearray(size)
            try:
                return bytes(memoryview(room)[: unpack_into(packed, room)])
            except cramjam.DecompressionError as err:
                if size == largest_bytes:
                    raise RefusedBatchError(f"does not unpack into {largest_bytes >> 20} MiB: {err}") from err
            size = min(4 * size, largest_bytes)

    return unpack


class _Watched:
    """The batches of a fetch, one after the other; remembers the one at hand."""

    def __init__(self, batches: Any) -> None:  # noqa: ANN401 - aiokafka's own
        self._batches = batches
        self.at_hand: Any = None

    def has_next(self) -> bool:
        return bool(self._batches.has_next())

    def next_batch(self) -> Any:  # noqa: ANN401 - aiokafka's own
        self.at_hand = self._batches.next_batch()
        records = self.at_hand.last_offset_delta + 1
        if records > MOST_RECORDS:
            raise RefusedBatchError(f"holds {records} records, at most {MOST_RECORDS}")
        return self.at_hand


class BoundedRecords(fetcher.PartitionRecords):  # type: ignore[misc]  # aiokafka has no types
    """The records of one fetch, with one that stands for each batch that was refused."""

    def __init__(self, tp: Any, records: Any, *rest: Any) -> None:  # noqa: ANN401 - as aiokafka calls it
        self._watched = _Watched(records)
        super().__init__(tp, self._watched, *rest)

    def _unpack_records(self) -> Iterator[Any]:
        while True:
            try:
                yield from super()._unpack_records()
            except RefusedBatchError as err:
                yield self._stand_in(str(err))
            else:
                return

    def _stand_in(self, why: str) -> Any:  # noqa: ANN401 - aiokafka's own
        batch, at = self._watched.at_hand, self._tp
        last = batch.next_offset - 1
        self.next_fetch_offset = batch.next_offset
        text = f"the batch at offsets {batch.base_offset} to {last} {why}; it was stepped over"
        return ConsumerRecord(
            topic=at.topic,
            partition=at.partition,
            offset=last,
            timestamp=batch.max_timestamp,
            timestamp_type=batch.timestamp_type,
            key=b"",
            value=b"",
            checksum=None,
            serialized_key_size=0,
            serialized_value_size=0,
            headers=((REFUSED_HEADER, text.encode()),),
        )
