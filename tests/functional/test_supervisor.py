"""Real children, real signals: what starts is ready in order, what dies returns, what ends leaves nothing behind."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support.children import child, is_running, wait_for

from deploy.supervise import Supervisor
from schemas.errors import ConfigError, UnavailableError

SLEEP = "import time; time.sleep(60)"
GRANDCHILD = """
import subprocess, sys
process = subprocess.Popen([sys.executable, "-c", {sleep!r}])
print(process.pid, flush=True)
process.wait()
"""
OWNER = """
import time
from pathlib import Path
from support.children import child
from deploy.supervise import Supervisor
with Supervisor([child("part", {sleep!r}, Path({folder!r}))]) as supervisor:
    print(supervisor.pids()[0], flush=True)
    time.sleep(60)
"""
SLOW_STOP = """
import signal, sys, time
def end(*_):
    print("{name} asked", flush=True)
    time.sleep(0.2)
    print("{name} ended", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("{name} up", flush=True)
time.sleep(60)
"""


def test_parts_start_in_order_each_after_the_one_before_is_ready(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    first = child(
        "first", f"import time; time.sleep(0.2); open({str(flag)!r}, 'w'); time.sleep(60)", tmp_path, ready=flag.exists
    )
    second = child("second", f"import os; print(os.path.exists({str(flag)!r}), flush=True); {SLEEP}", tmp_path)
    with Supervisor([first, second]) as supervisor:
        wait_for("the second part's word", lambda: (tmp_path / "second.log").read_text() == "True\n")
        assert [status.state for status in supervisor.status()] == ["ready", "ready"]


def test_a_part_that_dies_is_started_again_and_counted(tmp_path: Path) -> None:
    with Supervisor([child("part", SLEEP, tmp_path)]) as supervisor:
        (first,) = supervisor.pids()
        os.kill(first, signal.SIGKILL)
        wait_for("a restart", lambda: supervisor.restarts["part"] == 1 and supervisor.status()[0].state == "ready")
        (second,) = supervisor.pids()
        assert second != first
        assert supervisor.status()[0].last_exit == "signal SIGKILL"


def test_a_part_that_must_not_restart_stays_down_with_its_exit_code(tmp_path: Path) -> None:
    part = child("once", "import time, os; time.sleep(0.3); os._exit(3)", tmp_path, restart=False)
    with Supervisor([part]) as supervisor:
        wait_for("its end", lambda: supervisor.status()[0].state == "ended")
        assert (supervisor.status()[0].last_exit, supervisor.restarts) == ("exit code 3", {"once": 0})


def test_parts_stop_in_reverse_order_and_in_their_own_time(tmp_path: Path) -> None:
    log = tmp_path / "both.log"
    parts = [replace(child(name, SLOW_STOP.format(name=name), tmp_path), log_path=log) for name in ("a", "b")]
    with Supervisor(parts):
        wait_for("both to be up", lambda: log.read_text().count("up") == 2)
    stopping = [line for line in log.read_text().splitlines() if "up" not in line]
    assert stopping == ["b asked", "b ended", "a asked", "a ended"]


def test_a_part_that_ignores_the_request_is_killed_at_its_deadline(tmp_path: Path) -> None:
    deaf = child(
        "deaf",
        f"import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True); {SLEEP}",
        tmp_path,
        stop_deadline_s=0.3,
    )
    with Supervisor([deaf]) as supervisor:
        wait_for("it to be up", lambda: (tmp_path / "deaf.log").read_text() == "up\n")
    assert supervisor.status()[0].last_exit == "signal SIGKILL"


def test_what_a_part_started_ends_with_it(tmp_path: Path) -> None:
    program = GRANDCHILD.format(sleep=SLEEP)
    with Supervisor([child("parent", program, tmp_path)]):
        wait_for("the grandchild", lambda: (tmp_path / "parent.log").read_text().endswith("\n"))
        grandchild = int((tmp_path / "parent.log").read_text())
        assert is_running(grandchild)
    wait_for("the grandchild's end", lambda: not is_running(grandchild))


def test_children_die_with_a_killed_supervisor(tmp_path: Path) -> None:
    owner = OWNER.format(sleep=SLEEP, folder=str(tmp_path))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", owner], stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        pid = next(int(line) for line in process.stdout if line.strip().isdigit())
        assert is_running(pid)
        process.kill()
    wait_for("the child's end", lambda: not is_running(pid))


def test_a_first_start_that_fails_says_why_and_stops_what_ran(tmp_path: Path) -> None:
    good = child("good", f"import os; print(os.getpid(), flush=True); {SLEEP}", tmp_path)
    bad = child("bad", "import sys; sys.exit('no such store')", tmp_path, ready=lambda: False)
    with (
        pytest.raises(UnavailableError, match=r"bad ended with exit code 1 before it was ready.*\nno such store"),
        Supervisor([good, bad]),
    ):
        pass
    assert not is_running(int((tmp_path / "good.log").read_text()))


def test_a_part_that_is_never_ready_fails_at_its_deadline_by_name(tmp_path: Path) -> None:
    never = child("never", SLEEP, tmp_path, ready=lambda: False, ready_deadline_s=0.3)
    with pytest.raises(UnavailableError, match=r"never ended with .*not ready within 0\.3 s"), Supervisor([never]):
        pass


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    ghost = replace(child("ghost", "", tmp_path, ready=lambda: False), command=("no-such-program",))
    with pytest.raises(UnavailableError, match=r"cannot run no-such-program: No such file"), Supervisor([ghost]):
        pass


def test_a_held_part_stays_down_until_it_is_released(tmp_path: Path) -> None:
    with Supervisor([child("probe", SLEEP, tmp_path)]) as supervisor:
        supervisor.hold("probe")
        wait_for("the hold", lambda: supervisor.status()[0].state == "held")
        assert supervisor.pids() == ()
        supervisor.release("probe")
        wait_for("the return", lambda: supervisor.status()[0].state == "ready")
        assert supervisor.restarts == {"probe": 1}


def test_one_process_holds_a_lock_and_the_second_is_told_its_pid(tmp_path: Path) -> None:
    lock_path = tmp_path / "lock"
    with Supervisor([child("first", SLEEP, tmp_path, lock_path=lock_path)]) as supervisor:
        wait_for("the lock", lambda: lock_path.exists() and lock_path.read_text() != "")
        rival = child("rival", SLEEP, tmp_path, lock_path=lock_path, ready=lambda: False)
        told = rf"rival ended with exit code 75.*\n{lock_path} is held by pid {supervisor.pids()[0]}"
        with pytest.raises(UnavailableError, match=told), Supervisor([rival]):
            pass


def test_two_parts_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="two parts of one name"):
        Supervisor([child("part", SLEEP, tmp_path), child("part", SLEEP, tmp_path)])
