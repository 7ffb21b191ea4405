"""Who holds a data directory: one process at a time, and the next one hears which."""

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from schemas.clock import Clock
from schemas.errors import UnavailableError

LOCK_FILE: Final = "holder.json"


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """The process that owns a directory; `since` is UTC, ISO 8601."""

    pid: int
    since: str
    command: str


class DirectoryHeldError(UnavailableError):
    """Another process holds the directory; the text names it."""


@contextmanager
def hold(directory: Path, clock: Clock) -> Iterator[Holder]:
    """Own `directory` while the block runs; the kernel drops the lock with the process, however it ends.

    Raises:
        DirectoryHeldError: another process holds it.
    """
    file = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(file, directory)
        holder = _write(file, clock)
        yield holder
        os.ftruncate(file, 0)
    finally:
        os.close(file)


def require_free_directory(directory: Path) -> None:
    """Pass when nobody holds `directory`; raises `DirectoryHeldError`, which names who does."""
    path = directory / LOCK_FILE
    if not path.exists():
        return
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        _lock(file, directory)
    finally:
        os.close(file)  # gives the lock back as well


def read_holder(directory: Path) -> Holder | None:
    """Return what the last holder wrote, or None when it left in order or wrote nothing."""
    with suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode((directory / LOCK_FILE).read_bytes(), type=Holder)
    return None


def _lock(file: int, directory: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as err:
        raise DirectoryHeldError(_say(directory, read_holder(directory))) from err


def _say(directory: Path, holder: Holder | None) -> str:
    who = f"pid {holder.pid} since {holder.since} ({holder.command})" if holder is not None else "another process"
    return f"{directory} is held by {who}; stop it, or use another directory"


def _write(file: int, clock: Clock) -> Holder:
    since = datetime.fromtimestamp(clock.wall_ns() // 1_000_000_000, UTC).isoformat()
    holder = Holder(pid=os.getpid(), since=since, command=" ".join(sys.orig_argv))
    os.ftruncate(file, 0)
    os.pwrite(file, msgspec.json.encode(holder) + b"\n", 0)
    return holder
