"""Groups and lines -> endpoints and probes. Unknown references are skipped here; `mesh_check` names them."""

import ipaddress
from collections.abc import Iterator
from typing import Final

import msgspec

from schemas.mesh_file import HUB, MEASURED, Carrier, EndpointLine, Group, MeshFile, Network, Node, ProbeKey

NO_FAMILY: Final = 0


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An address that is measured. Its id is node/carrier or node/carrier/room."""

    id: str
    node: str
    room: str
    carrier: str
    network: str
    asn: int
    plane: str
    family: int  # 4 or 6; 0 while the address is unusable
    address: str
    port: int  # where its STAMP reflector listens
    probe_id: str  # the probe that serves it; empty: it only answers


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """An agent: the ids of its endpoints, its keys."""

    id: str
    endpoints: tuple[str, ...]
    keys: tuple[ProbeKey, ...]


def endpoint_id(node: str, carrier: str, room: str = "") -> str:
    """Return node/carrier, or node/carrier/room."""
    return f"{node}/{carrier}/{room}" if room else f"{node}/{carrier}"


def nodes_of(group: Group, file: MeshFile) -> tuple[Node, ...]:
    """Return the nodes a group selects: those named, and those of its kinds that are measured at all."""
    named, kinds = frozenset(group.nodes), frozenset(group.kinds)
    return tuple(n for n in file.node if n.id in named or (n.kind in kinds and n.kind != HUB and n.status in MEASURED))


def derive_endpoints(file: MeshFile) -> tuple[Endpoint, ...]:
    """Return every endpoint once, by id: groups make them, lines add to them or change them."""
    lines: dict[str, EndpointLine] = {}
    for line in (*_lines_of_groups(file), *file.endpoint):
        lines[endpoint_id(line.node, line.carrier, line.room)] = line
    nodes, carriers = {n.id: n for n in file.node}, {c.id: c for c in file.carrier}
    probes = serving_probes(file)
    made = (_endpoint(file, nodes, carriers, probes, lines[name]) for name in sorted(lines))
    return tuple(endpoint for endpoint in made if endpoint is not None)


def serving_probes(file: MeshFile) -> dict[str, str]:
    """Return the probe that lists an endpoint, by endpoint id; where two do, the first by id."""
    listed = sorted(file.probe, key=lambda probe: probe.id, reverse=True)
    return {name: probe.id for probe in listed for name in probe.endpoints}


def derive_probes(file: MeshFile, endpoints: tuple[Endpoint, ...]) -> tuple[Probe, ...]:
    """Return the probes by id: those listed and those that `defaults.probe` makes."""
    served: dict[str, list[str]] = {probe.id: [] for probe in file.probe}
    for endpoint in endpoints:
        if endpoint.probe_id:
            served.setdefault(endpoint.probe_id, []).append(endpoint.id)
    keys = {probe.id: tuple(sorted(probe.keys, key=lambda key: key.id)) for probe in file.probe}
    return tuple(Probe(id=name, endpoints=tuple(served[name]), keys=keys.get(name, ())) for name in sorted(served))


def family_of(address: str) -> int:
    """Return 4 or 6, or 0 when the text is no address that a probe may send to."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return NO_FAMILY
    everyone = address == "255.255.255.255"
    return NO_FAMILY if parsed.is_multicast or parsed.is_unspecified or everyone else parsed.version


def _lines_of_groups(file: MeshFile) -> Iterator[EndpointLine]:
    for group in file.group:
        for node in nodes_of(group, file):
            for carrier in group.carriers:
                yield EndpointLine(node=node.id, carrier=carrier)


def _endpoint(
    file: MeshFile, nodes: dict[str, Node], carriers: dict[str, Carrier], probes: dict[str, str], line: EndpointLine
) -> Endpoint | None:
    node, carrier = nodes.get(line.node), carriers.get(line.carrier)
    network = _network(carrier, line.network) if carrier is not None else None
    if node is None or network is None:
        return None
    name, defaults = endpoint_id(line.node, line.carrier, line.room), file.mesh.defaults
    address = line.address or _address(network, node)
    default_probe = f"{file.mesh.id}/{node.id}" if defaults.probe == "node" else ""
    return Endpoint(
        id=name,
        node=node.id,
        room=line.room,
        carrier=line.carrier,
        network=network.id,
        asn=network.asn,
        plane=line.plane or network.plane or defaults.plane,
        family=family_of(address),
        address=address,
        port=line.port if line.port is not None else defaults.stamp_port,
        probe_id=probes.get(name, default_probe),
    )


def _network(carrier: Carrier, name: str) -> Network | None:
    return next((network for network in carrier.networks if name in ("", network.id)), None)


def _address(network: Network, node: Node) -> str:
    """Return the address a template gives a node, empty when it needs an ordinal that the node has not."""
    if "{" not in network.address:
        return network.address
    if node.n is None:
        return ""
    high, low = divmod(node.n, 256)
    filled = network.address.replace("{n}", str(node.n)).replace("{hi}", str(high)).replace("{lo}", str(low))
    return str(ipaddress.ip_address(filled)) if family_of(filled) != NO_FAMILY else filled
