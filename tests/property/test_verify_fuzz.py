"""Whatever arrives on a topic, verify answers and what it lets through becomes rows that fit their columns."""

from typing import Any

import msgspec
import pytest
from chaos.fuzz import fuzz
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import wire_messages as wire
from support.row_checks import check_rows

from schemas.codec import encode
from schemas.records import Record
from schemas.topics import HEALTH, SUMMARY
from schemas.topics import THROUGHPUT as THROUGHPUT_TOPIC
from streams.ledger import rejected_batch_row, rejected_row
from streams.messages import RawMessage
from streams.verify import Rejected, verify

pytestmark = pytest.mark.alone  # no message may take a second

NOW_MS = wire.SLOT_MS + 12_000
EDGES = [0, 1, -1, 15, 16, 255, 256, (1 << 31), (1 << 32) - 1, 1 << 32, (1 << 53), (1 << 63) - 1, 1 << 63, -(1 << 63)]
leaves: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([*EDGES, 1 << 64, 1 << 200, 1.5, -0.0, True, None, "", "x" * 200, "\0", "é", [], {}]),
    st.integers(),
    st.text(max_size=5),
    st.floats(allow_nan=False, allow_infinity=False),
)
RECORDS: list[tuple[Record, str]] = [
    (wire.summary(), SUMMARY.name),
    (wire.heartbeat(), HEALTH.name),
    (wire.throughput(), THROUGHPUT_TOPIC.name),
]
KNOWN = wire.membership()


def paths(tree: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:  # noqa: ANN401 - a tree of builtins
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [at, *(path for key, each in items for path in paths(each, (*at, key)))]


@st.composite
def mutated(draw: st.DrawFn) -> RawMessage:
    """Return a record with one to three values replaced, removed or repeated, signed as it is then."""
    record, topic = draw(st.sampled_from(RECORDS))
    tree = msgspec.to_builtins(record)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(paths(tree)[1:]))
        holder = tree
        for step in path[:-1]:
            holder = holder[step]
        match draw(st.sampled_from(["replace", "remove", "repeat"])):
            case "remove":
                del holder[path[-1]]
            case "repeat" if isinstance(holder, list):
                holder.insert(path[-1], holder[path[-1]])
            case _:
                holder[path[-1]] = draw(leaves)
    return wire.signed(msgspec.json.encode(tree), topic, wire.PROBE)


@st.composite
def torn(draw: st.DrawFn) -> RawMessage:
    """Return the bytes of a record with a piece of garbage in them, signed as they are then."""
    record, topic = draw(st.sampled_from(RECORDS))
    value = encode(record)
    start = draw(st.integers(0, len(value)))
    value = value[:start] + draw(st.binary(max_size=8)) + value[start + draw(st.integers(0, 20)) :]
    return wire.signed(value, topic, wire.PROBE)


garbage = st.builds(
    RawMessage,
    topic=st.sampled_from([SUMMARY.name, HEALTH.name, "other"]),
    partition=st.just(0),
    offset=st.just(0),
    key=st.binary(max_size=8),
    value=st.binary(max_size=64),
    headers=st.lists(
        st.tuples(st.sampled_from(["isochrone-key", "isochrone-signature", "h"]), st.binary(max_size=70))
    ).map(tuple),
    received_ms=st.just(NOW_MS),
)


def check(message: RawMessage) -> None:
    check_rows(verify(message, KNOWN, now_ms=NOW_MS))


@given(mutated())
@settings(deadline=1000, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
def test_f28_f29_a_mutated_record_is_answered_and_fits(message: RawMessage) -> None:
    check(message)


@given(torn())
@settings(deadline=1000, max_examples=200)
def test_torn_bytes_are_answered(message: RawMessage) -> None:
    check(message)


@given(garbage)
@settings(deadline=1000, max_examples=200)
def test_garbage_is_foreign(message: RawMessage) -> None:
    verdict = verify(message, KNOWN, now_ms=NOW_MS)
    assert isinstance(verdict, Rejected)
    assert not verdict.signed
    assert rejected_batch_row(verdict) is None
    rejected_row(verdict)


def test_thousands_of_mutants_each_have_a_fate_and_none_takes_a_second() -> None:
    account = fuzz(6000, seed=1)
    assert account.holds, account
    assert {"schema", "bounds", "clock", "envelope", "unknown_key"} <= set(account.refused), account.refused
    assert account.in_part + account.whole > 0
