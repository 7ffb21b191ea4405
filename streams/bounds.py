"""The bounds of a record: columns that agree, counts that add up, numbers that fit where they will be stored (pure).

Every limit is below the width of its column in the store even after a minute's slots of several spools are added, so a
sum never wraps and a block is never refused for a size.
"""

import uuid
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.errors import WireError
from schemas.histogram import MAX_BIN
from schemas.identity import STREAM_ID_BITS
from schemas.records import (
    MAX_REVISION,
    MAX_STREAMS,
    ClockState,
    DelayColumns,
    Heartbeat,
    Histograms,
    ProbeCondition,
    SpoolState,
    SummaryBatch,
    ThroughputResult,
)
from schemas.tables import COUNTS, DIRECTIONS

Ints = NDArray[np.int64]

WIRE_VERSION: Final = 1
SLOT_MS: Final = 10_000
MAX_VALUE_BYTES: Final = 2 * 1024 * 1024
MAX_COUNT: Final = (1 << 24) - 1  # a slot: 1.6 million packets a second; 256 slots of it still fit UInt32
MAX_DELAY_US: Final = 1 << 47  # four years: a clock that is a year off is an answer, not a fault
MAX_SUM_US: Final = 1 << 57
MAX_NAME_CHARS: Final = 128
MAX_SPOOLS: Final = 4096
MAX_DROPPED: Final = 65_536
_UINT32: Final = 1 << 32
_INT63: Final = 1 << 63
_OUTCOMES: Final = ("done", "no_answer", "refused", "send_failed")


def check_summary(batch: SummaryBatch) -> None:
    """Return when the batch is within its bounds.

    Raises:
        WireError: "schema" for another version of the record, "bounds" naming the first field that is not.
    """
    _check_header(batch)
    _need(batch.slot_ms == SLOT_MS, f"slot_ms {batch.slot_ms} is not supported, wanted {SLOT_MS}")
    _need(
        batch.slot_start_ms >= 0 and batch.slot_start_ms % batch.slot_ms == 0, "slot_start_ms is not on the slot grid"
    )
    _need(1 <= batch.revision <= MAX_REVISION, f"revision {batch.revision} is not in 1..{MAX_REVISION}")
    _need(1 <= batch.timeout_ms < _UINT32, f"timeout_ms {batch.timeout_ms} is out of bounds")
    _check_clock(batch.clock)
    _check_condition(batch.condition)
    _check_streams(batch)
    columns = {name: _column(getattr(batch, name), name, len(batch.stream_id)) for name in ("first_index", *COUNTS)}
    _check_counts(columns)
    _need(len(batch.loaded) == len(batch.stream_id), "loaded: its length differs from stream_id")
    for direction in DIRECTIONS:
        _check_delay(getattr(batch, direction), direction, columns["received"])


def check_heartbeat(beat: Heartbeat) -> None:
    """Return when the heartbeat is within its bounds.

    Raises:
        WireError: "schema" for another version, "bounds" naming the first field that is not.
    """
    _check_header(beat)
    for name in ("sent_at_ms", "started_at_ms"):
        _need(0 <= getattr(beat, name) < _INT63, f"{name} is out of bounds")
    _check_clock(beat.clock)
    _check_condition(beat.condition)
    _need(len(beat.spools) <= MAX_SPOOLS, f"{len(beat.spools)} spools, at most {MAX_SPOOLS}")
    _need(sum(len(spool.dropped) for spool in beat.spools) <= MAX_DROPPED, f"over {MAX_DROPPED} dropped ranges")
    named = {(spool.spool_id, spool.topic) for spool in beat.spools}
    _need(len(named) == len(beat.spools), "a spool and topic are named twice")
    for spool in beat.spools:
        _check_spool(spool)


def check_throughput(result: ThroughputResult) -> None:
    """Return when the result is within its bounds.

    Raises:
        WireError: "schema" for another version, "bounds" naming the first field that is not.
    """
    _check_header(result)
    for name in ("test_id", "source", "destination", "method"):
        _check_name(getattr(result, name), name)
    _need(result.outcome in _OUTCOMES, f"outcome {result.outcome[:32]!r} is not one of {', '.join(_OUTCOMES)}")
    for name in ("start_ms", "set_bps", "sent_packets", "received_packets", "receive_duration_us"):
        _need(0 <= getattr(result, name) < _INT63, f"{name} is out of bounds")
    for name in ("duration_ms", "packet_bytes"):
        _need(0 <= getattr(result, name) < _UINT32, f"{name} is out of bounds")


def absolute_bins(histograms: Histograms) -> Ints:
    """Return the bins of all rows, no longer delta-coded; the histograms are within their bounds."""
    differences = np.array(histograms.bins, dtype=np.int64)
    if differences.size == 0:
        return differences
    lengths = np.array(histograms.lengths, dtype=np.int64)
    running: Ints = np.cumsum(differences)
    starts = (np.cumsum(lengths) - lengths)[lengths > 0]
    before = np.where(starts > 0, running[starts - 1], 0)
    bins: Ints = running - np.repeat(before, lengths[lengths > 0])
    return bins


def _check_header(record: SummaryBatch | Heartbeat | ThroughputResult) -> None:
    if record.version != WIRE_VERSION:
        raise WireError(
            "schema", f"version {record.version} is not read here, wanted {WIRE_VERSION}; update the worker"
        )
    for name in ("mesh", "mesh_version", "probe_id"):
        _check_name(getattr(record, name), name)
    _check_uuid(record.spool_id)
    _need(0 <= record.seq < _INT63, f"seq {record.seq} is out of bounds")


def _check_clock(clock: ClockState) -> None:
    _need(0 <= clock.error_us < _INT63, "clock.error_us is out of bounds")


def _check_condition(condition: ProbeCondition) -> None:
    lateness_us, steal_ppm = condition.send_lateness_p99_us, condition.steal_ppm
    _need(lateness_us is None or 0 <= lateness_us < _INT63, "condition.send_lateness_p99_us is out of bounds")
    _need(steal_ppm is None or 0 <= steal_ppm < _UINT32, "condition.steal_ppm is out of bounds")
    _need(0 <= condition.socket_drops < _INT63, "condition.socket_drops is out of bounds")
    _check_name(condition.stamp_source, "condition.stamp_source")


def _check_spool(spool: SpoolState) -> None:
    where = f"spool {spool.spool_id[:40]}"
    _check_uuid(spool.spool_id)
    _check_name(spool.topic, f"{where}: topic")
    _need(-1 <= spool.acked_seq <= spool.last_seq < _INT63, f"{where}: wanted -1 <= acked_seq <= last_seq")
    last = -1
    for first, until in spool.dropped:
        _need(last < first <= until <= spool.last_seq, f"{where}: dropped ranges overlap, or pass last_seq")
        last = until


def _check_streams(batch: SummaryBatch) -> None:
    _need(len(batch.stream_id) <= MAX_STREAMS, f"{len(batch.stream_id)} streams, at most {MAX_STREAMS}")
    _need(all(0 < each < 1 << STREAM_ID_BITS for each in batch.stream_id), "a stream_id is out of bounds")
    _need(len(set(batch.stream_id)) == len(batch.stream_id), "a stream is named twice")


def _check_counts(columns: dict[str, Ints]) -> None:
    for name, column in columns.items():
        highest = {"first_index": _INT63 - 1, "loss_run_max": _UINT32 - 1}.get(name, MAX_COUNT)
        _every((column >= 0) & (column <= highest), f"{name}: a count is negative or over {highest}")
    lost = columns["lost_forward"] + columns["lost_backward"] + columns["lost_unresolved"]
    _every(columns["planned"] >= columns["sent"] + columns["send_failed"], "planned is less than sent + send_failed")
    _every(columns["sent"] == columns["received"] + lost, "sent is not received + lost")
    _every(columns["late"] + columns["unreachable"] <= lost, "late + unreachable is more than lost")


def _check_delay(delay: DelayColumns, where: str, received: Ints) -> None:
    rows = received.size
    n, pairs = _counts(delay.n, f"{where}.n", rows), _counts(delay.ipdv_pairs, f"{where}.ipdv_pairs", rows)
    _every(n <= received, f"{where}.n is more than received")
    _every(pairs <= n, f"{where}.ipdv_pairs is more than n")
    _check_figures(delay, n, where)
    varied = _column(delay.ipdv_abs_sum_us, f"{where}.ipdv_abs_sum_us", rows)
    _every((varied >= 0) & (varied <= MAX_SUM_US), f"{where}.ipdv_abs_sum_us is out of bounds")
    _every((pairs > 0) | (varied == 0), f"{where}.ipdv_abs_sum_us without pairs")
    _check_histograms(delay.histogram, n, f"{where}.histogram")
    _check_histograms(delay.ipdv_histogram, pairs, f"{where}.ipdv_histogram")


def _check_figures(delay: DelayColumns, n: Ints, where: str) -> None:
    low = _column(delay.min_us, f"{where}.min_us", n.size)
    high = _column(delay.max_us, f"{where}.max_us", n.size)
    total = _column(delay.sum_us, f"{where}.sum_us", n.size)
    _every((low >= -MAX_DELAY_US) & (high <= MAX_DELAY_US), f"{where}: a delay is over {MAX_DELAY_US} us")
    _every((total >= -MAX_SUM_US) & (total <= MAX_SUM_US), f"{where}.sum_us is out of bounds")
    silent = n == 0
    _every(~silent | ((low == 0) & (high == 0) & (total == 0)), f"{where}: a delay without a packet")
    parts = np.maximum(n, 1)  # the mean, rounded down and up: a product of n and a delay would not fit 64 bits
    _every(
        silent | ((low <= total // parts) & (-(-total // parts) <= high)),
        f"{where}: min, sum / n, max are not in order",
    )


def _check_histograms(histograms: Histograms, n: Ints, where: str) -> None:
    lengths = _column(histograms.lengths, f"{where}.lengths", n.size)
    size = len(histograms.bins)
    _every((lengths >= 0) & (lengths <= MAX_BIN + 1), f"{where}: a length is out of bounds")
    _need(int(lengths.sum()) == size == len(histograms.counts), f"{where}: lengths, bins and counts disagree")
    bins, counts = _column(histograms.bins, f"{where}.bins", size), _counts(histograms.counts, f"{where}.counts", size)
    first = np.zeros(size, dtype=np.bool_)
    first[(np.cumsum(lengths) - lengths)[lengths > 0]] = True
    _every((bins >= np.where(first, 0, 1)) & (bins <= MAX_BIN), f"{where}: bins are not ascending")
    _every(absolute_bins(histograms) <= MAX_BIN, f"{where}: a bin is over {MAX_BIN}")
    _every(counts > 0, f"{where}: a count is zero")
    sums = np.zeros(n.size, dtype=np.int64)
    np.add.at(sums, np.repeat(np.arange(n.size), lengths), counts)
    _every(sums == n, f"{where}: its counts are not the number of values")


def _counts(values: list[int], name: str, length: int) -> Ints:
    column = _column(values, name, length)
    _every((column >= 0) & (column <= MAX_COUNT), f"{name}: a count is negative or over {MAX_COUNT}")
    return column


def _column(values: list[int], name: str, length: int) -> Ints:
    _need(len(values) == length, f"{name}: {len(values)} entries, wanted {length}")
    try:
        return np.array(values, dtype=np.int64)
    except OverflowError as err:
        raise WireError("bounds", f"{name}: a number does not fit 64 bits") from err


def _check_name(text: str, name: str) -> None:
    _need(
        0 < len(text) <= MAX_NAME_CHARS and text.isprintable(),
        f"{name}: wanted 1..{MAX_NAME_CHARS} printable characters",
    )


def _check_uuid(text: str) -> None:
    try:
        canonical = str(uuid.UUID(text))
    except ValueError as err:
        raise WireError("bounds", f"spool_id {text[:40]!r} is not a UUID") from err
    _need(text == canonical, f"spool_id {text[:40]!r} is not written as {canonical}")


def _every(holds: NDArray[np.bool_], fault: str) -> None:
    if not holds.all():
        raise WireError("bounds", f"{fault} (first at entry {int(np.argmin(holds))})")


def _need(holds: bool, fault: str) -> None:
    if not holds:
        raise WireError("bounds", fault)
