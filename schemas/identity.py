"""Names that are computed, not given: the number of a stream, the name of a spool."""

import hashlib
import uuid
from collections.abc import Callable
from typing import Final

from schemas.clock import Clock, wall_ms

STREAM_ID_BITS: Final = 53  # the largest integer that JSON readers and JavaScript keep exact
_SEPARATOR: Final = "\0"  # no part may hold it, so two different fives never read the same


def stream_id(mesh: str, source: str, destination: str, method: str, traffic_class: str) -> int:
    """Return the number of a stream: the low 53 bits of BLAKE2b over its five parts.

    Args:
        mesh: id of the mesh.
        source: id of the endpoint that sends.
        destination: id of the endpoint that answers.
        method: how it is measured: `stamp`, `icmp`.
        traffic_class: the class it is marked with: `be`, `ef`.

    Raises:
        ValueError: a part holds a NUL.
    """
    parts = (mesh, source, destination, method, traffic_class)
    if any(_SEPARATOR in part for part in parts):
        raise ValueError(f"a part of a stream's name holds a NUL: {parts!r}")
    digest = hashlib.blake2b(_SEPARATOR.join(parts).encode()).digest()
    return int.from_bytes(digest, "big") & ((1 << STREAM_ID_BITS) - 1)


def new_spool_id(clock: Clock, random_bytes: Callable[[int], bytes]) -> uuid.UUID:
    """Return a new UUIDv7 (RFC 9562 5.7): 48 bits of UTC milliseconds, then 74 random bits.

    Args:
        clock: its wall time is the first part, so that spool ids sort by age.
        random_bytes: the source of randomness, `os.urandom` outside of tests.
    """
    random = int.from_bytes(random_bytes(10), "big")
    at_ms = wall_ms(clock) & ((1 << 48) - 1)
    rand_a = random >> 62 & 0xFFF
    rand_b = random & ((1 << 62) - 1)
    return uuid.UUID(int=at_ms << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b)
