"""What alerts ask of the store: named queries and whole blocks. `streams.store.Store` is it; tests hand in another."""

from collections.abc import Sequence
from typing import Any, Protocol

from schemas.tables import TableSpec

Row = dict[str, Any]
Param = str | int | float | bool | list[str] | list[int] | list[float] | list[bool]


class Door(Protocol):
    """The two calls."""

    def rows(self, query_name: str, /, **params: Param) -> list[Row]:
        """Return the rows of a named query."""

    def insert(self, table: TableSpec, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows in the order of the table's columns."""
