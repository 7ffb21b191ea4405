"""Seeing the wall clock step: it is compared with the monotonic clock, which never does."""

from typing import Final

from schemas.clock import Clock

_STEP_NS: Final = 1_000_000
_SLEW_PPM: Final = 1_000  # the kernel slews by at most 500 ppm, chrony may add to it: not a step
_SURE_NS: Final = 100_000  # two readings further apart than this say nothing: this process was interrupted
_TRIES: Final = 5


class StepWatch:
    """Remembers how far the wall clock is ahead of the monotonic one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._mono_ns, self._offset_ns = self._read()

    def step_ns(self) -> int:
        """Return by how much the wall clock stepped since the last call, 0 when by less than 1 ms beyond slewing."""
        mono_ns, offset_ns = self._read()
        moved_ns = offset_ns - self._offset_ns
        allowed_ns = _STEP_NS + (mono_ns - self._mono_ns) * _SLEW_PPM // 1_000_000
        self._mono_ns, self._offset_ns = mono_ns, offset_ns
        return moved_ns if abs(moved_ns) > allowed_ns else 0

    def _read(self) -> tuple[int, int]:
        best = (1 << 62, 0, 0)
        for _ in range(_TRIES):
            before_ns = self._clock.mono_ns()
            wall_ns = self._clock.wall_ns()
            after_ns = self._clock.mono_ns()
            best = min(best, (after_ns - before_ns, before_ns, wall_ns - (before_ns + after_ns) // 2))
            if best[0] <= _SURE_NS:
                break
        return best[1], best[2]
