"""The one door to ClickHouse: named queries out, whole blocks in, errors told apart.

One `Store` holds one connection and belongs to one thread. A lost connection is made anew by the next call. The store
does not retry: who writes knows what may be repeated.
"""

import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib import resources
from typing import Any, Final, TypeVar
from urllib.parse import unquote, urlsplit

import msgspec
from clickhouse_driver import errors as driver_errors

from schemas.errors import ConfigError, StorePermanentError
from schemas.tables import DATABASE, TableSpec
from streams.array_client import ArrayClient
from streams.binding import Param, bind
from streams.columns import Column, Columns, row_count
from streams.store_errors import AWAY, DEPLOYMENT_CODES, TRANSIENT_CODES, DeploymentError, StorePausedError, paused

T = TypeVar("T")

QUERIES: Final = "schemas.queries"
# Identity decides, not a window of the engine; and readers take the newest row of a key themselves, so a block need not
# be merged with itself before it is written, which costs a third of an insert.
INSERT_SETTINGS: Final = {"insert_deduplicate": 0, "async_insert": 0, "optimize_on_insert": 0}
MAX_BLOCK_ROWS: Final = 1_048_576  # one insert is one block, so that it is taken or refused as a whole
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")

_NETWORK_ERRORS: Final = (
    OSError,
    EOFError,
    driver_errors.NetworkError,
    driver_errors.SocketTimeoutError,
    driver_errors.UnexpectedPacketFromServerError,
    driver_errors.UnknownPacketFromServerError,
    driver_errors.PartiallyConsumedQueryError,
    driver_errors.ChecksumDoesntMatchError,
)
_VALUE_ERRORS: Final = (driver_errors.Error, ValueError, TypeError, AttributeError, OverflowError, struct.error)


class StoreConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the store is and who asks."""

    host: str = "127.0.0.1"
    port: int = 9000
    user: str = "default"
    password: str = ""
    database: str = DATABASE
    connect_timeout_s: float = 2.0  # short: the worker's heartbeats to Kafka must go on
    read_timeout_s: float = 10.0  # a report may ask for more
    secure: bool = False
    compress: bool = False  # pays on a real network, not on loopback

    def __repr__(self) -> str:
        """Return what may be logged: no password."""
        return f"StoreConfig({self.user}@{self.host}:{self.port}/{self.database})"


def store_config(url: str) -> StoreConfig:
    """Return the config of `clickhouse://user:password@host:port/database`; `clickhouses://` is TLS.

    Raises:
        ConfigError: another scheme, or a port that is none.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("clickhouse", "clickhouses") or parts.query != "":
        raise ConfigError("clickhouse.url: wanted clickhouse://user:password@host:port/database")
    secure = parts.scheme == "clickhouses"
    try:
        port = parts.port
    except ValueError as err:
        raise ConfigError(f"clickhouse.url: {err}") from err
    return StoreConfig(
        host=parts.hostname or "127.0.0.1",
        port=port if port is not None else (9440 if secure else 9000),
        user=unquote(parts.username or "default"),
        password=unquote(parts.password or ""),
        database=parts.path.strip("/") or DATABASE,
        secure=secure,
    )


class Store:
    """A connection to the tables. Not for two threads at once."""

    def __init__(self, config: StoreConfig, client: ArrayClient) -> None:
        self.config = config
        self._client = client

    def rows(self, query_name: str, /, **params: Param) -> list[dict[str, Any]]:
        """Return the rows of a named query, each by column name.

        Args:
            query_name: `name` of `schemas/queries/name.sql`.
            **params: a value for each `%(name)s` in it: str, int, float, bool or a list of one of them.

        Raises:
            ValueError: no such query, or its parameters differ.
            TypeError: a parameter of another type.
            StoreTransientError: away, busy or too slow.
            StorePermanentError: refused.
        """
        text = bind(query_text(query_name), params, name=query_name)
        found, header = self._ask(f"query {query_name}", lambda: self._client.execute(text, with_column_types=True))
        names = [name for name, _ in header]
        return [dict(zip(names, row, strict=True)) for row in found]

    def columns(self, query_name: str, /, **params: Param) -> Columns:
        """Return the columns of a named query as arrays, for thousands of rows; otherwise like `rows`."""
        text = bind(query_text(query_name), params, name=query_name)
        found: Columns = self._ask(f"query {query_name}", lambda: self._client.select_columns(text))
        return found

    def insert(self, table: TableSpec, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows in the order of `table.columns`; return when the engine has taken the block.

        Instants are integers in seconds for `DateTime`; UUIDs are text. No row is a success.

        Raises:
            StoreTransientError: unknown whether it is stored; the same block may be sent again.
            StorePermanentError: refused for what a row holds; nothing is stored.
            UnavailableError: no such table or no right to write: no row is to blame.
        """
        if len(rows) > 0:
            self.insert_columns(table, dict(zip(table.columns, zip(*rows, strict=True), strict=True)))

    def insert_columns(self, table: TableSpec, columns: Mapping[str, Sequence[Any] | Column]) -> None:
        """Insert a block given by column; the same promises and errors as `insert`.

        Raises:
            ValueError: the names are not the table's, the columns are not of one length, or the block is larger than
                one insert may be.
        """
        count = row_count(columns)
        if count == 0:
            return
        if set(columns) != set(table.columns) or {len(each) for each in columns.values()} != {count}:
            raise ValueError(f"insert into {table.name}: columns differ from its spec or in length")
        if count > MAX_BLOCK_ROWS:
            raise ValueError(f"insert into {table.name}: {count} rows, at most {MAX_BLOCK_ROWS} in one block")
        names = ", ".join(f"`{name}`" for name in table.columns)
        block = [columns[name] for name in table.columns]
        statement = f"INSERT INTO `{table.name}` ({names}) VALUES"
        self._ask(
            f"insert into {table.name}",
            lambda: self._client.execute(statement, block, columnar=True, settings=INSERT_SETTINGS),
            inserting=True,
        )

    def run(self, statement_name: str, /, **params: Param) -> None:
        """Run a named statement that writes what it selects; the engine reads and writes, nothing travels.

        Args:
            statement_name: `name` of `schemas/queries/name.sql`, an INSERT SELECT.
            **params: as for `rows`.

        Raises:
            ValueError, TypeError: as for `rows`.
            StoreTransientError: unknown how much is written; the same statement may be run again.
            StorePermanentError: refused.
            UnavailableError: no such table or no right to write.
        """
        text = bind(query_text(statement_name), params, name=statement_name)
        where = f"statement {statement_name}"
        self._ask(where, lambda: self._client.execute(text, settings=INSERT_SETTINGS), inserting=True)

    def execute_ddl(self, statement: str) -> None:
        """Run one statement of a migration.

        Raises:
            StoreTransientError: away, busy or too slow.
            StorePermanentError: refused.
        """
        self._ask("statement", lambda: self._client.execute(statement))

    def insert_settings(self) -> dict[str, object]:
        """Return what the engine makes of the pinned settings, and its version.

        Raises:
            StoreTransientError: away.
            StorePermanentError: it does not know a setting.
        """
        asked = ", ".join(f"toString(getSetting('{name}')) AS {name}" for name in INSERT_SETTINGS)
        statement = f"SELECT version() AS version, {asked}"
        found, header = self._ask(
            "settings", lambda: self._client.execute(statement, with_column_types=True, settings=INSERT_SETTINGS)
        )
        return dict(zip((name for name, _ in header), found[0], strict=True))

    def close(self) -> None:
        """Give the connection back."""
        self._client.disconnect()

    def _ask(self, what: str, call: Callable[[], Any], *, inserting: bool = False) -> Any:  # noqa: ANN401 - the driver's
        where = f"{what} at {self.config.host}:{self.config.port}"
        try:
            return call()
        except _NETWORK_ERRORS as err:
            self._client.disconnect()
            raise StorePausedError(f"{where}: no answer ({type(err).__name__}: {_line(err)})", AWAY) from err
        except driver_errors.ServerException as err:
            raise _translated(err, where, inserting=inserting) from err
        except _VALUE_ERRORS as err:
            self._client.disconnect()  # the block may be half sent
            raise StorePermanentError(f"{where}: {type(err).__name__}: {_line(err)}") from err


@contextmanager
def open_store(config: StoreConfig) -> Iterator[Store]:
    """Yield a store; the connection is made by its first call and closed at the end."""
    client = ArrayClient(
        host=config.host,
        port=config.port,
        user=config.user,
        password=config.password,
        database=config.database,
        secure=config.secure,
        compression="lz4" if config.compress else False,
        connect_timeout=config.connect_timeout_s,
        send_receive_timeout=config.read_timeout_s,
        sync_request_timeout=config.connect_timeout_s,
        client_name="isochrone",
        settings={"insert_block_size": MAX_BLOCK_ROWS},
    )
    store = Store(config, client)
    try:
        yield store
    finally:
        store.close()


@lru_cache(maxsize=256)
def query_text(name: str) -> str:
    """Return the text of `schemas/queries/<name>.sql`.

    Raises:
        ValueError: there is none.
    """
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} is not the name of a query")
    file = resources.files(QUERIES) / f"{name}.sql"
    if not file.is_file():
        raise ValueError(f"there is no query {name!r} in {QUERIES}")
    return file.read_text(encoding="utf-8")


def _translated(err: driver_errors.ServerException, where: str, *, inserting: bool) -> Exception:
    text = f"{where}: code {err.code}: {_line(err)}"
    if err.code in TRANSIENT_CODES:
        return paused(err.code, text)
    if inserting and err.code in DEPLOYMENT_CODES:
        return DeploymentError(text)
    return StorePermanentError(text)


def _line(err: BaseException) -> str:
    """Return the first line of an error: the engine adds its stack below."""
    message = str(getattr(err, "message", None) or err).strip().split("\n", 1)[0]
    return message.removeprefix("DB::Exception: ").removesuffix(" Stack trace:")[:500]
