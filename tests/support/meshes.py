"""A small mesh that holds, to be broken one line at a time."""

from schemas.mesh import Mesh, parse_mesh

SMALL = """
carrier = [
  { id = "telecom", networks = [{ id = "chinanet", as = 4134, address = "10.1.{n}.1" }, { id = "cn2", as = 4809 }] },
  { id = "unicom", networks = [{ id = "china169", as = 4837, address = "10.2.{n}.1" }] },
]
node = [
  { id = "hub-north", kind = "hub", lat = 40.0, lon = 116.0 },
  { id = "alpha", kind = "cluster", n = 1, lat = 40.0, lon = 116.0, hub = "hub-north" },
  { id = "beta", kind = "cluster", n = 2, lat = 31.0, lon = 121.0 },
  { id = "gamma", kind = "direct_connect", n = 3, lat = 30.0, lon = 114.0 },
]

[mesh]
id = "small"

[mesh.defaults]
probe = "node"

[[group]]
id = "all"
kinds = ["cluster", "direct_connect"]
carriers = ["telecom", "unicom"]

[[group]]
id = "only-clusters"
kinds = ["cluster"]

[[stream_group]]
id = "in-carriers"
shape = "inside"

[[stream_group]]
id = "at-nodes"
shape = "crossing_at_node"

[[stream_group]]
id = "cluster-crossings"
shape = "crossing"
source = ["only-clusters"]
destination = ["only-clusters"]
"""

ROADS = """
[[segment]]
id = "ab-telecom"
kind = "trunk"
a = "alpha/telecom"
b = "beta/telecom"
networks = ["chinanet"]

[[segment]]
id = "bc-telecom"
kind = "trunk"
a = "beta/telecom"
b = "gamma/telecom"
networks = ["chinanet"]

[[segment]]
id = "ab-unicom"
kind = "trunk"
a = "alpha/unicom"
b = "beta/unicom"
networks = ["china169"]

[[segment]]
id = "bc-unicom"
kind = "trunk"
a = "beta/unicom"
b = "gamma/unicom"
networks = ["china169"]

[[segment]]
id = "meet-beta"
kind = "interconnect"
a = "beta/telecom"
b = "beta/unicom"
networks = ["chinanet", "china169"]
km = 5
"""

PUBLIC_HEX = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"  # RFC 8032 7.1, test 1
PUBLIC_BASE64 = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="  # the same key


def small(old: str = "", new: str = "", *, more: str = "") -> str:
    """Return the text of the small mesh, one piece replaced, some lines added."""
    assert old in SMALL + ROADS, f"{old!r} is not in the small mesh"
    return (SMALL + more).replace(old, new, 1) if old else SMALL + more


def mesh_of(text: str) -> Mesh:
    """Return the mesh of a text."""
    return parse_mesh(text, source="small.toml")


def probe_line(name: str, endpoints: str = "", keys: str = "") -> str:
    """Return a `[[probe]]` table."""
    return f'\n[[probe]]\nid = "{name}"\nendpoints = [{endpoints}]\nkeys = [{keys}]\n'


def streams_of(mesh: Mesh) -> dict[str, tuple[int, ...]]:
    """Return the streams that each probe measures."""
    streams: dict[str, list[int]] = {}
    for stream in mesh.streams:
        streams.setdefault(stream.probe_id, []).append(stream.id)
    return {probe_id: tuple(ids) for probe_id, ids in streams.items()}
