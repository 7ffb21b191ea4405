"""Kill one part after the other, each once the last was started again, and see all of them return by themselves."""

import os
import signal
from collections.abc import Callable
from typing import Final

from deploy.demo.waits import Waiter
from deploy.demo.watch import Watch
from deploy.stack import Stack
from schemas.errors import UnavailableError

RETURN_DEADLINE_S: Final = 60.0
VICTIMS: Final = ("worker", "kafka", "clickhouse", "probe-telecom-north")


def kill_each(running: Stack, watch: Watch, waiter: Waiter, say: Callable[[str], None]) -> list[str]:
    """Kill worker, broker, store and a probe with SIGKILL; return their names once facts are fresh again after all.

    Raises:
        UnavailableError: a part was not started again, or the facts stayed old, for longer than a minute.
    """
    for part in VICTIMS:
        _kill(part, running, waiter, say)
    wanted, killed_s = {stream.id for stream in running.mesh.streams}, watch.now_s()
    took_s = waiter.until(
        "a slot of every stream that began after the kills",
        lambda: watch.measured_since(killed_s) == wanted,
        deadline_s=RETURN_DEADLINE_S,
    )
    say(f"all of them are back by themselves, every stream is fresh after {took_s:.0f} s")
    return list(VICTIMS)


def _kill(part: str, running: Stack, waiter: Waiter, say: Callable[[str], None]) -> None:
    before = running.restarts()[part]
    (pid,) = [status.pid for status in running.supervisor_of(part).status() if status.name == part]
    if pid is None:
        raise UnavailableError(f"{part} does not run, so it cannot be killed")
    say(f"kill -9 {part} (pid {pid})")
    os.kill(pid, signal.SIGKILL)
    waiter.until(f"{part} to be started again", lambda: running.restarts()[part] > before, deadline_s=RETURN_DEADLINE_S)
