"""Stand inside a network namespace for a moment: sockets opened there stay there."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import UnavailableError

NETNS_DIR = Path("/run/netns")
_CLONE_NEWNET = 0x40000000


@contextmanager
def in_namespace(name: str) -> Iterator[None]:
    """Move the calling thread into the namespace `name` and bring it back, also after an error.

    Other threads stay where they are. /proc/sys/net shows the namespace's own settings inside.

    Raises:
        UnavailableError: there is no such namespace, or this process may not enter it.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _enter(name)
        yield
    finally:
        _setns(home)
        os.close(home)


def _enter(name: str) -> None:
    try:
        there = os.open(NETNS_DIR / name, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as err:
        raise UnavailableError(f"namespace {name}: {err.strerror}; bring the lab up first, as root") from err
    try:
        _setns(there)
    except OSError as err:
        raise UnavailableError(f"namespace {name}: {err.strerror}; entering it needs root (CAP_SYS_ADMIN)") from err
    finally:
        os.close(there)


def _setns(fd: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, _CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
