"""What the kernel itself says of its clock, and the STAMP error estimate that follows from it."""

import struct
from typing import Final

from probes.engine.libc import adjtimex
from schemas.records import ClockState

_STATUS: Final = struct.Struct("=I4xqqqqi")  # modes, offset, freq, maxerror, esterror, status
_TIMEX_BYTES: Final = 256  # struct timex has 208; spare room costs nothing
_TIME_ERROR: Final = 5
_STA_UNSYNC: Final = 0x40

SYNCHRONISED: Final = 0x8000  # S of the error estimate
PTP_FORMAT: Final = 0x4000  # Z of the error estimate (RFC 8186)
_MAX_SCALE: Final = 63


def read_clock() -> ClockState:
    """Return whether the kernel clock is disciplined, and the largest error it admits in microseconds.

    The maximum error is taken, not the estimated one: a verdict needs the whole error. A clock that nothing
    disciplines reads 16 s.
    """
    timex = bytearray(_TIMEX_BYTES)
    state = adjtimex(timex)
    _, _, _, max_error_us, _, status = _STATUS.unpack_from(timex)
    return ClockState(synchronised=state != _TIME_ERROR and status & _STA_UNSYNC == 0, error_us=max_error_us)


def error_estimate(clock: ClockState) -> int:
    """Return the 16-bit error estimate of RFC 4656 4.1.2 with the PTPv2 format of RFC 8186, never below the truth.

    The error is multiplier * 2^(scale - 32) seconds; the smallest scale that holds it is the most exact.
    """
    units = (max(clock.error_us, 1) << 32) // 1_000_000 + 1
    scale = min(max(units.bit_length() - 8, 0), _MAX_SCALE)
    multiplier = min(-(-units >> scale), 255)
    if multiplier << scale < units and scale < _MAX_SCALE:
        scale, multiplier = scale + 1, -(-units >> (scale + 1))
    return (SYNCHRONISED if clock.synchronised else 0) | PTP_FORMAT | scale << 8 | multiplier


def estimated_error_ns(estimate: int) -> int:
    """Return the error that a 16-bit error estimate claims, in nanoseconds, rounded up."""
    scale, multiplier = estimate >> 8 & 0x3F, estimate & 0xFF
    return -(-(multiplier * 1_000_000_000 << scale) >> 32)
