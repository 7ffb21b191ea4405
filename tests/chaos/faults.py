"""What goes wrong, done: each kind of fault against the stage, the workers and the probes."""

import random
import signal
from collections.abc import Callable
from typing import Final

import msgspec
from chaos.plan import CRASH_POINTS, REFUSALS, Fault
from chaos.probes import Letter, Probes
from chaos.stage import CLOCK, Stage, Workers

from schemas.clock import wall_ms
from schemas.codec import encode

AHEAD_MS: Final = 3_600_000
TOO_OLD_MS: Final = 15 * 86_400_000


class Scene:
    """Where a fault happens."""

    def __init__(self, stage: Stage, workers: Workers, probes: Probes, seed: int) -> None:
        self.stage = stage
        self.workers = workers
        self.probes = probes
        self.chance = random.Random(f"scene {seed}")  # noqa: S311 - the same again


def happen(fault: Fault, scene: Scene) -> None:
    """Let it happen; return when it is over."""
    _ACTS[fault.kind](fault, scene)


def _worker_dies_at_point(fault: Fault, scene: Scene) -> None:
    scene.workers.die_at(CRASH_POINTS[fault.number], 1 + scene.chance.randrange(3))


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
    sent = scene.probes.sent
    scene.probes.again(scene.chance.sample(sent, min(len(sent), 5 + fault.number)))


def _poison(fault: Fault, scene: Scene) -> None:
    probes, probe_id = scene.probes, scene.chance.choice(sorted(scene.probes.streams_of))
    for number in range(1 + fault.number):
        noise = scene.chance.randbytes(64)
        letter = probes.signed(probe_id, noise) if number % 2 == 0 else Letter(probe_id, noise, ())
        probes.poison(letter, "noise, signed" if number % 2 == 0 else "noise, not signed")


def _clock_steps(fault: Fault, scene: Scene) -> None:
    """Let a probe whose clock has stepped send slots of another hour, and of another month."""
    if not scene.probes.sent:
        return
    for number in range(1 + fault.number % 3):
        batch = scene.chance.choice(scene.probes.sent)
        shift_ms = AHEAD_MS if number % 2 == 0 else -TOO_OLD_MS
        slot_ms = (wall_ms(CLOCK) + shift_ms) // 10_000 * 10_000
        moved = msgspec.structs.replace(batch, slot_start_ms=slot_ms, seq=1_000_000 + len(scene.probes.sent) + number)
        letter = scene.probes.signed(batch.probe_id, encode(moved))
        scene.probes.poison(letter, "a slot ahead" if number % 2 == 0 else "a slot too old")


_ACTS: Final[dict[str, Callable[[Fault, Scene], None]]] = {
    "worker_dies_at_point": _worker_dies_at_point,
    "worker_killed": _worker_killed,
    "worker_frozen": _worker_frozen,
    "worker_joins_and_leaves": _worker_joins_and_leaves,
    "worker_told_to_stop": _worker_told_to_stop,
    "broker_killed": _broker_killed,
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
