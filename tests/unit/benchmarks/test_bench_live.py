import pytest
from benchmarks.live import SPREAD_S, Live, pace
from benchmarks.national import SLOT_MS, National, Sent

from schemas.clock import ManualClock, wall_ms
from schemas.codec import decode
from schemas.records import SummaryBatch

READABLE_AFTER_MS = 2000


class Pipeline:
    """A topic and a table in one: what is sent can be read two seconds later."""

    def __init__(self, clock: ManualClock, *, loses: bool = False) -> None:
        self.rows: list[tuple[str, int, int]] = []
        self.batches: list[SummaryBatch] = []
        self._clock = clock
        self._loses = loses

    def send(self, message: Sent) -> None:
        batch = decode(message.value, SummaryBatch)
        self.batches.append(batch)
        if not self._loses:
            self.rows.append((batch.probe_id, batch.seq, wall_ms(self._clock)))

    def flush(self) -> None:
        """Hold nothing back."""

    def execute(self, _: str, params: dict[str, object]) -> list[tuple[str, int, int]]:
        now_ms = wall_ms(self._clock)
        return [row for row in self.rows if row[1] >= int(str(params["seq"])) and row[2] <= now_ms - READABLE_AFTER_MS]


@pytest.fixture(scope="module")
def mesh() -> National:
    return National(1, streams_each=2, distinct=2)


def test_every_probe_sends_every_slot_soon_after_it_is_due_and_its_wait_is_told(mesh: National) -> None:
    clock = ManualClock(wall_ns=1_800_000_000 * 10**9)
    pipeline = Pipeline(clock)
    live = Live(pipeline, pipeline, mesh, pace(10.0, slots=3, clock=clock), seed=1, clock=clock)
    live.run("three slots", lambda: live.slots > 3, deadline_s=40)
    live.drain(deadline_s=10)
    begun_ms = 1_800_000_000_000
    assert len(live.waits_s) == 3 * len(mesh.probes)
    assert {seq for _, seq in live.waits_s} == {0, 1, 2}
    for _, seq, appended_ms in pipeline.rows:
        assert 0 <= appended_ms - begun_ms - seq * 10_000 <= SPREAD_S * 1000 + 100
    assert all(2.0 <= wait_s <= 2.1 for wait_s in live.waits_s.values())


def test_slots_faster_than_life_are_of_the_past_and_each_its_own(mesh: National) -> None:
    clock = ManualClock(wall_ns=1_800_000_000 * 10**9)
    pipeline = Pipeline(clock)
    at = pace(1.0, slots=20, clock=clock)
    live = Live(pipeline, pipeline, mesh, at, seed=1, clock=clock)
    live.run("slots", lambda: live.is_seen_to(9), deadline_s=40)
    slots = {batch.slot_start_ms for batch in pipeline.batches if batch.seq <= 9}
    assert slots == {at.first_ms + seq * SLOT_MS for seq in range(10)}
    assert (
        sorted(live.batches(), key=lambda each: (each.probe_id, each.seq))[0]
        == sorted(pipeline.batches, key=lambda each: (each.probe_id, each.seq))[0]
    )


def test_what_was_lost_is_a_failure_that_says_what_was_waited_for(mesh: National) -> None:
    clock = ManualClock(wall_ns=1_800_000_000 * 10**9)
    pipeline = Pipeline(clock, loses=True)
    live = Live(pipeline, pipeline, mesh, pace(10.0, slots=3, clock=clock), seed=1, clock=clock)
    live.run("a slot", lambda: live.slots > 1, deadline_s=40)
    with pytest.raises(TimeoutError, match="waited 5 s for the last messages; 44 messages not readable"):
        live.drain(deadline_s=5)
