"""The text of server.properties: one node, both roles, loopback only. Pure."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from schemas.errors import ConfigError

HOST: Final = "127.0.0.1"

# One node has no second replica, two cores need no more threads, and what is small starts fast.
_ALWAYS: Final = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "num.network.threads": "2",
    "num.io.threads": "2",
    "background.threads": "2",
    "num.partitions": "4",
    "offsets.topic.num.partitions": "4",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "2",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "auto.create.topics.enable": "false",  # a topic without its settings is a fault, not a convenience
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "log.segment.bytes": "67108864",
    "log.index.size.max.bytes": "1048576",  # enough for a segment of that size; the default maps ten times as much
    "log.cleaner.dedupe.buffer.size": "8388608",
    "message.max.bytes": "2097152",
    "controlled.shutdown.enable": "true",
    # A killed broker's registration must expire before its successor serves: 3 s with these two, 12 s without.
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
}


@dataclass(frozen=True, kw_only=True)
class BrokerPlace:
    """Where a broker lives: its state folder and its two ports on the loopback."""

    state_dir: Path
    port: int
    controller_port: int

    @property
    def bootstrap(self) -> str:
        """Return the address that clients are given."""
        return f"{HOST}:{self.port}"

    @property
    def log_dir(self) -> Path:
        """Return the folder of the data, and of the cluster id that belongs to it."""
        return self.state_dir / "data"

    @property
    def lock_path(self) -> Path:
        """Return the file that the broker holds locked while it lives."""
        return self.state_dir / "lock"

    @property
    def properties_path(self) -> Path:
        """Return where server.properties is written at every start."""
        return self.state_dir / "server.properties"


def server_properties(place: BrokerPlace, *, log_dir: Path | None = None) -> str:
    """Return the text of server.properties for `place`; `log_dir` stands in for its own while it is formatted.

    Raises:
        ConfigError: a path with a comma, which Kafka would read as two folders, or one port for both listeners.
    """
    data = str(log_dir or place.log_dir)
    if "," in data:
        raise ConfigError(f"kafka state folder {data}: Kafka splits paths at a comma; choose a path without one")
    if place.port == place.controller_port:
        raise ConfigError(f"kafka.port and kafka.controller_port are both {place.port}; they must differ")
    listeners = f"PLAINTEXT://{HOST}:{place.port},CONTROLLER://{HOST}:{place.controller_port}"
    own = {
        "controller.quorum.voters": f"1@{HOST}:{place.controller_port}",
        "listeners": listeners,
        "advertised.listeners": f"PLAINTEXT://{HOST}:{place.port}",
        "log.dirs": data.replace("\\", "\\\\"),
    }
    return "".join(f"{key}={value}\n" for key, value in (_ALWAYS | own).items())
