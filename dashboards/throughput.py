"""The rate of a throughput test from its counts."""

from collections.abc import Mapping


def throughput_mbps(row: Mapping[str, object]) -> float | None:
    """Return the IP-layer rate between first and last arrival, or None when fewer than two packets came.

    The first packet opens the interval and is not counted in it (packet train convention).
    """
    packets, duration_us = _number(row["received_packets"]), _number(row["receive_duration_us"])
    if packets < 2 or duration_us == 0:
        return None
    return (packets - 1) * _number(row["packet_bytes"]) * 8 / duration_us


def _number(value: object) -> int:
    return int(str(value))
