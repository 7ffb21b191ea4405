"""One client's socket: bytes in with deadlines, packets out in order, and a look at it while a query runs."""

import select
import socket
import threading
from enum import Enum
from typing import Final

from deploy.embedded.clickhouse.packets import Client, Server
from deploy.embedded.clickhouse.wire import Reader, varint

MAX_PACKET_BYTES: Final = 512 << 20  # a block is held whole: the engine takes it in one piece
PACKET_DEADLINE_S: Final = 60.0  # between two reads inside a packet, and for a client that does not read
_FLUSH_BYTES: Final = 1 << 18
_SMALL_BYTES: Final = 1 << 12  # a socket with room for anything has room for this
# Rows, bytes, rows to read, rows and bytes written: all 0. It tells a waiting client that the server lives.
_HEARTBEAT: Final = varint(Server.PROGRESS) + bytes(5)


class Sign(Enum):
    """What a client does while its query runs."""

    NOTHING = "nothing"
    CANCEL = "cancel"
    GONE = "gone"


class Channel:
    """Reads and writes packets; `peek` and `beat` may be called from another thread."""

    def __init__(self, client: socket.socket) -> None:
        self.reader = Reader(self._fill, limit_bytes=MAX_PACKET_BYTES)
        self._client = client
        self._out = bytearray()
        self._lock = threading.Lock()
        self._waiting = False

    def next_packet(self, deadline_s: float) -> int:
        """Wait for the next packet and return its type; raises `Disconnected`, or `TimeoutError` after a deadline."""
        self.reader.forget()
        self._waiting = True
        self._client.settimeout(deadline_s)
        try:
            return self.reader.varint()
        finally:
            self._waiting = False
            self._client.settimeout(PACKET_DEADLINE_S)

    def write(self, packet: bytes) -> None:
        """Queue a packet; a long queue is sent at once."""
        with self._lock:
            self._out += packet
            if len(self._out) >= _FLUSH_BYTES:
                self._send()

    def flush(self) -> None:
        """Send what is queued."""
        with self._lock:
            self._send()

    def peek(self) -> Sign:
        """Look at what the client sends without taking it."""
        if not _ready(self._client, select.POLLIN | select.POLLHUP):
            return Sign.NOTHING
        try:
            first = self._client.recv(1, socket.MSG_PEEK)
        except OSError:
            return Sign.GONE
        if not first:
            return Sign.GONE
        return Sign.CANCEL if first[0] == Client.CANCEL else Sign.NOTHING

    def beat(self) -> None:
        """Send a sign of life when nothing else is being sent and the client has room for it."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            if len(self._out) < _SMALL_BYTES and _ready(self._client, select.POLLOUT):
                self._out += _HEARTBEAT
                self._send()
        except OSError:
            return  # the session itself will meet the same error
        finally:
            self._lock.release()

    def hang_up(self, *, if_waiting: bool) -> None:
        """Close for reading: at once, or only when no packet is under way."""
        if if_waiting and not self._waiting:
            return
        try:
            self._client.shutdown(socket.SHUT_RD)
        except OSError:
            return  # closed already

    def _send(self) -> None:
        if self._out:
            self._client.sendall(self._out)
            self._out.clear()

    def _fill(self, size_bytes: int) -> bytes:
        return self._client.recv(min(size_bytes, 1 << 20))


def _ready(client: socket.socket, events: int) -> bool:
    poll = select.poll()
    try:
        poll.register(client, events)
    except ValueError:
        return False  # closed
    return bool(poll.poll(0))
