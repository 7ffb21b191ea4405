"""The plan in force, as the tables tell it: streams, who serves what, and what people call the parts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

from alerts.door import Door, Param, Row
from alerts.facts import PlannedStream
from alerts.localise import Index, build_index

Name = tuple[str, str]  # zh, en
T = TypeVar("T")


class PlanVersion(msgspec.Struct, frozen=True, kw_only=True):
    """Which version of a mesh is in force."""

    mesh: str
    version: str
    valid_from_ms: int
    timezone: str
    canonical: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One version, ready to judge by."""

    version: PlanVersion
    streams: tuple[PlannedStream, ...]
    by_id: dict[int, PlannedStream]
    index: Index
    probe_streams: dict[str, tuple[int, ...]]
    probe_endpoints: dict[str, frozenset[tuple[str, str]]]  # (endpoint, node)
    names: dict[tuple[str, str], Name]  # by kind (node, endpoint, segment) and id


class _Named(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name_zh: str = ""
    name_en: str = ""


class _Segment(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    kind: str = ""
    a: str = ""
    b: str = ""


class _File(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a mesh file that no table holds; the rest is left unread."""

    segment: tuple[_Segment, ...] = ()
    carrier: tuple[_Named, ...] = ()


class _Canonical(msgspec.Struct, frozen=True, kw_only=True):
    file: _File = _File()


def read_version(store: Door, mesh: str, at_ms: int) -> PlanVersion | None:
    """Return the version in force at an instant, or None before the first.

    Raises:
        StoreTransientError: the store is away.
    """
    found = store.rows("judge_mesh", mesh=mesh, at_s=at_ms // 1000)
    if len(found) == 0:
        return None
    row = found[0]
    return PlanVersion(
        mesh=mesh,
        version=row["version"],
        valid_from_ms=int(row["valid_from_s"]) * 1000,
        timezone=row["timezone"],
        canonical=row["canonical"],
    )


def read_plan(store: Door, version: PlanVersion) -> Plan:
    """Return the plan of a version.

    Raises:
        StoreTransientError: the store is away.
    """
    key: dict[str, Param] = {
        "mesh": version.mesh,
        "version": version.version,
        "valid_from_s": version.valid_from_ms // 1000,
    }
    streams = tuple(_stream(row, version) for row in store.rows("judge_streams", **key))
    places = store.rows("judge_places", **key)
    return Plan(
        version=version,
        streams=streams,
        by_id={stream.stream_id: stream for stream in streams},
        index=build_index(streams),
        probe_streams=_grouped((stream.probe_id, stream.stream_id) for stream in streams),
        probe_endpoints={
            probe: frozenset(ends) for probe, ends in _grouped(_served(row) for row in places).items() if probe != ""
        },
        names=_names(places, version.canonical),
    )


def _stream(row: Row, version: PlanVersion) -> PlannedStream:
    named = {field: row[field] for field in PlannedStream.__struct_fields__ if field in row}
    named |= {"segments": tuple(row["segments"]), "version": version.version, "valid_from_ms": version.valid_from_ms}
    return PlannedStream(**named)


def _served(row: Row) -> tuple[str, tuple[str, str]]:
    return row["probe_id"], (row["endpoint"], row["node"])


def _grouped(pairs: Iterable[tuple[str, T]]) -> dict[str, tuple[T, ...]]:
    found: dict[str, list[T]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return {key: tuple(values) for key, values in found.items()}


def _names(places: Sequence[Row], canonical: str) -> dict[tuple[str, str], Name]:
    mesh = msgspec.json.decode(canonical, type=_Canonical).file if canonical != "" else _File()
    carriers = {each.id: (each.name_zh or each.id, each.name_en or each.id) for each in mesh.carrier}
    names: dict[tuple[str, str], Name] = {}
    ends: dict[str, tuple[Name, Name]] = {}
    for row in places:
        node = (row["name_zh"] or row["node"], row["name_en"] or row["node"])
        carrier = carriers.get(row["carrier"], (row["carrier"], row["carrier"]))
        names["node", row["node"]] = node
        names["endpoint", row["endpoint"]] = (f"{node[0]}（{carrier[0]}）", f"{node[1]} ({carrier[1]})")
        ends[row["endpoint"]] = (node, carrier)
    for segment in mesh.segment:
        if segment.a in ends and segment.b in ends:
            names["segment", segment.id] = _segment_name(segment.kind, ends[segment.a], ends[segment.b])
    return names


_SEGMENT_WORDS: Mapping[str, Name] = {
    "trunk": ("干线", "trunk"),
    "access": ("接入链路", "access link"),
    "metro": ("城域链路", "metro link"),
    "interconnect": ("网间互联链路", "interconnect"),
}


def _segment_name(kind: str, a: tuple[Name, Name], b: tuple[Name, Name]) -> Name:
    zh, en = _SEGMENT_WORDS.get(kind, ("链路", "link"))
    carriers = [a[1]] if a[1] == b[1] else [a[1], b[1]]
    return (
        f"{a[0][0]} — {b[0][0]} {zh}（{'、'.join(each[0] for each in carriers)}）",
        f"{en} {a[0][1]} - {b[0][1]} ({', '.join(each[1] for each in carriers)})",
    )
