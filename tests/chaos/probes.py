"""The probes of the bench: they sign, send, and send again until the broker has acknowledged."""

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from kafka import KafkaProducer
from kafka.errors import KafkaError
from support.traffic import Fleet, Letter, ProducedFile

from schemas.records import Record, SummaryBatch
from schemas.topics import SUMMARY

ANSWER_S: Final = 90.0  # a broker that is killed and frozen is back by then
Position = tuple[str, int, int]


class Probes:
    """All probes of a fleet; `produced` is the file of the oracle."""

    def __init__(self, bootstrap: str, fleet: Fleet, path: Path) -> None:
        self.fleet = fleet
        self.produced = ProducedFile(path)
        self.sent: list[SummaryBatch] = []  # their columns are shared by many
        self.beats = 0
        self.poisoned: dict[Position, str] = {}  # -> what was wrong with it
        self.repeats = 0
        self._producer = KafkaProducer(
            bootstrap_servers=bootstrap,
            acks="all",
            linger_ms=5,
            compression_type="zstd",
            delivery_timeout_ms=10_000,
            request_timeout_ms=3_000,
        )
        self._waiting: deque[tuple[Letter, Any]] = deque()

    def send(self, record: Record) -> None:
        """Send what must be stored."""
        letter = self.fleet.letter(record)
        self.produced.add(letter)
        if isinstance(record, SummaryBatch):
            self.sent.append(record)
        else:
            self.beats += 1
        self._post(letter)

    def again(self, batches: Sequence[SummaryBatch]) -> None:
        """Send what was sent already, as a probe whose acknowledgement was lost."""
        self.repeats += len(batches)
        for batch in batches:
            self._post(self.fleet.letter(batch))

    def poison(self, probe_id: str, value: bytes, why: str, *, sign: bool = True) -> None:
        """Send what must be refused."""
        letter = self.fleet.signed(SUMMARY.name, probe_id, value, why)
        self._post(letter if sign else letter._replace(headers=()))

    def deliver(self) -> None:
        """Return when the broker has acknowledged everything.

        Raises:
            TimeoutError: it did not within 90 s.
        """
        for _ in range(round(ANSWER_S)):
            for _ in range(len(self._waiting)):
                letter, future = self._waiting.popleft()
                try:
                    answer = future.get(timeout=20)
                except KafkaError:  # nobody knows: again
                    self._post(letter)
                    continue
                if letter.fate != "":
                    self.poisoned[answer.topic, answer.partition, answer.offset] = letter.fate
            if not self._waiting:
                return
        raise TimeoutError(f"waited for the broker to acknowledge {len(self._waiting)} messages")

    def close(self) -> None:
        """Give the connection back."""
        self._producer.close(timeout=5)
        self.produced.close()

    def _post(self, letter: Letter) -> None:
        key, headers = letter.probe_id.encode(), list(letter.headers)
        self._waiting.append((letter, self._producer.send(letter.topic, key=key, value=letter.value, headers=headers)))
