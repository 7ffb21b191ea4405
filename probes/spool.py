"""The spool: every record stays on disk until the broker has acknowledged it, and as a reserve after that.

One SQLite file in WAL mode with synchronous=FULL. The agent that writes it holds a lock; a publisher reads it over a
connection of its own (`spool_reader`). A record is known by (spool_id, topic, seq): seq runs 0, 1, 2, ... and is given
inside the transaction that writes the record, so there is no gap that nobody declared.
"""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import msgspec
import structlog

from probes.spool_file import connect, is_damaged, set_aside
from probes.spool_reader import SpoolKey, read_states
from schemas.clock import Clock, wall_ms
from schemas.errors import UnavailableError
from schemas.identity import new_spool_id
from schemas.records import SpoolState

log = structlog.get_logger(__name__)

T = TypeVar("T")
Headers = Sequence[tuple[str, bytes]]
Make = Callable[[int], tuple[bytes, Headers]]  # seq -> value and headers

_ROW_BYTES: Final = 64  # what a row costs beside its value and headers
_SIZE: Final = "SELECT coalesce(sum(length(value) + length(headers) + ?), 0) FROM record"
_TRIM_ROWS: Final = 256  # rows looked at together when room is made


class SpoolConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much the spool keeps."""

    max_bytes: int = 2 << 30  # 72 h of 35 records of 200 B a second; the oldest go first
    reserve_ms: int = 86_400_000  # acknowledged records stay a day, for `isochrone spool resend`


class Entry(NamedTuple):
    """A record to be written: `make` gets its seq and returns its bytes, inside the transaction."""

    spool_id: str
    topic: str
    make: Make


class _Chain(NamedTuple):
    """One (spool_id, topic) that this process writes."""

    row: int
    last_seq: int


class Spool:
    """The writing side; used by one thread at a time. `open_spool` makes it."""

    def __init__(self, path: Path, db: sqlite3.Connection, config: SpoolConfig, clock: Clock, spool_id: str) -> None:
        self.spool_id = spool_id
        self.path = path
        self._db = db
        self._config = config
        self._clock = clock
        self._chains: dict[tuple[str, str], _Chain] = {}  # by (spool_id, topic), as committed
        self._group: dict[tuple[str, str], _Chain] = {}  # the same in the transaction at hand; empty outside of one
        self._used_bytes = _used_bytes(db)

    def append(self, topic: str, make: Make) -> int:
        """Write one record of the run durably and return its seq; `append_all` writes many for one sync of the disk."""
        return self.append_all([Entry(self.spool_id, topic, make)])[0]

    def append_all(self, entries: Iterable[Entry]) -> list[int]:
        """Write records in one transaction and return their seqs, once they are on disk.

        Raises:
            sqlite3.OperationalError: The disk is full, read-only or failing; nothing was written, no seq is used up.
        """
        return self._again_if_damaged(lambda: self._append_all(list(entries)))

    def acknowledge(self, keys: Iterable[SpoolKey]) -> None:
        """Mark records as acknowledged by the broker; a key that the file no longer knows is ignored.

        Raises:
            sqlite3.OperationalError: As for `append_all`; the records stay unacknowledged and are sent again.
        """
        self._again_if_damaged(lambda: self._acknowledge(list(keys)))

    def trim(self) -> None:
        """Forget what was acknowledged longer ago than the reserve, and finished runs of which nothing is left."""
        self._again_if_damaged(self._trim)

    def states(self) -> list[SpoolState]:
        """Return what this file knows of every (spool_id, topic); callable inside a `make` too."""
        self._note_last()
        return read_states(self._db)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _again_if_damaged(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except sqlite3.DatabaseError as err:
            if not is_damaged(err):
                raise
            self._replace_damaged_file(err)
            return work()

    def _append_all(self, entries: Sequence[Entry]) -> list[int]:
        used = self._used_bytes
        seqs = []
        self._group = dict(self._chains)
        try:
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                for spool_id, topic, make in entries:
                    chain = self._group.get((spool_id, topic)) or self._new_chain(spool_id, topic)
                    seq = chain.last_seq + 1
                    used += self._insert(chain.row, seq, *make(seq))
                    self._group[spool_id, topic] = _Chain(chain.row, seq)
                    seqs.append(seq)
                self._note_last()
                used -= self._make_room(used - self._config.max_bytes)
            self._chains, self._used_bytes = self._group, used
        finally:
            self._group = {}
        return seqs

    def _note_last(self) -> None:
        """Write the last seqs of the group at hand; once a group, and before anybody looks."""
        last = [(chain.last_seq, chain.row) for chain in self._group.values()]
        if last:
            self._db.executemany("UPDATE chain SET last_seq = ? WHERE id = ?", last)

    def _new_chain(self, spool_id: str, topic: str) -> _Chain:
        sql = "INSERT INTO chain (spool_id, topic, last_seq) VALUES (?, ?, -1)"
        row = self._db.execute(sql, (spool_id, topic)).lastrowid
        return _Chain(row or 0, -1)

    def _insert(self, chain: int, seq: int, value: bytes, headers: Headers) -> int:
        packed = msgspec.msgpack.encode(headers)
        self._db.execute(
            "INSERT INTO record (chain, seq, at_ms, value, headers) VALUES (?, ?, ?, ?, ?)",
            (chain, seq, wall_ms(self._clock), value, packed),
        )
        return len(value) + len(packed) + _ROW_BYTES

    def _make_room(self, wanted_bytes: int) -> int:
        """Delete the oldest records, acknowledged ones first, until `wanted_bytes` are free; return the bytes freed."""
        freed = 0
        for acked in (1, 0):
            while freed < wanted_bytes:
                rows = self._oldest(acked)
                taken = list(_until(rows, wanted_bytes - freed))
                if not taken:
                    break
                freed += sum(size for _, _, _, size in taken)
                self._db.executemany("DELETE FROM record WHERE id = ?", [(id_,) for id_, _, _, _ in taken])
                if not acked:
                    self._declare_dropped([(chain, seq) for _, chain, seq, _ in taken])
        return freed

    def _oldest(self, acked: int) -> list[tuple[int, int, int, int]]:
        sql = (
            "SELECT id, chain, seq, length(value) + length(headers) + ? FROM record"
            " WHERE acked = ? ORDER BY at_ms, id LIMIT ?"
        )
        return self._db.execute(sql, (_ROW_BYTES, acked, _TRIM_ROWS)).fetchall()

    def _declare_dropped(self, keys: Sequence[tuple[int, int]]) -> None:
        for chain, seq in keys:
            grown = self._db.execute("UPDATE dropped SET hi = ? WHERE chain = ? AND hi = ?", (seq, chain, seq - 1))
            if grown.rowcount == 0:
                self._db.execute("INSERT INTO dropped (chain, lo, hi) VALUES (?, ?, ?)", (chain, seq, seq))
        log.error("spool is full, oldest unsent records dropped", count=len(keys), path=str(self.path))

    def _acknowledge(self, keys: Sequence[SpoolKey]) -> None:
        sql = (
            "UPDATE record SET acked = 1 WHERE seq = ?"
            " AND chain = (SELECT id FROM chain WHERE spool_id = ? AND topic = ?)"
        )
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(sql, [(key.seq, key.spool_id, key.topic) for key in keys])

    def _trim(self) -> None:
        before_ms = wall_ms(self._clock) - self._config.reserve_ms
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            freed = self._db.execute(_SIZE + " WHERE acked = 1 AND at_ms < ?", (_ROW_BYTES, before_ms)).fetchone()[0]
            self._db.execute("DELETE FROM record WHERE acked = 1 AND at_ms < ?", (before_ms,))
            gone = [(row,) for row in self._finished()]
            self._db.executemany("DELETE FROM dropped WHERE chain = ?", gone)
            self._db.executemany("DELETE FROM chain WHERE id = ?", gone)
        self._used_bytes -= freed

    def _finished(self) -> list[int]:
        own = {chain.row for chain in self._chains.values()}
        rows = self._db.execute("SELECT id FROM chain WHERE id NOT IN (SELECT chain FROM record)")
        return [row for (row,) in rows if row not in own]

    def _replace_damaged_file(self, err: sqlite3.DatabaseError) -> None:
        """Go on in a fresh file: same run, same seqs; what the damaged one had not sent is declared dropped."""
        self._db.close()
        kept = set_aside(self.path, self._clock)
        log.error("spool is damaged, set aside and replaced", path=str(self.path), kept=str(kept), error=str(err))
        self._db = connect(self.path)
        self._used_bytes = 0
        known, self._chains = self._chains, {}
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            for (spool_id, topic), chain in known.items():
                row = self._new_chain(spool_id, topic).row
                self._db.execute("UPDATE chain SET last_seq = ? WHERE id = ?", (chain.last_seq, row))
                self._db.execute("INSERT INTO dropped (chain, lo, hi) VALUES (?, 0, ?)", (row, chain.last_seq))
                self._chains[spool_id, topic] = _Chain(row, chain.last_seq)


@contextmanager
def open_spool(
    path: Path,
    *,
    clock: Clock,
    config: SpoolConfig | None = None,
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> Iterator[Spool]:
    """Lock and open the spool at `path` for a new run of the agent, making it if it is not there.

    A damaged file is set aside under a new name and a fresh one takes its place.

    Raises:
        UnavailableError: Another agent holds the file, or the folder cannot be written.
    """
    with _lock(path):
        spool_id = str(new_spool_id(clock, random_bytes))
        spool = Spool(path, _open(path, clock), config or SpoolConfig(), clock, spool_id)
        try:
            yield spool
        finally:
            spool.close()


def _open(path: Path, clock: Clock) -> sqlite3.Connection:
    try:
        return connect(path)
    except sqlite3.DatabaseError as err:
        if not is_damaged(err):
            raise UnavailableError(f"spool {path}: {err}; give the agent a folder that it may write") from err
        kept = set_aside(path, clock)
        log.exception("spool is damaged, set aside and replaced", path=str(path), kept=str(kept))
        return connect(path)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold `path`.lock; the kernel frees it with the process, whatever ends it."""
    name = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = name.open("a+", encoding="ascii")
    except OSError as err:
        raise UnavailableError(f"spool {path}: {err}; give the agent a folder that it may write") from err
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise UnavailableError(f"spool {path} is held by process {holder}; one agent a spool") from err
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _used_bytes(db: sqlite3.Connection) -> int:
    used: int = db.execute(_SIZE, (_ROW_BYTES,)).fetchone()[0]
    return used


def _until(rows: Iterable[tuple[int, int, int, int]], wanted_bytes: int) -> Iterator[tuple[int, int, int, int]]:
    freed = 0
    for row in rows:
        if freed >= wanted_bytes:
            return
        freed += row[3]
        yield row
