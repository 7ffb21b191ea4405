"""The stream under load: one worker on one core, from the topic into the tables.

`make bench NAME=stream ONLY=rate` for one section. The topic is filled once with the signed messages of the national
mesh's probes, 100 streams each; every run has a group and a database of its own.
"""

import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

from benchmarks.harness import Bench, Section
from benchmarks.national import National
from benchmarks.stages import measure_stages
from benchmarks.usage import first_core, on_cores
from benchmarks.world import (
    CLOCK,
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
LEAST_PER_S: Final = 50_000


class Backlog(NamedTuple):
    """A filled topic, and the services around it."""

    world: World
    mesh: National
    summaries: int


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
    bench.beside("exec to the first stored", _median(passages, "begun_after_s"), "s")


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
    with running_worker(config, backlog.world.home) as process:
        passage = watch_passage(backlog.world, store, process, summaries=backlog.summaries)
    bench.say(f"worker: {passage.per_s:,.0f} summaries/s, {passage.cpu_s_per_million:.1f} CPU s per million")
    return passage


def _median(passages: Sequence[Passage], what: str) -> float:
    return float(statistics.median(getattr(each, what) for each in passages))


SECTIONS: Final[dict[str, Section]] = {"rate": rate, "stages": stages}
