"""Records -> rows of the tables, by column (pure). The order of columns is the table's, the names are the records'."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, chain, pairwise
from typing import Any, Final

from schemas.records import DelayColumns, Heartbeat, Histograms, ProbeCondition, SummaryBatch, ThroughputResult
from schemas.tables import COUNTS, DIRECTIONS, PROBE_HEALTH, THROUGHPUT, TableSpec
from streams.bounds import absolute_bins
from streams.messages import RawMessage
from streams.verify import VerifiedHeartbeat, VerifiedSummary, VerifiedThroughput

Columns = dict[str, list[Any]]

# A probe that sends half an interval late, is robbed of a fifth of its CPU or drops what arrives measures itself.
SICK_LATENESS_US: Final = 50_000
SICK_STEAL_PPM: Final = 200_000
_FIGURES: Final = ("n", "min_us", "max_us", "sum_us", "ipdv_pairs", "ipdv_abs_sum_us")


def summary_columns(verified: VerifiedSummary) -> Columns:
    """Return the kept streams of a batch as rows of `summary_10s`."""
    batch, message = verified.record, verified.message
    header = {
        "probe_id": batch.probe_id,
        "spool_id": batch.spool_id,
        "slot": batch.slot_start_ms // 1000,
        "revision": batch.revision,
        "seq": batch.seq,
        "mesh": batch.mesh,
        "mesh_version": batch.mesh_version,
        "slot_ms": batch.slot_ms,
        "timeout_ms": batch.timeout_ms,
        "complete": int(batch.complete),
        "clock_synchronised": int(batch.clock.synchronised),
        "clock_error_us": batch.clock.error_us,
        "probe_sick": int(is_sick(batch.condition)),
        "received_ms": message.received_ms,
    }
    columns: Columns = {name: [value] * len(verified.kept) for name, value in header.items()}
    return columns | _kept(_stream_columns(batch), verified.kept, len(batch.stream_id))


def is_sick(condition: ProbeCondition) -> bool:
    """Return whether the probe was unfit to measure; what the host does not tell is no fault."""
    late_us, steal_ppm = condition.send_lateness_p99_us, condition.steal_ppm
    late = late_us is not None and late_us > SICK_LATENESS_US
    robbed = steal_ppm is not None and steal_ppm > SICK_STEAL_PPM
    return late or robbed or condition.socket_drops > 0


def health_row(verified: VerifiedHeartbeat) -> tuple[Any, ...]:
    """Return a heartbeat as a row of `probe_health`."""
    beat, dropped = verified.record, list(_dropped(verified.record))
    named = {
        **shared_fields(beat, verified.message),
        "sent_at": beat.sent_at_ms // 1000,
        "sent_ms": beat.sent_at_ms,
        "started_ms": beat.started_at_ms,
        "clock_synchronised": int(beat.clock.synchronised),
        "clock_error_us": beat.clock.error_us,
        **{name: getattr(beat.condition, name) for name in beat.condition.__struct_fields__},
        "spools": [spool.spool_id for spool in beat.spools],
        "topics": [spool.topic for spool in beat.spools],
        "last_seqs": [spool.last_seq for spool in beat.spools],
        "acked_seqs": [spool.acked_seq for spool in beat.spools],
        "dropped_spools": [spool_id for spool_id, _, _, _ in dropped],
        "dropped_topics": [topic for _, topic, _, _ in dropped],
        "dropped_from": [first for _, _, first, _ in dropped],
        "dropped_until": [last for _, _, _, last in dropped],
    }
    return row_of(PROBE_HEALTH, named)


def throughput_row(verified: VerifiedThroughput) -> tuple[Any, ...]:
    """Return a throughput result as a row of `throughput`."""
    result = verified.record
    named = {name: getattr(result, name) for name in result.__struct_fields__ if name != "version"}
    return row_of(THROUGHPUT, {**named, **shared_fields(result, verified.message), "start": result.start_ms // 1000})


def row_of(table: TableSpec, named: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the values in the order of the table's columns.

    Raises:
        KeyError: a column without a value.
    """
    return tuple(named[name] for name in table.columns)


def columns_of(table: TableSpec, rows: Sequence[tuple[Any, ...]]) -> Columns:
    """Return rows as a block by column."""
    return {name: [row[position] for row in rows] for position, name in enumerate(table.columns)}


def joined(blocks: Iterable[Columns]) -> Columns:
    """Return blocks of the same columns as one, rows in the order given; empty when there is none."""
    parts = list(blocks)
    return {name: list(chain.from_iterable(part[name] for part in parts)) for name in parts[0]} if parts else {}


def shared_fields(record: SummaryBatch | Heartbeat | ThroughputResult, message: RawMessage) -> dict[str, Any]:
    """Return the columns that the tables of all records have in common."""
    names = ("probe_id", "spool_id", "seq", "mesh", "mesh_version")
    return {**{name: getattr(record, name) for name in names}, "received_ms": message.received_ms}


def _stream_columns(batch: SummaryBatch) -> Columns:
    columns: Columns = {name: getattr(batch, name) for name in ("stream_id", "first_index", *COUNTS)}
    columns["loaded"] = [int(loaded) for loaded in batch.loaded]
    for direction in DIRECTIONS:
        columns |= _delay_columns(getattr(batch, direction), direction)
    return columns


def _delay_columns(delay: DelayColumns, direction: str) -> Columns:
    columns: Columns = {f"{direction}_{name}": getattr(delay, name) for name in _FIGURES}
    columns[f"{direction}_bin"], columns[f"{direction}_count"] = _unpacked(delay.histogram)
    columns[f"{direction}_ipdv_bin"], columns[f"{direction}_ipdv_count"] = _unpacked(delay.ipdv_histogram)
    return columns


def _unpacked(histograms: Histograms) -> tuple[list[list[int]], list[list[int]]]:
    bins, counts = absolute_bins(histograms).tolist(), histograms.counts
    edges = list(pairwise(accumulate(histograms.lengths, initial=0)))
    return [bins[start:end] for start, end in edges], [counts[start:end] for start, end in edges]


def _kept(columns: Columns, kept: Sequence[int], count: int) -> Columns:
    if len(kept) == count:
        return columns
    return {name: [values[position] for position in kept] for name, values in columns.items()}


def _dropped(beat: Heartbeat) -> Iterable[tuple[str, str, int, int]]:
    return ((spool.spool_id, spool.topic, first, last) for spool in beat.spools for first, last in spool.dropped)
