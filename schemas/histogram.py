"""The delay histogram: logarithmic bins, exact under merge, the only source of quantiles.

bin(us) = ceil(ln us / ln gamma), gamma = 1.01 / 0.99, so that the value of a bin is within 1 % of every delay in it
(the bins of DDSketch, Masson et al., VLDB 2019). Bin 0 holds what is at or below zero or under one microsecond.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

GAMMA: Final = 1.01 / 0.99
_LN_GAMMA: Final = math.log(GAMMA)
MAX_BIN: Final = 4095

Sparse = dict[int, int]  # bin -> count, counts > 0


def bins_of(us: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the bin of each delay in microseconds."""
    positive = np.maximum(us, 1).astype(np.float64)
    raw = np.ceil(np.log(positive) / _LN_GAMMA).astype(np.int64)
    return np.where(us < 1, 0, np.clip(raw, 1, MAX_BIN))


def value_us(bin_: int) -> float:
    """Return the delay that stands for a bin, in microseconds; 0.0 for bin 0."""
    return 0.0 if bin_ == 0 else 2.0 * GAMMA**bin_ / (GAMMA + 1.0)


def build(us: NDArray[np.int64]) -> Sparse:
    """Return the histogram of delays in microseconds."""
    bins, counts = np.unique(bins_of(us), return_counts=True)
    return dict(zip(bins.tolist(), counts.tolist(), strict=True))


def merge(parts: Iterable[Mapping[int, int]]) -> Sparse:
    """Return the sum of histograms, in bin order: the same bytes for any order and grouping."""
    total: Sparse = {}
    for part in parts:
        for bin_, count in part.items():
            total[bin_] = total.get(bin_, 0) + count
    return dict(sorted(total.items()))


def quantile_us(histogram: Mapping[int, int], q: float, *, lost: int = 0) -> float | None:
    """Return the q-quantile of the delay, lost packets counted as infinite (RFC 2679: undefined delay).

    None when the histogram is empty or the loss exceeds 1 - q: the quantile then lies among the lost.
    """
    n = sum(histogram.values())
    rank = max(1, math.ceil(q * (n + lost)))
    if n == 0 or rank > n:
        return None
    seen = 0
    for bin_ in sorted(histogram):
        seen += histogram[bin_]
        if seen >= rank:
            return value_us(bin_)
    return None
