import json
import warnings
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from support.board_types import misfits

from dashboards.grafana.sync import BOARDS, load_board

with warnings.catch_warnings():  # the model of version 1 warns at import; provisioned files are of version 1
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.models.dashboard import Dashboard

UNITS = {"none", "short", "s", "ms", "percentunit", "bps"}
QUERY_REFRESH_ON_TIME_RANGE = 2


@pytest.fixture(params=BOARDS)
def board(request: pytest.FixtureRequest) -> dict[str, Any]:
    return load_board(request.param)


def in_the_model(board: dict[str, Any]) -> Dashboard:
    register_default_plugins()
    return Dashboard.from_json(board)


def through_the_model(board: dict[str, Any]) -> dict[str, Any]:
    encoded: dict[str, Any] = json.loads(JSONEncoder(sort_keys=True).encode(in_the_model(board)))
    return encoded


def test_a_board_is_exactly_what_the_official_model_writes(board: dict[str, Any]) -> None:
    assert through_the_model(board) == board


@pytest.mark.parametrize(("key", "typo"), [("title", "titel"), ("gridPos", "gridpos")])
def test_a_misspelt_key_of_a_panel_is_seen(board: dict[str, Any], key: str, typo: str) -> None:
    panel = board["panels"][0]
    panel[typo] = panel.pop(key)
    assert through_the_model(board) != board


def test_every_value_of_a_board_has_the_type_that_the_official_model_declares(board: dict[str, Any]) -> None:
    assert list(misfits(in_the_model(board), Dashboard)) == []


@pytest.mark.parametrize(
    ("path", "wrong", "fault"),
    [
        (("panels", 0, "options", "colorMode"), "rainbow", "'rainbow' is no BigValueColorMode"),
        (("panels", 0, "gridPos", "w"), "12", "'12' is no int"),
        (("panels", 0, "transparent"), 1, "1 is no bool"),
        (("panels", 0, "fieldConfig", "defaults", "thresholds", "mode"), "relative", "is no ThresholdsMode"),
        (("panels", 6, "transformations", 0, "id"), 6, "6 is no str"),
        (("graphTooltip",), 7, "7 is no DashboardCursorSync"),
        (("tags",), "network", "'network' is no list"),
    ],
)
def test_a_value_of_another_type_or_out_of_an_enum_is_seen(
    board: dict[str, Any], path: tuple[str | int, ...], wrong: object, fault: str
) -> None:
    *way, last = path
    place: Any = board
    for step in way:
        place = place[step]
    place[last] = wrong
    (found,) = misfits(in_the_model(board), Dashboard)
    assert found.endswith(fault)


def test_every_panel_says_what_it_shows_in_which_unit_and_what_is_normal(board: dict[str, Any]) -> None:
    for panel in board["panels"]:
        assert panel["title"], panel["id"]
        assert len(panel["description"]) > 30, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert panel["targets"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]


def test_a_board_is_fixed_by_its_file(board: dict[str, Any]) -> None:
    assert board["uid"].startswith("isochrone-")
    assert board["editable"] is False
    assert board["schemaVersion"] == 42
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_a_variable_asks_again_when_the_time_range_changes(board: dict[str, Any]) -> None:
    first, *queries = board["templating"]["list"]
    assert (first["name"], first["type"]) == ("datasource", "datasource")
    assert {each["refresh"] for each in queries} == {QUERY_REFRESH_ON_TIME_RANGE}


def test_no_cell_is_green_for_what_is_not_known(board: dict[str, Any]) -> None:
    (matrix,) = [panel for panel in board["panels"] if panel.get("transformations")]
    defaults = matrix["fieldConfig"]["defaults"]
    (special,) = [each for each in defaults["mappings"] if each["type"] == "special"]
    assert special["options"]["match"] == "null+nan"
    assert special["options"]["result"]["color"] != "green"
    assert defaults["thresholds"]["steps"][0]["color"] != "green"  # the colour of a value without a mapping


def test_a_variable_never_enters_a_query_unquoted(board: dict[str, Any]) -> None:
    for panel in board["panels"]:
        for target in panel["targets"]:
            sql = target["rawSql"]
            assert sql.count("${") == sql.count(":singlequote}"), panel["title"]
