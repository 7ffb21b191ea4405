"""The one thread that writes the spool, so that no sync of a disk ever holds up a test packet.

The agent hands over records, the publisher acknowledgements. What waits together is written together: at most 100
records, one sync of the disk, begun the moment they are handed over. While the disk refuses, records wait in memory,
packed, a bounded number of them; nothing is called written, and nothing acknowledged, that the disk does not have.
"""

import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

import structlog

from probes.spool import Spool
from probes.spool_group import Entry
from probes.spool_reader import SpoolKey
from schemas.clock import Clock
from schemas.errors import UnavailableError

log = structlog.get_logger(__name__)

GROUP: Final = 100
# Records kept in memory while the disk refuses them; the oldest go first, and are counted: 33 minutes of a cluster's
# probe, 16 MB packed
MAX_WAITING: Final = 400
LATE_NS: Final = 200_000_000  # a record handed over longer ago than this must be on disk: the loss at a power cut
_RETRY_S: Final = 1.0
_TRIM_EVERY_NS: Final = 60_000_000_000
_LOG_EVERY_NS: Final = 10_000_000_000


class _Put(NamedTuple):
    entry: Entry
    at_ns: int


class _Acknowledged(NamedTuple):
    keys: Sequence[SpoolKey]
    done: Callable[[], None]


class _Call(NamedTuple):
    """Something to do on the spool when nothing waits to be written."""

    work: Callable[[], None]
    what: str


_Work = _Put | _Acknowledged | _Call | None  # None: end


class Outbox:
    """Takes records and acknowledgements from any thread; `open_outbox` starts and stops its own."""

    def __init__(self, spool: Spool, clock: Clock) -> None:
        self.written = 0
        self.refused = 0  # records given up because the disk refused them for too long; they never had a seq
        self.late = 0  # records on disk more than 200 ms after they were handed over
        self.failures = 0  # writes that the disk refused
        self._spool = spool
        self._clock = clock
        self._inbox: queue.SimpleQueue[_Work] = queue.SimpleQueue()
        self._waiting: deque[_Put] = deque()
        self._wake: list[Callable[[], None]] = []
        self._logged_ns = clock.mono_ns() - _LOG_EVERY_NS
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)

    def put(self, entry: Entry) -> None:
        """Hand over a record; it is on disk within milliseconds, or as soon as the disk takes it."""
        self._inbox.put(_Put(entry, self._clock.mono_ns()))

    def acknowledge(self, keys: Sequence[SpoolKey], done: Callable[[], None]) -> None:
        """Hand over what the broker acknowledged; `done` is called, in the outbox's thread, once the spool knows."""
        self._inbox.put(_Acknowledged(keys, done))

    def drop(self, keys: Sequence[SpoolKey], why: str) -> None:
        """Have records taken away that can never be sent, and declared dropped."""
        self._inbox.put(_Call(lambda: self._spool.drop(keys, why), "drop"))

    def check_file(self) -> None:
        """Have the whole file checked, and replaced when it is damaged."""
        self._inbox.put(_Call(self._spool.check, "check"))

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
        elif self._waiting:
            log.error("records lost with the memory, the disk refuses them", count=len(self._waiting))

    def _run(self) -> None:
        self._call(_Call(self._spool.check, "check"))
        trimmed_ns = self._clock.mono_ns()
        works: list[_Work] = []
        while None not in works:
            works = self._next_works()
            self._waiting.extend(work for work in works if isinstance(work, _Put))
            self._write()
            for work in works:
                if isinstance(work, _Call):
                    self._call(work)
            self._acknowledge([work for work in works if isinstance(work, _Acknowledged)])
            if self._clock.mono_ns() - trimmed_ns >= _TRIM_EVERY_NS:
                trimmed_ns = self._clock.mono_ns()
                self._call(_Call(self._spool.trim, "trim"))

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
                self._spool.append_all(put.entry for put in group)
            except sqlite3.OperationalError as err:
                self._keep_waiting(err)
                return
            for _ in group:
                self._waiting.popleft()
            self.written += len(group)
            self._count_late(group)
            for wake in self._wake:
                wake()

    def _count_late(self, group: Sequence[_Put]) -> None:
        now_ns = self._clock.mono_ns()
        late = sum(now_ns - put.at_ns > LATE_NS for put in group)
        self.late += late
        if late > 0 and self._may_log():
            log.warning("spool's disk is slow", late=self.late, latest_ms=(now_ns - group[0].at_ns) // 1_000_000)

    def _keep_waiting(self, err: sqlite3.OperationalError) -> None:
        self.failures += 1
        while len(self._waiting) > MAX_WAITING:
            self._waiting.popleft()
            self.refused += 1
        self._waiting = deque(map(_packed, self._waiting))
        if self._may_log():
            counts = {"waiting": len(self._waiting), "refused": self.refused, "failures": self.failures}
            log.error("spool cannot be written", path=str(self._spool.path), error=str(err), **counts)

    def _may_log(self) -> bool:
        """Return whether a fault that repeats may be said again; counted it is always."""
        if self._clock.mono_ns() - self._logged_ns < _LOG_EVERY_NS:
            return False
        self._logged_ns = self._clock.mono_ns()
        return True

    def _acknowledge(self, works: Sequence[_Acknowledged]) -> None:
        keys = [key for work in works for key in work.keys]
        try:
            if keys:
                self._spool.acknowledge(keys)
        except sqlite3.OperationalError as err:  # they are sent again, which changes nothing
            log.warning("spool cannot be written, acknowledgements lost", count=len(keys), error=str(err))
        for work in works:
            work.done()

    def _call(self, call: _Call) -> None:
        try:
            call.work()
        except sqlite3.OperationalError as err:
            log.warning("spool cannot be written", what=call.what, error=str(err))


def _packed(put: _Put) -> _Put:
    """Return the same record out of a few kB: a batch not yet encoded takes megabytes."""
    if put.entry.shrink is None:
        return put
    return put._replace(entry=put.entry._replace(make=put.entry.shrink(), shrink=None))


@contextmanager
def open_outbox(spool: Spool, *, clock: Clock) -> Iterator[Outbox]:
    """Run an outbox in a thread; on leaving, what was handed over is written first (3 s at most)."""
    outbox = Outbox(spool, clock)
    outbox.start()
    try:
        yield outbox
    finally:
        outbox.stop(3.0)
