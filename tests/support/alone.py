"""Several test processes on one machine, and a test that measures time has it to itself.

What is marked `alone` runs while no test of another process does; all others run side by side. Whoever comes first to
the gate is next at the floor, so that a test which waits for an empty floor is not overtaken for ever. Who has the
floor alone keeps it for the next test that wants it alone: each emptying costs the rest of somebody's test.
"""

import fcntl
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.children import wait_for

DEADLINE_S = 900.0  # more than the longest test takes


class Floor:
    """Where the tests of all processes run; the locks are the kernel's, so a process that dies frees what it held."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held = ExitStack()
        self._is_mine = False

    def enter(self, *, alone: bool) -> None:
        """Come onto the floor, with others or without; who has it alone already is there."""
        if self._is_mine and alone:
            return
        self.leave()
        with (self._folder / "gate.lock").open("w") as gate:
            lock(gate.fileno(), fcntl.LOCK_EX, "its turn")
            floor = self._held.enter_context((self._folder / "floor.lock").open("w"))
            lock(floor.fileno(), fcntl.LOCK_EX if alone else fcntl.LOCK_SH, "an empty floor" if alone else "the floor")
        self._is_mine = alone

    def leave(self) -> None:
        """Make room; closing a file gives its lock back."""
        self._held.close()
        self._is_mine = False


def lock(handle: int, how: int, what: str) -> None:
    """Take a lock; fail by name when another process keeps it longer than any test may run."""

    def is_taken() -> bool:
        try:
            fcntl.flock(handle, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    wait_for(f"{what} among the test processes", is_taken, DEADLINE_S)


FLOOR = pytest.StashKey[Floor]()


def pytest_configure(config: pytest.Config) -> None:
    """Know the floor that the processes of this run share."""
    if hasattr(config, "workerinput"):  # else one process: it has the floor
        config.stash[FLOOR] = Floor(Path(config.option.basetemp).parent)


@pytest.hookimpl(wrapper=True, tryfirst=True)  # outside the timeout's own wrapper: who waits does not run yet
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """Hold the floor for the whole life of a test, its fixtures included."""
    floor = item.config.stash.get(FLOOR, None)
    if floor is None:
        return (yield)
    floor.enter(alone=is_alone(item))
    try:
        return (yield)
    finally:
        if not (is_alone(item) and is_alone(nextitem)):
            floor.leave()


def is_alone(item: pytest.Item | None) -> bool:
    """Return whether a test wants the machine to itself; where none follows, nobody does."""
    return item is not None and item.get_closest_marker("alone") is not None
