import pytest

from schemas.codec import decode, encode
from schemas.errors import WireError
from schemas.records import ClockState, Heartbeat, ProbeCondition, SpoolState

BEAT = Heartbeat(
    mesh="m",
    mesh_version="v",
    probe_id="m/p",
    spool_id="s",
    seq=3,
    sent_at_ms=1,
    started_at_ms=1,
    clock=ClockState(synchronised=True, error_us=7),
    condition=ProbeCondition(),
    spools=[SpoolState(spool_id="s", topic="t", last_seq=3, acked_seq=-1, dropped=[(0, 1)])],
)


def test_a_record_survives_the_wire() -> None:
    assert decode(encode(BEAT), Heartbeat) == BEAT


def test_an_unknown_field_is_a_newer_sender_and_no_error() -> None:
    assert decode(encode(BEAT)[:-1] + b',"later":[1]}', Heartbeat) == BEAT


@pytest.mark.parametrize(
    "value", [b"", b"{", b"[]", b"{}", b"\xff\xfe", b'{"mesh":1}', b'{"mesh":"\xc3("}', b"[" * 100_000]
)
def test_bytes_that_are_no_record_name_the_schema(value: bytes) -> None:
    with pytest.raises(WireError) as caught:
        decode(value, Heartbeat)
    assert caught.value.reason == "schema"
    assert "Heartbeat" in str(caught.value)
