"""What a worker does where its topics are not what it read last: deleted, cut, made anew, hostile."""

import asyncio
import re
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata
from structlog.testing import capture_logs
from support import wire_messages as wire
from support.children import wait_for
from support.plain_fold import fold_plainly
from support.produced import produce, produce_one_run, slots_of
from support.spooling import SpooledProbe, spooling
from support.store_proxy import store_proxy
from support.stores import sql, windows
from support.workers import (
    PATIENCE_S,
    Sender,
    await_fates,
    await_no_lag,
    begin_at_the_ends,
    fates,
    forget_what_was_sent,
    lag,
    logs,
    worker,
)

from deploy.topics_admin import ensure_topics
from probes.spool_again import Stretch, ask_again
from schemas.clock import SystemClock, wall_ms
from schemas.errors import UnavailableError
from schemas.topics import DAY_MS, HEALTH, SUMMARY, TOPICS
from streams.intake import EXIT_HOLE
from streams.positions import HoleError
from streams.preflight import await_offsets
from streams.reconcile import reconcile
from streams.store import Store, StoreConfig
from streams.worker_config import WorkerConfig

pytestmark = [pytest.mark.needs_engine, pytest.mark.needs_broker, pytest.mark.timeout(240)]
CLOCK = SystemClock()
LATE_MS = 10 * DAY_MS


def test_f05_a_worker_whose_messages_were_deleted_unread_does_not_start(sender: Sender, config: WorkerConfig) -> None:
    sender.send_all(produce(8, now_ms=wall_ms(CLOCK), slots=2, streams_of=sender.streams_of, mesh="small"))
    forget_what_was_sent(config.bootstrap)
    before = lag(config)
    assert before > 0
    with pytest.raises(HoleError, match=r"messages deleted before they were read.*spool resend"):
        asyncio.run(await_offsets(config))
    assert lag(config) == before, "no jump over the hole"
    asyncio.run(await_offsets(msgspec.structs.replace(config, on_hole="continue")))
    assert lag(config) == 0


def test_f05_a_hole_is_named_by_reconcile_and_refilled_from_the_spools_reserve(
    sender: Sender, config: WorkerConfig, store: Store, tmp_path: Path
) -> None:
    probe_id, streams = next(iter(sender.streams_of.items()))
    now_ms = wall_ms(CLOCK)
    batches = produce_one_run(13, probe_id, streams, now_ms=now_ms, slots=24, late_ms=LATE_MS)
    half = len(batches) // 2
    span = {"since_ms": now_ms - 60_000, "until_ms": now_ms + 120_000}
    goes_on = msgspec.structs.replace(config, on_hole="continue")
    with spooling(tmp_path, config.bootstrap, probe_id, sender.signer_of(probe_id)) as probe:
        probe.say(batches[:half])
        wait_for("the first half acknowledged", lambda: probe.unsent() == 0, PATIENCE_S)
        forget_what_was_sent(config.bootstrap)
        with pytest.raises(HoleError, match="spool resend"):
            asyncio.run(await_offsets(config))
        with worker(goes_on, tmp_path):
            probe.say(batches[half:])
            tell_of_its_spool(sender, probe, probe_id)
            await_fates(config, len(batches) - half + 1)
            refill(store, probe, half, span)
            await_fates(config, len(batches) + 1)
    account = reconcile(store, **span)
    assert (account.residual, account.holes, account.batches.stored) == (0, (), len(batches))
    assert windows(config.store) == fold_plainly(slots_of(probe.said))


def test_f12_what_a_store_lost_after_it_had_taken_it_is_named_and_refilled(
    sender: Sender, config: WorkerConfig, store: Store, tmp_path: Path
) -> None:
    probe_id, streams = next(iter(sender.streams_of.items()))
    now_ms = wall_ms(CLOCK)
    batches = produce_one_run(16, probe_id, streams, now_ms=now_ms, slots=12)
    half = len(batches) // 2
    span = {"since_ms": now_ms - 60_000, "until_ms": now_ms + 120_000}
    with spooling(tmp_path, config.bootstrap, probe_id, sender.signer_of(probe_id)) as probe:
        probe.say(batches)
        wait_for("all acknowledged", lambda: probe.unsent() == 0, PATIENCE_S)
        with worker(config, tmp_path):
            tell_of_its_spool(sender, probe, probe_id)
            await_fates(config, len(batches) + 1)
            lose_parts(config, half, since_ms=min(batch.slot_start_ms for batch in batches[:half]))
            refill(store, probe, half, span)
            await_fates(config, len(batches) + 1)
    account = reconcile(store, **span)
    assert (account.residual, account.holes, account.batches.stored) == (0, (), len(batches))
    assert windows(config.store) == fold_plainly(slots_of(probe.said))


def tell_of_its_spool(sender: Sender, probe: SpooledProbe, probe_id: str) -> None:
    """Send the heartbeat that names what the probe's spool has and what was acknowledged of it."""
    states = probe.spool.states()
    sender.send(HEALTH.name, wire.heartbeat(mesh="small", probe_id=probe_id, sent_at_ms=wall_ms(CLOCK), spools=states))
    sender.flush()


def refill(store: Store, probe: SpooledProbe, count: int, span: Mapping[str, int]) -> None:
    """Have the first `count` messages, which reconcile must name as one hole, sent again out of the reserve."""
    (hole,) = reconcile(store, **span).holes
    assert (hole.spool_id, hole.first, hole.last, hole.fate) == (probe.spool.spool_id, 0, count - 1, "missing")
    stretch = Stretch(topic=hole.topic, run=hole.spool_id, first=hole.first, last=hole.last)
    assert ask_again(probe.spool.path, stretch) == count


def lose_parts(config: WorkerConfig, before_seq: int, *, since_ms: int) -> None:
    """Take out of all tables what a power cut takes when it was not on the disk yet: that of the first messages."""
    minute_s = since_ms // 60_000 * 60
    with sql(config.store) as run:
        for table, where in (
            ("summary_10s", f"seq < {before_seq}"),
            ("kpi_1m", f"minute >= toDateTime({minute_s}, 'UTC')"),
            ("batch", f"topic = '{SUMMARY.name}' AND seq < {before_seq}"),
        ):
            run(f"ALTER TABLE {table} DELETE WHERE {where} SETTINGS mutations_sync = 1")


def test_f05_a_hole_that_opens_under_a_worker_that_waits_for_its_store_stops_it(
    sender: Sender, config: WorkerConfig, store_config: StoreConfig, tmp_path: Path
) -> None:
    batches = produce(9, now_ms=wall_ms(CLOCK), slots=3, streams_of=sender.streams_of, mesh="small")
    with store_proxy(store_config.port) as (proxy, port):
        behind = msgspec.structs.replace(store_config, port=port)
        with worker(msgspec.structs.replace(config, store=behind, report_every_s=0.5), tmp_path) as process:
            sender.send_all([batches[0]])
            await_fates(config, 1)
            proxy.refuse_with = 252
            sender.send_all(batches[1:])
            forget_what_was_sent(config.bootstrap)
            assert process.wait(30) == EXIT_HOLE, logs(tmp_path)
    assert "messages deleted before they were read" in logs(tmp_path)
    assert fates(config) == 1


def test_f23_a_compressed_bomb_is_stepped_over_and_what_follows_is_stored(
    sender: Sender, config: WorkerConfig, tmp_path: Path
) -> None:
    batches = produce(12, now_ms=wall_ms(CLOCK), slots=2, streams_of=sender.streams_of, mesh="small")
    large = {"compression_type": "zstd", "max_request_size": 1 << 30, "batch_size": 1 << 30, "linger_ms": 50}
    with closing(KafkaProducer(bootstrap_servers=config.bootstrap, acks="all", **large)) as hostile:
        hostile.send(SUMMARY.name, value=bytes(256 << 20), partition=0)
    sender.send_all(batches)
    with worker(config, tmp_path) as process:
        wait_for("a fate for every message behind", lambda: fates(config) >= len(batches), PATIENCE_S)
        await_no_lag(config)
        peak_kib = int(re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())[0])
    assert windows(config.store) == fold_plainly(slots_of(batches))
    assert peak_kib < 256 * 1024, "the bomb alone would be as large"
    with sql(config.store) as run:
        ((partition, reason, detail),) = run("SELECT partition, reason, detail FROM quarantine_latest")
    assert (partition, reason) == (0, "bounds")
    assert "does not unpack into 8 MiB" in detail


def test_f06_a_topic_that_is_absent_kept_too_few_times_or_made_anew_is_refused_within_seconds(
    sender: Sender, config: WorkerConfig
) -> None:
    sender.send(HEALTH.name, wire.heartbeat(mesh="small", probe_id=next(iter(sender.streams_of))))
    sender.flush()
    begin_at_the_ends(config.bootstrap, config.group)
    begun = time.monotonic()
    with pytest.raises(UnavailableError, match=r"fewer than 3 replicas.*isochrone.summary.v1 \(1\)"):
        asyncio.run(await_offsets(msgspec.structs.replace(config, least_replicas=3)))
    with closing(KafkaAdminClient(bootstrap_servers=config.bootstrap)) as admin:
        admin.delete_topics([HEALTH.name])
        with pytest.raises(UnavailableError, match=f"no topic {HEALTH.name}"):
            asyncio.run(await_offsets(config))
        assert time.monotonic() - begun < 5, "the bar of a refused start"
        wait_for("the topic to be gone", lambda: HEALTH.name not in admin.list_topics(), PATIENCE_S)
    ensure_topics(config.bootstrap, TOPICS, "embedded")
    with capture_logs() as said:
        asyncio.run(await_offsets(config))
    assert [line["topic"] for line in said if "made anew" in line["event"]] == [HEALTH.name]
    with closing(KafkaConsumer(bootstrap_servers=config.bootstrap, group_id=config.group)) as consumer:
        consumer.commit({TopicPartition(SUMMARY.name, 0): OffsetAndMetadata(1 << 40, "", -1)})
    with pytest.raises(HoleError, match="another topic"):
        asyncio.run(await_offsets(config))
