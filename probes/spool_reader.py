"""Reading a spool, by the publisher and by people, beside the agent that writes it."""

import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from probes.lanes import LIVE_MS, Edge, Lane
from probes.spool_file import AGAIN, FILE_ERRORS, UNSENT, connect_to_read
from probes.spool_row import PackedRow, Unpacker, is_sound
from schemas.clock import Clock, wall_ms
from schemas.errors import ConfigError, UnavailableError
from schemas.records import SpoolState

MAX_STATES: Final = 512  # a heartbeat stays small even after a night of restarts
_LOOKED_AT: Final = 1_000  # records looked at for the edge of the live lane
_LAST: Final = (1 << 63) - 1

_NAMES: Final = (
    "SELECT record.id, spool_id, topic, seq FROM record CROSS JOIN chain ON chain.id = record.chain"
    " WHERE state = ? AND record.id BETWEEN ? AND ? AND (? IS NULL OR topic = ?)"
    " AND topic NOT IN (SELECT value FROM json_each(?)) ORDER BY record.id LIMIT ?"
)
_ROWS: Final = (
    "SELECT spool_id, topic, chain, seq, at_ms, codec, value, headers, record.crc"
    " FROM record JOIN chain ON chain.id = record.chain"
)
_BY_ID: Final = _ROWS + " WHERE record.id = ?"
_BY_SEQ: Final = _ROWS + " WHERE spool_id = ? AND topic = ? AND seq BETWEEN ? AND ? ORDER BY seq"
_STATES: Final = """
SELECT id, spool_id, topic, last_seq,
    coalesce((SELECT min(seq) - 1 FROM record WHERE chain = chain_.id AND state = 0), last_seq) AS acked_seq
FROM chain AS chain_
ORDER BY acked_seq = last_seq AND id NOT IN (SELECT chain FROM dropped), id DESC LIMIT ?
"""
_HELD: Final = """
SELECT chain_.id, spool_id, topic, last_seq,
    coalesce((SELECT min(seq) - 1 FROM record WHERE chain = chain_.id AND state = 0), last_seq),
    sum(coalesce(state = 0, 0)), sum(CASE state WHEN 0 THEN size ELSE 0 END),
    sum(coalesce(state = 2, 0)),
    sum(coalesce(state > 0, 0)), sum(CASE WHEN state > 0 THEN size ELSE 0 END),
    min(at_ms), max(at_ms)
FROM chain AS chain_ LEFT JOIN record ON record.chain = chain_.id
GROUP BY chain_.id ORDER BY chain_.id
"""


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


class Held(NamedTuple):
    """What a file holds of one (spool_id, topic), for people; sizes are those in the file."""

    spool_id: str
    topic: str
    last_seq: int
    acked_seq: int
    dropped: list[tuple[int, int]]
    unsent: int
    unsent_bytes: int
    again: int  # acknowledged once, asked for again
    reserve: int
    reserve_bytes: int
    oldest_ms: int | None  # UTC, None when nothing is held
    newest_ms: int | None


class SpoolReader:
    """The reading side; used by one thread at a time. `open_reader` makes it."""

    def __init__(self, db: sqlite3.Connection, clock: Clock) -> None:
        self.damaged: list[SpoolKey] = []  # records met whose check sum does not hold; the caller takes them away
        self._db = db
        self._clock = clock
        self._edge = Edge(clock, self._labelled_edge)
        self._unpacker = Unpacker()

    def pending(
        self,
        limit: int,
        lane: Lane,
        *,
        topic: str | None = None,
        skip: Collection[SpoolKey] = (),
        without: Collection[str] = (),
    ) -> list[SpoolRow]:
        """Return up to `limit` records of a lane that are to be sent, in the order in which they were spooled.

        Args:
            limit: Records at most.
            lane: "live" for 60 s after they were spooled, "backlog" beyond, and then what was asked for again.
            topic: This topic alone.
            skip: Records in flight, not to be returned again.
            without: Topics to leave out.
        """
        edge = self._edge.move(self._newest())
        parts = [(UNSENT, edge + 1, _LAST)] if lane == "live" else [(UNSENT, 0, edge), (AGAIN, 0, _LAST)]
        found: list[int] = []
        for bounds in parts:
            rows = self._db.execute(_NAMES, (*bounds, topic, topic, json.dumps(list(without)), limit + len(skip)))
            found += [id_ for id_, *name in rows if SpoolKey(*name) not in skip]
        return [row for id_ in found[:limit] for row in self._sound(_BY_ID, (id_,))]

    def rows(self, spool_id: str, topic: str, lo: int, hi: int) -> Iterator[SpoolRow]:
        """Yield the records lo..hi, both included, that the file still holds, acknowledged or not."""
        yield from self._sound(_BY_SEQ, (spool_id, topic, lo, hi))

    def states(self) -> list[SpoolState]:
        """Return what the file knows of every (spool_id, topic)."""
        return read_states(self._db)

    def held(self) -> list[Held]:
        """Return what the file holds, by (spool_id, topic), the oldest run first."""
        rows = self._db.execute(_HELD).fetchall()
        return [
            Held(spool_id, topic, last, acked, _dropped(self._db, chain), *figures)
            for chain, spool_id, topic, last, acked, *figures in rows
        ]

    def _newest(self) -> int:
        newest: int = self._db.execute("SELECT coalesce(max(id), 0) FROM record").fetchone()[0]
        return newest

    def _labelled_edge(self) -> int:
        """Return the newest unsent record that was not spooled within 60 s by this clock, before or after."""
        now_ms = wall_ms(self._clock)
        sql = "SELECT id, at_ms FROM record WHERE state = 0 ORDER BY id DESC LIMIT ?"
        rows = self._db.execute(sql, (_LOOKED_AT,))
        return next((id_ for id_, at_ms in rows if abs(now_ms - at_ms) > LIVE_MS), 0)

    def _sound(self, sql: str, parameters: Sequence[int | str]) -> Iterator[SpoolRow]:
        for spool_id, topic, chain, seq, at_ms, *columns in self._db.execute(sql, parameters):
            key, packed = SpoolKey(spool_id, topic, seq), PackedRow(*columns)
            if is_sound(chain, seq, at_ms, packed):
                yield SpoolRow(key, at_ms, *self._unpacker.unpack(packed))
            else:
                self.damaged.append(key)


@contextmanager
def open_reader(path: Path, *, clock: Clock) -> Iterator[SpoolReader]:
    """Open the spool at `path` for reading.

    Raises:
        sqlite3.OperationalError: It is not there or cannot be read.
    """
    with closing(connect_to_read(path)) as db:
        yield SpoolReader(db, clock)


def read_held(path: Path, *, clock: Clock) -> list[Held]:
    """Return what the file at `path` holds, beside its agent or without one.

    Raises:
        ConfigError: There is no spool there.
        UnavailableError: It cannot be read.
    """
    if not path.is_file():
        raise ConfigError(f"no spool at {path}; name the probe's own with --spool, or its configuration with --config")
    try:
        with open_reader(path, clock=clock) as reader:
            return reader.held()
    except FILE_ERRORS as err:
        raise UnavailableError(f"spool {path}: {err}; run this as the user of the agent") from err


def read_states(db: sqlite3.Connection) -> list[SpoolState]:
    """Return the states of all chains, those with something unsent or dropped first, then the newest; at most 512."""
    return [
        SpoolState(spool_id=spool_id, topic=topic, last_seq=last, acked_seq=acked, dropped=_dropped(db, chain))
        for chain, spool_id, topic, last, acked in db.execute(_STATES, (MAX_STATES,)).fetchall()
    ]


def _dropped(db: sqlite3.Connection, chain: int) -> list[tuple[int, int]]:
    return db.execute("SELECT lo, hi FROM dropped WHERE chain = ? ORDER BY lo", (chain,)).fetchall()
