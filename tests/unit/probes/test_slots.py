"""When a slot is said, and what it says, over the real book of packets and a path that is cut and heals."""

from collections.abc import Callable
from itertools import pairwise

from support.paced_book import START_S, PacedBook, streams_of

from probes.slots import Said, SlotKeeper
from schemas.clock import ManualClock

SLOT_MS = 10_000
START_MS = START_S * 1_000


class Bench:
    """A keeper over a paced book; remembers what was said and when, in seconds since the start."""

    def __init__(self, count: int = 2, *, method: str = "stamp") -> None:
        self.clock = ManualClock(wall_ns=START_S * 10**9)
        streams = streams_of(count, method=method)
        self.book = PacedBook(self.clock, streams)
        self.said: list[tuple[float, Said]] = []
        self.keeper = SlotKeeper(
            self.book,
            streams,
            slot_ms=SLOT_MS,
            clock=self.clock,
            emit=lambda said: self.said.append((self.now_s, said)),
            loaded=lambda stream, start_ms, end_ms: stream.id == 1 and start_ms <= START_MS < end_ms,
        )

    @property
    def now_s(self) -> float:
        return self.clock.mono_ns() / 1e9

    def until(self, end_s: float, each: Callable[[], None] = lambda: None) -> None:
        while self.now_s < end_s:
            self.keeper.look()
            while self.keeper.step():
                pass
            self.book.advance()
            each()

    def of_slot(self, number: int) -> list[tuple[float, Said]]:
        return [(at_s, said) for at_s, said in self.said if said.slot.start_ms == START_MS + number * SLOT_MS]


def test_a_healthy_slot_is_said_once_right_after_its_end() -> None:
    bench = Bench()
    bench.until(21)
    assert [(said.revision, said.complete) for _, said in bench.said] == [(1, True), (1, True)]
    assert [round(at_s, 1) for at_s, _ in bench.said] == [10.0, 20.0]
    assert all(summary.sent == summary.received == 100 for _, said in bench.said for summary in said.summaries)


def test_a_cut_is_told_within_a_second_of_the_first_second_of_losses() -> None:
    bench = Bench()
    bench.until(2)
    bench.book.cut = {0}
    bench.until(9)
    ((at_s, early),) = bench.said
    assert 5.0 <= at_s <= 5.4  # 1 s of losses, each known 2 s after its departure
    assert (early.revision, early.complete) == (1, False)
    silent, healthy = early.summaries
    assert (silent.sent, silent.received, silent.loss_run_max) >= (30, 20, 10)
    assert healthy.received > silent.sent


def test_streams_that_fall_silent_together_are_told_together() -> None:
    bench = Bench(3)
    bench.until(2)
    bench.book.cut = {0}
    bench.until(2.1)
    bench.book.cut = {0, 1, 2}
    bench.until(9)
    ((_, early),) = bench.said
    assert all(summary.loss_run_max >= 10 for summary in early.summaries)


def test_a_return_is_told_once_the_summary_can_show_it() -> None:
    bench = Bench()
    bench.until(0.5)
    bench.book.cut = {0}
    bench.until(4.5)
    bench.book.cut = set()
    bench.until(9.9)
    (_, gone), (at_s, back) = bench.said
    assert gone.summaries[0].received == 5
    assert at_s <= 7.0
    assert back.summaries[0].received > 5
    assert back.summaries[0].lost_forward == 40


def test_the_direction_of_a_cut_over_several_slots_is_told_after_the_return() -> None:
    bench = Bench()
    bench.until(5)
    bench.book.cut = {0}
    bench.until(25)
    bench.book.cut = set()
    bench.until(40)
    first, second, third = (bench.of_slot(number) for number in range(3))
    for said in (first, second, third):
        last = said[-1][1]
        assert last.complete
        assert (last.summaries[0].lost_unresolved, last.slot.revision) == (0, len(said))
    assert [slot[-1][1].summaries[0].lost_forward for slot in (first, second, third)] == [50, 100, 50]
    assert [slot[-1][1].summaries[0].loss_runs for slot in (first, second, third)] == [1, 0, 0]
    assert [slot[-1][1].summaries[0].loss_run_max for slot in (first, second, third)] == [50, 150, 200]


def test_a_run_longer_than_the_rings_is_measured_from_its_true_beginning() -> None:
    bench = Bench(1)
    bench.until(5)
    bench.book.cut = {0}
    bench.until(75)
    bench.book.cut = set()
    bench.until(90)
    last = [bench.of_slot(number)[-1][1].summaries[0] for number in range(8)]
    assert [slot.loss_runs for slot in last] == [1, 0, 0, 0, 0, 0, 0, 0]
    assert [slot.loss_run_max for slot in last] == [50, 150, 250, 350, 450, 550, 650, 700]


def test_revisions_count_up_and_stay_few() -> None:
    bench = Bench(2)

    def flap() -> None:
        bench.book.cut = {0} if int(bench.now_s * 10) % 24 < 12 else set()

    bench.until(45, flap)
    for number in range(3):
        said = bench.of_slot(number)
        revisions = [each.revision for _, each in said]
        assert revisions == list(range(1, len(said) + 1))
        assert len(said) <= 9
        early = [at_s for at_s, each in said if not each.complete]
        assert all(later - earlier >= 0.99 for earlier, later in pairwise(early))
        last = said[-1][1]
        truth = sum(number * 100 <= index < (number + 1) * 100 for index in bench.book.lost[0])
        flapping = last.summaries[0]
        assert last.complete
        assert (flapping.sent, flapping.received, flapping.lost_forward) == (100, 100 - truth, truth)


def test_a_reply_after_the_timeout_is_told_once_more() -> None:
    bench = Bench(1)
    bench.until(9)
    bench.book.rtt_s = 3.0
    bench.until(10)
    bench.book.rtt_s = 0.03
    bench.until(20)
    complete, swept = [said for _, said in bench.of_slot(0) if said.complete]
    assert complete.summaries[0].late < swept.summaries[0].late == 10
    assert swept.summaries[0].lost_backward == 0


def test_echo_waits_for_no_direction() -> None:
    bench = Bench(1, method="icmp")
    bench.until(5)
    bench.book.cut = {0}
    bench.until(8)
    bench.book.cut = set()
    bench.until(25)
    (*_, (_, last)) = bench.of_slot(0)
    assert (last.complete, last.summaries[0].lost_unresolved) == (True, 30)


def test_a_run_that_ends_says_what_is_settled() -> None:
    bench = Bench(1)
    bench.until(4)
    bench.keeper.finish()
    ((_, last),) = bench.said
    assert (last.complete, last.revision) == (False, 1)
    assert last.summaries[0].sent in (39, 40)


def test_a_loaded_slot_says_so_stream_by_stream() -> None:
    bench = Bench(2)
    bench.until(21)
    assert [[summary.loaded for summary in said.summaries] for _, said in bench.said] == [
        [True, False],
        [False, False],
    ]


def test_nothing_is_kept_for_long() -> None:
    bench = Bench(1)
    bench.until(120)
    assert len(bench.keeper._slots) <= 3
