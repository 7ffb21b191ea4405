"""The file under the spool: its tables, how it is opened, and how a damaged one is put out of the way."""

import sqlite3
from pathlib import Path
from typing import Final

from schemas.clock import Clock, wall_ms
from schemas.errors import ConfigError

FILE_VERSION: Final = 1
BUSY_S: Final = 5.0
_SUFFIXES: Final = ("", "-wal", "-shm")
_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS chain (
    id INTEGER PRIMARY KEY, spool_id TEXT NOT NULL, topic TEXT NOT NULL, last_seq INTEGER NOT NULL,
    UNIQUE (spool_id, topic)
);
CREATE TABLE IF NOT EXISTS record (
    id INTEGER PRIMARY KEY, chain INTEGER NOT NULL, seq INTEGER NOT NULL, at_ms INTEGER NOT NULL,
    acked INTEGER NOT NULL DEFAULT 0, value BLOB NOT NULL, headers BLOB NOT NULL,
    UNIQUE (chain, seq)
);
CREATE INDEX IF NOT EXISTS record_by_age ON record (acked, at_ms, id);
CREATE INDEX IF NOT EXISTS record_unacked ON record (chain, seq) WHERE acked = 0;
CREATE TABLE IF NOT EXISTS dropped (chain INTEGER NOT NULL, lo INTEGER NOT NULL, hi INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS dropped_by_chain ON dropped (chain, hi);
"""


def connect(path: Path) -> sqlite3.Connection:
    """Return a writing connection to a sound file with the tables in it.

    Raises:
        ConfigError: The file was written by a newer version.
        sqlite3.DatabaseError: It is damaged (`is_damaged`), or cannot be opened.
    """
    db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        _prepare(db, path)
    except BaseException:
        db.close()
        raise
    return db


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Return a reading connection; the file must be there."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False)


def is_damaged(err: sqlite3.DatabaseError) -> bool:
    """Return whether an error says that the file itself is broken, not the disk or the statement."""
    code = getattr(err, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _DAMAGED


def set_aside(path: Path, clock: Clock) -> Path:
    """Rename a damaged file with its log, and return its new name."""
    kept = path.with_name(f"{path.name}.damaged-{wall_ms(clock)}")
    for suffix in _SUFFIXES:
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(kept.with_name(kept.name + suffix))
    return kept


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        err = sqlite3.DatabaseError(found)
        err.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise err
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > FILE_VERSION:
        raise ConfigError(f"spool {path} is of file version {version}, this agent knows {FILE_VERSION}; upgrade it")
    db.executescript(_TABLES)
    db.execute(f"PRAGMA user_version = {FILE_VERSION}")
