import uuid
from typing import Any

import numpy as np
import pytest

from deploy.demo.truth import compare
from deploy.lab.ledger import RECORD, Fate, Records
from probes.packets import stream_token

SPOOL = uuid.UUID("018f0000-0000-7000-8000-000000000001")


def crossing(
    index: int, *, reply: int, fate: Fate = Fate.FORWARDED, delay_us: float = 1000.0, stream: int = 7
) -> tuple[Any, ...]:
    arrival_ns = 1_000_000 * index + reply * 500_000
    return (stream_token(SPOOL, stream), index, arrival_ns, round(delay_us * 1000), 0, 0, reply, reply, fate)


def ledger(*, lost_forward: tuple[int, ...] = (), lost_backward: tuple[int, ...] = (), count: int = 10) -> Records:
    rows = []
    for index in range(count):
        rows.append(crossing(index, reply=0, fate=Fate.LOST if index in lost_forward else Fate.FORWARDED))
        if index not in lost_forward:
            rows.append(crossing(index, reply=1, fate=Fate.LOST if index in lost_backward else Fate.FORWARDED))
    return np.array(rows, dtype=RECORD)


def slot(**changes: int) -> dict[str, Any]:
    row = {"spool_id": str(SPOOL), "stream_id": 7, "slot_s": 0, "first_index": 0, "sent": 10, "send_failed": 0}
    row |= {"received": 10, "lost_forward": 0, "lost_backward": 0, "lost_unresolved": 0, "loss_runs": 0}
    row |= {f"{d}_{f}": 0 for d in ("rtt", "forward", "backward") for f in ("n", "sum_us")}
    return row | changes


def test_equal_counts_leave_nothing_to_say() -> None:
    found = compare(
        [slot(received=7, lost_forward=2, lost_backward=1)], ledger(lost_forward=(3, 4), lost_backward=(8,))
    )
    assert found.mismatches == []
    assert (found.packets, found.lost, found.directions_compared) == (10, 3, 1)


def test_one_packet_too_few_is_seen_and_named() -> None:
    (first, *_) = compare([slot(received=9, lost_forward=1)], ledger(lost_forward=(3, 4))).mismatches
    assert (first.what, first.stored, first.ledger) == ("lost", 1, 2)


def test_a_swapped_direction_is_seen_although_the_total_agrees() -> None:
    whats = [each.what for each in compare([slot(received=9, lost_forward=1)], ledger(lost_backward=(3,))).mismatches]
    assert whats == ["lost_forward", "lost_backward"]


def test_an_unresolved_loss_is_compared_in_total_only() -> None:
    found = compare([slot(received=9, lost_unresolved=1)], ledger(lost_backward=(3,)))
    assert found.mismatches == []
    assert found.directions_compared == 0


def test_packets_outside_the_covered_range_do_not_count() -> None:
    assert compare([slot(first_index=2, sent=3, received=3)], ledger(lost_forward=(0, 9))).mismatches == []


def test_a_packet_that_the_wire_never_saw_is_a_mismatch() -> None:
    (found,) = compare([slot(sent=11, received=11)], ledger()).mismatches
    assert (found.what, found.stored, found.ledger) == ("sent", 11, 10)


def test_a_stream_unknown_to_the_ledger_is_a_mismatch_and_no_crash() -> None:
    assert compare([slot(stream_id=8)], ledger()).mismatches != []


def test_the_delay_error_is_the_distance_of_the_means() -> None:
    found = compare([slot(forward_n=10, forward_sum_us=10_030, rtt_n=10, rtt_sum_us=20_000)], ledger())
    assert found.delay_error_us_p50 == pytest.approx(1.5)
    assert compare([slot()], ledger()).delay_error_us_p50 is None
