"""The mesh: one file -> every node, endpoint, probe, segment and stream, checked and computed once.

`parse_mesh` is the door. `mesh_file` says what is written; `mesh_endpoints`, `mesh_streams` and `mesh_routes` derive;
`mesh_check` and `mesh_check_plan` refuse; `mesh_slice`, `mesh_rows` and `mesh_cost` read the result.
"""

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from schemas.config import lines_of, load, place
from schemas.errors import MeshError
from schemas.mesh_canonical import canonical_form, from_canonical, version_of
from schemas.mesh_check import Fault, check_file
from schemas.mesh_check_plan import check_endpoints, check_streams, check_vertices, one_draft_each
from schemas.mesh_endpoints import Endpoint, Probe, derive_endpoints, derive_probes
from schemas.mesh_file import HUB, Carrier, Defaults, Limits, MeshFile, Node, ProbeKey, ProbeLine
from schemas.mesh_routes import Router, Segment, resolve_segments
from schemas.mesh_streams import Stream, draft_streams, finish_streams

_EXAMPLES: Final = tuple(
    ipaddress.ip_network(name) for name in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
)  # for documentation (RFC 5737, 3849): nothing answers there


class Mesh(msgspec.Struct, frozen=True, kw_only=True):
    """A mesh that holds. Every tuple is in order of id, so files that say the same give equal meshes."""

    id: str
    version: str  # 16 hex digits over `canonical`
    timezone: str
    defaults: Defaults
    limits: Limits
    canonical: str  # JSON: the file with its defaults, blind to order and comments; `mesh_from_canonical` reads it
    carriers: tuple[Carrier, ...]
    nodes: tuple[Node, ...]
    endpoints: tuple[Endpoint, ...]
    probes: tuple[Probe, ...]
    segments: tuple[Segment, ...]
    streams: tuple[Stream, ...]  # in order of source, destination, method, class
    warnings: tuple[str, ...]  # what holds, and yet a person should know
    file: MeshFile
    node_by_id: dict[str, Node]
    endpoint_by_id: dict[str, Endpoint]
    probe_by_id: dict[str, Probe]
    segment_by_id: dict[str, Segment]
    stream_by_id: dict[int, Stream]


class Checked(NamedTuple):
    """A derived mesh and the rules that it breaks; usable only when there are none."""

    mesh: Mesh
    faults: tuple[Fault, ...]


def parse_mesh(text: str, *, source: str) -> Mesh:
    """Return the mesh that a TOML file describes.

    Args:
        text: the whole file.
        source: what to call it in an error.

    Raises:
        ConfigError: not TOML, an unknown or missing key, a wrong type.
        MeshError: rules broken: one line for each, with file, line, table, fault and remedy.
    """
    return _held(load(text, MeshFile, source=source), text, source)


def mesh_from_canonical(text: str, *, source: str) -> Mesh:
    """Return the mesh of a canonical text, as the table `mesh` stores it.

    Raises:
        ConfigError: not the canonical form of a mesh file.
        MeshError: rules broken.
    """
    return _held(from_canonical(text, source=source), "", source)


def with_probe_keys(mesh: Mesh, keys: Mapping[str, Sequence[tuple[str, str]]]) -> Mesh:
    """Return the mesh with these keys added to its probes, unbounded in time: an enrolment at run time.

    Args:
        mesh: where they are enrolled; it is not changed.
        keys: (key id, public key in hex or base64) by probe id. A key id that the probe has is replaced.

    Raises:
        MeshError: a probe that the mesh has not, a key that is none.
    """
    lines = {line.id: line for line in mesh.file.probe}
    for probe_id, added in keys.items():
        if probe_id not in mesh.probe_by_id:
            raise MeshError(f"mesh {mesh.id}: probe: `{probe_id}` is unknown; known: {', '.join(mesh.probe_by_id)}")
        line = lines.get(probe_id, ProbeLine(id=probe_id))
        new = tuple(ProbeKey(id=name, public=public) for name, public in added)
        kept = tuple(key for key in line.keys if key.id not in {each.id for each in new})
        lines[probe_id] = msgspec.structs.replace(line, keys=kept + new)
    return _held(msgspec.structs.replace(mesh.file, probe=tuple(lines.values())), "", f"mesh {mesh.id}")


def check_mesh(file: MeshFile) -> Checked:
    """Return the derived mesh and every rule it breaks; the derivation skips what it cannot follow."""
    file = from_canonical(canonical_form(file), source=file.mesh.id)  # the order of lines decides nothing from here on
    endpoints = derive_endpoints(file)
    by_id, nodes = {endpoint.id: endpoint for endpoint in endpoints}, {node.id: node for node in file.node}
    segments = resolve_segments(file, by_id)
    drafts, clashes = one_draft_each(draft_streams(file, endpoints))
    router = Router(file, segments) if segments else None
    streams = finish_streams(drafts, nodes, router)
    faults = [*check_file(file), *check_endpoints(file, endpoints), *check_vertices(file, by_id), *clashes]
    faults += check_streams(file, streams, by_id, {draft.id: draft.rule for draft in drafts})
    ties = _ties(streams, by_id, router) if router is not None else ()
    return Checked(_mesh(file, endpoints, segments, streams, tuple(ties)), tuple(dict.fromkeys(faults)))


def _held(file: MeshFile, text: str, source: str) -> Mesh:
    mesh, faults = check_mesh(file)
    if faults:
        raise MeshError("\n".join(say_fault(fault, text, source) for fault in faults))
    return mesh


def say_fault(fault: Fault, text: str, source: str) -> str:
    """Return one line: file and line where it is known, table, entry, what is wrong, the remedy."""
    lines = lines_of(text, rf"""\bid\s*=\s*["']{re.escape(fault.entry)}["']""")
    certain = len(lines) == 1 or (lines and fault.kind == "twice")
    return (
        f"{place(source, lines[-1] if certain else None)}: {fault.table} `{fault.entry}`: {fault.what}; {fault.remedy}"
    )


def _mesh(
    file: MeshFile,
    endpoints: tuple[Endpoint, ...],
    segments: tuple[Segment, ...],
    streams: tuple[Stream, ...],
    ties: tuple[str, ...],
) -> Mesh:
    canonical, probes = canonical_form(file), derive_probes(file, endpoints)
    nodes = tuple(sorted(file.node, key=lambda node: node.id))
    return Mesh(
        id=file.mesh.id,
        version=version_of(canonical),
        timezone=file.mesh.timezone,
        defaults=file.mesh.defaults,
        limits=file.mesh.limits,
        canonical=canonical,
        carriers=tuple(sorted(file.carrier, key=lambda carrier: carrier.id)),
        nodes=nodes,
        endpoints=endpoints,
        probes=probes,
        segments=segments,
        streams=streams,
        warnings=(*_warnings(nodes, endpoints, probes), *ties),
        file=file,
        node_by_id={node.id: node for node in nodes},
        endpoint_by_id={endpoint.id: endpoint for endpoint in endpoints},
        probe_by_id={probe.id: probe for probe in probes},
        segment_by_id={segment.id: segment for segment in segments},
        stream_by_id={stream.id: stream for stream in streams},
    )


def _warnings(nodes: Sequence[Node], endpoints: Sequence[Endpoint], probes: Sequence[Probe]) -> Iterator[str]:
    keyless = [probe.id for probe in probes if not probe.keys]
    if keyless:
        yield f"{len(keyless)} of {len(probes)} probes have no key, their batches will be refused: {_few(keyless)}"
    unsure = [node.id for node in nodes if node.confidence == "low"]
    if unsure:
        yield f"{len(unsure)} nodes are of low confidence, verify them before use: {_few(unsure)}"
    examples = [endpoint.id for endpoint in endpoints if _is_example(endpoint)]
    if examples:
        yield f"{len(examples)} addresses are for documentation only, write the real ones: {_few(examples)}"
    measured = {endpoint.node for endpoint in endpoints}
    idle = [node.id for node in nodes if node.kind != HUB and node.id not in measured]
    if idle:
        yield f"{len(idle)} nodes have no endpoint and are not measured: {_few(idle)}"


def _is_example(endpoint: Endpoint) -> bool:
    address = ipaddress.ip_address(endpoint.address) if endpoint.family else None
    return address is not None and any(address in network for network in _EXAMPLES)


def _ties(streams: Sequence[Stream], endpoints: Mapping[str, Endpoint], router: Router) -> Iterator[str]:
    routes = ((stream, router.route(endpoints[stream.source], endpoints[stream.destination])) for stream in streams)
    tied = [f"{stream.source} -> {stream.destination}" for stream, route in routes if route is not None and route.tied]
    if tied:
        yield f"{len(tied)} streams have two paths of one length, the network may choose the other: {_few(tied)}"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
