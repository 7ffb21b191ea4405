import re

import pytest
from support.report_rows import FakeRows, silent_row, snapshot, stream_row

from dashboards.reports.render import html_text, load_snapshot
from dashboards.reports.snapshot import ReportRequest, read_snapshot, snapshot_hash
from dashboards.words import LANGUAGES, Language, words
from schemas.errors import ConfigError


def test_every_language_has_the_same_words() -> None:
    assert words("zh").keys() == words("en").keys()


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_report_names_its_snapshot_its_queries_and_its_silent_streams(language: Language) -> None:
    rows = snapshot([stream_row("a", "b", lost_forward=6), silent_row("b", "a")])
    text = html_text(rows, language)
    assert snapshot_hash(rows) in text
    assert "report_streams" in text
    assert "kpi_1m_latest" in text
    assert "b/telecom" in text
    assert words(language)["report_silent"] in text


def test_a_hostile_name_is_text_and_never_markup() -> None:
    text = html_text(snapshot([stream_row("<script>alert(1)</script>", "b", lost_forward=60)]), "en")
    assert "<script" not in text


def test_an_all_lost_stream_shows_a_dash_where_its_quantiles_lie_among_the_lost() -> None:
    lost = stream_row("a", "b", received=0, lost_forward=600, delay_bin=[], delay_count=[], ipdv_pairs=0)
    row = re.search(r"<tr><td class=\"t\">a/telecom.*?</tr>", html_text(snapshot([lost]), "en"), re.DOTALL)
    assert row is not None
    assert row.group().count("<td>–</td>") == 4


def test_the_hash_follows_every_number_and_not_the_order_of_keys() -> None:
    one = stream_row("a", "b")
    assert snapshot_hash(snapshot([one])) == snapshot_hash(snapshot([dict(reversed(one.items()))]))
    assert snapshot_hash(snapshot([one])) != snapshot_hash(snapshot([one | {"lost_forward": 1}]))


@pytest.mark.parametrize(("from_s", "until_s"), [(1, 60), (0, 61), (60, 60), (120, 60)])
def test_a_period_that_would_cut_a_window_is_refused(from_s: int, until_s: int) -> None:
    with pytest.raises(ConfigError, match="whole minutes"):
        read_snapshot(FakeRows({}), ReportRequest(mesh="demo", from_s=from_s, until_s=until_s))


def test_a_mesh_that_was_never_in_force_is_named() -> None:
    with pytest.raises(ConfigError, match=r"mesh 'demo'.*mesh apply"):
        read_snapshot(FakeRows({}), ReportRequest(mesh="demo", from_s=0, until_s=60))


def test_drills_are_asked_for_apart_from_real_incidents() -> None:
    store = FakeRows({"report_mesh": [{"version": "v", "timezone": "UTC"}]})
    read_snapshot(store, ReportRequest(mesh="demo", from_s=0, until_s=60))
    (params,) = [params for name, params in store.asked if name == "report_incidents"]
    assert params["exercise"] == 0


def test_a_file_that_is_no_snapshot_is_refused_with_its_name() -> None:
    with pytest.raises(ConfigError, match=r"x\.json"):
        load_snapshot(b"{}", source="x.json")
