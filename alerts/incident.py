"""An incident: one root cause, its members, and the trail that lets an evaluator go on after a restart."""

import hashlib
from typing import Literal

import msgspec

from alerts.localise import Category, CauseKind, Grade

IncidentState = Literal["suspected", "open", "resolved"]
NoticeKind = Literal["", "suspected", "open", "update", "resolved"]
EventKind = Literal[
    "suspected", "opened", "cause", "members", "clearing", "relapsed", "resolved", "flash", "reopened", "merged"
]


class Trail(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What converge needs to know again; stored as JSON in `incident.evidence`."""

    grade: Grade
    severity: str
    seen_ms: int  # when an evaluator first saw it
    known_ms: int  # up to when a member was seen in fault, by its packets
    clear_ms: int = 0  # when all members were first seen clear; 0: they are not
    equal: tuple[str, ...] = ()  # `kind:key` that explain the same as well
    notice: NoticeKind = ""  # this revision is to be told
    told: tuple[str, ...] = ()  # notices that were asked for so far
    flaps: int = 0
    name_zh: str = ""  # of the cause, as people call it
    name_en: str = ""
    flash: bool = False  # an interruption shorter than the policy's `flash_s`


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """One revision of an incident; the largest is its present state. Instants are UTC milliseconds."""

    mesh: str
    incident_id: str
    revision: int
    category: Category
    cause_kind: CauseKind
    cause: str
    state: IncidentState
    opened_ms: int  # when the first member fell silent
    updated_ms: int
    resolved_ms: int = 0  # 0: not
    members: tuple[int, ...]
    confidence: float
    trail: Trail
    rule_versions: str  # `id@version`, comma-separated
    exercise: bool = False

    @property
    def called(self) -> bool:
        """Return whether anyone was told that it is open."""
        return "open" in self.trail.told

    @property
    def notice(self) -> str:
        """Return the name of this revision's notice, unique in the incident; empty when none is asked for."""
        return f"{self.trail.notice}-{self.revision}" if self.trail.notice != "" else ""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A new revision, and what happened."""

    incident: Incident
    events: tuple[tuple[EventKind, str], ...]  # kind, detail


def incident_id(mesh: str, kind: str, key: str, opened_ms: int, nth: int = 0) -> str:
    """Return the id: the same cause in the same minute of the same mesh is the same incident for every evaluator.

    `nth` tells apart what would share it: loss and a cut of one path, a probe that is accused and silent at once.
    """
    text = "\0".join((mesh, kind, key, str(opened_ms // 60_000), *([str(nth)] if nth > 0 else [])))
    return f"inc-{hashlib.blake2b(text.encode(), digest_size=6).hexdigest()}"
