import os
from pathlib import Path

import numpy as np

from deploy.lab import truth
from deploy.lab.ledger import RECORD, Counts, Fate, Recorder, Records, read_records

FORWARD, REPLY = 0, 1


def records(*rows: tuple[int, int, int, int, Fate]) -> Records:
    """Return records from (index, reply, link, arrival_us, fate): token 9, 1000 us of delay, 10 us late."""
    table = np.zeros(len(rows), dtype=RECORD)
    for place, (index, reply, link, arrival_us, fate) in enumerate(rows):
        table[place] = (9, index, arrival_us * 1000, 1_000_000, 10_000, link, reply, reply, fate)
    return table


def round_trip(index: int) -> list[tuple[int, int, int, int, Fate]]:
    return [
        (index, reply, link, index * 100 + reply * 50 + place, Fate.FORWARDED)
        for reply, way in ((FORWARD, (0, 1)), (REPLY, (1, 0)))
        for place, link in enumerate(way)
    ]


def fates_of(table: Records) -> list[tuple[int, int, int]]:
    return [(int(row["index"]), int(row["request"]), int(row["reply"])) for row in truth.losses(table)]


def test_records_come_back_from_the_file_as_they_were_added(tmp_path: Path) -> None:
    path = tmp_path / "records"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    recorder = Recorder(fd, room=2)
    for index in range(5):
        recorder.add((2**64 - 1, index, 1), (300, 1), 10**18, 5_000_000, -7, Fate.FORWARDED)
    assert len(read_records(path)) == 4  # the buffer of two was written when it was full
    recorder.flush()
    os.write(fd, b"half a record")
    os.close(fd)
    found = read_records(path)
    assert found["index"].tolist() == [0, 1, 2, 3, 4]
    assert found[0].tolist() == (2**64 - 1, 0, 10**18, 5_000_000, -7, 300, 1, 1, 0)


def test_an_answered_packet_is_lost_in_no_direction() -> None:
    assert fates_of(records(*round_trip(0))) == [(0, Fate.FORWARDED, Fate.FORWARDED)]


def test_a_packet_dropped_on_its_second_link_is_lost_forward_with_its_cause() -> None:
    table = truth.losses(records((0, FORWARD, 0, 1, Fate.FORWARDED), (0, FORWARD, 1, 2, Fate.QUEUE)))
    assert (table["request"][0], table["reply"][0]) == (Fate.QUEUE, truth.UNSEEN)
    assert truth.lost_forward(table).tolist() == [True]
    assert truth.lost_backward(table).tolist() == [False]


def test_a_dropped_reply_is_lost_backward() -> None:
    table = truth.losses(records(*round_trip(0)[:2], (0, REPLY, 1, 5, Fate.DOWN)))
    assert truth.lost(table).tolist() == [True]
    assert truth.lost_forward(table).tolist() == [False]
    assert truth.lost_backward(table).tolist() == [True]


def test_a_packet_whose_copy_survives_is_not_lost() -> None:
    copied = records(
        (0, FORWARD, 0, 1, Fate.FORWARDED),
        (0, FORWARD, 0, 1, Fate.DUPLICATED),
        (0, FORWARD, 1, 2, Fate.LOST),
        (0, FORWARD, 1, 3, Fate.FORWARDED),
    )
    table = truth.losses(copied)
    assert (table["request"][0], table["request_copies"][0]) == (Fate.FORWARDED, 1)


def test_two_requests_that_arrive_give_two_replies_of_which_one_may_be_lost() -> None:
    table = truth.losses(records((0, REPLY, 1, 5, Fate.FORWARDED), (0, REPLY, 1, 6, Fate.LOST)))
    assert (table["reply"][0], table["reply_copies"][0]) == (Fate.FORWARDED, 1)


def test_the_order_of_records_changes_nothing() -> None:
    table = records(*round_trip(0), *round_trip(1), (2, FORWARD, 0, 900, Fate.LOST))
    shuffled = table[np.random.default_rng(3).permutation(len(table))]
    assert fates_of(shuffled) == fates_of(table)


def test_loss_runs_are_maximal_and_end_at_an_answered_packet() -> None:
    gone = [(index, FORWARD, 0, index * 100, Fate.LOST) for index in (1, 2, 4)]
    table = truth.losses(records(*round_trip(0), *gone, *round_trip(3)))
    assert truth.loss_runs(table).tolist() == [(9, 1, 2), (9, 4, 1)]


def test_path_delay_is_the_sum_over_the_links_of_a_direction() -> None:
    table = records(*round_trip(0), (1, FORWARD, 0, 100, Fate.FORWARDED), (1, FORWARD, 1, 101, Fate.LOST))
    assert truth.path_delay_us(table, reply=False).tolist() == [(9, 0, 2020.0)]


def test_a_duplicate_counts_once_in_the_path_delay() -> None:
    table = records((0, FORWARD, 0, 1, Fate.FORWARDED), (0, FORWARD, 0, 1, Fate.DUPLICATED))
    assert truth.path_delay_us(table, reply=False)["delay_us"].tolist() == [1010.0]


def test_ipdv_is_taken_between_consecutive_indexes_alone() -> None:
    table = records(*(row for index in (0, 1, 3) for row in round_trip(index)))
    table["delay_ns"][table["index"] == 1] += 250_000
    assert truth.ipdv_us(truth.path_delay_us(table, reply=False)).tolist() == [(9, 1, 500.0)]


def test_no_records_give_empty_tables() -> None:
    nothing = records()
    assert len(truth.losses(nothing)) == 0
    assert len(truth.loss_runs(truth.losses(nothing))) == 0
    assert len(truth.ipdv_us(truth.path_delay_us(nothing, reply=True))) == 0


def test_every_dropping_fate_has_its_own_count() -> None:
    counts = Counts()
    for fate in (Fate.LOST, Fate.QUEUE, Fate.DOWN, Fate.ABANDONED):
        counts.drop(fate)
    assert (counts.lost, counts.queue_drop, counts.down_drop, counts.abandoned) == (1, 1, 1, 1)
