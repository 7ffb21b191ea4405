"""Several test processes on one machine, and a test that measures time has it to itself.

What is marked `alone`, or `needs_net` (packets in namespaces, whose times are looked at), runs while no test of another
process does; all others run side by side. Whoever comes first to
the gate is next at the floor, so that a test which waits for an empty floor is not overtaken for ever.
"""

import fcntl
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.children import wait_for

ALONE = ("alone", "needs_net")
DEADLINE_S = 900.0  # more than the longest test takes


class Floor:
    """Where the tests of all processes run; the locks are the kernel's, so a process that dies frees what it held."""

    def __init__(self, folder: Path) -> None:
        self._gate = folder / "gate.lock"
        self._floor = folder / "floor.lock"

    @contextmanager
    def taken(self, *, alone: bool) -> Iterator[None]:
        """Be on the floor while the block lasts, with others or without."""
        with self._gate.open("w") as gate, self._floor.open("w") as floor:
            lock(gate.fileno(), fcntl.LOCK_EX, "its turn")
            lock(floor.fileno(), fcntl.LOCK_EX if alone else fcntl.LOCK_SH, "an empty floor" if alone else "the floor")
            fcntl.flock(gate, fcntl.LOCK_UN)
            yield


def lock(handle: int, how: int, what: str) -> None:
    """Take a lock; fail by name when another process keeps it longer than any test may run."""

    def is_taken() -> bool:
        try:
            fcntl.flock(handle, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    wait_for(f"{what} among the test processes", is_taken, DEADLINE_S)


@pytest.hookimpl(wrapper=True, tryfirst=True)  # outside the timeout's own wrapper: who waits does not run yet
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Hold the floor for the whole life of a test, its fixtures included."""
    if not hasattr(item.config, "workerinput"):  # one process: it has the floor
        return (yield)
    shared = Path(item.config.option.basetemp).parent
    with Floor(shared).taken(alone=any(item.get_closest_marker(mark) for mark in ALONE)):
        return (yield)
