"""What a client hears of one statement: a header, its rows, its end; or it is asked for the rows of an INSERT."""

from typing import Final

from deploy.embedded.clickhouse import packets
from deploy.embedded.clickhouse.blocks import Block, Column, header, read_block, retype, split_blocks
from deploy.embedded.clickhouse.channel import Channel
from deploy.embedded.clickhouse.columntypes import has_zone, layout
from deploy.embedded.clickhouse.engine import EngineSession
from deploy.embedded.clickhouse.faults import QUERY_WAS_CANCELLED, EngineFault
from deploy.embedded.clickhouse.inserter import Inserter
from deploy.embedded.clickhouse.inserts import Insert
from deploy.embedded.clickhouse.packets import Client
from deploy.embedded.clickhouse.statements import Statement, StatementKind
from deploy.embedded.clickhouse.watch import Watch
from deploy.embedded.clickhouse.wire import ProtocolError, reader_of

BLOCK_DEADLINE_S: Final = 300.0


def read_data(channel: Channel) -> Block:
    """Read a block after its packet type."""
    packets.skip_data_head(channel.reader)
    return read_block(channel.reader)


def read_external(channel: Channel) -> bool:
    """Read the blocks between a query and its end; say whether there was any but the empty last one."""
    found = False
    while (packet := channel.next_packet(BLOCK_DEADLINE_S)) == Client.DATA:
        if not read_data(channel).columns:
            return found
        found = True
    raise ProtocolError(f"packet {packet} where a block was expected")


class Answer:
    """What a client hears of one statement."""

    def __init__(self, channel: Channel, connection: EngineSession, watch: Watch, tag: str) -> None:
        self._channel = channel
        self._connection = connection
        self._watch = watch
        self._tag = tag

    def give(self, statement: Statement) -> None:
        """Run the statement and send its rows and its end; raises `EngineFault`."""
        if statement.insert is not None:
            self._insert(statement.insert)
        else:
            with self._watch.over(self._tag, self._channel):
                self._rows(statement)
        self._channel.write(packets.END_OF_STREAM)

    def _rows(self, statement: Statement) -> None:
        if statement.kind is StatementKind.SELECT:
            self._select(statement.sql)
        else:
            self._whole(statement)

    def _select(self, sql: str) -> None:
        """Stream the blocks; a header without rows stands first, as clients take names and types from it."""
        columns = self._describe(sql)
        zoned = columns is not None and any(has_zone(each.type_name) for each in columns)
        if columns is not None:
            self._channel.write(packets.data(header(columns)))
        for block in self._connection.stream(sql):
            if columns is None:
                columns = list(read_block(reader_of(block)).columns)
                self._channel.write(packets.data(header(columns)))
            self._channel.write(packets.data(retype(block, columns) if zoned else block))

    def _describe(self, sql: str) -> list[Column] | None:
        """Return the columns, or None: then the statement itself fails too, and says it better."""
        try:
            return self._connection.columns_of_query(sql)
        except EngineFault as err:
            if err.code == QUERY_WAS_CANCELLED:
                raise
            return None

    def _whole(self, statement: Statement) -> None:
        content = self._connection.run(statement.sql)
        self._connection.remember(statement.sets)
        blocks = list(split_blocks(content))
        if blocks:
            self._channel.write(packets.data(header(blocks[0].columns)))
        elif statement.kind is StatementKind.SHOW:
            self._channel.write(packets.data(header(self._connection.columns_of_show(statement.sql))))
        for block in blocks:
            self._channel.write(packets.data(block.content))

    def _insert(self, insert: Insert) -> None:
        columns = self._connection.columns_of_insert(insert)
        for each in columns:
            layout(each.type_name)  # a type that cannot be measured is refused before any byte of it is on its way
        inserter = Inserter(self._connection, insert, columns)
        try:
            inserter.open()
            self._channel.write(packets.data(header(columns)))
            self._channel.flush()
            self._take_blocks(inserter)
            with self._watch.over(self._tag, self._channel):
                inserter.finish()
        finally:
            inserter.close()

    def _take_blocks(self, inserter: Inserter) -> None:
        """Read blocks to the empty one; after a bad one the rest is read and dropped, for the client still sends."""
        fault: EngineFault | None = None
        while (block := self._next_block()).columns:
            fault = fault or _append(inserter, block)
        if fault is not None:
            raise fault

    def _next_block(self) -> Block:
        packet = self._channel.next_packet(BLOCK_DEADLINE_S)
        if packet == Client.CANCEL:
            raise EngineFault(QUERY_WAS_CANCELLED, "DB::Exception: Query was cancelled. (QUERY_WAS_CANCELLED)")
        if packet != Client.DATA:
            raise ProtocolError(f"packet {packet} where a block was expected")
        return read_data(self._channel)


def _append(inserter: Inserter, block: Block) -> EngineFault | None:
    try:
        inserter.append(block)
    except EngineFault as err:
        return err
    return None
