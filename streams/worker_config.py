"""What a worker is told: which broker, which store, how eager."""

from typing import Literal

import msgspec

from schemas.kafka_access import KafkaAccess
from streams.store import StoreConfig


class WorkerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A worker: which broker, which store, how eager."""

    bootstrap: str = "127.0.0.1:9092"  # host:port, several with commas
    access: KafkaAccess = KafkaAccess()
    group: str = "isochrone-fold"
    store: StoreConfig = StoreConfig()
    batch_messages: int = 200  # a flush: more read back and fold less often, and hold more memory
    gather_s: float = 0.2  # the messages of one slot come together; readable within a second
    membership_refresh_s: float = 5.0
    report_every_s: float = 10.0
    times_plan: float = 20.0  # what a probe may bring in ten seconds; the rest goes to quarantine, for a replay
    session_timeout_s: float = 6.0  # a killed worker's partitions move after it
    start_deadline_s: float = 60.0  # for broker and store to answer at the start
    fetch_max_bytes: int = 4 * 1024 * 1024  # of a partition: more hold more memory behind an outage, 1 MiB is slower
    stop_s: float = 6.0  # after a signal, whatever the store does; supervisors kill after 10 s
    least_replicas: int = 1  # of each topic; 3 in production
    on_hole: Literal["stop", "continue"] = "stop"  # when the broker has deleted what was not read yet

    @property
    def servers(self) -> list[str]:
        """Return the brokers, host:port each."""
        return [server.strip() for server in self.bootstrap.split(",")]
