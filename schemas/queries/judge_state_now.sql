-- The present verdict of every planned stream and since when its state holds, as far as the verdicts since from_s tell.
SELECT
    s.stream_id AS stream_id,
    s.source AS source,
    s.destination AS destination,
    s.source_node AS source_node,
    s.destination_node AS destination_node,
    s.method AS method,
    s.plane AS plane,
    s.relation AS relation,
    s.control AS control,
    s.probe_id AS probe_id,
    s.segments AS segments,
    s.state AS state,
    s.reason AS reason,
    s.rule AS rule,
    s.rule_version AS rule_version,
    s.metric AS metric,
    s.value AS value,
    s.lower AS lower,
    s.upper AS upper,
    s.limit AS limit,
    s.sent AS sent,
    s.lost AS lost,
    s.planned AS planned,
    toInt64(toUnixTimestamp(s.window_start)) * 1000 AS window_start_ms,
    s.window_s AS window_s,
    s.judged_ms AS judged_ms,
    if(h.last_state = s.state, h.since_ms, s.judged_ms) AS since_ms
FROM stream_state AS s
LEFT JOIN
(
    WITH arraySort(groupArray((judged_ms, toString(state)))) AS history
    SELECT
        stream_id,
        history[-1].2 AS last_state,
        history[arrayLastIndex(each -> each.2 != history[-1].2, history) + 1].1 AS since_ms
    FROM verdict
    WHERE mesh = %(mesh)s AND exercise = 0
        AND toStartOfHour(window_start) >= toStartOfHour(toDateTime(%(from_s)s, 'UTC'))
        AND judged_ms >= %(from_s)s * 1000
    GROUP BY stream_id
) AS h ON h.stream_id = s.stream_id
WHERE s.mesh = %(mesh)s
ORDER BY source, destination, method, stream_id
