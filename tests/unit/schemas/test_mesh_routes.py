"""The path of a stream over the declared segments."""

import pytest
from support.meshes import ROADS, mesh_of, small

from schemas.mesh import Mesh

SHORT_CUT = (
    '[[segment]]\nid = "{id}"\nkind = "trunk"\na = "alpha/telecom"\nb = "gamma/telecom"\n'
    'networks = ["chinanet"]\nkm = {km}\n'
)


def path(mesh: Mesh, source: str, destination: str) -> tuple[str, ...]:
    return next(s.segments for s in mesh.streams if (s.source, s.destination) == (source, destination))


def test_a_path_lists_its_segments_from_source_to_destination() -> None:
    mesh = mesh_of(small(more=ROADS))
    assert path(mesh, "alpha/telecom", "gamma/telecom") == ("ab-telecom", "bc-telecom")
    assert path(mesh, "gamma/telecom", "alpha/telecom") == ("bc-telecom", "ab-telecom")


def test_a_crossing_goes_through_one_interconnect() -> None:
    mesh = mesh_of(small(more=ROADS))
    assert path(mesh, "beta/telecom", "beta/unicom") == ("meet-beta",)
    assert path(mesh, "alpha/telecom", "alpha/unicom") == ("ab-telecom", "meet-beta", "ab-unicom")


def test_a_stream_inside_a_carrier_never_borrows_the_other_carriers_road() -> None:
    meet = ROADS.split("[[segment]]")[-1].replace("beta", "{0}").replace("km = 5", "km = 1")
    short = ROADS + "".join("[[segment]]" + meet.format(name) for name in ("alpha", "gamma"))
    direct = SHORT_CUT.format(id="direct", km=1).replace("telecom", "unicom").replace("chinanet", "china169")
    mesh = mesh_of(small(more=short + direct))
    assert path(mesh, "alpha/telecom", "gamma/telecom") == ("ab-telecom", "bc-telecom")


def test_a_crossing_does_not_come_back_to_the_carrier_it_left() -> None:
    meets = ROADS.split("[[segment]]")[-1].replace("beta", "{0}")
    roads = ROADS.replace('id = "bc-unicom"', 'id = "bc-unicom"\nkm = 9000').replace("km = 5", "km = 5")
    mesh = mesh_of(small(more=roads + "[[segment]]" + meets.format("gamma")))
    assert path(mesh, "alpha/unicom", "alpha/telecom") == ("ab-unicom", "meet-beta", "ab-telecom")
    assert path(mesh, "gamma/unicom", "gamma/telecom") == ("meet-gamma",)


def test_a_shorter_road_is_taken_and_a_weight_can_say_otherwise() -> None:
    short = SHORT_CUT.format(id="direct", km=100)
    assert path(mesh_of(small(more=ROADS + short)), "alpha/telecom", "gamma/telecom") == ("direct",)
    heavy = short + "weight = 1e5\n"
    assert path(mesh_of(small(more=ROADS + heavy)), "alpha/telecom", "gamma/telecom") == ("ab-telecom", "bc-telecom")


def test_of_two_equal_roads_the_lesser_id_is_taken_and_a_warning_given() -> None:
    mesh = mesh_of(small(more=ROADS + SHORT_CUT.format(id="d2", km=100) + SHORT_CUT.format(id="d1", km=100)))
    assert path(mesh, "alpha/telecom", "gamma/telecom") == ("d1",)
    assert any("two paths of one length" in warning for warning in mesh.warnings)


def test_a_tie_in_the_first_part_of_a_path_is_told_for_the_whole_of_it() -> None:
    twin = SHORT_CUT.format(id="ab-twin", km=100).replace("gamma", "beta")
    mesh = mesh_of(small(more=ROADS.replace('id = "ab-telecom"', 'id = "ab-telecom"\nkm = 100') + twin))
    (warning,) = [w for w in mesh.warnings if "two paths" in w]
    assert warning.startswith("8 streams")  # a-b, a-c inside; both ways; crossings that use the first part


def test_no_segments_means_no_paths_and_no_complaint() -> None:
    assert {s.segments for s in mesh_of(small()).streams} == {()}


def test_a_length_that_is_not_written_is_the_great_circle_by_the_route_factor() -> None:
    mesh = mesh_of(small(more=ROADS))
    assert mesh.segment_by_id["bc-telecom"].km == pytest.approx(1.25 * 677, rel=0.01)
    assert mesh.segment_by_id["meet-beta"].km == 5
