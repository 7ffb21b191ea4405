"""Reading ahead: when it begins, where, what it brings, and when it ends."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
from aiokafka import TopicPartition  # type: ignore[import-untyped]  # it has no types
from aiokafka.errors import KafkaConnectionError  # type: ignore[import-untyped]  # same
from structlog.testing import capture_logs

from streams import ahead as ahead_module
from streams.ahead import Ahead
from streams.messages import RawMessage

A, B = TopicPartition("isochrone.summary.v1", 0), TopicPartition("isochrone.summary.v1", 1)
FIRST = 3  # the oldest message of every partition


class Record(NamedTuple):
    """What aiokafka yields."""

    topic: str
    partition: int
    offset: int
    key: bytes | None = None
    value: bytes | None = b"v"
    headers: Sequence[tuple[str, bytes | None]] = (("h", None),)
    timestamp: int = 7


class FakeReader:
    """Partitions as a consumer of aiokafka sees them, which is away as often as it is told."""

    def __init__(self, ends: Mapping[Any, int], *, stood: Mapping[Any, int] = {}, away: int = 0) -> None:
        self.ends = dict(ends)
        self.stood = dict(stood)
        self.away = away
        self.assigned: list[Any] = []
        self.places: dict[Any, int] = {}
        self.seeks: list[dict[Any, int]] = []
        self.asked = 0

    @asynccontextmanager
    async def reading(self) -> AsyncIterator["FakeReader"]:
        yield self

    def assign(self, parts: Sequence[Any]) -> None:
        self.assigned = list(parts)

    def unsubscribe(self) -> None:
        self.assigned = []
        self.places = {}

    async def committed(self, part: Any) -> int | None:  # noqa: ANN401 - as aiokafka's
        await asyncio.sleep(0)
        return self.stood.get(part)

    async def beginning_offsets(self, parts: Sequence[Any]) -> Mapping[Any, int]:
        self.seeks.append({})
        return dict.fromkeys(parts, FIRST)

    async def end_offsets(self, parts: Sequence[Any]) -> Mapping[Any, int]:
        await asyncio.sleep(0)
        self.asked += 1
        self.away -= 1
        if self.away >= 0:
            raise KafkaConnectionError("away")
        return {part: self.ends[part] for part in parts}

    async def position(self, part: Any) -> int:  # noqa: ANN401 - as aiokafka's
        return int(self.places[part])

    def seek(self, part: Any, offset: int) -> None:  # noqa: ANN401 - as aiokafka's
        assert part in self.assigned
        self.places[part] = offset
        self.seeks[-1][part] = offset

    def highwater(self, part: Any) -> int:  # noqa: ANN401 - as aiokafka's
        return int(self.ends[part])

    async def getmany(self, *, timeout_ms: int, max_records: int) -> Mapping[Any, Sequence[Any]]:
        assert timeout_ms > 0
        await asyncio.sleep(0)
        found: dict[Any, list[Record]] = {}
        for part, place in self.places.items():
            upto = min(self.ends[part], place + max_records)
            found[part] = [Record(part.topic, part.partition, offset) for offset in range(place, upto)]
            self.places[part] = upto
        return found


class FakeWorker:
    """What a worker owns, where it stands, and what it was brought; `then` is done when so much was."""

    def __init__(self, *owned: Any) -> None:  # noqa: ANN401 - partitions
        self.owned = set(owned)
        self.places: dict[tuple[str, int], int] = {}
        self.taken: list[RawMessage] = []
        self.then: dict[int, Callable[[], None]] = {}

    def stand_at(self, part: TopicPartition, offset: int) -> None:
        self.places[part.topic, part.partition] = offset

    async def put_ahead(self, message: RawMessage) -> None:
        self.taken.append(message)
        self.then.pop(len(self.taken), lambda: None)()


@pytest.fixture(autouse=True)
def short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead_module, "LOOK_S", 0.0)


def run_until(reader: FakeReader, worker: FakeWorker, done: Callable[[], bool]) -> list[Any]:
    """Read ahead with flushes of ten until something holds, for ten seconds at most; return what is said."""

    async def play() -> None:
        ahead = Ahead(reader.reading, lambda: worker.owned, worker, batch=10)
        running = asyncio.create_task(ahead.run())
        async with asyncio.timeout(10):
            while not done():
                assert not running.done(), running.exception()
                await asyncio.sleep(0)
        running.cancel()

    with capture_logs() as said:
        asyncio.run(play())
    return said


def test_it_begins_half_a_flush_before_the_end_and_ends_when_less_than_a_flush_is_unread() -> None:
    reader, worker = FakeReader({A: 1000, B: 5}, stood={B: FIRST}), FakeWorker(B, A)
    worker.stand_at(A, 961)
    worker.then[4] = lambda: worker.stand_at(A, 993)
    said = run_until(reader, worker, lambda: len(worker.taken) == 4 and reader.assigned == [])
    assert reader.seeks == [{A: 998, B: FIRST}]
    assert [(each.partition, each.offset) for each in worker.taken] == [(0, 998), (0, 999), (1, 3), (1, 4)]
    first = worker.taken[0]
    assert (first.key, first.value, first.headers, first.received_ms) == (b"", b"v", (("h", b""),), 7)
    assert [line["event"] for line in said] == ["reads ahead", "reads ahead no longer"]
    assert said[1]["caught_up"]


def test_empty_partitions_have_no_share_in_what_is_read_again() -> None:
    reader, worker = FakeReader({A: 1000, B: FIRST}), FakeWorker(A, B)
    run_until(reader, worker, lambda: len(worker.taken) > 0)
    assert reader.seeks == [{A: 995, B: FIRST}]


def test_four_flushes_are_no_reason() -> None:
    reader, worker = FakeReader({A: 1000, B: 1000}, stood={A: 900, B: 1000}), FakeWorker(A, B)
    worker.stand_at(A, 960)
    run_until(reader, worker, lambda: reader.asked == 50)
    assert (reader.seeks, worker.taken) == ([], [])


def test_what_waits_is_known_before_the_first_message_came() -> None:
    reader, worker = FakeReader({A: 1000}, stood={A: 959}), FakeWorker(A)
    run_until(reader, worker, lambda: len(worker.taken) > 0)
    assert (reader.seeks, worker.places) == ([{A: 995}], {})


def test_what_the_group_has_stored_is_not_read_again() -> None:
    reader, worker = FakeReader({A: 1000, B: 50}, stood={A: 959, B: 50}), FakeWorker(A, B)
    worker.stand_at(A, 998)
    reader.ends[A] = 1039
    worker.then[5] = lambda: worker.stand_at(A, 1039)
    run_until(reader, worker, lambda: len(worker.taken) == 5 and reader.assigned == [])
    assert reader.seeks == [{A: 1034, B: 50}]
    reader, worker = FakeReader({A: 1000, B: 52}, stood={A: 0, B: 50}), FakeWorker(A, B)
    run_until(reader, worker, lambda: len(worker.taken) > 0)
    assert reader.seeks == [{A: 998, B: 50}]


def test_where_it_stood_is_remembered_when_the_same_partitions_come_again() -> None:
    reader, worker = FakeReader({A: 1000}, stood={A: 0}), FakeWorker(A)
    worker.stand_at(A, 1000)

    def long_forgotten() -> bool:
        if reader.asked == 5:
            worker.places.clear()
        return reader.asked >= 50

    run_until(reader, worker, long_forgotten)
    assert (reader.seeks, worker.taken) == ([], [])


def test_a_reader_that_is_itself_far_behind_goes_to_the_present_again() -> None:
    reader, worker = FakeReader({A: 1000}), FakeWorker(A)
    worker.stand_at(A, 0)
    worker.then[5] = lambda: reader.ends.update({A: 5000})
    run_until(reader, worker, lambda: len(worker.taken) == 10)
    assert reader.seeks == [{A: 995}, {A: 4995}]
    assert [each.offset for each in worker.taken] == [*range(995, 1000), *range(4995, 5000)]


def test_other_partitions_are_read_from_their_own_present() -> None:
    reader, worker = FakeReader({A: 1000, B: 500}), FakeWorker(A)
    worker.stand_at(A, 0)

    def change_hands() -> None:
        worker.owned = {B}
        worker.stand_at(B, 0)

    worker.then[5] = change_hands
    said = run_until(reader, worker, lambda: len(worker.taken) > 5)
    assert reader.seeks == [{A: 995}, {B: 495}]
    assert (reader.assigned, said[1]["caught_up"]) == ([B], False)


def test_a_broker_that_is_away_is_said_and_asked_again() -> None:
    reader, worker = FakeReader({A: 1000}, away=2), FakeWorker(A)
    worker.stand_at(A, 0)
    said = run_until(reader, worker, lambda: len(worker.taken) > 0)
    assert [line["event"] for line in said] == ["cannot read ahead", "cannot read ahead", "reads ahead"]
