from typing import Any

import pytest
from starlette.testclient import TestClient
from support.page_rows import ANSWERS

from dashboards.page.app import PageConfig, make_app
from schemas.clock import ManualClock
from schemas.errors import StoreTransientError

TOKEN = "a-token-of-some-length"
NOW_NS = 1_800_000_015 * 10**9


class FixedStore:
    def __init__(self, answers: dict[str, list[dict[str, Any]]], error: Exception | None = None) -> None:
        self.answers = answers
        self.error = error

    def rows(self, query_name: str, /, **params: object) -> list[dict[str, Any]]:
        assert params
        if self.error is not None:
            raise self.error
        return self.answers[query_name]


def client(answers: dict[str, list[dict[str, Any]]] | None = None, error: Exception | None = None) -> TestClient:
    store = FixedStore(answers or ANSWERS, error)
    app = make_app(store, PageConfig(mesh="demo", token=TOKEN, language="en"), ManualClock(NOW_NS))
    return TestClient(app, headers={"authorization": f"Bearer {TOKEN}"})


def test_without_the_token_nothing_is_shown() -> None:
    stranger = client()
    stranger.headers.pop("authorization")
    for path in ("/", "/path", "/static/page.css"):
        assert stranger.get(path).status_code == 401
    assert stranger.get("/?token=wrong").status_code == 401


def test_the_token_moves_from_the_address_into_a_cookie() -> None:
    guest = client()
    guest.headers.pop("authorization")
    answer = guest.get(f"/?token={TOKEN}&lang=zh", follow_redirects=False)
    assert answer.headers["location"] == "/?lang=zh"
    assert "httponly" in answer.headers["set-cookie"].lower()
    assert guest.get("/").status_code == 200


def test_the_page_runs_no_script_and_loads_nothing_from_outside() -> None:
    answer = client().get("/")
    assert "<script" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "script-src" not in answer.headers["content-security-policy"]


@pytest.mark.parametrize(("state", "count"), [("ok", 2), ("down", 1), ("degraded", 2), ("insufficient", 1)])
def test_the_tiles_count_every_stream_once(state: str, count: int) -> None:
    text = client().get("/").text
    tile = text[text.index(f'data-state="{state}"') :][:60]
    assert f"<b>{count}</b>" in tile


def test_a_grey_cell_says_why() -> None:
    text = client().get("/").text
    cell = text[text.index('data-source="dcp-c/telecom" data-destination="cluster-a/telecom"') :][:300]
    assert 'data-state="insufficient" data-reason="probe_dead"' in cell
    assert "probe is silent" in cell


def test_a_pair_without_a_stream_is_a_dash_without_colour() -> None:
    assert '<td class="empty">–</td>' in client().get("/").text


def test_a_probe_never_heard_is_listed_as_never() -> None:
    text = client().get("/").text
    assert "never" in text[text.index('data-probe="demo/never"') :][:120]


def test_a_store_that_is_away_leaves_no_old_colours_on_the_page() -> None:
    answer = client(error=StoreTransientError("query judge_state_now: no answer")).get("/")
    assert answer.status_code == 503
    assert "no answer" in answer.text
    assert "data-state" not in answer.text


def test_the_path_shows_rule_numbers_segments_and_minutes() -> None:
    text = client().get("/path", params={"source": "cluster-b/telecom", "destination": "cluster-a/telecom"}).text
    for part in ("loss_run_ms", "access-a → trunk-a-b", "n 100", "<svg"):
        assert part in text


def test_both_languages_are_there_and_an_unknown_one_is_the_default() -> None:
    page = client()
    assert "网络质量态势" in page.get("/?lang=zh").text
    assert "Network posture" in page.get("/?lang=xx").text


def test_a_hostile_name_stays_text() -> None:
    hostile = [dict(ANSWERS["judge_state_now"][0], source="<img src=x>/telecom", source_node="<img src=x>")]
    assert "<img" not in client(ANSWERS | {"judge_state_now": hostile}).get("/").text
