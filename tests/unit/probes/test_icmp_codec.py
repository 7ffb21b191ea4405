import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP

from probes import icmp

u64 = st.integers(0, (1 << 64) - 1)


@given(u64, u64, st.integers(0, 0xFFFF))
def test_scapy_agrees_with_our_echo_request_and_its_checksum(token: int, index: int, identifier: int) -> None:
    packet = bytearray(icmp.REQUEST_BYTES)
    icmp.fill_request(packet, 0, version=4, identifier=identifier, token=token, index=index)
    seen = ICMP(bytes(packet))
    assert (seen.type, seen.code, seen.id, seen.seq) == (8, 0, identifier, index & 0xFFFF)
    assert bytes(seen.payload)[:16] == token.to_bytes(8, "big") + index.to_bytes(8, "big")
    del seen.chksum
    assert bytes(seen) == bytes(packet)


@pytest.mark.parametrize(
    ("version", "icmp_type", "icmp_code", "text"),
    [
        (4, 3, 3, "Destination port unreachable"),
        (4, 11, 0, "Time to live exceeded"),
        (6, 1, 4, "Port unreachable"),
        (4, 12, 0, "ICMPv4 type 12 code 0"),
    ],
)
def test_a_cause_is_told_in_icmplibs_words(version: int, icmp_type: int, icmp_code: int, text: str) -> None:
    assert icmp.cause_text(version, icmp_type, icmp_code) == text
