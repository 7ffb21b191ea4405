"""The intake: what is acknowledged, when, and in which order. The store is a function; the loop is real."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

import pytest
from structlog.testing import capture_logs
from support import wire_messages as wire

from schemas.clock import ManualClock
from schemas.errors import IsochroneError, StorePermanentError, StoreTransientError, UnavailableError
from streams import intake as intake_module
from streams.breaker import BreakerTrippedError
from streams.flush import FlushReport
from streams.intake import EXIT_BREAKER, EXIT_UNKNOWN, Intake
from streams.messages import RawMessage
from streams.store_errors import DEPLOYMENT, REMEDIES, UNKNOWN, DeploymentError, paused

Store = Callable[[Sequence[RawMessage]], FlushReport]


class Died(BaseException):
    """The process would have ended here."""


def die(code: int, text: str) -> NoReturn:
    raise Died(code, text)


def report(messages: Sequence[RawMessage]) -> FlushReport:
    count = len(messages)
    return FlushReport(messages=count, stored=count, quarantined=0, foreign=0, faults=0, windows=0, oldest_ms=0)


class Seen:
    """An event that remembers in which order it was acknowledged."""

    def __init__(self, offset: int, acked: list[int]) -> None:
        self.offset = offset
        self._acked = acked

    def ack(self) -> None:
        self._acked.append(self.offset)


def played(
    store: Store,
    act: Callable[[Intake], Coroutine[None, None, None]],
    *,
    batch: int = 100,
    clock: ManualClock | None = None,
) -> Intake:
    """Run an act on an intake over this store; return the intake."""

    async def run() -> Intake:
        with ThreadPoolExecutor(1) as executor:
            intake = Intake(store, executor, clock or ManualClock(), batch=batch, fatal=die)
            await asyncio.wait_for(act(intake), 10)
        return intake

    return asyncio.run(run())


async def put(intake: Intake, acked: list[int], offsets: Sequence[int]) -> None:
    for offset in offsets:
        await intake.put(Seen(offset, acked), wire.message(wire.summary(seq=offset), offset=offset))


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "FIRST_WAIT_S", 0.0)
    monkeypatch.setattr(intake_module, "LONGEST_WAIT_S", 0.0)


def test_messages_are_acknowledged_in_order_after_they_are_stored() -> None:
    acked: list[int] = []
    stored: list[int] = []

    def store(messages: Sequence[RawMessage]) -> FlushReport:
        assert acked == stored
        stored.extend(message.offset for message in messages)
        return report(messages)

    async def act(intake: Intake) -> None:
        await put(intake, acked, range(7))
        await intake.flush()

    intake = played(store, act, batch=3)
    assert acked == stored == list(range(7))
    assert intake.counters.messages == 7


def test_f07_a_store_that_is_away_is_asked_again_with_the_same_messages() -> None:
    calls: list[list[int]] = []
    acked: list[int] = []

    def store(messages: Sequence[RawMessage]) -> FlushReport:
        calls.append([message.offset for message in messages])
        assert acked == []
        if len(calls) < 4:
            raise StoreTransientError("away")
        return report(messages)

    async def act(intake: Intake) -> None:
        await put(intake, acked, (1, 2))
        await intake.flush()

    assert played(store, act).counters.retries == 3
    assert calls == [[1, 2]] * 4
    assert acked == [1, 2]


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (paused(252, "code 252"), "too many parts"),
        (paused(243, "code 243"), "disk full"),
        (paused(242, "code 242"), "read-only"),
        (DeploymentError("code 60"), DEPLOYMENT),
        (StorePermanentError("the ledger is refused"), UNKNOWN),
        (UnavailableError("64 rows refused"), UNKNOWN),
    ],
)
def test_what_no_message_is_to_blame_for_is_waited_out_and_said_once_with_its_remedy(
    error: IsochroneError, cause: str
) -> None:
    acked: list[int] = []
    calls: list[list[RawMessage]] = []

    def store(messages: Sequence[RawMessage]) -> FlushReport:
        calls.append(list(messages))
        assert acked == []
        if len(calls) < 5:
            raise error
        return report(messages)

    async def act(intake: Intake) -> None:
        await put(intake, acked, (1, 2))
        await intake.flush()

    with capture_logs() as said:
        counters = played(store, act).counters
    assert acked == [1, 2]
    assert all(call == calls[0] for call in calls)
    assert (counters.paused, counters.paused_ms) == ({cause: 4}, 0)
    first, back = said
    assert (first["event"], first["cause"], first["remedy"]) == (
        "store takes nothing, partitions wait",
        cause,
        REMEDIES[cause],
    )
    assert back["event"] == "store takes again"


def test_a_pause_that_lasts_or_changes_its_cause_is_said_again() -> None:
    clock = ManualClock()
    errors = [paused(252, "a")] * 3 + [paused(243, "b")] * 4
    seen_ms: list[int] = []

    def store(messages: Sequence[RawMessage]) -> FlushReport:
        clock.advance_s(25)
        if errors:
            raise errors.pop(0)
        return report(messages)

    async def act(intake: Intake) -> None:
        await put(intake, [], (1,))
        await intake.flush()
        seen_ms.append(intake.counters.paused_ms)

    with capture_logs() as said:
        played(store, act, clock=clock)
    assert [line.get("cause") for line in said] == ["too many parts", "disk full", "disk full", None]
    assert said[-1]["paused_ms"] == 175_000
    assert seen_ms == [0]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BreakerTrippedError("most is wrong"), EXIT_BREAKER),
        (KeyError("x"), EXIT_UNKNOWN),
        (MemoryError(), EXIT_UNKNOWN),
    ],
)
def test_any_other_error_ends_the_process_and_acknowledges_nothing(error: Exception, code: int) -> None:
    acked: list[int] = []

    def store(_: Sequence[RawMessage]) -> FlushReport:
        raise error

    async def act(intake: Intake) -> None:
        await put(intake, acked, (1,))
        await intake.flush()

    with pytest.raises(Died) as caught:
        played(store, act)
    assert caught.value.args[0] == code
    assert acked == []


def test_f22_partitions_that_change_hands_in_mid_flush_leave_nothing_acknowledged() -> None:
    acked: list[int] = []
    under_way = asyncio.Event()

    async def act(intake: Intake) -> None:
        loop = asyncio.get_running_loop()

        def store(messages: Sequence[RawMessage]) -> FlushReport:
            loop.call_soon_threadsafe(under_way.set)
            asyncio.run_coroutine_threadsafe(revoked.wait(), loop).result(5)
            return report(messages)

        revoked = asyncio.Event()
        intake._store = store
        await put(intake, acked, range(200))
        flush = asyncio.create_task(intake.flush())
        await under_way.wait()
        forget = asyncio.create_task(intake.forget())
        await asyncio.sleep(0)
        revoked.set()
        await asyncio.gather(flush, forget)
        await put(intake, acked, (7,))
        intake._store = report
        await intake.flush()

    assert played(report, act, batch=500).counters.forgotten == 200
    assert acked == [7]


def test_a_store_that_is_away_does_not_hold_a_revoked_partition() -> None:
    acked: list[int] = []

    def store(_: Sequence[RawMessage]) -> FlushReport:
        raise StoreTransientError("away for ever")

    async def act(intake: Intake) -> None:
        await put(intake, acked, (1, 2))
        flush = asyncio.create_task(intake.flush())
        await asyncio.sleep(0)
        await intake.forget()
        await flush

    assert played(store, act).counters.forgotten == 2
    assert acked == []


def test_who_brings_more_than_a_batch_waits_for_the_store() -> None:
    acked: list[int] = []

    async def act(intake: Intake) -> None:
        await put(intake, acked, range(10))
        assert acked == list(range(8))

    played(report, act, batch=4)


def test_a_message_is_flushed_soon_without_being_asked() -> None:
    acked: list[int] = []
    stored = asyncio.Event()

    async def act(intake: Intake) -> None:
        running = asyncio.get_running_loop()

        def store(messages: Sequence[RawMessage]) -> FlushReport:
            running.call_soon_threadsafe(stored.set)
            return report(messages)

        intake._store = store
        loop = asyncio.create_task(intake.run(0.0))
        await put(intake, acked, (1,))
        await stored.wait()
        await intake.flush()
        loop.cancel()

    played(report, act)
    assert acked == [1]
