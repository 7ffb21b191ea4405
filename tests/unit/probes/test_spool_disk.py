"""F19: a disk that fails anywhere: nothing is called written that is not there, and the agent goes on."""

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from support.failing_disk import Faults
from support.spools import HEALTH, TOPIC, declared, fill, manual_clock, noise, pending

from probes import outbox as outbox_module
from probes import spool_store
from probes.outbox import open_outbox
from probes.spool import Spool, SpoolConfig, open_spool
from probes.spool_file import is_disk_fault
from probes.spool_group import Entry
from probes.spool_reader import SpoolKey, open_reader
from schemas.clock import ManualClock
from schemas.errors import UnavailableError

CALLS = 64  # more than a life makes
KINDS = {"EIO": sqlite3.SQLITE_IOERR, "read-only": sqlite3.SQLITE_READONLY, "full": sqlite3.SQLITE_FULL}


class Life:
    """A short life of a spool; what it was told is on disk, and what it was told is acknowledged."""

    def __init__(self) -> None:
        self.written: set[SpoolKey] = set()
        self.acked: set[SpoolKey] = set()

    def run(self, path: Path, clock: ManualClock) -> None:
        with open_spool(path, clock=clock, config=SpoolConfig(max_bytes=1 << 20)) as spool:
            for group in range(2):
                with suppress(sqlite3.OperationalError):
                    self.written.update(fill(spool, [noise(50_000, group), b"small"]))
                with suppress(sqlite3.OperationalError):
                    self.written.update(self.beat(spool))
                some = sorted(self.written)[:: group + 2]
                with suppress(sqlite3.OperationalError):
                    spool.acknowledge(some)
                    self.acked.update(some)
                with suppress(sqlite3.OperationalError):
                    spool.trim()

    def beat(self, spool: Spool) -> list[SpoolKey]:
        entry = Entry(spool.spool_id, HEALTH, lambda _: (b"%d" % len(spool.states()), []))
        return [SpoolKey(spool.spool_id, HEALTH, seq) for seq in spool.append_all([entry])]


@pytest.mark.parametrize(
    ("kind", "after"), [("EIO", False), ("EIO", True), ("read-only", False), ("full", False), ("full", True)]
)
def test_f19_at_every_single_call_a_failing_disk_tells_no_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, after: bool
) -> None:
    clock = manual_clock()
    hit = 0
    for number in range(1, CALLS):
        faults = Faults(KINDS[kind], lambda call, number=number: call == number, after=after)  # type: ignore[misc]
        path = tmp_path / f"{number}" / "s.db"
        with monkeypatch.context() as patch:
            patch.setattr(spool_store, "connect", faults.connect)
            life = Life()
            life.run(path, clock)
        hit += faults.failed
        with open_spool(path, clock=clock) as spool, open_reader(path, clock=clock) as reader:
            kept = set(pending(reader))
            assert life.written - life.acked <= kept | declared(spool), f"call {number}: called written, not there"
            assert not kept & declared(spool), f"call {number}"
            for state in spool.states():
                seqs = {key.seq for key in life.written if (key.spool_id, key.topic) == (state.spool_id, state.topic)}
                assert seqs <= set(range(state.last_seq + 1)), f"call {number}"
    assert hit >= CALLS * 0.5


def test_f19_a_disk_that_stays_away_keeps_records_in_memory_and_the_same_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = manual_clock()
    broken = [False]
    faults = Faults(sqlite3.SQLITE_IOERR, lambda _: broken[0])
    monkeypatch.setattr(spool_store, "connect", faults.connect)
    with open_spool(tmp_path / "s.db", clock=clock) as spool, open_outbox(spool, clock=clock) as outbox:
        outbox.put(Entry(spool.spool_id, TOPIC, lambda seq: (b"%d" % seq, [])))
        assert outbox.flush(5.0)
        broken[0] = True
        for _ in range(3):
            outbox.put(Entry(spool.spool_id, TOPIC, lambda seq: (b"%d" % seq, [])))
            assert outbox.flush(5.0)
        assert (outbox.written, outbox.failures > 0, outbox.refused) == (1, True, 0)
        broken[0] = False
        assert outbox.flush(5.0)
        with open_reader(spool.path, clock=clock) as reader:
            assert [value for _, value in sorted(pending(reader).items())] == [b"0", b"1", b"2", b"3"]


def test_f19_an_agent_starts_on_a_disk_that_refuses_and_writes_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = manual_clock()
    broken = [True]
    faults = Faults(sqlite3.SQLITE_READONLY, lambda _: broken[0])
    monkeypatch.setattr(spool_store, "connect", faults.connect)
    with open_spool(tmp_path / "s.db", clock=clock) as spool, open_outbox(spool, clock=clock) as outbox:
        outbox.put(Entry(spool.spool_id, TOPIC, lambda seq: (b"%d" % seq, [])))
        assert outbox.flush(5.0)
        assert outbox.written == 0
        broken[0] = False
        assert outbox.flush(5.0)
        assert outbox.written == 1
        assert [state.last_seq for state in spool.states()] == [0]


def test_f19_what_waits_in_memory_is_packed_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = manual_clock()
    monkeypatch.setattr(outbox_module, "MAX_WAITING", 2)
    monkeypatch.setattr(spool_store, "connect", Faults(sqlite3.SQLITE_IOERR, lambda _: True).connect)
    packed: list[int] = []

    def entry(number: int) -> Entry:
        def shrink() -> Callable[[int], tuple[bytes, list[tuple[str, bytes]]]]:
            packed.append(number)
            return lambda seq: (b"%d" % seq, [])

        return Entry("run", TOPIC, lambda seq: (b"%d" % seq, []), shrink)

    with open_spool(tmp_path / "s.db", clock=clock) as spool, open_outbox(spool, clock=clock) as outbox:
        for number in range(5):
            outbox.put(entry(number))
            assert outbox.flush(5.0)
        assert outbox.refused == 3
        assert packed == [0, 1, 2, 3, 4], "each once"


def test_f19_a_write_that_took_long_is_counted_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = manual_clock()
    with open_spool(tmp_path / "s.db", clock=clock) as spool:
        append_all = spool.append_all

        def slow(entries: object) -> list[int]:
            clock.advance_s(0.3)
            return append_all(entries)  # type: ignore[arg-type]

        monkeypatch.setattr(spool, "append_all", slow)
        with open_outbox(spool, clock=clock) as outbox:
            outbox.put(Entry(spool.spool_id, TOPIC, lambda _: (b"", [])))
            assert outbox.flush(5.0)
            assert outbox.late == 1


def test_f19_the_lock_holds_on_a_disk_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = manual_clock()
    with open_spool(tmp_path / "s.db", clock=clock):
        pass
    opened = Path.open

    def read_only(path: Path, mode: str = "r", **options: str) -> object:
        if mode != "r" and path.suffix == ".lock":
            raise OSError(30, "Read-only file system")
        return opened(path, mode, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", read_only)
    with (
        open_spool(tmp_path / "s.db", clock=clock),
        pytest.raises(UnavailableError, match="held by"),
        open_spool(tmp_path / "s.db", clock=clock),
    ):
        pass


def test_what_is_committed_is_synced_before_it_is_called_written(tmp_path: Path) -> None:
    with open_spool(tmp_path / "s.db", clock=manual_clock()) as spool:
        db = spool.store.connection()
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_disk_fault_is_told_from_damage() -> None:
    err = sqlite3.OperationalError("disk I/O error")
    err.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
    assert is_disk_fault(err)
