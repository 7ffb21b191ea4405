"""The spool's file over its life: opened when the disk lets us, replaced when damaged, held small on a full disk."""

import os
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from probes.spool_file import (
    FILE_VERSION,
    check,
    connect,
    file_version,
    remove,
    set_aside,
    this_host,
    used_bytes,
    was_moved,
)
from probes.spool_salvage import ChainName, new_path, rebuild
from schemas.clock import Clock

log = structlog.get_logger(__name__)

_BALLAST_BYTES: Final = 8 << 20  # room for the log to be folded into the file when the disk is full
_LOG_SHARE: Final = 2 * 4096  # the log holds half the ballast's pages before it is folded in
_MARGIN_BYTES: Final = 64 << 10


class SpoolStore:
    """The one writing connection, and what becomes of the file under it."""

    def __init__(self, path: Path, max_bytes: int, clock: Clock) -> None:
        self.path = path
        self.replaced = 0  # files set aside for damage
        self.lost = 0  # records that went with them, all declared dropped
        self.moved = False  # the file was a copy or a restored backup
        self._max_bytes = max_bytes
        self._ballast_bytes = 0  # known once the disk is
        self._ceiling_bytes: int | None = None  # the disk is full: the file may not grow beyond this
        self._clock = clock
        self._db: sqlite3.Connection | None = None
        self._inode = 0

    @property
    def limit_bytes(self) -> int:
        """Return what the file may take now."""
        return self._max_bytes if self._ceiling_bytes is None else min(self._ceiling_bytes, self._max_bytes)

    @property
    def is_open(self) -> bool:
        """Return whether the file is open, and the one at its path."""
        with suppress(OSError):
            return self._db is not None and self.path.stat().st_ino == self._inode
        return False

    def open(self) -> sqlite3.Connection:
        """Return a new connection.

        Raises:
            ConfigError: The file was written by a newer version.
            sqlite3.DatabaseError: It is damaged, or the disk refuses.
        """
        if self._db is not None:
            log.error("spool file was taken away under the agent, a new one begins", path=str(self.path))
        self.close()
        try:
            self._end_replacement()
            db = connect(self.path)
            if file_version(db) != FILE_VERSION:
                db.close()
                self._upgrade()
                db = connect(self.path)
            self._inode = self.path.stat().st_ino
            disk = os.statvfs(self.path)
            self._ballast_bytes = min(_BALLAST_BYTES, self._max_bytes // 16, disk.f_blocks * disk.f_frsize // 16)
            self.moved = was_moved(db, self.path, this_host())
        except OSError as err:
            raise sqlite3.OperationalError(str(err)) from err
        db.execute(f"PRAGMA wal_autocheckpoint = {max(min(self._ballast_bytes // _LOG_SHARE, 1000), 16)}")
        if self.moved:
            log.warning("spool is a copy or a restored backup", path=str(self.path))
        self._db = db
        return db

    def connection(self) -> sqlite3.Connection:
        """Return the connection that is open.

        Raises:
            sqlite3.OperationalError: None is.
        """
        if self._db is None:
            raise sqlite3.OperationalError(f"spool {self.path} is not open")
        return self._db

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._db is not None:
            with suppress(sqlite3.Error):  # a failing disk may refuse to fold the log; it is read at the next start
                self._db.close()
            self._db = None

    def replace(self, last_seqs: Mapping[ChainName, int], why: Exception) -> None:
        """Set the damaged file aside and begin a new one with all that can still be read.

        Raises:
            sqlite3.OperationalError: The disk refuses; nothing was changed.
        """
        self.close()
        try:
            found = rebuild(self.path, last_seqs)
            kept = set_aside(self.path, self._clock)
            new_path(self.path).rename(self.path)
        except OSError as err:
            raise sqlite3.OperationalError(str(err)) from err
        self.replaced += 1
        self.lost += found.dropped
        log.error("spool is damaged, set aside and replaced", kept=str(kept), error=str(why), **found._asdict())

    def hold_ballast(self) -> None:
        """Keep some of the disk for the hour when it is full; that it can be kept ends such an hour."""
        ballast = self._ballast
        try:
            if not ballast.exists() or ballast.stat().st_size < self._ballast_bytes:
                with ballast.open("wb") as file:
                    os.posix_fallocate(file.fileno(), 0, self._ballast_bytes)
        except OSError:
            with suppress(OSError):
                ballast.unlink(missing_ok=True)
        else:
            self._ceiling_bytes = None

    def shrink(self, wanted_bytes: int) -> None:
        """Take the disk as full: the file stays as large as it is, and has to make room inside."""
        with suppress(OSError):
            self._ballast.unlink(missing_ok=True)
        db = self.connection()
        db.execute("PRAGMA wal_checkpoint(RESTART)")
        used = used_bytes(db)
        self._ceiling_bytes = max(used - wanted_bytes - _MARGIN_BYTES, used // 2)

    @property
    def _ballast(self) -> Path:
        return self.path.with_name(self.path.name + ".ballast")

    def _upgrade(self) -> None:
        """Bring a file of the former version over; the process dies at most before one of two renames."""
        found = rebuild(self.path, {})
        remove(self.path)
        new_path(self.path).rename(self.path)
        log.info("spool file brought to the present version", records=found.records, path=str(self.path))

    def _end_replacement(self) -> None:
        """Take up a successor whose rename the last process did not live to see; one without its turn is redone."""
        new = new_path(self.path)
        if new.exists() and not self.path.exists():
            new.rename(self.path)
        elif new.exists():
            remove(new)

    def check(self) -> None:
        """Read and compare the whole file.

        Raises:
            sqlite3.DatabaseError: It is damaged, or the disk refuses.
        """
        check(self.connection())
