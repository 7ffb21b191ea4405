"""What one probe needs of the mesh, and no more: its streams, its schedule, its limits, who may test against it."""

from collections.abc import Iterator
from typing import Literal

import msgspec

from schemas.errors import MeshError
from schemas.mesh import Mesh
from schemas.mesh_endpoints import Endpoint
from schemas.mesh_file import DSCP, Limits, Method, ProbeKey
from schemas.mesh_streams import Stream


class SliceEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An address of this probe: it sends from here, and reflects STAMP on `port`."""

    id: str
    node: str
    address: str
    family: int
    port: int


class SliceStream(msgspec.Struct, frozen=True, kw_only=True):
    """A stream to send."""

    id: int
    source: str
    source_address: str
    destination: str
    destination_address: str
    destination_port: int  # 0 for a method without ports
    method: Method
    traffic_class: str
    dscp: int
    interval_ms: int
    timeout_ms: int
    planned_per_slot: int


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """Periodic with a random start inside the interval (RFC 3432)."""

    slot_ms: int
    payload_bytes: int
    kind: Literal["periodic"] = "periodic"
    random_start: bool = True


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """Another probe that may test against this one: the addresses it sends from, its keys."""

    probe_id: str
    addresses: tuple[str, ...]
    keys: tuple[ProbeKey, ...]


class ProbeSlice(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a mesh that one probe runs on; JSON in, JSON out."""

    mesh: str
    mesh_version: str
    probe_id: str
    schedule: Schedule
    limits: Limits
    endpoints: tuple[SliceEndpoint, ...]
    streams: tuple[SliceStream, ...]
    peers: tuple[Peer, ...]


def probe_slice(mesh: Mesh, probe_id: str) -> ProbeSlice:
    """Return the slice of one probe.

    Raises:
        MeshError: the mesh has no such probe.
    """
    probe = mesh.probe_by_id.get(probe_id)
    if probe is None:
        known = ", ".join(list(mesh.probe_by_id)[:12])
        raise MeshError(f"mesh {mesh.id}: probe: `{probe_id}` is unknown; known: {known}")
    own = [mesh.endpoint_by_id[name] for name in probe.endpoints]
    return ProbeSlice(
        mesh=mesh.id,
        mesh_version=mesh.version,
        probe_id=probe_id,
        schedule=Schedule(slot_ms=mesh.defaults.slot_ms, payload_bytes=mesh.defaults.payload_bytes),
        limits=mesh.limits,
        endpoints=tuple(_endpoint(endpoint) for endpoint in own),
        streams=tuple(_stream(stream, mesh) for stream in mesh.streams if stream.probe_id == probe_id),
        peers=tuple(_peers(mesh, frozenset(probe.endpoints))),
    )


def planned_per_slot(stream: Stream, mesh: Mesh) -> int:
    """Return how many packets of a stream each slot owns."""
    return mesh.defaults.slot_ms // stream.interval_ms


def slice_to_json(each: ProbeSlice) -> bytes:
    """Return the bytes that are signed and stored; equal slices give equal bytes."""
    return msgspec.json.encode(each, order="deterministic")


def slice_from_json(value: bytes) -> ProbeSlice:
    """Return the slice of these bytes; an unknown field is a newer sender's and passes.

    Raises:
        MeshError: they are no slice.
    """
    try:
        return msgspec.json.decode(value, type=ProbeSlice)
    except msgspec.DecodeError as err:
        raise MeshError(f"not a slice of a mesh: {err}; export it anew with `isochrone mesh export`") from err


def _endpoint(endpoint: Endpoint) -> SliceEndpoint:
    return SliceEndpoint(
        id=endpoint.id, node=endpoint.node, address=endpoint.address, family=endpoint.family, port=endpoint.port
    )


def _stream(stream: Stream, mesh: Mesh) -> SliceStream:
    source, destination = mesh.endpoint_by_id[stream.source], mesh.endpoint_by_id[stream.destination]
    return SliceStream(
        id=stream.id,
        source=source.id,
        source_address=source.address,
        destination=destination.id,
        destination_address=destination.address,
        destination_port=destination.port if stream.method == "stamp" else 0,
        method=stream.method,
        traffic_class=stream.traffic_class,
        dscp=DSCP[stream.traffic_class],
        interval_ms=stream.interval_ms,
        timeout_ms=stream.timeout_ms,
        planned_per_slot=planned_per_slot(stream, mesh),
    )


def _peers(mesh: Mesh, own: frozenset[str]) -> Iterator[Peer]:
    """Yield the probes whose STAMP streams end here, itself included where it tests its own endpoints."""
    senders: dict[str, set[str]] = {}
    for stream in mesh.streams:
        if stream.destination in own and stream.method == "stamp":
            senders.setdefault(stream.probe_id, set()).add(mesh.endpoint_by_id[stream.source].address)
    for probe_id in sorted(senders):
        yield Peer(probe_id=probe_id, addresses=tuple(sorted(senders[probe_id])), keys=mesh.probe_by_id[probe_id].keys)
