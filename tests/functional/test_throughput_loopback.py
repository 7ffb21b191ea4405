"""A throughput test over loopback: what is set is sent, what arrived is told, what failed has a name."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.agents import (
    LOOPBACK,
    agent_config,
    free_udp_port,
    loopback_slice,
    running_agent,
    running_reflector,
    wait_for,
)
from support.fake_producer import FakeProducer

from probes.config import ThroughputSlot
from probes.receiver import Receiver, ReceiverConfig, ReceiverEndpoint, open_receiver
from probes.throughput import run_test
from schemas.clock import SystemClock, wall_ms
from schemas.codec import decode
from schemas.errors import UnavailableError
from schemas.records import SummaryBatch, ThroughputResult
from schemas.topics import SUMMARY, THROUGHPUT

pytestmark = pytest.mark.alone

SET_BPS = 10_000_000


def slot(port: int, **fields: int | str) -> ThroughputSlot:
    named = {"id": "t1", "start_ms": 0, "source": "a", "destination": "b1", "duration_ms": 300, **fields}
    return ThroughputSlot(
        source_address=LOOPBACK,
        destination_address=LOOPBACK,
        set_bps=SET_BPS,
        port=port,
        **named,  # type: ignore[arg-type]
    )


@contextmanager
def running_receiver(port: int, allow: tuple[str, ...] = (LOOPBACK,)) -> Iterator[None]:
    stop = threading.Event()
    config = ReceiverConfig(endpoints=(ReceiverEndpoint(address=LOOPBACK, port=port),), allow=allow)
    with open_receiver(config, clock=SystemClock()) as receiver:
        thread = threading.Thread(target=lambda: serve(receiver, stop))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(5.0)


def serve(receiver: Receiver, stop: threading.Event) -> None:
    while not stop.is_set():
        receiver.serve_once(0.05)


def run(port: int, token: bytes = b"12345678") -> tuple[str, int, int, int]:
    result = run_test(slot(port), netns=None, token=token, clock=SystemClock(), stop=threading.Event())
    return result.outcome, result.sent_packets, result.received_packets, result.receive_duration_us


def test_the_set_rate_arrives_on_an_open_path() -> None:
    port = free_udp_port()
    with running_receiver(port):
        outcome, sent, received, duration_us = run(port)
    assert (outcome, sent, received) == ("done", 312, 312)
    assert (received - 1) * 1_200 * 8_000_000 / duration_us == pytest.approx(SET_BPS, rel=0.05)


def test_a_stranger_is_not_served_and_hears_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probes.throughput.ASK_EVERY_S", 0.02)
    port = free_udp_port()
    with running_receiver(port, allow=("192.0.2.1",)):
        assert run(port) == ("no_answer", 312, 0, 0)


def test_a_port_that_nobody_listens_on_is_refused() -> None:
    assert run(free_udp_port())[0] == "refused"


def test_a_port_in_use_is_named() -> None:
    port = free_udp_port()
    config = ReceiverConfig(endpoints=(ReceiverEndpoint(address=LOOPBACK, port=port),), allow=())
    with (
        open_receiver(config, clock=SystemClock()),
        pytest.raises(UnavailableError, match=f"port {port}"),
        open_receiver(config, clock=SystemClock()),
    ):
        pass


def test_a_scheduled_test_is_reported_once_and_its_slots_are_loaded(tmp_path: Path) -> None:
    broker, port, test_port = FakeProducer(), free_udp_port(), free_udp_port()
    planned = slot(test_port, start_ms=wall_ms(SystemClock()) + 1_200)
    config = agent_config(tmp_path, tests=(planned,))

    def results() -> list[ThroughputResult]:
        return [decode(sent.value, ThroughputResult) for sent in broker.sent if sent.topic == THROUGHPUT.name]

    def batches() -> list[SummaryBatch]:
        return [decode(sent.value, SummaryBatch) for sent in broker.sent if sent.topic == SUMMARY.name]

    with (
        running_reflector(port),
        running_receiver(test_port),
        running_agent(config, loopback_slice(port), lambda: broker),
    ):
        wait_for("the result", lambda: len(results()) == 1)
        wait_for("a slot after the test", lambda: batches()[-1].slot_start_ms > planned.start_ms + 300)
    (result,) = results()
    assert (result.test_id, result.outcome, result.received_packets, result.method) == ("t1", "done", 312, "udp_fixed")
    for batch in batches():
        end_ms = batch.slot_start_ms + batch.slot_ms
        touched = batch.slot_start_ms < planned.start_ms + 300 and planned.start_ms < end_ms
        assert batch.loaded == [touched, touched]
