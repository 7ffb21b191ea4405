"""The batches of a `World` as rows of real tables: what the worker would have written."""

from typing import Any

from support.alert_world import TIMEOUT_MS, Row, World

from schemas.mesh_rows import mesh_rows
from schemas.tables import BATCH, ENDPOINT, MESH, NODE, STREAM, SUMMARY_10S, TableSpec
from streams.store import Store


def insert_plan(store: Store, world: World, valid_from_s: int) -> None:
    """Write the mesh of a world, valid from a whole minute."""
    rows = mesh_rows(world.mesh, valid_from_s)
    for spec in (MESH, NODE, ENDPOINT, STREAM):
        store.insert(spec, [tuple(row[column] for column in spec.columns) for row in rows[spec.name]])


class Writer:
    """Writes what became visible since the last time."""

    def __init__(self, store: Store, world: World) -> None:
        self._store = store
        self._world = world
        self._written: set[tuple[str, int, int]] = set()
        self._seq: dict[str, int] = {}

    def catch_up(self, now_ms: int) -> None:
        for (probe, start_ms), batches in self._world.batches.items():
            for revision, (received_ms, rows) in enumerate(batches):
                key = (probe, start_ms, revision)
                if received_ms <= now_ms and key not in self._written:
                    self._written.add(key)
                    self._write(rows, received_ms)

    def _write(self, rows: list[Row], received_ms: int) -> None:
        probe = rows[0]["probe_id"]
        seq = self._seq[probe] = self._seq.get(probe, -1) + 1
        self._store.insert(SUMMARY_10S, [_filled(SUMMARY_10S, self._columns(row, seq)) for row in rows])
        head = self._columns(rows[0], seq)
        counts = {
            "topic": "isochrone.summary.v1",
            "streams": len(rows),
            "stored": len(rows),
            "received_ms": received_ms,
        }
        self._store.insert(BATCH, [_filled(BATCH, head | counts)])

    def _columns(self, row: Row, seq: int) -> dict[str, Any]:
        return row | {
            "seq": seq,
            "spool_id": row["spool"],
            "slot": row["start_ms"] // 1000,
            "mesh": self._world.mesh.id,
            "slot_ms": 10_000,
            "timeout_ms": TIMEOUT_MS,
            "lost_unresolved": row["sent"] - row["received"],
            "rtt_n": row["delay_n"],
            "rtt_ipdv_pairs": row["pairs"],
        }


def _filled(spec: TableSpec, named: dict[str, Any]) -> tuple[Any, ...]:
    empty: list[int] = []
    return tuple(named.get(column, empty if column.endswith(("bin", "_count")) else 0) for column in spec.columns)
