"""How far the tables are behind is told from the store and from Kafka, also when one of them is away."""

from pathlib import Path

import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.consumer import KafkaConsumer
from kafka.structs import OffsetAndMetadata
from support import wire_messages as wire
from support.broker import fresh_spec
from support.meshes import SMALL
from support.stores import FixedRegistry
from typer.testing import CliRunner

from deploy.cli.main import build
from deploy.configfile import write_config
from deploy.ingest import Ingest, ingest_line, ingest_of
from deploy.place import Address, Place
from deploy.topics_admin import ensure_topics, group_lag
from schemas.clock import SystemClock, floor_ms, wall_ms
from schemas.mesh import parse_mesh
from schemas.mesh_rows import mesh_rows
from schemas.tables import MESH
from streams.flush import Flusher
from streams.store import Store, StoreConfig

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


@pytest.mark.needs_engine
def test_status_says_how_far_the_tables_are_behind(store: Store, store_config: StoreConfig, tmp_path: Path) -> None:
    mesh = parse_mesh(SMALL, source="small.toml")
    row = mesh_rows(mesh, floor_ms(wall_ms(CLOCK), 60_000) // 1000 - 3600)["mesh"][0]
    store.insert(MESH, [tuple(row[name] for name in MESH.columns)])
    address = Address(mesh=mesh.id, bootstrap="127.0.0.1:1", writer=store_config, reader=store_config, page_url="")
    write_config(Place(root=tmp_path).address_file, address)
    said = CliRunner().invoke(build(["status"]), ["status", "--state", str(tmp_path)])
    assert said.exit_code == 0, said.output
    assert "ingest: nothing stored in a day, kafka does not say what waits" in said.output
    assert (
        '"ingest":{"waiting":null'
        in CliRunner().invoke(build(["status"]), ["status", "--json", "--state", str(tmp_path)]).output
    )
