"""Rows + plan + policy -> verdict. Pure: live, replay and report call the same functions.

How "down now" follows from rows alone: a row tells how many runs of losses began in its slot and, through the pairs of
answered neighbours, how many returns there were (`SlotFacts.turns`), so it tells whether its last covered packet was
answered. The early revision of a stream that fell silent thus ends in a run, the one after its return does not.
"""

from collections.abc import Sequence

import msgspec

from alerts.facts import SICK_COVERAGE, PlannedStream, ProbeState, SlotFacts
from alerts.policy import Direction, Policy, Rule, check_direction
from alerts.verdict import Reason, State, Verdict
from alerts.wilson import wilson


def judge(stream: PlannedStream, slots: Sequence[SlotFacts], probe: ProbeState, policy: Policy, now_ms: int) -> Verdict:
    """Return the verdict of a stream now.

    Args:
        stream: as planned at this instant.
        slots: what is known of it over `policy.liveness.lookback_s`, oldest first.
        probe: the state of the probe that measures it.
        policy: the rules.
        now_ms: the instant judged; it only decides what is late.
    """
    blind = _blind(stream, slots, probe, policy, now_ms)
    if blind != "":
        verdict = _verdict(stream, slots, "insufficient", blind)
        due_ms = expected_slot_ms(stream, policy, now_ms)
        return verdict if len(slots) > 0 else msgspec.structs.replace(verdict, window_start_ms=due_ms)
    usable = [slot for slot in slots if slot.sent > 0 and not slot.loaded and not slot.sick]
    run_rule = next(rule for rule in policy.rule if _applies(rule, stream, "loss_run_ms"))
    cut = _judge_run(stream, slots, usable, run_rule)
    if cut is not None:
        return cut
    newest = next(slot for slot in reversed(slots) if slot.complete)
    hidden = _uncovered(stream, newest, slots, run_rule, policy)
    if hidden != "":
        return _verdict(stream, slots, "insufficient", hidden)
    return _judge_loss(stream, slots, _available(usable, run_rule, stream), policy)


def judge_figure(
    stream_id: int,
    rule: Rule,
    direction: Direction,
    *,
    value: float | None,
    error: float = 0.0,
    sent: int,
    lost: int,
    planned: int,
    window_start_ms: int,
    window_s: int,
) -> Verdict:
    """Return the verdict of a figure over a closed window, as reports and assessments need it.

    Args:
        stream_id: the stream.
        rule: the limit.
        direction: of the figure.
        value: the figure in the rule's unit; None where it is not defined (too much loss, no packet).
        error: its half-width, of clock or interval, in the same unit; a share gets its Wilson interval as well.
        sent: packets sent in the window.
        lost: of them, lost.
        planned: packets that the mesh plans for the window.
        window_start_ms: start of the window.
        window_s: its length.

    Raises:
        ConfigError: the figure's direction is not the rule's.
    """
    check_direction(rule, direction)
    lower, upper = _bounds(rule, value, error, lost, sent)
    state, reason = _graded(rule, lower, upper, sent, planned)
    return Verdict(
        stream_id=stream_id,
        state=state,
        reason=reason,
        rule=rule.id,
        rule_version=rule.version,
        metric=rule.metric,
        value=value,
        lower=lower,
        upper=upper,
        limit=rule.raise_above,
        sent=sent,
        lost=lost,
        planned=planned,
        window_start_ms=window_start_ms,
        window_s=window_s,
    )


def expected_slot_ms(stream: PlannedStream, policy: Policy, now_ms: int) -> int:
    """Return the start of the newest slot whose whole row should have come by now."""
    behind = stream.slot_ms + stream.timeout_ms + policy.liveness.late_s * 1000
    due = now_ms - behind
    return due - due % stream.slot_ms


def _bounds(rule: Rule, value: float | None, error: float, lost: int, sent: int) -> tuple[float | None, float | None]:
    if value is None:
        return None, None
    if rule.statistic != "ratio":
        return value - error, value + error
    lower, upper = wilson(lost, sent)
    return max(0.0, lower - error), min(1.0, upper + error)


def _graded(rule: Rule, lower: float | None, upper: float | None, sent: int, planned: int) -> tuple[State, Reason]:
    """Return what a figure with an interval is: a grade only when all of it lies on one side of the limit."""
    if lower is None or upper is None or sent < rule.min_packets:
        return "insufficient", "learning"
    if lower >= rule.raise_above:
        return rule.state, "limit"
    if planned == 0 or sent / planned < rule.min_coverage:
        return "insufficient", "late"
    if upper < rule.raise_above:
        return "ok", ""
    by_clock = rule.direction == "one_way" and rule.statistic != "ratio"
    return "insufficient", "clock_bad" if by_clock else "straddles"


def _blind(stream: PlannedStream, slots: Sequence[SlotFacts], probe: ProbeState, policy: Policy, now_ms: int) -> Reason:
    """Return why nothing can be said now, or an empty reason."""
    if probe.dead:
        return "probe_dead"
    expected = expected_slot_ms(stream, policy, now_ms)
    newest = next((slot for slot in reversed(slots) if slot.complete), None)
    if newest is None or newest.start_ms < expected:
        return _absent(stream, probe, policy, now_ms, expected)
    last = slots[-1]
    if last.mesh_version != stream.version and last.start_ms >= stream.valid_from_ms + 60_000:
        return "not_scheduled"
    if last.sick or last.sent > SICK_COVERAGE * max(last.planned, stream.planned_per_slot):
        return "probe_sick"
    return "under_load" if last.loaded else ""


def _absent(stream: PlannedStream, probe: ProbeState, policy: Policy, now_ms: int, expected: int) -> Reason:
    if probe.learning or now_ms < stream.valid_from_ms + policy.liveness.probe_dead_s * 1000:
        return "learning"
    return "not_scheduled" if probe.complete_slot_ms >= expected else "late"


def _uncovered(
    stream: PlannedStream, newest: SlotFacts, slots: Sequence[SlotFacts], rule: Rule, policy: Policy
) -> Reason:
    """Return why the newest whole slot holds too few packets for a good grade, or an empty reason."""
    planned = stream.planned_per_slot
    if newest.sent >= policy.liveness.ok_packets and newest.sent >= rule.min_coverage * planned:
        return ""
    if newest.covered >= rule.min_coverage * planned:
        return "probe_sick"  # scheduled, yet the host could not send
    before = [slot.spool for slot in slots if slot.start_ms < newest.start_ms]
    return "learning" if newest.spool not in before else "late"


def _judge_run(
    stream: PlannedStream, slots: Sequence[SlotFacts], usable: Sequence[SlotFacts], rule: Rule
) -> Verdict | None:
    """Return down or recovering, or None where no run of losses stands in the way."""
    if len(usable) == 0:
        return None
    last = usable[-1]
    run_ms = last.loss_run_max * stream.interval_ms
    if (
        run_ms >= rule.raise_above
        and last.loss_run_max >= rule.min_packets
        and _ends_up(usable, stream.slot_ms) is not True
    ):
        known = _known_ms(stream, last)
        return _run_verdict(stream, slots, last, rule, "down", "loss_run", known - run_ms)
    clean, outage = _clean_since(usable, rule, stream)
    if outage is None or clean * stream.interval_ms >= rule.clear_s * 1000:
        return None
    since = _known_ms(stream, last) - clean * stream.interval_ms
    return _run_verdict(stream, slots, outage, rule, "degraded", "recovering", since)


def _ends_up(usable: Sequence[SlotFacts], slot_ms: int) -> bool | None:
    """Return whether the last packet of the newest slot was answered; None where the rows do not tell."""
    up: bool | None = None
    before: SlotFacts | None = None
    for slot in usable:
        if slot.received == 0 or slot.turns == 1:
            up = False
        elif slot.lost == 0 or slot.turns == -1:
            up = True
        elif not (slot.turns == 0 and before is not None and _follows(before, slot, slot_ms)):
            up = None  # else as many returns as silences: it ended as it began
        before = slot
    return up


def _follows(before: SlotFacts, slot: SlotFacts, slot_ms: int) -> bool:
    return before.spool == slot.spool and before.complete and before.start_ms + slot_ms == slot.start_ms


def _clean_since(usable: Sequence[SlotFacts], rule: Rule, stream: PlannedStream) -> tuple[int, SlotFacts | None]:
    """Return the packets since the newest long run, and the slot that holds the run; None when there is none."""
    clean, enough = 0, rule.clear_s * 1000 // stream.interval_ms
    for slot in reversed(usable):
        if slot.loss_run_max * stream.interval_ms >= rule.clear_below and slot.loss_run_max >= rule.min_packets:
            returned_once = slot.turns == -1 and slot.loss_runs == 0
            return clean + (slot.received if returned_once else 0), slot
        clean += slot.sent
        if clean >= enough:
            break
    return clean, None


def _available(usable: Sequence[SlotFacts], rule: Rule, stream: PlannedStream) -> list[SlotFacts]:
    """Return the slots that no outage touches: loss is a share of the time the path is there (Y.1540)."""
    limit = rule.clear_below / stream.interval_ms
    return [slot for slot in usable if slot.loss_run_max < limit or slot.loss_run_max < rule.min_packets]


def _judge_loss(
    stream: PlannedStream, slots: Sequence[SlotFacts], available: Sequence[SlotFacts], policy: Policy
) -> Verdict:
    rules = [rule for rule in policy.rule if _applies(rule, stream, "loss_ratio")]
    for rule in rules:
        if _raised(available, rule, stream):
            return _loss_verdict(stream, slots, available, rule, "degraded", "loss")
    if len(rules) == 0:
        return _verdict(stream, slots, "ok", "")
    return _loss_verdict(stream, slots, available, rules[0], "ok", "")


def _raised(available: Sequence[SlotFacts], rule: Rule, stream: PlannedStream) -> bool:
    """Return whether a window was bad and the counts pooled since do not clear it."""
    lost = [slot.sent - slot.received for slot in available]
    if len(lost) - lost.count(0) < rule.min_slots:
        return False
    sent = [slot.sent for slot in available]
    size = max(1, rule.window_s * 1000 // stream.slot_ms)
    for end in range(len(lost), 0, -1):
        begin = max(0, end - size)
        if _bad(lost[begin:end], sum(sent[begin:end]), rule):
            return wilson(sum(lost[end:]), sum(sent[end:]))[1] >= rule.clear_below
    return False


def _bad(lost: Sequence[int], sent: int, rule: Rule) -> bool:
    total = sum(lost)
    if total < rule.raise_above * sent or sent < rule.min_packets or len(lost) - lost.count(0) < rule.min_slots:
        return False
    return wilson(total, sent)[0] >= rule.raise_above


def _applies(rule: Rule, stream: PlannedStream, metric: str) -> bool:
    return rule.alarming and rule.metric == metric and rule.plane in ("any", stream.plane)


def _known_ms(stream: PlannedStream, slot: SlotFacts) -> int:
    """Return up to when a slot tells of the stream: its end, or the last packet that an early revision covers."""
    return slot.start_ms + (stream.slot_ms if slot.complete else slot.covered * stream.interval_ms)


def _input_version(slots: Sequence[SlotFacts]) -> int:
    if len(slots) == 0:
        return 0
    return (slots[-1].start_ms // 1000) << 16 | sum(slot.revisions for slot in slots) & 0xFFFF


def _verdict(stream: PlannedStream, slots: Sequence[SlotFacts], state: State, reason: Reason) -> Verdict:
    last = slots[-1] if len(slots) > 0 else None
    return Verdict(
        stream_id=stream.stream_id,
        state=state,
        reason=reason,
        planned=stream.planned_per_slot,
        window_start_ms=0 if last is None else last.start_ms,
        window_s=stream.slot_ms // 1000,
        input_version=_input_version(slots),
        up=True if state == "ok" else None,
        known_ms=0 if last is None else _known_ms(stream, last),
    )


def _run_verdict(
    stream: PlannedStream,
    slots: Sequence[SlotFacts],
    run: SlotFacts,
    rule: Rule,
    state: State,
    reason: Reason,
    since_ms: int,
) -> Verdict:
    return Verdict(
        stream_id=stream.stream_id,
        state=state,
        reason=reason,
        rule=rule.id,
        rule_version=rule.version,
        metric=rule.metric,
        value=float(run.loss_run_max * stream.interval_ms),
        limit=rule.raise_above,
        sent=run.sent,
        lost=run.lost,
        planned=stream.planned_per_slot,
        window_start_ms=run.start_ms,
        window_s=stream.slot_ms // 1000,
        input_version=_input_version(slots),
        up=state != "down",
        since_ms=since_ms,
        known_ms=_known_ms(stream, slots[-1]),
    )


def _loss_verdict(
    stream: PlannedStream,
    slots: Sequence[SlotFacts],
    available: Sequence[SlotFacts],
    rule: Rule,
    state: State,
    reason: Reason,
) -> Verdict:
    window = available[-max(1, rule.window_s * 1000 // stream.slot_ms) :]
    sent, lost = sum([slot.sent for slot in window]), sum([slot.lost for slot in window])
    lower, upper = wilson(lost, sent)
    return Verdict(
        stream_id=stream.stream_id,
        state=state,
        reason=reason,
        rule=rule.id,
        rule_version=rule.version,
        metric=rule.metric,
        value=lost / sent if sent > 0 else None,
        lower=lower,
        upper=upper,
        limit=rule.raise_above,
        sent=sent,
        lost=lost,
        planned=stream.planned_per_slot * len(window),
        window_start_ms=window[0].start_ms if len(window) > 0 else 0,
        window_s=rule.window_s,
        input_version=_input_version(slots),
        up=True,
        since_ms=_up_since(stream, slots, available),
        known_ms=_alive_ms(stream, slots[-1]),
    )


def _alive_ms(stream: PlannedStream, last: SlotFacts) -> int:
    """Return up to when a stream that is up was surely alive: a run that may stand at the end is not life."""
    known = _known_ms(stream, last)
    return known - last.loss_run_max * stream.interval_ms if last.lost > 0 and last.turns != -1 else known


def _up_since(stream: PlannedStream, slots: Sequence[SlotFacts], available: Sequence[SlotFacts]) -> int:
    """Return the end of the newest outage that the rows show, or 0."""
    kept = {slot.start_ms for slot in available}
    outages = [slot.start_ms for slot in slots if slot.start_ms not in kept and slot.lost > 0]
    return max(outages) + stream.slot_ms if len(outages) > 0 else 0
