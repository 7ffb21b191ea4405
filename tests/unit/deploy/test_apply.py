from pathlib import Path
from typing import Any

import pytest

from deploy.apply import apply_mesh, start_s
from schemas.clock import ManualClock
from schemas.mesh import Mesh, parse_mesh
from schemas.tables import TableSpec

DEMO = Path(__file__).parents[3] / "deploy/mesh/demo.toml"
NOON = 1_800_000_000  # a whole minute


class FakeTables:
    """Remembers what was inserted, in order; answers with the newest mesh row."""

    def __init__(self) -> None:
        self.inserted: list[tuple[str, list[tuple[Any, ...]]]] = []

    def rows(self, query_name: str, /, **params: object) -> list[dict[str, Any]]:
        assert query_name == "mesh_newest"
        found = [dict(zip(("mesh", "version", "valid_from_s"), r, strict=False)) for r in self.of("mesh")]
        return [row for row in reversed(found) if row["mesh"] == params["mesh"]][:1]

    def insert(self, table: TableSpec, rows: list[tuple[Any, ...]]) -> None:
        assert all(len(row) == len(table.columns) for row in rows)
        self.inserted.append((table.name, rows))

    def of(self, table: str) -> list[tuple[Any, ...]]:
        return [row for name, rows in self.inserted if name == table for row in rows]


@pytest.fixture(scope="module")
def demo() -> Mesh:
    return parse_mesh(DEMO.read_text(), source="demo.toml")


@pytest.mark.parametrize(
    ("now_s", "valid_from_s"),
    [(NOON, NOON + 60), (NOON + 1, NOON + 120), (NOON + 59, NOON + 120), (NOON + 60, NOON + 120)],
)
def test_a_new_version_holds_from_the_first_whole_minute_at_least_60_s_ahead(now_s: int, valid_from_s: int) -> None:
    assert start_s(now_s, first=False) == valid_from_s


def test_the_first_version_holds_from_the_running_minute() -> None:
    assert start_s(NOON + 59, first=True) == NOON


def test_the_mesh_row_is_written_last_so_that_half_a_version_does_not_exist(demo: Mesh) -> None:
    tables = FakeTables()
    apply_mesh(tables, demo, clock=ManualClock(NOON * 10**9))
    assert [name for name, _ in tables.inserted] == ["node", "endpoint", "stream", "mesh"]
    assert len(tables.of("stream")) == len(demo.streams)


def test_applying_the_newest_version_again_writes_nothing(demo: Mesh) -> None:
    tables, clock = FakeTables(), ManualClock(NOON * 10**9)
    first = apply_mesh(tables, demo, clock=clock)
    clock.advance_s(3600)
    again = apply_mesh(tables, demo, clock=clock)
    assert (again.version, again.valid_from_s, again.written) == (first.version, first.valid_from_s, False)
    assert len(tables.inserted) == 4
