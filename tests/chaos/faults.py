"""What goes wrong, done: each kind of fault against the stage, the workers and the probes."""

import random
import signal
from collections.abc import Callable
from typing import Final

import msgspec
from chaos.plan import CRASH_POINTS, REFUSALS, Fault
from chaos.probes import Probes
from chaos.stage import CLOCK, Stage, Workers

from schemas.clock import floor_ms, wall_ms
from schemas.codec import encode
from schemas.records import SummaryBatch

AHEAD_MS: Final = 3_600_000
TOO_OLD_MS: Final = 15 * 86_400_000


class Scene:
    """Where a fault happens."""

    def __init__(self, stage: Stage, workers: Workers, probes: Probes, seed: int) -> None:
        self.stage = stage
        self.workers = workers
        self.probes = probes
        self.settled: list[SummaryBatch] = []  # what was sent before the fault at hand began
        self.chance = random.Random(f"scene {seed}")  # noqa: S311 - the same again


def happen(fault: Fault, scene: Scene) -> None:
    """Let it happen; return when it is over."""
    _ACTS[fault.kind](fault, scene)


def _worker_dies_at_point(fault: Fault, scene: Scene) -> None:
    scene.workers.die_at(CRASH_POINTS[fault.number], 1)


def _worker_killed(_: Fault, scene: Scene) -> None:
    scene.workers.signal(signal.SIGKILL)


def _worker_told_to_stop(_: Fault, scene: Scene) -> None:
    scene.workers.signal(signal.SIGTERM)


def _worker_frozen(fault: Fault, scene: Scene) -> None:
    scene.workers.signal(signal.SIGSTOP)
    CLOCK.sleep_s(fault.for_s * 3)  # beyond the session timeout as often as not
    scene.workers.signal(signal.SIGCONT)


def _worker_joins_and_leaves(fault: Fault, scene: Scene) -> None:
    for _ in range(2):
        with scene.workers.another():
            CLOCK.sleep_s(2.0 + fault.for_s)


def _broker_killed(_: Fault, scene: Scene) -> None:
    scene.stage.kill("kafka")


def _broker_down(fault: Fault, scene: Scene) -> None:
    with scene.stage.down("kafka"):
        CLOCK.sleep_s(fault.for_s)


def _broker_frozen(fault: Fault, scene: Scene) -> None:
    with scene.stage.frozen("kafka"):
        CLOCK.sleep_s(fault.for_s)


def _engine_killed(_: Fault, scene: Scene) -> None:
    scene.stage.kill("clickhouse")


def _engine_down(fault: Fault, scene: Scene) -> None:
    with scene.stage.down("clickhouse"):
        CLOCK.sleep_s(fault.for_s)


def _engine_frozen(fault: Fault, scene: Scene) -> None:
    with scene.stage.frozen("clickhouse"):
        CLOCK.sleep_s(fault.for_s * 2)  # beyond the read timeout as often as not


def _engine_refuses(fault: Fault, scene: Scene) -> None:
    scene.stage.proxy.refuse(REFUSALS[fault.number])
    CLOCK.sleep_s(fault.for_s)
    scene.stage.proxy.refuse(None)


def _answer_lost(fault: Fault, scene: Scene) -> None:
    scene.stage.proxy.lose_answers(1 + fault.number)


def _acknowledgement_lost(fault: Fault, scene: Scene) -> None:
    scene.probes.again(scene.chance.sample(scene.settled, min(len(scene.settled), 50 * (1 + fault.number))))


def _poison(fault: Fault, scene: Scene) -> None:
    probe_id = scene.chance.choice(scene.probes.fleet.probes)
    for number in range(1 + fault.number):
        signed = number % 2 == 0
        scene.probes.poison(probe_id, scene.chance.randbytes(64), f"noise, signed {signed}", sign=signed)


def _clock_steps(fault: Fault, scene: Scene) -> None:
    """Let a probe whose clock has stepped send slots of another hour, and of another month."""
    for number in range(1 + fault.number % 3):
        batch = scene.chance.choice(scene.settled)
        shift_ms = AHEAD_MS if number % 2 == 0 else -TOO_OLD_MS
        slot_ms = floor_ms(wall_ms(CLOCK) + shift_ms, 10_000)
        moved = msgspec.structs.replace(batch, slot_start_ms=slot_ms, seq=1_000_000 + scene.chance.randrange(1 << 40))
        scene.probes.poison(batch.probe_id, encode(moved), f"a slot {shift_ms} ms away")


_ACTS: Final[dict[str, Callable[[Fault, Scene], None]]] = {
    "worker_dies_at_point": _worker_dies_at_point,
    "worker_killed": _worker_killed,
    "worker_frozen": _worker_frozen,
    "worker_joins_and_leaves": _worker_joins_and_leaves,
    "worker_told_to_stop": _worker_told_to_stop,
    "broker_killed": _broker_killed,
    "broker_down": _broker_down,
    "broker_frozen": _broker_frozen,
    "engine_killed": _engine_killed,
    "engine_down": _engine_down,
    "engine_frozen": _engine_frozen,
    "engine_refuses": _engine_refuses,
    "answer_lost": _answer_lost,
    "acknowledgement_lost": _acknowledgement_lost,
    "poison": _poison,
    "clock_steps": _clock_steps,
}
