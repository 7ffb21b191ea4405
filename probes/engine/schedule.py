"""When packets leave: a periodic stream on the grid of the wall clock, with a random phase (RFC 3432), open loop.

A departure is `k * interval + phase` for a whole k, so a slot that the interval divides plans the same number of
packets each time, and no reply, loss or timeout moves a departure. When the wall clock goes back, the stream waits for
it to come again to the next departure: due times grow with the index, always.
"""

from random import Random

import numpy as np
from numpy.typing import NDArray

from probes.engine.targets import StreamTarget


class Schedule:
    """The next departure of every stream, in nanoseconds of UTC."""

    def __init__(self, targets: list[StreamTarget], random: Random, wall_ns: int) -> None:
        self.interval_ns: NDArray[np.int64] = np.array([target.interval_ns for target in targets], np.int64)
        phase = [
            random.randrange(target.interval_ns) if target.phase_ns is None else target.phase_ns for target in targets
        ]
        self.phase_ns: NDArray[np.int64] = np.array(phase, np.int64)
        self.due_ns = _next_on_grid(np.int64(wall_ns), self.interval_ns, self.phase_ns)

    def due_rows(self, wall_ns: int) -> list[int]:
        """Return the streams that have at least one packet due at or before `wall_ns`."""
        rows: list[int] = np.flatnonzero(self.due_ns <= wall_ns).tolist()
        return rows

    def next_due_ns(self) -> int:
        """Return the earliest departure of all streams."""
        return int(self.due_ns.min())

    def take(self, row: int) -> int:
        """Return the stream's departure and move on to the one after."""
        due_ns: int = self.due_ns.item(row)
        self.due_ns[row] = due_ns + self.interval_ns.item(row)
        return due_ns

    def skip(self, row: int, count: int) -> None:
        """Leave out the next `count` departures."""
        self.due_ns[row] += count * self.interval_ns.item(row)

    def missed(self, row: int, before_ns: int) -> int:
        """Return how many departures of the stream are due before `before_ns`."""
        return max(-((self.due_ns.item(row) - before_ns) // self.interval_ns.item(row)), 0)


def _next_on_grid(wall_ns: np.int64, interval: NDArray[np.int64], phase: NDArray[np.int64]) -> NDArray[np.int64]:
    return wall_ns + (phase - wall_ns) % interval
