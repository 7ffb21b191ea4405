"""Migrated databases for tests: one of its own for each test, a store on it, a mesh in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from support import wire_messages as wire
from support.engine import ServerAddress

from schemas.clock import SystemClock
from streams.membership import Membership
from streams.migrate import migrate
from streams.registry import Registry
from streams.store import Store, StoreConfig, open_store


def config_of(address: ServerAddress, database: str, **fields: Any) -> StoreConfig:  # noqa: ANN401 - the config's own
    """Return the config of a test's database."""
    password = address.writer.password or ""
    return StoreConfig(
        host=address.host,
        port=address.port,
        user=address.writer.name,
        password=password,
        database=database,
        **{"read_timeout_s": 30.0, **fields},  # two busy cores
    )


@pytest.fixture
def store_config(clickhouse_server: ServerAddress, database: str) -> StoreConfig:
    """Return the config of a database in its newest form."""
    config = config_of(clickhouse_server, database)
    migrate(config, profile="embedded", clock=SystemClock())
    return config


@pytest.fixture
def store(store_config: StoreConfig) -> Iterator[Store]:
    """Yield a store on a database in its newest form."""
    with open_store(store_config) as opened:
        yield opened


@contextmanager
def sql(config: StoreConfig) -> Iterator[Any]:
    """Yield a function that runs any statement, as no part of the product may, and returns its rows."""
    from support.engine import client

    from deploy.embedded.clickhouse.logins import Login

    address = ServerAddress(
        host=config.host, port=config.port, writer=Login(name=config.user, password=config.password)
    )
    with client(address, database=config.database) as driver:
        yield driver.execute


class FixedRegistry(Registry):
    """A registry that knows one membership and reads nothing."""

    def __init__(self, membership: Membership | None = None) -> None:
        super().__init__(SystemClock(), refresh_s=3600)
        self.membership = membership if membership is not None else wire.membership()

    def refresh(self, store: Store, *, stranger: bool = False) -> bool:  # noqa: ARG002 - the same face
        return False


def windows(config: StoreConfig, where: str = "1") -> dict[tuple[str, int, int], dict[str, Any]]:
    """Return the rows of `kpi_1m` as readers see them, `written_ms` left out, as `fold_plainly` returns its own."""
    query = f"SELECT * REPLACE (toUnixTimestamp(minute) AS minute) FROM kpi_1m_latest WHERE {where}"  # noqa: S608 - a test's
    with sql(config) as run:
        found, header = run(query, with_column_types=True)
    rows = [dict(zip([name for name, _ in header], row, strict=True)) for row in found]
    for row in rows:
        del row["written_ms"]
    return {(row["probe_id"], row["stream_id"], row["minute"]): row for row in rows}
