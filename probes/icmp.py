"""ICMP echo: our request is 84 bytes, and so is the reply; token at 8, index at 16, then zeros.

The 16-bit identifier and sequence number are filled for people who watch the wire, and are matched by nobody.
"""

import struct
from typing import Final

from icmplib import (
    ICMPReply,
    ICMPv4DestinationUnreachable,
    ICMPv4TimeExceeded,
    ICMPv6DestinationUnreachable,
    ICMPv6TimeExceeded,
)

REQUEST_BYTES: Final = 84
TOKEN_AT: Final = 8
TOKEN: Final = struct.Struct(">QQ")
ECHO_REPLY: Final = {4: 0, 6: 129}
ECHO_REQUEST: Final = {4: 8, 6: 128}

_HEAD: Final = struct.Struct(">BBHHH")
_SUM: Final = struct.Struct(">16H")  # the part that is not zero: 8 bytes head, 16 bytes token and index, padding

# icmplib's own names of what a router says, by (IP version, ICMP type)
_TAXONOMY: Final = {
    (4, 3): ICMPv4DestinationUnreachable,
    (4, 11): ICMPv4TimeExceeded,
    (6, 1): ICMPv6DestinationUnreachable,
    (6, 3): ICMPv6TimeExceeded,
}


def fill_request(
    memory: memoryview | bytearray, at: int, *, version: int, identifier: int, token: int, index: int
) -> None:
    """Write an echo request over 84 zero bytes at memory[at:], with the checksum for IPv4; the kernel does IPv6's."""
    _HEAD.pack_into(memory, at, ECHO_REQUEST[version], 0, 0, identifier, index & 0xFFFF)
    TOKEN.pack_into(memory, at + TOKEN_AT, token, index)
    _HEAD.pack_into(memory, at, ECHO_REQUEST[version], 0, checksum(memory, at), identifier, index & 0xFFFF)


def checksum(memory: memoryview | bytearray, at: int) -> int:
    """Return the Internet checksum (RFC 1071) of a request whose bytes after the first 32 are zero."""
    total: int = sum(_SUM.unpack_from(memory, at))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def cause_text(version: int, icmp_type: int, icmp_code: int) -> str:
    """Return icmplib's words for an ICMP error, or type and code where it has no such class."""
    family = _TAXONOMY.get((version, icmp_type))
    if family is None:
        return f"ICMPv{version} type {icmp_type} code {icmp_code}"
    quoted = ICMPReply("", version, 0, 0, icmp_type, icmp_code, 0, 0.0)
    return str(family(quoted))
