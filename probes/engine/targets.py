"""What the engine is told to measure: one target a stream."""

import ipaddress
from typing import Literal

import msgspec

from schemas.errors import ConfigError

Method = Literal["stamp", "icmp"]


class StreamTarget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One stream as the engine sees it; `row` is its place in all arrays of the engine: 0, 1, 2, ... without holes."""

    row: int
    stream_id: int
    token: int  # 8 bytes, unique among the targets: `probes.packets.stream_token`
    method: Method
    source: str  # numeric address of this host, IPv4 or IPv6
    destination: str
    port: int = 862  # of the reflector, STAMP only (RFC 8762 4)
    netns: str | None = None  # named network namespace to send from; None is the caller's own
    interval_ns: int = 100_000_000  # 600 packets a minute resolve 0.17 % loss
    timeout_ns: int = 2_000_000_000  # "lost" means nothing without it
    phase_ns: int | None = None  # departure after the whole interval of the epoch; None: drawn at random
    hop_limit: int = 64
    dscp: int = 0

    @property
    def version(self) -> int:
        """Return the IP version of both addresses: 4 or 6."""
        return ipaddress.ip_address(self.destination).version


SocketKey = tuple[str | None, str, str, int, int]


def socket_key(target: StreamTarget) -> SocketKey:
    """Return what targets must have in common to share a socket: namespace, source, method, hop limit and class."""
    return (target.netns, target.source, target.method, target.hop_limit, target.dscp)


def check_targets(targets: list[StreamTarget]) -> None:
    """Raise ConfigError, naming the stream and the remedy, unless the engine can run all targets together."""
    if not targets:
        raise ConfigError("no targets: the mesh gives this probe no stream; check its endpoints in the mesh file")
    if [target.row for target in targets] != list(range(len(targets))):
        raise ConfigError("target rows must be 0, 1, 2, ... in order")
    _refuse_twins(targets)
    for target in targets:
        _check(target)


def _refuse_twins(targets: list[StreamTarget]) -> None:
    for name in ("stream_id", "token"):
        seen: set[int] = set()
        for target in targets:
            value = getattr(target, name)
            if value in seen:
                raise ConfigError(f"stream {target.stream_id} to {target.destination}: its {name} is in the list twice")
            seen.add(value)


def _check(target: StreamTarget) -> None:
    where = f"stream {target.stream_id} from {target.source} to {target.destination}"
    try:
        versions = {ipaddress.ip_address(address).version for address in (target.source, target.destination)}
    except ValueError as err:
        raise ConfigError(f"{where}: {err}; the engine takes numeric addresses") from err
    if len(versions) != 1:
        raise ConfigError(f"{where}: one address is IPv4 and the other IPv6")
    for name, low, high in (
        ("port", 1, 65_535),
        ("interval_ns", 1_000_000, 3_600_000_000_000),
        ("timeout_ns", 1_000_000, 60_000_000_000),
        ("hop_limit", 1, 255),
        ("dscp", 0, 63),
        ("token", 0, (1 << 64) - 1),
    ):
        if not low <= getattr(target, name) <= high:
            raise ConfigError(f"{where}: {name} must be {low} to {high}, not {getattr(target, name)}")
    if target.phase_ns is not None and not 0 <= target.phase_ns < target.interval_ns:
        raise ConfigError(f"{where}: phase_ns must be 0 to interval_ns - 1, not {target.phase_ns}")
