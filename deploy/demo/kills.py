"""Kill one part after the other, and see each return by itself."""

import os
import signal
from collections.abc import Callable
from typing import Final

from deploy.demo.waits import Waiter
from deploy.demo.watch import Watch
from deploy.stack import Stack
from schemas.errors import UnavailableError

RETURN_DEADLINE_S: Final = 60.0
SLOT_S: Final = 10
VICTIMS: Final = ("worker", "kafka", "clickhouse", "probe-telecom-north")


def kill_each(running: Stack, watch: Watch, waiter: Waiter, say: Callable[[str], None]) -> list[str]:
    """Kill worker, broker, store and a probe with SIGKILL; return their names once facts are fresh again after each."""
    for part in VICTIMS:
        _kill(part, running, watch, waiter, say)
    return list(VICTIMS)


def _kill(part: str, running: Stack, watch: Watch, waiter: Waiter, say: Callable[[str], None]) -> None:
    before, newest_s = running.restarts()[part], watch.newest_slot_s()
    (pid,) = [status.pid for status in running.supervisor_of(part).status() if status.name == part]
    if pid is None:
        raise UnavailableError(f"{part} does not run, so it cannot be killed")
    say(f"kill -9 {part} (pid {pid})")
    os.kill(pid, signal.SIGKILL)
    waiter.until(f"{part} to be started again", lambda: running.restarts()[part] > before, deadline_s=RETURN_DEADLINE_S)
    took_s = waiter.until(
        f"a slot newer than the kill of {part}",
        lambda: watch.newest_slot_s() >= newest_s + 2 * SLOT_S,
        deadline_s=RETURN_DEADLINE_S,
    )
    say(f"{part} is back by itself, facts are fresh after {took_s:.0f} s")
