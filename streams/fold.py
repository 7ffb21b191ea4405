"""Fold: a set of slots -> one row a (stream, minute, probe), a pure reduce (pure).

The result depends on the set alone: the newest revision of a (probe, spool, stream, slot) is in it once, whatever the
order, the repeats and the grouping in which slots arrive. Slots under load are counted in `loaded_*` and raise nothing.
`version` grows with knowledge, so that in the store the row that knows more wins.
"""

from collections.abc import Hashable, Mapping, Sequence
from itertools import chain, pairwise
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.histogram import MAX_BIN
from schemas.tables import COUNTS, DIRECTIONS, delay_columns

Ints = NDArray[np.int64]
Columns = dict[str, list[Any]]

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


class _Groups(msgspec.Struct, frozen=True):
    """The slots of the set in order of window; window w has two halves: 2 w without load, 2 w + 1 under load."""

    rows: Ints  # positions of the kept slots in what was given
    window: Ints  # the number of the window, one a kept slot
    half: Ints  # the number of the half, one a kept slot, ascending
    count: int  # of windows

    def pick(self, values: Sequence[int]) -> Ints:
        """Return a column of the kept slots."""
        return np.array(values, dtype=np.int64)[self.rows]

    @property
    def first(self) -> Ints:
        """Return where each window begins."""
        return _starts(self.window)


def fold(slots: Mapping[str, Sequence[Any]], *, written_ms: int) -> Columns:
    """Return the rows of `kpi_1m` that the slots amount to, by column, in order of (probe, stream, minute).

    Args:
        slots: the columns of `SLOT_COLUMNS`, `slot` in seconds: all that is known of every window named.
        written_ms: when the rows are written, UTC milliseconds.
    """
    if len(slots["stream_id"]) == 0:
        return {}
    groups = _group(slots)
    figures = _figures(slots, groups)
    return {
        **_identity(slots, groups),
        **_state(slots, groups),
        **{name: values[0::2] for name, values in figures.items()},
        **{f"loaded_{name}": values[1::2] for name, values in figures.items()},
        "written_ms": [written_ms] * groups.count,
    }


def _group(slots: Mapping[str, Sequence[Any]]) -> _Groups:
    probe, spool = _codes(slots["probe_id"]), _codes(slots["spool_id"])
    stream, slot, revision = (np.array(slots[name], dtype=np.int64) for name in ("stream_id", "slot", "revision"))
    order = np.lexsort((revision, spool, slot, stream, probe))
    probe, spool, stream, slot = probe[order], spool[order], stream[order], slot[order]
    newest = np.append(_differs(probe, stream, slot, spool)[1:], True)  # the last of a key has the highest revision
    window = np.cumsum(_differs(probe[newest], stream[newest], slot[newest] // MINUTE_S)) - 1
    rows = order[newest]
    half = window * 2 + np.array(slots["loaded"], dtype=np.int64)[rows]
    by_half = np.argsort(half, kind="stable")
    return _Groups(rows[by_half], window[by_half], half[by_half], int(window[-1]) + 1)


def _identity(slots: Mapping[str, Sequence[Any]], groups: _Groups) -> Columns:
    first = groups.rows[groups.first].tolist()
    names = sorted(set(slots["mesh"]))
    mesh = np.maximum.reduceat(groups.pick([names.index(name) for name in slots["mesh"]]), groups.first)
    return {
        "stream_id": [slots["stream_id"][row] for row in first],
        "minute": [slots["slot"][row] // MINUTE_S * MINUTE_S for row in first],
        "probe_id": [slots["probe_id"][row] for row in first],
        "mesh": [names[code] for code in mesh.tolist()],
    }


def _state(slots: Mapping[str, Sequence[Any]], groups: _Groups) -> Columns:
    first = groups.first
    instant = groups.window * MINUTE_S + groups.pick(slots["slot"]) % MINUTE_S
    flags = {name: groups.pick(slots[name]) > 0 for name in ("complete", "probe_sick", "loaded")}
    return {
        "version": (FOLD_RULE << 32 | np.add.reduceat(groups.pick(slots["revision"]), first)).tolist(),
        "slots": _distinct(instant, groups.count),
        "complete_slots": _distinct(instant[flags["complete"]], groups.count),
        "clock_synchronised": np.minimum.reduceat(groups.pick(slots["clock_synchronised"]), first).tolist(),
        "clock_error_us": np.maximum.reduceat(groups.pick(slots["clock_error_us"]), first).tolist(),
        "probe_sick_slots": _distinct(instant[flags["probe_sick"]], groups.count),
        "loaded_slots": _distinct(instant[flags["loaded"]], groups.count),
    }


def _figures(slots: Mapping[str, Sequence[Any]], groups: _Groups) -> Columns:
    """Return every count and delay column, one entry a half."""
    columns: Columns = {name: _reduced(np.add, groups.pick(slots[name]), groups) for name in _SUMS}
    columns["loss_run_max"] = _reduced(np.maximum, groups.pick(slots["loss_run_max"]), groups)
    for direction in DIRECTIONS:
        columns |= _extremes(slots, direction, groups)
        for kind in ("", "ipdv_"):
            bins, counts = f"{direction}_{kind}bin", f"{direction}_{kind}count"
            columns[bins], columns[counts] = _merged(slots[bins], slots[counts], groups)
    return columns


def _extremes(slots: Mapping[str, Sequence[Any]], direction: str, groups: _Groups) -> Columns:
    """Return min and max over the slots that have a packet; 0 where none has."""
    heard = groups.pick(slots[f"{direction}_n"]) > 0
    low = np.where(heard, groups.pick(slots[f"{direction}_min_us"]), _HIGHEST)
    high = np.where(heard, groups.pick(slots[f"{direction}_max_us"]), -_HIGHEST)
    any_heard = np.array(_reduced(np.maximum, heard.astype(np.int64), groups), dtype=np.bool_)
    return {
        f"{direction}_min_us": np.where(any_heard, _reduced(np.minimum, low, groups), 0).tolist(),
        f"{direction}_max_us": np.where(any_heard, _reduced(np.maximum, high, groups), 0).tolist(),
    }


def _reduced(operation: np.ufunc, values: Ints, groups: _Groups) -> list[int]:
    """Return the values reduced by half; 0 for a half without a slot."""
    starts = _starts(groups.half)
    out = np.zeros(groups.count * 2, dtype=np.int64)
    out[groups.half[starts]] = operation.reduceat(values, starts)
    reduced: list[int] = out.tolist()
    return reduced


def _merged(
    bins: Sequence[Sequence[int]], counts: Sequence[Sequence[int]], groups: _Groups
) -> tuple[list[list[int]], list[list[int]]]:
    """Return bins and counts of the merged histogram of each half, bins ascending."""
    rows = groups.rows.tolist()
    length = np.fromiter((len(bins[row]) for row in rows), dtype=np.int64, count=len(rows))
    size, halves = int(length.sum()), groups.count * 2
    if size == 0:
        return [[] for _ in range(halves)], [[] for _ in range(halves)]
    flat_bins = np.fromiter(chain.from_iterable(bins[row] for row in rows), dtype=np.int64, count=size)
    flat_counts = np.fromiter(chain.from_iterable(counts[row] for row in rows), dtype=np.int64, count=size)
    key = np.repeat(groups.half, length) * _BINS + flat_bins
    order = np.argsort(key, kind="stable")
    key = key[order]
    starts = _starts(key)
    sums = np.add.reduceat(flat_counts[order], starts)
    ends = np.cumsum(np.bincount(key[starts] // _BINS, minlength=halves))
    return _cut(key[starts] % _BINS, ends), _cut(sums, ends)


def _cut(values: Ints, ends: Ints) -> list[list[int]]:
    every, bounds = values.tolist(), [0, *ends.tolist()]
    return [every[start:end] for start, end in pairwise(bounds)]


def _distinct(instants: Ints, count: int) -> list[int]:
    """Return how many different slots each window has among these instants."""
    found: list[int] = np.bincount(np.unique(instants) // MINUTE_S, minlength=count).tolist()
    return found


def _codes(values: Sequence[Hashable]) -> Ints:
    """Return a number for each value, equal for equal values, in the order of the values' text."""
    code = {value: number for number, value in enumerate(sorted(set(values), key=str))}
    return np.fromiter((code[value] for value in values), dtype=np.int64, count=len(values))


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
