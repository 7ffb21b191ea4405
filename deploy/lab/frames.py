"""One AF_PACKET socket over all interfaces of a namespace: batches in with kernel stamps, batches out. 64-bit Linux.

The memory is laid out once. A frame stays in its slot from arrival to release; only addresses move.
"""

import ctypes
import errno
import os
import socket
import struct
from typing import Final, Literal

from schemas.clock import Clock

SLOT_BYTES: Final = 2048
BATCH: Final = 64

Frame = tuple[int, int, int, int]  # slot, interface index, size in bytes, arrival on the wall clock in ns

# Places in the kernel's structures, counted in words of the named size.
_HEAD: Final = 8  # 8-byte words of a struct mmsghdr:
_NAME, _NAME_BYTES, _IOV, _IOV_COUNT, _CONTROL, _CONTROL_BYTES, _SIZE = 0, 1, 2, 3, 4, 5, 7
_ADDRESS: Final = 8  # 4-byte words we give to a struct sockaddr_ll (it fills five):
_FAMILY_PROTOCOL, _IFINDEX = 0, 1
_ADDRESS_BYTES: Final = 20
_STAMP: Final = 4  # 8-byte words of a control message with a timespec:
_S, _NS = 2, 3
_IOVEC: Final = 2  # 8-byte words of a struct iovec: base, size

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

    def __init__(self, sock: socket.socket, clock: Clock, slots: int = 8192) -> None:
        self._sock = sock
        self._clock = clock
        self._fd = sock.fileno()
        libc = ctypes.CDLL(None, use_errno=True)
        self._recvmmsg, self._sendmmsg = libc.recvmmsg, libc.sendmmsg
        self._sendmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]
        self._recvmmsg.argtypes = [*self._sendmmsg.argtypes, ctypes.c_void_p]
        self.buffer, base = _memory(slots * SLOT_BYTES, "B")
        self._free = list(range(slots - 1, -1, -1))
        self._waiting = [self._free.pop() for _ in range(BATCH)]  # the slots that the next receive fills
        self._overrun = 0
        self._in, self._in_at = _memory(BATCH * _HEAD * 8, "Q")
        self._out, self._out_at = _memory(BATCH * _HEAD * 8, "Q")
        self._from, self._to, self._stamps = self._addresses(self._in), self._addresses(self._out), self._controls()
        self._in_iov, self._in_iov_at = _iovecs(base, slots)
        self._out_iov, self._out_iov_at = _iovecs(base, slots)
        for place in range(BATCH):
            self._to[place * _ADDRESS + _FAMILY_PROTOCOL] = socket.AF_PACKET | socket.htons(_ETH_P_ALL) << 16
            self._arm(place)

    def _addresses(self, heads: memoryview) -> memoryview:
        words, at = _memory(BATCH * _ADDRESS * 4, "i")
        for place in range(BATCH):
            heads[place * _HEAD + _NAME] = at + place * _ADDRESS * 4
            heads[place * _HEAD + _NAME_BYTES] = _ADDRESS_BYTES
            heads[place * _HEAD + _IOV_COUNT] = 1
        return words

    def _controls(self) -> memoryview:
        words, at = _memory(BATCH * _STAMP * 8, "q")
        for place in range(BATCH):
            self._in[place * _HEAD + _CONTROL] = at + place * _STAMP * 8
        return words

    def _arm(self, place: int) -> None:
        """Make a receive header ready again: the kernel overwrote its lengths, and its slot may be a new one."""
        head = place * _HEAD
        self._in[head + _NAME_BYTES] = _ADDRESS_BYTES
        self._in[head + _IOV] = self._in_iov_at + self._waiting[place] * _IOVEC * 8
        self._in[head + _CONTROL_BYTES] = _STAMP * 8

    def receive(self) -> list[Frame]:
        """Return the frames that wait, at most BATCH, in order of arrival; the caller gives the slots back."""
        room = min(BATCH, len(self._free))
        if room == 0:
            return []  # all slots are in flight: the kernel's queue holds the rest, stamped
        count = _done(self._recvmmsg(self._fd, self._in_at, room, socket.MSG_DONTWAIT, None))
        return [self._take(place) for place in range(count)]

    def _take(self, place: int) -> Frame:
        stamp = place * _STAMP
        frame = (
            self._waiting[place],
            self._from[place * _ADDRESS + _IFINDEX],
            self._in[place * _HEAD + _SIZE],
            self._stamps[stamp + _S] * 1_000_000_000 + self._stamps[stamp + _NS],
        )
        self._waiting[place] = self._free.pop()
        self._arm(place)
        return frame

    def send(self, frames: list[tuple[int, int, int]]) -> tuple[int, int, int]:
        """Send (slot, interface index, size in bytes), at most BATCH, in one system call.

        Returns:
            How many went before one was refused, and the monotonic times in ns around the system call.
        """
        for place, (slot, ifindex, size) in enumerate(frames):
            self._out_iov[slot * _IOVEC + 1] = size
            self._out[place * _HEAD + _IOV] = self._out_iov_at + slot * _IOVEC * 8
            self._to[place * _ADDRESS + _IFINDEX] = ifindex
        start_ns = self._clock.mono_ns()
        count = self._sendmmsg(self._fd, self._out_at, len(frames), socket.MSG_DONTWAIT)
        end_ns = self._clock.mono_ns()
        return _done(count), start_ns, end_ns

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


def _memory(size: int, form: Literal["B", "i", "q", "Q"]) -> tuple[memoryview, int]:
    """Return zeroed memory as words of a struct format character, and its address."""
    block = ctypes.create_string_buffer(size)
    return memoryview(block).cast("B").cast(form), ctypes.addressof(block)  # the view keeps the block alive


def _iovecs(base: int, slots: int) -> tuple[memoryview, int]:
    """Return one struct iovec a slot, over the whole slot."""
    words, at = _memory(slots * _IOVEC * 8, "Q")
    for slot in range(slots):
        words[slot * _IOVEC] = base + slot * SLOT_BYTES
        words[slot * _IOVEC + 1] = SLOT_BYTES
    return words, at
