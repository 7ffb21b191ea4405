"""Rows -> what the posture page shows. Pure.

The worst of several streams is what a cell says: down before degraded before unknown before ok. A pair without a
stream is a dash, never a colour.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from schemas.histogram import Sparse, quantile_us, value_us

Row = Mapping[str, Any]

BADNESS: Final[Mapping[str, int]] = {"ok": 0, "insufficient": 1, "degraded": 2, "down": 3}
GLYPHS: Final[Mapping[str, str]] = {"ok": "", "degraded": "▲", "down": "✕", "insufficient": "?"}


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One pair of nodes inside one carrier."""

    state: str
    reason: str
    source: str  # endpoint ids, for the link to the path
    destination: str
    delay_ms: float | None  # one way, median of the newest slot; None: no method knows it, or nothing came back lately
    rule: str
    sent: int
    lost: int

    @property
    def glyph(self) -> str:
        """Return the sign that goes with the colour."""
        return GLYPHS[self.state]


class Matrix(msgspec.Struct, frozen=True, kw_only=True):
    """The pairs of one carrier: row = source, column = destination."""

    carrier: str
    names: tuple[str, ...]
    cells: dict[tuple[str, str], Cell]


def counts(states: Iterable[Row]) -> dict[str, int]:
    """Return how many streams are in each state, all four named."""
    found = dict.fromkeys(("ok", "degraded", "down", "insufficient"), 0)
    for row in states:
        found[row["state"]] += 1
    return found


def matrices(states: Sequence[Row], delays: Iterable[Row]) -> list[Matrix]:
    """Return one matrix for each carrier, by name; crossings between carriers are not in it."""
    delay_ms = {row["stream_id"]: value_us(int(row["median_bin"])) / 1000 for row in delays}
    one_way = {(row["source"], row["destination"]): row["stream_id"] for row in states if row["method"] == "stamp"}
    carriers = sorted({_carrier(row["source"]) for row in states})
    ways_ms = {ends: delay_ms.get(stream_id) for ends, stream_id in one_way.items()}
    return [_matrix(carrier, states, ways_ms) for carrier in carriers]


def crossings(states: Sequence[Row]) -> list[tuple[Row, Row | None]]:
    """Return each crossing beside its control, the worst first."""
    by_id = {row["stream_id"]: row for row in states}
    found = [(row, by_id.get(row["control"])) for row in states if row["relation"] == "inter_network"]
    return sorted(found, key=lambda pair: -BADNESS[pair[0]["state"]])


def minutes(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Return the minutes of a stream with loss counts and quantiles in ms, None where they lie among the lost."""
    return [_minute(row) for row in rows]


def sparkline(values: Sequence[float | None], *, width: int = 600, height: int = 80) -> str:
    """Return the points of an SVG polyline path, broken where a value is absent; "" when there is none."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, span = min(known), max(max(known) - min(known), 1e-9)
    step = width / max(1, len(values) - 1)
    parts: list[str] = []
    pen = "M"
    for place, value in enumerate(values):
        if value is None:
            pen = "M"
            continue
        parts.append(f"{pen}{place * step:.1f} {height - 4 - (value - low) / span * (height - 8):.1f}")
        pen = "L"
    return " ".join(parts)


def _carrier(endpoint: str) -> str:
    return endpoint.split("/")[1]


def _matrix(carrier: str, states: Sequence[Row], ways_ms: Mapping[tuple[str, str], float | None]) -> Matrix:
    cells: dict[tuple[str, str], Cell] = {}
    for row in states:
        if _carrier(row["source"]) != carrier or _carrier(row["destination"]) != carrier:
            continue
        pair = (row["source_node"], row["destination_node"])
        cell = _cell(row, ways_ms.get((row["source"], row["destination"])))
        if pair not in cells or BADNESS[cell.state] > BADNESS[cells[pair].state]:
            cells[pair] = cell
    names = sorted({name for pair in cells for name in pair})
    return Matrix(carrier=carrier, names=tuple(names), cells=cells)


def _cell(row: Row, delay_ms: float | None) -> Cell:
    return Cell(
        state=row["state"],
        reason=row["reason"],
        source=row["source"],
        destination=row["destination"],
        delay_ms=delay_ms,
        rule=f"{row['rule']} v{row['rule_version']}" if row["rule"] else "",
        sent=row["sent"],
        lost=row["lost"],
    )


def _minute(row: Row) -> dict[str, Any]:
    lost = sum(int(row[f"lost_{way}"]) for way in ("forward", "backward", "unresolved"))
    histogram: Sparse = dict(zip(row["delay_bin"], row["delay_count"], strict=True))
    quantiles = {f"p{round(q * 100)}": _ms(quantile_us(histogram, q, lost=lost)) for q in (0.5, 0.95, 0.99)}
    return dict(row) | {"lost": lost} | quantiles


def _ms(us: float | None) -> float | None:
    return None if us is None else us / 1000
