"""The store's pure half: addresses, parameters, and which error means what."""

import pytest
from clickhouse_driver import errors as driver_errors
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ConfigError, StorePermanentError, StoreTransientError, UnavailableError
from schemas.tables import MESH
from streams.array_client import ArrayClient
from streams.binding import bind, literal
from streams.store import Store, StoreConfig, store_config


class Driver(ArrayClient):
    """A client that fails as told."""

    def __init__(self, error: Exception) -> None:
        super().__init__("127.0.0.1")
        self._error = error
        self.disconnects = 0

    def execute(self, *_: object, **__: object) -> None:
        raise self._error

    def disconnect(self) -> None:
        self.disconnects += 1


def failing(error: Exception) -> Store:
    return Store(StoreConfig(), Driver(error))


@pytest.mark.parametrize("code", [159, 202, 209, 210, 241, 242, 243, 252, 319, 425, 999])
def test_a_server_that_is_away_busy_or_full_is_transient(code: int) -> None:
    with pytest.raises(StoreTransientError, match=f"code {code}"):
        failing(driver_errors.ServerException("no", code)).insert(MESH, [("m", "v", 0, "UTC", "")])


@pytest.mark.parametrize(
    "error", [ConnectionRefusedError(), TimeoutError(), EOFError("eof"), driver_errors.SocketTimeoutError("slow")]
)
def test_a_network_fault_is_transient_and_drops_the_connection(error: Exception) -> None:
    store = failing(error)
    with pytest.raises(StoreTransientError):
        store.rows("migrate_applied")
    assert store._client.disconnects == 1


@pytest.mark.parametrize("code", [6, 27, 53, 117, 321, 349, 469])
def test_a_server_that_refuses_what_a_row_holds_is_permanent(code: int) -> None:
    with pytest.raises(StorePermanentError):
        failing(driver_errors.ServerException("no", code)).insert(MESH, [("m", "v", 0, "UTC", "")])


@pytest.mark.parametrize("code", [16, 60, 81, 115, 164, 497, 516])
def test_an_insert_that_no_row_is_to_blame_for_says_that_the_deployment_is(code: int) -> None:
    with pytest.raises(UnavailableError, match="migrations"):
        failing(driver_errors.ServerException("no", code)).insert(MESH, [("m", "v", 0, "UTC", "")])


def test_rows_of_another_length_than_the_table_are_an_error_before_anything_is_sent() -> None:
    with pytest.raises(ValueError, match="argument"):
        failing(AssertionError()).insert(MESH, [("m", "v")])


def test_an_address_is_read_with_its_defaults() -> None:
    full = store_config("clickhouse://us%40er:p%2Fw@db.example:9001/net")
    assert (full.user, full.password, full.host, full.port, full.database) == (
        "us@er",
        "p/w",
        "db.example",
        9001,
        "net",
    )
    assert store_config("clickhouse://h") == StoreConfig(host="h")
    assert (store_config("clickhouses://h").port, store_config("clickhouses://h").secure) == (9440, True)


@pytest.mark.parametrize("url", ["http://h:8123", "clickhouse://h:x", "clickhouse://h/db?x=1", "h:9000"])
def test_an_address_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"clickhouse\.url"):
        store_config(url)


def test_every_kind_of_parameter_has_one_literal() -> None:
    text = "%(s)s %(i)s %(f)s %(b)s %(l)s %(e)s 5%%2 %d"
    bound = bind(text, {"s": "a'b", "i": -1, "f": 0.5, "b": True, "l": ["x", "y"], "e": []}, name="q")
    assert bound == "'a\\'b' -1 0.5 true ['x', 'y'] [] 5%2 %d"


class Sly(int):
    """A number that prints itself as something else."""

    def __str__(self) -> str:
        return "1) OR (1"


def test_a_subclass_of_a_number_is_not_a_number() -> None:
    with pytest.raises(TypeError, match="Sly"):
        literal(Sly(1), where="q")


@given(st.text())
def test_no_text_ends_its_own_quotes(text: str) -> None:
    inner = literal(text, where="q")[1:-1]
    assert "'" not in inner.replace("\\\\", "").replace("\\'", "")
    assert not inner.replace("\\\\", "").endswith("\\")
