"""Append-only rows of verdict, incident, incident_event and delivery: what was concluded and who was told."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from alerts.door import Door, Row
from alerts.incident import Change, Incident, Trail
from alerts.verdict import Verdict
from schemas.tables import DELIVERY, INCIDENT, INCIDENT_EVENT, VERDICT


def write_verdicts(store: Door, mesh: str, verdicts: Iterable[Verdict], judged_ms: int, *, exercise: bool) -> None:
    """Append verdicts.

    Raises:
        StoreTransientError: unknown whether they are stored; a repeat only repeats what was said.
    """
    rows = [_verdict_row(mesh, verdict, judged_ms, exercise=exercise) for verdict in verdicts]
    store.insert(VERDICT, rows)


def write_changes(store: Door, changes: Sequence[Change], summaries: Sequence[tuple[str, str]]) -> None:
    """Append the new revisions, then their events: a revision without its event is still the truth.

    Raises:
        StoreTransientError: unknown whether they are stored; a repeat of the same revision changes no reader.
    """
    rows = [_incident_row(change.incident, *texts) for change, texts in zip(changes, summaries, strict=True)]
    store.insert(INCIDENT, rows)
    events = [
        (change.incident.incident_id, change.incident.updated_ms, kind, detail, int(change.incident.exercise))
        for change in changes
        for kind, detail in change.events
    ]
    store.insert(INCIDENT_EVENT, events)


def write_delivery(
    store: Door,
    incident: Incident,
    *,
    target: str,
    attempt: int,
    at_ms: int,
    outcome: str,
    status_code: int,
    detail: str,
) -> None:
    """Append one attempt to tell one target of one notice.

    Raises:
        StoreTransientError: the proof may be missing; the notice is then sent again.
    """
    head = (incident.incident_id, incident.notice, target, attempt, at_ms, outcome, status_code, detail[:500])
    store.insert(DELIVERY, [(*head, int(incident.exercise))])


def acknowledge(store: Door, incident_id: str, *, who: str, at_ms: int, exercise: bool = False) -> None:
    """Note in an incident's timeline that a person took it over.

    Raises:
        StoreTransientError: unknown whether it is noted; the same call may be repeated.
    """
    store.insert(INCIDENT_EVENT, [(incident_id, at_ms, "acknowledged", who[:200], int(exercise))])


def read_present(store: Door, mesh: str, resolved_from_ms: int) -> list[Incident]:
    """Return every incident that is not resolved, and those resolved since an instant.

    Raises:
        StoreTransientError: the store is away.
    """
    rows = store.rows("incident_present", mesh=mesh, resolved_from_ms=resolved_from_ms)
    return [incident_of(row) for row in rows]


def incident_of(row: Row) -> Incident:
    """Return the incident of a row of any `incident_*` query that selects all columns."""
    named: dict[str, Any] = {field: row[field] for field in Incident.__struct_fields__ if field in row}
    named["trail"] = msgspec.json.decode(row["evidence"], type=Trail)
    named["members"] = tuple(row["members"])
    named["exercise"] = bool(row["exercise"])
    return Incident(**named)


def _verdict_row(mesh: str, verdict: Verdict, judged_ms: int, *, exercise: bool) -> tuple[Any, ...]:
    named = {field: getattr(verdict, field) for field in Verdict.__struct_fields__}
    named |= {
        "mesh": mesh,
        "window_start": verdict.window_start_ms // 1000,
        "judged_ms": judged_ms,
        "exercise": int(exercise),
    }
    return tuple(named[column] for column in VERDICT.columns)


def _incident_row(incident: Incident, summary_zh: str, summary_en: str) -> tuple[Any, ...]:
    named = {field: getattr(incident, field) for field in Incident.__struct_fields__}
    named |= {
        "members": list(incident.members),
        "evidence": msgspec.json.encode(incident.trail).decode(),
        "summary_zh": summary_zh,
        "summary_en": summary_en,
        "exercise": int(incident.exercise),
    }
    return tuple(named[column] for column in INCIDENT.columns)
