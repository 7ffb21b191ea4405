"""Reading ahead: behind an outage the newest messages are stored first, and those in between when their turn comes.

A partition is first in, first out, so the present would wait for the whole backlog. While more waits than a few flushes
take, a second reader, no member of the group, follows the ends of the same partitions, and what it brings is stored in
small flushes between two of the backlog. It acknowledges nothing: the group comes by later and stores the same once
more, which changes no table. So nothing that it remembers is needed, and a crash at any point costs nothing. No clock
is looked at: what is far behind is told by what waits, and where the present begins by counting back from the end.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, NoReturn, Protocol

import aiokafka  # type: ignore[import-untyped]  # Faust's client, without types
import structlog
from aiokafka.errors import KafkaError  # type: ignore[import-untyped]  # same

from streams.messages import RawMessage

BEHIND_FLUSHES: Final = 4  # so much unread is more than the present can wait for
LOOK_S: Final = 0.25
CALM_LOOKS: Final = 6  # so many with less than a flush unread: the group has caught up
FETCH_MS: Final = 500

log = structlog.get_logger(__name__)

Owned = Callable[[], Iterable[Any]]


class Intake(Protocol):
    """Where messages wait for the store."""

    @property
    def places(self) -> Mapping[tuple[str, int], int]:
        """Return, by topic and partition, the first offset not stored in its turn; none where nothing came yet."""

    async def put_ahead(self, message: RawMessage) -> None:
        """Take a message out of its turn; return when there is room."""


class Ahead:
    """Follows the ends of a worker's partitions while it is behind."""

    def __init__(
        self, reading: Callable[[], AbstractAsyncContextManager[Any]], owned: Owned, intake: Intake, *, batch: int
    ) -> None:
        """Keep what it works with.

        Args:
            reading: opens a consumer of aiokafka that knows the places of the group, is no member of it and has no
                partitions.
            owned: says which partitions the worker owns now.
            intake: takes the messages.
            batch: messages of a flush; it begins half of them before the end.
        """
        self._reading = reading
        self._owned = owned
        self._intake = intake
        self._batch = batch
        self._stood: dict[Any, int] = {}  # by partition of this worker, where the group stood when it was last seen

    async def run(self) -> NoReturn:
        """Read ahead whenever the worker is behind, for ever."""
        while True:
            try:
                async with self._reading() as reader:
                    await self._look(reader)
            except KafkaError as err:
                log.warning("cannot read ahead", error=f"{type(err).__name__}: {err}")
            await asyncio.sleep(LOOK_S)

    async def _look(self, reader: Any) -> NoReturn:  # noqa: ANN401 - aiokafka's own
        while True:
            parts = self._parts()
            if list(self._stood) != parts:
                self._stood = {part: await reader.committed(part) or 0 for part in parts}
            if await self._unread(reader) > BEHIND_FLUSHES * self._batch:
                await self._follow(reader, parts)
            await asyncio.sleep(LOOK_S)

    async def _follow(self, reader: Any, parts: Sequence[Any]) -> None:  # noqa: ANN401 - aiokafka's own
        """Bring the newest until the group has caught up or owns other partitions."""
        reader.assign(parts)
        await self._to_the_present(reader)
        log.info("reads ahead", partitions=len(parts))
        calm = 0
        while calm < CALM_LOOKS and self._parts() == parts:
            found = await reader.getmany(timeout_ms=FETCH_MS, max_records=self._batch // 2)
            for record in (each for records in found.values() for each in records):
                await self._intake.put_ahead(raw_record(record))
            if await _left(reader, found) > self._batch:  # the store was away meanwhile
                await self._to_the_present(reader)
            calm = calm + 1 if await self._unread(reader) < self._batch else 0
        reader.unsubscribe()
        log.info("reads ahead no longer", caught_up=calm == CALM_LOOKS)

    def _parts(self) -> list[Any]:
        return sorted(aiokafka.TopicPartition(part.topic, part.partition) for part in self._owned())

    def _places(self) -> Mapping[Any, int]:
        """Return the first offset of each partition that the group has not stored."""
        known = self._intake.places
        self._stood = {part: known.get((part.topic, part.partition), stood) for part, stood in self._stood.items()}
        return self._stood

    async def _unread(self, reader: Any) -> int:  # noqa: ANN401 - aiokafka's own
        """Return how many messages the group has not stored yet."""
        ends = await reader.end_offsets(list(self._stood)) if self._stood else {}
        return sum(max(0, ends[part] - place) for part, place in self._places().items())

    async def _to_the_present(self, reader: Any) -> None:  # noqa: ANN401 - aiokafka's own
        """Go to where the last half flush of messages begins, were they spread evenly over what has unread ones.

        What the group has stored is not read again.
        """
        parts = list(self._stood)
        first, end = await reader.beginning_offsets(parts), await reader.end_offsets(parts)
        places = {part: max(place, first[part]) for part, place in self._places().items()}
        back = self._batch // 2 // max(1, sum(end[part] > places[part] for part in parts))
        for part in parts:
            reader.seek(part, max(places[part], end[part] - back))


async def _left(reader: Any, parts: Iterable[Any]) -> int:  # noqa: ANN401 - aiokafka's own
    """Return how many messages of partitions that were just read come behind those."""
    return sum([(reader.highwater(part) or 0) - await reader.position(part) for part in parts])


def raw_record(record: Any) -> RawMessage:  # noqa: ANN401 - aiokafka's own
    """Return what aiokafka took off a topic as the pipeline knows it."""
    return RawMessage(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=record.key if record.key is not None else b"",
        value=record.value if record.value is not None else b"",
        headers=tuple((name, value if value is not None else b"") for name, value in record.headers or ()),
        received_ms=record.timestamp,
    )
