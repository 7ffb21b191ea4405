"""Insert a block; when the store refuses it for what it holds, find the rows that are to blame."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from schemas.errors import StorePermanentError, UnavailableError
from schemas.tables import TableSpec
from streams.columns import Column, row_count
from streams.store import Store

MAX_REFUSED: Final = 64  # rows of one block; when more are refused no row is to blame


def insert_bisected(store: Store, table: TableSpec, columns: Mapping[str, Sequence[Any] | Column]) -> dict[int, str]:
    """Insert all rows that the store takes; return position and error of each that it refuses.

    Raises:
        StoreTransientError: unknown how much is stored; insert the same block again.
        UnavailableError: it refuses more rows than data could explain.
    """
    refused: dict[int, str] = {}
    _insert(store, table, columns, 0, refused)
    return refused


def _insert(
    store: Store, table: TableSpec, columns: Mapping[str, Sequence[Any] | Column], offset: int, refused: dict[int, str]
) -> None:
    count = row_count(columns)
    try:
        store.insert_columns(table, columns)
    except StorePermanentError as err:
        if count == 1:
            refused[offset] = str(err)
            if len(refused) > MAX_REFUSED:
                raise UnavailableError(f"{table.name}: over {MAX_REFUSED} rows refused, the last: {err}") from err
            return
        half = count // 2
        _insert(store, table, {name: values[:half] for name, values in columns.items()}, offset, refused)
        _insert(store, table, {name: values[half:] for name, values in columns.items()}, offset + half, refused)
