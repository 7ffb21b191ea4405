"""The files that the engine reads at its start: small pools and caches, one user with the rights it needs."""

from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

MIB: Final = 1 << 20
DEFAULT_MEMORY_MIB: Final = 1024
ENGINE_FOLDER: Final = "engine"  # inside the data directory, beside the configuration and the lock

# One node, a few hundred rows a second, a handful of readers: the defaults are made for 64 cores.
SERVER: Final = {
    "mark_cache_size": 32 * MIB,
    "index_mark_cache_size": 8 * MIB,
    "uncompressed_cache_size": 0,
    "index_uncompressed_cache_size": 0,
    "primary_index_cache_size": 32 * MIB,
    "query_condition_cache_size": 8 * MIB,
    "mmap_cache_size": 0,
    "background_pool_size": 2,
    "background_merges_mutations_concurrency_ratio": 2,
    "background_schedule_pool_size": 4,
    "background_fetches_pool_size": 1,
    "background_move_pool_size": 1,
    "background_common_pool_size": 2,
    "max_thread_pool_size": 200,
    "max_thread_pool_free_size": 4,
    "tables_loader_foreground_pool_size": 2,
    "tables_loader_background_pool_size": 2,
}
# Four slots of merges and mutations in all: the defaults (20, 8, 25) would wait for slots that do not exist.
_MERGE_TREE: Final = {
    "number_of_free_entries_in_pool_to_execute_mutation": 1,
    "number_of_free_entries_in_pool_to_lower_max_size_of_merge": 1,
    "number_of_free_entries_in_pool_to_execute_optimize_entire_partition": 1,
}
# All that the product does, and nothing that leaves the directory or stops the server.
GRANTS: Final = (
    "SELECT, INSERT, ALTER, CREATE, DROP, TRUNCATE, OPTIMIZE, SHOW, CHECK, dictGet, KILL QUERY, SYSTEM MERGES,"
    " SYSTEM TTL MERGES, SYSTEM FLUSH, SYSTEM RELOAD, SYSTEM DROP CACHE"
)


def profile(memory_bytes: int) -> dict[str, str]:
    """Return the settings every client starts with; a query's own settings stand above them.

    Args:
        memory_bytes: the cap of the whole server; one query may take three quarters of it.
    """
    return {
        "max_memory_usage": str(memory_bytes * 3 // 4),
        "max_bytes_before_external_group_by": str(memory_bytes // 4),
        "max_bytes_before_external_sort": str(memory_bytes // 4),
        "max_threads": "4",
        "max_insert_block_size": "262144",  # a larger one makes aggregating views hungry
        "log_queries": "0",
        "implicit_select": "0",  # chdb's own default takes `SELEC` for a column
    }


def write_config(directory: Path, memory_bytes: int) -> Path:
    """Write both files into `directory` and return the one that the engine is given."""
    users, server = directory / "users.xml", directory / "server.xml"
    server_settings = {**SERVER, "max_server_memory_usage": memory_bytes}
    users.write_text(_users(profile(memory_bytes)), encoding="utf-8")
    server.write_text(
        f"<clickhouse>\n<users_config>{escape(str(users))}</users_config>\n{elements(server_settings)}"
        f"<merge_tree>\n{elements(_MERGE_TREE)}</merge_tree>\n</clickhouse>\n",
        encoding="utf-8",
    )
    return server


def elements(settings: dict[str, int] | dict[str, str]) -> str:
    """Return settings as XML elements, one a line."""
    return "".join(f"<{name}>{escape(str(value))}</{name}>\n" for name, value in settings.items())


def _users(settings: dict[str, str]) -> str:
    return (
        f"<clickhouse>\n<profiles><default>\n{elements(settings)}</default></profiles>\n"
        "<quotas><default/></quotas>\n<users><default>\n<password></password>\n<profile>default</profile>\n"
        "<quota>default</quota>\n<networks><ip>::/0</ip></networks>\n"
        f"<grants><query>GRANT {GRANTS} ON *.*</query></grants>\n</default></users>\n</clickhouse>\n"
    )
