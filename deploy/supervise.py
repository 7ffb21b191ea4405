"""Starts parts forward, keeps them alive, stops them in reverse, leaves no orphan.

One thread does all of it, from the first start to the last stop: the kernel ties a child to the *thread* that started
it, so this thread must outlive them all. When the whole process is killed, the kernel takes the children along.
"""

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from deploy.keeper import Keeper, Part, PartStatus
from schemas.clock import Clock, SystemClock
from schemas.errors import ConfigError, UnavailableError

__all__ = ["Part", "PartStatus", "Supervisor"]

TICK_S: Final = 0.05
STOP_MARGIN_S: Final = 10.0


class Supervisor:
    """A context in which the parts run: entering waits until all are ready, leaving stops them in reverse."""

    def __init__(self, parts: Sequence[Part], clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._keepers = {part.name: Keeper(part, self._clock) for part in parts}
        if len(self._keepers) != len(parts):
            raise ConfigError(f"two parts of one name in {sorted(part.name for part in parts)}")
        self._ask_stop = threading.Event()
        self._all_ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._live, name="supervisor", daemon=True)

    def __enter__(self) -> Self:
        """Start all parts in order.

        Raises:
            UnavailableError: a part ended or was not ready by its deadline; what had started is stopped again.
        """
        self._thread.start()
        try:
            while self._thread.is_alive() and not self._all_ready.wait(TICK_S):
                pass
        except BaseException:  # Ctrl-C during the start: leave nothing behind
            self._stop()
            raise
        self.check()
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        """Stop all parts in reverse order."""
        self._stop()
        if kind is None:
            self.check()

    @property
    def restarts(self) -> dict[str, int]:
        """Return how often each part was started again."""
        return {status.name: status.restarts for status in self.status()}

    def status(self) -> tuple[PartStatus, ...]:
        """Return what each part is doing, in start order."""
        return tuple(keeper.status() for keeper in self._keepers.values())

    def pids(self) -> tuple[int, ...]:
        """Return the pids of the parts that run now."""
        return tuple(status.pid for status in self.status() if status.pid is not None)

    def check(self) -> None:
        """Raise what ended the supervision, if anything did."""
        if self._failure is not None:
            raise self._failure

    def hold(self, name: str) -> None:
        """Kill a part (SIGKILL) and keep it down until `release`: for drills and demos."""
        self._keepers[name].held = True

    def release(self, name: str) -> None:
        """Let a held part start again."""
        self._keepers[name].held = False

    def _live(self) -> None:
        try:
            self._start_all()
            while not self._ask_stop.wait(TICK_S):
                self._step_all()
        except BaseException as err:  # noqa: BLE001 - kept, and raised to the owner by check()
            self._failure = err
        finally:
            self._stop_all()

    def _start_all(self) -> None:
        for keeper in self._keepers.values():
            if self._ask_stop.is_set():
                return
            keeper.start()
            while not (self._ask_stop.is_set() or keeper.require_started()):
                self._step_all()
                self._ask_stop.wait(TICK_S)
        self._all_ready.set()

    def _step_all(self) -> None:
        for keeper in self._keepers.values():
            keeper.step()

    def _stop_all(self) -> None:
        for keeper in reversed(self._keepers.values()):
            try:
                keeper.stop()
            except UnavailableError as err:  # the others must be stopped all the same
                self._failure = self._failure or err

    def _stop(self) -> None:
        self._ask_stop.set()
        deadline_s = STOP_MARGIN_S + sum(keeper.part.stop_deadline_s for keeper in self._keepers.values())
        self._thread.join(deadline_s)
        if self._thread.is_alive():
            raise UnavailableError(f"the parts did not stop within {deadline_s:g} s: {self.status()}")
