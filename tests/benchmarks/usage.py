"""What a process costs, by /proc, and on which cores it runs. Linux only."""

import os
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

PROC: Final = Path("/proc")
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_CORES: Final = frozenset(os.sched_getaffinity(0))  # of the whole run, whatever its threads are held to later


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """CPU time since the start of a process, of all its threads, and its resident memory: now, and at its peak."""

    cpu_s: float
    rss_bytes: int
    peak_bytes: int


def usage(pid: int, proc: Path = PROC) -> Usage:
    """Return what a process has used so far; its children are not counted.

    Raises:
        ProcessLookupError: there is no such process, or it has ended.
    """
    try:
        stat = (proc / str(pid) / "stat").read_text()
        status = (proc / str(pid) / "status").read_text()
    except OSError as err:
        raise ProcessLookupError(f"process {pid} has ended") from err
    after_name = stat.rpartition(")")[2].split()  # from the 3rd field on: a name may hold spaces
    sizes = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    if "VmRSS" not in sizes:
        raise ProcessLookupError(f"process {pid} has ended")
    return Usage(
        cpu_s=(int(after_name[11]) + int(after_name[12])) / _TICKS_PER_S,
        rss_bytes=int(sizes["VmRSS"].split()[0]) * 1024,
        peak_bytes=int(sizes["VmHWM"].split()[0]) * 1024,
    )


@contextmanager
def on_cores(cores: Set[int]) -> Iterator[None]:
    """Let this thread, and every process that it starts in the block, run on these cores alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def first_core() -> frozenset[int]:
    """Return the core for what is measured."""
    return frozenset({min(_CORES)})


def other_cores() -> frozenset[int]:
    """Return the cores for everything beside it: the same one where there is no other."""
    return _CORES - first_core() or first_core()
