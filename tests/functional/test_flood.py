"""A flood from one probe: its share is stored, the rest is kept and has a fate, and the others are whole."""

import msgspec
import pytest
from support import wire_messages as wire
from support.plain_fold import fold_plainly
from support.produced import slots_of
from support.stores import FixedRegistry, sql, windows

from schemas.clock import SystemClock, floor_ms, wall_ms
from schemas.records import SummaryBatch
from streams.flush import FlushReport, store_judged
from streams.judge import Judge
from streams.messages import RawMessage
from streams.share import Shares
from streams.store import Store, StoreConfig

pytestmark = pytest.mark.needs_engine
CLOCK = SystemClock()
TIMES_PLAN = 1.0
SHARE = 13  # messages of three streams in ten seconds, of the 320 that the smallest probe may bring


def flood(count: int, now_ms: int) -> list[SummaryBatch]:
    batch = wire.summary(slot_start_ms=now_ms)
    return [msgspec.structs.replace(batch, seq=seq, slot_start_ms=now_ms - seq * 10_000) for seq in range(count)]


def stored(store: Store, messages: list[RawMessage]) -> FlushReport:
    judge = Judge(store, FixedRegistry(), CLOCK, shares=Shares(TIMES_PLAN))
    return store_judged(store, judge.judge(messages))


def test_f32_beyond_its_share_a_probe_is_quarantined_and_the_others_are_not(
    store: Store, store_config: StoreConfig
) -> None:
    now_ms = floor_ms(wall_ms(CLOCK), 60_000)
    batches = flood(100, now_ms)
    others = [
        wire.summary(wire.OTHER_STREAMS, probe_id=wire.OTHER_PROBE, slot_start_ms=now_ms - n * 10_000, seq=n)
        for n in range(SHARE)
    ]
    sent = [*batches, *others]
    report = stored(store, [wire.message(each, offset=n, received_ms=now_ms) for n, each in enumerate(sent)])
    assert (report.messages, report.quarantined, report.foreign) == (100 + SHARE, 100 - SHARE, 0)
    assert windows(store_config) == fold_plainly(slots_of([*batches[:SHARE], *others]))
    with sql(store_config) as run:
        assert run("SELECT DISTINCT reason, claimed_probe, signed FROM quarantine_latest") == [("flood", wire.PROBE, 1)]
        known = run(
            "SELECT probe_id, count(), countIf(stored > 0) FROM batch_latest GROUP BY probe_id ORDER BY probe_id"
        )
    assert known == sorted([(wire.PROBE, 100, SHARE), (wire.OTHER_PROBE, SHARE, SHARE)])


def test_f32_what_is_stored_once_stays_stored_when_it_comes_again_in_a_flood(
    store: Store, store_config: StoreConfig
) -> None:
    now_ms = floor_ms(wall_ms(CLOCK), 60_000)
    batches = flood(2 * SHARE, now_ms)
    messages = [wire.message(each, offset=n, received_ms=now_ms) for n, each in enumerate(batches)]
    stored(store, messages[SHARE:])
    assert stored(store, messages).quarantined == SHARE
    assert windows(store_config) == fold_plainly(slots_of(batches))
    with sql(store_config) as run:
        assert run("SELECT countIf(stored > 0) FROM batch_latest") == [(2 * SHARE,)]
