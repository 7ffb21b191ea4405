"""One transaction of writing: records get their seq, their bytes and their number, and reach SQLite together."""

import sqlite3
from collections.abc import Callable, Mapping
from typing import NamedTuple

from probes.spool_file import UNSENT
from probes.spool_reader import SpoolKey, read_states
from probes.spool_row import INSERT, INSERT_CHAIN, SIZE, Headers, Packer, Row, name_checksum
from probes.spool_salvage import ChainName
from schemas.records import SpoolState

Make = Callable[[int], tuple[bytes, Headers]]  # seq -> value and headers


class Entry(NamedTuple):
    """A record to be written: `make` gets its seq and returns its bytes, inside the transaction."""

    spool_id: str
    topic: str
    make: Make
    shrink: Callable[[], Make] | None = None  # the same `make` out of a few kB, for the time that the disk refuses it


class Chain(NamedTuple):
    """One (spool_id, topic) that this process writes."""

    row: int
    last_seq: int


class Group:
    """The transaction at hand: what it has numbered, and what of it SQLite does not have yet."""

    def __init__(
        self, db: sqlite3.Connection, chains: Mapping[ChainName, Chain], packer: Packer, *, next_id: int, at_ms: int
    ) -> None:
        self.chains = dict(chains)
        self.next_id = next_id
        self.size_bytes = 0
        self.tellers: list[tuple[SpoolKey, int]] = []  # records that told the states, with their numbers
        self._db = db
        self._before = chains
        self._packer = packer
        self._at_ms = at_ms
        self._rows: list[Row] = []
        self._tells = False

    def add(self, entry: Entry) -> int:
        """Take a record in and return its seq."""
        name = (entry.spool_id, entry.topic)
        chain = self.chains.get(name) or find_chain(self._db, name)
        seq = chain.last_seq + 1
        self._tells = False
        value, headers = entry.make(seq)
        row = self._packer.row(self.next_id, chain.row, seq, self._at_ms, UNSENT, value, headers)
        self._rows.append(row)
        self.size_bytes += row[SIZE]
        self.chains[name] = Chain(chain.row, seq)
        if self._tells:
            self.tellers.append((SpoolKey(*name, seq), self.next_id))
        self.next_id += 1
        return seq

    def states(self) -> list[SpoolState]:
        """Return the states as they are with what the group holds, for the record that is being made."""
        self._tells = True
        self.settle()
        return read_states(self._db)

    def settle(self) -> None:
        """Hand SQLite what the group holds: once a group, and before anybody looks."""
        self._db.executemany(INSERT, self._rows)
        self._rows.clear()
        last = [(chain.last_seq, chain.row) for name, chain in self.chains.items() if self._before.get(name) != chain]
        self._db.executemany("UPDATE chain SET last_seq = ? WHERE id = ?", last)


def find_chain(db: sqlite3.Connection, name: ChainName) -> Chain:
    """Return a chain as the file has it, entered if it is new."""
    found = db.execute("SELECT id, last_seq FROM chain WHERE spool_id = ? AND topic = ?", name).fetchone()
    if found is None:
        found = db.execute(INSERT_CHAIN, (*name, name_checksum(*name), -1)).lastrowid or 0, -1
    return Chain(*found)
