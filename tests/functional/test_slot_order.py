"""The order of the slots: fold and judge read a minute, however much the day holds; and how the order came to be."""

from collections.abc import Iterator
from typing import Any

import pytest
from support.engine import ServerAddress
from support.stores import config_of, sql

from schemas.clock import SystemClock
from streams import migrate as migrations
from streams.binding import bind
from streams.store import StoreConfig, open_store, query_text

pytestmark = pytest.mark.needs_engine

SPOOL = "01890a5d-ac96-774b-bcce-b302099a8057"
BEGIN_S = 1_795_600_800  # an hour
STREAMS, SLOTS = 1000, 360
GRANULE = 8192  # rows that are read together
FILL = f"""INSERT INTO summary_10s (probe_id, spool_id, stream_id, slot, revision, mesh)
SELECT concat('p', toString(intDiv(n, 100))), toUUID('{SPOOL}'), n, toDateTime({BEGIN_S} + 10 * s, 'UTC'), 1, 'm'
FROM (SELECT number % {STREAMS} AS n, intDiv(number, {STREAMS}) AS s FROM numbers({STREAMS * SLOTS}))"""  # noqa: S608 - ours
NOW_S = BEGIN_S + 3000
PARAMS: dict[str, dict[str, Any]] = {
    "judge_rows": {"mesh": "m", "from_s": NOW_S, "until_s": NOW_S + 60, "received_from_ms": 0},
    "judge_slots": {"stream_ids": [5], "from_s": NOW_S, "until_s": NOW_S + 60},
    "page_delays": {"mesh": "m", "from_s": BEGIN_S + 3540},
    "fold_slots": {
        "from_s": NOW_S,
        "until_s": NOW_S + 60,
        "pair_probes": ["p1"],
        "pair_minutes": [NOW_S],
        "known_probes": [""],
        "known_spools": [SPOOL],
        "known_seqs": [0],
    },
}


@pytest.fixture(scope="module")
def filled(clickhouse_server: ServerAddress) -> Iterator[StoreConfig]:
    """Yield a database with an hour of slots in one part, as merges leave it."""
    config = config_of(clickhouse_server, "test_slot_order")
    migrations.migrate(config, profile="embedded", clock=SystemClock())
    with sql(config) as run:
        run(FILL)
        run("OPTIMIZE TABLE summary_10s FINAL")
        yield config
        run("DROP DATABASE test_slot_order")


@pytest.mark.parametrize("name", PARAMS)
def test_who_wants_a_minute_does_not_read_the_hour(name: str, filled: StoreConfig) -> None:
    with sql(filled) as run:
        ((_, _, _, rows, _),) = run(f"EXPLAIN ESTIMATE {bind(query_text(name), PARAMS[name], name=name)}")
    wanted = STREAMS * 6
    assert 0 < rows <= wanted + 3 * GRANULE, f"{rows} of {STREAMS * SLOTS} rows"


def test_f14_the_slots_of_before_are_all_there_in_the_new_order_wherever_the_change_was_cut_off(
    clickhouse_server: ServerAddress, database: str
) -> None:
    config = config_of(clickhouse_server, database)
    shipped = migrations.shipped()
    with open_store(config) as store, sql(config) as run:
        old = [migration for migration in shipped if migration.number < 6]
        migrations.apply(store, old, profile="embedded", clock=SystemClock())
        run(FILL)
        before = run(CONTENT)
        text = next(migration.text for migration in shipped if migration.number == 6)
        statements = list(migrations.split(migrations.filled(text, "embedded")))
        for count in range(len(statements) + 1):
            for statement in statements[:count]:
                store.execute_ddl(statement)
            assert run(CONTENT) == before, f"after {count} of {len(statements)} statements"
        migrations.migrate(config, profile="embedded", clock=SystemClock())
        assert run(CONTENT) == before
        tables = run("SELECT sorting_key, name FROM system.tables WHERE database = currentDatabase() ORDER BY name")
        (key,) = [key for key, name in tables if name.startswith("summary_10s") and key]
        assert key.startswith("toStartOfMinute(slot)")


CONTENT = "SELECT count(), sum(cityHash64(*)) FROM summary_10s_latest"


def test_the_wide_tables_are_merged_one_column_after_the_other(filled: StoreConfig) -> None:
    with sql(filled) as run:
        merged = run(
            "SELECT name FROM system.tables WHERE database = currentDatabase() AND"
            " engine_full LIKE '%vertical_merge_algorithm_min_rows_to_activate = 1%' ORDER BY name"
        )
    assert merged == [("kpi_1m",), ("summary_10s",)]
