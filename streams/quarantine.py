"""The quarantine: what was refused, why, and sent again after a fix. Nothing in it is changed or removed by hand."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from schemas.errors import ConfigError
from streams.ledger import unpacked_headers
from streams.store import Store

Send = Callable[[str, bytes, bytes, Sequence[tuple[str, bytes]]], None]  # topic, key, value, headers


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the list: a message, or (stream_id not 0) one stream of it."""

    topic: str
    partition: int
    offset: int
    received_ms: int
    reason: str
    detail: str
    claimed_probe: str
    claimed_spool: str
    claimed_seq: int  # -1 where it could not be read
    signed: bool
    stream_id: int
    stored: bool  # the same message has been stored since, in part or whole


class RefusedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message with its bytes as they came, and all that was said against it."""

    topic: str
    partition: int
    offset: int
    received_ms: int
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    faults: tuple[tuple[int, str, str], ...]  # stream_id (0: the whole), reason, detail


def refused(store: Store, *, since_ms: int, reasons: Sequence[str] = (), limit: int = 100) -> list[Refused]:
    """Return what was refused since an instant, newest first.

    Args:
        store: any login that reads.
        since_ms: UTC milliseconds, by the broker's clock.
        reasons: only these; all when empty.
        limit: at most so many.

    Raises:
        StoreTransientError: the store is away.
        StorePermanentError: it refuses the query.
    """
    rows = store.rows("quarantine_list", since_ms=since_ms, reasons=list(reasons) or [""], limit=limit)
    return [Refused(**row | {name: bool(row[name]) for name in ("signed", "stored")}) for row in rows]


def message_at(store: Store, topic: str, partition: int, offset: int) -> RefusedMessage:
    """Return the refused message that stands at a position of a topic.

    Raises:
        ConfigError: none does.
        StoreTransientError: the store is away.
        StorePermanentError: it refuses the query.
    """
    rows = store.rows("quarantine_message", topic=topic, partition=partition, offset=offset)
    if not rows:
        raise ConfigError(
            f"{topic} {partition}@{offset} is not in quarantine; `isochrone quarantine list` shows what is"
        )
    whole = max(rows, key=lambda row: len(row["value_hex"]))  # streams of one message keep its bytes once
    names = [bytes.fromhex(name).decode() for name in whole["header_names_hex"]]
    values = [bytes.fromhex(value) for value in whole["header_values_hex"]]
    return RefusedMessage(
        topic=topic,
        partition=partition,
        offset=offset,
        received_ms=int(whole["received_ms"]),
        key=bytes.fromhex(whole["key_hex"]),
        value=bytes.fromhex(whole["value_hex"]),
        headers=tuple(unpacked_headers(list(zip(names, values, strict=True)))),
        faults=tuple(_fault(row) for row in rows),
    )


def replay(store: Store, positions: Sequence[tuple[str, int, int]], send: Send) -> int:
    """Send refused messages again, byte for byte, to the topics they came from; return how many.

    Their identity is in their bytes, so a replay of what has been stored meanwhile changes nothing.

    Args:
        store: any login that reads.
        positions: topic, partition and offset of each.
        send: sends one message and returns when the broker has acknowledged it.

    Raises:
        ConfigError: a position is not in quarantine; those before it were sent.
        StoreTransientError: the store is away; same.
        StorePermanentError: it refuses the query.
    """
    for topic, partition, offset in positions:
        found = message_at(store, topic, partition, offset)
        send(found.topic, found.key, found.value, found.headers)
    return len(positions)


def _fault(row: dict[str, Any]) -> tuple[int, str, str]:
    return int(row["stream_id"]), str(row["reason"]), str(row["detail"])
