"""Stream and spool ids."""

import functools

import pytest

from schemas.clock import ManualClock
from schemas.identity import new_spool_id, stream_id


def test_a_stream_id_fits_an_exact_json_integer() -> None:
    ids = [stream_id("m", f"a{i}/x", "b/x", "stamp", "be") for i in range(200)]
    assert max(ids) < 2**53
    assert max(ids) > 2**52  # all 53 bits are used


def test_moving_a_letter_between_two_parts_gives_another_stream() -> None:
    assert stream_id("m", "ab", "c", "stamp", "be") != stream_id("m", "a", "bc", "stamp", "be")


def test_the_two_directions_of_a_pair_are_two_streams() -> None:
    assert stream_id("m", "a", "b", "stamp", "be") != stream_id("m", "b", "a", "stamp", "be")


def test_a_part_with_the_separator_in_it_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        stream_id("m", "a\0b", "c", "stamp", "be")


def test_a_spool_id_is_a_uuid_of_version_7_and_the_rfc_variant() -> None:
    spool_id = new_spool_id(ManualClock(wall_ns=1_700_000_000_123_456_789), lambda size: b"\xff" * size)
    assert (spool_id.version, spool_id.variant) == (7, "specified in RFC 4122")
    assert spool_id.int >> 80 == 1_700_000_000_123


def test_spool_ids_sort_by_the_time_they_were_made() -> None:
    clock = ManualClock(wall_ns=1_700_000_000_000_000_000)
    first = new_spool_id(clock, lambda size: b"\xff" * size)
    clock.advance_s(0.001)
    assert first < new_spool_id(clock, bytes)


def test_spool_ids_of_one_millisecond_differ_by_their_randomness() -> None:
    clock = ManualClock(wall_ns=1)
    ids = {new_spool_id(clock, functools.partial(_one_bit, bit)) for bit in range(74)}
    assert len(ids) == 74


def _one_bit(bit: int, size: int) -> bytes:
    return (1 << bit).to_bytes(size, "big")
