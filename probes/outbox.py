"""The one thread that writes the spool, so that no sync of a disk ever holds up a test packet.

The agent hands over records, the publisher acknowledgements. What waits together is written together: at most 100
records, one sync of the disk.
"""

import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

import structlog

from probes.spool import Entry, Spool
from probes.spool_reader import SpoolKey
from schemas.clock import Clock
from schemas.errors import UnavailableError

log = structlog.get_logger(__name__)

GROUP: Final = 100
MAX_WAITING: Final = 1_000  # records kept in memory while the disk refuses them; the oldest go first, and are counted
_RETRY_S: Final = 1.0
_TRIM_EVERY_NS: Final = 60_000_000_000


class _Acknowledged(NamedTuple):
    keys: Sequence[SpoolKey]
    done: Callable[[], None]


_Work = Entry | _Acknowledged | None  # None: end


class Outbox:
    """Takes records and acknowledgements from any thread; `open_outbox` starts and stops its own."""

    def __init__(self, spool: Spool, clock: Clock) -> None:
        self.written = 0
        self.refused = 0  # records given up because the disk refused them for too long; they never had a seq
        self._spool = spool
        self._clock = clock
        self._inbox: queue.SimpleQueue[_Work] = queue.SimpleQueue()
        self._waiting: deque[Entry] = deque()
        self._wake: list[Callable[[], None]] = []
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)

    def put(self, entry: Entry) -> None:
        """Hand over a record; it is on disk within milliseconds, or as soon as the disk takes it."""
        self._inbox.put(entry)

    def acknowledge(self, keys: Sequence[SpoolKey], done: Callable[[], None]) -> None:
        """Hand over what the broker acknowledged; `done` is called, in the outbox's thread, once the spool knows."""
        self._inbox.put(_Acknowledged(keys, done))

    def on_written(self, wake: Callable[[], None]) -> None:
        """Have `wake` called, in the outbox's thread, after every write."""
        self._wake.append(wake)

    def flush(self, timeout_s: float) -> bool:
        """Wait until what was handed over so far has been written or refused; return whether it was in time."""
        passed = threading.Event()
        self._inbox.put(_Acknowledged([], passed.set))
        return passed.wait(timeout_s)

    def check(self) -> None:
        """Raise UnavailableError when the thread has died: nothing would reach the disk any more."""
        if not self._thread.is_alive():
            raise UnavailableError(f"the writer of spool {self._spool.path} has died, its traceback is in the log")

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Have the thread write what it was given so far, then end."""
        self._inbox.put(None)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            log.error("outbox did not end, the disk hangs", timeout_s=timeout_s, path=str(self._spool.path))

    def _run(self) -> None:
        trimmed_ns = self._clock.mono_ns()
        works: list[_Work] = []
        while None not in works:
            works = self._next_works()
            self._waiting.extend(work for work in works if isinstance(work, Entry))
            self._write()
            self._acknowledge([work for work in works if isinstance(work, _Acknowledged)])
            if self._clock.mono_ns() - trimmed_ns >= _TRIM_EVERY_NS:
                trimmed_ns = self._clock.mono_ns()
                self._trim()

    def _next_works(self) -> list[_Work]:
        """Return what is there, up to a group of it; wait up to a second for the first."""
        works: list[_Work] = []
        with suppress(queue.Empty):
            works.append(self._inbox.get(timeout=_RETRY_S))
            while len(works) < GROUP and works[-1] is not None:
                works.append(self._inbox.get_nowait())
        return works

    def _write(self) -> None:
        while self._waiting:
            group = [self._waiting[at] for at in range(min(GROUP, len(self._waiting)))]
            try:
                self._spool.append_all(group)
            except sqlite3.OperationalError as err:
                self._keep_waiting(err)
                return
            for _ in group:
                self._waiting.popleft()
            self.written += len(group)
            for wake in self._wake:
                wake()

    def _keep_waiting(self, err: sqlite3.OperationalError) -> None:
        while len(self._waiting) > MAX_WAITING:
            self._waiting.popleft()
            self.refused += 1
        log.error("spool cannot be written", waiting=len(self._waiting), refused=self.refused, error=str(err))

    def _acknowledge(self, works: Sequence[_Acknowledged]) -> None:
        keys = [key for work in works for key in work.keys]
        try:
            if keys:
                self._spool.acknowledge(keys)
        except sqlite3.OperationalError as err:  # they are sent again, which changes nothing
            log.warning("spool cannot be written, acknowledgements lost", count=len(keys), error=str(err))
        for work in works:
            work.done()

    def _trim(self) -> None:
        try:
            self._spool.trim()
        except sqlite3.OperationalError as err:
            log.warning("spool cannot be written, not trimmed", error=str(err))


@contextmanager
def open_outbox(spool: Spool, *, clock: Clock) -> Iterator[Outbox]:
    """Run an outbox in a thread; on leaving, what was handed over is written first (3 s at most)."""
    outbox = Outbox(spool, clock)
    outbox.start()
    try:
        yield outbox
    finally:
        outbox.stop(3.0)
