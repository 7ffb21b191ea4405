"""Causes over time -> incidents: one a root cause, held, joined when it flaps, resolved when its members are clear.

Pure, and it converges: what it returns, fed back with the same situation, returns nothing more.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec.structs import replace

from alerts.incident import Change, EventKind, Incident, NoticeKind, Trail, incident_id
from alerts.localise import Cause
from alerts.policy import SEVERITIES, IncidentPolicy, Policy, Rule
from alerts.situation import SILENCE_SEVERITY, Situation, is_silence, is_silent, silence_hold_s, silent_causes
from alerts.verdict import Reason, Verdict

Member = Literal["fault", "clear", "wait", "gone"]  # gone: nothing will be known of it, so it holds nothing up

_GONE: tuple[Reason, ...] = ("probe_dead", "not_scheduled", "under_load", "probe_sick", "reflector_dead")


def converge(situation: Situation, incidents: Sequence[Incident], policy: Policy, now_ms: int) -> list[Change]:
    """Return the incidents that change, each with its next revision.

    Args:
        situation: what is seen now.
        incidents: the present revision of each: all that are not resolved, and those resolved within the flap window.
        policy: holds and limits.
        now_ms: the instant.
    """
    causes = [*situation.causes, *silent_causes(situation)]
    free = {each.incident_id: replace(each, trail=replace(each.trail, notice="")) for each in incidents}
    taken = set(free)
    present: list[Incident] = []
    changes: list[Change | None] = []
    for cause in causes:
        found = _match(cause, free.values(), policy.incident, now_ms)
        if found is None:
            change: Change | None = _begin(cause, taken, situation, policy, now_ms)
        else:
            del free[found.incident_id]
            change = _carry_on(found, cause, situation, policy, now_ms)
        changes.append(change)
        taken |= {change.incident.incident_id} if change is not None else set()
        present += [change.incident] if change is not None else [found] if found is not None else []
    changes += [_fade(each, present, situation, policy, now_ms) for each in free.values()]
    return [change for change in changes if change is not None]


def member_state(verdict: Verdict | None) -> Member:
    """Return what a member's verdict means for its incident."""
    if verdict is None:
        return "gone"  # no longer in the plan
    if verdict.state == "ok":
        return "clear"
    if verdict.state != "insufficient":
        return "fault"
    return "gone" if verdict.reason in _GONE else "wait"


def excuse(verdict: Verdict, causes: Iterable[Cause]) -> Verdict:
    """Return the verdict to show: what a dead reflector does to a stream says nothing of the network."""
    for cause in causes:
        if cause.kind == "reflector" and verdict.stream_id in cause.members:
            return replace(verdict, state="insufficient", reason="reflector_dead")
    return verdict


def _match(cause: Cause, incidents: Iterable[Incident], policy: IncidentPolicy, now_ms: int) -> Incident | None:
    """Return the incident that a cause belongs to: of the same name, else the one that shares most members."""
    best: tuple[int, int, str] | None = None
    found = None
    for each in incidents:
        shared = _shared(cause, each, policy, now_ms)
        order = (shared, -each.opened_ms, each.incident_id)
        if shared > 0 and (best is None or order > best):
            best, found = order, each
    return found


def _shared(cause: Cause, incident: Incident, policy: IncidentPolicy, now_ms: int) -> int:
    if is_silence(cause.kind, cause.known_ms) != is_silence(incident.cause_kind, incident.trail.known_ms):
        return 0
    same = (incident.cause_kind, incident.cause) == (cause.kind, cause.key)
    if incident.state == "resolved" and now_ms - incident.resolved_ms > policy.flap_window_s * 1000:
        return 0
    if is_silence(cause.kind, cause.known_ms):
        return int(same)
    shared = len(set(cause.members) & set(incident.members))
    old = incident.state == "resolved"
    if old and (cause.grade != incident.trail.grade or (not same and 2 * shared < len(incident.members))):
        return 0  # loss after a cut is another matter, and a few old members do not make a fault the old one
    return (1 << 32) + shared if same else shared


def _begin(cause: Cause, taken: set[str], situation: Situation, policy: Policy, now_ms: int) -> Change:
    opened_ms = cause.since_ms if cause.since_ms > 0 else now_ms
    names = (incident_id(situation.mesh, cause.kind, cause.key, opened_ms, nth) for nth in range(len(taken) + 1))
    fresh = Incident(
        mesh=situation.mesh,
        incident_id=next(name for name in names if name not in taken),
        revision=1,
        category=cause.category,
        cause_kind=cause.kind,
        cause=cause.key,
        state="suspected",
        opened_ms=opened_ms,
        updated_ms=now_ms,
        members=cause.members,
        confidence=cause.confidence,
        trail=Trail(
            grade=cause.grade,
            severity=_severity(cause, situation, policy),
            seen_ms=now_ms,
            known_ms=cause.known_ms,
            equal=cause.equal,
        ),
        rule_versions=_rule_versions(cause, situation),
        exercise=situation.exercise,
    )
    told = _tell(fresh, "suspected") if policy.incident.notify_suspected else fresh
    return _promote(
        Change(incident=told, events=(("suspected", f"{cause.kind}:{cause.key}"),)), cause, situation, policy, now_ms
    )


def _carry_on(incident: Incident, cause: Cause, situation: Situation, policy: Policy, now_ms: int) -> Change | None:
    """Return the next revision of an incident whose cause is seen again, or None when nothing is new."""
    events: list[tuple[EventKind, str]] = []
    after = incident
    if incident.state == "resolved":
        after = replace(
            after, state="suspected", resolved_ms=0, opened_ms=cause.since_ms if cause.since_ms > 0 else now_ms
        )
        after = replace(
            after, trail=replace(after.trail, flaps=after.trail.flaps + 1, told=(), flash=False, clear_ms=0)
        )
        events.append(("reopened", f"flap {after.trail.flaps}"))
    elif incident.trail.clear_ms > 0:
        after = replace(after, trail=replace(after.trail, clear_ms=0))
        events.append(("relapsed", ""))
    after = _with_members(after, cause, events)
    after = _with_cause(after, cause, situation, policy, events)
    change = Change(incident=after, events=tuple(events))
    return _numbered(_promote(change, cause, situation, policy, now_ms), incident, now_ms)


def _with_members(incident: Incident, cause: Cause, events: list[tuple[EventKind, str]]) -> Incident:
    members = tuple(sorted({*incident.members, *cause.members}))
    if members == incident.members:
        return incident
    events.append(("members", f"{len(incident.members)} -> {len(members)}"))
    return replace(incident, members=members)


def _with_cause(
    incident: Incident, cause: Cause, situation: Situation, policy: Policy, events: list[tuple[EventKind, str]]
) -> Incident:
    """Return the incident with its cause refined, unless members come back already: a heal proves nothing about it."""
    worse = incident.trail.grade == "degraded" and cause.grade == "down"
    if worse:
        severity = _severity(cause, situation, policy)
        trail = replace(incident.trail, grade="down", severity=severity)
        incident = replace(incident, trail=trail, rule_versions=_rule_versions(cause, situation))
    if (incident.cause_kind, incident.cause) == (cause.kind, cause.key):
        return incident
    healing = any(not _in_fault(situation.verdicts.get(each)) for each in incident.members)
    if (healing and not worse) or (incident.state == "open" and incident.category != cause.category):
        return incident
    events.append(("cause", f"{incident.cause_kind}:{incident.cause} -> {cause.kind}:{cause.key}"))
    after = replace(
        incident,
        category=cause.category,
        cause_kind=cause.kind,
        cause=cause.key,
        confidence=cause.confidence,
        trail=replace(incident.trail, equal=cause.equal),
    )
    return _tell(after, "update") if incident.called and policy.incident.notify_updates else after


def _in_fault(verdict: Verdict | None) -> bool:
    return verdict is None or verdict.alarms or verdict.state == "insufficient"


def _promote(change: Change, cause: Cause, situation: Situation, policy: Policy, now_ms: int) -> Change:
    """Return the change with a suspected incident opened and told, once its hold is over and its cause settled."""
    incident = change.incident
    if incident.state != "suspected" or not _due(incident, cause, situation, policy, now_ms):
        return change
    trail = replace(incident.trail, known_ms=cause.known_ms, equal=cause.equal)
    after = _tell(replace(incident, state="open", confidence=cause.confidence, trail=trail), "open")
    return Change(incident=after, events=(*change.events, ("opened", f"{len(after.members)} members")))


def _due(incident: Incident, cause: Cause, situation: Situation, policy: Policy, now_ms: int) -> bool:
    limits = policy.incident
    if is_silence(cause.kind, cause.known_ms):
        return now_ms - incident.opened_ms >= silence_hold_s(cause.kind, policy) * 1000
    hold_s = limits.node_hold_s if cause.kind == "node" and cause.grade == "down" else _hold_s(cause, situation, policy)
    held = cause.known_ms - incident.opened_ms >= hold_s * 1000
    settled = cause.confidence >= 1.0 or now_ms - incident.trail.seen_ms >= limits.settle_s * 1000
    return held and settled


def _hold_s(cause: Cause, situation: Situation, policy: Policy) -> int:
    return max((rule.hold_s for rule in _rules(cause, situation, policy)), default=0)


def _severity(cause: Cause, situation: Situation, policy: Policy) -> str:
    if is_silence(cause.kind, cause.known_ms):
        return SILENCE_SEVERITY[cause.kind]
    found = [SEVERITIES.index(rule.severity) for rule in _rules(cause, situation, policy)]
    return SEVERITIES[min(found, default=SEVERITIES.index("P4"))]


def _rules(cause: Cause, situation: Situation, policy: Policy) -> list[Rule]:
    named = {situation.verdicts[each].rule for each in cause.members if each in situation.verdicts}
    return [rule for rule in policy.rule if rule.id in named]


def _rule_versions(cause: Cause, situation: Situation) -> str:
    found = (situation.verdicts[each] for each in cause.members if each in situation.verdicts)
    return ",".join(sorted({f"{each.rule}@{each.rule_version}" for each in found if each.rule != ""}))


def _fade(
    incident: Incident, present: Sequence[Incident], situation: Situation, policy: Policy, now_ms: int
) -> Change | None:
    """Return the next revision of an incident that no cause names now: clearing, resolved, merged, or None."""
    if incident.state == "resolved":
        return None
    heir = next((each for each in present if set(incident.members) <= set(each.members)), None)
    if heir is not None and not incident.called:
        merged = replace(incident, state="resolved", resolved_ms=now_ms)
        return _numbered(Change(incident=merged, events=(("merged", heir.incident_id),)), incident, now_ms)
    if not _clear(incident, situation):
        relapsed = replace(incident, trail=replace(incident.trail, clear_ms=0))
        return _numbered(Change(incident=relapsed, events=(("relapsed", ""),)), incident, now_ms)
    clear_ms = incident.trail.clear_ms if incident.trail.clear_ms > 0 else now_ms
    after = replace(incident, trail=replace(incident.trail, clear_ms=clear_ms))
    if now_ms - clear_ms >= _resolve_s(incident, policy.incident) * 1000:
        return _numbered(_resolve(after, situation, policy, now_ms), incident, now_ms)
    return _numbered(Change(incident=after, events=(("clearing", ""),)), incident, now_ms)


def _clear(incident: Incident, situation: Situation) -> bool:
    if is_silence(incident.cause_kind, incident.trail.known_ms):
        return not is_silent(situation, incident.cause_kind, incident.cause)
    states = {member_state(situation.verdicts.get(each)) for each in incident.members}
    return states <= {"clear", "gone"} and (
        "clear" in states or all(each not in situation.verdicts for each in incident.members)
    )


def _resolve_s(incident: Incident, limits: IncidentPolicy) -> int:
    """Return how long it must be clear: nobody was called for a suspicion, and a flapping one has to prove more."""
    if not incident.called:
        return 0
    return min(limits.resolve_s << min(incident.trail.flaps, 16), max(limits.flap_window_s, limits.resolve_s))


def _resolve(incident: Incident, situation: Situation, policy: Policy, now_ms: int) -> Change:
    back = max(
        (situation.verdicts[each].since_ms for each in incident.members if each in situation.verdicts), default=0
    )
    lasted_ms = (back if back > incident.opened_ms else now_ms) - incident.opened_ms
    flash = lasted_ms < policy.incident.flash_s * 1000 and incident.trail.grade == "down"
    after = replace(incident, state="resolved", resolved_ms=now_ms, trail=replace(incident.trail, flash=flash))
    kind: EventKind = "flash" if flash and not incident.called else "resolved"
    return Change(
        incident=_tell(after, "resolved") if incident.called else after, events=((kind, f"lasted {lasted_ms} ms"),)
    )


def _tell(incident: Incident, notice: NoticeKind) -> Incident:
    told = tuple(dict.fromkeys((*incident.trail.told, notice)))
    return replace(incident, trail=replace(incident.trail, notice=notice, told=told))


def _numbered(change: Change, before: Incident, now_ms: int) -> Change | None:
    """Return the change as the next revision, or None when it changes nothing."""
    if change.incident == before:
        return None
    after = replace(change.incident, revision=before.revision + 1, updated_ms=now_ms)
    return Change(incident=after, events=change.events)
