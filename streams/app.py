"""The one door to Faust: topics in, acknowledgements out. No tables, no windows, no web; Faust only moves bytes.

Events are taken without automatic acknowledgement, because Faust would acknowledge also what an exception or a shutdown
kept from being stored. See `intake` for the promise and `flush` for the work.
"""

import asyncio
import os
import signal
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
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
from schemas.kafka_access import KafkaAccess, check_access
from schemas.topics import TOPICS
from streams.flush import FlushReport, store_judged
from streams.intake import EXIT_HOLE, EXIT_UNKNOWN, Intake
from streams.judge import Judge, Judged
from streams.kafka_login import client_settings, password, ssl_context
from streams.messages import RawMessage
from streams.migrate import check_migrated
from streams.positions import HoleError, Stall, Standing, forgotten_topics, hole_error, holes
from streams.registry import Registry
from streams.store import Store, StoreConfig, open_store

WATCH_DEADLINE_S: Final = 5.0  # for the broker to say where the group stands
NEVER_S: Final = 86_400.0  # a store that is down for an hour must not cost the partitions

log = structlog.get_logger(__name__)


class WorkerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A worker: which broker, which store, how eager."""

    bootstrap: str = "127.0.0.1:9092"  # host:port, several with commas
    access: KafkaAccess = KafkaAccess()
    group: str = "isochrone-fold"
    store: StoreConfig = StoreConfig()
    batch_messages: int = 300  # a flush: more read back and fold less often, and hold more memory
    gather_s: float = 0.2  # the messages of one slot come together; readable within a second
    membership_refresh_s: float = 5.0
    report_every_s: float = 10.0
    session_timeout_s: float = 6.0  # a killed worker's partitions move after it
    start_deadline_s: float = 60.0  # for broker and store to answer at the start
    fetch_max_bytes: int = 8 * 1024 * 1024  # the default of 1 MiB more than halves the rate
    stop_s: float = 6.0  # after a signal, whatever the store does; supervisors kill after 10 s
    least_replicas: int = 1  # of each topic; 3 in production
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
        UnavailableError: broker or store did not answer by the deadline, or is not as relied on. A hole in the topics
            ends the process at once, with `EXIT_HOLE`.
        SystemExit: after a signal, with the code.
    """
    used = clock if clock is not None else SystemClock()
    check_access(config.access, _servers(config))
    _await_store(config, used)
    try:
        asyncio.run(_await_offsets(config))
    except HoleError as err:
        die(EXIT_HOLE, str(err))
    worker = _Worker(config.stop_s, make_app(config, used, at=at), loglevel="WARN", redirect_stdouts=False, quiet=True)
    worker.execute_from_commandline()
    raise SystemExit(EXIT_UNKNOWN)  # it leaves by SystemExit itself


def make_app(config: WorkerConfig, clock: Clock, *, at: Callable[[str], None] = lambda _: None) -> faust.App:
    """Return the app; it connects to nothing before it is started."""
    app = faust.App(
        config.group,
        broker=[f"kafka://{server}" for server in _servers(config)],
        broker_credentials=_credentials(config),
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
    keeper = _Keeper(config, clock, at)
    executors = ThreadPoolExecutor(1, thread_name_prefix="judge"), ThreadPoolExecutor(1, thread_name_prefix="store")
    intake = Intake(keeper.judge, keeper.store, executors, clock, batch=config.batch_messages, fatal=die)
    for spec in TOPICS:
        _add_agent(app, spec.name, intake)
    _add_tasks(app, config, intake, clock)
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


def _end_now() -> NoReturn:
    """End a stop that takes too long; what is not stored is not acknowledged, and is read again."""
    log.warning("stop cut short, the store does not answer")
    sys.stdout.flush()
    os._exit(0)


class _Worker(faust.Worker):  # type: ignore[misc]  # Faust without types
    """Faust's worker, which would wait at a stop for a store that does not answer."""

    def __init__(self, stop_s: float, app: faust.App, **options: Any) -> None:  # noqa: ANN401 - Faust's own
        super().__init__(app, **options)
        self._stop_s = stop_s

    def _schedule_shutdown(self, signum: signal.Signals) -> None:
        timer = threading.Timer(self._stop_s, _end_now)
        timer.daemon = True
        timer.start()
        super()._schedule_shutdown(signum)


class _Keeper:
    """A store for each of the two threads, and the judge; each is made by the thread that uses it."""

    def __init__(self, config: WorkerConfig, clock: Clock, at: Callable[[str], None]) -> None:
        self._config = config
        self._clock = clock
        self._at = at
        self._judge: Judge | None = None
        self._store: Store | None = None
        self._open = ExitStack()

    def judge(self, messages: Sequence[RawMessage]) -> Judged:
        if self._judge is None:
            registry = Registry(self._clock, refresh_s=self._config.membership_refresh_s)
            self._judge = Judge(self._opened(), registry, self._clock)
        return self._judge.judge(messages)

    def store(self, judged: Judged) -> FlushReport:
        if self._store is None:
            self._store = self._opened()
        return store_judged(self._store, judged, at=self._at)

    def _opened(self) -> Store:
        return self._open.enter_context(open_store(self._config.store))


def _add_agent(app: faust.App, name: str, intake: Intake[Judged]) -> None:
    topic = app.topic(name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

    async def take(stream: Any) -> None:  # noqa: ANN401 - Faust's own
        async for event in stream.noack().events():
            await intake.put(event, raw_message(event.message))

    app.agent(topic, name=f"take-{name}")(take)


def _add_tasks(app: faust.App, config: WorkerConfig, intake: Intake[Judged], clock: Clock) -> None:
    async def forget(*_: object, **__: object) -> None:
        await intake.forget()

    async def flush() -> None:
        await intake.run(config.gather_s)

    async def watch() -> None:
        await _watch(config, app, intake, clock)

    app.on_partitions_revoked.connect(forget, weak=False)
    app.on_partitions_assigned.connect(forget, weak=False)
    app.task(flush)
    app.task(watch)


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
    """Return every partition of every topic; refuse topics that are absent or kept too few times."""
    admin = AIOKafkaAdminClient(bootstrap_servers=_servers(config), **client_settings(config.access))
    try:
        await admin.start()
        found = await admin.describe_topics([spec.name for spec in TOPICS])
    finally:
        await admin.close()
    absent = [topic["topic"] for topic in found if topic["error_code"] != 0]
    if absent:
        raise UnavailableError(f"no topic {', '.join(absent)} at {config.bootstrap}; `isochrone up` makes them")
    copies = {topic["topic"]: min(len(part["replicas"]) for part in topic["partitions"]) for topic in found}
    few = [f"{name} ({count})" for name, count in copies.items() if count < config.least_replicas]
    if few:
        raise UnavailableError(
            f"topics with fewer than {config.least_replicas} replicas at {config.bootstrap}: {', '.join(few)};"
            " reassign them with kafka-reassign-partitions.sh"
        )
    return [
        aiokafka.TopicPartition(topic["topic"], part["partition"]) for topic in found for part in topic["partitions"]
    ]


async def _place_offsets(config: WorkerConfig, parts: Sequence[Any]) -> None:
    """Give a new group its first position, and find what the broker deleted before this group read it."""
    async with _reader(config, parts) as consumer:
        found = await _standings(consumer, parts)
        lost = holes(found)
        if lost and config.on_hole == "stop":
            raise hole_error(config.group, lost)
        for name, text in lost.items():
            log.error("goes on behind a hole", partition=name, hole=text)
        first = {part: found[_name(part)].first for part in parts}
        for topic in forgotten_topics(found):
            log.error(
                "topic without a position in a group that has others: made anew?", topic=topic, group=config.group
            )
        placed = {part: first[part] for part in parts if found[_name(part)].committed is None or _name(part) in lost}
        if placed:
            await consumer.commit(placed)
            log.info("first position set", group=config.group, partitions=len(placed))


@asynccontextmanager
async def _reader(config: WorkerConfig, parts: Sequence[Any]) -> AsyncIterator[Any]:
    """Yield a consumer that knows the group and is no member of it."""
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=_servers(config),
        group_id=config.group,
        enable_auto_commit=False,
        **client_settings(config.access),
    )
    try:
        await consumer.start()
        consumer.assign(parts)
        yield consumer
    finally:
        await consumer.stop()


async def _standings(consumer: Any, parts: Sequence[Any]) -> dict[str, Standing]:  # noqa: ANN401 - aiokafka's own
    first, committed = await consumer.beginning_offsets(parts), {}
    for part in parts:
        committed[part] = await consumer.committed(part)
    end = await consumer.end_offsets(parts)
    return {_name(part): Standing(committed[part], first[part], end[part]) for part in parts}


def _name(part: Any) -> str:  # noqa: ANN401 - a partition of aiokafka or of Faust
    return f"{part.topic} {part.partition}"


async def _watch(config: WorkerConfig, app: faust.App, intake: Intake[Judged], clock: Clock) -> NoReturn:
    """Report for ever how far this worker is behind; end it where a hole opened under it or it does not move."""
    stall = Stall()
    while True:
        await asyncio.sleep(config.report_every_s)
        try:
            found = await asyncio.wait_for(_own_standings(config, app), WATCH_DEADLINE_S)
        except (KafkaError, TimeoutError) as err:
            log.warning("kafka away", bootstrap=config.bootstrap, error=f"{type(err).__name__}: {err}")
            found = {}
        intake.counters.lag = sum(each.lag for each in found.values())
        intake.note_age()
        log.info("worker counters", **msgspec.structs.asdict(intake.counters))
        lost = holes(found)
        if lost and config.on_hole == "stop":
            die(EXIT_HOLE, str(hole_error(config.group, lost)))
        if stall.is_stalled(found, may_move=intake.counters.paused_ms == 0, now_ns=clock.mono_ns()):
            die(EXIT_UNKNOWN, f"{intake.counters.lag} messages wait and none was read for a minute; it begins again")


async def _own_standings(config: WorkerConfig, app: faust.App) -> dict[str, Standing]:
    parts = [aiokafka.TopicPartition(part.topic, part.partition) for part in app.consumer.assignment()]
    if not parts:
        return {}
    async with _reader(config, parts) as consumer:
        return await _standings(consumer, parts)


def _servers(config: WorkerConfig) -> list[str]:
    return [server.strip() for server in config.bootstrap.split(",")]


def _credentials(config: WorkerConfig) -> Any:  # noqa: ANN401 - Faust's own
    """Return encryption and login for Faust, which hands them to aiokafka."""
    access, context = config.access, ssl_context(config.access)
    if access.is_sasl:
        name, secret = access.sasl_username, password(access)
        return faust.SASLCredentials(
            username=name, password=secret, ssl_context=context, mechanism=access.sasl_mechanism
        )
    return faust.SSLCredentials(context) if context is not None else None
