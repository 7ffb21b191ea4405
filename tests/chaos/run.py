"""One seed: send, let things go wrong, heal, wait, judge."""

import threading
import uuid
from collections.abc import Callable
from contextlib import suppress

import msgspec
from chaos.faults import Scene, happen
from chaos.plan import Fault, Profile, faults_of
from chaos.probes import Probes
from chaos.stage import CLOCK, SESSION_TIMEOUT_S, Stage, Workers
from chaos.verdict import Verdict, judge, stored_so_far
from clickhouse_driver.errors import Error as DriverError
from kafka import KafkaConsumer, TopicPartition
from kafka.structs import OffsetAndMetadata
from support.produced import NO_SHARES
from support.traffic import BEFORE_MS, MINUTE_MS, Fleet, traffic

from deploy.child import last_lines
from schemas.clock import floor_ms, wall_ms
from schemas.mesh_rows import mesh_rows
from schemas.records import Record
from schemas.tables import MESH
from schemas.topics import TOPICS
from streams.store import StoreConfig, open_store
from streams.worker_config import WorkerConfig

POLL_S = 0.2
AT_WORK_S = 20.0  # a worker that was killed is back by then
BATCH = 100  # messages of a flush
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
    drained_s: float  # of those: until all was stored, once nothing went wrong any more
    judged_s: float

    @property
    def holds(self) -> bool:
        """Return whether all was stored, once, and rightly."""
        return self.verdict is not None and self.verdict.holds


def run_seed(
    stage: Stage,
    seed: int,
    profile: Profile,
    say: Callable[[str], None],
    *,
    broken: str = "whole",
    faults: list[Fault] | None = None,
) -> Outcome:
    """Run a seed on the stage.

    Args:
        stage: the services.
        seed: of traffic and faults.
        profile: how much of both.
        say: told each fault.
        broken: the guard that the workers lack.
        faults: in the place of those of the seed.
    """
    begun_ns, end_ms = CLOCK.mono_ns(), floor_ms(wall_ms(CLOCK), MINUTE_MS)
    faults = faults if faults is not None else faults_of(seed, profile)
    fleet = Fleet(probes=profile.probes, peers=profile.peers, moves_at_ms=end_ms - MINUTE_MS)
    records = traffic(seed, fleet, slots=profile.slots, end_ms=end_ms)
    through, direct = stage.database()
    apply_meshes(direct, fleet)
    config = WorkerConfig(
        bootstrap=stage.bootstrap,
        group=f"chaos-{uuid.uuid4().hex[:8]}",
        store=through,
        session_timeout_s=SESSION_TIMEOUT_S,
        batch_messages=BATCH,
        times_plan=NO_SHARES,
    )
    begin_at_the_end(config)
    probes = Probes(stage.bootstrap, fleet, stage.home / f"{config.group}.produced")
    workers = Workers(stage, config, broken)
    try:
        _act(Scene(stage, workers, probes, seed), faults, records, lambda: _progress(direct), say)
        acted_ns = CLOCK.mono_ns()
        text = _drain(direct, probes, profile.drain_s)
        drained_ns = CLOCK.mono_ns()
        verdict = judge(direct, probes, processes=profile.judges) if text == "" else None
        judged_ns = CLOCK.mono_ns()
    finally:
        workers.stop()
        probes.close()
    return Outcome(
        seed=seed,
        faults=faults,
        verdict=verdict,
        text=text if text == "" else f"{text}\n{last_lines(workers.log)}",
        restarts=workers.restarts,
        repeats=probes.repeats,
        seconds=(CLOCK.mono_ns() - begun_ns) / 1e9,
        drained_s=(drained_ns - acted_ns) / 1e9,
        judged_s=(judged_ns - drained_ns) / 1e9,
    )


def _act(
    scene: Scene, faults: list[Fault], records: list[Record], progress: Callable[[], int], say: Callable[[str], None]
) -> None:
    """Send a share of the traffic around each fault, which strikes when the workers are seen at work on it."""
    probes, size = scene.probes, -(-len(records) // len(faults))
    for number, fault in enumerate(faults):
        share = records[number * size : (number + 1) * size]
        scene.settled, before = list(probes.sent), progress()
        sender = threading.Thread(target=_send, args=(probes, share, fault.after_s + fault.for_s), name="probes")
        sender.start()
        try:
            at_work = _seen(lambda before=before: progress() > before, AT_WORK_S)  # type: ignore[misc]
            CLOCK.sleep_s(fault.after_s)
            say(f"  {fault.kind} {fault.number}, {fault.for_s} s{'' if at_work else ' (the workers stood still)'}")
            happen(fault, scene)
        finally:
            sender.join()
        probes.deliver()


def _send(probes: Probes, records: list[Record], lasts_s: float) -> None:
    pieces = 20
    for number in range(pieces):
        for record in _piece(records, number, pieces):
            probes.send(record)
        CLOCK.sleep_s(lasts_s / pieces)


def _piece(records: list[Record], number: int, pieces: int) -> list[Record]:
    size = -(-len(records) // pieces)
    return records[number * size : (number + 1) * size]


def _seen(holds: Callable[[], bool], deadline_s: float) -> bool:
    until_ns = CLOCK.mono_ns() + round(deadline_s * 1e9)
    while CLOCK.mono_ns() < until_ns:
        if holds():
            return True
        CLOCK.sleep_s(POLL_S)
    return False


def _progress(config: StoreConfig) -> int:
    """Return how many messages are stored; 0 while the engine is on its way back."""
    try:
        return stored_so_far(config)[0]
    except (OSError, EOFError, DriverError):
        return 0


def _drain(config: StoreConfig, probes: Probes, deadline_s: float) -> str:
    """Wait until all is stored that was sent; return what is missing at the deadline."""
    until_ns = CLOCK.mono_ns() + round(deadline_s * 1e9)
    wanted, seen = (len(probes.sent) + probes.beats, len(probes.poisoned)), (0, 0)
    while CLOCK.mono_ns() < until_ns:
        with suppress(OSError, EOFError, DriverError):  # the engine is on its way back
            seen = stored_so_far(config)
            if seen[0] >= wanted[0] and seen[1] >= wanted[1]:
                CLOCK.sleep_s(SETTLE_S)
                return ""
        CLOCK.sleep_s(POLL_S)
    return f"after {deadline_s:g} s {seen[0]} of {wanted[0]} stored, {seen[1]} of {wanted[1]} in quarantine"


def apply_meshes(config: StoreConfig, fleet: Fleet) -> None:
    """Put both versions of the mesh in force."""
    with open_store(config) as store:
        for mesh, from_ms in ((fleet.before, fleet.moves_at_ms - BEFORE_MS), (fleet.after, fleet.moves_at_ms)):
            row = mesh_rows(mesh, from_ms // 1000)["mesh"][0]
            store.insert(MESH, [tuple(row[name] for name in MESH.columns)])


def begin_at_the_end(config: WorkerConfig) -> None:
    """Let the group of a worker begin where the topics end now."""
    consumer = KafkaConsumer(bootstrap_servers=config.bootstrap, group_id=config.group, enable_auto_commit=False)
    try:
        parts = [TopicPartition(spec.name, n) for spec in TOPICS for n in consumer.partitions_for_topic(spec.name)]
        consumer.assign(parts)
        consumer.commit({part: OffsetAndMetadata(end, "", -1) for part, end in consumer.end_offsets(parts).items()})
    finally:
        consumer.close()
