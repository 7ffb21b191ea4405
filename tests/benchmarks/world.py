"""What the benches of the pipeline run on: a real broker, a real engine, topics filled by the probes of a mesh.

The broker and the engine run on the other cores, so that what is measured has one for itself.
"""

import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import msgspec
from benchmarks.national import National, Sent
from benchmarks.usage import first_core, on_cores, other_cores, usage
from clickhouse_driver import Client
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata
from support.engine import READER, WRITER
from support.produced import NO_SHARES

from deploy.child import end, last_lines, spawn
from deploy.embedded.clickhouse.launch import running_server
from deploy.embedded.kafka.broker import running_broker
from deploy.ports import free_port
from deploy.topics_admin import ensure_topics
from schemas.clock import SystemClock, floor_ms, wall_ms
from schemas.mesh import Mesh
from schemas.mesh_rows import mesh_rows
from schemas.tables import MESH
from schemas.topics import SUMMARY, TOPICS
from streams.migrate import migrate
from streams.store import StoreConfig, open_store
from streams.worker_config import WorkerConfig

START_S: Final = 60.0
END_S: Final = 20.0
POLL_S: Final = 0.25
STUCK_S: Final = 30.0
SESSION_TIMEOUT_S: Final = 6.0
_WORKER: Final = Path(__file__).parents[1] / "support" / "worker_main.py"
_DAY_MS: Final = 86_400_000

CLOCK: Final = SystemClock()


@dataclass(frozen=True, kw_only=True)
class World:
    """The services of one run."""

    home: Path
    bootstrap: str
    broker_pid: int
    engine_port: int
    engine_pid: int


class Backlog(NamedTuple):
    """A filled topic, and the services around it."""

    world: World
    mesh: National
    summaries: int


@contextmanager
def running_world() -> Iterator[World]:
    """Run a broker with the topics, and an engine, in a folder that is removed at the end."""
    with TemporaryDirectory(prefix="isochrone-bench-") as folder, on_cores(other_cores()):
        home = Path(folder)
        users = (WRITER, READER)
        engine_log, broker_log = home / "engine.log", home / "kafka.log"
        with (
            running_server(home / "engine", free_port(), users, log_path=engine_log, deadline_s=START_S) as engine,
            running_broker(home / "kafka", free_port(), free_port(), log_path=broker_log, deadline_s=START_S) as broker,
        ):
            ensure_topics(broker.bootstrap, TOPICS, "embedded")
            yield World(
                home=home,
                bootstrap=broker.bootstrap,
                broker_pid=broker.pid,
                engine_port=engine.port,
                engine_pid=engine.pid,
            )


def fresh_database(world: World, mesh: Mesh) -> StoreConfig:
    """Return a migrated database of its own in which the mesh is in force since before all that is taken."""
    config = StoreConfig(
        port=world.engine_port,
        user=WRITER.name,
        password=WRITER.password or "",
        database=f"bench_{uuid.uuid4().hex[:12]}",
        read_timeout_s=30.0,
    )
    migrate(config, profile="embedded", clock=CLOCK)
    since_s = floor_ms(wall_ms(CLOCK) - 15 * _DAY_MS, 60_000) // 1000
    row = mesh_rows(mesh, since_s)["mesh"][0]
    with open_store(config) as store:
        store.insert(MESH, [tuple(row[name] for name in MESH.columns)])
    return config


def worker_config(world: World, store: StoreConfig, **fields: Any) -> WorkerConfig:  # noqa: ANN401 - the config's own
    """Return a worker of a group of its own: a new group begins at the beginning of the topics."""
    group = f"bench-{uuid.uuid4().hex[:8]}"
    named: dict[str, Any] = {"session_timeout_s": SESSION_TIMEOUT_S, "times_plan": NO_SHARES} | fields
    return WorkerConfig(bootstrap=world.bootstrap, group=group, store=store, **named)


def begin_at_the_end(config: WorkerConfig) -> None:
    """Let a group begin where the topics end now."""
    consumer = KafkaConsumer(bootstrap_servers=config.bootstrap, group_id=config.group, enable_auto_commit=False)
    try:
        parts = [TopicPartition(spec.name, n) for spec in TOPICS for n in consumer.partitions_for_topic(spec.name)]
        consumer.assign(parts)
        consumer.commit({part: OffsetAndMetadata(end, "", -1) for part, end in consumer.end_offsets(parts).items()})
    finally:
        consumer.close()


class Child(NamedTuple):
    """A process that is measured."""

    process: subprocess.Popen[bytes]
    log_path: Path

    @property
    def pid(self) -> int:
        """Return its number."""
        return self.process.pid

    def check(self) -> None:
        """Return while it runs.

        Raises:
            ChildProcessError: it has ended; the text holds its last lines.
        """
        if self.process.poll() is not None:
            raise ChildProcessError(f"it ended with {self.process.returncode}: {last_lines(self.log_path)}")


@contextmanager
def running_worker(config: WorkerConfig, home: Path) -> Iterator[Child]:
    """Run a worker on the first core while the block lasts; end it by SIGTERM, then by force."""
    path = home / f"worker-{uuid.uuid4().hex[:8]}.json"
    path.write_bytes(msgspec.json.encode(config))
    with running_child([sys.executable, str(_WORKER), str(path)], path.with_suffix(".log")) as worker:
        yield worker


@contextmanager
def running_child(command: Sequence[str], log_path: Path, *, imports: Path | None = None) -> Iterator[Child]:
    """Run what is measured on the first core while the block lasts; end it by SIGTERM, then by force."""
    env = {} if imports is None else {"PYTHONPATH": str(imports)}
    with on_cores(first_core()):
        process = spawn(command, env=env, log_path=log_path)
    try:
        yield Child(process, log_path)
    finally:
        end(process, deadline_s=END_S, clock=CLOCK)


class Sender:
    """Brings messages to the topic; what the broker answers can be asked for."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = KafkaProducer(
            bootstrap_servers=bootstrap, acks="all", linger_ms=5, compression_type="zstd", max_request_size=2_097_152
        )

    def __enter__(self) -> "Sender":
        return self

    def __exit__(self, *error: object) -> None:
        self._producer.close(timeout=5)

    def send(self, message: Sent) -> Any:  # noqa: ANN401 - the client's own future
        """Return the future of a message that is on its way."""
        key = message.probe_id.encode()
        return self._producer.send(SUMMARY.name, key=key, value=message.value, headers=message.headers)

    def flush(self) -> None:
        """Return when all is acknowledged; raises KafkaTimeoutError after a minute."""
        self._producer.flush(timeout=60)


def fill(world: World, mesh: National, *, slots: int, until_ms: int) -> int:
    """Send the slots that end at `until_ms`, oldest first; return how many summaries they hold."""
    sent = 0
    with Sender(world.bootstrap) as sender:
        for seq in range(slots):
            slot_ms = floor_ms(until_ms, 10_000) - (slots - seq) * 10_000
            for message in mesh.slot(slot_ms, seq):
                sender.send(message)
                sent += message.streams
            if seq % 20 == 0:
                sender.flush()  # the client has no bound of its own
        sender.flush()
    return sent


@contextmanager
def asking(config: StoreConfig) -> Iterator[Client]:
    """Yield a client on the database of a run."""
    client = Client(config.host, port=config.port, user=config.user, password=config.password, database=config.database)
    try:
        yield client
    finally:
        client.disconnect()


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """A backlog passing through a consumer: from the first stored to the last, as seen by polling."""

    summaries: int
    seconds: float
    consumer_cpu_s: float
    consumer_peak_bytes: int
    broker_cpu_s: float
    engine_cpu_s: float
    begun_after_s: float  # from exec to the first stored

    @property
    def per_s(self) -> float:
        """Return summaries a second."""
        return self.summaries / self.seconds

    @property
    def cpu_s_per_million(self) -> float:
        """Return the consumer's CPU seconds for a million summaries."""
        return self.consumer_cpu_s / self.summaries * 1e6


def watch_passage(world: World, store: StoreConfig, child: Child, *, summaries: int) -> Passage:
    """Return how the backlog passed, once `summaries` are stored.

    Raises:
        ChildProcessError: the consumer ended.
        TimeoutError: it stored nothing more for 30 s, or all between two looks.
    """
    started_ns = CLOCK.mono_ns()
    with asking(store) as client:
        last = _look(world, client, child.pid)
        begun: _Look | None = None
        while last.stored < summaries:
            CLOCK.sleep_s(POLL_S)
            child.check()
            now = _look(world, client, child.pid)
            if now.stored == last.stored and now.at_ns - last.at_ns > STUCK_S * 1e9:
                raise TimeoutError(f"{now.stored} of {summaries} stored, none for {STUCK_S:g} s")
            if now.stored > last.stored:
                last, begun = now, now if begun is None else begun
    if begun is None or begun is last:
        raise TimeoutError("all was stored between two looks: the backlog is too small to measure")
    return Passage(
        summaries=last.stored - begun.stored,
        seconds=(last.at_ns - begun.at_ns) / 1e9,
        consumer_cpu_s=last.consumer_cpu_s - begun.consumer_cpu_s,
        consumer_peak_bytes=last.peak_bytes,
        broker_cpu_s=last.broker_cpu_s - begun.broker_cpu_s,
        engine_cpu_s=last.engine_cpu_s - begun.engine_cpu_s,
        begun_after_s=(begun.at_ns - started_ns) / 1e9,
    )


class _Look(msgspec.Struct, frozen=True, kw_only=True):
    at_ns: int
    stored: int
    consumer_cpu_s: float
    peak_bytes: int
    broker_cpu_s: float
    engine_cpu_s: float


def _look(world: World, client: Client, pid: int) -> _Look:
    stored = int(client.execute("SELECT sum(stored) FROM batch_latest")[0][0])
    at_ns, own = CLOCK.mono_ns(), usage(pid)
    return _Look(
        at_ns=at_ns,
        stored=stored,
        consumer_cpu_s=own.cpu_s,
        peak_bytes=own.peak_bytes,
        broker_cpu_s=usage(world.broker_pid).cpu_s,
        engine_cpu_s=usage(world.engine_pid).cpu_s,
    )
