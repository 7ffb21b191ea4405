"""The two lanes: fresh data first, what waited at a bounded rate, nothing by the wall clock's steps."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from support.fake_producer import FakeProducer
from support.spools import HEALTH, TOPIC, fill, manual_clock, saying, text

from probes.lanes import LEAST_BYTES, BacklogConfig, Bucket
from probes.outbox import Outbox, open_outbox
from probes.publisher import Publisher
from probes.spool import Spool, open_spool
from probes.spool_group import Entry
from probes.spool_reader import SpoolReader, open_reader
from schemas.clock import ManualClock

LIVE_BYTES = 150_000  # a slot of a cluster's probe of the national mesh
SLOT_S = 10


@pytest.fixture
def clock() -> ManualClock:
    return manual_clock()


@pytest.fixture
def spool(tmp_path: Path, clock: ManualClock) -> Iterator[Spool]:
    with open_spool(tmp_path / "s.db", clock=clock) as opened:
        yield opened


@pytest.fixture
def outbox(spool: Spool, clock: ManualClock) -> Iterator[Outbox]:
    with open_outbox(spool, clock=clock) as opened:
        yield opened


@pytest.fixture
def reader(spool: Spool, clock: ManualClock) -> Iterator[SpoolReader]:
    with open_reader(spool.path, clock=clock) as opened:
        yield opened


def chance(seed: int = 1) -> Random:
    return Random(seed)  # noqa: S311 - a test wants the same numbers again


class Return:
    """A probe after an outage: it goes on measuring while its publisher catches up; every step is half a second."""

    def __init__(self, spool: Spool, outbox: Outbox, clock: ManualClock, config: BacklogConfig, seed: int = 1) -> None:
        self.broker = FakeProducer()
        self.publisher = Publisher("m/p", spool.path, outbox, Bucket(config, clock, chance(seed)), clock)
        self.publisher.stop()  # its steps are ours: no waiting in a test
        self._spool, self._outbox, self._clock = spool, outbox, clock
        self._value = text(LIVE_BYTES)

    def say(self, topic: str, value: bytes) -> None:
        """Spool a record, as an agent does: the spool belongs to the outbox's thread."""
        self._outbox.put(Entry(self._spool.spool_id, topic, saying(value)))
        assert self._outbox.flush(5.0)

    def measure(self, slots: int) -> None:
        for _ in range(slots):
            self.say(TOPIC, self._value)
            self.say(HEALTH, b"heartbeat")
            self._clock.advance_s(SLOT_S)

    def go_on(self, reader: SpoolReader, seconds: float) -> None:
        for half in range(round(seconds * 2)):
            if half % (2 * SLOT_S) == 0:
                self.say(TOPIC, self._value)
            self.publisher.step(self.broker, reader)
            assert self._outbox.flush(5.0)
            self._clock.advance_s(0.5)

    @property
    def sent_bytes(self) -> int:
        return sum(len(sent.value) for sent in self.broker.sent)


def backlog_left(reader: SpoolReader) -> int:
    return len(reader.pending(10_000, "backlog"))


def test_f01_after_an_hour_of_outage_the_present_goes_at_once_and_the_hour_within_ten_minutes(
    spool: Spool, outbox: Outbox, reader: SpoolReader, clock: ManualClock
) -> None:
    probe = Return(spool, outbox, clock, BacklogConfig())
    probe.measure(360)
    assert backlog_left(reader) >= 700
    for _ in range(60):
        before = len(probe.broker.sent)
        probe.go_on(reader, SLOT_S)
        if len(probe.broker.sent) > before:
            assert len(reader.pending(100, "live")) == 0, "a fresh record waited for more than a step"
    sent = [(sent.topic, sent.value) for sent in probe.broker.sent]
    assert backlog_left(reader) == 0
    assert len(sent) == 2 * 360 + 60, "0 lost, 0 twice"
    assert probe.sent_bytes < 60 * SLOT_S * 10 * LIVE_BYTES / SLOT_S, "at most ten times its live rate"


def test_without_a_floor_the_backlog_gets_at_most_a_fifth_of_the_live_bytes(
    spool: Spool, outbox: Outbox, reader: SpoolReader, clock: ManualClock
) -> None:
    probe = Return(spool, outbox, clock, BacklogConfig(floor_bytes_s=0, start_jitter_s=0))
    probe.measure(60)
    probe.go_on(reader, 60)  # the live minute first
    before = probe.sent_bytes
    probe.go_on(reader, 1_200)
    live = 120 * LIVE_BYTES
    backlog = probe.sent_bytes - before - live
    assert 0.1 * live < backlog <= 0.2 * live + LIVE_BYTES


def test_the_return_of_many_probes_is_spread_over_the_jitter(clock: ManualClock) -> None:
    opens_s = []
    for seed in range(200):
        bucket = Bucket(BacklogConfig(), clock, chance(seed))
        bucket.back()
        assert not bucket.has_some()
        opens_s.append(bucket.wait_s())
    waits = sorted(wait for wait in opens_s if wait is not None)
    assert len(waits) == 200
    assert waits[0] < 6
    assert 50 < waits[100] < 70
    assert 114 < waits[-1] <= 120


def test_while_the_broker_is_away_one_old_record_at_most_is_tried(
    spool: Spool, outbox: Outbox, reader: SpoolReader, clock: ManualClock
) -> None:
    probe = Return(spool, outbox, clock, BacklogConfig(start_jitter_s=0))
    probe.measure(20)
    clock.advance_s(300)
    probe.broker.acknowledges = False
    for _ in range(5):
        probe.publisher.step(probe.broker, reader)
        clock.advance_s(1)
    assert len(probe.broker.sent) == 1


@pytest.mark.parametrize("step_s", [-86_400, -3_600, 3_600, 86_400])
def test_f27_a_stepped_wall_clock_moves_no_record_between_the_lanes(
    spool: Spool, reader: SpoolReader, clock: ManualClock, step_s: int
) -> None:
    fill(spool, [b"old"])
    for _ in range(31):
        assert len(reader.pending(10, "live")) == (1 if clock.mono_ns() <= 60_000_000_000 else 0)
        clock.advance_s(2)
    fill(spool, [b"new"])
    reader.pending(10, "live")
    clock.step_wall_s(step_s)
    fill(spool, [b"newer"])
    clock.advance_s(1)
    assert [row.value for row in reader.pending(10, "live")] == [b"new", b"newer"]
    assert [row.value for row in reader.pending(10, "backlog")] == [b"old"]


@pytest.mark.parametrize("step_s", [-86_400, 40 * 86_400])
def test_f27_a_stepped_wall_clock_costs_no_record_and_no_reserve(
    spool: Spool, reader: SpoolReader, clock: ManualClock, step_s: int
) -> None:
    keys = fill(spool, [b"v"] * 4)
    spool.acknowledge(keys[:2])
    clock.step_wall_s(step_s)
    (after,) = fill(spool, [b"v"])
    spool.trim()
    assert after.seq == 4
    assert len(list(reader.rows(spool.spool_id, TOPIC, 0, 9))) == 5


def test_a_record_that_a_dead_run_left_minutes_ago_is_backlog_and_one_of_seconds_is_live(
    tmp_path: Path, clock: ManualClock
) -> None:
    with open_spool(tmp_path / "r.db", clock=clock) as dead:
        fill(dead, [b"old"])
        clock.advance_s(300)
        fill(dead, [b"fresh"])
    clock.advance_s(5)
    with open_spool(tmp_path / "r.db", clock=clock), open_reader(tmp_path / "r.db", clock=clock) as reader:
        assert [row.value for row in reader.pending(10, "live")] == [b"fresh"]
        assert [row.value for row in reader.pending(10, "backlog")] == [b"old"]


def test_small_records_go_no_faster_than_sixteen_a_second(clock: ManualClock) -> None:
    bucket = Bucket(BacklogConfig(start_jitter_s=0), clock, chance())
    bucket.back()
    sent = 0
    for _ in range(100):
        clock.advance_s(0.1)
        while bucket.has_some():
            bucket.spend(1200)
            sent += 1
    assert sent == pytest.approx(10 * 125_000 / LEAST_BYTES, abs=1)
