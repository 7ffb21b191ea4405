"""Fold: a set of slots -> one row a (stream, minute, probe), a pure reduce (pure).

The result depends on the set alone: the newest revision of a (probe, spool, stream, slot) is in it once, whatever the
order, the repeats and the grouping in which slots arrive. Slots under load are counted in `loaded_*` and raise nothing.
`version` grows with knowledge, so that in the store the row that knows more wins.
"""

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.histogram import MAX_BIN
from schemas.tables import COUNTS, DIRECTIONS, delay_columns
from streams.columns import Column, Columns, Ints, Ragged, Readable, Words, row_count

FOLD_RULE: Final = 1  # goes up when the same slots would give another row
MINUTE_S: Final = 60
SLOT_COLUMNS: Final = (
    *("probe_id", "spool_id", "stream_id", "slot", "revision", "mesh", "complete", "clock_synchronised"),
    *("clock_error_us", "probe_sick", "loaded", *COUNTS, *delay_columns()),
)  # what `fold` reads of summary_10s
_SUMS: Final = (
    *(name for name in COUNTS if name != "loss_run_max"),
    *(f"{direction}_{name}" for direction in DIRECTIONS for name in ("n", "sum_us", "ipdv_pairs", "ipdv_abs_sum_us")),
)
_BINS: Final = MAX_BIN + 1
_HIGHEST: Final = np.iinfo(np.int64).max
_CELLS: Final = 1 << 21  # of dense histograms at a time: 16 MiB


class _Groups(msgspec.Struct, frozen=True):
    """The slots of the set in order of window; window w has two halves: 2 w without load, 2 w + 1 under load."""

    rows: Ints  # positions of the kept slots in what was given
    window: Ints  # the number of the window, one a kept slot
    half: Ints  # the number of the half, one a kept slot, ascending
    count: int  # of windows

    def pick(self, values: Column) -> Ints:
        """Return a column of numbers of the kept slots."""
        return np.asarray(values)[self.rows].astype(np.int64)

    @property
    def first(self) -> Ints:
        """Return where each window begins."""
        return _starts(self.window)


def fold(slots: Readable, *, written_ms: int) -> Columns:
    """Return the rows of `kpi_1m` that the slots amount to, by column, in order of (probe, stream, minute).

    Args:
        slots: the columns of `SLOT_COLUMNS`, `slot` in seconds: all that is known of every window named.
        written_ms: when the rows are written, UTC milliseconds.
    """
    if row_count(slots) == 0:
        return {}
    groups = _group(slots)
    figures = _figures(slots, groups)
    return {
        **_identity(slots, groups),
        **_state(slots, groups),
        **{name: values[0::2] for name, values in figures.items()},
        **{f"loaded_{name}": values[1::2] for name, values in figures.items()},
        "written_ms": np.full(groups.count, written_ms),
    }


def _group(slots: Readable) -> _Groups:
    probe, spool = _sorted(slots["probe_id"]).codes, _sorted(slots["spool_id"]).codes
    stream, slot, revision = (np.asarray(slots[name]).astype(np.int64) for name in ("stream_id", "slot", "revision"))
    order = np.lexsort((revision, spool, slot, stream, probe))
    probe, spool, stream, slot = probe[order], spool[order], stream[order], slot[order]
    newest = np.append(_differs(probe, stream, slot, spool)[1:], True)  # the last of a key has the highest revision
    window = np.cumsum(_differs(probe[newest], stream[newest], slot[newest] // MINUTE_S)) - 1
    rows = order[newest]
    half = window * 2 + (np.asarray(slots["loaded"])[rows] > 0)
    by_half = np.argsort(half, kind="stable")
    return _Groups(rows[by_half], window[by_half], half[by_half], int(window[-1]) + 1)


def _identity(slots: Readable, groups: _Groups) -> Columns:
    first = groups.rows[groups.first]
    probe, mesh = _sorted(slots["probe_id"]), _sorted(slots["mesh"])
    return {
        "stream_id": np.asarray(slots["stream_id"])[first],
        "minute": np.asarray(slots["slot"])[first].astype(np.int64) // MINUTE_S * MINUTE_S,
        "probe_id": probe.take(first),
        "mesh": Words(mesh.words, np.maximum.reduceat(mesh.codes[groups.rows], groups.first)),
    }


def _state(slots: Readable, groups: _Groups) -> Columns:
    first = groups.first
    instant = groups.window * MINUTE_S + groups.pick(slots["slot"]) % MINUTE_S
    flags = {name: groups.pick(slots[name]) > 0 for name in ("complete", "probe_sick", "loaded")}
    return {
        "version": FOLD_RULE << 32 | np.add.reduceat(groups.pick(slots["revision"]), first),
        "slots": _distinct(instant, groups.count),
        "complete_slots": _distinct(instant[flags["complete"]], groups.count),
        "clock_synchronised": np.minimum.reduceat(groups.pick(slots["clock_synchronised"]), first),
        "clock_error_us": np.maximum.reduceat(groups.pick(slots["clock_error_us"]), first),
        "probe_sick_slots": _distinct(instant[flags["probe_sick"]], groups.count),
        "loaded_slots": _distinct(instant[flags["loaded"]], groups.count),
    }


def _figures(slots: Readable, groups: _Groups) -> Columns:
    """Return every count and delay column, one entry a half."""
    columns: Columns = {name: _reduced(np.add, groups.pick(slots[name]), groups) for name in _SUMS}
    columns["loss_run_max"] = _reduced(np.maximum, groups.pick(slots["loss_run_max"]), groups)
    for direction in DIRECTIONS:
        columns |= _extremes(slots, direction, groups)
        for kind in ("", "ipdv_"):
            bins, counts = f"{direction}_{kind}bin", f"{direction}_{kind}count"
            columns[bins], columns[counts] = _merged(slots[bins], slots[counts], groups)
    return columns


def _extremes(slots: Readable, direction: str, groups: _Groups) -> Columns:
    """Return min and max over the slots that have a packet; 0 where none has."""
    heard = groups.pick(slots[f"{direction}_n"]) > 0
    low = np.where(heard, groups.pick(slots[f"{direction}_min_us"]), _HIGHEST)
    high = np.where(heard, groups.pick(slots[f"{direction}_max_us"]), -_HIGHEST)
    any_heard = _reduced(np.maximum, heard.astype(np.int64), groups) > 0
    return {
        f"{direction}_min_us": np.where(any_heard, _reduced(np.minimum, low, groups), 0),
        f"{direction}_max_us": np.where(any_heard, _reduced(np.maximum, high, groups), 0),
    }


def _reduced(operation: np.ufunc, values: Ints, groups: _Groups) -> Ints:
    """Return the values reduced by half; 0 for a half without a slot."""
    starts = _starts(groups.half)
    out = np.zeros(groups.count * 2, dtype=np.int64)
    out[groups.half[starts]] = operation.reduceat(values, starts)
    return out


def _merged(bins: Column, counts: Column, groups: _Groups) -> tuple[Ragged, Ragged]:
    """Return bins and counts of the merged histogram of each half, bins ascending."""
    if not isinstance(bins, Ragged) or not isinstance(counts, Ragged):
        raise TypeError("a histogram is a column of lists")
    half = np.full(len(bins), -1)
    half[groups.rows] = groups.half
    filled = np.flatnonzero((half >= 0) & (bins.lengths > 0))
    if filled.size < half.size:
        half, bins, counts = half[filled], bins.take(filled), counts.take(filled)
    lengths, values, sums = _dense(half, bins, counts, groups.count * 2)
    return Ragged(lengths, values), Ragged(lengths, sums)


def _dense(half: Ints, bins: Ragged, counts: Ragged, halves: int) -> tuple[Ints, Ints, Ints]:
    """Return how many bins each half has, the bins half by half, and the sums of their counts.

    A half has a stretch of cells, from its lowest bin to its highest. Rows may come in any order and must have a bin.
    The sums are exact: numbers below 2 ** 53.
    """
    low, high = _edges(half, bins, halves)
    ends = np.cumsum(np.maximum(high - low + 1, 0))
    if halves > 1 and ends[-1] > _CELLS:
        return _halved(half, bins, counts, halves)
    starts = np.append(0, ends)
    first = starts[:-1] - low  # the cell of bin 0, were it there
    cells = np.repeat(first[half], bins.lengths) + bins.values
    sums = np.bincount(cells, weights=counts.values, minlength=int(ends[-1]))
    (found,) = np.nonzero(sums)
    lengths = np.diff(np.searchsorted(found, starts))
    return lengths, (found - np.repeat(first, lengths)).astype(np.uint16), sums[found].astype(np.int64)


def _edges(half: Ints, bins: Ragged, halves: int) -> tuple[Ints, Ints]:
    """Return the lowest and the highest bin of each half; of one without a row, the highest is below the lowest."""
    low, high = np.full(halves, _BINS), np.full(halves, -1)
    starts = bins.starts
    np.minimum.at(low, half, bins.values[starts].astype(np.int64))
    np.maximum.at(high, half, bins.values[starts + bins.lengths - 1].astype(np.int64))
    return low, high


def _halved(half: Ints, bins: Ragged, counts: Ragged, halves: int) -> tuple[Ints, Ints, Ints]:
    """Return what `_dense` does, in two parts: the cells of all would not fit."""
    middle = halves // 2
    first, second = np.flatnonzero(half < middle), np.flatnonzero(half >= middle)
    parts = (
        _dense(half[first], bins.take(first), counts.take(first), middle),
        _dense(half[second] - middle, bins.take(second), counts.take(second), halves - middle),
    )
    lengths, values, sums = (np.concatenate(each) for each in zip(*parts, strict=True))
    return lengths, values, sums


def _distinct(instants: Ints, count: int) -> Ints:
    """Return how many different slots each window has among these instants."""
    seen = np.zeros(count * MINUTE_S, dtype=np.bool_)
    seen[instants] = True
    distinct: Ints = np.count_nonzero(seen.reshape(count, MINUTE_S), axis=1)
    return distinct


def _sorted(column: Column) -> Words:
    """Return a column of texts with its words in order."""
    if not isinstance(column, Words):
        raise TypeError("a name is a column of words")
    words = sorted(set(column.words))
    rank = {word: number for number, word in enumerate(words)}
    return Words(tuple(words), np.array([rank[word] for word in column.words], dtype=np.int64)[column.codes])


def _differs(*columns: Ints) -> NDArray[np.bool_]:
    """Return where an entry differs from the one before it in any column; the first always does."""
    differs = np.zeros(columns[0].size, dtype=np.bool_)
    differs[0] = True
    for column in columns:
        differs[1:] |= column[1:] != column[:-1]
    return differs


def _starts(values: Ints) -> Ints:
    """Return where each run of equal values begins."""
    starts: Ints = np.flatnonzero(_differs(values))
    return starts
