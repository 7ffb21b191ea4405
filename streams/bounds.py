"""The bounds of a record's own fields: versions, names, ranges (pure); those of its columns are in `block_bounds`."""

import uuid
from typing import Final

from schemas.errors import WireError
from schemas.records import (
    MAX_REVISION,
    MAX_STREAMS,
    ClockState,
    Heartbeat,
    ProbeCondition,
    SpoolState,
    SummaryBatch,
    ThroughputResult,
)

WIRE_VERSION: Final = 1
SLOT_MS: Final = 10_000
MAX_VALUE_BYTES: Final = 2 * 1024 * 1024
MAX_NAME_CHARS: Final = 128
MAX_SPOOLS: Final = 4096
MAX_DROPPED: Final = 65_536
_UINT32: Final = 1 << 32
_INT63: Final = 1 << 63
_OUTCOMES: Final = ("done", "no_answer", "refused", "send_failed")


def check_header(batch: SummaryBatch) -> None:
    """Return when all of a batch but its columns is within its bounds.

    Raises:
        WireError: "schema" for another version of the record, "bounds" naming the first field that is not.
    """
    _check_shared(batch)
    _need(batch.slot_ms == SLOT_MS, f"slot_ms {batch.slot_ms} is not supported, wanted {SLOT_MS}")
    _need(
        batch.slot_start_ms >= 0 and batch.slot_start_ms % batch.slot_ms == 0, "slot_start_ms is not on the slot grid"
    )
    _need(1 <= batch.revision <= MAX_REVISION, f"revision {batch.revision} is not in 1..{MAX_REVISION}")
    _need(1 <= batch.timeout_ms < _UINT32, f"timeout_ms {batch.timeout_ms} is out of bounds")
    _check_clock(batch.clock)
    _check_condition(batch.condition)
    _check_streams(batch)


def check_heartbeat(beat: Heartbeat) -> None:
    """Return when the heartbeat is within its bounds.

    Raises:
        WireError: "schema" for another version, "bounds" naming the first field that is not.
    """
    _check_shared(beat)
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
    _check_shared(result)
    for name in ("test_id", "source", "destination", "method"):
        _check_name(getattr(result, name), name)
    _need(result.outcome in _OUTCOMES, f"outcome {result.outcome[:32]!r} is not one of {', '.join(_OUTCOMES)}")
    for name in ("start_ms", "set_bps", "sent_packets", "received_packets", "receive_duration_us"):
        _need(0 <= getattr(result, name) < _INT63, f"{name} is out of bounds")
    for name in ("duration_ms", "packet_bytes"):
        _need(0 <= getattr(result, name) < _UINT32, f"{name} is out of bounds")


def _check_shared(record: SummaryBatch | Heartbeat | ThroughputResult) -> None:
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
    _need(len(set(batch.stream_id)) == len(batch.stream_id), "a stream is named twice")


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


def _need(holds: bool, fault: str) -> None:
    if not holds:
        raise WireError("bounds", fault)
