"""Two lanes out of a spool: what is fresh goes at once, what waited goes at a bounded rate. Pure: told time and bytes.

A probe that returns from an outage shows the present first, and does not age the data of the others while it catches
up. The lanes go by the order of spooling and the monotonic clock, so a stepped wall clock moves no record.
"""

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Annotated, Final, Literal

import msgspec

from schemas.clock import Clock

Lane = Literal["live", "backlog"]

LIVE_MS: Final = 60_000  # older records wait in the backlog lane, so that a return from an outage shows now first
_LIVE_NS: Final = LIVE_MS * 1_000_000
_MARK_NS: Final = 1_000_000_000
_UNWATCHED_NS: Final = 5_000_000_000
LEAST_BYTES: Final = 8192  # a record counts for no less: it costs who takes it as much as one of a dozen streams
_BURST_S: Final = 1.0  # unused allowance is kept no longer


class BacklogConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How fast a probe catches up. Bytes are those of the records, before Kafka packs them."""

    live_share: Annotated[float, msgspec.Meta(ge=0, le=10)] = 0.2  # of the live bytes sent meanwhile
    # and so much in any case: a fifth of what the national mesh sends live (44 probes of 15 kB/s), so that an hour of
    # outage, 54 MB of a cluster's probe, is caught up with in 7 minutes, at 9 times the probe's own live rate
    floor_bytes_s: Annotated[int, msgspec.Meta(ge=0)] = 125_000
    start_jitter_s: Annotated[float, msgspec.Meta(ge=0)] = 120.0  # begin within so long after the return, at random


class Edge:
    """The last record that is no longer live, by its number in the order of spooling."""

    def __init__(self, clock: Clock, by_label: Callable[[], int]) -> None:
        self._clock = clock
        self._by_label = by_label  # the edge by what the records say of their age, where nobody watched them arrive
        self._edge = 0
        self._marks: deque[tuple[int, int]] = deque()  # monotonic time, the newest record then

    def move(self, newest: int) -> int:
        """Return the edge now; `newest` is the newest record there is."""
        now_ns = self._clock.mono_ns()
        if not self._marks or now_ns - self._marks[-1][0] > _UNWATCHED_NS:
            self._edge = max(self._edge, self._by_label())
        while self._marks and now_ns - self._marks[0][0] > _LIVE_NS:
            self._edge = max(self._edge, self._marks.popleft()[1])
        if not self._marks or now_ns - self._marks[-1][0] >= _MARK_NS:
            self._marks.append((now_ns, newest))
        return self._edge


class Bucket:
    """The allowance of the backlog lane: a floor in time, and a share of the live bytes sent."""

    def __init__(self, config: BacklogConfig, clock: Clock, random: Random) -> None:
        self._config = config
        self._clock = clock
        self._random = random
        self._bytes = 0.0
        self._filled_ns = clock.mono_ns()
        self._opens_ns: int | None = None  # None: not before the broker has answered

    @property
    def is_away(self) -> bool:
        """Return whether the broker has not answered since the last failure."""
        return self._opens_ns is None

    def away(self) -> None:
        """Close the lane: a send failed, or none was tried yet."""
        self._opens_ns = None

    def back(self) -> None:
        """The broker answered: open the lane, at a moment of our own within the jitter."""
        if self._opens_ns is None:
            wait_s = self._random.uniform(0.0, self._config.start_jitter_s)
            self._opens_ns = self._clock.mono_ns() + round(wait_s * 1e9)
            self._filled_ns = self._clock.mono_ns()
            self._bytes = 0.0

    def live_sent(self, size_bytes: int) -> None:
        """Earn the share of live bytes."""
        self._bytes += self._config.live_share * size_bytes

    def has_some(self) -> bool:
        """Return whether a backlog record may be sent now; a large one may leave a debt."""
        now_ns = self._clock.mono_ns()
        self._bytes += self._config.floor_bytes_s * (now_ns - self._filled_ns) / 1e9
        self._bytes = min(self._bytes, max(self._config.floor_bytes_s * _BURST_S, 0.0) + 1)
        self._filled_ns = now_ns
        return self._opens_ns is not None and now_ns >= self._opens_ns and self._bytes > 0

    def spend(self, size_bytes: int) -> None:
        """Take the bytes of a backlog record."""
        self._bytes -= max(size_bytes, LEAST_BYTES)

    def wait_s(self) -> float | None:
        """Return in how long the lane may have something to give, None when that hangs on the broker or live bytes."""
        if self._opens_ns is None or self._config.floor_bytes_s == 0:
            return None
        opens_s = (self._opens_ns - self._clock.mono_ns()) / 1e9
        return max(opens_s, -self._bytes / self._config.floor_bytes_s, 0.0)
