"""Whether the kernel's clock is disciplined, and how wrong it may be: adjtimex read, never set."""

import ctypes
import os
from dataclasses import dataclass
from typing import Final

_TIME_ERROR: Final = 5
_STA_UNSYNC: Final = 0x0040


class _Timex(ctypes.Structure):
    """The head of the kernel's struct timex (LP64), and room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


@dataclass(frozen=True, kw_only=True)
class ClockState:
    """What the kernel says of its clock: disciplined or not, its estimated and its largest possible error."""

    synchronised: bool
    estimated_error_us: int
    largest_error_us: int


def read_clock_state() -> ClockState:
    """Return the state of CLOCK_REALTIME; needs no privilege.

    Raises:
        OSError: the kernel refuses even to be asked.
    """
    timex = _Timex()
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    if state < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return ClockState(
        synchronised=state != _TIME_ERROR and not timex.status & _STA_UNSYNC,
        estimated_error_us=timex.esterror,
        largest_error_us=timex.maxerror,
    )
