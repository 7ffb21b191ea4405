import pytest
from support.page_rows import ANSWERS, STATES, state_row

from dashboards.page.view import BADNESS, counts, crossings, matrices, minutes, sparkline


def test_all_four_states_are_counted_also_those_at_zero() -> None:
    assert counts([STATES[0]]) == {"ok": 1, "degraded": 0, "down": 0, "insufficient": 0}


def test_a_cell_says_the_worst_of_its_streams() -> None:
    (telecom,) = matrices(STATES, ANSWERS["page_delays"])
    assert telecom.cells[("cluster-a", "cluster-b")].state == "degraded"


@pytest.mark.parametrize("order", [1, -1])
def test_an_unknown_stream_is_not_hidden_behind_a_green_one(order: int) -> None:
    rows = [state_row(1, "a/x", "b/x"), state_row(2, "a/x", "b/x", state="insufficient", reason="late")]
    (matrix,) = matrices(rows[::order], [])
    assert matrix.cells[("a", "b")].state == "insufficient"


def test_a_crossing_is_in_no_matrix_and_stands_beside_its_control() -> None:
    (telecom,) = matrices(STATES[:4], [])
    assert all(pair[0] != pair[1] for pair in telecom.cells)
    ((crossing, control),) = crossings(STATES)
    assert (crossing["stream_id"], control and control["stream_id"]) == (5, 3)


def test_down_is_worse_than_degraded_is_worse_than_unknown_is_worse_than_ok() -> None:
    assert sorted(BADNESS, key=BADNESS.__getitem__) == ["ok", "insufficient", "degraded", "down"]


def test_a_quantile_among_the_lost_leaves_a_gap_and_not_a_zero() -> None:
    p99 = [row["p99"] for row in minutes(ANSWERS["page_minutes"])]
    assert p99[1] is None
    assert sparkline(p99).count("M") == 2


def test_a_line_without_a_point_is_no_line() -> None:
    assert sparkline([None, None]) == ""


@pytest.mark.parametrize("order", [1, -1])
def test_a_round_trip_never_stands_where_one_way_is_promised(order: int) -> None:
    rows = [state_row(1, "a/x", "b/x"), state_row(2, "a/x", "b/x", method="icmp")]
    delays = [{"stream_id": 1, "median_bin": 459}, {"stream_id": 2, "median_bin": 500}]
    (matrix,) = matrices(rows[::order], delays)
    assert matrix.cells[("a", "b")].delay_ms == pytest.approx(9.607, rel=0.01)
    (only_icmp,) = matrices([rows[1]], delays)
    assert only_icmp.cells[("a", "b")].delay_ms is None
