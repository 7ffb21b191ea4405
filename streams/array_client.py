"""clickhouse-driver with columns as arrays, both ways: its own lists cost more than all else that the worker does.

Connection, handshake, settings, queries, packets, compression and errors are the driver's; only the columns within a
block are read and written by `streams.native`.
"""

from collections.abc import Sequence
from typing import Any, Final

from clickhouse_driver import Client
from clickhouse_driver.block import BlockInfo, ColumnOrientedBlock
from clickhouse_driver.columns.service import read_column, write_column
from clickhouse_driver.defines import DBMS_MIN_REVISION_WITH_CUSTOM_SERIALIZATION
from clickhouse_driver.protocol import ClientPacketTypes
from clickhouse_driver.reader import read_binary_str, read_binary_uint8, read_varint
from clickhouse_driver.varint import write_varint
from clickhouse_driver.writer import write_binary_str, write_binary_uint8

from streams.columns import Column, Columns, array_of, joined
from streams.native import decode, encode

_NO_TABLE: Final = ""  # the block belongs to the query, not to a table beside it


class ArrayClient(Client):  # type: ignore[misc]  # the driver has no types
    """A client whose blocks by column are arrays."""

    def select_columns(self, query: str) -> Columns:
        """Return the columns of a query; {} when it has no row.

        Raises:
            Exception: the driver's, as of `execute`.
        """
        with self.disconnect_on_error(query, None):
            self.connection.send_query(query)
            self.connection.send_external_tables(None)
            usual = self.connection.block_in
            self.connection.block_in = _ArrayInput(usual)
            try:
                blocks = [packet.block for packet in self.packet_generator() if getattr(packet, "block", None)]
            finally:
                self.connection.block_in = usual
        return joined(map(_columns, blocks))

    def send_data(
        self,
        sample_block: ColumnOrientedBlock,
        data: Sequence[Any],
        types_check: bool = False,
        columnar: bool = False,
    ) -> int:
        """Send the columns of one block, and the end of the data; rows go the driver's way."""
        if not columnar:
            sent: int = super().send_data(sample_block, data, types_check=types_check)
            return sent
        rows = len(data[0])
        self._send_block(sample_block.columns_with_types, data, rows)
        self.receive_profile_events()
        self.connection.send_data(ColumnOrientedBlock())
        self.receive_profile_events()
        return rows

    def _send_block(self, columns_with_types: Sequence[tuple[str, str]], data: Sequence[Any], rows: int) -> None:
        write_varint(ClientPacketTypes.DATA, self.connection.fout)
        write_binary_str(_NO_TABLE, self.connection.fout)
        out = self.connection.block_out
        BlockInfo().write(out.fout)
        write_varint(len(columns_with_types), out.fout)
        write_varint(rows, out.fout)
        for (name, spec), column in zip(columns_with_types, data, strict=True):
            write_binary_str(name, out.fout)
            write_binary_str(spec, out.fout)
            if _tells_serialization(out.context):
                write_binary_uint8(0, out.fout)
            _write(out, name, spec, column)
        out.finalize()


class _ArrayInput:
    """Reads the blocks of an input stream of the driver."""

    def __init__(self, usual: Any) -> None:  # noqa: ANN401 - the driver has no types
        self._fin = usual.fin
        self._context = usual.context

    def read(self, use_numpy: bool | None = None) -> ColumnOrientedBlock:  # noqa: ARG002 - the driver's signature
        """Return the next block."""
        info = BlockInfo()
        info.read(self._fin)
        count, rows = read_varint(self._fin), read_varint(self._fin)
        columns_with_types, data = [], []
        for _ in range(count):
            name, spec = read_binary_str(self._fin), read_binary_str(self._fin)
            columns_with_types.append((name, spec))
            data.append(self._column(spec, rows))
        block = ColumnOrientedBlock(columns_with_types, info=info)
        block.data = data
        return block

    def _column(self, spec: str, rows: int) -> Column:
        custom = _tells_serialization(self._context) and read_binary_uint8(self._fin) != 0
        if rows > 0 and custom:  # sparse: the driver knows how
            return array_of(read_column(self._context, spec, rows, self._fin, has_custom_serialization=True))
        return decode(spec, rows, self._fin) if rows > 0 else array_of(())


def _tells_serialization(context: Any) -> bool:  # noqa: ANN401 - the driver has no types
    tells: bool = context.server_info.used_revision >= DBMS_MIN_REVISION_WITH_CUSTOM_SERIALIZATION
    return tells


def _write(out: Any, name: str, spec: str, column: Any) -> None:  # noqa: ANN401 - the driver has no types
    content = encode(spec, column)
    if content is None:
        write_column(out.context, name, spec, list(column), out.fout)  # a copy: the driver changes what it is given
    else:
        out.fout.write(content)


def _columns(block: ColumnOrientedBlock) -> Columns:
    return dict(zip((name for name, _ in block.columns_with_types), block.data, strict=True))
