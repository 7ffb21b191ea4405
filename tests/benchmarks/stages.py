"""Where a flush spends its time: the worker's own code without Faust and Kafka, a stage at a time."""

import os
from typing import Final, NamedTuple

from benchmarks.harness import Bench
from benchmarks.national import National
from benchmarks.usage import usage
from benchmarks.world import CLOCK, World, fresh_database

from schemas.clock import floor_ms, wall_ms
from schemas.topics import SUMMARY
from streams.flush import Flusher
from streams.messages import RawMessage
from streams.registry import Registry
from streams.store import open_store
from streams.verify import verify

STAGES: Final = ("base", "windows", "ledger")  # the points of a flush; what is verified counts to the base


class Spent(NamedTuple):
    """Seconds of a stage: on the wall, of our CPU, of the engine's."""

    wall_s: float = 0.0
    own_s: float = 0.0
    engine_s: float = 0.0

    def plus(self, begun: "Spent", ended: "Spent") -> "Spent":
        """Return it with what passed between two instants."""
        return Spent(*(total + end - start for total, start, end in zip(self, begun, ended, strict=True)))


class Stopwatch:
    """Gives what passed since the last point to the stage that ends now."""

    def __init__(self, engine_pid: int) -> None:
        self._engine_pid = engine_pid
        self._last = self.now()
        self.spent = dict.fromkeys(("verify", *STAGES), Spent())

    def begin(self) -> None:
        """Forget what passed since the last point."""
        self._last = self.now()

    def end(self, stage: str) -> None:
        """End a stage."""
        now = self.now()
        self.spent[stage] = self.spent[stage].plus(self._last, now)
        self._last = now

    def now(self) -> Spent:
        """Return what all has spent since it began."""
        return Spent(CLOCK.mono_ns() / 1e9, usage(os.getpid()).cpu_s, usage(self._engine_pid).cpu_s)


def measure_stages(bench: Bench, world: World, mesh: National, *, batch: int, flushes: int) -> None:
    """Flush signed messages, `batch` at a time, and tell what a million summaries cost in each stage."""
    messages = raw_messages(mesh, batch * flushes)
    watch = Stopwatch(world.engine_pid)
    with open_store(fresh_database(world, mesh.mesh)) as store:
        registry = Registry(CLOCK, refresh_s=60.0)
        registry.refresh(store)
        flusher, summaries = Flusher(store, registry, CLOCK, at=watch.end), 0
        for at in range(0, len(messages), batch):
            part = messages[at : at + batch]
            watch.begin()
            for message in part:
                verify(message, registry.membership, now_ms=wall_ms(CLOCK))
            watch.end("verify")
            summaries += flusher.flush(part).stored
    for stage, spent in watch.spent.items():
        text = f"flush of {batch}: {stage}" + (", verified again" if stage == "base" else "")
        for kind, figure in zip(("wall", "own CPU", "engine CPU"), spent, strict=True):
            bench.beside(f"{text}, {kind}", figure / summaries * 1e6, "s per million summaries")


def raw_messages(mesh: National, count: int) -> list[RawMessage]:
    """Return messages of the last slots, in the order of the slots, as they come off a topic."""
    now_ms = wall_ms(CLOCK)
    slots = -(-count // len(mesh.probes))
    made: list[RawMessage] = []
    for seq in range(slots):
        slot_ms = floor_ms(now_ms, 10_000) - (slots - seq) * 10_000
        for sent in mesh.slot(slot_ms, seq):
            key = sent.probe_id.encode()
            fields = {"partition": 0, "offset": len(made), "received_ms": now_ms}
            made.append(
                RawMessage(topic=SUMMARY.name, key=key, value=sent.value, headers=tuple(sent.headers), **fields)
            )
    return made[:count]
