"""Reading a spool, by the publisher and by people, beside the agent that writes it."""

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from probes.spool_file import connect_to_read
from schemas.clock import Clock, wall_ms
from schemas.records import SpoolState

LIVE_MS: Final = 60_000  # older records wait in the backlog lane, so that a return from an outage shows now first
MAX_STATES: Final = 512  # a heartbeat stays small even after a night of restarts
Lane = Literal["live", "backlog"]


class SpoolKey(NamedTuple):
    """What names a record for ever."""

    spool_id: str
    topic: str
    seq: int


class SpoolRow(NamedTuple):
    """A record as it was spooled."""

    key: SpoolKey
    at_ms: int
    value: bytes
    headers: list[tuple[str, bytes]]


class SpoolReader:
    """The reading side; used by one thread at a time. `open_reader` makes it."""

    def __init__(self, db: sqlite3.Connection, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    def pending(
        self, limit: int, lane: Lane, *, topic: str | None = None, skip: Collection[SpoolKey] = ()
    ) -> list[SpoolRow]:
        """Return up to `limit` unacknowledged records of a lane, oldest first.

        Args:
            limit: Records at most.
            lane: "live" up to 60 s of age, "backlog" beyond.
            topic: This topic alone.
            skip: Records in flight, not to be returned again.
        """
        edge_ms = wall_ms(self._clock) - LIVE_MS
        age = "at_ms >= ?" if lane == "live" else "at_ms < ?"
        sql = f"{_ROWS} WHERE acked = 0 AND {age} AND (? IS NULL OR topic = ?) ORDER BY at_ms, record.id LIMIT ?"
        rows = self._db.execute(sql, (edge_ms, topic, topic, limit + len(skip)))
        found = [row for row in map(_row, rows) if row.key not in skip]
        return found[:limit]

    def rows(self, spool_id: str, topic: str, lo: int, hi: int) -> Iterator[SpoolRow]:
        """Yield the records lo..hi, both included, that the file still holds, acknowledged or not."""
        sql = f"{_ROWS} WHERE spool_id = ? AND topic = ? AND seq BETWEEN ? AND ? ORDER BY seq"
        yield from map(_row, self._db.execute(sql, (spool_id, topic, lo, hi)))

    def states(self) -> list[SpoolState]:
        """Return what the file knows of every (spool_id, topic)."""
        return read_states(self._db)


_ROWS: Final = "SELECT spool_id, topic, seq, at_ms, value, headers FROM record JOIN chain ON chain.id = record.chain"
_headers = msgspec.msgpack.Decoder(list[tuple[str, bytes]])


@contextmanager
def open_reader(path: Path, *, clock: Clock) -> Iterator[SpoolReader]:
    """Open the spool at `path` for reading.

    Raises:
        sqlite3.OperationalError: It is not there or cannot be read.
    """
    with closing(connect_to_read(path)) as db:
        yield SpoolReader(db, clock)


def read_states(db: sqlite3.Connection) -> list[SpoolState]:
    """Return the states of all chains, those with something unsent first, then the newest; at most MAX_STATES."""
    sql = (
        "SELECT chain.id, spool_id, topic, last_seq, coalesce(min(seq) - 1, last_seq) AS acked_seq"
        " FROM chain LEFT JOIN record ON record.chain = chain.id AND acked = 0"
        " GROUP BY chain.id ORDER BY acked_seq = last_seq, chain.id DESC LIMIT ?"
    )
    return [
        SpoolState(spool_id=spool_id, topic=topic, last_seq=last, acked_seq=acked, dropped=_dropped(db, chain))
        for chain, spool_id, topic, last, acked in db.execute(sql, (MAX_STATES,)).fetchall()
    ]


def _dropped(db: sqlite3.Connection, chain: int) -> list[tuple[int, int]]:
    return db.execute("SELECT lo, hi FROM dropped WHERE chain = ? ORDER BY lo", (chain,)).fetchall()


def _row(row: tuple[str, str, int, int, bytes, bytes]) -> SpoolRow:
    spool_id, topic, seq, at_ms, value, headers = row
    return SpoolRow(SpoolKey(spool_id, topic, seq), at_ms, value, _headers.decode(headers))
