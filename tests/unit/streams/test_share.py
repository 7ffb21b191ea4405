"""A probe's share: a flood is cut, nobody else is, and a backlog is none."""

from hypothesis import given
from hypothesis import strategies as st

from streams.share import MESSAGE_STREAMS, SLOTS_A_MINUTE, Shares
from streams.worker_config import WorkerConfig

PLANNED = 100
TIMES_PLAN = round(WorkerConfig().times_plan)
MINUTE = 60_000
MOST = TIMES_PLAN * SLOTS_A_MINUTE  # whole messages of a probe in a minute


def brings(shares: Shares, count: int, *, probe: str = "p", received_ms: int = 0, streams: int = PLANNED) -> int:
    """Return how many of `count` messages are taken."""
    told = (shares.takes(probe, streams=streams, planned=PLANNED, received_ms=received_ms) for _ in range(count))
    return sum(told)


def test_f32_a_flood_is_cut_at_twenty_times_the_plan_and_the_others_are_not() -> None:
    shares = Shares(TIMES_PLAN)
    assert brings(shares, 1000) == MOST
    assert brings(shares, MOST, probe="other") == MOST
    assert brings(shares, 1000, received_ms=MINUTE) == MOST


def test_small_messages_are_a_flood_too() -> None:
    assert brings(Shares(TIMES_PLAN), 100_000, streams=1) == MOST * (PLANNED + MESSAGE_STREAMS) // (1 + MESSAGE_STREAMS)


@given(st.permutations([minute for minute in range(60) for _ in range(SLOTS_A_MINUTE * 3)]))
def test_an_hour_that_is_read_at_once_and_in_any_order_is_no_flood(minutes: list[int]) -> None:
    shares = Shares(TIMES_PLAN)
    assert all(brings(shares, 1, received_ms=minute * MINUTE + 7) for minute in minutes)


def test_what_is_remembered_is_bounded_and_the_oldest_goes_first() -> None:
    shares = Shares(TIMES_PLAN, most_minutes=2)
    assert [brings(shares, MOST, received_ms=minute * MINUTE) for minute in (0, 1)] == [MOST, MOST]
    assert brings(shares, 1, received_ms=2 * MINUTE) == 1
    assert brings(shares, 1, received_ms=MINUTE) == 0
    assert brings(shares, MOST, received_ms=0) == MOST


def test_a_probe_without_streams_has_the_share_of_its_heartbeats() -> None:
    shares = Shares(TIMES_PLAN)
    assert all(shares.takes("p", streams=1, planned=0, received_ms=0) for _ in range(MOST * MESSAGE_STREAMS // 21))
    assert not shares.takes("p", streams=1, planned=0, received_ms=0)
