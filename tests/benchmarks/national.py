"""What the probes of the national mesh would send: signed batches, made from a seed, as fast as numpy goes.

Each stream sends 100 packets a slot. A delay is the floor of the stream, twice that of light in fibre, and above it
queueing that few packets meet; one packet in a thousand is lost. Slots may share their figures (`distinct`), so that a
long backlog is made in seconds: identity and signature are each slot's own.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from support.wire_messages import CLOCK, CONDITION, SPOOL

from schemas.codec import encode
from schemas.envelope import Signer
from schemas.histogram import bins_of
from schemas.mesh import Mesh, parse_mesh, with_probe_keys
from schemas.mesh_streams import Stream
from schemas.physics import great_circle_km
from schemas.records import DelayColumns, Histograms, SummaryBatch
from schemas.tables import COUNTS
from schemas.topics import SUMMARY

Ints = NDArray[np.int64]

SLOT_MS: Final = 10_000
PACKETS: Final = 100  # of a stream in a slot: one each 100 ms
LOSS: Final = 0.001
US_PER_KM: Final = 10.0  # 5 in fibre, and real routes are twice as long
_FILE: Final = Path(__file__).parents[2] / "deploy" / "mesh" / "national.toml"
_BINS: Final = 4096


class Sent(NamedTuple):
    """A message ready for the topic."""

    probe_id: str
    value: bytes
    headers: list[tuple[str, bytes]]
    streams: int


class National:
    """The mesh, its probes' keys, and what they measure."""

    def __init__(self, seed: int, *, streams_each: int | None = None, distinct: int = 24) -> None:
        """Enrol a key for every probe.

        Args:
            seed: of all figures.
            streams_each: the first so many streams of each probe, all of them by default.
            distinct: how many slots of a probe have figures of their own.
        """
        bare = parse_mesh(_FILE.read_text(encoding="utf-8"), source=_FILE.name)
        self._signers = {probe.id: Signer(f"k{n}", (n + 1).to_bytes(32, "big")) for n, probe in enumerate(bare.probes)}
        public = {probe_id: [(by.key_id, by.public.hex())] for probe_id, by in self._signers.items()}
        self.mesh: Mesh = with_probe_keys(bare, public)
        self._chance = np.random.default_rng(seed)
        self._distinct = distinct
        self._drafts: dict[tuple[str, int], SummaryBatch] = {}
        self._streams = {probe_id: self._streams_of(probe_id)[:streams_each] for probe_id in self._signers}
        self._floor_us = {stream.id: _floor_us(self.mesh, stream) for stream in self.mesh.streams}

    @property
    def probes(self) -> list[str]:
        """Return the probes."""
        return list(self._signers)

    @property
    def summaries_per_slot(self) -> int:
        """Return how many streams they report together."""
        return sum(map(len, self._streams.values()))

    def slot(self, slot_ms: int, seq: int, *, spool_id: str = SPOOL) -> Iterator[Sent]:
        """Yield what every probe sends of a slot."""
        for probe_id in self._signers:
            yield self.message(probe_id, slot_ms, seq, spool_id=spool_id)

    def message(self, probe_id: str, slot_ms: int, seq: int, *, spool_id: str = SPOOL) -> Sent:
        """Return what a probe sends of a slot."""
        value = encode(self.batch(probe_id, slot_ms, seq, spool_id=spool_id))
        headers = list(self._signers[probe_id].sign(SUMMARY.name, value))
        return Sent(probe_id, value, headers, len(self._streams[probe_id]))

    def batch(self, probe_id: str, slot_ms: int, seq: int, *, spool_id: str = SPOOL) -> SummaryBatch:
        """Return a probe's batch of a slot."""
        key = (probe_id, seq % self._distinct)
        if key not in self._drafts:
            self._drafts[key] = self._draft(probe_id, self._streams[probe_id])
        return msgspec.structs.replace(self._drafts[key], slot_start_ms=slot_ms, seq=seq, spool_id=spool_id)

    def _streams_of(self, probe_id: str) -> list[int]:
        return [stream.id for stream in self.mesh.streams if stream.probe_id == probe_id]

    def _draft(self, probe_id: str, stream_ids: Sequence[int]) -> SummaryBatch:
        count = len(stream_ids)
        lost = self._chance.binomial(PACKETS, LOSS, count)
        received = PACKETS - lost
        floor_us = np.array([self._floor_us[each] for each in stream_ids])
        columns: dict[str, Any] = {name: [0] * count for name in ("first_index", *COUNTS)}
        columns |= {"planned": [PACKETS] * count, "sent": [PACKETS] * count, "received": received.tolist()}
        runs = np.minimum(lost, 1).tolist()
        columns |= {"lost_forward": lost.tolist(), "loss_runs": runs, "loss_run_max": runs}
        return SummaryBatch(
            mesh=self.mesh.id,
            mesh_version=self.mesh.version,
            probe_id=probe_id,
            spool_id=SPOOL,
            seq=0,
            slot_start_ms=0,
            slot_ms=SLOT_MS,
            revision=1,
            complete=True,
            timeout_ms=2000,
            clock=CLOCK,
            condition=CONDITION,
            stream_id=list(stream_ids),
            loaded=[False] * count,
            rtt=delay_columns(np.zeros((count, 0), dtype=np.int64), np.zeros(count, dtype=np.int64)),
            forward=delay_columns(self._delays_us(floor_us), received),
            backward=delay_columns(self._delays_us(floor_us), received),
            **columns,
        )

    def _delays_us(self, floor_us: Ints) -> Ints:
        """Return the delays of all packets: a floor, noise of the hosts, and a queue that few meet."""
        shape = (len(floor_us), PACKETS)
        noise = np.abs(self._chance.normal(0, 50, shape))
        queue = self._chance.exponential(400, shape) * (self._chance.random(shape) < 0.03)
        return np.rint(floor_us[:, None] + noise + queue).astype(np.int64)


def _floor_us(mesh: Mesh, stream: Stream) -> int:
    ends = [mesh.node_by_id[mesh.endpoint_by_id[end].node] for end in (stream.source, stream.destination)]
    km = great_circle_km(ends[0].lat, ends[0].lon, ends[1].lat, ends[1].lon)
    return max(300, round(km * US_PER_KM))


def delay_columns(us: Ints, n: Ints) -> DelayColumns:
    """Return the columns of delays, a row a stream, of which the first `n` were answered."""
    answered = np.arange(us.shape[1])[None, :] < n[:, None]
    varied = np.abs(np.diff(us, axis=1))
    both = answered[:, 1:]
    return DelayColumns(
        n=n.tolist(),
        min_us=np.min(us, axis=1, where=answered, initial=1 << 46).tolist() if us.size else n.tolist(),
        max_us=np.max(us, axis=1, where=answered, initial=0).tolist() if us.size else n.tolist(),
        sum_us=np.sum(us, axis=1, where=answered).tolist(),
        histogram=_histograms(us, answered),
        ipdv_pairs=both.sum(axis=1).tolist(),
        ipdv_abs_sum_us=np.sum(varied, axis=1, where=both).tolist(),
        ipdv_histogram=_histograms(varied, both),
    )


def _histograms(us: Ints, counted: NDArray[np.bool_]) -> Histograms:
    rows = np.broadcast_to(np.arange(us.shape[0])[:, None], us.shape)[counted]
    keys, counts = np.unique(rows * _BINS + bins_of(us[counted]), return_counts=True)
    row, bins = keys // _BINS, keys % _BINS
    first = np.diff(row, prepend=-1) != 0
    return Histograms(
        lengths=np.bincount(row, minlength=us.shape[0]).tolist(),
        bins=np.where(first, bins, np.diff(bins, prepend=0)).tolist(),
        counts=counts.tolist(),
    )
