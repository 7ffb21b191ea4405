"""A message's verdict is the same alone and in any company."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import wire_messages as wire

from schemas.topics import HEALTH, SUMMARY
from schemas.topics import THROUGHPUT as THROUGHPUT_TOPIC
from streams import verify as verify_module
from streams.block_bounds import rules
from streams.columns import lists
from streams.messages import RawMessage
from streams.rows import summary_columns
from streams.verify import Verdict, VerifiedSummary, verify, verify_all

KNOWN = wire.membership()
NOW_MS = wire.SLOT_MS + 12_000


def spoilt(**columns: object) -> RawMessage:
    tree = msgspec.to_builtins(wire.summary())
    for path, value in columns.items():
        holder, names = tree, path.split("__")
        for name in names[:-1]:
            holder = holder[name]
        holder[names[-1]] = value
    return wire.signed(msgspec.json.encode(tree), SUMMARY.name, wire.PROBE)


POOL = [
    wire.message(wire.summary()),
    wire.message(wire.summary((11, 21))),
    wire.message(wire.summary((), seq=3)),
    wire.message(wire.heartbeat()),
    wire.message(wire.throughput()),
    wire.message(wire.summary(version=9)),
    wire.signed(b"garbage", SUMMARY.name, wire.PROBE),
    wire.signed(b"", HEALTH.name, wire.PROBE),
    wire.signed(b"{}", THROUGHPUT_TOPIC.name, wire.OTHER_PROBE),
    spoilt(sent=[1, 2]),
    spoilt(sent=[-1, 0, 0]),
    spoilt(sent=[1 << 70, 0, 0]),
    spoilt(stream_id=[1, 1, 1]),
    spoilt(forward__n=[9, 1 << 40, -1]),
    spoilt(forward__histogram__lengths=[1, 1, 1]),
    spoilt(forward__histogram__lengths=[-1, 2, 0]),
    spoilt(rtt__ipdv_histogram={"lengths": [1, 0, 0], "bins": [5], "counts": [0]}),
    spoilt(slot_start_ms=wire.SLOT_MS + 10_000_000),
]


def told(verdict: Verdict) -> Any:  # noqa: ANN401 - whatever can be compared
    if isinstance(verdict, VerifiedSummary):
        return verdict.record, verdict.kept.tolist(), verdict.faults, lists(summary_columns([verdict]))
    return verdict


ALONE = [told(verify(message, KNOWN, now_ms=NOW_MS)) for message in POOL]


@given(st.lists(st.sampled_from(range(len(POOL))), max_size=12))
def test_a_verdict_is_the_same_in_company(numbers: list[int]) -> None:
    together = verify_all([POOL[number] for number in numbers], KNOWN, now_ms=NOW_MS)
    assert [told(verdict) for verdict in together] == [ALONE[number] for number in numbers]


@given(st.lists(st.sampled_from(range(len(POOL))), max_size=12))
def test_rows_of_many_are_the_rows_of_each(numbers: list[int]) -> None:
    verdicts = verify_all([POOL[number] for number in numbers], KNOWN, now_ms=NOW_MS)
    taken = [verdict for verdict in verdicts if isinstance(verdict, VerifiedSummary)]
    whole: dict[str, list[Any]] = {}
    for each in taken:
        for name, values in lists(summary_columns([each])).items():
            whole.setdefault(name, []).extend(values)
    assert lists(summary_columns(taken)) == whole


def test_the_pool_holds_all_that_may_become_of_a_message() -> None:
    assert {type(verdict).__name__ for verdict in verify_all(POOL, KNOWN, now_ms=NOW_MS)} == {
        "VerifiedSummary",
        "VerifiedHeartbeat",
        "VerifiedThroughput",
        "Rejected",
    }


def test_a_fault_of_ours_in_one_message_is_no_other_messages_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def fragile(block: Any) -> Any:  # noqa: ANN401 - as `rules`
        if (block.numbers["stream_id"] == wire.OTHER_STREAMS[0]).any():
            raise ZeroDivisionError
        return rules(block)

    monkeypatch.setattr(verify_module, "rules", fragile)
    bad = wire.message(wire.summary(wire.OTHER_STREAMS, probe_id=wire.OTHER_PROBE))
    verdicts = verify_all([POOL[0], bad, POOL[3]], KNOWN, now_ms=NOW_MS)
    assert [getattr(verdict, "reason", "") for verdict in verdicts] == ["", "internal_error", ""]
