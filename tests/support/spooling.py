"""A probe without packets: its real spool and publisher, and the batches that a test gives it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

import msgspec

from probes.lanes import BacklogConfig
from probes.outbox import Outbox, open_outbox
from probes.publish import kafka_config, make_producer
from probes.publisher import open_publisher
from probes.spool import Spool, open_spool
from probes.spool_group import Entry
from probes.spool_reader import open_reader
from probes.spool_row import Headers
from schemas.clock import SystemClock
from schemas.codec import encode
from schemas.envelope import Signer
from schemas.kafka_access import KafkaAccess
from schemas.records import SummaryBatch
from schemas.topics import SUMMARY

CLOCK = SystemClock()
LOCAL = KafkaAccess()


@dataclass
class SpooledProbe:
    """Signs what it is given, under the run and the seq of its spool; `said` is what went out."""

    spool: Spool
    outbox: Outbox
    signer: Signer
    said: list[SummaryBatch] = field(default_factory=list)

    def say(self, batches: Sequence[SummaryBatch]) -> None:
        """Spool batches and return when they are on disk."""
        for batch in batches:
            self.outbox.put(Entry(self.spool.spool_id, SUMMARY.name, partial(self._make, batch)))
        assert self.outbox.flush(5.0)

    def unsent(self) -> int:
        """Return how many records wait for their acknowledgement."""
        with open_reader(self.spool.path, clock=CLOCK) as reader:
            return sum(held.unsent for held in reader.held())

    def _make(self, batch: SummaryBatch, seq: int) -> tuple[bytes, Headers]:
        own = msgspec.structs.replace(batch, spool_id=self.spool.spool_id, seq=seq)
        self.said.append(own)
        value = encode(own)
        return value, self.signer.sign(SUMMARY.name, value)


@contextmanager
def spooling(
    folder: Path, bootstrap: str, probe_id: str, signer: Signer, access: KafkaAccess = LOCAL
) -> Iterator[SpooledProbe]:
    """Run a probe's spool and publisher while the block lasts; its backlog lane opens at once."""
    kafka = msgspec.structs.replace(kafka_config(bootstrap, access), linger_ms=5)
    with (
        open_spool(folder / "spool.sqlite", clock=CLOCK) as spool,
        open_outbox(spool, clock=CLOCK) as outbox,
        open_publisher(
            probe_id,
            spool.path,
            outbox,
            clock=CLOCK,
            random=Random(1),  # noqa: S311 - a test wants the same jitter again
            connect=lambda: make_producer(kafka, probe_id),
            backlog=BacklogConfig(start_jitter_s=0.0),
        ),
    ):
        yield SpooledProbe(spool, outbox, signer)
