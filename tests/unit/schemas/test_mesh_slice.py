"""The part of the mesh that one probe gets."""

import pytest
from support.meshes import PUBLIC_HEX, ROADS, mesh_of, probe_line, small

from schemas.errors import MeshError
from schemas.mesh import with_probe_keys
from schemas.mesh_cost import cost
from schemas.mesh_rows import mesh_rows
from schemas.mesh_slice import probe_slice, slice_from_json, slice_to_json

ICMP = """
[[stream_group]]
id = "p"
shape = "pairs"
pairs = [["alpha/telecom", "beta/telecom"]]
method = "icmp"
class = "ef"
"""


def test_a_slice_holds_every_stream_its_probe_sends_and_no_other() -> None:
    mesh = mesh_of(small())
    sent = [s.id for each in mesh.probes for s in probe_slice(mesh, each.id).streams]
    assert sorted(sent) == sorted(mesh.stream_by_id)
    assert {s.source for s in probe_slice(mesh, "small/alpha").streams} == {"alpha/telecom", "alpha/unicom"}


def test_a_stream_of_a_slice_says_where_to_send_and_how_often() -> None:
    mesh = mesh_of(small(more=ICMP))
    (icmp,) = [s for s in probe_slice(mesh, "small/alpha").streams if s.method == "icmp"]
    assert (icmp.source_address, icmp.destination_address, icmp.destination_port) == ("10.1.1.1", "10.1.2.1", 0)
    assert (icmp.dscp, icmp.planned_per_slot) == (46, 100)
    stamp = [s for s in probe_slice(mesh, "small/alpha").streams if s.method == "stamp"]
    assert {s.destination_port for s in stamp} == {862}


def test_a_slice_admits_exactly_those_who_test_against_it() -> None:
    mesh = with_probe_keys(mesh_of(small()), {"small/gamma": [("kg", PUBLIC_HEX)]})
    peers = {peer.probe_id: peer for peer in probe_slice(mesh, "small/alpha").peers}
    assert set(peers) == {"small/alpha", "small/beta", "small/gamma"}  # alpha crosses to itself
    assert peers["small/gamma"].addresses == ("10.1.3.1", "10.2.3.1")
    assert [key.id for key in peers["small/gamma"].keys] == ["kg"]


def test_a_probe_that_only_pings_is_no_reflector_peer() -> None:
    text = small(more=probe_line("small/lone", '"alpha/telecom"')).split("[[stream_group]]")[0]
    mesh = mesh_of(text + ICMP)
    assert probe_slice(mesh, "small/alpha").peers == ()


def test_a_slice_survives_json_and_a_newer_sender() -> None:
    each = probe_slice(mesh_of(small(more=ICMP)), "small/beta")
    assert slice_from_json(slice_to_json(each)) == each
    assert slice_from_json(slice_to_json(each).replace(b"{", b'{"new":1,', 1)) == each


@pytest.mark.parametrize("value", [b"", b"{}", b"\xff", b"[]"])
def test_bytes_that_are_no_slice_are_refused(value: bytes) -> None:
    with pytest.raises(MeshError, match="not a slice"):
        slice_from_json(value)


def test_the_slice_of_an_unknown_probe_is_refused_with_those_known() -> None:
    with pytest.raises(MeshError, match="`small/x` is unknown; known: small/alpha, small/beta, small/gamma"):
        probe_slice(mesh_of(small()), "small/x")


def test_a_mesh_costs_what_its_packets_weigh() -> None:
    mesh = mesh_of(small())
    load = cost(mesh.streams, mesh.endpoint_by_id, mesh.defaults)
    assert (load.streams, load.packets_per_s, load.summaries_per_s) == (22, 220.0, 2.2)
    assert load.kbit_per_s == pytest.approx(220 * 72 * 8 / 1000)  # 44 bytes of STAMP under UDP and IPv4


def test_rows_carry_the_version_and_one_line_for_each_thing() -> None:
    mesh = mesh_of(small(more=ROADS))
    rows = mesh_rows(mesh, 1_700_000_040)
    assert {table: len(lines) for table, lines in rows.items()} == {"mesh": 1, "node": 4, "endpoint": 6, "stream": 22}
    for lines in rows.values():
        assert {(row["mesh"], row["version"], row["valid_from"]) for row in lines} == {
            ("small", mesh.version, 1_700_000_040)
        }


def test_a_stream_row_says_its_path_its_control_and_its_distance() -> None:
    mesh = mesh_of(small(more=ROADS))
    row = next(
        r for r in mesh_rows(mesh, 0)["stream"] if (r["source"], r["destination"]) == ("alpha/telecom", "beta/unicom")
    )
    assert list(row) == [
        "mesh",
        "version",
        "valid_from",
        "stream_id",
        "source",
        "destination",
        "source_node",
        "destination_node",
        "method",
        "class",
        "plane",
        "relation",
        "control",
        "interval_ms",
        "timeout_ms",
        "planned_per_slot",
        "probe_id",
        "segments",
        "distance_km",
    ]
    assert row["segments"] == ["ab-telecom", "meet-beta"]
    assert row["planned_per_slot"] == 100
    assert row["distance_km"] == pytest.approx(1095, abs=5)
    assert row["control"] in mesh.stream_by_id


def test_the_row_of_an_inside_stream_has_no_control_and_says_so_with_zero() -> None:
    rows = mesh_rows(mesh_of(small()), 0)["stream"]
    assert {row["control"] for row in rows if row["relation"] == "intra_network"} == {0}


def test_a_plan_that_would_begin_inside_a_minute_is_refused() -> None:
    with pytest.raises(ValueError, match="whole minute"):
        mesh_rows(mesh_of(small()), 30)
