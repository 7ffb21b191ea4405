"""What a process weighs with all below it, and who holds a port."""

import os
import socket
from pathlib import Path

import pytest

from deploy.locks import lock_holder, require_unlocked
from deploy.ports import free_port, port_is_free, require_free
from deploy.procfs import pss_bytes, with_descendants
from schemas.errors import ConfigError


def put_process(proc: Path, pid: int, parent: int, pss_kib: int, name: str = "python") -> None:
    folder = proc / str(pid)
    folder.mkdir()
    (folder / "stat").write_text(f"{pid} ({name}) S {parent} {pid} 0\n")
    (folder / "smaps_rollup").write_text(f"Rss: {pss_kib * 2} kB\nPss:  {pss_kib} kB\nPss_Dirty: 1 kB\n")


def test_memory_counts_grandchildren_and_no_strangers(tmp_path: Path) -> None:
    put_process(tmp_path, 10, 1, 100)
    put_process(tmp_path, 11, 10, 20, name="odd ) name (")
    put_process(tmp_path, 12, 11, 3)
    put_process(tmp_path, 13, 1, 1000)
    assert with_descendants([10], tmp_path) == {10, 11, 12}
    assert pss_bytes([10], tmp_path) == 123 * 1024


def test_a_process_named_twice_or_gone_is_not_counted_twice(tmp_path: Path) -> None:
    put_process(tmp_path, 10, 1, 100)
    put_process(tmp_path, 11, 10, 20)
    assert pss_bytes([10, 11, 99], tmp_path) == 120 * 1024


def test_this_very_process_weighs_something() -> None:
    assert pss_bytes([os.getpid()]) > 1 << 20


def test_a_port_in_use_is_refused_with_holder_setting_and_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        told = rf"kafka: port {port} on 127\.0\.0\.1 is in use by pid {os.getpid()} \(.+\); stop it or set kafka\.port"
        with pytest.raises(ConfigError, match=told):
            require_free(port, what="embedded kafka", setting="kafka.port")
    require_free(port, what="embedded kafka", setting="kafka.port")


def test_a_free_port_is_free() -> None:
    assert port_is_free(free_port())


def test_a_lock_that_nobody_holds_is_open(tmp_path: Path) -> None:
    assert lock_holder(tmp_path / "lock") is None
    (tmp_path / "lock").write_text("4711\n")  # a pid left by one that ended
    assert lock_holder(tmp_path / "lock") is None
    require_unlocked(tmp_path / "lock", what="embedded kafka")
