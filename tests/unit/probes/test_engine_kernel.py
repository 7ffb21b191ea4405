"""What the kernel tells beside the bytes: the clock's own error, control messages, and nonsense in their place."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.engine import mmsg
from probes.engine.adjtimex import PTP_FORMAT, SYNCHRONISED, error_estimate, estimated_error_ns, read_clock
from schemas.records import ClockState


def cmsg(level: int, kind: int, body: bytes) -> bytes:
    raw = struct.pack("=Qii", 16 + len(body), level, kind) + body
    return raw + bytes(-len(raw) % 8)


def parse(control: bytes) -> mmsg.Control:
    return mmsg.parse_control(memoryview(control), 0, len(control))


@given(st.integers(0, 16_000_000))
def test_an_error_estimate_never_claims_less_than_the_error_nor_one_percent_more(error_us: int) -> None:
    claimed_ns = estimated_error_ns(error_estimate(ClockState(synchronised=True, error_us=error_us)))
    assert error_us * 1_000 <= claimed_ns
    assert claimed_ns <= max(error_us, 1) * 1_000 * 1.01 + 2


@pytest.mark.parametrize(("synchronised", "flags"), [(True, SYNCHRONISED | PTP_FORMAT), (False, PTP_FORMAT)])
def test_an_error_estimate_says_whether_the_clock_is_disciplined(synchronised: bool, flags: int) -> None:
    estimate = error_estimate(ClockState(synchronised=synchronised, error_us=100))
    assert estimate & (SYNCHRONISED | PTP_FORMAT) == flags
    assert estimate & 0xFF > 0  # RFC 4656: a multiplier of 0 is corrupt


def test_the_kernel_tells_its_clock_state() -> None:
    assert read_clock().error_us >= 0


def test_a_stamp_a_hop_limit_and_an_error_are_read_whatever_stands_between() -> None:
    stamp = cmsg(1, 37, struct.pack("=6q", 17, 5, 0, 0, 0, 0))
    drops = cmsg(1, 40, struct.pack("=I", 3))
    error = cmsg(0, 11, struct.pack("=IBBBBII", 111, 2, 3, 1, 0, 0, 42))
    seen = parse(stamp + drops + cmsg(0, 2, struct.pack("=i", 61)) + error)
    assert seen == mmsg.Control(17_000_000_005, 61, 111, 2, 3, 1, 42)


def test_an_empty_stamp_is_no_stamp() -> None:
    assert parse(cmsg(1, 37, bytes(48))).stamp_ns == -1


@given(st.binary(max_size=96))
def test_no_garbage_in_a_control_block_breaks_the_reader(garbage: bytes) -> None:
    assert isinstance(parse(garbage + bytes(-len(garbage) % 8)), mmsg.Control)
