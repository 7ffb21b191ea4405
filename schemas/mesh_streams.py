"""Rules -> streams: which pairs, under which number, with which control (of a crossing), over which segments."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

import msgspec

from schemas.identity import stream_id
from schemas.mesh_endpoints import Endpoint, nodes_of
from schemas.mesh_file import MeshFile, Method, Node, StreamRule
from schemas.mesh_routes import Router
from schemas.physics import great_circle_km

Relation = Literal["intra_network", "inter_network"]


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """An ordered pair of endpoints, measured one way; `source`, `destination` and `segments` are ids."""

    id: int
    source: str
    destination: str
    method: Method
    traffic_class: str
    interval_ms: int
    timeout_ms: int
    plane: str
    relation: Relation
    control: int | None  # of a crossing: the inside stream it is compared with
    segments: tuple[str, ...]  # from source to destination; empty where no segments are declared
    probe_id: str  # the probe that sends


class Draft(NamedTuple):
    """A stream before its control and its path are known, and the rule that made it."""

    id: int
    source: Endpoint
    destination: Endpoint
    method: Method
    traffic_class: str
    interval_ms: int
    timeout_ms: int
    rule: str

    @property
    def crosses(self) -> bool:
        """Return whether the two ends are in networks of two carriers."""
        return self.source.carrier != self.destination.carrier


def draft_streams(file: MeshFile, endpoints: tuple[Endpoint, ...]) -> Iterator[Draft]:
    """Yield what the rules ask for, in order of rule id; two rules may ask for the same stream."""
    for rule in sorted(file.stream_group, key=lambda rule: rule.id):
        for source, destination in sorted(_pairs(rule, file, endpoints), key=lambda pair: (pair[0].id, pair[1].id)):
            yield _draft(rule, file, source, destination)


def finish_streams(drafts: Iterable[Draft], nodes: Mapping[str, Node], router: Router | None) -> tuple[Stream, ...]:
    """Return the streams by source, destination, method and class, with controls and paths.

    Args:
        drafts: one for each stream id.
        nodes: by id; the distance decides the control of a crossing inside a node.
        router: None where no segments are declared.
    """
    ordered = sorted(drafts, key=lambda d: (d.source.id, d.destination.id, d.method, d.traffic_class))
    controls = Controls(ordered, nodes)
    return tuple(_stream(draft, controls, router) for draft in ordered)


class Controls:
    """The inside stream that each crossing is compared with.

    A crossing from node A to endpoint D has as control the stream of D's carrier from A to D, of the same method and
    class (of several rooms: the same room, then the least id). Where both ends are at one node there is none from A:
    then it is the shortest (great circle, then least id) inside stream that ends at D, for it shares D's access.
    """

    def __init__(self, drafts: Iterable[Draft], nodes: Mapping[str, Node]) -> None:
        self._nodes = nodes
        self._inside: dict[tuple[str, str, str], list[Draft]] = {}
        for draft in drafts:
            if not draft.crosses:
                self._inside.setdefault(_end(draft), []).append(draft)

    def of(self, crossing: Draft) -> int | None:
        """Return the id of the control, or None where nothing inside ends there."""
        inside = self._inside.get(_end(crossing), [])
        same = [draft for draft in inside if draft.source.node == crossing.source.node]
        if same:
            return min(same, key=lambda d: (d.source.room != crossing.source.room, d.source.id)).id
        if not inside or crossing.source.node != crossing.destination.node:
            return None
        return min(inside, key=lambda draft: (self._km(draft), draft.source.id)).id

    def _km(self, draft: Draft) -> float:
        return distance_km(self._nodes, draft.source.node, draft.destination.node)


def distance_km(nodes: Mapping[str, Node], source: str, destination: str) -> float:
    """Return the great circle between two nodes."""
    a, b = nodes[source], nodes[destination]
    return great_circle_km(a.lat, a.lon, b.lat, b.lon)


def _end(draft: Draft) -> tuple[str, str, str]:
    return draft.destination.id, draft.method, draft.traffic_class


def _pairs(rule: StreamRule, file: MeshFile, endpoints: tuple[Endpoint, ...]) -> set[tuple[Endpoint, Endpoint]]:
    found = set(_listed(rule, endpoints) if rule.shape == "pairs" else _selected(rule, file, endpoints))
    return found | {(destination, source) for source, destination in found} if rule.both_ways else found


def _listed(rule: StreamRule, endpoints: tuple[Endpoint, ...]) -> Iterator[tuple[Endpoint, Endpoint]]:
    by_id = {endpoint.id: endpoint for endpoint in endpoints}
    for source, destination in rule.pairs:
        if source in by_id and destination in by_id:
            yield by_id[source], by_id[destination]


def _selected(rule: StreamRule, file: MeshFile, endpoints: tuple[Endpoint, ...]) -> Iterator[tuple[Endpoint, Endpoint]]:
    destinations = _of_groups(rule.destination, file, endpoints)
    for source in _of_groups(rule.source, file, endpoints):
        for destination in destinations:
            if _fits(rule, source, destination):
                yield source, destination


def _of_groups(names: tuple[str, ...], file: MeshFile, endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
    if not names:
        return endpoints
    chosen: dict[str, Endpoint] = {}
    for group in file.group:
        if group.id in names:
            nodes = {node.id for node in nodes_of(group, file)}
            fit = (e for e in endpoints if e.node in nodes and (not group.carriers or e.carrier in group.carriers))
            chosen.update((endpoint.id, endpoint) for endpoint in fit)
    return tuple(chosen.values())


def _fits(rule: StreamRule, source: Endpoint, destination: Endpoint) -> bool:
    if source.plane != destination.plane or source.family != destination.family:
        return False
    same_node, same_carrier = source.node == destination.node, source.carrier == destination.carrier
    match rule.shape:
        case "inside":
            return same_carrier and not same_node
        case "crossing":
            return not same_carrier and not same_node
        case "crossing_at_node":
            return not same_carrier and same_node
        case "pairs":
            return source.id != destination.id


def _draft(rule: StreamRule, file: MeshFile, source: Endpoint, destination: Endpoint) -> Draft:
    defaults = file.mesh.defaults
    traffic_class = rule.traffic_class if rule.traffic_class is not None else defaults.traffic_class
    return Draft(
        id=stream_id(file.mesh.id, source.id, destination.id, rule.method, traffic_class),
        source=source,
        destination=destination,
        method=rule.method,
        traffic_class=traffic_class,
        interval_ms=rule.interval_ms if rule.interval_ms is not None else defaults.interval_ms,
        timeout_ms=rule.timeout_ms if rule.timeout_ms is not None else defaults.timeout_ms,
        rule=rule.id,
    )


def _stream(draft: Draft, controls: Controls, router: Router | None) -> Stream:
    route = router.route(draft.source, draft.destination) if router is not None else None
    return Stream(
        id=draft.id,
        source=draft.source.id,
        destination=draft.destination.id,
        method=draft.method,
        traffic_class=draft.traffic_class,
        interval_ms=draft.interval_ms,
        timeout_ms=draft.timeout_ms,
        plane=draft.source.plane,
        relation="inter_network" if draft.crosses else "intra_network",
        control=controls.of(draft) if draft.crosses else None,
        segments=route.segments if route is not None else (),
        probe_id=draft.source.probe_id,
    )
