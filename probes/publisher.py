"""Spool -> broker, live lane before backlog lane.

Only the broker's acknowledgement marks a record as delivered. An error means that nobody knows: the record stays in
the spool and is sent again; its identity removes the duplicate at the other end.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

import structlog

from probes.lanes import BacklogConfig, Bucket
from probes.outbox import Outbox
from probes.publish import BROKER_ERRORS, Producer, fault_of, give_up, is_no_metadata
from probes.spool_file import FILE_ERRORS, is_damaged
from probes.spool_reader import SpoolKey, SpoolReader, SpoolRow, open_reader
from schemas.clock import Clock

log = structlog.get_logger(__name__)

MAX_IN_FLIGHT: Final = 64  # kafka-python has no buffer limit of its own
_BACKLOG_SHARE: Final = 48  # of those; the rest stays free for live records
_READ_AHEAD: Final = 16  # backlog records read at a time
_IDLE_S: Final = 1.0
_RETRY_S: Final = 1.0
_LOG_EVERY_NS: Final = 10_000_000_000
_ABSENT_S: Final = (4, 8, 16, 30)  # how long a topic that was not there is left alone, by how often it was not
ANSWER_S: Final = 45.0  # longer than the producer's own delivery timeout: it owes an answer by then


class Absence(NamedTuple):
    """A topic that could not be written."""

    times: int
    until_ns: int  # monotonic; left alone until then


class Publisher:
    """Sends what the spool holds until it is stopped, in a thread of its own; `open_publisher` makes it."""

    def __init__(
        self, probe_id: str, path: Path, outbox: Outbox, bucket: Bucket, clock: Clock, answer_s: float = ANSWER_S
    ) -> None:
        self.delivered = 0
        self.errors = 0  # sends of which nobody knows; each was or will be repeated
        self.absent: dict[str, Absence] = {}  # topics that cannot be written
        self._key = probe_id.encode()
        self._path = path
        self._outbox = outbox
        self._bucket = bucket
        self._clock = clock
        self._answer_ns = round(answer_s * 1e9)
        self._in_flight: dict[SpoolKey, int] = {}  # -> monotonic time of its sending, the oldest first
        self._noted: set[SpoolKey] = set()  # acknowledged by the broker, not yet marked in the spool
        self._answers: deque[tuple[int, SpoolKey, BaseException | None]] = deque()  # from the producers' threads
        self._marked: deque[SpoolKey] = deque()  # from the outbox's thread
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._idle = threading.Event()
        self._producer = 0  # which one is at hand: what a former one gives up says nothing about it
        self._is_done_for = False  # the producer at hand
        self._logged_ns = -_LOG_EVERY_NS

    def wake(self) -> None:
        """Say that there may be something new to send."""
        self._wake.set()

    def stop(self) -> None:
        """End after the step at hand."""
        self._stopping.set()
        self._wake.set()

    def drain(self, timeout_s: float) -> bool:
        """Wait until the spool holds nothing unsent; return whether it came to that in time."""
        self._idle.clear()
        self._wake.set()
        return self._idle.wait(timeout_s)

    def run(self, connect: Callable[[], Producer]) -> None:
        """Connect, send, and begin again after every failure, until `stop`."""
        while not self._stopping.is_set():
            try:
                self._session(connect)
            except FILE_ERRORS as err:
                if is_damaged(err):
                    self._outbox.check_file()
                self._complain("spool cannot be read, publisher begins again", err)
                self._stopping.wait(_RETRY_S)
            except (*BROKER_ERRORS, OSError) as err:
                self._complain("publisher begins again", err)
                self._stopping.wait(_RETRY_S)

    def _session(self, connect: Callable[[], Producer]) -> None:
        """Send over one producer and one reader; leaves on stop, on an error, or when the spool file was replaced."""
        producer = connect()
        self._producer += 1
        self._is_done_for = False
        self._bucket.away()
        try:
            file = self._path.stat().st_ino
            with open_reader(self._path, clock=self._clock) as reader:
                while not self._stopping.is_set() and self._path.stat().st_ino == file and not self._owes_too_long():
                    self._wake.clear()
                    self.step(producer, reader)
                    self._wake.wait(self._pause_s())
            self._flush(producer)
        finally:
            give_up(producer)
            self._take_answers()
            self._in_flight.clear()  # unknown: they will be read from the spool again

    def step(self, producer: Producer, reader: SpoolReader) -> None:
        """Take the broker's answers and send what there is room for."""
        failed = self._take_answers()
        rows = [] if failed else self._next_rows(reader)
        for row in rows:
            self._send(producer, row)
        if reader.damaged:
            self._outbox.drop(list(reader.damaged), "damaged")
            reader.damaged.clear()
        if failed:
            self._stopping.wait(_RETRY_S)
        elif not rows and not self._in_flight and not self._noted and not self._has_backlog(reader):
            self._idle.set()

    def _next_rows(self, reader: SpoolReader) -> list[SpoolRow]:
        known = self._in_flight.keys() | self._noted
        absent = self._absent_now()
        rows = reader.pending(MAX_IN_FLIGHT - len(self._in_flight), "live", skip=known, without=absent)
        for row in rows:
            self._bucket.live_sent(len(row.value))
        room = min(_BACKLOG_SHARE - len(self._in_flight) - len(rows), _READ_AHEAD)
        if self._bucket.is_away:  # one record goes ahead to see whether the broker answers
            room = 0 if rows or self._in_flight else 1
        elif not self._bucket.has_some():
            room = 0
        backlog = reader.pending(room, "backlog", skip=known, without=absent) if room > 0 else []
        return rows + list(self._affordable(backlog))

    def _affordable(self, rows: Sequence[SpoolRow]) -> Iterator[SpoolRow]:
        for row in rows:
            if not self._bucket.is_away and not self._bucket.has_some():
                return
            self._bucket.spend(len(row.value))
            yield row

    def _has_backlog(self, reader: SpoolReader) -> bool:
        return bool(reader.pending(1, "backlog", skip=self._noted)) or bool(reader.pending(1, "live", skip=self._noted))

    def _pause_s(self) -> float:
        wait_s = self._bucket.wait_s()
        return _IDLE_S if wait_s is None or self._idle.is_set() else min(max(wait_s, 0.01), _IDLE_S)

    def _absent_now(self) -> set[str]:
        now_ns = self._clock.mono_ns()
        return {topic for topic, absence in self.absent.items() if now_ns < absence.until_ns}

    def _send(self, producer: Producer, row: SpoolRow) -> None:
        topic = row.key.topic
        if topic in self._absent_now():
            return  # it was found absent a moment ago
        try:
            future = producer.send(topic, key=self._key, value=row.value, headers=row.headers)
        except BROKER_ERRORS as err:
            self._refused(row.key, err)
            return
        self._in_flight[row.key] = self._clock.mono_ns()
        future.add_callback(self._delivered, self._producer, row.key)
        future.add_errback(self._unknown, self._producer, row.key)

    def _refused(self, key: SpoolKey, err: BaseException) -> None:
        """Note why a record was not even taken; raise what concerns the whole producer."""
        if fault_of(err) == "too_large":
            self._outbox.drop([key], "larger than a broker takes")
        elif fault_of(err) == "topic" or is_no_metadata(err):
            self._leave_topic(key.topic, err)
        else:
            raise err

    def _leave_topic(self, topic: str, err: BaseException) -> None:
        """Leave a topic alone for a while, longer each time; the others go on over a producer that never knew it."""
        self._is_done_for = True
        if topic in self._absent_now():
            return
        times = self.absent[topic].times if topic in self.absent else 0
        wait_s = _ABSENT_S[min(times, len(_ABSENT_S) - 1)]
        self.absent[topic] = Absence(times + 1, self._clock.mono_ns() + wait_s * 1_000_000_000)
        remedy = "make it anew, or let this probe write it; its records wait in the spool"
        log.error("topic cannot be written", topic=topic, again_in_s=wait_s, remedy=remedy, error=repr(err))

    def _delivered(self, producer: int, key: SpoolKey, _metadata: object) -> None:
        self._answers.append((producer, key, None))
        self._wake.set()

    def _unknown(self, producer: int, key: SpoolKey, error: BaseException) -> None:
        self._answers.append((producer, key, error))
        self._wake.set()

    def _take_answers(self) -> bool:
        """Hand the acknowledged keys to the outbox; return whether a send failed."""
        delivered, failed = [], False
        while self._marked:
            self._noted.discard(self._marked.popleft())
        while self._answers:
            producer, key, error = self._answers.popleft()
            if error is None:
                self._in_flight.pop(key, None)
                delivered.append(key)
            elif producer == self._producer:
                self._in_flight.pop(key, None)
                failed = True
                self._note_failure(key, error)
        if delivered:
            self._note_delivered(delivered)
        return failed

    def _note_delivered(self, keys: Sequence[SpoolKey]) -> None:
        self.delivered += len(keys)
        self._bucket.back()
        for topic in {key.topic for key in keys} & self.absent.keys():
            del self.absent[topic]
            log.info("topic can be written again", topic=topic)
        self._noted.update(keys)
        self._outbox.acknowledge(keys, lambda: self._mark(keys))

    def _note_failure(self, key: SpoolKey, error: BaseException) -> None:
        """Take an error that came back. No producer outlives one.

        An idempotent producer of kafka-python 3.0.12 that had to give up a record may fail every later one at once
        (its broker froze while it asked for an id), or never answer again (a topic was deleted under it).
        """
        self.errors += 1
        self._is_done_for = True
        match fault_of(error):
            case "too_large":
                self._outbox.drop([key], "larger than a broker takes")
            case "topic":
                self._leave_topic(key.topic, error)
            case "unknown":
                self._bucket.away()
        self._complain("delivery unknown, will be repeated", error)

    def _owes_too_long(self) -> bool:
        """Return whether the producer is done for: a send failed, or it owes an answer for longer than it may."""
        sent_ns = next(iter(self._in_flight.values()), None)
        late = sent_ns is not None and self._clock.mono_ns() - sent_ns > self._answer_ns
        if late:
            log.error("producer does not answer, another one is made", in_flight=len(self._in_flight))
        return late or self._is_done_for

    def _mark(self, keys: Sequence[SpoolKey]) -> None:
        self._marked.extend(keys)
        self._wake.set()

    def _flush(self, producer: Producer) -> None:
        with suppress(*BROKER_ERRORS):  # what is not acknowledged by then stays in the spool
            producer.flush(timeout=1.0)

    def _complain(self, event: str, error: BaseException) -> None:
        """Log a fault that repeats: counted always, said every 10 s at most."""
        if self._clock.mono_ns() - self._logged_ns >= _LOG_EVERY_NS:
            self._logged_ns = self._clock.mono_ns()
            log.warning(event, errors=self.errors, in_flight=len(self._in_flight), error=repr(error))


@contextmanager
def open_publisher(
    probe_id: str,
    spool_path: Path,
    outbox: Outbox,
    *,
    clock: Clock,
    random: Random,
    connect: Callable[[], Producer],
    backlog: BacklogConfig | None = None,
    answer_s: float = ANSWER_S,
) -> Iterator[Publisher]:
    """Publish in a thread; on leaving, what is on its way has 1 s to be acknowledged.

    `connect` makes a producer and may raise KafkaError as often as it likes: it is called again. `random` draws when
    the backlog lane opens after a return. `answer_s` is the time in which every send must have had its answer.
    """
    bucket = Bucket(backlog or BacklogConfig(), clock, random)
    publisher = Publisher(probe_id, spool_path, outbox, bucket, clock, answer_s)
    outbox.on_written(publisher.wake)
    thread = threading.Thread(target=publisher.run, args=(connect,), name="publisher", daemon=True)
    thread.start()
    try:
        yield publisher
    finally:
        publisher.stop()
        thread.join(2.0)
        if thread.is_alive():  # a connect in progress takes up to 5 s; the thread ends with the process
            log.warning("publisher did not end within 2 s, it waits for its broker")
