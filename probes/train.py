"""The packets of a throughput test: numbered data, the question how many arrived, and the answer. Pure."""

import struct
from typing import Final, Literal, NamedTuple

TOKEN_BYTES: Final = 8
HEADER_BYTES: Final = {4: 28, 6: 48}  # IP and UDP, by version
MIN_BYTES: Final = 64  # of a UDP payload; a question is as long, so that no answer is longer than its question

_MAGIC: Final = b"ISOT"
_HEAD: Final = struct.Struct(">4sBx8sI")  # magic, kind, token of the test, number
_REPORT: Final = struct.Struct(">IQ")  # packets, microseconds from the first to the last arrival
Kind = Literal["data", "ask", "report"]
_KINDS: Final[tuple[Kind, ...]] = ("data", "ask", "report")


class TrainPacket(NamedTuple):
    """What a packet says. `number` counts data from 0; in a question it is how many were sent."""

    kind: Kind
    token: bytes
    number: int
    received: int = 0  # in a report: different packets that arrived
    duration_us: int = 0  # in a report: first to last arrival


def pack(packet: TrainPacket, size: int) -> bytes:
    """Return the UDP payload, filled up with zeros to `size` bytes."""
    head = _HEAD.pack(_MAGIC, _KINDS.index(packet.kind), packet.token, packet.number)
    body = _REPORT.pack(packet.received, packet.duration_us) if packet.kind == "report" else b""
    return (head + body).ljust(size, b"\0")


def unpack(payload: bytes) -> TrainPacket | None:
    """Return what a UDP payload says, None when it is none of ours."""
    if len(payload) < MIN_BYTES:
        return None
    magic, kind, token, number = _HEAD.unpack_from(payload)
    if magic != _MAGIC or kind >= len(_KINDS):
        return None
    received, duration_us = _REPORT.unpack_from(payload, _HEAD.size) if _KINDS[kind] == "report" else (0, 0)
    return TrainPacket(_KINDS[kind], token, number, received, duration_us)
