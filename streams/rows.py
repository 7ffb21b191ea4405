"""Records -> rows of the tables, by column (pure). The order of columns is the table's, the names are the records'."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from schemas.records import Heartbeat, ProbeCondition, ThroughputResult
from schemas.tables import PROBE_HEALTH, THROUGHPUT, TableSpec
from streams.block import Head, rows_of
from streams.columns import Columns, joined, row_count, take, words_of
from streams.messages import RawMessage
from streams.verify import VerifiedHeartbeat, VerifiedSummary, VerifiedThroughput

# A probe that sends half an interval late, is robbed of a fifth of its CPU or drops what arrives measures itself.
SICK_LATENESS_US: Final = 50_000
SICK_STEAL_PPM: Final = 200_000
_TEXTS: Final = ("probe_id", "spool_id", "mesh", "mesh_version")
_NUMBERS: Final = ("revision", "seq", "slot_ms", "timeout_ms")


def summary_columns(verified: Sequence[VerifiedSummary]) -> Columns:
    """Return the kept streams of batches as rows of `summary_10s`, in their order; none for no batch."""
    if len(verified) == 0:
        return {}
    rows = np.array([len(each.kept) for each in verified])
    texts = {name: words_of([getattr(each.record, name) for each in verified]) for name in _TEXTS}
    numbers = {name: np.array(values) for name, values in _headers(verified).items()}
    of_row = np.repeat(np.arange(len(verified)), rows)
    return take({**texts, **numbers}, of_row) | _kept(verified)


def _headers(verified: Sequence[VerifiedSummary]) -> dict[str, list[int]]:
    batches = [each.record for each in verified]
    return {
        **{name: [getattr(batch, name) for batch in batches] for name in _NUMBERS},
        "slot": [batch.slot_start_ms // 1000 for batch in batches],
        "complete": [int(batch.complete) for batch in batches],
        "clock_synchronised": [int(batch.clock.synchronised) for batch in batches],
        "clock_error_us": [batch.clock.error_us for batch in batches],
        "probe_sick": [int(is_sick(batch.condition)) for batch in batches],
        "received_ms": [each.message.received_ms for each in verified],
    }


def _kept(verified: Sequence[VerifiedSummary]) -> Columns:
    """Return the numbers of the kept streams; the block as it is where it holds these and no others."""
    by_block: dict[int, list[VerifiedSummary]] = {}
    for each in verified:
        by_block.setdefault(id(each.block), []).append(each)
    if len(by_block) > 1:  # verified apart, and so in another order than that of the blocks
        return joined(_kept([each]) for each in verified)
    block = rows_of(verified[0].block)
    rows = np.concatenate([each.kept + each.first_row for each in verified])
    return block if rows.size == row_count(block) else take(block, rows)


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


def columns_of(table: TableSpec, rows: Sequence[tuple[Any, ...]]) -> dict[str, list[Any]]:
    """Return rows as a block by column."""
    return {name: [row[position] for row in rows] for position, name in enumerate(table.columns)}


def shared_fields(record: Head | Heartbeat | ThroughputResult, message: RawMessage) -> dict[str, Any]:
    """Return the columns that the tables of all records have in common."""
    names = ("probe_id", "spool_id", "seq", "mesh", "mesh_version")
    return {**{name: getattr(record, name) for name in names}, "received_ms": message.received_ms}


def _dropped(beat: Heartbeat) -> Iterable[tuple[str, str, int, int]]:
    return ((spool.spool_id, spool.topic, first, last) for spool in beat.spools for first, last in spool.dropped)
