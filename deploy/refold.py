"""Refold: messages that the topic still holds are sent through it again, byte for byte."""

from collections.abc import Sequence
from typing import NamedTuple

from deploy.topics_admin import messages_at
from probes.publish import kafka_config, open_sender, send_acknowledged
from schemas.kafka_access import KafkaAccess
from schemas.topics import SUMMARY
from streams.compare import Position


class Refolded(NamedTuple):
    """What was sent again, and what the topic holds no more: the probe's spool may."""

    sent: int
    gone: list[Position]


def refold(bootstrap: str, positions: Sequence[Position], access: KafkaAccess) -> Refolded:
    """Send the messages at these positions of the topic of summaries again; their worker folds their windows anew.

    Raises:
        UnavailableError: the broker did not answer or acknowledge by its deadline; those before were sent.
        ConfigError: the broker may not be spoken to like this.
    """
    held = messages_at(bootstrap, SUMMARY.name, [(each.partition, each.offset) for each in positions], access)
    with open_sender(kafka_config(bootstrap, access), "isochrone-refold") as producer:
        for message in held:
            if message is not None:
                send_acknowledged(producer, SUMMARY.name, *message)
    gone = [position for position, message in zip(positions, held, strict=True) if message is None]
    return Refolded(len(positions) - len(gone), gone)
