"""The atoms of the native protocol, whole and in pieces."""

import pytest

from deploy.embedded.clickhouse import packets, wire
from deploy.embedded.clickhouse.packets import Client
from deploy.embedded.clickhouse.wire import Disconnected, ProtocolError, Reader, reader_of


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**32, 2**63, 2**64 - 1])
def test_a_varint_comes_back(value: int) -> None:
    assert reader_of(wire.varint(value)).varint() == value


def test_a_varint_without_an_end_is_refused() -> None:
    with pytest.raises(ProtocolError, match="ten bytes"):
        reader_of(b"\xff" * 20).varint()


def test_a_text_that_is_not_utf8_or_too_long_is_refused() -> None:
    with pytest.raises(ProtocolError, match="UTF-8"):
        reader_of(b"\x01\xff").text()
    with pytest.raises(ProtocolError, match="is the most"):
        reader_of(wire.varint(1 << 40)).text()


def test_what_arrives_byte_by_byte_reads_as_what_arrives_at_once() -> None:
    content = packets.write_query("SELECT 1")
    pieces = iter([bytes([each]) for each in content])
    reader = Reader(lambda _: next(pieces, b""), limit_bytes=1 << 20)
    assert reader.varint() == Client.QUERY
    assert packets.read_query(reader).sql == "SELECT 1"
    assert reader.varint() == Client.DATA


def test_a_peer_that_leaves_between_packets_left_cleanly_and_inside_one_did_not() -> None:
    reader = Reader(lambda _: b"", limit_bytes=100)
    with pytest.raises(Disconnected) as caught:
        reader.byte()
    assert caught.value.clean
    half = reader_of(wire.text("abcdef")[:3])
    with pytest.raises(Disconnected) as caught:
        half.text()
    assert not caught.value.clean


def test_a_packet_over_the_limit_is_refused_before_it_is_held() -> None:
    reader = Reader(lambda size: b"x" * min(size, 10), limit_bytes=1000)
    with pytest.raises(ProtocolError, match="send smaller blocks"):
        reader.skip(1 << 40)
    assert len(reader.buffer) == 0


def test_what_was_read_is_forgotten_between_packets() -> None:
    reader = reader_of(b"abcd")
    assert reader.take(3) == b"abc"
    reader.forget()
    assert (bytes(reader.buffer), reader.position) == (b"d", 0)


def test_the_ping_writes_what_the_server_reads() -> None:
    hello = packets.Hello("ping", packets.REVISION, "db", "user", "word")
    reader = reader_of(packets.write_hello(hello))
    assert (reader.varint(), packets.read_hello(reader)) == (Client.HELLO, hello)


def test_a_query_with_telemetry_and_settings_is_read_to_its_end() -> None:
    info = b"\1" + wire.text("") * 3 + bytes(9) + wire.text("os") + wire.text("host") + wire.text("me")
    info += wire.varint(1) * 3 + wire.text("quota") + wire.varint(0) * 2 + b"\1" + bytes(24) + wire.text("t") + b"\1"
    settings = (
        wire.text("max_threads") + b"\1" + wire.text("2") + wire.text("x") + b"\0" + wire.text("'") + wire.text("")
    )
    tail = wire.text("") + wire.varint(2) + wire.varint(1) + wire.text("SELECT 1")
    query = packets.read_query(reader_of(wire.text("id") + info + bytes(3) + settings + tail))
    assert query == packets.Query("id", {"max_threads": "2", "x": "'"}, True, "SELECT 1")
