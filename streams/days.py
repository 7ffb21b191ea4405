"""Local days: which day of a timezone owns an instant, and from when until when it lasts (pure)."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

HOUR_S = 3600


class LocalDay(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """A day of a timezone: [from_s, until_s) in UTC seconds; 23 or 25 hours long where the clocks change."""

    day: date
    from_s: int
    until_s: int

    @property
    def whole_hours(self) -> tuple[int, int]:
        """Return the first whole UTC hour of the day and the end of the last: equal where there is none."""
        first_s = -(-self.from_s // HOUR_S) * HOUR_S
        return first_s, max(first_s, self.until_s // HOUR_S * HOUR_S)


def day_at(at_s: int, timezone: str) -> LocalDay:
    """Return the local day that owns an instant. Days follow each other without gap, so every instant has one.

    Args:
        at_s: UTC seconds.
        timezone: a name of the IANA database.

    Raises:
        ZoneInfoNotFoundError: there is none of that name.
    """
    zone = ZoneInfo(timezone)
    day = datetime.fromtimestamp(at_s, UTC).astimezone(zone).date()
    if midnight_s(day + timedelta(days=1), zone) <= at_s:  # clocks that went back over midnight show the old date again
        day += timedelta(days=1)
    while midnight_s(day, zone) > at_s:
        day -= timedelta(days=1)
    return LocalDay(day=day, from_s=midnight_s(day, zone), until_s=midnight_s(day + timedelta(days=1), zone))


def days_of_hour(hour_s: int, timezone: str) -> tuple[LocalDay, ...]:
    """Return the one or two local days that have a part of a UTC hour."""
    first, last = day_at(hour_s, timezone), day_at(hour_s + HOUR_S - 1, timezone)
    return (first,) if first == last else (first, last)


def midnight_s(day: date, zone: ZoneInfo) -> int:
    """Return when a local day begins, UTC seconds: its first midnight, or the end of the gap where it has none."""
    return round(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())
