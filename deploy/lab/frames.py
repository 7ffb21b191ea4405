"""One AF_PACKET socket over all interfaces of a namespace: batches in with kernel stamps, batches out. 64-bit Linux.

The memory is laid out once. A frame stays in its slot from arrival to release; only addresses move.
"""

import ctypes
import errno
import os
import socket
import struct
from typing import Final

import numpy as np

SLOT_BYTES: Final = 2048
BATCH: Final = 64

Frame = tuple[int, int, int, int]  # slot, interface index, size in bytes, arrival on the wall clock in ns

_MSGHDR: Final = np.dtype(
    [
        ("name", "<u8"),
        ("name_bytes", "<u8"),
        ("iov", "<u8"),
        ("iov_count", "<u8"),
        ("control", "<u8"),
        ("control_bytes", "<u8"),
        ("flags", "<u8"),
        ("size", "<u4"),
        ("pad", "<u4"),
    ]
)
_IOVEC: Final = np.dtype([("base", "<u8"), ("size", "<u8")])
_ADDRESS: Final = np.dtype([("family", "<u2"), ("protocol", ">u2"), ("ifindex", "<i4"), ("rest", "V12")])
_STAMP: Final = np.dtype([("bytes", "<u8"), ("level", "<i4"), ("type", "<i4"), ("s", "<i8"), ("ns", "<i8")])

_ETH_P_ALL: Final = 3
_SOL_PACKET: Final = 263
_PACKET_STATISTICS: Final = 6
_PACKET_IGNORE_OUTGOING: Final = 23
_SO_TIMESTAMPNS: Final = 35
_SO_SNDBUFFORCE: Final = 32
_SO_RCVBUFFORCE: Final = 33
_SOCKET_BYTES: Final = 64 << 20


def open_packet_socket() -> socket.socket:
    """Open a socket that sees every frame that enters the calling thread's namespace, stamped by the kernel.

    Raises:
        PermissionError: without CAP_NET_RAW and CAP_NET_ADMIN there.
    """
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
    sock.setblocking(False)
    sock.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _SOCKET_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _SOCKET_BYTES)
    return sock


class FramePort:
    """Slots for frames in flight, and the socket they come from and go to."""

    def __init__(self, sock: socket.socket, slots: int = 8192) -> None:
        self._fd = sock.fileno()
        self._sock = sock
        libc = ctypes.CDLL(None, use_errno=True)
        self._recvmmsg, self._sendmmsg = libc.recvmmsg, libc.sendmmsg
        self._sendmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]
        self._recvmmsg.argtypes = [*self._sendmmsg.argtypes, ctypes.c_void_p]
        self._store = np.zeros(slots * SLOT_BYTES, dtype=np.uint8)
        self.buffer = memoryview(self._store.data)
        self._free = list(range(slots - 1, -1, -1))
        self._waiting = [self._free.pop() for _ in range(BATCH)]  # the slots that the next receive fills
        self._lay_out(slots)
        self._overrun = 0

    def _lay_out(self, slots: int) -> None:
        base = self._store.ctypes.data + np.arange(slots, dtype=np.uint64) * np.uint64(SLOT_BYTES)
        self._in_iov, self._out_iov = np.zeros(slots, dtype=_IOVEC), np.zeros(slots, dtype=_IOVEC)
        self._in_iov["base"] = self._out_iov["base"] = base
        self._in_iov["size"] = SLOT_BYTES
        self._in, self._out = np.zeros(BATCH, dtype=_MSGHDR), np.zeros(BATCH, dtype=_MSGHDR)
        self._from, self._to = np.zeros(BATCH, dtype=_ADDRESS), np.zeros(BATCH, dtype=_ADDRESS)
        self._stamps = np.zeros(BATCH, dtype=_STAMP)
        self._in["name"], self._out["name"] = _rows(self._from), _rows(self._to)
        self._in["control"] = _rows(self._stamps)
        self._in["iov_count"] = self._out["iov_count"] = 1
        self._out["name_bytes"] = _ADDRESS.itemsize
        self._to["family"], self._to["protocol"] = socket.AF_PACKET, _ETH_P_ALL
        self._in_at, self._out_at = self._in_iov.ctypes.data, self._out_iov.ctypes.data
        self._in_vector, self._out_vector = self._in.ctypes.data, self._out.ctypes.data
        self._out_sizes = self._out_iov["size"]
        self._arm(BATCH)

    def _arm(self, count: int) -> None:
        """Make the first `count` receive headers ready again; the kernel overwrote their lengths."""
        head = self._in[:count]
        head["iov"] = [self._in_at + slot * 16 for slot in self._waiting[:count]]
        head["name_bytes"] = _ADDRESS.itemsize
        head["control_bytes"] = _STAMP.itemsize

    def receive(self) -> list[Frame]:
        """Return the frames that wait, at most BATCH, in order of arrival; each slot is the caller's until `release`."""
        room = min(BATCH, len(self._free))
        if room == 0:
            return []  # all slots are in flight: the kernel's queue holds the rest, stamped
        count = _done(self._recvmmsg(self._fd, self._in_vector, room, socket.MSG_DONTWAIT, None))
        if count == 0:
            return []
        stamps = (self._stamps["s"][:count] * 1_000_000_000 + self._stamps["ns"][:count]).tolist()
        frames = list(
            zip(
                self._waiting[:count],
                self._from["ifindex"][:count].tolist(),
                self._in["size"][:count].tolist(),
                stamps,
                strict=True,
            )
        )
        self._waiting[:count] = [self._free.pop() for _ in range(count)]
        self._arm(count)
        return frames

    def send(self, frames: list[tuple[int, int, int]]) -> int:
        """Send (slot, interface index, size in bytes), at most BATCH, and return how many went before one was refused."""
        count = len(frames)
        slots, ifindexes, sizes = zip(*frames, strict=True)
        self._out_sizes[list(slots)] = sizes
        self._out["iov"][:count] = [self._out_at + slot * 16 for slot in slots]
        self._to["ifindex"][:count] = ifindexes
        return _done(self._sendmmsg(self._fd, self._out_vector, count, socket.MSG_DONTWAIT))

    def copy(self, slot: int, size: int) -> int | None:
        """Return a slot with the same frame, or None when every slot is in flight."""
        if len(self._free) == 0:
            return None
        twin = self._free.pop()
        start, end = slot * SLOT_BYTES, twin * SLOT_BYTES
        self.buffer[end : end + size] = self.buffer[start : start + size]
        return twin

    def release(self, slot: int) -> None:
        """Give a slot back."""
        self._free.append(slot)

    def overrun(self) -> int:
        """Return how many frames the kernel dropped before we read them; more than 0 means the ledger is not whole."""
        _, drops = struct.unpack("=II", self._sock.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        self._overrun += drops
        return self._overrun


# Nothing to read; or the far interface is down, gone, full or smaller: the frame is refused, the wire goes on.
_PASSING: Final = frozenset(
    {errno.EAGAIN, errno.EINTR, errno.ENETDOWN, errno.ENXIO, errno.ENODEV, errno.ENOBUFS, errno.EMSGSIZE}
)


def _done(count: int) -> int:
    """Return how many messages a system call moved; raise OSError for an error that waiting cannot mend."""
    if count >= 0:
        return count
    code = ctypes.get_errno()
    if code in _PASSING:
        return 0
    raise OSError(code, os.strerror(code))


def _rows(array: "np.ndarray[tuple[int], np.dtype[np.void]]") -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
    """Return the address of each row."""
    return array.ctypes.data + np.arange(len(array), dtype=np.uint64) * np.uint64(array.itemsize)
