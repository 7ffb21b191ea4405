"""What light allows: distance, the theoretical delay, and what a round trip proves about each direction.

Delays are one way and in microseconds unless the name says rtt. Distances are in kilometres.
"""

import math
from typing import Final, Literal, assert_never

EARTH_RADIUS_KM: Final = 6371.0
FIBRE_US_PER_KM: Final = 4.897  # group index 1.468 (G.652 at 1550 nm)
VACUUM_US_PER_KM: Final = 3.336  # no fibre, hollow or not, is faster: the floor that proofs stand on
ROUTE_FACTOR: Final = 1.25  # cables follow railways and roads

Basis = Literal["great_circle", "route_factor", "surveyed_km"]
CircleProof = Literal["both_within", "not_both_within", "undecided"]


def great_circle_km(lat_a: float, lon_a: float, lat_b: float, lon_b: float) -> float:
    """Return the haversine distance of two points given in degrees."""
    phi_a, phi_b = math.radians(lat_a), math.radians(lat_b)
    half_phi, half_lambda = (phi_b - phi_a) / 2, math.radians(lon_b - lon_a) / 2
    chord = math.sin(half_phi) ** 2 + math.cos(phi_a) * math.cos(phi_b) * math.sin(half_lambda) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(min(1.0, chord)))


def theoretical_us(distance_km: float, basis: Basis) -> float:
    """Return the one-way fibre delay that a policy compares with.

    Args:
        distance_km: great circle for the first two bases, length of the surveyed fibre for `surveyed_km`.
        basis: how the length of the fibre is known.
    """
    match basis:
        case "great_circle" | "surveyed_km":
            return distance_km * FIBRE_US_PER_KM
        case "route_factor":
            return distance_km * ROUTE_FACTOR * FIBRE_US_PER_KM
        case _:
            assert_never(basis)


def light_floor_us(distance_km: float) -> float:
    """Return the time of light in vacuum: no one-way delay is below it."""
    return distance_km * VACUUM_US_PER_KM


def one_way_bounds_us(rtt_us: float, distance_km: float) -> tuple[float, float] | None:
    """Return the least and the most that one direction can take of a round trip, or None when it beats light.

    Each direction takes at least the floor, so at most what is left of the round trip. None means that a
    coordinate or the measurement is wrong.
    """
    floor_us = light_floor_us(distance_km)
    most_us = rtt_us - floor_us
    return (floor_us, most_us) if most_us >= floor_us else None


def circle_by_rtt(rtt_us: float, distance_km: float, limit_us: float) -> CircleProof:
    """Return what a round trip alone proves of "each direction within `limit_us`".

    Within, when the most that a direction can take is within; not, when even two equal halves are too long or the
    floor itself is; between the two only a one-way measurement can tell.
    """
    floor_us = light_floor_us(distance_km)
    if rtt_us > 2 * limit_us or floor_us > limit_us:
        return "not_both_within"
    return "both_within" if rtt_us <= limit_us + floor_us else "undecided"


def stretch(one_way_us: float, distance_km: float, basis: Basis) -> float | None:
    """Return measured over theoretical one-way delay, or None where the theory says zero."""
    theory_us = theoretical_us(distance_km, basis)
    return one_way_us / theory_us if theory_us > 0 else None


def directness(distance_km: float, rtt_min_us: float) -> float | None:
    """Return km / (least round trip in ms x 100), or None without a round trip.

    Near 1 is a straight line, small is a detour, above 1 is a wrong coordinate or a wrong measurement.
    """
    return distance_km / (rtt_min_us / 1000 * 100) if rtt_min_us > 0 else None
