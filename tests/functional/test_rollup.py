"""Hours and local days on a real engine beside plain arithmetic over their minutes: late, killed, raced, migrated."""

import random
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from support import wire_messages as wire
from support.children import wait_for
from support.engine import ServerAddress
from support.plain_fold import Slot, fold_plainly
from support.plain_rollup import days_plainly, hours_plainly
from support.produced import produce, slot_columns, slots_of
from support.stores import FixedRegistry, config_of, sql, windows

from deploy.parts import command
from schemas.clock import ManualClock, SystemClock, floor_ms, wall_ms
from schemas.tables import KPI_1M, MESH
from streams import migrate as migrations
from streams.flush import Flusher
from streams.fold import fold
from streams.reconcile import reconcile
from streams.rollup import ROLLUP_RULE, Rollup, RollupConfig
from streams.store import Store, StoreConfig, open_store

pytestmark = pytest.mark.needs_engine
DAY_S = 86_400
SHANGHAI = "Asia/Shanghai"
MAIN = Path(__file__).parents[1] / "support" / "rollup_main.py"
Rows = dict[tuple[str, int, Any], dict[str, Any]]


class Board:
    """A database with minutes in it, and everything that was ever measured, for the oracle."""

    def __init__(self, store: Store, config: StoreConfig, timezones: Sequence[str]) -> None:
        self.store = store
        self.config = config
        self.timezones = timezones
        self.clock = ManualClock(wall_ns=SystemClock().wall_ns())
        self.slots: list[Slot] = []
        for number, timezone in enumerate(timezones):
            store.insert(MESH, [(wire.MESH, f"v{number}", 60 * number, timezone, "{}")])

    def measure(self, seed: int, at_s: int, *, slots: int = 12, written_ms: int | None = None) -> None:
        """Add `slots` slots that end at `at_s` and write the minutes that they amount to, as a worker does."""
        made = [slot | {"spool_id": f"{slot['spool_id']}-{seed}"} for slot in produced(seed, at_s, slots)]
        self.slots += made
        touched = {(slot["probe_id"], slot["slot"] // 60) for slot in made}
        held = [slot for slot in self.slots if (slot["probe_id"], slot["slot"] // 60) in touched]
        block = fold(slot_columns(held), written_ms=written_ms or self.now)
        self.store.insert_columns(KPI_1M, block)

    @property
    def now(self) -> int:
        return wall_ms(self.clock)

    def rollup(self, **fields: Any) -> Rollup:  # noqa: ANN401 - the config's own
        at = fields.pop("at", lambda _: None)
        return Rollup(self.store, RollupConfig(store=self.config, **fields), self.clock, at=at)

    def assert_equal_to_plain_arithmetic(self) -> None:
        minutes = list(fold_plainly(self.slots).values())
        assert windows(self.config) == {(m["probe_id"], m["stream_id"], m["minute"]): m for m in minutes}
        assert hours(self.config) == hours_plainly(minutes)
        wanted: dict[tuple[str, int, str, str], dict[str, Any]] = {}
        for timezone in self.timezones:
            wanted |= {(*at, timezone): row for at, row in days_plainly(minutes, timezone).items()}
        assert days(self.config) == wanted


def produced(seed: int, at_s: int, slots: int) -> list[Slot]:
    made = slots_of(produce(seed, now_ms=at_s * 1000, slots=slots))
    return [slot for slot in made if slot["slot"] > at_s - DAY_S]  # what is late is the test's own affair


def read(config: StoreConfig, query: str) -> list[dict[str, Any]]:
    with sql(config) as run:
        found, header = run(query, with_column_types=True)
    rows = [dict(zip([name for name, _ in header], row, strict=True)) for row in found]
    for row in rows:
        del row["written_ms"]
    return rows


def hours(config: StoreConfig) -> Rows:
    rows = read(config, "SELECT * REPLACE (toUnixTimestamp(hour) AS hour) FROM kpi_1h_latest")
    return {(row["probe_id"], row["stream_id"], row["hour"]): row for row in rows}


def days(config: StoreConfig) -> dict[tuple[str, int, str, str], dict[str, Any]]:
    rows = read(config, "SELECT * REPLACE (toString(day) AS day, toUnixTimestamp(start) AS start) FROM kpi_1d_latest")
    return {(row["probe_id"], row["stream_id"], row["day"], row["timezone"]): row for row in rows}


BoardMaker = Callable[..., Board]


@pytest.fixture
def board(store: Store, store_config: StoreConfig) -> BoardMaker:
    return lambda *timezones: Board(store, store_config, timezones or (SHANGHAI,))


def midnight_s(timezone: str, days_ago: int) -> int:
    local = datetime.fromtimestamp(SystemClock().wall_ns() / 1e9, ZoneInfo(timezone)) - timedelta(days=days_ago)
    return round(local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0).timestamp())


def day_with_a_step(timezone: str) -> int:
    """Return the midnight before the last change of the clocks that is over."""
    spans = [(midnight_s(timezone, ago), midnight_s(timezone, ago - 1)) for ago in range(2, 360)]
    return next(start for start, end in spans if end - start != DAY_S)


def last_half_hour_of_last_month() -> datetime:
    first = datetime.fromtimestamp(SystemClock().wall_ns() / 1e9, ZoneInfo(SHANGHAI)).replace(day=1)
    return first.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(minutes=30)


@pytest.mark.parametrize("timezone", [SHANGHAI, "Asia/Kolkata", "Asia/Kathmandu", "UTC"])
def test_f50_hours_and_days_equal_plain_arithmetic_also_where_midnight_is_inside_an_hour(
    board: BoardMaker, timezone: str
) -> None:
    made = board(timezone)
    midnight = midnight_s(timezone, 3)
    for seed, after_s in enumerate((-3500, 0, 60, 1700, 1800, 3600, 40_000, DAY_S - 60, DAY_S + 600)):
        made.measure(seed, midnight + after_s)
    made.rollup().round()
    made.assert_equal_to_plain_arithmetic()


@pytest.mark.parametrize("timezone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
def test_f50_a_day_on_which_the_clocks_change_is_as_long_as_it_was(board: BoardMaker, timezone: str) -> None:
    made, midnight = board(timezone), day_with_a_step(timezone)
    for seed, after_s in enumerate((0, 7200, 10_800, 82_700, 86_300, 86_400, 89_900, 90_000)):
        made.measure(seed, midnight + after_s)
    made.rollup().round()
    made.assert_equal_to_plain_arithmetic()
    assert {row["seconds"] for row in days(made.config).values()} - {DAY_S} != set()


def test_f50_loss_at_half_past_eleven_on_the_last_evening_of_a_month_is_that_months(board: BoardMaker) -> None:
    made, evening = board(), last_half_hour_of_last_month()
    made.measure(1, round(evening.timestamp()), slots=1)
    made.measure(2, round((evening + timedelta(hours=1)).timestamp()), slots=1)
    made.rollup().round()
    made.assert_equal_to_plain_arithmetic()
    with sql(made.config) as run:
        found = dict(
            run(
                "SELECT toString(toStartOfMonth(day)), sum(lost_forward + loaded_lost_forward) FROM kpi_1d_latest "
                "WHERE timezone = 'Asia/Shanghai' GROUP BY 1"
            )
        )
    for at in (evening, evening + timedelta(hours=1)):
        lost = sum(row["lost_forward"] for row in newest(made.slots) if row["slot"] == at.timestamp())
        assert lost > 0
        assert found[at.date().replace(day=1).isoformat()] == lost


def newest(slots: Sequence[Slot]) -> list[Slot]:
    held: dict[tuple[Any, ...], Slot] = {}
    for slot in sorted(slots, key=lambda each: int(each["revision"])):
        held[slot["probe_id"], slot["spool_id"], slot["stream_id"], slot["slot"]] = slot
    return list(held.values())


def test_f26_late_data_rolls_up_its_hour_and_its_day_again_and_no_other(board: BoardMaker) -> None:
    made, rollup_at = board(), midnight_s(SHANGHAI, 13) + 5000
    made.measure(1, rollup_at)
    made.measure(2, made.now // 1000 - 60)
    rollup = made.rollup()
    for _ in range(2):
        rollup.round()
        made.clock.advance_s(700)
    assert rollup.round().hours == 0
    made.measure(3, rollup_at, slots=6)
    report = rollup.round()
    assert (report.hours, report.days, report.swept) == (1, 1, False)
    made.assert_equal_to_plain_arithmetic()


def test_f26_a_worker_whose_clock_is_minutes_behind_is_seen_at_once_and_one_an_hour_behind_by_the_sweep(
    board: BoardMaker,
) -> None:
    made = board()
    rollup = made.rollup(sweep_s=3600.0)
    made.measure(1, made.now // 1000 - 5000)
    rollup.round()
    made.clock.advance_s(60)
    made.measure(2, made.now // 1000 - 9000, written_ms=made.now - 540_000)
    assert rollup.round().hours > 0
    made.assert_equal_to_plain_arithmetic()
    made.measure(3, made.now // 1000 - 20_000, written_ms=made.now - 3_600_000)
    rollup.round()
    with pytest.raises(AssertionError):
        made.assert_equal_to_plain_arithmetic()
    made.clock.advance_s(3600)
    assert rollup.round().swept
    made.assert_equal_to_plain_arithmetic()


def test_a_clock_that_ran_ahead_and_came_back_hides_nothing(board: BoardMaker) -> None:
    made = board()
    made.measure(1, made.now // 1000 - 5000)
    rollup = made.rollup()
    made.clock.step_wall_s(DAY_S)
    rollup.round()
    made.clock.step_wall_s(-DAY_S)
    made.measure(2, made.now // 1000 - 9000)
    rollup.round()
    made.assert_equal_to_plain_arithmetic()


@pytest.mark.parametrize("seed", range(2))
def test_f14_repeats_stale_rollups_and_any_order_leave_equal_tables(board: BoardMaker, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a test wants the same numbers again
    made = board(SHANGHAI, "Asia/Kolkata")
    now_s = made.now // 1000
    rollups = [made.rollup(sweep_s=chance.choice((30.0, 3600.0))) for _ in range(2)]
    for step in range(4):
        made.measure(10 * seed + step, now_s - chance.choice((60, 3600, 50_000, 12 * DAY_S)), slots=4)
        for _ in range(chance.randrange(3)):
            chance.choice(rollups).round()
        made.clock.advance_s(chance.choice((1, 60, 400)))
    for rollup in rollups:
        rollup.round()
    made.assert_equal_to_plain_arithmetic()


def test_f14_a_rollup_that_read_before_and_wrote_after_another_changes_nothing(board: BoardMaker) -> None:
    made = board()
    made.measure(1, made.now // 1000 - 60)
    made.rollup().round()
    old = read_raw(made, "kpi_1h"), read_raw(made, "kpi_1d")
    made.measure(2, made.now // 1000 - 60)
    made.rollup().round()
    for (columns, rows), table in zip(old, ("kpi_1h", "kpi_1d"), strict=True):
        with sql(made.config) as run:
            run(f"INSERT INTO {table} ({columns}) VALUES", rows)
    made.assert_equal_to_plain_arithmetic()


def read_raw(made: Board, table: str) -> tuple[str, list[tuple[Any, ...]]]:
    with sql(made.config) as run:
        found, header = run(f"SELECT * FROM {table}", with_column_types=True)  # noqa: S608 - our own table
    return ", ".join(name for name, _ in header), found


def test_a_new_timezone_of_a_mesh_gets_days_of_its_own_back_to_the_beginning(board: BoardMaker) -> None:
    made = board(SHANGHAI)
    for ago in (1, 20, 90):
        made.measure(ago, midnight_s(SHANGHAI, ago) + 3000)
    rollup = made.rollup()
    rollup.round()
    made.store.insert(MESH, [(wire.MESH, "v9", 600, "Europe/Berlin", "{}")])
    made.timezones = (SHANGHAI, "Europe/Berlin")
    rollup.round()
    made.assert_equal_to_plain_arithmetic()


def test_a_timezone_that_nobody_knows_costs_only_its_own_days(board: BoardMaker) -> None:
    made = board("Asia/Atlantis", SHANGHAI)
    made.measure(1, made.now // 1000 - 60)
    made.rollup().round()
    made.timezones = (SHANGHAI,)
    made.assert_equal_to_plain_arithmetic()


@pytest.mark.parametrize("point", ["hours", "days", "checkpoint"])
def test_f14_killed_between_write_and_checkpoint_and_run_again_the_tables_are_equal(
    board: BoardMaker, tmp_path: Path, point: str
) -> None:
    made = board()
    made.measure(1, made.now // 1000 - 60)
    made.measure(2, made.now // 1000 - 2 * DAY_S)
    path = tmp_path / "rollup.json"
    path.write_bytes(msgspec.json.encode(RollupConfig(store=made.config, interval_s=0.1, rest=0.0)))
    doomed = subprocess.run([sys.executable, str(MAIN), str(path), point], timeout=60, check=False, capture_output=True)
    assert doomed.returncode == -signal.SIGKILL, doomed.stderr.decode()[-2000:]
    with sql(made.config) as run:
        reached = run("SELECT count() FROM rollup_checkpoint WHERE tier = 'hour'")[0][0]
    assert reached == (0 if point == "hours" else 1)
    made.measure(3, made.now // 1000 - 60)
    made.rollup().round()
    made.assert_equal_to_plain_arithmetic()


def test_the_command_rolls_up_until_it_is_told_to_stop(board: BoardMaker, tmp_path: Path) -> None:
    made = board()
    made.measure(1, made.now // 1000 - 60)
    path = tmp_path / "rollup.json"
    path.write_bytes(msgspec.json.encode(RollupConfig(store=made.config, interval_s=0.1)))
    process = subprocess.Popen(command("rollup", "--config", str(path)), stderr=subprocess.PIPE)
    try:
        wait_for("hours and days", lambda: days(made.config) != {}, deadline_s=30)
        process.terminate()
        _, said = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0, said.decode()[-2000:]
    assert b"rolled up" in said
    made.assert_equal_to_plain_arithmetic()


def test_f13_readers_are_right_before_any_merge_and_every_partition_follows_from_the_key(
    board: BoardMaker,
) -> None:
    made = board()
    with sql(made.config) as run:
        run("SYSTEM STOP MERGES")
        try:
            for seed in range(3):
                made.measure(seed, made.now // 1000 - 60, slots=2)
                made.rollup().round()
            assert run("SELECT count() FROM kpi_1h")[0][0] > run("SELECT count() FROM kpi_1h_latest")[0][0]
            made.assert_equal_to_plain_arithmetic()
        finally:
            run("SYSTEM START MERGES")
        keys = run(
            "SELECT name, partition_key, sorting_key FROM system.tables "
            "WHERE database = currentDatabase() AND engine LIKE 'Replacing%' AND partition_key != ''"
        )
    assert {"kpi_1m", "kpi_1h", "kpi_1d", "summary_10s", "batch"} <= {name for name, _, _ in keys}
    for name, partition, key in keys:
        column = partition.removesuffix(")").rpartition("(")[2]
        parts = {each.strip() for each in key.split(",")}
        whole = column in parts or {f"toStartOfMinute({column})", f"toSecond({column})"} <= parts
        assert whole, f"{name}: {partition} is not a function of {key}"


def test_f14_tables_of_before_the_rollups_are_migrated_with_all_their_rows_and_rolled_up_whole(
    clickhouse_server: ServerAddress, database: str
) -> None:
    config = config_of(clickhouse_server, database)
    with open_store(config) as store:
        old = [migration for migration in migrations.shipped() if migration.number <= 4]
        migrations.apply(store, old, profile="embedded", clock=SystemClock())
        made = Board(store, config, (SHANGHAI,))
        for days_ago in (1, 30, 200):
            made.measure(days_ago, midnight_s(SHANGHAI, days_ago) + 600)
        assert 5 in {each.number for each in migrations.migrate(config, profile="embedded", clock=SystemClock())}
        made.rollup().round()
        made.assert_equal_to_plain_arithmetic()


def test_f14_a_migration_cut_off_at_any_statement_is_finished_by_the_next_start(
    clickhouse_server: ServerAddress, database: str
) -> None:
    config = config_of(clickhouse_server, database)
    with open_store(config) as store:
        old = [migration for migration in migrations.shipped() if migration.number <= 4]
        migrations.apply(store, old, profile="embedded", clock=SystemClock())
        made = Board(store, config, (SHANGHAI,))
        made.measure(1, midnight_s(SHANGHAI, 1))
        text = next(migration.text for migration in migrations.shipped() if migration.number == 5)
        statements = list(migrations.split(migrations.filled(text, "embedded")))
        for count in range(len(statements) + 1):
            for statement in statements[:count]:
                store.execute_ddl(statement)
        migrations.migrate(config, profile="embedded", clock=SystemClock())
        made.rollup().round()
        made.assert_equal_to_plain_arithmetic()


def test_the_rule_is_part_of_every_version(board: BoardMaker) -> None:
    made = board()
    made.measure(1, floor_ms(made.now, 60_000) // 1000 - 60)
    made.rollup().round()
    assert {row["version"] >> 52 for row in (*hours(made.config).values(), *days(made.config).values())} == {
        ROLLUP_RULE
    }
    with open_store(made.config) as again:
        assert again.rows("rollup_checkpoint", tier="hour", mesh="", timezone="", rule=ROLLUP_RULE) != []
        assert again.rows("rollup_checkpoint", tier="hour", mesh="", timezone="", rule=ROLLUP_RULE + 1) == []


def test_f16_a_record_older_than_the_tables_keep_is_counted_and_changes_no_month(
    store: Store, store_config: StoreConfig
) -> None:
    board, clock = Board(store, store_config, [SHANGHAI]), SystemClock()
    board.measure(5, wall_ms(clock) // 1000)
    board.rollup().round()
    before = hours(store_config), days(store_config)
    now_ms = wall_ms(clock)
    old = wire.summary(slot_start_ms=floor_ms(now_ms, 10_000) - 31 * DAY_S * 1000)
    report = Flusher(store, FixedRegistry(), clock).flush([wire.message(old, received_ms=now_ms)])
    assert (report.messages, report.stored, report.quarantined, report.windows) == (1, 0, 1, 0)
    with sql(store_config) as run:
        assert run("SELECT reason, claimed_seq FROM quarantine_latest") == [("too_late", old.seq)]
        for table in ("summary_10s", "kpi_1m", "kpi_1h", "kpi_1d"):
            run(f"OPTIMIZE TABLE {table} FINAL")
    found = reconcile(store, since_ms=now_ms - 60_000, until_ms=now_ms + 60_000)
    assert (found.batches.quarantined, found.batches.stored, found.residual) == (1, 0, 0)
    board.rollup().round()
    assert (hours(store_config), days(store_config)) == before
    board.assert_equal_to_plain_arithmetic()
