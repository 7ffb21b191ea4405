"""Segments -> the path of each stream: the shortest one that real networks would carry.

Inside a carrier a path uses that carrier's segments alone. A crossing goes through the source's carrier, one
interconnect, then the destination's carrier: no third network and no way back, so that hop-by-hop routing gives the
same path. Of equal paths the one with fewer segments, then the lesser segment ids, is taken, and the tie is told.
"""

import heapq
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from schemas.mesh_endpoints import Endpoint
from schemas.mesh_file import MeshFile, Node, SegmentKind, SegmentLine
from schemas.physics import ROUTE_FACTOR, great_circle_km


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of road, its length resolved."""

    id: str
    kind: SegmentKind
    a: str
    b: str
    networks: tuple[str, ...]
    km: float
    weight: int  # thousandths, so that sums are exact and ties are real


class Route(NamedTuple):
    """The segments from source to destination, and whether another path is as short."""

    segments: tuple[str, ...]
    tied: bool


_State = tuple[str, int]  # vertex, and how many interconnects are behind
_Edges = Mapping[_State, list[tuple[_State, str, int]]]


def resolve_segments(file: MeshFile, endpoints: Mapping[str, Endpoint]) -> tuple[Segment, ...]:
    """Return the segments by id; those whose length cannot be known are left out (`mesh_check` names them)."""
    nodes = {node.id: node for node in file.node}
    resolved = (_segment(line, segment_km(line, endpoints, nodes)) for line in file.segment)
    return tuple(sorted((each for each in resolved if each is not None), key=lambda each: each.id))


def segment_km(line: SegmentLine, endpoints: Mapping[str, Endpoint], nodes: Mapping[str, Node]) -> float | None:
    """Return the length written, else great circle times the route factor, else None."""
    if line.km is not None:
        return line.km
    a, b = endpoints.get(line.a), endpoints.get(line.b)
    if a is None or b is None:
        return None
    ends = nodes[a.node], nodes[b.node]
    return round(great_circle_km(ends[0].lat, ends[0].lon, ends[1].lat, ends[1].lon) * ROUTE_FACTOR, 3)


class Router:
    """Shortest paths over the segments, each source worked out once."""

    def __init__(self, file: MeshFile, segments: tuple[Segment, ...]) -> None:
        self._networks = {c.id: frozenset(network.id for network in c.networks) for c in file.carrier}
        self._segments = segments
        self._edges: dict[tuple[str, str], _Edges] = {}
        self._found: dict[tuple[str, str, str], dict[_State, Route]] = {}

    def route(self, source: Endpoint, destination: Endpoint) -> Route | None:
        """Return the path, or None where the segments do not join the two."""
        carriers = source.carrier, destination.carrier
        if carriers not in self._edges:
            self._edges[carriers] = self._join(*carriers)
        key = (source.id, *carriers)
        if key not in self._found:
            self._found[key] = _shortest(self._edges[carriers], (source.id, 0))
        return self._found[key].get((destination.id, 0 if carriers[0] == carriers[1] else 1))

    def _join(self, first: str, second: str) -> _Edges:
        edges: dict[_State, list[tuple[_State, str, int]]] = {}
        for segment in self._segments:
            for before, after in self._layers(segment, first, second):
                for a, b in ((segment.a, segment.b), (segment.b, segment.a)):
                    edges.setdefault((a, before), []).append(((b, after), segment.id, segment.weight))
        return edges

    def _layers(self, segment: Segment, first: str, second: str) -> Iterator[tuple[int, int]]:
        """Yield the steps a segment allows: inside the first carrier, inside the second, from one to the other."""
        networks, near, far = frozenset(segment.networks), self._networks[first], self._networks[second]
        if networks <= near:
            yield 0, 0
        if first != second and networks <= far:
            yield 1, 1
        if first != second and networks <= near | far and networks & near and networks & far:
            yield 0, 1


def _segment(line: SegmentLine, km: float | None) -> Segment | None:
    if km is None:
        return None
    weight = max(1, round((line.weight if line.weight is not None else km) * 1000))
    networks = tuple(sorted(line.networks))
    return Segment(id=line.id, kind=line.kind, a=line.a, b=line.b, networks=networks, km=km, weight=weight)


def _shortest(edges: _Edges, start: _State) -> dict[_State, Route]:
    """Return the best route to every state that can be reached (Dijkstra by weight, hops, segment ids)."""
    best: dict[_State, tuple[int, Route]] = {}
    heap: list[tuple[int, int, tuple[str, ...], _State, _State]] = [(0, 0, (), start, start)]
    while heap:
        weight, hops, path, state, before = heapq.heappop(heap)
        known = best.get(state)
        if known is None:
            tied = best[before][1].tied if before in best else False
            best[state] = weight, Route(path, tied)
            for after, name, more in edges.get(state, ()):
                heapq.heappush(heap, (weight + more, hops + 1, (*path, name), after, state))
        elif known[0] == weight and known[1].segments != path:
            best[state] = weight, Route(known[1].segments, tied=True)
    return {state: route for state, (_, route) in best.items()}
