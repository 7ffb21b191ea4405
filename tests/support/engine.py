"""A real ClickHouse for tests: the embedded one, once a session, or the one that ISOCHRONE_TEST_CLICKHOUSE names.

`tests/conftest.py` makes `clickhouse_server` known: a test takes it as an argument and gets a `ServerAddress`. The
variable is host:port:user:password; tests of what only the embedded server does are skipped then. The server is shared
by the session, so a test uses a database of its own: the fixture `database`.
"""

import importlib.util
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from clickhouse_driver import Client
from support.services import require

from deploy.embedded.clickhouse.logins import Login

GIVEN = "ISOCHRONE_TEST_CLICKHOUSE"
START_S = 20.0  # it starts in 1 s; two busy cores may take longer
WRITER = Login(name="isochrone", password="writes-in-tests")
READER = Login(name="isochrone_reader", password="reads-in-tests", readonly=True)


@dataclass(frozen=True, kw_only=True)
class ServerAddress:
    """Where a server answers; `reader` is None where the tests know no such login. `pid` only for the embedded."""

    host: str
    port: int
    writer: Login
    reader: Login | None = None
    pid: int | None = None

    @property
    def embedded(self) -> bool:
        """Whether it is the embedded server."""
        return self.pid is not None


def require_engine() -> None:
    """Skip or fail where no embedded server can run."""
    require("chdb", importlib.util.find_spec("chdb") is not None, "pip install 'isochrone[embedded]'")


@contextmanager
def client(address: ServerAddress, login: Login | None = None, **options: object) -> Iterator[Client]:
    """Yield a clickhouse-driver client that is closed after the block."""
    chosen = login or address.writer
    who = {"user": chosen.name, "password": chosen.password or ""}
    made = Client(address.host, port=address.port, **who, **{"connect_timeout": 5} | options)
    try:
        yield made
    finally:
        made.disconnect()


@pytest.fixture(scope="session")
def clickhouse_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerAddress]:
    """Yield the address of a server that answers."""
    given = os.environ.get(GIVEN)
    if given is not None:
        host, port, user, password = given.split(":", 3)
        yield ServerAddress(host=host, port=int(port), writer=Login(name=user, password=password))
        return
    require_engine()
    from deploy.embedded.clickhouse.launch import running_server
    from deploy.ports import free_port

    data_dir = tmp_path_factory.mktemp("clickhouse")
    log_path = data_dir / "server.log"
    users = (WRITER, READER)
    with running_server(data_dir / "data", free_port(), users, log_path=log_path, deadline_s=START_S) as server:
        yield ServerAddress(host=server.host, port=server.port, writer=WRITER, reader=READER, pid=server.pid)


@pytest.fixture
def database(clickhouse_server: ServerAddress) -> Iterator[str]:
    """Yield the name of a database that no other test uses; it is dropped after the test."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with client(clickhouse_server) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        yield name
        admin.execute(f"DROP DATABASE {name} SYNC")
