"""A wire in a few lines: what a stream's packets meet, and the truth about each, for tests of `summarise`."""

import random
from dataclasses import dataclass

import numpy as np

from probes.packets import PACKET, Fate, Packets

INTERVAL_NS = 100_000_000
TIMEOUT_NS = 2_000_000_000


@dataclass(frozen=True)
class Wire:
    """Chances of each fault and the spread of the delay."""

    forward_loss: float = 0.0
    backward_loss: float = 0.0
    duplicate: float = 0.0
    jitter_ns: int = 0
    late: float = 0.0
    send_failed: float = 0.0


def packets_of(fates: list[Fate], *, rtt_ns: int = 10_000_000) -> Packets:
    """Return a series with these fates; the reflector counts the answered packets alone (all loss is forward)."""
    series = np.zeros(len(fates), PACKET)
    series["index"] = np.arange(len(fates))
    series["due_ns"] = series["index"].astype(np.int64) * INTERVAL_NS
    series["fate"] = fates
    answered = series["fate"] == Fate.ANSWERED
    series["counter"] = np.where(answered, np.cumsum(answered) - 1, -1)
    for name, share in (("rtt_ns", 1), ("forward_ns", 2), ("backward_ns", 2)):
        series[name] = np.where(answered, rtt_ns // share, 0)
    return series


def simulate(count: int, wire: Wire, seed: int) -> tuple[Packets, list[str]]:
    """Return the settled packets as an engine would know them and the truth of each.

    The truth is one of "answered", "late", "forward", "backward", "failed". A duplicated request reaches the
    reflector right after its original and neither copy is lost: else nobody at the edge could tell what happened.
    """
    chance = random.Random(seed)  # noqa: S311 - a simulation
    truth = [_truth(chance, wire) for _ in range(count)]
    arrivals: list[tuple[int, int]] = []  # (time at the reflector, index)
    for index, what in enumerate(truth):
        if what in ("forward", "failed"):
            continue
        at = index * INTERVAL_NS + 5_000_000 + chance.randrange(wire.jitter_ns + 1)
        arrivals.append((at, index))
        if what == "answered" and chance.random() < wire.duplicate:
            arrivals.append((at, index))
    arrivals.sort()
    return _as_known(truth, arrivals, chance), truth


def _truth(chance: random.Random, wire: Wire) -> str:
    for what, share in (
        ("failed", wire.send_failed),
        ("forward", wire.forward_loss),
        ("backward", wire.backward_loss),
        ("late", wire.late),
    ):
        if chance.random() < share:
            return what
    return "answered"


def _as_known(truth: list[str], arrivals: list[tuple[int, int]], chance: random.Random) -> Packets:
    fates = {"answered": Fate.ANSWERED, "late": Fate.LATE, "failed": Fate.SEND_FAILED}
    series = packets_of([fates.get(what, Fate.LOST) for what in truth])
    series["counter"] = -1
    for counter, (at, index) in enumerate(arrivals):
        packet = series[index]
        if truth[index] == "backward":
            continue
        if packet["counter"] >= 0:
            packet["duplicates"] += 1
            packet["duplicate_counters"] += 1
            continue
        packet["counter"] = counter
        packet["forward_ns"] = at - index * INTERVAL_NS
        packet["backward_ns"] = 5_000_000 + chance.randrange(1_000)
        packet["rtt_ns"] = packet["forward_ns"] + packet["backward_ns"]
    return series
