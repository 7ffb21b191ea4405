"""The one door to Kafka for sending: how a producer is made and what its errors mean; `publisher` says what goes."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Literal, Protocol, cast

from kafka import KafkaProducer
from kafka.errors import (
    InvalidTopicError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

from schemas.errors import ConfigError, UnavailableError
from schemas.kafka_access import KafkaAccess, check_access

BROKER_ERRORS: Final = (KafkaError,)
Fault = Literal["unknown", "topic", "too_large"]  # what an error says of a record: see `fault_of`

_CLOSE_S: Final = 1.0
_METADATA_MS: Final = 2_000  # a topic that is not there holds up the others no longer
_RESEND_S: Final = 35.0  # longer than the producer's own delivery timeout
_NO_TOPIC: Final = (UnknownTopicOrPartitionError, TopicAuthorizationFailedError, InvalidTopicError)
_TOO_LARGE: Final = (MessageSizeTooLargeError, RecordListTooLargeError)


class KafkaConfig(KafkaAccess, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the broker is and how to prove who we are."""

    bootstrap: tuple[str, ...] = ("127.0.0.1:9092",)
    linger_ms: int = 50
    delivery_timeout_ms: int = 30_000
    request_timeout_ms: int = 10_000


def kafka_config(bootstrap: str, access: KafkaAccess) -> KafkaConfig:
    """Return the config of servers (host:port, several with commas) and how to prove to them who we are."""
    said = {name: getattr(access, name) for name in KafkaAccess.__struct_fields__}
    return KafkaConfig(bootstrap=tuple(bootstrap.split(",")), **said)


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
        ConfigError: The password file cannot be read, or the broker may not be spoken to like this.
    """
    check_access(config, config.bootstrap)
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
        max_block_ms=_METADATA_MS,
        bootstrap_timeout_ms=5_000,
        reconnect_backoff_ms=100,
        reconnect_backoff_max_ms=2_000,
        **security_settings(config),
    )
    return producer


def give_up(producer: Producer, grace_s: float = 0.0) -> None:
    """Close a producer within about `grace_s`; what it could not send is answered with an error and sent by nobody.

    kafka-python 3.0 flushes before it closes; when that takes too long it raises, and its thread goes on sending. So
    the thread is ended first, which answers all that is left, and then nothing is left to flush.
    """
    try:
        producer.close(timeout=grace_s)
    except KafkaTimeoutError:
        sender = cast("Any", producer)._sender  # noqa: SLF001 - no public call ends it
        sender.force_close()
        sender.join(_CLOSE_S)
        with suppress(KafkaTimeoutError):  # it hangs in a socket and ends after that
            producer.close(timeout=0)


def fault_of(error: BaseException) -> Fault:
    """Return what an error says: nobody knows, its topic cannot be written now, or the record never fits."""
    if isinstance(error, _TOO_LARGE):
        return "too_large"
    return "topic" if isinstance(error, _NO_TOPIC) else "unknown"


def is_no_metadata(error: BaseException) -> bool:
    """Return whether `send` gave up because the broker did not tell of the topic in time."""
    return isinstance(error, KafkaTimeoutError)


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
        give_up(producer, _CLOSE_S)


def security_settings(config: KafkaAccess) -> dict[str, object]:
    """Return encryption and login as kafka-python wants them.

    Raises:
        ConfigError: The password file cannot be read.
    """
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
