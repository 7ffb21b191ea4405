"""Only the broker's acknowledgement marks a record as delivered; an error is repeated."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from kafka.errors import KafkaConnectionError, KafkaTimeoutError
from support.fake_producer import FakeProducer

from probes.lanes import BacklogConfig, Bucket
from probes.outbox import Outbox, open_outbox
from probes.publish import KafkaConfig, make_producer, security_settings
from probes.publisher import MAX_IN_FLIGHT, Publisher, open_publisher
from probes.spool import Spool, open_spool
from probes.spool_group import Entry
from probes.spool_reader import SpoolReader, open_reader
from schemas.clock import ManualClock, SystemClock
from schemas.errors import ConfigError

NO_CHANCE = Random(1)  # noqa: S311 - a test wants the same numbers again
TOPIC = "isochrone.summary.v1"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(wall_ns=1_800_000_000 * 10**9)


@pytest.fixture
def spool(tmp_path: Path, clock: ManualClock) -> Iterator[Spool]:
    with open_spool(tmp_path / "spool.db", clock=clock) as opened:
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
    return Publisher("m/p", spool.path, outbox, Bucket(BacklogConfig(start_jitter_s=0), clock, NO_CHANCE), clock)


def fill(outbox: Outbox, spool: Spool, count: int) -> None:
    for _ in range(count):
        outbox.put(Entry(spool.spool_id, TOPIC, lambda seq: (b"%d" % seq, [("h", b"1")])))
    assert outbox.flush(5.0)


def unsent(reader: SpoolReader) -> list[int]:
    return [row.key.seq for lane in ("live", "backlog") for row in reader.pending(1000, lane)]


def test_a_message_is_keyed_by_its_probe_and_carries_its_headers(
    spool: Spool, outbox: Outbox, reader: SpoolReader, publisher: Publisher
) -> None:
    fill(outbox, spool, 1)
    broker = FakeProducer()
    publisher.step(broker, reader)
    (sent,) = broker.sent
    assert (sent.topic, sent.key, sent.value, sent.headers) == (TOPIC, b"m/p", b"0", [("h", b"1")])


def test_a_record_is_delivered_when_the_broker_says_so_and_not_before(
    spool: Spool, outbox: Outbox, reader: SpoolReader, publisher: Publisher
) -> None:
    fill(outbox, spool, 2)
    broker = FakeProducer(acknowledges=False)
    publisher.step(broker, reader)
    broker.sent[1].future.succeed()
    publisher.step(broker, reader)
    assert outbox.flush(5.0)
    assert unsent(reader) == [0]
    assert len(broker.sent) == 2


def test_an_error_means_that_nobody_knows_and_the_record_is_sent_again(
    spool: Spool, outbox: Outbox, reader: SpoolReader, publisher: Publisher
) -> None:
    fill(outbox, spool, 1)
    broker = FakeProducer(acknowledges=False)
    publisher.step(broker, reader)
    broker.sent[0].future.fail(KafkaTimeoutError("30 s"))
    publisher.stop()  # no second of patience in a test
    publisher.step(broker, reader)
    publisher.step(broker, reader)
    assert [sent.value for sent in broker.sent] == [b"0", b"0"]
    assert publisher.errors == 1


def test_what_is_on_its_way_is_bounded(spool: Spool, outbox: Outbox, reader: SpoolReader, publisher: Publisher) -> None:
    fill(outbox, spool, 3 * MAX_IN_FLIGHT)
    broker = FakeProducer(acknowledges=False)
    for _ in range(3):
        publisher.step(broker, reader)
    assert len(broker.sent) == MAX_IN_FLIGHT


def test_live_records_pass_a_backlog(
    spool: Spool, outbox: Outbox, reader: SpoolReader, publisher: Publisher, clock: ManualClock
) -> None:
    fill(outbox, spool, 100)
    clock.advance_s(600)
    broker = FakeProducer(acknowledges=False)
    publisher.step(broker, reader)
    assert len(broker.sent) < MAX_IN_FLIGHT
    fill(outbox, spool, 1)
    publisher.step(broker, reader)
    assert broker.sent[-1].value == b"100"


def test_f01_a_broker_that_is_away_is_tried_again_and_the_spool_waits(tmp_path: Path) -> None:
    clock = SystemClock()
    tries: list[FakeProducer] = []

    def connect() -> FakeProducer:
        tries.append(FakeProducer())
        if len(tries) == 1:
            raise KafkaConnectionError
        return tries[-1]

    with open_spool(tmp_path / "spool.db", clock=clock) as spool, open_outbox(spool, clock=clock) as outbox:
        fill(outbox, spool, 3)
        path = spool.path
        with open_publisher("m/p", path, outbox, clock=clock, random=NO_CHANCE, connect=connect) as publisher:
            assert publisher.drain(10.0)
    assert [sent.value for sent in tries[1].sent] == [b"0", b"1", b"2"]
    assert tries[1].closed
    assert publisher.delivered == 3


def test_the_password_is_read_from_its_file_and_its_absence_is_named(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3\n")
    config = KafkaConfig(security_protocol="SASL_SSL", sasl_username="p", sasl_password_file=str(tmp_path / "secret"))
    assert security_settings(config)["sasl_plain_password"] == "s3"
    with pytest.raises(ConfigError, match="sasl_password_file"):
        security_settings(KafkaConfig(sasl_password_file=str(tmp_path / "none")))


def test_idempotence_and_all_acknowledgements_are_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}
    monkeypatch.setattr("probes.publish.KafkaProducer", lambda **settings: asked.update(settings))
    make_producer(KafkaConfig(), "m/p")
    assert (asked["enable_idempotence"], asked["acks"]) == (True, "all"), "kafka-python drops the one quietly else"
    assert asked["delivery_timeout_ms"] == 30_000
    assert "retries" not in asked
