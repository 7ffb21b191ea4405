"""Each check says no when it should, with the line that mends it; a host that lacks nothing is fit."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from deploy.clock_state import ClockState, read_clock_state
from deploy.doctor import DISK_AT_LEAST_BYTES, Check, as_json, as_table, is_fit, run_checks
from deploy.embedded.kafka.java import Java
from deploy.host import Host

PROC = {
    "/proc/self/status": "Name:\tpython\nCapEff:\t000001ffffffffff\n",
    "/proc/sys/net/core/rmem_max": "4194304\n",
    "/proc/sys/net/ipv4/ping_group_range": "0\t2147483647\n",
    "/proc/meminfo": "MemTotal:       8000000 kB\nMemAvailable:    7000000 kB\n",
}
GOOD = Host(
    which=lambda name: f"/usr/bin/{name}",
    java=lambda: Java(program="/usr/bin/java", version="17.0.15", major=17),
    python_version=(3, 11, 0),
    read=PROC.get,
    library_loads=lambda _: True,
    chinese_font=lambda: "Noto Sans CJK SC",
    clock=lambda: ClockState(synchronised=True, estimated_error_us=20, largest_error_us=9_000),
    port_holder=lambda _: None,
    free_disk_bytes=lambda _: DISK_AT_LEAST_BYTES,
    group_ids=lambda: frozenset({1000}),
)
PORTS = {"kafka.port": 19092}


def checks_of(host: Host) -> dict[str, Check]:
    return {check.name: check for check in run_checks(host, ports=PORTS, state_dir=Path("/srv/isochrone"))}


def with_proc(path: str, text: str) -> Callable[[str], str | None]:
    return {**PROC, path: text}.get


def test_a_host_that_lacks_nothing_is_fit() -> None:
    checks = list(checks_of(GOOD).values())
    assert [check.name for check in checks if not check.ok] == []
    assert is_fit(checks)


OLD_JAVA = Java(program="java", version="11.0.2", major=11)
FREE_CLOCK = ClockState(synchronised=False, estimated_error_us=1, largest_error_us=1)
LOOSE_CLOCK = ClockState(synchronised=True, estimated_error_us=1, largest_error_us=60_000)
NO_PANGO = replace(GOOD, library_loads=lambda name: "pango" not in name)
NO_RAW = replace(GOOD, read=with_proc("/proc/self/status", "CapEff:\t000001ffffffdfff\n"))
SMALL_RMEM = replace(GOOD, read=with_proc("/proc/sys/net/core/rmem_max", "212992"))
NO_PING_GROUP = replace(GOOD, read=with_proc("/proc/sys/net/ipv4/ping_group_range", "1\t0"))


@pytest.mark.parametrize(
    ("host", "name", "found", "remedy"),
    [
        (replace(GOOD, python_version=(3, 10, 9)), "python", "3.10.9", "python3"),
        (replace(GOOD, java=lambda: None), "java", "none", "default-jdk-headless"),
        (replace(GOOD, java=lambda: OLD_JAVA), "java", "11.0.2", "default-jdk-headless"),
        (replace(GOOD, which=lambda _: None), "mvn", "none", "apt-get install maven"),
        (replace(GOOD, which=lambda _: None), "ip", "none", "apt-get install iproute2"),
        (replace(GOOD, which=lambda _: None), "chromium", "none", "apt-get install chromium"),
        (replace(GOOD, chinese_font=lambda: None), "chinese font", "none", "fonts-noto-cjk"),
        (NO_PANGO, "pdf libraries", "libpango-1.0.so.0", "libpango-1.0-0"),
        (NO_RAW, "CAP_NET_RAW", "not held", "AmbientCapabilities=CAP_NET_RAW"),
        (replace(GOOD, clock=lambda: None), "clock", "unknown", "chrony"),
        (replace(GOOD, clock=lambda: FREE_CLOCK), "clock", "not synchronised", "chrony"),
        (replace(GOOD, clock=lambda: LOOSE_CLOCK), "clock", "60000 us at most", "chrony"),
        (replace(GOOD, port_holder=lambda _: "pid 7 (java)"), "port 19092", "in use by pid 7 (java)", "set kafka.port"),
        (SMALL_RMEM, "rmem_max", "212992", "sysctl -w net.core.rmem_max=4194304"),
        (NO_PING_GROUP, "ping_group_range", "1 to 0", "sysctl -w"),
        (replace(GOOD, free_disk_bytes=lambda _: 1 << 30), "disk", "1.0 GiB free", "free 5 GiB"),
        (replace(GOOD, read=with_proc("/proc/meminfo", "MemAvailable: 1048576 kB")), "memory", "1.0 GiB", "2.5 GiB"),
        (replace(GOOD, read=lambda _: None), "memory", "unknown", "2.5 GiB"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named_with_the_line_that_gets_it(host: Host, name: str, found: str, remedy: str) -> None:
    check = checks_of(host)[name]
    assert not check.ok
    assert found in check.found
    assert remedy in check.remedy


def test_a_host_without_a_browser_is_still_fit_and_one_without_java_is_not() -> None:
    no_browser = replace(GOOD, which=lambda name: None if "chrom" in name else f"/usr/bin/{name}")
    assert is_fit(list(checks_of(no_browser).values()))
    assert not is_fit(list(checks_of(replace(GOOD, java=lambda: None)).values()))


def test_a_script_reads_the_same_checks_as_a_person() -> None:
    checks = list(checks_of(replace(GOOD, port_holder=lambda _: "pid 7 ([kworker])")).values())
    answer = json.loads(as_json(checks))
    assert (answer["fit"], len(answer["checks"])) == (False, len(checks))
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(as_table(checks))
    text = console.export_text()
    assert all(check.name in text for check in checks)
    assert "in use by pid 7 ([kworker])" in text


def test_the_kernel_tells_its_clock_without_privilege() -> None:
    state = read_clock_state()
    assert state.largest_error_us >= 0


def test_this_host_answers_every_question(tmp_path: Path) -> None:
    checks = run_checks(Host(), ports={"kafka.port": 1}, state_dir=tmp_path / "not" / "there")
    assert {check.name for check in checks} >= {"python", "java", "clock", "memory", "disk", "port 1"}
