import pytest
from support.report_rows import silent_row, stream_row

from dashboards.reports.figures import by_relation, figures, frame, matrix, silent, wilson, worst
from dashboards.throughput import throughput_mbps


def test_loss_is_lost_over_sent_and_never_a_rounded_zero() -> None:
    row = figures(frame([stream_row("a", "b", sent=100_000, planned=100_000, received=99_999, lost_forward=1)]))
    assert row["loss"] == 1e-5


def test_a_stream_that_sent_nothing_has_no_loss_and_no_delay() -> None:
    row = figures(frame([silent_row("a", "b")]))
    assert (row["loss"], row["interval"], row["p50"], row["ipdv_us"], row["coverage"]) == (None, None, None, None, 0.0)


def test_a_cloned_probe_does_not_push_coverage_above_one() -> None:
    assert frame([stream_row("a", "b", sent=1_200)])["coverage"].tolist() == [1.0]


def test_quantiles_of_a_group_come_from_the_merged_histogram() -> None:
    fast = stream_row("a", "b", delay_bin=[100], delay_count=[600])
    slow = stream_row("a", "c", delay_bin=[400], delay_count=[600])
    (group,) = by_relation(frame([fast, slow]))
    assert group["p50"] == pytest.approx(0.00732, rel=0.02)
    assert group["p95"] == pytest.approx(2.95, rel=0.02)


def test_the_worst_list_ranks_what_is_proven_and_leaves_the_unmeasured_to_its_own_list() -> None:
    few = stream_row("a", "b", sent=20, lost_forward=1)
    many = stream_row("a", "c", lost_backward=12)
    clean = stream_row("a", "d")
    table = frame([few, many, clean])
    assert [row["destination"] for row in worst(table)] == ["c/telecom"]
    assert [row["destination"] for row in silent(table)] == ["b/telecom"]


def test_the_matrix_keeps_a_pair_that_was_not_measured_as_none() -> None:
    sources, destinations, cells = matrix(frame([stream_row("a", "b"), silent_row("b", "a")]))
    assert (sources, destinations) == (["a", "b"], ["a", "b"])
    assert cells[("b", "a")] is None
    assert cells[("a", "b")] is not None


@pytest.mark.parametrize(("lost", "sent", "low", "high"), [(0, 600, 0.0, 0.00636), (3, 600, 0.0017, 0.0146)])
def test_the_wilson_interval_agrees_with_the_published_formula(lost: int, sent: int, low: float, high: float) -> None:
    assert wilson(lost, sent) == pytest.approx((low, high), abs=2e-5)


def test_throughput_counts_the_packets_after_the_first_over_first_to_last() -> None:
    row: dict[str, object] = {"received_packets": 1001, "packet_bytes": 1250, "receive_duration_us": 1_000_000}
    assert throughput_mbps(row) == 10.0
    assert throughput_mbps(row | {"received_packets": 1}) is None
