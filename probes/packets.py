"""What the engine knows of each test packet, and how it hands a stretch of them to `summarise`.

The engine keeps, for every stream, a ring of its newest packets. `summarise` sees a copy of a stretch of that ring, in
index order without holes: the packets of the slot, those before it (for the pair and the loss run that began there)
and those after it (whose replies tell the direction of a loss).
"""

import enum
import uuid
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray


class Fate(enum.IntEnum):
    """What became of one packet; PENDING until its reply or its timeout.

    Late and unreachable packets are lost packets with a known cause; a packet whose send failed was never sent.
    """

    PENDING = 0
    ANSWERED = 1
    LOST = 2
    LATE = 3
    UNREACHABLE = 4
    SEND_FAILED = 5


PACKET: Final = np.dtype(
    [
        ("index", "<u8"),  # position in the stream since the agent started: 0, 1, 2, ...
        ("due_ns", "<i8"),  # scheduled departure on the wall clock; it alone decides the slot
        ("fate", "<u1"),  # Fate
        ("rtt_ns", "<i8"),  # (T4 - T1) - (T3 - T2): round trip without the reflector's time; meaningful when ANSWERED
        (
            "forward_ns",
            "<i8",
        ),  # T2 - T1, carries the clock error of both ends; meaningful when ANSWERED and two_way is False
        ("backward_ns", "<i8"),  # T4 - T3, likewise
        ("counter", "<i8"),  # the reflector's own sequence number in the reply, -1 where the method has none
        ("duplicates", "<u2"),  # further replies to this packet
        ("duplicate_counters", "<u2"),  # how many of those carried a reflector sequence number of their own
        ("reordered", "?"),  # its reply carried an index below one already answered (RFC 4737)
    ]
)
Packets = NDArray[Any]  # of dtype PACKET

NO_DELAY_NS: Final = -(1 << 63)  # in a delay of an ANSWERED packet: the clock stepped while it was in flight, no delay

LOST_FATES: Final = (Fate.LOST, Fate.LATE, Fate.UNREACHABLE)


def stream_token(spool_id: uuid.UUID, stream_id: int) -> int:
    """Return the 8-byte token that every test packet of this stream carries in this run of the agent.

    The low 62 random bits of the spool's UUIDv7 make it hard to guess; the stream makes it unique among the packets of
    the agent, so that (token, index) names one packet, in the replies and in the lab's ledger alike.
    """
    return (spool_id.int & 0xFFFF_FFFF_FFFF_FFFF) ^ stream_id
