"""Shortest paths over the declared links, as the routes that each kernel gets. Pure."""

import heapq
from collections import defaultdict

import msgspec

from deploy.lab.topology import Host, Link, Topology

Adjacency = dict[str, list[tuple[int, str, int]]]  # host -> (link id, neighbour, weight)


class Route(msgspec.Struct, frozen=True):
    """On `host`: packets for `destination` leave over `link` (its id) to the host `next_hop`."""

    host: str
    destination: str  # an IPv4 address
    link: int
    next_hop: str


def routes(topology: Topology) -> list[Route]:
    """Return the routes of every host to every address it can reach; an address without a path has none."""
    adjacency = _adjacency(topology.links)
    forwards = {host.name: host.forwards for host in topology.hosts}
    found: list[Route] = []
    for target in topology.hosts:
        for host, (link, next_hop) in sorted(_toward(target, adjacency, forwards).items()):
            found += [Route(host, address, link, next_hop) for address in target.addresses]
    return found


def path(topology: Topology, source: str, target: str) -> list[str]:
    """Return the names of the links that a packet from host `source` to host `target` crosses, [] if there is none."""
    forwards = {host.name: host.forwards for host in topology.hosts}
    to = next(host for host in topology.hosts if host.name == target)
    hops = _toward(to, _adjacency(topology.links), forwards)
    crossed: list[str] = []
    while source in hops:
        link, source = hops[source]
        crossed.append(topology.links[link].name)
    return crossed


def _adjacency(links: tuple[Link, ...]) -> Adjacency:
    adjacency: Adjacency = defaultdict(list)
    for number, link in enumerate(links):
        adjacency[link.a].append((number, link.b, link.weight))
        adjacency[link.b].append((number, link.a, link.weight))
    return adjacency


def _toward(target: Host, adjacency: Adjacency, forwards: dict[str, bool]) -> dict[str, tuple[int, str]]:
    """Return, for every host that reaches `target`, its first link and next hop.

    Among equal costs the earlier link wins at each hop, so a file always gives the same routes; all hops follow one
    tree toward the target, so no loop can form.
    """
    best: dict[str, tuple[int, str]] = {}
    queue = [(0, -1, target.name, target.name)]
    done: set[str] = set()
    while queue:
        cost, link, host, next_hop = heapq.heappop(queue)
        if host in done:
            continue
        done.add(host)
        if host != target.name:
            best[host] = (link, next_hop)
            if not forwards[host]:
                continue
        for number, neighbour, weight in adjacency.get(host, []):
            heapq.heappush(queue, (cost + weight, number, neighbour, host))
    return best
