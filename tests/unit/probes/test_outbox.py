"""The outbox keeps its promise over a disk that refuses, and says when it cannot."""

import sqlite3
from collections.abc import Iterable
from pathlib import Path

import pytest

from probes import outbox as module
from probes.outbox import open_outbox
from probes.spool import Spool, open_spool
from probes.spool_group import Entry
from schemas.clock import ManualClock
from schemas.errors import UnavailableError


class FullDisk(Spool):
    """A spool whose disk refuses the first writes."""

    refusals = 0

    def append_all(self, entries: Iterable[Entry]) -> list[int]:
        if self.refusals > 0:
            self.refusals -= 1
            raise sqlite3.OperationalError("database or disk is full")
        return super().append_all(entries)


def entry(spool: Spool) -> Entry:
    return Entry(spool.spool_id, "t", lambda seq: (b"%d" % seq, []))


def full(spool: Spool, refusals: int) -> Spool:
    spool.__class__ = FullDisk
    assert isinstance(spool, FullDisk)
    spool.refusals = refusals
    return spool


def test_records_wait_in_memory_while_the_disk_is_full_and_keep_their_order(tmp_path: Path) -> None:
    clock = ManualClock()
    with open_spool(tmp_path / "s.db", clock=clock) as spool, open_outbox(full(spool, 2), clock=clock) as outbox:
        for _ in range(3):
            outbox.put(entry(spool))
            assert outbox.flush(5.0)
        assert (outbox.written, outbox.refused) == (3, 0)
        assert spool.states()[0].last_seq == 2


def test_memory_is_bounded_and_what_it_gave_up_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 2)
    clock = ManualClock()
    with open_spool(tmp_path / "s.db", clock=clock) as spool, open_outbox(full(spool, 4), clock=clock) as outbox:
        for _ in range(5):
            outbox.put(entry(spool))
            assert outbox.flush(5.0)
        assert (outbox.written, outbox.refused) == (3, 2)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_dead_writer_is_noticed(tmp_path: Path) -> None:
    def broken(_: int) -> tuple[bytes, list[tuple[str, bytes]]]:
        raise ZeroDivisionError

    clock = ManualClock()
    with open_spool(tmp_path / "s.db", clock=clock) as spool, open_outbox(spool, clock=clock) as outbox:
        outbox.put(Entry(spool.spool_id, "t", broken))
        outbox._thread.join(5.0)
        with pytest.raises(UnavailableError, match="has died"):
            outbox.check()
