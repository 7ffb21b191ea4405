"""A probe's share: a flood is cut, nobody else is, and a backlog is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.lanes import LEAST_BYTES, BacklogConfig
from streams.share import LEAST_STREAMS, MESSAGE_STREAMS, WINDOW_MS, Shares
from streams.worker_config import WorkerConfig

PLANNED = 500
MOST = round(WorkerConfig().times_plan)  # whole messages of a probe in a window
HEAD_BYTES, SUMMARY_BYTES = 500, 680  # of a message, in JSON


def brings(shares: Shares, count: int, *, probe: str = "p", received_ms: int = 0, streams: int = PLANNED) -> int:
    """Return how many of `count` messages are taken."""
    told = (shares.takes(probe, streams=streams, planned=PLANNED, received_ms=received_ms) for _ in range(count))
    return sum(told)


def test_f32_a_flood_is_cut_at_twenty_times_the_plan_and_the_others_are_not() -> None:
    shares = Shares(MOST)
    assert brings(shares, 1000) == MOST
    assert brings(shares, MOST, probe="other") == MOST
    assert brings(shares, 1000, received_ms=WINDOW_MS) == MOST


def test_small_messages_are_a_flood_too() -> None:
    assert brings(Shares(MOST), 100_000, streams=1) == MOST * (PLANNED + MESSAGE_STREAMS) // (1 + MESSAGE_STREAMS)


@given(st.permutations([slot for slot in range(15) for _ in range(3)]))
def test_what_waited_and_is_read_at_once_and_in_any_order_is_no_flood(slots: list[int]) -> None:
    shares = Shares(MOST)
    assert all(brings(shares, 1, received_ms=slot * WINDOW_MS + 7) for slot in slots)


def test_what_is_remembered_is_bounded_and_the_oldest_goes_first() -> None:
    shares = Shares(MOST, most_windows=2)
    assert [brings(shares, MOST, received_ms=at * WINDOW_MS) for at in (0, 1)] == [MOST, MOST]
    assert brings(shares, 1, received_ms=2 * WINDOW_MS) == 1
    assert brings(shares, 1, received_ms=WINDOW_MS) == 0
    assert brings(shares, MOST, received_ms=0) == MOST


@pytest.mark.parametrize("streams", [0, 1, 5, 10, 12, 30, 147, 300, 1000, 5000])
def test_the_backlog_of_no_probe_is_a_flood_beside_all_its_revisions(streams: int) -> None:
    size_bytes = HEAD_BYTES + SUMMARY_BYTES * streams
    records = BacklogConfig().floor_bytes_s * WINDOW_MS / 1000 / max(size_bytes, LEAST_BYTES)
    shares, taken = Shares(MOST), 3 + 1 + 3  # revisions, a heartbeat, a share of the live bytes
    told = [
        shares.takes("p", streams=streams, planned=streams, received_ms=0) for _ in range(round(records) + taken + 1)
    ]
    assert all(told)


def test_a_minute_that_waited_for_its_broker_and_comes_at_once_is_no_flood() -> None:
    shares = Shares(MOST)
    told = [shares.takes("p", streams=LEAST_STREAMS, planned=LEAST_STREAMS, received_ms=0) for _ in range(6 * 3)]
    assert all(told)
