"""One agent a spool: a lock that the kernel frees with the process, whatever ends it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from schemas.errors import UnavailableError


@contextmanager
def lock_spool(path: Path) -> Iterator[None]:
    """Hold `path`.lock.

    Raises:
        UnavailableError: Another agent holds it, or it cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _open(path.with_name(path.name + ".lock"))
    except OSError as err:
        raise UnavailableError(f"spool {path}: {err}; give the agent a folder that it may write") from err
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise UnavailableError(f"spool {path} is held by process {holder}; one agent a spool") from err
        with suppress(OSError):  # a full or read-only disk: who holds it is for people alone
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
        yield


def _open(name: Path) -> TextIO:
    try:
        return name.open("a+", encoding="ascii")
    except OSError:
        return name.open("r", encoding="ascii")  # a read-only disk locks too
