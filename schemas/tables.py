"""The tables, as data: what is written, in which order, and how long it is kept. The migrations hold the types.

A test compares these columns with the migrated engine, so that neither can drift from the other.
"""

from typing import Final, Literal

import msgspec

Profile = Literal["embedded", "production"]

COUNTS: Final = (
    "planned",
    "sent",
    "received",
    "lost_forward",
    "lost_backward",
    "lost_unresolved",
    "late",
    "unreachable",
    "send_failed",
    "duplicate",
    "reordered",
    "loss_runs",
    "loss_run_max",
)
DELAY_FIELDS: Final = (
    "n",
    "min_us",
    "max_us",
    "sum_us",
    "bin",
    "count",
    "ipdv_pairs",
    "ipdv_abs_sum_us",
    "ipdv_bin",
    "ipdv_count",
)
DIRECTIONS: Final = ("rtt", "forward", "backward")


class TableSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A table: its columns in the order of insertion, and whether readers go through `<name>_latest`."""

    name: str
    columns: tuple[str, ...]
    latest: bool = True

    @property
    def reader(self) -> str:
        """Return the name that readers select from: correct before any merge."""
        return f"{self.name}_latest" if self.latest else self.name


def delay_columns(prefix: str = "") -> tuple[str, ...]:
    """Return the delay columns of all three directions, each name after `prefix`."""
    return tuple(f"{prefix}{direction}_{field}" for direction in DIRECTIONS for field in DELAY_FIELDS)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


SUMMARY_10S: Final = TableSpec(
    name="summary_10s",
    columns=(
        *_words("probe_id spool_id stream_id slot revision seq mesh mesh_version slot_ms timeout_ms complete"),
        *_words("clock_synchronised clock_error_us probe_sick first_index"),
        *COUNTS,
        "loaded",
        *delay_columns(),
        "received_ms",
    ),
)
_WINDOW: Final = (
    *_words("slots complete_slots clock_synchronised clock_error_us probe_sick_slots loaded_slots"),
    *COUNTS,
    *delay_columns(),
    *(f"loaded_{count}" for count in COUNTS),
    *delay_columns("loaded_"),
    "written_ms",
)
KPI_1M: Final = TableSpec(name="kpi_1m", columns=(*_words("stream_id minute probe_id version mesh"), *_WINDOW))
KPI_1H: Final = TableSpec(name="kpi_1h", columns=(*_words("stream_id hour probe_id version mesh minutes"), *_WINDOW))
KPI_1D: Final = TableSpec(
    name="kpi_1d",
    columns=(*_words("stream_id day timezone probe_id version mesh start seconds minutes"), *_WINDOW),
)
ROLLUP_CHECKPOINT: Final = TableSpec(name="rollup_checkpoint", columns=_words("tier mesh timezone rule until_ms at_ms"))
BATCH: Final = TableSpec(
    name="batch",
    columns=_words(
        "topic probe_id spool_id seq slot revision complete streams stored quarantined partition offset"
        " mesh mesh_version received_ms"
    ),
)
QUARANTINE: Final = TableSpec(
    name="quarantine",
    columns=_words(
        "topic partition offset received_ms reason detail message_key claimed_probe claimed_spool claimed_seq signed"
        " stream_id value headers"
    ),
)
PROBE_HEALTH: Final = TableSpec(
    name="probe_health",
    columns=_words(
        "probe_id spool_id seq sent_at sent_ms started_ms mesh mesh_version clock_synchronised clock_error_us"
        " send_lateness_p99_us steal_ppm socket_drops stamp_source spools topics last_seqs acked_seqs dropped_spools"
        " dropped_topics dropped_from dropped_until received_ms"
    ),
)
THROUGHPUT: Final = TableSpec(
    name="throughput",
    columns=_words(
        "probe_id spool_id seq test_id start start_ms mesh mesh_version source destination method duration_ms set_bps"
        " sent_packets received_packets packet_bytes receive_duration_us outcome received_ms"
    ),
)
MESH: Final = TableSpec(name="mesh", columns=_words("mesh version valid_from timezone canonical"))
NODE: Final = TableSpec(
    name="node",
    columns=_words("mesh version valid_from node kind hub name_zh name_en province lat lon status confidence"),
)
ENDPOINT: Final = TableSpec(
    name="endpoint",
    columns=_words(
        "mesh version valid_from endpoint node room carrier network plane family address probe_id",
    ),
)
STREAM: Final = TableSpec(
    name="stream",
    columns=_words(
        "mesh version valid_from stream_id source destination source_node destination_node method class plane relation"
        " control interval_ms timeout_ms planned_per_slot probe_id segments distance_km"
    ),
)
VERDICT: Final = TableSpec(
    name="verdict",
    latest=False,
    columns=_words(
        "mesh stream_id window_start window_s rule rule_version state reason metric value lower upper limit sent lost"
        " planned input_version judged_ms exercise"
    ),
)
INCIDENT: Final = TableSpec(
    name="incident",
    columns=_words(
        "mesh incident_id revision category cause_kind cause state opened_ms updated_ms resolved_ms members confidence"
        " summary_zh summary_en evidence rule_versions exercise"
    ),
)
INCIDENT_EVENT: Final = TableSpec(
    name="incident_event", latest=False, columns=_words("incident_id at_ms kind detail exercise")
)
DELIVERY: Final = TableSpec(
    name="delivery",
    latest=False,
    columns=_words("incident_id notice target attempt at_ms outcome status_code detail exercise"),
)
TABLES: Final = (
    SUMMARY_10S,
    KPI_1M,
    KPI_1H,
    KPI_1D,
    ROLLUP_CHECKPOINT,
    BATCH,
    QUARANTINE,
    PROBE_HEALTH,
    THROUGHPUT,
    MESH,
    NODE,
    ENDPOINT,
    STREAM,
    VERDICT,
    INCIDENT,
    INCIDENT_EVENT,
    DELIVERY,
)

RETENTION_DAYS: Final[dict[Profile, dict[str, int]]] = {
    "embedded": {
        "SUMMARY_DAYS": 16,
        "KPI_MINUTE_DAYS": 400,
        "KPI_HOUR_DAYS": 730,
        "KPI_DAY_DAYS": 3650,
        "BATCH_DAYS": 400,
        "QUARANTINE_DAYS": 90,
        "HEALTH_DAYS": 400,
        "THROUGHPUT_DAYS": 3650,
        "VERDICT_DAYS": 400,
    },
    "production": {
        "SUMMARY_DAYS": 100,
        "KPI_MINUTE_DAYS": 400,
        "KPI_HOUR_DAYS": 730,
        "KPI_DAY_DAYS": 3650,
        "BATCH_DAYS": 400,
        "QUARANTINE_DAYS": 90,
        "HEALTH_DAYS": 400,
        "THROUGHPUT_DAYS": 3650,
        "VERDICT_DAYS": 400,
    },
}
DATABASE: Final = "isochrone"
