"""A store that refuses, stalls or is gone: messages wait, nothing is quarantined, and the tables come out right.

The faults are made between worker and engine; intake, flush and tables are the real ones.
"""

import asyncio
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import NamedTuple, NoReturn

import msgspec
import pytest
from structlog.testing import capture_logs
from support.plain_fold import fold_plainly
from support.produced import messages_of, produce, slots_of
from support.store_proxy import StoreProxy, store_proxy
from support.stores import FixedRegistry, sql, windows

from deploy.ports import free_port
from schemas.clock import SystemClock, floor_ms, wall_ms
from schemas.errors import StoreTransientError
from schemas.records import SummaryBatch
from streams import intake as intake_module
from streams.flush import Flusher
from streams.intake import Counters, Intake
from streams.messages import RawMessage
from streams.store import StoreConfig, open_store
from streams.store_errors import AWAY

pytestmark = [pytest.mark.needs_engine, pytest.mark.timeout(60)]
CLOCK = SystemClock()
TRIES = 4  # before a fault is over


class Worker:
    """Intake and flush over a store that a test reaches into."""

    def __init__(self, config: StoreConfig) -> None:
        self.acked: list[int] = []
        self.counters = Counters()
        self._config = config

    def work(self, messages: Sequence[RawMessage], mend: Callable[[], object], *, tries: int = TRIES) -> None:
        """Store all messages; the fault is mended after some tries, of which none may acknowledge anything."""
        asyncio.run(asyncio.wait_for(self._run(messages, mend, tries), 30))

    async def _run(self, messages: Sequence[RawMessage], mend: Callable[[], object], tries: int) -> None:
        with ThreadPoolExecutor(1) as executor, open_store(self._config) as store:
            flusher = Flusher(store, FixedRegistry(), CLOCK)
            intake = Intake(tuple, flusher.flush, (executor, executor), CLOCK, batch=500, fatal=_die)
            for message in messages:
                await intake.put(_Event(message.offset, self.acked), message)
            flush = asyncio.create_task(intake.flush())
            while intake.counters.retries < tries:
                assert self.acked == []
                await asyncio.sleep(0.01)
            mend()
            await flush
            self.counters = intake.counters


class _Event:
    def __init__(self, offset: int, acked: list[int]) -> None:
        self._offset = offset
        self._acked = acked

    def ack(self) -> None:
        self._acked.append(self._offset)


def _die(code: int, text: str) -> NoReturn:
    raise AssertionError(f"the worker would have ended with {code}: {text}")


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "FIRST_WAIT_S", 0.02)
    monkeypatch.setattr(intake_module, "LONGEST_WAIT_S", 0.05)


class Way(NamedTuple):
    """The way to the store, and the config that takes it."""

    proxy: StoreProxy
    config: StoreConfig


@pytest.fixture
def way(store_config: StoreConfig) -> Iterator[Way]:
    with store_proxy(store_config.port) as (proxy, port):
        yield Way(proxy, msgspec.structs.replace(store_config, port=port))


@pytest.fixture
def batches() -> list[SummaryBatch]:
    return produce(11, now_ms=floor_ms(wall_ms(CLOCK), 10_000), slots=8)


@contextmanager
def proved(store_config: StoreConfig, worker: Worker, batches: Sequence[SummaryBatch], cause: str) -> Iterator[None]:
    """Check after the block: all acknowledged in order, windows right, one fate each, nothing quarantined, all said."""
    with capture_logs() as said:
        yield
    assert worker.acked == list(range(len(batches)))
    assert windows(store_config) == fold_plainly(slots_of(batches))
    with sql(store_config) as run:
        assert run("SELECT count(), sum(quarantined) FROM batch_latest") == [(len(batches), 0)]
        assert run("SELECT count() FROM quarantine") == [(0,)]
    assert worker.counters.paused[cause] >= 1
    paused = [line for line in said if line["event"] == "store takes nothing, partitions wait"]
    assert [line["cause"] for line in paused] == [cause]
    assert paused[0]["remedy"] != ""
    assert said[-1]["event"] == "store takes again"


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        pytest.param(242, "read-only", id="f08-read-only"),
        pytest.param(999, "keeper away", id="f08-keeper"),
        pytest.param(243, "disk full", id="f09-disk-full"),
        pytest.param(252, "too many parts", id="f09-too-many-parts"),
    ],
)
def test_f08_f09_a_store_that_refuses_for_its_own_state_pauses_and_quarantines_nothing(
    code: int, cause: str, way: Way, store_config: StoreConfig, batches: list[SummaryBatch]
) -> None:
    worker = Worker(way.config)
    messages = messages_of(batches, received_ms=wall_ms(CLOCK))
    with proved(store_config, worker, batches, cause):
        way.proxy.refuse_with = code
        worker.work(messages, lambda: setattr(way.proxy, "refuse_with", None))
    assert way.proxy.refused >= TRIES


def test_f07_a_store_that_is_down_is_waited_for_and_nothing_is_acknowledged(
    store_config: StoreConfig, batches: list[SummaryBatch]
) -> None:
    port = free_port()
    worker = Worker(msgspec.structs.replace(store_config, port=port))
    with ExitStack() as later, proved(store_config, worker, batches, AWAY):
        worker.work(
            messages_of(batches, received_ms=wall_ms(CLOCK)),
            lambda: later.enter_context(store_proxy(store_config.port, port)),
        )


def test_f10_an_insert_whose_answer_is_lost_is_sent_again_and_counts_once(
    way: Way, store_config: StoreConfig, batches: list[SummaryBatch]
) -> None:
    worker = Worker(way.config)
    with proved(store_config, worker, batches, AWAY):
        way.proxy.lose = 3
        worker.work(messages_of(batches, received_ms=wall_ms(CLOCK)), lambda: None, tries=3)
    assert way.proxy.lost == 3
    with sql(store_config) as run:
        stored, told = run("SELECT count(), uniqExact(probe_id, spool_id, stream_id, slot, revision) FROM summary_10s")[
            0
        ]
    assert stored > told, "the control: the engine has taken the block more than once"


def test_f09_a_table_that_is_not_there_is_a_fault_of_the_deployment_and_no_messages(
    store_config: StoreConfig, batches: list[SummaryBatch]
) -> None:
    worker = Worker(store_config)

    with sql(store_config) as run, proved(store_config, worker, batches, "deployment"):
        run("RENAME TABLE summary_10s TO elsewhere")
        worker.work(
            messages_of(batches, received_ms=wall_ms(CLOCK)), lambda: run("RENAME TABLE elsewhere TO summary_10s")
        )


def test_a_store_that_answers_nothing_costs_no_more_than_its_timeout(store_config: StoreConfig) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mute = msgspec.structs.replace(
            store_config, port=silent.getsockname()[1], connect_timeout_s=0.2, read_timeout_s=0.2
        )
        begun_ns = CLOCK.mono_ns()
        with open_store(mute) as store, pytest.raises(StoreTransientError, match="no answer"):
            store.rows("migrate_applied")
        assert CLOCK.mono_ns() - begun_ns < 3_000_000_000
