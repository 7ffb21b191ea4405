"""The probe over the real broker: what it measured while the broker was down arrives when it is back."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from kafka import KafkaConsumer, TopicPartition
from support.agents import agent_config, free_udp_port, loopback_slice, running_agent, running_reflector, wait_for
from support.broker import START_S, require_broker_tools

from deploy.embedded.kafka.broker import BrokerHandle, running_broker
from deploy.ports import free_port
from deploy.topics_admin import ensure_topics
from probes.publish import KafkaConfig
from probes.spool_reader import open_reader
from schemas.clock import SystemClock
from schemas.codec import decode
from schemas.records import SpoolState, SummaryBatch
from schemas.topics import SUMMARY, TOPICS

pytestmark = pytest.mark.needs_broker


def states(path: Path) -> list[SpoolState]:
    with suppress(sqlite3.OperationalError), open_reader(path, clock=SystemClock()) as reader:
        return [state for state in reader.states() if state.topic == SUMMARY.name]
    return []  # the agent is still making it


def sent_to(bootstrap: str, topic: str) -> list[tuple[bytes, SummaryBatch]]:
    """Return (key, batch) of every message of the topic."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=None, auto_offset_reset="earliest")
    try:
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions)
        found: list[tuple[bytes, SummaryBatch]] = []
        for _ in range(40):
            if all(consumer.position(at) >= end for at, end in ends.items()):
                break
            for records in consumer.poll(500).values():
                found += [(record.key, decode(record.value, SummaryBatch)) for record in records]
    finally:
        consumer.close()
    return found


@contextmanager
def measuring(folder: Path, bootstrap: str) -> Iterator[Path]:
    """Run a probe that publishes to `bootstrap`; yield its spool."""
    config = agent_config(folder, kafka=KafkaConfig(bootstrap=(bootstrap,), delivery_timeout_ms=11_000))
    port = free_udp_port()
    with running_reflector(port), running_agent(config, loopback_slice(port)):
        yield Path(config.spool_path)


def test_f_broker_restart_loses_no_batch_of_the_spool(tmp_path: Path) -> None:
    require_broker_tools()
    ports = free_port(), free_port()

    def broker() -> AbstractContextManager[BrokerHandle]:
        return running_broker(tmp_path / "kafka", *ports, log_path=tmp_path / "kafka.log", deadline_s=START_S)

    def acked(spool: Path, at_least: int) -> Callable[[], bool]:
        return lambda: any(state.acked_seq >= at_least for state in states(spool))

    with ExitStack() as up:
        bootstrap = up.enter_context(broker()).bootstrap
        ensure_topics(bootstrap, TOPICS, "embedded")
        with measuring(tmp_path, bootstrap) as spool:
            wait_for("an acknowledged batch", acked(spool, 0), 20.0)
            up.pop_all().close()
            (down,) = states(spool)
            wait_for("two batches spooled without a broker", lambda: states(spool)[0].last_seq >= down.last_seq + 2)
            up.enter_context(broker())
            wait_for("the backlog", acked(spool, down.last_seq + 2), 40.0)
        found = sent_to(bootstrap, SUMMARY.name)
    (end,) = states(spool)
    assert {key for key, _ in found} == {b"m/p"}
    assert {batch.seq for _, batch in found} >= set(range(end.acked_seq + 1))
    assert len({batch.spool_id for _, batch in found}) == 1
