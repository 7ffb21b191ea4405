"""Distances and what light allows."""

import pytest

from schemas.physics import (
    circle_by_rtt,
    directness,
    great_circle_km,
    light_floor_us,
    one_way_bounds_us,
    stretch,
    theoretical_us,
)

ZHANGJIAKOU, GUIAN = (40.41, 115.52), (26.42, 106.49)


def test_the_longest_pair_of_clusters_is_1765_km_and_8_6_ms_of_straight_fibre() -> None:
    km = great_circle_km(*ZHANGJIAKOU, *GUIAN)
    assert round(km) == 1765
    assert round(theoretical_us(km, "great_circle") / 1000, 1) == 8.6


@pytest.mark.parametrize(
    ("a", "b", "km"),
    [
        ((0, 0), (0, 0), 0),
        ((0, 0), (0, 180), 20015.087),
        ((90, 0), (-90, 77), 20015.087),
        ((0, 179), (0, -179), 222.39),
    ],
)
def test_great_circles_hold_at_the_edges_of_the_globe(
    a: tuple[float, float], b: tuple[float, float], km: float
) -> None:
    assert great_circle_km(*a, *b) == pytest.approx(km, abs=0.01)


def test_a_route_factor_lengthens_the_great_circle_by_a_quarter_and_a_survey_is_taken_as_it_is() -> None:
    assert theoretical_us(1000, "great_circle") == pytest.approx(4897)
    assert theoretical_us(1000, "route_factor") == pytest.approx(4897 * 1.25)
    assert theoretical_us(1000, "surveyed_km") == pytest.approx(4897)


def test_light_in_vacuum_is_faster_than_any_fibre() -> None:
    assert light_floor_us(1000) == pytest.approx(3336)
    assert light_floor_us(1000) < theoretical_us(1000, "great_circle")


def test_one_direction_lies_between_the_floor_and_what_the_round_trip_leaves() -> None:
    assert one_way_bounds_us(30_000, 1000) == pytest.approx((3336, 26_664))


def test_a_round_trip_faster_than_light_has_no_bounds() -> None:
    assert one_way_bounds_us(6000, 1000) is None


@pytest.mark.parametrize(
    ("rtt_us", "proof"),
    [(23_336, "both_within"), (23_337, "undecided"), (40_000, "undecided"), (40_001, "not_both_within")],
)
def test_a_round_trip_proves_the_20_ms_circle_only_where_it_can(rtt_us: float, proof: str) -> None:
    assert circle_by_rtt(rtt_us, 1000, 20_000) == proof


def test_a_circle_smaller_than_light_allows_is_never_proven() -> None:
    assert circle_by_rtt(0, 1000, 1000) == "not_both_within"


def test_stretch_is_measured_over_theory_and_absent_inside_one_place() -> None:
    assert stretch(9794, 1000, "great_circle") == pytest.approx(2.0)
    assert stretch(9794, 0, "great_circle") is None


def test_directness_is_one_for_a_hundred_kilometres_in_a_millisecond_of_round_trip() -> None:
    assert directness(1000, 10_000) == pytest.approx(1.0)
    assert directness(1000, 0) is None
