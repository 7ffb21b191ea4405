"""`isochrone reconcile` over ten million facts: the account of every seq, with holes and repeats planted."""

import statistics
from typing import Final

from benchmarks.harness import Bench
from benchmarks.national import National
from benchmarks.world import CLOCK, asking, fresh_database, running_world

from schemas.clock import wall_ms
from schemas.topics import HEALTH, SUMMARY
from streams.reconcile import reconcile
from streams.store import StoreConfig, open_store

FACTS: Final = 10_000_000
PROBES: Final = 60
HOLES: Final = 10
REPEATED: Final = 1000
ROUNDS: Final = 3
MOST_S: Final = 2.0
SETTLED_S: Final = 60.0  # so many facts come in a month and not in seconds: what merges them at once is not measured
_SPOOL: Final = "toUUID(concat('00000000-0000-7000-8000-', leftPad(toString(number %% %(probes)s), 12, '0')))"
_LEDGER: Final = f"""
INSERT INTO batch
    (probe_id, spool_id, topic, seq, slot, revision, complete, streams, stored, quarantined, partition, offset, mesh,
    mesh_version, received_ms)
SELECT
    concat('m/p', toString(number %% %(probes)s)), {_SPOOL}, %(topic)s, intDiv(number, %(probes)s),
    toDateTime(%(now_s)s - 86000 + intDiv(number, %(probes)s) %% 80000, 'UTC'), 1, 1, 100, 100, 0, 0, number, 'm',
    'v', (%(now_s)s - 600) * 1000
FROM numbers(%(first)s, %(count)s)
WHERE number %% %(every)s != 7"""  # noqa: S608 - constants
_BEATS: Final = f"""
INSERT INTO probe_health
    (probe_id, spool_id, seq, sent_at, sent_ms, mesh, mesh_version, received_ms, spools, topics, last_seqs, acked_seqs)
SELECT
    concat('m/p', toString(number)), {_SPOOL} AS spool, 0, toDateTime(%(now_s)s - 300, 'UTC'),
    (%(now_s)s - 300) * 1000, 'm', 'v', (%(now_s)s - 300) * 1000, [spool], [%(topic)s],
    [intDiv(%(facts)s + %(probes)s - 1 - number, %(probes)s) - 1 AS last], [last]
FROM numbers(%(probes)s)"""  # noqa: S608 - constants


def account(bench: Bench) -> None:
    """Measure the account of ten million messages of 60 probes, ten of them missing and a thousand repeated."""
    world = bench.shared("world", running_world)
    config = fresh_database(world, National(1, streams_each=1).mesh)
    now_ms = wall_ms(CLOCK)
    _fill(config, now_ms // 1000)
    bench.say(f"{FACTS} facts")
    took_s, missing = [], 0
    with open_store(config) as store:
        for _ in range(ROUNDS):
            begun_ns = CLOCK.mono_ns()
            missing = reconcile(store, since_ms=now_ms - 86_400_000, until_ms=now_ms).batches.missing
            took_s.append((CLOCK.mono_ns() - begun_ns) / 1e9)
    bench.equal("batches missing of those planted", missing, "messages", HOLES)
    bench.at_most(f"reconcile over {FACTS} facts", statistics.median(took_s), "s", MOST_S)


def _fill(config: StoreConfig, now_s: int) -> None:
    named = {"probes": PROBES, "topic": SUMMARY.name, "now_s": now_s, "facts": FACTS}
    named |= {"every": FACTS // HOLES}
    with asking(config) as client:
        for first in range(0, FACTS, 1_000_000):
            client.execute(_LEDGER, named | {"first": first, "count": 1_000_000})
        client.execute(_LEDGER, named | {"first": 0, "count": REPEATED})
        client.execute(_BEATS, named)
        client.execute(_LEDGER, named | {"topic": HEALTH.name, "first": 0, "count": PROBES, "every": FACTS})
        until_ns = CLOCK.mono_ns() + round(SETTLED_S * 1e9)
        while client.execute("SELECT count() FROM system.merges WHERE database = currentDatabase()") != [(0,)]:
            if CLOCK.mono_ns() > until_ns:
                raise TimeoutError(f"waited {SETTLED_S:g} s for the merges of the filling")
            CLOCK.sleep_s(0.5)


SECTIONS: Final = {"account": account}
