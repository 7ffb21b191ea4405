"""The spool: every record stays on disk until the broker has acknowledged it, and as a reserve after that.

One SQLite file in WAL mode with synchronous=FULL: what `append_all` has returned survives kill -9 and power loss. The
agent that writes it holds a lock; a publisher reads it over a connection of its own (`spool_reader`). A record is known
by (spool_id, topic, seq): seq runs 0, 1, 2, ... and is given inside the transaction that writes the record, so there
is no gap that nobody declared. No decision hangs on the wall clock: it labels the records, their order is their number.
"""

import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, TypeVar

import msgspec
import structlog

from probes.spool_file import FILE_ERRORS, declare_dropped, is_damaged, is_disk_fault, is_full, used_bytes
from probes.spool_group import Chain, Entry, Group, Make, find_chain
from probes.spool_lock import lock_spool
from probes.spool_reader import SpoolKey, read_states
from probes.spool_room import FillAlarm, Freed, Kept, delete, kept, make_room, rows_of, trim
from probes.spool_row import Packer
from probes.spool_salvage import ChainName
from probes.spool_store import SpoolStore
from schemas.clock import Clock, wall_ms
from schemas.identity import new_spool_id
from schemas.records import SpoolState

log = structlog.get_logger(__name__)

T = TypeVar("T")

_SENT: Final = "UPDATE record SET state = 1 WHERE chain = ? AND seq = ? AND state = 0 RETURNING size"
_SENT_AGAIN: Final = "UPDATE record SET state = 1 WHERE chain = ? AND seq = ? AND state = 2"
_TELLERS: Final = 16  # the newest heartbeats whose delivery is watched for
_FUTURE_MS: Final = 86_400_000  # a label so far ahead is a clock's fault


class SpoolConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much the spool keeps."""

    # 6 days of a cluster's probe of the national mesh: 189 streams, 38 kB a slot as stored; the oldest go first
    max_bytes: Annotated[int, msgspec.Meta(ge=1 << 18)] = 2 << 30
    reserve_ms: int = 86_400_000  # acknowledged records stay a day, for `isochrone spool resend`


class Spool:
    """The writing side; used by one thread at a time. `open_spool` makes it."""

    def __init__(self, path: Path, config: SpoolConfig, clock: Clock, spool_id: str) -> None:
        self.spool_id = spool_id
        self.path = path
        self.dropped = 0  # records given up for want of room, all declared
        self.unsendable = 0  # records damaged or too large for a broker, all declared
        self.alarm = FillAlarm()
        self.store = SpoolStore(path, config.max_bytes, clock)
        self._config = config
        self._clock = clock
        self._packer = Packer()
        self._chains: dict[ChainName, Chain] = {}  # as committed
        self._group: Group | None = None
        self._group_bytes = 0  # of the last one, written or not
        self._next_id = 0  # of a record; 0 while no file was open
        self._kept = Kept(0, 0)
        self._tellers: deque[tuple[SpoolKey, int]] = deque(maxlen=_TELLERS)
        self._told = -1  # the newest record delivered that told the states
        self._changed: dict[int, int] = {}  # chain -> the next record when it last had to declare something
        self._first_id = 0
        self._steady_ms = wall_ms(clock) - clock.mono_ns() // 1_000_000

    def append(self, topic: str, make: Make) -> int:
        """Write one record of the run durably and return its seq; `append_all` writes many for one sync of the disk."""
        return self.append_all([Entry(self.spool_id, topic, make)])[0]

    def append_all(self, entries: Iterable[Entry]) -> list[int]:
        """Write records in one transaction and return their seqs, once they are on disk.

        Raises:
            sqlite3.OperationalError: The disk refuses even to let the oldest make room; nothing was written, no seq is
                used up.
        """
        group = list(entries)
        return self._guarded(lambda db: self._append_or_shrink(db, group))

    def acknowledge(self, keys: Iterable[SpoolKey]) -> None:
        """Mark records as acknowledged by the broker; a key that the file no longer knows is ignored.

        Raises:
            sqlite3.OperationalError: As for `append_all`; the records stay unacknowledged and are sent again.
        """
        acked = list(keys)
        self._guarded(lambda db: self._acknowledge(db, acked))

    def drop(self, keys: Iterable[SpoolKey], why: str) -> None:
        """Take away records that can never be sent, and declare them dropped; `why` is for the log."""
        met = list(keys)
        self._guarded(lambda db: self._drop(db, met, why))

    def trim(self) -> None:
        """Forget what was spooled longer ago than the reserve and acknowledged, and finished runs that were told."""
        self._guarded(self._trim)
        self.store.hold_ballast()

    def check(self) -> None:
        """Compare the whole file with itself, and replace it when it is damaged; seconds for gigabytes."""
        self._guarded(lambda _: self.store.check())

    def states(self) -> list[SpoolState]:
        """Return what this file knows of every (spool_id, topic); callable inside a `make` too."""
        if self._group is None:
            return self._guarded(read_states)
        return self._group.states()

    def close(self) -> None:
        """Close the file."""
        self.store.close()

    def _guarded(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do the work on the open file; on a new one when it is damaged; on a new connection after a failing disk."""
        try:
            return self._attempt(work)
        except FILE_ERRORS as err:
            if not is_damaged(err):
                raise
            self.store.replace({name: chain.last_seq for name, chain in self._chains.items()}, err)
        try:
            return self._attempt(work)
        except FILE_ERRORS as err:
            raise sqlite3.OperationalError(f"spool {self.path}: {err}") from err  # twice in a row: the disk itself

    def _attempt(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            if not self.store.is_open:
                self._take_up(self.store.open())
            return work(self.store.connection())
        except sqlite3.OperationalError as err:
            if is_disk_fault(err):
                self.store.close()
            raise

    def _take_up(self, db: sqlite3.Connection) -> None:
        """Go on in a file that was just opened: the next number, and the chains of this process as far as they are."""
        (newest,) = db.execute("SELECT coalesce(max(id), 0) FROM record").fetchone()
        self._next_id = max(self._next_id, newest + 1)
        self._first_id = self._first_id if self._first_id > 0 else self._next_id
        self._changed.clear()
        known, self._chains = self._chains, {}
        with db:
            db.execute("BEGIN IMMEDIATE")
            for name, chain in known.items():
                self._chains[name] = self._find_chain(db, name, chain.last_seq)
        self._kept = kept(db)

    def _find_chain(self, db: sqlite3.Connection, name: ChainName, last_seq: int) -> Chain:
        """Return a chain of this process in the file at hand; what another file had of it is declared dropped."""
        row, there = find_chain(db, name)
        if there < last_seq:
            db.execute("UPDATE chain SET last_seq = ? WHERE id = ?", (last_seq, row))
            declare_dropped(db, row, there + 1, last_seq)
            self.store.lost += last_seq - there
        return Chain(row, max(there, last_seq))  # more is there when a sync failed after the log was written

    def _append_or_shrink(self, db: sqlite3.Connection, entries: Sequence[Entry]) -> list[int]:
        try:
            return self._append_all(db, entries)
        except sqlite3.OperationalError as err:
            if not is_full(err):
                raise
        log.error("disk is full, the oldest records of the spool make room", path=str(self.path))
        self.store.shrink(2 * self._group_bytes)
        with db:
            db.execute("BEGIN IMMEDIATE")
            freed = make_room(db, self.store.limit_bytes)
        self._note_freed(freed)
        self._take_up(db)
        return self._append_all(db, entries)

    def _append_all(self, db: sqlite3.Connection, entries: Sequence[Entry]) -> list[int]:
        group = self._group = Group(db, self._chains, self._packer, next_id=self._next_id, at_ms=wall_ms(self._clock))
        try:
            with db:
                db.execute("BEGIN IMMEDIATE")
                seqs = [group.add(entry) for entry in entries]
                group.settle()
                freed = make_room(db, self.store.limit_bytes)
                used = used_bytes(db)
        finally:
            self._group, self._group_bytes = None, group.size_bytes
        self._chains, self._next_id = group.chains, group.next_id
        self._tellers.extend(group.tellers)
        self._kept = Kept(self._kept.all_bytes + group.size_bytes, self._kept.unsent_bytes + group.size_bytes)
        self._note_freed(freed)
        self.alarm.look(used, self._kept, self.store.limit_bytes)
        return seqs

    def _note_freed(self, freed: Freed) -> None:
        self._kept = Kept(
            self._kept.all_bytes - freed.reserve_bytes - freed.unsent_bytes,
            self._kept.unsent_bytes - freed.unsent_bytes,
        )
        if freed.dropped:
            self.dropped += len(freed.dropped)
            self._changed.update(dict.fromkeys((chain for chain, _ in freed.dropped), self._next_id))
            log.error("spool is full, oldest unsent records dropped", count=len(freed.dropped), path=str(self.path))

    def _acknowledge(self, db: sqlite3.Connection, keys: Sequence[SpoolKey]) -> None:
        rows = {(spool_id, topic): row for row, spool_id, topic in db.execute("SELECT id, spool_id, topic FROM chain")}
        known = [(rows[key[:2]], key.seq) for key in keys if key[:2] in rows]
        sent_bytes = 0
        with db:
            db.execute("BEGIN IMMEDIATE")
            for key in known:
                sent_bytes += sum(size for (size,) in db.execute(_SENT, key).fetchall())
            db.executemany(_SENT_AGAIN, known)
        self._kept = self._kept._replace(unsent_bytes=self._kept.unsent_bytes - sent_bytes)
        acked = set(keys)
        self._told = max([self._told, *(id_ for key, id_ in self._tellers if key in acked)])

    def _drop(self, db: sqlite3.Connection, keys: Sequence[SpoolKey], why: str) -> None:
        with db:
            db.execute("BEGIN IMMEDIATE")
            rows = [row for key in keys for row in rows_of(db, *key)]
            delete(db, rows, declare=True)
        self.unsendable += len(rows)
        self._changed.update(dict.fromkeys((row.chain for row in rows), self._next_id))
        log.error("records declared dropped", why=why, count=len(rows), path=str(self.path))

    def _trim(self, db: sqlite3.Connection) -> None:
        now_ms = self._steady_ms + self._clock.mono_ns() // 1_000_000
        with db:
            db.execute("BEGIN IMMEDIATE")
            freed_bytes = trim(db, now_ms - self._config.reserve_ms, now_ms + _FUTURE_MS)
            gone = [(row,) for row in self._finished(db)]
            db.executemany("DELETE FROM dropped WHERE chain = ?", gone)
            db.executemany("DELETE FROM chain WHERE id = ?", gone)
        self._kept = self._kept._replace(all_bytes=self._kept.all_bytes - freed_bytes)

    def _finished(self, db: sqlite3.Connection) -> list[int]:
        """Return the chains of dead runs of which nothing is left, once what they declare has been delivered."""
        own = {chain.row for chain in self._chains.values()}
        sql = (
            "SELECT id, EXISTS (SELECT 1 FROM dropped WHERE chain = chain_.id) FROM chain AS chain_"
            " WHERE NOT EXISTS (SELECT 1 FROM record WHERE chain = chain_.id)"
        )
        rows = db.execute(sql).fetchall()
        return [row for row, declares in rows if row not in own and not (declares and self._told < self._since(row))]

    def _since(self, chain: int) -> int:
        return self._changed.get(chain, self._first_id)


@contextmanager
def open_spool(
    path: Path,
    *,
    clock: Clock,
    config: SpoolConfig | None = None,
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> Iterator[Spool]:
    """Lock and open the spool at `path` for a new run of the agent, making it if it is not there.

    A damaged file is set aside under a new name, and a fresh one begins with what can still be read. A disk that
    refuses is no reason to stop: the file is opened when it lets us.

    Raises:
        UnavailableError: Another agent holds the file, or its folder cannot be made.
        ConfigError: The file was written by a newer version.
    """
    with lock_spool(path):
        spool = Spool(path, config or SpoolConfig(), clock, str(new_spool_id(clock, random_bytes)))
        try:
            try:
                spool.states()
                spool.store.hold_ballast()
            except sqlite3.OperationalError as err:
                log.error("spool cannot be opened yet", path=str(path), error=str(err))  # noqa: TRY400 - no traceback
            yield spool
        finally:
            spool.close()
