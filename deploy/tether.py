"""Becomes another program that dies with its starter: `python -I -S tether.py STARTER_PID LOCK PROGRAM [ARGUMENT ...]`.

Run as a file, never imported: it replaces itself, so the pid stays the one that the starter knows. The kernel sends
SIGKILL when the *thread* that started it ends; every part survives kill -9 by contract, so nothing is lost by that.
LOCK is a file that the program then holds locked for as long as it lives (its pid stands in it), or "" for none.
"""

import ctypes
import fcntl
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
NOT_FOUND = 127  # what a shell answers for a program that it cannot run
LOCKED = 75  # EX_TEMPFAIL


def hold(lock: str) -> None:
    """Lock the file for this process and what it becomes; exits 75 with one line when another holds it."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.stderr.write(f"{lock} is held by pid {os.read(descriptor, 20).decode().strip()}\n")
        sys.exit(LOCKED)
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    os.set_inheritable(descriptor, True)


def become(starter_pid: int, lock: str, command: list[str]) -> None:
    """Tie this process to its starter, then become `command`; exits 127 with one line when that cannot be run."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != starter_pid:  # it died before the tie was made
        sys.exit(1)
    if lock:
        hold(lock)
    for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored_by_python, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell on purpose
    except OSError as err:
        sys.stderr.write(f"cannot run {command[0]}: {err.strerror}\n")
        sys.exit(NOT_FOUND)


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
