"""A share for each probe: what one brings far beyond its plan goes to quarantine, so that the others stay fresh (pure).

Counted by ten seconds of the broker's clock, in which a message keeps its place however late the group comes by: an
hour of backlog read in a minute is an hour's. The counts are in memory; after a restart they begin anew, which lets
through more and never less, and a message that was stored once stays stored.
"""

from typing import Final

MESSAGE_STREAMS: Final = 20  # a message costs as much as so many of its streams
LEAST_STREAMS: Final = 300  # a smaller probe has the share of one so large: its backlog comes as fast as any other's
WINDOW_MS: Final = 10_000  # as long as a slot
MOST_WINDOWS: Final = 10_000  # that are remembered, a few hundred bytes each


class Shares:
    """What each probe has brought, window by window."""

    def __init__(self, times_plan: float, most_windows: int = MOST_WINDOWS) -> None:
        """Keep how many times what its plan makes in a slot a probe may bring, and how many windows to remember.

        Early revisions make it 3 times; a backlog, and what is sent again, come at a bounded rate beside it.
        """
        self._times_plan = times_plan
        self._most_windows = most_windows
        self._taken: dict[tuple[str, int], int] = {}

    def takes(self, probe_id: str, *, streams: int, planned: int, received_ms: int) -> bool:
        """Return whether a message is within its probe's share; one that is not counts for nothing.

        Args:
            probe_id: whose signature it has.
            streams: that the message speaks of.
            planned: streams of the probe.
            received_ms: broker time, UTC milliseconds.
        """
        window = probe_id, received_ms // WINDOW_MS
        taken = self._taken.get(window, 0) + streams + MESSAGE_STREAMS
        if taken > self._times_plan * (max(planned, LEAST_STREAMS) + MESSAGE_STREAMS):
            return False
        if window not in self._taken and len(self._taken) >= self._most_windows:
            del self._taken[next(iter(self._taken))]
        self._taken[window] = taken
        return True
