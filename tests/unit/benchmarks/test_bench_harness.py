import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from benchmarks import harness
from benchmarks.harness import Bench, bench_names, line_of, medians, percentile, run_bench
from benchmarks.usage import first_core, on_cores, other_cores, usage

BURN = """
import sys, time
while time.process_time() < 0.3: pass
print(flush=True)
sys.stdin.read()
"""


def silent(_: str) -> None:
    """Say nothing."""


def test_a_bar_holds_on_its_edge_and_not_beyond() -> None:
    def measure(bench: Bench) -> None:
        bench.at_least("rate", 50_000, "summaries/s", 50_000)
        bench.at_least("rate", 49_999, "summaries/s", 50_000)
        bench.at_most("p99", 3.0, "s", 3)
        bench.at_most("p99", 3.1, "s", 3)
        bench.equal("lost", 0, "summaries", 0)
        bench.equal("lost", 1, "summaries", 0)

    assert [bar.holds for bar in run_bench("b", {"all": measure}, [], silent).bars] == [True, False] * 3


def test_a_figure_that_stands_beside_is_held_to_nothing() -> None:
    bars = run_bench("b", {"all": lambda bench: bench.beside("broker", 1.23456, "s")}, [], silent).bars
    assert (bars[0].bar, bars[0].holds, bars[0].figure) == (None, True, 1.235)
    assert line_of(bars[0]) == "broker: 1.235 s"


def test_a_figure_of_a_bar_is_judged_before_it_is_rounded() -> None:
    bars = run_bench("b", {"all": lambda bench: bench.at_most("ratio", 1.60004, "x", 1.6)}, [], silent).bars
    assert (bars[0].figure, bars[0].holds) == (1.6, False)


def test_only_the_named_sections_run_and_in_their_order() -> None:
    sections = {name: (lambda bench, name=name: bench.beside(name, 1, "x")) for name in ("a", "b", "c")}
    assert [bar.what for bar in run_bench("b", sections, ["c", "a"], silent).bars] == ["a", "c"]


def test_a_section_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(ValueError, match="no section rat; it has rate"):
        run_bench("stream", {"rate": lambda _: None}, ["rat"], silent)


def test_a_run_that_measured_nothing_is_no_success() -> None:
    with pytest.raises(ValueError, match="measured nothing"):
        run_bench("stream", {"rate": lambda _: None}, [], silent)


def test_a_section_that_fails_is_a_bar_not_held_and_the_others_are_told() -> None:
    said: list[str] = []

    def fails(_: Bench) -> None:
        raise TimeoutError("waited 30 s for the last message")

    sections = {"kills": fails, "rate": lambda bench: bench.beside("rate", 1, "x")}
    bars = run_bench("b", sections, [], said.append).bars
    assert [(bar.what, bar.holds) for bar in bars] == [
        ("kills: measured to its end (TimeoutError)", False),
        ("rate", True),
    ]
    assert "waited 30 s for the last message" in "".join(said)


def test_what_sections_share_is_opened_once_and_closed_at_the_end() -> None:
    seen: list[str] = []

    @contextmanager
    def world() -> Iterator[str]:
        seen.append("open")
        yield "world"
        seen.append("closed")

    def measure(bench: Bench) -> None:
        seen.append(bench.shared("world", world))
        bench.beside("x", 1, "x")

    run_bench("b", {"a": measure, "b": measure}, [], silent)
    assert seen == ["open", "world", "world", "closed"]


def test_runs_take_turns_and_the_median_is_told() -> None:
    turns: list[str] = []
    figures = {"ours": iter((1.0, 9.0, 2.0)), "peer": iter((3.0, 4.0, 5.0))}

    def run(name: str) -> float:
        turns.append(name)
        return next(figures[name])

    assert medians({"ours": lambda: run("ours"), "peer": lambda: run("peer")}) == {"ours": 2.0, "peer": 4.0}
    assert turns == ["ours", "peer"] * 3


@pytest.mark.parametrize(("q", "figure"), [(0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100), (0.0, 1)])
def test_a_percentile_is_one_of_the_figures(q: float, figure: float) -> None:
    assert percentile(list(range(100, 0, -1)), q) == figure


def test_the_machine_is_told_without_its_name_or_paths() -> None:
    told = harness.machine()
    assert told["cores"] == len(os.sched_getaffinity(0))
    assert os.uname().nodename not in map(str, told.values())
    assert not any("/" in str(value) for value in told.values())


def test_the_result_is_one_line_kept_in_a_file_and_the_exit_code_is_the_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for figure, code in ((2, 0), (1, 1)):
        found = run_bench("b", {"all": partial(Bench.at_least, what="x", figure=figure, unit="u", least=2)}, [], silent)
        assert harness._tell(found, tmp_path / "bench" / "b.json") == code
        line = capsys.readouterr().out.splitlines()[-1]
        assert (tmp_path / "bench" / "b.json").read_text() == line + "\n"
        told = json.loads(line)
        assert set(told) == {"bench", "machine", "bars"}
        assert told["bars"] == [{"what": "x", "figure": figure, "unit": "u", "bar": ">= 2", "holds": code == 0}]


def test_a_bench_is_a_module_with_sections() -> None:
    assert "harness" not in bench_names()


def test_the_cost_of_a_process_is_its_cpu_time_and_memory() -> None:
    with subprocess.Popen([sys.executable, "-c", BURN], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        used = usage(child.pid)
        child.communicate()
    assert 0.2 <= used.cpu_s < 2
    assert 0 < used.rss_bytes <= used.peak_bytes
    with pytest.raises(ProcessLookupError, match="has ended"):
        usage(child.pid)


def test_a_child_started_in_the_block_stays_on_its_cores() -> None:
    asked = "import os; print(len(os.sched_getaffinity(0)))"
    before = os.sched_getaffinity(0)
    with on_cores(first_core()):
        answer = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout
    assert answer.strip() == "1"
    assert os.sched_getaffinity(0) == before
    assert len(before) == 1 or not first_core() & other_cores()
