-- The seconds in which anything was received: a gap in them is a silence of the pipeline, not of a probe.
SELECT DISTINCT intDiv(at_ms, 1000) AS second
FROM
(
    SELECT received_ms AS at_ms FROM batch_latest
    WHERE mesh = %(mesh)s AND slot >= toDateTime(%(from_s)s, 'UTC') - INTERVAL 1 HOUR AND received_ms >= %(from_s)s * 1000
    UNION ALL
    SELECT received_ms AS at_ms FROM probe_health_latest
    WHERE mesh = %(mesh)s AND sent_at >= toDateTime(%(from_s)s, 'UTC') - INTERVAL 1 HOUR AND received_ms >= %(from_s)s * 1000
)
