"""The rules that one line of a mesh file can break by itself or against another line; each with its remedy.

All faults are found in one go: nobody mends a file one error at a time. What can only be seen on derived endpoints and
streams is in `mesh_check_plan`.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal, NamedTuple

from schemas.config import nearest
from schemas.mesh_endpoints import endpoint_id, nodes_of
from schemas.mesh_file import DSCP, HUB, MeshFile, Node, ProbeKey, ProbeLine, StreamRule, key_bytes

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")
_ZONE: Final = re.compile(r"UTC|[A-Z][A-Za-z_]+(/[A-Z][A-Za-z_+-]+)+")
_MINUTE_MS: Final = 60_000


class Fault(NamedTuple):
    """One broken rule: the table and the entry it is in, what is wrong, what to do."""

    table: str
    entry: str
    what: str
    remedy: str
    kind: Literal["once", "twice"] = "once"  # "twice": the entry itself is on several lines


def check_file(file: MeshFile) -> Iterator[Fault]:
    """Yield every fault that the written lines have."""
    yield from _head(file)
    yield from _names(file)
    yield from _nodes(file)
    yield from _groups(file)
    yield from _endpoint_lines(file)
    for rule in file.stream_group:
        yield from _rule(rule, file)
    yield from _segments(file)
    for probe in file.probe:
        yield from _probe(probe, file)
    yield from _keys_of_two_probes(file)


def _head(file: MeshFile) -> Iterator[Fault]:
    head, slot_ms = file.mesh, file.mesh.defaults.slot_ms
    if not _ZONE.fullmatch(head.timezone):
        yield Fault("mesh", head.id, f"timezone `{head.timezone}` is no zone name", "write one such as Asia/Shanghai")
    if slot_ms < 1000 or _MINUTE_MS % slot_ms != 0:
        remedy = "a slot belongs to one minute: write 10000, or another part of 60000 from 1000 up"
        yield Fault("mesh", head.id, f"slot_ms {slot_ms} does not divide a minute", remedy)
    if head.defaults.traffic_class not in DSCP:
        what = f"class `{head.defaults.traffic_class}` is unknown"
        yield Fault("mesh", head.id, what, nearest(head.defaults.traffic_class, list(DSCP)))


def _names(file: MeshFile) -> Iterator[Fault]:
    networks = [network.id for carrier in file.carrier for network in carrier.networks]
    tables: dict[str, Sequence[str]] = {
        "mesh": [file.mesh.id],
        "carrier": [carrier.id for carrier in file.carrier],
        "carrier.networks": networks,
        "node": [node.id for node in file.node],
        "group": [group.id for group in file.group],
        "stream_group": [rule.id for rule in file.stream_group],
        "segment": [segment.id for segment in file.segment],
    }
    for table, names in tables.items():
        yield from _twice(table, names)
        for name in names:
            if not _NAME.fullmatch(name):
                remedy = "use lower-case letters, digits, dot, hyphen and underscore"
                yield Fault(table, name, f"`{name}` is no valid id", remedy)
    yield from _twice("probe", [probe.id for probe in file.probe])
    yield from _twice("endpoint", [endpoint_id(e.node, e.carrier, e.room) for e in file.endpoint])


def _twice(table: str, names: Iterable[str]) -> Iterator[Fault]:
    for name, count in Counter(names).items():
        if count > 1:
            yield Fault(
                table, name, f"`{name}` stands {count} times", "keep one of the lines, or give it another id", "twice"
            )


def _unknown(table: str, entry: str, noun: str, names: Iterable[str], known: Iterable[str]) -> Iterator[Fault]:
    choice = sorted(set(known))
    for name in names:
        if name not in choice:
            yield Fault(table, entry, f"{noun} `{name}` is unknown", nearest(name, choice))


def _nodes(file: MeshFile) -> Iterator[Fault]:
    hubs = [node.id for node in file.node if node.kind == HUB]
    for node in file.node:
        if not (-90 <= node.lat <= 90 and -180 <= node.lon <= 180):
            what = f"lat {node.lat}, lon {node.lon} is off the globe"
            yield Fault("node", node.id, what, "write lat in -90..90 and lon in -180..180, degrees")
        if node.hub:
            yield from _unknown("node", node.id, "hub", [node.hub], hubs)
    yield from _ordinals(file.node)


def _ordinals(nodes: Sequence[Node]) -> Iterator[Fault]:
    taken: dict[int, str] = {}
    free = free_ordinal(nodes)
    for node in nodes:
        if node.n is None:
            continue
        if not 0 <= node.n <= 65_535:
            yield Fault("node", node.id, f"n = {node.n} is out of range", f"write n = {free}")
        elif node.n in taken:
            yield Fault("node", node.id, f"n = {node.n} is taken by `{taken[node.n]}`", f"write n = {free}")
        taken.setdefault(node.n, node.id)


def free_ordinal(nodes: Sequence[Node]) -> int:
    """Return the least ordinal from 1 that no node has."""
    taken = {node.n for node in nodes}
    return next(n for n in range(1, len(nodes) + 2) if n not in taken)


def _groups(file: MeshFile) -> Iterator[Fault]:
    nodes, kinds = [node.id for node in file.node], [node.kind for node in file.node]
    carriers = [carrier.id for carrier in file.carrier]
    for group in file.group:
        yield from _unknown("group", group.id, "node", group.nodes, nodes)
        yield from _unknown("group", group.id, "kind", group.kinds, kinds)
        yield from _unknown("group", group.id, "carrier", group.carriers, carriers)
        if not nodes_of(group, file) and set(group.nodes) <= set(nodes) and set(group.kinds) <= set(kinds):
            remedy = "write kinds = [...] or nodes = [...]; hubs, applying and retired nodes are not measured by kind"
            yield Fault("group", group.id, "it selects no node", remedy)


def _endpoint_lines(file: MeshFile) -> Iterator[Fault]:
    nodes, networks = [n.id for n in file.node], {c.id: [n.id for n in c.networks] for c in file.carrier}
    for line in file.endpoint:
        entry = endpoint_id(line.node, line.carrier, line.room)
        yield from _unknown("endpoint", entry, "node", [line.node], nodes)
        yield from _unknown("endpoint", entry, "carrier", [line.carrier], networks)
        if line.network and line.carrier in networks:
            yield from _unknown("endpoint", entry, "network", [line.network], networks[line.carrier])
        if line.room and not _NAME.fullmatch(line.room):
            yield Fault("endpoint", entry, f"room `{line.room}` is no valid id", "use lower-case letters and digits")
    for carrier in file.carrier:
        if not carrier.networks:
            yield Fault("carrier", carrier.id, "it has no network", 'write networks = [{ id = "...", as = 64512 }]')


def _rule(rule: StreamRule, file: MeshFile) -> Iterator[Fault]:
    yield from _unknown("stream_group", rule.id, "group", (*rule.source, *rule.destination), (g.id for g in file.group))
    if rule.traffic_class is not None:
        yield from _unknown("stream_group", rule.id, "class", [rule.traffic_class], DSCP)
    if (rule.shape == "pairs") != bool(rule.pairs) or (rule.pairs and (rule.source or rule.destination)):
        remedy = 'write pairs with shape = "pairs" alone, groups with the other shapes'
        yield Fault("stream_group", rule.id, f"shape `{rule.shape}` does not go with what it lists", remedy)
    yield from _times(rule, file)


def _times(rule: StreamRule, file: MeshFile) -> Iterator[Fault]:
    defaults = file.mesh.defaults
    interval_ms = rule.interval_ms if rule.interval_ms is not None else defaults.interval_ms
    timeout_ms = rule.timeout_ms if rule.timeout_ms is not None else defaults.timeout_ms
    if defaults.slot_ms % interval_ms != 0:
        remedy = "every slot holds as many packets: write a divisor of the slot, such as 100"
        yield Fault("stream_group", rule.id, f"interval_ms {interval_ms} does not divide slot_ms", remedy)
    if timeout_ms > _MINUTE_MS:
        yield Fault("stream_group", rule.id, f"timeout_ms {timeout_ms} is out of range", "write 1..60000, such as 2000")


def _segments(file: MeshFile) -> Iterator[Fault]:
    networks = [network.id for carrier in file.carrier for network in carrier.networks]
    for segment in file.segment:
        yield from _unknown("segment", segment.id, "network", segment.networks, networks)
        if not segment.networks:
            yield Fault("segment", segment.id, "it belongs to no network", 'write networks = ["..."]')
        if segment.a == segment.b:
            yield Fault("segment", segment.id, f"both ends are `{segment.a}`", "write two different vertices")
        for name, value in (("km", segment.km), ("weight", segment.weight)):
            if value is not None and not 0 < value < 1e6:
                yield Fault("segment", segment.id, f"{name} {value} is out of range", f"write a positive {name}")


def _probe(probe: ProbeLine, file: MeshFile) -> Iterator[Fault]:
    mesh, _, name = probe.id.partition("/")
    if mesh != file.mesh.id or not _NAME.fullmatch(name):
        remedy = f"write {file.mesh.id}/<name>, the name in lower-case letters, digits and hyphens"
        yield Fault("probe", probe.id, f"id `{probe.id}` is not mesh/name", remedy)
    for key in probe.keys:
        yield from _key(probe, key)
    for earlier, later in _neighbours(probe.keys):
        if earlier.valid_until is None or later.valid_from is None or later.valid_from < earlier.valid_until:
            remedy = "end the first window where the second begins, or give the new key an id of its own"
            yield Fault("probe", probe.id, f"key `{later.id}` has two windows that overlap", remedy)


def _key(probe: ProbeLine, key: ProbeKey) -> Iterator[Fault]:
    if key_bytes(key.public) is None:
        remedy = "paste the line that `isochrone probe enrol` prints"
        yield Fault("probe", probe.id, f"key `{key.id}` is not 32 bytes in hex or base64", remedy)
    if not key.id:
        yield Fault("probe", probe.id, "a key has an empty id", "paste the line that `isochrone probe enrol` prints")
    if key.valid_from is not None and key.valid_until is not None and key.valid_until <= key.valid_from:
        yield Fault("probe", probe.id, f"key `{key.id}` ends before it begins", "swap from and until")


def _neighbours(keys: Sequence[ProbeKey]) -> Iterator[tuple[ProbeKey, ProbeKey]]:
    """Yield the windows of each key id that follow each other in time."""
    ordered = sorted(keys, key=lambda k: (k.id, k.valid_from.timestamp() if k.valid_from else float("-inf")))
    for earlier, later in itertools.pairwise(ordered):
        if earlier.id == later.id:
            yield earlier, later


def _keys_of_two_probes(file: MeshFile) -> Iterator[Fault]:
    owner: dict[str, str] = {}
    for probe in file.probe:
        for name in sorted({key.id for key in probe.keys}):
            if owner.setdefault(name, probe.id) != probe.id:
                remedy = "enrol the probe anew: a key speaks for one probe"
                yield Fault("probe", probe.id, f"key `{name}` belongs to `{owner[name]}` too", remedy)
