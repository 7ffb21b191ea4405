"""The flush on a real engine: kills, repeats, late slots and restarts leave what plain arithmetic gives."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from support import wire_messages as wire
from support.plain_fold import fold_plainly
from support.produced import messages_of, produce, slot_columns, slots_of
from support.stores import FixedRegistry, sql, windows

from schemas.clock import SystemClock, floor_ms, wall_ms
from schemas.envelope import Signer
from schemas.errors import StoreTransientError
from schemas.records import SummaryBatch
from schemas.topics import DAY_MS, SUMMARY
from streams import flush as flush_module
from streams.breaker import BreakerTrippedError
from streams.columns import Columns
from streams.flush import Flusher
from streams.fold import fold
from streams.membership import Membership
from streams.messages import RawMessage
from streams.rows import summary_columns
from streams.store import Store, StoreConfig
from streams.verify import VerifiedSummary

pytestmark = pytest.mark.needs_engine
CLOCK = SystemClock()


class Killed(BaseException):
    """The process ends here, as far as the flush can tell."""


def fresh_ms() -> int:
    return floor_ms(wall_ms(CLOCK), 10_000)


def flusher(store: Store, membership: Membership | None = None, at: Callable[[str], None] | None = None) -> Flusher:
    return Flusher(store, FixedRegistry(membership), CLOCK, at=at if at is not None else lambda _: None)


def tables(config: StoreConfig) -> list[Any]:
    with sql(config) as run:
        names = ("summary_10s", "batch", "quarantine", "probe_health", "throughput")
        return [run(f"SELECT * FROM {name}_latest ORDER BY ALL") for name in names] + [  # noqa: S608 - constants
            run("SELECT * EXCEPT written_ms FROM kpi_1m_latest ORDER BY ALL")
        ]


def deliver_with_kills(store: Store, messages: Sequence[RawMessage], chance: random.Random) -> int:
    """Deliver in pieces as a partition would: a piece is sent again, to a new process, until it is flushed whole."""
    kills = 0

    def at(point: str) -> None:
        if chance.random() < 0.15:
            raise Killed(point)

    worker = flusher(store, at=at)
    offset = 0
    while offset < len(messages):
        size = chance.randrange(1, 30)
        try:
            worker.flush(messages[offset : offset + size])
            offset += size
        except Killed:
            kills += 1
            MEMORY.clear()
            worker = flusher(store, at=at)
    return kills


MEMORY: dict[tuple[Any, ...], dict[str, Any]] = {}


def memory_slots(messages: Sequence[SummaryBatch]) -> Callable[[Store, Sequence[tuple[str, int]], object], Columns]:
    """Return the control's way to know a window: what this process has seen of it."""
    by_key = {(b.probe_id, b.spool_id, b.slot_start_ms // 1000, b.revision): slots_of([b]) for b in messages}

    def read(store: Store, touched: Sequence[tuple[str, int]], _besides: object) -> Columns:
        with sql(store.config) as run:
            newest = run(
                "SELECT DISTINCT probe_id, toString(spool_id), toUnixTimestamp(slot), revision FROM summary_10s"
            )
        for key in set(newest) - SEEN:
            SEEN.add(key)
            MEMORY.update({(*key, slot["stream_id"]): slot for slot in by_key[key]})
        held = [s for s in MEMORY.values() if (s["probe_id"], s["slot"] // 60 * 60) in set(touched)]
        return slot_columns(held)

    return read


SEEN: set[tuple[Any, ...]] = set()


@pytest.mark.parametrize(("seed", "part_slots"), [(1, flush_module.PART_SLOTS), (2, 0)])  # 0: every window alone
def test_kills_repeats_late_slots_and_restarts_leave_the_windows_right(
    seed: int, part_slots: int, store: Store, store_config: StoreConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flush_module, "PART_SLOTS", part_slots)
    chance = random.Random(seed)  # noqa: S311 - a test wants the same numbers again
    batches = produce(seed, now_ms=fresh_ms(), slots=40)
    delivered = [*batches, *chance.choices(batches, k=len(batches) // 10)]
    chance.shuffle(delivered)
    kills = deliver_with_kills(store, messages_of(delivered, received_ms=fresh_ms()), chance)
    assert kills >= 3
    assert windows(store_config) == fold_plainly(slots_of(batches))


def test_f15_slots_on_both_sides_of_midnight_are_stored_once_though_a_flush_writes_two_partitions(
    store: Store, store_config: StoreConfig
) -> None:
    chance = random.Random(15)  # noqa: S311 - a test wants the same numbers again
    midnight_ms = floor_ms(wall_ms(CLOCK), DAY_MS)
    batches = [
        b for b in produce(15, now_ms=midnight_ms + 60_000, slots=12) if b.slot_start_ms > midnight_ms - DAY_MS // 2
    ]
    delivered = [*batches, *chance.choices(batches, k=len(batches) // 2)]
    kills = deliver_with_kills(store, messages_of(delivered, received_ms=midnight_ms + 60_000), chance)
    assert kills >= 1
    assert windows(store_config) == fold_plainly(slots_of(batches))
    with sql(store_config) as run:
        days = run("SELECT toDate(slot, 'UTC') AS day, count() FROM summary_10s_latest GROUP BY day ORDER BY day")
    assert [count for _, count in days] == [
        len(slots_of([b for b in newest(batches) if (b.slot_start_ms >= midnight_ms) == after]))
        for after in (False, True)
    ]


def newest(batches: Sequence[SummaryBatch]) -> list[SummaryBatch]:
    """Return the last revision of each slot."""
    held = {(b.probe_id, b.spool_id, b.slot_start_ms): b for b in sorted(batches, key=lambda each: each.revision)}
    return list(held.values())


def test_a_fold_that_lives_in_memory_fails_the_same_test(
    store: Store, store_config: StoreConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(1)  # noqa: S311 - a test wants the same numbers again
    MEMORY.clear()
    SEEN.clear()
    batches = produce(1, now_ms=fresh_ms(), slots=60)
    monkeypatch.setattr(flush_module, "read_slots", memory_slots(batches))
    chance.shuffle(batches)
    kills = deliver_with_kills(store, messages_of(batches, received_ms=fresh_ms()), chance)
    assert kills >= 3
    wanted, found = fold_plainly(slots_of(batches)), windows(store_config)
    assert sum(found.get(at) != row for at, row in wanted.items()) > 0


def test_messages_flushed_again_leave_every_table_equal(store: Store, store_config: StoreConfig) -> None:
    now_ms = fresh_ms()
    messages = messages_of(produce(3, now_ms=now_ms, slots=12), received_ms=now_ms)
    messages.append(wire.message(wire.heartbeat(sent_at_ms=now_ms), received_ms=now_ms))
    messages.append(wire.message(wire.throughput(start_ms=now_ms), received_ms=now_ms))
    messages.append(
        wire.message(wire.summary((11, 21), slot_start_ms=now_ms, seq=900), received_ms=now_ms, partition=1)
    )
    messages.append(wire.signed(b"garbage", SUMMARY.name, wire.PROBE, received_ms=now_ms, partition=2))
    flusher(store).flush(messages)
    before = tables(store_config)
    assert all(len(rows) > 0 for rows in before)
    for part in (messages[::-1], messages[:7], messages[3:]):
        flusher(store).flush(part)
    assert tables(store_config) == before


def test_every_signed_message_has_one_fate_and_a_foreign_one_has_none(store: Store, store_config: StoreConfig) -> None:
    now_ms = fresh_ms()
    messages = [
        wire.message(wire.summary(seq=0, slot_start_ms=now_ms), received_ms=now_ms, offset=0),
        wire.message(wire.summary((11, 21, 99), seq=1, slot_start_ms=now_ms), received_ms=now_ms, offset=1),
        wire.message(wire.summary(seq=2, revision=99, slot_start_ms=now_ms), received_ms=now_ms, offset=2),
        wire.message(wire.summary(seq=3, slot_start_ms=now_ms + 600_000), received_ms=now_ms, offset=3),
        wire.message(
            wire.summary(seq=4, slot_start_ms=now_ms), signer=Signer("k9", b"9" * 32), received_ms=now_ms, offset=4
        ),
        wire.signed(b"\xff\xfe\0", SUMMARY.name, wire.PROBE, received_ms=now_ms, offset=5),
    ]
    report = flusher(store).flush(messages)
    assert (report.stored, report.quarantined, report.foreign, report.faults) == (4, 4, 1, 2)
    with sql(store_config) as run:
        fates = run("SELECT seq, streams, stored, quarantined FROM batch_latest ORDER BY seq")
        kept = run(
            "SELECT offset, stream_id, reason, signed, length(value) FROM quarantine_latest ORDER BY offset, stream_id"
        )
    assert fates == [(0, 3, 3, 0), (1, 3, 1, 2), (2, 3, 0, 3), (3, 3, 0, 3)]
    sizes = [len(message.value) for message in messages]
    assert kept == [
        (1, 21, "foreign_endpoint", 1, sizes[1]),
        (1, 99, "not_member", 1, 0),
        (2, 0, "bounds", 1, sizes[2]),
        (3, 0, "clock", 1, sizes[3]),
        (4, 0, "unknown_key", 0, sizes[4]),
        (5, 0, "schema", 1, sizes[5]),
    ]


def test_a_stream_that_moves_between_probes_in_mid_minute_has_a_row_of_each(
    store: Store, store_config: StoreConfig
) -> None:
    minute_ms = floor_ms(fresh_ms(), 60_000)
    both = {11: wire.PROBE}, {11: wire.OTHER_PROBE}
    for number, (probe_id, owner) in enumerate(zip(STREAM_OWNERS, both, strict=True)):
        batch = wire.summary((11,), probe_id=probe_id, slot_start_ms=minute_ms + number * 10_000)
        flusher(store, wire.membership(streams=owner)).flush([wire.message(batch, received_ms=minute_ms)])
    with sql(store_config) as run:
        found = run("SELECT probe_id, slots, sent FROM kpi_1m_latest WHERE stream_id = 11 ORDER BY probe_id")
    assert found == [(wire.PROBE, 1, 10), (wire.OTHER_PROBE, 1, 10)]


STREAM_OWNERS = (wire.PROBE, wire.OTHER_PROBE)


def test_a_raised_fold_rule_replaces_every_window_that_is_touched_again(
    store: Store, store_config: StoreConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = messages_of(produce(5, now_ms=fresh_ms(), slots=6), received_ms=fresh_ms())
    flusher(store).flush(messages)
    monkeypatch.setattr("streams.fold.FOLD_RULE", 2)
    flusher(store).flush(messages)
    assert {row["version"] >> 32 for row in windows(store_config).values()} == {2}


def test_a_row_that_the_store_refuses_is_quarantined_and_the_rest_is_stored(
    store: Store, store_config: StoreConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(verified: Any) -> Columns:  # noqa: ANN401 - what verify let through by a fault of ours
        block = summary_columns(verified)
        return block | {"sent": np.where(np.asarray(block["stream_id"]) == 12, 1 << 40, np.asarray(block["sent"]))}

    monkeypatch.setattr(flush_module, "summary_columns", spoilt)
    now_ms = fresh_ms()
    report = flusher(store).flush([wire.message(wire.summary(slot_start_ms=now_ms), received_ms=now_ms)])
    assert (report.stored, report.faults) == (2, 1)
    with sql(store_config) as run:
        assert run("SELECT stream_id, reason FROM quarantine_latest") == [(12, "refused_by_store")]
        assert run("SELECT stored, quarantined FROM batch_latest") == [(2, 1)]


def test_a_message_that_makes_no_rows_is_rejected_alone(
    store: Store, store_config: StoreConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fragile(verified: Sequence[VerifiedSummary]) -> Columns:
        if any(each.message.offset == 1 for each in verified):
            raise ZeroDivisionError
        return summary_columns(verified)

    monkeypatch.setattr(flush_module, "summary_columns", fragile)
    now_ms = fresh_ms()
    batches = [wire.summary(slot_start_ms=now_ms, seq=seq) for seq in range(3)]
    report = flusher(store).flush([wire.message(b, received_ms=now_ms, offset=n) for n, b in enumerate(batches)])
    assert (report.quarantined, report.faults) == (1, 0)
    with sql(store_config) as run:
        assert run("SELECT offset, reason FROM quarantine_latest") == [(1, "internal_error")]
        assert run("SELECT DISTINCT seq FROM summary_10s ORDER BY seq") == [(0,), (2,)]


def test_streams_that_another_flush_stored_of_a_message_stay_in_its_window(
    store: Store, store_config: StoreConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.membership.PLAN_GRACE_MS", 0)
    minute_ms = floor_ms(fresh_ms(), 60_000)
    batches = [wire.summary(slot_start_ms=minute_ms + seq * 10_000, seq=seq) for seq in range(2)]
    messages = [wire.message(batch, received_ms=minute_ms, offset=batch.seq) for batch in batches]
    flusher(store).flush(messages[:1])
    (later,) = wire.membership(from_ms=minute_ms + 10_000).plans
    (narrow,) = wire.membership(streams={wire.STREAMS[0]: wire.PROBE}).plans
    report = flusher(store, Membership([narrow, later])).flush(messages)
    assert report.faults == len(wire.STREAMS) - 1
    assert windows(store_config) == fold_plainly(slots_of(batches))


def test_a_window_that_does_not_fold_takes_only_its_own_message_with_it(
    store: Store, store_config: StoreConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(slots: Columns, *, written_ms: int) -> Columns:
        if wire.OTHER_PROBE in slots["probe_id"].tolist():
            raise ValueError("a fault of ours")
        return fold(slots, written_ms=written_ms)

    monkeypatch.setattr("streams.windows.fold", spoilt)
    now_ms = fresh_ms()
    good = wire.summary(slot_start_ms=now_ms)
    bad = wire.summary(wire.OTHER_STREAMS, slot_start_ms=now_ms, probe_id=wire.OTHER_PROBE)
    flusher(store).flush([wire.message(b, received_ms=now_ms, offset=n) for n, b in enumerate((good, bad))])
    with sql(store_config) as run:
        assert run("SELECT offset, reason FROM quarantine_latest") == [(1, "internal_error")]
        assert run("SELECT DISTINCT probe_id FROM kpi_1m_latest") == [(wire.PROBE,)]


def test_f24_a_deploy_fault_stops_before_anything_is_stored_and_the_fix_loses_nothing(
    store: Store, store_config: StoreConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ms = fresh_ms()
    batches = [wire.summary(version=9, seq=seq, slot_start_ms=now_ms - seq * 10_000) for seq in range(200)]
    messages = messages_of(batches, received_ms=now_ms)
    for _ in range(2):  # a supervisor that starts it again changes nothing
        with pytest.raises(BreakerTrippedError, match="older than the probes"):
            flusher(store).flush(messages)
        assert [len(rows) for rows in tables(store_config)] == [0] * 6
    monkeypatch.setattr("streams.bounds.WIRE_VERSION", 9)
    assert flusher(store).flush(messages).quarantined == 0
    with sql(store_config) as run:
        assert run("SELECT count(), sum(quarantined) FROM batch_latest") == [(200, 0)]


def test_f23_poison_among_good_messages_is_kept_with_its_place_and_the_good_are_stored(
    store: Store, store_config: StoreConfig
) -> None:
    now_ms = fresh_ms()
    deep = b'{"x":' + b"[" * 900_000 + b"]" * 900_000 + b"}"
    poison = [
        b"",
        b"\0" * 9,
        b"{",
        b"[1]",
        deep,
        b'{"probe_id": 1e999}',
        b"9" * 1_000_000,
        b"z" * (2 * 1024 * 1024 + 1),
    ]
    sent = [wire.signed(value, SUMMARY.name, wire.PROBE, received_ms=now_ms) for value in poison]
    sent += [wire.message(wire.summary(slot_start_ms=now_ms, seq=seq), received_ms=now_ms) for seq in range(20)]
    messages = [msgspec.structs.replace(each, offset=offset) for offset, each in enumerate(sent)]
    report = flusher(store).flush(messages)
    assert (report.quarantined, report.stored) == (len(poison), 20 * len(wire.STREAMS))
    with sql(store_config) as run:
        kept = run("SELECT offset, reason, length(value) > 0 FROM quarantine_latest ORDER BY offset")
    assert [offset for offset, _, _ in kept] == list(range(len(poison)))
    assert {reason for _, reason, _ in kept} <= {"schema", "bounds", "internal_error"}


def test_a_store_that_goes_away_in_mid_flush_is_transient(store: Store) -> None:
    away = msgspec.structs.replace(store.config, port=9)

    def cut(point: str) -> None:
        if point == "base":
            store._client.disconnect()
            store._client.connection.hosts.clear()
            store._client.connection.hosts.append((away.host, away.port))

    now_ms = fresh_ms()
    with pytest.raises(StoreTransientError):
        flusher(store, at=cut).flush([wire.message(wire.summary(slot_start_ms=now_ms), received_ms=now_ms)])
