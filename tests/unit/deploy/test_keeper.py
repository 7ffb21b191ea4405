"""The restart rule, by a clock that moves when told to."""

import dataclasses
from pathlib import Path

import pytest
from support.children import child

from deploy.child import Kernel
from deploy.keeper import Keeper
from schemas.clock import ManualClock


class Process:
    """Stands for a child that ends when the test says so."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.ended = False


class FakeKernel:
    """Starts nothing and remembers what it was asked to start."""

    def __init__(self) -> None:
        self.started: list[Process] = []

    def spawn(self, *_: object, **__: object) -> Process:
        self.started.append(Process(len(self.started) + 1))
        return self.started[-1]

    def as_kernel(self) -> Kernel:
        return Kernel(
            spawn=self.spawn,  # type: ignore[arg-type]
            has_ended=lambda process: process.ended,  # type: ignore[attr-defined]
            reap=lambda _: 3,
        )


@pytest.fixture
def kernel() -> FakeKernel:
    return FakeKernel()


def restart_delays_ms(keeper: Keeper, clock: ManualClock, started: list[Process], deaths: int) -> list[int]:
    """Let it die `deaths` times at once after each start; return how long each restart took, to 50 ms."""
    delays = []
    for _ in range(deaths):
        started[-1].ended = True
        keeper.step()
        before, count = clock.mono_ns(), len(started)
        while len(started) == count:
            clock.advance_s(0.05)
            keeper.step()
        delays.append(round((clock.mono_ns() - before) / 1e6))
    return delays


def test_restarts_wait_twice_as_long_each_time_up_to_five_seconds(kernel: FakeKernel, tmp_path: Path) -> None:
    clock = ManualClock()
    keeper = Keeper(child("part", "", tmp_path), clock, kernel.as_kernel())
    keeper.start()
    assert restart_delays_ms(keeper, clock, kernel.started, 7) == [200, 400, 800, 1600, 3200, 5000, 5000]
    assert keeper.status().restarts == 7


def test_a_part_that_was_steady_starts_its_backoff_anew(kernel: FakeKernel, tmp_path: Path) -> None:
    clock = ManualClock()
    keeper = Keeper(child("part", "", tmp_path), clock, kernel.as_kernel())
    keeper.start()
    restart_delays_ms(keeper, clock, kernel.started, 3)
    keeper.step()  # ready
    clock.advance_s(30.0)
    keeper.step()
    assert restart_delays_ms(keeper, clock, kernel.started, 1) == [200]


def test_a_restarted_part_that_is_not_ready_in_time_is_ended_and_tried_again(
    kernel: FakeKernel, tmp_path: Path
) -> None:
    clock = ManualClock()
    keeper = Keeper(child("part", "", tmp_path, ready=lambda: False, ready_deadline_s=2.0), clock, kernel.as_kernel())
    keeper.start()
    clock.advance_s(2.0)
    keeper.step()
    assert keeper.status().state == "backing_off"
    assert keeper.status().last_exit == "exit code 3 (not ready within 2 s)"
    assert len(kernel.started) == 1


def test_an_exit_that_a_restart_cannot_mend_is_no_crash_loop(kernel: FakeKernel, tmp_path: Path) -> None:
    clock = ManualClock()
    part = dataclasses.replace(child("part", "", tmp_path), final_codes=frozenset({3}))
    keeper = Keeper(part, clock, kernel.as_kernel())
    keeper.start()
    kernel.started[-1].ended = True
    for _ in range(400):
        keeper.step()
        clock.advance_s(0.05)
    assert len(kernel.started) == 1
    assert (keeper.status().state, keeper.status().last_exit) == ("ended", "exit code 3")
