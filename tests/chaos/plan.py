"""A seed -> what is sent, what goes wrong, and when (pure): the same seed makes the same plan."""

import random
from typing import Final

import msgspec

CRASH_POINTS: Final = ("base", "windows", "ledger")
REFUSALS: Final = (242, 243, 252, 241, 75)  # read-only, disk full, too many parts, memory, input/output error
FAULTS: Final = {
    "worker_dies_at_point": "F11",
    "worker_killed": "F21",
    "worker_frozen": "F21",
    "worker_joins_and_leaves": "F22",
    "worker_told_to_stop": "F33",
    "broker_killed": "F01",
    "broker_down": "F01",
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


class Fault(msgspec.Struct, frozen=True):
    """One thing that goes wrong, `after_s` after the workers were seen at work."""

    kind: str
    after_s: float
    for_s: float
    number: int  # of whatever the kind counts: a point, a code, messages


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """How much of it."""

    faults: int
    probes: int
    peers: int  # a probe measures each in three carriers
    slots: int
    pause_s: float  # before a fault, on average
    longest_s: float  # of a fault
    drain_s: float  # in which all must be stored when nothing goes wrong any more
    judges: int  # processes of the oracle: its plain arithmetic takes longer than all that it judges


PROFILES: Final = {
    "short": Profile(faults=4, probes=120, peers=1, slots=12, pause_s=0.3, longest_s=1.5, drain_s=60.0, judges=1),
    "long": Profile(faults=16, probes=200, peers=34, slots=30, pause_s=1.0, longest_s=4.0, drain_s=300.0, judges=2),
}


def faults_of(seed: int, profile: Profile) -> list[Fault]:
    """Return the schedule; kinds come round before one comes again, over the seeds too."""
    chance = random.Random(f"faults {seed}")  # noqa: S311 - the same again
    kinds = list(FAULTS)
    start = seed * profile.faults
    return [_fault(chance, kinds[(start + number) % len(kinds)], profile) for number in range(profile.faults)]


def _fault(chance: random.Random, kind: str, profile: Profile) -> Fault:
    numbers = {"worker_dies_at_point": len(CRASH_POINTS), "engine_refuses": len(REFUSALS)}
    return Fault(
        kind=kind,
        after_s=round(chance.uniform(0.1, 2 * profile.pause_s), 2),
        for_s=round(chance.uniform(0.5, profile.longest_s), 2),
        number=chance.randrange(numbers.get(kind, 8)),
    )
