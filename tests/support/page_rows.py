"""Rows for the posture page: three nodes of one carrier and a crossing, in all four states."""

from typing import Any

Row = dict[str, Any]


def state_row(stream_id: int, source: str, destination: str, **changes: object) -> Row:
    row: Row = {
        "stream_id": stream_id,
        "source": source,
        "destination": destination,
        "source_node": source.split("/", maxsplit=1)[0],
        "destination_node": destination.split("/", maxsplit=1)[0],
        "method": "stamp",
        "plane": "ip_public",
        "relation": "intra_network",
        "control": 0,
        "probe_id": "demo/north",
        "segments": ["access-a", "trunk-a-b"],
        "state": "ok",
        "reason": "",
        "rule": "down",
        "rule_version": 1,
        "metric": "loss_run_ms",
        "value": 0.0,
        "lower": None,
        "upper": None,
        "limit": 1000.0,
        "sent": 100,
        "lost": 0,
        "planned": 100,
        "window_start_ms": 1_800_000_000_000,
        "since_ms": 1_800_000_000_000,
        "window_s": 10,
        "judged_ms": 1_800_000_012_000,
    }
    return row | changes


STATES = [
    state_row(1, "cluster-a/telecom", "cluster-b/telecom"),
    state_row(2, "cluster-b/telecom", "cluster-a/telecom", state="down", reason="loss_run", lost=20),
    state_row(3, "cluster-a/telecom", "dcp-c/telecom", state="degraded", reason="loss", lost=3),
    state_row(4, "dcp-c/telecom", "cluster-a/telecom", state="insufficient", reason="probe_dead", rule=""),
    state_row(5, "dcp-c/telecom", "dcp-c/unicom", relation="inter_network", control=3),
    state_row(6, "cluster-a/telecom", "cluster-b/telecom", method="icmp", state="degraded", reason="loss"),
]
ANSWERS: dict[str, list[Row]] = {
    "judge_state_now": STATES,
    "page_delays": [{"stream_id": 1, "slot_s": 1_800_000_000, "received": 100, "median_bin": 459}],
    "page_pipeline": [{"newest_slot_s": 1_800_000_000, "judged_ms": 1_800_000_012_000, "quarantined": 0}],
    "page_incidents": [
        {
            "incident_id": "i1",
            "category": "network",
            "cause_kind": "segment",
            "cause": "trunk-a-b",
            "state": "open",
            "opened_ms": 1_800_000_003_000,
            "resolved_ms": 0,
            "member_count": 2,
            "confidence": 1.0,
            "summary_zh": "干线甲乙中断",
            "summary_en": "trunk a-b is cut",
            "exercise": 0,
        }
    ],
    "page_probes": [
        {
            "probe_id": "demo/north",
            "streams": 5,
            "heard_ms": 1_800_000_010_000,
            "clock_synchronised": 1,
            "clock_error_us": 120,
            "stamp_source": "kernel",
            "send_lateness_p99_us": 900,
            "mesh_version": "v",
        },
        {
            "probe_id": "demo/never",
            "streams": 1,
            "heard_ms": 0,
            "clock_synchronised": 0,
            "clock_error_us": 0,
            "stamp_source": "",
            "send_lateness_p99_us": None,
            "mesh_version": "",
        },
    ],
    "page_throughput": [],
    "page_minutes": [
        {
            "minute_s": 1_800_000_000 + 60 * minute,
            "planned": 600,
            "sent": 600,
            "received": 600 - 300 * (minute == 1),
            "lost_forward": 300 * (minute == 1),
            "lost_backward": 0,
            "lost_unresolved": 0,
            "loss_run_max": 300 * (minute == 1),
            "loaded_sent": 0,
            "delay_bin": [459],
            "delay_count": [600 - 300 * (minute == 1)],
            "backward_bin": [],
            "backward_count": [],
        }
        for minute in range(3)
    ],
}
