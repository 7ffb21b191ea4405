"""`isochrone lab` as a person uses it: up in one terminal, everything else from another."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deploy.lab.netns import NETNS_DIR

pytestmark = pytest.mark.needs_net

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "deploy" / "lab" / "example.toml"
DEADLINE_S = 30.0


def command(*words: str) -> list[str]:
    return [sys.executable, "-c", "from deploy.cli.main import run; run()", "lab", *words]


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command(*words), cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[tuple[Path, dict[str, Any], "subprocess.Popen[bytes]"]]:
    folder = tmp_path / "run"
    with subprocess.Popen(
        command("up", str(EXAMPLE), "--run-dir", str(folder), "--json"), cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        try:
            yield folder, msgspec.json.decode(process.stdout.readline()), process
        finally:
            process.terminate()
            process.wait(DEADLINE_S)


def left_of(described: dict[str, Any]) -> list[str]:
    return [entry.name for entry in NETNS_DIR.iterdir() if described["run_id"] in entry.name]


def test_a_lab_is_impaired_read_and_ended_from_another_terminal(
    lab: tuple[Path, dict[str, Any], "subprocess.Popen[bytes]"],
) -> None:
    folder, described, process = lab
    assert len(left_of(described)) == 4
    cut = run("impair", "shanghai-hangzhou", "cut=true", "loss_ratio=0.5", "--run-dir", str(folder), "--json")
    assert msgspec.json.decode(cut.stdout)["changed"] == {"cut": True, "loss_ratio": 0.5}
    seen = msgspec.json.decode(run("ledger", "--run-dir", str(folder), "--json").stdout)
    rules = {link["name"]: link["forward"] for link in seen["links"]}
    assert rules["shanghai-hangzhou"]["cut"]
    assert rules["shanghai-hangzhou"]["rate_bps"] == 10_000_000
    assert not rules["beijing-shanghai"]["cut"]
    assert run("down", "--run-dir", str(folder)).returncode == 0
    assert process.wait(DEADLINE_S) == 0
    assert left_of(described) == []


def test_a_signal_ends_a_lab_and_leaves_nothing(lab: tuple[Path, dict[str, Any], "subprocess.Popen[bytes]"]) -> None:
    _, described, process = lab
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE_S) == 0
    assert left_of(described) == []


def test_a_killed_holder_leaves_a_lab_that_down_removes(
    lab: tuple[Path, dict[str, Any], "subprocess.Popen[bytes]"],
) -> None:
    folder, described, process = lab
    process.kill()
    process.wait(DEADLINE_S)
    assert run("down", "--run-dir", str(folder)).returncode == 0
    assert left_of(described) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("up", "nowhere.toml"), "nowhere.toml: cannot be read"),
        (("impair", "x", "cut"), "not NAME=VALUE"),
        (("ledger", "--run-dir", "."), "is the lab up?"),
        (("down", "--run-dir", "."), "no lab was ever up here"),
    ],
)
def test_a_mistake_is_one_line_with_the_remedy(words: tuple[str, ...], said: str) -> None:
    failed = run(*words)
    assert failed.returncode == 2
    assert said in failed.stderr
    assert failed.stderr.count("\n") == 1
