"""Random types, random rows: what the driver sends through the server into the engine is what it gets back."""

import datetime as dt
import uuid
from typing import Any

import pytest
from clickhouse_driver import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.engine import ServerAddress, client

pytestmark = pytest.mark.needs_engine

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200)
FIXED = st.text("abcdefgh", min_size=5, max_size=5)
WHEN = st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2090, 1, 1))  # noqa: DTZ001 - the zone is set below
SECONDS = WHEN.map(lambda at: at.replace(microsecond=0, tzinfo=dt.UTC))
MILLIS = WHEN.map(lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000, tzinfo=dt.UTC))
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "Bool": st.booleans(),
    "Date": SECONDS.map(lambda at: at.date()),
    "DateTime('UTC')": SECONDS,
    "DateTime64(3, 'UTC')": MILLIS,
    "Enum8('a' = 1, 'b, (c' = 2)": st.sampled_from(["a", "b, (c"]),
    "FixedString(5)": FIXED,
    "Float64": st.floats(allow_nan=False),
    "String": TEXT,
    "UUID": st.integers(0, 2**128 - 1).map(lambda value: uuid.UUID(int=value)),
    **{f"UInt{bits}": st.integers(0, 2**bits - 1) for bits in (8, 16, 32, 64)},
    **{f"Int{bits}": st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)},
}
DICTIONARIES = ("String", "FixedString(5)")
Typed = tuple[str, st.SearchStrategy[Any]]


def lists(inner: Typed) -> Typed:
    return f"Array({inner[0]})", st.lists(inner[1], max_size=4)


def nullable(inner: Typed) -> Typed:
    return f"Nullable({inner[0]})", st.none() | inner[1]


def dictionary(inner: Typed) -> Typed:
    return f"LowCardinality({inner[0]})", inner[1]


def paired(inner: Typed) -> Typed:
    return f"Tuple({inner[0]}, UInt16)", st.tuples(inner[1], SCALARS["UInt16"])


def is_pairable(inner: Typed) -> bool:
    return "'b, (c'" not in inner[0]


scalars = st.sampled_from(sorted(SCALARS)).map(lambda name: (name, SCALARS[name]))
words = st.sampled_from(DICTIONARIES).map(lambda name: (name, SCALARS[name]))
# The driver splits the arguments of a Map at any comma and cannot write an empty Map of tuples: plain values only.
plain = st.sampled_from(["UInt64", "Int32", "String", "Float64", "UUID"]).map(lambda name: (name, SCALARS[name]))
maps = (plain | plain.map(lists) | plain.map(nullable)).map(
    lambda inner: (f"Map(String, {inner[0]})", st.dictionaries(TEXT, inner[1], max_size=3))
)
simple = maps | scalars | scalars.map(nullable) | words.map(dictionary) | words.map(nullable).map(dictionary)
# The driver loses its place in the arguments of a Tuple at a parenthesis within quotes.
typed = st.recursive(simple, lambda inner: inner.map(lists) | inner.filter(is_pairable).map(paired), max_leaves=3)
columns = st.lists(typed, min_size=1, max_size=4)


@pytest.fixture
def db(clickhouse_server: ServerAddress, database: str) -> Any:  # noqa: ANN401 - a generator fixture
    with client(clickhouse_server, database=database) as connected:
        yield connected


@settings(max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), chosen=columns, columnar=st.booleans(), block_rows=st.integers(1, 5))
def test_random_rows_of_random_types_come_back(
    db: Client, data: st.DataObject, chosen: list[Typed], columnar: bool, block_rows: int
) -> None:
    rows = data.draw(st.lists(st.tuples(*(values for _, values in chosen)), min_size=1, max_size=12))
    named = ", ".join(f"`c {number}` {type_name}" for number, (type_name, _) in enumerate(chosen))
    db.execute("DROP TABLE IF EXISTS t SYNC")
    db.execute(f"CREATE TABLE t (n UInt32, {named}) ENGINE = MergeTree ORDER BY n")
    numbered = [(number, *row) for number, row in enumerate(rows)]
    sent: list[Any] = [list(column) for column in zip(*numbered, strict=True)] if columnar else numbered
    db.execute("INSERT INTO t VALUES", sent, columnar=columnar, settings={"insert_block_size": block_rows})
    found, types = db.execute("SELECT * FROM t ORDER BY n", with_column_types=True)
    assert found == numbered
    assert [type_name for _, type_name in types[1:]] == [type_name for type_name, _ in chosen]
