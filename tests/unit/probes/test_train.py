"""Throughput packets and what a receiver makes of them."""

import pytest

from probes.receiver import MAX_PACKETS, Arrivals
from probes.train import MIN_BYTES, TrainPacket, pack, unpack

TOKEN = b"12345678"


@pytest.mark.parametrize(
    "packet",
    [TrainPacket("data", TOKEN, 7), TrainPacket("ask", TOKEN, 9), TrainPacket("report", TOKEN, 9, 8, 3_000_000)],
)
def test_a_packet_comes_back_as_it_was(packet: TrainPacket) -> None:
    assert unpack(pack(packet, 1_172)) == packet


@pytest.mark.parametrize("payload", [b"", b"ISOT" + bytes(20), b"XXXX" + bytes(80), b"ISOT\x09" + bytes(80)])
def test_what_is_not_ours_is_nothing(payload: bytes) -> None:
    assert unpack(payload) is None


def test_no_answer_is_longer_than_its_question() -> None:
    assert len(pack(TrainPacket("report", TOKEN, 9, 8, 7), MIN_BYTES)) == MIN_BYTES


def test_a_packet_counts_once_and_the_time_runs_from_the_first_to_the_last() -> None:
    arrivals = Arrivals()
    for number, at_ms in ((1, 20), (0, 10), (1, 99), (5, 70)):
        arrivals.take(number, at_ms * 1_000_000)
    assert (arrivals.received, arrivals.duration_us) == (3, 60_000)


def test_nothing_and_one_packet_have_no_duration() -> None:
    arrivals = Arrivals()
    assert (arrivals.received, arrivals.duration_us) == (0, 0)
    arrivals.take(0, 5)
    assert (arrivals.received, arrivals.duration_us) == (1, 0)


def test_a_number_beyond_any_test_takes_no_memory() -> None:
    arrivals = Arrivals()
    arrivals.take(MAX_PACKETS, 1)
    assert (arrivals.received, len(arrivals._seen)) == (0, 0)
