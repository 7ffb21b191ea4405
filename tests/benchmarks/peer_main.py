"""A consumer to be measured beside our worker, as its own process: `peer_main.py CONFIG.json PEER`.

Each is what its library's manual shows for batches, with the same flush of ours in the middle: take messages, flush,
commit. None of them survives what the worker must survive.
"""

import asyncio
import importlib
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from schemas.clock import SystemClock
from schemas.topics import SUMMARY
from streams.flush import Flusher
from streams.messages import RawMessage
from streams.registry import Registry
from streams.store import StoreConfig, open_store

REFRESH_S: Final = 5.0
GATHER_S: Final = 0.2


class PeerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a peer is told; the words are the worker's."""

    bootstrap: str
    group: str
    store: StoreConfig
    batch_messages: int
    fetch_max_bytes: int


@contextmanager
def flushing(config: PeerConfig) -> Iterator[Flusher]:
    """Yield the flush that the worker uses."""
    clock = SystemClock()
    with open_store(config.store) as store:
        yield Flusher(store, Registry(clock, refresh_s=REFRESH_S), clock)


async def aiokafka_loop(config: PeerConfig, flusher: Flusher) -> None:
    """Consume with aiokafka: getmany, flush in a thread, commit."""
    client: Any = importlib.import_module("aiokafka")
    consumer = client.AIOKafkaConsumer(
        SUMMARY.name,
        bootstrap_servers=config.bootstrap,
        group_id=config.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=config.fetch_max_bytes,
        fetch_max_bytes=config.fetch_max_bytes,
    )
    thread, loop = ThreadPoolExecutor(1), asyncio.get_running_loop()
    await consumer.start()
    while True:
        found = await consumer.getmany(timeout_ms=round(GATHER_S * 1000), max_records=config.batch_messages)
        messages = [_raw(each) for part in found.values() for each in part]
        if messages:
            await loop.run_in_executor(thread, flusher.flush, messages)
            await consumer.commit()


def _raw(message: Any) -> RawMessage:  # noqa: ANN401 - the client's own
    return RawMessage(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        key=message.key,
        value=message.value,
        headers=tuple(message.headers),
        received_ms=message.timestamp,
    )


def quixstreams_app(config: PeerConfig, flusher: Flusher) -> None:
    """Consume with quixstreams: a sink that flushes at each checkpoint, a checkpoint every so many messages."""
    quix: Any = importlib.import_module("quixstreams")
    base: Any = importlib.import_module("quixstreams.sinks.base").BaseSink
    app = quix.Application(
        broker_address=config.bootstrap,
        consumer_group=config.group,
        auto_offset_reset="earliest",
        commit_every=config.batch_messages,
        commit_interval=GATHER_S,
        consumer_extra_config={"max.partition.fetch.bytes": config.fetch_max_bytes},
        auto_create_topics=False,
        use_changelog_topics=False,
        loglevel="WARNING",
    )
    pending: list[RawMessage] = []

    def flush(_: object) -> None:
        if pending:
            flusher.flush(pending)
            pending.clear()

    def add(_: object, **named: Any) -> None:  # noqa: ANN401 - the library's own
        headers, received_ms = tuple(named.pop("headers") or ()), named.pop("timestamp")
        pending.append(RawMessage(headers=headers, received_ms=received_ms, **named))

    sink = type("Sink", (base,), {"flush": flush, "add": add, "setup": lambda _: None})()
    topic = app.topic(SUMMARY.name, key_deserializer="bytes", value_deserializer="bytes")
    app.dataframe(topic).sink(sink)
    app.run()


def main() -> None:
    """Consume until a signal."""
    config = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=PeerConfig)
    with flushing(config) as flusher:
        if sys.argv[2] == "aiokafka":
            asyncio.run(aiokafka_loop(config, flusher))
        else:
            quixstreams_app(config, flusher)


if __name__ == "__main__":
    main()
