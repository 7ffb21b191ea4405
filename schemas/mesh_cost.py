"""What a mesh costs: packets, summaries and bandwidth, whole and for each probe."""

import math
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from schemas.mesh_endpoints import Endpoint
from schemas.mesh_file import Defaults
from schemas.mesh_streams import Stream

_IP_BYTES: Final = {4: 20, 6: 40}
_TRANSPORT_BYTES: Final = 8  # the UDP header, and the ICMP echo header


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """The load of some streams, in their sending direction; the replies cost as much again."""

    streams: int
    packets_per_s: float
    summaries_per_s: float
    kbit_per_s: float  # of IP packets, headers included


def cost(streams: Iterable[Stream], endpoints: Mapping[str, Endpoint], defaults: Defaults) -> Cost:
    """Return the load of these streams."""
    count, packets_per_s, bits_per_s = 0, [], []
    for stream in streams:
        count += 1
        rate = 1000 / stream.interval_ms
        header_bytes = _IP_BYTES[endpoints[stream.source].family or 4] + _TRANSPORT_BYTES
        packets_per_s.append(rate)
        bits_per_s.append(rate * 8 * (header_bytes + defaults.payload_bytes))
    return Cost(
        streams=count,
        packets_per_s=round(math.fsum(packets_per_s), 3),
        summaries_per_s=round(count * 1000 / defaults.slot_ms, 3),
        kbit_per_s=round(math.fsum(bits_per_s) / 1000, 3),
    )
