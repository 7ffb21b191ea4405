"""Time as a parameter: the wall clock labels, the monotonic clock measures."""

import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks; integers in nanoseconds."""

    def wall_ns(self) -> int:
        """Return UTC nanoseconds since the epoch; may step."""

    def mono_ns(self) -> int:
        """Return nanoseconds that never go back; only differences mean something."""

    def sleep_s(self, seconds: float) -> None:
        """Wait at least `seconds`."""


class SystemClock:
    """The clocks of this host."""

    def wall_ns(self) -> int:
        """Return CLOCK_REALTIME."""
        return time.time_ns()

    def mono_ns(self) -> int:
        """Return CLOCK_MONOTONIC."""
        return time.monotonic_ns()

    def sleep_s(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)


class ManualClock:
    """A clock that moves when told to: for tests and replays."""

    def __init__(self, wall_ns: int = 0) -> None:
        self._wall_ns = wall_ns
        self._mono_ns = 0

    def wall_ns(self) -> int:
        """Return the wall time set."""
        return self._wall_ns

    def mono_ns(self) -> int:
        """Return the time moved so far."""
        return self._mono_ns

    def sleep_s(self, seconds: float) -> None:
        """Move both clocks instead of waiting."""
        self.advance_s(seconds)

    def advance_s(self, seconds: float) -> None:
        """Move both clocks forward by `seconds`."""
        self._wall_ns += round(seconds * 1e9)
        self._mono_ns += round(seconds * 1e9)

    def step_wall_s(self, seconds: float) -> None:
        """Step the wall clock alone, as NTP or an operator would."""
        self._wall_ns += round(seconds * 1e9)


def wall_ms(clock: Clock) -> int:
    """Return UTC milliseconds since the epoch."""
    return clock.wall_ns() // 1_000_000


def floor_ms(at_ms: int, size_ms: int) -> int:
    """Return the start of the half-open interval of `size_ms` that owns `at_ms`."""
    return at_ms - at_ms % size_ms
