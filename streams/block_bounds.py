"""The bounds of a block: counts that add up, numbers that fit where they will be stored (pure).

Every limit is below the width of its column in the store even after a minute's slots of several spools are added, so a
sum never wraps and a block is never refused for a size. A rule speaks of every row of the block at once.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.histogram import MAX_BIN
from schemas.identity import STREAM_ID_BITS
from schemas.tables import COUNTS, DIRECTIONS
from streams.block import COUNTED, KINDS, Block, field_of
from streams.columns import Ints, Ragged

Flags = NDArray[np.bool_]
Rule = tuple[str, Flags]  # what would be wrong, and whether each row is right

MAX_COUNT: Final = (1 << 24) - 1  # a slot: 1.6 million packets a second; 256 slots of it still fit UInt32
MAX_DELAY_US: Final = 1 << 47  # four years: a clock that is a year off is an answer, not a fault
MAX_SUM_US: Final = 1 << 57
_UINT32: Final = 1 << 32
_HIGHEST: Final = {"first_index": (1 << 63) - 1, "loss_run_max": _UINT32 - 1}


def rules(block: Block) -> Iterator[Rule]:
    """Yield every rule, in the order in which they are told.

    Args:
        block: bins are differences.
    """
    yield "a stream_id is out of bounds", _within(block.numbers["stream_id"], 1, (1 << STREAM_ID_BITS) - 1)
    for name in COUNTED:
        highest = _HIGHEST.get(name, MAX_COUNT)
        yield f"{name}: a count is negative or over {highest}", _within(block.numbers[name], 0, highest)
    yield from _sums(block)
    for direction in DIRECTIONS:
        yield from _delay(block, direction)
        for kind in KINDS:
            yield from _histogram(block, f"{direction}_{kind}")


def _sums(block: Block) -> Iterator[Rule]:
    count = {name: block.numbers[name] for name in COUNTS}
    lost = count["lost_forward"] + count["lost_backward"] + count["lost_unresolved"]
    yield "planned is less than sent + send_failed", count["planned"] >= count["sent"] + count["send_failed"]
    yield "sent is not received + lost", count["sent"] == count["received"] + lost
    yield "late + unreachable is more than lost", count["late"] + count["unreachable"] <= lost


def _delay(block: Block, where: str) -> Iterator[Rule]:
    n, pairs = block.numbers[f"{where}_n"], block.numbers[f"{where}_ipdv_pairs"]
    yield f"{where}.n: a count is negative or over {MAX_COUNT}", _within(n, 0, MAX_COUNT)
    yield f"{where}.ipdv_pairs: a count is negative or over {MAX_COUNT}", _within(pairs, 0, MAX_COUNT)
    yield f"{where}.n is more than received", n <= block.numbers["received"]
    yield f"{where}.ipdv_pairs is more than n", pairs <= n
    yield from _figures(block, n, where)
    varied = block.numbers[f"{where}_ipdv_abs_sum_us"]
    yield f"{where}.ipdv_abs_sum_us is out of bounds", _within(varied, 0, MAX_SUM_US)
    yield f"{where}.ipdv_abs_sum_us without pairs", (pairs > 0) | (varied == 0)


def _figures(block: Block, n: Ints, where: str) -> Iterator[Rule]:
    low, high, total = (block.numbers[f"{where}_{name}"] for name in ("min_us", "max_us", "sum_us"))
    yield f"{where}: a delay is over {MAX_DELAY_US} us", (low >= -MAX_DELAY_US) & (high <= MAX_DELAY_US)
    yield f"{where}.sum_us is out of bounds", _within(total, -MAX_SUM_US, MAX_SUM_US)
    silent = n == 0
    yield f"{where}: a delay without a packet", ~silent | ((low == 0) & (high == 0) & (total == 0))
    parts = np.maximum(n, 1)  # the mean, rounded down and up: a product of n and a delay would not fit 64 bits
    down = total // parts
    up = down + (down * parts != total)
    yield f"{where}: min, sum / n, max are not in order", silent | ((low <= down) & (up <= high))


def _histogram(block: Block, name: str) -> Iterator[Rule]:
    bins, counts = block.lists[f"{name}bin"], block.lists[f"{name}count"]
    where = f"{field_of(name)}histogram"
    yield f"{where}: a length is out of bounds", bins.lengths <= MAX_BIN + 1
    first = np.zeros(bins.values.size, dtype=np.bool_)
    first[bins.starts[bins.lengths > 0]] = True
    ascending = (bins.values > 0) | (first & (bins.values == 0))
    yield f"{where}: bins are not ascending", _in_all(ascending & (bins.values <= MAX_BIN), bins)
    yield f"{where}: a bin is over {MAX_BIN}", _row_sums(bins) <= MAX_BIN
    yield f"{where}: a count is not in 1..{MAX_COUNT}", _in_all(_within(counts.values, 1, MAX_COUNT), counts)
    members = block.numbers[f"{name}pairs" if name.endswith("ipdv_") else f"{name}n"]
    yield f"{where}: its counts are not the number of values", _row_sums(counts) == members


def _within(values: Ints, low: int, high: int) -> Flags:
    within: Flags = (values >= low) & (values <= high)
    return within


def _in_all(holds: Flags, column: Ragged) -> Flags:
    """Return whether something holds for every value of each row."""
    if holds.all():
        return np.ones(len(column), dtype=np.bool_)
    right: Flags = _row_sums(Ragged(column.lengths, (~holds).astype(np.int32))) == 0
    return right


def _row_sums(column: Ragged) -> Ints:
    sums = np.zeros(len(column), dtype=np.int64)
    filled = column.lengths > 0
    sums[filled] = np.add.reduceat(column.values, column.starts[filled], dtype=np.int64) if filled.any() else 0
    return sums
