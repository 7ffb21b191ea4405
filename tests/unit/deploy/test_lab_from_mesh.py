from pathlib import Path
from statistics import fmean

import pytest

from deploy.lab.from_mesh import MAX_ASYMMETRY, lab_host, lab_topology
from deploy.lab.routing import path
from deploy.lab.topology import Impairment, Link, check_topology
from schemas.errors import ConfigError
from schemas.mesh import Mesh, parse_mesh
from schemas.mesh_streams import distance_km

DEMO = Path(__file__).parents[3] / "deploy/mesh/demo.toml"


@pytest.fixture(scope="module")
def demo() -> Mesh:
    return parse_mesh(DEMO.read_text(), source="demo.toml")


def test_every_endpoint_is_a_host_and_every_segment_a_link(demo: Mesh) -> None:
    topology = lab_topology(demo)
    check_topology(topology)
    assert {host.name for host in topology.hosts} == {lab_host(each.id) for each in demo.endpoints}
    assert {link.name for link in topology.links} == {each.id for each in demo.segments}


def one_way_us(link: Link) -> float:
    return (link.forward.delay_us + link.backward.delay_us) / 2


def test_the_mean_delay_of_the_inside_streams_is_the_national_figure_of_the_plane(demo: Mesh) -> None:
    delay_us = {link.name: one_way_us(link) for link in lab_topology(demo).links}
    factors = []
    for stream in demo.streams:
        ends = demo.endpoint_by_id[stream.source].node, demo.endpoint_by_id[stream.destination].node
        km = distance_km(demo.node_by_id, *ends)
        if stream.relation == "intra_network" and km > 1:
            factors.append(sum(delay_us[name] for name in stream.segments) / (km * 4.897))
    assert fmean(factors) == pytest.approx(3.02, rel=0.01)


def test_legs_differ_but_never_beyond_the_stated_share(demo: Mesh) -> None:
    links = [link for link in lab_topology(demo).links if one_way_us(link) > 1_000]
    shares = [abs(link.forward.delay_us - link.backward.delay_us) / (2 * one_way_us(link)) for link in links]
    assert max(shares) <= MAX_ASYMMETRY + 0.001
    assert len(set(shares)) > len(shares) // 2


def test_a_planted_rate_keeps_the_delay_of_the_road(demo: Mesh) -> None:
    name = demo.segments[0].id
    links = {link.name: link for link in lab_topology(demo, changes={name: Impairment(rate_bps=10_000_000)}).links}
    assert links[name].forward.rate_bps == 10_000_000
    assert links[name].forward.delay_us > 0


def test_a_mesh_without_roads_says_what_to_add() -> None:
    text = """
    node = [{ id = "a", kind = "cluster", n = 1, lat = 30.0, lon = 110.0 }]
    [mesh]
    id = "bare"
    """
    with pytest.raises(ConfigError, match=r"\[\[segment\]\]"):
        lab_topology(parse_mesh(text, source="bare.toml"))


def test_the_kernel_takes_the_very_road_that_the_mesh_names(demo: Mesh) -> None:
    topology = lab_topology(demo)
    for stream in demo.streams:
        road = path(topology, lab_host(stream.source), lab_host(stream.destination))
        assert road == list(stream.segments)
