"""Who fell silent, who did not, and the plan -> the fewest causes that explain it. Pure.

A candidate (segment, endpoint, node, reflector, probe) explains a silent stream only if no stream that crosses it was
seen alive during that silence. Evidence comes at different times from different probes, so "during" is by the packets:
a stream that was last seen alive before the silence began, or alive again after it was last seen, clears nobody.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from alerts.facts import PlannedStream
from alerts.verdict import Verdict

CauseKind = Literal["segment", "endpoint", "node", "reflector", "probe", "path", "pipeline"]
Grade = Literal["down", "degraded"]
Category = Literal["network", "infrastructure"]

OVERLAP_MS: Final = 1000  # silence and life must be seen together for so long before one clears the other
LOSSY_SHARE: Final = 0.8  # of the streams across a candidate must be lossy before it explains loss
_KINDS: Final[tuple[CauseKind, ...]] = ("node", "segment", "endpoint", "reflector", "probe")
_NODE, _SEGMENT, _ENDPOINT, _REFLECTOR, _PROBE = range(5)
_INFRASTRUCTURE: Final = ("reflector", "probe", "pipeline")
_FOREVER_MS: Final = 1 << 61

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """One explanation, the streams it explains, and the equally good ones."""

    kind: CauseKind
    key: str  # id of the segment, endpoint, node, probe or mesh (pipeline); `a|b` of two endpoints for a path
    grade: Grade
    members: tuple[int, ...]  # stream ids, sorted
    since_ms: int  # when the first member fell silent, by its packets
    known_ms: int  # up to when a member was seen silent
    equal: tuple[str, ...] = ()  # `kind:key` of the candidates that explain the same as well
    confidence: float = 1.0  # share of its streams seen silent, divided among the equals

    @property
    def category(self) -> Category:
        """Return whether the network is at fault, or what measures it."""
        return "infrastructure" if self.kind in _INFRASTRUCTURE else "network"


class Index(NamedTuple):
    """The plan turned inside out: which streams cross which candidate. Built once a mesh version."""

    stream_ids: Ints
    position: dict[int, int]
    names: tuple[tuple[CauseKind, str], ...]
    rank: Ints  # of each candidate: its kind
    size: Ints  # streams that cross it
    wide: Bools  # a node with two endpoints or more
    candidate: Ints  # one entry a crossing: the candidate ...
    stream: Ints  # ... the stream ...
    witness: Ints  # ... and for reflector and probe the endpoint whose innocence is their proof, else -1
    path: tuple[str, ...]  # of each stream: its pair of endpoints, either way


class Seen(NamedTuple):
    """The evidence of all streams, in the order of the index."""

    bad: Bools
    up: Bools
    since_ms: Ints
    known_ms: Ints


def build_index(streams: Sequence[PlannedStream]) -> Index:
    """Return the index of a plan."""
    ids: dict[tuple[int, str], int] = {}
    crossings: list[tuple[int, int, int]] = []
    homes: dict[int, set[str]] = {}
    for at, stream in enumerate(streams):
        ends = [ids.setdefault((_ENDPOINT, end), len(ids)) for end in (stream.source, stream.destination)]
        for kind, key, witness in _crossed(stream, ends):
            crossings.append((ids.setdefault((kind, key), len(ids)), at, witness))
        homes.setdefault(ids[_NODE, stream.source_node], set()).add(stream.source)
        homes.setdefault(ids[_NODE, stream.destination_node], set()).add(stream.destination)
    table = np.array(sorted(set(crossings)), dtype=np.int64).reshape(-1, 3)
    return Index(
        stream_ids=np.array([stream.stream_id for stream in streams], dtype=np.int64),
        position={stream.stream_id: at for at, stream in enumerate(streams)},
        names=tuple((_KINDS[kind], key) for kind, key in ids),
        rank=np.array([kind for kind, _ in ids], dtype=np.int64),
        size=np.bincount(table[:, 0], minlength=len(ids)),
        wide=np.array([len(homes.get(at, ())) > 1 for at in range(len(ids))], dtype=np.bool_),
        candidate=table[:, 0],
        stream=table[:, 1],
        witness=table[:, 2],
        path=tuple("|".join(sorted((stream.source, stream.destination))) for stream in streams),
    )


def localise(index: Index, verdicts: Iterable[Verdict]) -> list[Cause]:
    """Return the causes of what is down, then of what is degraded beside it; the widest first."""
    verdicts = list(verdicts)
    down = _seen(index, verdicts, "down")
    causes = _causes(index, down, _silent_crossings(index, down), "down") if down.bad.any() else []
    lossy = _seen(index, verdicts, "degraded")
    if lossy.bad.any():
        causes += _causes(index, lossy, _lossy_crossings(index, lossy), "degraded")
    return causes


def _crossed(stream: PlannedStream, ends: Sequence[int]) -> list[tuple[int, str, int]]:
    found = [(_SEGMENT, segment, -1) for segment in stream.segments]
    found += [(_ENDPOINT, stream.source, -1), (_ENDPOINT, stream.destination, -1)]
    found += [(_NODE, stream.source_node, -1), (_NODE, stream.destination_node, -1)]
    found.append((_PROBE, stream.probe_id, ends[0]))
    if stream.method != "icmp":  # the host answers that itself
        found.append((_REFLECTOR, stream.destination, ends[1]))
    return found


def _seen(index: Index, verdicts: Iterable[Verdict], grade: Grade) -> Seen:
    count = len(index.stream_ids)
    seen = Seen(
        bad=np.zeros(count, dtype=np.bool_),
        up=np.zeros(count, dtype=np.bool_),
        since_ms=np.zeros(count, dtype=np.int64),
        known_ms=np.zeros(count, dtype=np.int64),
    )
    for verdict in verdicts:
        at = index.position.get(verdict.stream_id)
        if at is None or verdict.up is None:
            continue
        seen.bad[at] = verdict.alarms and verdict.state == grade
        seen.up[at] = verdict.up and not seen.bad[at]
        seen.since_ms[at], seen.known_ms[at] = verdict.since_ms, verdict.known_ms
    return seen


def _silent_crossings(index: Index, seen: Seen) -> Ints:
    """Return the positions of crossings (candidate, silent stream) that no life on the candidate refutes."""
    silent = np.flatnonzero(seen.bad[index.stream])
    refuted = _refuted(index, seen, index.candidate[silent], index.stream[silent])
    witness = index.witness[silent]
    proved = witness < 0
    proved[~proved] = _refuted(index, seen, witness[~proved], index.stream[silent][~proved])
    return silent[~refuted & proved]


def _refuted(index: Index, seen: Seen, candidate: Ints, stream: Ints) -> Bools:
    """Return for each (candidate, silent stream) whether another stream was alive across it during the silence."""
    since, known = seen.since_ms[stream], seen.known_ms[stream]
    refuted = np.zeros(len(candidate), dtype=np.bool_)
    for returned in (False, True):  # those that never fell silent, then those that came back
        alive = seen.up[index.stream] & ((seen.since_ms[index.stream] > 0) == returned)
        first = np.full(len(index.names), _FOREVER_MS)
        last = np.zeros(len(index.names), dtype=np.int64)
        np.minimum.at(first, index.candidate[alive], seen.since_ms[index.stream[alive]])
        np.maximum.at(last, index.candidate[alive], seen.known_ms[index.stream[alive]])
        together = np.minimum(last[candidate], known) - np.maximum(first[candidate], since)
        refuted |= together >= OVERLAP_MS
    return refuted


def _lossy_crossings(index: Index, seen: Seen) -> Ints:
    """Return the crossings whose candidate is lossy for most of its streams: an alive stream does not refute loss."""
    count = len(index.names)
    lossy = np.bincount(index.candidate[seen.bad[index.stream]], minlength=count)
    clean = np.bincount(index.candidate[seen.up[index.stream]], minlength=count)
    possible = (lossy >= LOSSY_SHARE * (lossy + clean)) & (index.rank != _REFLECTOR) & (index.rank != _PROBE)
    return np.flatnonzero(seen.bad[index.stream] & possible[index.candidate])


def _causes(index: Index, seen: Seen, crossings: Ints, grade: Grade) -> list[Cause]:
    """Return the greedy cover: always the candidate that explains most of what is left."""
    candidate, stream = index.candidate[crossings], index.stream[crossings]
    full = np.bincount(candidate, minlength=len(index.names))
    left = seen.bad.copy()
    causes: list[Cause] = []
    while True:
        live = left[stream]
        covered = np.bincount(candidate[live], minlength=len(index.names))
        most = int(covered.max(initial=0))
        if most == 0:
            break
        ties = np.flatnonzero(covered == most)
        spare = index.size[ties] - full[ties]
        chosen, equal = _choose(index, ties[spare == spare.min()], candidate[live], stream[live])
        members = stream[candidate == chosen]
        causes.append(_cause(index, seen, chosen, members, equal, grade))
        left[members] = False
    return causes + _lone_paths(index, seen, np.flatnonzero(left), grade)


def _choose(index: Index, ties: Ints, candidate: Ints, stream: Ints) -> tuple[int, list[int]]:
    """Return the candidate to name among the equally good, and those that explain the very same streams.

    A node with several endpoints is named when it is the only node in question (nothing else takes all its carriers
    at once); else a segment, which can be mended, before an endpoint.
    """
    nodes = ties[(index.rank[ties] == _NODE) & index.wide[ties]]
    isolated = int(nodes[0]) if len(nodes) == 1 else -1
    order = sorted(
        ties.tolist(),
        key=lambda at: (at != isolated, (int(index.rank[at]) - _SEGMENT) % len(_KINDS), index.names[at][1]),
    )
    chosen = order[0]
    explained = set(stream[candidate == chosen].tolist())
    same = [at for at in order[1:] if set(stream[candidate == at].tolist()) == explained]
    return chosen, same


def _cause(index: Index, seen: Seen, chosen: int, members: Ints, equal: Sequence[int], grade: Grade) -> Cause:
    kind, key = index.names[chosen]
    rivals = sum(int(index.rank[at]) == int(index.rank[chosen]) for at in equal)
    share = len(members) / int(index.size[chosen])
    return Cause(
        kind=kind,
        key=key,
        grade=grade,
        members=_member_ids(index, members),
        since_ms=int(seen.since_ms[members].min()),
        known_ms=int(seen.known_ms[members].max()),
        equal=tuple(":".join(index.names[at]) for at in equal),
        confidence=round(share / (1 + rivals), 3),
    )


def _lone_paths(index: Index, seen: Seen, left: Ints, grade: Grade) -> list[Cause]:
    """Return what no shared candidate explains, one cause a pair of endpoints."""
    pairs: dict[str, list[int]] = {}
    for at in left.tolist():
        pairs.setdefault(index.path[at], []).append(at)
    return [
        Cause(
            kind="path",
            key=pair,
            grade=grade,
            members=_member_ids(index, np.array(found)),
            since_ms=int(seen.since_ms[found].min()),
            known_ms=int(seen.known_ms[found].max()),
            confidence=0.5,
        )
        for pair, found in sorted(pairs.items(), key=lambda each: (-len(each[1]), each[0]))
    ]


def _member_ids(index: Index, members: Ints) -> tuple[int, ...]:
    return tuple(sorted(index.stream_ids[members].tolist()))
