"""Fates, delays and stretches, told to the book event by event: 10/s, a timeout of 2 s, due at 0.0, 0.1, 0.2, ... s."""

import numpy as np
import pytest

from probes.engine.book import Book, ring_size
from probes.packets import NO_DELAY_NS, Fate, Packets

MS = 1_000_000
STEP = 100 * MS
TIMEOUT = 2_000 * MS
SKEW = 3 * MS  # the reflector's clock is ahead
WALL = 1_700_000_000_000_000_000


def book(*, rows: int = 1, two_way: bool = False, ring: int = 512) -> Book:
    return Book([TIMEOUT] * rows, ring=ring, overdue_ns=1_000 * MS, two_way=[two_way] * rows)


def send(to: Book, count: int, *, row: int = 0) -> None:
    """Send the next `count` packets, each at its due time, exactly."""
    for _ in range(count):
        due_ns = to.next_index.item(row) * STEP
        index = to.plan(row, WALL + due_ns)
        to.sent(row, index, wall_ns=WALL + due_ns, mono_ns=due_ns)
        to.expire(due_ns)


def answer(to: Book, index: int, *, after_ms: int = 10, counter: int | None = None, held_ns: int = 50_000) -> None:
    """Let the reply arrive `after_ms` after the send, half of it each way, the reflector holding it `held_ns`."""
    sent_ns, half = index * STEP, (after_ms * MS - held_ns) // 2
    t2_ns = WALL + sent_ns + half + SKEW
    to.answered(
        0, index, t4_ns=WALL + sent_ns + after_ms * MS, mono_ns=sent_ns + after_ms * MS,
        t2_ns=t2_ns, t3_ns=t2_ns + held_ns, counter=index if counter is None else counter,
    )  # fmt: skip


def packets(of: Book, row: int = 0) -> Packets:
    return of.stretch(row, 0, 1 << 62)[0]


def fates(of: Book) -> list[Fate]:
    return [Fate(fate) for fate in packets(of)["fate"]]


def test_an_answered_packet_has_the_delay_of_the_path_without_the_reflectors_time() -> None:
    kept = book()
    send(kept, 1)
    answer(kept, 0, after_ms=10, held_ns=50_000)
    (packet,) = packets(kept)
    assert packet["fate"] == Fate.ANSWERED
    assert packet["rtt_ns"] == 10 * MS - 50_000
    assert packet["forward_ns"] == packet["rtt_ns"] // 2 + SKEW
    assert packet["backward_ns"] == packet["rtt_ns"] // 2 - SKEW
    assert packet["counter"] == 0


def test_a_packet_is_lost_at_its_timeout_and_not_a_moment_before() -> None:
    kept = book()
    send(kept, 1)
    kept.expire(TIMEOUT - 1)
    assert fates(kept) == [Fate.PENDING]
    kept.expire(TIMEOUT)
    assert fates(kept) == [Fate.LOST]


def test_a_reply_after_the_timeout_is_late_and_not_an_answer() -> None:
    kept = book()
    send(kept, 1)
    kept.expire(TIMEOUT)
    answer(kept, 0, after_ms=2_100)
    assert fates(kept) == [Fate.LATE]
    assert kept.last_answered_index[0] == -1


def test_a_packet_given_up_stays_lost_even_when_its_reply_lay_unread() -> None:
    kept = book()
    send(kept, 1)
    kept.expire(TIMEOUT)
    answer(kept, 0, after_ms=10)
    assert fates(kept) == [Fate.LATE]


def test_after_a_stall_the_arrival_decides_and_not_the_moment_of_reading() -> None:
    kept = book()
    send(kept, 2)
    read_ns = 9_000 * MS
    kept.answered(0, 0, t4_ns=WALL + 10 * MS, mono_ns=read_ns, t2_ns=WALL + 5 * MS, t3_ns=WALL + 5 * MS, counter=0)
    late_ns = WALL + STEP + TIMEOUT + 1
    kept.answered(0, 1, t4_ns=late_ns, mono_ns=read_ns, t2_ns=late_ns, t3_ns=late_ns, counter=1)
    kept.expire(read_ns)
    assert fates(kept) == [Fate.ANSWERED, Fate.LATE]


def test_a_second_reply_is_a_duplicate_and_tells_on_which_way_it_was_made() -> None:
    kept = book()
    send(kept, 1)
    answer(kept, 0, counter=7)
    answer(kept, 0, counter=7, after_ms=11)  # copied on the way back
    answer(kept, 0, counter=8, after_ms=12)  # the request was copied, the reflector counted twice
    (packet,) = packets(kept)
    assert (packet["duplicates"], packet["duplicate_counters"]) == (2, 1)
    assert packet["rtt_ns"] == 10 * MS - 50_000
    assert kept.counters.duplicates == 2


def test_a_reply_below_one_already_answered_is_reordered() -> None:
    kept = book()
    send(kept, 3)
    for index in (0, 2, 1):
        answer(kept, index, after_ms=300)
    assert packets(kept)["reordered"].tolist() == [False, True, False]


def test_an_icmp_error_gives_the_loss_its_cause_and_a_reply_is_believed_all_the_same() -> None:
    kept = book()
    send(kept, 2)
    kept.unreachable(0, 0, "Destination host unreachable")
    kept.unreachable(0, 1, "Destination host unreachable")
    answer(kept, 1)
    kept.unreachable(0, 1, "Destination host unreachable")
    assert fates(kept) == [Fate.UNREACHABLE, Fate.ANSWERED]
    assert kept.counters.ignored["icmp_error_too_late"] == 1


def test_a_packet_that_never_left_is_no_loss() -> None:
    kept = book()
    index = kept.plan(0, WALL)
    kept.send_failed(0, index, "ENETUNREACH")
    kept.expire(10 * TIMEOUT)
    kept.answered(0, index, t4_ns=WALL, mono_ns=0)  # a forger's
    assert fates(kept) == [Fate.SEND_FAILED]
    assert kept.counters.ignored == {"never_sent": 1}
    assert kept.counters.send_failed == {"ENETUNREACH": 1}
    assert kept.consecutive_unanswered_overdue[0] == 0


def test_replies_to_packets_never_sent_or_long_gone_change_nothing() -> None:
    kept = book()
    send(kept, 600)
    before = kept.stretch(0, WALL + 200 * STEP, 1 << 62)[0]
    for index in (5, 600, (1 << 64) - 1):
        kept.answered(0, index, t4_ns=WALL, mono_ns=0)
    assert (kept.stretch(0, WALL + 200 * STEP, 1 << 62)[0] == before).all()
    assert kept.counters.ignored == {"too_old": 1, "never_sent": 2}


def test_an_outage_of_2_s_in_10_s_reads_20_percent() -> None:
    kept = book()
    for index in range(100):
        send(kept, 1)
        if not 4_000 * MS <= index * STEP < 6_000 * MS:
            answer(kept, index)
    kept.expire(20_000 * MS)
    lost = np.count_nonzero(packets(kept)["fate"] == Fate.LOST)
    assert abs(lost - 20) <= 1


def test_the_kernels_transmit_stamp_replaces_ours_even_after_the_reply() -> None:
    kept = book()
    send(kept, 2)
    kept.kernel_sent(0, 0, WALL + 30_000)
    answer(kept, 0)
    answer(kept, 1)
    kept.kernel_sent(0, 1, WALL + STEP + 40_000)
    assert packets(kept)["rtt_ns"].tolist() == [10 * MS - 80_000, 10 * MS - 90_000]
    assert (kept.counters.kernel_tx, kept.counters.user_tx) == (2, 0)


def test_a_transmit_stamp_from_before_the_send_is_refused() -> None:
    kept = book()
    send(kept, 1)
    kept.kernel_sent(0, 0, WALL - 1)
    answer(kept, 0)
    assert packets(kept)["rtt_ns"][0] == 10 * MS - 50_000
    assert (kept.counters.stray_stamps, kept.counters.user_tx) == (1, 1)


def test_the_follow_up_of_a_later_reply_makes_the_way_back_exact() -> None:
    kept = book()
    send(kept, 1)
    answer(kept, 0, counter=70)
    t3_ns = int(WALL + 5 * MS + 25_000 + SKEW)  # 50 us after T2
    kept.followed_up(0, 70, t3_ns + 20_000)
    (packet,) = packets(kept)
    assert packet["backward_ns"] == packet["forward_ns"] - 2 * SKEW - 20_000
    assert packet["rtt_ns"] == packet["forward_ns"] + packet["backward_ns"]
    assert kept.counters.follow_ups == 1


def test_a_follow_up_about_a_reply_that_never_came_is_dropped() -> None:
    kept = book()
    send(kept, 1)
    answer(kept, 0, counter=70)
    before = packets(kept).copy()
    for counter in (69, 71, 70 + 64):
        kept.followed_up(0, counter, WALL)
    assert (packets(kept) == before).all()
    assert kept.counters.stray_follow_ups == 3


def test_a_clock_step_takes_the_delays_of_what_was_in_flight_and_nothing_else() -> None:
    kept = book()
    send(kept, 1)
    answer(kept, 0)
    kept.wall_is_steady()
    send(kept, 2)
    answer(kept, 1)  # read in the same tick that finds the step: nobody knows which came first
    kept.wall_stepped(mono_ns=2 * STEP + MS)
    answer(kept, 2, after_ms=1_500)
    kept.followed_up(0, 2, WALL)
    send(kept, 1)
    answer(kept, 3)
    seen = packets(kept)
    assert seen["fate"].tolist() == [Fate.ANSWERED] * 4
    assert (seen["forward_ns"] == NO_DELAY_NS).tolist() == [False, True, True, False]
    assert (seen["rtt_ns"] == NO_DELAY_NS).tolist() == [False, True, True, False]


def test_the_timeout_holds_by_the_monotonic_clock_when_the_wall_clock_stepped() -> None:
    kept = book()
    send(kept, 2)
    kept.wall_stepped(mono_ns=STEP)
    hour_ns = 3_600_000 * MS
    kept.answered(0, 0, t4_ns=WALL + hour_ns, mono_ns=10 * MS, t2_ns=WALL, t3_ns=WALL, counter=0)
    kept.answered(0, 1, t4_ns=WALL - hour_ns, mono_ns=STEP + TIMEOUT + 1, t2_ns=WALL, t3_ns=WALL, counter=1)
    assert fates(kept) == [Fate.ANSWERED, Fate.LATE]
    assert packets(kept)["rtt_ns"][0] == NO_DELAY_NS


def test_stamps_in_an_order_that_cannot_be_give_no_delay() -> None:
    kept = book()
    send(kept, 2)
    t4_ns = WALL + 10 * MS
    kept.answered(0, 0, t4_ns=t4_ns, mono_ns=10 * MS, t2_ns=WALL + 9 * MS, t3_ns=WALL + 8 * MS, counter=0)
    kept.answered(0, 1, t4_ns=WALL + STEP - 1, mono_ns=STEP + 10 * MS, t2_ns=WALL, t3_ns=WALL, counter=1)
    assert packets(kept)["rtt_ns"].tolist() == [NO_DELAY_NS, NO_DELAY_NS]
    assert kept.counters.implausible_delays == 2


def test_a_method_that_knows_the_round_trip_alone_has_no_one_way_delay() -> None:
    kept = book(two_way=True)
    send(kept, 1)
    kept.answered(0, 0, t4_ns=WALL + 4 * MS, mono_ns=4 * MS)
    (packet,) = packets(kept)
    assert (packet["rtt_ns"], packet["forward_ns"], packet["backward_ns"], packet["counter"]) == (4 * MS, 0, 0, -1)


def test_settled_is_the_longest_prefix_without_a_pending_packet() -> None:
    kept = book()
    send(kept, 4)
    answer(kept, 1)
    answer(kept, 3)
    assert kept.last_settled_index[0] == -1
    answer(kept, 0)
    assert kept.last_settled_index[0] == 1
    kept.expire(2 * STEP + TIMEOUT)
    assert kept.last_settled_index[0] == 3


def test_silence_counts_overdue_packets_before_they_are_lost_and_ends_with_an_answer() -> None:
    kept = book()
    send(kept, 1)
    answer(kept, 0)
    send(kept, 18)
    kept.expire(18 * STEP)
    assert kept.consecutive_unanswered_overdue[0] == 8  # packets 1 to 8 are a second old
    assert kept.last_settled_index[0] == 0
    answer(kept, 18)
    assert kept.consecutive_unanswered_overdue[0] == 0


def test_a_stretch_is_the_packets_due_in_it_with_their_neighbours_in_order() -> None:
    kept = book()
    send(kept, 700)
    seen, first, end = kept.stretch(0, WALL + 400 * STEP, WALL + 500 * STEP)
    assert seen["index"].tolist() == list(range(336, 564))
    assert seen["index"][first:end].tolist() == list(range(400, 500))
    seen[:] = 0
    assert kept.stretch(0, WALL + 400 * STEP, WALL + 500 * STEP)[0]["index"][0] == 336  # a copy


def test_a_stretch_has_fewer_neighbours_where_there_are_no_more() -> None:
    kept = book()
    send(kept, 10)
    seen, first, end = kept.stretch(0, WALL + 2 * STEP + 1, WALL + 8 * STEP)
    assert (first, end, seen["index"].tolist()) == (3, 8, list(range(10)))
    _, first, end = kept.stretch(0, WALL + 50 * STEP, WALL + 60 * STEP)
    assert first == end


def test_a_stretch_asked_for_too_late_is_an_error_and_not_a_shorter_slot() -> None:
    kept = book()
    send(kept, 700)
    with pytest.raises(LookupError, match="no longer holds"):
        kept.stretch(0, WALL + 100 * STEP, WALL + 200 * STEP)


@pytest.mark.parametrize(("interval_ms", "ring"), [(100, 512), (10, 4096), (1_000, 512)])
def test_a_ring_holds_three_slots_the_timeout_and_both_margins(interval_ms: int, ring: int) -> None:
    assert ring_size(interval_ms * MS, TIMEOUT, 10_000 * MS) == ring
