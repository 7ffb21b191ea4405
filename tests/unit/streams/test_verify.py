"""Verify: what is taken, what is refused, and under which reason."""

import msgspec
import pytest
from support import wire_messages as wire

from schemas.codec import encode
from schemas.envelope import Signer
from schemas.records import ClockState, ProbeCondition, SpoolState, SummaryBatch
from schemas.topics import DAY_MS, HEALTH, SUMMARY
from streams.membership import MemberKey, Membership, make_plan
from streams.messages import RawMessage
from streams.verify import (
    Rejected,
    Verdict,
    VerifiedHeartbeat,
    VerifiedSummary,
    VerifiedThroughput,
    verify,
)

NOW_MS = wire.SLOT_MS + 12_000
STRANGER = Signer("k9", b"\x09" * 32)


def judged(message: RawMessage, membership: Membership | None = None, *, now_ms: int = NOW_MS) -> Verdict:
    return verify(message, membership if membership is not None else wire.membership(), now_ms=now_ms)


def refused(message: RawMessage, membership: Membership | None = None, *, now_ms: int = NOW_MS) -> Rejected:
    verdict = judged(message, membership, now_ms=now_ms)
    assert isinstance(verdict, Rejected), verdict
    return verdict


def test_a_whole_batch_of_a_member_is_kept_with_all_its_streams() -> None:
    verdict = judged(wire.message(wire.summary()))
    assert isinstance(verdict, VerifiedSummary)
    assert (list(verdict.kept), list(verdict.faults)) == ([0, 1, 2], [])


def test_heartbeats_and_throughput_of_a_member_are_taken() -> None:
    assert isinstance(judged(wire.message(wire.heartbeat())), VerifiedHeartbeat)
    assert isinstance(judged(wire.message(wire.throughput())), VerifiedThroughput)


def test_a_batch_without_streams_is_taken_so_that_its_seq_has_a_fate() -> None:
    assert isinstance(judged(wire.message(wire.summary(()))), VerifiedSummary)


def test_f25_an_unknown_field_is_a_newer_sender() -> None:
    tree = msgspec.json.decode(encode(wire.summary())) | {"colour": "blue"}
    message = wire.signed(msgspec.json.encode(tree), SUMMARY.name, wire.PROBE)
    assert isinstance(judged(message), VerifiedSummary)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"headers": ()}, "envelope"),
        ({"key": b"\xff"}, "envelope"),
        ({"value": encode(wire.summary(seq=7))}, "signature"),
        ({"topic": HEALTH.name}, "signature"),
        ({"key": b"m/unknown"}, "key_mismatch"),
        ({"key": wire.OTHER_PROBE.encode()}, "key_mismatch"),
        ({"value": b"x" * (2 * 1024 * 1024 + 1)}, "bounds"),
    ],
)
def test_a_message_that_is_not_its_signers_is_unsigned(fields: dict[str, object], reason: str) -> None:
    message = msgspec.structs.replace(wire.message(wire.summary()), **fields)
    verdict = refused(message)
    assert (verdict.reason, verdict.signed) == (reason, False)


def test_a_key_that_no_mesh_names_is_unknown_and_proves_nothing() -> None:
    verdict = refused(wire.message(wire.summary(), signer=STRANGER))
    assert (verdict.reason, verdict.signed, verdict.claim.probe_id) == ("unknown_key", False, wire.PROBE)


def test_a_probe_that_speaks_for_another_is_refused_and_not_believed() -> None:
    value = encode(wire.summary(probe_id=wire.OTHER_PROBE))
    verdict = refused(wire.signed(value, SUMMARY.name, wire.PROBE))
    assert (verdict.reason, verdict.signed) == ("key_mismatch", False)


@pytest.mark.parametrize(
    "value", [b"", b"{", b"[" * 100_000, b"null", b"\xff\xfe", b'{"probe_id": 1}', b'{"seq": NaN}']
)
def test_bytes_that_are_no_record_go_to_quarantine_as_schema(value: bytes) -> None:
    assert refused(wire.signed(value, SUMMARY.name, wire.PROBE)).reason == "schema"


def test_f25_a_record_of_another_version_is_a_schema_fault_with_its_identity() -> None:
    verdict = refused(wire.message(wire.summary(version=2, seq=5)))
    assert (verdict.reason, verdict.signed, verdict.claim.seq) == ("schema", True, 5)


BOUNDS: list[tuple[str, SummaryBatch]] = [
    ("a stream twice", wire.summary((11, 11))),
    ("stream 0", wire.summary((0,))),
    ("stream over 53 bits", wire.summary((1 << 53,))),
    ("too many streams", wire.summary(range(1, 4098))),
    ("column length", wire.summary(planned=[10, 10])),
    ("negative count", wire.summary(duplicate=[0, 0, -1])),
    ("count over its width", wire.summary(duplicate=[0, 0, 1 << 32])),
    ("count over 64 bits", wire.summary(duplicate=[0, 0, 1 << 64])),
    ("planned under sent", wire.summary(planned=[9, 10, 10])),
    ("planned under sent + send_failed", wire.summary(send_failed=[1, 0, 0])),
    ("sent is not received + lost", wire.summary(received=[9, 8, 8])),
    ("late over lost", wire.summary(late=[3, 0, 0])),
    ("late + unreachable over lost", wire.summary(late=[2, 0, 0], unreachable=[1, 0, 0])),
    ("loaded length", wire.summary(loaded=[])),
    ("revision 0", wire.summary(revision=0)),
    ("revision 16", wire.summary(revision=16)),
    ("slot off the grid", wire.summary(slot_start_ms=wire.SLOT_MS + 1)),
    ("slot before 1970", wire.summary(slot_start_ms=-10_000)),
    ("slot of another length", wire.summary(slot_ms=5000)),
    ("slot_ms 0", wire.summary(slot_ms=0)),
    ("timeout 0", wire.summary(timeout_ms=0)),
    ("seq negative", wire.summary(seq=-1)),
    ("seq over 63 bits", wire.summary(seq=1 << 63)),
    ("spool is no UUID", wire.summary(spool_id="spool")),
    ("spool in capitals", wire.summary(spool_id=wire.SPOOL.upper())),
    ("mesh without a name", wire.summary(mesh="")),
    ("a name too long", wire.summary(mesh_version="v" * 129)),
    ("a name with a NUL", wire.summary(mesh_version="v\0")),
    ("clock error negative", wire.summary(clock=ClockState(synchronised=True, error_us=-1))),
    ("steal over its width", wire.summary(condition=ProbeCondition(steal_ppm=1 << 32))),
    ("n over received", wire.replaced(wire.summary(), "forward", n=[9, 8, 8])),
    ("histogram short of n", wire.replaced(wire.summary(), "forward", n=[7, 8, 8])),
    ("min over mean", wire.replaced(wire.summary(), "forward", min_us=[1001, 1000, 1000])),
    ("max under mean", wire.replaced(wire.summary(), "forward", max_us=[999, 1000, 1000])),
    ("a delay without a packet", wire.replaced(wire.summary(), "rtt", max_us=[1, 0, 0])),
    ("min at the edge of 64 bits", wire.replaced(wire.summary(), "forward", min_us=[-(1 << 63), 1000, 1000])),
    ("sum over bounds", wire.replaced(wire.summary(), "forward", sum_us=[1 << 62, 8000, 8000])),
    ("pairs over n", wire.replaced(wire.summary(), "forward", ipdv_pairs=[9, 7, 7])),
    ("variation without pairs", wire.replaced(wire.summary(), "rtt", ipdv_abs_sum_us=[1, 0, 0])),
]


@pytest.mark.parametrize("batch", [batch for _, batch in BOUNDS], ids=[name for name, _ in BOUNDS])
def test_f29_a_batch_out_of_bounds_is_refused_whole_and_keeps_its_identity(batch: SummaryBatch) -> None:
    verdict = refused(wire.message(batch))
    assert (verdict.reason, verdict.signed) == ("bounds", True)


@pytest.mark.parametrize(
    "change",
    [
        {"bins": [4096, 346, 346]},
        {"bins": [-1, 346, 346]},
        {"lengths": [2, 0, 1], "bins": [346, 0, 346], "counts": [4, 4, 8]},
        {"lengths": [2, 1, 1], "bins": [4000, 96, 346, 346], "counts": [4, 4, 8, 8]},
        {"lengths": [2, 1, 1]},
        {"lengths": [4, -2, 1]},
        {"lengths": [1, 1]},
        {"counts": [8, 8]},
        {"counts": [8, 0, 8]},
        {"counts": [8, 8, 9]},
        {"counts": [8, 8, 1 << 65]},
    ],
    ids=str,
)
def test_a_histogram_that_does_not_agree_with_itself_is_out_of_bounds(change: dict[str, list[int]]) -> None:
    histogram = msgspec.structs.replace(wire.summary().forward.histogram, **change)
    verdict = refused(wire.message(wire.replaced(wire.summary(), "forward", histogram=histogram)))
    assert verdict.reason == "bounds"
    assert "forward.histogram" in verdict.detail


@pytest.mark.parametrize(
    "spool",
    [
        SpoolState(spool_id="x", topic="t", last_seq=1, acked_seq=0),
        SpoolState(spool_id=wire.SPOOL, topic="", last_seq=1, acked_seq=0),
        SpoolState(spool_id=wire.SPOOL, topic="t", last_seq=1, acked_seq=2),
        SpoolState(spool_id=wire.SPOOL, topic="t", last_seq=1, acked_seq=-2),
        SpoolState(spool_id=wire.SPOOL, topic="t", last_seq=1 << 63, acked_seq=0),
        SpoolState(spool_id=wire.SPOOL, topic="t", last_seq=9, acked_seq=0, dropped=[(3, 2)]),
        SpoolState(spool_id=wire.SPOOL, topic="t", last_seq=9, acked_seq=0, dropped=[(1, 3), (3, 4)]),
        SpoolState(spool_id=wire.SPOOL, topic="t", last_seq=9, acked_seq=0, dropped=[(8, 10)]),
    ],
    ids=str,
)
def test_a_heartbeat_that_declares_the_impossible_is_out_of_bounds(spool: SpoolState) -> None:
    assert refused(wire.message(wire.heartbeat(spools=[spool]))).reason == "bounds"


@pytest.mark.parametrize("field", ["set_bps", "packet_bytes", "receive_duration_us", "duration_ms"])
def test_a_throughput_result_with_a_negative_number_is_out_of_bounds(field: str) -> None:
    assert refused(wire.message(wire.throughput(**{field: -1}))).reason == "bounds"


@pytest.mark.parametrize(
    ("received_ms", "now_ms", "reason"),
    [
        (wire.SLOT_MS - 120_000, 0, None),
        (wire.SLOT_MS - 120_001, 0, "clock"),
        (wire.SLOT_MS - 120_001, wire.SLOT_MS, None),
        (wire.SLOT_MS + 14 * DAY_MS, 0, None),
        (wire.SLOT_MS + 14 * DAY_MS + 1, 0, "too_late"),
        (wire.SLOT_MS, wire.SLOT_MS + 14 * DAY_MS + 1, "too_late"),
    ],
)
def test_f27_the_slot_is_judged_by_the_later_of_both_clocks(received_ms: int, now_ms: int, reason: str | None) -> None:
    verdict = judged(wire.message(wire.summary(), received_ms=received_ms), now_ms=now_ms)
    assert (verdict.reason if isinstance(verdict, Rejected) else None) == reason


def test_f31_only_the_streams_of_others_are_refused_each_with_its_reason() -> None:
    verdict = judged(wire.message(wire.summary((11, 21, 99))))
    assert isinstance(verdict, VerifiedSummary)
    assert list(verdict.kept) == [0]
    assert [(fault.stream_id, fault.reason) for fault in verdict.faults] == [
        (21, "foreign_endpoint"),
        (99, "not_member"),
    ]


def test_a_throughput_result_between_the_endpoints_of_others_is_foreign() -> None:
    assert refused(wire.message(wire.throughput(source="b/x", destination="c/x"))).reason == "foreign_endpoint"


def test_the_far_end_may_report_a_throughput_test() -> None:
    assert isinstance(judged(wire.message(wire.throughput(source="b/x", destination="a/x"))), VerifiedThroughput)


def test_before_the_first_plan_nobody_is_a_member_except_within_the_grace() -> None:
    message = wire.message(wire.summary())
    assert refused(message, wire.membership(from_ms=wire.SLOT_MS + 60_001)).reason == "not_member"
    assert isinstance(judged(message, wire.membership(from_ms=wire.SLOT_MS + 60_000)), VerifiedSummary)


def moved_at(change_ms: int) -> Membership:
    """Return a mesh whose stream 11 moves from the first probe to the second."""
    keys = [MemberKey(probe_id=p, key_id=s.key_id, public=s.public) for p, s in wire.SIGNERS.items()]
    plans = [
        make_plan(
            mesh=wire.MESH,
            version=f"v{at_ms}",
            valid_from_ms=at_ms,
            keys=keys,
            probe_of_stream={11: owner},
            probe_of_endpoint={"a/x": wire.PROBE, "b/x": wire.OTHER_PROBE},
        )
        for at_ms, owner in ((0, wire.PROBE), (change_ms, wire.OTHER_PROBE))
    ]
    return Membership(plans)


@pytest.mark.parametrize(("since_change_ms", "kept"), [(50_000, 1), (60_000, 0)])
def test_a_plan_that_ended_is_honoured_for_a_minute(since_change_ms: int, kept: int) -> None:
    verdict = judged(wire.message(wire.summary((11,))), moved_at(wire.SLOT_MS - since_change_ms))
    assert isinstance(verdict, VerifiedSummary)
    assert len(verdict.kept) == kept


@pytest.mark.parametrize(
    ("from_ms", "until_ms", "taken"),
    [
        (wire.SLOT_MS, wire.SLOT_MS + 1, True),
        (wire.SLOT_MS + 1, None, False),
        (None, wire.SLOT_MS, False),
    ],
)
def test_a_key_is_judged_at_the_start_of_the_slot(from_ms: int | None, until_ms: int | None, taken: bool) -> None:
    signer = wire.SIGNERS[wire.PROBE]
    key = MemberKey(probe_id=wire.PROBE, key_id="k1", public=signer.public, from_ms=from_ms, until_ms=until_ms)
    verdict = judged(wire.message(wire.summary()), wire.membership([key]))
    assert isinstance(verdict, VerifiedSummary) is taken
    if isinstance(verdict, Rejected):
        assert (verdict.reason, verdict.signed) == ("unknown_key", True)


def test_two_keys_under_one_id_are_both_tried() -> None:
    keys = [
        MemberKey(probe_id=wire.PROBE, key_id="k1", public=public)
        for public in (STRANGER.public, wire.SIGNERS[wire.PROBE].public, wire.SIGNERS[wire.OTHER_PROBE].public)
    ]
    assert isinstance(judged(wire.message(wire.summary()), wire.membership(keys)), VerifiedSummary)


def test_an_error_of_ours_is_a_quarantine_and_not_an_exception() -> None:
    broken = wire.membership()
    broken.plans_at = None  # type: ignore[method-assign, assignment]  # any fault in this code
    assert refused(wire.message(wire.summary()), broken).reason == "internal_error"
