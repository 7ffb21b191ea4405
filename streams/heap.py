"""What is freed goes back to the system: blocks of columns come and go by the megabyte, in three threads.

Left to itself glibc learns from the first large block that it was freed, keeps all later ones, and does so once for
every thread: a worker then weighs three times what it holds.
"""

import ctypes
import platform
from typing import Final

LARGE_BYTES: Final = 256 * 1024
_TO: Final = {-8: 1, -3: LARGE_BYTES, -1: LARGE_BYTES}  # mallopt(3): M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD


def give_back_freed() -> bool:
    """Let large blocks be mapped one by one, in one arena; return whether the C library here can be told so."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    told = [mallopt(what, to) for what, to in _TO.items()]
    return all(told)
