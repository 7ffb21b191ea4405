import numpy as np
import pytest

from schemas.histogram import bins_of, build, quantile_us, value_us


def test_zero_negative_and_submicrosecond_delays_share_bin_zero() -> None:
    assert bins_of(np.array([-5, 0])).tolist() == [0, 0]


def test_one_microsecond_is_not_in_the_bin_of_zero() -> None:
    assert bins_of(np.array([1])).tolist() == [1]


@pytest.mark.parametrize("us", [1, 2, 50, 999, 30_000, 60_000_000])
def test_the_value_of_a_bin_is_within_one_percent_of_the_delay(us: int) -> None:
    bin_ = int(bins_of(np.array([us]))[0])
    assert abs(value_us(bin_) - us) <= us * 0.0101


def test_a_quantile_among_the_lost_is_none_and_not_the_largest_seen() -> None:
    histogram = build(np.array([100] * 98))
    assert quantile_us(histogram, 0.98, lost=2) is not None
    assert quantile_us(histogram, 0.99, lost=2) is None


def test_an_empty_histogram_has_no_quantile() -> None:
    assert quantile_us({}, 0.5) is None


def test_the_median_counts_lost_packets_as_infinite() -> None:
    histogram = build(np.array([10] * 4 + [1000] * 6))
    assert quantile_us(histogram, 0.5) == pytest.approx(1000, rel=0.011)
    assert quantile_us(build(np.array([10] * 6 + [1000] * 4)), 0.5, lost=10) == pytest.approx(1000, rel=0.011)
