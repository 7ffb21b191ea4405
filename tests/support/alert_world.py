"""A network of the mind: real summaries (the probe's own code) of packets whose fate a list of faults decides.

Times are UTC milliseconds. A world makes, second by second, the rows that a store would hold: a whole slot when it is
settled, early revisions when a stream falls silent or returns.
"""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from probes.packets import PACKET, Fate
from probes.summarise import StreamSummary, summarise_stream
from schemas.mesh import Mesh
from schemas.mesh_streams import Stream

START_MS = 1_800_000_000_000  # a whole minute
SLOT_MS = 10_000
INTERVAL_MS = 100
TIMEOUT_MS = 2_000
RTT_MS = 30
SILENT = 10
DELAY_MS = 700  # publish, fold and store

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Loses what `hits`, with a probability, for packets sent in [from_s, until_s) after the start."""

    from_s: float
    until_s: float
    hits: Callable[[Stream], bool]
    share: float = 1.0


@dataclass(kw_only=True)
class World:
    """Every stream of a mesh for `seconds`."""

    mesh: Mesh
    seconds: int
    start_ms: int = START_MS
    faults: tuple[Fault, ...] = ()
    killed_s: dict[str, float] = field(default_factory=dict)  # probe id -> when its agent dies
    deaf_s: tuple[float, float] = (1e9, 1e9)  # nothing is stored in between, all of it after
    marks: Callable[[str, int], Row] = lambda _probe, _slot: {}  # columns to change, by probe and start of slot
    spool: str = "019a0000-0000-7000-8000-000000000001"
    seed: int = 1

    def __post_init__(self) -> None:
        self.batches: dict[tuple[str, int], list[tuple[int, list[Row]]]] = {}  # (received, rows) by probe and slot
        self.heard_ms: dict[str, int] = {}
        self.pulse: set[int] = set()
        self.step_s = 0
        self._revision: dict[tuple[str, int], int] = {}
        self._done: set[tuple[str, int]] = set()
        self._of_probe: dict[str, list[Stream]] = {}
        for stream in self.mesh.streams:
            self._of_probe.setdefault(stream.probe_id, []).append(stream)
        random = np.random.default_rng(self.seed)
        self._lost = {stream.id: self._fates(stream, random) for stream in self.mesh.streams}
        self._due_ms = self.start_ms + np.arange(self.seconds * 1000 // INTERVAL_MS) * INTERVAL_MS
        self._turns = {probe: self._turns_of(streams) for probe, streams in self._of_probe.items()}
        self._any_lost = {
            probe: np.any([self._lost[stream.id] for stream in streams], axis=0)
            for probe, streams in self._of_probe.items()
        }

    def _fates(self, stream: Stream, random: np.random.Generator) -> NDArray[np.bool_]:
        at_s = np.arange(self.seconds * 1000 // INTERVAL_MS) * INTERVAL_MS / 1000
        lost = np.zeros(len(at_s), dtype=np.bool_)
        for fault in self.faults:
            if fault.hits(stream):
                lost |= (at_s >= fault.from_s) & (at_s < fault.until_s) & (random.random(len(at_s)) < fault.share)
        return lost

    def advance(self) -> int:
        """Let a second pass and return the instant."""
        self.step_s += 1
        now_ms = self.start_ms + self.step_s * 1000
        for probe in self._of_probe:
            if self.step_s <= self.killed_s.get(probe, 1e9):
                self._speak(probe, now_ms)
        return now_ms

    def run(self, until_s: int) -> Iterator[int]:
        """Yield every second up to one."""
        while self.step_s < until_s:
            yield self.advance()

    def visible(self, now_ms: int, *, from_ms: int = 0, received_from_ms: int = 0) -> list[Row]:
        """Return the newest revisions that the store holds, of slots and receipts since two instants."""
        found: list[Row] = []
        for (_, start_ms), batches in self.batches.items():
            if start_ms < from_ms or batches[-1][0] < received_from_ms:
                continue
            held = [each for each in batches if each[0] <= now_ms]
            if len(held) > 0 and held[-1][0] >= received_from_ms:
                found += held[-1][1]
        return found

    def _speak(self, probe: str, now_ms: int) -> None:
        if self.step_s % 10 == 3:
            self._hear(probe, now_ms)
        for start_ms in range(now_ms - now_ms % SLOT_MS - SLOT_MS, now_ms, SLOT_MS):
            if start_ms < self.start_ms or (probe, start_ms) in self._done:
                continue
            whole = now_ms >= self._settled_ms(probe, start_ms)
            if whole or (start_ms, now_ms) in self._turns[probe]:
                summaries = [self._summary(stream, start_ms, now_ms) for stream in self._of_probe[probe]]
                self._publish(probe, start_ms, summaries, now_ms, whole=whole)

    def _settled_ms(self, probe: str, start_ms: int) -> int:
        lost = np.flatnonzero(self._any_lost[probe][self._span(start_ms)])
        last_lost_ms = start_ms + int(lost[-1]) * INTERVAL_MS + TIMEOUT_MS if len(lost) > 0 else 0
        return max(start_ms + SLOT_MS + RTT_MS, last_lost_ms)

    def _publish(self, probe: str, start_ms: int, summaries: list[StreamSummary], now_ms: int, *, whole: bool) -> None:
        revision = self._revision[probe, start_ms] = self._revision.get((probe, start_ms), 0) + 1
        if whole:
            self._done.add((probe, start_ms))
        received_ms = self._hear(probe, now_ms)
        marks = self.marks(probe, start_ms)
        rows = [self._row(each, probe, start_ms, revision, received_ms, whole=whole) | marks for each in summaries]
        self.batches.setdefault((probe, start_ms), []).append((received_ms, rows))

    def _hear(self, probe: str, now_ms: int) -> int:
        at_ms = now_ms + DELAY_MS
        if self.start_ms + self.deaf_s[0] * 1000 <= at_ms < self.start_ms + self.deaf_s[1] * 1000:
            at_ms = int(self.start_ms + self.deaf_s[1] * 1000)
        self.heard_ms[probe] = at_ms
        self.pulse.add(at_ms // 1000)
        return at_ms

    def _span(self, start_ms: int) -> slice:
        first = (start_ms - self.start_ms) // INTERVAL_MS
        return slice(first, first + SLOT_MS // INTERVAL_MS)

    def _turns_of(self, streams: list[Stream]) -> set[tuple[int, int]]:
        """Return (slot, second) of every moment in which a stream is seen to fall silent or to return."""
        turns = set()
        for stream in streams:
            lost = self._lost[stream.id].astype(np.int64)
            run = np.convolve(lost, np.ones(SILENT, dtype=np.int64))[: len(lost)]
            silent = np.flatnonzero((run == SILENT) & (np.roll(run, 1) < SILENT))
            back = np.flatnonzero((lost == 0) & (np.roll(run, 1) == SILENT))
            for at, after_ms in [(at, TIMEOUT_MS) for at in silent] + [(at, RTT_MS) for at in back]:
                due_ms = int(self._due_ms[at])
                turns.add((due_ms - due_ms % SLOT_MS, -(-(due_ms + after_ms) // 1000) * 1000))
        return turns

    def _summary(self, stream: Stream, start_ms: int, now_ms: int) -> StreamSummary:
        span = self._span(start_ms)
        begin = max(0, span.start - 300)
        lost, due = self._lost[stream.id][begin : span.stop], self._due_ms[begin : span.stop]
        settled = due + np.where(lost, TIMEOUT_MS, RTT_MS) <= now_ms
        fate = np.where(settled, np.where(lost, Fate.LOST, Fate.ANSWERED), Fate.PENDING).astype(np.uint8)
        return msgspec.structs.replace(_summarised(fate.tobytes(), span.start - begin), stream_id=stream.id)

    def _row(
        self, each: StreamSummary, probe: str, start_ms: int, revision: int, received_ms: int, *, whole: bool
    ) -> Row:
        return {
            "stream_id": each.stream_id,
            "probe_id": probe,
            "spool": self.spool,
            "start_ms": start_ms,
            "revision": min(revision, 15),
            "mesh_version": self.mesh.version,
            "complete": int(whole),
            "clock_synchronised": 0,
            "clock_error_us": 0,
            "probe_sick": 0,
            "planned": each.planned,
            "sent": each.sent,
            "received": each.received,
            "send_failed": each.send_failed,
            "loss_runs": each.loss_runs,
            "loss_run_max": each.loss_run_max,
            "loaded": 0,
            "delay_n": each.rtt.n,
            "pairs": each.rtt.ipdv_pairs,
            "received_ms": received_ms,
        }


@lru_cache(maxsize=4096)
def _summarised(fates: bytes, first: int) -> StreamSummary:
    packets = np.zeros(len(fates), dtype=PACKET)
    packets["index"] = np.arange(len(fates))
    packets["fate"] = np.frombuffer(fates, dtype=np.uint8)
    packets["rtt_ns"] = RTT_MS * 1_000_000
    packets["counter"] = -1
    planned = SLOT_MS // INTERVAL_MS
    return summarise_stream(packets, first, len(fates), stream_id=0, planned=planned, two_way=True)


def new_spool(number: int) -> str:
    """Return a spool id that sorts by its number."""
    return str(uuid.UUID(int=number << 80 | 0x7 << 76 | 0b10 << 62))
