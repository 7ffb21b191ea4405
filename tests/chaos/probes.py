"""The probes of the bench: they sign, send, and send again until the broker has acknowledged."""

from collections import deque
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from kafka import KafkaProducer
from kafka.errors import KafkaError
from support.meshes import SMALL

from schemas.codec import encode
from schemas.envelope import Signer
from schemas.mesh import Mesh, parse_mesh, with_probe_keys
from schemas.records import SummaryBatch
from schemas.topics import SUMMARY

ANSWER_S: Final = 90.0  # a broker that is killed and frozen is back by then
Position = tuple[str, int, int]


class Letter(NamedTuple):
    """A message ready for the topic."""

    key: str
    value: bytes
    headers: Sequence[tuple[str, bytes]]


class Probes:
    """All probes of a small mesh; `sent` is the produced file of the oracle."""

    def __init__(self, bootstrap: str) -> None:
        bare = parse_mesh(SMALL, source="small.toml")
        self._signers = {probe.id: Signer(f"key-{n}", bytes([n + 1]) * 32) for n, probe in enumerate(bare.probes)}
        public = {probe: [(by.key_id, by.public.hex())] for probe, by in self._signers.items()}
        self.mesh: Mesh = with_probe_keys(bare, public)
        self.sent: list[SummaryBatch] = []
        self.poisoned: dict[Position, str] = {}  # -> what was wrong with it
        self.repeats = 0
        self._producer = KafkaProducer(
            bootstrap_servers=bootstrap, acks="all", linger_ms=5, delivery_timeout_ms=10_000, request_timeout_ms=3_000
        )
        self._waiting: deque[tuple[Letter, Any, str]] = deque()

    @property
    def streams_of(self) -> dict[str, list[int]]:
        """Return the streams that each probe measures."""
        streams: dict[str, list[int]] = {}
        for stream in self.mesh.streams:
            streams.setdefault(stream.probe_id, []).append(stream.id)
        return streams

    def send(self, batch: SummaryBatch) -> None:
        """Send a batch that must be stored."""
        self.sent.append(batch)
        self._post(self.letter(batch), "")

    def again(self, batches: Sequence[SummaryBatch]) -> None:
        """Send what was sent already, as a probe whose acknowledgement was lost."""
        self.repeats += len(batches)
        for batch in batches:
            self._post(self.letter(batch), "")

    def poison(self, letter: Letter, why: str) -> None:
        """Send what must be refused."""
        self._post(letter, why)

    def letter(self, batch: SummaryBatch) -> Letter:
        """Return a batch, signed by its probe."""
        return self.signed(batch.probe_id, encode(batch))

    def signed(self, probe_id: str, value: bytes) -> Letter:
        """Return any bytes, signed by a probe."""
        return Letter(probe_id, value, self._signers[probe_id].sign(SUMMARY.name, value))

    def deliver(self) -> None:
        """Return when the broker has acknowledged everything.

        Raises:
            TimeoutError: it did not within 90 s.
        """
        for _ in range(round(ANSWER_S)):
            for _ in range(len(self._waiting)):
                letter, future, why = self._waiting.popleft()
                try:
                    answer = future.get(timeout=20)
                except KafkaError:  # nobody knows: again
                    self._post(letter, why)
                    continue
                if why != "":
                    self.poisoned[answer.topic, answer.partition, answer.offset] = why
            if not self._waiting:
                return
        raise TimeoutError(f"waited for the broker to acknowledge {len(self._waiting)} messages")

    def close(self) -> None:
        """Give the connection back."""
        self._producer.close(timeout=5)

    def _post(self, letter: Letter, why: str) -> None:
        future = self._producer.send(
            SUMMARY.name, key=letter.key.encode(), value=letter.value, headers=list(letter.headers)
        )
        self._waiting.append((letter, future, why))
