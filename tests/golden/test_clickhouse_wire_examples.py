"""What clickhouse-driver 0.2.11 and the embedded server once said to each other, byte for byte."""

import json
from pathlib import Path

from deploy.embedded.clickhouse import packets
from deploy.embedded.clickhouse.blocks import Block, Column, header, read_block
from deploy.embedded.clickhouse.packets import Client, Server
from deploy.embedded.clickhouse.wire import Reader, reader_of

TALK = json.loads((Path(__file__).parent / "clickhouse_wire.json").read_text(encoding="utf-8"))
LISTS = "Array(LowCardinality(String))"


def said(step: str, who: str) -> bytes:
    return bytes.fromhex(TALK[step][who])


def test_the_hello_of_the_driver_is_read_whole_and_answered_as_before() -> None:
    reader = reader_of(said("hello", "client"))
    assert reader.varint() == Client.HELLO
    hello = packets.read_hello(reader)
    assert hello == packets.Hello("ClickHouse python-driver", 54468, "default", "isochrone", "w")
    assert reader.position == len(reader.buffer)
    assert packets.server_hello("26.9.2.1", "UTC", "isochrone embedded") == said("hello", "server")
    answer = reader_of(said("hello", "server"))
    assert (answer.varint(), packets.read_server_hello(answer)) == (Server.HELLO, "isochrone embedded")


def test_a_query_is_read_with_its_settings_and_the_empty_block_after_it() -> None:
    reader = reader_of(said("select", "client").removeprefix(bytes([Client.PING])))
    assert reader.varint() == Client.QUERY
    query = packets.read_query(reader)
    assert query == packets.Query("", {"max_threads": "2"}, False, "SELECT toUInt8(1) AS a, 'x' AS b")
    assert take_block(reader).columns == ()
    assert reader.position == len(reader.buffer)


def test_an_answer_is_a_header_then_rows_then_the_end() -> None:
    columns = (Column("a", "UInt8"), Column("b", "String"))
    rows = bytes.fromhex("020101610555496e743801016206537472696e670178")
    expected = packets.data(header(columns)) + packets.data(rows) + packets.END_OF_STREAM
    assert said("select", "server").removeprefix(packets.PONG) == expected


def test_the_blocks_of_an_insert_are_measured_to_their_last_byte() -> None:
    reader = reader_of(said("insert", "client").removeprefix(bytes([Client.PING])))
    assert reader.varint() == Client.QUERY
    assert packets.read_query(reader).sql == "INSERT INTO t VALUES"
    blocks = [take_block(reader) for _ in range(3)]
    assert [block.rows for block in blocks] == [0, 2, 0]
    assert blocks[1].columns == (Column("a", "UInt8"), Column("b", LISTS))
    assert reader.position == len(reader.buffer)


def test_an_exception_keeps_its_code_and_text() -> None:
    reader = reader_of(said("error", "server"))
    while reader.varint() != Server.EXCEPTION:
        packets.skip_data_head(reader)
        read_block(reader)
    code, text = packets.read_exception(reader)
    assert code == 395
    assert text.startswith("DB::Exception: Value passed to 'throwIf'")
    assert said("error", "server").endswith(packets.exception(code, text))


def take_block(reader: Reader) -> Block:
    assert reader.varint() == Client.DATA
    packets.skip_data_head(reader)
    return read_block(reader)
