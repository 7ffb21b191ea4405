import random
import struct

import msgspec
import pytest
from support.lab import mark, two_hosts

from deploy.lab.control import Adjust, Answer, Command, Impair, Request, Snapshot, Stop
from deploy.lab.desk import Desk, Gauges, lane_pairs, lanes_by_arrival, quiet_ns
from deploy.lab.frames import SLOT_BYTES
from deploy.lab.impair import Way
from deploy.lab.ledger import Fate
from deploy.lab.marks import MarkLayout, mark_reader
from deploy.lab.passage import Lane, Passage
from deploy.lab.topology import Impairment
from schemas.clock import ManualClock

MS = 1_000_000
IN, OUT = 3, 4


def udp_frame(payload: bytes, source: int = 40_000, destination: int = 862, fragment: int = 0) -> bytes:
    ip = struct.pack("!BBHHHBBH8x", 0x45, 0, 28 + len(payload), 0, fragment, 64, 17, 0)
    return bytes(12) + b"\x08\x00" + ip + struct.pack("!HHHH", source, destination, 8 + len(payload), 0) + payload


def icmp_frame(kind: int, payload: bytes) -> bytes:
    ip = struct.pack("!BBHHHBBH8x", 0x45, 0, 28 + len(payload), 0, 0, 64, 1, 0)
    return bytes(12) + b"\x08\x00" + ip + struct.pack("!BBHHH", kind, 0, 0, 0, 0) + payload


@pytest.mark.parametrize(
    ("frame", "found"),
    [
        (udp_frame(mark(5, 6)), (5, 6, 0)),
        (udp_frame(mark(5, 6), source=862, destination=40_000), (5, 6, 1)),
        (udp_frame(mark(5, 6), source=862, destination=862), (5, 6, 0)),
        (udp_frame(mark(5, 6), destination=863), None),
        (udp_frame(mark(5, 6)[:60]), None),
        (udp_frame(mark(5, 6), fragment=100), None),
        (icmp_frame(8, struct.pack("!QQ", 5, 6)), (5, 6, 0)),
        (icmp_frame(0, struct.pack("!QQ", 5, 6)), (5, 6, 1)),
        (icmp_frame(11, struct.pack("!QQ", 5, 6)), None),
        (bytes(60), None),
        (b"", None),
    ],
)
def test_only_test_packets_have_a_mark(frame: bytes, found: tuple[int, int, int] | None) -> None:
    store = memoryview(bytearray(100) + frame + bytes(100))
    assert mark_reader(MarkLayout())(store, 100, len(frame)) == found


class MemoryPort:
    """A frame port without a socket: what was sent, and which slots came back."""

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(16 * SLOT_BYTES))
        self.sent: list[int] = []
        self.released: list[int] = []
        self.refuse: set[int] = set()

    def send(self, frames: list[tuple[int, int, int]]) -> tuple[int, int, int]:
        for count, (slot, _, _) in enumerate(frames):
            if slot in self.refuse:
                return count, 0, 0
            self.sent.append(slot)
        return len(frames), 0, 0

    def copy(self, slot: int, size: int) -> int | None:
        return slot + 8 if size > 0 else None

    def release(self, slot: int) -> None:
        self.released.append(slot)


class MemoryRecorder:
    """Keeps what would be written."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, Fate]] = []

    def add(self, mark: tuple[int, int, int], _c: tuple[int, int], _a: int, _d: int, _l: int, fate: Fate) -> None:
        self.rows.append((mark[1], fate))


class Rig:
    """A passage over one lane, with arrivals told by hand."""

    def __init__(self, impairment: Impairment) -> None:
        self.port, self.recorder, self.clock = MemoryPort(), MemoryRecorder(), ManualClock()
        self.lane = Lane((0, 0), Way(impairment, random.Random(1)), OUT)  # noqa: S311 - dice
        read = mark_reader(MarkLayout())
        self.passage = Passage(self.port, {IN: self.lane}, read, self.recorder)  # type: ignore[arg-type] # same methods

    def arrive(self, slot: int, at_ns: int, wall_ahead_ns: int = 0) -> None:
        frame = udp_frame(mark(1, slot))
        self.port.buffer[slot * SLOT_BYTES : slot * SLOT_BYTES + len(frame)] = frame
        now_ns = self.clock.mono_ns()
        self.passage.admit([(slot, IN, len(frame), at_ns)], now_ns + wall_ahead_ns, now_ns)

    def at(self, ms: float) -> list[int]:
        self.clock.advance_s(ms / 1000 - self.clock.mono_ns() / 1e9)
        self.passage.release(self.clock)
        return self.port.sent


def test_frames_leave_in_order_of_due_time_and_not_before() -> None:
    rig = Rig(Impairment(delay_us=5000))
    rig.arrive(0, 0)
    rig.lane.way.change(Impairment(delay_us=1000, keep_order=False))
    assert rig.at(1) == []
    rig.arrive(1, 1 * MS)
    assert rig.at(2) == [1]
    assert rig.at(5) == [1, 0]
    assert rig.lane.counts.reordered == 1


def test_the_delay_counts_from_the_arrival_however_late_the_wire_reads_it() -> None:
    rig = Rig(Impairment(delay_us=5000))
    rig.at(3)
    rig.arrive(0, 50 * MS + 1 * MS, wall_ahead_ns=50 * MS)
    assert rig.at(5.9) == []
    assert rig.at(6) == [0]


def test_a_wall_clock_that_stepped_back_holds_no_frame_beyond_its_delay() -> None:
    rig = Rig(Impairment(delay_us=5000))
    rig.arrive(0, 3_600_000 * MS)
    assert rig.at(5) == [0]


def test_frames_due_at_the_same_time_leave_in_order_of_arrival() -> None:
    rig = Rig(Impairment(delay_us=1000))
    for slot in (3, 1, 2):
        rig.arrive(slot, 0)
    assert rig.at(1) == [3, 1, 2]


def test_every_slot_comes_back_and_every_frame_is_counted_once() -> None:
    rig = Rig(Impairment(delay_us=1000, duplicate_ratio=1.0))
    rig.arrive(0, 0)
    rig.lane.way.change(Impairment(cut=True))
    rig.arrive(1, 0)
    rig.at(1)
    counts = rig.lane.counts
    assert sorted(rig.port.released) == [0, 1, 8]
    assert counts.entered + counts.duplicated == counts.left + counts.down_drop == 3
    assert rig.recorder.rows == [(1, Fate.DOWN), (0, Fate.FORWARDED), (0, Fate.DUPLICATED)]


def test_a_frame_that_its_interface_refuses_is_down_and_the_others_go() -> None:
    rig = Rig(Impairment(delay_us=1000))
    rig.port.refuse = {1}
    for slot in (0, 1, 2):
        rig.arrive(slot, 0)
    assert rig.at(1) == [0, 2]
    assert (1, Fate.DOWN) in rig.recorder.rows


def test_frames_in_flight_at_the_end_are_abandoned_by_name() -> None:
    rig = Rig(Impairment(delay_us=1000))
    rig.arrive(0, 0)
    rig.passage.abandon()
    assert rig.recorder.rows == [(0, Fate.ABANDONED)]
    assert len(rig.passage) == 0


class Office:
    """A desk over the link `ab` of two hosts."""

    def __init__(self) -> None:
        names = {"l0a": IN, "l0b": OUT}
        self.flushes = 0
        self.pairs = lane_pairs(two_hosts(Impairment(delay_us=4000)), names.__getitem__, seed=0)
        self.desk = Desk(self.pairs, Gauges(lambda: 2, lambda: 0, self._flush, realtime=False), ManualClock(wall_ns=77))

    def _flush(self) -> None:
        self.flushes += 1

    def ask(self, command: Command) -> Answer:
        datagram = msgspec.json.encode(Request(id=5, command=command))
        return msgspec.json.decode(self.desk.handle(datagram), type=Answer)


def test_frames_that_come_from_a_leave_towards_b_and_back() -> None:
    office = Office()
    lanes = lanes_by_arrival(office.pairs)
    assert (lanes[IN].crossing, lanes[IN].out_ifindex) == ((0, 0), OUT)
    assert (lanes[OUT].crossing, lanes[OUT].out_ifindex) == ((0, 1), IN)


def test_an_adjustment_changes_the_named_fields_of_the_named_direction() -> None:
    office = Office()
    assert office.ask(Adjust(link="ab", direction="forward", fields={"cut": True})) == Answer(id=5, at_ns=77)
    forward, backward = office.pairs["ab"]
    assert forward.way.impairment == Impairment(delay_us=4000, cut=True)
    assert backward.way.impairment == Impairment(delay_us=4000)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (Adjust(link="ba", direction="both", fields={}), "no link ba; the lab has ab"),
        (Adjust(link="ab", direction="both", fields={"loss": 1}), "loss"),
        (Adjust(link="ab", direction="both", fields={"loss_ratio": 2}), "loss_ratio"),
    ],
)
def test_a_wrong_command_is_answered_with_its_fault_and_changes_nothing(command: Command, said: str) -> None:
    office = Office()
    assert said in str(office.ask(command).error)
    assert office.pairs["ab"][0].way.impairment == Impairment(delay_us=4000)


def test_garbage_on_the_control_socket_is_answered() -> None:
    answer = msgspec.json.decode(Office().desk.handle(b"garbage"), type=Answer)
    assert "not a command" in str(answer.error)


def test_a_snapshot_writes_the_records_first() -> None:
    office = Office()
    ledger = office.ask(Snapshot()).ledger
    assert ledger is not None
    assert (ledger.in_flight, ledger.link("ab").forward, office.flushes) == (2, Impairment(delay_us=4000), 1)


def test_a_stop_writes_the_records_and_ends_the_wire() -> None:
    office = Office()
    office.ask(Stop())
    assert (office.flushes, office.desk.stopped) == (1, True)


def test_the_wire_may_sleep_no_longer_than_the_shortest_delay() -> None:
    office = Office()
    assert office.desk.quiet_ns == 4 * MS
    office.ask(Impair(link="ab", direction="backward", impairment=Impairment(delay_us=1000, jitter_us=100)))
    assert office.desk.quiet_ns == 600_000
    office.ask(Adjust(link="ab", direction="backward", fields={"cut": True}))
    assert quiet_ns(office.pairs) == 4 * MS
