"""What one round sees, and the causes that are seen by silence alone: of a probe, or of the whole pipeline. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from alerts.facts import ProbeState
from alerts.localise import Cause
from alerts.policy import Policy
from alerts.verdict import Verdict

SILENCE_SEVERITY: Final[Mapping[str, str]] = {"probe": "P4", "pipeline": "P2"}  # of the second nobody sees anything


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """All that converge looks at in one round."""

    mesh: str
    causes: Sequence[Cause]  # of streams, from `localise`
    verdicts: Mapping[int, Verdict]  # by stream id, before any excuse
    probes: Mapping[str, ProbeState]
    probe_streams: Mapping[str, tuple[int, ...]]
    probe_endpoints: Mapping[str, frozenset[tuple[str, str]]]  # (endpoint, node) that each probe serves
    exercise: bool = False
    silent_since_ms: int | None = None  # of the whole pipeline; None: something arrives


def silent_causes(situation: Situation) -> list[Cause]:
    """Return a cause for each probe that is dead, and one when nothing arrives of anyone."""
    return [*_dead_probes(situation), *_silent_pipeline(situation)]


def _dead_probes(situation: Situation) -> list[Cause]:
    """Return a cause a dead probe, but none for a probe that stands in an isolated node: that is one incident."""
    isolated: set[tuple[str, str]] = {(cause.kind, cause.key) for cause in situation.causes if cause.grade == "down"}
    return [
        Cause(
            kind="probe",
            key=probe.probe_id,
            grade="down",
            members=situation.probe_streams.get(probe.probe_id, ()),
            since_ms=probe.heard_ms if probe.heard_ms is not None else 0,
            known_ms=0,
        )
        for probe in situation.probes.values()
        if probe.dead and not _behind(situation.probe_endpoints.get(probe.probe_id, frozenset()), isolated)
    ]


def _silent_pipeline(situation: Situation) -> list[Cause]:
    """Return the one cause of nothing arriving of anyone: every stream of the mesh is unknown by it."""
    if situation.silent_since_ms is None:
        return []
    members = tuple(sorted(situation.verdicts))
    since_ms = situation.silent_since_ms
    return [Cause(kind="pipeline", key=situation.mesh, grade="down", members=members, since_ms=since_ms, known_ms=0)]


def _behind(endpoints: frozenset[tuple[str, str]], isolated: set[tuple[str, str]]) -> bool:
    return len(endpoints) > 0 and all(
        ("endpoint", endpoint) in isolated or ("node", node) in isolated for endpoint, node in endpoints
    )


def is_silence(kind: str, known_ms: int) -> bool:
    """Return whether a probe or the pipeline is the cause because it says nothing; else its streams accuse it."""
    return kind == "pipeline" or (kind == "probe" and known_ms == 0)


def is_silent(situation: Situation, kind: str, key: str) -> bool:
    """Return whether a probe, or the pipeline, that fell silent still is."""
    if kind == "pipeline":
        return situation.silent_since_ms is not None
    probe = situation.probes.get(key)
    return probe is not None and probe.dead


def silence_hold_s(kind: str, policy: Policy) -> int:
    """Return how long a silence has to last, from the last word, before anyone is called."""
    if kind == "pipeline":
        return policy.liveness.pipeline_silent_s
    return policy.incident.probe_hold_s + policy.liveness.probe_dead_s
