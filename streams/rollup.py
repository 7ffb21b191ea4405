"""Roll up: minutes -> whole hours of UTC and whole local days, recomputed by the engine whenever a minute changed.

A row is a function of the minutes below it and its version grows with what they know, so that any number of repeats, in
any number of processes, killed anywhere, leave the same tables. What changed is found in two ways. Every round takes
what was written since the checkpoint, less an overlap: writers' clocks differ, and a row is seen later than it is
stamped. At the start and once in a while a sweep compares versions instead, which asks no clock.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from threading import Event
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfoNotFoundError

import msgspec
import structlog

from schemas.clock import Clock, wall_ms
from schemas.errors import StoreTransientError
from schemas.tables import ROLLUP_CHECKPOINT
from streams.binding import Param
from streams.days import HOUR_S, LocalDay, days_of_hour
from streams.store import Store, StoreConfig, open_store

ROLLUP_RULE: Final = 1  # goes up when the same minutes would give another row; everything known is then rolled up anew
DAY_S: Final = 86_400
LATEST_S: Final = 15 * DAY_S  # older minutes change no more: what is 14 days late is refused
ALL_MESHES: Final = ""

K = TypeVar("K")
Touched = dict[int, set[str]]  # hour in UTC seconds -> probes

log = structlog.get_logger(__name__)


class RollupConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often, and against which store."""

    store: StoreConfig = StoreConfig()
    interval_s: float = 60.0
    rest: float = 9.0  # and at least so many times as long as the round took: a tenth of the time is the most it takes
    overlap_s: int = 600  # clocks of the workers, the longest flush
    sweep_s: float = 3600.0  # what a clock that is wrong by more than the overlap hid is rolled up then
    read_timeout_s: float = 120.0  # a national day takes seconds


class RollupReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a round recomputed."""

    hours: int
    days: int
    swept: bool


class Rollup:
    """Rolls up round by round. What it remembers is when it swept last; a new one sweeps first."""

    def __init__(
        self, store: Store, config: RollupConfig, clock: Clock, *, at: Callable[[str], None] = lambda _: None
    ) -> None:
        """Keep what it works with.

        Args:
            store: a login that writes.
            config: see there.
            clock: labels the checkpoint.
            at: called with "hours", "days" and "checkpoint" when each is written: where a test may end the process.
        """
        self._store = store
        self._config = config
        self._clock = clock
        self._at = at
        self._swept_ns: int | None = None

    def round(self) -> RollupReport:
        """Recompute every hour and day that knows less than its minutes; return how many.

        Raises:
            StoreTransientError: the store is away; the next round does it all.
            StorePermanentError: it refuses a statement.
        """
        now_ms, begun_ns = wall_ms(self._clock), self._clock.mono_ns()
        sweep = self._swept_ns is None or begun_ns - self._swept_ns >= self._config.sweep_s * 1e9
        hours = self._hours(now_ms, sweep=sweep)
        days = 0
        for row in self._store.rows("rollup_timezones"):
            try:
                days += self._days(str(row["mesh"]), str(row["timezone"]), now_ms, sweep=sweep)
            except ZoneInfoNotFoundError as err:  # one mesh's fault is not the others'
                log.error("timezone unknown, no days of it", mesh=row["mesh"], error=str(err))  # noqa: TRY400 - the text says it
        if sweep:
            self._swept_ns = begun_ns
        return RollupReport(hours=hours, days=days, swept=sweep)

    def _hours(self, now_ms: int, *, sweep: bool) -> int:
        until_ms = self._checkpoint("hour", ALL_MESHES, "")
        touched = self._touched(until_ms, now_ms, ALL_MESHES)
        if until_ms is None or sweep:
            touched = _joined(touched, self._stale_hours(_oldest_s(until_ms, now_ms)))
        for hour_s, probes in sorted(touched.items()):
            roll_hours(self._store, hour_s, hour_s + HOUR_S, probes, written_ms=now_ms)
        self._at("hours")
        self._reach("hour", ALL_MESHES, "", now_ms)
        return len(touched)

    def _days(self, mesh: str, timezone: str, now_ms: int, *, sweep: bool) -> int:
        until_ms = self._checkpoint("day", mesh, timezone)
        days = days_of(self._touched(until_ms, now_ms, mesh), timezone)
        if until_ms is None or sweep:
            days = _joined(days, self._stale_days(mesh, timezone, _oldest_s(until_ms, now_ms)))
        for day, probes in sorted(days.items()):
            roll_day(self._store, mesh, timezone, day, probes, written_ms=now_ms)
        self._at("days")
        self._reach("day", mesh, timezone, now_ms)
        return len(days)

    def _touched(self, until_ms: int | None, now_ms: int, mesh: str) -> Touched:
        if until_ms is None:
            return {}  # the sweep finds everything
        since_ms = max(0, min(until_ms, now_ms) - self._config.overlap_s * 1000)  # a stepped clock reaches no future
        from_s = max(0, since_ms // 1000 - LATEST_S)
        return _by_hour(self._store.rows("rollup_touched", since_ms=since_ms, from_s=from_s, mesh=mesh))

    def _stale_hours(self, from_s: int) -> Touched:
        """Return what a comparison of versions finds, a UTC day at a time: the engine's memory is bounded so."""
        touched: Touched = {}
        for day_s in sorted({hour_s // DAY_S * DAY_S for hour_s in self._known_hours(from_s, ALL_MESHES)}):
            bounds = {"from_s": day_s, "until_s": day_s + DAY_S}
            touched |= _by_hour(self._store.rows("rollup_stale_hours", **bounds, rule=ROLLUP_RULE))
        return touched

    def _stale_days(self, mesh: str, timezone: str, from_s: int) -> dict[LocalDay, set[str]]:
        known = {day for hour_s in self._known_hours(from_s, mesh) for day in days_of_hour(hour_s, timezone)}
        stale: dict[LocalDay, set[str]] = {}
        for day in sorted(known):
            named: dict[str, Param] = {"mesh": mesh, "timezone": timezone, "day": day.day.isoformat()}
            rows = self._store.rows(
                "rollup_stale_day", from_s=day.from_s, until_s=day.until_s, rule=ROLLUP_RULE, **named
            )
            if rows:
                stale[day] = {str(row["probe_id"]) for row in rows}
        return stale

    def _known_hours(self, from_s: int, mesh: str) -> list[int]:
        return [int(row["hour_s"]) for row in self._store.rows("rollup_hours_known", from_s=from_s, mesh=mesh)]

    def _checkpoint(self, tier: str, mesh: str, timezone: str) -> int | None:
        found = self._store.rows("rollup_checkpoint", tier=tier, mesh=mesh, timezone=timezone, rule=ROLLUP_RULE)
        return int(found[0]["until_ms"]) if found else None

    def _reach(self, tier: str, mesh: str, timezone: str, until_ms: int) -> None:
        self._store.insert(ROLLUP_CHECKPOINT, [(tier, mesh, timezone, ROLLUP_RULE, until_ms, until_ms)])
        self._at("checkpoint")


def roll_hours(store: Store, from_s: int, until_s: int, probes: Iterable[str], *, written_ms: int) -> None:
    """Recompute the hours of [from_s, until_s), whole hours in UTC seconds, of some probes.

    Raises:
        StoreTransientError: unknown how much is written; the same call may be made again.
        StorePermanentError: refused.
    """
    store.run(
        "rollup_hours", from_s=from_s, until_s=until_s, probes=sorted(probes), rule=ROLLUP_RULE, written_ms=written_ms
    )


def roll_day(store: Store, mesh: str, timezone: str, day: LocalDay, probes: Iterable[str], *, written_ms: int) -> None:
    """Recompute a local day of some probes of a mesh; the hours in it must be rolled up before.

    Raises:
        StoreTransientError: unknown how much is written; the same call may be made again.
        StorePermanentError: refused.
    """
    whole_from_s, whole_until_s = day.whole_hours
    store.run(
        "rollup_days",
        day=day.day.isoformat(),
        timezone=timezone,
        from_s=day.from_s,
        until_s=day.until_s,
        whole_from_s=whole_from_s,
        whole_until_s=whole_until_s,
        mesh=mesh,
        probes=sorted(probes),
        rule=ROLLUP_RULE,
        written_ms=written_ms,
    )


def days_of(touched: Mapping[int, set[str]], timezone: str) -> dict[LocalDay, set[str]]:
    """Return the local days of a timezone that have a part of a touched hour, with the probes touched."""
    days: defaultdict[LocalDay, set[str]] = defaultdict(set)
    for hour_s, probes in touched.items():
        for day in days_of_hour(hour_s, timezone):
            days[day] |= probes
    return dict(days)


def run_rollup(config: RollupConfig, *, clock: Clock, stop: Event, at: Callable[[str], None] = lambda _: None) -> None:
    """Roll up about once an `interval_s` until `stop` is set; a store that is away is waited for.

    Raises:
        StorePermanentError: the store refuses a statement.
    """
    patient = msgspec.structs.replace(config.store, read_timeout_s=config.read_timeout_s)
    with open_store(patient) as store:
        rollup = Rollup(store, config, clock, at=at)
        while not stop.is_set():
            begun_ns = clock.mono_ns()
            try:
                report = rollup.round()
            except StoreTransientError as err:
                log.warning("store away, rolling up later", error=str(err))
            else:
                log.info("rolled up", **msgspec.structs.asdict(report), took_ms=(clock.mono_ns() - begun_ns) // 10**6)
            took_s = (clock.mono_ns() - begun_ns) / 1e9
            stop.wait(max(config.interval_s, config.rest * took_s))


def _by_hour(rows: Iterable[Mapping[str, Any]]) -> Touched:
    touched: defaultdict[int, set[str]] = defaultdict(set)
    for row in rows:
        touched[int(row["hour_s"])].add(str(row["probe_id"]))
    return dict(touched)


def _joined(one: Mapping[K, set[str]], other: Mapping[K, set[str]]) -> dict[K, set[str]]:
    return {key: one.get(key, set()) | other.get(key, set()) for key in one.keys() | other.keys()}


def _oldest_s(until_ms: int | None, now_ms: int) -> int:
    """Return from where a sweep looks, UTC seconds: everything for a tier that is new, else what may still change."""
    return 0 if until_ms is None else max(0, min(until_ms, now_ms) // 1000 - LATEST_S)
