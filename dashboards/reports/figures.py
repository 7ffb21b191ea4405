"""The figures of a report from its rows: sums, a Wilson interval, quantiles of merged histograms. Pure; pandas."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

import pandas as pd

from dashboards.reports.snapshot import Row
from schemas.histogram import Sparse, merge, quantile_us

Z_95: Final = 1.959964
ENOUGH_COVERAGE: Final = 0.5  # below half of its plan a stream is listed as without enough data, and its loss unranked


def frame(streams: Sequence[Row]) -> pd.DataFrame:
    """Return the streams as a table with `lost`, `coverage` (capped at 1) and one sparse `histogram` each."""
    table = pd.DataFrame(list(streams))
    table["lost"] = table["lost_forward"] + table["lost_backward"] + table["lost_unresolved"]
    table["coverage"] = (table["sent"] / table["planned"]).clip(upper=1.0)
    table["histogram"] = [
        dict(zip(bins, counts, strict=True))
        for bins, counts in zip(table["delay_bin"], table["delay_count"], strict=True)
    ]
    return table


def wilson(lost: int, sent: int) -> tuple[float, float] | None:
    """Return the 95 % Wilson interval of the loss ratio (Wilson, JASA 1927), or None when nothing was sent."""
    if sent == 0:
        return None
    ratio = lost / sent
    middle = ratio + Z_95**2 / (2 * sent)
    half = Z_95 * math.sqrt(ratio * (1 - ratio) / sent + Z_95**2 / (4 * sent**2))
    scale = 1 + Z_95**2 / sent
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def figures(rows: pd.DataFrame) -> dict[str, Any]:
    """Return the figures of a set of streams. Delays in ms, None where they lie among the lost or were not measured."""
    sent, lost = int(rows["sent"].sum()), int(rows["lost"].sum())
    histogram = merge(rows["histogram"])
    pairs = int(rows["ipdv_pairs"].sum())
    return {
        "streams": len(rows),
        "sent": sent,
        "lost": lost,
        "coverage": min(1.0, sent / int(rows["planned"].sum())),
        "loss": lost / sent if sent > 0 else None,
        "interval": wilson(lost, sent),
        "run": int(rows["loss_run_max"].max()),
        "ipdv_us": int(rows["ipdv_abs_sum_us"].sum()) / pairs if pairs > 0 else None,
        **quantiles_ms(histogram, lost),
    }


def quantiles_ms(histogram: Sparse, lost: int) -> dict[str, float | None]:
    """Return p50, p95 and p99 in milliseconds."""
    found = {f"p{round(q * 100)}": quantile_us(histogram, q, lost=lost) for q in (0.5, 0.95, 0.99)}
    return {name: None if us is None else us / 1000 for name, us in found.items()}


def by_relation(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the figures of each (relation, plane, method)."""
    keys = ["relation", "plane", "method"]
    return [dict(zip(keys, key, strict=True)) | figures(rows) for key, rows in table.groupby(keys, sort=True)]


def worst(table: pd.DataFrame, count: int = 20) -> list[dict[str, Any]]:
    """Return the streams with the highest lower bound of loss, then the longest p99; none without loss."""
    ranked = [
        {"source": row.source, "destination": row.destination, "method": row.method} | figures(table.loc[[row.Index]])
        for row in table[(table["lost"] > 0) & (table["coverage"] >= ENOUGH_COVERAGE)].itertuples()
    ]
    return sorted(ranked, key=_badness, reverse=True)[:count]


def _badness(row: dict[str, Any]) -> tuple[float, float, str]:
    return row["interval"][0], row["p99"] or 0.0, row["source"] + row["destination"]


def silent(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the streams that reached less than half of their plan."""
    found = table[table["coverage"] < ENOUGH_COVERAGE]
    records: list[dict[str, Any]] = found[["source", "destination", "method", "coverage"]].to_dict("records")
    return records


def matrix(table: pd.DataFrame) -> tuple[list[str], list[str], dict[tuple[str, str], float | None]]:
    """Return (sources, destinations, median one-way delay in ms of each pair) over the streams that know one way."""
    one_way = table[(table["method"] == "stamp") & (table["source_node"] != table["destination_node"])]
    cells = {
        pair: quantiles_ms(merge(rows["histogram"]), int(rows["lost"].sum()))["p50"]
        for pair, rows in one_way.groupby(["source_node", "destination_node"], sort=True)
    }
    return _names(pair[0] for pair in cells), _names(pair[1] for pair in cells), cells


def _names(values: Iterable[str]) -> list[str]:
    return sorted(set(values))
