"""Small labs for tests: topologies, an echo that stamps arrivals, and a sender of marked test packets."""

import os
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import msgspec

from deploy.lab.lab import Lab
from deploy.lab.netns import in_namespace
from deploy.lab.topology import Host, Impairment, Link, Topology
from schemas.clock import SystemClock

PORT = 862
TOKEN_OFFSET = 48
_SO_TIMESTAMPNS = 35
_TICK_S = 0.05


def two_hosts(forward: Impairment, backward: Impairment | None = None) -> Topology:
    """Return hosts `a` and `b` joined by the link `ab`."""
    return chain(2, forward, backward)


def chain(size: int, forward: Impairment, backward: Impairment | None = None) -> Topology:
    """Return hosts a, b, c, ... in a row, joined by the links ab, bc, ..."""
    names = "abcdefgh"[:size]
    hosts = tuple(Host(name=name, addresses=(f"10.77.0.{place + 1}",)) for place, name in enumerate(names))
    links = tuple(
        Link(name=left + right, a=left, b=right, forward=forward, backward=backward or forward)
        for left, right in pairwise(names)
    )
    return Topology(hosts=hosts, links=links)


def mark(token: int, index: int, size_bytes: int = 64) -> bytes:
    """Return a UDP payload that the wire recognises as test packet (token, index)."""
    return bytes(TOKEN_OFFSET) + struct.pack("!QQ", token, index) + bytes(max(0, size_bytes - 64))


def index_of(payload: bytes) -> int:
    """Return the index in a marked payload."""
    index: int = struct.unpack_from("!Q", payload, TOKEN_OFFSET + 8)[0]
    return index


def stamped_socket(lab: Lab, host: str, port: int = 0) -> socket.socket:
    """Open a UDP socket in a host of the lab, with kernel arrival stamps and room for bursts."""
    with in_namespace(lab.namespace(host)):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.bind((lab.address(host), port))
    return sock


def receive(sock: socket.socket) -> tuple[bytes, int, tuple[str, int]]:
    """Return payload, kernel stamp in wall ns, and sender of the next packet."""
    payload, control, _, sender = sock.recvmsg(2048, 64)
    s, ns = struct.unpack("=qq", control[0][2])
    return payload, s * 1_000_000_000 + ns, sender


class Arrivals(msgspec.Struct):
    """What an echo saw: (index, kernel stamp in wall ns) in order of arrival."""

    seen: list[tuple[int, int]]


@contextmanager
def echo(lab: Lab, host: str, *, replies: bool = True) -> Iterator[Arrivals]:
    """Answer test packets on port 862 of a host with themselves, in a thread, while the block lasts."""
    arrivals, over = Arrivals([]), threading.Event()
    with stamped_socket(lab, host, PORT) as sock:
        thread = threading.Thread(target=_serve, args=(sock, arrivals, over, replies))
        thread.start()
        try:
            yield arrivals
        finally:
            over.set()
            thread.join()


def _serve(sock: socket.socket, arrivals: Arrivals, over: threading.Event, replies: bool) -> None:
    while not over.is_set():
        if not select.select([sock], [], [], _TICK_S)[0]:
            continue
        payload, stamp_ns, sender = receive(sock)
        arrivals.seen.append((index_of(payload), stamp_ns))
        if replies:
            sock.sendto(payload, sender)


class Exchange(msgspec.Struct):
    """What a sender saw: when each index left (wall ns, before the system call) and each reply's kernel stamp."""

    sent_ns: dict[int, int]
    replies: list[tuple[int, int]]


def exchange(
    lab: Lab,
    source: str,
    target: str,
    *,
    token: int,
    count: int,
    spacing_s: float,
    settle_s: float,
    size_bytes: int = 64,
) -> Exchange:
    """Send `count` marked packets, one each `spacing_s`, and collect replies until `settle_s` after the last."""
    clock, seen = SystemClock(), Exchange({}, [])
    with stamped_socket(lab, source) as sock:
        start_ns = clock.mono_ns()
        for index in range(count):
            _collect(sock, seen, start_ns + round(index * spacing_s * 1e9))
            seen.sent_ns[index] = clock.wall_ns()
            sock.sendto(mark(token, index, size_bytes), (lab.address(target), PORT))
        _collect(sock, seen, clock.mono_ns() + round(settle_s * 1e9))
    return seen


def _collect(sock: socket.socket, seen: Exchange, until_ns: int) -> None:
    clock = SystemClock()
    while (left_ns := until_ns - clock.mono_ns()) > 0:
        if select.select([sock], [], [], left_ns / 1e9)[0]:
            payload, stamp_ns, _ = receive(sock)
            seen.replies.append((index_of(payload), stamp_ns))


def ping_once(
    lab: Lab, source: str, target: str, *, ttl: int = 64, payload: bytes = bytes(16), wait_s: float = 2.0
) -> tuple[int, str] | None:
    """Send one ICMP echo; return the ICMP type and sender of the answer to it, or None when none came in time."""
    identifier = os.getpid() & 0xFFFF
    with in_namespace(lab.namespace(source)):
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    with sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
        sock.sendto(_echo_request(identifier, payload), (lab.address(target), 0))
        while select.select([sock], [], [], wait_s)[0]:
            packet, sender = sock.recvfrom(2048)
            if packet[20] in {0, 11}:
                return packet[20], sender[0]
    return None


def _echo_request(identifier: int, payload: bytes) -> bytes:
    body = struct.pack("!HH", identifier, 1) + payload
    total = 0x0800 + sum(struct.unpack(f"!{len(body) // 2}H", body))
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!BBH", 8, 0, ~(total + (total >> 16)) & 0xFFFF) + body
