"""Where a group stands in its topics: what it has not read yet, and what it can never read (pure).

A client left to itself jumps over a hole without a word; here it is named, and whoever reads stops.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from schemas.errors import UnavailableError

STALLED_NS: Final = 60_000_000_000
_NAMED: Final = 3  # partitions in an error


class HoleError(UnavailableError):
    """Messages are gone that the group has not read; only a person can say that it may go on."""


class Standing(NamedTuple):
    """One partition of one group; offsets."""

    committed: int | None  # the next to read; None before the first commit
    first: int  # the oldest that the broker still has
    end: int  # one behind the newest

    @property
    def lag(self) -> int:
        """Return how many messages wait to be read."""
        return self.end - min(self.end, max(self.first, self.first if self.committed is None else self.committed))


def holes(standings: Mapping[str, Standing]) -> dict[str, str]:
    """Return what is wrong with each "topic partition" that cannot be read on from where the group stands."""
    return {name: text for name, each in standings.items() if (text := _hole(each)) != ""}


def forgotten_topics(standings: Mapping[str, Standing]) -> list[str]:
    """Return the topics of which a group has no position while it has one in others.

    A broker forgets the positions in a topic with the topic: such a one was made anew, or is new to this version. It is
    read from its beginning; what the former one held unread, `isochrone reconcile` names.
    """
    known = {name.rsplit(" ", 1)[0] for name, each in standings.items() if each.committed is not None}
    return sorted({name.rsplit(" ", 1)[0] for name in standings} - known) if known else []


def _hole(standing: Standing) -> str:
    committed, first, end = standing
    if committed is None or first <= committed <= end:
        return ""
    if committed < first:
        return f"{first - committed} messages deleted before they were read ({committed} to {first - 1})"
    return f"read up to {committed} and it ends at {end}: its log was cut or it is another topic"


def hole_error(group: str, found: Mapping[str, str]) -> HoleError:
    """Return the error that names partitions and remedy."""
    named = "; ".join(f"{name}: {text}" for name, text in sorted(found.items())[:_NAMED])
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return HoleError(
        f"{group} cannot go on where it stands: {named}{more}; `isochrone reconcile` names what is missing by probe and"
        ' seq, `isochrone spool resend` at the probe sends it again, on_hole = "continue" goes on behind the hole'
    )


class Stall:
    """Notices a group that has messages to read, may store them, and does not move."""

    def __init__(self) -> None:
        self._committed = -1
        self._moved_ns = 0

    def is_stalled(self, standings: Mapping[str, Standing], *, may_move: bool, now_ns: int) -> bool:
        """Take note of where it stands.

        Args:
            standings: of the partitions this worker owns.
            may_move: the store takes what comes.
            now_ns: monotonic.
        """
        committed = sum(each.committed or 0 for each in standings.values())
        is_behind = any(each.lag > 0 for each in standings.values())
        if committed != self._committed or not is_behind or not may_move:
            self._committed, self._moved_ns = committed, now_ns
        return now_ns - self._moved_ns >= STALLED_NS
