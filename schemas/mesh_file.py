"""What a person writes in a mesh file: every table and every key, with its default.

The file is small on purpose. A node is one line; endpoints, streams, probes and paths are derived from groups and rules
(`mesh_endpoints`, `mesh_streams`, `mesh_routes`), so that a new node needs no second line anywhere.
"""

import binascii
import datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import field

Method = Literal["stamp", "icmp"]
Confidence = Literal["high", "medium", "low"]
Status = Literal["approved", "open", "applying", "retired"]
SegmentKind = Literal["access", "metro", "trunk", "interconnect"]
Shape = Literal["inside", "crossing", "crossing_at_node", "pairs"]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
Instant = Annotated[datetime.datetime, msgspec.Meta(tz=True)]

HUB: Final = "hub"  # a label and a roll-up of clusters: never measured itself
MEASURED: Final[frozenset[Status]] = frozenset({"approved", "open"})  # a group that selects by kind skips the others
# Differentiated services by their registered names (RFC 2474, 2597, 3246): the value is the DSCP.
DSCP: Final = {"be": 0, "ef": 46} | {f"cs{n}": 8 * n for n in range(1, 8)}
DSCP.update({f"af{c}{d}": 8 * c + 2 * d for c in range(1, 5) for d in range(1, 4)})


class Defaults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a stream or an endpoint is where its own line says nothing."""

    interval_ms: Positive = 100  # ten packets a second: a 2 s outage of a 10 s slot reads 20 %, to one packet
    timeout_ms: Positive = 2000
    slot_ms: Positive = 10_000
    payload_bytes: Annotated[int, msgspec.Meta(ge=44, le=1400)] = (
        44  # the STAMP base packet (RFC 8762); ICMP carries as much
    )
    stamp_port: Port = 862
    plane: str = "ip_public"
    traffic_class: str = field(default="be", name="class")
    probe: Literal["node", "listed"] = "listed"  # "node": endpoints that no probe lists are served by mesh/<node id>


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ceilings of one probe, so that no mesh file turns a probe into a flood."""

    packets_per_s: Positive = 2500
    kbit_per_s: Positive = 4000  # of IP, in the sending direction


class Head(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The mesh as a whole."""

    id: str
    timezone: str = "Asia/Shanghai"  # a day of the reports is a local day
    defaults: Defaults = Defaults()
    limits: Limits = Limits()


class Network(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One autonomous system of a carrier."""

    id: str
    asn: Annotated[int, msgspec.Meta(ge=1, lt=2**32)] = field(name="as")
    address: str = ""  # of its endpoints, with {n} or {hi} and {lo} from the node's ordinal: "10.1.{n}.1"
    plane: str = ""  # empty: the mesh's default


class Carrier(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A carrier; its first network is the one that groups measure."""

    id: str
    name_zh: str = ""
    name_en: str = ""
    networks: tuple[Network, ...]


class Node(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A place: hub, cluster, direct_connect, exchange, city, interconnect_node, or a kind not known yet."""

    id: str
    kind: str
    n: int | None = None  # ordinal for addresses: written once, never a position, so lines can be moved
    name_zh: str = ""
    name_en: str = ""
    province: str = ""
    lat: float
    lon: float
    hub: str = ""  # the hub that it rolls up to
    year: int | None = None
    status: Status = "open"
    confidence: Confidence = "high"
    source: str = ""


class Group(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nodes by kind or by name, and the carriers that are measured there: one endpoint for each of the two."""

    id: str
    kinds: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    carriers: tuple[str, ...] = ()  # empty: makes no endpoints, selects those that other lines make


class EndpointLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An endpoint that no group makes (a room, a second network), or one that differs from what a group makes."""

    node: str
    carrier: str
    room: str = ""
    network: str = ""  # empty: the carrier's first
    address: str = ""  # empty: the network's template
    port: Port | None = None  # None: the mesh's stamp_port
    plane: str = ""  # empty: the network's, then the mesh's


class StreamRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which ordered pairs of endpoints are measured, and how.

    `inside`: one carrier, two nodes. `crossing`: two carriers, two nodes. `crossing_at_node`: two carriers, one node.
    `pairs`: the pairs of endpoint ids that are listed. Both ends always share plane and address family.
    """

    id: str
    shape: Shape
    source: tuple[str, ...] = ()  # groups; empty: all endpoints
    destination: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    both_ways: bool = True
    method: Method = "stamp"
    traffic_class: str | None = field(default=None, name="class")
    interval_ms: Positive | None = None
    timeout_ms: Positive | None = None


class SegmentLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A piece of road between two vertices: endpoint ids, or names that only segments know."""

    id: str
    kind: SegmentKind
    a: str
    b: str
    networks: tuple[str, ...]  # one inside a carrier; those on both sides of an interconnect
    km: float | None = None  # of route; None: great circle x 1.25, where both vertices are endpoints
    weight: float | None = None  # what the shortest path adds up; None: km


class ProbeKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A public key of a probe and when it speaks: half-open, None is unbounded."""

    id: str
    public: str  # 32 bytes of Ed25519 in hex or base64
    valid_from: Instant | None = field(default=None, name="from")
    valid_until: Instant | None = field(default=None, name="until")


class ProbeLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An agent: the endpoints that it serves, the keys that it signs with."""

    id: str  # mesh/name
    endpoints: tuple[str, ...] = ()  # empty: what defaults.probe gives it
    keys: tuple[ProbeKey, ...] = ()


class MeshFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    mesh: Head
    carrier: tuple[Carrier, ...] = ()
    node: tuple[Node, ...] = ()
    group: tuple[Group, ...] = ()
    endpoint: tuple[EndpointLine, ...] = ()
    stream_group: tuple[StreamRule, ...] = ()
    segment: tuple[SegmentLine, ...] = ()
    probe: tuple[ProbeLine, ...] = ()


def key_bytes(public: str) -> bytes | None:
    """Return the 32 bytes of an Ed25519 public key written in hex or base64, or None."""
    try:
        raw = bytes.fromhex(public) if len(public) == 64 else binascii.a2b_base64(public, strict_mode=True)
    except ValueError:
        return None
    return raw if len(raw) == 32 else None
