-- What was concluded and who was told: append-only; `exercise` (drill) marks every row from the first day.
CREATE TABLE IF NOT EXISTS verdict
(
    mesh LowCardinality(String),
    stream_id UInt64,
    window_start DateTime('UTC'),
    window_s UInt32,
    rule LowCardinality(String),
    rule_version UInt32,
    state LowCardinality(String),
    reason LowCardinality(String),
    metric LowCardinality(String),
    value Nullable(Float64),
    lower Nullable(Float64),
    upper Nullable(Float64),
    limit Nullable(Float64),
    sent UInt64,
    lost UInt64,
    planned UInt64,
    input_version UInt64,
    judged_ms UInt64,
    exercise UInt8
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(window_start)
ORDER BY (toStartOfHour(window_start), stream_id, window_start, rule)
TTL window_start + INTERVAL ${VERDICT_DAYS} DAY DELETE
SETTINGS ttl_only_drop_parts = 1;

-- One row a change of an incident; the largest revision is its present state.
CREATE TABLE IF NOT EXISTS incident
(
    mesh LowCardinality(String),
    incident_id String,
    revision UInt32,
    category LowCardinality(String),
    cause_kind LowCardinality(String),
    cause String,
    state LowCardinality(String),
    opened_ms UInt64,
    updated_ms UInt64,
    resolved_ms UInt64,
    members Array(UInt64),
    confidence Float64,
    summary_zh String,
    summary_en String,
    evidence String,
    rule_versions String,
    exercise UInt8
)
ENGINE = MergeTree
ORDER BY (mesh, incident_id, revision);

CREATE TABLE IF NOT EXISTS incident_event
(
    incident_id String,
    at_ms UInt64,
    kind LowCardinality(String),
    detail String,
    exercise UInt8
)
ENGINE = MergeTree
ORDER BY (incident_id, at_ms, kind);

CREATE TABLE IF NOT EXISTS delivery
(
    incident_id String,
    notice LowCardinality(String),
    target String,
    attempt UInt32,
    at_ms UInt64,
    outcome LowCardinality(String),
    status_code UInt16,
    detail String,
    exercise UInt8
)
ENGINE = MergeTree
ORDER BY (incident_id, notice, target, attempt, at_ms);

CREATE VIEW IF NOT EXISTS incident_latest AS
SELECT * FROM incident ORDER BY revision DESC LIMIT 1 BY mesh, incident_id;
