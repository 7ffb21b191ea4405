import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, sync_playwright
from support.browser import FLAGS, chromium
from support.page_rows import ANSWERS

from dashboards.page.app import PageConfig, make_app
from dashboards.page.serve import _listen
from schemas.clock import ManualClock

pytestmark = pytest.mark.needs_browser

TOKEN = "a-token-of-some-length"
START_DEADLINE_S = 10
HOUR_S = 3600


class FixedStore:
    def rows(self, query_name: str, /, **_: object) -> list[dict[str, Any]]:
        return ANSWERS[query_name]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    app = make_app(
        FixedStore(), PageConfig(mesh="demo", token=TOKEN, language="zh"), ManualClock(1_800_000_015 * 10**9)
    )
    listener = _listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    until_s = time.monotonic() + START_DEADLINE_S
    while not server.started:
        assert time.monotonic() < until_s, "waited for the page to listen"
        time.sleep(0.02)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(START_DEADLINE_S)
    listener.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Yield a tab of its own, with cookies of its own: nothing of another test is still loading in it."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    yield context.new_page()
    context.close()


def test_the_token_opens_the_page_and_leaves_the_address(page: Page, address: str) -> None:
    page.goto(f"{address}/?token={TOKEN}")
    assert page.url == f"{address}/"
    assert "网络质量态势" in page.title()


def colour(page: Page, selector: str) -> str:
    return str(page.locator(selector).first.evaluate("cell => getComputedStyle(cell).backgroundColor"))


def test_each_state_has_a_colour_of_its_own_and_grey_is_not_green(page: Page, address: str) -> None:
    page.goto(f"{address}/?token={TOKEN}")
    colours = {
        state: colour(page, f'.matrix td[data-state="{state}"]') for state in ("down", "degraded", "insufficient")
    }
    green = colour(page, '.tile[data-state="ok"]')
    assert len({*colours.values(), green, "rgba(0, 0, 0, 0)"}) == 5
    assert colour(page, ".matrix td.empty") == "rgba(0, 0, 0, 0)"


def test_a_state_is_readable_without_its_colour(page: Page, address: str) -> None:
    page.goto(f"{address}/?token={TOKEN}")
    assert page.locator('.matrix td[data-state="down"]').inner_text() == "✕"
    assert "?" in page.locator('.matrix td[data-state="insufficient"]').inner_text()


def test_a_cell_leads_to_its_path_and_back(page: Page, address: str) -> None:
    page.goto(f"{address}/?token={TOKEN}")
    page.click('.matrix td[data-state="down"] a')
    assert "cluster-b/telecom → cluster-a/telecom" in page.inner_text("h1")
    assert page.locator("svg path").count() == 1
    page.click("text=English")
    assert "cluster-b/telecom → cluster-a/telecom" in page.inner_text("h1")
    page.click("text=back to the posture")
    assert page.locator(".matrix").count() > 0


def test_nothing_is_blocked_or_broken_in_the_browser(page: Page, address: str, tmp_path: Path) -> None:
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("requestfailed", lambda request: faults.append(request.url))
    page.goto(f"{address}/?token={TOKEN}&lang=en")
    page.screenshot(path=str(tmp_path / "page.png"), full_page=True)
    assert faults == []
