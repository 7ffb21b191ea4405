"""The file under the spool: its tables, how it is opened, checked, and put out of the way when it is damaged.

Everything that decides a record's fate stands twice, in its table and in an index, so that the check at the start
compares two copies; what a record holds has a check sum of its own.
"""

import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Final

from schemas.clock import Clock, wall_ms
from schemas.errors import ConfigError

FILE_VERSION: Final = 2
FORMER_VERSION: Final = 1
BUSY_S: Final = 5.0
SUFFIXES: Final = ("", "-wal", "-shm")
UNSENT, ACKED, AGAIN = 0, 1, 2  # AGAIN: acknowledged once, to be sent again because somebody asked for it
FILE_ERRORS: Final = (sqlite3.DatabaseError, UnicodeDecodeError)  # the latter: SQLite quotes a broken schema
_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_DISK: Final = (
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_FULL,
)
_KEPT_FILES: Final = 1  # of the damaged ones: evidence, at the price of a whole spool each

_TABLES: Final = """
CREATE TABLE chain (
    id INTEGER PRIMARY KEY, spool_id TEXT NOT NULL, topic TEXT NOT NULL,
    last_seq INTEGER NOT NULL, gone_seq INTEGER NOT NULL DEFAULT -1, crc INTEGER NOT NULL,
    UNIQUE (spool_id, topic)
);
CREATE INDEX chain_twice ON chain (last_seq, gone_seq);
CREATE TABLE record (
    id INTEGER PRIMARY KEY, chain INTEGER NOT NULL, seq INTEGER NOT NULL, at_ms INTEGER NOT NULL,
    state INTEGER NOT NULL, size INTEGER NOT NULL, codec INTEGER NOT NULL, crc INTEGER NOT NULL,
    headers BLOB NOT NULL, value BLOB NOT NULL,
    UNIQUE (chain, seq)
);
CREATE INDEX record_by_state ON record (state);
CREATE INDEX record_unsent ON record (chain, seq) WHERE state = 0;
CREATE TABLE dropped (chain INTEGER NOT NULL, lo INTEGER NOT NULL, hi INTEGER NOT NULL);
CREATE INDEX dropped_twice ON dropped (chain, lo, hi);
CREATE TABLE home (host TEXT NOT NULL, inode INTEGER NOT NULL);
"""


_SCHEMA: Final = "SELECT type, name, tbl_name, rootpage, sql FROM sqlite_master ORDER BY rootpage"


def connect(path: Path) -> sqlite3.Connection:
    """Return a writing connection to a file with our tables in it, made if it is not there.

    Raises:
        ConfigError: The file was written by a newer version.
        sqlite3.DatabaseError: It is damaged (`is_damaged`), or the disk refuses (`is_disk_fault`).
    """
    db = _open(str(path), uri=False)
    try:
        _prepare(db, path)
    except BaseException:
        db.close()
        raise
    return db


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Return a reading connection; the file must be there."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    return _open(uri, uri=True)


def connect_to_write(path: Path) -> sqlite3.Connection:
    """Return a connection that writes beside the agent's; the file must be there and is taken as it is."""
    return _open(f"{path.absolute().as_uri()}?mode=rw", uri=True)


def file_version(db: sqlite3.Connection) -> int:
    """Return the version of a file's tables, 0 for an empty file."""
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    return version


def check_tables(db: sqlite3.Connection) -> None:
    """Compare the tables of a file, and the pages they begin on, with those that a new file has.

    Raises:
        sqlite3.DatabaseError: They differ, so the first page is damaged.
    """
    with closing(sqlite3.connect(":memory:")) as fresh:
        fresh.executescript(_TABLES)
        wanted = fresh.execute(_SCHEMA).fetchall()
    if db.execute(_SCHEMA).fetchall() != wanted:
        raise damage("the tables are not those of a spool")


def check(db: sqlite3.Connection) -> None:
    """Read the whole file and compare every table with its indexes.

    Raises:
        sqlite3.DatabaseError: It is damaged.
    """
    found = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise damage(str(found))


def damage(text: str) -> sqlite3.DatabaseError:
    """Return the error that says that the file itself is broken."""
    err = sqlite3.DatabaseError(text)
    err.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return err


def is_damaged(err: BaseException) -> bool:
    """Return whether one of `FILE_ERRORS` says that the file itself is broken, not the disk or the statement."""
    return isinstance(err, UnicodeDecodeError) or (isinstance(err, sqlite3.Error) and _code(err) in _DAMAGED)


def is_disk_fault(err: sqlite3.Error) -> bool:
    """Return whether an error says that the disk fails or cannot be written.

    What was being committed may be there or not: a new connection looks.
    """
    return _code(err) in _DISK


def is_full(err: sqlite3.Error) -> bool:
    """Return whether an error says that the disk is full."""
    return _code(err) == sqlite3.SQLITE_FULL


def used_bytes(db: sqlite3.Connection) -> int:
    """Return what the file's pages in use take on the disk."""
    pages, free, size = (
        int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size


def set_aside(path: Path, clock: Clock) -> Path:
    """Rename a damaged file with its log and return its new name; of such files the newest stay."""
    kept = path.with_name(f"{path.name}.damaged-{wall_ms(clock)}")
    for suffix in SUFFIXES:
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(kept.with_name(kept.name + suffix))
    kept.with_name(kept.name + "-shm").unlink(missing_ok=True)  # only a cache of the log
    older = [file for file in path.parent.glob(f"{path.name}.damaged-*") if not file.name.startswith(kept.name)]
    mains = sorted({file.name.removesuffix("-wal").removesuffix("-shm") for file in older})
    for name in mains[: len(mains) + 1 - _KEPT_FILES]:
        remove(path.with_name(name))
    return kept


def remove(path: Path) -> None:
    """Remove a file with its log."""
    for suffix in SUFFIXES:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def declare_dropped(db: sqlite3.Connection, chain: int, lo: int, hi: int) -> None:
    """Add lo..hi to what the chain declares as dropped; ranges that touch become one."""
    near = (chain, lo - 1, hi + 1)
    found = db.execute("SELECT rowid, lo, hi FROM dropped WHERE chain = ? AND hi >= ? AND lo <= ?", near).fetchall()
    db.executemany("DELETE FROM dropped WHERE rowid = ?", [(row,) for row, _, _ in found])
    lo, hi = min([lo, *(each for _, each, _ in found)]), max([hi, *(each for _, _, each in found)])
    db.execute("INSERT INTO dropped (chain, lo, hi) VALUES (?, ?, ?)", (chain, lo, hi))


def ranges_of(seqs: Iterable[int]) -> list[tuple[int, int]]:
    """Return ascending seqs as inclusive ranges."""
    found: list[tuple[int, int]] = []
    for seq in seqs:
        if found and found[-1][1] == seq - 1:
            found[-1] = (found[-1][0], seq)
        else:
            found.append((seq, seq))
    return found


def was_moved(db: sqlite3.Connection, path: Path, host: str) -> bool:
    """Return whether the file began its life elsewhere: a copy, a clone or a restored backup; this is its home now."""
    here = (host, path.stat().st_ino)
    found = db.execute("SELECT host, inode FROM home").fetchone()
    if found != here:
        with db:
            db.execute("BEGIN IMMEDIATE")
            db.execute("DELETE FROM home")
            db.execute("INSERT INTO home (host, inode) VALUES (?, ?)", here)
    return found is not None and found != here


def this_host() -> str:
    """Return what tells this host from another one."""
    for name in ("/etc/machine-id", "/proc/sys/kernel/hostname"):
        try:
            return Path(name).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
    return os.uname().nodename


def _open(name: str, *, uri: bool) -> sqlite3.Connection:
    db = sqlite3.connect(name, uri=uri, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    db.text_factory = _text
    return db


def _text(found: bytes) -> str:
    return found.decode(errors="replace")  # a flipped bit in a name is for the check to find, not for a decoder


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")  # in WAL mode NORMAL syncs at checkpoints alone: minutes would be at stake
    db.execute("PRAGMA cell_size_check = ON")
    version = file_version(db)
    if version > FILE_VERSION:
        raise ConfigError(f"spool {path} is of file version {version}, this agent knows {FILE_VERSION}; upgrade it")
    if version == 0:
        db.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {FILE_VERSION}; COMMIT;")
    if version != FORMER_VERSION:
        check_tables(db)


def _code(err: sqlite3.Error) -> int | None:
    code = getattr(err, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
