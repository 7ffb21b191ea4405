"""The records that travel: what a probe says, in the words of the design.

Columns hold one entry a stream, all of equal length. Durations are integer microseconds, instants integer
milliseconds of UTC. Counts travel; ratios and averages are computed where they are read. A field may be added with a
default; a meaning never changes under its name.
"""

from typing import Final

import msgspec

MAX_REVISION: Final = 15
MAX_STREAMS: Final = 4096


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Base of everything on the wire: frozen, by name, unknown fields ignored (a newer sender)."""


class ClockState(Record, frozen=True, kw_only=True):
    """The sender's own word on its wall clock, from the kernel (adjtimex)."""

    synchronised: bool
    error_us: int  # maximum error the kernel admits; meaningless for one-way figures unless synchronised


class ProbeCondition(Record, frozen=True, kw_only=True):
    """How fit the probe was while it measured; None where the host does not tell."""

    send_lateness_p99_us: int | None = None
    steal_ppm: int | None = None  # CPU time taken by the hypervisor, parts per million of the slot
    socket_drops: int = 0
    stamp_source: str = "unknown"  # kernel, user, mixed or unknown


class Histograms(Record, frozen=True, kw_only=True):
    """One sparse histogram a stream, as rows of one list: lengths per stream, bins delta-coded within each stream."""

    lengths: list[int]
    bins: list[int]  # first bin absolute, then differences (> 0)
    counts: list[int]


class DelayColumns(Record, frozen=True, kw_only=True):
    """A delay and its variation; min, max and sum are 0 where n is 0. Signed: one-way has the error of two clocks."""

    n: list[int]
    min_us: list[int]
    max_us: list[int]
    sum_us: list[int]
    histogram: Histograms
    ipdv_pairs: list[
        int
    ]  # consecutive packets both answered; a pair belongs to the slot of its later packet (RFC 3393)
    ipdv_abs_sum_us: list[int]
    ipdv_histogram: Histograms


class SummaryBatch(Record, frozen=True, kw_only=True):
    """All streams of one probe in one slot: one Kafka message on `isochrone.summary.v1`, key = probe_id."""

    mesh: str
    mesh_version: str
    probe_id: str
    spool_id: str  # UUIDv7 of this run of the agent
    seq: int
    slot_start_ms: int
    slot_ms: int
    revision: int  # 1..15; the larger replaces the smaller of the same (probe, spool, stream, slot)
    complete: bool
    timeout_ms: int
    clock: ClockState
    condition: ProbeCondition
    stream_id: list[int]
    planned: list[int]
    first_index: list[int]  # index of the first packet that the summary covers
    sent: list[int]
    received: list[int]
    lost_forward: list[int]
    lost_backward: list[int]
    lost_unresolved: list[int]
    late: list[int]
    unreachable: list[int]
    send_failed: list[int]
    duplicate: list[int]
    reordered: list[int]
    loss_runs: list[int]  # runs of consecutive losses that begin in this slot (RFC 3357)
    loss_run_max: list[int]  # the longest run that touches this slot, counted from its true beginning
    loaded: list[bool]
    rtt: DelayColumns
    forward: DelayColumns
    backward: DelayColumns
    version: int = 1


class SpoolState(Record, frozen=True, kw_only=True):
    """What one spool file knows of one (spool_id, topic): the declared drops are inclusive ranges of seq."""

    spool_id: str
    topic: str
    last_seq: int
    acked_seq: int  # every seq up to it is acknowledged or declared dropped; -1 before the first
    dropped: list[tuple[int, int]] = []


class Heartbeat(Record, frozen=True, kw_only=True):
    """A probe's sign of life every 10 s on `isochrone.health.v1`: spooled and signed like the rest."""

    mesh: str
    mesh_version: str
    probe_id: str
    spool_id: str
    seq: int
    sent_at_ms: int
    started_at_ms: int
    clock: ClockState
    condition: ProbeCondition
    spools: list[SpoolState]
    version: int = 1


class ThroughputResult(Record, frozen=True, kw_only=True):
    """One throughput test, seen by the receiver where it reports, by the sender else: `isochrone.throughput.v1`."""

    mesh: str
    mesh_version: str
    probe_id: str
    spool_id: str
    seq: int
    test_id: str
    source: str  # endpoint ids
    destination: str
    method: str  # udp_fixed
    start_ms: int
    duration_ms: int  # as planned
    set_bps: int  # IP-layer rate asked for
    sent_packets: int
    received_packets: int
    packet_bytes: int  # IP packet size
    receive_duration_us: int  # first to last arrival at the receiver; 0 when fewer than two packets came
    outcome: str  # done, no_answer, refused, send_failed
    version: int = 1
