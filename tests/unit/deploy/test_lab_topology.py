from pathlib import Path

import pytest

from deploy.lab.routing import Route, path, routes
from deploy.lab.topology import Host, Impairment, Link, Topology, check_topology, parse_topology
from schemas.errors import ConfigError

EXAMPLE = Path(__file__).parents[3] / "deploy" / "lab" / "example.toml"


def square(**changes: object) -> Topology:
    """Return a - b - c and a - d - c, where the way over d is cheaper, unless changed."""
    hosts = [Host(name=name, addresses=(f"10.0.0.{place}",)) for place, name in enumerate("abcd", 1)]
    if changes.get("d_forwards") is False:
        hosts[3] = Host(name="d", addresses=("10.0.0.4",), forwards=False)
    links = (
        Link(name="ab", a="a", b="b", weight=2),
        Link(name="bc", a="b", b="c", weight=2),
        Link(name="ad", a="a", b="d"),
        Link(name="dc", a="d", b="c"),
    )
    return Topology(hosts=tuple(hosts), links=links)


def test_packets_take_the_cheapest_way() -> None:
    assert path(square(), "a", "c") == ["ad", "dc"]
    assert path(square(), "c", "a") == ["dc", "ad"]


def test_nobody_passes_through_a_host_that_does_not_forward() -> None:
    assert path(square(d_forwards=False), "a", "c") == ["ab", "bc"]
    assert path(square(d_forwards=False), "a", "d") == ["ad"]


def test_each_host_has_a_route_to_each_address_of_the_others() -> None:
    table = routes(square())
    assert len(table) == 12
    assert Route(host="a", destination="10.0.0.3", link=2, next_hop="d") in table


def test_an_unreachable_host_has_no_route() -> None:
    island = Topology(hosts=(Host(name="a", addresses=("10.0.0.1",)), Host(name="b", addresses=("10.0.0.2",))))
    assert routes(island) == []
    assert path(island, "a", "b") == []


def test_the_example_file_loads() -> None:
    topology = parse_topology(EXAMPLE.read_text(encoding="utf-8"), source="example.toml")
    assert path(topology, "beijing", "hangzhou") == ["beijing-shanghai", "shanghai-hangzhou"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[hosts]]\nname = "a"\naddresses = ["10.0.0.1"]\ndelay = 3', "delay"),
        ('[[hosts]]\nname = "a_b"\naddresses = ["10.0.0.1"]', "name"),
        ('[[hosts]]\nname = "a"\naddresses = ["nowhere"]', "nowhere is not an IPv4 address"),
        ('[[hosts]]\nname = "a"\naddresses = ["10.0.0.1", "10.0.0.1"]', "given 2 times"),
        ('[[hosts]]\nname = "a"\naddresses = ["10.0.0.1"]\n[[links]]\nname = "x"\na = "a"\nb = "z"', "no host z"),
        ('[[hosts]]\nname = "a"\naddresses = ["10.0.0.1"]\n[[links]]\nname = "x"\na = "a"\nb = "a"', "joins two hosts"),
        ("hosts = 3 3", "lab.toml"),
    ],
)
def test_a_faulty_lab_file_is_refused_with_its_name_and_fault(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=r"lab\.toml") as refused:
        parse_topology(text, source="lab.toml")
    assert said in str(refused.value)


def test_all_faults_of_a_topology_are_told_at_once() -> None:
    twice = Host(name="a", addresses=("10.0.0.1",))
    lost = Link(name="ab", a="a", b="b", forward=Impairment())
    with pytest.raises(ConfigError, match=r"declared 2 times.*given 2 times.*no host b"):
        check_topology(Topology(hosts=(twice, twice), links=(lost,)))
