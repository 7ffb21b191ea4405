"""What this host lacks, and the line that gets it: checks are values, so that a person and a script read the same."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
from rich.markup import escape
from rich.table import Table

from deploy.embedded.kafka.java import JAVA_AT_LEAST, JAVA_REMEDY
from deploy.host import Host

MIB: Final = 1 << 20
GIB: Final = 1 << 30
PYTHON_AT_LEAST: Final = (3, 11)
DISK_AT_LEAST_BYTES: Final = 5 * GIB  # jars, logs and 16 days of base rows of a demo mesh
MEMORY_AT_LEAST_BYTES: Final = 2 * GIB + GIB // 2  # the demo's 2 GiB and room to breathe
RMEM_AT_LEAST_BYTES: Final = 4 * MIB  # what a measuring socket asks for
CLOCK_ERROR_AT_MOST_US: Final = 50_000  # beyond this a one-way figure says more of the clock than of the network
CAPABILITIES: Final = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13, "CAP_SYS_ADMIN": 21}
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
PDF_LIBRARIES: Final = ("libpango-1.0.so.0", "libpangoft2-1.0.so.0", "libharfbuzz-subset.so.0")


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One question to the host; when not `essential`, a no costs what `needed_for` names, not the system."""

    name: str
    ok: bool
    found: str
    needed_for: str
    essential: bool
    remedy: str


def run_checks(host: Host, *, ports: Mapping[str, int], state_dir: Path) -> list[Check]:
    """Return all checks in the order in which a person would mend them; `ports` are the settings that name one."""
    return [
        _python(host),
        _java(host),
        _program(host, ("mvn",), "fetching the Kafka broker", "apt-get install maven", essential=True),
        _program(host, ("ip",), "the lab (network namespaces)", "apt-get install iproute2", essential=True),
        _program(host, BROWSERS, "the test of the page", "apt-get install chromium", essential=False),
        _chinese_font(host),
        _pdf_libraries(host),
        *(_capability(host, name, bit) for name, bit in CAPABILITIES.items()),
        _clock(host),
        *(_port(host, setting, port) for setting, port in ports.items()),
        _rmem(host),
        _ping_group(host),
        _disk(host, state_dir),
        _memory(host),
    ]


def is_fit(checks: list[Check]) -> bool:
    """Return whether everything essential is there."""
    return all(check.ok for check in checks if check.essential)


def as_json(checks: list[Check]) -> str:
    """Return `{"fit": ..., "checks": [...]}` for a script."""
    return msgspec.json.encode({"fit": is_fit(checks), "checks": checks}).decode()


def as_table(checks: list[Check]) -> Table:
    """Return the table for a person: what is, and for what is not, the line that gets it."""
    table = Table(box=None, pad_edge=False)
    for title in ("", "check", "found", "remedy"):
        table.add_column(title, overflow="fold")
    for check in checks:
        mark = "[green]ok[/]" if check.ok else "[bold red]no[/]" if check.essential else "[yellow]warn[/]"
        remedy = "" if check.ok else f"{escape(check.remedy)}  [dim]for {escape(check.needed_for)}[/]"
        table.add_row(mark, check.name, escape(check.found), remedy)
    return table


def _python(host: Host) -> Check:
    return Check(
        name="python",
        ok=host.python_version >= PYTHON_AT_LEAST,
        found=".".join(map(str, host.python_version)),
        needed_for="everything (3.11 or newer)",
        essential=True,
        remedy="apt-get install python3 python3-venv",
    )


def _java(host: Host) -> Check:
    java = host.java()
    return Check(
        name="java",
        ok=java is not None and java.major >= JAVA_AT_LEAST,
        found="none" if java is None else f"{java.version} ({java.program})",
        needed_for=f"the embedded Kafka broker ({JAVA_AT_LEAST} or newer)",
        essential=True,
        remedy=JAVA_REMEDY,
    )


def _program(host: Host, names: tuple[str, ...], needed_for: str, remedy: str, *, essential: bool) -> Check:
    path = next((path for path in map(host.which, names) if path is not None), None)
    found = path or "none"
    return Check(
        name=names[0], ok=path is not None, found=found, needed_for=needed_for, essential=essential, remedy=remedy
    )


def _chinese_font(host: Host) -> Check:
    family = host.chinese_font()
    return Check(
        name="chinese font",
        ok=family is not None,
        found=family or "none",
        needed_for="Chinese text in reports and screenshots",
        essential=False,
        remedy="apt-get install fonts-noto-cjk",
    )


def _pdf_libraries(host: Host) -> Check:
    missing = [name for name in PDF_LIBRARIES if not host.library_loads(name)]
    return Check(
        name="pdf libraries",
        ok=not missing,
        found=f"without {', '.join(missing)}" if missing else "pango, harfbuzz",
        needed_for="reports as PDF",
        essential=False,
        remedy="apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0",
    )


def _capability(host: Host, name: str, bit: int) -> Check:
    effective = _status_field(host, "/proc/self/status", "CapEff")
    has = effective is not None and bool(int(effective, 16) >> bit & 1)
    return Check(
        name=name,
        ok=has,
        found="held" if has else "not held",
        needed_for={"CAP_NET_RAW": "ICMP by raw sockets"}.get(name, "the lab (namespaces, its wire)"),
        essential=False,
        remedy=f"run as root, or: systemd AmbientCapabilities={name}, docker run --cap-add {name.removeprefix('CAP_')}",
    )


def _clock(host: Host) -> Check:
    state = host.clock()
    exact = state is not None and state.synchronised and state.largest_error_us <= CLOCK_ERROR_AT_MOST_US
    found = "unknown"
    if state is not None:
        how = "synchronised" if state.synchronised else "not synchronised"
        found = f"{how}, error {state.estimated_error_us} us estimated, {state.largest_error_us} us at most"
    return Check(
        name="clock",
        ok=exact,
        found=found,
        needed_for="one-way delay between hosts (on one host the clock is common)",
        essential=False,
        remedy="apt-get install chrony",
    )


def _port(host: Host, setting: str, port: int) -> Check:
    holder = host.port_holder(port)
    return Check(
        name=f"port {port}",
        ok=holder is None,
        found="free" if holder is None else f"in use by {holder}",
        needed_for=setting,
        essential=True,
        remedy=f"stop its holder, or set {setting} to a free port",
    )


def _rmem(host: Host) -> Check:
    text = host.read("/proc/sys/net/core/rmem_max")
    value = None if text is None else int(text)
    return Check(
        name="rmem_max",
        ok=value is not None and value >= RMEM_AT_LEAST_BYTES,
        found="unknown" if value is None else f"{value} bytes",
        needed_for="no drops in the socket when many replies come at once",
        essential=False,
        remedy=f"sysctl -w net.core.rmem_max={RMEM_AT_LEAST_BYTES} (and a line in /etc/sysctl.d)",
    )


def _ping_group(host: Host) -> Check:
    text = host.read("/proc/sys/net/ipv4/ping_group_range")
    low, high = (int(part) for part in text.split()) if text is not None else (1, 0)
    return Check(
        name="ping_group_range",
        ok=any(low <= group <= high for group in host.group_ids()),
        found="unknown" if text is None else f"{low} to {high}",
        needed_for="ICMP without CAP_NET_RAW",
        essential=False,
        remedy='sysctl -w net.ipv4.ping_group_range="0 2147483647" (and a line in /etc/sysctl.d)',
    )


def _disk(host: Host, state_dir: Path) -> Check:
    free_bytes = host.free_disk_bytes(state_dir)
    return Check(
        name="disk",
        ok=free_bytes >= DISK_AT_LEAST_BYTES,
        found=f"{free_bytes / GIB:.1f} GiB free for {state_dir}",
        needed_for="jars, logs and tables",
        essential=False,
        remedy=f"free {DISK_AT_LEAST_BYTES // GIB} GiB, or give another state folder",
    )


def _memory(host: Host) -> Check:
    text = _status_field(host, "/proc/meminfo", "MemAvailable")
    available_bytes = None if text is None else int(text.split()[0]) * 1024
    return Check(
        name="memory",
        ok=available_bytes is not None and available_bytes >= MEMORY_AT_LEAST_BYTES,
        found="unknown" if available_bytes is None else f"{available_bytes / GIB:.1f} GiB available",
        needed_for="broker, engine, worker and probes on one machine",
        essential=False,
        remedy=f"end what else runs until {MEMORY_AT_LEAST_BYTES / GIB:.1f} GiB are available",
    )


def _status_field(host: Host, path: str, name: str) -> str | None:
    """Return the value of a `Name: value` line of a /proc file, or None when there is no such line."""
    for line in (host.read(path) or "").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return value.strip()
    return None
