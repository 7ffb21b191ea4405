"""An engine without sockets: the real book of packets, driven by a manual clock over a path that a test can cut."""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from probes.engine.book import Book
from probes.packets import Packets
from schemas.clock import ManualClock
from schemas.mesh_slice import SliceStream

START_S = 1_800_000_000
STEP_S = 0.05
MS = 1_000_000


def streams_of(count: int, *, method: str = "stamp", timeout_ms: int = 2_000) -> tuple[SliceStream, ...]:
    """Return streams 1..count of 10 packets a second."""
    return tuple(
        SliceStream(
            id=number,
            source="a",
            source_address="127.0.0.1",
            destination=f"b{number}",
            destination_address="127.0.0.1",
            destination_port=862,
            method="icmp" if method == "icmp" else "stamp",
            traffic_class="be",
            dscp=0,
            interval_ms=100,
            timeout_ms=timeout_ms,
            planned_per_slot=100,
        )
        for number in range(1, count + 1)
    )


class PacedBook:
    """Sends a packet a stream every interval; the path answers after `rtt_s` unless it is cut."""

    def __init__(self, clock: ManualClock, streams: tuple[SliceStream, ...], *, rtt_s: float = 0.03) -> None:
        self.clock = clock
        self.cut: set[int] = set()  # rows
        self.rtt_s = rtt_s
        self.lost: list[list[int]] = [[] for _ in streams]  # the truth: indexes that a cut swallowed, by row
        self._rows = range(len(streams))
        self._book = Book(
            [stream.timeout_ms * MS for stream in streams],
            ring=512,
            overdue_ns=1_000 * MS,
            two_way=[stream.method == "icmp" for stream in streams],
        )
        self._counters = [0] * len(streams)
        self._replies: deque[tuple[int, int, int, int]] = deque()  # (arrival mono_ns, row, index, counter)

    @property
    def last_answered_index(self) -> NDArray[np.int64]:
        return self._book.last_answered_index

    @property
    def last_settled_index(self) -> NDArray[np.int64]:
        return self._book.last_settled_index

    @property
    def next_index(self) -> NDArray[np.int64]:
        return self._book.next_index

    def stretch(
        self, row: int, first_due_ns: int, end_due_ns: int, before: int = 64, after: int = 64
    ) -> tuple[Packets, int, int]:
        return self._book.stretch(row, first_due_ns, end_due_ns, before, after)

    def advance(self) -> None:
        """Move the clock by half an interval; on whole intervals every stream sends."""
        wall_ns, mono_ns = self.clock.wall_ns(), self.clock.mono_ns()
        if mono_ns % (100 * MS) == 0:
            for row in self._rows:
                self._send(row, wall_ns, mono_ns)
        self.clock.advance_s(STEP_S)
        self._receive()
        self._book.expire(self.clock.mono_ns())

    def _send(self, row: int, wall_ns: int, mono_ns: int) -> None:
        index = self._book.plan(row, wall_ns)
        self._book.sent(row, index, wall_ns=wall_ns, mono_ns=mono_ns)
        if row in self.cut:
            self.lost[row].append(index)
        else:
            self._replies.append((mono_ns + round(self.rtt_s * 1e9), row, index, self._counters[row]))
            self._counters[row] += 1

    def _receive(self) -> None:
        while self._replies and self._replies[0][0] <= self.clock.mono_ns():
            at_ns, row, index, counter = self._replies.popleft()
            t4_ns = self.clock.wall_ns() - self.clock.mono_ns() + at_ns
            half_ns = round(self.rtt_s * 1e9) // 2
            self._book.answered(
                row, index, t4_ns=t4_ns, mono_ns=at_ns, t2_ns=t4_ns - half_ns, t3_ns=t4_ns - half_ns, counter=counter
            )
