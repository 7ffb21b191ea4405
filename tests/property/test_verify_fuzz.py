"""Whatever arrives on a topic, verify answers and what it lets through becomes rows that fit their columns."""

from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import wire_messages as wire

from schemas.codec import encode
from schemas.records import Record
from schemas.tables import BATCH, PROBE_HEALTH, QUARANTINE, SUMMARY_10S, THROUGHPUT
from schemas.topics import HEALTH, SUMMARY
from schemas.topics import THROUGHPUT as THROUGHPUT_TOPIC
from streams.columns import lists
from streams.ledger import batch_row, fault_rows, rejected_batch_row, rejected_row
from streams.messages import RawMessage
from streams.rows import health_row, summary_columns, throughput_row
from streams.verify import Rejected, VerifiedHeartbeat, VerifiedSummary, VerifiedThroughput, verify

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


def fits(column: str, value: object) -> bool:
    """Return whether the narrowest column of this name takes the value."""
    if isinstance(value, list):
        return all(fits(column, each) for each in value)
    if not isinstance(value, int):
        return True
    signed = column.endswith(("min_us", "max_us", "sum_us", "seqs", "_from", "_until")) or column == "claimed_seq"
    return (-(1 << 63) if signed else 0) <= value < 1 << 63


def check_rows(message: RawMessage) -> None:
    verdict = verify(message, KNOWN, now_ms=NOW_MS)
    blocks: list[tuple[tuple[str, ...], tuple[Any, ...]]] = []
    match verdict:
        case Rejected():
            assert verdict.reason != "internal_error", verdict.detail
            blocks = [(QUARANTINE.columns, rejected_row(verdict)), (BATCH.columns, rejected_batch_row(verdict) or ())]
        case VerifiedSummary():
            columns = lists(summary_columns([verdict]))
            assert sorted(columns) == sorted(SUMMARY_10S.columns)
            assert all(fits(name, value) for name, values in columns.items() for value in values)
            blocks = [(QUARANTINE.columns, row) for row in fault_rows(verdict, verdict.faults)]
            blocks.append((BATCH.columns, batch_row(verdict)))
        case VerifiedHeartbeat():
            blocks = [(PROBE_HEALTH.columns, health_row(verdict)), (BATCH.columns, batch_row(verdict))]
        case VerifiedThroughput():
            blocks = [(THROUGHPUT.columns, throughput_row(verdict)), (BATCH.columns, batch_row(verdict))]
    for names, row in blocks:
        for name, value in zip(names, row, strict=bool(row)):
            assert fits(name, value), (name, value)
            if isinstance(value, str):
                value.encode()


@given(mutated())
@settings(deadline=1000, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
def test_a_mutated_record_is_answered_and_fits(message: RawMessage) -> None:
    check_rows(message)


@given(torn())
@settings(deadline=1000, max_examples=200)
def test_torn_bytes_are_answered(message: RawMessage) -> None:
    check_rows(message)


@given(garbage)
@settings(deadline=1000, max_examples=200)
def test_garbage_is_foreign(message: RawMessage) -> None:
    verdict = verify(message, KNOWN, now_ms=NOW_MS)
    assert isinstance(verdict, Rejected)
    assert not verdict.signed
    assert rejected_batch_row(verdict) is None
    rejected_row(verdict)
