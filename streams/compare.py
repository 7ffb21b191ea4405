"""Windows against their slots, slots against the ledger: what differs, how, and which message mends each.

A message that is sent through its topic again makes its owner store its slots and fold its windows anew: there is no
second way into the tables.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

import msgspec

from schemas.topics import SUMMARY
from streams.fold import FOLD_RULE, MINUTE_S
from streams.reconcile import SETTLE_MS
from streams.store import Store

SPAN_S: Final = 3600  # compared at a time: it bounds what the engine holds

Kind = Literal["absent", "behind", "ahead", "altered"]


class Position(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """Where a stored message stands in the topic of summaries, and who sent it."""

    partition: int
    offset: int
    probe_id: str
    spool_id: str
    seq: int


class WindowDifference(msgspec.Struct, frozen=True, kw_only=True):
    """Windows of one (probe, minute) that are not what their slots amount to.

    absent: there is no window. behind: it knows less than its slots. ahead: it knows more than there is, which no fold
    can mend: its slots are lost. altered: it claims to know the same and has other figures.
    """

    probe_id: str
    minute_s: int
    kind: Kind
    streams: int
    some_streams: list[int]  # at most 20


class SlotDifference(msgspec.Struct, frozen=True, kw_only=True):
    """A slot of which the base has fewer streams than the ledger says were stored."""

    slot_s: int
    wanted: int
    found: int
    position: Position


def differing_windows(
    store: Store, *, since_ms: int, until_ms: int, settle_ms: int = SETTLE_MS
) -> list[WindowDifference]:
    """Return the windows of [since_ms, until_ms) that differ from their slots, whole minutes.

    Args:
        store: any login that reads.
        since_ms: UTC milliseconds.
        until_ms: same.
        settle_ms: a window with a slot that came in later than this before `until_ms` is left alone.

    Raises:
        StoreTransientError: the store is away.
        StorePermanentError: it refuses the query.
    """
    named = {"rule": FOLD_RULE, "settled_ms": until_ms - settle_ms}
    return [
        WindowDifference(
            probe_id=str(row["probe_id"]),
            minute_s=int(row["minute_s"]),
            kind=row["kind"],
            streams=int(row["streams"]),
            some_streams=[int(each) for each in row["some_streams"]],
        )
        for from_s, until_s in _spans(since_ms, until_ms)
        for row in store.rows("reconcile_windows", from_s=from_s, until_s=until_s, **named)
    ]


def missing_slots(store: Store, *, since_ms: int, until_ms: int) -> list[SlotDifference]:
    """Return the slots of [since_ms, until_ms) whose rows the store took and has no more.

    Raises:
        StoreTransientError: the store is away.
        StorePermanentError: it refuses the query.
    """
    return [
        SlotDifference(
            slot_s=int(row["slot_s"]), wanted=int(row["wanted"]), found=int(row["found"]), position=_position(row)
        )
        for from_s, until_s in _spans(since_ms, until_ms)
        for row in store.rows("reconcile_slots", topic=SUMMARY.name, from_s=from_s, until_s=until_s)
    ]


def positions_of(store: Store, windows: Sequence[WindowDifference]) -> list[Position]:
    """Return a message for each (probe, minute), the one that was stored last; none for those the ledger knows not.

    Raises:
        StoreTransientError: the store is away.
        StorePermanentError: it refuses the query.
    """
    if len(windows) == 0:
        return []
    probes, minutes = [each.probe_id for each in windows], [each.minute_s for each in windows]
    rows = store.rows(
        "reconcile_positions",
        topic=SUMMARY.name,
        probes=sorted(set(probes)),
        from_s=min(minutes),
        until_s=max(minutes) + MINUTE_S,
        pair_probes=probes,
        pair_minutes=minutes,
    )
    return sorted({_position(row) for row in rows})


def _spans(since_ms: int, until_ms: int) -> Iterator[tuple[int, int]]:
    first, last = since_ms // 1000 // MINUTE_S * MINUTE_S, -(-until_ms // 1000 // MINUTE_S) * MINUTE_S
    for from_s in range(first, last, SPAN_S):
        yield from_s, min(from_s + SPAN_S, last)


def _position(row: dict[str, Any]) -> Position:
    return Position(
        partition=int(row["at_partition"]),
        offset=int(row["at_offset"]),
        probe_id=str(row["probe_id"]),
        spool_id=str(row["spool"]),
        seq=int(row["at_seq"]),
    )
