-- The present state of every planned stream of a mesh, silent streams included.
SELECT
    stream_id,
    source,
    destination,
    source_node,
    destination_node,
    method,
    plane,
    relation,
    control,
    probe_id,
    segments,
    state,
    reason,
    rule,
    rule_version,
    metric,
    value,
    lower,
    upper,
    limit,
    sent,
    lost,
    planned,
    toUnixTimestamp(window_start) AS window_start_s,
    window_s,
    judged_ms
FROM stream_state
WHERE mesh = %(mesh)s
ORDER BY source, destination, method, stream_id
