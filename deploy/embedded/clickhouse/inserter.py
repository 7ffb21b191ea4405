"""INSERT of blocks, in two steps, because the engine's own streaming insert does not tell every error.

Measured on chdb 4.4.0: `send_insert(...).finish()` returns as if all were well when the table refuses the rows (too
many parts, a constraint, a view that throws), and nothing is stored. An acknowledgement like that is a loss. Only bytes
that cannot be parsed are reported. So the blocks are streamed into a temporary table in memory, their rows are
counted there, and an ordinary INSERT ... SELECT, which tells its errors, carries them over.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Protocol

from deploy.embedded.clickhouse.blocks import Block, Column
from deploy.embedded.clickhouse.faults import EngineFault
from deploy.embedded.clickhouse.inserts import Insert

STAGE: Final = "_isochrone_incoming"
_MEMORY_LIMIT: Final = 241
_NO_SUCH_COLUMN: Final = 10


class Stream(Protocol):
    """A streaming insert of the engine."""

    def append(self, content: bytes) -> None:
        """Hand over bytes of FORMAT Native."""

    def finish(self) -> None:
        """End it."""

    def cancel(self) -> None:
        """Drop it."""


class Connection(Protocol):
    """What is needed of an engine's connection; all of it raises `EngineFault`."""

    def run(self, sql: str, result_format: str = ...) -> bytes:
        """Run one statement and return its rows."""

    def open_insert(self, head: str) -> Stream:
        """Begin a streaming insert."""


class Inserter:
    """One INSERT; nothing is stored unless `finish` returns. Not for two threads.

    Args:
        columns: what the client was told to send.
    """

    def __init__(self, connection: Connection, insert: Insert, columns: Sequence[Column]) -> None:
        self._connection = connection
        self._insert = insert
        self._columns = columns
        self._stream: Stream | None = None
        self._rows = 0

    def open(self) -> None:
        """Make the place for the rows."""
        columns = ", ".join(f"`{_escape(each.name)}` {each.type_name}" for each in self._columns)
        self._connection.run(f"CREATE TEMPORARY TABLE {STAGE} ({columns}) ENGINE = Memory")
        self._stream = self._connection.open_insert(f"INSERT INTO {STAGE}")

    def append(self, block: Block) -> None:
        """Take one block; raises `EngineFault`, code 10, for columns that were not asked for.

        The engine would fill what it does not find with defaults, and say nothing.
        """
        self._require_columns(block)
        if self._stream is not None:
            self._stream.append(block.content)
            self._rows += block.rows

    def finish(self) -> None:
        """Store what was taken, all of it or, with the fault raised, none of it (what views took aside)."""
        if self._stream is not None:
            self._stream.finish()
            self._stream = None
        if self._rows > 0:
            self._require_all()
            # One thread keeps the order of the rows, which decides between equal versions of a row.
            self._connection.run(f"{self._insert.head} SELECT * FROM {STAGE} SETTINGS max_threads = 1")  # noqa: S608

    def close(self) -> None:
        """Drop what is not stored."""
        if self._stream is not None:
            self._stream.cancel()
        with suppress(EngineFault):
            self._connection.run(f"DROP TEMPORARY TABLE IF EXISTS {STAGE}")

    def _require_columns(self, block: Block) -> None:
        wanted, got = [each.name for each in self._columns], [each.name for each in block.columns]
        if sorted(wanted) != sorted(got):
            text = f"a block of the columns {', '.join(got)} where {', '.join(wanted)} were asked for"
            raise EngineFault(_NO_SUCH_COLUMN, f"DB::Exception: {text}. (NOT_FOUND_COLUMN_IN_BLOCK)")

    def _require_all(self) -> None:
        arrived = int(self._connection.run(f"SELECT count() FROM {STAGE}", "TSVRaw"))  # noqa: S608 - our own name
        if arrived != self._rows:
            text = f"the engine held {arrived} of {self._rows} rows and did not say why; most likely its memory cap"
            raise EngineFault(_MEMORY_LIMIT, f"DB::Exception: {text}. (MEMORY_LIMIT_EXCEEDED)")


def _escape(name: str) -> str:
    return name.replace("\\", "\\\\").replace("`", "\\`")
