"""The store on a real engine: what it takes, what it refuses, and that the tables are what the schemas say."""

import contextlib
import math
import uuid
from typing import Any

import msgspec
import numpy as np
import pytest
from support import wire_messages as wire
from support.engine import ServerAddress
from support.stores import config_of, sql

from schemas.clock import SystemClock, floor_ms, wall_ms
from schemas.errors import ConfigError, StorePermanentError, StoreTransientError, UnavailableError
from schemas.tables import INCIDENT_EVENT, MESH, SUMMARY_10S, TABLES, TableSpec
from streams import migrate as migrations
from streams.block import block_of, head_of, packed
from streams.blocks import insert_bisected
from streams.columns import Columns, array_of, lists, repeated, row_at
from streams.fold import SLOT_COLUMNS
from streams.rows import summary_columns
from streams.store import Store, StoreConfig, open_store
from streams.verify import VerifiedSummary
from streams.windows import read_slots, window_of

pytestmark = pytest.mark.needs_engine
MESH_ROW = ("m", "v1", 60, "Asia/Shanghai", "{}")


def base_columns(streams: tuple[int, ...] = wire.STREAMS) -> Columns:
    now_ms = floor_ms(wall_ms(SystemClock()), 10_000)  # older rows would fall to the retention at once
    batch = wire.summary(streams, slot_start_ms=now_ms)
    block = block_of([packed(batch)])
    return summary_columns([VerifiedSummary(wire.message(batch), head_of(batch), block, 0, np.arange(len(streams)))])


def test_every_table_has_the_columns_that_the_schemas_name_in_their_order(store_config: StoreConfig) -> None:
    with sql(store_config) as run:
        query = "SELECT table, groupArray(name) FROM (SELECT * FROM system.columns ORDER BY position)"
        found = dict(run(f"{query} WHERE database = '{store_config.database}' GROUP BY table"))
    for table in (*TABLES, migrations.MIGRATION):
        assert tuple(found[table.name]) == table.columns
        assert tuple(found[table.reader]) == table.columns


def test_a_second_migration_applies_nothing(store_config: StoreConfig) -> None:
    assert migrations.migrate(store_config, profile="embedded", clock=SystemClock()) == []


def test_an_applied_migration_that_was_changed_is_refused(store: Store) -> None:
    changed = [
        m if m.number != 1 else migrations.Migration(number=1, name=m.name, text=m.text + " ")
        for m in migrations.shipped()
    ]
    with pytest.raises(ConfigError, match="was changed after it was applied"):
        migrations.apply(store, changed, profile="embedded", clock=SystemClock())


def test_tables_of_a_newer_software_are_refused(store: Store) -> None:
    with pytest.raises(ConfigError, match="newer software"):
        migrations.apply(store, migrations.shipped()[:-1], profile="embedded", clock=SystemClock())


def test_a_start_without_migrations_says_what_to_run(clickhouse_server: ServerAddress, database: str) -> None:
    with open_store(config_of(clickhouse_server, database)) as bare:
        with pytest.raises(UnavailableError, match="isochrone up"):
            migrations.check_migrated(bare)
        with pytest.raises(UnavailableError, match="apply the migrations"):
            bare.insert(MESH, [MESH_ROW])


def test_a_migrated_server_passes_the_check_at_start(store: Store) -> None:
    migrations.check_migrated(store)


@pytest.mark.parametrize("text", ["it's", "a\\'b", "%s %(mesh)s %%", "\0\b\n", "算力", "'; DROP TABLE mesh; --"])
def test_text_comes_back_as_it_was_bound(store: Store, text: str) -> None:
    store.insert(MESH, [("m", text, 60, "UTC", "canonical")])
    assert store.rows("verify_mesh", mesh="m", version=text) == [{"canonical": "canonical"}]


@pytest.mark.parametrize("value", [{"a": 1}, b"x", None, (1,), uuid.UUID(int=1), [b"x"], [[1]]])
def test_a_value_of_another_type_never_reaches_the_engine(store: Store, value: Any) -> None:  # noqa: ANN401 - the point
    with pytest.raises(TypeError):
        store.rows("verify_mesh", mesh="m", version=value)


def test_a_number_that_is_not_finite_or_a_parameter_too_many_is_an_error(store: Store) -> None:
    with pytest.raises(ValueError, match="not finite"):
        store.rows("verify_mesh", mesh="m", version=math.nan)
    with pytest.raises(ValueError, match="does not take"):
        store.rows("verify_mesh", mesh="m", version="v", more=1)
    with pytest.raises(ValueError, match="without a value"):
        store.rows("verify_mesh", mesh="m")
    with pytest.raises(ValueError, match="no query"):
        store.rows("absent")
    with pytest.raises(ValueError, match="not the name"):
        store.rows("../errors")


def test_the_same_block_twice_is_stored_twice_and_read_once(store: Store, store_config: StoreConfig) -> None:
    for _ in range(2):
        store.insert(MESH, [MESH_ROW])
        store.insert(INCIDENT_EVENT, [("i-1", 5, "opened", "", 0)])
    with sql(store_config) as run:
        assert run("SELECT count() FROM mesh_latest") == [(1,)]
        assert run("SELECT count() FROM incident_event") == [(2,)]


def test_a_block_that_was_given_is_not_changed_by_inserting_it(store: Store) -> None:
    block = base_columns()
    before = lists(block)
    store.insert_columns(SUMMARY_10S, block)
    assert lists(block) == before


def test_arrays_and_lists_are_stored_and_read_alike(store: Store, store_config: StoreConfig) -> None:
    block, spools = base_columns(), (str(uuid.UUID(int=1)), str(uuid.UUID(int=2 << 64 | 3)))
    store.insert_columns(SUMMARY_10S, block | {"spool_id": repeated(spools[0], 3)})
    store.insert_columns(SUMMARY_10S, lists(block) | {"spool_id": [spools[1]] * 3})
    with sql(store_config) as run:
        shown = ", ".join(SLOT_COLUMNS)
        plain = run(f"SELECT {shown} FROM summary_10s ORDER BY spool_id, stream_id")  # noqa: S608 - constants
    names = [name for name in SLOT_COLUMNS if name not in ("spool_id", "slot")]
    told = [dict(zip(SLOT_COLUMNS, row, strict=True)) for row in plain]
    assert [[row[name] for name in names] for row in told[:3]] == [[row[name] for name in names] for row in told[3:]]
    probe_id, slot = row_at(block, 0, "probe_id", "slot")
    found = lists(read_slots(store, [window_of(probe_id, slot * 1000)]))
    rows = sorted(zip(*(found[name] for name in ("spool_id", "stream_id", *names)), strict=True), key=lambda r: r[:2])
    assert [row[2:] for row in rows] == [tuple(row[name] for name in names) for row in told]
    assert sorted({row[0] for row in rows}) == sorted(spools)


def test_the_larger_revision_is_what_readers_see(store: Store, store_config: StoreConfig) -> None:
    block = base_columns()
    for revision, sent in ((2, 20), (1, 10)):
        store.insert_columns(SUMMARY_10S, block | {"revision": np.full(3, revision), "sent": np.full(3, sent)})
    with sql(store_config) as run:
        assert run("SELECT DISTINCT revision, sent FROM summary_10s_latest") == [(2, 20)]


def test_only_the_rows_to_blame_are_refused(store: Store, store_config: StoreConfig) -> None:
    block = base_columns(tuple(range(1, 10)))
    told = lists(block)
    sent = [1 << 32 if row == 4 else value for row, value in enumerate(told["sent"])]
    bins = [[1 << 16] if row == 7 else value for row, value in enumerate(told["rtt_bin"])]
    refused = insert_bisected(store, SUMMARY_10S, block | {"sent": array_of(sent), "rtt_bin": array_of(bins)})
    assert sorted(refused) == [4, 7]
    with sql(store_config) as run:
        assert run("SELECT arraySort(groupArray(stream_id)) FROM summary_10s") == [([1, 2, 3, 4, 6, 7, 9],)]


def test_a_block_in_which_every_row_is_refused_stops_the_worker(store: Store) -> None:
    block = base_columns(tuple(range(1, 200)))
    with pytest.raises(UnavailableError, match="rows refused"):
        insert_bisected(store, SUMMARY_10S, block | {"sent": np.full(199, -1)})


def test_a_refused_block_leaves_nothing_and_the_store_works_on(store: Store, store_config: StoreConfig) -> None:
    with pytest.raises(StorePermanentError):
        store.insert_columns(SUMMARY_10S, base_columns() | {"spool_id": repeated("no uuid", 3)})
    store.insert(MESH, [MESH_ROW])
    with sql(store_config) as run:
        assert run("SELECT count() FROM summary_10s") == [(0,)]


def test_a_store_that_is_away_is_transient(store_config: StoreConfig) -> None:
    away = StoreConfig(host="127.0.0.1", port=9, database=store_config.database)
    with open_store(away) as nobody, pytest.raises(StoreTransientError, match=r"127\.0\.0\.1:9"):
        nobody.rows("migrate_applied")


def test_a_cut_connection_is_made_anew_by_the_next_call(store: Store) -> None:
    assert store.rows("migrate_applied") != []
    store._client.connection.socket.close()
    with contextlib.suppress(StoreTransientError):  # this call may notice, the next must work
        store.rows("migrate_applied")
    assert store.rows("migrate_applied") != []


def test_a_wrong_password_is_permanent_and_is_not_shown(store_config: StoreConfig) -> None:
    wrong = msgspec.structs.replace(store_config, password="secret-word")
    assert "secret-word" not in repr(wrong)
    with open_store(wrong) as stranger, pytest.raises(StorePermanentError) as caught:
        stranger.rows("migrate_applied")
    assert "secret-word" not in str(caught.value)


def test_a_reader_reads_and_cannot_write(clickhouse_server: ServerAddress, store_config: StoreConfig) -> None:
    if clickhouse_server.reader is None:
        pytest.skip("this server has no login that only reads")
    reader = clickhouse_server.reader
    config = msgspec.structs.replace(store_config, user=reader.name, password=reader.password or "")
    with open_store(config) as reading:
        assert reading.rows("verify_mesh_versions") == []
        with pytest.raises(UnavailableError, match="give this login the right to write"):
            reading.insert(MESH, [MESH_ROW])


def test_columns_of_a_wrong_table_are_an_error_of_ours(store: Store) -> None:
    with pytest.raises(ValueError, match="differ from its spec"):
        store.insert_columns(TableSpec(name="mesh", columns=("mesh",)), {"node": ["x"]})
