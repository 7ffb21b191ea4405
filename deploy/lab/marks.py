"""Find our test packets among the frames of a wire: a declared place of token and index, nothing else. Pure."""

import struct
from collections.abc import Callable

import msgspec

Mark = tuple[int, int, int]  # session token, packet index, 1 for a reply and 0 for a request
MarkReader = Callable[[memoryview, int, int], Mark | None]  # (buffer, offset of an Ethernet frame, its length)

ETHERNET_BYTES = 14
_PORTS = struct.Struct("!HH")
_U64 = struct.Struct("!Q")
_UDP_HEADER_BYTES = 8
_ICMP_HEADER_BYTES = 8
_ICMP_ECHO = {8: 0, 0: 1}  # type -> reply


class MarkLayout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a test packet carries its 8-byte big-endian token and index.

    UDP: a request has `udp_port` as its destination, a reply as its source only; offsets count from the UDP payload.
    ICMP echo: offsets count from the end of the 8-byte ICMP header.
    """

    udp_port: int = 862
    udp_token_offset: int = 48  # behind the 44-byte base packet and a 4-byte TLV header
    udp_index_offset: int = 56
    icmp_token_offset: int = 0
    icmp_index_offset: int = 8


def mark_reader(layout: MarkLayout) -> MarkReader:
    """Return a function that reads the mark of a frame, and gives None for frames without one."""

    def udp(buffer: memoryview, at: int, end: int) -> Mark | None:
        source, destination = _PORTS.unpack_from(buffer, at)
        if layout.udp_port not in (source, destination):
            return None
        payload = at + _UDP_HEADER_BYTES
        reply = int(destination != layout.udp_port)
        return _mark(buffer, payload + layout.udp_token_offset, payload + layout.udp_index_offset, end, reply)

    def icmp(buffer: memoryview, at: int, end: int) -> Mark | None:
        reply = _ICMP_ECHO.get(buffer[at])
        if reply is None:
            return None
        payload = at + _ICMP_HEADER_BYTES
        return _mark(buffer, payload + layout.icmp_token_offset, payload + layout.icmp_index_offset, end, reply)

    parsers = {17: udp, 1: icmp}

    def read(buffer: memoryview, frame: int, size: int) -> Mark | None:
        at = frame + ETHERNET_BYTES
        if size < ETHERNET_BYTES + 28 or buffer[frame + 12] != 0x08 or buffer[frame + 13] != 0:
            return None  # not IPv4, or too short for IP and UDP or ICMP
        if buffer[at + 7] != 0 or buffer[at + 6] & 0x1F != 0:
            return None  # a later fragment has no ports
        parse = parsers.get(buffer[at + 9])
        return None if parse is None else parse(buffer, at + (buffer[at] & 0x0F) * 4, frame + size)

    return read


def _mark(buffer: memoryview, token_at: int, index_at: int, end: int, reply: int) -> Mark | None:
    if max(token_at, index_at) + 8 > end:
        return None
    return _U64.unpack_from(buffer, token_at)[0], _U64.unpack_from(buffer, index_at)[0], reply
