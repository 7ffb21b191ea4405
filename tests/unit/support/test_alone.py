"""Who shares the floor, who has it alone, and that nobody is overtaken for ever."""

import fcntl
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from support.alone import Floor
from support.children import wait_for


def entering(floor: Floor, *, alone: bool, then: Callable[[], None]) -> threading.Thread:
    """Ask for the floor in a thread; `then` is called on it."""

    def run() -> None:
        with floor.taken(alone=alone):
            then()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def test_others_share_the_floor(tmp_path: Path) -> None:
    with Floor(tmp_path).taken(alone=False), Floor(tmp_path).taken(alone=False):
        pass


def test_who_measures_waits_for_an_empty_floor_and_who_comes_later_waits_behind(tmp_path: Path) -> None:
    order: list[str] = []
    with ExitStack() as first:
        first.enter_context(Floor(tmp_path).taken(alone=False))
        threads = [entering(Floor(tmp_path), alone=True, then=lambda: order.append("alone"))]
        wait_for("the gate to be held", lambda: is_held(tmp_path / "gate.lock"))
        threads.append(entering(Floor(tmp_path), alone=False, then=lambda: order.append("later")))
        threads[1].join(0.2)
        assert order == []
    for thread in threads:
        thread.join(10.0)
    assert order == ["alone", "later"]


def is_held(path: Path) -> bool:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
