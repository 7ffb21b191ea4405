"""What a person reads of an incident, zh and en: what broke, how wide, how sure, what to check first. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from alerts.incident import Incident
from alerts.plan import Name

_KINDS: Final[Mapping[str, Name]] = {
    "segment": ("链路", "segment"),
    "endpoint": ("端点", "endpoint"),
    "node": ("节点", "node"),
    "reflector": ("反射器", "reflector"),
    "probe": ("探针", "probe"),
    "path": ("路径", "path"),
    "pipeline": ("采集链路", "pipeline"),
}
_STATES: Final[Mapping[str, Name]] = {
    "suspected": ("疑似", "suspected"),
    "open": ("告警", "open"),
    "resolved": ("恢复", "resolved"),
}
_CHECKS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "segment": (
        ("查该链路两端设备的端口与光功率", "查传输网管告警和该时段的割接、施工计划", "确认同路由的其他业务是否中断"),
        (
            "ports and optical power at both ends of the segment",
            "alarms of the transmission network, and works planned for this time",
            "whether other services on the same route are down too",
        ),
    ),
    "endpoint": (
        ("查该端点的接入设备与上联端口", "查该运营商在此节点的路由是否撤销", "确认同节点其他运营商是否正常"),
        (
            "the access device of the endpoint and its uplink",
            "whether this carrier withdrew its routes at the node",
            "whether the other carriers at the node are well",
        ),
    ),
    "node": (
        ("先电话确认机房供电与值守", "查该节点全部运营商的出口", "确认是否有整机房割接或演练"),
        (
            "power and staff of the room, by phone, first",
            "the uplinks of all carriers at the node",
            "works or drills that take the whole room",
        ),
    ),
    "reflector": (
        ("查该端点反射器进程与端口", "网络本身正常：由该端点发出的测试未受影响"),
        ("the reflector process and its port at the endpoint", "the network is well: tests sent from there pass"),
    ),
    "probe": (
        ("查探针主机是否在线、进程是否运行", "查探针到消息总线的连接与磁盘队列", "其路径显示为未知，不代表网络中断"),
        (
            "whether the probe's host is up and its process runs",
            "its connection to the message bus and its spool",
            "its paths are unknown, which does not mean that the network is down",
        ),
    ),
    "pipeline": (
        (
            "查汇聚进程的日志与退出码：isochrone status",
            "查消息总线与数据库是否在运行",
            "全部路径显示为未知，不代表网络中断",
        ),
        (
            "the worker's log and exit code: isochrone status",
            "whether the message bus and the store run",
            "all paths are unknown, which does not mean that the network is down",
        ),
    ),
    "path": (
        ("查两端点之间的路由", "确认是否存在负载分担下的部分故障"),
        ("the route between the two endpoints", "whether one leg of a load-shared route fails"),
    ),
}


def cause_name(kind: str, key: str, names: Mapping[tuple[str, str], Name]) -> Name:
    """Return what people call a cause; its id where the plan has no name for it."""
    if kind == "path":
        ends = [names.get(("endpoint", end), (end, end)) for end in key.split("|")]
        return " ↔ ".join(end[0] for end in ends), " <-> ".join(end[1] for end in ends)
    looked_up = "endpoint" if kind == "reflector" else kind
    return names.get((looked_up, key), (key, key))


def summary(incident: Incident, timezone: str) -> Name:
    """Return one line in each language."""
    what, (when_zh, when_en) = _what(incident), _when(incident, timezone)
    kind, state = _KINDS[incident.cause_kind], _STATES[incident.state]
    members, sure = len(incident.members), round(incident.confidence * 100)
    name_zh, name_en = incident.trail.name_zh or incident.cause, incident.trail.name_en or incident.cause
    drill_zh, drill_en = ("【演练】", "[DRILL] ") if incident.exercise else ("", "")
    equal = ", ".join(incident.trail.equal[:3])
    also_zh, also_en = (f"，同样可能：{equal}", f", as likely: {equal}") if equal != "" else ("", "")
    zh = f"{drill_zh}[{state[0]}] {kind[0]} {name_zh} {what[0]}：{when_zh}，{members} 条流，可信度 {sure}%{also_zh}"
    en = f"{drill_en}[{state[1]}] {kind[1]} {name_en} {what[1]} {when_en}: {members} streams"
    return zh, f"{en}, confidence {sure} %{also_en}"


def first_checks(kind: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what to check first, zh and en."""
    return _CHECKS.get(kind, _CHECKS["path"])


def clock_text(at_ms: int, timezone: str) -> str:
    """Return an instant as people of the mesh read it, to the second, with its offset."""
    return datetime.fromtimestamp(at_ms // 1000, tz=ZoneInfo(timezone)).isoformat(sep=" ")


def _when(incident: Incident, timezone: str) -> Name:
    begin = clock_text(incident.opened_ms, timezone)
    if incident.state != "resolved":
        return f"{begin} 起", f"since {begin}"
    end = clock_text(incident.resolved_ms, timezone)
    return f"{begin} 开始，{end} 确认恢复", f"from {begin}, confirmed clear {end}"


def _what(incident: Incident) -> Name:
    if incident.cause_kind == "probe":
        return "失联，其路径状态未知", "silent, its paths unknown"
    if incident.cause_kind == "pipeline":
        return "无任何数据到达，全部状态未知", "silent: nothing arrives, every state is unknown"
    if incident.cause_kind == "reflector":
        return "无应答，网络本身正常", "not answering, the network is well"
    return ("丢包", "losing packets") if incident.trail.grade == "degraded" else ("中断", "down")
