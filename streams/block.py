"""Batches -> one block of columns, named as in `summary_10s` (pure): the numbers leave their lists once, here.

Bins stay differences, as they travel, until `block_bounds` has found them sound.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.errors import WireError
from schemas.records import ClockState, DelayColumns, Histograms, ProbeCondition, SummaryBatch
from schemas.tables import COUNTS, DIRECTIONS
from streams.columns import Columns, Ints, Ragged

Packed = dict[str, bytes]  # the numbers of one batch by column, as they lie in memory


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch says of all its streams, without their numbers: those are lists no longer, but rows of a block."""

    mesh: str
    mesh_version: str
    probe_id: str
    spool_id: str
    seq: int
    slot_start_ms: int
    slot_ms: int
    revision: int
    complete: bool
    timeout_ms: int
    clock: ClockState
    condition: ProbeCondition
    stream_id: Sequence[int]


class Block(msgspec.Struct, frozen=True, eq=False):
    """Rows of several batches by column; bins are differences."""

    numbers: dict[str, NDArray[Any]]
    lists: dict[str, Ragged]

    def cut(self, start: int, end: int) -> "Block":
        """Return the rows from `start` up to `end`, not included."""
        numbers = {name: column[start:end] for name, column in self.numbers.items()}
        return Block(numbers, {name: column[start:end] for name, column in self.lists.items()})


COUNTED: Final = ("first_index", *COUNTS)
FIGURES: Final = ("n", "min_us", "max_us", "sum_us", "ipdv_pairs", "ipdv_abs_sum_us")
KINDS: Final = ("", "ipdv_")  # of histogram: the delay and its variation
_WIDE, _NARROW, _FLAG = "q", "i", "?"
_DTYPES: Final[dict[str, np.dtype[Any]]] = {
    _WIDE: np.dtype(np.int64),
    _NARROW: np.dtype(np.int32),
    _FLAG: np.dtype(np.bool_),
}


def _layout() -> Iterator[tuple[str, str]]:
    yield "stream_id", _WIDE
    yield from ((name, _WIDE) for name in COUNTED)
    yield "loaded", _FLAG
    for direction in DIRECTIONS:
        yield from ((f"{direction}_{name}", _WIDE) for name in FIGURES)
        for kind in KINDS:
            yield from ((f"{direction}_{kind}{part}", _NARROW) for part in ("length", "bin", "count"))


_LAYOUT: Final = dict(_layout())


def head_of(batch: SummaryBatch) -> Head:
    """Return a batch without its numbers."""
    return Head(**{name: getattr(batch, name) for name in Head.__struct_fields__})


def packed(batch: SummaryBatch) -> Packed:
    """Return the numbers of a batch.

    Raises:
        WireError: "bounds" for columns that are not of one length, and for a number that does not fit.
    """
    count = len(batch.stream_id)
    numbers = {name: _pack(name, getattr(batch, name), count, name) for name in ("stream_id", *COUNTED, "loaded")}
    for direction in DIRECTIONS:
        numbers |= _delay(getattr(batch, direction), direction, count)
    return numbers


def block_of(batches: Sequence[Packed]) -> Block:
    """Return batches as one block, in their order."""
    arrays = {
        name: np.frombuffer(b"".join([batch[name] for batch in batches]), dtype=_DTYPES[kind])
        for name, kind in _LAYOUT.items()
    }
    lists: dict[str, Ragged] = {}
    for where in (f"{direction}_{kind}" for direction in DIRECTIONS for kind in KINDS):
        lengths = arrays.pop(f"{where}length")
        lists |= {name: Ragged(lengths, arrays.pop(name)) for name in (f"{where}bin", f"{where}count")}
    return Block(arrays, lists)


def rows_of(block: Block) -> Columns:
    """Return the columns of a block within its bounds, bins no longer differences."""
    bins = {name: Ragged(column.lengths, _running(column)) for name, column in block.lists.items() if _is_bin(name)}
    return {**block.numbers, **block.lists, **bins}


def _delay(delay: DelayColumns, direction: str, count: int) -> Packed:
    numbers = {
        f"{direction}_{name}": _pack(f"{direction}_{name}", getattr(delay, name), count, f"{direction}.{name}")
        for name in FIGURES
    }
    for kind, histograms in zip(KINDS, (delay.histogram, delay.ipdv_histogram), strict=True):
        numbers |= _histograms(histograms, f"{direction}_{kind}", count)
    return numbers


def _histograms(histograms: Histograms, where: str, count: int) -> Packed:
    lengths, size = histograms.lengths, len(histograms.bins)
    field = f"{field_of(where)}histogram"
    if min(lengths, default=0) < 0 or not sum(lengths) == size == len(histograms.counts):
        raise WireError("bounds", f"{field}: lengths, bins and counts disagree")
    parts = (("length", lengths, count), ("bin", histograms.bins, size), ("count", histograms.counts, size))
    return {f"{where}{part}": _pack(f"{where}{part}", values, rows, field) for part, values, rows in parts}


def field_of(column: str) -> str:
    """Return the field of a record that a column comes from, as people know it: forward_n is forward.n."""
    direction, _, field = column.partition("_")
    return f"{direction}.{field}" if direction in DIRECTIONS else column


def _pack(name: str, values: Sequence[int], count: int, field: str) -> bytes:
    if len(values) != count:
        raise WireError("bounds", f"{field}: {len(values)} entries, wanted {count}")
    kind = _LAYOUT[name]
    try:
        return struct.pack(f"{count}{kind}", *values)
    except struct.error as err:
        bits = _DTYPES[kind].itemsize * 8
        raise WireError("bounds", f"{field}: a number does not fit {bits} bits") from err


def _is_bin(name: str) -> bool:
    return name.endswith("bin")


def _running(column: Ragged) -> Ints:
    """Return the running sum of each row."""
    running = np.cumsum(column.values, dtype=np.int64)
    filled = column.lengths > 0
    starts = column.starts[filled]
    before = np.where(starts > 0, running[starts - 1], 0)
    bins: Ints = (running - np.repeat(before, column.lengths[filled])).astype(np.int32)
    return bins
