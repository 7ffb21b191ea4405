-- The plan in force, with validity in time: the judge joins on it, so that a silent stream is a row.
-- A version is valid from `valid_from` until the next version of the same mesh; history is never edited.
CREATE TABLE IF NOT EXISTS mesh
(
    mesh LowCardinality(String),
    version LowCardinality(String),
    valid_from DateTime('UTC'),
    timezone LowCardinality(String),
    canonical String CODEC(ZSTD(3))
)
ENGINE = ReplacingMergeTree
ORDER BY (mesh, valid_from, version);

CREATE TABLE IF NOT EXISTS node
(
    mesh LowCardinality(String),
    version LowCardinality(String),
    valid_from DateTime('UTC'),
    node LowCardinality(String),
    kind LowCardinality(String),
    hub LowCardinality(String),
    name_zh String,
    name_en String,
    province String,
    lat Float64,
    lon Float64,
    status LowCardinality(String),
    confidence LowCardinality(String)
)
ENGINE = ReplacingMergeTree
ORDER BY (mesh, valid_from, version, node);

CREATE TABLE IF NOT EXISTS endpoint
(
    mesh LowCardinality(String),
    version LowCardinality(String),
    valid_from DateTime('UTC'),
    endpoint LowCardinality(String),
    node LowCardinality(String),
    room LowCardinality(String),
    carrier LowCardinality(String),
    network LowCardinality(String),
    plane LowCardinality(String),
    family UInt8,
    address String,
    probe_id LowCardinality(String)
)
ENGINE = ReplacingMergeTree
ORDER BY (mesh, valid_from, version, endpoint);

CREATE TABLE IF NOT EXISTS stream
(
    mesh LowCardinality(String),
    version LowCardinality(String),
    valid_from DateTime('UTC'),
    stream_id UInt64,
    source LowCardinality(String),
    destination LowCardinality(String),
    source_node LowCardinality(String),
    destination_node LowCardinality(String),
    method LowCardinality(String),
    class LowCardinality(String),
    plane LowCardinality(String),
    relation LowCardinality(String),
    control UInt64,
    interval_ms UInt32,
    timeout_ms UInt32,
    planned_per_slot UInt32,
    probe_id LowCardinality(String),
    segments Array(LowCardinality(String)),
    distance_km Float64
)
ENGINE = ReplacingMergeTree
ORDER BY (mesh, valid_from, version, stream_id);

CREATE VIEW IF NOT EXISTS mesh_latest AS SELECT * FROM mesh FINAL;

CREATE VIEW IF NOT EXISTS node_latest AS SELECT * FROM node FINAL;

CREATE VIEW IF NOT EXISTS endpoint_latest AS SELECT * FROM endpoint FINAL;

CREATE VIEW IF NOT EXISTS stream_latest AS SELECT * FROM stream FINAL;
