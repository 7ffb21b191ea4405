"""Where a group stands: lag, holes, and a worker that does not move."""

import pytest

from streams.positions import STALLED_NS, HoleError, Stall, Standing, forgotten_topics, hole_error, holes


@pytest.mark.parametrize(
    ("standing", "lag"),
    [
        (Standing(3, 0, 10), 7),
        (Standing(None, 4, 10), 6),
        (Standing(10, 4, 10), 0),
        (Standing(2, 4, 10), 6),
        (Standing(50, 0, 10), 0),
        (Standing(0, 0, 0), 0),
    ],
)
def test_the_lag_is_what_can_still_be_read(standing: Standing, lag: int) -> None:
    assert standing.lag == lag


def test_f05_what_was_deleted_unread_is_a_hole_and_what_was_read_is_none() -> None:
    found = holes({"t 0": Standing(3, 7, 9), "t 1": Standing(7, 7, 9), "t 2": Standing(None, 7, 9)})
    assert found == {"t 0": "4 messages deleted before they were read (3 to 6)"}


def test_f06_a_topic_made_anew_under_a_group_is_a_hole() -> None:
    assert "another topic" in holes({"t 0": Standing(10, 0, 4)})["t 0"]


def test_f06_a_topic_whose_positions_the_broker_forgot_is_told_from_a_new_group() -> None:
    nowhere, somewhere = Standing(None, 0, 5), Standing(2, 0, 5)
    assert forgotten_topics({"a 0": somewhere, "a 1": nowhere, "b 0": nowhere, "b 1": nowhere}) == ["b"]
    assert forgotten_topics({"a 0": nowhere, "b 0": nowhere}) == []


def test_the_error_names_some_partitions_counts_the_others_and_says_what_to_do() -> None:
    error = hole_error("g", {f"t {number}": "gone" for number in range(9)})
    assert isinstance(error, HoleError)
    text = str(error)
    assert "t 0: gone; t 1: gone; t 2: gone and 6 more" in text
    assert "isochrone reconcile" in text
    assert "spool resend" in text


def test_a_worker_that_could_read_and_does_not_for_a_minute_is_stalled() -> None:
    stall, behind = Stall(), {"t 0": Standing(3, 0, 9)}
    assert not stall.is_stalled(behind, may_move=True, now_ns=5)
    assert not stall.is_stalled(behind, may_move=True, now_ns=STALLED_NS + 4)
    assert stall.is_stalled(behind, may_move=True, now_ns=STALLED_NS + 5)


@pytest.mark.parametrize(
    ("standing", "may_move"), [(Standing(4, 0, 9), True), (Standing(9, 0, 9), True), (Standing(3, 0, 9), False)]
)
def test_one_that_moved_has_nothing_to_read_or_waits_for_the_store_is_not(standing: Standing, may_move: bool) -> None:
    stall = Stall()
    stall.is_stalled({"t 0": Standing(3, 0, 9)}, may_move=True, now_ns=0)
    assert not stall.is_stalled({"t 0": standing}, may_move=may_move, now_ns=STALLED_NS)
