"""The rules that only the derived plan can break: addresses, service, numbers, controls, paths, load."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from schemas.config import nearest
from schemas.mesh_check import Fault, free_ordinal
from schemas.mesh_cost import cost
from schemas.mesh_endpoints import NO_FAMILY, Endpoint
from schemas.mesh_file import MeshFile
from schemas.mesh_routes import segment_km
from schemas.mesh_streams import Draft, Stream


def check_endpoints(file: MeshFile, endpoints: Sequence[Endpoint]) -> Iterator[Fault]:
    """Yield endpoints without a usable address, addresses used twice, probes and pairs of what is not there."""
    owner: dict[tuple[str, int], str] = {}
    for endpoint in endpoints:
        if endpoint.family == NO_FAMILY:
            yield _unusable(file, endpoint)
        elif owner.setdefault((endpoint.address, endpoint.port), endpoint.id) != endpoint.id:
            what = f"address {endpoint.address} port {endpoint.port} is `{owner[endpoint.address, endpoint.port]}` too"
            yield Fault("endpoint", endpoint.id, what, "give each endpoint an address of its own")
    known = [endpoint.id for endpoint in endpoints]
    yield from _service(file, known)
    for rule in file.stream_group:
        for name in sorted({name for pair in rule.pairs for name in pair} - set(known)):
            yield Fault("stream_group", rule.id, f"endpoint `{name}` is unknown", nearest(name, known))


def _unusable(file: MeshFile, endpoint: Endpoint) -> Fault:
    if not endpoint.address:
        remedy = f"write n = {free_ordinal(file.node)} on node `{endpoint.node}`, or an [[endpoint]] with its address"
        return Fault("endpoint", endpoint.id, "it has no address", remedy)
    what = f"`{endpoint.address}` is not an address to send to"
    return Fault("endpoint", endpoint.id, what, "write a unicast IPv4 or IPv6 address, or mend the network's template")


def _service(file: MeshFile, known: Sequence[str]) -> Iterator[Fault]:
    server: dict[str, str] = {}
    for probe in sorted(file.probe, key=lambda probe: probe.id):
        for name in probe.endpoints:
            if name not in known:
                yield Fault("probe", probe.id, f"endpoint `{name}` is unknown", nearest(name, known))
            elif name in server:
                what = f"endpoint `{name}` is served by `{server[name]}` already"
                yield Fault("probe", probe.id, what, "leave it with one probe: two would count its packets twice")
            server.setdefault(name, probe.id)


def one_draft_each(drafts: Iterable[Draft]) -> tuple[list[Draft], list[Fault]]:
    """Return one draft for each stream id, and the faults: two numbers that collide, two rules that disagree."""
    kept: dict[int, Draft] = {}
    faults: list[Fault] = []
    for draft in drafts:
        first = kept.setdefault(draft.id, draft)
        if _name(first) != _name(draft):
            what = f"stream id {draft.id} of {' '.join(_name(draft))} is taken by {' '.join(_name(first))}"
            faults.append(Fault("stream_group", draft.rule, what, "give one of the endpoints a room or another name"))
        elif (first.interval_ms, first.timeout_ms) != (draft.interval_ms, draft.timeout_ms):
            what = f"{' '.join(_name(draft))} is asked for by `{first.rule}` with another interval or timeout"
            faults.append(Fault("stream_group", draft.rule, what, "narrow one of the rules, or give it a class"))
    return list(kept.values()), faults


def _name(draft: Draft) -> tuple[str, str, str, str]:
    return draft.source.id, draft.destination.id, draft.method, draft.traffic_class


def check_streams(
    file: MeshFile, streams: Sequence[Stream], endpoints: Mapping[str, Endpoint], rules: Mapping[int, str]
) -> Iterator[Fault]:
    """Yield streams without a probe, a control or a path, and probes asked for more than the limits.

    Args:
        file: the file, for limits and segments.
        streams: the derived streams.
        endpoints: by id.
        rules: the rule that made each stream, by stream id.
    """
    for stream in streams:
        name, rule = f"{stream.source} -> {stream.destination}", rules[stream.id]
        if stream.relation == "inter_network" and stream.control is None:
            remedy = "add a rule of shape inside that ends there, with the same method and class"
            yield Fault("stream_group", rule, f"crossing {name} has no control inside", remedy)
        if file.segment and not stream.segments:
            remedy = "add the [[segment]] that joins them in the networks of its two ends"
            yield Fault("stream_group", rule, f"no segments lead {name}", remedy)
    for source in sorted({stream.source for stream in streams if not stream.probe_id}):
        remedy = 'list it in a [[probe]], or write probe = "node" under [mesh.defaults]'
        yield Fault("endpoint", source, "it sends, but no probe serves it", remedy)
    yield from _loads(file, streams, endpoints)


def check_vertices(file: MeshFile, endpoints: Mapping[str, Endpoint]) -> Iterator[Fault]:
    """Yield segments of unknown length and vertices that look misspelt: no endpoint, and no second segment."""
    nodes = {node.id: node for node in file.node}
    ends = [vertex for segment in file.segment for vertex in (segment.a, segment.b)]
    for segment in file.segment:
        if segment_km(segment, endpoints, nodes) is None:
            yield Fault("segment", segment.id, "its length is not known", "write km: its ends are not both endpoints")
        for vertex in (segment.a, segment.b):
            if vertex not in endpoints and ends.count(vertex) == 1:
                yield Fault("segment", segment.id, f"`{vertex}` leads nowhere", nearest(vertex, list(endpoints)))


def _loads(file: MeshFile, streams: Sequence[Stream], endpoints: Mapping[str, Endpoint]) -> Iterator[Fault]:
    limits, by_probe = file.mesh.limits, streams_by_probe(streams)
    for probe_id, sent in by_probe.items():
        load = cost(sent, endpoints, file.mesh.defaults)
        if load.packets_per_s > limits.packets_per_s or load.kbit_per_s > limits.kbit_per_s:
            what = f"{load.packets_per_s:g} packets/s, {load.kbit_per_s:g} kbit/s exceed the limits of one probe"
            yield Fault("probe", probe_id, what, "raise [mesh.limits], slow a rule down, or serve fewer endpoints")


def streams_by_probe(streams: Iterable[Stream]) -> dict[str, list[Stream]]:
    """Return the streams each probe sends, by probe id."""
    sent: dict[str, list[Stream]] = {}
    for stream in streams:
        if stream.probe_id:
            sent.setdefault(stream.probe_id, []).append(stream)
    return dict(sorted(sent.items()))
