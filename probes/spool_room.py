"""Room in the spool: what goes when it is full, what is declared, and who is told before."""

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final, NamedTuple

import structlog

from probes.spool_file import ACKED, AGAIN, UNSENT, declare_dropped, ranges_of, used_bytes

log = structlog.get_logger(__name__)

ALARM_PERCENTS: Final = (70, 90)
_CALM_PERCENT: Final = 5  # so far below a threshold the fill must fall before it alarms again
_ROWS: Final = 256  # looked at together
_BEGINS: Final = (
    "UPDATE chain SET gone_seq = coalesce((SELECT min(seq) - 1 FROM record WHERE chain = ?), last_seq) WHERE id = ?"
)


class Kept(NamedTuple):
    """Bytes that records take, about: all of them, and those not sent yet."""

    all_bytes: int
    unsent_bytes: int


class Freed(NamedTuple):
    """What was deleted to make room."""

    reserve_bytes: int = 0
    unsent_bytes: int = 0
    dropped: tuple[tuple[int, int], ...] = ()  # (chain, seq), all of them declared


class Placed(NamedTuple):
    """Where a record stands in the file."""

    id: int
    chain: int
    seq: int
    size: int


def kept(db: sqlite3.Connection) -> Kept:
    """Return what the records of a file take."""
    sql = "SELECT coalesce(sum(size), 0), coalesce(sum(CASE state WHEN 0 THEN size ELSE 0 END), 0) FROM record"
    return Kept(*db.execute(sql).fetchone())


def make_room(db: sqlite3.Connection, limit_bytes: int) -> Freed:
    """Delete the oldest records until the file's pages fit the limit: the reserve first, then what was never sent.

    To be called inside a transaction; what was never sent is declared dropped in the same one.
    """
    freed = Freed()
    for state in (ACKED, AGAIN, UNSENT):
        while (over_bytes := used_bytes(db) - limit_bytes) > 0:
            rows = _oldest(db, state, over_bytes)
            if not rows:
                break
            delete(db, rows, declare=state == UNSENT)
            size, names = sum(row.size for row in rows), tuple((row.chain, row.seq) for row in rows)
            if state == UNSENT:
                freed = freed._replace(unsent_bytes=freed.unsent_bytes + size, dropped=freed.dropped + names)
            else:
                freed = freed._replace(reserve_bytes=freed.reserve_bytes + size)
    return freed


def trim(db: sqlite3.Connection, before_ms: int, after_ms: int) -> int:
    """Delete the reserve spooled before, or labelled later than the clock can be; return its bytes, about."""
    sql = "SELECT id, chain, seq, size FROM record WHERE state = ? AND (at_ms < ? OR at_ms > ?)"
    rows = [Placed(*row) for row in db.execute(sql, (ACKED, before_ms, after_ms))]
    delete(db, rows, declare=False)
    return sum(row.size for row in rows)


def delete(db: sqlite3.Connection, rows: Sequence[Placed], *, declare: bool) -> None:
    """Delete records, and declare them dropped or note that their chains begin later now."""
    db.executemany("DELETE FROM record WHERE id = ?", [(row.id,) for row in rows])
    for chain, of_chain in groupby(sorted(rows, key=lambda row: (row.chain, row.seq)), key=lambda row: row.chain):
        if declare:
            for lo, hi in ranges_of(row.seq for row in of_chain):
                declare_dropped(db, chain, lo, hi)
        db.execute(_BEGINS, (chain, chain))


def rows_of(db: sqlite3.Connection, spool_id: str, topic: str, seq: int) -> list[Placed]:
    """Return the record of a name, as a list of one or none."""
    sql = (
        "SELECT record.id, chain, seq, size FROM record JOIN chain ON chain.id = record.chain"
        " WHERE spool_id = ? AND topic = ? AND seq = ?"
    )
    return [Placed(*row) for row in db.execute(sql, (spool_id, topic, seq))]


def _oldest(db: sqlite3.Connection, state: int, wanted_bytes: int) -> list[Placed]:
    sql = "SELECT id, chain, seq, size FROM record WHERE state = ? ORDER BY id LIMIT ?"
    return list(_until((Placed(*row) for row in db.execute(sql, (state, _ROWS)).fetchall()), wanted_bytes))


def _until(rows: Iterable[Placed], wanted_bytes: int) -> Iterable[Placed]:
    for row in rows:
        if wanted_bytes <= 0:
            return
        wanted_bytes -= row.size
        yield row


class FillAlarm:
    """Says once, and counts, when what waits to be sent has filled 70 and 90 % of the room."""

    def __init__(self) -> None:
        self.raised = dict.fromkeys(ALARM_PERCENTS, 0)  # how often, by threshold
        self.fill_percent = 0
        self._above: set[int] = set()

    def look(self, used: int, kept_now: Kept, limit_bytes: int) -> None:
        """Take the present fill: the file's bytes, less the reserve's share, of the limit."""
        share = kept_now.unsent_bytes / max(kept_now.all_bytes, 1)
        self.fill_percent = min(round(100 * used * share / limit_bytes), 100)
        for percent in ALARM_PERCENTS:
            if self.fill_percent >= percent and percent not in self._above:
                self._above.add(percent)
                self.raised[percent] += 1
                log.warning("spool fills up", fill_percent=self.fill_percent, threshold_percent=percent)
            elif self.fill_percent < percent - _CALM_PERCENT:
                self._above.discard(percent)
