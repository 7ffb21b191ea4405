"""What comes off a topic, before anyone believes it; and who it says it is (pure)."""

from typing import Final

import msgspec

from schemas.topics import HEALTH, SUMMARY, THROUGHPUT

UNKNOWN_SEQ: Final = -1
REFUSED_HEADER: Final = "isochrone-refused"  # of the message that stands for a batch nobody takes apart: why
_INT64: Final = 1 << 63


class RawMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One Kafka message as it was stored by the broker."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    received_ms: int  # the broker's clock (LogAppendTime), so that a replay from the log gives the same rows


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What a message says of itself, read as far as it can be read: to be believed only when it is signed."""

    mesh: str = ""
    mesh_version: str = ""
    probe_id: str = ""
    spool_id: str = ""
    seq: int = UNKNOWN_SEQ
    revision: int = 0
    complete: bool = False
    stream_id: list[int] = []
    slot_start_ms: int | None = None
    sent_at_ms: int | None = None
    start_ms: int | None = None

    @property
    def at_ms(self) -> int | None:
        """Return the instant it speaks of, UTC milliseconds; None where it names none."""
        stated = {SUMMARY.name: self.slot_start_ms, HEALTH.name: self.sent_at_ms, THROUGHPUT.name: self.start_ms}
        return next((at_ms for at_ms in stated.values() if at_ms is not None), None)


class _Identity(msgspec.Struct, frozen=True, kw_only=True):
    probe_id: str = ""
    spool_id: str = ""
    seq: int = UNKNOWN_SEQ


_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # what a decoder raises over bytes

_claims: Final = msgspec.json.Decoder(Claim)
_identities: Final = msgspec.json.Decoder(_Identity)


def read_claim(value: bytes) -> Claim:
    """Return what the bytes claim; an empty claim when they cannot be read at all."""
    try:
        return _claims.decode(value)
    except _UNREADABLE:
        pass
    try:
        found = _identities.decode(value)
    except _UNREADABLE:
        return Claim()
    return Claim(probe_id=found.probe_id, spool_id=found.spool_id, seq=found.seq)


def is_seq(value: int) -> bool:
    """Return whether a number may be a seq."""
    return 0 <= value < _INT64
