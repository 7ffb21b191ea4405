-- Facts, state and ledger. Replacing tables are correct for their readers before any merge through the *_latest views.
CREATE TABLE IF NOT EXISTS summary_10s
(
    probe_id LowCardinality(String),
    spool_id UUID,
    stream_id UInt64 CODEC(ZSTD(1)),
    slot DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    revision UInt8,
    seq UInt64 CODEC(T64, ZSTD(1)),
    mesh LowCardinality(String),
    mesh_version LowCardinality(String),
    slot_ms UInt32 CODEC(T64, ZSTD(1)),
    timeout_ms UInt32 CODEC(T64, ZSTD(1)),
    complete UInt8,
    clock_synchronised UInt8,
    clock_error_us UInt64 CODEC(T64, ZSTD(1)),
    probe_sick UInt8,
    first_index UInt64 CODEC(T64, ZSTD(1)),
    planned UInt32 CODEC(T64, ZSTD(1)),
    sent UInt32 CODEC(T64, ZSTD(1)),
    received UInt32 CODEC(T64, ZSTD(1)),
    lost_forward UInt32 CODEC(T64, ZSTD(1)),
    lost_backward UInt32 CODEC(T64, ZSTD(1)),
    lost_unresolved UInt32 CODEC(T64, ZSTD(1)),
    late UInt32 CODEC(T64, ZSTD(1)),
    unreachable UInt32 CODEC(T64, ZSTD(1)),
    send_failed UInt32 CODEC(T64, ZSTD(1)),
    duplicate UInt32 CODEC(T64, ZSTD(1)),
    reordered UInt32 CODEC(T64, ZSTD(1)),
    loss_runs UInt32 CODEC(T64, ZSTD(1)),
    loss_run_max UInt32 CODEC(T64, ZSTD(1)),
    loaded UInt8,
    rtt_n UInt32 CODEC(T64, ZSTD(1)),
    rtt_min_us Int64 CODEC(T64, ZSTD(1)),
    rtt_max_us Int64 CODEC(T64, ZSTD(1)),
    rtt_sum_us Int64 CODEC(T64, ZSTD(1)),
    rtt_bin Array(UInt16) CODEC(Delta(2), ZSTD(1)),
    rtt_count Array(UInt32) CODEC(T64, ZSTD(1)),
    rtt_ipdv_pairs UInt32 CODEC(T64, ZSTD(1)),
    rtt_ipdv_abs_sum_us UInt64 CODEC(T64, ZSTD(1)),
    rtt_ipdv_bin Array(UInt16) CODEC(Delta(2), ZSTD(1)),
    rtt_ipdv_count Array(UInt32) CODEC(T64, ZSTD(1)),
    forward_n UInt32 CODEC(T64, ZSTD(1)),
    forward_min_us Int64 CODEC(T64, ZSTD(1)),
    forward_max_us Int64 CODEC(T64, ZSTD(1)),
    forward_sum_us Int64 CODEC(T64, ZSTD(1)),
    forward_bin Array(UInt16) CODEC(Delta(2), ZSTD(1)),
    forward_count Array(UInt32) CODEC(T64, ZSTD(1)),
    forward_ipdv_pairs UInt32 CODEC(T64, ZSTD(1)),
    forward_ipdv_abs_sum_us UInt64 CODEC(T64, ZSTD(1)),
    forward_ipdv_bin Array(UInt16) CODEC(Delta(2), ZSTD(1)),
    forward_ipdv_count Array(UInt32) CODEC(T64, ZSTD(1)),
    backward_n UInt32 CODEC(T64, ZSTD(1)),
    backward_min_us Int64 CODEC(T64, ZSTD(1)),
    backward_max_us Int64 CODEC(T64, ZSTD(1)),
    backward_sum_us Int64 CODEC(T64, ZSTD(1)),
    backward_bin Array(UInt16) CODEC(Delta(2), ZSTD(1)),
    backward_count Array(UInt32) CODEC(T64, ZSTD(1)),
    backward_ipdv_pairs UInt32 CODEC(T64, ZSTD(1)),
    backward_ipdv_abs_sum_us UInt64 CODEC(T64, ZSTD(1)),
    backward_ipdv_bin Array(UInt16) CODEC(Delta(2), ZSTD(1)),
    backward_ipdv_count Array(UInt32) CODEC(T64, ZSTD(1)),
    received_ms UInt64 CODEC(T64, ZSTD(1))
)
ENGINE = ReplacingMergeTree(revision)
PARTITION BY toDate(slot)
ORDER BY (toStartOfHour(slot), stream_id, slot, probe_id, spool_id)
TTL slot + INTERVAL ${SUMMARY_DAYS} DAY DELETE
SETTINGS ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS kpi_1m
(
    stream_id UInt64 CODEC(ZSTD(1)),
    minute DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    probe_id LowCardinality(String),
    version UInt64 CODEC(T64, ZSTD(1)),
    mesh LowCardinality(String),
    slots UInt16 CODEC(T64, ZSTD(1)),
    complete_slots UInt16 CODEC(T64, ZSTD(1)),
    clock_synchronised UInt8,
    clock_error_us UInt64 CODEC(T64, ZSTD(1)),
    probe_sick_slots UInt16 CODEC(T64, ZSTD(1)),
    loaded_slots UInt16 CODEC(T64, ZSTD(1)),
    planned UInt32 CODEC(T64, ZSTD(1)),
    sent UInt32 CODEC(T64, ZSTD(1)),
    received UInt32 CODEC(T64, ZSTD(1)),
    lost_forward UInt32 CODEC(T64, ZSTD(1)),
    lost_backward UInt32 CODEC(T64, ZSTD(1)),
    lost_unresolved UInt32 CODEC(T64, ZSTD(1)),
    late UInt32 CODEC(T64, ZSTD(1)),
    unreachable UInt32 CODEC(T64, ZSTD(1)),
    send_failed UInt32 CODEC(T64, ZSTD(1)),
    duplicate UInt32 CODEC(T64, ZSTD(1)),
    reordered UInt32 CODEC(T64, ZSTD(1)),
    loss_runs UInt32 CODEC(T64, ZSTD(1)),
    loss_run_max UInt32 CODEC(T64, ZSTD(1)),
    rtt_n UInt32 CODEC(T64, ZSTD(1)),
    rtt_min_us Int64 CODEC(T64, ZSTD(1)),
    rtt_max_us Int64 CODEC(T64, ZSTD(1)),
    rtt_sum_us Int64 CODEC(T64, ZSTD(1)),
    rtt_bin Array(UInt16) CODEC(Delta(2), ZSTD(1)),
    rtt_count Array(UInt32) CODEC(T64, ZSTD(1)),
    rtt_ipdv_pairs UInt32 CODEC(T64, ZSTD(1)),
    rtt_ipdv_abs_sum_us UInt64 CODEC(T64, ZSTD(1)),
    rtt_ipdv_bin Array(UInt16) CODEC(Delta(2), ZSTD(1)),
    rtt_ipdv_count Array(UInt32) CODEC(T64, ZSTD(1)),
    forward_n UInt32 CODEC(T64, ZSTD(1)),
    forward_min_us Int64 CODEC(T64, ZSTD(1)),
    forward_max_us Int64 CODEC(T64, ZSTD(1)),
    forward_sum_us Int64 CODEC(T64, ZSTD(1)),
    forward_bin Array(UInt16) CODEC(Delta(2), ZSTD(1)),
    forward_count Array(UInt32) CODEC(T64, ZSTD(1)),
    forward_ipdv_pairs UInt32 CODEC(T64, ZSTD(1)),
    forward_ipdv_abs_sum_us UInt64 CODEC(T64, ZSTD(1)),
    forward_ipdv_bin Array(UInt16) CODEC(Delta(2), ZSTD(1)),
    forward_ipdv_count Array(UInt32) CODEC(T64, ZSTD(1)),
    backward_n UInt32 CODEC(T64, ZSTD(1)),
    backward_min_us Int64 CODEC(T64, ZSTD(1)),
    backward_max_us Int64 CODEC(T64, ZSTD(1)),
    backward_sum_us Int64 CODEC(T64, ZSTD(1)),
    backward_bin Array(UInt16) CODEC(Delta(2), ZSTD(1)),
    backward_count Array(UInt32) CODEC(T64, ZSTD(1)),
    backward_ipdv_pairs UInt32 CODEC(T64, ZSTD(1)),
    backward_ipdv_abs_sum_us UInt64 CODEC(T64, ZSTD(1)),
    backward_ipdv_bin Array(UInt16) CODEC(Delta(2), ZSTD(1)),
    backward_ipdv_count Array(UInt32) CODEC(T64, ZSTD(1)),
    loaded_planned UInt32 CODEC(T64, ZSTD(1)),
    loaded_sent UInt32 CODEC(T64, ZSTD(1)),
    loaded_received UInt32 CODEC(T64, ZSTD(1)),
    loaded_lost_forward UInt32 CODEC(T64, ZSTD(1)),
    loaded_lost_backward UInt32 CODEC(T64, ZSTD(1)),
    loaded_lost_unresolved UInt32 CODEC(T64, ZSTD(1)),
    loaded_late UInt32 CODEC(T64, ZSTD(1)),
    loaded_unreachable UInt32 CODEC(T64, ZSTD(1)),
    loaded_send_failed UInt32 CODEC(T64, ZSTD(1)),
    loaded_duplicate UInt32 CODEC(T64, ZSTD(1)),
    loaded_reordered UInt32 CODEC(T64, ZSTD(1)),
    loaded_loss_runs UInt32 CODEC(T64, ZSTD(1)),
    loaded_loss_run_max UInt32 CODEC(T64, ZSTD(1)),
    loaded_rtt_n UInt32 CODEC(T64, ZSTD(1)),
    loaded_rtt_min_us Int64 CODEC(T64, ZSTD(1)),
    loaded_rtt_max_us Int64 CODEC(T64, ZSTD(1)),
    loaded_rtt_sum_us Int64 CODEC(T64, ZSTD(1)),
    loaded_rtt_bin Array(UInt16) CODEC(Delta(2), ZSTD(1)),
    loaded_rtt_count Array(UInt32) CODEC(T64, ZSTD(1)),
    loaded_rtt_ipdv_pairs UInt32 CODEC(T64, ZSTD(1)),
    loaded_rtt_ipdv_abs_sum_us UInt64 CODEC(T64, ZSTD(1)),
    loaded_rtt_ipdv_bin Array(UInt16) CODEC(Delta(2), ZSTD(1)),
    loaded_rtt_ipdv_count Array(UInt32) CODEC(T64, ZSTD(1)),
    loaded_forward_n UInt32 CODEC(T64, ZSTD(1)),
    loaded_forward_min_us Int64 CODEC(T64, ZSTD(1)),
    loaded_forward_max_us Int64 CODEC(T64, ZSTD(1)),
    loaded_forward_sum_us Int64 CODEC(T64, ZSTD(1)),
    loaded_forward_bin Array(UInt16) CODEC(Delta(2), ZSTD(1)),
    loaded_forward_count Array(UInt32) CODEC(T64, ZSTD(1)),
    loaded_forward_ipdv_pairs UInt32 CODEC(T64, ZSTD(1)),
    loaded_forward_ipdv_abs_sum_us UInt64 CODEC(T64, ZSTD(1)),
    loaded_forward_ipdv_bin Array(UInt16) CODEC(Delta(2), ZSTD(1)),
    loaded_forward_ipdv_count Array(UInt32) CODEC(T64, ZSTD(1)),
    loaded_backward_n UInt32 CODEC(T64, ZSTD(1)),
    loaded_backward_min_us Int64 CODEC(T64, ZSTD(1)),
    loaded_backward_max_us Int64 CODEC(T64, ZSTD(1)),
    loaded_backward_sum_us Int64 CODEC(T64, ZSTD(1)),
    loaded_backward_bin Array(UInt16) CODEC(Delta(2), ZSTD(1)),
    loaded_backward_count Array(UInt32) CODEC(T64, ZSTD(1)),
    loaded_backward_ipdv_pairs UInt32 CODEC(T64, ZSTD(1)),
    loaded_backward_ipdv_abs_sum_us UInt64 CODEC(T64, ZSTD(1)),
    loaded_backward_ipdv_bin Array(UInt16) CODEC(Delta(2), ZSTD(1)),
    loaded_backward_ipdv_count Array(UInt32) CODEC(T64, ZSTD(1)),
    written_ms UInt64 CODEC(T64, ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(minute)
ORDER BY (toStartOfHour(minute), stream_id, minute, probe_id)
TTL minute + INTERVAL ${KPI_MINUTE_DAYS} DAY DELETE
SETTINGS ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS batch
(
    topic LowCardinality(String),
    probe_id LowCardinality(String),
    spool_id UUID,
    seq UInt64 CODEC(T64, ZSTD(1)),
    slot DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    revision UInt8,
    complete UInt8,
    streams UInt32 CODEC(T64, ZSTD(1)),
    stored UInt32 CODEC(T64, ZSTD(1)),
    quarantined UInt32 CODEC(T64, ZSTD(1)),
    partition UInt32 CODEC(T64, ZSTD(1)),
    offset UInt64 CODEC(T64, ZSTD(1)),
    mesh LowCardinality(String),
    mesh_version LowCardinality(String),
    received_ms UInt64 CODEC(T64, ZSTD(1))
)
ENGINE = ReplacingMergeTree(stored)
PARTITION BY toYYYYMM(slot)
ORDER BY (topic, probe_id, spool_id, seq, slot)
TTL slot + INTERVAL ${BATCH_DAYS} DAY DELETE
SETTINGS ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS quarantine
(
    topic LowCardinality(String),
    partition UInt32,
    offset UInt64,
    received_ms UInt64,
    reason LowCardinality(String),
    detail String,
    message_key String,
    claimed_probe String,
    claimed_spool String,
    claimed_seq Int64,
    signed UInt8,
    stream_id UInt64,
    value String CODEC(ZSTD(3)),
    headers Map(String, String)
)
ENGINE = ReplacingMergeTree(received_ms)
ORDER BY (topic, partition, offset, stream_id)
TTL toDateTime(intDiv(received_ms, 1000)) + INTERVAL ${QUARANTINE_DAYS} DAY DELETE;

CREATE TABLE IF NOT EXISTS probe_health
(
    probe_id LowCardinality(String),
    spool_id UUID,
    seq UInt64,
    sent_at DateTime('UTC'),
    sent_ms UInt64,
    started_ms UInt64,
    mesh LowCardinality(String),
    mesh_version LowCardinality(String),
    clock_synchronised UInt8,
    clock_error_us UInt64,
    send_lateness_p99_us Nullable(UInt64),
    steal_ppm Nullable(UInt32),
    socket_drops UInt64,
    stamp_source LowCardinality(String),
    spools Array(String),
    topics Array(String),
    last_seqs Array(Int64),
    acked_seqs Array(Int64),
    dropped_spools Array(String),
    dropped_topics Array(String),
    dropped_from Array(Int64),
    dropped_until Array(Int64),
    received_ms UInt64
)
ENGINE = ReplacingMergeTree(received_ms)
PARTITION BY toYYYYMM(sent_at)
ORDER BY (probe_id, sent_at, spool_id, seq)
TTL sent_at + INTERVAL ${HEALTH_DAYS} DAY DELETE
SETTINGS ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS throughput
(
    probe_id LowCardinality(String),
    spool_id UUID,
    seq UInt64,
    test_id String,
    start DateTime('UTC'),
    start_ms UInt64,
    mesh LowCardinality(String),
    mesh_version LowCardinality(String),
    source LowCardinality(String),
    destination LowCardinality(String),
    method LowCardinality(String),
    duration_ms UInt32,
    set_bps UInt64,
    sent_packets UInt64,
    received_packets UInt64,
    packet_bytes UInt32,
    receive_duration_us UInt64,
    outcome LowCardinality(String),
    received_ms UInt64
)
ENGINE = ReplacingMergeTree(received_ms)
PARTITION BY toYYYYMM(start)
ORDER BY (source, destination, start, probe_id, spool_id, seq)
TTL start + INTERVAL ${THROUGHPUT_DAYS} DAY DELETE
SETTINGS ttl_only_drop_parts = 1;

CREATE VIEW IF NOT EXISTS summary_10s_latest AS SELECT * FROM summary_10s FINAL;

CREATE VIEW IF NOT EXISTS kpi_1m_latest AS SELECT * FROM kpi_1m FINAL;

CREATE VIEW IF NOT EXISTS batch_latest AS SELECT * FROM batch FINAL;

CREATE VIEW IF NOT EXISTS quarantine_latest AS SELECT * FROM quarantine FINAL;

CREATE VIEW IF NOT EXISTS probe_health_latest AS SELECT * FROM probe_health FINAL;

CREATE VIEW IF NOT EXISTS throughput_latest AS SELECT * FROM throughput FINAL;
