"""What the judge rests on: the plan of a stream, what its probe said of a slot, what a probe is.

Instants are UTC milliseconds.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

SICK_COVERAGE: Final = 1.1  # more packets than planned: two agents with one identity


class PlannedStream(msgspec.Struct, frozen=True, kw_only=True):
    """A stream as the mesh in force plans it."""

    stream_id: int
    source: str
    destination: str
    source_node: str
    destination_node: str
    method: str
    plane: str
    interval_ms: int
    timeout_ms: int
    planned_per_slot: int
    probe_id: str
    segments: tuple[str, ...]
    version: str  # of the mesh
    valid_from_ms: int
    slot_ms: int = 10_000


class SlotFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One stream in one slot: the newest revisions of all its spools, added up."""

    start_ms: int
    complete: bool
    sent: int
    received: int
    send_failed: int
    planned: int
    loss_runs: int
    loss_run_max: int  # packets, counted from the run's true beginning
    turns: int | None  # losses that began minus returns, at the spool that ends the slot; None: cannot be counted
    spool: str  # the run of the agent that ends the slot
    loaded: bool
    sick: bool
    clock_error_us: int | None  # None: not synchronised
    mesh_version: str
    revisions: int  # summed over spools: changes with every revision

    @property
    def lost(self) -> int:
        """Return the packets sent and not received in time."""
        return self.sent - self.received

    @property
    def covered(self) -> int:
        """Return how many scheduled packets the slot speaks of, from its start."""
        return self.sent + self.send_failed


class ProbeState(msgspec.Struct, frozen=True, kw_only=True):
    """A probe as its last words say."""

    probe_id: str
    heard_ms: int | None = None  # when anything of it was last received; None: never
    dead: bool = False
    learning: bool = False  # never heard of, in the first minutes of a plan
    complete_slot_ms: int = -1  # newest slot that it says is done, of any stream


def slot_facts(rows: Sequence[Mapping[str, Any]]) -> SlotFacts:
    """Return the facts of one slot from the rows of `judge_rows`, one a (probe, spool), newest revisions."""
    last = max(rows, key=_age)
    return SlotFacts(
        start_ms=last["start_ms"],
        complete=all(row["complete"] for row in rows),
        sent=_total(rows, "sent"),
        received=_total(rows, "received"),
        send_failed=_total(rows, "send_failed"),
        planned=max(row["planned"] for row in rows),
        loss_runs=_total(rows, "loss_runs"),
        loss_run_max=max(row["loss_run_max"] for row in rows),
        turns=_turns(last),
        spool=last["spool"],
        loaded=any(row["loaded"] for row in rows),
        sick=any(row["probe_sick"] for row in rows),
        clock_error_us=last["clock_error_us"] if last["clock_synchronised"] else None,
        mesh_version=last["mesh_version"],
        revisions=_total(rows, "revision"),
    )


def _age(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["spool"], row["probe_id"]  # a spool's name is a UUIDv7: it sorts by time


def _total(rows: Iterable[Mapping[str, Any]], name: str) -> int:
    return sum(int(row[name]) for row in rows)


def _turns(row: Mapping[str, Any]) -> int | None:
    """Return how often the stream fell silent in the slot minus how often it returned: -1, 0 or 1, else None.

    A pair is two neighbours that were both answered, so the stretches of answered packets that begin in the slot
    number received - pairs. Silence and return alternate: the difference tells how the slot ended.
    A packet whose send failed or whose delay is not known breaks a pair without a loss, so then nothing is said.
    """
    if row["send_failed"] > 0 or row["delay_n"] != row["received"]:
        return None
    turns = int(row["loss_runs"]) - (int(row["received"]) - int(row["pairs"]))
    return turns if -1 <= turns <= 1 else None
