"""Which way a lost packet went missing, told by the reflector's own counter: forward, backward or not known.

A stateful reflector numbers its replies. Between two answered packets the counter has moved by one for every request
that reached it; what it counted and we never saw was lost on the way back, the rest on the way out.
"""

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from probes.packets import Fate, Packets

_SESSION: Final = 1 << 40  # lifts the counters of a later reflector session above those of an earlier one
_REACH: Final = 16  # packets; a lost packet that was overtaken by no more than that is looked for in other gaps

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class _Gaps(msgspec.Struct, frozen=True):
    """The gaps between neighbouring anchors: gap g lies between positions at[g] and at[g + 1]."""

    at: Ints
    missing: Ints  # packets lost in the gap
    unseen: Ints  # replies that the reflector counted in the gap and that never arrived; more or less than missing
    closed: Bools  # nothing in it is pending, and both ends lie in one session of the reflector


def lost_directions(packets: Packets, first: int, end: int) -> tuple[int, int]:
    """Return how many of the lost packets in packets[first:end] were lost (forward, backward) for certain.

    What is lost and in neither has no answered packet on both sides yet, or lies in a gap of both directions that
    reaches out of [first, end): only its total is known.
    """
    fate = packets["fate"]
    lost = (fate == Fate.LOST) | (fate == Fate.UNREACHABLE)
    at_lost = first + np.flatnonzero(lost[first:end])
    at, lifted = _anchors(packets)
    if at_lost.size == 0 or at.size < 2:
        return 0, 0
    gaps = _gaps(packets, lost, at, lifted)
    until = _groups(gaps)
    here = np.bincount(np.searchsorted(at, at_lost), minlength=at.size + 1)[1:-1]  # lost in the slot, gap by gap
    forward = backward = gap = 0
    while gap < gaps.missing.size:
        group = slice(gap, until[gap])
        if gaps.closed[group].all():
            way = _split(int(gaps.missing[group].sum()), int(gaps.unseen[group].sum()), int(here[group].sum()))
            forward, backward = forward + way[0], backward + way[1]
        gap = until[gap]
    return forward, backward


def _split(missing: int, unseen: int, here: int) -> tuple[int, int]:
    """Return (forward, backward) of the `here` packets of a gap that lie in the slot."""
    backward = min(max(unseen, 0), missing)
    if backward == missing:
        return 0, here
    if backward == 0:
        return here, 0
    return (missing - backward, backward) if here == missing else (0, 0)


def _anchors(packets: Packets) -> tuple[Ints, Ints]:
    """Return (positions, lifted counters) of the answered packets that no reordering crosses.

    An anchor's counter is above all earlier and below all later ones, so the counters between two anchors belong to
    the packets between them.
    """
    known = np.flatnonzero((packets["fate"] == Fate.ANSWERED) & (packets["counter"] >= 0))
    if known.size == 0:
        return known, known
    counter = packets["counter"][known]
    lifted = counter + _sessions(counter) * _SESSION
    anchor = np.ones(known.size, np.bool_)
    anchor[1:] &= lifted[1:] > np.maximum.accumulate(lifted)[:-1]
    anchor[:-1] &= lifted[:-1] < np.minimum.accumulate(lifted[::-1])[::-1][1:]
    return known[anchor], lifted[anchor]


def _sessions(counter: Ints) -> Ints:
    """Return the reflector session of each counter: it restarted where all later ones are below all earlier ones."""
    restart = np.zeros(counter.size, np.int64)
    earlier_min = np.minimum.accumulate(counter)[:-1]
    later_max = np.maximum.accumulate(counter[::-1])[::-1][1:]
    restart[1:] = earlier_min > later_max
    return np.cumsum(restart)


def _gaps(packets: Packets, lost: Bools, at: Ints, lifted: Ints) -> _Gaps:
    fate, counter = packets["fate"], packets["counter"]
    answered, late = fate == Fate.ANSWERED, fate == Fate.LATE
    copies = packets["duplicate_counters"].astype(np.int64) * (answered | late)
    seen = _between(at, answered, 1) + _between(at, copies * answered, 0)
    told = np.flatnonzero(late & (counter >= 0))  # by value: a late reply may have been counted far from its index
    session = lifted[np.maximum(np.searchsorted(at, told) - 1, 0)] // _SESSION
    place = np.searchsorted(lifted, counter[told] + session * _SESSION)
    seen += np.bincount(place, weights=1 + copies[told], minlength=at.size + 1)[1:-1].astype(np.int64)
    open_ = _between(at, (fate == Fate.PENDING) | (late & (counter < 0)), 1) > 0
    return _Gaps(
        at=at,
        missing=_between(at, lost, 1),
        unseen=np.diff(lifted) - 1 - seen,
        closed=~open_ & (np.diff(lifted // _SESSION) == 0),
    )


def _between(at: Ints, amount: NDArray[np.int64] | Bools, skip: int) -> Ints:
    """Return the sum of `amount` in each gap, with its left anchor (skip 0) or without it (skip 1)."""
    running = np.concatenate(([0], np.cumsum(amount, dtype=np.int64)))
    return np.asarray(running[at[1:]] - running[at[:-1] + skip], np.int64)


def _groups(gaps: _Gaps) -> list[int]:
    """Return, for each gap, where the group that it opens ends: gaps that only together account for their counters.

    A packet that was overtaken and then lost on the way back was counted in another gap than its own: that gap shows
    more unseen replies than losses, a near one fewer. Together they are right again.
    """
    until = list(range(1, gaps.missing.size + 1))
    spare = np.where(gaps.closed, gaps.missing - gaps.unseen, 0)
    short = np.flatnonzero((spare > 0) & (gaps.missing > 0))
    for gap in np.flatnonzero(spare < 0).tolist():
        while spare[gap] < 0:
            near = short[(spare[short] > 0) & (_distance(gaps.at, short, gap) <= _REACH)]
            if near.size == 0:
                break
            other = int(near[np.argmin(_distance(gaps.at, near, gap))])
            moved = min(int(spare[other]), -int(spare[gap]))
            spare[gap] += moved
            spare[other] -= moved
            _join(until, min(gap, other), max(gap, other))
    return until


def _distance(at: Ints, gaps: Ints, gap: int) -> Ints:
    """Return the packets between the nearer ends of `gap` and each of `gaps`."""
    return np.asarray(np.where(gaps > gap, at[gaps] - at[gap + 1], at[gap] - at[gaps + 1]), np.int64)


def _join(until: list[int], left: int, right: int) -> None:
    """Make one group of all gaps from `left` to `right`, with the groups that they are in."""
    opener = next(gap for gap in range(left + 1) if until[gap] > left)
    end = max(until[opener : right + 1])
    until[opener:end] = [end] * (end - opener)
