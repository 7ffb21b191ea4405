-- What the judge looks at: newest revisions of the slots in [from_s, until_s) that were received since an instant.
-- pairs: a method that knows both directions leaves the round trip empty.
SELECT
    stream_id,
    probe_id,
    toString(spool_id) AS spool,
    toInt64(toUnixTimestamp(slot)) * 1000 AS start_ms,
    revision,
    mesh_version,
    complete,
    clock_synchronised,
    clock_error_us,
    probe_sick,
    planned,
    sent,
    received,
    send_failed,
    loss_runs,
    loss_run_max,
    loaded,
    greatest(rtt_n, forward_n, backward_n) AS delay_n,
    greatest(rtt_ipdv_pairs, forward_ipdv_pairs, backward_ipdv_pairs) AS pairs,
    received_ms
FROM summary_10s_latest
WHERE mesh = %(mesh)s
    AND slot >= toDateTime(%(from_s)s, 'UTC')
    AND slot < toDateTime(%(until_s)s, 'UTC')
    AND received_ms >= %(received_from_ms)s
