"""When packets leave, and how the engine sees a clock step: on a clock that the test moves."""

import pytest
from support.probing import dice

from probes.engine.schedule import Schedule
from probes.engine.steps import StepWatch
from probes.engine.targets import StreamTarget, check_targets
from schemas.clock import ManualClock
from schemas.errors import ConfigError

MS = 1_000_000
START = 1_700_000_000_000_000_123


def target(row: int = 0, *, phase_ns: int | None = None, token: int = 0) -> StreamTarget:
    return StreamTarget(
        row=row, stream_id=row, token=token or row + 1, method="stamp", source="127.0.0.1", destination="127.0.0.2",
        phase_ns=phase_ns,
    )  # fmt: skip


def test_departures_stand_on_the_grid_of_the_wall_clock_at_the_phase() -> None:
    schedule = Schedule([target(phase_ns=30 * MS)], dice(1), START)
    first = schedule.take(0)
    assert START <= first < START + 100 * MS
    assert first % (100 * MS) == 30 * MS
    assert schedule.take(0) == first + 100 * MS


def test_every_slot_plans_the_same_number_of_packets() -> None:
    schedule = Schedule([target(phase_ns=99 * MS)], dice(1), START)
    slots = [schedule.take(0) // (10_000 * MS) for _ in range(1_000)]
    inner = sorted(set(slots))[1:-1]
    assert {slots.count(slot) for slot in inner} == {100}


def test_phases_are_random_and_the_same_seed_gives_the_same_ones() -> None:
    targets = [target(row) for row in range(50)]
    one, two = (Schedule(targets, dice(7), START).phase_ns.tolist() for _ in range(2))
    assert one == two
    assert len(set(one)) == 50
    assert all(0 <= phase < 100 * MS for phase in one)


def test_a_stream_is_due_at_its_departure_and_not_before() -> None:
    schedule = Schedule([target(phase_ns=0), target(1, phase_ns=50 * MS)], dice(1), 0)
    assert schedule.due_rows(49 * MS) == [0]
    assert schedule.due_rows(50 * MS) == [0, 1]
    schedule.take(0)
    assert schedule.next_due_ns() == 50 * MS


@pytest.mark.parametrize(("before_ms", "missed"), [(0, 0), (1, 1), (100, 1), (101, 2), (1_000, 10)])
def test_missed_departures_are_those_before_the_moment(before_ms: int, missed: int) -> None:
    assert Schedule([target(phase_ns=0)], dice(1), 0).missed(0, before_ms * MS) == missed


def test_a_step_of_the_wall_clock_is_seen_once_and_slewing_is_not_a_step() -> None:
    clock = ManualClock(START)
    watch = StepWatch(clock)
    clock.advance_s(10.0)
    assert watch.step_ns() == 0
    clock.step_wall_s(-5.0)
    assert watch.step_ns() == -5_000 * MS
    assert watch.step_ns() == 0
    clock.advance_s(10.0)
    clock.step_wall_s(0.005)  # 500 ppm of ten seconds
    assert watch.step_ns() == 0
    clock.step_wall_s(0.0011)
    assert watch.step_ns() == 1_100_000


class HeldUpClock(ManualClock):
    """A clock whose reader is interrupted for 5 ms between two readings, twice."""

    def __init__(self) -> None:
        super().__init__(START)
        self.interruptions = 0

    def wall_ns(self) -> int:
        now_ns = super().wall_ns()
        if self.interruptions > 0:
            self.interruptions -= 1
            self.advance_s(0.005)
        return now_ns


def test_an_interruption_between_two_readings_is_no_step() -> None:
    clock = HeldUpClock()
    watch = StepWatch(clock)
    clock.interruptions = 2
    assert watch.step_ns() == 0


@pytest.mark.parametrize(
    ("targets", "text"),
    [
        ([], "gives this probe no stream"),
        ([target(1)], "rows must be 0, 1, 2"),
        ([target(0, token=5), target(1, token=5)], "its token is in the list twice"),
        ([target(phase_ns=100 * MS)], "phase_ns must be 0 to interval_ns - 1"),
        ([StreamTarget(row=0, stream_id=4, token=1, method="icmp", source="::1", destination="127.0.0.1")], "IPv6"),
        ([StreamTarget(row=0, stream_id=4, token=1, method="icmp", source="a.example", destination="::1")], "numeric"),
        (
            [StreamTarget(row=0, stream_id=4, token=1, method="icmp", source="::1", destination="::1", dscp=64)],
            "stream 4 from ::1 to ::1: dscp must be 0 to 63, not 64",
        ),
    ],
)
def test_a_target_list_that_cannot_be_is_refused_with_the_stream_and_the_rule(
    targets: list[StreamTarget], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        check_targets(targets)
