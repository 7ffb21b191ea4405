"""The oracle of the rollups: dict arithmetic over rows of minutes, one after the other. It shares no code with them.

A minute's hour is its time without the rest, its day is the date that a clock on the wall shows.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from support.plain_fold import SUMMED

Row = dict[str, Any]
COUNTED = ("slots", "complete_slots", "probe_sick_slots", "loaded_slots")


def hours_plainly(minutes: Iterable[Row]) -> dict[tuple[str, int, int], Row]:
    """Return a row for each (probe, stream, hour), `written_ms` left out."""
    groups: dict[tuple[str, int, int], list[Row]] = {}
    for minute in minutes:
        at = (minute["probe_id"], minute["stream_id"], minute["minute"] - minute["minute"] % 3600)
        groups.setdefault(at, []).append(minute)
    return {at: {"hour": at[2], **_row(rows)} for at, rows in groups.items()}


def days_plainly(minutes: Iterable[Row], timezone: str) -> dict[tuple[str, int, str], Row]:
    """Return a row for each (probe, stream, date), `written_ms` left out."""
    zone = ZoneInfo(timezone)
    groups: dict[tuple[str, int, str], list[Row]] = {}
    for minute in minutes:
        date = datetime.fromtimestamp(minute["minute"], zone).date().isoformat()
        groups.setdefault((minute["probe_id"], minute["stream_id"], date), []).append(minute)
    return {at: {"day": at[2], "timezone": timezone, **_span(at[2], zone), **_row(rows)} for at, rows in groups.items()}


def _span(date: str, zone: ZoneInfo) -> Row:
    """Count the minutes that show the date, as a watchman would."""
    noon = round(datetime.fromisoformat(f"{date}T12:00").replace(tzinfo=zone).timestamp())
    shown = [
        at for at in range(noon - 86_400, noon + 86_400, 60) if str(datetime.fromtimestamp(at, zone).date()) == date
    ]
    return {"start": shown[0], "seconds": timedelta(minutes=len(shown)) // timedelta(seconds=1)}


def _row(minutes: list[Row]) -> Row:
    row: Row = {"probe_id": minutes[0]["probe_id"], "stream_id": minutes[0]["stream_id"], "minutes": len(minutes)}
    row["version"] = 1 * 2**52 + sum(minute["version"] for minute in minutes)
    row["mesh"] = max(minute["mesh"] for minute in minutes)
    row["clock_synchronised"] = min(minute["clock_synchronised"] for minute in minutes)
    row["clock_error_us"] = max(minute["clock_error_us"] for minute in minutes)
    row |= {name: sum(minute[name] for minute in minutes) for name in COUNTED}
    for prefix in ("", "loaded_"):
        row |= {prefix + name: sum(minute[prefix + name] for minute in minutes) for name in SUMMED}
        row[f"{prefix}loss_run_max"] = max(minute[f"{prefix}loss_run_max"] for minute in minutes)
        for way in ("rtt_", "forward_", "backward_"):
            row |= _delay(prefix + way, minutes)
    return row


def _delay(way: str, minutes: list[Row]) -> Row:
    heard = [minute for minute in minutes if minute[f"{way}n"] > 0]
    out = {
        way + name: sum(minute[way + name] for minute in minutes)
        for name in ("n", "sum_us", "ipdv_pairs", "ipdv_abs_sum_us")
    }
    out[f"{way}min_us"] = min([minute[f"{way}min_us"] for minute in heard] or [0])
    out[f"{way}max_us"] = max([minute[f"{way}max_us"] for minute in heard] or [0])
    for kind in ("", "ipdv_"):
        total: dict[int, int] = {}
        for minute in minutes:
            for bin_, count in zip(minute[f"{way}{kind}bin"], minute[f"{way}{kind}count"], strict=True):
                total[bin_] = total.get(bin_, 0) + count
        out[f"{way}{kind}bin"] = sorted(total)
        out[f"{way}{kind}count"] = [total[bin_] for bin_ in sorted(total)]
    return out
