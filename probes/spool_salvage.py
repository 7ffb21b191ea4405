"""A new spool from an old file: what a damaged one still holds, and what a former version wrote.

Row by row, so that a page beyond use costs its own records alone. What is neither here nor rightly gone is declared
dropped; where the file no longer tells which, it is declared too, and the store's own copy wins over a declaration.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from probes.spool_file import (
    ACKED,
    FILE_ERRORS,
    FORMER_VERSION,
    UNSENT,
    connect,
    connect_to_read,
    declare_dropped,
    ranges_of,
    remove,
)
from probes.spool_head import mend_head
from probes.spool_row import INSERT, INSERT_CHAIN, PackedRow, Packer, Row, is_sound, moved_row, name_checksum

ChainName = tuple[str, str]  # spool_id, topic
_STRETCH: Final = 256  # ids read together while they can be
_MOST_IDS: Final = 20_000_000  # a damaged number must not keep the agent busy for ever
_COLUMNS: Final = "id, chain, seq, at_ms, state, codec, crc, headers, value"
_FORMER: Final = "id, chain, seq, at_ms, acked, 0, 0, headers, value"
_CHAINS: Final = "SELECT id, spool_id, topic, crc, last_seq, gone_seq FROM chain NOT INDEXED"
_NAMES_TWICE: Final = "SELECT id, spool_id, topic FROM chain INDEXED BY sqlite_autoindex_chain_1"
_NUMBERS_TWICE: Final = "SELECT id, last_seq, gone_seq FROM chain INDEXED BY chain_twice"


class Salvaged(NamedTuple):
    """What came over, and what did not."""

    records: int
    unreadable: int  # rows beyond use, about: on a damaged page nobody can count
    dropped: int  # seqs newly declared


class _OldRow(NamedTuple):
    id: int
    chain: int
    seq: int
    at_ms: int
    state: int
    codec: int
    crc: int
    headers: bytes
    value: bytes

    @property
    def packed(self) -> PackedRow:
        return PackedRow(self.codec, self.value, self.headers, self.crc)


class _Chain:
    """A chain on its way: its number in the new file, how far it goes, and what is accounted for."""

    def __init__(self, row: int, last_seq: int, gone_seq: int) -> None:
        self.row = row
        self.last_seq = last_seq
        self.gone_seq = min(gone_seq, last_seq)
        self.sent: set[int] = set()
        self.here: set[int] = set()


def new_path(path: Path) -> Path:
    """Return where the successor of a file grows."""
    return path.with_name(path.name + ".new")


def rebuild(path: Path, last_seqs: Mapping[ChainName, int]) -> Salvaged:
    """Write the successor of the damaged or former file at `path`: chains, drops, and what was not sent yet.

    Args:
        path: The file; nobody writes it.
        last_seqs: What the process itself knows of its chains; the file may know less.

    Raises:
        sqlite3.OperationalError: The disk refuses; `path` is as it was.
    """
    new_file = new_path(path)
    remove(new_file)
    connect(new_file).close()
    mend_head(path, new_file.read_bytes())
    with closing(connect(new_file)) as new, closing(connect_to_read(path)) as old, new:
        new.execute("BEGIN IMMEDIATE")
        return _Salvage(new, _Old(old)).run(last_seqs)


class _Old:
    """A file of which any part may be beyond use."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        (version,) = next(self.rows("PRAGMA user_version"), (0,))
        self.is_former = version == FORMER_VERSION

    def rows(self, sql: str, parameters: Sequence[int] = ()) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query as far as they can be read."""
        try:
            yield from self._db.execute(sql, parameters)
        except FILE_ERRORS:
            return

    def chains(self) -> Iterator[tuple[int, ChainName, int, int]]:
        """Yield (row, name, last_seq, gone_seq); the numbers stand twice, the smaller ones are taken."""
        if self.is_former:
            for row, spool_id, topic, last_seq in self.rows("SELECT id, spool_id, topic, last_seq FROM chain"):
                yield row, (spool_id, topic), last_seq, last_seq
            return
        names = {row: (spool_id, topic) for row, spool_id, topic in self.rows(_NAMES_TWICE)}
        numbers = {row: (last_seq, gone_seq) for row, last_seq, gone_seq in self.rows(_NUMBERS_TWICE)}
        for row, spool_id, topic, crc, last_seq, gone_seq in self.rows(_CHAINS):
            if row not in names or crc == name_checksum(spool_id, topic):
                names[row] = spool_id, topic
            twin = numbers.get(row, (last_seq, gone_seq))
            numbers[row] = min(last_seq, twin[0]), min(gone_seq, twin[1])
        for row, name in names.items():
            yield row, name, *numbers.get(row, (-1, -1))

    def dropped(self) -> Iterator[tuple[int, int, int]]:
        """Yield (chain, lo, hi) of what was declared, from both copies."""
        yield from self.rows("SELECT chain, lo, hi FROM dropped NOT INDEXED")
        if not self.is_former:
            yield from self.rows("SELECT chain, lo, hi FROM dropped INDEXED BY dropped_twice")

    def records(self) -> Iterator[_OldRow | None]:
        """Yield every record, None for one that cannot be read."""
        first, last = self._ids()
        for at in range(first, min(last, first + _MOST_IDS) + 1, _STRETCH):
            yield from self._stretch(at, min(at + _STRETCH - 1, last))

    def _ids(self) -> tuple[int, int]:
        """Return the first and the last id that the table or an index tells of; (0, -1) when neither does."""
        column = "acked" if self.is_former else "state"
        tables = ["SELECT min(id) FROM record", "SELECT max(id) FROM record"]
        indexes = [f"SELECT {end}(id) FROM record WHERE {column} = {n}" for end in ("min", "max") for n in range(3)]  # noqa: S608 - constants
        found = [each for sql in tables + indexes for (each,) in self.rows(sql) if isinstance(each, int) and each > 0]
        return (min(found), max(found)) if found else (0, -1)

    def _stretch(self, lo: int, hi: int) -> Iterator[_OldRow | None]:
        columns = _FORMER if self.is_former else _COLUMNS
        sql = f"SELECT {columns} FROM record NOT INDEXED WHERE id BETWEEN ? AND ? ORDER BY id"  # noqa: S608 - constants
        try:
            yield from [_OldRow(*row) for row in self._db.execute(sql, (lo, hi))]
        except FILE_ERRORS:
            if lo == hi:
                yield None
                return
            middle = (lo + hi) // 2
            yield from self._stretch(lo, middle)
            yield from self._stretch(middle + 1, hi)


class _Salvage:
    def __init__(self, new: sqlite3.Connection, old: _Old) -> None:
        self._new = new
        self._old = old
        self._chains: dict[int, _Chain] = {}  # by their row in the old file
        self._names: dict[ChainName, _Chain] = {}
        self._packer = Packer()
        self._kept = self._unreadable = 0

    def run(self, last_seqs: Mapping[ChainName, int]) -> Salvaged:
        for row, name, last_seq, gone_seq in self._old.chains():
            self._chains[row] = self._chain(name, max(last_seq, last_seqs.get(name, -1)), gone_seq)
        for name, last_seq in last_seqs.items():
            self._chain(name, last_seq, -1)
        for chain, lo, hi in self._old.dropped():
            if chain in self._chains and 0 <= lo <= hi <= self._chains[chain].last_seq:
                declare_dropped(self._new, self._chains[chain].row, lo, hi)
        for record in self._records():
            self._keep(record)
        return Salvaged(self._kept, self._unreadable, sum(map(self._finish, self._names.values())))

    def _chain(self, name: ChainName, last_seq: int, gone_seq: int) -> _Chain:
        if name not in self._names:
            row = self._new.execute(INSERT_CHAIN, (*name, name_checksum(*name), last_seq)).lastrowid or 0
            self._names[name] = _Chain(row, last_seq, gone_seq)
        return self._names[name]

    def _records(self) -> Iterator[_OldRow]:
        """Yield what is to be kept. Sent only counts where table and index agree; the reserve stays behind."""
        sent = {row for (row,) in self._old.rows("SELECT id FROM record INDEXED BY record_by_state WHERE state = 1")}
        for row in self._old.records():
            if row is None or not (self._old.is_former or is_sound(row.chain, row.seq, row.at_ms, row.packed)):
                self._unreadable += 1
            elif row.state == ACKED and row.id in sent and row.chain in self._chains:
                self._chains[row.chain].sent.add(row.seq)
            else:
                yield row

    def _keep(self, row: _OldRow) -> None:
        chain = self._chains.get(row.chain)
        if chain is None:  # the chain itself cannot be read: nobody knows whose this is
            self._unreadable += 1
            return
        if row.seq not in chain.here:
            self._new.execute(INSERT, self._moved(chain.row, row))
            chain.here.add(row.seq)
            chain.last_seq = max(chain.last_seq, row.seq)
            self._kept += 1

    def _moved(self, chain: int, row: _OldRow) -> Row:
        if not self._old.is_former:
            state = UNSENT if row.state == ACKED else row.state  # its index did not say that it was sent
            return moved_row(chain, row.seq, row.at_ms, state, row.packed)
        headers = msgspec.msgpack.decode(row.headers, type=list[tuple[str, bytes]])
        return self._packer.row(None, chain, row.seq, row.at_ms, row.state, row.value, headers)

    def _finish(self, chain: _Chain) -> int:
        """Declare what is neither here, nor sent, nor rightly gone; return how many that are."""
        first = min(chain.here, default=chain.last_seq + 1)
        sql = "UPDATE chain SET last_seq = ?, gone_seq = ? WHERE id = ?"
        self._new.execute(sql, (chain.last_seq, first - 1, chain.row))
        known = chain.here | chain.sent
        for lo, hi in self._new.execute("SELECT lo, hi FROM dropped WHERE chain = ?", (chain.row,)).fetchall():
            known.update(range(lo, hi + 1))
        missing = [seq for seq in range(chain.gone_seq + 1, chain.last_seq + 1) if seq not in known]
        for lo, hi in ranges_of(missing):
            declare_dropped(self._new, chain.row, lo, hi)
        return len(missing)
