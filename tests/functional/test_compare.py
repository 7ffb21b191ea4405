"""Windows compared with their slots on a real engine; what differs is named, and mended through the topic."""

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from support import wire_messages as wire
from support.plain_fold import fold_plainly
from support.produced import produce, slots_of
from support.stores import FixedRegistry, sql, windows

from deploy.refold import refold
from deploy.topics_admin import ensure_topics, messages_at
from schemas.clock import SystemClock, floor_ms, wall_ms
from schemas.kafka_access import KafkaAccess
from schemas.topics import SUMMARY, TOPICS
from streams.compare import Position, differing_windows, missing_slots, positions_of
from streams.flush import Flusher
from streams.messages import RawMessage
from streams.store import Store, StoreConfig

CLOCK = SystemClock()


class Board:
    """Two minutes of a probe, stored an hour ago; and what the comparison says of them."""

    def __init__(self, store: Store, config: StoreConfig) -> None:
        self.store = store
        self.config = config
        self.first_ms = floor_ms(wall_ms(CLOCK) - 3_600_000, 60_000)
        batches = [wire.summary(slot_start_ms=self.first_ms + seq * 10_000, seq=seq) for seq in range(12)]
        self.messages = [
            wire.message(batch, offset=100 + batch.seq, received_ms=self.first_ms + 130_000 + batch.seq)
            for batch in batches
        ]
        self.flush(self.messages)

    def flush(self, messages: list[RawMessage]) -> None:
        Flusher(self.store, FixedRegistry(), CLOCK).flush(messages)

    def run(self, statement: str) -> None:
        with sql(self.config) as run:
            run(statement)

    def differing(self, *, settle_ms: int = 60_000) -> dict[str, list[tuple[int, int]]]:
        span = {"since_ms": self.first_ms - 3_600_000, "until_ms": wall_ms(CLOCK)}
        found: dict[str, list[tuple[int, int]]] = {}
        for each in differing_windows(self.store, **span, settle_ms=settle_ms):
            assert each.probe_id == wire.PROBE
            found.setdefault(each.kind, []).append(((each.minute_s * 1000 - self.first_ms) // 60_000, each.streams))
        return found

    def mend(self) -> list[Position]:
        """Flush again what would be sent again."""
        span = {"since_ms": self.first_ms - 3_600_000, "until_ms": wall_ms(CLOCK)}
        lost = [each.position for each in missing_slots(self.store, **span)]
        found = sorted({*positions_of(self.store, differing_windows(self.store, **span)), *lost})
        self.flush([message for message in self.messages if message.offset in {each.offset for each in found}])
        return found


@pytest.fixture
def board(store: Store, store_config: StoreConfig) -> Board:
    return Board(store, store_config)


pytestmark = pytest.mark.needs_engine


def test_what_was_flushed_does_not_differ_whatever_its_revisions_and_restarts(
    store: Store, store_config: StoreConfig
) -> None:
    now_ms = floor_ms(wall_ms(CLOCK) - 3_600_000, 10_000)
    batches = produce(7, now_ms=now_ms, slots=30, late_ms=3_600_000)
    messages = [wire.message(batch, offset=n, received_ms=now_ms) for n, batch in enumerate(batches)]
    Flusher(store, FixedRegistry(), CLOCK).flush(messages)
    span = {"since_ms": now_ms - 3 * 3_600_000, "until_ms": wall_ms(CLOCK)}
    assert differing_windows(store, **span) == []
    assert missing_slots(store, **span) == []
    assert windows(store_config) == fold_plainly(slots_of(batches))


def test_a_window_that_is_absent_is_named_and_folded_again_from_one_message_of_its_minute(board: Board) -> None:
    board.run("TRUNCATE TABLE kpi_1m")
    assert board.differing() == {"absent": [(0, 3), (1, 3)]}
    assert [(each.spool_id, each.seq) for each in board.mend()] == [(wire.SPOOL, 5), (wire.SPOOL, 11)]
    assert board.differing() == {}


def test_a_window_that_knows_less_is_behind(board: Board) -> None:
    board.run("CREATE TABLE kept AS kpi_1m ENGINE = Memory")
    board.run("INSERT INTO kept SELECT * REPLACE (version - 1 AS version) FROM kpi_1m_latest WHERE stream_id = 11")
    board.run("TRUNCATE TABLE kpi_1m")
    board.flush(board.messages[6:7])  # the second minute is right again
    board.run("INSERT INTO kpi_1m SELECT * FROM kept")
    assert board.differing() == {"behind": [(0, 1)], "absent": [(0, 2)]}
    board.mend()
    assert board.differing() == {}


def test_a_window_with_other_figures_of_the_same_version_is_altered_and_mended(board: Board) -> None:
    board.run(
        "INSERT INTO kpi_1m SELECT * REPLACE (lost_forward + 1 AS lost_forward) FROM kpi_1m_latest WHERE stream_id = 12"
    )
    assert board.differing() == {"altered": [(0, 1), (1, 1)]}
    board.mend()
    assert board.differing() == {}


def test_slots_that_the_store_lost_are_named_with_the_message_that_brings_them_back(board: Board) -> None:
    board.run("TRUNCATE TABLE summary_10s")
    board.flush(board.messages[:1])
    assert board.differing() == {"ahead": [(0, 3), (1, 3)]}
    assert sorted(each.seq for each in board.mend()) == list(range(1, 12))
    assert board.differing() == {}


def test_a_window_whose_slots_came_in_just_now_is_left_to_its_worker(board: Board) -> None:
    board.run("TRUNCATE TABLE kpi_1m")
    assert board.differing(settle_ms=3_600_000) == {}


@pytest.mark.needs_broker
def test_a_message_is_sent_through_the_topic_again_and_one_that_is_gone_is_named(kafka_broker: str) -> None:
    ensure_topics(kafka_broker, TOPICS, "embedded")
    headers = [("isochrone-key", b"k"), ("isochrone-signature", b"\0\1")]
    producer = KafkaProducer(bootstrap_servers=kafka_broker, acks="all")
    sent = producer.send(SUMMARY.name, key=b"m/p1", value=b"bytes", headers=headers, partition=1).get(timeout=20)
    producer.close(timeout=5)
    here = Position(partition=1, offset=sent.offset, probe_id="m/p1", spool_id=wire.SPOOL, seq=4)
    gone = Position(partition=1, offset=sent.offset + 1000, probe_id="m/p1", spool_id=wire.SPOOL, seq=5)
    assert refold(kafka_broker, [here, gone], KafkaAccess()) == (1, [gone])
    consumer = KafkaConsumer(bootstrap_servers=kafka_broker, enable_auto_commit=False)
    end = consumer.end_offsets([TopicPartition(SUMMARY.name, 1)])[TopicPartition(SUMMARY.name, 1)]
    consumer.close()
    first, again = messages_at(kafka_broker, SUMMARY.name, [(1, sent.offset), (1, end - 1)])
    assert first == again == (b"m/p1", b"bytes", headers)
