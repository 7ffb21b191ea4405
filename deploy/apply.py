"""Put a mesh in force: its rows, valid from a whole minute, and never a word changed of what was in force before."""

from typing import Any, Final, Protocol

import msgspec

from schemas.clock import Clock
from schemas.mesh import Mesh
from schemas.mesh_rows import mesh_rows
from schemas.tables import ENDPOINT, MESH, NODE, STREAM, TableSpec

LEAD_S: Final = 60  # probes and workers learn of a plan before it holds
MINUTE_S: Final = 60
ORDER: Final = (NODE, ENDPOINT, STREAM, MESH)  # the mesh row last: a version exists when all of it does


class Tables(Protocol):
    """What of the store is needed here."""

    def rows(self, query_name: str, /, **params: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - the store's
        """Return the rows of a named query."""

    def insert(self, table: TableSpec, rows: Any) -> None:  # noqa: ANN401 - the store's
        """Insert rows in the order of the table's columns."""


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """What `apply_mesh` did."""

    version: str
    valid_from_s: int
    written: bool  # False: this version is the newest already


def apply_mesh(store: Tables, mesh: Mesh, *, clock: Clock) -> Applied:
    """Write a version of the mesh, valid from the first whole minute at least 60 s ahead.

    The first version of a mesh is valid from the running minute: no plan before it could be straddled by a window.
    Applying the newest version again writes nothing.
    """
    newest = store.rows("mesh_newest", mesh=mesh.id)
    if newest and newest[0]["version"] == mesh.version:
        return Applied(version=mesh.version, valid_from_s=newest[0]["valid_from_s"], written=False)
    valid_from_s = start_s(clock.wall_ns() // 1_000_000_000, first=not newest)
    rows = mesh_rows(mesh, valid_from_s)
    for table in ORDER:
        store.insert(table, [tuple(row[column] for column in table.columns) for row in rows[table.name]])
    return Applied(version=mesh.version, valid_from_s=valid_from_s, written=True)


def start_s(now_s: int, *, first: bool) -> int:
    """Return from which whole minute, in seconds of UTC, a version applied now is valid."""
    return now_s - now_s % MINUTE_S if first else -(-(now_s + LEAD_S) // MINUTE_S) * MINUTE_S
