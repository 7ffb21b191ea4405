"""Who shares the floor, who has it alone, and that nobody is overtaken for ever."""

import fcntl
import threading
from collections.abc import Callable
from pathlib import Path

from support.alone import Floor
from support.children import wait_for


def entering(folder: Path, *, alone: bool, then: Callable[[], None]) -> threading.Thread:
    """Ask for the floor in a thread; `then` is called on it."""

    def run() -> None:
        floor = Floor(folder)
        floor.enter(alone=alone)
        then()
        floor.leave()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def test_others_share_the_floor(tmp_path: Path) -> None:
    floors = Floor(tmp_path), Floor(tmp_path)
    for floor in floors:
        floor.enter(alone=False)
    for floor in floors:
        floor.leave()


def test_who_measures_waits_for_an_empty_floor_and_who_comes_later_waits_behind(tmp_path: Path) -> None:
    order: list[str] = []
    first = Floor(tmp_path)
    first.enter(alone=False)
    threads = [entering(tmp_path, alone=True, then=lambda: order.append("alone"))]
    wait_for("the gate to be held", lambda: is_held(tmp_path / "gate.lock"))
    threads.append(entering(tmp_path, alone=False, then=lambda: order.append("later")))
    threads[1].join(0.2)
    assert order == []
    first.leave()
    for thread in threads:
        thread.join(10.0)
    assert order == ["alone", "later"]


def test_who_is_alone_stays_so_and_shares_when_asked(tmp_path: Path) -> None:
    floor = Floor(tmp_path)
    floor.enter(alone=True)
    floor.enter(alone=True)
    assert is_held(tmp_path / "floor.lock")
    floor.enter(alone=False)
    other = Floor(tmp_path)
    other.enter(alone=False)
    assert is_held(tmp_path / "floor.lock")
    floor.leave()
    other.leave()
    assert not is_held(tmp_path / "floor.lock")


def is_held(path: Path) -> bool:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
