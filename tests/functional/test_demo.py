"""The main job, whole: the demo itself, shortened and with kills, held to every bar that it prints."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.lab import namespaces

SECONDS = 30
DEADLINE_S = 420
pytestmark = [
    pytest.mark.needs_net,
    pytest.mark.alone,
    pytest.mark.needs_broker,
    pytest.mark.needs_engine,
    pytest.mark.timeout(DEADLINE_S + 60),
]
PARTS = ("worker", "kafka", "clickhouse", "probe-telecom-north")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Return where a demo ran, and what it said."""
    home = tmp_path_factory.mktemp("demo")
    words = [sys.executable, "-m", "deploy.cli.main", "demo", "--seconds", str(SECONDS), "--kills"]
    root = Path(__file__).parents[2]
    said = subprocess.run(
        words,
        cwd=home,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    return home, said


@pytest.fixture(scope="module")
def result(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> dict[str, Any]:
    home, said = demo
    assert (home / "demo.json").exists(), said.stdout[-3000:] + said.stderr[-3000:]
    found: dict[str, Any] = json.loads((home / "demo.json").read_text())
    return found


def test_every_bar_of_the_demo_holds(
    demo: tuple[Path, subprocess.CompletedProcess[str]], result: dict[str, Any]
) -> None:
    assert demo[1].returncode == 0, f"{demo[1].stdout[-4000:]}\n{result}"


def test_nothing_is_lost_and_nothing_counted_twice_although_four_parts_were_killed(result: dict[str, Any]) -> None:
    assert result["residual"] == 0
    assert result["summaries_stored"] == result["summaries_produced"] > 0
    assert result["loss_equals_ledger"] is True
    assert result["packets_compared"] == result["packets_sent"] > 100_000
    assert {part: result["restarts"].get(part, 0) >= 1 for part in PARTS} == dict.fromkeys(PARTS, True)


def test_a_cut_is_one_alarm_that_names_the_link_and_a_dead_probe_is_none_of_the_network(
    result: dict[str, Any],
) -> None:
    assert (result["network_alarms"], result["probe_alarms"], result["cause_named"]) == (1, 1, True)
    assert result["packets_lost"] > 0
    assert result["grey_streams"] == result["grey_streams_wanted"] > 0


def test_the_demo_leaves_the_page_and_the_report_and_no_namespace(
    demo: tuple[Path, subprocess.CompletedProcess[str]], result: dict[str, Any]
) -> None:
    home, said = demo
    assert 'class="matrix"' in (home / result["page_html"]).read_text()
    assert (home / result["report_pdf"]).read_bytes().startswith(b"%PDF")
    assert "posture page: http://127.0.0.1:" in said.stdout
    assert namespaces.remove_stale() == []


def test_the_numbers_of_the_report_are_had_again_from_the_store(result: dict[str, Any]) -> None:
    assert result["report_recomputed"] is True
