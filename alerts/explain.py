"""`isochrone status` and `isochrone why A B`: rows -> lines of text. Pure; its callers run the queries it names."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from alerts.messages import clock_text

Row = Mapping[str, Any]
Language = Literal["zh", "en"]

_WORST: Final = {"down": 0, "degraded": 1, "insufficient": 2, "ok": 3}
_STATES: Final[Mapping[str, Mapping[str, str]]] = {
    "zh": {"ok": "正常", "degraded": "劣化", "down": "中断", "insufficient": "未知"},
    "en": {"ok": "ok", "degraded": "degraded", "down": "down", "insufficient": "unknown"},
}
_REASONS: Final[Mapping[str, Mapping[str, str]]] = {
    "zh": {
        "": "未触发任何规则",
        "loss_run": "最新数据以连续丢包结束",
        "recovering": "已恢复收包，时间尚短",
        "loss": "丢包率置信下限超过门限",
        "limit": "指标整体超过门限",
        "straddles": "误差跨越门限，不作判断",
        "probe_dead": "探针失联",
        "reflector_dead": "对端反射器无应答",
        "not_scheduled": "探针未按现行计划测量",
        "late": "数据未按时到达",
        "clock_bad": "时钟误差跨越门限",
        "probe_sick": "探针主机状态不佳",
        "under_load": "正在进行吞吐测试",
        "learning": "数据尚不足",
    },
    "en": {
        "": "no rule is broken",
        "loss_run": "the newest packets are all lost",
        "recovering": "packets pass again, not yet long enough",
        "loss": "the lower bound of the loss is above the limit",
        "limit": "the figure and its whole error are above the limit",
        "straddles": "the error lies across the limit, so no verdict",
        "probe_dead": "the probe is silent",
        "reflector_dead": "the reflector at the far end does not answer",
        "not_scheduled": "the probe does not measure by the plan in force",
        "late": "the rows that should be here have not come",
        "clock_bad": "the clock error lies across the limit",
        "probe_sick": "the probe's host is unfit to measure",
        "under_load": "a throughput test runs on it",
        "learning": "too little is known yet",
    },
}


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """One stream explained, in parts that a command line or a page lays out."""

    stream_id: int
    path: str  # source -> destination, method
    state: str
    reason: str
    since: str  # empty: not known
    rule: str  # id@version; empty: none
    numbers: str  # value, interval, limit, n
    rows: tuple[str, ...]  # the newest slots that it rests on
    cause: str  # of the incident it is a member of; empty: none


def worst(states: Sequence[Row], incidents: Sequence[Row], *, count: int = 10) -> list[tuple[Row, str]]:
    """Return the worst streams with the cause each is attached to; healthy ones are left out.

    Args:
        states: rows of `judge_state_now`.
        incidents: rows of `incident_open`.
        count: how many at most.
    """
    bad = [row for row in states if row["state"] != "ok"]
    bad.sort(key=lambda row: (_WORST[row["state"]], row["since_ms"], row["stream_id"]))
    return [(row, cause_of(row["stream_id"], incidents)) for row in bad[:count]]


def counts(states: Sequence[Row]) -> dict[str, int]:
    """Return how many streams of `judge_state_now` are in each state, all four named."""
    return {state: sum(row["state"] == state for row in states) for state in _WORST}


def cause_of(stream_id: int, incidents: Sequence[Row]) -> str:
    """Return `kind:cause` of the open incident that holds a stream, or an empty text; network before infrastructure."""
    held = [row for row in incidents if stream_id in row["members"]]
    held.sort(key=lambda row: row["category"] != "network")
    return f"{held[0]['cause_kind']}:{held[0]['cause']}" if len(held) > 0 else ""


def between(states: Sequence[Row], a: str, b: str) -> list[Row]:
    """Return the rows of `judge_state_now` from A to B and back; A and B are nodes or endpoints."""
    ways = ((a, b), (b, a))
    return [row for row in states if any(_at(row, "source", x) and _at(row, "destination", y) for x, y in ways)]


def explain(
    state: Row, slots: Sequence[Row], incidents: Sequence[Row], *, timezone: str, language: Language = "en"
) -> Explained:
    """Return one stream explained.

    Args:
        state: its row of `judge_state_now`.
        slots: rows of `judge_slots`; those of other streams are ignored.
        incidents: rows of `incident_open`.
        timezone: of the mesh.
        language: of state and reason.
    """
    own = [row for row in slots if row["stream_id"] == state["stream_id"]][-6:]
    return Explained(
        stream_id=state["stream_id"],
        path=f"{state['source']} -> {state['destination']} ({state['method']})",
        state=_STATES[language][state["state"]],
        reason=_REASONS[language].get(state["reason"], state["reason"]),
        since=clock_text(state["since_ms"], timezone) if state["since_ms"] > 0 else "",
        rule=f"{state['rule']}@{state['rule_version']}" if state["rule"] != "" else "",
        numbers=numbers(state),
        rows=tuple(_slot_text(row, timezone) for row in own),
        cause=cause_of(state["stream_id"], incidents),
    )


def numbers(state: Row) -> str:
    """Return value, interval, limit and n of a verdict; a share in percent, a run in milliseconds."""
    scale, unit = (100.0, " %") if state["metric"].endswith("_ratio") else (1.0, " ms")
    parts = []
    if state["value"] is not None:
        parts.append(f"{state['metric']} {state['value'] * scale:.3g}{unit}")
    if state["lower"] is not None and state["upper"] is not None:
        parts.append(f"95 % interval {state['lower'] * scale:.3g} to {state['upper'] * scale:.3g}{unit}")
    if state["limit"] is not None:
        parts.append(f"limit {state['limit'] * scale:.3g}{unit}")
    return ", ".join([*parts, f"n = {state['sent']} sent of {state['planned']} planned, {state['lost']} lost"])


def _at(row: Row, side: str, place: str) -> bool:
    return place in (row[side], row[f"{side}_node"])


def _slot_text(row: Row, timezone: str) -> str:
    whole = "whole" if row["complete"] else f"early, revision {row['revision']}"
    marks = "".join(f", {mark}" for mark in ("loaded", "probe_sick") if row[mark])
    lost = row["sent"] - row["received"]
    return (
        f"{clock_text(row['start_ms'], timezone)}: sent {row['sent']} of {row['planned']}, lost {lost}, "
        f"longest run {row['loss_run_max']} ({whole}{marks})"
    )
