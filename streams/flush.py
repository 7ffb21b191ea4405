"""The flush: messages -> base, windows, ledger. It may be repeated any number of times; the tables stay equal.

The order is the promise: the base first, the windows from what is read back, the ledger last. Whoever calls it
acknowledges only after it has returned.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from schemas.clock import Clock
from schemas.errors import QuarantineReason
from schemas.tables import BATCH, KPI_1M, PROBE_HEALTH, QUARANTINE, SUMMARY_10S, THROUGHPUT, TableSpec
from streams.blocks import insert_bisected
from streams.breaker import Breaker
from streams.columns import Columns, Readable, Stacked, joined, row_at, row_count, take
from streams.fold import SLOT_COLUMNS
from streams.judge import Judge, Judged
from streams.ledger import batch_row, fault_rows, rejected_batch_row, rejected_row
from streams.messages import RawMessage
from streams.registry import Registry
from streams.rows import columns_of, health_row, summary_columns, throughput_row
from streams.store import Store
from streams.verify import (
    Rejected,
    StreamFault,
    VerifiedHeartbeat,
    VerifiedSummary,
    VerifiedThroughput,
    rejected,
)
from streams.windows import Window, fold_guarded, read_slots, window_of

Touched = dict[Window, list[int]]  # -> the numbers of its messages

PART_SLOTS: Final = 20_000  # that are folded at a time: 1 kB each, and twice that on the way
MINUTE_SLOTS: Final = 6


class FlushReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the messages of a flush."""

    messages: int
    stored: int  # streams, heartbeats and results
    quarantined: int  # messages refused whole
    foreign: int  # of those: without a proved identity
    faults: int  # streams refused out of messages that were taken
    windows: int
    oldest_ms: int  # broker time of the oldest message, UTC milliseconds


class Flusher:
    """Judges and stores messages. What it remembers between two flushes may be lost: it is only speed."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        clock: Clock,
        *,
        breaker: Breaker | None = None,
        at: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Keep what it works with; see `Judge` and `store_judged`."""
        self._store = store
        self._judge = Judge(store, registry, clock, breaker=breaker)
        self._at = at

    def flush(self, messages: Sequence[RawMessage]) -> FlushReport:
        """Store messages and return what became of them.

        Raises:
            StoreTransientError: unknown how much is stored; flush the same messages again.
            BreakerTrippedError: nothing is stored.
            UnavailableError: the store refuses what no row is to blame for.
        """
        return store_judged(self._store, self._judge.judge(messages), at=self._at)


def store_judged(store: Store, judged: Judged, *, at: Callable[[str], None] = lambda _: None) -> FlushReport:
    """Store what may be stored of judged messages and return what became of them.

    Args:
        store: where to.
        judged: any number of times; the tables stay equal.
        at: called with "base", "windows" and "ledger" when each is written: where a test may end the process.

    Raises:
        StoreTransientError: unknown how much is stored; store the same again.
        UnavailableError: the store refuses what no row is to blame for.
    """
    work = _Work(store, judged)
    work.store_base()
    at("base")
    windows = work.store_windows()
    at("windows")
    work.store_rows(PROBE_HEALTH, VerifiedHeartbeat, health_row)
    work.store_rows(THROUGHPUT, VerifiedThroughput, throughput_row)
    work.store_ledger()
    at("ledger")
    return work.report(windows)


class _Work:
    """One flush under way: the verdicts, and the streams that the store refused of those taken."""

    def __init__(self, store: Store, judged: Judged) -> None:
        self._store = store
        self._membership = judged.membership
        self._verdicts = list(judged.verdicts)
        self._now_ms = judged.now_ms
        self._own: Columns = {}  # the slots that this flush has stored
        self._owners = np.zeros(0, dtype=np.int64)  # the number of the message of each
        self._refused: dict[int, list[StreamFault]] = {}

    def store_base(self) -> None:
        """Write the slots to `summary_10s`."""
        block = self._base()
        kept = [(number, len(verdict.kept)) for number, verdict in self._summaries()]
        self._owners = np.repeat(*np.array(kept, dtype=np.int64).reshape(-1, 2).T)
        refused = insert_bisected(self._store, SUMMARY_10S, block)
        self._own = block if not refused else {}
        for position, text in refused.items():
            (stream_id,) = row_at(block, position, "stream_id")
            self._refuse(int(self._owners[position]), stream_id, text)

    def _base(self) -> Columns:
        """Return the slots as one block; a message that makes none is rejected, alone."""
        summaries = list(self._summaries())
        try:
            return summary_columns([verdict for _, verdict in summaries])
        except Exception:  # noqa: BLE001 - of many at once: the one to blame is found alone
            return joined(self._base_of(number, verdict) for number, verdict in summaries)

    def _base_of(self, number: int, verdict: VerifiedSummary) -> Columns:
        try:
            return summary_columns([verdict])
        except Exception as err:  # noqa: BLE001 - a message must not stop the worker
            self._reject(number, "internal_error", f"{type(err).__name__}: {err}")
            return {}

    def store_windows(self) -> int:
        """Read the touched windows back, fold them, write `kpi_1m` once; return the number of rows."""
        touched: Touched = {}
        for number, verdict in self._summaries():
            touched.setdefault(window_of(verdict.record.probe_id, verdict.record.slot_start_ms), []).append(number)
        block, broken = self._folded(touched)
        for position, text in insert_bisected(self._store, KPI_1M, block).items():
            probe_id, minute, stream_id = row_at(block, position, "probe_id", "minute", "stream_id")
            for number in touched[probe_id, minute]:
                self._refuse(number, stream_id, f"its window: {text}")
        for window, text in broken.items():
            for number in touched[window]:
                self._reject(number, "internal_error", f"fold: {text}")
        return row_count(block)

    def _folded(self, touched: Touched) -> tuple[Readable, dict[Window, str]]:
        """Return the rows of the windows, and the error of each that does not fold; a part of them at a time."""
        blocks: list[Columns] = []
        errors: dict[Window, str] = {}
        for part in self._parts(touched):
            block, broken = fold_guarded(self._slots(part), written_ms=self._now_ms)
            blocks.append(block)
            errors |= broken
        return Stacked(blocks), errors

    def _parts(self, touched: Touched) -> Iterator[Touched]:
        """Yield the windows by so many at a time as have about `PART_SLOTS` slots."""
        part: Touched = {}
        slots = 0
        for window, numbers in sorted(touched.items()):
            if slots > PART_SLOTS:
                yield part
                part, slots = {}, 0
            part[window] = numbers
            slots += MINUTE_SLOTS * max(self._told(number) for number in numbers)
        if part:
            yield part

    def _slots(self, part: Touched) -> Readable:
        """Return all slots of the windows: those of messages stored whole are at hand, all others are read back."""
        numbers = {number for held in part.values() for number in held} if self._own else set()
        whole = [verdict.record for number, verdict in self._summaries() if number in numbers and not verdict.faults]
        besides = [(record.probe_id, record.spool_id, record.seq) for record in whole]
        rows = np.flatnonzero(np.isin(self._owners, sorted(numbers)))
        own = take({name: self._own[name] for name in SLOT_COLUMNS}, rows) if self._own else {}
        return Stacked((read_slots(self._store, sorted(part), besides), own))

    def _told(self, number: int) -> int:
        verdict = self._verdicts[number]
        return len(verdict.kept) if isinstance(verdict, VerifiedSummary) else 0

    def store_rows(self, table: TableSpec, kind: type[Any], row: Callable[[Any], tuple[Any, ...]]) -> None:
        """Write the records of a kind that make one row each."""
        numbers: list[int] = []
        rows: list[tuple[Any, ...]] = []
        for number, verdict in enumerate(self._verdicts):
            if isinstance(verdict, kind):
                numbers.append(number)
                rows.append(row(verdict))
        for position, text in insert_bisected(self._store, table, columns_of(table, rows)).items():
            self._reject(numbers[position], "refused_by_store", text)

    def store_ledger(self) -> None:
        """Write one fate a message to `batch`; what was refused comes last, and into `quarantine` before."""
        kept: list[tuple[Any, ...]] = []
        refused: list[tuple[Any, ...] | None] = []
        stored: list[tuple[Any, ...]] = []
        for number, verdict in enumerate(self._verdicts):
            if isinstance(verdict, Rejected):
                kept.append(rejected_row(verdict))
                refused.append(rejected_batch_row(verdict))
            elif faults := self._faults(number):
                kept += fault_rows(verdict, faults)
                refused.append(batch_row(verdict, self._refused.get(number, ())))
            else:
                stored.append(batch_row(verdict))
        self._store.insert(BATCH, stored)
        self._store.insert(QUARANTINE, kept)
        self._store.insert(BATCH, [fate for fate in refused if fate is not None])

    def report(self, windows: int) -> FlushReport:
        """Return the counts."""
        out = [verdict for verdict in self._verdicts if isinstance(verdict, Rejected)]
        faults = sum(len(self._faults(number)) for number, _ in self._summaries())
        told = sum(len(verdict.record.stream_id) for _, verdict in self._summaries())
        others = len(self._verdicts) - len(out) - sum(1 for _ in self._summaries())
        return FlushReport(
            messages=len(self._verdicts),
            stored=told + others - faults,
            quarantined=len(out),
            foreign=sum(not verdict.signed for verdict in out),
            faults=faults,
            windows=windows,
            oldest_ms=min((verdict.message.received_ms for verdict in self._verdicts), default=self._now_ms),
        )

    def _summaries(self) -> Iterator[tuple[int, VerifiedSummary]]:
        for number, verdict in enumerate(self._verdicts):
            if isinstance(verdict, VerifiedSummary):
                yield number, verdict

    def _faults(self, number: int) -> list[StreamFault]:
        verdict = self._verdicts[number]
        own = verdict.faults if isinstance(verdict, VerifiedSummary) else ()
        return [*own, *self._refused.get(number, ())]

    def _refuse(self, number: int, stream_id: int, text: str) -> None:
        verdict = self._verdicts[number]
        known = {fault.stream_id for fault in self._faults(number)}
        if isinstance(verdict, VerifiedSummary) and stream_id in verdict.record.stream_id and stream_id not in known:
            self._refused.setdefault(number, []).append(StreamFault(stream_id, "refused_by_store", text))

    def _reject(self, number: int, reason: QuarantineReason, text: str) -> None:
        message = self._verdicts[number].message
        self._verdicts[number] = rejected(message, self._membership, reason, text)
