"""Every query of every board, on a real engine with a mesh in force: for each variable, and for hostile values."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.board_macros import expand
from support.engine import ServerAddress
from support.stores import config_of, sql

from dashboards.grafana.sync import BOARDS, load_board
from deploy.apply import apply_mesh
from schemas.clock import SystemClock, wall_ms
from schemas.mesh import Mesh, parse_mesh
from schemas.tables import VERDICT
from streams.migrate import migrate
from streams.store import Store, StoreConfig, open_store

pytestmark = pytest.mark.needs_engine

DEMO = Path(__file__).parents[2] / "deploy/mesh/demo.toml"
HOSTILE = "o'brien\\"


@pytest.fixture(scope="module")
def store_config(clickhouse_server: ServerAddress) -> Iterator[StoreConfig]:
    """Yield a database of this module: its tests only read."""
    config = config_of(clickhouse_server, "boards")
    migrate(config, profile="embedded", clock=SystemClock())
    yield config
    with sql(config) as run:
        run("DROP DATABASE boards SYNC")


@pytest.fixture(scope="module")
def mesh(store_config: StoreConfig) -> Mesh:
    """Return the demo's mesh, in force, with one stream down, one ok, and nothing known of the others."""
    with open_store(store_config) as store:
        return told(store)


def told(store: Store) -> Mesh:
    mesh, now_ms = parse_mesh(DEMO.read_text(), source="demo.toml"), wall_ms(SystemClock())
    apply_mesh(store, mesh, clock=SystemClock())
    ends = {("cluster-zhangjiakou/telecom", "dcp-beijing/telecom"): "ok"}
    ends[("dcp-beijing/telecom", "cluster-zhangjiakou/telecom")] = "down"
    for stream in mesh.streams:
        state = ends.get((stream.source, stream.destination))
        if state is not None:
            row: dict[str, Any] = dict.fromkeys(VERDICT.columns, 0)
            row |= {"mesh": mesh.id, "stream_id": stream.id, "state": state, "reason": "", "rule": "r", "metric": "m"}
            row |= {"window_start": now_ms // 1000, "judged_ms": now_ms}
            store.insert(VERDICT, [tuple(row[name] for name in VERDICT.columns)])
    return mesh


def asked(text: str, store_config: StoreConfig, **changes: str) -> tuple[list[tuple[Any, ...]], list[tuple[str, str]]]:
    now_s = wall_ms(SystemClock()) // 1000
    variables = {"mesh": "demo", "carrier": "telecom", "source": "cluster-zhangjiakou/telecom"}
    variables |= {"destination": "dcp-beijing/telecom"} | changes
    with sql(store_config) as run:
        rows, types = run(
            expand(text, from_s=now_s - 3600, to_s=now_s + 60, variables=variables), with_column_types=True
        )
    return rows, types


def panels(board: dict[str, Any]) -> list[tuple[str, int, str]]:
    return [(p["title"], t["format"], t["rawSql"]) for p in board["panels"] for t in p["targets"]]


@pytest.mark.parametrize("name", BOARDS)
def test_every_query_runs_and_gives_the_frame_that_its_panel_needs(
    mesh: Mesh, store_config: StoreConfig, name: str
) -> None:
    assert mesh.id == "demo"
    for title, kind, text in panels(load_board(name)):
        _, types = asked(text, store_config)
        if kind == 0:  # a series: a time, at most one key of text, numbers
            assert types[0][0] == "time", title
            assert types[0][1].startswith("DateTime"), title
            assert sum("String" in each for _, each in types[1:]) <= 1, title


@pytest.mark.parametrize("name", BOARDS)
@pytest.mark.parametrize("variable", ["mesh", "carrier", "source", "destination"])
def test_a_hostile_value_of_a_variable_stays_a_value(
    mesh: Mesh, store_config: StoreConfig, name: str, variable: str
) -> None:
    assert mesh.id == "demo"
    for _, _, text in panels(load_board(name)):
        asked(text, store_config, **{variable: HOSTILE})


@pytest.mark.parametrize("name", BOARDS)
def test_every_variable_offers_something(mesh: Mesh, store_config: StoreConfig, name: str) -> None:
    assert mesh.id == "demo"
    for variable in load_board(name)["templating"]["list"][1:]:
        rows, _ = asked(variable["query"], store_config)
        assert len(rows) > 0, variable["name"]


def test_the_matrix_has_one_row_a_pair_in_one_order_on_both_axes_and_null_where_nothing_is_planned(
    mesh: Mesh, store_config: StoreConfig
) -> None:
    (text,) = [text for title, _, text in panels(load_board("posture")) if "matrix" in title]
    rows, _ = asked(text, store_config)
    cells = {(source, destination): state for source, destination, state in rows}
    assert len(cells) == len(rows) == 12 * 12
    assert list(dict.fromkeys(row[0] for row in rows)) == list(dict.fromkeys(row[1] for row in rows))
    assert cells["cluster-zhangjiakou", "dcp-beijing"] == 0
    assert cells["dcp-beijing", "cluster-zhangjiakou"] == 2
    assert cells["cluster-zhangjiakou", "cluster-shaoguan"] == 3  # planned, and nothing is known
    assert cells["dcp-beijing", "dcp-shanghai"] is None  # not planned
    assert mesh.id == "demo"


@pytest.mark.parametrize(("title", "count"), [("正常", 1), ("中断", 1), ("劣化", 0), ("数据不足", 222)])
def test_the_four_tiles_count_every_planned_stream_once(
    mesh: Mesh, store_config: StoreConfig, title: str, count: int
) -> None:
    (text,) = [text for name, _, text in panels(load_board("posture")) if name.startswith(title)]
    rows, _ = asked(text, store_config)
    assert rows == [(count,)]
    assert len(mesh.streams) == 224
