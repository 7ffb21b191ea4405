"""What the judge says of a stream: one of four states, its reason, and every number it rests on."""

from typing import Literal

import msgspec

State = Literal["ok", "degraded", "down", "insufficient"]
Reason = Literal[
    "",
    "loss_run",  # down: the newest evidence ends in a run of losses
    "recovering",  # degraded: packets pass again, not yet long enough
    "loss",  # degraded: the share lost is surely above the limit
    "limit",  # degraded: an assessed figure is surely above its limit
    "straddles",  # insufficient: the error of the figure lies across the limit
    "probe_dead",
    "reflector_dead",
    "not_scheduled",
    "late",
    "clock_bad",
    "probe_sick",
    "under_load",
    "learning",
]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """One stream at one instant under one rule; a share is a ratio, a run is in milliseconds."""

    stream_id: int
    state: State
    reason: Reason
    rule: str = ""
    rule_version: int = 0
    metric: str = ""
    value: float | None = None
    lower: float | None = None
    upper: float | None = None
    limit: float | None = None
    sent: int = 0
    lost: int = 0
    planned: int = 0
    window_start_ms: int = 0
    window_s: int = 0
    input_version: int = 0  # newest slot in seconds << 16 | revisions that it rests on, modulo 2**16
    up: bool | None = None  # whether packets passed at `known_ms`; None: not known
    since_ms: int = 0  # since when `up` holds, by the packets; 0: longer than the rows reach
    known_ms: int = 0  # end of the evidence

    @property
    def alarms(self) -> bool:
        """Return whether the stream is part of a fault: down, or degraded by a figure."""
        return self.state == "down" or (self.state == "degraded" and self.reason != "recovering")
