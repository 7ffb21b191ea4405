"""Before a worker takes anything: the store as relied on, the topics whole, the group where it was, no hole unread.

Left to itself a client jumps over what the broker has deleted, without a word.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiokafka  # type: ignore[import-untyped]  # Faust's client, without types
import structlog
from aiokafka.admin import AIOKafkaAdminClient  # type: ignore[import-untyped]  # same
from aiokafka.errors import KafkaError  # type: ignore[import-untyped]  # same

from schemas.clock import Clock
from schemas.errors import StoreTransientError, UnavailableError
from schemas.topics import TOPICS
from streams.kafka_login import client_settings
from streams.migrate import check_migrated
from streams.positions import Standing, forgotten_topics, hole_error, holes
from streams.store import open_store
from streams.worker_config import WorkerConfig

log = structlog.get_logger(__name__)


def await_store(config: WorkerConfig, clock: Clock) -> None:
    """Return when the store answers and is as relied on.

    Raises:
        UnavailableError: it did not by the deadline, or is not.
    """
    deadline_ns = clock.mono_ns() + round(config.start_deadline_s * 1e9)
    with open_store(config.store) as store:
        while True:
            try:
                check_migrated(store)
            except StoreTransientError as err:
                if clock.mono_ns() > deadline_ns:
                    raise UnavailableError(f"waited {config.start_deadline_s} s for the store: {err}") from err
                clock.sleep_s(0.5)
            else:
                return


async def await_offsets(config: WorkerConfig) -> None:
    """Return when the topics are as relied on and the group stands where it may begin.

    Raises:
        UnavailableError: Kafka did not answer by the deadline, or a topic is absent or kept too few times.
        HoleError: the broker has deleted what the group did not read yet.
    """
    try:
        await asyncio.wait_for(_retry_offsets(config), config.start_deadline_s)
    except TimeoutError as err:
        raise UnavailableError(f"waited {config.start_deadline_s} s for Kafka at {config.bootstrap}") from err


async def _retry_offsets(config: WorkerConfig) -> None:
    while True:
        try:
            await _place_offsets(config, await _partitions(config))
        except KafkaError as err:
            log.warning("kafka away", bootstrap=config.bootstrap, error=f"{type(err).__name__}: {err}")
            await asyncio.sleep(0.5)
        else:
            return


async def _partitions(config: WorkerConfig) -> list[Any]:
    """Return every partition of every topic; refuse topics that are absent or kept too few times."""
    admin = AIOKafkaAdminClient(bootstrap_servers=config.servers, **client_settings(config.access))
    try:
        await admin.start()
        found = await admin.describe_topics([spec.name for spec in TOPICS])
    finally:
        await admin.close()
    absent = [topic["topic"] for topic in found if topic["error_code"] != 0]
    if absent:
        raise UnavailableError(f"no topic {', '.join(absent)} at {config.bootstrap}; `isochrone up` makes them")
    copies = {topic["topic"]: min(len(part["replicas"]) for part in topic["partitions"]) for topic in found}
    few = [f"{name} ({count})" for name, count in copies.items() if count < config.least_replicas]
    if few:
        raise UnavailableError(
            f"topics with fewer than {config.least_replicas} replicas at {config.bootstrap}: {', '.join(few)};"
            " reassign them with kafka-reassign-partitions.sh"
        )
    return [
        aiokafka.TopicPartition(topic["topic"], part["partition"]) for topic in found for part in topic["partitions"]
    ]


async def _place_offsets(config: WorkerConfig, parts: Sequence[Any]) -> None:
    """Give a new group its first position, and find what the broker deleted before this group read it."""
    async with open_reader(config, parts) as consumer:
        found = await standings(consumer, parts)
        lost = holes(found)
        if lost and config.on_hole == "stop":
            raise hole_error(config.group, lost)
        for name, text in lost.items():
            log.error("goes on behind a hole", partition=name, hole=text)
        first = {part: found[_name(part)].first for part in parts}
        for topic in forgotten_topics(found):
            log.error(
                "topic without a position in a group that has others: made anew?", topic=topic, group=config.group
            )
        placed = {part: first[part] for part in parts if found[_name(part)].committed is None or _name(part) in lost}
        if placed:
            await consumer.commit(placed)
            log.info("first position set", group=config.group, partitions=len(placed))


@asynccontextmanager
async def open_reader(config: WorkerConfig, parts: Sequence[Any] = ()) -> AsyncIterator[Any]:
    """Yield a consumer that knows where the group stands, and is no member of it."""
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=config.servers,
        group_id=config.group,
        enable_auto_commit=False,
        **client_settings(config.access),
    )
    try:
        await consumer.start()
        if parts:
            consumer.assign(parts)
        yield consumer
    finally:
        await consumer.stop()


async def standings(consumer: Any, parts: Sequence[Any]) -> dict[str, Standing]:  # noqa: ANN401 - aiokafka's own
    """Return where the group stands in each partition."""
    first, committed = await consumer.beginning_offsets(parts), {}
    for part in parts:
        committed[part] = await consumer.committed(part)
    end = await consumer.end_offsets(parts)
    return {_name(part): Standing(committed[part], first[part], end[part]) for part in parts}


def _name(part: Any) -> str:  # noqa: ANN401 - a partition of aiokafka or of Faust
    return f"{part.topic} {part.partition}"
