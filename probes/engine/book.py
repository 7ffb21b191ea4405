"""The book of packets: what was sent, what became of it, and when. No socket, no clock: it is told both.

Every stream has a ring of its newest packets, a row of one array. `wall` is CLOCK_REALTIME, in which the kernel
stamps and the slots are; `mono` is CLOCK_MONOTONIC, which alone decides timeouts.

The rules of a fate:
  - a reply whose round trip is longer than the timeout is LATE, even when it is read at once after a stall, and so is
    one to a packet that is already LOST;
  - an ICMP error makes a pending or lost packet UNREACHABLE; a reply that comes all the same is believed;
  - a packet in flight when the wall clock steps keeps its fate and loses its delays: they read NO_DELAY_NS.
"""

from collections import deque
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from probes.engine.counters import Counters
from probes.packets import NO_DELAY_NS, PACKET, Fate, Packets

_CELL: Final = np.dtype(
    [
        *PACKET.descr,
        ("sent_mono_ns", "<i8"),
        ("t1_ns", "<i8"),  # user stamp until the kernel's comes
        ("t2_ns", "<i8"),
        ("t3_ns", "<i8"),  # as in the packet until the follow-up comes
        ("t4_ns", "<i8"),
        ("kernel_t1", "?"),
        ("void", "?"),  # the clock stepped while it was in flight
    ]
)
# As plain integers: looking up a member of an enumeration costs as much as the rest of a step.
_PENDING: Final = int(Fate.PENDING)
_ANSWERED: Final = int(Fate.ANSWERED)
_LOST: Final = int(Fate.LOST)
_LATE: Final = int(Fate.LATE)
_UNREACHABLE: Final = int(Fate.UNREACHABLE)
_SEND_FAILED: Final = int(Fate.SEND_FAILED)

_MINIMUM_RING: Final = 512
_FOLLOWED: Final = 64  # replies a row waits for the follow-up stamp of; power of two
_MAX_U16: Final = 65_535


def ring_size(interval_ns: int, timeout_ns: int, slot_ns: int) -> int:
    """Return how many packets of a stream to keep: three slots, the timeout and both margins, a power of two."""
    needed = (3 * slot_ns + timeout_ns) // interval_ns + 1 + 128
    return max(_MINIMUM_RING, 1 << (needed - 1).bit_length())


class Book:
    """The packets of all streams; `row` is a stream, `index` a packet of it, counted from 0."""

    def __init__(self, timeouts_ns: list[int], *, ring: int, overdue_ns: int, two_way: list[bool]) -> None:
        rows = len(timeouts_ns)
        self.ring = ring
        self.counters = Counters()
        self.next_index: NDArray[np.int64] = np.zeros(rows, np.int64)
        self.last_answered_index: NDArray[np.int64] = np.full(rows, -1, np.int64)
        self.last_settled_index: NDArray[np.int64] = np.full(rows, -1, np.int64)  # all up to it have their fate
        self.consecutive_unanswered_overdue: NDArray[np.int64] = np.zeros(rows, np.int64)
        self._mask = ring - 1
        self._cells = np.zeros((rows, ring), _CELL)
        self._blank = np.zeros((), _CELL)
        self._blank["counter"] = -1
        self._of: dict[str, NDArray[Any]] = {name: self._cells[name] for name in _CELL.names or ()}
        self._fate = self._of["fate"]
        self._index = self._of["index"]
        self._timeouts_ns = timeouts_ns
        self._two_way = two_way
        self._overdue_ns = overdue_ns
        self._newest_overdue = [-1] * rows
        self._in_flight: dict[int, deque[tuple[int, int, int]]] = {timeout: deque() for timeout in timeouts_ns}
        self._waiting: deque[tuple[int, int, int]] = deque()
        self._follow = np.full((rows, _FOLLOWED), -1, np.int64)
        self._void_mono_ns = -1
        self._fresh: list[tuple[int, int]] = []  # answered since the wall clock was last seen to be steady

    def plan(self, row: int, due_ns: int) -> int:
        """Enter the next packet of a stream, due at `due_ns` of the wall clock; return its index."""
        index = self.next_index.item(row)
        at = index & self._mask
        self._cells[row, at] = self._blank
        self._index[row, at] = index
        self._of["due_ns"][row, at] = due_ns
        self.next_index[row] = index + 1
        return index

    def sent(self, row: int, index: int, *, wall_ns: int, mono_ns: int) -> None:
        """Say that a planned packet left; `wall_ns` was read just before, and stands until the kernel's stamp."""
        at = index & self._mask
        self._of["t1_ns"][row, at] = wall_ns
        self._of["sent_mono_ns"][row, at] = mono_ns
        self._in_flight[self._timeouts_ns[row]].append((mono_ns, row, index))
        self._waiting.append((mono_ns, row, index))
        self.counters.sent += 1

    def send_failed(self, row: int, index: int, cause: str) -> None:
        """Say that a planned packet never left, and why."""
        self.counters.send_failed[cause] += 1
        self._settle(row, index, _SEND_FAILED)

    def kernel_sent(self, row: int, index: int, stamp_ns: int) -> None:
        """Take the kernel's transmit stamp; one that is before the send, or of a packet long gone, is refused."""
        at = self._find(row, index)
        if at < 0 or stamp_ns < self._of["t1_ns"].item(row, at) or self._of["kernel_t1"].item(row, at):
            self.counters.stray_stamps += 1
            return
        self._of["t1_ns"][row, at] = stamp_ns
        self._of["kernel_t1"][row, at] = True
        if self._fate.item(row, at) == _ANSWERED:
            self.counters.kernel_tx += 1
            self.counters.user_tx -= 1
            self._time(row, at)

    def answered(
        self, row: int, index: int, *, t4_ns: int, mono_ns: int, t2_ns: int = 0, t3_ns: int = 0, counter: int = -1
    ) -> None:
        """Take a reply from the right peer with the right token.

        Args:
            row: The stream.
            index: The packet that the reply carries.
            t4_ns: Arrival, wall clock.
            mono_ns: Now, monotonic; decides lateness where the wall clock cannot.
            t2_ns: Arrival at the reflector by its clock; 0 for a method that knows the round trip alone.
            t3_ns: Departure there.
            counter: The reflector's sequence number, -1 where there is none.
        """
        at = self._find(row, index)
        if at < 0:
            self.counters.ignored["too_old" if index < self.next_index.item(row) else "never_sent"] += 1
            return
        fate = self._fate.item(row, at)
        if fate in (_ANSWERED, _LATE):
            self._duplicate(row, at, counter)
        elif fate == _SEND_FAILED:
            self.counters.ignored["never_sent"] += 1
        else:
            self._of["t2_ns"][row, at], self._of["t3_ns"][row, at], self._of["t4_ns"][row, at] = t2_ns, t3_ns, t4_ns
            self._of["counter"][row, at] = counter
            self._first_answer(row, index, fate, t4_ns, mono_ns)

    def followed_up(self, row: int, counter: int, t3_ns: int) -> None:
        """Replace T3 of the reply that carried `counter` by the kernel's time of it, brought by a later reply."""
        index = self._follow.item(row, counter & (_FOLLOWED - 1))
        at = self._find(row, index) if index >= 0 else -1
        if at < 0 or self._of["counter"].item(row, at) != counter or self._fate.item(row, at) != _ANSWERED:
            self.counters.stray_follow_ups += 1
        elif t3_ns != self._of["t3_ns"].item(row, at):
            self._of["t3_ns"][row, at] = t3_ns
            self.counters.follow_ups += 1
            self._time(row, at)

    def unreachable(self, row: int, index: int, cause: str) -> None:
        """Take an ICMP error that quotes a packet of ours."""
        at = self._find(row, index)
        if at >= 0 and self._fate.item(row, at) in (_PENDING, _LOST):
            self.counters.unreachable[cause] += 1
            self._settle(row, index, _UNREACHABLE)
        else:
            self.counters.ignored["icmp_error_too_late"] += 1

    def expire(self, mono_ns: int) -> None:
        """Give up on what was sent longer ago than its timeout, and count what is overdue."""
        while self._waiting and self._waiting[0][0] + self._overdue_ns <= mono_ns:
            _, row, index = self._waiting.popleft()
            self._overdue(row, index)
        for timeout_ns, queue in self._in_flight.items():
            while queue and queue[0][0] + timeout_ns <= mono_ns:
                _, row, index = queue.popleft()
                at = self._find(row, index)
                if at >= 0 and self._fate.item(row, at) == _PENDING:
                    self._settle(row, index, _LOST)

    def wall_is_steady(self) -> None:
        """Say that the wall clock has not stepped up to now: delays taken so far stand."""
        self._fresh.clear()

    def wall_stepped(self, mono_ns: int) -> None:
        """Say that the wall clock stepped since `wall_is_steady`: what was in flight in between has no delay."""
        self.counters.clock_steps += 1
        self._void_mono_ns = mono_ns
        for row, at in self._fresh:
            self._of["void"][row, at] = True
            self._time(row, at)
        self._fresh.clear()

    def stretch(
        self, row: int, first_due_ns: int, end_due_ns: int, before: int = 64, after: int = 64
    ) -> tuple[Packets, int, int]:
        """Return (packets, first, end): a copy in index order, without holes.

        Packets due in [first_due_ns, end_due_ns) stand at first..end; up to `before` and `after` neighbours around
        them. LookupError when the ring has already lost packets of the stretch: it was asked for too late.
        """
        newest = self.next_index.item(row)
        oldest = max(newest - self.ring, 0)
        indexes = np.arange(oldest, newest) & self._mask
        first, end = np.searchsorted(self._of["due_ns"][row, indexes], (first_due_ns, end_due_ns)).tolist()
        if first == 0 and oldest > 0:
            raise LookupError(f"row {row}: the ring of {self.ring} packets no longer holds those due at {first_due_ns}")
        low, high = max(first - before, 0), min(end + after, newest - oldest)
        cells = self._cells[row, indexes[low:high]]
        packets = np.empty(high - low, PACKET)
        for name in PACKET.names or ():
            packets[name] = cells[name]
        return packets, first - low, end - low

    def _find(self, row: int, index: int) -> int:
        """Return the place of a packet in its ring, -1 when it is gone or not yet there."""
        at = index & self._mask
        known = index < self.next_index.item(row) and self._index.item(row, at) == index
        return at if known else -1

    def _first_answer(self, row: int, index: int, fate: int, t4_ns: int, mono_ns: int) -> None:
        at = index & self._mask
        sent_mono_ns = self._of["sent_mono_ns"].item(row, at)
        void = sent_mono_ns <= self._void_mono_ns
        age_ns = mono_ns - sent_mono_ns if void else t4_ns - self._of["t1_ns"].item(row, at)
        if fate == _LOST or age_ns > self._timeouts_ns[row]:
            self._settle(row, index, _LATE)
            return
        self._of["void"][row, at] = void
        self._of["reordered"][row, at] = index < self.last_answered_index.item(row)
        self._settle(row, index, _ANSWERED)
        self._count_stamp(row, at)
        self._follow[row, self._of["counter"].item(row, at) & (_FOLLOWED - 1)] = index
        self._fresh.append((row, at))
        self._time(row, at)
        if index > self.last_answered_index.item(row):
            self.last_answered_index[row] = index
            self.consecutive_unanswered_overdue[row] = max(self._newest_overdue[row] - index, 0)

    def _count_stamp(self, row: int, at: int) -> None:
        if self._of["kernel_t1"].item(row, at):
            self.counters.kernel_tx += 1
        else:
            self.counters.user_tx += 1

    def _duplicate(self, row: int, at: int, counter: int) -> None:
        self.counters.duplicates += 1
        if self._of["duplicates"].item(row, at) == _MAX_U16:
            return
        self._of["duplicates"][row, at] += 1
        if counter != self._of["counter"].item(row, at):
            self._of["duplicate_counters"][row, at] += 1

    def _time(self, row: int, at: int) -> None:
        """Work out the delays of an answered packet from its stamps, or take them away where they cannot be true."""
        t1_ns, t4_ns = self._of["t1_ns"].item(row, at), self._of["t4_ns"].item(row, at)
        forward_ns = backward_ns = 0
        rtt_ns = t4_ns - t1_ns
        plausible = rtt_ns >= 0
        if not self._two_way[row]:
            t2_ns, t3_ns = self._of["t2_ns"].item(row, at), self._of["t3_ns"].item(row, at)
            forward_ns, backward_ns = t2_ns - t1_ns, t4_ns - t3_ns
            plausible = plausible and 0 <= t3_ns - t2_ns <= rtt_ns
            rtt_ns = forward_ns + backward_ns
        if not plausible:
            self.counters.implausible_delays += 1
        if not plausible or self._of["void"].item(row, at):
            rtt_ns = forward_ns = backward_ns = NO_DELAY_NS
        self._of["rtt_ns"][row, at] = rtt_ns
        self._of["forward_ns"][row, at] = forward_ns
        self._of["backward_ns"][row, at] = backward_ns

    def _overdue(self, row: int, index: int) -> None:
        self._newest_overdue[row] = index
        at = self._find(row, index)
        if at >= 0 and self._fate.item(row, at) != _ANSWERED and index > self.last_answered_index.item(row):
            self.consecutive_unanswered_overdue[row] += 1

    def _settle(self, row: int, index: int, fate: int) -> None:
        self._fate[row, index & self._mask] = fate
        settled, newest = self.last_settled_index.item(row), self.next_index.item(row)
        while settled + 1 < newest and self._fate.item(row, settled + 1 & self._mask) != _PENDING:
            settled += 1
        self.last_settled_index[row] = settled
