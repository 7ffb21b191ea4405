"""The ledger's rows: one fate a message in `batch`, the bytes of what was refused in `quarantine` (pure)."""

import uuid
from collections.abc import Sequence
from typing import Any, Final

from schemas.clock import floor_ms
from schemas.records import Heartbeat, ThroughputResult
from schemas.tables import BATCH, QUARANTINE
from streams.block import Head
from streams.bounds import MAX_NAME_CHARS, SLOT_MS
from streams.messages import UNKNOWN_SEQ, Claim, RawMessage, is_seq
from streams.rows import row_of, shared_fields
from streams.verify import (
    MAX_AGE_MS,
    MAX_AHEAD_MS,
    Rejected,
    StreamFault,
    Verified,
    VerifiedHeartbeat,
    VerifiedSummary,
    VerifiedThroughput,
)

Row = tuple[Any, ...]

WHOLE_MESSAGE: Final = 0  # in the place of a stream's number
REPEATED_HEADER: Final = "\0"  # a header that stands twice keeps its number after this


def batch_row(verified: Verified, refused: Sequence[StreamFault] = ()) -> Row:
    """Return the ledger's row of a message that was stored, except for the streams that the store refused."""
    record, message = verified.record, verified.message
    streams, faults, slot_ms, revision, complete = _extent(verified)
    quarantined = len(faults) + len(refused)
    named = {
        **shared_fields(record, message),
        **_position(message),
        "slot": slot_ms // 1000,
        "revision": revision,
        "complete": complete,
        "streams": streams,
        "stored": streams - quarantined,
        "quarantined": quarantined,
    }
    return row_of(BATCH, named)


def rejected_batch_row(rejected: Rejected) -> Row | None:
    """Return the ledger's row of a rejected message whose identity is proved; None for a foreign one.

    A slot that is not to be believed is replaced by the time of arrival, so that no clock fills the partitions.
    """
    claim, message = rejected.claim, rejected.message
    spool_id = _spool(claim.spool_id)
    if not rejected.signed or spool_id is None or not is_seq(claim.seq):
        return None
    streams = max(len(claim.stream_id), 1)
    named = {
        **_position(message),
        "probe_id": claim.probe_id,
        "spool_id": spool_id,
        "seq": claim.seq,
        "slot": _slot_ms(rejected) // 1000,
        "revision": min(max(claim.revision, 0), 255),
        "complete": int(claim.complete),
        "streams": streams,
        "stored": 0,
        "quarantined": streams,
        "mesh": _text(claim.mesh, MAX_NAME_CHARS),
        "mesh_version": _text(claim.mesh_version, MAX_NAME_CHARS),
        "received_ms": message.received_ms,
    }
    return row_of(BATCH, named)


def rejected_row(rejected: Rejected) -> Row:
    """Return the row of `quarantine` that keeps a whole message."""
    claim, message = rejected.claim, rejected.message
    return _quarantined(message, claim, rejected.signed, StreamFault(WHOLE_MESSAGE, rejected.reason, rejected.detail))


def fault_rows(verified: Verified, faults: Sequence[StreamFault]) -> list[Row]:
    """Return a row of `quarantine` for each stream; the bytes are kept once, with the lowest stream."""
    ordered = sorted(faults, key=lambda fault: fault.stream_id)
    record = verified.record
    claim = Claim(probe_id=record.probe_id, spool_id=record.spool_id, seq=record.seq)
    message = verified.message
    bare = RawMessage(**{name: getattr(message, name) for name in message.__struct_fields__} | {"value": b""})
    return [_quarantined(bare if n else message, claim, True, fault) for n, fault in enumerate(ordered)]


def packed_headers(headers: Sequence[tuple[str, bytes]]) -> dict[bytes, bytes]:
    """Return headers as a map; a name that stands again gets its number, so that `unpacked_headers` finds both."""
    packed: dict[bytes, bytes] = {}
    for number, (name, value) in enumerate(headers):
        key = name.encode("utf-8", "surrogateescape")
        packed[key if key not in packed else key + f"{REPEATED_HEADER}{number}".encode()] = value
    return packed


def unpacked_headers(packed: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """Return the headers that `packed_headers` was given, in order."""
    return [(name.split(REPEATED_HEADER, 1)[0], value) for name, value in packed]


def _extent(verified: Verified) -> tuple[int, Sequence[StreamFault], int, int, int]:
    """Return number of streams, faults among them, slot in ms, revision and completeness of a record."""
    match verified:
        case VerifiedSummary(record=Head() as batch, faults=faults):
            return len(batch.stream_id), faults, batch.slot_start_ms, batch.revision, int(batch.complete)
        case VerifiedHeartbeat(record=Heartbeat() as beat):
            return 1, (), beat.sent_at_ms, 0, 1
        case VerifiedThroughput(record=ThroughputResult() as result):
            return 1, (), result.start_ms, 0, 1


def _slot_ms(rejected: Rejected) -> int:
    at_ms, received_ms = rejected.claim.at_ms, rejected.message.received_ms
    if at_ms is not None and received_ms - MAX_AGE_MS <= at_ms <= received_ms + MAX_AHEAD_MS:
        return at_ms
    return floor_ms(received_ms, SLOT_MS)


def _quarantined(message: RawMessage, claim: Claim, signed: bool, fault: StreamFault) -> Row:
    named = {
        **_position(message),
        "received_ms": message.received_ms,
        "reason": fault.reason,
        "detail": _text(fault.detail, len(fault.detail)),
        "message_key": message.key,
        "claimed_probe": _text(claim.probe_id, MAX_NAME_CHARS),
        "claimed_spool": _text(claim.spool_id, MAX_NAME_CHARS),
        "claimed_seq": claim.seq if is_seq(claim.seq) else UNKNOWN_SEQ,
        "signed": int(signed),
        "stream_id": fault.stream_id,
        "value": message.value,
        "headers": packed_headers(message.headers),
    }
    return row_of(QUARANTINE, named)


def _position(message: RawMessage) -> dict[str, Any]:
    return {"topic": message.topic, "partition": message.partition, "offset": message.offset}


def _spool(text: str) -> str | None:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None


def _text(text: str, chars: int) -> str:
    """Return text that can be stored as UTF-8, cut to a length in characters."""
    return text[:chars].encode("utf-8", "backslashreplace").decode()
