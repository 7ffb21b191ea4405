"""The intake: messages wait here until they are stored, and only then are acknowledged, in the order they came.

While a batch is stored, the next one is judged in another thread: the store's time is not ours.

Nothing is acknowledged that the store has not answered for; a store that is away is waited for; what belongs to a
former assignment of partitions is forgotten, never acknowledged. An event is whatever can be acknowledged.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from typing import Final, Generic, NamedTuple, NoReturn, Protocol, TypeVar

import msgspec
import structlog

from schemas.clock import Clock, wall_ms
from schemas.errors import StorePermanentError, StoreTransientError, UnavailableError
from streams.breaker import BreakerTrippedError
from streams.flush import FlushReport
from streams.messages import RawMessage
from streams.store_errors import REMEDIES, cause_of

EXIT_UNKNOWN: Final = 1  # an error nobody foresaw: the restart repeats what was not acknowledged
EXIT_BREAKER: Final = 3  # most is suddenly wrong: a restart alone will not help
EXIT_HOLE: Final = 4  # messages were deleted unread: a person says whether to go on behind the hole
FIRST_WAIT_S: Final = 0.1
LONGEST_WAIT_S: Final = 5.0
FIRST_SHARE: Final = 8  # a new assignment begins with an eighth of a batch, and doubles: the present is not known yet
SAID_EVERY_S: Final = 60.0  # one line for a fault that lasts, not one a try
# Rows are found out and quarantined below; what comes up to here blames the store or the deployment, never a message.
_MENDED_ELSEWHERE: Final = (StoreTransientError, StorePermanentError, UnavailableError)

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Event(Protocol):
    """What came from the broker."""

    def ack(self) -> object:
        """Let the offset be committed."""


class Taken(NamedTuple):
    """A message and the event it came with."""

    event: Event
    message: RawMessage


class Counters(msgspec.Struct, kw_only=True):
    """What this worker did since its start; ages and counts of now."""

    messages: int = 0
    ahead: int = 0  # of those, read out of their turn: each of them comes once more
    stored: int = 0
    quarantined: int = 0
    foreign: int = 0
    faults: int = 0
    windows: int = 0
    flushes: int = 0
    retries: int = 0
    paused: dict[str, int] = msgspec.field(default_factory=dict)  # of those, by cause: a key of `REMEDIES`
    paused_ms: int = 0  # the present pause lasts so long; 0 when the store takes what comes
    forgotten: int = 0
    pending: int = 0
    last_age_ms: int = 0  # of the oldest message of the last flush, when it was stored
    last_flush_ms: int = 0  # how long it took
    since_flush_ms: int = 0  # as of the last report
    lag: int = 0  # messages of its partitions that are not yet committed, as of the last report


class _Pause(NamedTuple):
    """The store takes nothing, since when, and what was last said of it; monotonic times."""

    since_ns: int
    said_cause: str = ""
    said_ns: int = 0


class _Batch(NamedTuple, Generic[T]):
    """Messages of one flush, and what they are judged to be as soon as that is said."""

    messages: Sequence[RawMessage]
    taken: Sequence[Taken]  # those that are acknowledged when it is stored
    judged: "asyncio.Future[T]"


class Intake(Generic[T]):
    """Pending messages of one worker, in one event loop; it judges and stores in threads of their own."""

    def __init__(
        self,
        judge: Callable[[Sequence[RawMessage]], T],
        store: Callable[[T], FlushReport],
        executors: tuple[Executor, Executor],
        clock: Clock,
        *,
        batch: int,
        fatal: Callable[[int, str], NoReturn],
    ) -> None:
        """Keep what it works with.

        Args:
            judge: says what may be stored of messages; one call at a time.
            store: stores what was judged; one call at a time, beside a `judge` of later messages.
            executors: a thread for each of the two.
            clock: measures.
            batch: messages of a flush; twice as many may wait before who brings more must wait too.
            fatal: ends the process with an exit code and a text; does not return.
        """
        self.counters = Counters()
        self.places: dict[tuple[str, int], int] = {}  # by topic and partition, the first that is not acknowledged
        self._judge = judge
        self._store = store
        self._executors = executors
        self._clock = clock
        self._batch = batch
        self._size = batch
        self._fatal = fatal
        self._pending: list[Taken] = []
        self._ahead: list[RawMessage] = []
        self._most_ahead = max(1, batch // 2)
        self._assignment = 0
        self._pause: _Pause | None = None
        self._flushed_ns = clock.mono_ns()
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._full = asyncio.Event()
        self._ripe = asyncio.Event()  # a whole batch waits behind the one that is stored
        self._room = asyncio.Event()
        self._room_ahead = asyncio.Event()

    async def put(self, event: Event, message: RawMessage) -> None:
        """Take a message; return at once, or when there is room where enough wait already."""
        self._pending.append(Taken(event, message))
        self.places.setdefault((message.topic, message.partition), message.offset)
        self._wake.set()
        if len(self._pending) >= self._batch:
            self._full.set()
        while len(self._pending) >= 2 * self._batch:
            self._ripe.set()
            self._room.clear()
            await self._room.wait()

    async def put_ahead(self, message: RawMessage) -> None:
        """Take a message out of its turn; it is stored before what waits, and never acknowledged.

        Returns when less than half a batch waits like this: with each whole one of the group goes at most so much.
        """
        self._ahead.append(message)
        self._wake.set()
        while len(self._ahead) >= self._most_ahead:
            self._room_ahead.clear()
            await self._room_ahead.wait()

    async def run(self, gather_s: float) -> None:
        """Flush for ever, `gather_s` seconds after a message came, or as soon as a batch is full."""
        while True:
            await self._wake.wait()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._full.wait(), gather_s)
            self._wake.clear()
            self._full.clear()
            await self.flush()

    async def flush(self) -> None:
        """Store and acknowledge all that waits; give up what another assignment has made stale."""
        async with self._lock:
            batch = self._begun(0)
            while await self._hurried() and batch is not None:
                storing = asyncio.create_task(self._stored(batch, self._assignment))
                behind = await self._begun_behind(batch, storing)
                if not await storing:
                    batch = behind
                    break
                self._acknowledge(batch.taken)
                await asyncio.sleep(0)
                batch = behind if behind is not None else self._begun(0)
            await asyncio.gather(*([batch.judged] if batch else []), return_exceptions=True)

    def note_age(self) -> None:
        """Bring `since_flush_ms` up to now."""
        self.counters.since_flush_ms = (self._clock.mono_ns() - self._flushed_ns) // 1_000_000

    async def forget(self) -> None:
        """Drop what waits, unacknowledged: partitions change hands, and whoever owns them next reads it again."""
        self._assignment += 1
        async with self._lock:
            self.counters.forgotten += len(self._pending)
            self._pending.clear()
            self._ahead.clear()
            self.places.clear()
            self._size = max(1, self._batch // FIRST_SHARE)
            self._ripe.clear()
            self._room.set()
            self._room_ahead.set()

    async def _hurried(self) -> bool:
        """Store what was read ahead in a flush of its own: it is small, and waits for no flush of old messages.

        Returns False when the partitions changed hands before it was.
        """
        messages = self._ahead[: self._most_ahead]
        if not messages:
            return True
        del self._ahead[: len(messages)]
        self._room_ahead.set()
        is_stored = await self._stored(_Batch(messages, (), self._judged(messages)), self._assignment)
        self.counters.ahead += len(messages) if is_stored else 0
        return is_stored

    def _begun(self, start: int) -> _Batch[T] | None:
        """Return the batch that waits at a place in the queue, being judged from now on."""
        taken = self._pending[start : start + self._size]
        messages = [each.message for each in taken]
        return _Batch(messages, taken, self._judged(messages)) if taken else None

    async def _begun_behind(self, batch: _Batch[T], storing: "asyncio.Task[bool]") -> _Batch[T] | None:
        """Return the batch behind the one that is being stored, should there be a whole one before that is done."""
        ripe = asyncio.create_task(self._ripe.wait())
        done, _ = await asyncio.wait({storing, ripe}, return_when=asyncio.FIRST_COMPLETED)
        ripe.cancel()
        return None if storing in done else self._begun(len(batch.taken))

    def _judged(self, messages: Sequence[RawMessage]) -> "asyncio.Future[T]":
        return asyncio.get_running_loop().run_in_executor(self._executors[0], self._judge, messages)

    def _acknowledge(self, taken: Sequence[Taken]) -> None:
        del self._pending[: len(taken)]
        self._size = min(self._batch, 2 * self._size)
        for each in taken:  # no await in between: a commit sees all of them or none
            each.event.ack()
            self.places[each.message.topic, each.message.partition] = each.message.offset + 1
        self.counters.pending = len(self._pending)
        self._ripe.clear()
        self._room.set()

    async def _stored(self, batch: _Batch[T], assignment: int) -> bool:
        """Return True when the batch is stored; False when its partitions changed hands before it was."""
        wait_s, judged = FIRST_WAIT_S, batch.judged
        while True:
            try:
                await self._store_once(await judged)
            except BreakerTrippedError as err:
                self._fatal(EXIT_BREAKER, str(err))
            except _MENDED_ELSEWHERE as err:
                self._note_pause(err, wait_s)
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, LONGEST_WAIT_S)
                if self._assignment != assignment:
                    return False
                judged = judged if judged.exception() is None else self._judged(batch.messages)
            except Exception as err:  # noqa: BLE001 - unknown: nothing is acknowledged, a restart repeats it
                self._fatal(EXIT_UNKNOWN, f"{type(err).__name__}: {err}")
            else:
                self._note_return()
                return self._assignment == assignment

    def _note_pause(self, err: Exception, wait_s: float) -> None:
        """Count a failed try; say it when it is new, of another cause, or lasts."""
        now_ns, cause = self._clock.mono_ns(), cause_of(err)
        self.counters.retries += 1
        self.counters.paused[cause] = self.counters.paused.get(cause, 0) + 1
        pause = self._pause or _Pause(since_ns=now_ns)
        self.counters.paused_ms = (now_ns - pause.since_ns) // 1_000_000
        if cause != pause.said_cause or now_ns - pause.said_ns >= SAID_EVERY_S * 1e9:
            pause = pause._replace(said_cause=cause, said_ns=now_ns)
            log.error(
                "store takes nothing, partitions wait",
                cause=cause,
                remedy=REMEDIES[cause],
                waiting_messages=len(self._pending),
                paused_ms=self.counters.paused_ms,
                again_in_s=wait_s,
                error=str(err),
            )
        self._pause = pause

    def _note_return(self) -> None:
        if self._pause is not None:
            paused_ms = (self._clock.mono_ns() - self._pause.since_ns) // 1_000_000
            log.info("store takes again", paused_ms=paused_ms, waiting_messages=len(self._pending))
        self._pause, self.counters.paused_ms = None, 0

    async def _store_once(self, judged: T) -> None:
        started_ns = self._clock.mono_ns()
        report = await asyncio.get_running_loop().run_in_executor(self._executors[1], self._store, judged)
        counters = self.counters
        for name in ("messages", "stored", "quarantined", "foreign", "faults", "windows"):
            setattr(counters, name, getattr(counters, name) + getattr(report, name))
        counters.flushes += 1
        self._flushed_ns = self._clock.mono_ns()
        counters.last_flush_ms = (self._clock.mono_ns() - started_ns) // 1_000_000
        counters.last_age_ms = wall_ms(self._clock) - report.oldest_ms
