"""Keeps one part alive: start, wait until ready, restart with backoff, end; stepped by the supervisor."""

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import structlog

from deploy.child import Kernel, describe_exit, end, last_lines
from schemas.clock import Clock
from schemas.errors import UnavailableError

State = Literal["waiting", "starting", "ready", "backing_off", "held", "ended"]

BACKOFF_FIRST_S: Final = 0.2
BACKOFF_LAST_S: Final = 5.0
STEADY_S: Final = 30.0  # a part that was ready this long starts its backoff anew
KERNEL: Final = Kernel()

log = structlog.get_logger(__name__)


def _at_once() -> bool:
    return True


@dataclass(frozen=True, kw_only=True)
class Part:
    """A process of the stack. `ready` is asked until it says True; it must answer soon and never raise."""

    name: str
    command: tuple[str, ...]
    log_path: Path
    env: Mapping[str, str] = field(default_factory=dict)  # laid over the supervisor's own
    ready: Callable[[], bool] = _at_once
    ready_deadline_s: float = 30.0
    stop_deadline_s: float = 10.0
    restart: bool = True
    final_codes: frozenset[int] = frozenset()  # exits that a restart cannot mend: it stays down, loudly
    lock_path: Path | None = None  # held by the process while it lives: one process for what it guards


@dataclass(frozen=True, kw_only=True)
class PartStatus:
    """What a part is doing; `last_exit` says how it last ended, None when it never did."""

    name: str
    state: State
    pid: int | None
    restarts: int
    last_exit: str | None


class Keeper:
    """The life of one part. All calls come from one thread: the children die with the thread that started them."""

    def __init__(self, part: Part, clock: Clock, kernel: Kernel = KERNEL) -> None:
        self.part: Final = part
        self.held = False  # set from any thread: kill it and keep it down until cleared
        self._clock = clock
        self._kernel = kernel
        self._process: subprocess.Popen[bytes] | None = None
        self._state: State = "waiting"
        self._restarts = 0
        self._last_exit: str | None = None
        self._backoff_s = BACKOFF_FIRST_S
        self._since_ns = 0  # when it entered its state

    def status(self) -> PartStatus:
        """Return what it is doing now."""
        process = self._process
        return PartStatus(
            name=self.part.name,
            state=self._state,
            pid=None if process is None else process.pid,
            restarts=self._restarts,
            last_exit=self._last_exit,
        )

    def start(self) -> None:
        """Start the process; it is ready when `step` finds it so."""
        part = self.part
        self._process = self._kernel.spawn(part.command, env=part.env, log_path=part.log_path, lock_path=part.lock_path)
        self._enter("starting")
        log.info("part started", part=part.name, pid=self._process.pid)

    def step(self) -> None:
        """Look once and do what its state asks for."""
        if self._process is not None:
            self._watch(self._process)
        elif self._state == "backing_off" and self._for_s() >= self._backoff_s:
            self._backoff_s = min(self._backoff_s * 2, BACKOFF_LAST_S)
            self._restarts += 1
            self.start()
        elif self._state == "held" and not self.held:
            self._restarts += 1
            self.start()

    def stop(self) -> None:
        """End the process within its deadline, by force when it must be."""
        if self._process is not None:
            code = end(self._process, deadline_s=self.part.stop_deadline_s, clock=self._clock)
            self._process = None
            self._last_exit = describe_exit(code)
            log.info("part stopped", part=self.part.name, ended_by=self._last_exit)
        self._enter("ended")

    def require_started(self) -> bool:
        """Return whether it is ready, at its first start.

        Raises:
            UnavailableError: it ended, or was not ready by its deadline; the text holds its last log lines.
        """
        if self._state == "ready":
            return True
        if self._state != "starting":
            raise UnavailableError(self._failure(f"ended with {self._last_exit} before it was ready"))
        return False

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        if self.held or self._kernel.has_ended(process):
            self._bury(process)
        elif self._state == "starting":
            self._look_whether_ready(process)
        elif self._for_s() >= STEADY_S:
            self._backoff_s = BACKOFF_FIRST_S

    def _look_whether_ready(self, process: subprocess.Popen[bytes]) -> None:
        if self.part.ready():
            log.info("part ready", part=self.part.name, after_s=round(self._for_s(), 2))
            self._enter("ready")
        elif self._for_s() >= self.part.ready_deadline_s:
            log.error("part not ready by its deadline", part=self.part.name, deadline_s=self.part.ready_deadline_s)
            self._bury(process)
            self._last_exit = f"{self._last_exit} (not ready within {self.part.ready_deadline_s:g} s)"

    def _bury(self, process: subprocess.Popen[bytes]) -> None:
        code = self._kernel.reap(process)
        self._process = None
        self._last_exit = describe_exit(code)
        then = self._after(code)
        self._enter(then)
        log.warning("part ended", part=self.part.name, ended_by=self._last_exit, restarts=self._restarts, then=then)

    def _after(self, code: int) -> State:
        """Return what follows an exit."""
        if self.held:
            return "held"
        if code in self.part.final_codes:
            log.error("part stays down, a restart cannot mend it", part=self.part.name, log=str(self.part.log_path))
            return "ended"
        return "backing_off" if self.part.restart else "ended"

    def _failure(self, what: str) -> str:
        return f"{self.part.name} {what}; its log {self.part.log_path} ends:\n{last_lines(self.part.log_path)}"

    def _enter(self, state: State) -> None:
        self._state = state
        self._since_ns = self._clock.mono_ns()

    def _for_s(self) -> float:
        return (self._clock.mono_ns() - self._since_ns) / 1e9
