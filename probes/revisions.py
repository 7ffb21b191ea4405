"""When a slot is said, and said again. Pure: it is told the time and what the engine knows.

A slot is said once it is complete, which in health is right after its end, and at the latest a timeout after it. It is
said early when a stream goes silent or returns, and again when a later reply tells the direction of a loss.
"""

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from probes.summarise import StreamSummary
from schemas.records import MAX_REVISION

SILENCE_MS: Final = 1_000  # of consecutive losses
SILENCE_PACKETS: Final = 5  # and at least that many
APART_NS: Final = 1_000_000_000  # revisions of one slot beside its complete one
MAX_EXTRA: Final = 8  # of them a slot
GATHER_NS: Final = 200_000_000  # one fault silences many streams within an interval or two: one revision tells all

_NEVER: Final = 1 << 62  # an index that no packet has: this row was looked at

Ints = NDArray[np.int64]


class SilenceWatch:
    """Which streams are silent, from what is settled; a stream that never answered is silent too."""

    def __init__(self, intervals_ms: list[int]) -> None:
        self._losses = np.maximum(-(-SILENCE_MS // np.array(intervals_ms, np.int64)), SILENCE_PACKETS)
        self._silent = np.zeros(len(intervals_ms), np.bool_)
        self._answered = np.full(len(intervals_ms), -1, np.int64)  # last answer when the silence began
        self._back = np.full(len(intervals_ms), -1, np.int64)  # first answer known after it, -1 while there is none

    def changed(self, answered: Ints, settled: Ints) -> bool:
        """Return whether a stream has gone silent, or has returned, since the last call.

        A return counts once the summary can show it: when everything before its first answer is settled.
        """
        gone = ~self._silent & (settled - answered >= self._losses)
        self._silent |= gone
        self._answered[gone] = answered[gone]
        self._back[gone] = -1
        heard = self._silent & (self._back < 0) & (answered > self._answered)
        self._back[heard] = answered[heard]
        back = self._silent & (self._back >= 0) & (settled >= self._back)
        self._silent &= ~back
        return bool(np.any(gone) or np.any(back))


class Slot(msgspec.Struct, kw_only=True):
    """What has been said of one slot."""

    start_ms: int
    end_ms: int
    revision: int = 0  # the last one said, 0 before the first
    extra: int = 0  # early and late ones among them
    said_ns: int | None = None  # monotonic
    asked_ns: int | None = None  # monotonic; an early revision is wanted since
    complete: bool = False
    last_index: Ints | None = None  # a row each, the last packet due before the end; known once it is over
    summaries: list[StreamSummary] = []  # as last said
    runs_before: list[int] | None = None  # a row each, the losses right before the slot; None: count them anew
    answered: Ints | None = None  # a row each, the last answer when the slot was first said to be complete
    heard: Ints | None = None  # a row each, the first newer answer that was noticed, -1 before it
    swept: bool = False  # looked at once more for replies that came after the timeout


def ask_early(slot: Slot, mono_ns: int) -> None:
    """Want an early revision of a slot that is not complete."""
    if not slot.complete and slot.asked_ns is None:
        slot.asked_ns = mono_ns


def is_settled(slot: Slot, settled: Ints) -> bool:
    """Return whether the slot is over and every packet of it, and before it, has its fate."""
    return slot.last_index is not None and bool(np.all(settled >= slot.last_index))


def early_is_due(slot: Slot, mono_ns: int) -> bool:
    """Return whether the early revision that was asked for may go out now."""
    if slot.complete or slot.asked_ns is None:
        return False
    return mono_ns - slot.asked_ns >= GATHER_NS and has_room(slot, mono_ns)


def has_room(slot: Slot, mono_ns: int) -> bool:
    """Return whether one more revision beside the complete one is allowed now.

    One number is kept for the complete revision, whatever happens before it.
    """
    left = MAX_REVISION - slot.revision - (0 if slot.complete else 1)
    rested = slot.said_ns is None or mono_ns - slot.said_ns >= APART_NS
    return left > 0 and slot.extra < MAX_EXTRA and rested


def said(slot: Slot, summaries: list[StreamSummary], *, complete: bool, mono_ns: int, answered: Ints) -> None:
    """Enter a revision that goes out: the next number, and what it said."""
    slot.extra += 1 if slot.complete or not complete else 0
    if complete and not slot.complete:
        slot.complete = True
        slot.answered, slot.heard = answered.copy(), np.full(answered.size, -1, np.int64)
    slot.revision += 1
    slot.said_ns, slot.asked_ns = mono_ns, None
    slot.summaries = summaries


def resolved_rows(slot: Slot, answered: Ints, settled: Ints, two_way: NDArray[np.bool_]) -> list[int]:
    """Return the rows of a complete slot whose losses may have got a direction since: each row once.

    That needs a newer answer, with everything before it settled.
    """
    if slot.answered is None or slot.heard is None:
        return []
    newer = (slot.heard < 0) & (answered > slot.answered)
    slot.heard[newer] = answered[newer]
    ready = (slot.heard >= 0) & (settled >= slot.heard) & _unresolved(slot) & ~two_way
    slot.heard[ready] = _NEVER
    rows: list[int] = np.flatnonzero(ready).tolist()
    return rows


def waits(slot: Slot, two_way: NDArray[np.bool_]) -> bool:
    """Return whether a complete slot still waits for a direction that may come."""
    if slot.heard is None:
        return False
    return bool(np.any((slot.heard < _NEVER) & _unresolved(slot) & ~two_way))


def _unresolved(slot: Slot) -> NDArray[np.bool_]:
    return np.array([summary.resolvable for summary in slot.summaries], np.int64) > 0


def lossy_rows(slot: Slot) -> list[int]:
    """Return the rows that lost something: a reply may yet come late."""
    return [row for row, summary in enumerate(slot.summaries) if summary.sent > summary.received + summary.late]
