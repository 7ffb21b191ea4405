"""Summaries of all streams of a probe in one slot become one `SummaryBatch`: columns, one entry a stream."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from probes.summarise import DelaySummary, StreamSummary
from schemas.codec import pack_histograms
from schemas.records import ClockState, DelayColumns, ProbeCondition, SummaryBatch

_COUNTS: Final = (
    "stream_id",
    "planned",
    "first_index",
    "sent",
    "received",
    "lost_forward",
    "lost_backward",
    "lost_unresolved",
    "late",
    "unreachable",
    "send_failed",
    "duplicate",
    "reordered",
    "loss_runs",
    "loss_run_max",
    "loaded",
)
_DELAYS: Final = ("rtt", "forward", "backward")
_FIGURES: Final = ("n", "min_us", "max_us", "sum_us", "ipdv_pairs", "ipdv_abs_sum_us")


class BatchHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch says beside its columns; the spool adds its own identity (spool_id, seq) when it writes."""

    mesh: str
    mesh_version: str
    probe_id: str
    slot_start_ms: int
    slot_ms: int
    revision: int
    complete: bool
    timeout_ms: int
    clock: ClockState
    condition: ProbeCondition


def make_batch(header: BatchHeader, summaries: Sequence[StreamSummary], *, spool_id: str, seq: int) -> SummaryBatch:
    """Return the record of a slot; the streams stand in the order given."""
    named = {name: getattr(header, name) for name in header.__struct_fields__}
    return SummaryBatch(**named, spool_id=spool_id, seq=seq, **batch_columns(summaries))


def batch_columns(summaries: Sequence[StreamSummary]) -> dict[str, Any]:
    """Return the columns of the summaries, by the field names of `SummaryBatch`."""
    columns: dict[str, Any] = {name: [getattr(summary, name) for summary in summaries] for name in _COUNTS}
    for name in _DELAYS:
        columns[name] = _delay_columns([getattr(summary, name) for summary in summaries])
    return columns


def _delay_columns(delays: Sequence[DelaySummary]) -> DelayColumns:
    figures = {name: [getattr(delay, name) for delay in delays] for name in _FIGURES}
    return DelayColumns(
        **figures,
        histogram=pack_histograms(delay.histogram for delay in delays),
        ipdv_histogram=pack_histograms(delay.ipdv_histogram for delay in delays),
    )
