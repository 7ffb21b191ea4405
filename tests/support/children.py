"""Tiny child programs for the supervisor's tests, and a bounded wait for what they do."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from deploy.supervise import Part

WAIT_S = 10.0


def child(name: str, program: str, folder: Path, **fields: object) -> Part:
    """Return a part that runs `program` in a bare Python; its log is `folder`/name.log."""
    command = (sys.executable, "-I", "-S", "-c", program)
    return Part(name=name, command=command, log_path=folder / f"{name}.log", **fields)  # type: ignore[arg-type]


def wait_for(what: str, holds: Callable[[], bool], deadline_s: float = WAIT_S, *, every_s: float = 0.01) -> None:
    """Return as soon as `holds`, asked every so often; fail by name when it does not within the deadline."""
    until = time.monotonic() + deadline_s
    while not holds():
        assert time.monotonic() < until, f"waited {deadline_s:g} s for {what}"
        time.sleep(every_s)


def is_running(pid: int) -> bool:
    """Return whether a process lives and is not a zombie."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
