"""One seed: send, let things go wrong, heal, wait, judge."""

import threading
import uuid
from collections.abc import Callable
from contextlib import suppress

import msgspec
from chaos.faults import Scene, happen
from chaos.plan import Fault, Profile, batches_of, faults_of
from chaos.probes import Probes
from chaos.stage import CLOCK, SESSION_TIMEOUT_S, Stage, Workers
from chaos.verdict import Verdict, judge, stored_so_far
from kafka import KafkaConsumer, TopicPartition
from kafka.structs import OffsetAndMetadata

from deploy.child import last_lines
from schemas.clock import floor_ms, wall_ms
from schemas.mesh_rows import mesh_rows
from schemas.records import SummaryBatch
from schemas.tables import MESH
from schemas.topics import TOPICS
from streams.app import WorkerConfig
from streams.store import StoreConfig, open_store

POLL_S = 0.3
SETTLE_S = 1.5  # what is stored twice, or wrongly, would be by then


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a seed."""

    seed: int
    faults: list[Fault]
    verdict: Verdict | None  # None: not all was stored by the deadline
    text: str
    restarts: int
    repeats: int
    seconds: float

    @property
    def holds(self) -> bool:
        """Return whether all was stored, once, and rightly."""
        return self.verdict is not None and self.verdict.holds


def run_seed(stage: Stage, seed: int, profile: Profile, say: Callable[[str], None], broken: str = "whole") -> Outcome:
    """Run a seed on the stage; `broken` names the guard that its workers lack."""
    begun_ns = CLOCK.mono_ns()
    probes, faults = Probes(stage.bootstrap), faults_of(seed, profile)
    through, direct = stage.database()
    _apply(direct, probes)
    config = WorkerConfig(
        bootstrap=stage.bootstrap,
        group=f"chaos-{uuid.uuid4().hex[:8]}",
        store=through,
        session_timeout_s=SESSION_TIMEOUT_S,
        batch_messages=20,
    )
    _begin_at_the_end(config)
    workers = Workers(stage, config, broken)
    try:
        batches = batches_of(seed, profile, probes.streams_of, mesh=probes.mesh.id, now_ms=wall_ms(CLOCK))
        _act(Scene(stage, workers, probes, seed), faults, batches, say)
        probes.deliver()
        text = _drain(direct, probes, profile.drain_s)
        verdict = judge(direct, probes) if text == "" else None
    finally:
        workers.stop()
        with suppress(Exception):
            probes.close()
    return Outcome(
        seed=seed,
        faults=faults,
        verdict=verdict,
        text=text if text == "" else f"{text}\n{last_lines(workers.log)}",
        restarts=workers.restarts,
        repeats=probes.repeats,
        seconds=(CLOCK.mono_ns() - begun_ns) / 1e9,
    )


def _act(scene: Scene, faults: list[Fault], batches: list[SummaryBatch], say: Callable[[str], None]) -> None:
    """Send while things go wrong; what is left when all is over is sent at once."""
    over = threading.Event()
    lasts_s = sum(fault.after_s + fault.for_s for fault in faults)
    sender = threading.Thread(target=_send, args=(scene.probes, batches, lasts_s, over), name="probes")
    sender.start()
    try:
        for fault in faults:
            CLOCK.sleep_s(fault.after_s)
            say(f"  {fault.kind} {fault.number}, {fault.for_s} s")
            happen(fault, scene)
    finally:
        over.set()
        sender.join()


def _send(probes: Probes, batches: list[SummaryBatch], lasts_s: float, over: threading.Event) -> None:
    for batch in batches:
        probes.send(batch)
        over.wait(lasts_s / len(batches))


def _drain(config: StoreConfig, probes: Probes, deadline_s: float) -> str:
    """Wait until all is stored that was sent; return what is missing at the deadline."""
    until_ns = CLOCK.mono_ns() + round(deadline_s * 1e9)
    wanted, seen = (len(probes.sent), len(probes.poisoned)), (0, 0)
    while CLOCK.mono_ns() < until_ns:
        with suppress(Exception):  # the engine is on its way back
            seen = stored_so_far(config)
            if seen[0] >= wanted[0] and seen[1] >= wanted[1]:
                CLOCK.sleep_s(SETTLE_S)
                return ""
        CLOCK.sleep_s(POLL_S)
    return f"after {deadline_s:g} s {seen[0]} of {wanted[0]} stored, {seen[1]} of {wanted[1]} in quarantine"


def _apply(config: StoreConfig, probes: Probes) -> None:
    since_s = floor_ms(wall_ms(CLOCK) - 15 * 86_400_000, 60_000) // 1000
    row = mesh_rows(probes.mesh, since_s)["mesh"][0]
    with open_store(config) as store:
        store.insert(MESH, [tuple(row[name] for name in MESH.columns)])


def _begin_at_the_end(config: WorkerConfig) -> None:
    consumer = KafkaConsumer(bootstrap_servers=config.bootstrap, group_id=config.group, enable_auto_commit=False)
    try:
        parts = [TopicPartition(spec.name, n) for spec in TOPICS for n in consumer.partitions_for_topic(spec.name)]
        consumer.assign(parts)
        consumer.commit({part: OffsetAndMetadata(end, "", -1) for part, end in consumer.end_offsets(parts).items()})
    finally:
        consumer.close()
