"""Who holds a lock file: a folder has one process, and a second one is refused before it touches anything."""

import fcntl
import os
from pathlib import Path

from schemas.errors import ConfigError


def lock_holder(lock_path: Path) -> int | None:
    """Return the pid of the process that holds `lock_path`, or None when nobody does."""
    if not lock_path.exists():
        return None
    descriptor = os.open(lock_path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.read(descriptor, 20).decode().strip() or 0)
    finally:
        os.close(descriptor)  # gives the lock back as well
    return None


def require_unlocked(lock_path: Path, *, what: str) -> None:
    """Pass when nobody holds `lock_path`.

    Raises:
        ConfigError: another process does; the text names its pid, the folder and the remedy.
    """
    pid = lock_holder(lock_path)
    if pid is not None:
        raise ConfigError(f"{what}: {lock_path.parent} is in use by pid {pid}; stop it or choose another state folder")
