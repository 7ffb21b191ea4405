"""The stream under load: one worker on one core, from the topic into the tables.

`make bench NAME=stream ONLY=rate` for one section. The topic is filled once with the signed messages of the national
mesh's probes, 100 streams each; every run has a group and a database of its own.
"""

import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from benchmarks.faults import broker, kills
from benchmarks.freshness import latency, memory, outage
from benchmarks.harness import Bench, Section
from benchmarks.national import National
from benchmarks.peers import PEERS, pass_peer
from benchmarks.stages import measure_stages
from benchmarks.usage import first_core, on_cores, usage
from benchmarks.world import (
    CLOCK,
    Backlog,
    Passage,
    World,
    fill,
    fresh_database,
    running_worker,
    running_world,
    watch_passage,
    worker_config,
)

from schemas.clock import wall_ms

SEED: Final = 4
STREAMS_EACH: Final = 100
BACKLOG_SLOTS: Final = 90  # of 44 probes: 396,000 summaries
ROUNDS: Final = 3
PEER_ROUNDS: Final = 3
LEAST_PER_S: Final = 50_000
LEAST_OF_LOOP, MOST_OF_LOOP_CPU = 0.7, 1.6


def rate(bench: Bench) -> None:
    """Measure how fast one worker empties a backlog, and what it, the broker and the engine spend on it."""
    backlog = _backlog(bench)
    passages = [_pass_worker(bench, backlog) for _ in range(ROUNDS)]
    bench.at_least("one worker, one core", _median(passages, "per_s"), "summaries/s", LEAST_PER_S)
    bench.beside("worker CPU", _median(passages, "cpu_s_per_million"), "s per million summaries")
    for part in ("broker", "engine"):
        spent = statistics.median(getattr(each, f"{part}_cpu_s") / each.summaries * 1e6 for each in passages)
        bench.beside(f"{part} CPU", spent, "s per million summaries")
    bench.beside("worker peak memory", max(each.consumer_peak_bytes for each in passages) / 2**20, "MiB")
    broker_peak_bytes = usage(backlog.world.broker_pid).peak_bytes
    bench.at_most("broker peak memory", broker_peak_bytes / 2**20, "MiB", 300)
    bench.beside("exec to the first stored", _median(passages, "begun_after_s"), "s")


def peers(bench: Bench) -> None:
    """Measure the worker beside a bare aiokafka loop and quixstreams, in turns."""
    backlog = _backlog(bench)
    taken: dict[str, list[Passage]] = {name: [] for name in ("worker", *PEERS)}
    for _ in range(PEER_ROUNDS):
        taken["worker"].append(_pass_worker(bench, backlog))
        for peer in PEERS:
            taken[peer].append(pass_peer(bench, backlog, peer))
    per_s = {name: _median(passages, "per_s") for name, passages in taken.items()}
    cpu_s = {name: _median(passages, "cpu_s_per_million") for name, passages in taken.items()}
    bench.at_least("rate beside a bare aiokafka loop", per_s["worker"] / per_s["aiokafka"], "x", LEAST_OF_LOOP)
    bench.at_most("CPU beside a bare aiokafka loop", cpu_s["worker"] / cpu_s["aiokafka"], "x", MOST_OF_LOOP_CPU)
    bench.beside("rate beside quixstreams", per_s["worker"] / per_s["quixstreams"], "x")
    bench.beside("CPU beside quixstreams", cpu_s["worker"] / cpu_s["quixstreams"], "x")
    for name, figure in per_s.items():
        bench.beside(f"{name}: rate", figure, "summaries/s")
        bench.beside(f"{name}: CPU", cpu_s[name], "s per million summaries")


def stages(bench: Bench) -> None:
    """Measure what each stage of a flush costs, in this process, on the worker's core."""
    world = bench.shared("world", running_world)
    with on_cores(first_core()):
        measure_stages(bench, world, National(SEED, streams_each=STREAMS_EACH), batch=200, flushes=6)


def _backlog(bench: Bench) -> Backlog:
    """Return the services with the topic filled: the first who asks fills it."""
    world = bench.shared("world", running_world)
    return bench.shared("backlog", lambda: _filled(bench, world))


@contextmanager
def _filled(bench: Bench, world: World) -> Iterator[Backlog]:
    mesh = National(SEED, streams_each=STREAMS_EACH)
    summaries = fill(world, mesh, slots=BACKLOG_SLOTS, until_ms=wall_ms(CLOCK) - 60_000)
    bench.say(f"{summaries} summaries on the topic")
    yield Backlog(world, mesh, summaries)


def _pass_worker(bench: Bench, backlog: Backlog) -> Passage:
    store = fresh_database(backlog.world, backlog.mesh.mesh)
    config = worker_config(backlog.world, store)
    with running_worker(config, backlog.world.home) as child:
        passage = watch_passage(backlog.world, store, child, summaries=backlog.summaries)
    bench.say(f"worker: {passage.per_s:,.0f} summaries/s, {passage.cpu_s_per_million:.1f} CPU s per million")
    return passage


def _median(passages: Sequence[Passage], what: str) -> float:
    return float(statistics.median(getattr(each, what) for each in passages))


SECTIONS: Final[dict[str, Section]] = {  # the backlog comes first: its readers begin where the topic begins
    "rate": rate,
    "peers": peers,
    "stages": stages,
    "latency": latency,
    "outage": outage,
    "memory": memory,
    "kills": kills,
    "broker": broker,
}
