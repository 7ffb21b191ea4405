"""The four calls that Python 3.11 does not offer, straight from the C library (Linux, 64 bit)."""

import ctypes
import os
from typing import Final

CLONE_NEWNET: Final = 0x40000000
MSG_DONTWAIT: Final = 0x40
MSG_ERRQUEUE: Final = 0x2000

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_LIBC.sendmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]
_LIBC.recvmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p]
_LIBC.setns.argtypes = [ctypes.c_int, ctypes.c_int]
_LIBC.adjtimex.argtypes = [ctypes.c_void_p]


def sendmmsg(fd: int, messages: int, count: int) -> int:
    """Return how many of `count` messages at address `messages` left without waiting, or -errno when none did."""
    sent: int = _LIBC.sendmmsg(fd, messages, count, MSG_DONTWAIT)
    return sent if sent >= 0 else -ctypes.get_errno()


def recvmmsg(fd: int, messages: int, count: int, flags: int) -> int:
    """Return how many of at most `count` waiting messages were taken, or -errno when none was."""
    taken: int = _LIBC.recvmmsg(fd, messages, count, flags | MSG_DONTWAIT, None)
    return taken if taken >= 0 else -ctypes.get_errno()


def setns(fd: int) -> None:
    """Move the calling thread, and it alone, into the network namespace open at `fd`; OSError when not allowed."""
    if _LIBC.setns(fd, CLONE_NEWNET) != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno))


def adjtimex(timex: bytearray) -> int:
    """Fill `timex` (struct timex) with the state of the kernel clock; return its state, TIME_ERROR is 5."""
    state: int = _LIBC.adjtimex(ctypes.addressof(ctypes.c_char.from_buffer(timex)))
    if state < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno))
    return state
