"""Mutated messages by the million through verify, to the rows that would be stored; each is timed and accounted for.

A worker judges many messages at once, and so does the fuzz. Every message is stored, or in quarantine with a reason;
every number that would be stored fits its column; no message takes a second; the memory does not grow.
"""

import random
import resource
import time
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from support import wire_messages as wire
from support.row_checks import check_rows

from schemas.codec import encode
from schemas.envelope import Signer
from schemas.topics import HEALTH, SUMMARY, THROUGHPUT
from streams.messages import RawMessage
from streams.verify import Rejected, Verdict, verify_all

NOW_MS: Final = wire.SLOT_MS + 12_000
TOGETHER: Final = 200  # messages of a flush
HANG_S: Final = 1.0
GROWTH_BYTES: Final = 128 << 20
YEAR_2106_MS: Final = (1 << 32) * 1000
LABELS: Final = 1_000_000  # names that nobody enrolled
EDGES: Final[list[Any]] = [
    *(0, -0.0, 1, -1, 15, 16, 255, 256, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 53, (1 << 63) - 1, 1 << 63, -(1 << 63)),
    *(1 << 64, 1 << 200, 1.5, 1e308, YEAR_2106_MS, YEAR_2106_MS + 10_000, True, None, "", "x" * 300, "\0", "é", [], {}),
]
NOT_JSON: Final = (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"0x10", b"1" * 400)
KNOWN: Final = wire.membership()
_RECORDS: Final = [
    (wire.summary(), SUMMARY.name),
    (wire.summary(), SUMMARY.name),
    (wire.heartbeat(), HEALTH.name),
    (wire.throughput(), THROUGHPUT.name),
]
_SIGNERS: Final = [*wire.SIGNERS.values(), Signer("nobody", b"\x09" * 32)]
_TREES: Final = [(encode(record), topic) for record, topic in _RECORDS]


class Account(msgspec.Struct, kw_only=True):
    """What became of the messages."""

    messages: int = 0
    whole: int = 0  # stored, all of it
    in_part: int = 0  # stored, with streams in quarantine
    refused: Counter[str]  # reason -> messages
    slowest_s: float = 0.0  # of one flush
    growth_bytes: int = 0  # of the peak of the memory, after a tenth of the messages

    @property
    def holds(self) -> bool:
        """Return whether every message has a fate, none by a fault of ours, none late, and the memory stood."""
        fates = self.whole + self.in_part + sum(self.refused.values())
        crashed = self.refused["internal_error"]
        return fates == self.messages and crashed == 0 and self.slowest_s < HANG_S and self.growth_bytes < GROWTH_BYTES


def fuzz(messages: int, seed: int, say: Callable[[str], None] = lambda _: None) -> Account:
    """Judge mutated messages and return the account.

    Raises:
        AssertionError: a row does not fit its column.
    """
    chance = random.Random(seed)  # noqa: S311 - the same again
    account = Account(refused=Counter())
    warm, said = messages // 10, 0
    base_bytes = 0
    while account.messages < messages:
        group = [mutant(chance, account.messages + n) for n in range(min(TOGETHER, messages - account.messages))]
        _count(account, group)
        if base_bytes == 0 and account.messages >= warm:
            base_bytes = _peak_bytes()
        if account.messages * 10 // messages > said:
            said = account.messages * 10 // messages
            say(f"{account.messages} messages, slowest flush {account.slowest_s * 1000:.0f} ms")
    account.growth_bytes = _peak_bytes() - base_bytes
    return account


def mutant(chance: random.Random, number: int) -> RawMessage:
    """Return a message that something is wrong with, as often as not signed as it is then."""
    return chance.choice(_KINDS)(chance, number)


def _count(account: Account, group: Sequence[RawMessage]) -> None:
    begun = time.perf_counter()
    verdicts = verify_all(group, KNOWN, now_ms=NOW_MS)
    account.slowest_s = max(account.slowest_s, time.perf_counter() - begun)
    for verdict in verdicts:
        account.messages += 1
        _fate(account, verdict)
        check_rows(verdict)


def _fate(account: Account, verdict: Verdict) -> None:
    if isinstance(verdict, Rejected):
        account.refused[verdict.reason] += 1
    elif len(getattr(verdict, "faults", ())) > 0:
        account.in_part += 1
    else:
        account.whole += 1


def _replaced(chance: random.Random, _: int) -> RawMessage:
    """Replace, remove or repeat one to three values of a record."""
    value, topic = chance.choice(_TREES)
    tree = msgspec.json.decode(value)
    for _ in range(chance.randint(1, 3)):
        holder, key = _place(chance, tree)
        match chance.randrange(4):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, list):
                holder.insert(key, holder[key])
            case _:
                holder[key] = chance.choice(EDGES) if chance.random() < 0.7 else chance.randrange(-(1 << 65), 1 << 65)
    return wire.signed(msgspec.json.encode(tree), topic, wire.PROBE)


def _place(chance: random.Random, tree: Any) -> tuple[Any, Any]:  # noqa: ANN401 - a tree of builtins
    """Return a holder and a key in it; the deeper, the rarer."""
    holder = tree
    while True:
        key = chance.choice(list(holder)) if isinstance(holder, dict) else chance.randrange(len(holder))
        inner = holder[key]
        if not isinstance(inner, (dict, list)) or len(inner) == 0 or chance.random() < 0.3:
            return holder, key
        holder = inner


def _torn(chance: random.Random, _: int) -> RawMessage:
    """Put garbage into the bytes, or a number that JSON has not."""
    value, topic = chance.choice(_TREES)
    start = chance.randrange(len(value))
    noise = chance.choice(NOT_JSON) if chance.random() < 0.5 else chance.randbytes(chance.randrange(9))
    return wire.signed(value[:start] + noise + value[start + chance.randrange(20) :], topic, wire.PROBE)


def _not_a_number(chance: random.Random, _: int) -> RawMessage:
    """Replace one number of a record by what is none, where a number may stand."""
    value, topic = chance.choice(_TREES)
    marks = [n for n, byte in enumerate(value) if byte in b"[:," and value[n + 1] in b"0123456789-"]
    start = chance.choice(marks) + 1
    end = next(n for n in range(start, len(value)) if value[n] not in b"0123456789-.eE")
    return wire.signed(value[:start] + chance.choice(NOT_JSON) + value[end:], topic, wire.PROBE)


def _stranger(chance: random.Random, number: int) -> RawMessage:
    """Speak under one of a million names, signed by a key that belongs to nobody or to another."""
    batch = wire.summary((number,), probe_id=f"m/label-{chance.randrange(LABELS)}")
    return wire.message(batch, signer=chance.choice(_SIGNERS), key=batch.probe_id.encode())


def _labels(chance: random.Random, _: int) -> RawMessage:
    """Name streams that the mesh has not, up to many in one batch."""
    count = chance.choice((1, 10, 100))
    return wire.message(wire.summary([chance.randrange(1 << 53) for _ in range(count)]))


def _bomb(chance: random.Random, _: int) -> RawMessage:
    """Send what is small when compressed: deep, long, or much of one thing; or the compressed bytes themselves."""
    size = chance.choice((100, 10_000, 100_000)) if chance.random() < 0.2 else 100
    fillings = (
        b"[" * size,
        b'{"a":' * size,
        b'"' + b"x" * size + b'"',
        zlib.compress(b"0" * size),
        b"[0" + b",0" * size,
    )
    value = chance.choice(fillings)
    if chance.random() < 0.5:
        value = encode(wire.summary())[:-1] + b',"more":' + value + b"}"
    return wire.signed(value, SUMMARY.name, wire.PROBE)


def _garbage(chance: random.Random, _: int) -> RawMessage:
    """Send noise, under any key, with any headers."""
    headers = [(chance.choice(("isochrone-key", "isochrone-signature", "h")), chance.randbytes(64)) for _ in range(2)]
    return RawMessage(
        topic=chance.choice((SUMMARY.name, HEALTH.name, "other")),
        partition=0,
        offset=0,
        key=chance.randbytes(8),
        value=chance.randbytes(chance.randrange(200)),
        headers=tuple(headers),
        received_ms=NOW_MS,
    )


def _time(chance: random.Random, number: int) -> RawMessage:
    """Speak of a slot that no clock here can mean."""
    far = (
        YEAR_2106_MS,
        YEAR_2106_MS - 10_000,
        1 << 60,
        0,
        -10_000,
        wire.SLOT_MS + 200_000,
        wire.SLOT_MS - 15 * 86_400_000,
    )
    return wire.message(wire.summary(slot_start_ms=chance.choice(far) // 10_000 * 10_000, seq=number))


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


_KINDS: Final[list[Callable[[random.Random, int], RawMessage]]] = [
    *([_replaced] * 6),
    *([_torn] * 3),
    *(_not_a_number, _stranger, _labels, _bomb, _garbage, _time),
]
