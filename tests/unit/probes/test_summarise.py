"""One stream in one slot: counts, directions, runs and delays exactly as the wire contract says."""

import numpy as np
import pytest
from support.packet_series import packets_of

from probes.batch import BatchHeader, make_batch
from probes.packets import NO_DELAY_NS, Fate, Packets
from probes.summarise import StreamSummary, summarise_stream
from schemas.codec import decode, encode, unpack_histograms
from schemas.records import ClockState, ProbeCondition, SummaryBatch

A, L, P, F = Fate.ANSWERED, Fate.LOST, Fate.PENDING, Fate.SEND_FAILED


def summary(
    packets: Packets, first: int = 0, end: int | None = None, *, two_way: bool = False, run_before: int | None = None
) -> StreamSummary:
    last = len(packets) if end is None else end
    return summarise_stream(
        packets, first, last, stream_id=7, planned=last - first, two_way=two_way, run_before=run_before
    )


def test_a_summary_covers_the_slot_up_to_its_first_pending_packet() -> None:
    known = summary(packets_of([A, L, A, P, A]))
    assert (known.sent, known.received, known.lost_forward, known.settled) == (3, 2, 1, False)


def test_a_slot_that_was_not_sent_at_all_is_an_answer() -> None:
    known = summary(packets_of([A, A]), first=1, end=1)
    assert (known.sent, known.planned, known.first_index, known.settled) == (0, 0, 0, True)


def test_a_packet_never_sent_is_not_a_packet_lost() -> None:
    known = summary(packets_of([A, F, A]))
    assert (known.sent, known.send_failed, known.loss_runs, known.planned) == (2, 1, 0, 3)


def test_late_and_unreachable_packets_are_parts_of_the_lost() -> None:
    known = summary(packets_of([A, Fate.LATE, Fate.UNREACHABLE, A]))
    assert (known.sent, known.late, known.unreachable) == (4, 1, 1)
    assert known.lost_forward + known.lost_backward + known.lost_unresolved == 2


def test_what_the_reflector_counted_and_nobody_saw_was_lost_on_the_way_back() -> None:
    packets = packets_of([A, L, L, A])
    packets["counter"][3] = 3
    assert (summary(packets).lost_forward, summary(packets).lost_backward) == (0, 2)


def test_a_loss_has_no_direction_before_the_next_reply() -> None:
    known = summary(packets_of([A, L, L]))
    assert (known.lost_unresolved, known.resolvable) == (2, 2)


def test_a_reply_after_the_slot_tells_the_direction() -> None:
    assert summary(packets_of([A, L, L, A]), end=3).lost_forward == 2


def test_a_pending_packet_in_the_gap_leaves_it_open() -> None:
    assert summary(packets_of([A, L, P, A]), end=2).lost_unresolved == 1


def test_a_gap_of_both_directions_is_exact_when_the_slot_holds_it_whole() -> None:
    packets = packets_of([A, L, L, L, A])
    packets["counter"][4] = 2
    assert (summary(packets).lost_forward, summary(packets).lost_backward) == (2, 1)


def test_a_gap_of_both_directions_over_two_slots_stays_unresolved() -> None:
    packets = packets_of([A, L, L, L, A])
    packets["counter"][4] = 2
    assert [summary(packets, *slot).lost_unresolved for slot in ((0, 2), (2, 5))] == [1, 2]


def test_a_gap_of_one_direction_over_two_slots_is_exact_in_both() -> None:
    packets = packets_of([A, L, L, L, A])
    assert [summary(packets, *slot).lost_forward for slot in ((0, 2), (2, 5))] == [1, 2]


def test_a_late_reply_takes_back_the_loss_on_the_way_back() -> None:
    packets = packets_of([A, L, A])
    packets["counter"][2] = 2
    assert summary(packets).lost_backward == 1
    packets["fate"][1], packets["counter"][1] = Fate.LATE, 1
    assert (summary(packets).lost_backward, summary(packets).lost_unresolved, summary(packets).resolvable) == (0, 1, 0)


def test_a_restarted_reflector_resolves_no_gap_across_its_restart_and_all_after_it() -> None:
    packets = packets_of([A, A, L, A, L, A])
    packets["counter"] = [900, 901, -1, 0, -1, 1]
    known = summary(packets)
    assert (known.lost_forward, known.lost_backward, known.lost_unresolved) == (1, 0, 1)


def test_echo_knows_the_round_trip_and_no_direction() -> None:
    packets = packets_of([A, L, A])
    packets["counter"] = -1
    known = summary(packets, two_way=True)
    assert (known.lost_unresolved, known.rtt.n, known.forward.n) == (1, 2, 0)


def test_a_method_with_both_directions_leaves_the_round_trip_empty() -> None:
    known = summary(packets_of([A, A]))
    assert (known.rtt.n, known.forward.n, known.backward.n) == (0, 2, 2)


def test_a_run_is_counted_where_it_begins_and_measured_from_its_beginning() -> None:
    packets = packets_of([A, L, L, L, L, A])
    first, second = summary(packets, 0, 3), summary(packets, 3, 6)
    assert [(part.loss_runs, part.loss_run_max) for part in (first, second)] == [(1, 2), (0, 4)]
    assert (first.open_run, second.open_run) == (2, 0)


def test_a_run_older_than_the_stretch_is_carried_by_the_caller() -> None:
    known = summary(packets_of([L, L, A]), run_before=40)
    assert (known.loss_runs, known.loss_run_max) == (0, 42)


def test_delays_are_rounded_half_up_to_microseconds_first() -> None:
    packets = packets_of([A, A, A])
    packets["forward_ns"] = [1_499, 1_500, -1_500]
    forward = summary(packets).forward
    assert (forward.min_us, forward.max_us, forward.sum_us) == (-1, 2, 2)
    assert forward.histogram == {0: 1, 1: 1, 35: 1}


def test_a_pair_belongs_to_the_slot_of_its_later_packet() -> None:
    packets = packets_of([A, A, L, A, A])
    packets["forward_ns"] = [0, 4_600, 0, 100_000, 90_000]
    forward = summary(packets, first=1).forward
    assert (forward.ipdv_pairs, forward.ipdv_abs_sum_us) == (2, 15)


def test_an_answer_whose_delay_is_unknown_is_received_and_has_no_delay() -> None:
    packets = packets_of([A, A, A, A])
    packets["forward_ns"][1] = NO_DELAY_NS
    known = summary(packets)
    assert (known.received, known.forward.n, known.forward.ipdv_pairs, known.backward.n) == (4, 3, 1, 4)


def test_a_batch_holds_one_entry_a_stream_and_survives_the_wire() -> None:
    parts = [summary(packets_of([A, L, A])), summary(packets_of([A, A]), two_way=True)]
    header = BatchHeader(
        mesh="m",
        mesh_version="v",
        probe_id="m/p",
        slot_start_ms=0,
        slot_ms=10_000,
        revision=1,
        complete=True,
        timeout_ms=2_000,
        clock=ClockState(synchronised=True, error_us=5),
        condition=ProbeCondition(),
    )
    batch = decode(encode(make_batch(header, parts, spool_id="s", seq=3)), SummaryBatch)
    assert (batch.sent, batch.lost_forward, batch.forward.n, batch.rtt.n) == ([3, 2], [1, 0], [2, 0], [0, 2])
    assert unpack_histograms(batch.forward.histogram)[0] == ([426], [2])


@pytest.mark.parametrize("column", ["forward_ns", "backward_ns"])
def test_figures_of_lost_packets_never_count(column: str) -> None:
    packets = packets_of([A, L, A])
    packets[column][1] = np.iinfo(np.int64).max
    assert summary(packets) == summary(packets_of([A, L, A]))
