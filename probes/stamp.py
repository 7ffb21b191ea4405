"""STAMP test packets (RFC 8762, unauthenticated) with the TLVs of RFC 8972 that we use: bytes in, fields out.

Our own request is 84 bytes of UDP payload, and so is its reply:

    0   base packet of 44 bytes, PTPv2 timestamps (RFC 8186), SSID at 14
    44  Extra Padding TLV: header, 8 bytes stream token at 48, 8 bytes packet index at 56
    64  Follow-Up Telemetry TLV: header, reflector sequence number at 68, its transmit time at 72, method at 80
"""

import struct
from typing import Final

import msgspec

BASE_BYTES: Final = 44
REQUEST_BYTES: Final = 84
MULTIPLIER_AT: Final = 13  # low byte of the error estimate
SSID_AT: Final = 14
TOKEN_AT: Final = 48
FOLLOW_UP_AT: Final = 64

TLV_PADDING: Final = 1
TLV_FOLLOW_UP: Final = 7
FLAG_UNRECOGNISED: Final = 0x80
FLAG_MALFORMED: Final = 0x40
METHOD_SOFTWARE: Final = 2  # RFC 8972 table 13: SW Local
Z_PTP: Final = 0x4000
_TLV_BYTES: Final = 4
_FOLLOW_UP_VALUE_BYTES: Final = 16

REQUEST_HEAD: Final = struct.Struct(">IIIHH")  # sequence, seconds, fraction, error estimate, SSID
TOKEN: Final = struct.Struct(">QQ")  # token, index
TLV: Final = struct.Struct(">BBH")  # flags, type, length
REPLY: Final = struct.Struct(">IIIHHIIIIIHHB3x")
FOLLOW_UP: Final = struct.Struct(">BBHIIIB3x")  # header, sequence, seconds, fraction, method

_ERA: Final = 2_208_988_800  # seconds from the NTP epoch, 1900, to ours
_NS: Final = 1_000_000_000
_SECONDS: Final = 1 << 32


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a reflected packet; times are nanoseconds of UTC, 0 where the field is empty."""

    counter: int  # the reflector's own sequence number
    transmit_ns: int  # T3
    error_estimate: int
    ssid: int
    receive_ns: int  # T2
    sender_sequence: int
    sender_ns: int  # T1 as it stood in the request
    sender_error_estimate: int
    sender_ttl: int


def request_template(ssid: int) -> bytearray:
    """Return a request with all that stays the same from packet to packet; `fill_request` writes the rest."""
    packet = bytearray(REQUEST_BYTES)
    REQUEST_HEAD.pack_into(packet, 0, 0, 0, 0, Z_PTP | 1, ssid)
    TLV.pack_into(packet, BASE_BYTES, FLAG_UNRECOGNISED, TLV_PADDING, TOKEN.size)
    TLV.pack_into(packet, FOLLOW_UP_AT, FLAG_UNRECOGNISED, TLV_FOLLOW_UP, _FOLLOW_UP_VALUE_BYTES)
    return packet


def fill_request(
    memory: memoryview | bytearray, at: int, *, token: int, index: int, sent_ns: int, error_estimate: int, ssid: int
) -> None:
    """Write what changes from packet to packet into a template at memory[at:]; `sent_ns` is UTC nanoseconds."""
    seconds, fraction = divmod(sent_ns, _NS)
    REQUEST_HEAD.pack_into(
        memory, at, index & 0xFFFF_FFFF, seconds & 0xFFFF_FFFF, fraction, error_estimate | Z_PTP, ssid
    )
    TOKEN.pack_into(memory, at + TOKEN_AT, token, index)


def decode_reply(memory: memoryview | bytes, at: int = 0) -> Reply:
    """Return the fields of the 44-byte reflected packet at memory[at:]; the caller has checked its length."""
    (counter, t3, f3, estimate, ssid, t2, f2, sequence, t1, f1, sender_estimate, _, ttl) = REPLY.unpack_from(memory, at)
    return Reply(
        counter=counter,
        transmit_ns=from_wire(t3, f3, estimate),
        error_estimate=estimate,
        ssid=ssid,
        receive_ns=from_wire(t2, f2, estimate),
        sender_sequence=sequence,
        sender_ns=from_wire(t1, f1, sender_estimate),
        sender_error_estimate=sender_estimate,
        sender_ttl=ttl,
    )


def decode_follow_up(memory: memoryview | bytes, at: int, error_estimate: int) -> tuple[int, int] | None:
    """Return (reflector sequence number, its transmit time in ns) from the TLV at memory[at:], None when it says none.

    The reflector clears the U flag of a TLV that it knows (RFC 8972 4); a timestamp of 0 means that it has none.
    """
    flags, kind, length, sequence, seconds, fraction, _ = FOLLOW_UP.unpack_from(memory, at)
    if kind != TLV_FOLLOW_UP or length != _FOLLOW_UP_VALUE_BYTES or flags & (FLAG_UNRECOGNISED | FLAG_MALFORMED) != 0:
        return None
    return (sequence, from_wire(seconds, fraction, error_estimate)) if seconds > 0 else None


def encode_base_reply(
    memory: memoryview | bytearray, at: int, request: bytes | memoryview, *, counter: int, receive_ns: int,
    transmit_ns: int, error_estimate: int, ttl: int,
) -> None:  # fmt: skip
    """Write the 44-byte reply to `request` at memory[at:]: its sequence, time and error estimate come back in it."""
    sequence, t1, f1, sender_estimate, ssid = REQUEST_HEAD.unpack_from(request)
    t2, f2 = divmod(receive_ns, _NS)
    t3, f3 = divmod(transmit_ns, _NS)
    REPLY.pack_into(
        memory, at, counter & 0xFFFF_FFFF, t3, f3, error_estimate | Z_PTP, ssid, t2, f2, sequence, t1, f1,
        sender_estimate, 0, ttl,
    )  # fmt: skip


def reflect_tlvs(memory: memoryview | bytearray, at: int, end: int, follow_up: tuple[int, int] | None) -> None:
    """Turn the request's TLVs at memory[at:end] into the reply's, in place, as RFC 8972 4 says.

    Extra padding comes back as it is, follow-up telemetry is filled with (sequence, transmit time in ns) or zeros, an
    unknown type keeps its U flag, one that runs over the end gets the M flag. A type of 0 is padding without TLVs.
    """
    while at + _TLV_BYTES <= end:
        _, kind, length = TLV.unpack_from(memory, at)
        if kind == 0:
            return
        if at + _TLV_BYTES + length > end or (kind == TLV_FOLLOW_UP and length != _FOLLOW_UP_VALUE_BYTES):
            memory[at] = FLAG_MALFORMED
            return
        memory[at] = 0 if kind in (TLV_PADDING, TLV_FOLLOW_UP) else FLAG_UNRECOGNISED
        if kind == TLV_FOLLOW_UP:
            _write_follow_up(memory, at, follow_up)
        at += _TLV_BYTES + length


def _write_follow_up(memory: memoryview | bytearray, at: int, follow_up: tuple[int, int] | None) -> None:
    sequence, stamp_ns = follow_up if follow_up is not None else (0, 0)
    seconds, fraction = divmod(stamp_ns, _NS)
    method = METHOD_SOFTWARE if follow_up is not None else 0
    FOLLOW_UP.pack_into(memory, at, 0, TLV_FOLLOW_UP, _FOLLOW_UP_VALUE_BYTES, sequence, seconds, fraction, method)


def from_wire(seconds: int, fraction: int, error_estimate: int) -> int:
    """Return UTC nanoseconds of a 64-bit timestamp: PTPv2 truncated when Z is set, else NTP (RFC 8186)."""
    if error_estimate & Z_PTP != 0:
        return seconds * _NS + fraction
    if seconds == 0:
        return 0
    era = 0 if seconds >= _ERA else _SECONDS  # after 2036 the NTP seconds start again
    return (seconds + era - _ERA) * _NS + (fraction * _NS + (1 << 31) >> 32)
