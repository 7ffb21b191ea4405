"""The door to chdb: the engine opened on a directory, a connection of it for each client, its errors as faults.

Nothing else imports chdb, and no client may live in this process: after `import chdb` a forked child hangs.
"""

import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from deploy.embedded.clickhouse.blocks import Column
from deploy.embedded.clickhouse.engineconfig import ENGINE_FOLDER, profile, write_config
from deploy.embedded.clickhouse.faults import EngineFault, fault_of
from deploy.embedded.clickhouse.inserts import Insert
from deploy.embedded.clickhouse.settings import SettingNameError, kept, literal, step
from schemas.errors import UnavailableError

NATIVE: Final = "Native"
_NAMED: Final = "JSONCompactEachRow"
_NAMES_AND_TYPES: Final = "JSONCompactEachRowWithNamesAndTypes"
_NOT_WRITTEN: Final = ("MATERIALIZED", "ALIAS", "EPHEMERAL")
_NO_SUCH_COLUMN: Final = 16
_UNKNOWN_SETTING: Final = 115
_BAD_IN_PATH: Final = frozenset("?&%+#=")


class EngineStream:
    """A streaming insert; it reports bytes that cannot be parsed and nothing else, see `inserter`."""

    def __init__(self, handle: Any) -> None:  # noqa: ANN401 - chdb has no types
        self._handle = handle

    def append(self, content: bytes) -> None:
        """Hand over bytes of FORMAT Native; raises `EngineFault`."""
        with _faults():
            self._handle.append(content)

    def finish(self) -> None:
        """End it; raises `EngineFault`."""
        with _faults():
            self._handle.finish()

    def cancel(self) -> None:
        """Drop it."""
        with suppress(RuntimeError):
            self._handle.cancel()


class EngineSession:
    """One connection of the engine: its database, temporary tables and settings; used by one thread at a time."""

    def __init__(self, connection: Any, base: Mapping[str, str]) -> None:  # noqa: ANN401 - chdb has no types
        self._connection = connection
        self._base = dict(base)
        self._applied: dict[str, str] = {}

    def run(self, sql: str, result_format: str = NATIVE) -> bytes:
        """Run one statement to its end and return its rows, b"" for none; raises `EngineFault`."""
        with _faults():
            return bytes(self._connection.query(sql, result_format).bytes())

    def apply(self, wanted: Mapping[str, str]) -> None:
        """Make the settings of the next query hold, and those of the last one go; raises `EngineFault`."""
        try:
            target = kept(wanted)
        except SettingNameError as err:
            raise EngineFault(_UNKNOWN_SETTING, f"DB::Exception: {err}. (UNKNOWN_SETTING)") from err
        statement = step(self._applied, target, self._base)
        if statement is None:
            return
        before, self._applied = self._applied, target
        try:
            self.run(statement)
        except EngineFault:
            self._forget({*before, *target})
            raise

    def remember(self, sets: Sequence[tuple[str, str]]) -> None:
        """Keep what the client's own SET statement said, so that it holds after a query that overrode it."""
        for name, value in sets:
            self._base[name] = value

    def stream(self, sql: str) -> Iterator[bytes]:
        """Yield the blocks of a SELECT as the engine makes them; raises `EngineFault`."""
        with _faults():
            rows = self._connection.send_query(sql, NATIVE)
        try:
            while True:
                with _faults():
                    chunk = rows.fetch()
                if chunk is None:
                    return
                yield bytes(chunk.bytes())
        finally:
            with suppress(RuntimeError):
                rows.cancel()

    def open_insert(self, head: str) -> EngineStream:
        """Begin a streaming insert; raises `EngineFault`."""
        with _faults():
            return EngineStream(self._connection.send_insert(head, NATIVE))

    def columns_of_query(self, sql: str) -> list[Column]:
        """Return names and types of a SELECT without running it (its scalar sub-queries do run)."""
        return self._describe(f"(\n{sql}\n)")

    def columns_of_insert(self, insert: Insert) -> list[Column]:
        """Return the columns that an INSERT expects; raises `EngineFault`, code 16 for one that is not there."""
        if insert.expression is not None:
            # The client's own words, which it could send as a SELECT of its own.
            return self._describe(f"(SELECT {insert.expression} FROM {insert.table})")  # noqa: S608
        every = self._describe(insert.table)
        if insert.columns is None:
            return [each for each in every if each.default_kind not in _NOT_WRITTEN]
        known = {each.name: each for each in every}
        for name in insert.columns:
            if name not in known:
                text = f"DB::Exception: No such column {name} in table {insert.table}. (NO_SUCH_COLUMN_IN_TABLE)"
                raise EngineFault(_NO_SUCH_COLUMN, text)
        return [known[name] for name in insert.columns]

    def columns_of_show(self, sql: str) -> list[Column]:
        """Return names and types of a SHOW, DESCRIBE, EXISTS or EXPLAIN that gave no rows."""
        lines = self.run(sql, _NAMES_AND_TYPES).splitlines()
        names, types = (msgspec.json.decode(line, type=list[str]) for line in lines[:2])
        return [Column(name, type_name) for name, type_name in zip(names, types, strict=True)]

    def close(self) -> None:
        """Close the connection; its temporary tables go."""
        with suppress(RuntimeError):
            self._connection.close()

    def _describe(self, what: str) -> list[Column]:
        lines = self.run(f"DESCRIBE TABLE {what}", _NAMED).splitlines()
        return [Column(*msgspec.json.decode(line, type=list[str])[:3]) for line in lines]

    def _forget(self, names: set[str]) -> None:
        """Put settings back one by one after a SET that failed somewhere in its list."""
        self._applied = {}
        for name in names:
            with suppress(EngineFault):
                self.run(f"SET {name} = {self._base.get(name, 'DEFAULT')}")


class Engine:
    """The engine of this process, open on one directory."""

    def __init__(self, chdb: Any, address: str, base: Mapping[str, str]) -> None:  # noqa: ANN401 - chdb has no types
        self._chdb = chdb
        self._address = address
        self._base = {name: literal(value) for name, value in base.items()}
        self._control = self.session("control", readonly=False)
        self._control_lock = threading.Lock()
        self.version = self._control.run("SELECT version()", "TSVRaw").decode().strip()

    def session(self, tag: str, *, readonly: bool, database: str = "") -> EngineSession:
        """Open a connection; raises `EngineFault`, code 81 for a database that is not there.

        Args:
            tag: by which `kill` finds its queries.
            readonly: put it in the engine's one-way jail: it reads and sets, and never writes.
            database: "" for the engine's `default`.
        """
        with _faults():
            session = EngineSession(self._chdb.connect(self._address), self._base)
        try:
            session.run(f"SET log_comment = {literal(tag)}")
            if database:
                session.run(f"USE `{database.replace('`', '``')}`")
            if readonly:
                session.run("SET readonly = 2")
        except EngineFault:
            session.close()
            raise
        return session

    def kill(self, tag: str) -> None:
        """End the running query of a session; it hears code 394."""
        with self._control_lock, suppress(EngineFault):
            self._control.run(f"KILL QUERY WHERE Settings['log_comment'] = {literal(tag)} ASYNC")

    def close(self) -> None:
        """Close the last connection: the engine writes what it holds and stops."""
        self._control.close()


@contextmanager
def open_engine(directory: Path, memory_bytes: int) -> Iterator[Engine]:
    """Open the engine on `directory` while the block runs.

    Raises:
        UnavailableError: chdb is not installed, or the engine refuses the directory.
    """
    if _BAD_IN_PATH & set(str(directory.resolve())):
        raise UnavailableError(f"{directory}: a data directory may not have any of ?&%+#= in its path; choose another")
    chdb = _load_chdb()
    (directory / "config").mkdir(mode=0o700, exist_ok=True)
    config = write_config(directory.resolve() / "config", memory_bytes)
    try:
        engine = Engine(chdb, f"{directory.resolve() / ENGINE_FOLDER}?config-file={config}", profile(memory_bytes))
    except EngineFault as err:
        raise UnavailableError(f"the engine does not open {directory}: {err}") from err
    try:
        yield engine
    finally:
        engine.close()


def _load_chdb() -> Any:  # noqa: ANN401 - chdb has no types
    os.environ["TZ"] = "UTC"  # the engine's <timezone> is ignored; it asks the C library
    time.tzset()
    sys.modules.setdefault("pyarrow", None)  # type: ignore[arg-type] # optional for chdb: 40 MB never used here
    try:
        import chdb
    except ImportError as err:
        raise UnavailableError(f"no chdb ({err}); install it: pip install 'isochrone[embedded]'") from err
    return chdb


@contextmanager
def _faults() -> Iterator[None]:
    """Turn what chdb raises into a fault: all of it is RuntimeError, ChdbError too."""
    try:
        yield
    except RuntimeError as err:
        raise fault_of(str(err)) from err
