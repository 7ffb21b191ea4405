"""What the judge rests on: the plan of a stream, what its probe said of a slot, what a probe is.

Instants are UTC milliseconds.
"""

import sys
from collections.abc import Mapping, Sequence
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


def slot_facts(row: Mapping[str, Any]) -> SlotFacts:
    """Return the facts of one row of `judge_rows`: one (probe, spool, stream, slot) at its newest revision."""
    return SlotFacts(
        start_ms=row["start_ms"],
        complete=bool(row["complete"]),
        sent=row["sent"],
        received=row["received"],
        send_failed=row["send_failed"],
        planned=row["planned"],
        loss_runs=row["loss_runs"],
        loss_run_max=row["loss_run_max"],
        turns=_turns(row),
        spool=sys.intern(row["spool"]),
        loaded=bool(row["loaded"]),
        sick=bool(row["probe_sick"]),
        clock_error_us=row["clock_error_us"] if row["clock_synchronised"] else None,
        mesh_version=sys.intern(row["mesh_version"]),
        revisions=row["revision"],
    )


def merge_facts(parts: Sequence[SlotFacts]) -> SlotFacts:
    """Return one slot that several spools measured (an agent restarted): counts add up, the last one tells the end."""
    last = max(parts, key=_spool)
    return msgspec.structs.replace(
        last,
        sent=sum(part.sent for part in parts),
        received=sum(part.received for part in parts),
        send_failed=sum(part.send_failed for part in parts),
        planned=max(part.planned for part in parts),
        loss_runs=sum(part.loss_runs for part in parts),
        loss_run_max=max(part.loss_run_max for part in parts),
        loaded=any(part.loaded for part in parts),
        sick=any(part.sick for part in parts),
        revisions=sum(part.revisions for part in parts),
    )


def _spool(part: SlotFacts) -> str:
    return part.spool  # a UUIDv7: it sorts by time


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
