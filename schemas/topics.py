"""The topics, as reviewed data: producers write what stands here, the start checks it at the broker."""

from typing import Final

import msgspec

DAY_MS: Final = 86_400_000


class TopicSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One topic. Partitions are fixed for ever: a key has one owner; growth is a new topic or a full drain."""

    name: str
    partitions_embedded: int = 16
    partitions_production: int = 64
    retention_ms: int = 7 * DAY_MS
    max_message_bytes: int = 2 * 1024 * 1024

    def settings(self) -> dict[str, str]:
        """Return the topic settings that the pipeline relies on, as the broker names them."""
        return {
            "message.timestamp.type": "LogAppendTime",  # lateness is judged by the broker's clock
            "retention.ms": str(self.retention_ms),
            "max.message.bytes": str(self.max_message_bytes),
            "cleanup.policy": "delete",
        }


SUMMARY: Final = TopicSpec(name="isochrone.summary.v1")
HEALTH: Final = TopicSpec(name="isochrone.health.v1")
THROUGHPUT: Final = TopicSpec(name="isochrone.throughput.v1")
TOPICS: Final = (SUMMARY, HEALTH, THROUGHPUT)
