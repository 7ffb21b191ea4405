"""A broker in memory behind the part of the producer that the publisher uses; the test decides what it answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class FakeFuture:
    """An answer to come."""

    on_ok: list[Callable[[object], Any]] = field(default_factory=list)
    on_error: list[Callable[[BaseException], Any]] = field(default_factory=list)

    def add_callback(self, f: Callable[..., Any], *args: object) -> None:
        self.on_ok.append(lambda value: f(*args, value))

    def add_errback(self, f: Callable[..., Any], *args: object) -> None:
        self.on_error.append(lambda error: f(*args, error))

    def succeed(self) -> None:
        for call in self.on_ok:
            call(object())

    def fail(self, error: BaseException) -> None:
        for call in self.on_error:
            call(error)


@dataclass(frozen=True)
class Sent:
    """A message as the producer got it."""

    topic: str
    key: bytes
    value: bytes
    headers: Sequence[tuple[str, bytes]]
    future: FakeFuture


@dataclass
class FakeProducer:
    """Keeps what was sent; acknowledges at once, or leaves that to the test."""

    acknowledges: bool = True
    refuses: dict[str, Exception] = field(default_factory=dict)  # topic -> what `send` raises
    sent: list[Sent] = field(default_factory=list)
    closed: bool = False

    def send(self, topic: str, *, key: bytes, value: bytes, headers: Sequence[tuple[str, bytes]]) -> FakeFuture:
        if topic in self.refuses:
            raise self.refuses[topic]
        future = _Answered() if self.acknowledges else FakeFuture()
        self.sent.append(Sent(topic, key, value, headers, future))
        return future

    def flush(self, timeout: float) -> None:
        """Nothing waits here."""

    def close(self, timeout: float) -> None:  # noqa: ARG002 - as KafkaProducer has it
        self.closed = True


class _Answered(FakeFuture):
    def add_callback(self, f: Callable[..., Any], *args: object) -> None:
        f(*args, object())
