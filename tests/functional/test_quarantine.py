"""What was refused can be listed, shown and sent again as it came."""

import pytest
from support import wire_messages as wire
from support.stores import FixedRegistry

from schemas.clock import SystemClock, floor_ms, wall_ms
from schemas.errors import ConfigError
from schemas.topics import SUMMARY
from streams.flush import Flusher
from streams.messages import RawMessage
from streams.quarantine import message_at, refused, replay
from streams.reconcile import reconcile
from streams.store import Store

pytestmark = pytest.mark.needs_engine
CLOCK = SystemClock()


def flushed(store: Store, *messages: RawMessage, streams: dict[int, str] | None = None) -> None:
    Flusher(store, FixedRegistry(wire.membership(streams=streams)), CLOCK).flush(messages)


def test_bytes_that_are_no_text_and_headers_that_stand_twice_come_back_as_they_were(store: Store) -> None:
    now_ms = wall_ms(CLOCK)
    headers = (("h", b"\0\xff"), ("h", b""), ("", b"x"), ("h", b"third"))
    message = RawMessage(
        topic=SUMMARY.name,
        partition=3,
        offset=1 << 40,
        key=b"\xfe\0",
        value=bytes(range(256)),
        headers=headers,
        received_ms=now_ms,
    )
    flushed(store, message)
    found = message_at(store, SUMMARY.name, 3, 1 << 40)
    assert (found.key, found.value, found.headers) == (message.key, message.value, headers)
    assert [reason for _, reason, _ in found.faults] == ["envelope"]


def test_a_stream_refused_for_want_of_a_plan_is_stored_by_a_replay(store: Store) -> None:
    now_ms = floor_ms(wall_ms(CLOCK), 10_000)
    message = wire.message(wire.summary((11, 21, 99), slot_start_ms=now_ms, seq=4), received_ms=now_ms, offset=5)
    flushed(store, message, streams={11: wire.PROBE})
    listed = refused(store, since_ms=0)
    assert [(each.stream_id, each.reason, each.stored) for each in listed] == [
        (21, "not_member", True),
        (99, "not_member", True),
    ]
    assert refused(store, since_ms=0, reasons=["bounds"]) == refused(store, since_ms=now_ms + 1) == []
    sent: list[RawMessage] = []

    def send(topic: str, key: bytes, value: bytes, headers: object) -> None:
        sent.append(wire.signed(value, topic, key.decode(), headers=headers, received_ms=now_ms, offset=6))

    assert replay(store, [(SUMMARY.name, 0, 5)], send) == 1
    flushed(store, *sent, streams=dict.fromkeys((11, 21, 99), wire.PROBE))
    found = reconcile(store, since_ms=0, until_ms=now_ms + 60_000)
    assert (found.batches.stored, found.summaries_stored, found.summaries_quarantined) == (1, 3, 0)


def test_a_whole_message_that_was_stored_later_says_so(store: Store) -> None:
    now_ms = floor_ms(wall_ms(CLOCK), 10_000)
    flushed(store, wire.message(wire.summary(slot_start_ms=now_ms, revision=99), received_ms=now_ms, offset=1))
    assert [each.stored for each in refused(store, since_ms=0)] == [False]
    flushed(store, wire.message(wire.summary(slot_start_ms=now_ms), received_ms=now_ms, offset=2))
    assert [each.stored for each in refused(store, since_ms=0)] == [True]


def test_a_position_that_is_not_in_quarantine_is_an_error_that_says_where_to_look(store: Store) -> None:
    with pytest.raises(ConfigError, match="quarantine list"):
        message_at(store, SUMMARY.name, 0, 0)
