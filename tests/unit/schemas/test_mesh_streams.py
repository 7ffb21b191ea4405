"""What a few lines of a mesh file become."""

import pytest
from support.meshes import PUBLIC_BASE64, PUBLIC_HEX, ROADS, mesh_of, probe_line, small

from schemas.errors import ConfigError, MeshError
from schemas.mesh import Mesh, mesh_from_canonical, with_probe_keys
from schemas.mesh_file import key_bytes
from schemas.mesh_streams import Stream


def stream(mesh: Mesh, source: str, destination: str, method: str = "stamp") -> Stream:
    return next(s for s in mesh.streams if (s.source, s.destination, s.method) == (source, destination, method))


def control_ends(mesh: Mesh, source: str, destination: str) -> tuple[str, str]:
    control = stream(mesh, source, destination).control
    assert control is not None
    return mesh.stream_by_id[control].source, mesh.stream_by_id[control].destination


def test_relation_follows_from_the_two_networks() -> None:
    mesh = mesh_of(small())
    assert stream(mesh, "alpha/telecom", "beta/telecom").relation == "intra_network"
    assert stream(mesh, "alpha/telecom", "beta/unicom").relation == "inter_network"


def test_two_networks_of_one_carrier_are_inside() -> None:
    line = '\n[[endpoint]]\nnode = "beta"\ncarrier = "telecom"\nnetwork = "cn2"\naddress = "10.3.2.1"\n'
    mesh = mesh_of(small(more=line))
    assert mesh.endpoint_by_id["beta/telecom"].asn == 4809
    assert stream(mesh, "alpha/telecom", "beta/telecom").relation == "intra_network"


def test_a_crossing_is_controlled_by_the_far_carriers_own_stream_of_the_same_pair() -> None:
    mesh = mesh_of(small())
    assert control_ends(mesh, "alpha/telecom", "beta/unicom") == ("alpha/unicom", "beta/unicom")


def test_a_crossing_inside_a_node_is_controlled_by_the_shortest_inside_stream_that_ends_there() -> None:
    mesh = mesh_of(small())
    assert control_ends(mesh, "beta/unicom", "beta/telecom") == ("gamma/telecom", "beta/telecom")  # 677 km against 1100


def test_hubs_and_retired_nodes_are_not_measured() -> None:
    mesh = mesh_of(small("lat = 30.0", 'status = "retired", lat = 30.0'))
    assert {endpoint.node for endpoint in mesh.endpoints} == {"alpha", "beta"}


def test_an_endpoint_line_adds_a_room_and_changes_what_a_group_made() -> None:
    room = '\n[[endpoint]]\nnode = "beta"\ncarrier = "telecom"\nroom = "r2"\naddress = "10.3.2.1"\nport = 8620\n'
    moved = '\n[[endpoint]]\nnode = "alpha"\ncarrier = "telecom"\naddress = "10.3.1.1"\n'
    mesh = mesh_of(small(more=room + moved))
    assert mesh.endpoint_by_id["beta/telecom/r2"].port == 8620
    assert mesh.endpoint_by_id["alpha/telecom"].address == "10.3.1.1"
    assert len(mesh.endpoints) == 7


def test_address_families_and_planes_are_never_mixed_in_a_stream() -> None:
    six = '\n[[endpoint]]\nnode = "beta"\ncarrier = "telecom"\naddress = "2001:db8::1"\n'
    private = '\n[[endpoint]]\nnode = "gamma"\ncarrier = "unicom"\nplane = "ip_private"\n'
    only_inside = small().split('[[stream_group]]\nid = "at-nodes"')[0]
    mesh = mesh_of(only_inside + six + private)
    assert {(s.source, s.destination) for s in mesh.streams} == {
        ("alpha/telecom", "gamma/telecom"),
        ("gamma/telecom", "alpha/telecom"),
        ("alpha/unicom", "beta/unicom"),
        ("beta/unicom", "alpha/unicom"),
    }


def test_listed_pairs_may_be_one_way_and_of_another_method() -> None:
    rule = '\n[[stream_group]]\nid = "p"\nshape = "pairs"\npairs = [["alpha/telecom", "beta/telecom"]]\n'
    rule += 'both_ways = false\nmethod = "icmp"\ninterval_ms = 1000\n'
    mesh = mesh_of(small(more=rule))
    assert [(s.source, s.interval_ms) for s in mesh.streams if s.method == "icmp"] == [("alpha/telecom", 1000)]


def test_the_order_of_a_pair_is_kept() -> None:
    rule = '\n[[stream_group]]\nid = "p"\nshape = "pairs"\npairs = [["gamma/telecom", "beta/telecom"]]\n'
    mesh = mesh_of(small(more=rule + 'both_ways = false\nmethod = "icmp"\n'))
    assert [(s.source, s.destination) for s in mesh.streams if s.method == "icmp"] == [
        ("gamma/telecom", "beta/telecom")
    ]


def test_a_class_of_its_own_is_a_stream_of_its_own() -> None:
    mesh = mesh_of(small(more='\n[[stream_group]]\nid = "ef"\nshape = "inside"\nclass = "ef"\n'))
    both = [s for s in mesh.streams if (s.source, s.destination) == ("alpha/telecom", "beta/telecom")]
    assert [s.traffic_class for s in both] == ["be", "ef"]
    assert both[0].id != both[1].id


def test_a_listed_probe_takes_its_endpoints_from_the_default_one() -> None:
    mesh = mesh_of(small(more=probe_line("small/north", '"alpha/telecom", "beta/telecom"')))
    assert mesh.probe_by_id["small/north"].endpoints == ("alpha/telecom", "beta/telecom")
    assert mesh.probe_by_id["small/alpha"].endpoints == ("alpha/unicom",)
    assert stream(mesh, "beta/telecom", "alpha/telecom").probe_id == "small/north"


def test_a_mesh_without_keys_holds_and_warns() -> None:
    assert mesh_of(small()).warnings[0].startswith("3 of 3 probes have no key")


def test_keys_enrolled_at_run_time_change_the_version_and_nothing_of_the_plan() -> None:
    mesh = mesh_of(small())
    keyed = with_probe_keys(mesh, {"small/alpha": [("k1", PUBLIC_HEX)], "small/beta": [("k2", PUBLIC_BASE64)]})
    assert keyed.version != mesh.version
    assert keyed.streams == mesh.streams
    found = {(probe.id, key.id): key_bytes(key.public) for probe in keyed.probes for key in probe.keys}
    assert found == dict.fromkeys([("small/alpha", "k1"), ("small/beta", "k2")], bytes.fromhex(PUBLIC_HEX))


def test_enrolling_a_key_anew_replaces_it_and_an_unknown_probe_is_refused() -> None:
    mesh = with_probe_keys(mesh_of(small()), {"small/alpha": [("k1", PUBLIC_HEX)]})
    again = with_probe_keys(mesh, {"small/alpha": [("k1", PUBLIC_BASE64)]})
    assert len(again.probe_by_id["small/alpha"].keys) == 1
    with pytest.raises(MeshError, match="`small/nobody` is unknown"):
        with_probe_keys(mesh, {"small/nobody": [("k1", PUBLIC_HEX)]})


def test_the_canonical_text_gives_the_same_mesh_back() -> None:
    mesh = mesh_of(small(more=ROADS + probe_line("small/alpha", keys=f'{{ id = "k", public = "{PUBLIC_HEX}" }}')))
    assert mesh_from_canonical(mesh.canonical, source="table mesh") == mesh


@pytest.mark.parametrize("text", ["", "{}", '{"derivation": 1, "file": {"mesh": {"id": "a"}}, "more": 1}'])
def test_a_text_that_is_not_canonical_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="table mesh: not the canonical form"):
        mesh_from_canonical(text, source="table mesh")
