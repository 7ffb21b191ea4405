"""The one door to Kafka for sending: spool -> broker, live lane before backlog lane.

Only the broker's acknowledgement marks a record as delivered. An error means that nobody knows: the record stays in
the spool and is sent again; its identity removes the duplicate at the other end.
"""

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import structlog
from kafka import KafkaProducer
from kafka.errors import KafkaError

from probes.outbox import Outbox
from probes.spool_reader import SpoolKey, SpoolReader, SpoolRow, open_reader
from schemas.clock import Clock
from schemas.errors import ConfigError, UnavailableError

log = structlog.get_logger(__name__)

MAX_IN_FLIGHT: Final = 64  # kafka-python has no buffer limit of its own
_BACKLOG_SHARE: Final = 48  # of those; the rest stays free for live records
_IDLE_S: Final = 1.0
_RETRY_S: Final = 1.0
_RESEND_S: Final = 35.0  # longer than the producer's own delivery timeout
_LOG_EVERY_NS: Final = 10_000_000_000


class KafkaConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the broker is and how to prove who we are; the same names as in kafka-python."""

    bootstrap: tuple[str, ...] = ("127.0.0.1:9092",)
    security_protocol: str = "PLAINTEXT"  # SSL, SASL_PLAINTEXT, SASL_SSL
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    ssl_check_hostname: bool = True
    sasl_mechanism: str | None = None  # SCRAM-SHA-512, PLAIN, ...
    sasl_username: str | None = None
    sasl_password_file: str | None = None  # a password never stands in a configuration
    linger_ms: int = 50
    delivery_timeout_ms: int = 30_000
    request_timeout_ms: int = 10_000


class Future(Protocol):
    """What `Producer.send` returns; kafka-python calls back in its own thread."""

    def add_callback(self, f: Callable[..., Any], *args: object) -> object:
        """Have f(*args, metadata) called when the broker has acknowledged."""

    def add_errback(self, f: Callable[..., Any], *args: object) -> object:
        """Have f(*args, error) called when nobody knows."""


class Producer(Protocol):
    """The part of `KafkaProducer` that is used."""

    def send(self, topic: str, *, key: bytes, value: bytes, headers: Sequence[tuple[str, bytes]]) -> Future:
        """Queue a message."""

    def flush(self, timeout: float) -> None:
        """Send what is queued and wait."""

    def close(self, timeout: float) -> None:
        """Give up what is queued."""


def make_producer(config: KafkaConfig, client_id: str) -> Producer:
    """Return a connected producer: idempotent, acks from all replicas, zstd.

    Raises:
        KafkaError: No broker answered within 5 s.
        ConfigError: The password file cannot be read.
    """
    producer: Producer = KafkaProducer(
        bootstrap_servers=list(config.bootstrap),
        client_id=client_id,
        acks="all",
        enable_idempotence=True,
        compression_type="zstd",
        linger_ms=config.linger_ms,
        batch_size=262_144,
        max_request_size=2_097_152,
        delivery_timeout_ms=config.delivery_timeout_ms,
        request_timeout_ms=config.request_timeout_ms,
        max_block_ms=5_000,
        bootstrap_timeout_ms=5_000,
        reconnect_backoff_ms=100,
        reconnect_backoff_max_ms=2_000,
        **_security(config),
    )
    return producer


def send_acknowledged(
    producer: Producer, topic: str, key: bytes, value: bytes, headers: Sequence[tuple[str, bytes]]
) -> None:
    """Send one message and return when the broker has acknowledged it.

    Raises:
        UnavailableError: it did not in time, so nobody knows; the message may be sent again.
    """
    answers: list[BaseException | None] = []
    answered = threading.Event()

    def note(answer: BaseException | None) -> None:
        answers.append(answer)
        answered.set()

    sent = producer.send(topic, key=key, value=value, headers=list(headers))
    sent.add_callback(lambda *_: note(None))
    sent.add_errback(note)
    if not answered.wait(_RESEND_S) or answers[0] is not None:
        why = answers[0] if answers else f"no answer within {_RESEND_S:g} s"
        raise UnavailableError(f"{topic}: the broker did not acknowledge ({why}); check it and send again")


@contextmanager
def open_sender(config: KafkaConfig, client_id: str) -> Iterator[Producer]:
    """Yield a connected producer for single messages.

    Raises:
        UnavailableError: no broker answered within 5 s.
    """
    try:
        producer = make_producer(config, client_id)
    except KafkaError as err:
        raise UnavailableError(f"kafka at {', '.join(config.bootstrap)} does not answer: {err}") from err
    try:
        yield producer
    finally:
        producer.close(_RETRY_S)


def _security(config: KafkaConfig) -> dict[str, object]:
    names = ("security_protocol", "ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname", "sasl_mechanism")
    keys: dict[str, object] = {name: getattr(config, name) for name in names if getattr(config, name) is not None}
    if config.sasl_username is not None:
        keys["sasl_plain_username"] = config.sasl_username
    if config.sasl_password_file is not None:
        try:
            keys["sasl_plain_password"] = Path(config.sasl_password_file).read_text(encoding="utf-8").strip()
        except OSError as err:
            raise ConfigError(f"kafka.sasl_password_file: {err}; write the password there, mode 0600") from err
    return keys


class Publisher:
    """Sends what the spool holds until it is stopped, in a thread of its own; `open_publisher` makes it."""

    def __init__(self, probe_id: str, spool_path: Path, outbox: Outbox, clock: Clock) -> None:
        self.delivered = 0
        self.errors = 0  # sends of which nobody knows; each was or will be repeated
        self._key = probe_id.encode()
        self._path = spool_path
        self._outbox = outbox
        self._clock = clock
        self._in_flight: set[SpoolKey] = set()
        self._noted: set[SpoolKey] = set()  # acknowledged by the broker, not yet marked in the spool
        self._answers: deque[tuple[SpoolKey, BaseException | None]] = deque()  # from the producer's thread
        self._marked: deque[SpoolKey] = deque()  # from the outbox's thread
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._idle = threading.Event()
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
            except (KafkaError, sqlite3.Error, OSError) as err:
                self._complain("publisher begins again", err)
                self._stopping.wait(_RETRY_S)

    def _session(self, connect: Callable[[], Producer]) -> None:
        """Send over one producer and one reader; leaves on stop, on an error, or when the spool file was replaced."""
        producer = connect()
        try:
            file = self._path.stat().st_ino
            with open_reader(self._path, clock=self._clock) as reader:
                while not self._stopping.is_set() and self._path.stat().st_ino == file:
                    self.step(producer, reader)
                    self._wake.wait(_IDLE_S)
                    self._wake.clear()
            self._flush(producer)
        finally:
            producer.close(timeout=0)
            self._take_answers()
            self._in_flight.clear()  # unknown: they will be read from the spool again

    def step(self, producer: Producer, reader: SpoolReader) -> None:
        """Take the broker's answers and send what there is room for."""
        failed = self._take_answers()
        rows = [] if failed else self._next_rows(reader)
        for row in rows:
            self._send(producer, row)
        if failed:
            self._stopping.wait(_RETRY_S)
        elif not rows and not self._in_flight and not self._noted:
            self._idle.set()

    def _next_rows(self, reader: SpoolReader) -> list[SpoolRow]:
        known = self._in_flight | self._noted
        rows = reader.pending(MAX_IN_FLIGHT - len(self._in_flight), "live", skip=known)
        room = _BACKLOG_SHARE - len(self._in_flight) - len(rows)
        return rows + (reader.pending(room, "backlog", skip=known) if room > 0 else [])

    def _send(self, producer: Producer, row: SpoolRow) -> None:
        future = producer.send(row.key.topic, key=self._key, value=row.value, headers=row.headers)
        self._in_flight.add(row.key)
        future.add_callback(self._delivered, row.key)
        future.add_errback(self._unknown, row.key)

    def _delivered(self, key: SpoolKey, _metadata: object) -> None:
        self._answers.append((key, None))
        self._wake.set()

    def _unknown(self, key: SpoolKey, error: BaseException) -> None:
        self._answers.append((key, error))
        self._wake.set()

    def _take_answers(self) -> bool:
        """Hand the acknowledged keys to the outbox; return whether a send failed."""
        delivered, failed = [], False
        while self._marked:
            self._noted.discard(self._marked.popleft())
        while self._answers:
            key, error = self._answers.popleft()
            self._in_flight.discard(key)
            if error is None:
                delivered.append(key)
            else:
                failed = True
                self.errors += 1
                self._complain("delivery unknown, will be repeated", error)
        if delivered:
            self.delivered += len(delivered)
            self._noted.update(delivered)
            self._outbox.acknowledge(delivered, lambda: self._mark(delivered))
        return failed

    def _mark(self, keys: Sequence[SpoolKey]) -> None:
        self._marked.extend(keys)
        self._wake.set()

    def _flush(self, producer: Producer) -> None:
        with suppress(KafkaError):  # what is not acknowledged by then stays in the spool
            producer.flush(timeout=1.0)

    def _complain(self, event: str, error: BaseException) -> None:
        """Log a fault that repeats: counted always, said every 10 s at most."""
        if self._clock.mono_ns() - self._logged_ns >= _LOG_EVERY_NS:
            self._logged_ns = self._clock.mono_ns()
            log.warning(event, errors=self.errors, in_flight=len(self._in_flight), error=repr(error))


@contextmanager
def open_publisher(
    probe_id: str, spool_path: Path, outbox: Outbox, *, clock: Clock, connect: Callable[[], Producer]
) -> Iterator[Publisher]:
    """Publish in a thread; on leaving, what is on its way has 1 s to be acknowledged.

    `connect` makes a producer and may raise KafkaError as often as it likes: it is called again.
    """
    publisher = Publisher(probe_id, spool_path, outbox, clock)
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
