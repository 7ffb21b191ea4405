"""Verify: bytes -> a record that may be stored, or the reason why not (pure; never raises).

In this order: size, envelope, schema, bounds, key against claim, clock, membership. Only membership is judged stream by
stream; everything else speaks of the whole message. The columns of many messages are held to their bounds at once: a
message's verdict is the same alone and in any company.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar

import msgspec
import numpy as np

from schemas.codec import decode
from schemas.envelope import check_signature, signing_key_id
from schemas.errors import QuarantineReason, WireError
from schemas.records import Heartbeat, SummaryBatch, ThroughputResult
from schemas.topics import DAY_MS, HEALTH, SUMMARY, THROUGHPUT
from streams.block import Block, Head, Packed, block_of, head_of, packed
from streams.block_bounds import Rule, rules
from streams.bounds import MAX_VALUE_BYTES, check_header, check_heartbeat, check_throughput
from streams.columns import Ints
from streams.membership import Membership, Plan, owner_of, streams_of
from streams.messages import REFUSED_HEADER, Claim, RawMessage, read_claim

T = TypeVar("T")

MAX_AHEAD_MS: Final = 120_000
MAX_AGE_MS: Final = 14 * DAY_MS
MAX_DETAIL_CHARS: Final = 500


class StreamFault(msgspec.Struct, frozen=True):
    """One stream of a batch that its probe may not speak for."""

    stream_id: int
    reason: QuarantineReason
    detail: str


class VerifiedSummary(msgspec.Struct, frozen=True, eq=False):
    """A batch; `kept` are the positions of its streams that may be stored.

    Its numbers are the rows of `block` from `first_row` on, one a stream; other messages have theirs in the same block.
    """

    message: RawMessage
    record: Head
    block: Block
    first_row: int
    kept: Ints
    faults: Sequence[StreamFault] = ()


class VerifiedHeartbeat(msgspec.Struct, frozen=True):
    """A heartbeat of a member."""

    message: RawMessage
    record: Heartbeat


class VerifiedThroughput(msgspec.Struct, frozen=True):
    """A throughput result of a member."""

    message: RawMessage
    record: ThroughputResult


class Rejected(msgspec.Struct, frozen=True):
    """A message that goes to quarantine as a whole; `signed` says that the claim is proved to be the sender's."""

    message: RawMessage
    reason: QuarantineReason
    detail: str
    claim: Claim
    signed: bool


Verified = VerifiedSummary | VerifiedHeartbeat | VerifiedThroughput
Verdict = Verified | Rejected
_Record = Head | Heartbeat | ThroughputResult


class _Signer(msgspec.Struct, frozen=True):
    probe_id: str
    public: bytes


class _Opened(msgspec.Struct, frozen=True):
    """A message whose signer and record are known, and nothing more."""

    message: RawMessage
    signer: _Signer
    record: _Record
    numbers: Packed  # of a summary; empty for what has no columns

    @property
    def rows(self) -> int:
        return len(self.record.stream_id) if isinstance(self.record, Head) else 0


class _Rows(msgspec.Struct, frozen=True):
    """Where the numbers of a summary are, and what is wrong with them, "" when nothing is."""

    block: Block
    first: int
    fault: str


def verify(message: RawMessage, membership: Membership, *, now_ms: int) -> Verdict:
    """Return what may be stored of a message; see `verify_all`."""
    (verdict,) = verify_all([message], membership, now_ms=now_ms)
    return verdict


def verify_all(messages: Sequence[RawMessage], membership: Membership, *, now_ms: int) -> list[Verdict]:
    """Return what may be stored of each message, in their order.

    Args:
        messages: as they came; nothing of them is believed.
        membership: the plans of the mesh.
        now_ms: the worker's clock; lateness is judged by it or the broker's, whichever is later.
    """
    try:
        return _verdicts(messages, membership, now_ms)
    except Exception as err:  # noqa: BLE001 - of many at once: one of them is to blame, and it is found alone
        if len(messages) == 1:
            return [rejected(messages[0], membership, "internal_error", f"{type(err).__name__}: {err}")]
        return [verify(message, membership, now_ms=now_ms) for message in messages]


def rejected(message: RawMessage, membership: Membership, reason: QuarantineReason, detail: str) -> Rejected:
    """Return the message as one for quarantine, with what can be said of its sender."""
    claim = read_claim(message.value) if len(message.value) <= MAX_VALUE_BYTES else Claim()
    try:
        signer = _signer(message, membership).probe_id
    except WireError:
        return Rejected(message, reason, detail[:MAX_DETAIL_CHARS], claim, signed=False)
    if claim.probe_id == "":  # its words cannot be read, its signature can
        claim = Claim(probe_id=signer)
    return Rejected(message, reason, detail[:MAX_DETAIL_CHARS], claim, signed=signer == claim.probe_id)


def _verdicts(messages: Sequence[RawMessage], membership: Membership, now_ms: int) -> list[Verdict]:
    opened = [_guarded(partial(_open, message, membership), message, membership) for message in messages]
    rows = iter(_rows_of([each for each in opened if isinstance(each, _Opened)]))
    return [
        each
        if isinstance(each, Rejected)
        else _guarded(partial(_judge, each, next(rows), membership, now_ms), each.message, membership)
        for each in opened
    ]


def _guarded(step: Callable[[], T], message: RawMessage, membership: Membership) -> T | Rejected:
    try:
        return step()
    except WireError as err:
        return rejected(message, membership, err.reason, str(err))
    except UnicodeDecodeError as err:  # text in a value that is not UTF-8: the JSON decoder says it in its own way
        return rejected(message, membership, "schema", str(err))
    except Exception as err:  # noqa: BLE001 - a message must not stop the worker, whatever it does to this code
        return rejected(message, membership, "internal_error", f"{type(err).__name__}: {err}")


def _open(message: RawMessage, membership: Membership) -> _Opened:
    if len(message.value) > MAX_VALUE_BYTES:
        raise WireError("bounds", f"{len(message.value)} bytes, at most {MAX_VALUE_BYTES}")
    refused = [text for name, text in message.headers if name == REFUSED_HEADER]
    if refused:
        raise WireError("bounds", refused[0].decode(errors="replace"))
    signer = _signer(message, membership)
    record = _record(message)
    if isinstance(record, SummaryBatch):  # its lists, fifty times the bytes of the message, live no longer than this
        return _Opened(message, signer, head_of(record), packed(record))
    return _Opened(message, signer, record, {})


def _rows_of(opened: Sequence[_Opened]) -> list[_Rows]:
    """Return the rows of each message in one block of all, held to the bounds."""
    block = block_of([each.numbers for each in opened if isinstance(each.record, Head)])
    told = list(rules(block))
    sound = np.logical_and.reduce([holds for _, holds in told])
    found, first = [], 0
    for each in opened:
        end = first + each.rows
        found.append(_Rows(block, first, "" if sound[first:end].all() else _first_fault(told, first, end)))
        first = end
    return found


def _first_fault(told: Sequence[Rule], first: int, end: int) -> str:
    text, holds = next((text, holds[first:end]) for text, holds in told if not holds[first:end].all())
    return f"{text} (first at entry {int(np.argmin(holds))})"


def _judge(opened: _Opened, rows: _Rows, membership: Membership, now_ms: int) -> Verified:
    message, signer, record = opened.message, opened.signer, opened.record
    if rows.fault != "":
        raise WireError("bounds", rows.fault)
    if record.probe_id != signer.probe_id:
        raise WireError("key_mismatch", f"signed by {signer.probe_id} and speaks for {record.probe_id[:128]}")
    at_ms = _instant_ms(record)
    _check_clock(at_ms, max(message.received_ms, now_ms))
    plans = membership.plans_at(record.mesh, at_ms)
    if not any(plan.knows(record.probe_id) for plan in plans):
        raise WireError("not_member", f"probe {record.probe_id} is not in mesh {record.mesh} at {at_ms} ms")
    if not membership.is_key_in_force(plans, record.probe_id, signer.public, at_ms):
        raise WireError("unknown_key", f"the key of {record.probe_id} does not hold at {at_ms} ms")
    match record:
        case Head():
            return _summary(message, record, rows, plans)
        case Heartbeat():
            return VerifiedHeartbeat(message, record)
        case ThroughputResult():
            return _throughput(message, record, plans)


def _signer(message: RawMessage, membership: Membership) -> _Signer:
    """Return whose key has signed the message; the message key says whose to try."""
    try:
        probe_id = message.key.decode()
    except UnicodeDecodeError as err:
        raise WireError("envelope", "the message key is not UTF-8") from err
    key_id = signing_key_id(message.headers)
    if membership.is_key_of_another(probe_id, key_id):
        raise WireError("key_mismatch", f"key {key_id[:128]!r} is not a key of {probe_id[:128]!r}, the message key")
    fault = WireError("unknown_key", f"key {key_id[:128]!r} of {probe_id[:128]!r} is not in the mesh")
    for public in membership.public_keys(probe_id, key_id):
        try:
            check_signature(message.topic, message.value, message.headers, {key_id: public})
        except WireError as err:
            fault = err
        else:
            return _Signer(probe_id, public)
    raise fault


def _record(message: RawMessage) -> SummaryBatch | Heartbeat | ThroughputResult:
    """Return the record; its own fields are within their bounds, its columns are not looked at."""
    if message.topic == SUMMARY.name:
        batch = decode(message.value, SummaryBatch)
        check_header(batch)
        return batch
    if message.topic == HEALTH.name:
        beat = decode(message.value, Heartbeat)
        check_heartbeat(beat)
        return beat
    if message.topic == THROUGHPUT.name:
        result = decode(message.value, ThroughputResult)
        check_throughput(result)
        return result
    raise WireError("schema", f"topic {message.topic} carries no record that is known here")


def _instant_ms(record: _Record) -> int:
    match record:
        case Head(slot_start_ms=at_ms) | Heartbeat(sent_at_ms=at_ms) | ThroughputResult(start_ms=at_ms):
            return at_ms


def _check_clock(at_ms: int, now_ms: int) -> None:
    if at_ms > now_ms + MAX_AHEAD_MS:
        raise WireError(
            "clock", f"{at_ms - now_ms} ms ahead of the clock here, at most {MAX_AHEAD_MS}; check its clock"
        )
    if at_ms < now_ms - MAX_AGE_MS:
        raise WireError("too_late", f"{now_ms - at_ms} ms old, at most {MAX_AGE_MS}")


def _summary(message: RawMessage, batch: Head, rows: _Rows, plans: Sequence[Plan]) -> VerifiedSummary:
    own, count = streams_of(plans, batch.probe_id), len(batch.stream_id)
    if own.issuperset(batch.stream_id):
        return VerifiedSummary(message, batch, rows.block, rows.first, np.arange(count))
    kept = [position for position, stream_id in enumerate(batch.stream_id) if stream_id in own]
    faults = [_fault(stream_id, batch, plans) for stream_id in batch.stream_id if stream_id not in own]
    return VerifiedSummary(message, batch, rows.block, rows.first, np.array(kept, dtype=np.int64), faults)


def _fault(stream_id: int, batch: Head, plans: Sequence[Plan]) -> StreamFault:
    owner = owner_of(plans, stream_id)
    if owner is None:
        return StreamFault(stream_id, "not_member", f"stream {stream_id} is in no plan at {batch.slot_start_ms} ms")
    return StreamFault(stream_id, "foreign_endpoint", f"stream {stream_id} is measured by {owner}")


def _throughput(message: RawMessage, result: ThroughputResult, plans: Sequence[Plan]) -> VerifiedThroughput:
    ends = (result.source, result.destination)
    owners = {plan.probe_of_endpoint.get(end) for plan in plans for end in ends}
    if result.probe_id not in owners:
        raise WireError("foreign_endpoint", f"{result.probe_id} serves neither {ends[0]} nor {ends[1]}")
    return VerifiedThroughput(message, result)
