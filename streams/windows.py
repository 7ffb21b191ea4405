"""Windows out of the store: read the slots of what was touched, fold them, and survive a fault in one of them."""

import uuid
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from schemas.clock import floor_ms
from streams.columns import Columns, Readable, joined, take
from streams.fold import MINUTE_S, fold
from streams.store import Store

Window = tuple[str, int]  # probe, minute in UTC seconds
Identity = tuple[str, str, int]  # of a message: probe, spool, seq

_NOBODY: Final = ("", str(uuid.UUID(int=0)), 0)  # an empty list has no type to the store


def window_of(probe_id: str, slot_start_ms: int) -> Window:
    """Return the window of a probe that owns a slot."""
    return probe_id, floor_ms(slot_start_ms, MINUTE_S * 1000) // 1000


def read_slots(store: Store, windows: Sequence[Window], besides: Iterable[Identity] = ()) -> Columns:
    """Return all slots of the windows, every revision of them.

    Args:
        store: from where.
        windows: at least one.
        besides: messages whose slots are at hand already; theirs are left out.

    Raises:
        StoreTransientError: the store is away.
        StorePermanentError: it refuses the query.
    """
    probes, minutes = [probe_id for probe_id, _ in windows], [minute for _, minute in windows]
    known = sorted(besides) or [_NOBODY]
    return store.columns(
        "fold_slots",
        from_s=min(minutes),
        until_s=max(minutes) + MINUTE_S,
        pair_probes=probes,
        pair_minutes=minutes,
        known_probes=[probe_id for probe_id, _, _ in known],
        known_spools=[spool_id for _, spool_id, _ in known],
        known_seqs=[seq for _, _, seq in known],
    )


def fold_guarded(slots: Readable, *, written_ms: int) -> tuple[Columns, dict[Window, str]]:
    """Return the rows of the windows that fold, and the error of each that does not."""
    try:
        return fold(slots, written_ms=written_ms), {}
    except Exception:  # noqa: BLE001 - one window's fault is not another's: each is tried alone
        return _fold_each(slots, written_ms)


def _fold_each(slots: Readable, written_ms: int) -> tuple[Columns, dict[Window, str]]:
    names, instants = slots["probe_id"].tolist(), np.asarray(slots["slot"]).tolist()
    of_row = [window_of(str(name), slot * 1000) for name, slot in zip(names, instants, strict=True)]
    blocks: list[Columns] = []
    broken: dict[Window, str] = {}
    for window in sorted(set(of_row)):
        own = np.flatnonzero([each == window for each in of_row])
        try:
            blocks.append(fold(take(slots, own), written_ms=written_ms))
        except Exception as err:  # noqa: BLE001 - it becomes a quarantine, whatever it is
            broken[window] = f"{type(err).__name__}: {err}"
    return joined(blocks), broken
