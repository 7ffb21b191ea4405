"""The whole probe on loopback with real packets: what it says is signed, whole, and says when it ends."""

from pathlib import Path

import pytest
from support.agents import (
    SLOT_MS,
    agent_config,
    free_udp_port,
    loopback_slice,
    running_agent,
    running_reflector,
    wait_for,
)
from support.fake_producer import FakeProducer

from probes.keys import load_signer
from schemas.codec import decode
from schemas.envelope import check_signature
from schemas.mesh_slice import slice_to_json
from schemas.records import Heartbeat, SummaryBatch
from schemas.topics import HEALTH, SUMMARY

pytestmark = pytest.mark.alone


def batches(broker: FakeProducer) -> list[SummaryBatch]:
    return [decode(sent.value, SummaryBatch) for sent in broker.sent if sent.topic == SUMMARY.name]


def heartbeats(broker: FakeProducer) -> list[Heartbeat]:
    return [decode(sent.value, Heartbeat) for sent in broker.sent if sent.topic == HEALTH.name]


def test_what_the_probe_says_is_signed_whole_and_numbered_without_gaps(tmp_path: Path) -> None:
    broker, port = FakeProducer(), free_udp_port()
    config = agent_config(tmp_path)
    with running_reflector(port), running_agent(config, loopback_slice(port), lambda: broker):
        wait_for("three complete slots", lambda: sum(batch.complete for batch in batches(broker)) >= 3)
    said = batches(broker)
    whole = said[1]
    assert (whole.stream_id, whole.planned, whole.sent, whole.received) == ([1, 2], [20, 20], [20, 20], [20, 20])
    assert whole.forward.n == whole.backward.n == [20, 20]
    assert max(whole.forward.max_us) < 100_000
    assert [batch.seq for batch in said] == list(range(len(said)))
    assert [beat.seq for beat in heartbeats(broker)] == list(range(len(heartbeats(broker))))
    signer = load_signer(Path(config.key_path))
    for sent in broker.sent:
        check_signature(sent.topic, sent.value, sent.headers, {signer.key_id: signer.public})
        assert sent.key == b"m/p"
    last = heartbeats(broker)[-1].spools
    assert {state.topic: state.last_seq for state in last}[SUMMARY.name] == said[-1].seq


def test_a_dead_reflector_is_a_loss_and_told_early(tmp_path: Path) -> None:
    broker, port = FakeProducer(), free_udp_port()
    with running_agent(agent_config(tmp_path), loopback_slice(port), lambda: broker):
        wait_for("two slots", lambda: sum(batch.complete for batch in batches(broker)) >= 2)
    said = batches(broker)
    assert all(received == 0 for batch in said for received in batch.received)
    assert any(not batch.complete for batch in said[:-1])
    assert sum(map(sum, (batch.unreachable for batch in said if batch.complete))) > 0


def test_a_new_slice_begins_a_new_run_at_a_slot_and_no_slot_is_in_both(tmp_path: Path) -> None:
    broker, port = FakeProducer(), free_udp_port()
    config = agent_config(tmp_path)
    with running_reflector(port), running_agent(config, loopback_slice(port), lambda: broker):
        wait_for("a slot of the first slice", lambda: len(batches(broker)) >= 1)
        Path(config.slice_path).write_bytes(slice_to_json(loopback_slice(port, streams=3, version="v2")))
        wait_for("a slot of the second slice", lambda: len({batch.mesh_version for batch in batches(broker)}) == 2)
    runs = {batch.spool_id: batch.mesh_version for batch in batches(broker)}
    assert sorted(runs.values()) == ["v1", "v2"]
    slots = [{batch.slot_start_ms for batch in batches(broker) if batch.spool_id == run} for run in runs]
    assert not slots[0] & slots[1]
    assert min(slots[1]) - max(slots[0]) == SLOT_MS
    assert {len(batch.stream_id) for batch in batches(broker)} == {2, 3}


def test_what_no_broker_took_is_sent_by_the_next_run(tmp_path: Path) -> None:
    deaf, broker, port = FakeProducer(acknowledges=False), FakeProducer(), free_udp_port()
    config = agent_config(tmp_path)
    with running_reflector(port), running_agent(config, loopback_slice(port), lambda: deaf):
        wait_for("a batch that was offered", lambda: len(batches(deaf)) >= 1)
    with running_reflector(port), running_agent(config, loopback_slice(port), lambda: broker):
        wait_for("batches of both runs", lambda: len({batch.spool_id for batch in batches(broker)}) == 2)
    offered = {sent.value for sent in deaf.sent}
    assert offered <= {sent.value for sent in broker.sent}
