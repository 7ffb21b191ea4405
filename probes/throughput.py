"""The sending end of throughput tests: UDP at a fixed rate, then the question how much of it arrived."""

import os
import socket
import threading
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from probes.config import ThroughputSlot
from probes.engine.netns import inside
from probes.train import HEADER_BYTES, MIN_BYTES, TOKEN_BYTES, TrainPacket, pack, unpack
from schemas.clock import Clock, wall_ms
from schemas.errors import UnavailableError

log = structlog.get_logger(__name__)

ASKS: Final = 10  # the path was full a moment ago: questions and answers may be lost
ASK_EVERY_S: Final = 0.2
MAX_LAG_NS: Final = 10_000_000  # a sender that fell behind by more goes on at the set rate, not above it
MISSED_MS: Final = 2_000  # a test that could not start in time is not started at all


class TestResult(msgspec.Struct, frozen=True, kw_only=True):
    """One test as its sender knows it, in the words of `schemas.records.ThroughputResult`."""

    sent_packets: int = 0
    received_packets: int = 0
    receive_duration_us: int = 0
    outcome: str = "send_failed"  # done, no_answer, refused, send_failed


class Tests:
    """The scheduled tests of this agent, each run once, in a thread of its own."""

    def __init__(
        self,
        slots: tuple[ThroughputSlot, ...],
        *,
        netns: dict[str, str],
        clock: Clock,
        report: Callable[[ThroughputSlot, TestResult], None],
    ) -> None:
        self._waiting = sorted(slots, key=lambda slot: slot.start_ms)
        self._netns = netns
        self._clock = clock
        self._report = report
        self._stop = threading.Event()

    def look(self) -> None:
        """Start what is due."""
        now_ms = wall_ms(self._clock)
        while self._waiting and self._waiting[0].start_ms <= now_ms:
            slot = self._waiting.pop(0)
            if now_ms - slot.start_ms > MISSED_MS:
                log.warning("throughput test missed its time", test_id=slot.id, late_ms=now_ms - slot.start_ms)
                continue
            threading.Thread(target=self._run, args=(slot,), name=f"throughput-{slot.id}", daemon=True).start()

    def stop(self) -> None:
        """End the tests that run; they are not reported."""
        self._stop.set()

    def _run(self, slot: ThroughputSlot) -> None:
        log.info("throughput test begins", test_id=slot.id, set_bps=slot.set_bps, duration_ms=slot.duration_ms)
        netns = self._netns.get(slot.source)
        result = run_test(slot, netns=netns, token=os.urandom(TOKEN_BYTES), clock=self._clock, stop=self._stop)
        log.info("throughput test ends", test_id=slot.id, outcome=result.outcome, received=result.received_packets)
        if not self._stop.is_set():
            self._report(slot, result)


def run_test(
    slot: ThroughputSlot, *, netns: str | None, token: bytes, clock: Clock, stop: threading.Event
) -> TestResult:
    """Send the train and ask for the count; network faults are outcomes."""
    try:
        sock = _open_socket(slot, netns)
    except (OSError, UnavailableError) as err:
        log.error("throughput test cannot send", test_id=slot.id, error=str(err))  # noqa: TRY400 - a fact, one line
        return TestResult()
    with sock:
        sent, is_refused = _send_train(sock, slot, token, clock=clock, stop=stop)
        if is_refused or sent == 0:
            return TestResult(sent_packets=sent, outcome="refused" if is_refused else "send_failed")
        report = _ask(sock, token, sent, clock)
    if report is None:
        return TestResult(sent_packets=sent, outcome="no_answer")
    return TestResult(
        sent_packets=sent, received_packets=report.received, receive_duration_us=report.duration_us, outcome="done"
    )


def _open_socket(slot: ThroughputSlot, netns: str | None) -> socket.socket:
    family = socket.AF_INET6 if ":" in slot.destination_address else socket.AF_INET
    with inside(netns):
        sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.bind((slot.source_address, 0))
        sock.connect((slot.destination_address, slot.port))
    except OSError:
        sock.close()
        raise
    return sock


def _send_train(
    sock: socket.socket, slot: ThroughputSlot, token: bytes, *, clock: Clock, stop: threading.Event
) -> tuple[int, bool]:
    """Send for the duration at the set rate of IP bytes; return (packets that left, whether nobody listens there)."""
    size = slot.packet_bytes - HEADER_BYTES[6 if sock.family == socket.AF_INET6 else 4]
    apart_ns = slot.packet_bytes * 8_000_000_000 // slot.set_bps
    due_ns, sent = clock.mono_ns(), 0
    for number in range(max(slot.duration_ms * 1_000_000 // apart_ns, 1)):
        now_ns = clock.mono_ns()
        if due_ns > now_ns:
            clock.sleep_s((due_ns - now_ns) / 1e9)
        due_ns = max(due_ns, now_ns - MAX_LAG_NS) + apart_ns
        if stop.is_set():
            break
        try:
            sock.send(pack(TrainPacket("data", token, number), size))
            sent += 1
        except ConnectionRefusedError:
            return sent, True
        except OSError:  # this host refused it: no route, no buffer
            continue
    return sent, False


def _ask(sock: socket.socket, token: bytes, sent: int, clock: Clock) -> TrainPacket | None:
    """Return the receiver's report once it stays the same, None when none of the questions was answered."""
    sock.settimeout(ASK_EVERY_S)
    best: TrainPacket | None = None
    for _ in range(ASKS):
        try:
            sock.send(pack(TrainPacket("ask", token, sent), MIN_BYTES))
            report = unpack(sock.recv(MIN_BYTES))
        except OSError:  # silence, or a router's complaint
            continue
        if report is None or report.token != token or report.kind != "report":
            continue
        if best is not None and report.received == best.received:
            return best  # nothing more arrives
        best = report
        clock.sleep_s(ASK_EVERY_S)
    return best
