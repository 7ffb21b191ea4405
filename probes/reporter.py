"""What a run says: batches, heartbeats and test results, signed and handed to the outbox under its identity."""

from collections.abc import Callable

import msgspec

from probes.batch import BatchHeader, make_batch
from probes.config import ThroughputSlot
from probes.outbox import Outbox
from probes.seqless import pack_seqless
from probes.slots import Said
from probes.spool import Spool
from probes.spool_group import Entry, Make
from probes.throughput import TestResult
from schemas.clock import Clock, wall_ms
from schemas.codec import encode
from schemas.envelope import Signer
from schemas.mesh_slice import ProbeSlice
from schemas.records import ClockState, Heartbeat, ProbeCondition, SummaryBatch, ThroughputResult
from schemas.topics import HEALTH, SUMMARY, THROUGHPUT


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who speaks, in every record beside its seq."""

    mesh: str
    mesh_version: str
    probe_id: str
    spool_id: str


class Reporter:
    """The voice of one run; records get their seq, bytes and signature in the outbox's thread."""

    def __init__(
        self, slice_: ProbeSlice, spool_id: str, *, signer: Signer, spool: Spool, outbox: Outbox, clock: Clock
    ) -> None:
        self.slice = slice_
        self._who = Identity(
            mesh=slice_.mesh, mesh_version=slice_.mesh_version, probe_id=slice_.probe_id, spool_id=spool_id
        )
        self._started_at_ms = wall_ms(clock)
        self._signer = signer
        self._spool = spool
        self._outbox = outbox
        self._clock = clock

    def batch(self, said: Said, clock: ClockState, condition: ProbeCondition) -> None:
        """Spool a revision of a slot."""
        who = self._who
        header = BatchHeader(
            mesh=who.mesh,
            mesh_version=who.mesh_version,
            probe_id=who.probe_id,
            slot_start_ms=said.slot.start_ms,
            slot_ms=self.slice.schedule.slot_ms,
            revision=said.revision,
            complete=said.complete,
            timeout_ms=max(stream.timeout_ms for stream in self.slice.streams),
            clock=clock,
            condition=condition,
        )

        def record_of(seq: int) -> SummaryBatch:
            return make_batch(header, said.summaries, spool_id=who.spool_id, seq=seq)

        make = self._made(SUMMARY.name, lambda seq: encode(record_of(seq)))
        entry = Entry(who.spool_id, SUMMARY.name, make, lambda: self._made(SUMMARY.name, pack_seqless(record_of)))
        self._outbox.put(entry)

    def heartbeat(self, clock: ClockState, condition: ProbeCondition) -> None:
        """Spool a sign of life with the state of every run that the spool file knows."""
        fields = {**msgspec.structs.asdict(self._who), "clock": clock, "condition": condition}
        fields |= {"sent_at_ms": wall_ms(self._clock), "started_at_ms": self._started_at_ms}
        self._put(HEALTH.name, lambda seq: Heartbeat(seq=seq, spools=self._spool.states(), **fields))

    def test(self, slot: ThroughputSlot, result: TestResult) -> None:
        """Spool the result of a throughput test."""
        fields = {**msgspec.structs.asdict(self._who), **msgspec.structs.asdict(result)}
        names = ("source", "destination", "start_ms", "duration_ms", "set_bps", "packet_bytes")
        fields |= {name: getattr(slot, name) for name in names}
        self._put(THROUGHPUT.name, lambda seq: ThroughputResult(seq=seq, test_id=slot.id, method="udp_fixed", **fields))

    def _put(self, topic: str, record_of: Callable[[int], Heartbeat | ThroughputResult]) -> None:
        self._outbox.put(Entry(self._who.spool_id, topic, self._made(topic, lambda seq: encode(record_of(seq)))))

    def _made(self, topic: str, value_of: Callable[[int], bytes]) -> Make:
        def make(seq: int) -> tuple[bytes, list[tuple[str, bytes]]]:
            value = value_of(seq)
            return value, self._signer.sign(topic, value)

        return make
