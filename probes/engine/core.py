"""The engine: sends every stream on time, whatever comes back, and knows what became of each packet.

One thread calls `tick` every few milliseconds. A tick takes in what arrived, sends what is due and gives up on what
is too old; it never waits. Arrival needs no wake-up: the kernel stamps it.
"""

import select
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Final

import numpy as np
from numpy.typing import NDArray

from probes.engine.adjtimex import error_estimate, read_clock
from probes.engine.book import Book, ring_size
from probes.engine.counters import Counters
from probes.engine.schedule import Schedule
from probes.engine.sockets import SocketReport, socket_drops
from probes.engine.steps import StepWatch
from probes.engine.targets import SocketKey, StreamTarget, check_targets, socket_key
from probes.engine.wire import Mailboxes, Wire
from probes.packets import Packets
from schemas.clock import Clock
from schemas.errors import UnavailableError
from schemas.records import ClockState, ProbeCondition

SLOT_NS: Final = 10_000_000_000
OVERDUE_NS: Final = 1_000_000_000  # unanswered for so long, a packet counts for silence though it may still come
SILENCE_NS: Final = 1_000_000_000
SILENCE_PACKETS: Final = 5
STALL_NS: Final = 500_000_000  # departures missed by more are not made up for: a burst would measure itself
_ENTERED: Final = 128  # missed departures entered as send_failed, the newest of them; older ones are skipped
_CLOCK_NS: Final = 1_000_000_000
_MAX_LATENESS: Final = 65_536


class Engine:
    """All streams of a probe. Open it with `open_engine`; not for use by two threads."""

    def __init__(self, targets: Sequence[StreamTarget], *, clock: Clock, random: Random, slot_ns: int) -> None:
        self.targets = tuple(targets)
        self._clock = clock
        self._book = _book(self.targets, slot_ns)
        self._schedule = Schedule(list(targets), random, clock.wall_ns())
        self._steps = StepWatch(clock)
        self._boxes = Mailboxes()
        self._wires = _wires(self.targets, self._book, self._boxes, clock)
        self._wire_of: list[Wire] = [self._wires[socket_key(target)] for target in self.targets]
        self._by_fd: dict[int, Wire] = {}
        self._poll: select.epoll | None = None
        self._clock_mono_ns = -_CLOCK_NS
        self._estimate = 0
        self._lateness_ns: list[int] = []
        self._drops_told = 0
        self._stamps_told = (0, 0)
        per_silence = -(-SILENCE_NS // self._schedule.interval_ns)
        self._silence_packets = np.maximum(per_silence, SILENCE_PACKETS)
        self.clock_state = ClockState(synchronised=False, error_us=0)

    @property
    def counters(self) -> Counters:
        """Return the totals since the engine was opened; read only."""
        return self._book.counters

    @property
    def last_answered_index(self) -> NDArray[np.int64]:
        """Return, a row each, the highest index answered in time, -1 before the first; read only."""
        return self._book.last_answered_index

    @property
    def last_settled_index(self) -> NDArray[np.int64]:
        """Return, a row each, the index up to which no packet is pending, -1 before the first; read only."""
        return self._book.last_settled_index

    @property
    def next_index(self) -> NDArray[np.int64]:
        """Return, a row each, the index that the next packet will have; read only."""
        return self._book.next_index

    @property
    def consecutive_unanswered_overdue(self) -> NDArray[np.int64]:
        """Return, a row each, how many packets since the last answered one are overdue by 1 s or lost; read only."""
        return self._book.consecutive_unanswered_overdue

    @property
    def phase_ns(self) -> NDArray[np.int64]:
        """Return, a row each, the departure after every whole interval of the epoch."""
        return self._schedule.phase_ns

    def self_check(self) -> list[SocketReport]:
        """Return what every socket is: mode, stamps, buffers, and why it is closed if it is."""
        return [wire.report for wire in self._wires.values()]

    def next_due_ns(self) -> int:
        """Return the wall clock time of the earliest departure to come.

        It lies more than an interval ahead only after the wall clock went back: the streams wait until it comes
        again. Where that is too long to wait, open a new engine in a new run of the agent.
        """
        return self._schedule.next_due_ns()

    def tick(self) -> None:
        """Take in all that arrived, send all that is due, give up on all that is too old. Never waits."""
        self._drain()
        self._refresh()
        self._send_due()
        mono_ns = self._clock.mono_ns()
        self._book.expire(mono_ns)
        if self._steps.step_ns() != 0:
            self._book.wall_stepped(mono_ns)
        else:
            self._book.wall_is_steady()

    def stretch(
        self, row: int, first_due_ns: int, end_due_ns: int, before: int = 64, after: int = 64
    ) -> tuple[Packets, int, int]:
        """Return (packets, first, end): a copy of a part of the stream's ring, in index order without holes.

        Packets due in [first_due_ns, end_due_ns) of the wall clock stand at positions first..end; up to `before` and
        `after` neighbours stand around them. Packets not yet due are not in it.

        Raises:
            LookupError: The ring no longer holds the beginning; it keeps three slots and the timeout.
        """
        return self._book.stretch(row, first_due_ns, end_due_ns, before, after)

    def silent_rows(self) -> list[int]:
        """Return the streams without an answer for 1 s of packets and at least 5, counting the overdue ones."""
        rows: list[int] = np.flatnonzero(self.consecutive_unanswered_overdue >= self._silence_packets).tolist()
        return rows

    def take_condition(self) -> ProbeCondition:
        """Return lateness, drops and stamp source since the last call; steal is not the engine's to know."""
        drops = sum(socket_drops(wire.sock) for wire in self._wires.values() if wire.sock is not None)
        late_ns, self._lateness_ns = self._lateness_ns, []
        condition = ProbeCondition(
            send_lateness_p99_us=int(np.percentile(late_ns, 99)) // 1000 if len(late_ns) > 0 else None,
            socket_drops=max(drops - self._drops_told, 0),
            stamp_source=self._stamp_source(),
        )
        self._drops_told = drops
        return condition

    def open(self) -> None:
        """Open all sockets.

        Raises:
            UnavailableError: Not one could be opened; the text gives the first reason. Where some could, the others
                are tried again every 10 s, and their packets fail as `no_socket` meanwhile.
        """
        self._poll = select.epoll()
        for wire in self._wires.values():
            self._open_wire(wire)
        if not self._by_fd:
            self.close()
            raise UnavailableError(next(iter(self._wires.values())).report.error)

    def close(self) -> None:
        """Close all sockets; packets in flight stay pending."""
        for wire in self._wires.values():
            wire.close()
        if self._poll is not None:
            self._poll.close()
            self._poll = None

    def _open_wire(self, wire: Wire) -> None:
        wire.open()
        if wire.sock is not None and self._poll is not None:
            self._poll.register(wire.sock.fileno(), select.EPOLLIN)
            self._by_fd[wire.sock.fileno()] = wire

    def _drain(self) -> None:
        if self._poll is None:
            raise UnavailableError("the engine is closed; use it inside `open_engine`")
        for fd, events in self._poll.poll(0):
            wire = self._by_fd[fd]
            if events & select.EPOLLERR != 0:  # first: a reply is timed by its transmit stamp
                wire.receive_errors()
            if events & select.EPOLLIN != 0:
                wire.receive()

    def _refresh(self) -> None:
        """Ask the kernel about its clock once a second, and try closed sockets again."""
        mono_ns = self._clock.mono_ns()
        if mono_ns - self._clock_mono_ns < _CLOCK_NS:
            return
        self._clock_mono_ns = mono_ns
        self.clock_state = read_clock()
        self._estimate = error_estimate(self.clock_state)
        for wire in self._wires.values():
            if wire.due_to_reopen():
                self._open_wire(wire)

    def _send_due(self) -> None:
        wall_ns = self._clock.wall_ns()
        batches: dict[int, tuple[Wire, list[tuple[int, int]]]] = {}
        for row in self._schedule.due_rows(wall_ns):
            if self._schedule.due_ns.item(row) < wall_ns - STALL_NS:
                self._pass_over(row, wall_ns - STALL_NS)
            wire = self._wire_of[row]
            batch = batches.setdefault(id(wire), (wire, []))[1]
            while self._schedule.due_ns.item(row) <= wall_ns:
                due_ns = self._schedule.take(row)
                batch.append((row, self._book.plan(row, due_ns)))
                self._lateness_ns.append(wall_ns - due_ns)
        for wire, batch in batches.values():
            wire.send(batch, self._estimate)
        if len(self._lateness_ns) > _MAX_LATENESS:
            del self._lateness_ns[:-_MAX_LATENESS]

    def _pass_over(self, row: int, before_ns: int) -> None:
        """Enter departures that a stall (or a clock that went forward) made us miss as never sent."""
        missed = self._schedule.missed(row, before_ns)
        gone = max(missed - _ENTERED, 0)
        self._schedule.skip(row, gone)
        self.counters.skipped += gone
        for _ in range(missed - gone):
            index = self._book.plan(row, self._schedule.take(row))
            self._book.send_failed(row, index, "stalled")

    def _stamp_source(self) -> str:
        kernel = self.counters.kernel_tx - self._stamps_told[0]
        user = self.counters.user_tx + self.counters.user_rx - self._stamps_told[1]
        self._stamps_told = (self.counters.kernel_tx, self.counters.user_tx + self.counters.user_rx)
        if kernel > 0 and user > 0:
            return "mixed"
        return "kernel" if kernel > 0 else "user" if user > 0 else "unknown"


@contextmanager
def open_engine(
    targets: Sequence[StreamTarget], *, clock: Clock, random: Random, slot_ns: int = SLOT_NS
) -> Iterator[Engine]:
    """Give an engine with its sockets open, and close them after.

    Args:
        targets: One a stream; rows 0, 1, 2, ... in order.
        clock: Wall and monotonic time of this host; kernel stamps are compared with its wall time.
        random: Draws the phase of targets that bring none.
        slot_ns: The length of a slot; three of them stay in the rings.

    Raises:
        ConfigError: The list is empty or contradicts itself.
        UnavailableError: No socket at all could be opened.
    """
    check_targets(list(targets))
    engine = Engine(targets, clock=clock, random=random, slot_ns=slot_ns)
    engine.open()
    try:
        yield engine
    finally:
        engine.close()


def _book(targets: Sequence[StreamTarget], slot_ns: int) -> Book:
    ring = max(ring_size(target.interval_ns, target.timeout_ns, slot_ns) for target in targets)
    return Book(
        [target.timeout_ns for target in targets],
        ring=ring,
        overdue_ns=min(OVERDUE_NS, *(target.timeout_ns for target in targets)),
        two_way=[target.method == "icmp" for target in targets],
    )


def _wires(targets: Sequence[StreamTarget], book: Book, boxes: Mailboxes, clock: Clock) -> dict[SocketKey, Wire]:
    shared: dict[SocketKey, list[StreamTarget]] = {}
    for target in targets:
        shared.setdefault(socket_key(target), []).append(target)
    return {key: Wire(group, book, boxes, clock) for key, group in shared.items()}
