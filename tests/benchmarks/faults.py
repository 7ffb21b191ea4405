"""How soon all is well again: a worker killed while another lives, a broker started and killed."""

import os
import signal
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from benchmarks.harness import Bench, percentile
from benchmarks.live import Live, pace
from benchmarks.national import National
from benchmarks.usage import on_cores, other_cores
from benchmarks.world import (
    CLOCK,
    Sender,
    asking,
    begin_at_the_end,
    fresh_database,
    running_worker,
    running_world,
    worker_config,
)
from kafka import KafkaProducer
from support.plain_fold import fold_plainly
from support.produced import slots_of
from support.stores import windows

from deploy.embedded.kafka.broker import broker_part
from deploy.embedded.kafka.config import BrokerPlace
from deploy.ports import free_port
from deploy.supervise import Supervisor
from deploy.topics_admin import ensure_topics
from schemas.topics import SUMMARY, TOPICS

SEED: Final = 11
KILLS: Final = 5
PERIOD_S: Final = 1.0
STREAMS_EACH: Final = 6
SETTLE_SLOTS: Final = 12  # until both workers have joined and hold their partitions
KILLED_DEADLINE_S: Final = 60.0
SLOTS_AT_MOST: Final = 400
BROKER_KILLS: Final = 3
ACKNOWLEDGED_S: Final = 30.0
MARK: Final = "topics-are-made"

Windows = dict[tuple[str, int, int], dict[str, Any]]


def kills(bench: Bench) -> None:
    """Kill one of two workers, several times; measure until all that was sent before and at once after is readable."""
    world = bench.shared("world", running_world)
    mesh = National(SEED, streams_each=STREAMS_EACH)
    config = worker_config(world, fresh_database(world, mesh.mesh))
    begin_at_the_end(config)
    healed_s = []
    with asking(config.store) as client, Sender(world.bootstrap) as sender, ExitStack() as workers:
        live = Live(sender, client, mesh, pace(PERIOD_S, slots=SLOTS_AT_MOST), seed=SEED)
        running = [workers.enter_context(running_worker(config, world.home)) for _ in range(2)]
        for _ in range(KILLS):
            settled = live.slots + SETTLE_SLOTS
            live.run("both workers", partial(live.is_seen_to, settled), deadline_s=KILLED_DEADLINE_S)
            victim = running.pop(0)
            os.kill(victim.pid, signal.SIGKILL)
            begun_s, next_slot = live.passed_s(), live.slots
            live.run("the other", partial(live.is_seen_to, next_slot), deadline_s=KILLED_DEADLINE_S)
            healed_s.append(live.passed_s() - begun_s)
            bench.say(f"killed: right again after {healed_s[-1]:.1f} s")
            running.append(workers.enter_context(running_worker(config, world.home)))
        live.drain(deadline_s=KILLED_DEADLINE_S)
    wrong = differing(windows(config.store), fold_plainly(slots_of(live.batches())))
    bench.at_most("worker killed: partitions moved, windows right, p95", percentile(healed_s, 0.95), "s", 10)
    bench.equal("worker killed: windows that differ from the oracle", wrong, "windows", 0)
    bench.beside("worker killed: kills", KILLS, "kills")


def broker(bench: Bench) -> None:
    """Measure from exec to the first acknowledged message: of a new broker, after a clean stop, after kill -9."""
    with TemporaryDirectory(prefix="isochrone-bench-") as folder, on_cores(other_cores()):
        home = Path(folder)
        place = BrokerPlace(state_dir=home / "kafka", port=free_port(), controller_port=free_port())
        bench.at_most("broker: exec to first acknowledged, new", _first_acknowledged(place, home, kill=False), "s", 5)
        bench.at_most("broker: exec to first acknowledged, again", _first_acknowledged(place, home, kill=True), "s", 5)
        again_s = []
        for number in range(BROKER_KILLS):
            again_s.append(_first_acknowledged(place, home, kill=number + 1 < BROKER_KILLS))
            bench.say(f"broker killed: first acknowledged after {again_s[-1]:.1f} s")
        bench.at_most("broker: first acknowledged after kill -9, worst", max(again_s), "s", 6)


def _first_acknowledged(place: BrokerPlace, home: Path, *, kill: bool) -> float:
    """Run the broker until it has acknowledged a message; return the seconds since exec."""
    part = broker_part(place, log_path=home / "kafka.log", restart=False)
    begun_ns = CLOCK.mono_ns()
    with Supervisor([part]) as supervisor:
        if not (place.state_dir / MARK).exists():
            ensure_topics(place.bootstrap, TOPICS, "embedded")
            (place.state_dir / MARK).touch()
        producer = KafkaProducer(bootstrap_servers=place.bootstrap, acks="all")
        producer.send(SUMMARY.name, value=b"first").get(timeout=ACKNOWLEDGED_S)
        took_s = (CLOCK.mono_ns() - begun_ns) / 1e9
        producer.close(timeout=5)
        if kill:
            os.kill(supervisor.pids()[0], signal.SIGKILL)
    return took_s


def differing(found: Windows, wanted: Windows) -> int:
    """Return how many windows are in one alone, or not the same in both."""
    return sum(found.get(key) != wanted.get(key) for key in found.keys() | wanted.keys())
