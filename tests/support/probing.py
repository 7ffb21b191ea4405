"""Driving the engine over loopback: a reflector in a thread, a puppet that answers as the test says, and targets."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

import numpy as np

from probes import stamp
from probes.engine.core import Engine
from probes.engine.targets import Method, StreamTarget
from probes.packets import Packets
from probes.reflector import Reflector, ReflectorConfig, ReflectorEndpoint, open_reflector
from schemas.clock import SystemClock

MS = 1_000_000
INTERVAL_NS = 20 * MS
TIMEOUT_NS = 300 * MS
SOURCE = "127.0.0.1"


def dice(seed: int) -> Random:
    """Return random numbers that are the same in every run."""
    return Random(seed)  # noqa: S311 - phases, not secrets


def target(row: int = 0, *, method: Method = "stamp", destination: str = "127.0.7.1", port: int = 862) -> StreamTarget:
    """Return a stream of 50/s with a timeout of 0.3 s."""
    return StreamTarget(
        row=row, stream_id=1_000 + row, token=0xABCD_0000_0000_0000 + row, method=method, source=SOURCE,
        destination=destination, port=port, interval_ns=INTERVAL_NS, timeout_ns=TIMEOUT_NS,
    )  # fmt: skip


def drive(engine: Engine, seconds: float, each_tick: Callable[[], object] = lambda: None) -> None:
    """Tick every 2 ms for so long."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        engine.tick()
        each_tick()
        time.sleep(0.002)


def drive_until(engine: Engine, done: Callable[[], bool], what: str, each_tick: Callable[[], object]) -> None:
    """Tick until `done`, at most 5 s."""
    until = time.monotonic() + 5
    while not done():
        assert time.monotonic() < until, f"waited 5 s for {what}: {engine.counters}"
        engine.tick()
        each_tick()
        time.sleep(0.002)


def packets(engine: Engine, row: int = 0) -> Packets:
    """Return all packets of a stream that its ring holds from the beginning."""
    return engine.stretch(row, 0, np.iinfo(np.int64).max)[0]


@contextmanager
def reflecting(*endpoints: ReflectorEndpoint, allow: tuple[str, ...] = ("127.0.0.0/8", "::1")) -> Iterator[Reflector]:
    """Run the real reflector on these endpoints in a thread."""
    stop = threading.Event()
    with open_reflector(ReflectorConfig(endpoints=endpoints, allow=allow), clock=SystemClock()) as reflector:

        def serve() -> None:
            while not stop.is_set():
                reflector.serve_once(0.02)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield reflector
        finally:
            stop.set()
            thread.join(timeout=5)
            assert not thread.is_alive(), "the reflector did not stop within 5 s"


class Puppet:
    """A peer that keeps every request until the test tells it what to do."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.port: int = sock.getsockname()[1]
        self.requests: list[tuple[bytes, tuple[str, int]]] = []
        self.counter = 0

    def take(self) -> int:
        """Take the requests that wait; return how many there are in all."""
        while True:
            try:
                self.requests.append(self._sock.recvfrom(2048))
            except BlockingIOError:
                return len(self.requests)

    def reply(self, place: int, *, token: int | None = None, count: bool = True) -> bytes:
        """Return the reply to a request, as a stateful reflector counts; with another token where one is given."""
        request = bytearray(self.requests[place][0])
        if token is not None:
            request[stamp.TOKEN_AT : stamp.TOKEN_AT + 8] = token.to_bytes(8, "big")
        self.counter += count
        now_ns = SystemClock().wall_ns()
        stamp.encode_base_reply(
            request, 0, bytes(request), counter=self.counter, receive_ns=now_ns, transmit_ns=now_ns,
            error_estimate=0x4001, ttl=64,
        )  # fmt: skip
        stamp.reflect_tlvs(request, stamp.BASE_BYTES, len(request), None)
        return bytes(request)

    def send(self, place: int, reply: bytes) -> None:
        """Send a reply to the sender of a request."""
        self._sock.sendto(reply, self.requests[place][1])

    def answer(self, place: int) -> None:
        """Answer a request as one should."""
        self.send(place, self.reply(place))


@contextmanager
def puppet(address: str = "127.0.7.1") -> Iterator[Puppet]:
    """Give a puppet that listens on a free port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((address, 0))
        sock.setblocking(False)
        yield Puppet(sock)
