"""The breaker: our fault stops the worker, a sender's or a stranger's does not."""

import msgspec
import pytest
from support import wire_messages as wire

from schemas.errors import QuarantineReason
from streams.breaker import LEAST_FAULTS, MAX_FOREIGN_IN_A_ROW, Breaker, BreakerTrippedError
from streams.messages import Claim
from streams.verify import Rejected, Verdict, VerifiedHeartbeat

MESSAGE = wire.message(wire.heartbeat())


def good(probe_id: str) -> Verdict:
    return VerifiedHeartbeat(msgspec.structs.replace(MESSAGE), wire.heartbeat(probe_id=probe_id))


def bad(probe_id: str, reason: QuarantineReason = "schema", *, signed: bool = True) -> Verdict:
    return Rejected(msgspec.structs.replace(MESSAGE), reason, "", Claim(probe_id=probe_id), signed)


def test_it_trips_when_most_probes_are_suddenly_wrong() -> None:
    breaker = Breaker()
    breaker.observe([good(probe) for probe in "abc"] * 10, now_ms=0)
    with pytest.raises(BreakerTrippedError, match="2 of 3 probes"):
        breaker.observe([bad(probe) for probe in "ab"] * LEAST_FAULTS, now_ms=1)


def test_one_broken_probe_of_many_may_go_on_for_ever() -> None:
    breaker = Breaker()
    for now_ms in range(0, 100_000, 10_000):
        breaker.observe([good("a"), good("b"), *[bad("c")] * 500], now_ms=now_ms)


def test_a_few_faults_are_not_enough() -> None:
    Breaker().observe([bad("a")] * (LEAST_FAULTS - 1), now_ms=0)


@pytest.mark.parametrize("reason", ["clock", "too_late", "not_member", "key_mismatch", "flood"])
def test_what_is_the_senders_own_fault_never_trips_it(reason: QuarantineReason) -> None:
    Breaker().observe([bad("a", reason)] * 5000, now_ms=0)


def test_strangers_do_not_trip_it_while_members_are_heard() -> None:
    strangers = [bad("x", "unknown_key", signed=False)] * (MAX_FOREIGN_IN_A_ROW - 1)
    breaker = Breaker()
    for _ in range(3):
        breaker.observe([*strangers, good("a")], now_ms=0)
    with pytest.raises(BreakerTrippedError, match="is the mesh applied"):
        breaker.observe([*strangers, strangers[0]], now_ms=0)


def test_a_probe_that_fell_silent_is_not_counted() -> None:
    breaker = Breaker()
    breaker.observe([good("a"), good("b")], now_ms=0)
    breaker.observe([bad("c")] * (LEAST_FAULTS - 1), now_ms=59_999)
    with pytest.raises(BreakerTrippedError):
        breaker.observe([bad("c")], now_ms=60_000)


def test_what_the_store_did_not_take_is_judged_again_and_counts_once() -> None:
    breaker = Breaker()
    batch = [bad("a"), bad("b", "unknown_key", signed=False), *[bad("a")] * (LEAST_FAULTS - 2)]
    for _ in range(MAX_FOREIGN_IN_A_ROW):
        breaker.observe(batch, now_ms=0)
    with pytest.raises(BreakerTrippedError):
        breaker.observe([bad("a")], now_ms=0)
