"""A worker as its own process: `worker.py CONFIG.json POINT N BROKEN` dies at the N-th POINT; BROKEN breaks a guard.

A broken guard is the control of the bench: the oracle must find each of them.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from support.worker_main import Mine

from schemas.errors import StoreTransientError
from schemas.tables import QUARANTINE
from streams import flush, fold
from streams.app import run_worker
from streams.columns import Columns, Readable, Words, joined, row_count, take
from streams.fold import MINUTE_S, SLOT_COLUMNS
from streams.intake import Intake
from streams.store import Store
from streams.windows import Window
from streams.worker_config import WorkerConfig

SEEN: list[Columns] = []


def memory_only(work: Any, windows: Sequence[Window]) -> Columns:  # noqa: ANN401 - a flush under way
    """Know of a window what this process has seen of it, and ask no table."""
    SEEN.append({name: work._own[name] for name in SLOT_COLUMNS})
    slots = joined(SEEN)
    at = zip(slots["probe_id"].tolist(), np.asarray(slots["slot"]).tolist(), strict=True)
    wanted = set(windows)
    return take(slots, np.flatnonzero([(probe, slot // MINUTE_S * MINUTE_S) in wanted for probe, slot in at]))


def _read_nothing_back(work: Any, _windows: Sequence[Window]) -> Columns:  # noqa: ANN401 - a flush under way
    return {name: work._own[name] for name in SLOT_COLUMNS}


def _count_every_copy(slots: Readable) -> Any:  # noqa: ANN401 - the fold's own
    count = row_count(slots)
    return _GROUP({**slots, "spool_id": Words(tuple(f"{n:09d}" for n in range(count)), np.arange(count))})


async def _acknowledge_first(self: Intake[Any]) -> None:
    async with self._lock:
        while (batch := self._begun(0)) is not None:
            self._acknowledge(batch.taken)
            await self._stored(batch, self._assignment)


async def _give_up(self: Intake[Any], judged: object) -> None:
    try:
        await _STORE_ONCE(self, judged)
    except StoreTransientError:
        return


def _insert_no_quarantine(self: Store, table: Any, rows: Sequence[Any]) -> None:  # noqa: ANN401 - as the store's
    if table is not QUARANTINE:
        _INSERT(self, table, rows)


_STORE_ONCE, _INSERT, _GROUP = Intake._store_once, Store.insert, fold._group
BROKEN: Final[dict[str, Callable[[], None]]] = {
    "whole": lambda: None,
    "windows from memory": lambda: setattr(flush._Work, "_slots", memory_only),
    "windows from the flush alone": lambda: setattr(flush._Work, "_slots", _read_nothing_back),
    "every copy counted": lambda: setattr(fold, "_group", _count_every_copy),
    "acknowledged before stored": lambda: setattr(Intake, "flush", _acknowledge_first),
    "store away, given up": lambda: setattr(Intake, "_store_once", _give_up),
    "quarantine not kept": lambda: setattr(Store, "insert", _insert_no_quarantine),
}


def main() -> None:
    """Run the worker until a signal."""
    config = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=WorkerConfig)
    BROKEN[sys.argv[4]]()
    run_worker(config, at=Mine(sys.argv[2], int(sys.argv[3])))


if __name__ == "__main__":
    main()
