"""The one door to Faust: topics in, acknowledgements out. No tables, no windows, no web; Faust only moves bytes.

Events are taken without automatic acknowledgement, because Faust would acknowledge also what an exception or a shutdown
kept from being stored. See `intake` for the promise and `flush` for the work.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Literal, NoReturn

import aiokafka  # type: ignore[import-untyped]  # Faust's client, without types
import faust
import msgspec
import structlog
from aiokafka.admin import AIOKafkaAdminClient  # type: ignore[import-untyped]  # same
from aiokafka.errors import KafkaError  # type: ignore[import-untyped]  # same

from schemas.clock import Clock, SystemClock
from schemas.errors import StoreTransientError, UnavailableError
from schemas.topics import TOPICS
from streams.flush import Flusher, FlushReport
from streams.intake import EXIT_UNKNOWN, Intake
from streams.messages import RawMessage
from streams.migrate import check_migrated
from streams.registry import Registry
from streams.store import StoreConfig, open_store

NEVER_S: Final = 86_400.0  # a store that is down for an hour must not cost the partitions

log = structlog.get_logger(__name__)


class WorkerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A worker: which broker, which store, how eager."""

    bootstrap: str = "127.0.0.1:9092"  # host:port, several with commas
    group: str = "isochrone-fold"
    store: StoreConfig = StoreConfig()
    batch_messages: int = 200  # a flush; more only adds to what a kill repeats
    gather_s: float = 0.2  # the messages of one slot come together; readable within a second
    membership_refresh_s: float = 5.0
    report_every_s: float = 10.0
    session_timeout_s: float = 6.0  # a killed worker's partitions move after it
    start_deadline_s: float = 60.0  # for broker and store to answer at the start
    fetch_max_bytes: int = 8 * 1024 * 1024  # the default of 1 MiB more than halves the rate
    on_hole: Literal["stop", "continue"] = "stop"  # when the broker has deleted what was not read yet


def run_worker(
    config: WorkerConfig, *, clock: Clock | None = None, at: Callable[[str], None] = lambda _: None
) -> NoReturn:
    """Run until a signal; leaves the process by SystemExit, or at once when the store answers the unforeseen.

    Args:
        config: see there.
        clock: the host's by default.
        at: called at the named points of each flush, for tests that end the process there.

    Raises:
        UnavailableError: broker or store did not answer by the deadline, or is not as relied on.
        SystemExit: after a signal, with the code.
    """
    used = clock if clock is not None else SystemClock()
    _await_store(config, used)
    asyncio.run(_await_offsets(config))
    worker = faust.Worker(make_app(config, used, at=at), loglevel="WARN", redirect_stdouts=False, quiet=True)
    worker.execute_from_commandline()
    raise SystemExit(EXIT_UNKNOWN)  # it leaves by SystemExit itself


def make_app(config: WorkerConfig, clock: Clock, *, at: Callable[[str], None] = lambda _: None) -> faust.App:
    """Return the app; it connects to nothing before it is started."""
    app = faust.App(
        config.group,
        broker=[f"kafka://{server}" for server in _servers(config)],
        datadir=Path(tempfile.gettempdir()) / f"isochrone-worker-{os.getuid()}",  # Faust makes it; nothing is in it
        store="memory://",
        key_serializer="raw",
        value_serializer="raw",
        web_enabled=False,
        topic_allow_declare=False,  # topics are made by their spec, not by a guess
        topic_disable_leader=True,
        consumer_auto_offset_reset="none" if config.on_hole == "stop" else "earliest",
        consumer_max_fetch_size=config.fetch_max_bytes,
        stream_buffer_maxsize=256,
        stream_wait_empty=False,
        broker_commit_interval=0.5,
        broker_session_timeout=config.session_timeout_s,
        broker_heartbeat_interval=min(1.0, config.session_timeout_s / 6),
        broker_request_timeout=max(10.0, config.session_timeout_s),
        broker_rebalance_timeout=10.0,
        broker_max_poll_interval=NEVER_S,
        worker_redirect_stdouts=False,
    )
    keeper, executor = _Keeper(config, clock, at), ThreadPoolExecutor(1, thread_name_prefix="store")
    intake = Intake(keeper.flush, executor, clock, batch=config.batch_messages, fatal=die)
    for spec in TOPICS:
        _add_agent(app, spec.name, intake)
    _add_tasks(app, config, intake)
    return app


def raw_message(message: Any) -> RawMessage:  # noqa: ANN401 - Faust's own
    """Return what Faust took off a topic as the pipeline knows it."""
    return RawMessage(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        key=message.key if message.key is not None else b"",
        value=message.value if message.value is not None else b"",
        headers=tuple((name, value if value is not None else b"") for name, value in message.headers or ()),
        received_ms=round(message.timestamp * 1000),
    )


def die(code: int, text: str) -> NoReturn:
    """End the process now: nothing that is not stored may be acknowledged by an orderly shutdown."""
    log.critical("worker stops", exit_code=code, error=text)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class _Keeper:
    """The store and the flusher of the one thread that runs them; made there, at the first flush."""

    def __init__(self, config: WorkerConfig, clock: Clock, at: Callable[[str], None]) -> None:
        self._config = config
        self._clock = clock
        self._at = at
        self._flusher: Flusher | None = None
        self._open = ExitStack()

    def flush(self, messages: Sequence[RawMessage]) -> FlushReport:
        if self._flusher is None:
            store = self._open.enter_context(open_store(self._config.store))
            registry = Registry(self._clock, refresh_s=self._config.membership_refresh_s)
            self._flusher = Flusher(store, registry, self._clock, at=self._at)
        return self._flusher.flush(messages)


def _add_agent(app: faust.App, name: str, intake: Intake) -> None:
    topic = app.topic(name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

    async def take(stream: Any) -> None:  # noqa: ANN401 - Faust's own
        async for event in stream.noack().events():
            await intake.put(event, raw_message(event.message))

    app.agent(topic, name=f"take-{name}")(take)


def _add_tasks(app: faust.App, config: WorkerConfig, intake: Intake) -> None:
    async def forget(*_: object, **__: object) -> None:
        await intake.forget()

    async def flush() -> None:
        await intake.run(config.gather_s)

    async def report() -> None:
        while True:
            await asyncio.sleep(config.report_every_s)
            log.info("worker counters", **msgspec.structs.asdict(intake.counters))

    app.on_partitions_revoked.connect(forget, weak=False)
    app.on_partitions_assigned.connect(forget, weak=False)
    app.task(flush)
    app.task(report)


def _await_store(config: WorkerConfig, clock: Clock) -> None:
    """Return when the store answers and is as relied on."""
    deadline_ns = clock.mono_ns() + round(config.start_deadline_s * 1e9)
    with open_store(config.store) as store:
        while True:
            try:
                check_migrated(store)
            except StoreTransientError as err:
                if clock.mono_ns() > deadline_ns:
                    raise UnavailableError(f"waited {config.start_deadline_s} s for the store: {err}") from err
                clock.sleep_s(0.5)
            else:
                return


async def _await_offsets(config: WorkerConfig) -> None:
    try:
        await asyncio.wait_for(_retry_offsets(config), config.start_deadline_s)
    except TimeoutError as err:
        raise UnavailableError(f"waited {config.start_deadline_s} s for Kafka at {config.bootstrap}") from err


async def _retry_offsets(config: WorkerConfig) -> None:
    while True:
        try:
            await _place_offsets(config, await _partitions(config))
        except KafkaError as err:
            log.warning("kafka away", bootstrap=config.bootstrap, error=f"{type(err).__name__}: {err}")
            await asyncio.sleep(0.5)
        else:
            return


async def _partitions(config: WorkerConfig) -> list[Any]:
    """Return every partition of every topic."""
    admin = AIOKafkaAdminClient(bootstrap_servers=_servers(config))
    try:
        await admin.start()
        found = await admin.describe_topics([spec.name for spec in TOPICS])
    finally:
        await admin.close()
    absent = [topic["topic"] for topic in found if topic["error_code"] != 0]
    if absent:
        raise UnavailableError(f"no topic {', '.join(absent)} at {config.bootstrap}; `isochrone up` makes them")
    return [
        aiokafka.TopicPartition(topic["topic"], part["partition"]) for topic in found for part in topic["partitions"]
    ]


async def _place_offsets(config: WorkerConfig, parts: Sequence[Any]) -> None:
    """Give a new group its first position, and find what the broker deleted before this group read it.

    Left to itself a client jumps over such a hole without a word.
    """
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=_servers(config), group_id=config.group, enable_auto_commit=False
    )
    try:
        await consumer.start()
        consumer.assign(parts)
        first = await consumer.beginning_offsets(parts)
        committed = {part: await consumer.committed(part) for part in parts}
        holes = [part for part in parts if committed[part] is not None and committed[part] < first[part]]
        for part in holes:
            log.error("messages deleted unread", partition=str(part), read=committed[part], kept=first[part])
        if holes and config.on_hole == "stop":
            raise UnavailableError(
                f"{len(holes)} partitions lost messages to retention before {config.group} read them; `isochrone"
                ' reconcile` names them, on_hole = "continue" goes on behind the hole'
            )
        placed = {part: first[part] for part in parts if committed[part] is None or part in holes}
        if placed:
            await consumer.commit(placed)
            log.info("first position set", group=config.group, partitions=len(placed))
    finally:
        await consumer.stop()


def _servers(config: WorkerConfig) -> list[str]:
    return [server.strip() for server in config.bootstrap.split(",")]
