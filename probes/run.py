"""One run of a probe: one engine, one spool_id, one version of the mesh; measured and summed up in turns."""

from collections.abc import Callable
from typing import Final

from probes.engine.core import Engine
from probes.health import StealMeter, with_steal
from probes.reporter import Reporter
from probes.slots import Said, SlotKeeper
from schemas.clock import Clock, floor_ms, wall_ms
from schemas.mesh_slice import SliceStream
from schemas.records import ProbeCondition

LOOK_NS: Final = 50_000_000  # how late a slot, a stop or a new slice may be noticed
_SPARE_NS: Final = 500_000  # work on a summary only while the next departure is farther away than one takes
_PATIENCE_NS: Final = 4_000_000  # but a little of it is done however busy the streams are
_CLOCK_BACK_NS: Final = 5_000_000_000  # a wall clock that went back by more would leave the streams waiting


class Run:
    """Turns of measuring, in the time between them a little summing up."""

    def __init__(
        self,
        engine: Engine,
        reporter: Reporter,
        *,
        clock: Clock,
        steal: StealMeter,
        tick_ms: int,
        loaded: Callable[[SliceStream, int, int], bool],
    ) -> None:
        self._engine = engine
        self._reporter = reporter
        self._clock = clock
        self._steal = steal
        self._tick_ns = tick_ms * 1_000_000
        self._slot_ms = reporter.slice.schedule.slot_ms
        self._condition = ProbeCondition()
        self._beat_ms = -1  # the first sign of life comes at once
        self._looked_ns = -LOOK_NS
        self._stepped_ns = 0
        self._slots = SlotKeeper(
            engine, reporter.slice.streams, slot_ms=self._slot_ms, clock=clock, emit=self._emit, loaded=loaded
        )

    @property
    def is_clock_back(self) -> bool:
        """Return whether the wall clock went back so far that the engine would wait for it."""
        return self._wait_ns() > max(target.interval_ns for target in self._engine.targets) + _CLOCK_BACK_NS

    def turn(self) -> bool:
        """Measure, and use the time until the next departure; return whether it was a turn with a look around."""
        self._engine.tick()
        is_look = self._clock.mono_ns() - self._looked_ns >= LOOK_NS
        if is_look:
            self._looked_ns = self._clock.mono_ns()
            self._slots.look()
            self._beat()
        self._work_and_sleep()
        return is_look

    def end_at(self, end_ms: int) -> None:
        """Leave the slots from `end_ms` on to the next run."""
        self._slots.end_at(end_ms)

    def finish(self) -> None:
        """Hand over what is settled, and a last heartbeat."""
        self._engine.tick()
        self._slots.look()
        self._slots.finish()
        self._reporter.heartbeat(self._engine.clock_state, self._condition)

    def _wait_ns(self) -> int:
        return self._engine.next_due_ns() - self._clock.wall_ns()

    def _work_and_sleep(self) -> None:
        while self._may_step() and self._slots.step():
            self._stepped_ns = self._clock.mono_ns()
        sleep_ns = min(self._wait_ns(), self._tick_ns)
        if sleep_ns > 0:
            self._clock.sleep_s(sleep_ns / 1e9)

    def _may_step(self) -> bool:
        return self._wait_ns() > _SPARE_NS or self._clock.mono_ns() - self._stepped_ns >= _PATIENCE_NS

    def _beat(self) -> None:
        """Send a heartbeat at every start of a slot; the condition then is that of the slot just over."""
        now_ms = floor_ms(wall_ms(self._clock), self._slot_ms)
        if now_ms != self._beat_ms:
            self._beat_ms = now_ms
            self._condition = with_steal(self._engine.take_condition(), self._steal.take_ppm())
            self._reporter.heartbeat(self._engine.clock_state, self._condition)

    def _emit(self, said: Said) -> None:
        self._reporter.batch(said, self._engine.clock_state, self._condition)
