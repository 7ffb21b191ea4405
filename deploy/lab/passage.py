"""Frames on their way through the wire: admitted by a decision, held by due time, released and written down."""

from heapq import heappop, heappush
from typing import Final, NamedTuple

from deploy.lab.frames import BATCH, SLOT_BYTES, Frame, FramePort
from deploy.lab.impair import Way
from deploy.lab.ledger import Counts, Fate, Recorder
from deploy.lab.marks import ETHERNET_BYTES, Mark, MarkReader
from schemas.clock import Clock

# Due within this time leaves now: about half a turn, so that lateness centres on zero. The ledger says so.
EARLY_NS: Final = 90_000

_ROUNDS: Final = 8  # then arrivals are looked after, though more is due


class Lane:
    """One direction of one link: its place in the records, its rule, its counts and its way out."""

    def __init__(self, crossing: tuple[int, int], way: Way, out_ifindex: int) -> None:
        self.crossing = crossing  # (link id, leg)
        self.way = way
        self.out_ifindex = out_ifindex
        self.counts = Counts()
        self.latest_due_ns = 0


class Held(NamedTuple):
    """A frame in flight; sorts by due time, then by order of admission."""

    due_ns: int  # monotonic clock
    order: int
    slot: int
    size: int
    lane: Lane
    stamp_ns: int  # arrival, wall clock
    delay_ns: int
    mark: Mark | None
    fate: Fate


class Passage:
    """All frames in flight of one lab."""

    def __init__(self, port: FramePort, lanes: dict[int, Lane], read: MarkReader, recorder: Recorder) -> None:
        self._port = port
        self._lanes = lanes
        self._read = read
        self._recorder = recorder
        self._held: list[Held] = []
        self._order = 0

    def __len__(self) -> int:
        """Return how many frames are in flight."""
        return len(self._held)

    def next_due_ns(self) -> int | None:
        """Return when the next frame is due on the monotonic clock, or None when none is in flight."""
        return self._held[0].due_ns if self._held else None

    def admit(self, frames: list[Frame], wall_ns: int, mono_ns: int) -> None:
        """Decide over frames in order of arrival, given both clocks just after they were read.

        A wall clock that steps back makes no frame arrive in the future: it would be held for as long as the step.
        """
        for slot, ifindex, size, stamp_ns in frames:
            lane = self._lanes.get(ifindex)
            if lane is None:
                self._port.release(slot)
            else:
                self._admit(lane, slot, size, stamp_ns, mono_ns - max(0, wall_ns - stamp_ns))

    def _admit(self, lane: Lane, slot: int, size: int, stamp_ns: int, arrival_ns: int) -> None:
        lane.counts.entered += 1
        mark = self._read(self._port.buffer, slot * SLOT_BYTES, size)
        fate, delay_ns, twice = lane.way.decide(arrival_ns, size - ETHERNET_BYTES)
        self._order += 1
        held = Held(arrival_ns + delay_ns, self._order, slot, size, lane, stamp_ns, delay_ns, mark, fate)
        if fate is not Fate.FORWARDED:
            self._drop(held, fate)
            return
        lane.counts.reordered += held.due_ns < lane.latest_due_ns
        lane.latest_due_ns = max(lane.latest_due_ns, held.due_ns)
        heappush(self._held, held)
        if twice:
            self._duplicate(held)

    def _duplicate(self, held: Held) -> None:
        twin = self._port.copy(held.slot, held.size)
        if twin is None:
            return
        self._order += 1
        held.lane.counts.duplicated += 1
        heappush(self._held, held._replace(order=self._order, slot=twin, fate=Fate.DUPLICATED))

    def release(self, clock: Clock) -> None:
        """Send all that is due."""
        for _ in range(_ROUNDS):
            due = self._take_due(clock.mono_ns() + EARLY_NS)
            if len(due) > 0:
                self._send(due)
            if len(due) < BATCH:
                return

    def _take_due(self, until_ns: int) -> list[Held]:
        held = self._held
        due: list[Held] = []
        while held and held[0].due_ns <= until_ns and len(due) < BATCH:
            due.append(heappop(held))
        return due

    def _send(self, due: list[Held]) -> None:
        """Send a batch; the k-th frame is taken to leave in the middle of its share of the system call."""
        while due:
            sent, start_ns, end_ns = self._port.send([(held.slot, held.lane.out_ifindex, held.size) for held in due])
            share_ns = (end_ns - start_ns) // (2 * max(1, sent))
            for place, held in enumerate(due[:sent]):
                self._settle(held, start_ns + (2 * place + 1) * share_ns)
            if sent < len(due):
                self._drop(due[sent], Fate.DOWN)
            due = due[sent + 1 :]

    def _settle(self, held: Held, left_ns: int) -> None:
        due_ns, _, slot, _, lane, stamp_ns, delay_ns, mark, fate = held
        lane.counts.left += 1
        self._port.release(slot)
        if mark is not None:
            self._recorder.add(mark, lane.crossing, stamp_ns, delay_ns, left_ns - due_ns, fate)

    def _drop(self, held: Held, fate: Fate) -> None:
        held.lane.counts.drop(fate)
        self._port.release(held.slot)
        if held.mark is not None:
            self._recorder.add(held.mark, held.lane.crossing, held.stamp_ns, 0, 0, fate)

    def abandon(self) -> None:
        """Give up all frames in flight, each with its record."""
        while self._held:
            self._drop(heappop(self._held), Fate.ABANDONED)
