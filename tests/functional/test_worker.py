"""The worker as a process, on a real broker and a real engine: killed, doubled, starved, and nothing is lost."""

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata
from support import wire_messages as wire
from support.broker import require_broker_tools
from support.meshes import SMALL
from support.plain_fold import fold_plainly
from support.produced import produce, slots_of
from support.stores import sql, windows

from schemas.clock import SystemClock, floor_ms, wall_ms
from schemas.codec import encode
from schemas.envelope import Signer
from schemas.mesh import Mesh, parse_mesh, with_probe_keys
from schemas.mesh_rows import mesh_rows
from schemas.records import Record
from schemas.tables import MESH
from schemas.topics import HEALTH, SUMMARY, TOPICS
from streams.app import WorkerConfig
from streams.store import Store, StoreConfig

pytestmark = [pytest.mark.needs_engine, pytest.mark.needs_broker, pytest.mark.timeout(240)]
CLOCK = SystemClock()
MAIN = Path(__file__).parents[1] / "support" / "worker_main.py"
SESSION_TIMEOUT_S = 6.0


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield a broker with the topics under their real names: only this module writes to them."""
    require_broker_tools()
    from deploy.embedded.kafka.broker import running_broker
    from deploy.ports import free_port
    from deploy.topics_admin import ensure_topics

    home = tmp_path_factory.mktemp("kafka-of-the-worker")
    with running_broker(home, free_port(), free_port(), log_path=home / "kafka.log", deadline_s=60) as broker:
        ensure_topics(broker.bootstrap, TOPICS, "embedded")
        yield broker.bootstrap


class Sender:
    """The probes of the small mesh: signs and sends."""

    def __init__(self, bootstrap: str, mesh: Mesh, signers: dict[str, Signer]) -> None:
        self.mesh = mesh
        self._signers = signers
        self._producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=5)

    def send(self, topic: str, record: Record) -> None:
        probe_id = str(getattr(record, "probe_id", ""))
        value = encode(record)
        self.send_raw(topic, probe_id, value, self._signers[probe_id].sign(topic, value))

    def send_raw(self, topic: str, key: str, value: bytes, headers: Sequence[tuple[str, bytes]] = ()) -> None:
        self._producer.send(topic, key=key.encode(), value=value, headers=list(headers))

    def flush(self) -> None:
        self._producer.flush(timeout=20)

    def close(self) -> None:
        self._producer.close(timeout=5)

    @property
    def streams_of(self) -> dict[str, list[int]]:
        streams: dict[str, list[int]] = {}
        for stream in self.mesh.streams:
            streams.setdefault(stream.probe_id, []).append(stream.id)
        return streams


@pytest.fixture
def sender(own_broker: str, store: Store) -> Iterator[Sender]:
    """Yield the probes, enrolled in a mesh that is in force since an hour."""
    bare = parse_mesh(SMALL, source="small.toml")
    signers = {probe.id: Signer(f"key-{number}", bytes([number + 1]) * 32) for number, probe in enumerate(bare.probes)}
    mesh = with_probe_keys(bare, {probe: [(by.key_id, by.public.hex())] for probe, by in signers.items()})
    since_s = floor_ms(wall_ms(CLOCK) - 15 * 86_400_000, 60_000) // 1000
    row = mesh_rows(mesh, since_s)["mesh"][0]
    store.insert(MESH, [tuple(row[name] for name in MESH.columns)])
    made = Sender(own_broker, mesh, signers)
    yield made
    made.close()


@pytest.fixture
def config(own_broker: str, store_config: StoreConfig, tmp_path: Path) -> WorkerConfig:
    """Return a worker of a group of its own that begins where the topics end now."""
    group = f"test-{tmp_path.name}"
    consumer = KafkaConsumer(bootstrap_servers=own_broker, group_id=group, enable_auto_commit=False)
    parts = [
        TopicPartition(spec.name, number) for spec in TOPICS for number in consumer.partitions_for_topic(spec.name)
    ]
    consumer.assign(parts)
    consumer.commit({part: OffsetAndMetadata(end, "", -1) for part, end in consumer.end_offsets(parts).items()})
    consumer.close()
    return WorkerConfig(
        bootstrap=own_broker, group=group, store=store_config, session_timeout_s=SESSION_TIMEOUT_S, batch_messages=20
    )


@contextmanager
def worker(config: WorkerConfig, home: Path, *mine: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker while the block lasts; end it by SIGTERM, then by force."""
    number = len(list(home.glob("worker-*.log")))
    path, log_path = home / f"worker-{number}.json", home / f"worker-{number}.log"
    path.write_bytes(msgspec.json.encode(config))
    with log_path.open("wb") as log_file:
        process = subprocess.Popen([sys.executable, str(MAIN), str(path), *mine], stdout=log_file, stderr=log_file)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def until(what: str, holds: Callable[[], bool], *, deadline_s: float = 60.0) -> None:
    """Return when it holds; fail by the deadline, saying what was waited for."""
    end = time.monotonic() + deadline_s
    while not holds():
        if time.monotonic() > end:
            pytest.fail(f"waited {deadline_s} s for {what}")
        time.sleep(0.1)


def fates(config: WorkerConfig) -> int:
    with sql(config.store) as run:
        return int(run("SELECT count() FROM (SELECT DISTINCT topic, probe_id, spool_id, seq FROM batch)")[0][0])


def logs(home: Path) -> str:
    return "\n".join(path.read_text()[-2000:] for path in sorted(home.glob("worker-*.log")))


def test_kills_between_base_window_and_ledger_lose_nothing_and_double_nothing(
    sender: Sender, config: WorkerConfig, tmp_path: Path
) -> None:
    batches = produce(4, now_ms=wall_ms(CLOCK), slots=60, streams_of=sender.streams_of, mesh="small")
    for number, batch in enumerate(batches):
        sender.send(SUMMARY.name, batch)
        if number % 10 == 0:
            sender.send(SUMMARY.name, batch)
            sender.send_raw(SUMMARY.name, batch.probe_id, b"garbage")
    beat = wire.heartbeat(mesh="small", probe_id=batches[0].probe_id, sent_at_ms=wall_ms(CLOCK))
    sender.send(HEALTH.name, beat)
    sender.flush()
    short = msgspec.structs.replace(config, session_timeout_s=3.0)  # a dead member is waited for at every restart
    for mine in (("base", "2"), ("windows", "1"), ("ledger", "2")):
        with worker(short, tmp_path, *mine) as doomed:
            assert doomed.wait(60) == -signal.SIGKILL, logs(tmp_path)
    with worker(short, tmp_path) as last:
        until("a fate for every message", lambda: fates(config) == len(batches) + 1)
        until("an end", lambda: lag(config) == 0)
        os.kill(last.pid, signal.SIGTERM)
        assert last.wait(20) == 0, logs(tmp_path)
    assert windows(config.store) == fold_plainly(slots_of(batches))
    with sql(config.store) as run:
        assert run("SELECT count() FROM probe_health_latest") == [(1,)]
        assert run("SELECT reason, count() FROM quarantine_latest GROUP BY reason") == [
            ("envelope", (len(batches) + 9) // 10)
        ]


def lag(config: WorkerConfig) -> int:
    """Return how many messages of the summary topic the group has not committed."""
    consumer = KafkaConsumer(bootstrap_servers=config.bootstrap, group_id=config.group, enable_auto_commit=False)
    parts = [TopicPartition(SUMMARY.name, number) for number in consumer.partitions_for_topic(SUMMARY.name)]
    consumer.assign(parts)
    ends = consumer.end_offsets(parts)
    missing = int(sum(end - (consumer.committed(part) or 0) for part, end in ends.items()))
    consumer.close()
    return missing


def test_one_of_two_workers_is_killed_and_the_other_takes_over(
    sender: Sender, config: WorkerConfig, tmp_path: Path
) -> None:
    batches = produce(6, now_ms=wall_ms(CLOCK), slots=80, streams_of=sender.streams_of, mesh="small")
    third = len(batches) // 3
    with worker(config, tmp_path) as first, worker(config, tmp_path) as second:
        for batch in batches[:third]:
            sender.send(SUMMARY.name, batch)
            sender.flush()
        until("both to work", lambda: fates(config) == third)
        for batch in batches[third : 2 * third]:
            sender.send(SUMMARY.name, batch)
        sender.flush()
        os.kill(first.pid, signal.SIGKILL)
        killed = time.monotonic()
        for batch in batches[2 * third :]:
            sender.send(SUMMARY.name, batch)
        sender.flush()
        until("the other to take over", lambda: fates(config) == len(batches), deadline_s=40)
        assert time.monotonic() - killed < SESSION_TIMEOUT_S + 15, "two busy cores; the design asks for 10 s"
        assert second.poll() is None, logs(tmp_path)
    assert windows(config.store) == fold_plainly(slots_of(batches))


def test_a_message_is_readable_soon_after_it_was_produced(sender: Sender, config: WorkerConfig, tmp_path: Path) -> None:
    batches = produce(7, now_ms=wall_ms(CLOCK), slots=8, streams_of=sender.streams_of, mesh="small")
    with worker(config, tmp_path):
        sender.send(SUMMARY.name, batches[0])
        sender.flush()
        until("the first message", lambda: fates(config) == 1)
        waited_s = []
        for number, batch in enumerate(batches[1:11], 2):
            begun = time.monotonic()
            sender.send(SUMMARY.name, batch)
            sender.flush()
            until("a message", lambda number=number: fates(config) == number)  # type: ignore[misc]
            waited_s.append(time.monotonic() - begun)
    assert statistics.median(waited_s) < 5.0, waited_s  # two busy cores; the figure is the benchmark's
    print("produced to readable, s:", round(statistics.median(waited_s), 2), round(max(waited_s), 2))  # noqa: T201


def test_a_worker_without_its_tables_or_topics_says_so_and_ends(
    own_broker: str, store_config: StoreConfig, tmp_path: Path
) -> None:
    empty = msgspec.structs.replace(store_config, database="system")
    bare = WorkerConfig(bootstrap=own_broker, group="nobody", store=empty)
    with worker(bare, tmp_path) as process:
        assert process.wait(30) == 1
    assert "run `isochrone up`" in logs(tmp_path)
