"""A mesh -> rows of the tables mesh, node, endpoint and stream, so that the judge joins on the plan of the time."""

from typing import Final

from schemas.mesh import Mesh
from schemas.mesh_endpoints import Endpoint
from schemas.mesh_file import Node
from schemas.mesh_slice import planned_per_slot
from schemas.mesh_streams import Stream, distance_km

Row = dict[str, object]
NO_CONTROL: Final = 0  # in the column `control` of a stream inside one carrier


def mesh_rows(mesh: Mesh, valid_from_s: int) -> dict[str, list[Row]]:
    """Return the rows by table name.

    Args:
        mesh: the mesh.
        valid_from_s: UTC seconds, a whole minute: no window straddles two plans.

    Raises:
        ValueError: the instant is not a whole minute.
    """
    if valid_from_s % 60 != 0:
        raise ValueError(f"a mesh is valid from a whole minute, not from {valid_from_s} s")
    key: Row = {"mesh": mesh.id, "version": mesh.version, "valid_from": valid_from_s}
    return {
        "mesh": [{**key, "timezone": mesh.timezone, "canonical": mesh.canonical}],
        "node": [{**key, **_node(node)} for node in mesh.nodes],
        "endpoint": [{**key, **_endpoint(endpoint)} for endpoint in mesh.endpoints],
        "stream": [{**key, **_stream(stream, mesh)} for stream in mesh.streams],
    }


def _node(node: Node) -> Row:
    return {
        "node": node.id,
        "kind": node.kind,
        "hub": node.hub,
        "name_zh": node.name_zh,
        "name_en": node.name_en,
        "province": node.province,
        "lat": node.lat,
        "lon": node.lon,
        "status": node.status,
        "confidence": node.confidence,
    }


def _endpoint(endpoint: Endpoint) -> Row:
    return {
        "endpoint": endpoint.id,
        "node": endpoint.node,
        "room": endpoint.room,
        "carrier": endpoint.carrier,
        "network": endpoint.network,
        "plane": endpoint.plane,
        "family": endpoint.family,
        "address": endpoint.address,
        "probe_id": endpoint.probe_id,
    }


def _stream(stream: Stream, mesh: Mesh) -> Row:
    source = mesh.endpoint_by_id[stream.source].node
    destination = mesh.endpoint_by_id[stream.destination].node
    return {
        "stream_id": stream.id,
        "source": stream.source,
        "destination": stream.destination,
        "source_node": source,
        "destination_node": destination,
        "method": stream.method,
        "class": stream.traffic_class,
        "plane": stream.plane,
        "relation": stream.relation,
        "control": stream.control if stream.control is not None else NO_CONTROL,
        "interval_ms": stream.interval_ms,
        "timeout_ms": stream.timeout_ms,
        "planned_per_slot": planned_per_slot(stream, mesh),
        "probe_id": stream.probe_id,
        "segments": list(stream.segments),
        "distance_km": round(distance_km(mesh.node_by_id, source, destination), 3),
    }
