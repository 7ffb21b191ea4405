"""The facts in the store: what a summary takes on disk, column by column, and how fast blocks go in and come back.

`make bench NAME=store ONLY=disk` for one section. The figures of every summary are drawn anew: copies would compress.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, cast

from benchmarks.harness import Bench, Section, medians
from benchmarks.national import National
from benchmarks.stages import raw_messages
from benchmarks.usage import first_core, on_cores
from benchmarks.world import CLOCK, World, asking, fresh_database, running_world
from clickhouse_driver import Client

from schemas.tables import KPI_1M, SUMMARY_10S, TableSpec
from streams.flush import Flusher
from streams.registry import Registry
from streams.store import Store, StoreConfig, open_store
from streams.windows import Window, read_slots

SEED: Final = 5
SLOTS: Final = 60  # ten minutes of the national mesh: 388,800 summaries
FLUSH_SLOTS: Final = 5
MOST_BYTES: Final = 100
ROUNDS: Final = 3
WINDOWS_READ: Final = 44
MERGED_S: Final = 120.0

_APART: Final = """SELECT count() - uniq(partition) FROM system.parts
WHERE database = currentDatabase() AND table = %(table)s AND active"""
_ROWS: Final = """SELECT sum(rows) FROM system.parts
WHERE database = currentDatabase() AND table = %(table)s AND active"""
_BYTES: Final = """SELECT column, sum(column_data_compressed_bytes + column_marks_bytes) FROM system.parts_columns
WHERE database = currentDatabase() AND table = %(table)s AND active GROUP BY column"""
_NEWEST: Final = "SELECT * FROM summary_10s WHERE slot > (SELECT max(slot) FROM summary_10s) - %(seconds)s"
_INSERT: Final = "INSERT INTO summary_10s VALUES"
_WINDOWS: Final = "SELECT DISTINCT probe_id, toUnixTimestamp(toStartOfMinute(slot)) FROM summary_10s"
_SLOTS: Final = (
    "SELECT count() FROM summary_10s WHERE (probe_id, toUnixTimestamp(toStartOfMinute(slot))) IN %(windows)s"
)


class Facts(NamedTuple):
    """A database with facts, and the last block of `summary_10s` as the flush gave it to the store."""

    config: StoreConfig
    block: Any  # the store's own columns, in whatever shape it takes them


def disk(bench: Bench) -> None:
    """Measure the bytes of a summary after the merges, whole and by column."""
    with asking(_facts(bench).config) as client:
        columns, rows = column_bytes(client, SUMMARY_10S.name)
        minutes, minute_rows = column_bytes(client, KPI_1M.name)
    bench.at_most("a summary on disk", sum(columns.values()) / rows, "B", MOST_BYTES)
    for name, size in sorted(columns.items(), key=lambda item: -item[1]):
        bench.beside(f"a summary on disk: {name}", size / rows, "B")
    bench.beside("a minute's window on disk", sum(minutes.values()) / minute_rows, "B")
    bench.beside("summaries measured", rows, "summaries")


def insert(bench: Bench) -> None:
    """Measure the insert of a flush's block beside the driver's plain insert of the same rows."""
    facts = _facts(bench)
    with on_cores(first_core()), asking(facts.config) as client, open_store(facts.config) as store:
        rows = client.execute(_NEWEST, {"seconds": FLUSH_SLOTS * 10})
        per_s = medians(
            {
                "block": lambda: _rate(len(rows), lambda: store.insert_columns(SUMMARY_10S, facts.block)),
                "rows": lambda: _rate(len(rows), lambda: client.execute(_INSERT, rows)),
            },
            rounds=ROUNDS,
        )
    bench.at_least("insert by columns beside rows", per_s["block"] / per_s["rows"], "x", 1)
    bench.beside("insert of a flush by columns", per_s["block"], "summaries/s")
    bench.beside("insert of the same rows, as the driver's manual does", per_s["rows"], "summaries/s")
    bench.beside("summaries of a flush", len(rows), "summaries")


def read(bench: Bench) -> None:
    """Measure how fast the slots of windows come back, as the fold asks for them."""
    facts = _facts(bench)
    with on_cores(first_core()), asking(facts.config) as client, open_store(facts.config) as store:
        found = client.execute(_WINDOWS)
        windows: list[Window] = sorted((str(probe_id), int(minute)) for probe_id, minute in found)[:WINDOWS_READ]
        count = client.execute(_SLOTS, {"windows": windows})[0][0]
        per_s = medians({"read": lambda: _rate(count, lambda: read_slots(store, windows))}, rounds=ROUNDS)
    bench.beside("slots read back for the fold", per_s["read"], "summaries/s")
    bench.beside("slots of a reading", count, "summaries")


def column_bytes(client: Client, table: str) -> tuple[dict[str, int], int]:
    """Merge a table's parts; return the compressed bytes of each column, marks included, and the rows.

    Raises:
        TimeoutError: the parts of a partition were not merged into one in time.
    """
    client.execute(f"OPTIMIZE TABLE {table} FINAL")
    asked, end_ns = {"table": table}, CLOCK.mono_ns() + round(MERGED_S * 1e9)
    while client.execute(_APART, asked)[0][0] > 0:
        if CLOCK.mono_ns() > end_ns:
            raise TimeoutError(f"waited {MERGED_S:g} s for {table} to be merged")
        CLOCK.sleep_s(0.5)
    found = client.execute(_BYTES, asked)
    return {str(name): int(size) for name, size in found}, int(client.execute(_ROWS, asked)[0][0])


def _facts(bench: Bench) -> Facts:
    """Return the database with facts: the first who asks fills it."""
    world = bench.shared("world", running_world)
    return bench.shared("facts", lambda: _filled(bench, world))


@contextmanager
def _filled(bench: Bench, world: World) -> Iterator[Facts]:
    mesh = National(SEED, distinct=SLOTS)
    messages = raw_messages(mesh, SLOTS * len(mesh.probes))
    config, a_flush = fresh_database(world, mesh.mesh), FLUSH_SLOTS * len(mesh.probes)
    with open_store(config) as store:
        registry, blocks = Registry(CLOCK, refresh_s=60.0), Blocks(store)
        flusher = Flusher(cast(Store, blocks), registry, CLOCK)
        for at in range(0, len(messages), a_flush):
            flusher.flush(messages[at : at + a_flush])
    bench.say(f"{SLOTS * mesh.summaries_per_slot} summaries stored")
    yield Facts(config, blocks.last)


class Blocks:
    """A store that also keeps the last block of `summary_10s` that it was given."""

    def __init__(self, store: Store) -> None:
        self.last: Any = None
        self._store = store

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def insert_columns(self, table: TableSpec, columns: Any) -> None:  # noqa: ANN401 - whatever the store takes
        """Insert."""
        if table is SUMMARY_10S:
            self.last = columns
        self._store.insert_columns(table, columns)


def _rate(rows: int, call: Callable[[], object]) -> float:
    begun_ns = CLOCK.mono_ns()
    call()
    return rows / ((CLOCK.mono_ns() - begun_ns) / 1e9)


SECTIONS: Final[dict[str, Section]] = {"disk": disk, "insert": insert, "read": read}
