"""The publisher over a real broker that dies for an hour, freezes, or loses a topic: 0 lost, 0 doubled by identity."""

import gc
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from support.agents import wait_for
from support.broker import START_S, fresh_spec, require_broker_tools
from support.spools import saying, text

from deploy.embedded.kafka.broker import running_broker
from deploy.ports import free_port
from deploy.topics_admin import ensure_topics
from probes.lanes import BacklogConfig
from probes.outbox import Outbox, open_outbox
from probes.publish import KafkaConfig, give_up, make_producer
from probes.publisher import Publisher, open_publisher
from probes.spool import Spool, open_spool
from probes.spool_group import Entry
from probes.spool_reader import open_reader
from schemas.clock import SystemClock
from schemas.topics import TopicSpec

pytestmark = pytest.mark.needs_broker

SLOT_S = 10.0


class HastyClock(SystemClock):
    """The clocks of this host, set forward by a test: an hour in seconds."""

    def __init__(self) -> None:
        self.ahead_ns = 0

    def wall_ns(self) -> int:
        return super().wall_ns() + self.ahead_ns

    def mono_ns(self) -> int:
        return super().mono_ns() + self.ahead_ns

    def skip_s(self, seconds: float) -> None:
        self.ahead_ns += round(seconds * 1e9)


@dataclass
class Probe:
    """A spool and its publisher; records are named by their number."""

    spool: Spool
    outbox: Outbox
    publisher: Publisher
    clock: HastyClock
    topic: str
    said: int = 0

    def say(self, count: int = 1) -> None:
        """Spool records, as an agent does."""
        for _ in range(count):
            self.put(self.topic, b"%d " % self.said + text(20_000))
            self.said += 1

    def put(self, topic: str, value: bytes) -> None:
        self.outbox.put(Entry(self.spool.spool_id, topic, saying(value)))
        assert self.outbox.flush(5.0)

    def unsent(self) -> int:
        with open_reader(self.spool.path, clock=self.clock) as reader:
            return sum(held.unsent for held in reader.held())


@contextmanager
def probing(folder: Path, bootstrap: str, topic: str, jitter_s: float = 0.0) -> Iterator[Probe]:
    clock = HastyClock()
    kafka = KafkaConfig(bootstrap=(bootstrap,), delivery_timeout_ms=3_000, request_timeout_ms=1_500, linger_ms=5)
    backlog = BacklogConfig(start_jitter_s=jitter_s)
    with (
        open_spool(folder / "s.db", clock=clock) as spool,
        open_outbox(spool, clock=clock) as outbox,
        open_publisher(
            "m/p",
            spool.path,
            outbox,
            clock=clock,
            random=Random(1),  # noqa: S311 - a test wants the same jitter again
            connect=lambda: make_producer(kafka, "m/p"),
            backlog=backlog,
            answer_s=6.0,
        ) as publisher,
    ):
        yield Probe(spool, outbox, publisher, clock, topic)


def arrived(bootstrap: str, topic: str) -> list[int]:
    """Return the numbers of the records in the topic, in the order of their partition."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    try:
        parts = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        consumer.assign(parts)
        consumer.seek_to_beginning(*parts)
        ends = consumer.end_offsets(parts)
        found: list[int] = []
        for _ in range(60):
            if all(consumer.position(at) >= end for at, end in ends.items()):
                break
            for records in consumer.poll(500).values():
                found += [int(record.value.split(b" ", 1)[0]) for record in records]
    finally:
        consumer.close()
    return found


@pytest.mark.alone
def test_f01_a_broker_down_for_an_hour_loses_nothing_and_the_present_is_there_first(tmp_path: Path) -> None:
    require_broker_tools()
    ports = free_port(), free_port()
    spec = TopicSpec(name="test.f01", partitions_embedded=1)
    place = {"log_path": tmp_path / "kafka.log", "deadline_s": START_S}
    with running_broker(tmp_path / "kafka", *ports, **place) as broker:  # type: ignore[arg-type]
        ensure_topics(broker.bootstrap, (spec,), "embedded")
        with probing(tmp_path, broker.bootstrap, spec.name, jitter_s=20.0) as probe:
            probe.say(3)
            wait_for("the first records", lambda: probe.unsent() == 0, 20.0)
            os.kill(broker.pid, signal.SIGKILL)
            for _ in range(360):
                probe.say()
                probe.clock.skip_s(SLOT_S)
            with running_broker(tmp_path / "kafka", *ports, **place):  # type: ignore[arg-type]
                back_s = time.monotonic()
                fresh = probe.said
                probe.say()
                wait_for("the fresh record", lambda: fresh in arrived(broker.bootstrap, spec.name), 8.0)
                fresh_s = time.monotonic() - back_s
                while probe.unsent() > 0 and time.monotonic() - back_s < 60:
                    probe.clock.skip_s(1.0)
                    time.sleep(0.01)
                found = arrived(broker.bootstrap, spec.name)
    assert fresh_s <= 5.0
    assert set(found) == set(range(probe.said)), "lost"
    seqs = Counter(found)
    assert sum(seqs.values()) - len(seqs) <= probe.publisher.errors, "twice without an error that nobody knew of"
    assert found.index(fresh) < found.index(100), "the hour went before the present"


def test_f04_a_broker_that_freezes_and_thaws_leaves_no_gap(tmp_path: Path) -> None:
    require_broker_tools()
    spec = TopicSpec(name="test.f04", partitions_embedded=1)
    log = tmp_path / "kafka.log"
    with running_broker(tmp_path / "kafka", free_port(), free_port(), log_path=log, deadline_s=START_S) as broker:
        ensure_topics(broker.bootstrap, (spec,), "embedded")
        with probing(tmp_path, broker.bootstrap, spec.name) as probe:
            for frozen_s in (4.0, 0.5):  # longer than the producer waits, and shorter
                probe.say(20)
                os.kill(broker.pid, signal.SIGSTOP)
                try:
                    probe.say(20)
                    time.sleep(frozen_s)
                finally:
                    os.kill(broker.pid, signal.SIGCONT)
                probe.say(5)
            wait_for("everything acknowledged", lambda: probe.unsent() == 0, 30.0)
            found = arrived(broker.bootstrap, spec.name)
            (state,) = probe.spool.states()
    assert set(found) == set(range(probe.said))
    assert (state.acked_seq, state.dropped) == (probe.said - 1, [])


def test_a_producer_given_up_leaves_no_thread_and_no_record_without_an_answer(kafka_broker: str) -> None:
    spec, answers = fresh_spec("given-up"), list[object]()
    ensure_topics(kafka_broker, (spec,), "embedded")
    before = set(threading.enumerate())
    producer = make_producer(KafkaConfig(bootstrap=(kafka_broker,), linger_ms=5_000), "given-up")
    sent = [producer.send(spec.name, key=b"probe", value=bytes(1000), headers=[]) for _ in range(50)]
    for future in sent:
        future.add_callback(answers.append)
        future.add_errback(answers.append)
    give_up(producer)
    assert len(answers) == 50
    assert set(threading.enumerate()) <= before
    del producer
    gc.collect()  # kafka-python closes once more then, and would wait for what has no answer


def test_f06_a_deleted_topic_is_said_keeps_its_records_and_gets_them_when_it_is_back(
    kafka_broker: str, tmp_path: Path
) -> None:
    gone, other = fresh_spec("gone"), fresh_spec("other")
    ensure_topics(kafka_broker, (gone, other), "embedded")
    with probing(tmp_path, kafka_broker, gone.name) as probe:
        probe.say(3)
        wait_for("the first records", lambda: probe.unsent() == 0, 20.0)
        admin = KafkaAdminClient(bootstrap_servers=kafka_broker)
        try:
            admin.delete_topics([gone.name])
        finally:
            admin.close()
        probe.say(3)
        wait_for("the topic found absent", lambda: gone.name in probe.publisher.absent, 20.0)
        begun_s = time.monotonic()
        probe.put(other.name, b"0 other")
        wait_for("the other topic served", lambda: arrived(kafka_broker, other.name) == [0], 10.0)
        assert time.monotonic() - begun_s < 5.0
        assert probe.unsent() == 3
        ensure_topics(kafka_broker, (gone,), "embedded")
        wait_for("the records in the topic made anew", lambda: probe.unsent() == 0, 30.0)
        assert set(arrived(kafka_broker, gone.name)) == {3, 4, 5}
