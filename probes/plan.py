"""What follows from a probe's slice of the mesh: the engine's targets, and which tests load which streams. Pure."""

import uuid
from collections.abc import Mapping, Sequence

import msgspec

from probes.engine.targets import StreamTarget
from probes.packets import stream_token
from schemas.mesh_slice import ProbeSlice, SliceStream

_UNUSED_PORT = 862  # of a method without ports


class LoadedSpan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A time in which a throughput test loads streams: their slots are flagged and never raise an alarm."""

    from_ms: int
    until_ms: int
    endpoints: tuple[str, ...] = ()  # a stream from or to one of them is loaded
    streams: tuple[int, ...] = ()  # and these, which share a segment with the test


def targets_of(slice_: ProbeSlice, *, spool_id: str, netns: Mapping[str, str]) -> list[StreamTarget]:
    """Return the engine's targets, in the order of the slice.

    Args:
        slice_: What the mesh has this probe do.
        spool_id: The run; its random bits are in the token of every packet.
        netns: Namespace to send from, by source endpoint; absent is the agent's own.
    """
    run = uuid.UUID(spool_id)
    return [
        StreamTarget(
            row=row,
            stream_id=stream.id,
            token=stream_token(run, stream.id),
            method=stream.method,
            source=stream.source_address,
            destination=stream.destination_address,
            port=stream.destination_port if stream.destination_port > 0 else _UNUSED_PORT,
            netns=netns.get(stream.source),
            interval_ns=stream.interval_ms * 1_000_000,
            timeout_ns=stream.timeout_ms * 1_000_000,
            dscp=stream.dscp,
        )
        for row, stream in enumerate(slice_.streams)
    ]


def is_loaded(stream: SliceStream, spans: Sequence[LoadedSpan], *, start_ms: int, end_ms: int) -> bool:
    """Return whether a test touches the stream in the slot [start_ms, end_ms)."""
    return any(
        span.from_ms < end_ms
        and start_ms < span.until_ms
        and (stream.id in span.streams or stream.source in span.endpoints or stream.destination in span.endpoints)
        for span in spans
    )
