"""Our STAMP bytes against scapy's independent layer, both directions, and against the RFCs where scapy stops."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.contrib.stamp import (
    ErrorEstimate,
    STAMPSessionReflectorTestUnauthenticated,
    STAMPSessionSenderTestUnauthenticated,
    STAMPTestTLV,
)

from probes import stamp

SECOND = 1_000_000_000
u16, u32, u64 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFF_FFFF), st.integers(0, (1 << 64) - 1)
instants = st.integers(1_600_000_000 * SECOND, 4_000_000_000 * SECOND)


def request(*, token: int = 7, index: int = 3, sent_ns: int = 1_700_000_000_000_000_005, ssid: int = 9) -> bytearray:
    packet = stamp.request_template(ssid)
    stamp.fill_request(packet, 0, token=token, index=index, sent_ns=sent_ns, error_estimate=0x8123, ssid=ssid)
    return packet


def reply_to(packet: bytearray, *, follow_up: tuple[int, int] | None = None, counter: int = 4) -> bytearray:
    out = bytearray(packet)
    stamp.reflect_tlvs(out, stamp.BASE_BYTES, len(out), follow_up)
    stamp.encode_base_reply(
        out, 0, bytes(packet), counter=counter, receive_ns=5 * SECOND + 6, transmit_ns=7 * SECOND + 8,
        error_estimate=0xC201, ttl=61,
    )  # fmt: skip
    return out


@given(u64, u64, instants, u16)
def test_scapy_reads_our_request_as_we_meant_it(token: int, index: int, sent_ns: int, ssid: int) -> None:
    seen = STAMPSessionSenderTestUnauthenticated(bytes(request(token=token, index=index, sent_ns=sent_ns, ssid=ssid)))
    assert seen.seq == index & 0xFFFF_FFFF
    assert seen.ts == (sent_ns // SECOND << 32) + sent_ns % SECOND
    estimate = (seen.err_estimate.S, seen.err_estimate.Z, seen.err_estimate.scale, seen.err_estimate.multiplier)
    assert estimate == (1, 1, 1, 0x23)
    assert (seen.ssid, seen.mbz) == (ssid, 0)
    padding, follow_up = seen.tlv_objects
    assert (int(padding.flags), padding.type, padding.len) == (0x80, 1, 16)  # U, set by the sender (RFC 8972 4)
    assert padding.value == token.to_bytes(8, "big") + index.to_bytes(8, "big")
    assert (follow_up.type, follow_up.len, follow_up.value) == (7, 16, bytes(16))


def test_token_and_index_lie_where_the_lab_looks_for_them() -> None:
    packet = request(token=0x0102030405060708, index=0x1112131415161718)
    assert packet[44:48] == bytes((0x80, 1, 0, 16))
    assert packet[48:56].hex() == "0102030405060708"
    assert packet[56:64].hex() == "1112131415161718"


def test_scapy_reads_our_reply_as_we_meant_it() -> None:
    seen = STAMPSessionReflectorTestUnauthenticated(bytes(reply_to(request())))
    assert (seen.seq, seen.seq_sender, seen.ssid, seen.ttl_sender) == (4, 3, 9, 61)
    assert seen.ts_rx == (5 << 32) + 6
    assert seen.ts == (7 << 32) + 8
    assert seen.ts_sender == (1_700_000_000 << 32) + 5
    assert (seen.err_estimate.S, seen.err_estimate.Z, seen.err_estimate_sender.multiplier) == (1, 1, 0x23)
    assert (seen.mbz1, seen.mbz2) == (0, 0)


@given(u32, u32, instants, instants, st.integers(0, 255))
def test_we_read_scapys_reply_as_it_meant_it(counter: int, sequence: int, t2: int, t3: int, ttl: int) -> None:
    # Scapy chooses the format of a timestamp by the Z that it has when the timestamp is set: error estimates go first.
    reply = STAMPSessionReflectorTestUnauthenticated(seq=counter, ssid=11, seq_sender=sequence, ttl_sender=ttl)
    reply.err_estimate = ErrorEstimate(S=1, Z=1, multiplier=5)
    reply.err_estimate_sender = ErrorEstimate(Z=1)
    reply.ts, reply.ts_rx, reply.ts_sender = (at // SECOND << 32 | at % SECOND for at in (t3, t2, 17 * SECOND + 1))
    seen = stamp.decode_reply(bytes(reply))
    assert (seen.counter, seen.sender_sequence, seen.sender_ttl, seen.ssid) == (counter, sequence, ttl, 11)
    assert (seen.receive_ns, seen.transmit_ns, seen.sender_ns) == (t2, t3, 17 * SECOND + 1)


def test_we_read_ntp_timestamps_of_a_peer_that_prefers_them() -> None:
    half = 1 << 31
    assert stamp.from_wire(2_208_988_800 + 1_700_000_000, half, 0x0001) == 1_700_000_000 * SECOND + SECOND // 2
    assert stamp.from_wire(5, half, 0x0001) == ((1 << 32) + 5 - 2_208_988_800) * SECOND + SECOND // 2  # after 2036
    assert stamp.from_wire(0, 0, 0x0001) == 0


def test_the_reply_is_as_long_as_the_request_and_keeps_its_token_and_index() -> None:
    asked = request(token=123, index=456)
    answer = reply_to(asked)
    assert len(answer) == len(asked) == 84
    assert answer[48:64] == asked[48:64]
    assert answer[44] == 0  # the reflector knows the padding: U is cleared


def test_a_follow_up_comes_back_as_the_reflector_wrote_it() -> None:
    answer = bytes(reply_to(request(), follow_up=(41, 1_700_000_000_000_000_123)))
    assert stamp.decode_follow_up(answer, 64, 0xC201) == (41, 1_700_000_000_000_000_123)
    tlv = STAMPSessionReflectorTestUnauthenticated(answer).tlv_objects[1]
    assert (int(tlv.flags), tlv.type, tlv.value[12]) == (0, 7, 2)


def test_a_follow_up_is_absent_when_the_reflector_has_none_or_does_not_know_it() -> None:
    assert stamp.decode_follow_up(bytes(reply_to(request())), 64, 0xC201) is None
    assert stamp.decode_follow_up(bytes(request()), 64, 0xC201) is None


def test_an_unknown_tlv_comes_back_with_its_unrecognised_flag() -> None:
    body = bytearray(bytes(STAMPTestTLV(flags=0, type=200, len=4, value=b"abcd")) + b"\x80\x01\x00\x02xy")
    stamp.reflect_tlvs(body, 0, len(body), None)
    assert body == b"\x80\xc8\x00\x04abcd\x00\x01\x00\x02xy"


@pytest.mark.parametrize("tlv", [b"\x80\x01\x00\x09abcd", b"\x80\x07\x00\x04abcd"])
def test_a_tlv_that_cannot_be_is_flagged_malformed_and_nothing_else_is_touched(tlv: bytes) -> None:
    body = bytearray(tlv)
    stamp.reflect_tlvs(body, 0, len(body), (1, SECOND))
    assert body == b"\x40" + tlv[1:]


def test_padding_without_tlvs_comes_back_unchanged() -> None:
    body = bytearray(27)
    stamp.reflect_tlvs(body, 0, len(body), (1, SECOND))
    assert body == bytes(27)


@given(st.binary(max_size=120))
def test_no_garbage_behind_the_base_packet_breaks_or_lengthens_a_reply(garbage: bytes) -> None:
    body = bytearray(garbage)
    stamp.reflect_tlvs(body, 0, len(body), (1, SECOND))
    assert len(body) == len(garbage)
