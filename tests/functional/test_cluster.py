"""Three brokers with three copies of everything: one may die, two may not, and nothing is lost either way."""

import time
from contextlib import closing
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from support.children import wait_for
from support.cluster import running_cluster
from support.meshes import streams_of
from support.plain_fold import fold_plainly
from support.produced import NO_SHARES, produce_one_run, slots_of
from support.spooling import spooling
from support.stores import windows
from support.workers import PATIENCE_S, await_fates, enrolled, fates, worker

from deploy.topics_admin import REPLICATION, ensure_topics
from schemas.clock import SystemClock, wall_ms
from schemas.topics import SUMMARY, TOPICS
from streams.store import Store, StoreConfig
from streams.worker_config import WorkerConfig

pytestmark = [pytest.mark.needs_engine, pytest.mark.needs_broker, pytest.mark.timeout(240)]
CLOCK = SystemClock()


def test_f02_a_leader_that_dies_and_then_a_second_broker_cost_no_record(
    store: Store, store_config: StoreConfig, tmp_path: Path
) -> None:
    mesh, signers = enrolled(store)
    probe_id, streams = next(iter(streams_of(mesh).items()))
    batches = produce_one_run(17, probe_id, streams, now_ms=wall_ms(CLOCK), slots=9)
    third = len(batches) // 3
    with running_cluster(tmp_path) as cluster:
        ensure_topics(cluster.bootstrap, TOPICS, "production")
        config = WorkerConfig(
            bootstrap=cluster.bootstrap,
            store=store_config,
            least_replicas=REPLICATION["production"],
            times_plan=NO_SHARES,
        )
        with (
            worker(config, tmp_path),
            spooling(tmp_path, cluster.bootstrap, probe_id, signers[probe_id]) as probe,
        ):
            probe.say(batches[:third])
            await_fates(config, third)
            first, second = leader_and_follower(cluster.bootstrap)
            cluster.kill(first)
            probe.say(batches[third : 2 * third])
            await_fates(config, 2 * third)
            cluster.kill(second)
            probe.say(batches[2 * third :])
            time.sleep(2.0)  # as long as a produce would take otherwise, and more
            assert probe.unsent() == len(batches) - 2 * third, "one copy is too few to acknowledge"
            assert fates(config) == 2 * third
            cluster.start(first, second)
            wait_for("all acknowledged", lambda: probe.unsent() == 0, PATIENCE_S)
            await_fates(config, len(batches))
    assert windows(store_config) == fold_plainly(slots_of(probe.said))


def leader_and_follower(bootstrap: str) -> tuple[int, int]:
    """Return who leads the first partition of the summaries and another broker that has it."""
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap.split(","))) as admin:
        (topic,) = admin.describe_topics([SUMMARY.name])
    part = topic["partitions"][0]
    leader = part["leader_id"]
    return leader, next(node for node in part["replica_nodes"] if node != leader)
