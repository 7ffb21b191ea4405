"""A seed -> what is sent, what goes wrong, and when (pure): the same seed makes the same plan."""

import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from support.produced import produce

from schemas.records import SummaryBatch

CRASH_POINTS: Final = ("base", "windows", "ledger")
REFUSALS: Final = (242, 243, 252, 241)  # read-only, disk full, too many parts, memory
FAULTS: Final = {
    "worker_dies_at_point": "F11",
    "worker_killed": "F21",
    "worker_frozen": "F21",
    "worker_joins_and_leaves": "F22",
    "worker_told_to_stop": "F33",
    "broker_killed": "F01",
    "broker_frozen": "F04",
    "engine_killed": "F12",
    "engine_down": "F07",
    "engine_frozen": "F07",
    "engine_refuses": "F08, F09",
    "answer_lost": "F10",
    "acknowledgement_lost": "F03",
    "poison": "F23",
    "clock_steps": "F27",
}
LATE_MS: Final = 24 * 3_600_000


class Fault(msgspec.Struct, frozen=True):
    """One thing that goes wrong, `after_s` the one before."""

    kind: str
    after_s: float
    for_s: float
    number: int  # of whatever the kind counts: a point, a code, messages


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """How much of it."""

    faults: int
    slots: int
    pause_s: float  # between two faults, on average
    drain_s: float  # in which all must be stored when nothing goes wrong any more


SHORT: Final = Profile(faults=5, slots=40, pause_s=0.8, drain_s=60.0)
LONG: Final = Profile(faults=12, slots=40, pause_s=2.0, drain_s=180.0)


def faults_of(seed: int, profile: Profile) -> list[Fault]:
    """Return the schedule; kinds come round before one comes again, over the seeds too."""
    chance = random.Random(f"faults {seed}")  # noqa: S311 - the same again
    kinds = list(FAULTS)
    start = seed * profile.faults
    return [_fault(chance, kinds[(start + number) % len(kinds)], profile.pause_s) for number in range(profile.faults)]


def batches_of(
    seed: int, profile: Profile, streams_of: Mapping[str, Sequence[int]], *, mesh: str, now_ms: int
) -> list[SummaryBatch]:
    """Return what the probes produce, in the order in which it is sent: some of it out of order, some a day late."""
    chance = random.Random(f"order {seed}")  # noqa: S311 - the same again
    late_ms = chance.randrange(60_000, LATE_MS)
    made = produce(seed, now_ms=now_ms, slots=profile.slots, streams_of=streams_of, mesh=mesh, late_ms=late_ms)
    places = [number + (chance.randrange(len(made)) if chance.random() < 0.1 else 0) for number in range(len(made))]
    return [batch for _, _, batch in sorted(zip(places, range(len(made)), made, strict=True), key=_place)]


def _place(entry: tuple[int, int, Any]) -> tuple[int, int]:
    return entry[0], entry[1]


def _fault(chance: random.Random, kind: str, pause_s: float) -> Fault:
    numbers = {"worker_dies_at_point": len(CRASH_POINTS), "engine_refuses": len(REFUSALS)}
    return Fault(
        kind=kind,
        after_s=round(chance.uniform(0.3, 2 * pause_s), 2),
        for_s=round(chance.uniform(0.5, 3.0), 2),
        number=chance.randrange(numbers.get(kind, 8)),
    )
