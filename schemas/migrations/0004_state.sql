-- The present state of every planned stream: what board, page and command line show, silent streams included.
-- A verdict counts for two minutes; after that nothing is known, whatever it said. The evaluator repeats an unchanged
-- verdict every minute for that reason. Drills are not states.
CREATE VIEW IF NOT EXISTS plan_now AS
SELECT s.*
FROM stream_latest AS s
INNER JOIN
(
    SELECT mesh, version, valid_from
    FROM mesh_latest
    WHERE valid_from <= now()
    ORDER BY valid_from DESC
    LIMIT 1 BY mesh
) AS m ON m.mesh = s.mesh AND m.version = s.version AND m.valid_from = s.valid_from;

CREATE VIEW IF NOT EXISTS stream_state AS
SELECT
    p.mesh AS mesh,
    p.stream_id AS stream_id,
    p.source AS source,
    p.destination AS destination,
    p.source_node AS source_node,
    p.destination_node AS destination_node,
    p.method AS method,
    p.class AS class,
    p.plane AS plane,
    p.relation AS relation,
    p.control AS control,
    p.probe_id AS probe_id,
    p.segments AS segments,
    if(v.judged_ms > 0, v.state, 'insufficient') AS state,
    if(v.judged_ms > 0, v.reason, 'late') AS reason,
    v.rule AS rule,
    v.rule_version AS rule_version,
    v.metric AS metric,
    v.value AS value,
    v.lower AS lower,
    v.upper AS upper,
    v.limit AS limit,
    v.sent AS sent,
    v.lost AS lost,
    v.planned AS planned,
    v.window_start AS window_start,
    v.window_s AS window_s,
    v.judged_ms AS judged_ms
FROM plan_now AS p
LEFT JOIN
(
    SELECT *
    FROM verdict
    WHERE exercise = 0
        AND toStartOfHour(window_start) >= toStartOfHour(now() - INTERVAL 2 HOUR)
        AND judged_ms > toUnixTimestamp64Milli(now64(3)) - 120000
    ORDER BY judged_ms DESC
    LIMIT 1 BY mesh, stream_id
) AS v ON v.mesh = p.mesh AND v.stream_id = p.stream_id;
