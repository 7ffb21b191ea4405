"""Many datagrams in one system call, over memory that is laid out once.

A mailbox holds `slots` messages: payload, address and control block of each lie at fixed places. Names are raw
sockaddr bytes, so that matching a source address is comparing bytes.
"""

import struct
from typing import Final, NamedTuple

import numpy as np

from probes.engine import libc

NAME_BYTES: Final = 28  # sockaddr_in6; sockaddr_in is its prefix
_CONTROL_BYTES: Final = 192
_MMSGHDR: Final = np.dtype(
    [
        ("name", "<u8"),
        ("namelen", "<u4"),
        ("pad0", "<u4"),
        ("iov", "<u8"),
        ("iovlen", "<u8"),
        ("control", "<u8"),
        ("controllen", "<u8"),
        ("flags", "<i4"),
        ("pad1", "<u4"),
        ("len", "<u4"),
        ("pad2", "<u4"),
    ]
)
_IOVEC: Final = np.dtype([("base", "<u8"), ("len", "<u8")])

MSG_TRUNC: Final = 0x20
_EAGAIN: Final = 11
_ASYNC_ERRORS: Final = 4  # pending errors of earlier packets that one call may have to step over

_HEADER: Final = struct.Struct("=Qii")
_TIMESPEC: Final = struct.Struct("=qq")
_EXTENDED: Final = struct.Struct("=IBBBBII")
_INT: Final = struct.Struct("=i")
_SOL_SOCKET: Final = 1
_SO_TIMESTAMPING: Final = 37
_HOP_LIMITS: Final = ((0, 2), (41, 52))  # (SOL_IP, IP_TTL), (SOL_IPV6, IPV6_HOPLIMIT)
_ERRORS: Final = ((0, 11), (41, 25))  # (SOL_IP, IP_RECVERR), (SOL_IPV6, IPV6_RECVERR)

ORIGIN_LOCAL: Final = 1
ORIGIN_ICMP: Final = (2, 3)  # ICMP, ICMPv6
ORIGIN_STAMP: Final = 4


class Control(NamedTuple):
    """What the kernel says beside the bytes; -1 where it says nothing."""

    stamp_ns: int = -1  # software stamp, CLOCK_REALTIME
    hop_limit: int = -1
    errno: int = 0
    origin: int = 0
    icmp_type: int = 0
    icmp_code: int = 0
    key: int = 0  # OPT_ID of the packet that a TX stamp belongs to


class Mailbox:
    """`slots` messages of at most `payload_bytes` that one system call sends or receives; one thread at a time."""

    def __init__(self, slots: int, payload_bytes: int, *, control: bool) -> None:
        self.slots = slots
        self.payload_bytes = payload_bytes
        self._payload = np.zeros((slots, payload_bytes), np.uint8)
        self._name = np.zeros((slots, NAME_BYTES), np.uint8)
        self._control = np.zeros((slots, _CONTROL_BYTES), np.uint8)
        self._iov = np.zeros(slots, _IOVEC)
        self._head = np.zeros(slots, _MMSGHDR)
        self._control_bytes = _CONTROL_BYTES if control else 0
        self._lay_out()
        self._namelen, self._controllen = self._head["namelen"], self._head["controllen"]
        self._flags, self._len = self._head["flags"], self._head["len"]
        self._address = self._head.ctypes.data
        self.payload = self._payload.reshape(-1).data
        self.name = self._name.reshape(-1).data
        self.control = self._control.reshape(-1).data
        self.lengths: list[int] = []
        self.flags: list[int] = []
        self.control_lengths: list[int] = []

    def _lay_out(self) -> None:
        row = np.arange(self.slots, dtype=np.uint64)
        self._iov["base"] = self._payload.ctypes.data + row * self.payload_bytes
        self._iov["len"] = self.payload_bytes
        self._head["name"] = self._name.ctypes.data + row * NAME_BYTES
        self._head["namelen"] = NAME_BYTES
        self._head["iov"] = self._iov.ctypes.data + row * _IOVEC.itemsize
        self._head["iovlen"] = 1
        self._head["control"] = self._control.ctypes.data + row * _CONTROL_BYTES if self._control_bytes > 0 else 0
        self._head["controllen"] = self._control_bytes

    def set_length(self, slot: int, length: int) -> None:
        """Send `length` bytes from this slot from now on."""
        self._iov["len"][slot] = length

    def send(self, fd: int, first: int, count: int) -> int:
        """Send the messages first..first+count; return how many left, or -errno when the first did not.

        An ICMP error of an earlier packet may stand in the way of a send; it is taken off and the send repeated.
        """
        address = self._address + first * _MMSGHDR.itemsize
        sent = libc.sendmmsg(fd, address, count)
        return sent if sent >= 0 else libc.sendmmsg(fd, address, count)

    def receive(self, fd: int, flags: int = 0) -> int:
        """Take what waits on the socket, at most `slots` messages; return how many, 0 when nothing waits.

        Lengths, flags and control lengths of those stand in `lengths`, `flags` and `control_lengths`. A pending
        error of an earlier packet is stepped over: its text is on the error queue.
        """
        used = len(self.lengths)
        self._namelen[:used] = NAME_BYTES
        self._controllen[:used] = self._control_bytes
        taken = libc.recvmmsg(fd, self._address, self.slots, flags)
        for _ in range(_ASYNC_ERRORS):
            if taken >= 0 or taken == -_EAGAIN:
                break
            taken = libc.recvmmsg(fd, self._address, self.slots, flags)
        taken = max(taken, 0)
        self.lengths = self._len[:taken].tolist()
        self.flags = self._flags[:taken].tolist()
        self.control_lengths = self._controllen[:taken].tolist()
        return taken

    def source(self, slot: int, length: int) -> bytes:
        """Return the first `length` bytes of the peer's sockaddr."""
        at = slot * NAME_BYTES
        return bytes(self.name[at : at + length])

    def control_of(self, slot: int) -> Control:
        """Return the parsed control block of a received message."""
        at = slot * _CONTROL_BYTES
        return parse_control(self.control, at, at + self.control_lengths[slot])


def parse_control(memory: memoryview, at: int, end: int) -> Control:
    """Return what the control messages in memory[at:end] say; unknown ones are passed over."""
    stamp_ns, hop_limit = -1, -1
    errno = origin = icmp_type = icmp_code = key = 0
    while at + _HEADER.size <= end:
        length, level, kind = _HEADER.unpack_from(memory, at)
        if length < _HEADER.size or at + length > end:
            break
        body = at + _HEADER.size
        if level == _SOL_SOCKET and kind == _SO_TIMESTAMPING:
            seconds, nanoseconds = _TIMESPEC.unpack_from(memory, body)
            stamp_ns = seconds * 1_000_000_000 + nanoseconds if seconds > 0 else -1
        elif (level, kind) in _HOP_LIMITS:
            (hop_limit,) = _INT.unpack_from(memory, body)
        elif (level, kind) in _ERRORS:
            errno, origin, icmp_type, icmp_code, _, _, key = _EXTENDED.unpack_from(memory, body)
        at += (length + 7) & ~7
    return Control(stamp_ns, hop_limit, errno, origin, icmp_type, icmp_code, key)
