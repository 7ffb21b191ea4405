"""A worker as a process on a real broker and a real engine, and the probes that send to it."""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata
from support.broker import START_S, require_broker_tools
from support.children import wait_for
from support.meshes import SMALL, streams_of
from support.produced import NO_SHARES
from support.stores import sql

from deploy.topics_admin import ensure_topics
from schemas.clock import SystemClock, floor_ms, wall_ms
from schemas.codec import encode
from schemas.envelope import Signer
from schemas.mesh import Mesh, parse_mesh, with_probe_keys
from schemas.mesh_rows import mesh_rows
from schemas.records import Record
from schemas.tables import MESH
from schemas.topics import DAY_MS, SUMMARY, TOPICS, TopicSpec
from streams.store import Store, StoreConfig
from streams.worker_config import WorkerConfig

MAIN = Path(__file__).with_name("worker_main.py")
SESSION_TIMEOUT_S = 6.0
PATIENCE_S = 60.0  # two busy cores


@pytest.fixture(scope="session")
def workers_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield a broker with the topics under their real names: only the tests of a worker write to them."""
    require_broker_tools()
    from deploy.embedded.kafka.broker import running_broker
    from deploy.ports import free_port

    home = tmp_path_factory.mktemp("kafka-of-the-worker")
    with running_broker(home, free_port(), free_port(), log_path=home / "kafka.log", deadline_s=START_S) as broker:
        ensure_topics(broker.bootstrap, TOPICS, "embedded")
        yield broker.bootstrap


class Sender:
    """The probes of the small mesh: signs and sends."""

    def __init__(self, producer: KafkaProducer, mesh: Mesh, signers: dict[str, Signer]) -> None:
        self.mesh = mesh
        self._signers = signers
        self._producer = producer

    def send(self, topic: str, record: Record) -> None:
        probe_id = str(getattr(record, "probe_id", ""))
        value = encode(record)
        self.send_raw(topic, probe_id, value, self._signers[probe_id].sign(topic, value))

    def send_raw(self, topic: str, key: str, value: bytes, headers: Sequence[tuple[str, bytes]] = ()) -> None:
        self._producer.send(topic, key=key.encode(), value=value, headers=list(headers))

    def send_all(self, batches: Sequence[Record]) -> None:
        """Send summaries and return when the broker has them all."""
        for batch in batches:
            self.send(SUMMARY.name, batch)
        self.flush()

    def flush(self) -> None:
        self._producer.flush(timeout=20)

    def signer_of(self, probe_id: str) -> Signer:
        return self._signers[probe_id]

    @property
    def streams_of(self) -> Mapping[str, Sequence[int]]:
        return streams_of(self.mesh)


def enrolled(store: Store) -> tuple[Mesh, dict[str, Signer]]:
    """Return the small mesh, in force since 15 days, and who signs for each of its probes."""
    bare = parse_mesh(SMALL, source="small.toml")
    signers = {probe.id: Signer(f"key-{number}", bytes([number + 1]) * 32) for number, probe in enumerate(bare.probes)}
    mesh = with_probe_keys(bare, {probe: [(by.key_id, by.public.hex())] for probe, by in signers.items()})
    since_s = floor_ms(wall_ms(SystemClock()) - 15 * DAY_MS, 60_000) // 1000
    row = mesh_rows(mesh, since_s)["mesh"][0]
    store.insert(MESH, [tuple(row[name] for name in MESH.columns)])
    return mesh, signers


@pytest.fixture
def sender(workers_broker: str, store: Store) -> Iterator[Sender]:
    """Yield the probes, enrolled in a mesh."""
    mesh, signers = enrolled(store)
    producer = KafkaProducer(bootstrap_servers=workers_broker, acks="all", linger_ms=5)
    yield Sender(producer, mesh, signers)
    producer.close(timeout=5)


@pytest.fixture
def config(workers_broker: str, store_config: StoreConfig, tmp_path: Path) -> WorkerConfig:
    """Return a worker of a group of its own that begins where the topics end now."""
    group = f"test-{tmp_path.name}"
    begin_at_the_ends(workers_broker, group)
    return WorkerConfig(
        bootstrap=workers_broker,
        group=group,
        store=store_config,
        session_timeout_s=SESSION_TIMEOUT_S,
        batch_messages=20,
        times_plan=NO_SHARES,
    )


def parts_of(consumer: KafkaConsumer, specs: Sequence[TopicSpec]) -> list[TopicPartition]:
    """Return every partition of some topics."""
    return [TopicPartition(spec.name, number) for spec in specs for number in consumer.partitions_for_topic(spec.name)]


def begin_at_the_ends(bootstrap: str, group: str) -> None:
    """Let a group begin where the topics end now."""
    with closing(KafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)) as consumer:
        parts = parts_of(consumer, TOPICS)
        consumer.assign(parts)
        consumer.commit({part: OffsetAndMetadata(end, "", -1) for part, end in consumer.end_offsets(parts).items()})


def forget_what_was_sent(bootstrap: str) -> None:
    """Let the broker delete all that its summary topic holds, as retention does."""
    with closing(KafkaConsumer(bootstrap_servers=bootstrap)) as consumer:
        ends = consumer.end_offsets(parts_of(consumer, [SUMMARY]))
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        admin.delete_records({part: end for part, end in ends.items() if end > 0})


@contextmanager
def worker(config: WorkerConfig, home: Path, *mine: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker while the block lasts; end it by SIGTERM, then by force. `mine` names where it kills itself."""
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


def logs(home: Path) -> str:
    """Return the last words of every worker."""
    return "\n".join(path.read_text()[-2000:] for path in sorted(home.glob("worker-*.log")))


def await_fates(config: WorkerConfig, count: int, deadline_s: float = PATIENCE_S) -> None:
    """Return when the ledger names a fate for so many messages."""
    wait_for(f"{count} fates in the ledger", lambda: fates(config) == count, deadline_s, every_s=0.1)


def await_no_lag(config: WorkerConfig) -> None:
    """Return when the group has committed all that it was sent."""
    wait_for("no lag", lambda: lag(config) == 0, PATIENCE_S, every_s=0.1)


def fates(config: WorkerConfig, *, from_seq: int = 0) -> int:
    """Return how many messages, those before a seq left out, have a fate in the ledger."""
    query = "SELECT count() FROM (SELECT DISTINCT topic, probe_id, spool_id, seq FROM batch WHERE seq >= %(from_seq)s)"
    with sql(config.store) as run:
        return int(run(query, {"from_seq": from_seq})[0][0])


def lag(config: WorkerConfig) -> int:
    """Return how many messages of the summary topic the group has not committed."""
    at = {"bootstrap_servers": config.bootstrap, "group_id": config.group, "enable_auto_commit": False}
    with closing(KafkaConsumer(**at)) as consumer:
        parts = parts_of(consumer, [SUMMARY])
        consumer.assign(parts)
        return int(sum(end - (consumer.committed(part) or 0) for part, end in consumer.end_offsets(parts).items()))
