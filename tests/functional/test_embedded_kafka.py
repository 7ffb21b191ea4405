"""The real broker: killed and started again with what it acknowledged; its topics checked, not trusted."""

import os
import signal
import threading
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from support.broker import START_S, fresh_spec, require_broker_tools

from deploy.embedded.kafka.broker import BrokerHandle, running_broker
from deploy.ports import free_port, port_is_free
from deploy.topics_admin import broker_answers, ensure_topics
from schemas.errors import ConfigError, UnavailableError
from schemas.topics import TOPICS

pytestmark = pytest.mark.needs_broker


def produce(bootstrap: str, topic: str, value: bytes) -> None:
    producer = KafkaProducer(
        bootstrap_servers=bootstrap,
        acks="all",
        enable_idempotence=True,
        compression_type="zstd",
        bootstrap_timeout_ms=10_000,
    )
    try:
        producer.send(topic, value, key=b"k").get(timeout=20)
    finally:
        producer.close(timeout=5)


def read_all(bootstrap: str, topic: str) -> list[bytes]:
    """Return every value of a topic, up to the ends seen at the start."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=None, auto_offset_reset="earliest")
    try:
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions)
        values: list[bytes] = []
        for _ in range(40):
            if all(consumer.position(at) >= end for at, end in ends.items()):
                break
            values += [record.value for records in consumer.poll(500).values() for record in records]
    finally:
        consumer.close()
    return values


def test_what_a_broker_acknowledged_outlives_kill_9_and_a_clean_stop(tmp_path: Path) -> None:
    require_broker_tools()
    port, controller_port, log_path = free_port(), free_port(), tmp_path / "kafka.log"
    spec = fresh_spec("kept")

    def broker() -> AbstractContextManager[BrokerHandle]:
        return running_broker(tmp_path / "state", port, controller_port, log_path=log_path, deadline_s=START_S)

    with broker() as first:
        assert ensure_topics(first.bootstrap, [spec], "embedded") == (spec.name,)
        produce(first.bootstrap, spec.name, b"before the kill")
        os.kill(first.pid, signal.SIGKILL)
    with broker() as second:
        assert ensure_topics(second.bootstrap, [spec], "embedded") == ()
        produce(second.bootstrap, spec.name, b"after the kill")
    with broker() as third:
        values = read_all(third.bootstrap, spec.name)
    assert sorted(values) == [b"after the kill", b"before the kill"]
    assert port_is_free(port)


def test_a_second_broker_on_a_running_ones_port_is_refused_by_name(kafka_broker: str, tmp_path: Path) -> None:
    if os.environ.get("ISOCHRONE_TEST_KAFKA"):
        pytest.skip("the broker is not on this host's loopback")
    port = int(kafka_broker.rpartition(":")[2])
    with (
        pytest.raises(ConfigError, match=rf"port {port} on 127.0.0.1 is in use by pid \d+ \(java\).*kafka.port"),
        running_broker(tmp_path, port, free_port(), log_path=tmp_path / "kafka.log"),
    ):
        pass


def test_a_folder_of_strange_files_is_never_formatted_over(tmp_path: Path) -> None:
    require_broker_tools()
    precious = tmp_path / "data" / "precious"
    precious.parent.mkdir()
    precious.write_text("mine")
    with (
        pytest.raises(ConfigError, match=r"not formatted over"),
        running_broker(tmp_path, free_port(), free_port(), log_path=tmp_path / "kafka.log"),
    ):
        pass
    assert precious.read_text() == "mine"


def test_a_second_broker_on_a_running_ones_folder_is_refused_by_pid(tmp_path: Path) -> None:
    require_broker_tools()
    log_path = tmp_path / "kafka.log"
    with running_broker(tmp_path / "state", free_port(), free_port(), log_path=log_path, deadline_s=START_S) as first:
        with (
            pytest.raises(ConfigError, match=rf"{tmp_path}/state is in use by pid {first.pid}"),
            running_broker(tmp_path / "state", free_port(), free_port(), log_path=log_path),
        ):
            pass
        assert broker_answers(first.bootstrap, 5.0)
    assert not Path(f"/proc/{first.pid}").exists()


def test_the_shipped_topics_are_created_once_and_pass_the_check(kafka_broker: str) -> None:
    ensure_topics(kafka_broker, TOPICS, "embedded")
    assert ensure_topics(kafka_broker, TOPICS, "embedded") == ()


@pytest.mark.parametrize(
    ("fields", "setting", "remedy"),
    [
        ({"partitions_embedded": 3}, "partitions is 2, wanted 3", "fixed for ever"),
        ({"retention_ms": 60_000}, "retention.ms is 604800000, wanted 60000", "--add-config retention.ms=60000"),
        (
            {"max_message_bytes": 1024},
            "max.message.bytes is 2097152, wanted 1024",
            "--add-config max.message.bytes=1024",
        ),
    ],
)
def test_a_topic_with_another_setting_refuses_the_start(
    kafka_broker: str, fields: dict[str, int], setting: str, remedy: str
) -> None:
    spec = fresh_spec("checked")
    ensure_topics(kafka_broker, [spec], "embedded")
    changed = msgspec.structs.replace(spec, **fields)
    with pytest.raises(ConfigError) as refused:
        ensure_topics(kafka_broker, [changed], "embedded")
    assert f"{spec.name}: {setting}" in str(refused.value)
    assert remedy in str(refused.value)


def test_a_silent_address_is_no_broker_and_says_so_in_time() -> None:
    nobody = f"127.0.0.1:{free_port()}"
    threads = threading.active_count()
    assert not broker_answers(nobody, 0.5)
    with pytest.raises(UnavailableError, match=r"topics not checked within 1 s"):
        ensure_topics(nobody, TOPICS, "embedded", deadline_s=1.0)
    assert threading.active_count() == threads
