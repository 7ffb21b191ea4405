"""Every mesh file that ships holds, and says what it promises."""

import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from schemas.mesh import Mesh, parse_mesh
from schemas.mesh_routes import Router
from schemas.mesh_slice import probe_slice

FILES = sorted((Path(__file__).parents[2] / "deploy" / "mesh").glob("*.toml"))


def shipped(name: str) -> Mesh:
    (file,) = [file for file in FILES if file.stem == name]
    return parse_mesh(file.read_text(encoding="utf-8"), source=file.name)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_shipped_mesh_holds_and_every_probe_has_its_slice(file: Path) -> None:
    mesh = parse_mesh(file.read_text(encoding="utf-8"), source=file.name)
    assert mesh.id == file.stem
    for probe in mesh.probes:
        assert probe_slice(mesh, probe.id).streams


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_node_is_one_line(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    for node in parse_mesh(text, source=file.name).nodes:
        assert sum(f'{{ id = "{node.id}", kind = ' in line and line.endswith("},") for line in text.splitlines()) == 1


def test_the_national_mesh_is_6480_streams_of_44_nodes_in_three_carriers() -> None:
    mesh = shipped("national")
    node_of = {endpoint.id: endpoint.node for endpoint in mesh.endpoints}
    kinds = Counter(
        "inside"
        if s.relation == "intra_network"
        else "at node"
        if node_of[s.source] == node_of[s.destination]
        else "between"
        for s in mesh.streams
    )
    assert kinds == {"inside": 5676, "at node": 264, "between": 540}
    assert len({endpoint.node for endpoint in mesh.endpoints}) == 44
    assert len(mesh.endpoints) == 132
    between = [s for s in mesh.streams if s.relation == "inter_network" and node_of[s.source] != node_of[s.destination]]
    assert {mesh.node_by_id[node_of[s.source]].kind for s in between} == {"cluster"}


def test_the_national_mesh_keeps_its_hubs_as_roll_ups_and_its_unsure_rows_marked() -> None:
    mesh = shipped("national")
    assert Counter(node.kind for node in mesh.nodes) == {"hub": 8, "cluster": 10, "direct_connect": 30, "exchange": 4}
    assert sum(node.confidence == "low" for node in mesh.nodes) == 8
    assert all(node.hub for node in mesh.nodes if node.kind == "cluster")
    assert all(node.source for node in mesh.nodes)


def test_the_national_mesh_is_parsed_and_derived_in_under_two_seconds() -> None:
    begun = time.process_time()
    shipped("national")
    assert time.process_time() - begun < 2


@pytest.mark.parametrize("name", ["national", "demo"])
def test_every_crossing_is_controlled_by_an_inside_stream_of_the_far_carrier(name: str) -> None:
    mesh = shipped(name)
    for stream in mesh.streams:
        assert (stream.control is None) == (stream.relation == "intra_network")
        if stream.control is not None:
            control = mesh.stream_by_id[stream.control]
            assert (control.relation, control.destination) == ("intra_network", stream.destination)


def test_the_demo_mesh_is_224_streams_of_12_nodes_in_two_carriers_served_by_four_probes() -> None:
    mesh = shipped("demo")
    assert Counter((s.relation, s.method) for s in mesh.streams) == {
        ("intra_network", "stamp"): 204,
        ("inter_network", "stamp"): 12,
        ("intra_network", "icmp"): 8,
    }
    assert (len(mesh.endpoints), len(mesh.probes)) == (24, 4)


def test_every_path_of_the_demo_has_one_to_five_segments_and_is_the_only_shortest() -> None:
    mesh = shipped("demo")
    assert {len(s.segments) for s in mesh.streams} == {1, 2, 3, 4, 5}
    assert not any("two paths" in warning for warning in mesh.warnings)


def test_a_router_on_a_demo_path_forwards_along_the_rest_of_that_path() -> None:
    """Routes are then set hop by hop: the kernel of each namespace knows the next segment towards a destination."""
    mesh = shipped("demo")
    router = Router(mesh.file, mesh.segments)
    for stream in mesh.streams:
        at, target = stream.source, mesh.endpoint_by_id[stream.destination]
        for taken in range(len(stream.segments)):
            route = router.route(mesh.endpoint_by_id[at], target)
            assert route is not None
            assert route.segments == stream.segments[taken:]
            segment = mesh.segment_by_id[stream.segments[taken]]
            at = segment.b if segment.a == at else segment.a
        assert at == stream.destination


def test_the_two_directions_of_a_demo_pair_take_one_road() -> None:
    mesh = shipped("demo")
    paths = {(s.source, s.destination): s.segments for s in mesh.streams}
    assert all(paths[b, a] == segments[::-1] for (a, b), segments in paths.items())


def test_no_two_nodes_of_a_shipped_mesh_share_an_ordinal() -> None:
    for file in FILES:
        ordinals = sorted(n.n for n in parse_mesh(file.read_text(encoding="utf-8"), source=file.name).nodes if n.n)
        assert all(a < b for a, b in pairwise(ordinals))
