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
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

import aiokafka  # type: ignore[import-untyped]  # Faust's client, without types
import faust
import msgspec
import structlog
from aiokafka.errors import KafkaError  # type: ignore[import-untyped]  # same
from faust.tables.manager import TableManager

from schemas.clock import Clock, SystemClock
from schemas.kafka_access import check_access
from schemas.topics import TOPICS
from streams.ahead import Ahead
from streams.flush import FlushReport, store_judged
from streams.heap import give_back_freed
from streams.intake import EXIT_HOLE, EXIT_UNKNOWN, Intake
from streams.judge import Judge, Judged
from streams.kafka_login import password, ssl_context
from streams.messages import RawMessage
from streams.positions import HoleError, Stall, Standing, hole_error, holes
from streams.preflight import await_offsets, await_store, open_reader, standings
from streams.registry import Registry
from streams.share import Shares
from streams.store import Store, open_store
from streams.unpack import bound_fetches
from streams.worker_config import WorkerConfig

WATCH_DEADLINE_S: Final = 5.0  # for the broker to say where the group stands
NEVER_S: Final = 86_400.0  # a store that is down for an hour must not cost the partitions

log = structlog.get_logger(__name__)


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
    bound_fetches()
    give_back_freed()
    check_access(config.access, config.servers)
    await_store(config, used)
    try:
        asyncio.run(await_offsets(config))
    except HoleError as err:
        die(EXIT_HOLE, str(err))
    worker = _Worker(config.stop_s, make_app(config, used, at=at), loglevel="WARN", redirect_stdouts=False, quiet=True)
    worker.execute_from_commandline()
    raise SystemExit(EXIT_UNKNOWN)  # it leaves by SystemExit itself


def make_app(config: WorkerConfig, clock: Clock, *, at: Callable[[str], None] = lambda _: None) -> faust.App:
    """Return the app; it connects to nothing before it is started."""
    app = faust.App(
        config.group,
        broker=[f"kafka://{server}" for server in config.servers],
        broker_credentials=_credentials(config),
        TableManager=_NoTables,
        datadir=Path(tempfile.gettempdir()) / f"isochrone-worker-{os.getuid()}",  # Faust makes it; nothing is in it
        store="memory://",
        key_serializer="raw",
        value_serializer="raw",
        web_enabled=False,
        topic_allow_declare=False,  # topics are made by their spec, not by a guess
        topic_disable_leader=True,
        consumer_auto_offset_reset="none" if config.on_hole == "stop" else "earliest",
        consumer_max_fetch_size=config.fetch_max_bytes,
        stream_buffer_maxsize=64,
        stream_wait_empty=False,
        broker_commit_interval=0.5,
        broker_session_timeout=config.session_timeout_s,
        broker_heartbeat_interval=min(1.0, config.session_timeout_s / 6),
        broker_request_timeout=max(10.0, config.session_timeout_s),
        broker_rebalance_timeout=10.0,
        broker_max_poll_interval=NEVER_S,
        broker_max_poll_records=config.batch_messages,
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


class _NoTables(TableManager):  # type: ignore[misc]  # Faust without types
    """Faust's keeper of tables, which waits a second for them before partitions are asked for: there are none."""

    async def sleep(self, _seconds: object) -> None:
        """Let the others go on."""
        await asyncio.sleep(0)


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
            shares = Shares(self._config.times_plan)
            self._judge = Judge(self._opened(), registry, self._clock, shares=shares)
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

    async def read_ahead() -> None:
        reading = partial(open_reader, config)
        await Ahead(reading, app.consumer.assignment, intake, batch=config.batch_messages).run()

    app.on_partitions_revoked.connect(forget, weak=False)
    app.on_partitions_assigned.connect(forget, weak=False)
    app.task(flush)
    app.task(watch)
    app.task(read_ahead)


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
    async with open_reader(config, parts) as consumer:
        return await standings(consumer, parts)


def _credentials(config: WorkerConfig) -> Any:  # noqa: ANN401 - Faust's own
    """Return encryption and login for Faust, which hands them to aiokafka."""
    access, context = config.access, ssl_context(config.access)
    if access.is_sasl:
        name, secret = access.sasl_username, password(access)
        return faust.SASLCredentials(
            username=name, password=secret, ssl_context=context, mechanism=access.sasl_mechanism
        )
    return faust.SSLCredentials(context) if context is not None else None
