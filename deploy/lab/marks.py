"""Find our test packets among the frames of a wire: a declared place of token and index, nothing else. Pure."""

import struct
from collections.abc import Callable

import msgspec

Mark = tuple[int, int, int]  # session token, packet index, 1 for a reply and 0 for a request
MarkReader = Callable[[memoryview, int, int], Mark | None]  # (buffer, offset of an Ethernet frame, its length)

ETHERNET_BYTES = 14
_PORTS = struct.Struct("!HH")
_U64 = struct.Struct("!Q")
_HEADER_BYTES = 8  # of UDP and of ICMP echo alike
_SHORTEST_BYTES = ETHERNET_BYTES + 20 + _HEADER_BYTES
_UDP, _ICMP = 17, 1
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
    port, udp_token, udp_index = layout.udp_port, layout.udp_token_offset, layout.udp_index_offset
    icmp_token, icmp_index = layout.icmp_token_offset, layout.icmp_index_offset

    def read(buffer: memoryview, frame: int, size: int) -> Mark | None:
        at = frame + ETHERNET_BYTES
        if size < _SHORTEST_BYTES or buffer[frame + 12] != 0x08 or buffer[frame + 13] != 0:
            return None  # not IPv4, or too short for IP and UDP or ICMP
        if buffer[at + 7] != 0 or buffer[at + 6] & 0x1F != 0:
            return None  # a later fragment has no ports
        payload = at + (buffer[at] & 0x0F) * 4 + _HEADER_BYTES
        protocol = buffer[at + 9]
        if protocol == _UDP:
            source, destination = _PORTS.unpack_from(buffer, payload - _HEADER_BYTES)
            if port not in (source, destination):
                return None
            token_at, index_at, reply = payload + udp_token, payload + udp_index, int(destination != port)
        elif protocol == _ICMP and buffer[payload - _HEADER_BYTES] in _ICMP_ECHO:
            token_at, index_at = payload + icmp_token, payload + icmp_index
            reply = _ICMP_ECHO[buffer[payload - _HEADER_BYTES]]
        else:
            return None
        if token_at + 8 > frame + size or index_at + 8 > frame + size:
            return None
        return _U64.unpack_from(buffer, token_at)[0], _U64.unpack_from(buffer, index_at)[0], reply

    return read
