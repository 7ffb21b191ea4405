"""The frame of a benchmark: sections by name, bars that hold or do not, one line of JSON at the end.

A bench is a module `benchmarks.NAME` with `SECTIONS`: functions by name, run in that order, each given the `Bench`.
Progress goes to stderr; the last line of stdout is the result, which is kept in `bench/` too.
"""

import argparse
import importlib
import logging
import os
import platform
import signal
import statistics
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import structlog

from deploy.embedded.kafka.java import find_java
from schemas.clock import Clock, SystemClock

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "bench"
HELD, NOT_HELD = 0, 1

T = TypeVar("T")


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One figure: `bar` is what it is held to, as `>= 50000`, or None where it only stands beside; then it holds."""

    what: str
    figure: float
    unit: str
    bar: str | None
    holds: bool


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a run says in the end."""

    bench: str
    machine: dict[str, str | int | float | None]
    bars: list[Bar]


class Bench:
    """A run under way: takes figures, keeps what several sections share until the end, says how far it is."""

    def __init__(self, say: Callable[[str], None], clock: Clock) -> None:
        self.bars: list[Bar] = []
        self.clock = clock
        self._say = say
        self._begun_ns = clock.mono_ns()
        self._open = ExitStack()
        self._shared: dict[str, Any] = {}

    def __enter__(self) -> "Bench":
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def say(self, text: str) -> None:
        """Print one line of progress, stamped with the seconds since the start."""
        self._say(f"{(self.clock.mono_ns() - self._begun_ns) / 1e9:7.1f} s  {text}")

    def shared(self, name: str, make: Callable[[], AbstractContextManager[T]]) -> T:
        """Return what `make` opens; it is opened by the first who asks and closed at the end of the run."""
        if name not in self._shared:
            self._shared[name] = self._open.enter_context(make())
        found: T = self._shared[name]
        return found

    def at_least(self, what: str, figure: float, unit: str, least: float) -> None:
        """Take a figure that must not be smaller than `least`."""
        self._take(what, figure, unit, f">= {least:g}", holds=figure >= least)

    def at_most(self, what: str, figure: float, unit: str, most: float) -> None:
        """Take a figure that must not be larger than `most`."""
        self._take(what, figure, unit, f"<= {most:g}", holds=figure <= most)

    def equal(self, what: str, figure: float, unit: str, wanted: float) -> None:
        """Take a figure that must be exactly `wanted`."""
        self._take(what, figure, unit, f"= {wanted:g}", holds=figure == wanted)

    def beside(self, what: str, figure: float, unit: str) -> None:
        """Take a figure that is told and held to nothing."""
        self._take(what, figure, unit, None, holds=True)

    def _take(self, what: str, figure: float, unit: str, bar: str | None, *, holds: bool) -> None:
        made = Bar(
            what=what,
            figure=float(f"{figure:.4g}") if abs(figure) < 1000 else round(figure),
            unit=unit,
            bar=bar,
            holds=holds,
        )
        self.bars.append(made)
        self.say(line_of(made))


Section = Callable[[Bench], None]


def line_of(bar: Bar) -> str:
    """Return a bar as a person reads it."""
    held = "" if bar.bar is None else f"  (bar {bar.bar}: {'holds' if bar.holds else 'NOT HELD'})"
    return f"{bar.what}: {bar.figure:,.10g} {bar.unit}{held}"


def medians(runs: Mapping[str, Callable[[], float]], *, rounds: int = 3) -> dict[str, float]:
    """Return the median figure of each run; they take turns, so that a busy minute of the machine hits all of them."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            found[name].append(run())
    return {name: statistics.median(figures) for name, figures in found.items()}


def percentile(figures: Sequence[float], q: float) -> float:
    """Return the smallest figure that at least the share `q` of them does not exceed.

    Raises:
        ValueError: no figures.
    """
    if len(figures) == 0:
        raise ValueError("no figures to rank")
    ranked = sorted(figures)
    return next(each for rank, each in enumerate(ranked, 1) if rank >= q * len(ranked))


def machine() -> dict[str, str | int | float | None]:
    """Return what the figures depend on; no name of the host, no path. The load is of the last minute, at the start."""
    java = find_java()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _cpu_model(),
        "memory_gib": round(memory / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "java": None if java is None else java.version,
        "load_1m": round(os.getloadavg()[0], 2),
    }


def run_bench(name: str, sections: Mapping[str, Section], only: Sequence[str], say: Callable[[str], None]) -> Result:
    """Run the sections named by `only`, or all of them, and return the result.

    Raises:
        ValueError: a section that there is not, or a run that measured nothing.
    """
    unknown = sorted(set(only) - set(sections))
    if unknown:
        raise ValueError(f"{name} has no section {', '.join(unknown)}; it has {', '.join(sections)}")
    described = machine()
    with Bench(say, SystemClock()) as bench:
        for section, measure in sections.items():
            if not only or section in only:
                bench.say(f"{name}: {section}")
                _measured(bench, section, measure)
    if not bench.bars:
        raise ValueError(f"{name} measured nothing")
    return Result(bench=name, machine=described, bars=bench.bars)


def _measured(bench: Bench, section: str, measure: Section) -> None:
    """Run a section; one that fails is a bar that is not held, and what the others measured is told all the same."""
    try:
        measure(bench)
    except Exception as err:  # noqa: BLE001 - whatever it is, it is told and the run ends with 1
        bench.say("".join(traceback.format_exception(err)))
        bench.equal(f"{section}: measured to its end ({type(err).__name__})", 0, "sections", 1)


def bench_names() -> list[str]:
    """Return the benches: the modules of this folder that have sections."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return [file.stem for file in files if "\nSECTIONS" in file.read_text(encoding="utf-8")]


def main(arguments: Sequence[str]) -> int:
    """Run `NAME [--only SECTION,...]`; return 0 when every bar is held, 1 when one is not."""
    parser = argparse.ArgumentParser(prog="benchmarks", description="Measure, and hold the figures to their bars.")
    parser.add_argument("name", choices=bench_names())
    parser.add_argument("--only", default="", metavar="SECTIONS", help="some sections, with commas between")
    asked = parser.parse_args(arguments)
    sections: Mapping[str, Section] = importlib.import_module(f"benchmarks.{asked.name}").SECTIONS
    only = [section for section in asked.only.split(",") if section != ""]
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that folders are removed
    try:
        result = run_bench(asked.name, sections, only, lambda text: print(text, file=sys.stderr, flush=True))  # noqa: T201
    except ValueError as err:
        parser.error(str(err))
    return _tell(result, FOLDER / f"{'-'.join([asked.name, *only])}.json")


def _tell(result: Result, path: Path) -> int:
    line = msgspec.json.encode(result).decode()
    path.parent.mkdir(exist_ok=True)
    path.write_text(line + "\n", encoding="utf-8")
    print(line, flush=True)  # noqa: T201 - the last line is the contract
    return HELD if all(bar.holds for bar in result.bars) else NOT_HELD


def _cpu_model() -> str | None:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    models = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return models[0] if models else None
