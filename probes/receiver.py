"""The receiving end of throughput tests: counts what arrives by kernel time and tells the sender when asked.

It runs beside the STAMP reflector, in its process: that is where every measured endpoint has a socket already. It
answers the peers that it was told of and nobody else, never with more bytes than the question had.
"""

import select
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

import msgspec
import structlog

from probes.engine.netns import inside
from probes.gate import Allowed
from probes.train import MIN_BYTES, TrainPacket, pack, unpack
from schemas.clock import Clock
from schemas.errors import UnavailableError

log = structlog.get_logger(__name__)

DEFAULT_PORT: Final = 8620
MAX_TESTS: Final = 64  # remembered at a time; the oldest goes
MAX_PACKETS: Final = 8_000_000  # of one test: 60 s of 1 Gbit/s and something; a bit each
BUFFER_BYTES: Final = 4 << 20
_SO_TIMESTAMPNS: Final = 35
_SO_RCVBUFFORCE: Final = 33
_TIMESPEC: Final = struct.Struct("=qq")
_PACKET_BYTES: Final = 9_216
_BURST: Final = 512  # packets of one socket before the others have their turn
_POLL_S: Final = 0.1  # how long a stop may go unnoticed


class ReceiverEndpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One address to receive on."""

    address: str
    port: int = DEFAULT_PORT
    netns: str | None = None


class ReceiverConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to receive, and from whom."""

    endpoints: tuple[ReceiverEndpoint, ...]
    allow: tuple[str, ...]  # addresses or prefixes of the senders; an empty list serves nobody


class Arrivals:
    """What arrived of one test."""

    def __init__(self) -> None:
        self.received = 0
        self._first_ns = self._last_ns = 0
        self._seen = bytearray()

    @property
    def duration_us(self) -> int:
        """Return the time from the first to the last arrival, 0 when fewer than two packets came."""
        return max(self._last_ns - self._first_ns, 0) // 1_000

    def take(self, number: int, at_ns: int) -> None:
        """Count a packet that arrived at `at_ns` of the wall clock, unless it came before."""
        byte, bit = number >> 3, 1 << (number & 7)
        if number >= MAX_PACKETS:
            return
        if byte >= len(self._seen):
            self._seen.extend(bytes(byte + 1 - len(self._seen)))
        if self._seen[byte] & bit != 0:
            return
        self._seen[byte] |= bit
        self._first_ns = at_ns if self.received == 0 else min(self._first_ns, at_ns)
        self._last_ns = at_ns if self.received == 0 else max(self._last_ns, at_ns)
        self.received += 1


class Receiver:
    """All receiving sockets of a process; `open_receiver` makes it."""

    def __init__(self, config: ReceiverConfig, *, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._allowed = Allowed(config.allow)
        self._tests: dict[tuple[bytes, str], Arrivals] = {}  # by token and sender, the oldest first
        self._socks: dict[int, socket.socket] = {}
        self._poll = select.poll()

    def open(self, stack: ExitStack) -> None:
        """Open all sockets; `stack` closes them."""
        for endpoint in self._config.endpoints:
            sock = stack.enter_context(_open_socket(endpoint))
            self._socks[sock.fileno()] = sock
            self._poll.register(sock, select.POLLIN)

    def serve_once(self, timeout_s: float) -> None:
        """Take what is there, waiting up to `timeout_s` for it."""
        for fd, _ in self._poll.poll(timeout_s * 1_000):
            for _ in range(_BURST):
                if not self._take(self._socks[fd]):
                    break

    def _take(self, sock: socket.socket) -> bool:
        try:
            payload, control, _, peer = sock.recvmsg(_PACKET_BYTES, 64)
        except BlockingIOError:
            return False
        except OSError:  # an ICMP error about an answer of ours: its sender is gone
            return True
        packet = unpack(payload)
        if packet is None or socket.inet_pton(sock.family, peer[0]) not in self._allowed:
            return True
        if packet.kind == "data":
            self._arrivals(packet.token, peer[0]).take(packet.number, self._stamp_ns(control))
        elif packet.kind == "ask":
            self._answer(sock, packet, peer)
        return True

    def _arrivals(self, token: bytes, peer: str) -> Arrivals:
        arrivals = self._tests.get((token, peer))
        if arrivals is None:
            if len(self._tests) >= MAX_TESTS:
                del self._tests[next(iter(self._tests))]
            arrivals = self._tests[token, peer] = Arrivals()
        return arrivals

    def _answer(self, sock: socket.socket, packet: TrainPacket, peer: tuple[str, int]) -> None:
        arrivals = self._tests.get((packet.token, peer[0]), Arrivals())
        report = TrainPacket("report", packet.token, packet.number, arrivals.received, arrivals.duration_us)
        try:
            sock.sendto(pack(report, MIN_BYTES), peer)
        except OSError as err:
            log.warning("throughput report not sent", peer=peer[0], error=err.strerror)

    def _stamp_ns(self, control: list[tuple[int, int, bytes]]) -> int:
        for level, kind, value in control:
            if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS and len(value) >= _TIMESPEC.size:
                seconds, ns = _TIMESPEC.unpack_from(value)
                return int(seconds * 1_000_000_000 + ns)
        return self._clock.wall_ns()


@contextmanager
def open_receiver(config: ReceiverConfig, *, clock: Clock) -> Iterator[Receiver]:
    """Give a receiver with its sockets open, and close them after.

    Raises:
        ConfigError: An entry of `allow` is no address and no prefix.
        UnavailableError: A socket could not be opened; the text names it.
    """
    receiver = Receiver(config, clock=clock)
    with ExitStack() as stack:
        receiver.open(stack)
        yield receiver


def run_receiver(config: ReceiverConfig, *, clock: Clock, stop: Callable[[], bool]) -> None:
    """Receive until `stop` says so; in a thread of the reflector's process, or in one of its own."""
    with open_receiver(config, clock=clock) as receiver:
        log.info("throughput receiver started", sockets=len(config.endpoints))
        while not stop():
            receiver.serve_once(_POLL_S)


def _open_socket(endpoint: ReceiverEndpoint) -> socket.socket:
    family = socket.AF_INET6 if ":" in endpoint.address else socket.AF_INET
    with inside(endpoint.netns):
        sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.bind((endpoint.address, endpoint.port))
    except OSError as err:
        sock.close()
        where = f"throughput receiver {endpoint.address} port {endpoint.port}, namespace {endpoint.netns}"
        raise UnavailableError(f"{where}: {err.strerror}; is it this host's address, and the port free?") from err
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, BUFFER_BYTES)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    return sock
