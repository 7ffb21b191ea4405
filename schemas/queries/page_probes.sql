-- Every planned probe of a mesh with its last words; a probe that was never heard is a row too.
SELECT
    p.probe_id AS probe_id,
    p.streams AS streams,
    h.heard_ms AS heard_ms,
    h.clock_synchronised AS clock_synchronised,
    h.clock_error_us AS clock_error_us,
    h.stamp_source AS stamp_source,
    h.send_lateness_p99_us AS send_lateness_p99_us,
    h.mesh_version AS mesh_version
FROM
(
    SELECT probe_id, count() AS streams FROM plan_now
    WHERE mesh = %(mesh)s
    GROUP BY probe_id
) AS p
LEFT JOIN
(
    SELECT
        probe_id,
        received_ms AS heard_ms,
        clock_synchronised,
        clock_error_us,
        stamp_source,
        send_lateness_p99_us,
        mesh_version
    FROM probe_health_latest
    WHERE mesh = %(mesh)s AND sent_at >= now() - INTERVAL 1 DAY
    ORDER BY received_ms DESC
    LIMIT 1 BY probe_id
) AS h ON h.probe_id = p.probe_id
ORDER BY probe_id
