"""Waits that end: at what they wait for, or at their deadline with its name."""

from collections.abc import Callable

from schemas.clock import Clock
from schemas.errors import UnavailableError

POLL_S = 0.2


class Waiter:
    """Waits on a clock, and looks at each turn whether all that must run still does."""

    def __init__(self, clock: Clock, check: Callable[[], None]) -> None:
        self._clock = clock
        self._check = check

    def until(self, what: str, found: Callable[[], bool], *, deadline_s: float) -> float:
        """Return after how many seconds `found` was true.

        Raises:
            UnavailableError: it was not within `deadline_s`; the text says what was waited for.
        """
        began_ns = self._clock.mono_ns()
        while not found():
            self._check()
            if self._clock.mono_ns() - began_ns > deadline_s * 1e9:
                raise UnavailableError(f"waited {deadline_s:g} s for {what}, in vain")
            self._clock.sleep_s(POLL_S)
        return (self._clock.mono_ns() - began_ns) / 1e9

    def sleep_until(self, at_mono_ns: int) -> None:
        """Wait for a moment of the monotonic clock; past ones are at once."""
        while self._clock.mono_ns() < at_mono_ns:
            self._check()
            self._clock.sleep_s(min(POLL_S, (at_mono_ns - self._clock.mono_ns()) / 1e9))
