"""Signed messages as a probe sends them, and the membership that knows it: small, whole and valid by default."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from schemas.codec import encode, pack_histograms
from schemas.envelope import Signer
from schemas.histogram import Sparse
from schemas.records import (
    ClockState,
    DelayColumns,
    Heartbeat,
    ProbeCondition,
    Record,
    SpoolState,
    SummaryBatch,
    ThroughputResult,
)
from schemas.tables import COUNTS
from schemas.topics import HEALTH, SUMMARY, THROUGHPUT
from streams.membership import MemberKey, Membership, make_plan
from streams.messages import RawMessage

MESH = "m"
PROBE, OTHER_PROBE = "m/p1", "m/p2"
STREAMS, OTHER_STREAMS = (11, 12, 13), (21, 22)
SPOOL, SECOND_SPOOL = "01890a5d-ac96-774b-bcce-b302099a8057", "01890a5d-ac96-774b-bcce-b302099a8058"
SLOT_MS = 1_760_000_040_000  # a whole minute
SIGNERS = {PROBE: Signer("k1", b"\1" * 32), OTHER_PROBE: Signer("k2", b"\2" * 32)}
_TOPIC_OF: dict[type[Record], str] = {
    SummaryBatch: SUMMARY.name,
    Heartbeat: HEALTH.name,
    ThroughputResult: THROUGHPUT.name,
}
CLOCK = ClockState(synchronised=True, error_us=500)
CONDITION = ProbeCondition(send_lateness_p99_us=100, steal_ppm=0, socket_drops=0, stamp_source="kernel")


def delays(histograms: Sequence[Sparse], *, us: int = 1000) -> DelayColumns:
    """Return the columns of delays that all are `us`, as many as each histogram counts; IPDV of 0 between them."""
    n = [sum(histogram.values()) for histogram in histograms]
    pairs = [max(count - 1, 0) for count in n]
    return DelayColumns(
        n=n,
        min_us=[us if count else 0 for count in n],
        max_us=[us if count else 0 for count in n],
        sum_us=[us * count for count in n],
        histogram=pack_histograms(histograms),
        ipdv_pairs=pairs,
        ipdv_abs_sum_us=[0 for _ in pairs],
        ipdv_histogram=pack_histograms([{0: count} if count else {} for count in pairs]),
    )


def summary(stream_ids: Sequence[int] = STREAMS, *, sent: int = 10, lost: int = 2, **fields: object) -> SummaryBatch:
    """Return a batch in which each stream sent `sent` packets and lost `lost` forward."""
    count = len(stream_ids)
    zeros, received = [0] * count, sent - lost
    named: dict[str, Any] = {
        **_identity(),
        "slot_start_ms": SLOT_MS,
        "slot_ms": 10_000,
        "revision": 1,
        "complete": True,
        "timeout_ms": 2000,
        "clock": CLOCK,
        "condition": CONDITION,
        "stream_id": list(stream_ids),
        "planned": [sent] * count,
        "sent": [sent] * count,
        "received": [received] * count,
        "lost_forward": [lost] * count,
        "loaded": [False] * count,
        "rtt": delays([{}] * count),
        "forward": delays([{346: received} if received else {}] * count),
        "backward": delays([{346: received} if received else {}] * count),
    }
    named |= {name: list(zeros) for name in ("first_index", *COUNTS) if name not in named}
    named.update(fields)
    return SummaryBatch(**named)


def heartbeat(**fields: object) -> Heartbeat:
    """Return a heartbeat that knows one spool."""
    spools = [SpoolState(spool_id=SPOOL, topic=SUMMARY.name, last_seq=9, acked_seq=5, dropped=[(1, 2)])]
    named: dict[str, Any] = {**_identity(), "sent_at_ms": SLOT_MS + 1234, "started_at_ms": SLOT_MS - 60_000}
    named.update(clock=CLOCK, condition=CONDITION, spools=spools)
    named.update(fields)
    return Heartbeat(**named)


def throughput(**fields: object) -> ThroughputResult:
    """Return a result between the endpoints of the two probes."""
    named: dict[str, Any] = {"test_id": "t-1", "source": "a/x", "destination": "b/x", "method": "udp_fixed"}
    named |= {"start_ms": SLOT_MS, "duration_ms": 3000, "set_bps": 10_000_000, "sent_packets": 2500}
    named |= {"received_packets": 2490, "packet_bytes": 1500, "receive_duration_us": 2_990_000, "outcome": "done"}
    named.update(fields)
    return ThroughputResult(**(_identity() | named))


def message(record: Record, *, signer: Signer | None = None, **fields: object) -> RawMessage:
    """Return a record as it comes off its topic, signed by its probe."""
    probe_id = getattr(record, "probe_id", PROBE)
    return signed(encode(record), _TOPIC_OF[type(record)], probe_id, signer or SIGNERS.get(probe_id), **fields)


def signed(value: bytes, topic: str, probe_id: str, signer: Signer | None = None, **fields: object) -> RawMessage:
    """Return bytes as they come off a topic, signed by the probe or by `signer`."""
    by = signer if signer is not None else SIGNERS[PROBE]
    named: dict[str, Any] = {"topic": topic, "partition": 0, "offset": 0, "key": probe_id.encode(), "value": value}
    named |= {"headers": tuple(by.sign(topic, value)), "received_ms": SLOT_MS + 12_000}
    named.update(fields)
    return RawMessage(**named)


def membership(
    keys: Sequence[MemberKey] | None = None, *, streams: Mapping[int, str] | None = None, from_ms: int = 0
) -> Membership:
    """Return a mesh of two probes in force since `from_ms`."""
    known = [MemberKey(probe_id=probe_id, key_id=by.key_id, public=by.public) for probe_id, by in SIGNERS.items()]
    probe_of_stream = dict.fromkeys(STREAMS, PROBE) | dict.fromkeys(OTHER_STREAMS, OTHER_PROBE)
    plan = make_plan(
        mesh=MESH,
        version="v1",
        valid_from_ms=from_ms,
        keys=known if keys is None else keys,
        probe_of_stream=probe_of_stream if streams is None else streams,
        probe_of_endpoint={"a/x": PROBE, "b/x": OTHER_PROBE, "c/x": "m/p3"},
    )
    return Membership([plan])


def replaced(record: SummaryBatch, direction: str, **fields: object) -> SummaryBatch:
    """Return the batch with other columns in one of its delays."""
    delay = msgspec.structs.replace(getattr(record, direction), **fields)
    return msgspec.structs.replace(record, **{direction: delay})


def _identity() -> dict[str, Any]:
    return {"mesh": MESH, "mesh_version": "v1", "probe_id": PROBE, "spool_id": SPOOL, "seq": 0}
