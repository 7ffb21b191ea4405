"""Local days: every instant has exactly one, and it is the one that a clock on the wall shows."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.days import day_at, days_of_hour

ZONES = (
    *("Asia/Shanghai", "UTC", "Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu", "America/New_York", "Asia/Beirut"),
    *(
        "Australia/Lord_Howe",
        "America/Havana",
        "Pacific/Apia",
        "Pacific/Kiritimati",
        "Africa/Cairo",
        "America/St_Johns",
    ),
)


def utc_s(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@given(st.integers(utc_s("1995-01-01"), utc_s("2100-01-01")), st.sampled_from(ZONES))
def test_every_instant_has_one_day_and_days_follow_each_other_without_gap(at_s: int, timezone: str) -> None:
    day = day_at(at_s, timezone)
    assert day.from_s <= at_s < day.until_s
    assert day_at(day.from_s, timezone) == day == day_at(day.until_s - 1, timezone)
    assert day_at(day.until_s, timezone).from_s == day.until_s
    assert day_at(day.from_s - 1, timezone).until_s == day.from_s
    shown = datetime.fromtimestamp(at_s, ZoneInfo(timezone)).date()
    assert shown == day.day or (timezone == "America/St_Johns" and shown + timedelta(days=1) == day.day)


@pytest.mark.parametrize(
    ("at", "timezone", "day", "hours"),
    [
        ("2026-10-31T15:30", "Asia/Shanghai", date(2026, 10, 31), 24),  # 23:30 in Beijing
        ("2026-10-31T16:00", "Asia/Shanghai", date(2026, 11, 1), 24),
        ("1988-04-16T15:59", "Asia/Shanghai", date(1988, 4, 16), 24),
        ("1988-04-17T03:00", "Asia/Shanghai", date(1988, 4, 17), 23),
        ("1988-09-10T16:00", "Asia/Shanghai", date(1988, 9, 11), 25),
        ("2026-03-29T12:00", "Europe/Berlin", date(2026, 3, 29), 23),
        ("2026-10-25T12:00", "Europe/Berlin", date(2026, 10, 25), 25),
        ("2026-10-25T22:59", "Europe/Berlin", date(2026, 10, 25), 25),
        ("2026-04-04T20:00", "Australia/Lord_Howe", date(2026, 4, 5), 24.5),
        ("2026-06-01T18:29", "Asia/Kolkata", date(2026, 6, 1), 24),
        ("2026-06-01T18:30", "Asia/Kolkata", date(2026, 6, 2), 24),
        ("2011-12-30T09:59", "Pacific/Apia", date(2011, 12, 29), 24),  # there was no 30th
        ("2011-12-30T10:00", "Pacific/Apia", date(2011, 12, 31), 24),
    ],
)
def test_f50_days_of_23_24_and_25_hours_bear_the_date_on_the_wall(
    at: str, timezone: str, day: date, hours: float
) -> None:
    found = day_at(utc_s(at), timezone)
    assert (found.day, (found.until_s - found.from_s) / 3600) == (day, hours)


def test_an_hour_belongs_to_two_days_only_where_midnight_is_inside_it() -> None:
    hour_s = utc_s("2026-06-01T18:00")
    assert [each.day for each in days_of_hour(hour_s, "Asia/Kolkata")] == [date(2026, 6, 1), date(2026, 6, 2)]
    assert [each.day for each in days_of_hour(hour_s, "Asia/Shanghai")] == [date(2026, 6, 2)]
    assert [each.day for each in days_of_hour(utc_s("2026-06-01T15:00"), "Asia/Shanghai")] == [date(2026, 6, 1)]


@pytest.mark.parametrize(
    ("at", "timezone", "first", "end"),
    [
        ("2026-06-01T12:00", "Asia/Shanghai", "2026-05-31T16:00", "2026-06-01T16:00"),
        ("2026-06-01T12:00", "Asia/Kolkata", "2026-05-31T19:00", "2026-06-01T18:00"),
    ],
)
def test_the_whole_hours_of_a_day_leave_its_broken_edges_out(at: str, timezone: str, first: str, end: str) -> None:
    assert day_at(utc_s(at), timezone).whole_hours == (utc_s(first), utc_s(end))
