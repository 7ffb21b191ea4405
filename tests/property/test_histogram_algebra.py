import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import pack_histograms, unpack_histograms
from schemas.histogram import Sparse, build, merge, quantile_us

delays_us = st.lists(st.integers(min_value=-1_000, max_value=60_000_000), max_size=60)
histograms = delays_us.map(lambda us: build(np.array(us, dtype=np.int64)))


@given(st.lists(histograms, max_size=6))
def test_a_merge_is_blind_to_order_and_grouping(parts: list[Sparse]) -> None:
    whole = merge(parts)
    shuffled = list(reversed(parts))
    left = merge([merge(shuffled[:2]), *shuffled[2:]])
    assert list(left.items()) == list(whole.items())


@given(delays_us, delays_us)
def test_merging_equals_building_from_all_delays(a: list[int], b: list[int]) -> None:
    together = build(np.array(a + b, dtype=np.int64))
    assert merge([build(np.array(a, dtype=np.int64)), build(np.array(b, dtype=np.int64))]) == together


@given(st.lists(st.integers(min_value=1, max_value=60_000_000), min_size=1, max_size=60), st.floats(0.01, 1.0))
def test_a_quantile_lies_between_the_smallest_and_the_largest(us: list[int], q: float) -> None:
    value = quantile_us(build(np.array(us, dtype=np.int64)), q)
    assert value is not None
    assert min(us) * 0.989 <= value <= max(us) * 1.011


@given(st.lists(histograms, max_size=8))
def test_packing_a_column_of_histograms_loses_nothing(column: list[Sparse]) -> None:
    unpacked = unpack_histograms(pack_histograms(column))
    assert [dict(zip(bins, counts, strict=True)) for bins, counts in unpacked] == column
