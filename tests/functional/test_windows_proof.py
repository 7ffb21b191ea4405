"""What only a real engine proves of the fold, point by point; a fold that lives in memory fails every one of them."""

import random
from collections.abc import Callable
from typing import Any, Final

import pytest
from chaos.worker import SEEN, memory_only
from support import wire_messages as wire
from support.plain_fold import fold_plainly
from support.produced import draft, slots_of
from support.stores import FixedRegistry, sql, windows

from schemas.clock import SystemClock, floor_ms, wall_ms
from schemas.records import SummaryBatch
from schemas.topics import DAY_MS
from streams import flush as flush_module
from streams.flush import Flusher
from streams.membership import Membership
from streams.store import Store, StoreConfig
from streams.windows import fold_guarded

pytestmark = pytest.mark.needs_engine
CLOCK = SystemClock()
SLOT_MS = 10_000
HOUR_MS = 3_600_000
STREAM = wire.STREAMS[0]


class RevokedError(BaseException):
    """The partitions go to another worker here."""


class Proof:
    """Partitions that change hands at every delivery: no worker knows what the one before it has seen."""

    def __init__(self, store: Store) -> None:
        self.sent: list[SummaryBatch] = []
        self.membership = wire.membership()
        self.minute_ms = floor_ms(wall_ms(CLOCK), 60_000) - 60_000
        self.rule = 1
        self._store = store
        self._chance = random.Random(1)  # noqa: S311 - a test wants the same numbers again

    def batch(self, slot: int, **fields: Any) -> SummaryBatch:  # noqa: ANN401 - the record's
        """Return a batch of the n-th slot of the minute, with figures of its own."""
        named: dict[str, Any] = {
            "seq": len(self.sent),
            "slot_start_ms": self.minute_ms + slot * SLOT_MS,
            "streams": wire.STREAMS,
        }
        named |= fields
        made = draft(self._chance, named.pop("streams"), **named)
        self.sent.append(made)
        return made

    def deliver(self, *batches: SummaryBatch, revoked_at: str = "") -> None:
        """Flush the batches as a worker that was assigned their partition just now."""

        def at(point: str) -> None:
            if point == revoked_at:
                raise RevokedError

        SEEN.clear()
        now_ms = wall_ms(CLOCK)
        messages = [wire.message(batch, received_ms=now_ms, offset=n) for n, batch in enumerate(batches)]
        Flusher(self._store, FixedRegistry(self.membership), CLOCK, at=at).flush(messages)


def two_spools_in_one_slot(proof: Proof, _: pytest.MonkeyPatch) -> None:
    proof.deliver(proof.batch(0))
    proof.deliver(proof.batch(0, spool_id=wire.SECOND_SPOOL))


def fourteen_days_late(proof: Proof, _: pytest.MonkeyPatch) -> None:
    proof.minute_ms -= 14 * DAY_MS - HOUR_MS
    for slot in (3, 0, 5):
        proof.deliver(proof.batch(slot))


def a_stream_moved_between_probes_in_mid_minute(proof: Proof, _: pytest.MonkeyPatch) -> None:
    (before,) = wire.membership(streams={STREAM: wire.PROBE}).plans
    (after,) = wire.membership(streams={STREAM: wire.OTHER_PROBE}, from_ms=proof.minute_ms).plans
    proof.membership = Membership([before, after])
    for slot in range(6):
        owner = wire.PROBE if slot < 3 else wire.OTHER_PROBE
        proof.deliver(proof.batch(slot, streams=(STREAM,), probe_id=owner))
    assert {key[0] for key in fold_plainly(slots_of(proof.sent))} == {wire.PROBE, wire.OTHER_PROBE}


def a_revision_that_never_completes(proof: Proof, _: pytest.MonkeyPatch) -> None:
    proof.deliver(proof.batch(1, complete=True))
    for revision in (1, 3, 2):
        proof.deliver(proof.batch(0, revision=revision, complete=False))


def partitions_revoked_in_mid_flush(proof: Proof, _: pytest.MonkeyPatch) -> None:
    proof.deliver(proof.batch(0))
    for slot, point in enumerate(("base", "windows", "ledger"), 1):
        pair = proof.batch(slot), proof.batch(slot, spool_id=wire.SECOND_SPOOL)
        with pytest.raises(RevokedError):
            proof.deliver(*pair, revoked_at=point)
        proof.deliver(pair[0])
        proof.deliver(pair[1])


def a_former_owner_that_writes_its_windows_last(proof: Proof, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = proof.batch(0), proof.batch(1)
    proof.deliver(proof.batch(2))

    def held_up(slots: Any, *, written_ms: int) -> Any:  # noqa: ANN401 - as the fold's
        monkeypatch.setattr(flush_module, "fold_guarded", fold_guarded)
        proof.deliver(first, second)
        return fold_guarded(slots, written_ms=written_ms)

    monkeypatch.setattr(flush_module, "fold_guarded", held_up)
    proof.deliver(first)


def the_rule_raised(proof: Proof, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = proof.batch(0), proof.batch(1)
    proof.deliver(first, second)
    proof.rule = 2
    monkeypatch.setattr("streams.fold.FOLD_RULE", 2)
    proof.deliver(second)
    monkeypatch.setattr("streams.fold.FOLD_RULE", 1)  # a worker of the old release that is still there
    proof.deliver(first)


POINTS: Final[list[Callable[[Proof, pytest.MonkeyPatch], None]]] = [
    two_spools_in_one_slot,
    fourteen_days_late,
    a_stream_moved_between_probes_in_mid_minute,
    a_revision_that_never_completes,
    partitions_revoked_in_mid_flush,
    a_former_owner_that_writes_its_windows_last,
    the_rule_raised,
]


def wanted(proof: Proof) -> dict[tuple[str, int, int], dict[str, Any]]:
    rows = fold_plainly(slots_of(proof.sent))
    for row in rows.values():
        row["version"] += (proof.rule - 1) << 32
    return rows


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.__name__)
def test_windows_equal_the_oracle_and_a_fold_in_memory_is_caught(
    point: Callable[[Proof, pytest.MonkeyPatch], None],
    store: Store,
    store_config: StoreConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proof = Proof(store)
    point(proof, monkeypatch)
    assert windows(store_config) == wanted(proof)
    with sql(store_config) as run:
        for table in ("summary_10s", "kpi_1m", "batch"):
            run(f"TRUNCATE TABLE {table}")
    monkeypatch.setattr(flush_module._Work, "_slots", memory_only)
    control = Proof(store)
    point(control, monkeypatch)
    assert windows(store_config) != wanted(control)
