"""`isochrone spool`: what a probe holds, and asking for a stretch of it again."""

import json
from pathlib import Path

import pytest
from support.spools import HEALTH, TOPIC, fill, manual_clock, noise, pending
from typer.testing import CliRunner

from deploy.cli.main import build
from probes.spool import SpoolConfig, open_spool
from probes.spool_reader import open_reader
from schemas.errors import ConfigError

BEGUN = "2027-01-15T08:00"  # 1,800,000,000 s


def run(*words: str) -> str:
    answer = CliRunner().invoke(build(["spool"]), ["spool", *words], catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    return answer.output


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return a stack's folder: the probe demo/a has sent four of six summaries and dropped some of a former run."""
    clock = manual_clock()
    path = tmp_path / "probes" / "a" / "spool.sqlite"
    with open_spool(path, clock=clock, config=SpoolConfig(max_bytes=1 << 20)) as former:
        fill(former, [noise(30_000, seed) for seed in range(40)])
    clock.advance_s(60)
    with open_spool(path, clock=clock) as spool:
        keys = fill(spool, [b"%d" % number for number in range(6)])
        fill(spool, [b"beat"], HEALTH)
        spool.acknowledge(keys[:4])
    return tmp_path


def test_the_list_says_what_is_sent_what_waits_what_was_dropped_and_how_old_it_is(state: Path) -> None:
    text = run("list", "--state", str(state))
    assert "probes/a/spool.sqlite" in text
    assert "last 5, acknowledged 3" in text
    assert "dropped 0.." in text
    assert "2027-01-15T08:01:00Z" in text
    assert "declared dropped" in text.splitlines()[-1]
    rows = json.loads(run("list", "--state", str(state), "--probe", "demo/a", "--topic", TOPIC, "--json"))
    assert [(row["last_seq"], row["reserve"]) for row in rows] == [(39, 0), (5, 4)]
    assert (rows[1]["acked_seq"], rows[1]["unsent"]) == (3, 2)


@pytest.mark.parametrize("how", ["by time", "by seq"])
def test_f05_resend_marks_the_stretch_and_nothing_else(state: Path, how: str) -> None:
    path = state / "probes" / "a" / "spool.sqlite"
    (held,) = (row for row in json.loads(run("list", "--spool", str(path), "--json")) if row["reserve"] > 0)
    stretch = {
        "by time": ("--topic", TOPIC, "--from", BEGUN, "--until", "2027-01-15T16:02+08:00"),
        "by seq": ("--run", held["spool_id"], "--topic", TOPIC, "--first", "1", "--last", "9"),
    }[how]
    answer = run("resend", "--state", str(state), "--probe", "demo/a", *stretch)
    wanted = 4 if how == "by time" else 3
    assert f"{wanted} records to be sent again" in answer
    with open_reader(path, clock=manual_clock()) as reader:
        again = [row.key.seq for row in reader.pending(99, "backlog") if row.key.spool_id == held["spool_id"]]
    assert again[-wanted:] == list(range(4 - wanted, 4))
    nothing = run("resend", "--spool", str(path), "--run", "nobody")
    assert "the reserve holds nothing of that stretch" in nothing


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (("list", "--spool", "nowhere.db"), "--config"),
        (("list", "--state", "nowhere"), "name the file"),
        (("list", "--probe", "a"), "mesh/name"),
        (("resend", "--spool", "nowhere.db"), "needs a stretch"),
        (("resend", "--spool", "nowhere.db", "--from", "yesterday"), "2026-11-25T03:00"),
    ],
)
def test_a_wrong_word_is_answered_with_the_remedy(words: tuple[str, ...], remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy):
        run(*words)


def test_the_command_works_beside_a_running_agent(state: Path) -> None:
    path = state / "probes" / "a" / "spool.sqlite"
    clock = manual_clock()
    with open_spool(path, clock=clock) as spool, open_reader(path, clock=clock) as reader:
        before = len(pending(reader))
        run("resend", "--spool", str(path), "--from", BEGUN)
        assert len(pending(reader)) == before + 4
        fill(spool, [b"goes on"])
        assert len(pending(reader)) == before + 5
