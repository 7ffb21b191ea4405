"""The publisher under the faults of a broker: what nobody knows is sent again, no topic holds up another."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from kafka.errors import (
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    NotLeaderForPartitionError,
    OutOfOrderSequenceNumberError,
    UnknownTopicOrPartitionError,
)
from support.fake_producer import FakeFuture, FakeProducer
from support.spools import HEALTH, TOPIC, declared, fill, manual_clock, noise, pending

from probes.lanes import BacklogConfig, Bucket
from probes.outbox import Outbox, open_outbox
from probes.publisher import Publisher, open_publisher
from probes.spool import Spool, open_spool
from probes.spool_again import Stretch, ask_again
from probes.spool_reader import SpoolKey, SpoolReader, open_reader
from schemas.clock import ManualClock, SystemClock
from schemas.errors import ConfigError

NO_CHANCE = Random(1)  # noqa: S311 - a test wants the same numbers again


@pytest.fixture
def clock() -> ManualClock:
    return manual_clock()


@pytest.fixture
def spool(tmp_path: Path, clock: ManualClock) -> Iterator[Spool]:
    with open_spool(tmp_path / "s.db", clock=clock) as opened:
        yield opened


@pytest.fixture
def outbox(spool: Spool, clock: ManualClock) -> Iterator[Outbox]:
    with open_outbox(spool, clock=clock) as opened:
        yield opened


@pytest.fixture
def reader(spool: Spool, clock: ManualClock) -> Iterator[SpoolReader]:
    with open_reader(spool.path, clock=clock) as opened:
        yield opened


@pytest.fixture
def publisher(spool: Spool, outbox: Outbox, clock: ManualClock) -> Publisher:
    made = Publisher("m/p", spool.path, outbox, Bucket(BacklogConfig(start_jitter_s=0), clock, NO_CHANCE), clock)
    made.stop()  # its steps are the test's: no second of patience
    return made


def steps(publisher: Publisher, broker: FakeProducer, reader: SpoolReader, outbox: Outbox, count: int = 3) -> None:
    for _ in range(count):
        publisher.step(broker, reader)
        assert outbox.flush(5.0)


@pytest.mark.parametrize("error", [NotLeaderForPartitionError(), OutOfOrderSequenceNumberError(), KafkaTimeoutError()])
def test_f02_a_leader_that_moves_costs_a_second_sending_and_no_record(
    spool: Spool, outbox: Outbox, reader: SpoolReader, publisher: Publisher, error: KafkaError
) -> None:
    keys = fill(spool, [b"%d" % number for number in range(6)])
    broker = FakeProducer(acknowledges=False)
    publisher.step(broker, reader)
    for sent in broker.sent[1::2]:
        sent.future.fail(error)
    for sent in broker.sent[::2]:
        sent.future.succeed()
    broker.acknowledges = True
    steps(publisher, broker, reader, outbox)
    assert pending(reader) == {}
    assert [sent.value for sent in broker.sent] == [b"0", b"1", b"2", b"3", b"4", b"5", b"1", b"3", b"5"]
    assert publisher.delivered == len(keys)
    assert publisher.errors == 3


def test_f03_a_lost_acknowledgement_repeats_the_same_bytes_under_the_same_name(
    spool: Spool, outbox: Outbox, reader: SpoolReader, publisher: Publisher
) -> None:
    fill(spool, [noise(2_000, number) for number in range(40)])
    log: list[tuple[bytes, tuple[tuple[str, bytes], ...]]] = []  # what the broker wrote, whatever it answered
    for turn in range(12):
        broker = FakeProducer(acknowledges=False)
        publisher.step(broker, reader)
        for number, sent in enumerate(broker.sent):
            log.append((sent.value, tuple(sent.headers)))
            if (number + turn) % 3 == 0:
                sent.future.fail(KafkaTimeoutError())
            else:
                sent.future.succeed()
        publisher.step(FakeProducer(), reader)
        assert outbox.flush(5.0)
    assert pending(reader) == {}
    assert len(set(log)) == 40
    assert len(log) > 40


def test_f05_what_the_broker_forgot_is_sent_again_from_the_reserve_byte_for_byte(
    spool: Spool, outbox: Outbox, reader: SpoolReader, publisher: Publisher, clock: ManualClock
) -> None:
    fill(spool, [noise(3_000, number) for number in range(6)])
    clock.advance_s(100)
    fill(spool, [b"later"])
    fill(spool, [b"other topic"], HEALTH)
    broker = FakeProducer()
    steps(publisher, broker, reader, outbox)
    clock.advance_s(1)  # the old ones are backlog
    steps(publisher, broker, reader, outbox)
    first = {sent.value: sent.headers for sent in broker.sent}
    begun_ms = 1_800_000_000_000
    assert ask_again(spool.path, Stretch(topic=TOPIC, from_ms=begun_ms, until_ms=begun_ms + 50_000)) == 6
    (state,) = (state for state in spool.states() if state.topic == TOPIC)
    assert state.acked_seq == 6, "asked for again is not unacknowledged"
    again = FakeProducer()
    clock.advance_s(1)
    steps(publisher, again, reader, outbox)
    assert [sent.value for sent in again.sent] == [noise(3_000, number) for number in range(6)]
    assert all(first[sent.value] == sent.headers for sent in again.sent)
    clock.advance_s(1)
    steps(publisher, again, reader, outbox)
    assert len(again.sent) == 6


def test_f05_a_hole_is_named_by_its_run_and_seqs_and_only_it_goes_again(spool: Spool, reader: SpoolReader) -> None:
    fill(spool, [b"%d" % number for number in range(1_500)])
    fill(spool, [b"never sent"])
    fill(spool, [b"beat"] * 1_500, HEALTH)
    spool.acknowledge(SpoolKey(spool.spool_id, topic, seq) for topic in (TOPIC, HEALTH) for seq in range(1_500))
    assert ask_again(spool.path, Stretch(run="another run")) == 0
    assert ask_again(spool.path, Stretch(run=spool.spool_id, topic=TOPIC, first=400, last=1_402)) == 1_003
    assert ask_again(spool.path, Stretch(run=spool.spool_id, topic=TOPIC, first=400, last=1_402)) == 0
    assert {key.seq for key in pending(reader)} == {*range(400, 1_403), 1_500}
    assert {key.topic for key in pending(reader)} == {TOPIC}
    with pytest.raises(ConfigError, match="no spool"):
        ask_again(spool.path.with_name("none.db"), Stretch())


def test_f06_a_topic_that_is_gone_is_said_its_records_stay_and_the_others_go_on(
    spool: Spool, outbox: Outbox, reader: SpoolReader, publisher: Publisher, clock: ManualClock
) -> None:
    fill(spool, [b"summary"] * 100)
    fill(spool, [b"heartbeat"], HEALTH)
    broker = FakeProducer(refuses={TOPIC: KafkaTimeoutError("no metadata")})
    steps(publisher, broker, reader, outbox)
    assert [sent.value for sent in broker.sent] == [b"heartbeat"]
    assert set(publisher.absent) == {TOPIC}
    assert len(pending(reader)) == 100
    clock.advance_s(3)
    steps(publisher, broker, reader, outbox)
    assert len(broker.sent) == 1, "left alone for a while"
    broker.refuses.clear()
    clock.advance_s(3)
    steps(publisher, broker, reader, outbox)
    assert len(broker.sent) == 101
    assert publisher.absent == {}
    assert pending(reader) == {}


def test_f06_a_topic_deleted_with_records_on_their_way_keeps_them(
    spool: Spool, outbox: Outbox, reader: SpoolReader, publisher: Publisher, clock: ManualClock
) -> None:
    fill(spool, [b"a", b"b"])
    broker = FakeProducer(acknowledges=False)
    publisher.step(broker, reader)
    for sent in broker.sent:
        sent.future.fail(UnknownTopicOrPartitionError())
    steps(publisher, broker, reader, outbox)
    assert set(publisher.absent) == {TOPIC}
    assert len(pending(reader)) == 2
    clock.advance_s(5)
    broker.acknowledges = True
    steps(publisher, broker, reader, outbox)
    assert pending(reader) == {}


@pytest.mark.parametrize("when", ["at send", "by the broker"])
def test_a_record_that_no_broker_takes_is_declared_and_holds_up_nobody(
    spool: Spool, outbox: Outbox, reader: SpoolReader, publisher: Publisher, when: str
) -> None:
    (large,) = fill(spool, [b"large"])
    fill(spool, [b"heartbeat"], HEALTH)
    error = MessageSizeTooLargeError("3 MB")
    broker = FakeProducer(acknowledges=False, refuses={TOPIC: error} if when == "at send" else {})
    publisher.step(broker, reader)
    for sent in broker.sent:
        if sent.topic == TOPIC:
            sent.future.fail(error)
        else:
            sent.future.succeed()
    steps(publisher, broker, reader, outbox)
    assert declared(spool) == {large}
    assert pending(reader) == {}


def test_a_damaged_record_is_declared_and_the_others_go(
    spool: Spool, outbox: Outbox, reader: SpoolReader, publisher: Publisher
) -> None:
    keys = fill(spool, [noise(900, number) for number in range(3)])
    spool.store.connection().execute("UPDATE record SET value = zeroblob(900) WHERE seq = 1")
    broker = FakeProducer()
    steps(publisher, broker, reader, outbox)
    assert len(broker.sent) == 2
    assert declared(spool) == {keys[1]}
    assert pending(reader) == {}


def test_f18_a_file_that_breaks_under_the_publisher_is_replaced_and_what_is_left_is_sent(tmp_path: Path) -> None:
    clock = SystemClock()
    broker = FakeProducer()
    with open_spool(tmp_path / "s.db", clock=clock) as spool, open_outbox(spool, clock=clock) as outbox:
        fill(spool, [noise(6_000, number) for number in range(40)])
        assert outbox.flush(5.0)
        spool.store.connection().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with spool.path.open("r+b") as file:
            file.seek(-3 * 4096, 2)
            file.write(b"\xff" * 4096 * 3)
        spool.store.connection().execute("PRAGMA shrink_memory")
        config = BacklogConfig(start_jitter_s=0)
        sending = {"clock": clock, "random": NO_CHANCE, "connect": lambda: broker, "backlog": config}
        with open_publisher("m/p", spool.path, outbox, **sending) as publisher:  # type: ignore[arg-type]
            assert publisher.drain(20.0)
        sent = {sent.value for sent in broker.sent}
        assert len(sent) + len(declared(spool)) >= 40
        assert 30 <= len(sent) < 40


def test_a_producer_that_failed_once_or_owes_an_answer_is_replaced_and_everything_goes_again(tmp_path: Path) -> None:
    clock = SystemClock()
    made: list[FakeProducer] = []

    def connect() -> FakeProducer:
        made.append(FakeProducer(acknowledges=len(made) >= 2))
        return made[-1]

    with open_spool(tmp_path / "s.db", clock=clock) as spool, open_outbox(spool, clock=clock) as outbox:
        fill(spool, [b"0", b"1"])
        sending = {"clock": clock, "random": NO_CHANCE, "connect": connect, "answer_s": 0.05}
        with open_publisher("m/p", spool.path, outbox, **sending) as publisher:  # type: ignore[arg-type]
            assert publisher.drain(20.0)
        assert [[sent.value for sent in each.sent] for each in made] == [[b"0", b"1"]] * 3
        assert all(each.closed for each in made)
        assert publisher.delivered == 2


def test_what_a_former_producer_gives_up_late_does_not_end_the_next_one(tmp_path: Path) -> None:
    clock = SystemClock()
    made: list[FakeProducer] = []

    class GivesUpLate(FakeProducer):
        """Answers its records when the next producer is at work, as a thread of kafka-python does."""

        def send(self, *args: object, **fields: object) -> FakeFuture:
            future = super().send(*args, **fields)  # type: ignore[arg-type]
            for sent in made[-2].sent if len(made) > 1 else ():
                sent.future.fail(KafkaTimeoutError("closed"))
            return future

    def connect() -> FakeProducer:
        made.append(GivesUpLate(acknowledges=len(made) == 1))
        return made[-1]

    with open_spool(tmp_path / "s.db", clock=clock) as spool, open_outbox(spool, clock=clock) as outbox:
        fill(spool, [b"0", b"1"])
        sending = {"clock": clock, "random": NO_CHANCE, "connect": connect, "answer_s": 0.05}
        with open_publisher("m/p", spool.path, outbox, **sending) as publisher:  # type: ignore[arg-type]
            assert publisher.drain(20.0)
        assert len(made) == 2
        assert publisher.errors == 0
