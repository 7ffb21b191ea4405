"""Make and remove the kernel's side of a lab: namespaces, veth pairs, addresses, routes, settings. Needs root.

Every link has both its wire ends in one extra namespace, where the wire process reads and writes them.
"""

import ctypes
import fcntl
import os
import re
import socket
import struct
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Final

from deploy.lab.netns import NETNS_DIR, in_namespace
from deploy.lab.routing import routes
from deploy.lab.topology import Topology
from schemas.errors import UnavailableError

PREFIX: Final = "iso"
WIRE: Final = "_wire"  # no host name has an underscore
_STEP_TIMEOUT_S: Final = 20.0
_RUN_ID: Final = re.compile(rf"^{PREFIX}-p(\d+)s(\d+)n\d+-")

_SIOCETHTOOL: Final = 0x8946
_OFFLOAD_COMMANDS: Final = (0x15, 0x17, 0x19, 0x1F, 0x24, 0x2C)  # set rx, tx, sg, tso, gso, gro

# Forward, answer every TTL that runs out, ask no neighbour anything, let any user open ping sockets.
_SETTINGS: Final = {
    "ipv6/conf/all/disable_ipv6": "1",
    "ipv6/conf/default/disable_ipv6": "1",
    "ipv4/ip_forward": "1",
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    "ipv4/conf/all/send_redirects": "0",
    "ipv4/conf/default/send_redirects": "0",
    "ipv4/icmp_ratelimit": "0",
    "ipv4/icmp_msgs_per_sec": "1000000",
    "ipv4/icmp_msgs_burst": "100000",
    "ipv4/ping_group_range": "0 2147483647",
}


def new_run_id(serial: int) -> str:
    """Return a name for a lab of this process that tells later runs whether its owner still lives."""
    return f"p{os.getpid()}s{_start_ticks(os.getpid())}n{serial}"


def namespace_name(run_id: str, host: str) -> str:
    """Return the name of a host's namespace, as `ip netns` knows it."""
    return f"{PREFIX}-{run_id}-{host}"


def make(run_id: str, topology: Topology) -> None:
    """Bring up all namespaces and links of a topology; the wire namespace is called WIRE.

    Raises:
        UnavailableError: no root, no iproute2, or a step was refused; what was made is left for `remove`.
    """
    if os.geteuid() != 0:
        raise UnavailableError("lab: namespaces need root; run as root, or inside `unshare -Urnm`")
    names = [*(host.name for host in topology.hosts), WIRE]
    _ip([], [f"netns add {namespace_name(run_id, name)}" for name in names])
    for name in names:
        with in_namespace(namespace_name(run_id, name)):
            _apply_settings(forwards=name != WIRE)
    _ip(["-n", namespace_name(run_id, WIRE)], _link_lines(run_id, topology))
    for host, lines in _host_lines(topology).items():
        _ip(["-n", namespace_name(run_id, host)], lines)
        with in_namespace(namespace_name(run_id, host)):
            _switch_offloads_off(_ends(topology, host))


def remove(run_id: str) -> None:
    """Remove every namespace of a run, and with them links and routes; none left is no error."""
    _remove(of_run(run_id))


def of_run(run_id: str) -> list[str]:
    """Return the names of the namespaces that a run has."""
    return [name for name in _listed() if name.startswith(f"{PREFIX}-{run_id}-")]


def remove_stale() -> list[str]:
    """Remove the namespaces of labs whose process is gone, and return their names."""
    stale = [name for name in _listed() if (owner := _RUN_ID.match(name)) and not _alive(*map(int, owner.groups()))]
    _remove(stale)
    return stale


def _remove(names: list[str]) -> None:
    """Remove namespaces; one that another process removed meanwhile is as good."""
    if len(names) == 0:
        return
    try:
        _ip(["-force"], [f"netns del {name}" for name in names])
    except UnavailableError:
        if not set(names).isdisjoint(_listed()):
            raise


def _listed() -> list[str]:
    return sorted(entry.name for entry in NETNS_DIR.iterdir()) if NETNS_DIR.exists() else []


def _alive(pid: int, start_ticks: int) -> bool:
    try:
        return _start_ticks(pid) == start_ticks
    except FileNotFoundError:
        return False


def _start_ticks(pid: int) -> int:
    """Return when a process started, in clock ticks since boot: with it, a number used again is told apart."""
    after_name = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2]
    return int(after_name.split()[19])


def _link_lines(run_id: str, topology: Topology) -> list[str]:
    lines = []
    for number, link in enumerate(topology.links):
        for side, host in (("a", link.a), ("b", link.b)):
            far = f"peer name l{number}{side} netns {namespace_name(run_id, host)} address {_mac(number, side)}"
            lines += [f"link add l{number}{side} type veth {far}", f"link set l{number}{side} up"]
    return lines


def _host_lines(topology: Topology) -> dict[str, list[str]]:
    """Return the `ip -batch` lines of each host: its addresses, its link ends with their neighbours, its routes."""
    first = {host.name: host.addresses[0] for host in topology.hosts}
    lines: dict[str, list[str]] = defaultdict(list)
    for it in topology.hosts:
        lines[it.name] += ["link set lo up", *(f"addr add {address}/32 dev lo" for address in it.addresses)]
    for number, link in enumerate(topology.links):
        for host, side, far, far_side in ((link.a, "a", link.b, "b"), (link.b, "b", link.a, "a")):
            device = f"l{number}{side}"
            lines[host].append(f"link set {device} up")
            lines[host].append(f"neigh add {first[far]} lladdr {_mac(number, far_side)} dev {device} nud permanent")
    for route in routes(topology):
        device = next(end for end in _ends_of(topology, route.link, route.host))
        target = f"{route.destination}/32 via {first[route.next_hop]} dev {device} onlink src {first[route.host]}"
        lines[route.host].append(f"route add {target}")
    return lines


def _ends(topology: Topology, host: str) -> list[str]:
    return [end for number in range(len(topology.links)) for end in _ends_of(topology, number, host)]


def _ends_of(topology: Topology, number: int, host: str) -> list[str]:
    link = topology.links[number]
    return [f"l{number}{side}" for side, at in (("a", link.a), ("b", link.b)) if at == host]


def _mac(number: int, side: str) -> str:
    return f"02:00:00:{number >> 8:02x}:{number & 0xFF:02x}:{'0a' if side == 'a' else '0b'}"


def _apply_settings(*, forwards: bool) -> None:
    """Write the settings of the namespace that the thread is in; a setting this kernel lacks is passed over."""
    for name, value in _SETTINGS.items():
        setting = Path("/proc/sys/net", name)
        if setting.exists() and (forwards or name.startswith("ipv6/")):
            setting.write_text(value, encoding="ascii")


def _switch_offloads_off(devices: list[str]) -> None:
    """Make every frame on the wire whole: real size, finished checksum. The thread is in the devices' namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for device in devices:
            for command in _OFFLOAD_COMMANDS:
                value = ctypes.create_string_buffer(struct.pack("=II", command, 0), 8)
                fcntl.ioctl(
                    sock, _SIOCETHTOOL, struct.pack("16sP", device.encode(), ctypes.addressof(value)) + bytes(16)
                )


def _ip(options: list[str], lines: list[str]) -> None:
    """Run lines through one `ip -batch`."""
    command = ["ip", *options, "-batch", "-"]
    try:
        subprocess.run(
            command, input="\n".join(lines) + "\n", text=True, check=True, capture_output=True, timeout=_STEP_TIMEOUT_S
        )
    except FileNotFoundError as err:
        raise UnavailableError("lab: no `ip` command; install iproute2") from err
    except subprocess.CalledProcessError as err:
        raise UnavailableError(f"lab: `{' '.join(command)}` was refused: {err.stderr.strip()[:500]}") from err
    except subprocess.TimeoutExpired as err:
        raise UnavailableError(f"lab: `{' '.join(command)}` did not end within {_STEP_TIMEOUT_S} s") from err
