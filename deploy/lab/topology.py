"""What a lab is made of: hosts, links between them, and what each direction of a link does to packets. Pure data."""

import ipaddress
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas.errors import ConfigError

Ratio = Annotated[float, Meta(ge=0.0, le=1.0)]
Micros = Annotated[int, Meta(ge=0, le=2_000_000)]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9.-]{0,39}$")]
Direction = Literal["forward", "backward", "both"]


class GilbertElliott(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Burst loss in two states: nothing is lost in the good one, all is lost in the bad one.

    The long-run loss is p / (p + r), the mean burst 1 / r packets.
    """

    p: Ratio  # chance, at each packet, to go from good to bad
    r: Annotated[float, Meta(gt=0.0, le=1.0)]  # chance, at each packet, to return


class Impairment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one direction of a link does, in this order: cut, rate and queue, loss, duplication, reordering, delay."""

    delay_us: Micros = 0
    jitter_us: Annotated[int, Meta(ge=0, le=500_000)] = 0  # sigma of the normal law that is drawn from
    # gaussian: delay + N(0, sigma), never below zero; half_normal: delay + |N(0, sigma)|, whose mean is 0.798 sigma
    jitter_shape: Literal["gaussian", "half_normal"] = "gaussian"
    keep_order: bool = True  # jitter never lets a packet overtake an earlier one of its direction
    loss_ratio: Ratio = 0.0
    gilbert_elliott: GilbertElliott | None = None
    duplicate_ratio: Ratio = 0.0
    reorder_ratio: Ratio = 0.0  # this share skips the delay and so overtakes all that is in flight
    rate_bps: Annotated[int, Meta(ge=8_000)] | None = None  # of IP bytes, header included; None = unlimited
    queue_bytes: Annotated[int, Meta(ge=1_500)] = 256_000  # tail drop beyond this backlog of IP bytes
    cut: bool = False


class Host(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A network namespace with /32 addresses; the first one names it as a hop."""

    name: Name
    addresses: Annotated[tuple[str, ...], Meta(min_length=1, max_length=64)]
    forwards: bool = True  # other hosts' packets may pass through it


class Link(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An emulated cable between two hosts: forward carries a to b, backward b to a."""

    name: Name
    a: Name
    b: Name
    forward: Impairment = Impairment()
    backward: Impairment = Impairment()
    weight: Annotated[int, Meta(ge=1)] = 1  # the cost of a hop over it, both ways


class Topology(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole lab. The place of a link in `links` is its id in the records."""

    hosts: Annotated[tuple[Host, ...], Meta(min_length=1, max_length=250)]
    links: Annotated[tuple[Link, ...], Meta(max_length=1000)] = ()


def parse_topology(text: str, *, source: str) -> Topology:
    """Read a lab file in TOML.

    Args:
        text: the content of the file.
        source: its name, for the error text.

    Raises:
        ConfigError: not TOML, an unknown key, a value out of bounds, or a rule of `check_topology` is broken.
    """
    try:
        topology = msgspec.toml.decode(text, type=Topology)
    except msgspec.DecodeError as err:
        raise ConfigError(f"{source}: {err}; see deploy/lab/example.toml for a lab file that loads") from err
    check_topology(topology, source=source)
    return topology


def check_topology(topology: Topology, *, source: str = "topology") -> None:
    """Raise ConfigError, naming every fault at once, unless names are unique, ends exist and addresses are IPv4."""
    faults = [*_repeated(topology), *_loose_ends(topology.hosts, topology.links), *_bad_addresses(topology.hosts)]
    if faults:
        raise ConfigError(f"{source}: {'; '.join(faults)}")


def _repeated(topology: Topology) -> Iterator[str]:
    yield from (f"host {name} is declared {n} times" for name, n in _twice(host.name for host in topology.hosts))
    yield from (f"link {name} is declared {n} times" for name, n in _twice(link.name for link in topology.links))
    addresses = (address for host in topology.hosts for address in host.addresses)
    yield from (f"address {address} is given {n} times" for address, n in _twice(addresses))


def _twice(names: Iterable[str]) -> Iterator[tuple[str, int]]:
    return ((name, n) for name, n in Counter(names).items() if n > 1)


def _loose_ends(hosts: tuple[Host, ...], links: tuple[Link, ...]) -> Iterator[str]:
    known = {host.name for host in hosts}
    for link in links:
        yield from (f"link {link.name}: no host {end}; declare it" for end in (link.a, link.b) if end not in known)
        if link.a == link.b:
            yield f"link {link.name}: both ends are {link.a}; a link joins two hosts"


def _bad_addresses(hosts: tuple[Host, ...]) -> Iterator[str]:
    for host in hosts:
        for address in host.addresses:
            try:
                ipaddress.IPv4Address(address)
            except ValueError:
                yield f"host {host.name}: {address} is not an IPv4 address"
