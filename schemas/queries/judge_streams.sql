-- The streams of one version of a mesh.
SELECT
    stream_id,
    source,
    destination,
    source_node,
    destination_node,
    method,
    plane,
    interval_ms,
    timeout_ms,
    planned_per_slot,
    probe_id,
    segments
FROM stream_latest
WHERE mesh = %(mesh)s AND version = %(version)s AND valid_from = toDateTime(%(valid_from_s)s, 'UTC')
ORDER BY stream_id
