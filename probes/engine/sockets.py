"""Sockets that measure: opened where the endpoint lives, stamped by the kernel, with room for bursts.

ICMP sockets come through icmplib's classes: unprivileged where the host permits it (the kernel then demultiplexes),
raw and filtered else. What was got stands in a `SocketReport`, so that nobody has to guess afterwards.
"""

import errno
import socket
import struct
from typing import Any, Final

import icmplib
import msgspec

from probes.engine.netns import inside
from probes.engine.targets import Method, StreamTarget
from schemas.errors import UnavailableError

SO_TIMESTAMPING: Final = 37
_SO_RCVBUFFORCE: Final = 33
_SO_MEMINFO: Final = 55
_MEMINFO: Final = struct.Struct("=9I")  # the last one counts drops
_SOL_RAW: Final = 255
_SOL_ICMPV6: Final = 58
_FILTER: Final = 1  # ICMP_FILTER and ICMP6_FILTER
_IP_RECVERR: Final = 11
_IP_RECVTTL: Final = 12
_IPV6_RECVERR: Final = 25
_IPV6_RECVHOPLIMIT: Final = 51

_TX_SOFTWARE: Final = 1 << 1
_RX_SOFTWARE: Final = 1 << 3
_SOFTWARE: Final = 1 << 4
_OPT_ID: Final = 1 << 7
_OPT_TSONLY: Final = 1 << 11
STAMPS: Final = _TX_SOFTWARE | _RX_SOFTWARE | _SOFTWARE | _OPT_ID | _OPT_TSONLY
_STAMPS_WITHOUT_KEYS: Final = _RX_SOFTWARE | _SOFTWARE

# Transmit stamps are charged to the receive buffer at about 800 bytes each: the default 212 kB loses many in a burst.
BUFFER_BYTES: Final = 4 << 20


class SocketReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one socket really is: the engine's self-check, to print and to keep."""

    netns: str | None
    source: str
    method: Method
    mode: str  # udp, icmp-dgram, icmp-raw; closed when it could not be opened
    stamps: str  # kernel or user: what was asked of the kernel; the counters tell what came
    receive_buffer_bytes: int
    full_buffer: bool  # False: the host's rmem_max cut it, bursts may lose transmit stamps
    error: str = ""  # why it is closed


def open_probe_socket(target: StreamTarget) -> tuple[socket.socket, SocketReport]:
    """Return a non-blocking socket for the target and those it shares it with, and what it turned out to be.

    Raises:
        UnavailableError: No such namespace or address, no permission, no descriptors left; the text has the remedy.
    """
    with inside(target.netns):
        if target.method == "stamp":
            sock, mode = _open_udp(target.source, 0, target.version, target.netns), "udp"
        else:
            sock, mode = _open_icmp(target)
    sock.setblocking(False)
    _set_class(sock, target)
    _ask_for_errors(sock, target.version)
    return sock, _report(sock, netns=target.netns, source=target.source, method=target.method, mode=mode)


def open_reflector_socket(address: str, port: int, netns: str | None) -> tuple[socket.socket, SocketReport]:
    """Return a non-blocking UDP socket that also tells the hop limit of what it receives, and its report.

    Raises:
        UnavailableError: As `open_probe_socket`, and when the port is taken or needs a privilege.
    """
    version = 6 if ":" in address else 4
    with inside(netns):
        sock = _open_udp(address, port, version, netns)
    sock.setblocking(False)
    if version == 4:
        sock.setsockopt(socket.IPPROTO_IP, _IP_RECVTTL, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVHOPLIMIT, 1)
    return sock, _report(sock, netns=netns, source=address, method="stamp", mode="udp")


def restart_keys(sock: socket.socket) -> None:
    """Let the kernel count transmit stamps from 0 again: after a failed send nobody knows whether it counted it."""
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, _STAMPS_WITHOUT_KEYS)
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, STAMPS)


def socket_drops(sock: socket.socket) -> int:
    """Return how many packets the kernel threw away because this socket's buffer was full, since it was opened."""
    return int(_MEMINFO.unpack(sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size))[8])


def name_of(version: int, address: str, port: int) -> bytes:
    """Return the raw sockaddr of an address: 8 bytes that matter for IPv4, 24 for IPv6."""
    packed = socket.inet_pton(socket.AF_INET if version == 4 else socket.AF_INET6, address)
    if version == 4:
        return struct.pack("=H", socket.AF_INET) + struct.pack(">H", port) + packed
    return struct.pack("=H", socket.AF_INET6) + struct.pack(">HI", port, 0) + packed


def _open_udp(address: str, port: int, version: int, netns: str | None) -> socket.socket:
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    try:
        sock = socket.socket(family, socket.SOCK_DGRAM)
    except OSError as err:
        raise UnavailableError(_remedy(err, address, port, netns)) from err
    try:
        sock.bind((address, port))
    except OSError as err:
        sock.close()
        raise UnavailableError(_remedy(err, address, port, netns)) from err
    return sock


def _open_icmp(target: StreamTarget) -> tuple[socket.socket, str]:
    opener: Any = icmplib.ICMPv4Socket if target.version == 4 else icmplib.ICMPv6Socket
    try:
        try:
            return _detached(opener(target.source, privileged=False)), "icmp-dgram"
        except icmplib.SocketPermissionError:
            sock = _detached(opener(target.source, privileged=True))
    except icmplib.SocketPermissionError as err:
        raise UnavailableError(
            f"ICMP from {target.source}: not permitted; set net.ipv4.ping_group_range or grant CAP_NET_RAW"
        ) from err
    except icmplib.ICMPSocketError as err:
        raise UnavailableError(f"ICMP from {_place(target.source, target.netns)}: {err}") from err
    _only_echo_replies(sock, target.version)
    return sock, "icmp-raw"


def _detached(opened: icmplib.ICMPv4Socket | icmplib.ICMPv6Socket) -> socket.socket:
    """Return a socket of our own: icmplib closes its one as soon as the object that opened it goes."""
    own: socket.socket = opened.sock.dup()
    opened.close()
    return own


def _only_echo_replies(sock: socket.socket, version: int) -> None:
    """Spare a raw socket the rest of the namespace's ICMP; errors about our packets come by the error queue."""
    if version == 4:
        sock.setsockopt(_SOL_RAW, _FILTER, struct.pack("=I", 0xFFFF_FFFF ^ 1))
    else:
        blocked = [0xFFFF_FFFF] * 8
        blocked[129 >> 5] ^= 1 << (129 & 31)
        sock.setsockopt(_SOL_ICMPV6, _FILTER, struct.pack("=8I", *blocked))


def _set_class(sock: socket.socket, target: StreamTarget) -> None:
    if target.version == 4:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, target.hop_limit)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, target.dscp << 2)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, target.hop_limit)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, target.dscp << 2)


def _ask_for_errors(sock: socket.socket, version: int) -> None:
    if version == 4:
        sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)


def _report(sock: socket.socket, *, netns: str | None, source: str, method: Method, mode: str) -> SocketReport:
    """Enlarge the buffer, ask for stamps, and say what came of both."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, BUFFER_BYTES)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    size = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, STAMPS)
        stamps = "kernel"
    except OSError:
        stamps = "user"
    return SocketReport(
        netns=netns,
        source=source,
        method=method,
        mode=mode,
        stamps=stamps,
        receive_buffer_bytes=size,
        full_buffer=size >= BUFFER_BYTES,
    )


def _place(address: str, netns: str | None) -> str:
    return address if netns is None else f"{address} in namespace {netns}"


def _remedy(err: OSError, address: str, port: int, netns: str | None) -> str:
    where = f"{_place(address, netns)} port {port}" if port > 0 else _place(address, netns)
    match err.errno:
        case errno.EADDRNOTAVAIL:
            return f"{where}: this host does not have that address; check the endpoint in the mesh file"
        case errno.EADDRINUSE:
            return f"{where}: the port is in use; another reflector or agent runs here"
        case errno.EACCES | errno.EPERM:
            return f"{where}: not permitted; ports below 1024 need CAP_NET_BIND_SERVICE"
        case errno.EMFILE | errno.ENFILE:
            return f"{where}: no file descriptors left; raise LimitNOFILE"
        case _:
            return f"{where}: {err.strerror}"
