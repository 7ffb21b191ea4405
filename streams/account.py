"""The account of conservation: every seq of a spool has one fate, and a missing one has a name (pure)."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal

import msgspec

from schemas.topics import SUMMARY

Range = tuple[int, int]  # first and last seq, both in it
Fate = Literal["dropped", "pending", "missing"]
Name = tuple[str, str, str]  # probe, spool, topic
NEVER_ACKNOWLEDGED: Final = -1


class SpoolFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What ledger and heartbeats know of one (probe, spool, topic)."""

    probe_id: str
    spool_id: str
    topic: str
    last_seq: int  # the largest that any of them knows
    judged_acked: int  # up to it the broker had it, and the worker has had the time to answer
    stored: int  # seqs
    quarantined: int
    stored_streams: int
    quarantined_streams: int
    present: Sequence[Range]  # in the ledger; in order, apart
    dropped: Sequence[Range] = ()  # as declared; may overlap


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Messages by fate; `produced` is the sum of the rest."""

    produced: int = 0
    stored: int = 0
    quarantined: int = 0
    dropped: int = 0
    pending: int = 0
    missing: int = 0


class Hole(msgspec.Struct, frozen=True, kw_only=True):
    """A range of seq that the ledger does not have, and why."""

    probe_id: str
    spool_id: str
    topic: str
    first: int
    last: int
    fate: Fate


class Reconciliation(msgspec.Struct, frozen=True, kw_only=True):
    """The account of [since_ms, until_ms); the residual is what has no fate."""

    since_ms: int
    until_ms: int
    batches: Totals  # messages on the topic of summaries
    others: Totals  # heartbeats and throughput results
    summaries_stored: int  # streams of batches
    summaries_quarantined: int
    spools: int
    residual: int
    holes: tuple[Hole, ...]


def account(facts: Sequence[SpoolFacts], *, since_ms: int, until_ms: int) -> Reconciliation:
    """Return the account of some spools.

    Args:
        facts: one entry a (probe, spool, topic).
        since_ms: UTC milliseconds, for the record only.
        until_ms: same.
    """
    holes = [hole for each in facts for hole in holes_of(each)]
    summaries = [each for each in facts if each.topic == SUMMARY.name]
    others = [each for each in facts if each.topic != SUMMARY.name]
    batches, rest = _totals(summaries, holes), _totals(others, holes)
    return Reconciliation(
        since_ms=since_ms,
        until_ms=until_ms,
        batches=batches,
        others=rest,
        summaries_stored=sum(each.stored_streams for each in summaries),
        summaries_quarantined=sum(each.quarantined_streams for each in summaries),
        spools=len({(each.probe_id, each.spool_id) for each in facts}),
        residual=batches.missing + rest.missing,
        holes=tuple(holes),
    )


def holes_of(facts: SpoolFacts) -> list[Hole]:
    """Return the ranges that the ledger does not have, in order, each with its fate: dropped > pending > missing."""
    absent = without([(0, facts.last_seq)] if facts.last_seq >= 0 else [], facts.present)
    undeclared = without(absent, facts.dropped)
    found: list[tuple[Range, Fate]] = [(each, "dropped") for each in without(absent, undeclared)]
    judged = [(0, facts.judged_acked)] if facts.judged_acked > NEVER_ACKNOWLEDGED else []
    pending = without(undeclared, judged)
    found += [(each, "pending") for each in pending]
    found += [(each, "missing") for each in without(undeclared, pending)]
    return [
        Hole(probe_id=facts.probe_id, spool_id=facts.spool_id, topic=facts.topic, first=first, last=last, fate=fate)
        for (first, last), fate in sorted(found)
    ]


def ranges_of(pieces: Iterable[tuple[int, int, Sequence[int]]]) -> list[Range]:
    """Return the unbroken ranges of pieces, each (first, last, what is absent in between); in order, apart."""
    found: list[Range] = []
    for first, last, absent in pieces:
        for start, end in _pieces(first, last, absent):
            if found and found[-1][1] + 1 == start:
                found[-1] = found[-1][0], end
            else:
                found.append((start, end))
    return found


def _pieces(first: int, last: int, absent: Sequence[int]) -> Iterator[Range]:
    for gap in sorted(absent):
        if first < gap:
            yield first, gap - 1
        first = gap + 1
    yield first, last


def without(ranges: Sequence[Range], taken: Iterable[Range]) -> list[Range]:
    """Return what is left of ranges when others are taken out of them."""
    left = list(ranges)
    for first, last in taken:
        left = [part for each in left for part in _cut(each, first, last)]
    return left


def _cut(whole: Range, first: int, last: int) -> list[Range]:
    if last < whole[0] or whole[1] < first:
        return [whole]
    parts = [(whole[0], first - 1), (last + 1, whole[1])]
    return [part for part in parts if part[0] <= part[1]]


def _totals(facts: Sequence[SpoolFacts], holes: Sequence[Hole]) -> Totals:
    names = {(each.probe_id, each.spool_id, each.topic) for each in facts}
    counts = dict.fromkeys(("dropped", "pending", "missing"), 0)
    for hole in holes:
        if (hole.probe_id, hole.spool_id, hole.topic) in names:
            counts[hole.fate] += hole.last - hole.first + 1
    return Totals(
        produced=sum(each.last_seq + 1 for each in facts),
        stored=sum(each.stored for each in facts),
        quarantined=sum(each.quarantined for each in facts),
        **counts,
    )
