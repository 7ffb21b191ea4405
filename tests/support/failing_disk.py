"""A SQLite connection over a disk that fails at the n-th call, before the work or after it."""

import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from probes.spool_file import connect


class Faults:
    """Counts the calls of all connections of a test, and fails those it was told to."""

    def __init__(self, code: int, fails: Callable[[int], bool], *, after: bool = False) -> None:
        self.calls = 0
        self.failed = 0
        self._code = code
        self._fails = fails
        self._after = after

    def connect(self, path: Path) -> Any:  # noqa: ANN401 - stands for a sqlite3.Connection
        """Open the file as the spool does, over the failing disk."""
        return self.call(lambda: FailingConnection(connect(path), self))

    def call(self, work: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever the connection returns
        """Do the work, or fail before it, or after it."""
        self.calls += 1
        if not self._fails(self.calls):
            return work()
        self.failed += 1
        if self._after:
            work()
        err = sqlite3.OperationalError("injected")
        err.sqlite_errorcode = self._code
        raise err


class FailingConnection:
    """The part of a connection that the spool uses."""

    def __init__(self, db: sqlite3.Connection, faults: Faults) -> None:
        self._db = db
        self._faults = faults

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:  # noqa: ANN401 - sqlite3's own
        found: sqlite3.Cursor = self._faults.call(lambda: self._db.execute(sql, parameters))
        return found

    def executemany(self, sql: str, parameters: Iterable[Any]) -> sqlite3.Cursor:
        rows = list(parameters)
        found: sqlite3.Cursor = self._faults.call(lambda: self._db.executemany(sql, rows))
        return found

    def __enter__(self) -> None:
        self._db.__enter__()

    def __exit__(self, *error: Any) -> None:  # noqa: ANN401 - sqlite3's own
        if error[0] is not None:
            self._db.__exit__(*error)
            return
        try:
            self._faults.call(lambda: self._db.__exit__(None, None, None))
        except sqlite3.OperationalError:
            if self._db.in_transaction:
                self._db.rollback()
            raise

    def close(self) -> None:
        self._db.close()
