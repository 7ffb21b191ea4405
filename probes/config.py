"""The agent's configuration, as a TOML file holds it; reading the file is the caller's."""

from typing import Annotated

import msgspec

from probes.lanes import BacklogConfig
from probes.plan import LoadedSpan
from probes.publish import KafkaConfig
from probes.spool import SpoolConfig

Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]


class ThroughputSlot(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One scheduled test; the agent that serves `source` sends, a receiver at the destination counts."""

    id: str
    start_ms: int  # UTC
    source: str  # endpoint ids
    destination: str
    source_address: str
    destination_address: str
    set_bps: Annotated[int, msgspec.Meta(ge=10_000, le=10_000_000_000)]  # at the IP layer
    port: Port = 8620
    duration_ms: Annotated[int, msgspec.Meta(ge=100, le=60_000)] = 3_000
    packet_bytes: Annotated[int, msgspec.Meta(ge=100, le=9_000)] = 1_200  # IP packet


class AgentConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one probe process needs to know beside its slice of the mesh."""

    probe_id: str
    slice_path: str
    key_path: str
    spool_path: str
    kafka: KafkaConfig = KafkaConfig()
    spool: SpoolConfig = SpoolConfig()
    backlog: BacklogConfig = BacklogConfig()  # how fast it catches up after an outage
    netns: dict[str, str] = {}  # source endpoint -> named network namespace to send from
    throughput: tuple[ThroughputSlot, ...] = ()  # tests that this agent sends
    loaded: tuple[LoadedSpan, ...] = ()  # times in which tests, its own or others', load its streams
    tick_ms: Annotated[int, msgspec.Meta(ge=1, le=100)] = 20  # longest sleep; what is due wakes it anyway
