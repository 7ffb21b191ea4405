"""How far the tables are behind is told from the store and from Kafka, also when one of them is away."""

import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.consumer import KafkaConsumer
from kafka.structs import OffsetAndMetadata
from support import wire_messages as wire
from support.broker import fresh_spec
from support.stores import FixedRegistry

from deploy.ingest import Ingest, ingest_line, ingest_of
from deploy.topics_admin import ensure_topics, group_lag
from schemas.clock import SystemClock, floor_ms, wall_ms
from streams.flush import Flusher
from streams.store import Store

CLOCK = SystemClock()


@pytest.mark.needs_broker
def test_the_lag_of_a_group_is_what_it_has_not_committed(kafka_broker: str) -> None:
    spec, group = fresh_spec("lag"), "lag-group"
    ensure_topics(kafka_broker, (spec,), "embedded")
    producer = KafkaProducer(bootstrap_servers=kafka_broker, acks="all")
    for _ in range(5):
        producer.send(spec.name, value=b"x", partition=0)
    producer.flush(timeout=20)
    producer.close(timeout=5)
    consumer = KafkaConsumer(bootstrap_servers=kafka_broker, group_id=group, enable_auto_commit=False)
    consumer.commit({TopicPartition(spec.name, 0): OffsetAndMetadata(2, "", -1)})
    consumer.close()
    assert group_lag(kafka_broker, group) == 3


def test_a_cluster_that_does_not_answer_tells_no_lag() -> None:
    assert group_lag("127.0.0.1:1", "g", deadline_s=0.2) is None


@pytest.mark.needs_engine
def test_the_age_of_the_newest_slot_is_told_and_an_empty_store_is_stalled(store: Store) -> None:
    slot_ms = floor_ms(wall_ms(CLOCK), 10_000)
    empty = ingest_of(store, wire.MESH, None, now_s=slot_ms // 1000)
    assert (empty.behind_s, empty.waiting, empty.is_stalled) == (None, None, True)
    Flusher(store, FixedRegistry(), CLOCK).flush(
        [wire.message(wire.summary(slot_start_ms=slot_ms), received_ms=slot_ms)]
    )
    fresh = ingest_of(store, wire.MESH, None, now_s=slot_ms // 1000 + 7)
    assert (fresh.behind_s, fresh.is_stalled) == (7, False)


def test_the_line_says_what_waits_and_what_to_do() -> None:
    assert ingest_line(Ingest(waiting=3, behind_s=5, quarantined=0)) == (
        "ingest: newest slot 5 s old, 3 messages wait, 0 refused in an hour"
    )
    assert "STALLED" in ingest_line(Ingest(waiting=None, behind_s=91, quarantined=0))
