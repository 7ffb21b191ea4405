"""A mesh file -> the lab that emulates its roads: one namespace an endpoint, one link a segment.

Delays follow measured national figures per plane (CAICT brief, Q1 2024: the mean one-way delay between hub clusters is
1.76, 2.64 or 3.02 times straight-line fibre), not the formula by which the product judges them: one factor for all
segments is chosen so that the mean over the mesh's cluster pairs hits the figure. Legs are asymmetric, by link.
"""

import hashlib
from collections.abc import Mapping
from statistics import fmean
from typing import Final

from msgspec.structs import replace

from deploy.lab.topology import Host, Impairment, Link, Topology
from schemas.errors import ConfigError
from schemas.mesh import Mesh
from schemas.mesh_routes import Segment
from schemas.mesh_streams import Stream, distance_km
from schemas.physics import theoretical_us

NATIONAL_FACTOR: Final[Mapping[str, float]] = {"optical": 1.76, "ip_private": 2.64, "ip_public": 3.02}
MAX_ASYMMETRY: Final = 0.08  # a leg is at most this share longer or shorter than the mean of both
_NEAR_KM: Final = 1.0
_CROSSING_WEIGHT: Final = 1_000_000_000  # networks keep their own traffic: no road borrows another carrier's trunk


def lab_host(endpoint: str) -> str:
    """Return the lab's name of an endpoint: a namespace cannot hold a slash."""
    return endpoint.replace("/", ".")


def lab_topology(mesh: Mesh, *, changes: Mapping[str, Impairment] | None = None) -> Topology:
    """Return the lab of a mesh.

    Args:
        mesh: must declare segments; its vertices must be endpoints.
        changes: segment id -> what to plant on both directions beside the delay (rate, loss, jitter).

    Raises:
        ConfigError: the mesh declares no segments.
    """
    if len(mesh.segments) == 0:
        raise ConfigError(
            f"mesh {mesh.id}: declares no segments, so there is no road to emulate; add [[segment]] lines"
        )
    us_per_km = _us_per_km(mesh)
    planted = changes or {}
    links = tuple(_link(segment, us_per_km, planted.get(segment.id, Impairment())) for segment in mesh.segments)
    hosts = tuple(Host(name=lab_host(endpoint.id), addresses=(endpoint.address,)) for endpoint in mesh.endpoints)
    return Topology(hosts=hosts, links=links)


def _us_per_km(mesh: Mesh) -> float:
    """Return the delay of a kilometre of road that makes the mean factor over the streams equal the national figure."""
    inside = [
        stream for stream in mesh.streams if stream.relation == "intra_network" and _gc_km(mesh, stream) > _NEAR_KM
    ]
    if not inside:
        return theoretical_us(1.0, "great_circle") * NATIONAL_FACTOR["ip_public"]
    plane_factor = fmean(NATIONAL_FACTOR.get(stream.plane, NATIONAL_FACTOR["ip_public"]) for stream in inside)
    road = {segment.id: segment.km for segment in mesh.segments}
    detour = fmean(sum(road[name] for name in stream.segments) / _gc_km(mesh, stream) for stream in inside)
    return theoretical_us(1.0, "great_circle") * plane_factor / detour


def _gc_km(mesh: Mesh, stream: Stream) -> float:
    ends = mesh.endpoint_by_id[stream.source].node, mesh.endpoint_by_id[stream.destination].node
    return distance_km(mesh.node_by_id, *ends)


def _link(segment: Segment, us_per_km: float, planted: Impairment) -> Link:
    delay_us = segment.km * us_per_km
    share = _asymmetry(segment.id)
    forward, backward = (_with_delay(planted, round(delay_us * (1 + sign * share))) for sign in (1, -1))
    return Link(
        name=segment.id,
        a=lab_host(segment.a),
        b=lab_host(segment.b),
        forward=forward,
        backward=backward,
        weight=max(1, segment.weight) + (_CROSSING_WEIGHT if segment.kind == "interconnect" else 0),
    )


def _with_delay(planted: Impairment, delay_us: int) -> Impairment:
    return planted if planted.delay_us > 0 else replace(planted, delay_us=delay_us)


def _asymmetry(name: str) -> float:
    """Return a share within MAX_ASYMMETRY that depends on the name alone: the lab is the same each time."""
    drawn = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=2).digest(), "big") / 0xFFFF
    return MAX_ASYMMETRY * (2 * drawn - 1)
