"""The intake: what is acknowledged, when, and in which order. The store is a function; the loop is real."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

import pytest
from structlog.testing import capture_logs
from support import wire_messages as wire

from schemas.clock import ManualClock
from schemas.errors import IsochroneError, StorePermanentError, StoreTransientError, UnavailableError
from schemas.topics import SUMMARY
from streams import intake as intake_module
from streams.breaker import BreakerTrippedError
from streams.flush import FlushReport
from streams.intake import EXIT_BREAKER, EXIT_UNKNOWN, Intake
from streams.messages import RawMessage
from streams.store_errors import DEPLOYMENT, REMEDIES, UNKNOWN, DeploymentError, paused

Store = Callable[[Sequence[RawMessage]], FlushReport]
Judge = Callable[[Sequence[RawMessage]], Sequence[RawMessage]]
Act = Callable[[Intake[Sequence[RawMessage]]], Coroutine[None, None, None]]


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
    store: Store, act: Act, *, batch: int = 100, judge: Judge = tuple, clock: ManualClock | None = None
) -> Intake[Sequence[RawMessage]]:
    """Run an act on an intake over this store; return the intake. Messages are judged to be what they are."""

    async def run() -> Intake[Sequence[RawMessage]]:
        with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
            intake = Intake(judge, store, (one, other), clock or ManualClock(), batch=batch, fatal=die)
            await asyncio.wait_for(act(intake), 10)
        return intake

    return asyncio.run(run())


async def put(intake: Intake[Sequence[RawMessage]], acked: list[int], offsets: Sequence[int]) -> None:
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

    async def act(intake: Intake[Sequence[RawMessage]]) -> None:
        await put(intake, acked, range(7))
        await intake.flush()

    intake = played(store, act, batch=4)
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

    async def act(intake: Intake[Sequence[RawMessage]]) -> None:
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

    async def act(intake: Intake[Sequence[RawMessage]]) -> None:
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

    async def act(intake: Intake[Sequence[RawMessage]]) -> None:
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

    async def act(intake: Intake[Sequence[RawMessage]]) -> None:
        await put(intake, acked, (1,))
        await intake.flush()

    with pytest.raises(Died) as caught:
        played(store, act)
    assert caught.value.args[0] == code
    assert acked == []


def test_f22_partitions_that_change_hands_in_mid_flush_leave_nothing_acknowledged() -> None:
    acked: list[int] = []
    under_way = asyncio.Event()

    async def act(intake: Intake[Sequence[RawMessage]]) -> None:
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

    async def act(intake: Intake[Sequence[RawMessage]]) -> None:
        await put(intake, acked, (1, 2))
        flush = asyncio.create_task(intake.flush())
        await asyncio.sleep(0)
        await intake.forget()
        await flush

    assert played(store, act).counters.forgotten == 2
    assert acked == []


def test_f34_who_brings_more_than_two_batches_waits_for_the_store() -> None:
    acked: list[int] = []
    may_store = threading.Event()

    def store(messages: Sequence[RawMessage]) -> FlushReport:
        assert may_store.wait(5)
        return report(messages)

    async def act(intake: Intake[Sequence[RawMessage]]) -> None:
        running = asyncio.create_task(intake.run(60.0))
        bringing = asyncio.create_task(put(intake, acked, range(20)))
        done, _ = await asyncio.wait({bringing}, timeout=0.1)
        assert (done, len(intake._pending)) == (set(), 8)
        may_store.set()
        await bringing
        await intake.flush()
        running.cancel()

    played(store, act, batch=4)
    assert acked == list(range(20))


def test_the_next_batch_is_judged_while_one_is_stored_and_never_two_at_a_time() -> None:
    acked: list[int] = []
    judged: list[int] = []
    seen: list[tuple[int, int]] = []

    def judge(messages: Sequence[RawMessage]) -> Sequence[RawMessage]:
        judged.append(messages[0].offset)
        return messages

    def store(messages: Sequence[RawMessage]) -> FlushReport:
        for _ in range(500):
            if len(judged) > messages[0].offset // 3 + 1 or messages[0].offset == 6:
                break
            threading.Event().wait(0.01)
        seen.append((messages[0].offset, len(judged)))
        return report(messages)

    async def act(intake: Intake[Sequence[RawMessage]]) -> None:
        running = asyncio.create_task(intake.run(60.0))
        await put(intake, acked, range(9))
        await intake.flush()
        running.cancel()

    played(store, act, batch=3, judge=judge)
    assert seen[:2] == [(0, 2), (3, 3)]
    assert acked == list(range(9))


def test_plans_that_cannot_be_read_are_asked_for_again_and_the_messages_judged_then() -> None:
    acked: list[int] = []
    calls: list[int] = []

    def judge(messages: Sequence[RawMessage]) -> Sequence[RawMessage]:
        calls.append(len(messages))
        if len(calls) < 3:
            raise StoreTransientError("away")
        return messages

    async def act(intake: Intake[Sequence[RawMessage]]) -> None:
        await put(intake, acked, (1, 2))
        await intake.flush()

    assert played(report, act, judge=judge).counters.retries == 2
    assert (calls, acked) == ([2, 2, 2], [1, 2])


def test_what_was_judged_once_is_not_judged_again_when_the_store_is_away() -> None:
    judged: list[int] = []
    calls: list[int] = []

    def judge(messages: Sequence[RawMessage]) -> Sequence[RawMessage]:
        judged.append(len(messages))
        return messages

    def store(messages: Sequence[RawMessage]) -> FlushReport:
        calls.append(len(messages))
        if len(calls) < 3:
            raise StoreTransientError("away")
        return report(messages)

    async def act(intake: Intake[Sequence[RawMessage]]) -> None:
        await put(intake, [], (1, 2))
        await intake.flush()

    played(store, act, judge=judge)
    assert (judged, calls) == ([2], [2, 2, 2])


def test_behind_a_small_batch_the_next_one_begins_where_that_one_ends() -> None:
    acked: list[int] = []
    stored: list[int] = []
    under_way, may_store = threading.Event(), threading.Event()

    def store(messages: Sequence[RawMessage]) -> FlushReport:
        under_way.set()
        assert may_store.wait(5)
        stored.extend(message.offset for message in messages)
        return report(messages)

    async def act(intake: Intake[Sequence[RawMessage]]) -> None:
        running = asyncio.create_task(intake.run(0.0))
        await put(intake, acked, range(2))
        assert await asyncio.to_thread(under_way.wait, 5)
        bringing = asyncio.create_task(put(intake, acked, range(2, 30)))
        await asyncio.wait({bringing}, timeout=0.1)
        may_store.set()
        await bringing
        await intake.flush()
        running.cancel()

    played(store, act, batch=5)
    assert stored == acked == list(range(30))


def test_what_was_judged_ahead_is_given_up_when_partitions_change_hands() -> None:
    acked: list[int] = []

    may_store = threading.Event()
    ahead = threading.Event()

    def judge(messages: Sequence[RawMessage]) -> Sequence[RawMessage]:
        if messages[0].offset == 3:
            ahead.set()
        return messages

    def store(messages: Sequence[RawMessage]) -> FlushReport:
        assert may_store.wait(5)
        return report(messages)

    async def act(intake: Intake[Sequence[RawMessage]]) -> None:
        running = asyncio.create_task(intake.run(60.0))
        bringing = asyncio.create_task(put(intake, acked, range(6)))
        assert await asyncio.to_thread(ahead.wait, 5)
        forget = asyncio.create_task(intake.forget())
        await asyncio.sleep(0)
        may_store.set()
        await asyncio.gather(bringing, forget)
        assert intake._pending == []
        running.cancel()

    assert played(store, act, batch=3, judge=judge).counters.forgotten == 6
    assert acked == []


def test_a_message_is_flushed_soon_without_being_asked() -> None:
    acked: list[int] = []
    stored = asyncio.Event()

    async def act(intake: Intake[Sequence[RawMessage]]) -> None:
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


def test_what_was_read_ahead_goes_between_two_flushes_half_of_one_at_most_and_is_never_acknowledged() -> None:
    acked: list[int] = []
    flushes: list[list[int]] = []

    def store(messages: Sequence[RawMessage]) -> FlushReport:
        flushes.append([message.offset for message in messages])
        return report(messages)

    async def act(intake: Intake[Sequence[RawMessage]]) -> None:
        await put(intake, acked, range(7))
        bringing = asyncio.create_task(put_ahead(intake, range(100, 105)))
        while not bringing.done():
            await asyncio.sleep(0)
            await intake.flush()
        await intake.flush()

    counters = played(store, act, batch=4).counters
    assert flushes[:4] == [[100, 101], [0, 1, 2, 3], [102, 103], [4, 5, 6]]
    assert [each for flush in flushes[4:] for each in flush] == [104]
    assert acked == list(range(7))
    assert (counters.messages, counters.ahead) == (12, 5)


async def put_ahead(intake: Intake[Sequence[RawMessage]], offsets: Sequence[int]) -> None:
    for offset in offsets:
        await intake.put_ahead(wire.message(wire.summary(seq=offset), offset=offset))


def test_partitions_that_change_hands_let_go_who_reads_ahead() -> None:
    async def act(intake: Intake[Sequence[RawMessage]]) -> None:
        bringing = asyncio.create_task(put_ahead(intake, range(2)))
        await asyncio.sleep(0)
        assert not bringing.done()
        await intake.forget()
        await bringing
        await intake.flush()

    assert played(report, act, batch=4).counters.messages == 0


def test_the_first_message_of_a_partition_that_is_not_acknowledged_is_known_until_it_changes_hands() -> None:
    found: list[dict[tuple[str, int], int]] = []

    async def act(intake: Intake[Sequence[RawMessage]]) -> None:
        await put(intake, [], (5, 6))
        found.append(dict(intake.places))
        await intake.flush()
        found.append(dict(intake.places))
        await intake.forget()
        found.append(dict(intake.places))

    played(report, act)
    assert found == [{(SUMMARY.name, 0): 5}, {(SUMMARY.name, 0): 7}, {}]


def test_after_partitions_came_the_flushes_begin_small_so_that_the_present_gets_its_turn_soon() -> None:
    acked: list[int] = []
    sizes: list[int] = []

    def store(messages: Sequence[RawMessage]) -> FlushReport:
        sizes.append(len(messages))
        return report(messages)

    async def act(intake: Intake[Sequence[RawMessage]]) -> None:
        await intake.forget()
        await put(intake, acked, range(30))
        await intake.flush()
        await put(intake, acked, range(30, 50))
        await intake.flush()

    played(store, act, batch=16)
    assert sizes == [2, 4, 8, 16, 16, 4]
    assert acked == list(range(50))
