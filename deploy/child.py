"""One child process: started tied to us, watched without being reaped, ended with all of its group."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas.clock import Clock
from schemas.errors import UnavailableError

TETHER = Path(__file__).with_name("tether.py")
POLL_S = 0.02
LAST_WORD_S = 5.0  # what the kernel may take to end a process after SIGKILL


def spawn(
    command: Sequence[str], *, env: Mapping[str, str], log_path: Path, lock_path: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own, its output appended to `log_path`, `env` laid over ours.

    It dies with the thread that calls this: a caller that ends early takes its children along. It holds `lock_path`
    while it lives, and ends at once with code 75 when another process does.
    """
    log_path.parent.mkdir(parents=True, exist_ok=True)
    tied = [sys.executable, "-I", "-S", str(TETHER), str(os.getpid()), str(lock_path or ""), *command]
    with log_path.open("ab") as log:
        return subprocess.Popen(
            tied,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **env},
            start_new_session=True,  # Ctrl-C reaches us alone; the group is what is ended
        )


def has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Return whether it ended, leaving it unreaped so that its pid and group cannot be taken by another."""
    if process.returncode is not None:
        return True
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def reap(process: subprocess.Popen[bytes]) -> int:
    """Kill what is left of its group, reap it, return its code (negative: a signal).

    Raises:
        UnavailableError: the kernel did not end it in 5 s.
    """
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
    try:
        return process.wait(LAST_WORD_S)
    except subprocess.TimeoutExpired as err:
        raise UnavailableError(f"pid {process.pid} did not end within {LAST_WORD_S:g} s of SIGKILL") from err


def end(process: subprocess.Popen[bytes], *, deadline_s: float, clock: Clock) -> int:
    """Ask it to end (SIGTERM), wait up to `deadline_s`, kill what remains; return its code (negative: a signal)."""
    until_ns = clock.mono_ns() + round(deadline_s * 1e9)
    if not has_ended(process):
        os.kill(process.pid, signal.SIGTERM)
    while not has_ended(process) and clock.mono_ns() < until_ns:
        clock.sleep_s(POLL_S)
    return reap(process)


@dataclass(frozen=True)
class Kernel:
    """What a keeper asks of the operating system: a test gives its own, and nothing of the process is replaced."""

    spawn: Callable[..., subprocess.Popen[bytes]] = spawn
    has_ended: Callable[[subprocess.Popen[bytes]], bool] = has_ended
    reap: Callable[[subprocess.Popen[bytes]], int] = reap


def describe_exit(code: int) -> str:
    """Return `exit code 3` or `signal SIGKILL`."""
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def last_lines(log_path: Path, count: int = 8, reach_bytes: int = 8192) -> str:
    """Return the last lines of a log, or "" when it has none: what a failed start shows its user."""
    if not log_path.exists():
        return ""
    with log_path.open("rb") as log:
        log.seek(max(0, log_path.stat().st_size - reach_bytes))
        return "\n".join(log.read().decode(errors="replace").splitlines()[-count:])
