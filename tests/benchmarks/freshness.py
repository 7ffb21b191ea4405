"""How soon a summary can be read: in quiet times, behind an hour's backlog, and what the worker weighs meanwhile."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from benchmarks.harness import Bench, percentile
from benchmarks.live import Live, pace
from benchmarks.national import National
from benchmarks.usage import usage
from benchmarks.world import (
    CLOCK,
    Sender,
    asking,
    begin_at_the_end,
    fill,
    fresh_database,
    running_worker,
    running_world,
    worker_config,
)
from clickhouse_driver import Client
from support.wire_messages import SPOOL

from schemas.clock import wall_ms

SEED: Final = 9
LIFE_S: Final = 10.0
READY_S: Final = 60.0

LATENCY_SLOTS: Final = 7  # the first is not counted: the worker has just started
OUTAGE_SLOTS: Final = 360  # an hour
MEMORY_PERIOD_S: Final = 1.0  # ten times as fast as life: a slot is still a flush of its own
MEMORY_S: Final = 150.0
SETTLED_S: Final = 30.0  # what is made once is made by then
HOUR_SLOTS: Final = 360
MOST_GROWTH_MIB: Final = 10.0
DRAIN_DEADLINE_S: Final = 900.0
MIB: Final = 2**20


def latency(bench: Bench) -> None:
    """Measure from the append in Kafka to the row that can be read, at national rate."""
    world = bench.shared("world", running_world)
    mesh = National(SEED)
    config = worker_config(world, fresh_database(world, mesh.mesh))
    begin_at_the_end(config)
    with running_worker(config, world.home), asking(config.store) as client, Sender(world.bootstrap) as sender:
        live = Live(sender, client, mesh, pace(LIFE_S, slots=LATENCY_SLOTS), seed=SEED)
        live.run("the slots", lambda: live.slots > LATENCY_SLOTS, deadline_s=READY_S + LATENCY_SLOTS * LIFE_S)
        live.drain(deadline_s=READY_S)
    waits_s = [wait_s for (_, seq), wait_s in live.waits_s.items() if seq > 0]
    bench.at_most("produced to readable, national rate, p50", percentile(waits_s, 0.5), "s", 1)
    bench.at_most("produced to readable, national rate, p99", percentile(waits_s, 0.99), "s", 3)
    bench.beside("produced to readable, messages measured", len(waits_s), "messages")


def outage(bench: Bench) -> None:
    """Measure how long the backlog of an hour takes, and how old live messages get meanwhile."""
    world = bench.shared("world", running_world)
    mesh = National(SEED)
    config = worker_config(world, fresh_database(world, mesh.mesh))
    begin_at_the_end(config)
    backlog = fill(world, mesh, slots=OUTAGE_SLOTS, until_ms=wall_ms(CLOCK))
    bench.say(f"{backlog} summaries wait")
    with (
        running_worker(config, world.home) as worker,
        asking(config.store) as client,
        Sender(world.bootstrap) as sender,
    ):
        live = Live(sender, client, mesh, pace(LIFE_S, slots=0), seed=SEED)
        live.run("the backlog", lambda: _stored(client) >= backlog, deadline_s=DRAIN_DEADLINE_S)
        drained_s = live.passed_s()
        live.drain(deadline_s=DRAIN_DEADLINE_S)
        peak_bytes = usage(worker.pid).peak_bytes
    waits_s = list(live.waits_s.values())
    bench.at_most("backlog of an hour: drained after exec", drained_s, "s", 180)
    bench.at_most("backlog of an hour: oldest live message", max(waits_s), "s", 5)
    bench.beside("backlog of an hour: live messages, p50", percentile(waits_s, 0.5), "s")
    bench.beside("backlog of an hour: summaries", backlog, "summaries")
    bench.beside("backlog of an hour: worker peak memory", peak_bytes / MIB, "MiB")


def memory(bench: Bench) -> None:
    """Measure what the worker weighs at national rate, faster than life: every slot is a flush as it is in life."""
    world = bench.shared("world", running_world)
    mesh, slots = National(SEED), round(MEMORY_S / MEMORY_PERIOD_S)
    config = worker_config(world, fresh_database(world, mesh.mesh))
    begin_at_the_end(config)
    with (
        running_worker(config, world.home) as worker,
        asking(config.store) as client,
        Sender(world.bootstrap) as sender,
    ):
        live = Live(sender, client, mesh, pace(MEMORY_PERIOD_S, slots=slots), seed=SEED)
        weighed: dict[int, float] = {}

        def weigh() -> bool:
            weighed.setdefault(live.slots, usage(worker.pid).rss_bytes / MIB)
            return live.slots >= slots

        live.run("the slots", weigh, deadline_s=READY_S + MEMORY_S)
        live.drain(deadline_s=READY_S)
        peak_bytes = usage(worker.pid).peak_bytes
    bench.at_most("worker memory at national rate, peak", peak_bytes / MIB, "MiB", 250)
    per_hour = slope(weighed, after=round(SETTLED_S / MEMORY_PERIOD_S)) * HOUR_SLOTS
    bench.at_most("worker memory at national rate, growth", per_hour, "MiB per hour of traffic", MOST_GROWTH_MIB)
    bench.beside("worker memory at national rate, slots", slots, "slots")


def slope(weighed: Mapping[int, float], *, after: int) -> float:
    """Return the growth from one key to the next, by least squares over the keys past `after`."""
    x = np.array([each for each in weighed if each > after], dtype=np.float64)
    y = np.array([figure for each, figure in weighed.items() if each > after])
    return float(np.polyfit(x, y, 1)[0])


def _stored(client: Client) -> int:
    query = "SELECT sum(stored) FROM batch_latest WHERE spool_id = %(spool_id)s"
    return int(client.execute(query, {"spool_id": SPOOL})[0][0])
