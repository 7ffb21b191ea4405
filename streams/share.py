"""A share for each probe: what one brings far beyond its plan goes to quarantine, so that the others stay fresh (pure).

Counted by the minute of the broker, in which a message keeps its place however late the group comes by: an hour of
backlog read in a minute is an hour's. The counts are in memory; after a restart they begin anew, which lets through
more and never less, and a message that was stored once stays stored.
"""

from typing import Final

MESSAGE_STREAMS: Final = 20  # a message costs as much as so many of its streams
MINUTE_MS: Final = 60_000
SLOTS_A_MINUTE: Final = 6
MOST_MINUTES: Final = 10_000  # of probes that are remembered, a few hundred bytes each


class Shares:
    """What each probe has brought, minute by minute."""

    def __init__(self, times_plan: float, most_minutes: int = MOST_MINUTES) -> None:
        """Keep how many times what its plan makes in a minute a probe may bring, and how many minutes to remember.

        Early revisions make it 3 times; a backlog, and what is sent again, come at a bounded rate beside it.
        """
        self._times_plan = times_plan
        self._most_minutes = most_minutes
        self._taken: dict[tuple[str, int], int] = {}

    def takes(self, probe_id: str, *, streams: int, planned: int, received_ms: int) -> bool:
        """Return whether a message is within its probe's share; one that is not counts for nothing.

        Args:
            probe_id: whose signature it has.
            streams: that the message speaks of.
            planned: streams of the probe.
            received_ms: broker time, UTC milliseconds.
        """
        minute = probe_id, received_ms // MINUTE_MS
        taken = self._taken.get(minute, 0) + streams + MESSAGE_STREAMS
        if taken > self._times_plan * SLOTS_A_MINUTE * (planned + MESSAGE_STREAMS):
            return False
        if minute not in self._taken and len(self._taken) >= self._most_minutes:
            del self._taken[next(iter(self._taken))]
        self._taken[minute] = taken
        return True
