-- When anything of each probe was last received: summaries or heartbeats of slots since an instant.
SELECT
    probe_id,
    max(at_ms) AS heard_ms
FROM
(
    SELECT probe_id, received_ms AS at_ms FROM batch_latest
    WHERE mesh = %(mesh)s AND slot >= toDateTime(%(from_s)s, 'UTC')
    UNION ALL
    SELECT probe_id, received_ms AS at_ms FROM probe_health_latest
    WHERE mesh = %(mesh)s AND sent_at >= toDateTime(%(from_s)s, 'UTC')
)
GROUP BY probe_id
