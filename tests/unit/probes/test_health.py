"""The host's share in the measurement: stolen CPU time, told only where the host tells it."""

from pathlib import Path

import pytest

from probes.health import CpuTicks, StealMeter, parse_ticks, with_steal
from schemas.records import ProbeCondition


def stat(steal: int, idle: int = 900) -> str:
    return f"cpu  50 0 50 {idle} 0 0 0 {steal} 7 0\ncpu0 1 2 3\n"


def test_guest_time_is_not_counted_twice() -> None:
    assert parse_ticks(stat(20)) == CpuTicks(steal=20, total=1_020)


@pytest.mark.parametrize("text", ["", "intr 1 2", "cpu 1 2 3", "cpu a b c d e f g h"])
def test_another_kernel_is_no_error(text: str) -> None:
    assert parse_ticks(text) is None


def test_steal_is_a_share_of_the_time_between_two_looks(tmp_path: Path) -> None:
    path = tmp_path / "stat"
    meter = StealMeter(path)
    path.write_text(stat(0))
    assert meter.take_ppm() is None
    assert meter.take_ppm() is None  # no tick in between
    path.write_text(stat(10, idle=1_890))
    assert meter.take_ppm() == 10_000


def test_an_unreadable_file_says_nothing(tmp_path: Path) -> None:
    assert StealMeter(tmp_path / "none").take_ppm() is None


def test_the_engines_word_is_kept_beside_the_hosts() -> None:
    condition = with_steal(ProbeCondition(socket_drops=3, stamp_source="kernel"), 5)
    assert (condition.socket_drops, condition.stamp_source, condition.steal_ppm) == (3, "kernel", 5)
