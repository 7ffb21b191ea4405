"""The slots of one run: which are open, what is said of them, summed up stream by stream between the ticks."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from probes.packets import Packets
from probes.revisions import (
    SilenceWatch,
    Slot,
    ask_early,
    early_is_due,
    has_room,
    is_settled,
    lossy_rows,
    resolved_rows,
    said,
    waits,
)
from probes.summarise import StreamSummary, summarise_stream
from schemas.clock import Clock, floor_ms, wall_ms
from schemas.mesh_slice import SliceStream

KEEP_MS: Final = 30_000  # after its end: as long as the engine's rings hold it
GRACE_MS: Final = 1_000  # beyond the timeout; then the slot is said as it stands
_NEAR: Final = 64  # packets around the slot that mostly tell everything
_FAR: Final = 2_048  # and around a long cut
_MS: Final = 1_000_000


class Measurement(Protocol):
    """What is asked of an engine."""

    @property
    def last_answered_index(self) -> NDArray[np.int64]:
        """Return the highest index answered in time, a row each."""

    @property
    def last_settled_index(self) -> NDArray[np.int64]:
        """Return the index up to which no packet is pending, a row each."""

    @property
    def next_index(self) -> NDArray[np.int64]:
        """Return the index of the next packet, a row each."""

    def stretch(
        self, row: int, first_due_ns: int, end_due_ns: int, before: int = 64, after: int = 64
    ) -> tuple[Packets, int, int]:
        """Return a part of a stream's packets; LookupError when they are gone."""


class Said(msgspec.Struct, frozen=True):
    """A revision that goes out."""

    slot: Slot
    revision: int
    complete: bool
    summaries: list[StreamSummary]


class SlotKeeper:
    """Opens, sums up and forgets slots. `step` does a little work; what it finishes goes to `emit`."""

    def __init__(
        self,
        engine: Measurement,
        streams: Sequence[SliceStream],
        *,
        slot_ms: int,
        clock: Clock,
        emit: Callable[[Said], None],
        loaded: Callable[[SliceStream, int, int], bool],
    ) -> None:
        self._engine = engine
        self._streams = streams
        self._slot_ms = slot_ms
        self._clock = clock
        self._emit = emit
        self._loaded = loaded
        self._timeout_ms = max((stream.timeout_ms for stream in streams), default=0)
        self._two_way = np.array([stream.method == "icmp" for stream in streams], np.bool_)
        self._silence = SilenceWatch([stream.interval_ms for stream in streams])
        self._slots: dict[int, Slot] = {}  # by start, in order
        self._work: Iterator[None] | None = None
        self._looked = False
        self._end_ms: int | None = None

    def end_at(self, end_ms: int) -> None:
        """Open no slot from `end_ms` on: the next run has it."""
        self._end_ms = end_ms

    def step(self) -> bool:
        """Do one small piece of work, about one stream; return whether there is more to do now."""
        if self._work is None and self._looked:
            self._work = self._next_work()
        if self._work is None:
            self._looked = False  # nothing can have become due before the next look
            return False
        try:
            next(self._work)
        except StopIteration:
            self._work = None
        return True

    def look(self) -> None:
        """Open the slot of now, note what became silent or returned, forget what is past. Every 50 ms or so."""
        self._looked = True
        now_ms = wall_ms(self._clock)
        start_ms = floor_ms(now_ms, self._slot_ms)
        is_ours = self._end_ms is None or start_ms < self._end_ms
        if is_ours and start_ms > max(self._slots, default=-1):
            self._slots[start_ms] = Slot(start_ms=start_ms, end_ms=start_ms + self._slot_ms)
        changed = self._silence.changed(self._engine.last_answered_index, self._engine.last_settled_index)
        for slot in self._slots.values():
            if changed:
                ask_early(slot, self._clock.mono_ns())
            if slot.last_index is None and now_ms >= slot.end_ms:
                slot.last_index = self._engine.next_index - 1
        self._forget(now_ms)

    def finish(self) -> None:
        """Say what is settled of every slot that is not complete: the run ends here."""
        while self._work is not None:
            self.step()
        for slot in list(self._slots.values()):
            if not slot.complete:
                for _ in self._sum_up(slot, range(len(self._streams)), may_complete=slot.last_index is not None):
                    pass

    def _next_work(self) -> Iterator[None] | None:
        for slot in self._slots.values():
            work = self._work_on(slot)
            if work is not None:
                return work
        return None

    def _work_on(self, slot: Slot) -> Iterator[None] | None:
        mono_ns, now_ms = self._clock.mono_ns(), wall_ms(self._clock)
        answered, settled = self._engine.last_answered_index, self._engine.last_settled_index
        everyone = range(len(self._streams))
        if not slot.complete:
            if is_settled(slot, settled) or now_ms >= slot.end_ms + self._timeout_ms + GRACE_MS:
                return self._sum_up(slot, everyone, may_complete=True)
            return self._sum_up(slot, everyone, may_complete=False) if early_is_due(slot, mono_ns) else None
        if not has_room(slot, mono_ns):
            return None
        rows = resolved_rows(slot, answered, settled, self._two_way)
        if not slot.swept and now_ms >= slot.end_ms + 2 * self._timeout_ms:
            slot.swept = True
            rows = sorted({*rows, *lossy_rows(slot)})
        return self._sum_up(slot, rows, may_complete=True) if rows else None

    def _sum_up(self, slot: Slot, rows: Sequence[int], *, may_complete: bool) -> Iterator[None]:
        """Sum up these rows, a row each step, and say the slot if that tells anything new."""
        answered = self._engine.last_answered_index.copy()
        summaries = list(slot.summaries) if slot.complete else []
        self._carry_runs(slot)
        for row in rows:
            summary = self._summary(slot, row)
            if slot.complete:
                summaries[row] = summary or summaries[row]
            elif summary is not None:
                summaries.append(summary)
            yield
        if len(summaries) < len(self._streams):
            self._slots.pop(slot.start_ms, None)  # the rings have lost it: this host stood still for too long
        elif not slot.complete or summaries != slot.summaries:
            complete = may_complete and all(summary.settled for summary in summaries)
            said(slot, summaries, complete=complete, mono_ns=self._clock.mono_ns(), answered=answered)
            self._emit(Said(slot, slot.revision, complete, summaries))
            slot.complete = slot.complete or may_complete

    def _summary(self, slot: Slot, row: int) -> StreamSummary | None:
        """Return the summary of a row, None when its packets are gone; looks further around a cut."""
        near = self._summary_within(slot, row, _NEAR)
        far = near is not None and near.resolvable > 0 and not self._two_way[row]
        return self._summary_within(slot, row, _FAR) if far else near

    def _summary_within(self, slot: Slot, row: int, around: int) -> StreamSummary | None:
        stream = self._streams[row]
        try:
            packets, first, end = self._engine.stretch(row, slot.start_ms * _MS, slot.end_ms * _MS, around, around)
        except LookupError:
            return None
        return summarise_stream(
            packets,
            first,
            end,
            stream_id=stream.id,
            planned=stream.planned_per_slot,
            two_way=bool(self._two_way[row]),
            loaded=self._loaded(stream, slot.start_ms, slot.end_ms),
            run_before=slot.runs_before[row] if slot.runs_before is not None else None,
        )

    def _carry_runs(self, slot: Slot) -> None:
        """Note how long the runs are that reach into the slot, while the slot before it is still known."""
        before = self._slots.get(slot.start_ms - self._slot_ms)
        if slot.runs_before is None and before is not None and before.complete and before.summaries:
            slot.runs_before = [summary.open_run for summary in before.summaries]

    def _forget(self, now_ms: int) -> None:
        """Forget complete slots that wait for nothing more, keeping the newest one for the run that goes on from it."""
        past = [slot for slot in self._slots.values() if slot.complete]
        for slot in past[:-1]:
            waiting = not slot.swept or waits(slot, self._two_way)
            if not waiting or now_ms >= slot.end_ms + KEEP_MS:
                del self._slots[slot.start_ms]
