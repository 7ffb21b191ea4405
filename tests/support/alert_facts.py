"""One stream's plan and slots, a few words each, for tests of the judge."""

from typing import Any

from alerts.facts import PlannedStream, ProbeState, SlotFacts

T0_MS = 1_800_000_000_000
ALIVE = ProbeState(probe_id="p", heard_ms=T0_MS, complete_slot_ms=T0_MS)


def a_stream(number: int = 1, **changes: Any) -> PlannedStream:  # noqa: ANN401 - the struct's own
    fields: dict[str, Any] = {
        "stream_id": number,
        "source": "a/x",
        "destination": "b/x",
        "source_node": "a",
        "destination_node": "b",
        "method": "stamp",
        "plane": "ip_public",
        "interval_ms": 100,
        "timeout_ms": 2000,
        "planned_per_slot": 100,
        "probe_id": "p",
        "segments": ("trunk",),
        "version": "v1",
        "valid_from_ms": T0_MS - 3_600_000,
    }
    return PlannedStream(**fields | changes)


def a_slot(position: int = 0, **changes: Any) -> SlotFacts:  # noqa: ANN401 - the struct's own
    fields: dict[str, Any] = {
        "start_ms": T0_MS + position * 10_000,
        "complete": True,
        "sent": 100,
        "received": 100,
        "send_failed": 0,
        "planned": 100,
        "loss_runs": 0,
        "loss_run_max": 0,
        "turns": 0,
        "spool": "s1",
        "loaded": False,
        "sick": False,
        "clock_error_us": None,
        "mesh_version": "v1",
        "revisions": 1,
    }
    return SlotFacts(**fields | changes)


def after(position: int, seconds: float = 1.0) -> int:
    """Return an instant some seconds after the end of a slot."""
    return T0_MS + (position + 1) * 10_000 + round(seconds * 1000)
