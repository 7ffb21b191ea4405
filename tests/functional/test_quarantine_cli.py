"""What was refused is listed, shown and sent again from the command line, byte for byte."""

from pathlib import Path

import pytest
from kafka import KafkaConsumer, TopicPartition
from support.broker import fresh_spec
from support.stores import FixedRegistry
from typer.testing import CliRunner

from deploy.cli.main import build
from deploy.configfile import write_config
from deploy.place import Address, Place
from deploy.topics_admin import ensure_topics
from probes.publish import KafkaConfig, open_sender, send_acknowledged
from schemas.clock import SystemClock, wall_ms
from streams.flush import Flusher
from streams.messages import RawMessage
from streams.store import Store, StoreConfig

pytestmark = [pytest.mark.needs_broker, pytest.mark.needs_engine]

GARBAGE = b"\x00\xff not a record"
HEADERS = (("isochrone-key", b"nobody"), ("isochrone-signature", bytes(64)))


@pytest.fixture
def refused(kafka_broker: str, store: Store, store_config: StoreConfig, tmp_path: Path) -> tuple[str, Path]:
    """Return the topic on which garbage came in, and the folder of the stack that refused it."""
    spec = fresh_spec("quarantine")
    ensure_topics(kafka_broker, (spec,), "embedded")
    with open_sender(KafkaConfig(bootstrap=(kafka_broker,)), "test") as producer:
        send_acknowledged(producer, spec.name, b"demo/x", GARBAGE, HEADERS)
    message = RawMessage(
        topic=spec.name,
        partition=0,
        offset=7,
        key=b"demo/x",
        value=GARBAGE,
        headers=HEADERS,
        received_ms=wall_ms(SystemClock()),
    )
    Flusher(store, FixedRegistry(), SystemClock()).flush([message])
    address = Address(mesh="m", bootstrap=kafka_broker, writer=store_config, reader=store_config, page_url="")
    write_config(Place(root=tmp_path).address_file, address)
    return spec.name, tmp_path


def told(state: Path, *words: str) -> str:
    answer = CliRunner().invoke(build(["quarantine"]), ["quarantine", *words, "--state", str(state)])
    assert answer.exit_code == 0, answer.output
    return answer.output


def values(bootstrap: str, topic: str) -> list[bytes]:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, consumer_timeout_ms=5_000, enable_auto_commit=False)
    parts = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
    consumer.assign(parts)
    consumer.seek_to_beginning(*parts)
    found = [(message.key, message.value, tuple(message.headers)) for message in consumer]
    consumer.close()
    assert {(key, headers) for key, _, headers in found} == {(b"demo/x", HEADERS)}
    return [value for _, value, _ in found]


def test_garbage_is_listed_with_its_reason_shown_as_it_came_and_replayed_byte_for_byte(
    refused: tuple[str, Path], kafka_broker: str
) -> None:
    topic, state = refused
    assert f"{topic} 0 7" in told(state, "list")
    assert "not signed" in told(state, "list")
    assert "not a record" in told(state, "show", topic, "0", "7")
    told(state, "replay", topic, "0", "7")
    assert values(kafka_broker, topic) == [GARBAGE, GARBAGE]


def test_a_position_that_is_not_there_is_said_with_what_to_ask(refused: tuple[str, Path]) -> None:
    topic, state = refused
    words = ["quarantine", "show", topic, "0", "8", "--state", str(state)]
    answer = CliRunner().invoke(build(["quarantine"]), words)
    assert "quarantine list" in str(answer.exception)
