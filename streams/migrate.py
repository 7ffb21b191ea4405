"""Migrations: numbered files, forward only, each applied once and remembered with its checksum."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from importlib import resources
from string import Template
from typing import Final

import msgspec
import structlog

from schemas.clock import Clock, wall_ms
from schemas.errors import ConfigError, StorePermanentError, UnavailableError
from schemas.tables import RETENTION_DAYS, Profile, TableSpec
from streams.store import INSERT_SETTINGS, Store, StoreConfig, open_store

MIGRATIONS: Final = "schemas.migrations"
MIGRATION: Final = TableSpec(name="migration", latest=False, columns=("number", "name", "checksum", "applied_ms"))
OLDEST_SERVER: Final = (24, 3)  # FINAL with PREWHERE, LIMIT BY in views and ttl_only_drop_parts as used here
_OWN_TABLE: Final = """CREATE TABLE IF NOT EXISTS migration
(number UInt32, name String, checksum String, applied_ms UInt64) ENGINE = MergeTree ORDER BY number"""
_FILE: Final = re.compile(r"(?P<number>\d{4})_(?P<name>[a-z0-9_]+)\.sql")
_DATABASE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# What a semicolon may hide in: strings with backslashes, quoted names, both kinds of comment.
_PIECE: Final = re.compile(
    r"""(?P<comment>--[^\n]*|/\*.*?\*/)|(?P<quoted>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`(?:\\.|[^`\\])*`)|(?P<end>;)|.""",
    re.DOTALL,
)

log = structlog.get_logger(__name__)


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """One file; the checksum is of its text before retention is filled in."""

    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """Return 32 hex digits of BLAKE2b."""
        return hashlib.blake2b(self.text.encode(), digest_size=16).hexdigest()


def migrate(config: StoreConfig, *, profile: Profile, clock: Clock) -> list[Migration]:
    """Make the database and bring its tables to the newest form; return what was applied now.

    Raises:
        ConfigError: an applied migration has another text now, or the tables are newer than this software.
        UnavailableError: the server is too old or does not obey the settings that are relied on.
        StoreTransientError: the store is away.
        StorePermanentError: it refuses a statement.
    """
    if _DATABASE.fullmatch(config.database) is None:
        raise ConfigError(f"clickhouse database {config.database!r}: wanted letters, digits and _")
    with open_store(msgspec.structs.replace(config, database="default")) as store:
        store.execute_ddl(f"CREATE DATABASE IF NOT EXISTS `{config.database}`")
    with open_store(config) as store:
        check_server(store)
        return apply(store, shipped(), profile=profile, clock=clock)


def check_migrated(store: Store) -> None:
    """Return when the server is as relied on and every migration is applied.

    Raises:
        UnavailableError: it is not; the text says what to run.
        ConfigError: an applied migration has another text now.
        StoreTransientError: the store is away.
    """
    check_server(store)
    try:
        left = pending(shipped(), _applied(store))
    except StorePermanentError as err:
        raise UnavailableError(f"the tables are not there ({err}); run `isochrone up`") from err
    if left:
        raise UnavailableError(f"migrations not applied: {', '.join(each.name for each in left)}; run `isochrone up`")


def check_server(store: Store) -> None:
    """Return when the server is new enough and obeys the pinned settings.

    Raises:
        UnavailableError: it does not; the text says which.
        StoreTransientError: the store is away.
    """
    found = store.insert_settings()
    version = str(found["version"])
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < OLDEST_SERVER:
        raise UnavailableError(
            f"ClickHouse {version} is too old; wanted {OLDEST_SERVER[0]}.{OLDEST_SERVER[1]} or newer"
        )
    for name, wanted in INSERT_SETTINGS.items():
        if str(found[name]) not in (str(wanted), str(bool(wanted)).lower()):
            raise UnavailableError(
                f"ClickHouse keeps {name}={found[name]}, wanted {wanted}: a profile forbids the change"
            )


def apply(store: Store, migrations: Sequence[Migration], *, profile: Profile, clock: Clock) -> list[Migration]:
    """Apply what is not applied yet, in order; return it.

    A file that was cut off in the middle is run again from its start, so its statements say IF NOT EXISTS.

    Raises:
        ConfigError: see `pending`.
        StoreTransientError: the store is away.
        StorePermanentError: it refuses a statement.
    """
    store.execute_ddl(_OWN_TABLE)
    left = pending(migrations, _applied(store))
    for migration in left:
        for statement in split(filled(migration.text, profile)):
            store.execute_ddl(statement)
        store.insert(MIGRATION, [(migration.number, migration.name, migration.checksum, wall_ms(clock))])
        log.info("migration applied", number=migration.number, name=migration.name)
    return left


def pending(migrations: Sequence[Migration], applied: dict[int, str]) -> list[Migration]:
    """Return the migrations that are not applied.

    Args:
        migrations: all that this software has, in order.
        applied: checksum by number.

    Raises:
        ConfigError: an applied one has another text now, or is unknown here.
    """
    known = {migration.number: migration for migration in migrations}
    for number, checksum in sorted(applied.items()):
        if number not in known:
            raise ConfigError(f"migration {number:04d} is applied and unknown here; install the newer software")
        if known[number].checksum != checksum:
            raise ConfigError(
                f"migration {known[number].name} was changed after it was applied; restore it and write a new one"
            )
    return [migration for migration in migrations if migration.number not in applied]


def shipped() -> list[Migration]:
    """Return the migrations of this software, numbered 1, 2, 3, ...

    Raises:
        ConfigError: a number is absent or stands twice, or a file has another name.
    """
    found = [_read(file.name, file.read_text(encoding="utf-8")) for file in _files()]
    numbers = [migration.number for migration in found]
    if numbers != list(range(1, len(found) + 1)):
        raise ConfigError(f"{MIGRATIONS}: numbers {numbers} are not 1, 2, 3, ...")
    return found


def filled(text: str, profile: Profile) -> str:
    """Return the text with `${NAME_DAYS}` filled in.

    Raises:
        ConfigError: a name that the profile does not know.
    """
    try:
        return Template(text).substitute({name: str(days) for name, days in RETENTION_DAYS[profile].items()})
    except (KeyError, ValueError) as err:
        raise ConfigError(f"{MIGRATIONS}: {err} is not a retention of profile {profile}") from err


def split(text: str) -> Iterator[str]:
    """Yield the statements of a file, comments left out; a semicolon in a string or comment ends nothing."""
    statement: list[str] = []
    for piece in _PIECE.finditer(text):
        if piece.lastgroup == "end":
            yield from _said(statement)
            statement = []
        else:
            statement.append(" " if piece.lastgroup == "comment" else piece[0])
    yield from _said(statement)


def _said(pieces: Sequence[str]) -> Iterator[str]:
    text = "".join(pieces).strip()
    if text != "":
        yield text


def _files() -> list[resources.abc.Traversable]:
    files = (file for file in resources.files(MIGRATIONS).iterdir() if file.name.endswith(".sql"))
    return sorted(files, key=lambda file: file.name)


def _read(name: str, text: str) -> Migration:
    found = _FILE.fullmatch(name)
    if found is None:
        raise ConfigError(f"{MIGRATIONS}/{name}: wanted NNNN_name.sql")
    return Migration(number=int(found["number"]), name=name.removesuffix(".sql"), text=text)


def _applied(store: Store) -> dict[int, str]:
    return {int(row["number"]): str(row["checksum"]) for row in store.rows("migrate_applied")}
